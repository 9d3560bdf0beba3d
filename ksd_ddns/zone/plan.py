"""Desired x live -> Plan: what to change, what to leave alone and why, what to keep back.

A change carries what was seen and what shall be: what was seen becomes the prerequisites of the update, so a zone that
moved in between refuses it. The plan knows nothing of how it is shown or sent.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import AAAA, CNAME, NS, PTR, TXT, A, Node, RRset, rrset
from ksd_ddns.zone import marker
from ksd_ddns.zone.desired import Collision, Desired
from ksd_ddns.zone.live import Live

ADDRESSES = (A, AAAA)
POINTERS = (PTR,)

LIMIT_FLOOR = 10
"""Where fewer names than this are owned, a percentage says nothing: the deletion limit does not apply."""

_PLACEHOLDER = names.from_text("localhost.")
"""The out-of-zone name server of a bundled zone that has no address for its own yet."""


class Ownership(StrEnum):
    """How ksd-ddns knows its own names: by a TXT marker, or because the zone serves it alone."""

    TXT = "txt"
    ZONE = "zone"


class Policy(StrEnum):
    """Whether names that nothing wants any more are deleted."""

    SYNC = "sync"
    UPSERT_ONLY = "upsert-only"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner may do in the zone.

    `base` is the name under which everything is published, `types` are the record types that are published there (the
    marker beside them left out); `owner` is the owner ID (ignored with Ownership.ZONE). `forward` is the base of the
    VMIs' names, to which the records of a reverse zone point; empty where it is `base`.

    Where it is `base_only`, names outside of the base are not ours even with our marker: the base is one of several in
    the zone. Names below one of `excluded` are never ours: they belong to another base. `protected` are names that are
    changed when wanted, never deleted. `apex` is the NS RRset that the apex shall hold beside what stands there, None
    to leave the apex alone. `ttl_cap` is the TTL to which the server lowers those above it, None where it does not.
    """

    base: bytes
    types: tuple[int, ...] = ADDRESSES
    ownership: Ownership = Ownership.TXT
    owner: str = ""
    policy: Policy = Policy.SYNC
    adopt: bool = False
    base_only: bool = False
    excluded: tuple[bytes, ...] = ()
    protected: frozenset[bytes] = frozenset()
    apex: RRset | None = None
    forward: bytes = b""
    ttl_cap: int | None = None

    @property
    def written(self) -> tuple[int, ...]:
        """The record types that are written below the base: what is published, and the marker."""
        return (*self.types, TXT) if self.ownership is Ownership.TXT else self.types


class Kind(StrEnum):
    """What a change does to its name, as people count it."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


class Change(msgspec.Struct, frozen=True, gc=False):
    """One name: `old` is all that was seen there, `new` all that shall stand there afterwards.

    `types` are the record types that were judged, present or not.
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
        """Yield the RRsets that differ, by type: what was seen, and what shall be; None where there is none."""
        if not self.old.rrsets:
            for item in self.new.rrsets:
                yield None, item
            return
        old = {item.type: item for item in self.old.rrsets}
        new = {item.type: item for item in self.new.rrsets}
        for rdtype in sorted(old.keys() | new.keys()):
            if old.get(rdtype) != new.get(rdtype):
                yield old.get(rdtype), new.get(rdtype)


class Conflict(msgspec.Struct, frozen=True):
    """A wanted name that is left alone. `wanted` and `found` are the two nodes, `reason` is a clause for people."""

    name: bytes
    wanted: Node
    found: Node
    reason: str
    vmi: str = ""


class Blocked(msgspec.Struct, frozen=True):
    """Deletions over the limit: `count` of the `owned` names in a namespace, None where it is those of all together."""

    namespace: str | None
    count: int
    owned: int


class Plan(msgspec.Struct, frozen=True):
    """What leads from the live zone to the desired one.

    `blocked` are deletions over the deletion limit, `limits` says which limit, `owned` is the number of names that
    are ours in the zone.
    """

    zone: bytes
    serial: int
    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    blocked: tuple[Change, ...] = ()
    owned: int = 0
    limits: tuple[Blocked, ...] = ()

    def count(self, kind: Kind) -> int:
        """Return the number of names that the plan adds, changes or deletes."""
        return sum(1 for change in self.changes if change.kind is kind)


