"""Two controllers with one OWNER_ID and different VMIs: each undoes what the other does.

Neither is told of the other. What shows it is that changes of the same name are undone again and again, by somebody
who treats the name as its own.
"""

from collections import OrderedDict, deque

from ksd_ddns.wire.rrset import TXT, Node
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.plan import Change, Kind, Ownership, Scope

REPEATS = 3
"""How often changes of one name are undone, within WITHIN seconds, until that is no accident."""

WITHIN = 600.0

MAX_NAMES = 1000
"""Names that are watched at once: of more, those that were undone longest ago are forgotten."""


class Rivalry:
    """The names that somebody with our owner ID fights for. Times are in seconds, by a clock that never goes back."""

    def __init__(self, *, repeats: int = REPEATS, within: float = WITHIN) -> None:
        self._repeats = repeats
        self._within = within
        # In the order of the last time, so that what is over is found at the front.
        self._undone: OrderedDict[bytes, deque[float]] = OrderedDict()

    def undone(self, name: bytes, now: float) -> bool:
        """Count that a change of `name` was undone; return whether it is fought for."""
        times = self._undone.setdefault(name, deque(maxlen=self._repeats))
        times.append(now)
        self._undone.move_to_end(name)
        if len(self._undone) > MAX_NAMES:
            self._undone.popitem(last=False)
        return self._is_fought_for(times, now)

    def names(self, now: float) -> tuple[bytes, ...]:
        """Return the names that are fought for, in the order of the last time."""
        while self._undone and next(iter(self._undone.values()))[-1] <= now - self._within:
            self._undone.popitem(last=False)
        return tuple(name for name, times in self._undone.items() if self._is_fought_for(times, now))

    def _is_fought_for(self, times: deque[float], now: float) -> bool:
        return len(times) == self._repeats and times[0] > now - self._within


def is_undone(change: Change, found: Node, scope: Scope) -> bool:
    """Return whether a `change` that was in the zone has been undone, where `found` stands at its name now.

    With ownership records: what we deleted is there again as ours; what we published has lost our record, or is now
    that of another VMI. Without them: what we deleted is there again; what we published is gone. An address or a TTL
    that somebody edits is no more than that.
    """
    if scope.ownership is Ownership.ZONE:
        published = any(item.type in scope.types for item in found.rrsets)
        return published is (change.kind is Kind.DELETE)
    text, ours = found.get(TXT), change.new.get(TXT)
    records = map(ownership_record.parse, text.rdatas if text else ())
    there = {record.vmi for record in records if record and record.owner == scope.owner}
    if change.kind is Kind.DELETE:
        return bool(there)
    return ours is not None and ownership_record.owned_vmi(ours.rdatas, scope.owner) not in there
