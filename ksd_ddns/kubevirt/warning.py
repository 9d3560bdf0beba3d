# SPDX-License-Identifier: Apache-2.0
"""What of a VMI is not published although its owner may expect it, as data. `zone.render.message` makes the text."""

from enum import StrEnum

import msgspec


class WarningCode(StrEnum):
    """Why something of a VMI is not published, or not as written."""

    BAD_ADDRESS = "bad-address"
    """`value` is not an IP address; it is on `interface`."""
    UNPUBLISHABLE_ADDRESS = "unpublishable-address"
    """The address `value` of `interface` is of a `kind` that is never published."""
    BAD_ANNOTATION = "bad-annotation"
    """The `value` of `annotation` is not allowed: the annotation is ignored."""
    EMPTY_HOSTNAME = "empty-hostname"
    """The hostname annotation holds an empty name; its `value` is the full annotation."""
    ILLEGAL_VMI_NAME = "illegal-vmi-name"
    """The VMI's own name or namespace cannot be a DNS name: nothing is published."""
    ILLEGAL_INTERFACE_NAME = "illegal-interface-name"
    """`interface` cannot be a DNS name."""
    DUPLICATE_INTERFACE_NAME = "duplicate-interface-name"
    """`interface` has the DNS name of another interface of the VMI."""
    ILLEGAL_HOSTNAME = "illegal-hostname"
    """The hostname `value` cannot be a DNS name."""
    FOREIGN_HOSTNAME = "foreign-hostname"
    """The hostname `value` is outside the VMI's namespace, which HOSTNAME_SCOPE=namespace does not allow."""
    RESERVED_HOSTNAME = "reserved-hostname"
    """The hostname `value` is reserved for the zone itself."""
    OUTSIDE_HOSTNAME = "outside-hostname"
    """The hostname `value` is not in the zone, or too long."""
    EMPTY_GROUP = "empty-group"
    """The group annotation holds an empty name; its `value` is the full annotation."""
    ILLEGAL_GROUP = "illegal-group"
    """The group `value` cannot be a DNS name."""
    GROUP_INTERFACE = "group-interface"
    """The group `value` is for `interface`, which the VMI does not have."""
    GROUP_FULL = "group-full"
    """The group `value` has more members than one RRset may hold: this one is not among them."""
    MAX_ADDRESSES = "max-addresses"
    """`count` interfaces, the first of them `interface`, have more than `limit` addresses of one family."""
    MAX_NAMES = "max-names"
    """The VMI wants more than `limit` names."""
    MAX_NAMES_PER_NAMESPACE = "max-names-per-namespace"
    """Only `count` of the `wanted` names are published: the namespace may have no more than `limit`."""
    MAX_RRSET = "max-rrset"
    """PTR records are missing at `count` reverse names, the first of them `value`."""
    MORE = "more"
    """There are `count` more warnings."""


class AddressKind(StrEnum):
    """Why an address is never published."""

    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    MULTICAST = "multicast"
    LINK_LOCAL = "link-local"
    SITE_LOCAL = "site-local"
    MAPPED = "IPv4-mapped"
    THIS_NETWORK = "0.0.0.0/8"
    RESERVED = "reserved"


class Embedding(StrEnum):
    """How an IPv6 address embeds an IPv4 address."""

    SIX_TO_FOUR = "6to4"
    """RFC 3056, 2."""
    NAT64 = "NAT64"
    """RFC 6052, 2.1 and RFC 8215."""
    COMPATIBLE = "IPv4-compatible"
    """RFC 4291, 2.5.5.1."""
    TRANSLATED = "IPv4-translated"
    """RFC 2765, 2.1."""


class VmiWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the owner of the VMI `namespace/name` should know. The code says which fields have values.

    `wanted` is the number of which `count` is a part. `interface` and `value` are user input, `shortened`, with any
    characters in them.
    """

    vmi: str
    code: WarningCode
    interface: str = ""
    annotation: str = ""
    value: str = ""
    kind: AddressKind | None = None
    embedding: Embedding | None = None
    limit: int = 0
    count: int = 0
    wanted: int = 0


def shortened(text: str) -> str:
    """Return `text` cut to 80 characters: anyone who can write a VMI can write a megabyte."""
    return text if len(text) <= 80 else f"{text[:77]}..."