def full(
    desired: Desired,
    live: Live,
    scope: Scope,
    *,
    max_delete_percent: int = 100,
    seen: Collection[bytes] = (),
    unread: Collection[str] = (),
) -> Plan:
    """Return the plan for the whole zone: every wanted name, and every name of ours that nothing wants.

    Deletions follow from absence in a list, but for the names in `seen`, whose end was seen. In the
    namespaces `unread` nothing follows from absence, and all of them are blocked. Of the others the deletion limit
    blocks those that exceed `max_delete_percent` of the owned names, where at least LIMIT_FLOOR are owned: first in
    each namespace, then, of the namespaces that are left, in all. The rest of the plan stands.
    """
    owned = 0
    differing: list[bytes] = []
    for name, found in live.nodes.items():
        want = desired.get(name)
        if want == found:  # then it is ours: the quick way through a zone that is right
            owned += name not in scope.protected
        elif is_owned(found, live, scope):
            owned += 1
            differing.append(name)
        elif want is not None:
            differing.append(name)
    differing += [name for name in desired.names() if name not in live.nodes]
    plan = _partial(differing, desired, live, scope)
    absent = [change for change in plan.changes if change.kind is Kind.DELETE and change.name not in seen]
    limits: tuple[Blocked, ...] = ()
    waiting: list[Change] = []
    if absent and unread:
        waiting = [change for change in absent if namespace_of(change.old, scope) in unread]
        absent = [change for change in absent if namespace_of(change.old, scope) not in unread]
    if absent:
        absent, limits = _over_limit(absent, owned, desired, live, scope, percent=max_delete_percent)
    absent += waiting
    changes = plan.changes
    if absent:
        blocked = {change.name for change in absent}
        changes = tuple(change for change in changes if change.name not in blocked)
    conflicts = (*plan.conflicts, *_collisions(desired, live))
    return Plan(plan.zone, plan.serial, changes, conflicts, tuple(absent), owned, limits)


def _over_limit(
    absent: list[Change], owned: int, desired: Desired, live: Live, scope: Scope, *, percent: int
) -> tuple[list[Change], tuple[Blocked, ...]]:
    """Return those of the deletions `absent` that the deletion limit blocks, and by which limits."""
    namespaces = [namespace_of(change.old, scope) for change in absent]
    gone = Counter(namespaces)
    # Whoever loses this few names is never over the limit: then nobody's names need to be counted.
    few = percent * LIMIT_FLOOR // 100
    if all(count <= few for count in gone.values()):
        have: Mapping[str, int] = {}
    else:
        have = _owned_bynamespace_of(desired, live, scope)
    blocked = {
        namespace: Blocked(namespace, count, have[namespace])
        for namespace, count in sorted(gone.items())
        if count > few and _exceeds(count, have[namespace], percent)
    }
    rest = owned - sum(each.owned for each in blocked.values())
    left = len(absent) - sum(each.count for each in blocked.values())
    if _exceeds(left, rest, percent):
        return absent, (*blocked.values(), Blocked(None, left, rest))
    kept = [change for change, namespace in zip(absent, namespaces, strict=True) if namespace in blocked]
    return kept, tuple(blocked.values())


def _exceeds(count: int, owned: int, percent: int) -> bool:
    return owned >= LIMIT_FLOOR and 100 * count > percent * owned


def _owned_bynamespace_of(desired: Desired, live: Live, scope: Scope) -> Counter[str]:
    """Return how many names are ours, by namespace."""
    have: Counter[str] = Counter()
    for name, found in live.nodes.items():
        if desired.get(name) == found:
            if name not in scope.protected:
                have[namespace_of(found, scope)] += 1
        elif is_owned(found, live, scope):
            have[namespace_of(found, scope)] += 1
    return have


def namespace_of(node: Node, scope: Scope) -> str:
    """Return the namespace that one of our names belongs to; empty where it belongs to none.

    The marker says so. Without markers it is the label directly below the base, `<vm>.<namespace>.<base>`: in the name
    itself, or in what a reverse name points to.
    """
    if scope.ownership is Ownership.TXT:
        text = node.get(TXT)
        return marker.owned_vmi(text.rdatas, scope.owner).partition("/")[0] if text else ""
    pointers = node.get(PTR) if PTR in scope.types else None
    name = pointers.rdatas[0] if pointers else node.name
    return names.child(name, scope.forward or scope.base).decode("latin-1")


