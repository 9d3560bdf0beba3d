# SPDX-License-Identifier: Apache-2.0
"""The settings of a bundled primary and of its secondaries, validated before anything is written."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ksd_ddns.errors import SettingsError
from ksd_ddns.printable import masked

KEY_FILE = "ksd-ddns.key"
TRANSFER_KEY_FILE = "transfer.key"
BIND_CONFIGURATION = "named.conf"
KNOT_CONFIGURATION = "knot.conf"
KNOT_SOCKET = "knot.sock"

_SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledPrimary:
    """The settings of a bundled primary.

    It serves the zone `base` and, for PTR records, the `reverse_zones`; names are text ("vm.example."), in any case and
    with or without the final dot. With `name_server_ips`, the zone's name server is `ns.<base>` with these addresses.
    Without them it is `localhost.`, which is outside the zone and needs no address. `address` is the IP address to
    listen on: `0.0.0.0` is every IPv4 address, `::` every address of both families. `ttl` is the TTL of the NS record
    and its addresses, in seconds. `transfer_key` is the file of a second key, for secondaries, which may only transfer
    the zones and their catalog (BIND only).

    Raises SettingsError if a value is invalid.
    """

    server: Literal["bind9", "knot"]
    directory: Path
    base: str
    reverse_zones: tuple[str, ...] = ()
    name_server_ips: tuple[str, ...] = ()
    address: str = "127.0.0.1"
    port: int = 5353
    key_name: str = "ksd-ddns."
    ttl: int = 60
    transfer_key: Path | None = None

    def __post_init__(self) -> None:
        if self.server not in {"bind9", "knot"}:
            raise SettingsError(f"server {self.server!r} is unknown: bind9 or knot")
        _check_port(self.port)
        if self.transfer_key is not None and self.server != "bind9":
            raise SettingsError("a transfer key is for bind9 only: in the configuration of Knot, add it by hand")
        if not 0 <= self.ttl <= 2**31 - 1:
            raise SettingsError(f"TTL {self.ttl} is out of range: 0 to 2147483647 seconds (RFC 2181, 8)")
        directory = _absolute(self.directory, of="directory")
        if self.server == "knot" and len(os.fsencode(directory / KNOT_SOCKET)) > _SOCKET_PATH_LIMIT:
            raise SettingsError(
                f"directory {directory} is too long for the control socket of Knot (a socket's path has at most"
                f" {_SOCKET_PATH_LIMIT} octets): choose a shorter one"
            )
        # Canonical forms: the same value never differs in case or by a final dot.
        object.__setattr__(self, "directory", directory)
        if self.transfer_key is not None:
            object.__setattr__(self, "transfer_key", _absolute(self.transfer_key, of="transfer key"))
        object.__setattr__(self, "base", domain_name(self.base, of="base"))
        object.__setattr__(
            self, "reverse_zones", tuple(domain_name(zone, of="reverse zone") for zone in self.reverse_zones)
        )
        object.__setattr__(self, "key_name", domain_name(self.key_name, of="key name"))
        object.__setattr__(self, "address", _address(self.address, of="address"))
        ips = tuple(dict.fromkeys(_address(ip, of="name server address") for ip in self.name_server_ips))
        for ip in map(ipaddress.ip_address, ips):
            if ip.is_unspecified or ip.is_multicast or ip.is_loopback or ip.is_link_local:
                raise SettingsError(
                    f"name server address {ip} is not reachable from other hosts: give the address under"
                    " which resolvers find this server, or none"
                )
        object.__setattr__(self, "name_server_ips", ips)

    @property
    def key_file(self) -> Path:
        """The TSIG key file, as tsig-keygen writes it, for `TSIG_KEY_FILE` and `nsupdate -k`."""
        return self.directory / KEY_FILE

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that it serves, the base first."""
        return (self.base, *self.reverse_zones)

    def zone_file(self, zone: str) -> Path:
        """Return the file of `zone`. Its name contains the zone's, so that each base has its own file."""
        return self.directory / f"{zone}zone"

    @property
    def configuration(self) -> Path:
        """The file that the server is started with."""
        return self.directory / (BIND_CONFIGURATION if self.server == "bind9" else KNOT_CONFIGURATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledSecondary:
    """The settings of a BIND 9 that is a secondary of a bundled primary.

    It gets the list of zones from the primary's catalog. It transfers them from the IP addresses `primaries`, port
    `primary_port`, with the key in the file `transfer_key`. The other fields are as in `BundledPrimary`. It accepts
    NOTIFY from any address if it is signed with that key, and also polls the serials every second.

    Raises SettingsError if a value is invalid.
    """

    directory: Path
    primaries: tuple[str, ...]
    transfer_key: Path
    primary_port: int = 5353
    address: str = "127.0.0.1"
    port: int = 5353

    def __post_init__(self) -> None:
        _check_port(self.port)
        _check_port(self.primary_port)
        if not self.primaries:
            raise SettingsError("a secondary needs the address of its primary")
        object.__setattr__(self, "directory", _absolute(self.directory, of="directory"))
        object.__setattr__(self, "transfer_key", _absolute(self.transfer_key, of="transfer key"))
        object.__setattr__(self, "address", _address(self.address, of="address"))
        object.__setattr__(self, "primaries", tuple(_address(ip, of="primary") for ip in self.primaries))

    @property
    def configuration(self) -> Path:
        """The file that the server is started with."""
        return self.directory / BIND_CONFIGURATION


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise SettingsError(f"port {port} is out of range: 1 to 65535, for example 5353")


def _absolute(path: Path, *, of: str) -> Path:
    """Return an absolute path that the configuration of a server can express."""
    path = path.absolute()
    if re.search(r'["\\%\x00-\x1f\x7f]', str(path)):
        raise SettingsError(
            f"{of} {str(path)!r} holds a character that the server's configuration cannot express:"
            " choose one without quotes, backslashes, percent signs and control characters"
        )
    return path


def domain_name(text: str, *, of: str) -> str:
    """Return a domain name in lower case and with its final dot."""
    labels = text.lower().removesuffix(".").split(".")
    if not all(re.fullmatch(r"[a-z0-9_-]{1,63}", label) for label in labels) or sum(len(x) + 1 for x in labels) > 254:
        raise SettingsError(
            f"{of} {text!r} is not a domain name: labels of 1 to 63 letters, digits, hyphens and underscores,"
            " 255 octets in all"
        )
    return ".".join(labels) + "."


def _address(text: str, *, of: str) -> str:
    try:
        ip = ipaddress.ip_address(text.strip())
    except ValueError as e:
        raise SettingsError(f"{of} {masked(text)!r} is not an IP address: for example 127.0.0.1 or fd00::53") from e
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
        raise SettingsError(f"{of} {text!r} has a scope, which holds on one host only: give an address without '%'")
    return str(ip)
