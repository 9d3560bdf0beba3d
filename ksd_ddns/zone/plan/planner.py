# SPDX-License-Identifier: Apache-2.0
"""The planner: for each name what is wanted and what exists, and so what to do.

    wanted   in the zone                          ->
    ------   ----------------------------------   --------------------------------------------
    yes      nothing                              add
    yes      ours, the same                       nothing
    yes      ours, different                      change
    yes      not ours                             conflict (with `adopt` and equal records: change)
    yes      of an owner in `take_over`           change, and ours from then on
    yes      a CNAME, a delegation or DNAME       conflict
    yes      unreadable                           conflict
    no       ours                                 delete, unless the deletion limit blocks it; last, if it moves
    no       not ours                             nothing (the index forgets the name, if it lists it)
    no       unreadable                           nothing

A change carries what was seen and what is wanted: what was seen becomes the prerequisites of the update, so a zone that
changed in the meantime refuses it. The plan does not know how it is shown or sent.
"""

from collections.abc import Collection, Iterable

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import NS, Node, rrset
from ksd_ddns.zone import index
from ksd_ddns.zone.desired import Collision, Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan.change import Blocked, Change, Kind, Plan
from ksd_ddns.zone.plan.conflict import Conflict, ConflictCause
from ksd_ddns.zone.plan.deletion_limit import over_limit
from ksd_ddns.zone.plan.moves import moved, moves
from ksd_ddns.zone.plan.ownership import (
    can_be_owned,
    change_between,
    is_owned,
    namespace_of,
    obstacle,
    verdict_in_use,
    without_ours,
)
from ksd_ddns.zone.plan.scope import Ownership, Policy, Scope
from ksd_ddns.zone.plan.ttl import lowered

_PLACEHOLDER = names.from_text("localhost.")
"""The out-of-zone name server of a bundled zone that has no address for its own yet."""


def full(
    desired: Desired,
    live: Live,
    scope: Scope,
    *,
    max_delete_percent: int = 100,
    seen: Collection[bytes] = (),
    incomplete: Collection[str] = (),
) -> Plan:
    """Return the plan for the full zone: every wanted name, and every name of ours that is no longer wanted.

    The deletion limit applies to deletions that follow only from absence in a list, so not to the names in `seen`,
    whose deletion was seen, and not to moves, also those that a restart interrupted. It blocks those that exceed
    `max_delete_percent` of the owned names, if at least LIMIT_FLOOR are owned: first in each namespace, then in all
    remaining ones together. It blocks all such deletions in the `incomplete` namespaces, of which not all VMIs are
    known. The rest of the plan is not affected.
    """
    differing, owned = _differing(desired, live, scope)
    plan = _partial(differing, desired, live, scope, collisions(desired, live))
    absent = [
        change
        for change in plan.changes
        if change.kind is Kind.DELETE and change.name not in seen and change.name not in plan.moves
    ]
    if absent:
        # An index that is no longer used holds no names, and its deletion needs no limit.
        head = index.head(scope.base, scope.owner)
        unused = len(absent)
        absent = [change for change in absent if not names.is_below(change.name, head)]
        owned -= unused - len(absent)
    limits: tuple[Blocked, ...] = ()
    waiting: list[Change] = []
    if absent and incomplete:
        uncertain = {*incomplete, ""}  # a name that does not show its namespace may be in one of them
        waiting = [change for change in absent if namespace_of(change.old, scope) in uncertain]
        absent = [change for change in absent if namespace_of(change.old, scope) not in uncertain]
    if absent and max_delete_percent < 100:
        arrived = moved(absent, desired, live, scope)
        absent = [change for change in absent if change.name not in arrived]
    if absent:
        absent, limits = over_limit(absent, owned, desired, live, scope, percent=max_delete_percent)
    absent += waiting
    changes = plan.changes
    if absent:
        blocked = {change.name for change in absent}
        changes = tuple(change for change in changes if change.name not in blocked)
    return Plan(plan.zone, plan.serial, changes, plan.conflicts, tuple(absent), owned, limits, plan.moves)


def _differing(desired: Desired, live: Live, scope: Scope) -> tuple[list[bytes], int]:
    """Return the names that may need a change, and the number of names in the zone that are ours."""
    owned = 0
    differing: list[bytes] = []
    for name, found in live.nodes.items():
        want = desired.get(name)
        if want == found:  # then it is ours: the fast path through a zone that is in sync
            owned += name not in scope.protected
        elif is_owned(found, live, scope):
            owned += 1
            differing.append(name)
        elif want is not None or found.index:
            differing.append(name)
    differing += [name for name in desired.names() if name not in live.nodes]
    return differing, owned


