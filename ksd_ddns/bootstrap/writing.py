# SPDX-License-Identifier: Apache-2.0
"""Writes the missing files of a bundled server (keys, zones, configuration) and returns its start command."""

import base64
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from ksd_ddns.bootstrap import bind9, knot, purpose
from ksd_ddns.bootstrap.bundled import TRANSFER_KEY_FILE, BundledPrimary, BundledSecondary, domain_name
from ksd_ddns.bootstrap.files import Outcome, Written, make, write_once
from ksd_ddns.bootstrap.limits import WORKERS
from ksd_ddns.bootstrap.zones import CATALOG_FILE, catalog_text, new_serial, zone_text
from ksd_ddns.errors import SettingsError
from ksd_ddns.primary.keys import Key, read_key_file

DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/opt/bin", "/opt/sbin")
_PACKAGES = {"bind9": ("named", "bind9"), "knot": ("knotd", "knot")}


def write(primary: BundledPrimary) -> tuple[Written, ...]:
    """Write the missing key, zone files and configuration; return every file with its outcome.

    Raises SettingsError if the directory or a file in it cannot be read or written, if the existing key file is
    invalid, if there is a journal without its zone file, or if the configuration was made for another domain, port,
    server or set of zones.
    """
    directory = primary.directory
    make(directory)
    purpose.check(primary)
    written = [] if primary.transfer_key is None else [_copy_key(primary.transfer_key, directory)]
    transfer_key = _read_key(directory / TRANSFER_KEY_FILE).name if written else None
    for file in map(primary.zone_file, primary.zones):
        journal = file.with_name(file.name + ".jnl")
        if journal.exists() and not file.exists():
            # BIND refuses to load a new zone file with an old journal.
            raise SettingsError(
                f"{journal} is there without its zone {file}: put the zone file back, or remove the journal"
                " to start from an empty zone"
            )

    written.append(write_once(primary.key_file, _new_key(primary.key_name), mode=0o600, keep=True))
    try:
        key = _read_key(primary.key_file)
    except SettingsError as e:
        raise SettingsError(f"{e}; correct it, or remove it to get a new key") from e
    if transfer_key == key.name:
        raise SettingsError(f"{primary.transfer_key} holds a key with the name of our own, {key.name}: choose another")
    serial = new_serial()
    written += [
        write_once(primary.zone_file(zone), zone_text(primary, zone, serial=serial), keep=True)
        for zone in primary.zones
    ]
    if transfer_key:
        written.append(write_once(directory / CATALOG_FILE, catalog_text(primary, serial=serial), keep=True))
    if primary.server == "bind9":
        text = bind9.configuration(primary, key_name=key.name, transfer_key_name=transfer_key)
        written.append(write_once(primary.configuration, text))
        return tuple(written)
    knot_key_file = directory / knot.KEY_FILE
    knot_key = write_once(knot_key_file, knot.key_clause(key), mode=0o600)
    if knot_key.outcome is Outcome.DIFFERS:
        raise SettingsError(
            f"{knot_key_file} holds another key than {primary.key_file}: remove the one that is wrong and run again"
        )
    written.append(knot_key)
    written.append(write_once(primary.configuration, knot.configuration(primary, key_name=key.name)))
    return tuple(written)


def write_secondary(secondary: BundledSecondary) -> tuple[Written, ...]:
    """Write the missing key and configuration; return both files with their outcome.

    Raises SettingsError if the directory or the key file is unusable, or if the configuration was made for another
    primary or port.
    """
    make(secondary.directory)
    purpose.check(secondary)
    key = _copy_key(secondary.transfer_key, secondary.directory)
    text = bind9.secondary_configuration(secondary, key_name=_read_key(key.path).name)
    return (key, write_once(secondary.configuration, text))


def command(primary: BundledPrimary, *, directories: Sequence[str] = DIRECTORIES) -> tuple[str, ...]:
    """Return the command line that runs `primary` in the foreground, as the current user, logging to stderr.

    Looks for the server in PATH, then in `directories`. Raises SettingsError if it is not installed.
    """
    program, package = _PACKAGES[primary.server]
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *directories))
    binary = shutil.which(program, path=path)
    if binary is None:
        raise SettingsError(
            f"{program} is not installed: on Debian and Ubuntu it comes with `apt-get install {package}`"
        )
    if primary.server == "knot":
        return (binary, "-c", str(primary.configuration))
    # -g, not -f: with -f, errors before the configuration is read (an unreadable file, an AppArmor denial) go to
    # syslog, which containers lack.
    return (binary, "-g", "-n", str(WORKERS), "-c", str(primary.configuration))


def _read_key(path: Path) -> Key:
    """Read a key file; raise SettingsError if server configurations cannot express the name of the key."""
    key = read_key_file(path)
    domain_name(key.name, of=f"the key name in {path},")
    return key


def _new_key(name: str) -> str:
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    return f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n'


def _copy_key(path: Path, directory: Path) -> Written:
    """Copy an existing key into `directory`, unless a copy is already there."""
    _read_key(path)
    return write_once(directory / TRANSFER_KEY_FILE, path.read_text(encoding="utf-8"), mode=0o600)
