"""Every setting, once: environment variable, flag, default, what is allowed, what it means.

The field `dns_server` is the environment variable DNS_SERVER and the flag --dns-server; a flag wins. Values are parsed
here, and only here: behind this module no duration, address or name is text.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from ksd_ddns.errors import SettingsError
from ksd_ddns.kubevirt import selector, vmi
from ksd_ddns.kubevirt.selector import Selector
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.gss import Negotiated
from ksd_ddns.primary.keys import Key, KeySource, Rotating
from ksd_ddns.primary.session import Peer
from ksd_ddns.primary.tls import Tls, tls
from ksd_ddns.printable import MASK, looks_secret, masked
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import HostnameScope, Network, Rules, apex_name_server
from ksd_ddns.zone.plan import ADDRESSES, POINTERS, Ownership, Policy, Scope
from ksd_ddns.zone.update import Limits

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+\Z")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"\d+(?:\.\d+)?\Z")
_OWNER_ID = re.compile(r"[A-Za-z0-9._:/-]{1,200}\Z")
_SERVER = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?\Z|(?P<bare>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\Z"
)
_LAST_GROUP = re.compile(r"(?P<rest>.*):(?P<port>[1-9]\d{0,4})\Z")
_LISTENER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]*)):(?P<port>\d{1,5})\Z")
_HOSTNAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?\Z")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


def _items(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(item for item in (part.strip() for part in value.split(",")) if item)


def _name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = names.from_text(value.strip())
    for label in names.labels(name):
        if names.legal_label(label.decode("latin-1")) is None:
            raise ValueError("a domain name of letters, digits, hyphens and dots is needed, such as example.com")
    return name


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if _NUMBER.match(value):
        return float(value)
    if not _DURATION.match(value):
        raise ValueError("a duration is needed, such as 500ms, 30s, 1m30s or 1h")
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))


def _address(text: str) -> bytes:
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 address") from None


def _addresses(value: Any) -> Any:
    return tuple(_address(item) for item in _items(value)) if isinstance(value, str) else value


def _network(text: str) -> Network:
    address, slash, prefix = text.partition("/")
    packed = _address(address)
    bits = 8 * len(packed)
    if not slash:
        return Network(packed, bits)
    if not prefix.isascii() or not prefix.isdigit() or int(prefix) > bits:
        raise ValueError(f"{text!r} is not a block of addresses, such as 10.0.0.0/8 or 2001:db8::/32")
    if int.from_bytes(packed, "big") & ((1 << (bits - int(prefix))) - 1):
        raise ValueError(f"{text!r} has bits set behind its prefix: write the first address of the block")
    return Network(packed, int(prefix))


def _networks(value: Any) -> Any:
    return tuple(_network(item) for item in _items(value)) if isinstance(value, str) else value


def _reverse_zone(text: str) -> bytes:
    if "/" in text:
        network = _network(text)
        return names.reverse(network.address, network.prefix)
    name = names.from_text(text)
    if not names.is_reverse_block(name):
        # Names like 0-63.2.0.192.in-addr.arpa (RFC 2317) are no address's own: aliases lead there.
        raise ValueError(f"{text!r} is no reverse zone of a block of addresses, such as 10.in-addr.arpa or 10.0.0.0/8")
    return name


def _reverse_zones(value: Any) -> Any:
    return tuple(dict.fromkeys(map(_reverse_zone, _items(value)))) if isinstance(value, str) else value


def _selector(value: Any) -> Any:
    return selector.parse(value) if isinstance(value, str) else value


def _namespaces(value: Any) -> Any:
    items = _items(value)
    for item in items:
        if not _NAMESPACE.match(item):
            raise ValueError(f"{item!r} is not the name of a namespace")
    return frozenset(items)


def _listener(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _LISTENER.match(value.strip())
    if match is None or int(match["port"]) > 65_535:
        raise ValueError("address:port is needed, such as :8081, 127.0.0.1:8081 or [::1]:8081")
    host = match["v6"] or match["v4"] or ""
    if host:
        _address(host)
    return Server(host, int(match["port"]))


def _owner_id(value: str) -> str:
    if not _OWNER_ID.match(value):
        raise ValueError("1 to 200 letters, digits and . _ : / - are needed")
    return value


def _key_name(value: str) -> str:
    if not _KEY_NAME.match(value) or looks_secret(value):
        raise ValueError("the name of a key is needed, such as ksd-ddns; its secret belongs in the setting for it")
    return value


def _algorithm(value: str) -> str:
    if not _ALGORITHM.match(value):
        raise ValueError(f"an algorithm is needed: {', '.join(keys.ALGORITHMS)}")
    return value


def _setting(default: Any, description: str, *, group: str, shown: str | None = None, **limits: Any) -> Any:
    """Return the field of a setting; `shown` is how help and reference write the default."""
    text = str(default.value if isinstance(default, StrEnum) else default) if shown is None else shown
    extra: JsonDict = {"group": group, "shown": text.lower() if isinstance(default, bool) else text}
    return Field(default=default, description=description, json_schema_extra=extra, **limits)


_NAMES = "names and addresses"
_PRIMARY = "the primary"
_KEYS = "keys"
_SAFETY = "ownership and safety"
_CONTROLLER = "the controller"


_KEY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}\Z")
_ALGORITHM = re.compile(r"hmac-[a-z0-9.-]{1,40}\Z", re.IGNORECASE)


class Settings(BaseSettings):
    """The settings of ksd-ddns."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        enable_decoding=False,
        extra="ignore",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _stripped(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Cut off white space, which mounted files and quoted variables often end with; what is empty is not set."""
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
        return {name: value for name, value in stripped.items() if value != ""}

    domain: Annotated[bytes, BeforeValidator(_name)] = _setting(
        names.ROOT,
        "Domain below which the names stand: the base is vm.DOMAIN, or vm without it",
        group=_NAMES,
        shown="empty",
    )
    name_server_ip: Annotated[tuple[bytes, ...], BeforeValidator(_addresses)] = _setting(
        (),
        "Address of the name server (comma list): NS and ns.<base> are kept in the zone where the base is its apex",
        group=_NAMES,
        shown="empty",
    )
    record_ttl: int = _setting(60, "TTL of the records, in seconds", group=_NAMES, ge=1, le=86_400)
    default_record: bool = _setting(True, "Publish <vm>.<namespace>.<base> beside the interfaces", group=_NAMES)
    hostname_scope: HostnameScope = _setting(
        HostnameScope.NAMESPACE, "How far the annotation ksd-ddns/hostname reaches: off, namespace, zone", group=_NAMES
    )
    max_addresses: int = _setting(
        16, "Addresses published of each address family of an interface, at most", group=_NAMES, ge=1, le=64
    )
    max_names: int = _setting(
        50, "Names published of a VMI, at most: interfaces before annotations", group=_NAMES, ge=1, le=vmi.MAX_HOSTNAMES
    )
    max_names_per_namespace: int = _setting(
        0,
        "Names published of a namespace, at most: the oldest VMIs keep theirs; 0 is no limit",
        group=_NAMES,
        shown="0",
        ge=0,
        le=1_000_000,
    )
    max_rrset: int = _setting(
        90,
        "Records of one type at one name, at most: those of the oldest VMIs. BIND refuses more than 100 by default",
        group=_NAMES,
        ge=1,
        le=1_000,
    )
    publish_cidrs: Annotated[tuple[Network, ...], BeforeValidator(_networks)] = _setting(
        (), "Publish only addresses in these blocks (comma list)", group=_NAMES, shown="all"
    )
    exclude_cidrs: Annotated[tuple[Network, ...], BeforeValidator(_networks)] = _setting(
        (), "Never publish addresses in these blocks (comma list)", group=_NAMES, shown="none"
    )
    reverse_zones: Annotated[tuple[bytes, ...], BeforeValidator(_reverse_zones)] = _setting(
        (),
        "Where PTR records are published: reverse zones by name, or by block of addresses (comma list)",
        group=_NAMES,
        shown="nowhere",
    )
    namespaces: Annotated[frozenset[str], BeforeValidator(_namespaces)] = _setting(
        frozenset(), "Namespaces whose VMIs are published (comma list)", group=_NAMES, shown="all"
    )
    label_selector: Annotated[Selector, BeforeValidator(_selector)] = _setting(
        selector.parse(""), "Labels of the VMIs that are published, as kubectl -l takes them", group=_NAMES, shown="all"
    )

    dns_server: Annotated[tuple[str, ...], BeforeValidator(_items)] = _setting(
        ("127.0.0.1",),
        "The primary: host[:port], IPv6 in brackets; of several (comma list) the first that answers",
        group=_PRIMARY,
        shown="127.0.0.1",
        min_length=1,
    )
    dns_port: int = _setting(5353, "Port of a primary in DNS_SERVER without one", group=_PRIMARY, ge=1, le=65_535)
    dns_timeout: Annotated[float, BeforeValidator(_duration)] = _setting(
        5.0, "Longest silence of the primary that is waited out", group=_PRIMARY, shown="5s", ge=0.05, le=300
    )
    zone: Annotated[bytes | None, BeforeValidator(_name)] = _setting(
        None, "Zone that is updated", group=_PRIMARY, shown="the enclosing zone of the base, asked of the primary"
    )
    update_batch: int = _setting(500, "Names in one UPDATE message at most", group=_PRIMARY, ge=1, le=10_000)
    update_octets: int = _setting(60_000, "Octets of one UPDATE message at most", group=_PRIMARY, ge=4_096, le=65_535)

    dns_tls: bool = _setting(False, "Speak TLS with the primary (RFC 9103)", group=_PRIMARY)
    dns_tls_ca: Path | None = _setting(
        None, "File with the CA certificates of the primary, in PEM", group=_PRIMARY, shown="the system's"
    )
    dns_tls_cert: Path | None = _setting(None, "File with our certificate, in PEM", group=_PRIMARY, shown="none")
    dns_tls_key: Path | None = _setting(
        None, "File with its private key, in PEM", group=_PRIMARY, shown="in DNS_TLS_CERT"
    )
    dns_tls_hostname: str | None = _setting(
        None, "Name that the primary's certificate is for", group=_PRIMARY, shown="the host in DNS_SERVER"
    )
    tsig_key_file: Annotated[tuple[Path, ...], BeforeValidator(_items)] = _setting(
        (),
        "File with the TSIG key, as tsig-keygen writes it; several (comma list) are one for each of DNS_SERVER",
        group=_KEYS,
        shown="none",
    )
    tsig_key_name: Annotated[str, AfterValidator(_key_name)] | None = _setting(
        None, "Name of the TSIG key, instead of a key file", group=_KEYS, shown="none"
    )
    tsig_algorithm: Annotated[str, AfterValidator(_algorithm)] = _setting(
        "hmac-sha256", "Its algorithm: hmac-sha224, -sha256, -sha384, -sha512 (or -sha1, weak)", group=_KEYS
    )
    tsig_secret: SecretStr | None = _setting(None, "Its secret, in base64", group=_KEYS, shown="none")
    tsig_secret_file: Path | None = _setting(None, "File with its secret, in base64", group=_KEYS, shown="none")
    transfer_tsig_key_file: Annotated[tuple[Path, ...], BeforeValidator(_items)] = _setting(
        (), "File with another key, for zone transfers; several as above", group=_KEYS, shown="the key for updates"
    )
    transfer_tsig_key_name: Annotated[str, AfterValidator(_key_name)] | None = _setting(
        None, "Name of another key, for zone transfers", group=_KEYS, shown="the key for updates"
    )
    transfer_tsig_algorithm: Annotated[str, AfterValidator(_algorithm)] = _setting(
        "hmac-sha256", "Its algorithm", group=_KEYS
    )
    transfer_tsig_secret: SecretStr | None = _setting(None, "Its secret, in base64", group=_KEYS, shown="none")
    transfer_tsig_secret_file: Path | None = _setting(
        None, "File with its secret, in base64", group=_KEYS, shown="none"
    )
    gss_tsig: bool = _setting(
        False,
        "Negotiate the key by Kerberos, as Active Directory wants it (GSS-TSIG; needs the extra gss)",
        group=_KEYS,
    )
    gss_tsig_hostname: Annotated[tuple[str, ...], BeforeValidator(_items)] = _setting(
        (),
        "Host name in the primary's service DNS/<host>; several (comma list) are one for each of DNS_SERVER",
        group=_KEYS,
        shown="the host in DNS_SERVER",
    )

    ownership: Ownership = _setting(
        Ownership.TXT, "How our names are known: txt (a marker beside each), zone (all A and AAAA)", group=_SAFETY
    )
    owner_id: Annotated[str, AfterValidator(_owner_id)] | None = _setting(
        None,
        "Who we are in the marker; several owners can share a zone",
        group=_SAFETY,
        shown="the UID of the cluster's namespace kube-system; default with --from",
    )
    policy: Policy = _setting(Policy.SYNC, "sync, or upsert-only: never delete a name", group=_SAFETY)
    adopt: bool = _setting(False, "Take over unmarked names whose addresses are exactly the wanted ones", group=_SAFETY)
    max_delete_percent: int = _setting(
        30, "Keep deletions back that exceed this part of the owned names", group=_SAFETY, ge=0, le=100
    )

    hold_down: Annotated[float, BeforeValidator(_duration)] = _setting(
        300.0,
        "How long addresses that vanish from the status of a living VMI are held",
        group=_CONTROLLER,
        shown="300s",
        ge=0,
        le=86_400,
    )
    drift_interval: Annotated[float, BeforeValidator(_duration)] = _setting(
        30.0,
        "How often the zone's serial is asked for, to see what others change",
        group=_CONTROLLER,
        shown="30s",
        ge=0.5,
        le=86_400,
    )
    full_read_interval: Annotated[float, BeforeValidator(_duration)] = _setting(
        3600.0,
        "How often the whole zone is read, to see changes that left its serial as it was",
        group=_CONTROLLER,
        shown="1h",
        ge=1,
        le=604_800,
    )
    leader_election: bool = _setting(
        False, "Let one of several controllers work at a time, by a Lease in its own namespace", group=_CONTROLLER
    )
    notify_listen: Annotated[Server | None, BeforeValidator(_listener)] = _setting(
        None,
        "Address to listen on for NOTIFY from the primary, as addr:port; with a TSIG key set, only signed ones count",
        group=_CONTROLLER,
        shown="nowhere",
    )
    notify_secondaries: Annotated[tuple[str, ...], BeforeValidator(_items)] = _setting(
        (),
        "Secondaries that are sent NOTIFY: host[:port], of a name all addresses (comma list; without a port: 53)",
        group=_CONTROLLER,
        shown="none",
    )
    status_address: Annotated[Server, BeforeValidator(_listener)] = _setting(
        Server("", 8081), "Where health, metrics and the status page are", group=_CONTROLLER, shown=":8081"
    )

    @property
    def base(self) -> bytes:
        """The owner name below which everything is published."""
        return _VM + self.domain

    @property
    def owner(self) -> str:
        """The owner ID: `default` where neither a setting nor a cluster says it."""
        return self.owner_id or "default"

    def servers(self) -> tuple[Server, ...]:
        """Return the primaries, in the order in which they are tried."""
        return tuple(server(text, self.dns_port) for text in self.dns_server)

    def secondaries(self) -> tuple[Server, ...]:
        """Return the secondaries that are told of changes."""
        return tuple(
            server(text, 53, where="NOTIFY_SECONDARIES (--notify-secondaries)") for text in self.notify_secondaries
        )

    def peers(self) -> tuple[Peer, ...]:
        """Return the primaries with what is needed to speak with them, in the order in which they are tried.

        Raises SettingsError where no key is set, or a key or certificate cannot be read.
        """
        servers = self.servers()
        updates = self._update_keys(servers)
        transfers = self._keys("transfer_tsig", len(servers)) or updates
        return tuple(
            Peer(server, update, transfer, self._tls(server))
            for server, update, transfer in zip(servers, updates, transfers, strict=True)
        )

    def _update_keys(self, servers: Sequence[Server]) -> Sequence[KeySource]:
        shared = self._keys("tsig", len(servers))
        if not self.gss_tsig:
            if not shared:
                raise SettingsError(
                    "no TSIG key is set: TSIG_KEY_FILE must name a file that tsig-keygen wrote, or TSIG_KEY_NAME and "
                    "TSIG_SECRET (or TSIG_SECRET_FILE) the key, or GSS_TSIG=true have it negotiated by Kerberos"
                )
            if self.gss_tsig_hostname:
                raise SettingsError("GSS_TSIG_HOSTNAME is set without GSS_TSIG=true: set both, or none")
            return shared
        if shared:
            raise SettingsError("GSS_TSIG=true and a TSIG key are set: set one or the other")
        hosts = self.gss_tsig_hostname or tuple(server.host for server in servers)
        if len(hosts) not in {1, len(servers)}:
            raise SettingsError(f"GSS_TSIG_HOSTNAME has {len(hosts)} names: one is needed, or one for each server")
        for host in hosts:
            if not _HOSTNAME.match(host) or host.replace(".", "").isdigit():
                raise SettingsError(
                    f"GSS_TSIG=true: the service of the primary goes by its host name, and {host!r} is none: set "
                    "GSS_TSIG_HOSTNAME, or a name in DNS_SERVER"
                )
        # Two servers of one name are two all the same: each knows the keys that were negotiated with it.
        return [Negotiated(hosts[i % len(hosts)].rstrip(".")) for i in range(len(servers))]

    def shared_keys(self) -> tuple[Rotating, ...]:
        """Return all keys that a primary may sign with what it says of itself."""
        count = len(self.dns_server)
        return (*self._keys("transfer_tsig", count), *self._keys("tsig", count))

    def secret_files(self) -> tuple[Path, ...]:
        """Return the files that hold secrets."""
        files = (*self.tsig_key_file, *self.transfer_tsig_key_file)
        more = (self.tsig_secret_file, self.transfer_tsig_secret_file, self.dns_tls_key or self.dns_tls_cert)
        return tuple(dict.fromkeys(map(Path, (*files, *(file for file in more if file is not None)))))

    def _tls(self, server: Server) -> Tls | None:
        files = {"DNS_TLS_CA": self.dns_tls_ca, "DNS_TLS_CERT": self.dns_tls_cert, "DNS_TLS_KEY": self.dns_tls_key}
        if not self.dns_tls:
            for name, value in {**files, "DNS_TLS_HOSTNAME": self.dns_tls_hostname}.items():
                if value is not None:
                    raise SettingsError(f"{name} is set without DNS_TLS=true: nothing would be encrypted; set both")
            return None
        if self.dns_tls_key is not None and self.dns_tls_cert is None:
            raise SettingsError("DNS_TLS_KEY is set without DNS_TLS_CERT: set the certificate that it belongs to, too")
        hostname = self.dns_tls_hostname or server.host
        return tls(hostname, ca=self.dns_tls_ca, certificate=self.dns_tls_cert, key=self.dns_tls_key)

    def _keys(self, prefix: str, count: int) -> tuple[Rotating, ...]:
        """Return a key for each of `count` servers, none at all where none is set."""
        files: tuple[Path, ...] = tuple(map(Path, getattr(self, f"{prefix}_key_file")))
        name: str | None = getattr(self, f"{prefix}_key_name")
        secret: SecretStr | None = getattr(self, f"{prefix}_secret")
        secret_file: Path | None = getattr(self, f"{prefix}_secret_file")
        text = prefix.upper()
        for setting, file in (*((f"{text}_KEY_FILE", file) for file in files), (f"{text}_SECRET_FILE", secret_file)):
            _check_path(setting, file)
        if files:
            if name or secret or secret_file:
                raise SettingsError(
                    f"{text}_KEY_FILE and {text}_KEY_NAME or {text}_SECRET are set: set one or the other"
                )
            if len(files) not in {1, count}:
                raise SettingsError(f"{text}_KEY_FILE names {len(files)} files: one is needed, or one for each server")
            found = [Rotating(f"key file {file}", partial(keys.read_key_file, file), [file]) for file in files]
            return tuple(found * count if len(found) == 1 else found)
        if name is None:
            if secret or secret_file:
                raise SettingsError(f"{text}_SECRET is set without {text}_KEY_NAME: set the name of the key, too")
            return ()
        if (secret is None) == (secret_file is None):
            raise SettingsError(
                f"{text}_KEY_NAME is set: exactly one of {text}_SECRET and {text}_SECRET_FILE must be, too"
            )
        algorithm: str = getattr(self, f"{prefix}_algorithm")

        def load() -> Key:
            return keys.key(name, algorithm, _secret(secret, secret_file, text))

        return (Rotating(f"key {name}", load, [secret_file]),) * count

    def bases(self) -> tuple[bytes, ...]:
        """Return the names below which records are published, that of the VMIs' names first."""
        return (self.base, *self.reverse_zones)

    def rules(self, zone: bytes, base: bytes) -> Rules:
        """Return how VMIs become records below `base`, one of `bases`, in `zone`.

        Raises SettingsError where the base does not lie in the zone.
        """
        if not names.is_below(base, zone):
            shown, apex = names.to_text(base), names.to_text(zone)
            raise SettingsError(f"the base {shown} does not lie in the zone {apex}: set DOMAIN, or ZONE")
        return Rules(
            base=self.base,
            zone=zone,
            ttl=self.record_ttl,
            owner=self.owner if self.ownership is Ownership.TXT else "",
            default_record=self.default_record,
            hostname_scope=self.hostname_scope,
            max_addresses=self.max_addresses,
            max_names=self.max_names,
            max_namespace_names=self.max_names_per_namespace,
            max_rrset=self.max_rrset,
            publish=self.publish_cidrs,
            exclude=self.exclude_cidrs,
            name_server=self.name_server_ip,
            reverse=base if base != self.base else b"",
            excluded=tuple(other for other in self.reverse_zones if other != base and names.is_below(other, base)),
        )

    def scope(self, rules: Rules) -> Scope:
        """Return what may be done in the zone of `rules`."""
        return Scope(
            base=rules.reverse or rules.base,
            forward=rules.base,
            types=POINTERS if rules.reverse else ADDRESSES,
            base_only=bool(rules.reverse),
            excluded=rules.excluded if rules.reverse else self.reverse_zones,
            ownership=self.ownership,
            owner=self.owner,
            policy=self.policy,
            adopt=self.adopt,
            protected=frozenset({rules.reverse} if rules.reverse else {rules.base, rules.name_server_name}),
            apex=apex_name_server(rules),
        )

    def limits(self) -> Limits:
        """Return how much goes into one UPDATE message."""
        return Limits(octets=self.update_octets, names=self.update_batch)


_VM = b"\2vm"


def _check_path(setting: str, file: Path | None) -> None:
    """See that what should be a path is not the secret itself, before it is shown as one."""
    if file is None or _exists(file):
        return
    text = str(file)
    if looks_secret(text) or "=" in text or ("/" not in text and "." not in text):
        raise SettingsError(f"{setting} ({flag_of(setting.lower())}) = {MASK}: there is no such file; a path is needed")


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):  # too long to be a path
        return False


