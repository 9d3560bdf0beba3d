# SPDX-License-Identifier: Apache-2.0
"""Conflicts and warnings as text: one clause each, without the name or the VMI that it is about."""

from ksd_ddns.kubevirt.vmi import MAX_TTL, MIN_TTL
from ksd_ddns.kubevirt.vmi_object import GROUP, GROUP_PORTS, HOSTNAME, IGNORE, TTL
from ksd_ddns.kubevirt.warning import AddressKind, Embedding, VmiWarning, WarningCode
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import Unpublished
from ksd_ddns.zone.plan import Conflict, ConflictCause

_CONFLICTS = {
    ConflictCause.UNOWNED: "it exists without our ownership record",
    ConflictCause.UNOWNED_EQUAL: (
        "it exists with the wanted records, but without our ownership record: apply --adopt (ADOPT=true) takes it over"
    ),
    ConflictCause.OTHER_OWNER: (
        "it belongs to owner {owners} (we are {owner}): if that owner is gone, TAKE_OVER_FROM takes it over"
    ),
    ConflictCause.SEVERAL_OWNERS: "it has our ownership record and that of owner {owners}: remove one of them",
    ConflictCause.OTHER_PROGRAM: "a TXT record says that another program owns it",
    ConflictCause.OLDER_VMI: "VMI {winner} has this name, it was created first",
    ConflictCause.INTERFACE_FIRST: "VMI {winner} has this name for an interface, and interfaces beat annotations",
    ConflictCause.HOSTNAME_FIRST: "VMI {winner} has this name for a hostname, and hostnames beat groups",
    ConflictCause.ZONE_RECORD: "it is reserved for the zone's own records",
    ConflictCause.CNAME: "a CNAME that is not ours exists there",
    ConflictCause.DELEGATION: "{ancestor} is delegated to other name servers",
    ConflictCause.DNAME: "{ancestor} is a DNAME, which hides all names below it",
    ConflictCause.UNREADABLE: "the primary gives no usable answer about it",
    ConflictCause.OUTSIDE_BASE: "it is not below {ancestor}: OWNERSHIP=zone owns nothing else, OWNERSHIP=txt does",
}

_ON_HOSTNAME = f"annotation {HOSTNAME}: "
_ON_GROUP = f"annotation {GROUP}: "

_WARNINGS = {
    WarningCode.BAD_ADDRESS: "interface {interface!r}: skipping {value!r}, it is not an IP address",
    WarningCode.UNPUBLISHABLE_ADDRESS: "interface {interface!r}: skipping {value!r}, {kind} is never published",
    WarningCode.BAD_ANNOTATION: "annotation {annotation}: ignoring {value!r}, it is not {allowed}",
    WarningCode.EMPTY_HOSTNAME: _ON_HOSTNAME + "skipping an empty name in {value!r}",
    WarningCode.ILLEGAL_VMI_NAME: "{value} cannot be a DNS name: nothing is published",
    WarningCode.ILLEGAL_INTERFACE_NAME: "interface {interface!r} cannot be a DNS name: it is not published",
    WarningCode.DUPLICATE_INTERFACE_NAME: (
        "interface {interface!r} has the DNS name of another interface: it is not published"
    ),
    WarningCode.ILLEGAL_HOSTNAME: _ON_HOSTNAME + "{value!r} cannot be a DNS name",
    WarningCode.FOREIGN_HOSTNAME: (
        _ON_HOSTNAME + "{value!r} is outside the VMI's namespace: an admin can allow it with HOSTNAME_SCOPE=zone"
    ),
    WarningCode.RESERVED_HOSTNAME: _ON_HOSTNAME + "{value!r} is reserved for the zone itself",
    WarningCode.OUTSIDE_HOSTNAME: _ON_HOSTNAME + "{value!r} is outside the zone, or too long",
    WarningCode.EMPTY_GROUP: _ON_GROUP + "skipping an empty name in {value!r}",
    WarningCode.ILLEGAL_GROUP: _ON_GROUP + "{value!r} cannot be a DNS label",
    WarningCode.GROUP_INTERFACE: _ON_GROUP + "skipping group {value!r}, the VMI has no interface {interface!r}",
    WarningCode.GROUP_FULL: _ON_GROUP + "group {value!r} has more than {limit} addresses of one family (MAX_RRSET): "
    "older VMIs come first, this one is not published there",
    WarningCode.MAX_ADDRESSES: (
        "interface {interface!r}{others} more than {limit} addresses of one family (MAX_ADDRESSES): "
        "only the first {limit} are published"
    ),
    WarningCode.MAX_NAMES: (
        "more than {limit} names (MAX_NAMES): interfaces come before annotations, the rest is not published"
    ),
    WarningCode.MAX_NAMES_PER_NAMESPACE: (
        "{count} of {wanted} names are published: namespace {namespace} has no more than {limit} "
        "(MAX_NAMES_PER_NAMESPACE), older VMIs come first"
    ),
    WarningCode.MAX_RRSET: "too many interfaces share an address: PTR records are missing at {value}{more} (MAX_RRSET)",
    WarningCode.MORE: "and {count} more warnings",
}

