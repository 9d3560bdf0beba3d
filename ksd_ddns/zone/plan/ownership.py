# SPDX-License-Identifier: Apache-2.0
"""Which names are ours, and what happens to a wanted name that exists already."""

from collections.abc import Set as AbstractSet

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import CNAME, DNAME, PTR, SRV, TXT, Node, RRset, rrset
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.desired import is_service
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.ownership_record import OwnershipRecord
from ksd_ddns.zone.plan.change import Change, Kind
from ksd_ddns.zone.plan.conflict import Conflict, ConflictCause
from ksd_ddns.zone.plan.scope import Ownership, Scope


def owned_names(live: Live, scope: Scope) -> list[bytes]:
    """Return the names of the zone that are ours."""
    return [name for name, node in live.nodes.items() if is_owned(node, live, scope)]


def is_owned(node: Node, live: Live, scope: Scope, *, vmi: str = "") -> bool:
    """Return whether the name of `node` is ours; with `vmi` and ownership records, whether it is that VMI's."""
    if node.name in scope.protected or (scope.base_only and not names.is_below(node.name, scope.base)):
        return False
    if any(names.is_below(node.name, other) for other in scope.excluded):
        return False
    if scope.ownership is Ownership.TXT:
        text = node.get(TXT)
        if not vmi:
            return ownership_record.owned(text, scope.owner) is not None
        return any(record.vmi == vmi for record in _records_of(text, {scope.owner}).values())
    return _published(node, scope) and can_be_owned(node.name, scope) and live.cut_above(node.name) is None


def can_be_owned(name: bytes, scope: Scope) -> bool:
    """Return whether `name` can be ours: without ownership records only below the base, which itself is not."""
    return scope.ownership is Ownership.TXT or (name != scope.base and names.is_below(name, scope.base))


def namespace_of(node: Node, scope: Scope) -> str:
    """Return the namespace that one of our names belongs to; empty if it belongs to none.

    It is in the ownership record. Without ownership records it is the label directly below the base,
    `<vm>.<namespace>.<base>`: in the name itself, or in the target of a reverse name. Other templates do not show it.
    """
    if scope.ownership is Ownership.TXT:
        record = ownership_record.owned(node.get(TXT), scope.owner)
        return record.subject.partition("/")[0] if record else ""
    if not scope.namespaced:
        return ""
    pointers = node.get(PTR) if PTR in scope.types else None
    name = pointers.rdatas[0] if pointers else node.name
    return names.child(name, scope.forward or scope.base).decode("latin-1")


def obstacle(want: Node, found: Node, live: Live, scope: Scope) -> Conflict | None:
    """Return the conflict if nothing can be published at the name, regardless of its owner; None if there is none."""
    if found.name in live.unreadable:
        return Conflict(found.name, want, found, ConflictCause.UNREADABLE)
    cut = live.cut_above(found.name)
    if cut is not None:
        cause = ConflictCause.DNAME if live.get(cut).get(DNAME) and cut != found.name else ConflictCause.DELEGATION
        return Conflict(found.name, want, found, cause, ancestor=cut)
    if found.get(CNAME):
        return Conflict(found.name, want, found, ConflictCause.CNAME)
    if can_be_owned(found.name, scope):
        return None
    # Without an ownership record we could not recognize it as ours later, and never delete it.
    return Conflict(found.name, want, found, ConflictCause.OUTSIDE_BASE, ancestor=scope.base)


def verdict_in_use(want: Node, found: Node, scope: Scope) -> Change | Conflict | None:
    """Return the change or conflict of a wanted name that exists and has no `obstacle`; None if it is in sync."""
    if scope.ownership is Ownership.TXT:
        return _verdict_by_record(want, found, scope)
    kind = Kind.CHANGE if _published(found, scope) else Kind.ADD
    return change_between(
        found, _without_records(found, scope).with_rrsets(want.rrsets, types=scope.types), kind, scope
    )


def is_recognized(node: Node, live: Live, scope: Scope, *, vmi: str = "") -> bool:
    """Return whether the name of `node` is ours, or of an owner whose names we take over when they are wanted."""
    if is_owned(node, live, scope, vmi=vmi):
        return True
    return any(
        is_owned(node, live, msgspec.structs.replace(scope, owner=other, take_over=frozenset()), vmi=vmi)
        for other in (scope.take_over if scope.ownership is Ownership.TXT else ())
    )


def _verdict_by_record(want: Node, found: Node, scope: Scope) -> Change | Conflict | None:
    text = found.get(TXT)
    ours = _records_of(text, {scope.owner, *scope.take_over})
    if ours and not _others(text, scope):
        return change_between(found, _with_record(want, found, ours, scope), Kind.CHANGE, scope)
    if found.name in scope.protected and _published(found, scope) and _same(want, found, scope):
        return None  # the zone's own record, correct and without an ownership record: nothing to take over
    if not _published(found, scope) and not _is_taken(text):
        # Only types that we do not manage: an admin's SSHFP, a text. They stay next to ours.
        return change_between(found, _with_record(want, found, {}, scope), Kind.ADD, scope)
    if scope.adopt and _same(want, found, scope) and not ownership_record.owners(text):
        # With the wanted TTL at once: the name is ours then, and the next plan must find nothing to change.
        return change_between(found, _with_record(want, found, {}, scope), Kind.CHANGE, scope)
    return _conflict(want, found, scope)


