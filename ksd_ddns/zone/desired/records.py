# SPDX-License-Identifier: Apache-2.0
"""The RRsets of a name: its addresses, or its pointers, and the ownership record."""

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from ksd_ddns.wire.rrset import AAAA, TXT, A, Node, RRset, rrset
from ksd_ddns.zone.desired.rules import Rules
from ksd_ddns.zone.ownership_record import OwnershipRecord

Families: TypeAlias = tuple[tuple[bytes, ...], tuple[bytes, ...]]
"""Addresses by family: IPv4, then IPv6."""


def families(addresses: tuple[bytes, ...]) -> Families:
    """Return packed addresses by family, in their order."""
    if len(addresses) == 1:  # most interfaces
        return (addresses, ()) if len(addresses[0]) == 4 else ((), addresses)
    return tuple([each for each in addresses if len(each) == 4]), tuple([each for each in addresses if len(each) == 16])


def address_rrsets(addresses: Families, ttl: int, vmi: str, rules: Rules) -> tuple[RRset, ...]:
    """Return the RRsets of a name with these addresses, sorted by type; with the ownership record if there are any."""
    v4, v6 = addresses
    rrsets: list[RRset] = []
    if v4:
        rrsets.append(rrset(A, ttl, v4))
    if rules.owner:
        rrsets.append(RRset(TXT, ttl, (_ownership_record(rules.owner, vmi),)))
    if v6:
        rrsets.append(rrset(AAAA, ttl, v6))
    return tuple(rrsets)


def with_ownership_record(published: RRset, vmi: str, rules: Rules) -> tuple[RRset, ...]:
    """Return an RRset of a lower type than TXT with the ownership record next to it."""
    if not rules.owner:
        return (published,)
    return published, RRset(TXT, published.ttl, (_ownership_record(rules.owner, vmi),))


@lru_cache(maxsize=64)
def _ownership_record(owner: str, vmi: str) -> bytes:
    # Cached: all names of one VMI have the same ownership record, one after the other.
    return OwnershipRecord(owner, vmi).rdata()


def own_records(rules: Rules) -> Iterable[Node]:
    """Return the zone's own records: `ns.<base>`, if NAME_SERVER_IP is set and the base is the zone's apex.

    Inside a larger zone an NS at the base would be a delegation that hides everything below it.
    """
    if not rules.name_server or rules.base != rules.zone or rules.reverse:
        return
    yield Node(rules.name_server_name, address_rrsets(families(rules.name_server), rules.ttl, "", rules))
