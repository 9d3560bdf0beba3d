# SPDX-License-Identifier: Apache-2.0
"""The state of a name in one zone, from its reconciler."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isinf

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import PTR, TXT, Node
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import ANNOTATION, Claim, MemberClaim
from ksd_ddns.zone.explain.model import CLAIMS, ClaimFact, Hold, Member, NameExplanation, RefusalFact, Skip, State
from ksd_ddns.zone.hold import Vanished
from ksd_ddns.zone.plan import Change, Conflict, Kind
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewpoint:
    """Who looks at a zone: `sends` is false for a process that only plans, and `server` is the primary.

    `hold_down` is HOLD_DOWN in seconds, None if another process holds addresses. With `full_zone` the names that
    remain of a VMI are looked for in the full zone, not only in the unfinished work.
    """

    server: str
    sends: bool
    hold_down: float | None = None
    full_zone: bool = False


class Names:
    """Explains names of one zone. Only reads the reconciler; the cost depends on the name, not on the zone."""

    def __init__(self, reconciler: Reconciler, at: Viewpoint) -> None:
        self._reconciler = reconciler
        self._at = at

    def of_name(self, name: bytes) -> NameExplanation:
        """Explain `name`, for any VMI that wants it."""
        desired = self._reconciler.desired
        claims = desired.claims_on(name)
        found = self._explained(name, claims, claims[0] if claims else None, ())
        if claims and isinstance(claims[0], MemberClaim):
            return replace(found, wanted=desired.get(name) or found.wanted)
        if found.claims and found.state is State.UNUSED:
            return replace(found, state=State.SKIPPED, skip=Skip.NO_READY_MEMBER)
        return found

    def of_claim(self, claim: Claim, holds: tuple[Hold, ...]) -> NameExplanation:
        """Explain the name of a VMI's claim, for that VMI."""
        name = claim.node.name
        claims = self._reconciler.desired.claims_on(name)
        return self._explained(name, claims, claim, holds)

    def over_quota(self, wanted: Node, limit: int) -> NameExplanation:
        """Explain a name that a VMI would want if its namespace had no limit."""
        name = wanted.name
        found = self._explained(name, self._reconciler.desired.claims_on(name), None, ())
        skip = Skip.MAX_NAMES_PER_NAMESPACE
        return replace(found, state=State.SKIPPED, wanted=wanted, skip=skip, limit=limit)

    def _explained(
        self, name: bytes, claims: tuple[Claim, ...], claim: Claim | None, holds: tuple[Hold, ...]
    ) -> NameExplanation:
        reconciler = self._reconciler
        live, scope, desired = reconciler.live, reconciler.scope, reconciler.desired
        found = live.get(name)
        wanted = claim.node if claim else Node(name)
        waiting, unready = desired.unready_members(name, CLAIMS)
        base = NameExplanation(
            zone=reconciler.zone,
            name=name,
            state=State.UNKNOWN,
            wanted=wanted,
            found=found,
            claims=self._facts(name, (*claims[:CLAIMS], *unready)),
            claimed=len(claims) + waiting,
            owners=tuple(ownership_record.records(found.get(TXT)).values()),
            ours=planning.is_owned(found, live, scope),
            hold=next((hold for hold in holds if _holds(hold, wanted)), None),
        )
        if reconciler.reads.live is None or not live.is_known(name):
            return base
        member = isinstance(claim, MemberClaim)
        if isinstance(claim, MemberClaim) and not desired.is_published(claim):
            return replace(base, state=State.SKIPPED, skip=Skip.NOT_READY)
        shared = claim is not None and (PTR in scope.types or (member and isinstance(claims[0], MemberClaim)))
        if shared and not _includes(desired.get(name), wanted, scope.types):
            limit = reconciler.rules.max_rrset
            return replace(base, state=State.SKIPPED, skip=Skip.MAX_RRSET, limit=limit)
        if claim is not None and not shared and claims[0] is not claim:
            # Of the members of a group, the conflict names the first one only.
            key = next(each.vmi for each in claims if isinstance(each, MemberClaim)) if member else claim.vmi
            lost = next(iter(planning.collisions(desired, live, {name}, loser=key)), None)
            conflict = msgspec.structs.replace(lost, vmi=claim.vmi) if lost is not None else None
            return replace(base, state=State.CONFLICT, conflict=conflict)
        outcome = planning.verdict(desired.get(name), found, live, scope)
        if isinstance(outcome, Conflict):
            vmi = claim.vmi if claim else ""
            conflict = msgspec.structs.replace(outcome, vmi=vmi)
            return replace(base, state=State.CONFLICT, conflict=conflict)
        return self._progress(base, outcome)

    def _facts(self, name: bytes, claims: tuple[Claim, ...]) -> tuple[ClaimFact, ...]:
        """Return the claims on `name` as facts, each with whether it gets the name."""
        types = self._reconciler.scope.types
        if not claims or not (PTR in types or isinstance(claims[0], MemberClaim)):
            return tuple(_fact(each, served=each is claims[0]) for each in claims)
        if isinstance(claims[0], MemberClaim):
            return tuple(self._member_fact(each) for each in claims if isinstance(each, MemberClaim))
        node = self._reconciler.desired.get(name)
        there = {item.type: set(item.rdatas) for item in node.rrsets} if node else {}
        return tuple(
            _fact(
                each,
                served=_all_in(each.node, there, types) and not isinstance(each, MemberClaim),
            )
            for each in claims
        )

    def _progress(self, base: NameExplanation, change: Change | None) -> NameExplanation:
        """Return `base` with what became of the `change` that its name needs."""
        reconciler, name = self._reconciler, base.name
        if change is not None:
            return self._unfinished(replace(base, change=change.kind))
        if name in reconciler.unconfirmed:
            return replace(base, state=State.PENDING, unconfirmed_since=reconciler.unconfirmed.accepted_at(name))
        if reconciler.desired.claims_on(name):
            return replace(base, state=State.HELD if base.hold else State.PUBLISHED)
        return replace(base, state=_unwanted(base, reconciler))

    def _unfinished(self, base: NameExplanation) -> NameExplanation:
        reconciler, name = self._reconciler, base.name
        refusal = reconciler.refusals.get(name)
        if refusal is not None:
            return replace(base, state=State.REFUSED, refusal=self._fact(refusal))
        if name in reconciler.deletions.blocked:
            return replace(base, state=State.BLOCKED, limits=reconciler.deletions.limits)
        if self._at.sends:
            moves_to = sorted(reconciler.moves.new_names(name), key=names.canonical)
            return replace(base, state=State.PENDING, moves_to=tuple(moves_to))
        return replace(base, state=State.LEFTOVER if base.change is Kind.DELETE else State.MISSING)

    def _member_fact(self, claim: MemberClaim) -> ClaimFact:
        member = self._member(claim)
        return _fact(claim, served=member in {Member.PUBLISHED, Member.LAST}, member=member)

    def _member(self, claim: MemberClaim) -> Member:
        desired, types = self._reconciler.desired, self._reconciler.scope.types
        if not desired.is_published(claim):
            return Member.NOT_READY
        if not _includes(desired.get(claim.node.name), claim.node, types):
            return Member.OVER_LIMIT
        return Member.PUBLISHED if claim.ready else Member.LAST

    def _fact(self, refusal: Refusal) -> RefusalFact:
        reconciler = self._reconciler
        return RefusalFact(
            refusal=refusal,
            server=self._at.server,
            retry_at=reconciler.refusals.retry_at(refusal.cause),
            accepts=not reconciler.acceptance.refuses,
            ours=reconciler.holds_our_names,
        )


