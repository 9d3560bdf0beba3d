# SPDX-License-Identifier: Apache-2.0
"""A primary that refuses our zone transfers, and what its zone holds."""

from collections.abc import Callable, Mapping

from harness.servers import Key, Record, Server

OURS, AUDIT = Key("ksd-ddns."), Key("audit.")
"""Our key, which may query and update, and the key of the test, which may transfer."""

INDEX = "_ksd-ddns-"


def no_transfer(make_either: Callable[..., Server], zones: Mapping[str, str]) -> Server:
    """Return a primary of `zones` that transfers them only to the key of the test."""
    return make_either(
        zones=zones,
        keys=[OURS, AUDIT],
        bind={
            "zone_options": 'allow-transfer { key "audit."; }; check-names ignore; '
            'update-policy { grant "ksd-ddns." zonesub ANY; };'
        },
        knot={
            "extra": "  - id: ours\n    key: ksd-ddns.\n    action: [query, update]\n"
            "  - id: audit\n    key: audit.\n    action: transfer\n",
            "zone_options": "acl: [ours, audit]",
        },
    )


def records(primary: Server, zone: str | None = None) -> frozenset[Record]:
    """Return all records of the zone except the SOA."""
    return primary.axfr(zone, soa=False, key=AUDIT.file(primary.directory))


def index(primary: Server, zone: str | None = None) -> set[str]:
    """Return the names that the index lists."""
    entries = [record for record in records(primary, zone) if INDEX in record.owner and "name=" in record.rdata]
    listed = [record.rdata.rpartition("name=")[2].rstrip('"') for record in entries]
    assert len(listed) == len(set(listed)), "a name is listed twice"
    return set(listed)


def owned(primary: Server, zone: str | None = None) -> set[str]:
    """Return the names with our ownership record, without the index."""
    return {
        record.owner
        for record in records(primary, zone)
        if "heritage=ksd-ddns" in record.rdata and INDEX not in record.owner
    }


def addresses(primary: Server, zone: str | None = None) -> dict[str, set[str]]:
    """Return the addresses of the zone by name."""
    found: dict[str, set[str]] = {}
    for record in records(primary, zone):
        if record.type in {"A", "AAAA"}:
            found.setdefault(record.owner, set()).add(record.rdata)
    return found
