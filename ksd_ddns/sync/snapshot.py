"""What is known of a running controller at one moment: written by the controller, read by everybody else."""

from dataclasses import dataclass, field

from ksd_ddns.zone.plan import Conflict

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of the histogram of how long a change takes from the watch to the primary's answer."""


@dataclass(frozen=True, slots=True)
class RefusedNames:
    """The names that the primary refuses for one cause: how many, the first of them, and why."""

    cause: str
    count: int
    names: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        """Return them as a line for people."""
        return f"{self.count} names, such as {', '.join(self.names[:5])}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counts and problems of one moment.

    `synced` is whether the zone has been brought to what the source said at least once; `problems` say in words what
    is wrong now, by the part that it concerns: sync, source, primary, deletions. `latencies` count the changes up to
    each bound of LATENCY_BUCKETS, and then all; times are in seconds, `serial` is the zone's.
    """

    server: str = ""
    zone: str = ""
    serial: int = 0
    vmis: int = 0
    names: int = 0
    synced: bool = False
    problems: dict[str, str] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    refused: tuple[RefusedNames, ...] = ()
    blocked: int = 0
    held: int = 0
    pending: int = 0
    unconfirmed: int = 0
    applied: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    transfers: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    latencies: tuple[int, ...] = (0,) * (len(LATENCY_BUCKETS) + 1)
    latency_sum: float = 0.0
