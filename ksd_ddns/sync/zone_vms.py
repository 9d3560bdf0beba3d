# SPDX-License-Identifier: Apache-2.0
"""Publishes what one zone knows about each VM to the index of VMs, at a cost proportional to what has changed.

A VM is dirty when its VMI, one of its names, or the state of a name has changed. Only the rows of dirty VMs are
made again, all of them only after a plan for the full zone.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from ksd_ddns.sync.vm_index import KEPT_CHANGES, AcceptedChange, NameProblem, VmIndex, ZonePart, ZoneTimes
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import PTR, TXT, Node
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import Claim, MemberClaim
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.ownership_record import owned
from ksd_ddns.zone.plan import Change, Conflict, lowered
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.events import Accepted, Fact, Planned, Refused, Released, WarningsChanged

SOME = 500
"""Maximum number of dirty VMs to publish at once: an event must not wait for the rows of thousands."""


class ZoneVms:
    """The VMs of the zone with this number, as its controller sees them. Not thread-safe."""

    def __init__(self, index: VmIndex, zone: int, reconciler: Reconciler) -> None:
        self._index = index
        self._zone = zone
        self._reconciler = reconciler
        self._dirty: set[str] = set()
        self._by_name: dict[bytes, list[tuple[Conflict, float]]] = {}
        self._conflicts: dict[str, dict[bytes, tuple[Conflict, float]]] = {}
        self._refused: set[str] = set()
        self._leftover: dict[bytes, str] = {}  # refused names that no VMI wants any longer, and whose they were
        self._leftovers: dict[str, set[bytes]] = {}
        self._last_ready: set[str] = set()  # not ready, but in their group until another member is
        self._blocked: dict[str, list[Change]] = {}
        self._blocked_names = 0
        self._held_names: dict[bytes, bool] = {}  # only while rows are made: many VMs may share a name
        self._known: set[str] = set()
        self._changed: dict[str, float] = {}
        self._changed_at: float | None = None
        self._synced_at: float | None = None

    def use(self, facts: Iterable[Fact], now: float) -> None:
        """Note which VMs the facts are about."""
        vmi_of = self._reconciler.desired.vmi_of
        dirty, accepted = self._dirty, []
        for fact in facts:
            match fact:
                case Accepted():
                    accepted.append(fact)
                    name = fact.change.name
                    key = vmi_of(name)
                    dirty.add(key)
                    if name in self._leftover:
                        dirty.add(self._leftover[name])
                    self._changed[key] = now
                case Refused():
                    dirty.add(vmi_of(fact.refusal.name) or self._left(fact.refusal.name))
                case Released():
                    dirty |= self._refused
                case WarningsChanged():
                    dirty |= fact.vmis
                case Planned():
                    dirty |= self._last_ready
                    self._take_plan(fact, now)
                case _:
                    pass
        if accepted:
            self._changed_at = now
            self._remember(accepted[-KEPT_CHANGES:], now)

    def publish(self, now: float, *, idle: bool) -> bool:
        """Publish the times and the rows of dirty VMs; if they are many, only when `idle`, and some of them at a time.

        Return whether the rows of others remain to be published when idle.
        """
        reconciler = self._reconciler
        dirty = self._dirty
        dirty |= reconciler.inventory.take_changed()
        dirty.discard("")
        if dirty and (idle or len(dirty) <= SOME):
            some = set(islice(dirty, SOME))
            if self._shares:
                some |= self._sharing(some)
            dirty.difference_update(some)
            self._index.put(self._zone, {key: self._part(key) for key in some})
            self._held_names.clear()
        if reconciler.synced and reconciler.settled and reconciler.problem is None:
            self._synced_at = now
        times = ZoneTimes(
            synced=self._synced_at,
            changed=self._changed_at,
            read=reconciler.last_full_read,
            retries={group.cause: group.retry_at for group in reconciler.refusals.groups()},
        )
        self._index.put_times(self._zone, times)
        return bool(dirty)

    def _remember(self, accepted: Sequence[Accepted], now: float) -> None:
        vmi_of, owner = self._reconciler.desired.vmi_of, self._reconciler.scope.owner
        self._index.add_changes(
            [
                AcceptedChange(
                    now,
                    vmi_of(fact.change.name),
                    fact.change,
                    None if fact.since is None else now - fact.since,
                    owner,
                )
                for fact in accepted
            ]
        )

    def _take_plan(self, fact: Planned, now: float) -> None:
        """Take the conflicts and the blocked deletions of a plan for the full zone, or for some names."""
        if fact.dirty is None:
            self._dirty |= self._known
            self._dirty.update(self._reconciler.inventory.keys())
            before, self._by_name, self._conflicts = self._by_name, {}, {}
        else:
            before = self._remove_conflicts(fact.dirty) if self._by_name else {}
            self._dirty.update(self._leftover[name] for name in self._leftover.keys() & fact.dirty)
        for conflict in fact.plan.conflicts:
            since = next((since for each, since in before.get(conflict.name, ()) if each.cause is conflict.cause), now)
            self._by_name.setdefault(conflict.name, []).append((conflict, since))
            self._conflicts.setdefault(conflict.vmi, {})[conflict.name] = conflict, since
            self._dirty.add(conflict.vmi)
        self._dirty.update(map(self._reconciler.desired.vmi_of, (change.name for change in fact.plan.changes)))
        blocked = self._reconciler.deletions.blocked
        if len(blocked) != self._blocked_names or (blocked and fact.dirty is None):
            self._take_blocked()

    def _remove_conflicts(self, dirty: Collection[bytes]) -> dict[bytes, list[tuple[Conflict, float]]]:
        """Remove and return the conflicts at `dirty` names: the plan lists those that remain."""
        found = {name: self._by_name.pop(name) for name in dirty if name in self._by_name}
        for conflicts in found.values():
            for conflict, _ in conflicts:
                of_vmi = self._conflicts.get(conflict.vmi, {})
                of_vmi.pop(conflict.name, None)
                if not of_vmi:
                    self._conflicts.pop(conflict.vmi, None)
                self._dirty.add(conflict.vmi)
        return found

    def _take_blocked(self) -> None:
        blocked: dict[str, list[Change]] = {}
        for change in self._reconciler.deletions.blocked.values():
            blocked.setdefault(self._deleted_vmi(change.old), []).append(change)
        self._dirty |= self._blocked.keys() | blocked.keys()
        self._blocked = blocked
        self._blocked_names = len(self._reconciler.deletions.blocked)

    def _left(self, name: bytes) -> str:
        """Note a refused name that no VMI wants; return the VMI that it belonged to."""
        key = self._deleted_vmi(self._reconciler.live.get(name))
        if key:
            self._leftover[name] = key
            self._leftovers.setdefault(key, set()).add(name)
        return key

    def _refused_leftovers(self, key: str) -> list[NameProblem]:
        """Return the names that a VMI no longer wants, and that the primary refuses to delete; forget all others."""
        refusals, desired = self._reconciler.refusals, self._reconciler.desired
        found = []
        for name in sorted(self._leftovers.pop(key, ())):
            refusal = refusals.get(name)
            if refusal is None or desired.claims_on(name):
                del self._leftover[name]
                continue
            self._leftovers.setdefault(key, set()).add(name)
            found.append(NameProblem(name, State.REFUSED, refusal, refusal.since))
        return found

    def _deleted_vmi(self, old: Node) -> str:
        """Return the VMI that a name belonged to, from its ownership record; without one, from the name."""
        scope = self._reconciler.scope
        if (record := owned(old.get(TXT), scope.owner)) and record.vmi:
            return record.vmi
        pointers = old.get(PTR)
        base = scope.forward or scope.base
        name = pointers.rdatas[0] if pointers else old.name
        namespace = names.child(name, base)
        vmi = names.child(name, bytes([len(namespace)]) + namespace + base) if namespace else b""
        return f"{namespace.decode('latin-1')}/{vmi.decode('latin-1')}" if vmi else ""

    def _part(self, key: str) -> ZonePart | None:
        """Return what the zone knows about a VM, None if nothing."""
        reconciler = self._reconciler
        vmi = reconciler.inventory.get(key)
        claims = reconciler.desired.claims_of(key)
        problems = [NameProblem(change.name, State.BLOCKED, change) for change in self._blocked.get(key, ())]
        if key in self._leftovers:
            problems += self._refused_leftovers(key)
        if vmi is None and not problems:
            self._known.discard(key)
            self._refused.discard(key)
            self._changed.pop(key, None)
            return None
        self._known.add(key)
        unready = vmi is not None and not vmi.ready and bool(vmi.groups)
        in_dns, repeated, waiting = self._look_at(key, claims, unready=unready)
        problems += waiting
        if any(problem.state is State.REFUSED for problem in problems):
            self._refused.add(key)
        elif self._refused:
            self._refused.discard(key)
        if unready and _stays(claims, problems):
            self._last_ready.add(key)
        else:
            self._last_ready.discard(key)
        return ZonePart(
            vmi,
            claims,
            in_dns,
            repeated,
            tuple(problems),
            reconciler.inventory.held_families(key),
            reconciler.desired.warnings_of(key),
            reconciler.inventory.waits(key),
            self._changed.get(key),
            reconciler.desired.unpublished(vmi) if vmi is not None and not claims else None,
        )

    def _look_at(self, key: str, claims: Collection[Claim], *, unready: bool) -> tuple[int, int, list[NameProblem]]:
        """Return how many names of a VM are in DNS, how many of these are counted for others, and the other names."""
        reconciler = self._reconciler
        conflicts, refusals = self._conflicts.get(key, {}), reconciler.refusals
        nodes = reconciler.live.nodes
        careful = bool(conflicts) or len(refusals) > 0 or unready
        shares = self._shares
        in_dns = repeated = 0
        problems: list[NameProblem] = []
        for claim in claims:
            node = claim.node
            name = node.name
            if not careful and nodes.get(name) == node:  # the fast path
                in_dns += 1
                repeated += shares and self._repeats(claim)
                continue
            if conflicts and name in conflicts:
                conflict, since = conflicts[name]
                problems.append(NameProblem(name, State.CONFLICT, conflict, since))
            elif refusals and (refusal := refusals.get(name)) is not None:
                problems.append(NameProblem(name, State.REFUSED, refusal, refusal.since))
            elif unready and isinstance(claim, MemberClaim) and not reconciler.desired.is_published(claim):
                problems.append(NameProblem(name, State.SKIPPED))
            elif self._holds(claim, nodes.get(name)):
                in_dns += 1
                repeated += shares and self._repeats(claim)
            else:
                problems.append(NameProblem(name, State.PENDING))
        return in_dns, repeated, problems

    @property
    def _shares(self) -> bool:
        """Whether VMs may share names in this zone."""
        return PTR in self._reconciler.scope.types or self._reconciler.desired.groups.groups > 0

    def _is_shared(self, claim: Claim) -> bool:
        """Return whether several VMs may have the name: that of a group, or of an address."""
        return isinstance(claim, MemberClaim) or PTR in self._reconciler.scope.types

    def _repeats(self, claim: Claim) -> bool:
        """Return whether the name is counted for another VM: the first that wants it."""
        return self._is_shared(claim) and self._reconciler.desired.first_claims(claim.node.name, 1) != (claim,)

    def _sharing(self, keys: Collection[str]) -> set[str]:
        """Return the VMs that names of the VMs `keys` were or are now counted for."""
        desired = self._reconciler.desired
        found: set[str] = set()
        for key in keys:
            row = self._index.get(key)
            part = row.parts[self._zone] if row is not None and self._zone < len(row.parts) else None
            for claim in (*(part.claims if part is not None else ()), *desired.claims_of(key)):
                if self._is_shared(claim):
                    found.update(each.vmi for each in desired.first_claims(claim.node.name, 2))
        return found

    def _holds(self, claim: Claim, found: Node | None) -> bool:
        """Return whether the zone holds what the VM wants at a name."""
        node = claim.node
        if found is None or found.rrsets == node.rrsets:
            return found is not None
        reconciler = self._reconciler
        cap = reconciler.scope.ttl_cap
        if cap is not None and lowered(node, found, cap).rrsets == found.rrsets:
            return True
        # There are other records next to ours, or records of several VMs: let the planner decide.
        held = self._held_names.get(node.name)
        if held is None:
            plan = planning.partial((node.name,), reconciler.desired, reconciler.live, reconciler.scope)
            held = not any(change.name == node.name for change in plan.changes)
            self._held_names[node.name] = held
        return held


def _stays(claims: Iterable[Claim], problems: Iterable[NameProblem]) -> bool:
    """Return whether a VM that is not ready is still published in one of its groups."""
    skipped = sum(problem.state is State.SKIPPED for problem in problems)
    return skipped < sum(isinstance(claim, MemberClaim) for claim in claims)
