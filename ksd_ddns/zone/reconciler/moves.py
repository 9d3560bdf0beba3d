# SPDX-License-Identifier: Apache-2.0
"""Moves in progress: deletions that wait until a new name of the VMI is in DNS (see `plan.moves`).

An old name is deleted when each new name is confirmed, refused or in conflict, and the names of the VMI that are in DNS
have its addresses. If none of them can be published, the old name stays, as long as its addresses are right.
"""

from collections.abc import Collection, Iterator

from ksd_ddns.zone.desired import Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Change, Kind, Ownership, Plan, Scope, addresses, is_owned, verdict, vmi_of
from ksd_ddns.zone.reconciler.refusals import Refusals
from ksd_ddns.zone.reconciler.unconfirmed import Unconfirmed


class Moves:
    """The old names that wait, each with the new names. `recheck`: what they waited for may have happened."""

    def __init__(self, desired: Desired, refusals: Refusals, unconfirmed: Unconfirmed) -> None:
        self._desired = desired
        self._refusals = refusals
        self._unconfirmed = unconfirmed
        self._new: dict[bytes, frozenset[bytes]] = {}
        self.recheck = False

    def __len__(self) -> int:
        return len(self._new)

    def __contains__(self, name: object) -> bool:
        return name in self._new

    def new_names(self, old: bytes) -> frozenset[bytes]:
        """Return the new names for which the deletion of `old` waits, none if it does not wait."""
        return self._new.get(old, frozenset())

    def note_finished(self) -> None:
        """Note that changes were answered, or that the zone was read."""
        self.recheck = bool(self._new)

    def take(self, plan: Plan, dirty: Collection[bytes] | None, live: Live, scope: Scope) -> set[bytes]:
        """Take a plan for the names in `dirty`, or for all; return which of its deletions must wait."""
        if not plan.moves and not self._new:
            return set()
        for old, new in plan.moves.items():
            self._new[old] = self.new_names(old) | new
        deleted = {change.name for change in plan.changes if change.kind is Kind.DELETE}
        planned = set(self._new) if dirty is None else self._new.keys() & dirty
        waiting = {old for old in planned & deleted if not self._may_go(old, live, scope)}
        for old in planned - waiting:
            del self._new[old]
        return waiting

    def ready(self, live: Live, scope: Scope) -> Iterator[bytes]:
        """Yield the old names that no longer have to wait."""
        self.recheck = False
        for old in self._new:
            if self._may_go(old, live, scope):
                yield old

    def _may_go(self, old: bytes, live: Live, scope: Scope) -> bool:
        if any(self._is_pending(name, live, scope) for name in self._new[old]):
            return False
        if scope.ownership is Ownership.ZONE:
            return True  # the new names may be those of another VMI, which got the addresses
        node = live.get(old)
        vmi = vmi_of(node, scope)
        claims = self._desired.claims_of(vmi)
        wanted = {address for claim in claims for address in addresses(claim.node)}
        there = {
            address
            for name in (claim.node.name for claim in claims)
            if self._desired.vmi_of(name) == vmi and name not in self._unconfirmed
            if is_owned(live.get(name), live, scope, vmi=vmi)
            for address in addresses(live.get(name))
        }
        gone = addresses(node)
        return gone <= there or not gone <= wanted

    def _is_pending(self, name: bytes, live: Live, scope: Scope) -> bool:
        """Return whether a new name may still be published soon."""
        want = self._desired.get(name)
        if want is None or name in self._refusals:
            return False
        return name in self._unconfirmed or isinstance(verdict(want, live.get(name), live, scope), Change)
