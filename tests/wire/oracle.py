# SPDX-License-Identifier: Apache-2.0
"""Messages as dnspython parses them, in the types of the core."""

from collections.abc import Iterable

import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset

from ksd_ddns.wire.codec import Record

# Types whose names are lowercased: those that old implementations compress, and those with the same canonical form.
FOLDED = frozenset(
    int(dns.rdatatype.from_text(rdtype))
    for rdtype in ("NS", "CNAME", "SOA", "PTR", "MX", "RP", "AFSDB", "RT", "PX", "SRV", "NAPTR", "KX", "DNAME")
)


def plain(value: dns.name.Name | dns.rdata.Rdata) -> bytes:
    """Return the uncompressed wire form of `value`."""
    found = value.to_wire()
    assert found is not None
    return found


def octets(rdata: dns.rdata.Rdata) -> bytes:
    """Return `rdata` as `wire.read` promises it: its names lowercased if the type may be compressed."""
    return rdata.to_digestable() if rdata.rdtype in FOLDED else plain(rdata)


def oracle(wire: bytes) -> dns.message.Message:
    """Return the message in `wire`, record by record, without verifying its signature."""
    return dns.message.from_wire(wire, keyring=False, multi=True, one_rr_per_rrset=True)


def records(section: Iterable[dns.rrset.RRset]) -> list[Record]:
    """Return the records of a section of dnspython's."""
    return [
        (each.name.to_digestable(), int(each.rdtype), each.ttl, octets(rdata)) for each in section for rdata in each
    ]
