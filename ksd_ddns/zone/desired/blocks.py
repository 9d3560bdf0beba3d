# SPDX-License-Identifier: Apache-2.0
"""Blocks of addresses, and the reverse zones in which their PTR records are published.

The PTR of an address is below the zone of its block. Usually that is its reverse name (RFC 1035, 3.5). A zone for a
part of an octet (RFC 2317) has other names: with `0-63.2.0.192.in-addr.arpa` the PTR of 192.0.2.5 is at
`5.0-63.2.0.192.in-addr.arpa`, and `5.2.0.192.in-addr.arpa` in the zone above is an alias (CNAME) of it.
"""

import re
from ipaddress import IPv4Address, summarize_address_range

import msgspec

from ksd_ddns.wire import names

_PARTS = re.compile(r"(\d{1,3})([-/_])(\d{1,3})\Z")
_OCTET = 8


class Network(msgspec.Struct, frozen=True):
    """A block of packed addresses: those of the same length that share its first `prefix` bits."""

    address: bytes
    prefix: int

    def __contains__(self, address: bytes) -> bool:
        if len(address) != len(self.address):
            return False
        shift = 8 * len(address) - self.prefix
        return int.from_bytes(address, "big") >> shift == int.from_bytes(self.address, "big") >> shift

    @property
    def size(self) -> int:
        """The number of addresses."""
        return 1 << (8 * len(self.address) - self.prefix)


class ReverseZone(msgspec.Struct, frozen=True):
    """Where the PTR records of the addresses in `networks` are published: below `base`.

    `parent` is the reverse name of the block that the labels of an address count from. It is `base`, except for zones
    as in RFC 2317: the name of an address is its reverse name with `base` in place of `parent`.
    """

    base: bytes
    parent: bytes
    networks: tuple[Network, ...]

    @property
    def is_classless(self) -> bool:
        """Whether the names in the zone are not the reverse names of the addresses."""
        return self.base != self.parent

    @property
    def size(self) -> int:
        """The number of addresses."""
        return sum(network.size for network in self.networks)

    def name(self, address: bytes) -> bytes | None:
        """Return the owner name of the PTR of a packed address, None if the address does not belong in the zone."""
        reverse = names.reverse(address)
        if not names.is_below(reverse, self.parent) or not any(address in network for network in self.networks):
            return None
        return reverse[: -len(self.parent)] + self.base

    def address(self, name: bytes) -> bytes | None:
        """Return the packed address whose PTR is at `name`, None if there is none."""
        if not names.is_below(name, self.base):
            return None
        return names.reversed_address(name[: -len(self.base)] + self.parent)


def reverse_zone(name: bytes) -> ReverseZone:
    """Return the reverse zone `name`, which says which addresses belong in it. Raises ValueError if it does not.

    This is the reverse name of a block, or a name as in RFC 2317: an octet and a range (`0-63`), or an octet and a
    prefix (`0/26`, `0-26`, `0_26`), below the octets before it.
    """
    network = _network(name)
    if network is not None:
        return ReverseZone(name, name, (network,))
    parent = names.parent(name)
    above = _network(parent) if names.is_below(parent, names.IN_ADDR_ARPA) else None
    label = name[1 : 1 + name[0]].decode("latin-1")
    if above is None or above.prefix > 3 * _OCTET:
        raise ValueError(f"{names.to_text(name)} does not say which addresses belong in it")
    return ReverseZone(name, parent, _parts(label, above))


def block(network: Network, base: bytes | None = None) -> ReverseZone:
    """Return the reverse zone `base` for the addresses of `network`; without `base`, the zone with their reverse names.

    Raises ValueError if there is none.
    """
    bits = 8 * len(network.address)
    if base is None:
        name = names.reverse(network.address, network.prefix)
        return ReverseZone(name, name, (network,))
    known = _network(base)
    if known is not None:
        if known != network:
            raise ValueError(f"{names.to_text(base)} is the reverse zone of other addresses")
        return ReverseZone(base, base, (network,))
    step = _OCTET if bits == 32 else 4
    # A zone of one address, too, has the last label of the address below it.
    prefix = min(network.prefix // step * step, bits - step)
    return ReverseZone(base, names.reverse(network.address, prefix), (network,))


def is_preferred(zone: ReverseZone, other: ReverseZone) -> bool:
    """Return whether addresses that belong in both zones are published in `zone`: in the smaller one."""
    return (zone.size, zone.base) < (other.size, other.base)


def _network(name: bytes) -> Network | None:
    """Return the block with the reverse name `name`, None if there is none."""
    for above, total in ((names.IN_ADDR_ARPA, 4), (names.IP6_ARPA, 32)):
        if names.is_below(name, above):
            missing = total + len(names.labels(above)) - len(names.labels(name))
            address = names.reversed_address(b"\x010" * missing + name) if missing >= 0 else None
            if address is None:
                return None
            return Network(address, (total - missing) * (8 * len(address) // total))
    return None


def _parts(label: str, above: Network) -> tuple[Network, ...]:
    """Return the addresses that the label of a zone below `above` names."""
    match = _PARTS.match(label)
    first, last = (int(match[1]), int(match[3])) if match else (256, 256)
    if match is None or first > 255:
        raise ValueError(f"{label!r} is neither a range of an octet nor an octet and a prefix")
    prefix = last if above.prefix < last <= above.prefix + _OCTET else None
    if prefix is not None and first % (1 << (above.prefix + _OCTET - prefix)):
        prefix = None
    by_prefix = (Network(_within(above, first), prefix),) if prefix is not None else ()
    by_range = _range(above, first, last) if match[2] == "-" and first <= last <= 255 else ()
    if by_prefix and len(by_range) > 1:
        raise ValueError(f"{label!r} can be a range or an octet and a prefix")
    found = by_range or by_prefix
    if not found:
        raise ValueError(f"{label!r} is neither a range of an octet nor an octet and a prefix")
    return found


def _within(above: Network, octet: int) -> bytes:
    """Return the first address of `above` whose next octet is `octet`."""
    at = above.prefix // _OCTET
    return above.address[:at] + bytes([octet]) + above.address[at + 1 :]


def _range(above: Network, first: int, last: int) -> tuple[Network, ...]:
    """Return the blocks that make up the addresses whose octet after `above` is from `first` to `last`."""
    at = above.prefix // _OCTET
    end = _within(above, last)[: at + 1] + b"\xff" * (3 - at)
    return tuple(
        Network(found.network_address.packed, found.prefixlen)
        for found in summarize_address_range(IPv4Address(_within(above, first)), IPv4Address(end))
    )
