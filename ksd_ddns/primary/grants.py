"""What an admin writes where a right is missing: the statements of each server, with zone, name, types and key in them.

BIND and Knot limit a key to a branch and to record types; PowerDNS lets a key change a whole zone.
"""

from collections.abc import Sequence
from typing import NamedTuple

_NEW = "new, or in the place of one of that name"
_BESIDE = "beside the rules that the zone has"
_DIRECTORY = "Active Directory"


def is_principal(key: str) -> bool:
    """Return whether `key` is a principal of Kerberos, of which Knot and PowerDNS here know nothing."""
    return "@" in key


class Stanza(NamedTuple):
    """A piece of configuration: whose, where it belongs, and the text itself."""

    server: str
    place: str
    text: str


class Right(NamedTuple):
    """What is asked of a zone: `key` shall update the `types` of records at `base` and below it, or there `alone`.

    Names are text, absolute; `apex` are types that are needed at the apex itself, where the base is one.
    """

    zone: str
    base: str
    key: str
    types: Sequence[str]
    apex: Sequence[str] = ()
    alone: bool = False


def transfer(zone: str, key: str) -> tuple[Stanza, ...]:
    """Return what lets `key` transfer `zone`."""
    bare = _bare(zone)
    read = f"ksd-ddns-read-{bare}"
    bind = Stanza("BIND", f'in zone "{bare}"', f'allow-transfer {{ key "{key}"; }};')
    if is_principal(key):
        return bind, Stanza(
            _DIRECTORY, "in the properties of the zone", "Zone Transfers: only to this machine's address"
        )
    return (
        bind,
        Stanza("Knot", _BESIDE, f"{_knot_rule(read, key, '[query, transfer]')}{_knot_zone(zone, read)}"),
        Stanza("PowerDNS", "", f"pdnsutil add-meta {bare} TSIG-ALLOW-AXFR {_bare(key)}"),
    )


def update(right: Right, *, address: str) -> tuple[Stanza, ...]:
    """Return what gives `right` to whoever comes from `address`, and nothing beyond it where the server can."""
    bare = _bare(right.zone)
    reach = "name" if right.alone else "subdomain"
    grants = [f'grant "{right.key}" {reach} "{right.base}" {" ".join(right.types)};']
    if right.apex:
        grants.append(f'grant "{right.key}" name "{right.zone}" {" ".join(right.apex)};')
    lines = "".join(f"    {line}\n" for line in grants)
    place = f'in zone "{bare}", with the grants that it has, in the place of any allow-update'
    bind = Stanza("BIND", place, f"update-policy {{\n{lines}}};")
    if is_principal(right.key):
        text = f"Dynamic updates: Secure only. Security: {right.key} may create and delete child objects"
        return bind, Stanza(_DIRECTORY, "in the properties of the zone", text)
    name = f"ksd-ddns-update-{_bare(right.base)}"
    rule = (
        f"{_knot_rule(name, right.key, 'update')}"
        f"    update-type: [{', '.join([*right.types, *right.apex])}]\n"
        "    update-owner: name\n"
        f"    update-owner-match: {'equal' if right.alone else 'sub-or-equal'}\n"
        f"    update-owner-name: [{right.base}]\n"
    )
    return (
        bind,
        Stanza("Knot", _BESIDE, f"{rule}{_knot_zone(right.zone, name)}"),
        Stanza(
            "PowerDNS",
            "with dnsupdate=yes in pdns.conf",
            f"pdnsutil add-meta {bare} TSIG-ALLOW-DNSUPDATE {_bare(right.key)}\n"
            f"pdnsutil add-meta {bare} ALLOW-DNSUPDATE-FROM {address}",
        ),
    )


def known(key: str, algorithm: str) -> tuple[Stanza, ...]:
    """Return what makes `key` known to a server; SECRET stands for its secret, which is never shown."""
    return (
        Stanza("BIND", _NEW, f'key "{key}" {{\n    algorithm {algorithm};\n    secret "SECRET";\n}};'),
        Stanza("Knot", _NEW, f"key:\n  - id: {key}\n    algorithm: {algorithm}\n    secret: SECRET"),
        Stanza("PowerDNS", _NEW, f"pdnsutil import-tsig-key {_bare(key)} {algorithm} SECRET"),
    )


def _knot_rule(name: str, key: str, action: str) -> str:
    return f"acl:\n  - id: {name}\n    key: {key}\n    action: {action}\n"


def _knot_zone(zone: str, rule: str) -> str:
    return f"zone:\n  - domain: {zone}\n    acl: [{rule}]"


def _bare(name: str) -> str:
    return name.removesuffix(".") or "."
