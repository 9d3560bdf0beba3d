"""Key, zone files and configuration of the bundled primary: a BIND 9 or a Knot that serves the base and reverse zones.

Everything the server reads and writes lies in one directory, so that it runs as any unprivileged user and on a
read-only root file system. (Knot 3 keeps its parsed configuration in a deleted file in /tmp: that must be writable.)

What is there is never overwritten: not the key, not the zone with its journal, not a configuration that somebody may
have changed.
"""

import base64
import contextlib
import errno
import hashlib
import ipaddress
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from ksd_ddns.errors import SettingsError

KEY_FILE = "ksd-ddns.key"
BIND_CONFIGURATION = "named.conf"
KNOT_CONFIGURATION = "knot.conf"
KNOT_KEY_FILE = "knot-key.conf"
KNOT_SOCKET = "knot.sock"

# What secondaries find the other zones by (RFC 9432). It is no name in the DNS, and answered to their key alone.
CATALOG = "catalog.ksd-ddns.invalid."
CATALOG_FILE = "catalog.zone"
TRANSFER_KEY_FILE = "transfer.key"

# The algorithms that the controller accepts too, without HMAC-MD5 (RFC 8945, 6).
ALGORITHMS = frozenset({"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"})

# One answer per second for the same question from the same network is what resolvers need, with a TTL of a minute.
# Many clients behind few resolvers ask for many names that do not exist, so the limit is far above that; and because
# every answer beyond it goes out truncated instead of being dropped (slip 1), a resolver merely comes back over TCP.
ANSWERS_PER_SECOND = 1000

# A zone that is made begins with a serial from the clock, this often a second, and each update adds one. So it is ahead
# of the zone that was lost, unless that had more updates than that all its life: secondaries go on following, however
# soon and often the primary is replaced. (Serials go round, RFC 1982: it takes less than four years between the two.)
SERIALS_PER_SECOND = 16

# Threads. A server that starts one per core of a 64-core node would outgrow its container.
WORKERS = 2

_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/opt/bin", "/opt/sbin")
_PACKAGES = {"bind9": ("named", "bind9"), "knot": ("knotd", "knot")}
_SOCKET_PATH_LIMIT = 107
_ALL_V4 = "0.0.0.0"  # noqa: S104 - compared with, never bound to
_ALL = "::"


class Outcome(Enum):
    """What became of one file."""

    WRITTEN = "written"
    KEPT = "kept"
    DIFFERS = "kept, differs from what would be written today"


