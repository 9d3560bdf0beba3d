# SPDX-License-Identifier: Apache-2.0
"""The initial zone files of a bundled primary, and the catalog zone for its secondaries (RFC 9432)."""

import hashlib
import time

from ksd_ddns.bootstrap.bundled import BundledPrimary

# Lists the other zones for the secondaries. Not a name in the DNS: only their key may query it.
CATALOG = "catalog.ksd-ddns.invalid."
CATALOG_FILE = "catalog.zone"

# A new zone gets its serial from the clock, which advances this much per second; each update increments it by one. So a
# recreated zone is newer than the lost one, unless that was updated more often than this on average, and secondaries
# transfer it. (Serials wrap around, RFC 1982: this works if the zone is recreated within four years.)
SERIALS_PER_SECOND = 16


def new_serial() -> int:
    """Return the serial of a zone that is created now."""
    return int(time.time() * SERIALS_PER_SECOND) % 2**32


def zone_text(primary: BundledPrimary, zone: str, *, serial: int) -> str:
    """Return the zone file of one of the zones of `primary` before the first record is published."""
    server = f"ns.{primary.base}" if primary.name_server_ips else "localhost."
    lines = [
        f"$ORIGIN {zone}",
        f"$TTL {primary.ttl}",
        "; Negative answers are cached for the lesser of the SOA's TTL and its last field (RFC 2308, 5): 30 seconds.",
        "; Secondaries that get no NOTIFY poll the serial every minute.",
        f"@ 30 IN SOA {server} hostmaster.{primary.base} {serial} 60 30 1209600 30",
        f"@ IN NS {server}",
    ]
    if zone == primary.base:
        lines.extend(f"ns IN {'AAAA' if ':' in ip else 'A'} {ip}" for ip in primary.name_server_ips)
    return "\n".join(lines) + "\n"


def catalog_text(primary: BundledPrimary, *, serial: int) -> str:
    """Return the catalog of the zones of `primary` (RFC 9432)."""
    lines = [
        f"$ORIGIN {CATALOG}",
        "$TTL 0",
        f"@ IN SOA invalid. invalid. {serial} 60 30 1209600 0",
        "@ IN NS invalid.",
        'version IN TXT "2"',
    ]
    # The label of a zone must not change: otherwise secondaries would delete the zone and transfer it again.
    lines.extend(f"{hashlib.sha256(zone.encode()).hexdigest()[:16]}.zones IN PTR {zone}" for zone in primary.zones)
    return "\n".join(lines) + "\n"
