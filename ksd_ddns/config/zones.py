# SPDX-License-Identifier: Apache-2.0
"""Settings -> what is published in which zone, and how it may be changed."""

from collections.abc import Iterable, Sequence

from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SettingsError
from ksd_ddns.wire import names
from ksd_ddns.zone import index
from ksd_ddns.zone.desired import (
    DEFAULT_NAME,
    HostnameScope,
    Network,
    ReverseZone,
    Rules,
    apex_name_server,
    is_preferred,
)
from ksd_ddns.zone.plan import ADDRESSES, POINTERS, SERVICES, Ownership, Read, Scope
from ksd_ddns.zone.update import Limits


def bases(chosen: Settings) -> tuple[bytes, ...]:
    """Return the names below which records are published, that of VMI names first."""
    return (chosen.base, *reverse_bases(chosen))


def check(chosen: Settings) -> None:
    """Raise SettingsError if names and PTR records would be published below the same base."""
    if chosen.base in reverse_bases(chosen):
        raise SettingsError(
            f"REVERSE_ZONES names {names.to_text(chosen.base)}, below which the VMIs' names are: name a reverse zone"
        )


def reverse_bases(chosen: Settings) -> tuple[bytes, ...]:
    """Return the names below which PTR records are published; without those that REVERSE_ZONES=auto has yet to find."""
    return tuple(zone.base for zone in chosen.reverse_zones.zones)


def with_reverse_zones(chosen: Settings, found: Iterable[ReverseZone]) -> Settings:
    """Return the settings with the reverse zones `found` in addition."""
    zones = {zone.base: zone for zone in (*found, *chosen.reverse_zones.zones) if zone.base != chosen.base}
    # In the order of names, so that it does not depend on which was found first.
    added = sorted(zones.keys() - set(reverse_bases(chosen)), key=names.canonical)
    every = (*chosen.reverse_zones.zones, *(zones[base] for base in added))
    return chosen.model_copy(update={"reverse_zones": chosen.reverse_zones._replace(zones=every)})


def rules(chosen: Settings, zone: bytes, base: bytes) -> Rules:
    """Return how VMIs become records below `base`, one of `bases`, in `zone`.

    Raises SettingsError if the base is not in the zone.
    """
    if not names.is_below(base, zone):
        shown, apex = names.to_text(base), names.to_text(zone)
        raise SettingsError(f"the base {shown} is not in the zone {apex}: correct DOMAIN or ZONE")
    reverse = next((each for each in chosen.reverse_zones.zones if each.base == base != chosen.base), None)
    return Rules(
        base=chosen.base,
        zone=zone,
        ttl=chosen.record_ttl,
        owner=chosen.owner if chosen.ownership is Ownership.TXT else "",
        default_record=chosen.default_record,
        interface_name=chosen.interface_name,
        # Not used, and not checked, without a default record.
        default_name=chosen.default_name if chosen.default_record else DEFAULT_NAME,
        hostname_scope=chosen.hostname_scope,
        max_addresses=chosen.max_addresses,
        max_names=chosen.max_names,
        max_namespace_names=chosen.max_names_per_namespace,
        max_rrset=chosen.max_rrset,
        group_srv=chosen.group_srv,
        publish=chosen.publish_cidrs,
        exclude=chosen.exclude_cidrs,
        name_server=chosen.name_server_ip,
        reverse=reverse.base if reverse else b"",
        excluded=tuple(other for other in reverse_bases(chosen) if other != base and names.is_below(other, base)),
        classless=reverse if reverse and reverse.is_classless else None,
        elsewhere=_elsewhere(reverse, chosen.reverse_zones.zones) if reverse else (),
        index=_index(chosen.base, chosen.owner) if chosen.read is Read.QUERIES and not reverse else b"",
    )


def _elsewhere(zone: ReverseZone, zones: Sequence[ReverseZone]) -> tuple[Network, ...]:
    """Return the blocks of addresses that belong in `zone`, and are published in a smaller one of `zones`.

    The name of a zone says the same of its addresses, unless the name of one of the two says nothing (RFC 2317).
    """
    return tuple(
        network
        for other in zones
        if other != zone and (zone.is_classless or other.is_classless) and is_preferred(other, zone)
        for network in other.networks
        if any(network.address in each or each.address in network for each in zone.networks)
    )


def templates_across_namespaces(chosen: Settings) -> list[str]:
    """Return the settings with templates that do not end with the namespace, where that is not allowed.

    A VM could take a name in the domain of another namespace, which HOSTNAME_SCOPE=zone allows and nothing else does.
    """
    if chosen.hostname_scope is HostnameScope.ZONE:
        return []
    found = {"interface_name": chosen.interface_name}
    if chosen.default_record:
        found["default_name"] = chosen.default_name
    return [name for name, template in found.items() if not template.ends_with_namespace]


def scope(chosen: Settings, rules: Rules) -> Scope:
    """Return what may be done in the zone of `rules`."""
    txt = chosen.ownership is Ownership.TXT
    base = rules.reverse or rules.base
    excluded = rules.excluded if rules.reverse else reverse_bases(chosen)
    if chosen.read is Read.QUERIES:
        excluded = (*excluded, _index(base, chosen.owner))
    return Scope(
        base=base,
        forward=rules.base,
        types=POINTERS if rules.reverse else SERVICES if rules.group_srv else ADDRESSES,
        base_only=bool(rules.reverse),
        excluded=excluded,
        ownership=chosen.ownership,
        owner=chosen.owner,
        policy=chosen.policy,
        adopt=chosen.adopt,
        take_over=chosen.take_over_from - {chosen.owner} if txt else chosen.take_over_from,
        protected=frozenset({rules.reverse} if rules.reverse else {rules.base, rules.name_server_name}),
        apex=apex_name_server(rules),
        namespaced=rules.interface_name.ends_with_namespace and rules.default_name.ends_with_namespace,
        read=chosen.read,
    )


def _index(base: bytes, owner: str) -> bytes:
    """Return the name of the index, which the planner leaves alone."""
    if len(base) > index.LONGEST_BASE:
        raise SettingsError(
            f"{names.to_text(base)} has {len(base)} octets, with READ=queries {index.LONGEST_BASE} are allowed: set a "
            "shorter DOMAIN"
        )
    return index.head(base, owner)


def limits(chosen: Settings) -> Limits:
    """Return the limits of UPDATE messages."""
    # Samba's module for BIND makes an account the owner of only the last name that BIND asked about. The other new
    # names of a message, and of messages in flight, belong to the server, and later changes of them are refused.
    most = chosen.update_batch or (1 if chosen.gss_tsig else Limits().names)
    in_flight = 1 if chosen.gss_tsig and most == 1 else Limits().in_flight
    return Limits(octets=chosen.update_octets, names=most, in_flight=in_flight)
