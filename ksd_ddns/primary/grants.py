# SPDX-License-Identifier: Apache-2.0
"""The server configuration that grants a permission to a key, for BIND, Knot, PowerDNS and Active Directory.

BIND and Knot limit a key to a subtree and to record types; PowerDNS lets a key change the full zone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ksd_ddns.errors import Stanza

_KEY_PLACE = "added, or replacing the one with that name"
_KNOT_PLACE = "next to the existing rules of the zone"
_DIRECTORY = "Active Directory"
_DIRECTORY_PLACE = "in the properties of the zone"


class Permission(NamedTuple):
    """What an update needs: `key` may update the `types` of records at and below `base`; with `alone` only at `base`.

    Names are absolute, as text. `apex` are the types needed at the apex, if any.
    """

    zone: str
    base: str
    key: str
    types: Sequence[str]
    apex: Sequence[str] = ()
    alone: bool = False


def transfer(zone: str, key: str) -> tuple[Stanza, ...]:
    """Return the configuration that allows `key` to transfer `zone`."""
    bare = _bare(zone)
    rule = f"ksd-ddns-read-{bare}"
    allow = f'allow-transfer {{ key "{key}"; }};'
    bind = Stanza("BIND", f'in zone "{bare}"', allow, allow)
    if _is_principal(key):
        text = "Zone Transfers: only to this machine's address"
        return bind, Stanza(_DIRECTORY, _DIRECTORY_PLACE, text, "allow zone transfers to this machine")
    return (
        bind,
        Stanza(
            "Knot",
            _KNOT_PLACE,
            f"{_knot_rule(rule, key, '[query, transfer]')}{_knot_zone(zone, rule)}",
            "an acl with action: [query, transfer] and this key",
        ),
        Stanza("PowerDNS", "", f"pdnsutil add-meta {bare} TSIG-ALLOW-AXFR {_bare(key)}", "TSIG-ALLOW-AXFR"),
    )


def update(permission: Permission, *, address: str = "ADDRESS") -> tuple[Stanza, ...]:
    """Return the configuration that grants `permission` to clients at `address`, limited where the server can."""
    zone, base, key, types, apex, alone = permission
    bare = _bare(zone)
    grants = [f'grant "{key}" {"name" if alone else "subdomain"} "{base}" {" ".join(types)};']
    if apex:
        grants.append(f'grant "{key}" name "{zone}" {" ".join(apex)};')
    text = "update-policy {\n" + "".join(f"    {line}\n" for line in grants) + "};"
    place = f'in zone "{bare}", added to its grants, replacing any allow-update'
    bind = Stanza("BIND", place, text, " ".join(text.split()))
    if _is_principal(key):
        text = f"Dynamic updates: Secure only. Security: {key} may create and delete child objects"
        short = "allow the account to create and delete records"
        return bind, Stanza(_DIRECTORY, _DIRECTORY_PLACE, text, short)
    rule = f"ksd-ddns-update-{_bare(base)}"
    acl = (
        f"{_knot_rule(rule, key, 'update')}"
        f"    update-type: [{', '.join([*types, *apex])}]\n"
        "    update-owner: name\n"
        f"    update-owner-match: {'equal' if alone else 'sub-or-equal'}\n"
        f"    update-owner-name: [{base}]\n"
    )
    return (
        bind,
        Stanza(
            "Knot",
            _KNOT_PLACE,
            f"{acl}{_knot_zone(zone, rule)}",
            "an acl with action: update, this key and these types",
        ),
        Stanza(
            "PowerDNS",
            "with dnsupdate=yes in pdns.conf",
            f"pdnsutil add-meta {bare} TSIG-ALLOW-DNSUPDATE {_bare(key)}\n"
            f"pdnsutil add-meta {bare} ALLOW-DNSUPDATE-FROM {address}",
            "TSIG-ALLOW-DNSUPDATE and ALLOW-DNSUPDATE-FROM",
        ),
    )


def key_stanzas(key: str, algorithm: str) -> tuple[Stanza, ...]:
    """Return the configuration that adds `key` to a server, with the placeholder SECRET for its secret."""
    command = f"pdnsutil import-tsig-key {_bare(key)} {algorithm} SECRET"
    text = f'key "{key}" {{\n    algorithm {algorithm};\n    secret "SECRET";\n}};'
    return (
        Stanza("BIND", _KEY_PLACE, text, " ".join(text.split())),
        Stanza(
            "Knot",
            _KEY_PLACE,
            f"key:\n  - id: {key}\n    algorithm: {algorithm}\n    secret: SECRET",
            f"the item id: {key} under key, with our algorithm and secret",
        ),
        Stanza("PowerDNS", _KEY_PLACE, command, command),
    )


def unsigned_notauth_stanzas(key: str) -> tuple[Stanza, ...]:
    """Return the configuration that adds `key`, for servers that send NOTAUTH unsigned: Knot 3.4 and PowerDNS."""
    if _is_principal(key):
        return ()
    _, knot, powerdns = key_stanzas(key, "ALGORITHM")
    return msgspec.structs.replace(
        knot, place="in knot.conf", short=f"{knot.short}, and an acl of the zone with key: {key}"
    ), powerdns


def _is_principal(key: str) -> bool:
    """Return whether `key` is a Kerberos principal, which only BIND and Active Directory support here."""
    return "@" in key


def _knot_rule(name: str, key: str, action: str) -> str:
    return f"acl:\n  - id: {name}\n    key: {key}\n    action: {action}\n"


def _knot_zone(zone: str, rule: str) -> str:
    return f"zone:\n  - domain: {zone}\n    acl: [{rule}]"


def _bare(name: str) -> str:
    return name.removesuffix(".") or "."
