"""Presentation form of record types and rdata (RFC 1035, 5.1; RFC 3597, 5)."""

import re
from socket import AF_INET, AF_INET6, inet_ntop

from ksd_ddns.zone import marker, names
from ksd_ddns.zone.rrset import AAAA, CNAME, DNAME, NS, PTR, SOA, TXT, A

MASK = "**********"
"""What is shown instead of a secret."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]{14,}={0,2}")
_PLAIN = re.compile(rb"[ !#-\[\]-~]*\Z")  # printable, neither quote nor backslash
# DEL, C1 controls, line and paragraph separators, and what changes the direction of text: all in UTF-8.
_RAW = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
_TYPES = {A: "A", NS: "NS", CNAME: "CNAME", SOA: "SOA", PTR: "PTR", TXT: "TXT", AAAA: "AAAA", DNAME: "DNAME"}
# What else stands in zones; its rdata is nothing that is read here.
_TYPES |= {
    13: "HINFO", 15: "MX", 17: "RP", 29: "LOC", 33: "SRV", 35: "NAPTR", 37: "CERT", 43: "DS", 44: "SSHFP",
    48: "DNSKEY", 49: "DHCID", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY",
    64: "SVCB", 65: "HTTPS", 99: "SPF", 256: "URI", 257: "CAA",
}  # fmt: skip


def rdtype_text(rdtype: int) -> str:
    """Return the mnemonic of `rdtype`, or TYPEn (RFC 3597, 5)."""
    return _TYPES.get(rdtype) or f"TYPE{rdtype}"


def is_readable(rdtype: int) -> bool:
    """Return whether rdata of `rdtype` has a form here that people read."""
    return rdtype in {A, AAAA, TXT, NS, CNAME, PTR, DNAME}


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


def printable(text: str) -> str:
    r"""Return `text` without control characters: each is shown as an escape such as \x1b, also those of direction.

    What others write (names, annotations, files, a server's words) would otherwise control the terminal it is shown on.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def printable_json(document: bytes) -> bytes:
    """Return a JSON document in UTF-8 with the control characters that JSON allows as they are written as escapes."""
    if document.isascii() and b"\x7f" not in document:
        return document
    return _RAW.sub(lambda match: f"\\u{ord(match[0].decode()):04x}".encode(), document)


def looks_secret(text: str) -> bool:
    """Return whether `text` may be the secret of a key, or hold one: base64 of at least 80 bits, as keys are made."""
    return any(_is_random(token) for token in _BASE64.findall(text))


def _is_random(token: str) -> bool:
    plain = token.rstrip("=")
    mixed = any(map(str.isupper, plain)) and any(map(str.islower, plain)) and not plain.isalpha()
    return mixed and (len(plain) >= 32 or (plain != token and len(token) % 4 == 0)) and not token.startswith("/")


def masked(text: str) -> str:
    """Return `text` with what may be a secret replaced by asterisks."""
    return _BASE64.sub(lambda match: MASK if _is_random(match[0]) else match[0], text)


def _quoted(string: bytes) -> str:
    if _PLAIN.match(string):
        return f'"{string.decode("ascii")}"'
    escaped = "".join(
        f"\\{octet:03d}" if not 0x20 <= octet <= 0x7E else ("\\" if octet in b'"\\' else "") + chr(octet)
        for octet in string
    )
    return f'"{escaped}"'