_KINDS = {
    AddressKind.UNSPECIFIED: "the unspecified address",
    AddressKind.LOOPBACK: "a loopback address",
    AddressKind.MULTICAST: "a multicast address",
    AddressKind.LINK_LOCAL: "a link-local address",
    AddressKind.SITE_LOCAL: "a site-local address",
    AddressKind.MAPPED: "an IPv4-mapped address",
    AddressKind.THIS_NETWORK: "an address of 0.0.0.0/8",
    AddressKind.RESERVED: "a reserved address",
}

_UNPUBLISHED = {
    Unpublished.IGNORED: f"its annotation {IGNORE} is true",
    Unpublished.ENDED: "it has ended (phase Succeeded or Failed)",
    Unpublished.NO_NETWORK: "it has no secondary network, or none that NETWORKS includes",
    Unpublished.NO_ADDRESS: "its status has no address of a network that is published",
    Unpublished.ILLEGAL_NAME: "its name or namespace cannot be a DNS name",
    Unpublished.EXCLUDED: "PUBLISH_CIDRS and EXCLUDE_CIDRS exclude all its addresses",
    Unpublished.LIMIT: "older VMIs have all names of its namespace (MAX_NAMES_PER_NAMESPACE)",
}

_ALLOWED = {
    IGNORE: '"true" or "false"',
    TTL: f"a whole number of seconds from {MIN_TTL} to {MAX_TTL}",
    GROUP_PORTS: "a name and a port, such as http=8080 or dns=53/udp",
}


def conflict(of: Conflict) -> str:
    """Return why the name of a conflict is not published, and the fix if there is one."""
    return _CONFLICTS[of.cause].format(
        owner=of.owner,
        owners=", ".join(of.owners),
        winner=of.winner,
        ancestor=names.to_text(of.ancestor) if of.ancestor else "",
    )


def kind(of: AddressKind, embedding: Embedding | None) -> str:
    """Return what an address is that is never published."""
    return f"the {embedding} form of {_KINDS[of]}" if embedding else _KINDS[of]


def unpublished(of: Unpublished) -> str:
    """Return why a VMI has nothing to publish."""
    return _UNPUBLISHED[of]


def warning(of: VmiWarning) -> str:
    """Return what is not published for a VMI, and why."""
    others = of.count - 1
    return _WARNINGS[of.code].format(
        interface=of.interface,
        annotation=of.annotation,
        value=of.value,
        kind=kind(of.kind, of.embedding) if of.kind else "",
        allowed=_ALLOWED.get(of.annotation, ""),
        limit=of.limit,
        count=of.count,
        wanted=of.wanted,
        namespace=of.vmi.partition("/")[0],
        others=f" and {others} more have" if others > 0 else " has",
        more=f" and {others} more" if others > 0 else "",
    )
