# SPDX-License-Identifier: Apache-2.0
"""Settings -> what is published in which zone, and how it may be changed."""

from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SettingsError
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import DEFAULT_NAME, HostnameScope, Rules, apex_name_server
from ksd_ddns.zone.plan import ADDRESSES, POINTERS, SERVICES, Ownership, Scope
from ksd_ddns.zone.update import Limits


def bases(chosen: Settings) -> tuple[bytes, ...]:
    """Return the names below which records are published, that of VMI names first."""
    return (chosen.base, *chosen.reverse_zones)


def rules(chosen: Settings, zone: bytes, base: bytes) -> Rules:
    """Return how VMIs become records below `base`, one of `bases`, in `zone`.

    Raises SettingsError if the base is not in the zone.
    """
    if not names.is_below(base, zone):
        shown, apex = names.to_text(base), names.to_text(zone)
        raise SettingsError(f"the base {shown} is not in the zone {apex}: correct DOMAIN or ZONE")
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
        reverse=base if base != chosen.base else b"",
        excluded=tuple(other for other in chosen.reverse_zones if other != base and names.is_below(other, base)),
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
    return Scope(
        base=rules.reverse or rules.base,
        forward=rules.base,
        types=POINTERS if rules.reverse else SERVICES if rules.group_srv else ADDRESSES,
        base_only=bool(rules.reverse),
        excluded=rules.excluded if rules.reverse else chosen.reverse_zones,
        ownership=chosen.ownership,
        owner=chosen.owner,
        policy=chosen.policy,
        adopt=chosen.adopt,
        protected=frozenset({rules.reverse} if rules.reverse else {rules.base, rules.name_server_name}),
        apex=apex_name_server(rules),
        namespaced=rules.interface_name.ends_with_namespace and rules.default_name.ends_with_namespace,
    )


def limits(chosen: Settings) -> Limits:
    """Return the limits of one UPDATE message."""
    return Limits(octets=chosen.update_octets, names=chosen.update_batch)
