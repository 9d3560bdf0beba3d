# SPDX-License-Identifier: Apache-2.0
"""Groups: names that several VMIs share, and which of their members are published.

The ready members are published. If no member is ready, the last ones that were stay, until they are gone or another
member becomes ready: an address that may not answer is better than none. With GROUP_SRV the same holds for each service
of a group, `_<port name>._<protocol>.<group>`: its members are those of the group that have the port.
"""

from collections.abc import Iterable
from heapq import nsmallest

import msgspec

from ksd_ddns.kubevirt.groups import Port
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.codec import STATEMENT_OVERHEAD
from ksd_ddns.wire.rrset import AAAA, SRV, TXT, A, Node, rrset
from ksd_ddns.zone.desired.claims import MAX_OCTETS, Claim, ClaimRank, MemberClaim
from ksd_ddns.zone.desired.hostnames import namespace_domain
from ksd_ddns.zone.desired.records import Families
from ksd_ddns.zone.desired.rules import Rules
from ksd_ddns.zone.ownership_record import OwnershipRecord

EXAMINED = 10
"""Members that are examined for one name, as a multiple of MAX_RRSET: a change of one must not cost time for all."""


class GroupCounts(msgspec.Struct):
    """Groups, those without a ready member, and the members of all groups. A VMI in two groups is two members."""

    groups: int = 0
    unserved: int = 0
    ready: int = 0
    unready: int = 0


class _Group:
    __slots__ = ("members", "published", "ready")

    def __init__(self) -> None:
        self.members: dict[str, MemberClaim] = {}
        self.ready: set[str] = set()
        self.published: dict[str, MemberClaim] = {}


Delta = tuple[list[MemberClaim], list[MemberClaim]]
"""Claims that are no longer published, and those that are now."""


class Groups:
    """The members of every group and service, by owner name. A change costs no more in a larger group."""

    def __init__(self) -> None:
        self._groups: dict[bytes, _Group] = {}
        self.counts = GroupCounts()

    def __len__(self) -> int:
        return len(self._groups)

    def keys(self) -> set[str]:
        """Return the VMIs that are members of any group, ready or not."""
        return {key for group in self._groups.values() for key in group.members}

    def unready_members(self, name: bytes, most: int) -> tuple[int, list[MemberClaim]]:
        """Return the number of members that the group does not publish, and the `most` oldest VMIs of them."""
        group = self._groups.get(name)
        count = len(group.members) - len(group.published) if group is not None else 0
        if group is None or not count:
            return 0, []
        found = (claim for key, claim in group.members.items() if key not in group.published)
        return count, nsmallest(most, found, key=_rank_of)

    def is_published(self, claim: MemberClaim) -> bool:
        """Return whether the member is among those that the group publishes."""
        group = self._groups.get(claim.node.name)
        return group is not None and group.published.get(claim.vmi) is claim

    def would_publish(self, claim: MemberClaim) -> bool:
        """Return whether the member is published once it has joined: it is ready, or the last one that was."""
        group = self._groups.get(claim.node.name)
        if claim.ready or group is None:
            return claim.ready or claim.was_ready
        if group.ready and group.ready != {claim.vmi}:
            return False
        before = group.published.get(claim.vmi)
        # A successor with the same name was never ready.
        return claim.was_ready or (before is not None and before.rank == claim.rank)

    def join(self, claim: MemberClaim) -> Delta:
        """Add a member, or replace what it wants; return which claims that changes."""
        name, key = claim.node.name, claim.vmi
        published = self.would_publish(claim)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        else:
            self._count(name, group, -1)
        gone = [group.published.pop(key)] if key in group.published else []
        if claim.ready:
            if not group.ready:
                gone += group.published.values()
                group.published.clear()
            group.ready.add(key)
        else:
            group.ready.discard(key)
        group.members[key] = claim
        if published:
            group.published[key] = claim
        self._count(name, group, 1)
        return gone, [claim] if published else []

    def leave(self, name: bytes, key: str) -> Delta:
        """Remove the member `key` of the group `name`; return which claims that changes."""
        group = self._groups[name]
        self._count(name, group, -1)
        del group.members[key]
        group.ready.discard(key)
        gone = group.published.pop(key, None)
        if group.members:
            self._count(name, group, 1)
        else:
            del self._groups[name]
        return [gone] if gone else [], []

    def _count(self, name: bytes, group: _Group, sign: int) -> None:
        if is_service(name):
            return
        self.counts.groups += sign
        self.counts.unserved += 0 if group.ready else sign
        self.counts.ready += sign * len(group.ready)
        self.counts.unready += sign * (len(group.members) - len(group.ready))


