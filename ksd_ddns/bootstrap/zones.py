"""The zones of a bundled primary as they begin, and the catalog that its secondaries find them by."""

import hashlib
import time

from ksd_ddns.bootstrap.bundled import BundledPrimary

# What secondaries find the other zones by (RFC 9432). It is no name in the DNS, and answered to their key alone.
CATALOG = "catalog.ksd-ddns.invalid."
CATALOG_FILE = "catalog.zone"

# A zone that is made begins with a serial from the clock, this often a second, and each update adds one. So it is ahead
# of the zone that was lost, unless that had more updates than that all its life: secondaries go on following, however
# soon and often the primary is replaced. (Serials go round, RFC 1982: it takes less than four years between the two.)
SERIALS_PER_SECOND = 16


def new_serial() -> int:
    """Return the serial with which a zone starts now."""
    return int(time.time() * SERIALS_PER_SECOND) % 2**32


def zone_text(primary: BundledPrimary, zone: str, *, serial: int) -> str:
    """Return one of the zones of `primary` as it is before the first record is published."""
    server = f"ns.{primary.base}" if primary.name_server_ips else "localhost."
    lines = [
        f"$ORIGIN {zone}",
        f"$TTL {primary.ttl}",
        "; Negative answers are kept for the lesser of the SOA's TTL and its last field (RFC 2308, 5): 30 seconds.",
        "; Secondaries that get no NOTIFY ask every minute.",
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
    # A label that stays the same for a zone: with another one secondaries would drop the zone before they copy it.
    lines.extend(f"{hashlib.sha256(zone.encode()).hexdigest()[:16]}.zones IN PTR {zone}" for zone in primary.zones)
    return "\n".join(lines) + "\n"