def server(text: str, port: int, *, where: str = "DNS_SERVER (--dns-server)") -> Server:
    """Return host and port of `text`, `port` where it says none. Raises SettingsError."""
    match = _SERVER.match(text)
    if match is None or (match["port"] and not 1 <= int(match["port"]) <= 65_535) or not _is_host(match):
        raise SettingsError(
            f"{where} = {masked(text)!r}: host[:port] is needed, such as 10.0.0.53, ns1.example.com:53 or "
            "[2001:db8::53]:5353"
        )
    last = _LAST_GROUP.match(match["bare"] or "")
    if last is not None and int(last["port"]) <= 65_535 and _is_v6(last["rest"]):
        raise SettingsError(
            f"{where} = {text!r} is ambiguous: write [{last['rest']}]:{last['port']} if {last['port']} is the port, "
            f"or [{text}]"
        )
    return Server(match["v6"] or match["bare"] or match["host"], int(match["port"] or port))


def _is_host(match: re.Match[str]) -> bool:
    if (v6 := match["v6"] or match["bare"]) is not None:
        return _is_v6(v6)
    host = match["host"]
    if looks_secret(host) or any(len(label) > names.MAX_LABEL for label in host.split(".")):
        return False
    return not re.fullmatch(r"[0-9.]+", host) or _is_address(AF_INET, host)


