# SPDX-License-Identifier: Apache-2.0
"""The zone as last read, what to read next, and the schedule of reads and serial checks."""

from collections.abc import Iterator
from enum import IntEnum

from ksd_ddns.wire.rrset import DNSKEY, Node
from ksd_ddns.zone.desired import Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.reconciler.backoff import Jitter

SPOTS = 4
"""Names in a spot check: they fit into one round trip with the serial."""

SPOTS_AFTER_RECONNECT = 32
"""Names in the spot check after a reconnect: another server may answer, with another zone of the same serial."""

TRANSFER_SHARE = 20
"""Full transfers may take at most one of this many seconds."""


class Need(IntEnum):
    """What to read before the next plan."""

    NOTHING = 0
    CHANGES = 1
    ZONE = 2


class Reads:
    """The live zone, None before the first read, and what to read next.

    `reconnected`: the last serial check was answered over a new connection.
    """

    def __init__(self) -> None:
        self._next_spots: Iterator[bytes] = iter(())
        self.live: Live | None = None
        self.need = Need.ZONE
        self.reconnected = False

    @property
    def signed(self) -> bool:
        """Whether the zone is signed: its server may show changes late."""
        return self.live is not None and self.live.get(self.live.zone).get(DNSKEY) is not None

    def require(self, need: Need) -> None:
        """Read at least `need` before the next plan."""
        self.need = max(self.need, need)

    def spots(self, desired: Desired) -> tuple[Node, ...]:
        """Return a few names that are in sync, in rotation."""
        if self.live is None:
            return ()
        wanted = SPOTS_AFTER_RECONNECT if self.reconnected else SPOTS
        found: list[Node] = []
        for _ in range(4 * wanted):  # most names are in sync; if not, there is other work to do
            name = next(self._next_spots, None)
            if name is None:
                self._next_spots = iter(list(desired.names()))
                name = next(self._next_spots, None)
            if name is None:
                break
            node = self.live.nodes.get(name)
            if node is not None and node == desired.get(name) and node not in found:
                found.append(node)
            if len(found) == min(wanted, len(desired)):
                break
        return tuple(found)


class ReadSchedule:
    """When to check the serial (`check_at`) and when to read the full zone (`full_at`).

    `full_only`: the server has no IXFR, so reading changes is a full read, and has to wait until `not_before`.
    `last_full` is when the last full read ended.
    """

    def __init__(self, *, drift_interval: float, full_read_interval: float, jitter: Jitter) -> None:
        self._drift_interval = drift_interval
        self._full_read_interval = full_read_interval
        self._jitter = jitter
        self.check_at = 0.0
        self.full_at = 0.0
        self.not_before = 0.0
        self.last_full = 0.0
        self.full_only = False

    def may_read(self, now: float) -> bool:
        """Return whether changes may be read now."""
        return not self.full_only or now >= self.not_before

    def check_later(self, now: float) -> None:
        """Schedule the next serial check in one interval."""
        self.check_at = now + self._drift_interval * self._spread()

    def check_by(self, at: float) -> None:
        """Schedule the next serial check at `at`, unless it is earlier already."""
        self.check_at = min(self.check_at, at)

    def note_full_read(self, began: float, now: float) -> None:
        """Note that a full read began at `began` and ended `now`."""
        duration = now - began
        self.last_full = now
        self.not_before = now + TRANSFER_SHARE * duration
        self.full_at = now + max(self._full_read_interval, TRANSFER_SHARE * duration) * self._spread()

    def _spread(self) -> float:
        """Return a factor of 0.9 to 1.1, so that controllers do not work in step."""
        return 0.9 + 0.2 * self._jitter()