def holds_of(
    found: Mapping[Vanished, tuple[float, tuple[bytes, ...]]], outage: float, *, lasts: float | None
) -> tuple[Hold, ...]:
    """Return held address families as facts; no hold ends before `outage` does.

    `lasts` is HOLD_DOWN in seconds, None if another process holds them.
    """
    return tuple(
        Hold(
            interface=interface,
            rdtype=rdtype,
            addresses=addresses,
            since=None if lasts is None else until - lasts,
            until=None if lasts is None or isinf(outage) else max(until, outage),
        )
        for (interface, rdtype), (until, addresses) in found.items()
    )


def _fact(claim: Claim, *, served: bool, member: Member | None = None) -> ClaimFact:
    origin, created, *_ = claim.rank
    return ClaimFact(
        vmi=claim.vmi,
        annotation=origin == ANNOTATION,
        created=created,
        group=isinstance(claim, MemberClaim),
        wanted=claim.node,
        served=served,
        member=member,
    )


def _holds(hold: Hold, wanted: Node) -> bool:
    item = wanted.get(hold.rdtype)
    return item is not None and any(address in item.rdatas for address in hold.addresses)


def _includes(node: Node | None, wanted: Node, types: tuple[int, ...]) -> bool:
    """Return whether all records of `wanted` with these types are in `node`."""
    return _all_in(wanted, {item.type: set(item.rdatas) for item in node.rrsets} if node else {}, types)


def _all_in(wanted: Node, there: Mapping[int, set[bytes]], types: tuple[int, ...]) -> bool:
    """Return whether all records of `wanted` with these types are `there`."""
    return all(there.get(item.type, set()).issuperset(item.rdatas) for item in wanted.rrsets if item.type in types)


def _unwanted(base: NameExplanation, reconciler: Reconciler) -> State:
    """Return the state of a name that no VMI wants, and that needs no change."""
    if base.ours:
        return State.LEFTOVER
    types = reconciler.scope.types
    return State.FOREIGN if any(item.type in types for item in base.found.rrsets) or base.owners else State.UNUSED
