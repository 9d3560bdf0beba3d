"""The named.conf of a bundled BIND 9, primary or secondary."""

from pathlib import Path

from ksd_ddns.bootstrap import purpose
from ksd_ddns.bootstrap.bundled import TRANSFER_KEY_FILE, BundledPrimary, BundledSecondary
from ksd_ddns.bootstrap.limits import ALL, ALL_V4, ANSWERS_PER_SECOND
from ksd_ddns.bootstrap.zones import CATALOG, CATALOG_FILE


def configuration(primary: BundledPrimary, *, key_name: str, transfer_key_name: str | None = None) -> str:
    """Return the named.conf of `primary` (BIND 9.16 and later)."""
    readers = f'key "{key_name}"; key "{transfer_key_name}";' if transfer_key_name else f'key "{key_name}";'
    more = f'include "{primary.directory / TRANSFER_KEY_FILE}";\n' if transfer_key_name else ""
    zones = "\n".join(_zone(primary, zone, key_name=key_name, readers=readers) for zone in primary.zones)
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
// Written by ksd-ddns bootstrap, and not touched again: change what you like, or remove it to have it written again.
// {purpose.line(primary)}
include "{primary.key_file}";
{more}
options {{
{_options(primary.directory, primary.address, primary.port)}
    serial-update-method increment;
    // Of each zone: all of them have room in a directory of 256 MB.
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


def _zone(primary: BundledPrimary, zone: str, *, key_name: str, readers: str) -> str:
    types = "A AAAA TXT" if zone == primary.base else "PTR TXT"
    grants = [f'grant "{key_name}" subdomain "{zone}" {types};']
    if zone == primary.base:
        grants.append(f'grant "{key_name}" name "{zone}" NS;')
    lines = "".join(f"        {grant}\n" for grant in grants)
    return f"""\
zone "{zone}" {{
    type primary;
    file "{primary.zone_file(zone).name}";
    allow-transfer {{ {readers} }};
    update-policy {{
{lines}    }};
}};
"""


def secondary_configuration(secondary: BundledSecondary, *, key_name: str) -> str:
    """Return the named.conf of `secondary` (BIND 9.18.3 and later)."""
    primaries = " ".join(f'{ip} port {secondary.primary_port} key "{key_name}";' for ip in secondary.primaries)
    return f"""\
// Written by ksd-ddns bootstrap, and not touched again: change what you like, or remove it to have it written again.
// {purpose.line(secondary)}
include "{secondary.directory / TRANSFER_KEY_FILE}";

options {{
{_options(secondary.directory, secondary.address, secondary.port)}
    // Who knows the key may say that a zone changed: it is not the primary that does, but the controller beside it.
    allow-notify {{ key "{key_name}"; }};
    // A datagram may be lost, and a secondary may be new: serials are asked for every second besides.
    // (By UDP alone: a primary that refuses a connection would not be asked again for minutes.)
    try-tcp-refresh no;
    min-refresh-time 1;
    max-refresh-time 1;
    min-retry-time 1;
    max-retry-time 1;
    // No limit, but how long a question waits for others: 10 ms. With the default of 20 it is half a second.
    serial-query-rate 1000;
    // Of each zone: all of them have room in a directory of 256 MB.
    max-journal-size 16m;
    notify no;
    allow-transfer {{ none; }};
    // Zones that the catalog names are as these options say, each in a file __catz__...db.
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

    // Per network and question. What exceeds it is answered truncated (slip 1), so resolvers come back over TCP.
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
