# SPDX-License-Identifier: Apache-2.0
"""How VMIs become records: the settings that the desired zone content depends on."""

from enum import StrEnum

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import NS, RRset
from ksd_ddns.zone.desired.blocks import Network, ReverseZone
from ksd_ddns.zone.desired.templates import DEFAULT_NAME, INTERFACE_NAME, Template


class HostnameScope(StrEnum):
    """Where the annotation `ksd-ddns/hostname` may place names."""

    OFF = "off"
    NAMESPACE = "namespace"
    ZONE = "zone"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How VMIs become records.

    `base` and `zone` are owner names, `base` in `zone`. `ttl` is in seconds. `owner` is the owner ID for the ownership
    record of every node, empty if there are none. `interface_name` and `default_name` are the names of a VMI below the
    base. `name_server` are the packed addresses of `ns.<base>`.

    `max_addresses` applies to each address family of an interface, `max_names` to each VMI, `max_namespace_names` to
    each namespace (0: no limit), `max_rrset` to the records of one type at one name. With `group_srv` the services of
    groups have SRV records.

    With `reverse`, an owner name in `zone`, the records are PTR records of the addresses below it, to the names below
    `base`; several VMIs may share one. Names below one of `excluded`, and addresses in `elsewhere`, are published in
    another zone. `classless` is set if the names below `reverse` are not the reverse names of the addresses (RFC 2317).
    At and below `index`, if it is set, are the names of the index.
    """

    base: bytes
    zone: bytes
    ttl: int = 60
    owner: str = ""
    default_record: bool = True
    interface_name: Template = INTERFACE_NAME
    default_name: Template = DEFAULT_NAME
    hostname_scope: HostnameScope = HostnameScope.NAMESPACE
    max_addresses: int = 16
    max_names: int = 50
    max_namespace_names: int = 0
    max_rrset: int = 90
    group_srv: bool = False
    publish: tuple[Network, ...] = ()
    exclude: tuple[Network, ...] = ()
    name_server: tuple[bytes, ...] = ()
    reverse: bytes = b""
    excluded: tuple[bytes, ...] = ()
    classless: ReverseZone | None = None
    elsewhere: tuple[Network, ...] = ()
    index: bytes = b""

    @property
    def max_family(self) -> int:
        """The addresses of one family that an interface publishes at most."""
        return min(self.max_addresses, self.max_rrset)

    @property
    def name_server_name(self) -> bytes:
        """The owner name of the zone's own name server: `ns.<base>`."""
        return b"\2ns" + self.base


def is_reserved(name: bytes, rules: Rules) -> bool:
    """Return whether `name` belongs to the zone itself, or to the index."""
    return name in {rules.zone, rules.base, rules.name_server_name} or (
        bool(rules.index) and names.is_below(name, rules.index)
    )


def reverse_name(address: bytes, rules: Rules) -> bytes | None:
    """Return the owner name of the PTR of a packed address, None if it is not published in this zone."""
    name = names.reverse(address) if rules.classless is None else rules.classless.name(address)
    if name is None or not names.is_below(name, rules.reverse):
        return None
    if rules.excluded and any(names.is_below(name, other) for other in rules.excluded):
        return None
    if rules.elsewhere and any(address in network for network in rules.elsewhere):
        return None
    return name


def pointed_address(name: bytes, rules: Rules) -> bytes | None:
    """Return the packed address whose PTR is at the owner name `name`, None if there is none."""
    return names.reversed_address(name) if rules.classless is None else rules.classless.address(name)


def apex_name_server(rules: Rules) -> RRset | None:
    """Return the NS RRset that the apex needs for the zone's own name server, or None if it needs none."""
    if not rules.name_server or rules.base != rules.zone or rules.reverse:
        return None
    return RRset(NS, rules.ttl, (rules.name_server_name,))
