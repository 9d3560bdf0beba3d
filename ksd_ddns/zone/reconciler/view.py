"""The zone as last read, and the timetable of reads and serial checks."""

from collections.abc import Iterator
from enum import IntEnum

from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.desired import Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.reconciler.backoff import Jitter

SPOTS = 4
"""Names in a spot check: they fit into one round trip with the serial."""

SPOTS_AFTER_RECONNECT = 32
"""Names in the spot check after a reconnect: another server may answer, with another zone of the same serial."""

TRANSFER_SHARE = 20
"""Full transfers may take at most one of this many seconds."""

DNSKEY = 48


class Need(IntEnum):
    """What to read before the next plan."""

    NOTHING = 0
    CHANGES = 1
    ZONE = 2


class View:
    """The live zone, and the timetable of serial checks and full reads.

    `only_whole`: the server has no IXFR, so reading changes has to wait until `not_before`.
    """

    def __init__(self, *, drift_interval: float, full_read_interval: float, jitter: Jitter) -> None:
        self._drift_interval = drift_interval
        self._full_read_interval = full_read_interval
        self._jitter = jitter
        self._turn: Iterator[bytes] = iter(())
        self.live: Live | None = None
        self.need = Need.ZONE
        self.check_at = 0.0
        self.full_at = 0.0
        self.not_before = 0.0
        self.read_whole_at = 0.0
        self.only_whole = False
        self.reconnected = False

    @property
    def signed(self) -> bool:
        """Whether the zone is signed: its server may show changes late."""
        return self.live is not None and self.live.get(self.live.zone).get(DNSKEY) is not None

    def ask(self, need: Need) -> None:
        """Read at least `need` before the next plan."""
        self.need = max(self.need, need)

    def check_later(self, now: float) -> None:
        """Schedule the next serial check in one interval."""
        self.check_at = now + self._drift_interval * (0.9 + 0.2 * self._jitter())

    def was_read_whole(self, began: float, now: float) -> None:
        """Note that a full read began at `began` and ended `now`."""
        self.read_whole_at = now
        self.not_before = now + TRANSFER_SHARE * (now - began)
        interval = max(self._full_read_interval, TRANSFER_SHARE * (now - began))
        self.full_at = now + interval * (0.9 + 0.2 * self._jitter())

    def spots(self, desired: Desired) -> tuple[Node, ...]:
        """Return a few names that are in sync, in rotation."""
        if self.live is None:
            return ()
        wanted = SPOTS_AFTER_RECONNECT if self.reconnected else SPOTS
        found: list[Node] = []
        for _ in range(4 * wanted):  # most names are in sync; if not, there is other work to do
            name = next(self._turn, None)
            if name is None:
                self._turn = iter(list(desired.names()))
                name = next(self._turn, None)
            if name is None:
                break
            node = self.live.nodes.get(name)
            if node is not None and node == desired.get(name) and node not in found:
                found.append(node)
            if len(found) == min(wanted, len(desired)):
                break
        return tuple(found)
