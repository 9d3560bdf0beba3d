# SPDX-License-Identifier: Apache-2.0
"""VMIs -> the nodes that the zone should hold, by owner name."""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from enum import Enum

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.warning import VmiWarning, WarningCode, shortened
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import PTR, Node
from ksd_ddns.zone.desired.claims import ZONE, Claim, Claims, Collision, MemberClaim, rank, shared
from ksd_ddns.zone.desired.groups import Delta, GroupCounts, Groups, includes, shared_node
from ksd_ddns.zone.desired.records import own_records
from ksd_ddns.zone.desired.rules import Rules
from ksd_ddns.zone.desired.unpublished import Unpublished, unpublished
from ksd_ddns.zone.desired.vmi_names import VmiNames, vmi_names
from ksd_ddns.zone.quota import Quota

_NO_NAMES: frozenset[bytes] = frozenset()


class Effect(Enum):
    """What adding a VMI would do to the records that it wants."""

    NONE = "none"
    REMOVES = "removes"
    CHANGES = "changes"


class Desired:
    """The desired zone content: what the VMIs want, and the zone's own records.

    The cost of every method depends on the VMI and the names that it affects, never on the number of VMIs.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._claims = Claims(rules)
        self._groups = Groups()
        self._shared: dict[bytes, Node] = {}  # the nodes of groups, until a member changes
        self._by_vmi: dict[str, tuple[Claim, ...]] = {}
        self._warnings: dict[str, tuple[VmiWarning, ...]] = {}
        self._quota = Quota(rules.max_namespace_names) if rules.max_namespace_names else None
        self._sharing: dict[str, Vmi] = {}
        self._changed_warnings: set[str] = set()
        self._latest: tuple[Vmi, VmiNames] | None = None
        for node in own_records(rules):
            self._claims.add(Claim((ZONE, 0, "", "", ""), "", node))

    def put(self, vmi: Vmi) -> set[bytes]:
        """Add or replace `vmi`; return the names whose content that may change."""
        key = vmi.key
        wanted = self._names_of(vmi)
        self._latest = None
        if self._quota is None:
            return self._replace(key, wanted, len(wanted))
        others = self._quota.put(key, rank(vmi), len(wanted))
        if len(wanted):
            self._sharing[key] = vmi
        else:
            self._sharing.pop(key, None)
        dirty = self._replace(key, wanted, self._quota.granted(key))
        return self._share_out(others, dirty)

    def remove(self, key: str) -> set[bytes]:
        """Remove the VMI `namespace/name`; return the names whose content that may change."""
        dirty = self._remove_claims(key)
        self._warnings.pop(key, None)
        if self._quota is None:
            return dirty
        self._sharing.pop(key, None)
        return self._share_out(self._quota.remove(key), dirty)

    def effect(self, vmi: Vmi) -> Effect:
        """Return what `put` would do to the records that `vmi` wants; `remove`, if it is no longer published."""
        key = vmi.key
        wanted = self._names_of(vmi)
        self._latest = vmi, wanted  # `put` usually follows
        before = self._by_vmi.get(key, ())
        short = self._quota is not None and self._quota.is_short(key)
        most = self._quota.granted(key) if self._quota is not None and short else len(wanted)
        after = wanted.claims(most, self._rules)
        if after == before:
            return Effect.NONE
        groups = self._groups
        nodes = {
            each.node.name: each.node
            for each in before
            if not isinstance(each, MemberClaim) or groups.is_published(each)
        }
        published = (each.node for each in after if not isinstance(each, MemberClaim) or groups.would_publish(each))
        if all(_is_part(node, nodes.get(node.name)) for node in published):
            return Effect.REMOVES
        return Effect.CHANGES

    def get(self, name: bytes) -> Node | None:
        """Return the node wanted at `name`, or None if nothing is wanted."""
        holder = self._claims.holders.get(name)
        if holder is None:
            return None
        rules = self._rules
        if not isinstance(holder, list):
            node = holder.node
            return node if not rules.reverse or len(node.rrsets[0].rdatas) < 10 else shared([holder], rules)
        if rules.reverse:
            return shared(holder, rules)
        if not isinstance(holder[0], MemberClaim):
            return holder[0].node
        found = self._shared.get(name)
        if found is None:
            found = self._shared[name] = shared_node(holder, rules)
        return found

    def vmi_of(self, name: bytes) -> str:
        """Return `namespace/name` of the VMI that has `name`, empty for the zone's own records and unwanted names."""
        holder = self._claims.holders.get(name)
        if holder is None:
            return ""
        return holder[0].vmi if isinstance(holder, list) else holder.vmi

    def claims_on(self, name: bytes) -> tuple[Claim, ...]:
        """Return all claims on `name`, the one that has it first."""
        holder = self._claims.holders.get(name)
        if holder is None:
            return ()
        return tuple(holder) if isinstance(holder, list) else (holder,)

    def first_claims(self, name: bytes, most: int) -> tuple[Claim, ...]:
        """Return the first `most` claims on `name`: a group may have thousands."""
        holder = self._claims.holders.get(name)
        if holder is None:
            return ()
        return tuple(holder[:most]) if isinstance(holder, list) else (holder,)

    def unready_members(self, name: bytes, most: int) -> tuple[int, list[MemberClaim]]:
        """Return the number of members that the group `name` does not publish, and the first `most` of them."""
        return self._groups.unready_members(name, most)

    def is_published(self, claim: MemberClaim) -> bool:
        """Return whether a member is one of those that its group publishes; over the limit, it is one of them."""
        return self._groups.is_published(claim)

    @property
    def groups(self) -> GroupCounts:
        """The number of groups and members."""
        return self._groups.counts

    def claims_of(self, key: str) -> tuple[Claim, ...]:
        """Return the claims of the VMI `namespace/name`, also those that lost their name."""
        return self._by_vmi.get(key, ())

    def names(self) -> Iterable[bytes]:
        """Return every wanted name."""
        return self._claims.holders.keys()

    def __len__(self) -> int:
        return len(self._claims.holders)

    @property
    def warned(self) -> int:
        """The number of VMIs with warnings. Those of reverse zones do not count: they repeat the main zone's."""
        return len(self._warnings)

    def unpublished(self, vmi: Vmi) -> Unpublished | None:
        """Return why `vmi` wants no name at all, None if it wants some."""
        return None if vmi.key in self._by_vmi else unpublished(vmi, self._rules)

    def warnings_of(self, key: str) -> tuple[VmiWarning, ...]:
        """Return the warnings about the VMI `namespace/name`."""
        found = self._warnings.get(key, ())
        if self._groups:
            found = (*self._full_groups(key), *found)
        left_out = self._left_out(key) if self._rules.reverse else []
        if not left_out:
            return found
        value = shortened(names.to_text(left_out[0]))
        return (VmiWarning(vmi=key, code=WarningCode.MAX_RRSET, value=value, count=len(left_out)), *found)

    def warnings(self) -> list[VmiWarning]:
        """Return the warnings about all VMIs, in the order of their names."""
        keys = self._warnings.keys() | (self._by_vmi.keys() if self._rules.reverse else self._groups.keys())
        return [warning for key in sorted(keys) for warning in self.warnings_of(key)]

    def take_changed_warnings(self) -> set[str]:
        """Return the VMIs whose warnings may have changed, since the last call, because of other VMIs."""
        found = self._changed_warnings | self._claims.displaced
        self._changed_warnings.clear()
        self._claims.displaced.clear()
        return found

    def collisions(self, among: Collection[bytes] | None = None, *, loser: str = "") -> list[Collision]:
        """Return every claim that lost its name (one of `among`, or any) to another VMI's, in the order of names.

        With `loser` only those of this VMI.
        """
        return [] if self._rules.reverse else self._claims.collisions(among, loser=loser)

    def _names_of(self, vmi: Vmi) -> VmiNames:
        if self._latest is not None and self._latest[0] is vmi:
            return self._latest[1]
        return vmi_names(vmi, self._rules)

    def _replace(self, key: str, wanted: VmiNames, most: int) -> set[bytes]:
        """Replace the claims of the VMI `key` by those on the first `most` names of `wanted`."""
        claims = wanted.claims(most, self._rules)
        # A member that stays must not leave first: the group would forget that it was the last one ready.
        stays = {claim.node.name for claim in claims if isinstance(claim, MemberClaim)} if wanted.groups else _NO_NAMES
        dirty = self._remove_claims(key, stays)
        for claim in claims:
            if isinstance(claim, MemberClaim):
                self._apply(self._groups.join(claim))
            else:
                self._claims.add(claim)
        if claims:
            self._by_vmi[key] = claims
            dirty.update([claim.node.name for claim in claims])
        warnings = () if self._rules.reverse else wanted.warnings(most, self._rules)
        if warnings:
            self._warnings[key] = warnings
        else:
            self._warnings.pop(key, None)
        return dirty

    def _share_out(self, others: set[str], dirty: set[bytes]) -> set[bytes]:
        """Give the VMIs `others` their new number of names; return `dirty` and the names that may change."""
        if self._quota is not None:
            for key in others:
                wanted = vmi_names(self._sharing[key], self._rules)
                dirty |= self._replace(key, wanted, self._quota.granted(key))
        self._changed_warnings |= others
        return dirty

    def _remove_claims(self, key: str, stays: AbstractSet[bytes] = _NO_NAMES) -> set[bytes]:
        """Remove the claims of a VMI, without its memberships of the groups `stays`; return their names."""
        claims = self._by_vmi.pop(key, None)
        if claims is None:
            return set()
        for claim in claims:
            if not isinstance(claim, MemberClaim):
                self._claims.remove(claim)
            elif claim.node.name not in stays:
                self._apply(self._groups.leave(claim.node.name, key))
        return {claim.node.name for claim in claims}

    def _apply(self, delta: Delta) -> None:
        gone, new = delta
        for claim in gone:
            self._shared.pop(claim.node.name, None)
            self._claims.remove(claim)
        for claim in new:
            self._shared.pop(claim.node.name, None)
            self._claims.add(claim)

    def _full_groups(self, key: str) -> list[VmiWarning]:
        """Return the warnings about the groups that have no room for all addresses of the VMI `key`."""
        limit = self._rules.max_rrset
        return [
            VmiWarning(
                vmi=key, code=WarningCode.GROUP_FULL, value=shortened(names.to_text(claim.node.name)), limit=limit
            )
            for claim in self._by_vmi.get(key, ())
            if isinstance(claim, MemberClaim) and self._groups.is_published(claim)
            if isinstance(holder := self._claims.holders.get(claim.node.name), list)
            and isinstance(holder[0], MemberClaim)
            if not includes(self.get(claim.node.name), claim.node)
        ]

    def _left_out(self, key: str) -> list[bytes]:
        """Return the reverse names at which some PTR records of the VMI `key` exceed MAX_RRSET."""
        left_out = []
        for claim in self._by_vmi.get(key, ()):
            node = self.get(claim.node.name)
            if node is claim.node:
                continue
            published, wanted = node.get(PTR) if node else None, claim.node.get(PTR)
            if wanted and published and not set(wanted.rdatas) <= set(published.rdatas):
                left_out.append(claim.node.name)
        return left_out


def _is_part(node: Node, full: Node | None) -> bool:
    """Return whether all records of `node` are in `full`."""
    for item in node.rrsets:
        found = full.get(item.type) if full else None
        if found is None or found.ttl != item.ttl or not set(item.rdatas) <= set(found.rdatas):
            return False
    return True


def desired(vmis: Iterable[Vmi], rules: Rules) -> Desired:
    """Return what `vmis` want."""
    wanted = Desired(rules)
    for vmi in vmis:
        wanted.put(vmi)
    return wanted