@dataclass(frozen=True, slots=True)
class Written:
    """One file of the bundled primary and what became of it."""

    path: Path
    outcome: Outcome


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
        if self.server not in _PACKAGES:
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
        object.__setattr__(self, "base", _name(self.base, of="base"))
        object.__setattr__(self, "reverse_zones", tuple(_name(zone, of="reverse zone") for zone in self.reverse_zones))
        object.__setattr__(self, "key_name", _name(self.key_name, of="key name"))
        object.__setattr__(self, "address", _address(self.address, of="address"))
        ips = tuple(dict.fromkeys(_address(ip, of="name server address") for ip in self.name_server_ips))
        for ip in map(ipaddress.ip_address, ips):
            if ip.is_unspecified or ip.is_multicast or ip.is_loopback or ip.is_link_local:
                raise SettingsError(
                    f"name server address {ip} is one that nobody can reach from elsewhere: give the address under"
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
    the key in the file `transfer_key`; the rest is as with `BundledPrimary`. NOTIFY is taken from whoever signs it with
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


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    algorithm: str
    secret: str  # base64

    def __repr__(self) -> str:
        return f"_Key({self.name}, {self.algorithm}, ***)"


def write(primary: BundledPrimary) -> tuple[Written, ...]:
    """Write what is missing of key, zone files and configuration; return every file with what became of it.

    Raises SettingsError when the directory or a file in it cannot be read or written, when the key file that is there
    cannot be understood, and when a journal lies there without its zone.
    """
    directory = primary.directory
    _make(directory)
    written = [] if primary.transfer_key is None else [_copy_key(primary.transfer_key, directory)]
    transfer_key = _only_key(directory / TRANSFER_KEY_FILE) if written else None
    for file in map(primary.zone_file, primary.zones):
        journal = file.with_name(file.name + ".jnl")
        if journal.exists() and not file.exists():
            # A new zone would not fit the old journal, and BIND would refuse to load it.
            raise SettingsError(
                f"{journal} is there without its zone {file}: put the zone file back, or remove the journal"
                " to start from an empty zone"
            )

    written.append(_write(primary.key_file, _new_key(primary.key_name), mode=0o600, keep=True))
    key = _read_key(primary.key_file, primary.key_name)
    if transfer_key == key.name:
        raise SettingsError(f"{primary.transfer_key} holds a key with the name of our own, {key.name}: choose another")
    serial = new_serial()
    written += [
        _write(primary.zone_file(zone), zone_text(primary, zone, serial=serial), keep=True) for zone in primary.zones
    ]
    if transfer_key:
        written.append(_write(directory / CATALOG_FILE, catalog_text(primary, serial=serial), keep=True))
    if primary.server == "bind9":
        text = bind_configuration(primary, key_name=key.name, transfer_key_name=transfer_key)
        written.append(_write(primary.configuration, text))
        return tuple(written)
    knot_key_file = directory / KNOT_KEY_FILE
    knot_key = _write(knot_key_file, _knot_key(key), mode=0o600)
    if knot_key.outcome is Outcome.DIFFERS:
        raise SettingsError(
            f"{knot_key_file} holds another key than {primary.key_file}: remove the one that is wrong and run again"
        )
    written.append(knot_key)
    written.append(_write(primary.configuration, knot_configuration(primary, key_name=key.name)))
    return tuple(written)


def write_secondary(secondary: BundledSecondary) -> tuple[Written, ...]:
    """Write what is missing of key and configuration; return both files with what became of them.

    Raises SettingsError when the directory or the key file cannot be used.
    """
    _make(secondary.directory)
    key = _copy_key(secondary.transfer_key, secondary.directory)
    text = bind_secondary_configuration(secondary, key_name=_only_key(key.path))
    return (key, _write(secondary.configuration, text))


def command(primary: BundledPrimary) -> tuple[str, ...]:
    """Return the command line that serves `primary` in the foreground, as the current user, logging to stderr.

    Raises SettingsError when the server is not installed.
    """
    program, package = _PACKAGES[primary.server]
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_DIRECTORIES))
    binary = shutil.which(program, path=path)
    if binary is None:
        raise SettingsError(
            f"{program} is not installed: on Debian and Ubuntu it comes with `apt-get install {package}`"
        )
    if primary.server == "knot":
        return (binary, "-c", str(primary.configuration))
    # -g, not -f: with -f whatever goes wrong before the configuration is read (a file that cannot be opened, an
    # AppArmor profile) goes to syslog, which a container does not have.
    return (binary, "-g", "-n", str(WORKERS), "-c", str(primary.configuration))


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


