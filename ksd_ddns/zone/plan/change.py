# SPDX-License-Identifier: Apache-2.0
"""Changes and plans, as values."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from ksd_ddns.wire.rrset import Node, RRset
from ksd_ddns.zone.plan.conflict import Conflict
from ksd_ddns.zone.plan.scope import ADDRESSES


class Kind(StrEnum):
    """What a change does to its name, as users count it."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


class Change(msgspec.Struct, frozen=True, gc=False):
    """The change of one name: `old` is all that was seen there, `new` all that the name holds afterwards.

    `types` are the record types that were compared, present or not.
    """

    old: Node
    new: Node
    kind: Kind
    types: tuple[int, ...] = ADDRESSES

    @property
    def name(self) -> bytes:
        """The owner name."""
        return self.old.name

    def rrsets(self) -> Iterator[tuple[RRset | None, RRset | None]]:
        """Yield the RRsets that differ, old and new, by type; None if there is none."""
        if not self.old.rrsets:
            for item in self.new.rrsets:
                yield None, item
            return
        old = {item.type: item for item in self.old.rrsets}
        new = {item.type: item for item in self.new.rrsets}
        for rdtype in sorted(old.keys() | new.keys()):
            if old.get(rdtype) != new.get(rdtype):
                yield old.get(rdtype), new.get(rdtype)

    @property
    def index_only(self) -> bool:
        """Whether the records stay as they are, and only the index changes (see `zone.index`)."""
        return self.old.rrsets == self.new.rrsets and self.old.index != self.new.index

    def undo(self) -> "Change":
        """Return the change that takes this one back: it expects what this one leaves, and restores what it found."""
        return Change(self.new, self.old, _UNDOES[self.kind], self.types)


_UNDOES = {Kind.ADD: Kind.DELETE, Kind.CHANGE: Kind.CHANGE, Kind.DELETE: Kind.ADD}


class Blocked(msgspec.Struct, frozen=True):
    """Deletions over the limit: `count` of the `owned` names of a namespace, or of all namespaces (None)."""

    namespace: str | None
    count: int
    owned: int


class Plan(msgspec.Struct, frozen=True):
    """What leads from the live zone to the desired one.

    `blocked` are the deletions that the deletion limit blocks, `limits` says which limit. `owned` is the number of our
    names in the zone. `moves` are the deletions that wait until other names with their addresses, those given, are in
    DNS; they are the last changes.
    """

    zone: bytes
    serial: int
    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    blocked: tuple[Change, ...] = ()
    owned: int = 0
    limits: tuple[Blocked, ...] = ()
    moves: Mapping[bytes, frozenset[bytes]] = msgspec.field(default_factory=dict)

    def steps(self) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
        """Return the changes to send first, and those to send when the first are in DNS: the old names of moves."""
        if not self.moves:
            return self.changes, ()
        last = tuple(change for change in self.changes if change.name in self.moves)
        return tuple(change for change in self.changes if change.name not in self.moves), last

    def count(self, kind: Kind) -> int:
        """Return the number of names that the plan adds, changes or deletes."""
        return sum(1 for change in self.changes if change.kind is kind)

    def undo(self) -> "Plan":
        """Return the plan that takes this one back, last change first."""
        changes = tuple(change.undo() for change in reversed(self.changes))
        back: dict[bytes, set[bytes]] = {}
        for old, new in self.moves.items():
            for name in new:
                back.setdefault(name, set()).add(old)
        deleted = {change.name for change in changes if change.kind is Kind.DELETE}
        moves = {name: frozenset(old) for name, old in back.items() if name in deleted}
        return Plan(self.zone, self.serial, changes, (), moves=moves)
