"""The durations of the controller that are not settings. Tests run it with shorter ones."""

from dataclasses import dataclass, field

from ksd_ddns.cluster.timing import Timing as ClusterTiming
from ksd_ddns.heartbeat import STUCK_AFTER
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in seconds.

    A server that failed is tried again after `server_back_after` (None: the default of the pool). A controller that
    makes no progress for `stuck_after` fails `/healthz`.
    """

    cluster: ClusterTiming = field(default_factory=ClusterTiming)
    zone: ZoneTiming = field(default_factory=ZoneTiming)
    server_back_after: float | None = None
    stuck_after: float = STUCK_AFTER
