# SPDX-License-Identifier: Apache-2.0
"""Wanted names that cannot be published, and why, as data. `zone.render.message` turns them into text."""

from enum import StrEnum

import msgspec

from ksd_ddns.wire.rrset import Node


class ConflictCause(StrEnum):
    """Why a wanted name is left alone. The values are part of the JSON schema (docs/reference/json.md)."""

    UNOWNED = "unowned"
    """The name exists without our ownership record."""
    UNOWNED_EQUAL = "unowned-equal"
    """The same, but it holds exactly the wanted records: it can be adopted."""
    OTHER_OWNER = "other-owner"
    """The name has an ownership record of another owner ID (`owners`)."""
    SEVERAL_OWNERS = "several-owners"
    """The name has our ownership record and that of another owner ID (`owners`)."""
    OTHER_PROGRAM = "other-program"
    """A TXT record says that another program owns the name."""
    OLDER_VMI = "older-vmi"
    """Another VMI (`winner`), which was created first, has the name."""
    INTERFACE_FIRST = "interface-first"
    """Another VMI (`winner`) has the name for an interface; this VMI wants it only for an annotation."""
    HOSTNAME_FIRST = "hostname-first"
    """Another VMI (`winner`) has the name for a hostname; this VMI wants it for a group."""
    ZONE_RECORD = "zone-record"
    """The name belongs to the zone's own records."""
    CNAME = "cname"
    """A CNAME that is not ours exists at the name."""
    DELEGATION = "delegation"
    """The name is at or below a delegation (`ancestor`)."""
    DNAME = "dname"
    """The name is below a DNAME (`ancestor`)."""
    UNREADABLE = "unreadable"
    """READ=queries, and the primary gives no usable answer about the name."""
    OUTSIDE_BASE = "outside-base"
    """OWNERSHIP=zone, and the name is not below the base (`ancestor`)."""


class Conflict(msgspec.Struct, frozen=True):
    """A wanted name that is left alone: the `wanted` and the `found` node, and why.

    `vmi` is the VMI (`namespace/name`) that wants the name, empty for the zone's own records. The other fields are
    empty unless the cause names them: `owner` is our owner ID and `owners` the other ones, `winner` is the VMI that has
    the name, and `ancestor` an owner name.
    """

    name: bytes
    wanted: Node
    found: Node
    cause: ConflictCause
    vmi: str = ""
    owner: str = ""
    owners: tuple[str, ...] = ()
    winner: str = ""
    ancestor: bytes = b""