def _is_v6(text: str) -> bool:
    return _is_address(AF_INET6, text)


def _is_address(family: int, text: str) -> bool:
    try:
        inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def _secret(secret: SecretStr | None, file: Path | None, prefix: str) -> str:
    if secret is not None or file is None:
        return secret.get_secret_value() if secret is not None else ""
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or "it is not text in base64"
        raise SettingsError(f"{prefix}_SECRET_FILE: {file} cannot be read: {reason}") from None


def load(flags: Mapping[str, Any]) -> Settings:
    """Return the settings of the environment, with `flags` (by field name) before it.

    An empty flag is the default, as an empty variable is, whatever the environment says. Raises SettingsError that says
    each wrong setting, its value (secrets masked) and what is allowed.
    """
    given = {name: _flag_value(name, value) for name, value in flags.items()}
    try:
        settings = Settings(**given)
    except ValidationError as e:
        raise SettingsError("\n".join(_complaint(error, flags) for error in e.errors())) from None
    _check_secrets(flags)
    settings.servers()
    settings.secondaries()
    return settings


def _flag_value(name: str, value: Any) -> Any:
    return Settings.model_fields[name].default if isinstance(value, str) and not value.strip() else value


def _check_secrets(flags: Mapping[str, Any]) -> None:
    """See that no secret stands where it would be shown, or published. Raises SettingsError."""
    raw = {name: str(value) for name in Settings.model_fields if (value := _raw(name, flags)) is not None}
    secrets = [value.strip() for name, value in raw.items() if name.endswith("_secret") and len(value.strip()) >= 8]
    for name, value in raw.items():
        if name.endswith(("_secret", "_file", "_tls_ca", "_tls_cert", "_tls_key")):
            continue
        if looks_secret(value) or any(secret in value for secret in secrets):
            raise SettingsError(f"{_where(name)} = {MASK}: this looks like the secret of a key; set TSIG_SECRET to it")