def partial(touched: Collection[bytes], desired: Desired, live: Live, scope: Scope) -> Plan:
    """Return the plan for the names in `touched`, and the apex: the cost is theirs, not the zone's."""
    plan = _partial(touched, desired, live, scope)
    collisions = _collisions(desired, live, touched)
    return msgspec.structs.replace(plan, conflicts=(*plan.conflicts, *collisions)) if collisions else plan


def _partial(touched: Iterable[bytes], desired: Desired, live: Live, scope: Scope) -> Plan:
    changes: list[Change] = []
    conflicts: list[Conflict] = []
    nodes = live.nodes
    wanted = desired.get
    free = not live.cuts
    # Where the base is the apex, all names that are wanted in the zone are below it.
    anywhere = scope.ownership is Ownership.TXT or scope.base == live.zone
    for name in touched:
        want = wanted(name)
        found = nodes.get(name)
        if want == found:
            continue
        # The quick way to a new name.
        if found is None and want is not None and free and (anywhere or _can_be_owned(name, scope)):
            changes.append(Change(Node(name), want, Kind.ADD, scope.types))
            continue
        verdict = _judged(name, want, found or Node(name), live, scope)
        if isinstance(verdict, Conflict):
            conflicts.append(_attributed(verdict, desired))
        elif verdict is not None:
            changes.append(verdict)
    changes += _apex(live, scope)
    changes.sort(key=_by_branch)
    conflicts.sort(key=_by_branch)
    return Plan(live.zone, live.serial, tuple(changes), tuple(conflicts))


def owned_names(live: Live, scope: Scope) -> list[bytes]:
    """Return the names of the zone that are ours."""
    return [name for name, node in live.nodes.items() if is_owned(node, live, scope)]


def is_owned(node: Node, live: Live, scope: Scope, *, vmi: str = "") -> bool:
    """Return whether the name of `node` is ours to delete; with `vmi` and markers, whether it is that VMI's."""
    if node.name in scope.protected or (scope.base_only and not names.is_below(node.name, scope.base)):
        return False
    if any(names.is_below(node.name, other) for other in scope.excluded):
        return False
    if scope.ownership is Ownership.TXT:
        text = node.get(TXT)
        ours = _own_markers(text, scope) if text else {}
        return any(not vmi or mark.vmi == vmi for mark in ours.values())
    return _published(node, scope) and _can_be_owned(node.name, scope) and live.cut_above(node.name) is None


def _can_be_owned(name: bytes, scope: Scope) -> bool:
    """Return whether `name` can be ours where no marker says so: below the base, which is not."""
    return scope.ownership is Ownership.TXT or (name != scope.base and names.is_below(name, scope.base))


def _by_branch(item: Change | Conflict) -> bytes:
    """Sort key: the name from its end, so that names of one branch stand together; cheaper than canonical order."""
    return item.name[::-1]


def _judged(name: bytes, want: Node | None, found: Node, live: Live, scope: Scope) -> Change | Conflict | None:
    if want is None:
        if not is_owned(found, live, scope) or scope.policy is Policy.UPSERT_ONLY:
            return None
        return Change(found, _without_ours(found, scope), Kind.DELETE, scope.types)
    obstacle = _obstacle(found, live, scope)
    if obstacle:
        return Conflict(name, want, found, obstacle)
    if scope.ttl_cap is not None:
        want = _lowered(want, found, scope.ttl_cap)
        if want == found:
            return None
    if not found.rrsets:
        return Change(found, want, Kind.ADD, scope.types)
    return _judged_in_use(name, want, found, scope)


def _lowered(want: Node, found: Node, cap: int) -> Node:
    """Return `want` with the TTLs that the server made of it: `cap`, where it stands there already."""
    lower = {item.type for item in found.rrsets if item.ttl == cap}
    return Node(
        want.name,
        tuple(
            RRset(item.type, cap, item.rdatas) if item.ttl > cap and item.type in lower else item
            for item in want.rrsets
        ),
    )


