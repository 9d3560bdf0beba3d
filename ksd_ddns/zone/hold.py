# SPDX-License-Identifier: Apache-2.0
"""Hold-down: addresses that vanished from the status of a living VMI stay in DNS for a while.

A guest agent that restarts and a migration make addresses disappear from the status for seconds, although the guest
never lost them. After a restart of the controller, held addresses are read from the live zone.
"""

import msgspec

from ksd_ddns.kubevirt.networks import by_record
from ksd_ddns.kubevirt.vmi import Interface, Vmi
from ksd_ddns.wire.rrset import AAAA, A, Node
from ksd_ddns.zone.desired import MemberClaim, Rules, interface_name, pointed_address, vmi_names
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Scope, is_recognized

Vanished = tuple[str, int]
"""An address family that vanished: the name of its interface, and its record type (A or AAAA)."""

_OCTETS = {A: 4, AAAA: 16}


def missing(vmi: Vmi) -> list[Vanished]:
    """Return the address families that the interfaces of `vmi` lack.

    This covers only interfaces in `spec` of a live, published VMI, and only full families: if one of two addresses
    vanishes, it is not held.
    """
    if not vmi.live or vmi.ignored:
        return []
    addresses = {interface.name: interface.addresses for interface in vmi.interfaces}
    vanished: list[Vanished] = []
    for network in vmi.networks:
        lengths = set(map(len, addresses.get(network, ())))
        if len(lengths) < len(_OCTETS):
            vanished += [(network, rdtype) for rdtype, octets in _OCTETS.items() if octets not in lengths]
    return vanished


def previous(vmi: Vmi, vanished: Vanished) -> tuple[bytes, ...]:
    """Return the addresses of a family that `vmi` has, none if it is not published."""
    if not vmi.live or vmi.ignored:
        return ()
    network, rdtype = vanished
    found = (interface.addresses for interface in vmi.interfaces if interface.name == network)
    return tuple(address for address in next(found, ()) if len(address) == _OCTETS[rdtype])


def published(vmi: Vmi, vanished: Vanished, live: Live, rules: Rules, scope: Scope) -> tuple[bytes, ...]:
    """Return the published addresses of a family of `vmi`, none if the name does not belong to that VMI."""
    network, rdtype = vanished
    name = interface_name(vmi, network, rules)
    if rules.reverse:
        return _pointed(name, _OCTETS[rdtype], live, rules, scope) if name else ()
    node = live.nodes.get(name) if name else None
    if node is None or not is_recognized(node, live, scope, vmi=vmi.key):
        return ()
    rrset = node.get(rdtype)
    return rrset.rdatas if rrset else ()


def _pointed(target: bytes, octets: int, live: Live, rules: Rules, scope: Scope) -> tuple[bytes, ...]:
    """Return the addresses of a family with a PTR record of ours to `target`."""
    owned = (name for name in sorted(live.pointers(target)) if is_recognized(live.get(name), live, scope))
    addresses = (pointed_address(name, rules) for name in owned)
    return tuple(address for address in addresses if address is not None and len(address) == octets)


def with_held(vmi: Vmi, held: dict[Vanished, tuple[bytes, ...]]) -> Vmi:
    """Return `vmi` with the addresses of `held` in addition to its own."""
    if not held:
        return vmi
    addresses = {interface.name: interface.addresses for interface in vmi.interfaces}
    for (network, _), rdatas in sorted(held.items()):
        addresses[network] = (*addresses.get(network, ()), *rdatas)
    interfaces = tuple(Interface(name, addresses[name]) for name in sorted(addresses, key=by_record))
    return msgspec.structs.replace(vmi, interfaces=interfaces)


def with_groups(vmi: Vmi, live: Live, rules: Rules, scope: Scope) -> Vmi:
    """Return `vmi` with `was_ready`: the names of its groups and services at which the zone has a record of it."""
    wanted = vmi_names(vmi, rules)
    found = set()
    for claim in wanted.claims(len(wanted), rules):
        node = live.nodes.get(claim.node.name) if isinstance(claim, MemberClaim) else None
        if node is not None and is_recognized(node, live, scope) and _share(node, claim.node, scope):
            found.add(node.name)
    return msgspec.structs.replace(vmi, was_ready=frozenset(found)) if found else vmi


def _share(one: Node, other: Node, scope: Scope) -> bool:
    """Return whether two nodes have a published record in common."""
    return any(
        not set(item.rdatas).isdisjoint(there.rdatas)
        for rdtype in scope.types
        if (item := one.get(rdtype)) and (there := other.get(rdtype))
    )