def _conflict(want: Node, found: Node, scope: Scope) -> Conflict:
    text = found.get(TXT)
    if others := _others(text, scope):
        both = _records_of(text, {scope.owner})
        cause = ConflictCause.SEVERAL_OWNERS if both else ConflictCause.OTHER_OWNER
        return Conflict(found.name, want, found, cause, owner=scope.owner, owners=tuple(others))
    if not _published(found, scope):
        cause = ConflictCause.OTHER_PROGRAM
    elif _same(want, found, scope):
        cause = ConflictCause.UNOWNED_EQUAL
    else:
        cause = ConflictCause.UNOWNED
    return Conflict(found.name, want, found, cause)


def change_between(found: Node, new: Node, kind: Kind, scope: Scope) -> Change | None:
    """Return the change from `found` to `new`, None if they are equal."""
    return None if new == found else Change(found, new, kind, scope.types)


def _published(node: Node, scope: Scope) -> bool:
    return any(item.type in scope.types for item in node.rrsets)


def _same(want: Node, found: Node, scope: Scope) -> bool:
    return all(_rdatas(want, rdtype) == _rdatas(found, rdtype) for rdtype in scope.types)


def _rdatas(node: Node, rdtype: int) -> tuple[bytes, ...]:
    item = node.get(rdtype)
    return item.rdatas if item else ()


def _records_of(text: RRset | None, owners: AbstractSet[str]) -> dict[bytes, OwnershipRecord]:
    """Return the ownership records of `owners` among the TXT records, by rdata."""
    found = {}
    for rdata in text.rdatas if text else ():  # one loop: this is called for each name that is planned
        record = ownership_record.parse(rdata)
        if record is not None and record.owner in owners:
            found[rdata] = record
    return found


def _is_taken(text: RRset | None) -> bool:
    """Return whether one of the TXT records says that the name has an owner."""
    return text is not None and any(ownership_record.is_ownership(rdata) for rdata in text.rdatas)


def _others(text: RRset | None, scope: Scope) -> list[str]:
    """Return the other owners with ownership records among the TXT records, whose names we may not take over."""
    return sorted(ownership_record.owners(text) - {scope.owner, *scope.take_over})


def _with_record(want: Node, found: Node, ours: dict[bytes, OwnershipRecord], scope: Scope) -> Node:
    """Return `found` with the wanted records, and one ownership record of ours in place of `ours`.

    `ours` includes the records of the owners whose names we take over. Foreign texts keep their TTL.
    """
    text = want.get(TXT)
    if text is None:
        raise ValueError("OWNERSHIP=txt, but a wanted node has no ownership record")
    kept = text.rdatas[0]
    wanted = ownership_record.parse(kept)
    for rdata, record in ours.items():
        if wanted is not None and (record.owner, record.subject) == (wanted.owner, wanted.subject):
            kept = rdata  # the same ownership record, perhaps with fields of a later version: kept as it is
            break
    else:
        extra = next((record.extra for record in ours.values() if record.extra), ())
        if extra and wanted is not None:
            kept = msgspec.structs.replace(wanted, extra=extra).rdata()
    there = found.get(TXT)
    foreign = [rdata for rdata in there.rdatas if rdata not in ours] if there else []
    # One RRset has one TTL: foreign texts in it keep theirs (RFC 2181, 5.2).
    ttl = there.ttl if there and foreign else text.ttl
    published = [item for item in want.rrsets if item.type in scope.types]
    node = found.with_rrsets([*published, rrset(TXT, ttl, [*foreign, kept])], types=(*scope.types, TXT))
    return node.with_index(want.index)


def _without_records(found: Node, scope: Scope) -> Node:
    """Return `found` without the ownership records of the owners whose names we take over."""
    text = found.get(TXT) if scope.take_over else None
    theirs = _records_of(text, scope.take_over)
    if text is None or not theirs:
        return found
    kept = tuple(rdata for rdata in text.rdatas if rdata not in theirs)
    return found.with_rrsets([RRset(TXT, text.ttl, kept)] if kept else (), types=(TXT,))


def without_ours(found: Node, scope: Scope) -> Node:
    """Return what remains at a deleted name: everything except the published types and our ownership record.

    If another owner has an ownership record there, only ours is deleted: the rest may belong to the other owner, also
    if we take over its wanted names.
    """
    if scope.ownership is Ownership.ZONE:
        return _without_records(found, scope).with_rrsets((), types=scope.types)
    text = found.get(TXT)
    ours = _records_of(text, {scope.owner})
    foreign = [rdata for rdata in text.rdatas if rdata not in ours] if text else []
    kept = [RRset(TXT, text.ttl, tuple(foreign))] if text and foreign else []
    if ownership_record.owners(text) - {scope.owner}:
        return found.with_rrsets(kept, types=(TXT,)).with_index(())
    # The SRV records of a group's service are ours also when GROUP_SRV has been turned off.
    service = is_service(found.name) and any(record.group for record in ours.values())
    left = found.with_rrsets(kept, types=(*scope.types, TXT, *((SRV,) if service else ())))
    return left.with_index(())