def _rank_of(claim: Claim) -> ClaimRank:
    return claim.rank


def group_name(vmi: Vmi, group: str, rules: Rules) -> bytes | None:
    """Return the owner name `<group>.<namespace>.<base>`, or None if it cannot be a DNS name."""
    label, domain = names.legal_label(group), namespace_domain(vmi.namespace, rules.base)
    if label is None or domain is None:
        return None
    name = label + domain
    return name if len(name) <= names.MAX_NAME else None


def service_name(port: Port, group: bytes) -> bytes | None:
    """Return the owner name `_<port name>._<protocol>.<group>` (RFC 2782), or None if it is too long."""
    labels = (b"_" + port.name.encode("ascii"), b"_" + port.protocol.encode("ascii"))
    name = b"".join(bytes([len(label)]) + label for label in labels) + group
    return name if len(name) <= names.MAX_NAME else None


def is_service(name: bytes) -> bool:
    """Return whether `name` is that of a service (RFC 2782): its first two labels begin with an underscore."""
    return name[1:2] == b"_" and names.parent(name)[1:2] == b"_"


def service_rdata(port: Port, target: bytes) -> bytes:
    """Return the SRV rdata for a port of the host `target` (RFC 2782); all members have the same priority."""
    return bytes(4) + port.number.to_bytes(2, "big") + target


def member_node(name: bytes, addresses: Families, ttl: int, subject: str, rules: Rules) -> Node:
    """Return what one member wants at the name of the group `subject` (`namespace/name`)."""
    return _node(name, ttl, [(A, addresses[0]), (AAAA, addresses[1])], _ownership(subject, rules))


def service_node(name: bytes, rdatas: Iterable[bytes], ttl: int, subject: str, rules: Rules) -> Node:
    """Return what one member wants at the name of a service of the group `subject`."""
    return _node(name, ttl, [(SRV, rdatas)], _ownership(subject, rules))


def shared_node(claims: list[Claim], rules: Rules) -> Node:
    """Return the node with the records of all `claims`, as many of a type as one RRset may hold, first ones first.

    It has the lowest TTL of the members that have a record in it.
    """
    first = claims[0].node
    if len(claims) == 1:
        return first
    most = rules.max_rrset
    overhead = len(first.name) + STATEMENT_OVERHEAD
    found: dict[int, dict[bytes, None]] = {A: {}, AAAA: {}, SRV: {}}
    room = MAX_OCTETS
    ttl = first.rrsets[0].ttl
    for claim in claims[: EXAMINED * most]:
        for item in claim.node.rrsets:
            there = found.get(item.type)
            if there is None:
                continue  # the ownership record
            for rdata in item.rdatas:
                size = overhead + len(rdata)
                if rdata in there or (len(there) < most and room >= size):
                    room -= 0 if rdata in there else size
                    there[rdata] = None
                    ttl = min(ttl, item.ttl)
    text = first.get(TXT)
    return _node(first.name, ttl, found.items(), text.rdatas if text is not None else ())


def _ownership(subject: str, rules: Rules) -> tuple[bytes, ...]:
    return (OwnershipRecord(rules.owner, group=subject).rdata(),) if rules.owner else ()


def _node(
    name: bytes, ttl: int, published: Iterable[tuple[int, Iterable[bytes]]], ownership: tuple[bytes, ...]
) -> Node:
    """Return the node of these records, sorted by type, without the types that have none."""
    found = sorted((rdtype, tuple(rdatas)) for rdtype, rdatas in (*published, (TXT, ownership)))
    return Node(name, tuple([rrset(rdtype, ttl, rdatas) for rdtype, rdatas in found if rdatas]))


def includes(node: Node | None, wanted: Node) -> bool:
    """Return whether all records of `wanted` are in `node`, whatever their TTL."""
    for item in wanted.rrsets:
        there = node.get(item.type) if node else None
        if there is None or not set(item.rdatas) <= set(there.rdatas):
            return False
    return True
