"""Presentation form of record types and rdata (RFC 1035, 5.1; RFC 3597, 5)."""

import re
from socket import AF_INET, AF_INET6, inet_ntop

from ksd_ddns.zone import marker, names
from ksd_ddns.zone.rrset import AAAA, CNAME, DNAME, NS, PTR, SOA, TXT, A

_PLAIN = re.compile(rb"[ !#-\[\]-~]*\Z")  # printable, neither quote nor backslash
_TYPES = {A: "A", NS: "NS", CNAME: "CNAME", SOA: "SOA", PTR: "PTR", TXT: "TXT", AAAA: "AAAA", DNAME: "DNAME"}


def rdtype_text(rdtype: int) -> str:
    """Return the mnemonic of `rdtype`, or TYPEn (RFC 3597, 5)."""
    return _TYPES.get(rdtype) or f"TYPE{rdtype}"


def rdata_text(rdtype: int, rdata: bytes) -> str:
    """Return `rdata` in presentation form, in the generic form of RFC 3597 where the type is none of ours."""
    if rdtype == A and len(rdata) == 4:
        return inet_ntop(AF_INET, rdata)
    if rdtype == AAAA and len(rdata) == 16:
        return inet_ntop(AF_INET6, rdata)
    if rdtype == TXT:
        return " ".join(_quoted(string) for string in marker.strings(rdata))
    if rdtype in {NS, CNAME, PTR, DNAME}:
        return names.to_text(rdata)
    return f"\\# {len(rdata)} {rdata.hex()}" if rdata else "\\# 0"


def _quoted(string: bytes) -> str:
    if _PLAIN.match(string):
        return f'"{string.decode("ascii")}"'
    escaped = "".join(
        f"\\{octet:03d}" if not 0x20 <= octet <= 0x7E else ("\\" if octet in b'"\\' else "") + chr(octet)
        for octet in string
    )
    return f'"{escaped}"'
