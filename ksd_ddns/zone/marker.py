"""The ownership marker: the TXT record that says whose a name is.

`"heritage=ksd-ddns,owner=<OWNER_ID>,vmi=<namespace>/<name>"`, cut into character-strings of 255 octets (RFC 1035,
3.3.14) that are read as one text. Fields that a later version adds are kept and ignored.
"""

from collections.abc import Iterable

import msgspec

from ksd_ddns.wire.txt import join, text_rdata

_HERITAGE = b"heritage=ksd-ddns"


class Marker(msgspec.Struct, frozen=True):
    """Who owns a name, and for which VMI (`namespace/name`; empty for the zone's own records)."""

    owner: str
    vmi: str = ""
    extra: tuple[str, ...] = ()

    def rdata(self) -> bytes:
        """Return the marker as TXT rdata."""
        fields = [_HERITAGE.decode(), f"owner={self.owner}", f"vmi={self.vmi}", *self.extra]
        return text_rdata(",".join(fields).encode("utf-8", "surrogateescape"))


def parse(rdata: bytes) -> Marker | None:
    """Return the marker that the TXT `rdata` holds, or None where it is somebody else's text.

    Whoever writes TXT into the zone chooses the text: an owner or VMI with octets that are not printable, which no
    marker of ours has, would reach terminals and JSON.
    """
    if rdata[1 : 1 + len(_HERITAGE)] != _HERITAGE:  # the quick no, for zones full of other texts
        return None
    heritage, *fields = join(rdata).decode("utf-8", "surrogateescape").split(",")
    if heritage.encode("utf-8", "surrogateescape") != _HERITAGE:
        return None
    known = {"owner": "", "vmi": ""}
    extra = []
    for field in fields:
        key, _, value = field.partition("=")
        if key in known and not known[key]:
            known[key] = value
        else:
            extra.append(field)
    if not known["owner"] or not (known["owner"] + known["vmi"]).isprintable():
        return None
    return Marker(known["owner"], known["vmi"], tuple(extra))


def is_ownership(rdata: bytes) -> bool:
    """Return whether the TXT `rdata` says that a name has an owner, also one that another program understands."""
    # external-dns writes `heritage=external-dns,...`, with some providers in quotation marks.
    return join(rdata).removeprefix(b'"').startswith(b"heritage=")


def owned_vmi(rdatas: Iterable[bytes], owner: str) -> str:
    """Return the VMI that the marker of `owner` among TXT `rdatas` names, empty where there is none."""
    return next((found.vmi for rdata in rdatas if (found := parse(rdata)) and found.owner == owner), "")
