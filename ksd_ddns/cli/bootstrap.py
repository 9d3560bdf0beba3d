# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns bootstrap`: write the files of the bundled primary, or of its secondary."""

import shlex
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from socket import SOCK_STREAM, getaddrinfo
from typing import ClassVar

from ksd_ddns import bootstrap
from ksd_ddns.cli import options, output, settings
from ksd_ddns.config import fields, zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import PrimaryError, SettingsError
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import names
from ksd_ddns.wire.text import address_text

_PAUSE = 0.5
"""Seconds between two queries to a primary that does not serve its catalog yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `bootstrap`."""

    settings: ClassVar[tuple[str, ...]] = ("domain", "name_server_ip", "record_ttl", "reverse_zones")

    server: str = options.flag("--server", choices=("bind9", "knot"), help="DNS server to configure")
    directory: Path = options.flag("--dir", type=Path, metavar="DIR", help="directory for all its files")
    address: str = options.flag("--address", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    port: int = options.flag("--port", default=5353, type=int, help="UDP and TCP port to listen on (default: 5353)")
    transfer_key: Path | None = options.flag(
        "--transfer-key",
        default=None,
        type=Path,
        metavar="FILE",
        help="TSIG key file for secondaries: allows transfers of the zones and their catalog (bind9)",
    )
    secondary_of: str = options.flag(
        "--secondary-of",
        default="",
        metavar="HOST[:PORT]",
        help="configure a secondary of this primary, using --transfer-key (bind9; default port: 5353)",
    )


def main(asked: Options) -> int:
    """Write what is missing, and print how to start the server."""
    chosen = settings.load(asked)
    if asked.secondary_of:
        return _write_secondary(asked)
    primary = _primary(chosen, asked)
    _print_written(bootstrap.write(primary))
    try:
        output.line(f"start it with: {shlex.join(bootstrap.command(primary))}")
    except SettingsError as e:
        # The server may be in another container, or installed later.
        output.line(f"cannot be started here: {e}")
    output.line(f"then check it: {shlex.join(_check(chosen, primary))}")
    return 0


def _check(chosen: Settings, primary: bootstrap.BundledPrimary) -> list[str]:
    """Return the command that checks the new primary."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(primary.address, primary.address)  # noqa: S104 not bound here
    command = ["ksd-ddns", "check", "--dns-server", str(Server(host, primary.port))]
    command += ["--tsig-key-file", str(primary.key_file)]
    if chosen.domain != names.ROOT:
        command += ["--domain", names.to_text(chosen.domain).rstrip(".")]
    if reverse := zones.reverse_bases(chosen):
        command += ["--reverse-zones", ",".join(map(names.to_text, reverse))]
    return command


def _primary(chosen: Settings, asked: Options) -> bootstrap.BundledPrimary:
    if chosen.reverse_zones.auto:
        raise SettingsError("REVERSE_ZONES=auto finds zones that exist: name the zones that bootstrap is to create")
    return bootstrap.BundledPrimary(
        server="knot" if asked.server == "knot" else "bind9",
        directory=asked.directory,
        base=names.to_text(chosen.base),
        reverse_zones=tuple(map(names.to_text, zones.reverse_bases(chosen))),
        name_server_ips=tuple(map(address_text, chosen.name_server_ip)),
        address=asked.address,
        port=asked.port,
        ttl=chosen.record_ttl,
        transfer_key=asked.transfer_key,
    )


def _write_secondary(asked: Options) -> int:
    if asked.server != "bind9" or asked.transfer_key is None:
        raise SettingsError("--secondary-of needs --server bind9, and --transfer-key with the key of the primary")
    primary = fields.server(asked.secondary_of, 5353, where="--secondary-of")
    try:
        found = getaddrinfo(primary.host, primary.port, type=SOCK_STREAM)
    except OSError as e:
        raise SettingsError(f"--secondary-of = {asked.secondary_of!r}: {primary.host} is not found: {e}") from e
    secondary = bootstrap.BundledSecondary(
        directory=asked.directory,
        primaries=tuple(dict.fromkeys(str(item[4][0]) for item in found)),
        primary_port=primary.port,
        transfer_key=asked.transfer_key,
        address=asked.address,
        port=asked.port,
    )
    _print_written(bootstrap.write_secondary(secondary))
    _wait_for_catalog(secondary, asked.secondary_of)
    return 0


def _wait_for_catalog(secondary: bootstrap.BundledSecondary, primary: str) -> None:
    """Wait until the primary serves its catalog, and print each cause once.

    A BIND that finds no catalog at startup retries after a minute, and then with growing pauses.
    """
    key = read_key_file(secondary.directory / bootstrap.TRANSFER_KEY_FILE)
    peers = [Peer(Server(ip, secondary.primary_port), key) for ip in secondary.primaries]
    printed: type[PrimaryError] | None = None
    while True:
        with closing(Session(peers, timeout=2.0)) as session:
            try:
                session.serial(names.from_text(bootstrap.CATALOG))
            except PrimaryError as e:
                if printed is not type(e):
                    printed = type(e)
                    output.line(f"waiting until {primary} serves its catalog: {e}")
                    output.flush()
            else:
                return
        time.sleep(_PAUSE)


def _print_written(files: Iterable[bootstrap.Written]) -> None:
    for file in files:
        output.line(f"{file.path}: {file.outcome.value}")
