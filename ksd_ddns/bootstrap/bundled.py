"""What a bundled primary, and a secondary of it, is made from: values that are checked before anything is written."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ksd_ddns.errors import SettingsError

KEY_FILE = "ksd-ddns.key"
TRANSFER_KEY_FILE = "transfer.key"
BIND_CONFIGURATION = "named.conf"
KNOT_CONFIGURATION = "knot.conf"
KNOT_SOCKET = "knot.sock"

_SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledPrimary:
    """What the bundled primary is made from.

    `base` is the zone it serves, as text ("vm.example."; upper case is folded, the final dot may be missing), and
    `reverse_zones` are more, for PTR records.
    With `name_server_ips` the zone's name server is `ns.<base>` with these addresses, without them `localhost.`,
    which lies outside the zone and therefore needs no address. `address` is one IP address; `0.0.0.0` are all of
    IPv4, `::` all of both families. `ttl` (seconds) is that of the NS and of its addresses. `transfer_key` is a file
    with one more key, for secondaries, that may transfer the zones and a catalog of them, and nothing else (BIND only).

    Raises SettingsError when a value is wrong, before anything is written.
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
        # The values are kept in one canonical form: compared and printed they never differ in case or in a dot.
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
        """The TSIG key in the form of tsig-keygen, for `TSIG_KEY_FILE` and `nsupdate -k`."""
        return self.directory / KEY_FILE

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that it serves, that of the VMIs' names first."""
        return (self.base, *self.reverse_zones)

    def zone_file(self, zone: str) -> Path:
        """Return the file of `zone`; it carries the zone's name, so that another base finds another file."""
        return self.directory / f"{zone}zone"

    @property
    def configuration(self) -> Path:
        """The file that the server is started with."""
        return self.directory / (BIND_CONFIGURATION if self.server == "bind9" else KNOT_CONFIGURATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledSecondary:
    """What a BIND 9 is made from that follows a bundled primary: it serves the same zones, and is never written to.

    Which zones, it learns from the primary's catalog. `primaries` are IP addresses, where `primary_port` is asked with
    the key in the file `transfer_key`; the rest is as with `BundledPrimary`. NOTIFY is accepted if signed with
    that key, from any address. Where none comes, it asks for the serials every second.

    Raises SettingsError when a value is wrong, before anything is written.
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
        raise SettingsError(f"{of} {text!r} is not an IP address: for example 127.0.0.1 or fd00::53") from e
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
        raise SettingsError(f"{of} {text!r} has a scope, which holds on one host only: give an address without '%'")
    return str(ip)
