# SPDX-License-Identifier: Apache-2.0
"""Groups: names that several VMIs share, and which of their members are published.

The ready members are published. If no member is ready, the last ready ones stay, until they are deleted or another
member becomes ready: an address that may not respond is better than none.
"""

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import AAAA, TXT, A, Node, RRset, rrset
from ksd_ddns.zone.desired.claims import Claim
from ksd_ddns.zone.desired.hostnames import namespace_domain
from ksd_ddns.zone.desired.records import Families, families
from ksd_ddns.zone.desired.rules import Rules
from ksd_ddns.zone.ownership_record import OwnershipRecord


class _Group:
    __slots__ = ("members", "published", "ready")

    def __init__(self) -> None:
        self.members: dict[str, Claim] = {}
        self.ready: set[str] = set()
        self.published: dict[str, Claim] = {}


Delta = tuple[list[Claim], list[Claim]]
"""Claims that are no longer published, and those that are now."""


class Groups:
    """The members of every group, by the group's owner name."""

    def __init__(self) -> None:
        self._groups: dict[bytes, _Group] = {}

    def members(self) -> set[str]:
        """Return the VMIs that are members of any group, ready or not."""
        return {key for group in self._groups.values() for key in group.members}

    def join(self, claim: Claim) -> Delta:
        """Add a member, or replace what it wants; return which claims that changes."""
        group = self._groups.setdefault(claim.node.name, _Group())
        before = dict(group.published)
        key = claim.vmi
        group.members[key] = claim
        if claim.ready:
            group.ready.add(key)
        else:
            group.ready.discard(key)
        if group.ready:
            for other in [other for other in group.published if other not in group.ready]:
                del group.published[other]
            if claim.ready:
                group.published[key] = claim
        # A new VMI with the same name was never ready.
        elif claim.was_ready or (key in before and before[key].rank == claim.rank):
            group.published[key] = claim
        else:
            group.published.pop(key, None)
        return _delta(before, group.published)

    def leave(self, name: bytes, key: str) -> Delta:
        """Remove the member `key` of the group `name`; return which claims that changes."""
        group = self._groups[name]
        del group.members[key]
        group.ready.discard(key)
        gone = group.published.pop(key, None)
        if not group.members:
            del self._groups[name]
        return [gone] if gone else [], []


def _delta(before: dict[str, Claim], after: dict[str, Claim]) -> Delta:
    gone = [claim for key, claim in before.items() if after.get(key) is not claim]
    new = [claim for key, claim in after.items() if before.get(key) is not claim]
    return gone, new


def group_name(vmi: Vmi, group: str, rules: Rules) -> bytes | None:
    """Return the owner name `<group>.<namespace>.<base>`, or None if it cannot be a DNS name."""
    label, domain = names.legal_label(group), namespace_domain(vmi.namespace, rules.base)
    if label is None or domain is None:
        return None
    name = label + domain
    return name if len(name) <= names.MAX_NAME else None


def member_node(name: bytes, addresses: Families, ttl: int, subject: str, rules: Rules) -> Node:
    """Return what one member wants at the name of the group `subject` (`namespace/name`)."""
    rrsets: list[RRset] = []
    if addresses[0]:
        rrsets.append(rrset(A, ttl, addresses[0]))
    if rules.owner:
        rrsets.append(RRset(TXT, ttl, (OwnershipRecord(rules.owner, group=subject).rdata(),)))
    if addresses[1]:
        rrsets.append(rrset(AAAA, ttl, addresses[1]))
    return Node(name, tuple(rrsets))


def shared_node(claims: list[Claim], rules: Rules) -> Node:
    """Return the node with the addresses of all `claims`, as many of a family as one RRset may hold, first ones first.

    It has the lowest TTL of the members.
    """
    if len(claims) == 1:
        return claims[0].node
    ttl = min(item.ttl for claim in claims for item in claim.node.rrsets)
    found: dict[bytes, None] = {}
    for claim in claims:
        for rdtype in (A, AAAA):
            item = claim.node.get(rdtype)
            if item is not None:
                found.update(dict.fromkeys(item.rdatas))
    v4, v6 = families(tuple(found))
    most = rules.max_rrset
    subject = claims[0].node.get(TXT)
    rrsets = [rrset(A, ttl, v4[:most])] if v4 else []
    if subject is not None:
        rrsets.append(RRset(TXT, ttl, subject.rdatas))
    if v6:
        rrsets.append(rrset(AAAA, ttl, v6[:most]))
    return Node(claims[0].node.name, tuple(rrsets))


def has_no_room(claim: Claim, claims: list[Claim], most: int) -> bool:
    """Return whether addresses of `claim` are over the limit after those of the `claims` before it."""
    v4 = v6 = 0
    for each in claims:
        for item in each.node.rrsets:
            v4 += len(item.rdatas) if item.type == A else 0
            v6 += len(item.rdatas) if item.type == AAAA else 0
        if each is claim:
            return bool(v4 > most and each.node.get(A)) or bool(v6 > most and each.node.get(AAAA))
        if min(v4, v6) >= most:
            break
    return any(each is claim for each in claims)
