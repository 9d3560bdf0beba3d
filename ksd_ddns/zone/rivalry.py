# SPDX-License-Identifier: Apache-2.0
"""Detects two controllers with the same OWNER_ID and different VMIs: each undoes the changes of the other.

The sign is that changes of the same name are undone again and again by a program that treats the name as its own.
"""

from collections import OrderedDict, deque

from ksd_ddns.wire.rrset import TXT, Node
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.plan import Change, Kind, Ownership, Scope

REPEATS = 3
"""How often changes of one name must be undone within WITHIN seconds to count as rivalry."""

WITHIN = 600.0

MAX_NAMES = 1000
"""Maximum number of names to remember; the one undone longest ago is forgotten first."""


class Rivalry:
    """The names that another controller with our owner ID contests. Times are in seconds, by a monotonic clock."""

    def __init__(self, *, repeats: int = REPEATS, within: float = WITHIN) -> None:
        self._repeats = repeats
        self._within = within
        # In the order of the last change undone, so that the oldest are in front.
        self._undone: OrderedDict[bytes, deque[float]] = OrderedDict()

    def note_undone(self, name: bytes, now: float) -> bool:
        """Count that a change of `name` was undone; return whether it is contested."""
        times = self._undone.setdefault(name, deque(maxlen=self._repeats))
        times.append(now)
        self._undone.move_to_end(name)
        if len(self._undone) > MAX_NAMES:
            self._undone.popitem(last=False)
        return self._is_contested(times, now)

    def names(self, now: float) -> tuple[bytes, ...]:
        """Return the contested names, in the order of the last change undone."""
        while self._undone and next(iter(self._undone.values()))[-1] <= now - self._within:
            self._undone.popitem(last=False)
        return tuple(name for name, times in self._undone.items() if self._is_contested(times, now))

    def _is_contested(self, times: deque[float], now: float) -> bool:
        return len(times) == self._repeats and times[0] > now - self._within


def is_undone(change: Change, found: Node, scope: Scope) -> bool:
    """Return whether a `change` that was in the zone has been undone, given the node `found` now.

    With ownership records: a deleted name exists again with our record, or a published name lost our record or has that
    of another VMI. Without them: a deleted name exists again, or a published name is gone. An edited address or TTL
    does not count.
    """
    if scope.ownership is Ownership.ZONE:
        published = any(item.type in scope.types for item in found.rrsets)
        return published is (change.kind is Kind.DELETE)
    records = ownership_record.records(found.get(TXT)).values()
    there = {record.subject for record in records if record.owner == scope.owner}
    if change.kind is Kind.DELETE:
        return bool(there)
    record = ownership_record.owned(change.new.get(TXT), scope.owner)
    return record is not None and record.subject not in there
