# SPDX-License-Identifier: Apache-2.0
"""Which addresses are never published, and why."""

import socket

from ksd_ddns.kubevirt.warning import AddressKind, Embedding

NOTABLE = frozenset((0, 0x20, 127, 169, *range(224, 256)))
"""The first octets of all addresses that are never published: nearly all others need no second check."""

_LONGEST = 64
_NEVER = {bytes(16): AddressKind.UNSPECIFIED, bytes(15) + b"\x01": AddressKind.LOOPBACK}
_COMPATIBLE = bytes(12)
_MAPPED = bytes(10) + b"\xff\xff"
_TRANSLATED = bytes(8) + b"\xff\xff\0\0"
_NAT64 = b"\0\x64\xff\x9b" + bytes(8)
_NAT64_LOCAL = b"\0\x64\xff\x9b\0\x01"
_6TO4 = b"\x20\x02"


def packed(text: str) -> bytes | None:
    """Return the address in `text`, packed; None if it is not an address.

    A zone index (RFC 4007, 11) is accepted on IPv6 link-local addresses: guests report it.
    """
    # inet_pton is a pure function and ten times as fast as ipaddress, which counts at 100,000 addresses.
    # A longer text cannot be an address, and a very long one is not worth the system's time.
    if len(text) > _LONGEST:
        return None
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        unscoped, _, zone = text.partition("%")
        address = packed(unscoped) if zone else None
        return address if address is not None and is_link_local_ipv6(address) else None


def is_link_local_ipv6(address: bytes) -> bool:
    """Return whether `address` is in fe80::/10."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def unpublishable(address: bytes) -> tuple[AddressKind | None, Embedding | None]:
    """Return why `address` is never published, and how it embeds the address with that property, if it does."""
    if len(address) == 4:
        return _unpublishable_ipv4(address), None
    if address in _NEVER:
        return _NEVER[address], None
    if address[0] == 0xFF:
        return AddressKind.MULTICAST, None
    if address[0] == 0xFE and address[1] & 0x80:  # RFC 4291, 2.5.6 and 2.5.7
        return AddressKind.SITE_LOCAL if address[1] & 0x40 else AddressKind.LINK_LOCAL, None
    if address.startswith(_MAPPED):
        return AddressKind.MAPPED, None
    form, inner = _embedded(address)
    kind = _unpublishable_ipv4(inner) if inner else None
    return (kind, form) if kind else (None, None)


def _unpublishable_ipv4(address: bytes) -> AddressKind | None:
    first = address[0]
    if first == 0:
        return AddressKind.THIS_NETWORK
    if first == 127:
        return AddressKind.LOOPBACK
    if 224 <= first < 240:
        return AddressKind.MULTICAST
    if first >= 240:
        return AddressKind.RESERVED
    return AddressKind.LINK_LOCAL if first == 169 and address[1] == 254 else None


def _embedded(address: bytes) -> tuple[Embedding | None, bytes]:
    """Return how an IPv6 address embeds an IPv4 address, and that address; (None, b"") if it does not."""
    if address.startswith(_6TO4):  # RFC 3056, 2
        return Embedding.SIX_TO_FOUR, address[2:6]
    if address.startswith(_NAT64):  # RFC 6052, 2.1
        return Embedding.NAT64, address[12:]
    if address.startswith(_NAT64_LOCAL):  # RFC 8215
        return Embedding.NAT64, _nat64_local(address)
    if address.startswith(_COMPATIBLE):  # RFC 4291, 2.5.5.1
        return Embedding.COMPATIBLE, address[12:]
    if address.startswith(_TRANSLATED):  # RFC 2765, 2.1
        return Embedding.TRANSLATED, address[12:]
    return None, b""


def _nat64_local(address: bytes) -> bytes:
    """Return the IPv4 address in an address of 64:ff9b:1::/48, whose prefix has 48, 56, 64 or 96 bits.

    If the IPv4 address ends before the last octet, the octets after it are zero, and octet 8 always is (RFC 6052, 2.2).
    """
    if address[8] == 0:
        if not any(address[11:]):
            return address[6:8] + address[9:11]
        if not any(address[12:]):
            return address[7:8] + address[9:12]
        if not any(address[13:]):
            return address[9:13]
    return address[12:]
