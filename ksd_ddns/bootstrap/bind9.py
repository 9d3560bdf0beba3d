# SPDX-License-Identifier: Apache-2.0
"""The named.conf of a bundled BIND 9, primary or secondary."""

from pathlib import Path

from ksd_ddns.bootstrap import purpose
from ksd_ddns.bootstrap.bundled import TRANSFER_KEY_FILE, BundledPrimary, BundledSecondary
from ksd_ddns.bootstrap.limits import ALL, ALL_V4, ANSWERS_PER_SECOND
from ksd_ddns.bootstrap.zones import CATALOG, CATALOG_FILE


def configuration(primary: BundledPrimary, *, key_name: str, transfer_key_name: str | None = None) -> str:
    """Return the named.conf of `primary` (BIND 9.16 and later)."""
    transfer_keys = f'key "{key_name}"; key "{transfer_key_name}";' if transfer_key_name else f'key "{key_name}";'
    more = f'include "{primary.directory / TRANSFER_KEY_FILE}";\n' if transfer_key_name else ""
    zones = "\n".join(_zone(primary, zone, key_name=key_name, transfer_keys=transfer_keys) for zone in primary.zones)
    if transfer_key_name:
        zones += f"""
zone "{CATALOG}" {{
    type primary;
    file "{CATALOG_FILE}";
    allow-query {{ key "{transfer_key_name}"; }};
    allow-transfer {{ key "{transfer_key_name}"; }};
}};
"""
    return f"""\
// Written once by ksd-ddns bootstrap. Edit it freely, or delete it to have it written again.
// {purpose.line(primary)}
include "{primary.key_file}";
{more}
options {{
{_options(primary.directory, primary.address, primary.port)}
    serial-update-method increment;
    // Per zone, so that all zones fit into a directory of 256 MB.
    max-journal-size 16m;
    // Secondaries: name them with also-notify, and allow them in allow-transfer.
    notify explicit;
    allow-notify {{ none; }};
    allow-transfer {{ none; }};
    // Interface names may hold underscores.
    check-names primary ignore;
}};

controls {{ }};

{zones}"""


def _zone(primary: BundledPrimary, zone: str, *, key_name: str, transfer_keys: str) -> str:
    types = "A AAAA SRV TXT" if zone == primary.base else "PTR TXT"
    grants = [f'grant "{key_name}" subdomain "{zone}" {types};']
    if zone == primary.base:
        grants.append(f'grant "{key_name}" name "{zone}" NS;')
    lines = "".join(f"        {grant}\n" for grant in grants)
    return f"""\
zone "{zone}" {{
    type primary;
    file "{primary.zone_file(zone).name}";
    allow-transfer {{ {transfer_keys} }};
    update-policy {{
{lines}    }};
}};
"""


def secondary_configuration(secondary: BundledSecondary, *, key_name: str) -> str:
    """Return the named.conf of `secondary` (BIND 9.18.3 and later)."""
    primaries = " ".join(f'{ip} port {secondary.primary_port} key "{key_name}";' for ip in secondary.primaries)
    return f"""\
// Written once by ksd-ddns bootstrap. Edit it freely, or delete it to have it written again.
// {purpose.line(secondary)}
include "{secondary.directory / TRANSFER_KEY_FILE}";

options {{
{_options(secondary.directory, secondary.address, secondary.port)}
    // The controller sends NOTIFY, not the primary, so allow it by key.
    allow-notify {{ key "{key_name}"; }};
    // Also poll the serials every second, in case a NOTIFY is lost or this secondary is new. Use UDP only: after a
    // refused TCP connection BIND would not poll the primary for minutes.
    try-tcp-refresh no;
    min-refresh-time 1;
    max-refresh-time 1;
    min-retry-time 1;
    max-retry-time 1;
    // Send queries of serials without delay. With the default of 20 per second they wait up to half a second.
    serial-query-rate 1000;
    // Per zone, so that all zones fit into a directory of 256 MB.
    max-journal-size 16m;
    notify no;
    allow-transfer {{ none; }};
    // These options apply to the zones of the catalog. Each is stored in a file __catz__...db.
    catalog-zones {{
        zone "{CATALOG}" default-primaries {{ {primaries} }} min-update-interval 1;
    }};
}};

controls {{ }};

zone "{CATALOG}" {{
    type secondary;
    file "{CATALOG_FILE}";
    masterfile-format text;
    allow-query {{ none; }};
    primaries {{ {primaries} }};
}};
"""


def _options(directory: Path, address: str, port: int) -> str:
    """Return the options that a bundled primary and its secondaries share."""
    v4, v6 = _listen(address)
    return f"""\
    directory "{directory}";
    pid-file none;
    session-keyfile none;
    listen-on port {port} {{ {v4 or "none"}; }};
    listen-on-v6 port {port} {{ {v6 or "none"}; }};
    tcp-clients 500;

    // Authoritative only.
    recursion no;
    allow-query {{ any; }};
    allow-query-cache {{ none; }};
    dnssec-validation no;
    empty-zones-enable no;
    minimal-responses yes;
    minimal-any yes;
    version none;
    hostname none;
    server-id none;

    // Per network and query. Responses beyond the limit are truncated (slip 1), so resolvers retry over TCP.
    rate-limit {{
        responses-per-second {ANSWERS_PER_SECOND};
        slip 1;
        exempt-clients {{ 127.0.0.0/8; ::1; }};
    }};
"""


def _listen(address: str) -> tuple[str | None, str | None]:
    """Return what BIND listens on in IPv4 and in IPv6."""
    if address == ALL_V4:
        return "any", None
    if address == ALL:
        return "any", "any"
    return (None, address) if ":" in address else (address, None)