def partial(dirty: Collection[bytes], desired: Desired, live: Live, scope: Scope) -> Plan:
    """Return the plan for the names in `dirty` and the apex. The cost depends on them, not on the zone."""
    return _partial(dirty, desired, live, scope, collisions(desired, live, dirty))


def _partial(
    dirty: Iterable[bytes], desired: Desired, live: Live, scope: Scope, lost: Collection[Conflict] = ()
) -> Plan:
    """Return the plan for the names in `dirty`; `lost` are the conflicts between VMIs."""
    changes: list[Change] = []
    conflicts: list[Conflict] = []
    nodes = live.nodes
    wanted = desired.get
    free = not live.cuts and not live.unreadable
    # If the base is the apex, all wanted names in the zone are below it.
    anywhere = scope.ownership is Ownership.TXT or scope.base == live.zone
    for name in dirty:
        want = wanted(name)
        found = nodes.get(name)
        if want == found:
            continue
        # The fast path for a new name.
        if found is None and want is not None and free and (anywhere or can_be_owned(name, scope)):
            changes.append(Change(Node(name), want, Kind.ADD, scope.types))
            continue
        outcome = verdict(want, found or Node(name), live, scope)
        if isinstance(outcome, Conflict):
            conflicts.append(msgspec.structs.replace(outcome, vmi=desired.vmi_of(name)))
        elif outcome is not None:
            changes.append(outcome)
    changes += _apex(live, scope)
    changes.sort(key=_by_subtree)
    conflicts.sort(key=_by_subtree)
    conflicts += lost
    moving = moves(changes, conflicts, desired, scope)
    if moving:
        changes.sort(key=lambda change: change.name in moving)  # stable
    return Plan(live.zone, live.serial, tuple(changes), tuple(conflicts), moves=moving)


def _by_subtree(item: Change | Conflict) -> bytes:
    """Sort key: the reversed name, so that names of one subtree are adjacent; cheaper than canonical order."""
    return item.name[::-1]


def verdict(want: Node | None, found: Node, live: Live, scope: Scope) -> Change | Conflict | None:
    """Return what to do with a name that is wanted (or not: None) and has been found in the zone; None: nothing."""
    if want is None:
        return _unwanted(found, live, scope)
    conflict = obstacle(want, found, live, scope)
    if conflict is not None:
        return conflict
    if scope.ttl_cap is not None:
        want = lowered(want, found, scope.ttl_cap)
        if want == found:
            return None
    if not found.rrsets:
        return Change(found, want, Kind.ADD, scope.types)
    return verdict_in_use(want, found, scope)


def _unwanted(found: Node, live: Live, scope: Scope) -> Change | None:
    """Return what to do with a name that is not wanted."""
    if found.name in live.unreadable:
        return None
    if not is_owned(found, live, scope):
        # The index may list a name that is not ours.
        return change_between(found, found.with_index(()), Kind.CHANGE, scope)
    if scope.policy is Policy.UPSERT_ONLY:
        return None
    return Change(found, without_ours(found, scope), Kind.DELETE, scope.types)


def _apex(live: Live, scope: Scope) -> list[Change]:
    """Return the change that adds the zone's own NS at its apex, next to any other NS there.

    Only the placeholder that a bundled zone starts with is replaced, and only with OWNERSHIP=zone.
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
    change = change_between(found, found.with_rrsets([rrset(NS, ttl, rdatas)], types=(NS,)), Kind.CHANGE, scope)
    return [change] if change else []


def collisions(
    desired: Desired, live: Live, dirty: Collection[bytes] | None = None, *, loser: str = ""
) -> list[Conflict]:
    """Return the names that several VMIs want, as conflicts of the VMIs that do not get them, or of `loser` alone."""
    return [
        Conflict(item.name, item.wanted, live.get(item.name), _cause(item), vmi=item.loser, winner=item.winner)
        for item in desired.collisions(dirty, loser=loser)
    ]


def _cause(collision: Collision) -> ConflictCause:
    if not collision.winner:
        return ConflictCause.ZONE_RECORD
    if collision.annotation:
        return ConflictCause.INTERFACE_FIRST
    return ConflictCause.HOSTNAME_FIRST if collision.group else ConflictCause.OLDER_VMI
