# SPDX-License-Identifier: Apache-2.0
"""Response codes (RFC 1035, 4.1.1; RFC 2136, 2.2) and TSIG error codes (RFC 8945, 3)."""

NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
YXDOMAIN = 6
YXRRSET = 7
NXRRSET = 8
NOTAUTH = 9
NOTZONE = 10

BADSIG, BADKEY, BADTIME = 16, 17, 18

PREREQUISITE_FAILED = frozenset({NXDOMAIN, YXDOMAIN, YXRRSET, NXRRSET})

_TEXT = {
    NOERROR: "NOERROR",
    FORMERR: "FORMERR",
    SERVFAIL: "SERVFAIL",
    NXDOMAIN: "NXDOMAIN",
    NOTIMP: "NOTIMP",
    REFUSED: "REFUSED",
    YXDOMAIN: "YXDOMAIN",
    YXRRSET: "YXRRSET",
    NXRRSET: "NXRRSET",
    NOTAUTH: "NOTAUTH",
    NOTZONE: "NOTZONE",
}

MNEMONICS = tuple(_TEXT.values())
"""The mnemonics of all rcodes that have one here."""


def text(rcode: int) -> str:
    """Return the mnemonic of `rcode`."""
    return _TEXT.get(rcode, f"rcode {rcode}")
