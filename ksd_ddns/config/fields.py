# SPDX-License-Identifier: Apache-2.0
"""Field types of the settings: text -> values, and how each is described.

Values are parsed only here: outside this module no duration, address or name is text. An invalid value raises
ValueError with the valid values, and never with a secret.
"""

import re
from enum import StrEnum
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.config import JsonDict

from ksd_ddns.errors import SettingsError
from ksd_ddns.kubevirt import selector
from ksd_ddns.kubevirt.networks import SECONDARY, NetworkChoice
from ksd_ddns.kubevirt.selector import Selector
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server
from ksd_ddns.printable import looks_secret, masked
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import Network, ReverseZone, Template, block, reverse_zone, template

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
_DEFINITION = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
KEY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}\Z")
ALGORITHM = re.compile(r"hmac-[a-z0-9.-]{1,40}\Z", re.IGNORECASE)


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
        raise ValueError(f"{text!r} is not a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32")
    if int.from_bytes(packed, "big") & ((1 << (bits - int(prefix))) - 1):
        raise ValueError(f"{text!r} has bits set after its prefix: write the first address of the CIDR block")
    return Network(packed, int(prefix))


def _networks(value: Any) -> Any:
    return tuple(_network(item) for item in _items(value)) if isinstance(value, str) else value


AUTO = "auto"


class ReverseZones(NamedTuple):
    """The reverse zones; with `auto` also every one on the primary that holds a published address."""

    zones: tuple[ReverseZone, ...] = ()
    auto: bool = False


_EXPLICIT = "write ZONE=CIDR, such as customer.2.0.192.in-addr.arpa=192.0.2.64/26"


def _reverse_zone(text: str) -> ReverseZone:
    name, explicit, addresses = (part.strip() for part in text.partition("="))
    if explicit:
        zone = names.from_text(name)
        if zone == names.ROOT:
            raise ValueError(f"{text!r} has no zone before the equals sign: {_EXPLICIT}")
        try:
            return block(_network(addresses), zone)
        except ValueError as e:
            raise ValueError(f"{text!r}: {e}; {_EXPLICIT}") from None
    if "/" in name and not name.lower().rstrip(".").endswith(".arpa"):
        network = _network(name)
        try:
            return block(network)
        except ValueError as e:
            raise ValueError(f"{name!r}: {e}; for other blocks (RFC 2317) {_EXPLICIT}") from None
    try:
        return reverse_zone(names.from_text(name))
    except ValueError as e:
        raise ValueError(
            f"{name!r} is not a reverse zone of a CIDR block, such as 10.in-addr.arpa or 10.0.0.0/8: {e}; {_EXPLICIT}"
        ) from None


def _reverse_zones(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    items = _items(value)
    zones: dict[bytes, ReverseZone] = {}
    for item in items:
        if item.lower() == AUTO:
            continue
        zone = _reverse_zone(item)
        if zones.setdefault(zone.base, zone) != zone:
            raise ValueError(f"{names.to_text(zone.base)} is given twice, with different addresses")
    return ReverseZones(tuple(zones.values()), any(item.lower() == AUTO for item in items))


def _selector(value: Any) -> Any:
    return selector.parse(value) if isinstance(value, str) else value


def _namespaces(value: Any) -> Any:
    items = _items(value)
    for item in items:
        if not _NAMESPACE.match(item):
            raise ValueError(f"{item!r} is not the name of a namespace")
    return frozenset(items)


def _network_choice(value: Any) -> Any:
    items = _items(value)
    if isinstance(items, NetworkChoice):
        return items
    words = [item.lower() for item in items]
    if words in (["secondary"], ["all"]):
        return NetworkChoice(default=True) if words == ["all"] else SECONDARY
    for item in items:
        if item.lower() in {"secondary", "all"}:
            raise ValueError(f"{item!r} cannot be combined with other values")
        if not _DEFINITION.match(item):
            raise ValueError(f"{item!r} is not a NetworkAttachmentDefinition: write its name, or namespace/name")
    if not items:
        raise ValueError("secondary, all, or names of NetworkAttachmentDefinitions are needed")
    return NetworkChoice(definitions=frozenset(items))


def _interface_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = template(value)
    if "vm" not in found.fields or not found.fields & {"interface", "network"}:
        raise ValueError(
            "several VMs or interfaces would have the same name: it needs {vm}, and {interface} or {network}"
        )
    return found


def _default_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = template(value)
    for field in sorted(found.fields & {"interface", "network"}):
        raise ValueError(f"{{{field}}} is not allowed: the record has addresses of several interfaces")
    if "vm" not in found.fields:
        raise ValueError("several VMs would have the same name: it needs {vm}")
    return found


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


def _owner_ids(value: Any) -> Any:
    items = _items(value)
    return frozenset(map(_owner_id, items)) if isinstance(value, str) else value


def _key_name(value: str) -> str:
    if not KEY_NAME.match(value) or looks_secret(value):
        raise ValueError("the name of a key is needed, such as ksd-ddns; its secret belongs in the setting for it")
    return value


def _algorithm(value: str) -> str:
    if not ALGORITHM.match(value):
        raise ValueError(f"an algorithm is needed: {', '.join(keys.ALGORITHMS)}")
    return value


Name: TypeAlias = Annotated[bytes, BeforeValidator(_name)]
Duration: TypeAlias = Annotated[float, BeforeValidator(_duration)]
"""Seconds."""
Addresses: TypeAlias = Annotated[tuple[bytes, ...], BeforeValidator(_addresses)]
Networks: TypeAlias = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
ReverseZonesField: TypeAlias = Annotated[ReverseZones, BeforeValidator(_reverse_zones)]
Namespaces: TypeAlias = Annotated[frozenset[str], BeforeValidator(_namespaces)]
Choice: TypeAlias = Annotated[NetworkChoice, BeforeValidator(_network_choice)]
InterfaceName: TypeAlias = Annotated[Template, BeforeValidator(_interface_name)]
DefaultName: TypeAlias = Annotated[Template, BeforeValidator(_default_name)]
Labels: TypeAlias = Annotated[Selector, BeforeValidator(_selector)]
Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_items)]
Paths: TypeAlias = Annotated[tuple[Path, ...], BeforeValidator(_items)]
Listener: TypeAlias = Annotated[Server, BeforeValidator(_listener)]
OwnerId: TypeAlias = Annotated[str, AfterValidator(_owner_id)]
OwnerIds: TypeAlias = Annotated[frozenset[str], BeforeValidator(_owner_ids)]
KeyName: TypeAlias = Annotated[str, AfterValidator(_key_name)]
Algorithm: TypeAlias = Annotated[str, AfterValidator(_algorithm)]


def setting(default: Any, description: str, *, group: str, shown: str | None = None, **limits: Any) -> Any:
    """Return the field of a setting; `shown` is how help and reference write the default."""
    text = str(default.value if isinstance(default, StrEnum) else default) if shown is None else shown
    extra: JsonDict = {"group": group, "shown": text.lower() if isinstance(default, bool) else text}
    return Field(default=default, description=description, json_schema_extra=extra, **limits)


def server(text: str, port: int, *, where: str = "DNS_SERVER (--dns-server)") -> Server:
    """Return host and port of `text`, with `port` as the default port. Raises SettingsError."""
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