def _raw(name: str, flags: Mapping[str, Any]) -> Any:
    """Return a setting as it was written, None where it was not."""
    if name in flags:
        return flags[name]
    return next((value for key, value in os.environ.items() if key.lower() == name), None)


class Origin(NamedTuple):
    """Where a setting came from, and what it was set to (secrets masked)."""

    name: str
    place: str
    shown: str


def origins(flags: Mapping[str, Any]) -> list[Origin]:
    """Return the settings that were made, in the order of the reference; all others are the defaults."""
    return [
        Origin(name.upper(), flag_of(name) if name in flags else "environment", _shown(name, value))
        for name in Settings.model_fields
        if (value := _raw(name, flags)) is not None and str(value).strip()
    ]


# Kubernetes sets these for each Service of a namespace.
_OF_SERVICE = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)\Z")


def misspelled(environment: Iterable[str]) -> list[tuple[str, str]]:
    """Return the variables that are none of ours, but look as if they were, each with the one that is probably meant.

    Others are nobody's business here: only what differs in a letter or two, or has our name before it, is returned.
    """
    ours = [name.upper() for name in Settings.model_fields]
    found = []
    for variable in sorted(environment):
        name = variable.upper()
        if name in ours or _OF_SERVICE.match(name):
            continue
        plain = re.sub(r"\AKSD_(DDNS_)?", "", name)
        meant = "" if plain == name else plain
        near = difflib.get_close_matches(name, ours, n=1, cutoff=0.9)
        if meant in ours or near:
            found.append((variable, meant if meant in ours else near[0]))
    return found