def ttl_cap(change: Change, found: Node) -> int | None:
    """Return the TTL to which the server lowered those of an acknowledged `change`, where `found` stands there now.

    None where it did not: nothing is lower than it was sent, or what stands there differs in more than its TTLs. BIND
    lowers TTLs above its `max-zone-ttl` without a word.
    """
    caps: set[int] = set()
    for rdtype in {item.type for item in (*change.new.rrsets, *found.rrsets)}:
        sent, there = change.new.get(rdtype), found.get(rdtype)
        if sent is None or there is None or sent.rdatas != there.rdatas or sent.ttl < there.ttl:
            return None
        if there.ttl < sent.ttl:
            caps.add(there.ttl)
    cap = caps.pop() if len(caps) == 1 else None
    return cap if cap is not None and all(item.ttl <= cap for item in found.rrsets) else None


def _obstacle(found: Node, live: Live, scope: Scope) -> str:
    """Return why nothing can be published at the name of `found`, whoever owns it; empty where something can."""
    cut = live.cut_above(found.name)
    if cut is not None:
        return f"{names.to_text(cut)} is delegated, or a DNAME: it hides this name"
    if found.get(CNAME):
        return "a CNAME that is not ours stands there"
    if _can_be_owned(found.name, scope):
        return ""
    # What is published there could never be told from what others put there, or be deleted.
    return f"it is not below {names.to_text(scope.base)}, and OWNERSHIP=zone owns nothing else; OWNERSHIP=txt does"


def _judged_in_use(name: bytes, want: Node, found: Node, scope: Scope) -> Change | Conflict | None:
    if scope.ownership is Ownership.TXT:
        return _judged_by_marker(name, want, found, scope)
    kind = Kind.CHANGE if _published(found, scope) else Kind.ADD
    return _change(found, found.with_rrsets(want.rrsets, types=scope.types), kind, scope)


def _judged_by_marker(name: bytes, want: Node, found: Node, scope: Scope) -> Change | Conflict | None:
    text = found.get(TXT)
    ours = _own_markers(text, scope) if text else {}
    if ours and not _others(text, scope):
        return _change(found, _marked(want, found, ours, scope), Kind.CHANGE, scope)
    if name in scope.protected and _published(found, scope) and _same(want, found, scope):
        return None  # the zone's own record, right as it is and not marked: nothing to take over
    if not _published(found, scope) and not _is_taken(text):
        # What stands there is of types that we do not manage: an admin's SSHFP, a text. It stays, beside ours.
        return _change(found, _marked(want, found, {}, scope), Kind.ADD, scope)
    if scope.adopt and _same(want, found, scope) and not _owners(text):
        # With the wanted TTL at once: the name is ours then, and the next plan must find nothing to change.
        return _change(found, _marked(want, found, {}, scope), Kind.CHANGE, scope)
    return Conflict(name, want, found, _reason(found, want, scope))


def _reason(found: Node, want: Node, scope: Scope) -> str:
    text = found.get(TXT)
    others = _others(text, scope)
    if others and text and _own_markers(text, scope):
        return f"it carries our marker, and that of owner {', '.join(others)}: remove one of them"
    if others:
        return f"it belongs to owner {', '.join(others)} (we are {scope.owner})"
    if not _published(found, scope):
        return "a TXT record there says that another program owns it"
    if _same(want, found, scope):
        return "it exists with the wanted records, but without our marker: apply --adopt (ADOPT=true) takes it over"
    return "it exists without our marker"


def _change(found: Node, new: Node, kind: Kind, scope: Scope) -> Change | None:
    return None if new == found else Change(found, new, kind, scope.types)


def _published(node: Node, scope: Scope) -> bool:
    return any(item.type in scope.types for item in node.rrsets)


def _same(want: Node, found: Node, scope: Scope) -> bool:
    return all(_rdatas(want, rdtype) == _rdatas(found, rdtype) for rdtype in scope.types)


def _rdatas(node: Node, rdtype: int) -> tuple[bytes, ...]:
    item = node.get(rdtype)
    return item.rdatas if item else ()


def _own_markers(text: RRset, scope: Scope) -> dict[bytes, marker.Marker]:
    """Return our markers among the TXT records, by rdata."""
    found = {}
    for rdata in text.rdatas:
        parsed = marker.parse(rdata)
        if parsed is not None and parsed.owner == scope.owner:
            found[rdata] = parsed
    return found