def bind_configuration(primary: BundledPrimary, *, key_name: str, transfer_key_name: str | None = None) -> str:
    """Return the named.conf of `primary` (BIND 9.16 and later)."""
    readers = f'key "{key_name}"; key "{transfer_key_name}";' if transfer_key_name else f'key "{key_name}";'
    more = f'include "{primary.directory / TRANSFER_KEY_FILE}";\n' if transfer_key_name else ""
    zones = "\n".join(_bind_zone(primary, zone, key_name=key_name, readers=readers) for zone in primary.zones)
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
// Written by ksd-ddns bootstrap, and not touched again: change what you like, or remove it to have it written anew.
include "{primary.key_file}";
{more}
options {{
{_bind_options(primary.directory, primary.address, primary.port)}
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


def _bind_zone(primary: BundledPrimary, zone: str, *, key_name: str, readers: str) -> str:
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


def bind_secondary_configuration(secondary: BundledSecondary, *, key_name: str) -> str:
    """Return the named.conf of `secondary` (BIND 9.18.3 and later)."""
    primaries = " ".join(f'{ip} port {secondary.primary_port} key "{key_name}";' for ip in secondary.primaries)
    return f"""\
// Written by ksd-ddns bootstrap, and not touched again: change what you like, or remove it to have it written anew.
include "{secondary.directory / TRANSFER_KEY_FILE}";

options {{
{_bind_options(secondary.directory, secondary.address, secondary.port)}
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


def _bind_options(directory: Path, address: str, port: int) -> str:
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


def knot_configuration(primary: BundledPrimary, *, key_name: str) -> str:
    """Return the knot.conf of `primary` (Knot DNS 3.2 and later)."""
    addresses = [primary.address]
    if primary.address == _ALL:
        # Unlike BIND, Knot ends where it cannot listen: a kernel booted with ipv6.disable=1 knows no such sockets.
        addresses = [_ALL_V4, _ALL] if _kernel_has_ipv6() else [_ALL_V4]
    listen = "".join(f"\n    listen: {address}@{primary.port}" for address in addresses)
    return f"""\
# Written by ksd-ddns bootstrap, and not touched again: change what you like, or remove it to have it written anew.
include: "{primary.directory / KNOT_KEY_FILE}"

server:{listen}
    rundir: "{primary.directory}"
    identity: ""
    version: ""
    nsid: ""
    udp-workers: {WORKERS}
    tcp-workers: {2 * WORKERS}
    background-workers: {WORKERS}
    # The default of 10 s would close the controller's connection between two looks at the serial.
    tcp-idle-timeout: 60
    # Milliseconds. With the default of 500 a reader that pauses in a long transfer is cut off.
    tcp-io-timeout: 3000

log:
  - target: stderr
    any: info

database:
    storage: "{primary.directory}"
    # An update is answered when it is on the disk.
    journal-db-mode: robust
    journal-db-max-size: 1G

acl:
  - id: read
    key: {key_name}
    action: [query, transfer]
  # One rule for all types: a message must satisfy a single rule, and one message may hold the NS of the apex too.
  - id: update
    key: {key_name}
    action: update
    update-type: [A, AAAA, TXT, NS]
  - id: update-pointers
    key: {key_name}
    action: update
    update-type: [PTR, TXT]

# Per network and question, since Knot 3.4 per address. What exceeds it is answered truncated (slip 1), so resolvers
# come back over TCP.
mod-rrl:
  - id: default
    rate-limit: {ANSWERS_PER_SECOND}
    slip: 1
    whitelist: [127.0.0.0/8, ::1]

template:
  - id: default
    global-module: mod-rrl/default

zone:
{"".join(_knot_zone(primary, zone) for zone in primary.zones)}"""


def _knot_zone(primary: BundledPrimary, zone: str) -> str:
    return f"""\
  - domain: {zone}
    storage: "{primary.directory}"
    file: "{primary.zone_file(zone).name}"
    acl: [read, {"update" if zone == primary.base else "update-pointers"}]
    serial-policy: increment
    # At a start the zone file is loaded and then the changes since: nothing that was acknowledged is lost.
    zonefile-load: whole
    journal-content: changes
    zonefile-sync: 15m
    journal-max-depth: 10000
    # Of each zone: all of them have room in a directory of 256 MB.
    journal-max-usage: 32M
"""


def _kernel_has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def _listen(address: str) -> tuple[str | None, str | None]:
    """Return what BIND listens on in IPv4 and in IPv6."""
    if address == _ALL_V4:
        return "any", None
    if address == _ALL:
        return "any", "any"
    return (None, address) if ":" in address else (address, None)


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


def _make(directory: Path) -> None:
    """Create `directory` unless it is there; it must be writable."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _unusable(directory, e) from e
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _unusable(directory, PermissionError(errno.EACCES, "not writable"))


def _name(text: str, *, of: str) -> str:
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


def _write(path: Path, text: str, *, mode: int = 0o644, keep: bool = False) -> Written:
    """Write `text` to `path` in one step, unless it is there. With `keep` a difference to `text` is no news."""
    try:
        if not os.path.lexists(path):
            with contextlib.suppress(FileExistsError):
                _create(path, text.encode(), mode)
                return Written(path, Outcome.WRITTEN)
        if keep or path.read_bytes() == text.encode():
            return Written(path, Outcome.KEPT)
        return Written(path, Outcome.DIFFERS)
    except OSError as e:
        raise _unusable(path, e) from e


def _create(path: Path, content: bytes, mode: int) -> None:
    """Create `path` complete and on disk, or not at all; FileExistsError when somebody was faster."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        try:
            os.link(temporary, path)  # unlike a rename it never replaces
        except OSError as e:
            if e.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            temporary.rename(path)  # a file system without hard links
            return
        temporary.unlink()
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _unusable(path: Path, error: OSError) -> SettingsError:
    reason = error.strerror or str(error)
    return SettingsError(
        f"{path} cannot be used ({reason}): the bundled primary needs a directory of its own that user {os.getuid()}"
        " may read and write; choose another one or correct its owner and mode"
    )


def _new_key(name: str) -> str:
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    return f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n'


def _knot_key(key: _Key) -> str:
    return f"key:\n  - id: {key.name}\n    algorithm: {key.algorithm}\n    secret: {key.secret}\n"


def _copy_key(path: Path, directory: Path) -> Written:
    """Copy a key that others made into `directory`: all that read it there have the same, as long as that is kept."""
    _only_key(path)
    return _write(directory / TRANSFER_KEY_FILE, path.read_text(encoding="utf-8"), mode=0o600)


def _only_key(path: Path) -> str:
    """Return the name of the only key of a file that others wrote."""
    try:
        found = [key.name for key in _keys(path.read_text(encoding="utf-8"))]
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"key file {path} cannot be read: {getattr(e, 'strerror', None) or e}") from e
    if len(found) != 1:
        raise SettingsError(f"key file {path} holds {len(found)} TSIG keys: one is needed, as tsig-keygen writes it")
    return found[0]


def _read_key(path: Path, wanted: str) -> _Key:
    """Return the key of `path`: the one named `wanted`, or the only one there is."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(
            f"key file {path} cannot be read ({e}): correct its mode, or remove it to get a new key"
        ) from e
    found = {key.name: key for key in _keys(text)}
    key = found.get(wanted) or (next(iter(found.values())) if len(found) == 1 else None)
    if key is None:
        expected = 'key "name" { algorithm hmac-sha256; secret "..."; };'
        held = f"holds the keys {', '.join(sorted(found))} but not {wanted}" if found else "holds no TSIG key"
        raise SettingsError(
            f"key file {path} {held}: it should read {expected}, as tsig-keygen writes it; correct it, or remove it to"
            " get a new key"
        )
    return key


_COMMENT = re.compile(r'("[^"]*")|/\*.*?\*/|//[^\n]*|#[^\n]*', re.DOTALL)
_CLAUSE = re.compile(r'\bkey\s+"?([^\s"{};]+)"?\s*\{([^}]*)\}', re.IGNORECASE)
_STATEMENT = re.compile(r'\b(algorithm|secret)\s+"?([^\s";]+)"?\s*;', re.IGNORECASE)

# As strict as the servers: Python's own decoder lets wrong padding pass.
_BASE64 = re.compile(r"(?=.)(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def _keys(text: str) -> Iterator[_Key]:
    """Yield the usable keys of a file in BIND's syntax; comments, quotes and order do not matter."""
    plain = _COMMENT.sub(lambda match: match[1] or " ", text)
    for clause in _CLAUSE.finditer(plain):
        statements = {name.lower(): value for name, value in _STATEMENT.findall(clause[2])}
        algorithm = statements.get("algorithm", "").lower().removesuffix(".")
        secret = statements.get("secret", "")
        with contextlib.suppress(SettingsError):
            name = _name(clause[1], of="key name")
            if algorithm in ALGORITHMS and _BASE64.fullmatch(secret):
                yield _Key(name, algorithm, secret)
