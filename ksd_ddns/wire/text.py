# SPDX-License-Identifier: Apache-2.0
"""Presentation form of record types and rdata (RFC 1035, 5.1; RFC 3597, 5)."""

import re
from socket import AF_INET, AF_INET6, inet_ntop

from ksd_ddns.wire import names, txt
from ksd_ddns.wire.rrset import AAAA, CNAME, DNAME, NS, PTR, SOA, SRV, TXT, A

_PLAIN = re.compile(rb"[ !#-\[\]-~]*\Z")  # printable, neither quote nor backslash
_TYPES = {A: "A", NS: "NS", CNAME: "CNAME", SOA: "SOA", PTR: "PTR", TXT: "TXT", AAAA: "AAAA", SRV: "SRV"}
_TYPES |= {DNAME: "DNAME"}
# Other types found in zones; this package does not parse their rdata.
_TYPES |= {
    13: "HINFO", 15: "MX", 17: "RP", 29: "LOC", 35: "NAPTR", 37: "CERT", 43: "DS", 44: "SSHFP",
    48: "DNSKEY", 49: "DHCID", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY",
    64: "SVCB", 65: "HTTPS", 99: "SPF", 256: "URI", 257: "CAA",
}  # fmt: skip


def rdtype_text(rdtype: int) -> str:
    """Return the mnemonic of `rdtype`, or TYPEn (RFC 3597, 5)."""
    return _TYPES.get(rdtype) or f"TYPE{rdtype}"


def is_readable(rdtype: int) -> bool:
    """Return whether rdata of `rdtype` has a readable presentation form here."""
    return rdtype in {A, AAAA, TXT, NS, CNAME, PTR, DNAME, SRV}


def rdata_text(rdtype: int, rdata: bytes) -> str:
    """Return `rdata` in presentation form, in the generic form of RFC 3597 for types not supported here."""
    if (rdtype == A and len(rdata) == 4) or (rdtype == AAAA and len(rdata) == 16):
        return address_text(rdata)
    if rdtype == TXT:
        return " ".join(_quoted(string) for string in txt.strings(rdata))
    if rdtype in {NS, CNAME, PTR, DNAME}:
        return names.to_text(rdata)
    if rdtype == SRV and len(rdata) > 6:
        priority, weight, port = (int.from_bytes(rdata[at : at + 2], "big") for at in (0, 2, 4))
        return f"{priority} {weight} {port} {names.to_text(rdata[6:])}"
    return f"\\# {len(rdata)} {rdata.hex()}" if rdata else "\\# 0"


def address_text(address: bytes) -> str:
    """Return a packed IPv4 or IPv6 address as text."""
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def _quoted(string: bytes) -> str:
    if _PLAIN.match(string):
        return f'"{string.decode("ascii")}"'
    escaped = "".join(
        f"\\{octet:03d}" if not 0x20 <= octet <= 0x7E else ("\\" if octet in b'"\\' else "") + chr(octet)
        for octet in string
    )
    return f'"{escaped}"'
