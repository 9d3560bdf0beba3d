# SPDX-License-Identifier: Apache-2.0
"""The durations of the controller that are not settings. Tests run it with shorter ones."""

from dataclasses import dataclass, field

from ksd_ddns.cluster.timing import Timing as ClusterTiming
from ksd_ddns.heartbeat import STUCK_AFTER
from ksd_ddns.primary.timing import Timing as PrimaryTiming
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from ksd_ddns.zone.reverse_search import AGAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in seconds.

    A controller that makes no progress for `stuck_after` fails `/healthz`. With REVERSE_ZONES=auto, the zone of an
    address is looked up again after `reverse_again`.
    """

    cluster: ClusterTiming = field(default_factory=ClusterTiming)
    primary: PrimaryTiming = field(default_factory=PrimaryTiming)
    zone: ZoneTiming = field(default_factory=ZoneTiming)
    stuck_after: float = STUCK_AFTER
    reverse_again: float = AGAIN
