# SPDX-License-Identifier: Apache-2.0
"""The state of one zone's controller at one moment: made by its thread, read by any."""

from dataclasses import dataclass, field
from enum import StrEnum

from ksd_ddns.zone.plan import Conflict

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the histogram of the time from an event to the primary's response."""


class Part(StrEnum):
    """What a problem is about."""

    SYNC = "sync"
    SOURCE = "source"
    PRIMARY = "primary"
    DELETIONS = "deletions"


class ProblemCause(StrEnum):
    """The kind of a problem. Its text may change."""

    FIRST_SYNC = "first_sync"
    UNREADABLE = "unreadable"
    STOPPED = "stopped"
    FAILED = "failed"
    REFUSED = "refused"
    DELETION_LIMIT = "deletion_limit"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a zone is not ready; `text` is the cause and the fix, for people."""

    part: Part
    cause: ProblemCause
    text: str


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

    `synced`: the zone has been in sync at least once. `refused` and `conflicts` do not make it unready, `problems` do,
    at most one per part; those of an `optional` zone do not make the process unready. `refused_deletions` is how many
    of the refused names no VMI wants. `warned` is the number of VMIs with something that cannot be published.
    `unserved_groups` are those of the `groups` that have no ready member; a VMI in two groups counts as two members.

    Since the start: `updates` counts messages by rcode, `transfers` by kind and result, `errors` by part, and `drift`
    how often foreign changes were found. `latencies` are the counts per bucket of LATENCY_BUCKETS and, last,
    above them. Times are in seconds; `last_sync` and `last_full_read` since 1970, 0 before the first one.
    """

    server: str = ""
    zone: str = ""
    serial: int = 0
    vmis: int = 0
    names: int = 0
    warned: int = 0
    synced: bool = False
    problems: tuple[Problem, ...] = ()
    optional: bool = False
    conflicts: tuple[Conflict, ...] = ()
    refused: tuple[RefusedNames, ...] = ()
    refused_deletions: int = 0
    blocked: int = 0
    held: int = 0
    groups: int = 0
    unserved_groups: int = 0
    ready_members: int = 0
    unready_members: int = 0
    pending: int = 0
    unconfirmed: int = 0
    applied: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)
    transfers: dict[tuple[str, str], int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    drift: int = 0
    last_sync: float = 0.0
    last_full_read: float = 0.0
    events: dict[str, int] = field(default_factory=dict)
    latencies: tuple[int, ...] = (0,) * (len(LATENCY_BUCKETS) + 1)
    latency_sum: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether there is no problem."""
        return not self.problems