def _is_taken(text: RRset | None) -> bool:
    """Return whether one of the TXT records says that the name has an owner."""
    return text is not None and any(marker.is_ownership(rdata) for rdata in text.rdatas)


def _owners(text: RRset | None) -> list[str]:
    parsed = [marker.parse(rdata) for rdata in text.rdatas] if text else []
    return sorted({item.owner for item in parsed if item is not None})


def _others(text: RRset | None, scope: Scope) -> list[str]:
    """Return the owners other than us whose markers stand among the TXT records."""
    return [owner for owner in _owners(text) if owner != scope.owner]


def _marked(want: Node, found: Node, ours: dict[bytes, marker.Marker], scope: Scope) -> Node:
    """Return `found` with the wanted records and exactly one marker of ours; foreign texts stay, to the TTL."""
    text = want.get(TXT)
    if text is None:
        raise ValueError("a wanted node without a marker, although names are owned by markers")
    mark = text.rdatas[0]
    parsed = marker.parse(mark)
    for rdata, known in ours.items():
        if parsed is not None and known.vmi == parsed.vmi:
            mark = rdata  # the same marker, perhaps with fields of a later version: kept as it is
            break
    else:
        extra = next((known.extra for known in ours.values() if known.extra), ())
        if extra and parsed is not None:
            mark = marker.Marker(parsed.owner, parsed.vmi, extra).rdata()
    there = found.get(TXT)
    foreign = [rdata for rdata in there.rdatas if rdata not in ours] if there else []
    # One RRset has one TTL: where foreign texts share it, theirs stays (RFC 2181, 5.2).
    ttl = there.ttl if there and foreign else text.ttl
    published = [item for item in want.rrsets if item.type in scope.types]
    return found.with_rrsets([*published, rrset(TXT, ttl, [*foreign, mark])], types=(*scope.types, TXT))


def _without_ours(found: Node, scope: Scope) -> Node:
    """Return what stays at a deleted name: everything but what is published and our marker.

    Where another owner's marker stands beside ours, only ours goes: the rest may well be the other's.
    """
    if scope.ownership is Ownership.ZONE:
        return found.with_rrsets((), types=scope.types)
    text = found.get(TXT)
    ours = _own_markers(text, scope) if text else {}
    foreign = [rdata for rdata in text.rdatas if rdata not in ours] if text else []
    kept = [RRset(TXT, text.ttl, tuple(foreign))] if text and foreign else []
    return found.with_rrsets(kept, types=(TXT,) if _others(text, scope) else (*scope.types, TXT))


def _apex(live: Live, scope: Scope) -> list[Change]:
    """Return the change that puts the zone's own NS at its apex, beside any other that stands there.

    Only the placeholder that a bundled zone starts with makes room, and only where the zone is ours alone.
    """
    if scope.apex is None:
        return []
    found = live.get(live.zone)
    there = found.get(NS)
    present = there.rdatas if there else ()
    rdatas = {*present, *scope.apex.rdatas}
    if scope.ownership is Ownership.ZONE:
        rdatas.discard(_PLACEHOLDER)
    ttl = there.ttl if there else scope.apex.ttl
    change = _change(found, found.with_rrsets([rrset(NS, ttl, rdatas)], types=(NS,)), Kind.CHANGE, scope)
    return [change] if change else []


def _attributed(conflict: Conflict, desired: Desired) -> Conflict:
    return msgspec.structs.replace(conflict, vmi=desired.vmi_of(conflict.name))


def _why(item: Collision) -> str:
    if not item.winner:
        return "the zone's own record"
    if item.annotation:
        return f"VMI {item.winner} has this name without an annotation, which comes first"
    return f"VMI {item.winner} has this name, it was created first"


def _collisions(desired: Desired, live: Live, touched: Collection[bytes] | None = None) -> list[Conflict]:
    """Return the names that two VMIs want, as conflicts of the one that does not get it."""
    return [
        Conflict(
            item.name,
            item.wanted,
            live.get(item.name),
            _why(item),
            item.loser,
        )
        for item in desired.collisions(touched)
    ]
