# SPDX-License-Identifier: Apache-2.0
"""The purpose line of a configuration, which records its settings and is compared with the current ones.

An existing configuration is never overwritten, since it may have been edited. Without this check, one made for another
domain or port would be kept silently, and the server would not serve the requested zones.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ksd_ddns.bootstrap.bundled import BIND_CONFIGURATION, KNOT_CONFIGURATION, BundledPrimary, BundledSecondary
from ksd_ddns.bootstrap.zones import CATALOG, CATALOG_FILE
from ksd_ddns.errors import SettingsError

_LINE = re.compile(r"^(?://|#) made for: (.+)$", re.MULTILINE)
# Fallback for a configuration without that line.
_PORT = re.compile(r"^\s*listen(?:-on port |: .*@)(\d+)", re.MULTILINE)
_ZONE = re.compile(r'^\s*(?:zone "|- domain: )([^"\s]+)', re.MULTILINE)

_SETTINGS = {
    "server": "--server",
    "address": "--address",
    "port": "--port",
    "zones": "DOMAIN or REVERSE_ZONES",
    "secondaries": "--transfer-key",
    "primaries": "--secondary-of",
}


def purpose(server: BundledPrimary | BundledSecondary) -> dict[str, str]:
    """Return the settings for which the configuration of `server` is made."""
    if isinstance(server, BundledSecondary):
        primaries = ",".join(f"{ip}#{server.primary_port}" for ip in server.primaries)
        return {"server": "bind9", "address": server.address, "port": str(server.port), "primaries": primaries}
    made = {
        "server": server.server,
        "address": server.address,
        "port": str(server.port),
        "zones": ",".join(server.zones),
    }
    return made | ({"secondaries": "yes"} if server.transfer_key else {})


def line(server: BundledPrimary | BundledSecondary) -> str:
    """Return the purpose line without its comment marker."""
    return "made for: " + " ".join(f"{name}={value}" for name, value in purpose(server).items())


def check(server: BundledPrimary | BundledSecondary) -> None:
    """Raise SettingsError if the directory of `server` was made for other settings. Writes nothing."""
    wanted = purpose(server)
    other = KNOT_CONFIGURATION if wanted["server"] == "bind9" else BIND_CONFIGURATION
    found = server.configuration
    if not found.exists() and (server.directory / other).exists():
        raise SettingsError(
            f"{server.directory} was made for {'knot' if other == KNOT_CONFIGURATION else 'bind9'} ({other} is there), "
            f"and --server is {wanted['server']}: give each server a directory of its own with --dir"
        )
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return  # missing, or the writer will report the error
    made = _made(text, wanted)
    differences = [
        f"{_SETTINGS[name]} was {made.get(name) or 'not set'}, is {wanted.get(name) or 'not set'}"
        for name in _SETTINGS
        if made.get(name, "") != wanted.get(name, "")
    ]
    if differences:
        raise SettingsError(
            f"{found} was made for other settings: {'; '.join(differences)}. Nothing was written: choose another "
            f"--dir, or stop the server, remove {_removed(found)}, and run this again (zone files and keys stay)"
        )


def _made(text: str, wanted: Mapping[str, str]) -> Mapping[str, str]:
    """Return the settings of a configuration; without a purpose line, `wanted` with what the file contradicts."""
    if match := _LINE.search(text):
        return dict(item.partition("=")[::2] for item in match[1].split())
    made = dict(wanted)
    ports = _PORT.findall(text)
    if ports and wanted["port"] not in ports:
        made["port"] = ports[0]
    zones = [zone for zone in _ZONE.findall(text) if zone != CATALOG]
    if "zones" in wanted and not set(wanted["zones"].split(",")) <= set(zones):
        made["zones"] = ",".join(zones)
    return made


def _removed(configuration: Path) -> str:
    catalog = configuration.with_name(CATALOG_FILE)
    return f"{configuration.name} and {CATALOG_FILE}" if catalog.exists() else configuration.name
