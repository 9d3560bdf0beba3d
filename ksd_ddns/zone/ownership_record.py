# SPDX-License-Identifier: Apache-2.0
"""The ownership record: the TXT record that says which owner a name belongs to.

`"heritage=ksd-ddns,owner=<OWNER_ID>,vmi=<namespace>/<name>"`, for the name that the members of a group share
`"heritage=ksd-ddns,owner=<OWNER_ID>,group=<namespace>/<name>"`, split into character-strings of 255 octets (RFC 1035,
3.3.14) that are read as one text. Unknown fields, which a later version may add, are kept and ignored.
"""

import msgspec

from ksd_ddns.wire.rrset import RRset
from ksd_ddns.wire.txt import join, text_rdata

_HERITAGE = b"heritage=ksd-ddns"


class OwnershipRecord(msgspec.Struct, frozen=True):
    """The owner of a name, and the VMI or the group that it is for (`namespace/name`).

    Both are empty for the zone's own records.
    """

    owner: str
    vmi: str = ""
    extra: tuple[str, ...] = ()
    group: str = ""

    @property
    def subject(self) -> str:
        """The VMI or the group, empty for the zone's own records."""
        return self.vmi or self.group

    def rdata(self) -> bytes:
        """Return the ownership record as TXT rdata."""
        subject = f"group={self.group}" if self.group else f"vmi={self.vmi}"
        fields = [_HERITAGE.decode(), f"owner={self.owner}", subject, *self.extra]
        return text_rdata(",".join(fields).encode("utf-8", "surrogateescape"))


def parse(rdata: bytes) -> OwnershipRecord | None:
    """Return the ownership record in the TXT `rdata`, or None if it is any other text.

    Anyone who can write TXT records into the zone chooses the text. An owner or VMI with unprintable characters, which
    we never write, is rejected: it would reach terminals and JSON.
    """
    if rdata[1 : 1 + len(_HERITAGE)] != _HERITAGE:  # the fast path for zones full of other texts
        return None
    heritage, *fields = join(rdata).decode("utf-8", "surrogateescape").split(",")
    if heritage.encode("utf-8", "surrogateescape") != _HERITAGE:
        return None
    known = {"owner": "", "vmi": "", "group": ""}
    extra = []
    for field in fields:
        key, _, value = field.partition("=")
        if key in known and not known[key]:
            known[key] = value
        else:
            extra.append(field)
    if not known["owner"] or not "".join(known.values()).isprintable():
        return None
    return OwnershipRecord(known["owner"], known["vmi"], tuple(extra), known["group"])


def is_ownership(rdata: bytes) -> bool:
    """Return whether the TXT `rdata` says that a name has an owner: ksd-ddns or another program."""
    # external-dns writes `heritage=external-dns,...`, with some providers in quotation marks.
    return join(rdata).removeprefix(b'"').startswith(b"heritage=")


def records(text: RRset | None) -> dict[bytes, OwnershipRecord]:
    """Return the ownership records in the TXT RRset of a name, by rdata."""
    return {rdata: found for rdata in (text.rdatas if text else ()) if (found := parse(rdata))}


def owners(text: RRset | None) -> set[str]:
    """Return the owner IDs in the TXT RRset of a name."""
    return {record.owner for record in records(text).values()}


def owned(text: RRset | None, owner: str) -> OwnershipRecord | None:
    """Return the ownership record of `owner` in the TXT RRset of a name, None if there is none."""
    for rdata in text.rdatas if text else ():
        found = parse(rdata)
        if found is not None and found.owner == owner:
            return found
    return None
