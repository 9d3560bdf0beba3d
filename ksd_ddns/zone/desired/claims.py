# SPDX-License-Identifier: Apache-2.0
"""Claims on names, and which of several claims on one name wins.

A claim from an interface wins over one from a hostname, and that over those of a group's members, which share the name.
Otherwise the VMI that was created first wins. So the result depends on the VMIs alone, never on the order of events.
"""

from bisect import bisect_left, insort
from collections.abc import Collection
from typing import TypeAlias

import msgspec

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire.codec import STATEMENT_OVERHEAD
from ksd_ddns.wire.rrset import PTR, Node, rrset
from ksd_ddns.zone.desired.rules import Rules
from ksd_ddns.zone.quota import Rank

ZONE, INTERFACE, ANNOTATION, GROUP = -1, 0, 1, 2
"""The origins of a claim, the strongest first."""

MAX_OCTETS = 30_000
"""Octets of the records of VMIs at one name, without name compression: one UPDATE message must hold those that were
read and those that are wanted."""

ClaimRank: TypeAlias = tuple[int, int, str, str, str]


class Claim(msgspec.Struct, frozen=True, gc=False):
    """The node that one VMI wants at one name. Of several claims on a name the one with the lowest rank wins."""

    rank: ClaimRank
    vmi: str
    node: Node


class MemberClaim(Claim, frozen=True, gc=False):
    """The claim of a group's member: `ready` if it serves, `was_ready` if the zone has its records."""

    ready: bool
    was_ready: bool


class Collision(msgspec.Struct, frozen=True):
    """A name that `loser` wants and `winner` has.

    `annotation`: the name is that of an interface of the winner, and the loser wants it only for an annotation.
    `group`: the winner has the name for a hostname, and the loser is the first member of a group. Otherwise the winner
    was created first. `winner` is empty for the zone's own records.
    """

    name: bytes
    winner: str
    loser: str
    wanted: Node
    annotation: bool = False
    group: bool = False


def rank(vmi: Vmi) -> Rank:
    """Return the rank of `vmi`: older VMIs come first."""
    return vmi.created, vmi.namespace, vmi.name, vmi.uid


class Claims:
    """All claims, by name. `holders` has one claim for each name, or several in the order of their ranks.

    `displaced` gathers the VMIs whose record exceeds MAX_RRSET, or no longer does, because of a claim of another VMI.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._contested: set[bytes] = set()
        self.holders: dict[bytes, Claim | list[Claim]] = {}
        self.displaced: set[str] = set()

    def add(self, claim: Claim) -> None:
        """Add a claim."""
        name = claim.node.name
        holder = self.holders.get(name)
        if holder is None:
            self.holders[name] = claim
            return
        if not isinstance(holder, list):
            self.holders[name] = holder = [holder]
            self._contested.add(name)
        insort(holder, claim, key=_rank_of)
        self._displace(holder, claim)

    def remove(self, claim: Claim) -> None:
        """Remove a claim."""
        name = claim.node.name
        holder = self.holders[name]
        if not isinstance(holder, list):
            del self.holders[name]
            return
        self._displace(holder, claim)
        del holder[bisect_left(holder, claim.rank, key=_rank_of)]
        if len(holder) == 1:
            self.holders[name] = holder[0]
            self._contested.discard(name)

    def collisions(self, among: Collection[bytes] | None, *, loser: str = "") -> list[Collision]:
        """Return every claim that lost its name (one of `among`, or any) to another claim, in the order of names.

        With `loser` only those of this VMI: thousands may want a name.
        """
        found: list[Collision] = []
        for name in sorted(self._contested if among is None else self._contested.intersection(among)):
            holder = self.holders[name]
            if not isinstance(holder, list) or isinstance(holder[0], MemberClaim):
                continue
            winner = holder[0]
            losers = [claim for claim in holder[1:] if not isinstance(claim, MemberClaim)]
            losers += [claim for claim in holder if isinstance(claim, MemberClaim)][:1]  # a group may have thousands
            found += [
                Collision(
                    name,
                    winner.vmi,
                    claim.vmi,
                    claim.node,
                    annotation=INTERFACE == winner.rank[0] < claim.rank[0],
                    group=winner.rank[0] == ANNOTATION and isinstance(claim, MemberClaim),
                )
                for claim in losers
                if loser in {"", claim.vmi}
            ]
        return found

    def _displace(self, claims: list[Claim], moving: Claim) -> None:
        """Note the VMI whose record exceeds MAX_RRSET, or no longer does, when `moving` is added or removed."""
        if len(claims) > self._rules.max_rrset and (self._rules.reverse or isinstance(claims[0], MemberClaim)):
            at_limit = claims[self._rules.max_rrset]
            if moving.rank < at_limit.rank:
                self.displaced.add(at_limit.vmi)


def _rank_of(claim: Claim) -> ClaimRank:
    return claim.rank


def shared(claims: list[Claim], rules: Rules) -> Node:
    """Return the node of the first claim with the PTR records of all of them: one address, several names.

    It has as many as one RRset may hold, those of the first claims.
    """
    first = claims[0].node
    ttl = claims[0].node.rrsets[0].ttl
    found: dict[bytes, None] = {}
    room = MAX_OCTETS
    for claim in claims:
        item = claim.node.get(PTR)
        if item is None:
            continue
        for rdata in item.rdatas:
            room -= len(first.name) + STATEMENT_OVERHEAD + len(rdata)
            if room < 0 or len(found) == rules.max_rrset:
                return first.with_rrsets([rrset(PTR, ttl, found)], types=(PTR,))
            found[rdata] = None
            ttl = min(ttl, item.ttl)
    return first.with_rrsets([rrset(PTR, ttl, found)], types=(PTR,))
