# SPDX-License-Identifier: Apache-2.0
"""Changes -> the statements of UPDATE messages, and which changes share a message (RFC 2136).

The nsupdate script and the messages that are sent are made from the same statements.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ksd_ddns.wire.codec import STATEMENT_OVERHEAD, Statement
from ksd_ddns.wire.rrset import ANY, CLASS_ANY, CLASS_NONE, CNAME, IN, NS, TXT, RRset
from ksd_ddns.zone.plan import Change

HEADER_ROOM = 1024
"""Octets reserved in each message for header, zone section and TSIG, with names of up to 255 octets."""

MOST_DELETED = 8_000
"""Octets of the records that are deleted one by one. If there are more, the RRset is deleted, so that the message has
room for prerequisites and additions of the same size."""

INDEX_TTL = 300
"""TTL of the index in seconds. Only its owner reads it, without a cache."""


class Limits(msgspec.Struct, frozen=True):
    """Maximum octets of one message, without name compression, maximum names, and maximum messages in flight."""

    octets: int = 60_000
    names: int = 500
    in_flight: int = 16


def prerequisites(change: Change) -> list[Statement]:
    """Return the prerequisites of `change`: its name still holds exactly what was read.

    If the name did not exist, it must not exist. Otherwise every type that we publish, and every other type that the
    change modifies, must have exactly the values that were read (RFC 2136, 2.4).
    """
    old = change.old
    name = old.name
    if not old.rrsets:
        return [(name, ANY, CLASS_NONE, 0, b"")]
    seen = {item.type: item for item in old.rrsets}
    statements: list[Statement] = []
    for rdtype in _checked_types(change):
        item = seen.get(rdtype)
        if item is None:
            statements.append((name, rdtype, CLASS_NONE, 0, b""))
        else:
            # The TTL must be 0 in a prerequisite (RFC 2136, 2.4.2).
            statements += [(name, rdtype, IN, 0, rdata) for rdata in item.rdatas]
    return statements


def _checked_types(change: Change) -> list[int]:
    changed = {item.type for pair in change.rrsets() for item in pair if item is not None}
    if changed == {NS}:
        return [NS]
    checked = changed | {*change.types, TXT}
    if not any(item.type in checked for item in change.old.rrsets):
        # No prerequisite by value excludes a CNAME, next to which a server silently drops addresses.
        checked.add(CNAME)
    return sorted(checked)


def updates(change: Change) -> list[Statement]:
    """Return the updates from the old to the new node: record by record, never all of a name (RFC 2136, 2.5)."""
    name = change.name
    if not change.old.rrsets:
        statements = [(name, item.type, IN, item.ttl, rdata) for item in change.new.rrsets for rdata in item.rdatas]
    else:
        statements = [statement for old, new in change.rrsets() for statement in _rrset_updates(name, old, new)]
    return statements if change.old.index == change.new.index else [*statements, *_index_updates(change)]


def _index_updates(change: Change) -> list[Statement]:
    """Return the updates of the index. They have no prerequisites of their own: those of the name apply to them, too.

    Each record is about one name only, so changes of several names to one RRset of the index do not collide.
    """
    old, new = change.old.index, change.new.index
    gone = [(owner, TXT, CLASS_NONE, 0, rdata) for owner, rdata in old if (owner, rdata) not in new]
    come = [(owner, TXT, IN, INDEX_TTL, rdata) for owner, rdata in new if (owner, rdata) not in old]
    return [*gone, *come]


def _rrset_updates(name: bytes, old: RRset | None, new: RRset | None) -> list[Statement]:
    """Return the updates from `old` to `new`. They delete only the records that were read, if these are not too large.

    Deleting the RRset would also delete a record that someone else added after our read. Some servers do not notice it:
    they accept a prerequisite that lists only some of the records (Samba's internal DNS server).
    """
    if new is None:
        return [] if old is None else _deletions(name, old, old.rdatas)
    if old is None:
        return _additions(name, new, new.rdatas)
    if old.ttl != new.ttl:
        # Adding a record again changes its TTL in BIND, but not in Knot, so delete all records and add them again.
        gone = [_all_of(name, new)] if new.type == NS else _deletions(name, old, old.rdatas)
        return [*gone, *_additions(name, new, new.rdatas)]
    kept = frozenset(old.rdatas).intersection(new.rdatas)
    gone = _deletions(name, old, [rdata for rdata in old.rdatas if rdata not in kept])
    come = _additions(name, new, [rdata for rdata in new.rdatas if rdata not in kept])
    if new.type == NS:
        # The last NS of a zone cannot be deleted (RFC 2136, 3.4.2.4): the new one comes first.
        return [*come, *gone]
    if gone and gone[0][2] == CLASS_ANY:
        come = _additions(name, new, new.rdatas)
    return [*gone, *come]


def _deletions(name: bytes, of: RRset, rdatas: Sequence[bytes]) -> list[Statement]:
    gone = [(name, of.type, CLASS_NONE, 0, rdata) for rdata in rdatas]
    return gone if _size(gone) <= MOST_DELETED else [_all_of(name, of)]


def _all_of(name: bytes, of: RRset) -> Statement:
    return (name, of.type, CLASS_ANY, 0, b"")


def _additions(name: bytes, to: RRset, rdatas: Sequence[bytes]) -> list[Statement]:
    return [(name, to.type, IN, to.ttl, rdata) for rdata in rdatas]


class Batch(msgspec.Struct, frozen=True):
    """The changes that share one message, with its statements."""

    changes: tuple[Change, ...]
    prerequisites: tuple[Statement, ...]
    updates: tuple[Statement, ...]


def batch(changes: Iterable[Change]) -> Batch:
    """Return all of `changes` as one batch, however large."""
    together = tuple(changes)
    return Batch(
        together,
        tuple(statement for change in together for statement in prerequisites(change)),
        tuple(statement for change in together for statement in updates(change)),
    )


def batches(changes: Iterable[Change], limits: Limits) -> Iterator[Batch]:
    """Yield messages with `changes` in order, each within `limits`; a change is never split."""
    together: list[Change] = []
    first: list[Statement] = []
    second: list[Statement] = []
    room = limits.octets - HEADER_ROOM
    used = 0
    for change in changes:
        before = prerequisites(change)
        after = updates(change)
        size = _size(before) + _size(after)
        if together and (used + size > room or len(together) >= limits.names):
            yield Batch(tuple(together), tuple(first), tuple(second))
            together, first, second, used = [], [], [], 0
        together.append(change)
        first += before
        second += after
        used += size
    if together:
        yield Batch(tuple(together), tuple(first), tuple(second))


def _size(statements: list[Statement]) -> int:
    size = 0
    for name, _, _, _, rdata in statements:
        size += len(name) + STATEMENT_OVERHEAD + len(rdata)
    return size


def touch(change: Change) -> Batch:
    """Return a message without effect for `change`, whose nodes are equal: it adds a record that exists.

    A primary that accepts it accepts updates of the zone with our key (RFC 2136, 3.4.2.2: a record that exists already
    is ignored).
    """
    node = change.old
    again = next((item for item in node.rrsets if item.type in change.types), node.rrsets[0])
    statement = (node.name, again.type, IN, again.ttl, again.rdatas[0])
    return Batch((change,), tuple(prerequisites(change)), (statement,))