def _where(name: str) -> str:
    return f"{name.upper()} ({flag_of(name)})"


def flag_of(field: str) -> str:
    """Return the flag of a setting: `dns_server` is --dns-server."""
    return "--" + field.replace("_", "-")


_NEEDED = {
    "bool_parsing": "true or false is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "too_short": "at least one is needed",
}
"""What is allowed, where pydantic says it in the words of programmers."""


def _complaint(error: Any, flags: Mapping[str, Any]) -> str:
    field = str(error["loc"][0])
    given = _raw(field, flags)
    reason = _NEEDED.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in {"greater_than_equal", "less_than_equal"}:
        reason = f"must be {allowed(Settings.model_fields[field])}"
    return f"{_where(field)} = {_shown(field, given)}: {masked(reason)}"


def _shown(field: str, value: Any) -> str:
    """Return how a value is shown in an error; where a secret belongs, or may have got to, it is not."""
    text = str(value).strip()
    if field.endswith("_secret") or looks_secret(text):
        return MASK
    if "tsig" in field and not (_KEY_NAME.match(text) or "/" in text):
        return MASK
    if field.endswith("tsig_algorithm") and not _ALGORITHM.match(text):
        return MASK
    return text if re.fullmatch(r"-?\d+(\.\d+)?", text) else repr(text)


def allowed(info: FieldInfo) -> str:
    """Return the limits of a number, or of a duration, as text; empty where it has none."""
    limits = {key: getattr(item, key) for item in info.metadata for key in ("ge", "le") if hasattr(item, key)}
    if len(limits) < 2:
        return ""
    return " to ".join(_limit(limits[key], seconds=info.annotation is float) for key in ("ge", "le"))


def _limit(number: float, *, seconds: bool) -> str:
    if not seconds:
        return str(number)
    return f"{number * 1000:g}ms" if 0 < number < 1 else f"{number:g}s"
