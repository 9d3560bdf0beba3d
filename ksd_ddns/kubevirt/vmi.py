"""API object -> Vmi: what naming needs of a VirtualMachineInstance, parsed once.

`VmiObject` is the part of an object of `kubevirt.io/v1` that matters here. msgspec decodes it straight from JSON bytes
(`msgspec.json.Decoder(VmiObject)`, also as a field of a list page or a watch event) or from plain mappings
(`msgspec.convert(value, VmiObject)`), passes over everything else without building it, and raises
`msgspec.ValidationError` naming the path where a field has the wrong type. `parse` then never fails.
"""

import socket
from datetime import datetime
from typing import Annotated

import msgspec

MIN_TTL = 5
MAX_TTL = 86400

# Anyone who can write a VMI can fill its status and annotations. What is read and kept of them is bounded, well above
# what the settings allow to be published, so a flood costs no more than an ordinary VMI.
MAX_WARNINGS = 10
MAX_INTERFACES = 1000
MAX_HOSTNAMES = 1000
MAX_ADDRESSES = 4096
MAX_ADDRESSES_OF_INTERFACE = 512

_IGNORE = "ksd-ddns/ignore"
_TTL = "ksd-ddns/ttl"
_HOSTNAME = "ksd-ddns/hostname"
_ENDED = frozenset(("Succeeded", "Failed"))
_ABSENT = "absent"
_LONGEST_ADDRESS = 64
_LONGEST_HOSTNAME = 256
_NOTABLE = frozenset((0, 0x20, 127, 169, *range(224, 256)))
"""The first octets of all addresses that are never published: nearly all others need no second look."""

_NEVER = {bytes(16): "the unspecified address", bytes(15) + b"\x01": "the loopback address"}
_COMPATIBLE = bytes(12)
_MAPPED = bytes(10) + b"\xff\xff"
_TRANSLATED = bytes(8) + b"\xff\xff\0\0"
_NAT64 = b"\0\x64\xff\x9b" + bytes(8)
_NAT64_LOCAL = b"\0\x64\xff\x9b\0\x01"
_6TO4 = b"\x20\x02"


class Interface(msgspec.Struct, frozen=True, gc=False):
    """A secondary interface that has a name.

    `name` is as in the API, not folded and not yet judged as a DNS label. `addresses` are packed (4 or 16 octets),
    unique, in the order in which the status lists them, without those that are never published.
    """

    name: str
    addresses: tuple[bytes, ...]


class Vmi(msgspec.Struct, frozen=True, gc=False):
    """What naming needs of a VMI; two VMIs that differ in nothing else are equal.

    `created` is `metadata.creationTimestamp` in UTC seconds since the epoch (0 when it is missing); `live` is false
    in the phases Succeeded and Failed. `interfaces` are in `by_record` order, and have at least one address each.
    `networks` are the names in `spec.networks`, without the default network and without unplugged interfaces.
    `ignored`, `ttl` (seconds) and `hostnames` come from the annotations, already validated. `warnings` says, one
    sentence each, what was skipped and why; `more_warnings` counts those past MAX_WARNINGS.
    """

    namespace: str
    name: str
    uid: str
    created: int
    live: bool
    interfaces: tuple[Interface, ...]
    networks: frozenset[str]
    ignored: bool = False
    ttl: int | None = None
    hostnames: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    more_warnings: int = 0

    @property
    def key(self) -> str:
        """`namespace/name`, as kubectl and the ownership marker write it."""
        return f"{self.namespace}/{self.name}"


# `namespace/name` is an identity, and shown on terminals: neither part may hold a slash, or what is not plain ASCII.
# The API server allows less; what has more was made by hand.
_Name = Annotated[str, msgspec.Meta(min_length=1, pattern="^[!-.0-~]+$")]
_Namespace = Annotated[str, msgspec.Meta(pattern="^[!-.0-~]*$")]


class Annotations(msgspec.Struct, gc=False):
    """The annotations that ksd-ddns reads, as written; others can be large and are not built."""

    ignore: str | None = msgspec.field(default=None, name=_IGNORE)
    ttl: str | None = msgspec.field(default=None, name=_TTL)
    hostname: str | None = msgspec.field(default=None, name=_HOSTNAME)


class Metadata(msgspec.Struct, gc=False, rename="camel"):
    """`metadata`; a missing namespace is `default`, as for kubectl."""

    name: _Name
    namespace: _Namespace | None = None
    uid: str | None = None
    creation_timestamp: str | None = None
    labels: dict[str, str | None] | None = None
    annotations: Annotations | None = None


class Pod(msgspec.Struct, gc=False):
    """`spec.networks[].pod`: that it is there is all that matters."""


class Multus(msgspec.Struct, gc=False):
    """`spec.networks[].multus`."""

    default: bool | None = None


class Network(msgspec.Struct, gc=False):
    """An entry of `spec.networks`."""

    name: str | None = None
    pod: Pod | None = None
    multus: Multus | None = None


class SpecInterface(msgspec.Struct, gc=False):
    """An entry of `spec.domain.devices.interfaces`; the state `absent` unplugs it."""

    name: str | None = None
    state: str | None = None


class Devices(msgspec.Struct, gc=False):
    """`spec.domain.devices`."""

    interfaces: list[SpecInterface | None] | None = None


class Domain(msgspec.Struct, gc=False):
    """`spec.domain`."""

    devices: Devices | None = None


class Spec(msgspec.Struct, gc=False):
    """`spec`."""

    networks: list[Network | None] | None = None
    domain: Domain | None = None


class StatusInterface(msgspec.Struct, gc=False, rename={"ip_address": "ipAddress", "ip_addresses": "ipAddresses"}):
    """An entry of `status.interfaces`. One without a name is known to the guest only."""

    name: str | None = None
    ip_address: str | None = None
    ip_addresses: list[str | None] | None = None


class Status(msgspec.Struct, gc=False):
    """`status`."""

    phase: str | None = None
    interfaces: list[StatusInterface | None] | None = None


class VmiObject(msgspec.Struct, gc=False, rename="camel"):
    """A VirtualMachineInstance as the API gives it, cut down to what naming needs.

    Everything but `metadata.name` may be missing or null. `api_version` and `kind` are not checked here: an item of a
    list page has none.
    """

    metadata: Metadata
    api_version: str | None = None
    kind: str | None = None
    spec: Spec | None = None
    status: Status | None = None

    @property
    def namespace(self) -> str:
        """The namespace, `default` when the object names none."""
        return self.metadata.namespace or "default"

    @property
    def labels(self) -> dict[str, str]:
        """The labels; a null value is the empty string, as the API server reads it."""
        return {key: value or "" for key, value in (self.metadata.labels or {}).items()}


def by_record(interface: str) -> str:
    """Sort key of interface names: the order in which KubeSecondaryDNS sorts records, `net-1` before `net`."""
    # It sorts whole records as text: `net-1.<vm>` comes before `net.<vm>`, since a hyphen sorts before a dot.
    return f"{interface}."


class _Warnings:
    """The first MAX_WARNINGS warnings, and the number of the others."""

    __slots__ = ("kept", "more")

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.more = 0

    def add(self, text: str) -> None:
        if len(self.kept) < MAX_WARNINGS:
            self.kept.append(text)
        else:
            self.more += 1


def parse(obj: VmiObject) -> Vmi:
    """Return the `Vmi` of `obj`; what cannot be used is left out and named in its `warnings`.

    Entries of the status that have the same name are one interface with the addresses of all of them: the name is
    what is published, and each address belongs to it.
    """
    metadata = obj.metadata
    warnings = _Warnings()
    networks, excluded = _networks(obj.spec)
    interfaces = _interfaces(obj.status, excluded, warnings)
    ignored, ttl = False, None
    hostnames: tuple[str, ...] = ()
    annotations = metadata.annotations
    if annotations is not None:
        ignored = _ignored(annotations.ignore, warnings)
        ttl = _ttl(annotations.ttl, warnings)
        hostnames = _hostnames(annotations.hostname, warnings)
    return Vmi(
        obj.namespace,
        metadata.name,
        metadata.uid or "",
        _seconds(metadata.creation_timestamp),
        obj.status is None or obj.status.phase not in _ENDED,
        interfaces,
        networks,
        ignored,
        ttl,
        hostnames,
        tuple(warnings.kept),
        warnings.more,
    )


def _networks(spec: Spec | None) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the secondary networks, and the names that are none: the default network, unplugged ones."""
    if spec is None:
        return frozenset(), frozenset()
    excluded = _unplugged(spec.domain) if spec.domain is not None else []
    secondary: list[str] = []
    for network in spec.networks or ():
        if network is None or not network.name:
            continue
        is_default = network.pod is not None or (network.multus is not None and network.multus.default)
        (excluded if is_default else secondary).append(network.name)
    found = frozenset(secondary).difference(excluded)
    if len(found) > MAX_INTERFACES:
        found = frozenset(sorted(found, key=by_record)[:MAX_INTERFACES])
    return found, frozenset(excluded)


def _unplugged(domain: Domain) -> list[str]:
    """Return the names of interfaces that are unplugged, although the status may still list them."""
    found = domain.devices.interfaces if domain.devices is not None else None
    return [entry.name for entry in found or () if entry is not None and entry.state == _ABSENT and entry.name]


def _interfaces(status: Status | None, excluded: frozenset[str], warnings: _Warnings) -> tuple[Interface, ...]:
    found: dict[str, list[str | None]] = {}
    for entry in (status.interfaces if status is not None else None) or ():
        if entry is None or not entry.name or entry.name in excluded:
            continue
        texts = entry.ip_addresses
        if not texts or not all(texts):
            # `ipAddress` repeats the first of `ipAddresses`, and stands alone in what older KubeVirt releases write.
            texts = [text for text in texts or () if text] or ([entry.ip_address] if entry.ip_address else [])
            if not texts:
                continue
        found[entry.name] = [*found[entry.name], *texts] if entry.name in found else texts
    interfaces: list[Interface] = []
    room = MAX_ADDRESSES
    # Without a word about the rest: whoever publishes an interface says that there are too many for MAX_NAMES.
    for name in sorted(found, key=by_record)[:MAX_INTERFACES] if len(found) > 1 else found:
        texts = found[name]
        if len(texts) > MAX_ADDRESSES_OF_INTERFACE or len(texts) > room:
            texts = texts[: min(room, MAX_ADDRESSES_OF_INTERFACE)]
        addresses = _addresses(name, texts, warnings)
        room -= len(addresses)
        if addresses:
            interfaces.append(Interface(name, tuple(dict.fromkeys(addresses))))
    return tuple(interfaces)


def _addresses(name: str, texts: list[str | None], warnings: _Warnings) -> list[bytes]:
    addresses: list[bytes] = []
    for text in texts:
        if not text:
            continue
        address = _packed(text.partition("/")[0])
        if address is None:
            warnings.add(f"interface {_shown(name)}: {_shown(text)} is not an IP address, it is skipped")
        elif address[0] not in _NOTABLE:
            addresses.append(address)
        elif _is_link_local_ipv6(address):
            continue  # every IPv6 interface has one, and bridges report it: a warning would stand on each VMI
        elif reason := _unpublishable(address):
            warnings.add(f"interface {_shown(name)}: {_shown(text)} is {reason}, it is never published")
        else:
            addresses.append(address)
    return addresses


def _packed(text: str) -> bytes | None:
    """Return the address that `text` writes, packed; None when it writes none.

    A zone index (RFC 4007, 11) is accepted on IPv6 link-local addresses, where guests report it.
    """
    # inet_pton is a pure function and ten times as fast as ipaddress, which counts at 100,000 addresses.
    # A longer text cannot be an address, and a very long one is not worth the system's time.
    if len(text) > _LONGEST_ADDRESS:
        return None
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        unscoped, _, zone = text.partition("%")
        address = _packed(unscoped) if zone else None
        return address if address is not None and _is_link_local_ipv6(address) else None


def _is_link_local_ipv6(address: bytes) -> bool:
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def _unpublishable(address: bytes) -> str:
    """Return why `address` is never published, "" when it may be."""
    if len(address) == 4:
        return _unpublishable_ipv4(address)
    if address in _NEVER:
        return _NEVER[address]
    if address[0] == 0xFF:
        return "a multicast address"
    if address[0] == 0xFE and address[1] & 0xC0 == 0xC0:
        return "a site-local address"
    if address.startswith(_MAPPED):
        return "an IPv4-mapped address"
    form, inner = _embedded(address)
    reason = _unpublishable_ipv4(inner) if inner else ""
    return f"{form} form of {reason}" if reason else ""


def _unpublishable_ipv4(address: bytes) -> str:
    first = address[0]
    if first == 0:
        return "an address of 0.0.0.0/8"
    if first == 127:
        return "a loopback address"
    if 224 <= first < 240:
        return "a multicast address"
    if first >= 240:
        return "a reserved address"
    return "a link-local address" if first == 169 and address[1] == 254 else ""


def _embedded(address: bytes) -> tuple[str, bytes]:
    """Return the kind of IPv6 address that embeds an IPv4 address, and that one; two empty values for all others."""
    if address.startswith(_6TO4):  # RFC 3056, 2
        return "the 6to4", address[2:6]
    if address.startswith(_NAT64):  # RFC 6052, 2.1
        return "the NAT64", address[12:]
    if address.startswith(_NAT64_LOCAL):  # RFC 8215
        return "the NAT64", _nat64_local(address)
    if address.startswith(_COMPATIBLE):  # RFC 4291, 2.5.5.1
        return "the IPv4-compatible", address[12:]
    if address.startswith(_TRANSLATED):  # RFC 2765, 2.1
        return "the IPv4-translated", address[12:]
    return "", b""


def _nat64_local(address: bytes) -> bytes:
    """Return the IPv4 address in an address of 64:ff9b:1::/48, whose prefix has 48, 56, 64 or 96 bits.

    Where the IPv4 address ends before the last octet, what follows it is zero, as is octet 8 (RFC 6052, 2.2).
    """
    if address[8] == 0:
        if not any(address[11:]):
            return address[6:8] + address[9:11]
        if not any(address[12:]):
            return address[7:8] + address[9:12]
        if not any(address[13:]):
            return address[9:13]
    return address[12:]


def _ignored(text: str | None, warnings: _Warnings) -> bool:
    value = (text or "").strip().lower()
    if value not in ("", "true", "false"):
        warnings.add(f'annotation {_IGNORE}: {_shown(value)} is neither "true" nor "false", it counts as absent')
    return value == "true"


def _ttl(text: str | None, warnings: _Warnings) -> int | None:
    value = (text or "").strip()
    if not value:
        return None
    # The length first: int() refuses thousands of digits with an error of its own.
    if len(value) <= 9 and value.isascii() and value.isdigit() and MIN_TTL <= int(value) <= MAX_TTL:
        return int(value)
    warnings.add(
        f"annotation {_TTL}: {_shown(value)} is not a whole number of seconds from {MIN_TTL} to {MAX_TTL}, "
        "it counts as absent"
    )
    return None


def _hostnames(text: str | None, warnings: _Warnings) -> tuple[str, ...]:
    if not text or not text.strip():
        return ()
    # Split no further than needed: the annotation can hold tens of thousands of names. Those past MAX_HOSTNAMES are
    # dropped without a word here, since fewer are ever published, and that has a warning.
    pieces = text.split(",", MAX_HOSTNAMES)[:MAX_HOSTNAMES]
    names = [piece.strip()[:_LONGEST_HOSTNAME] for piece in pieces]  # cut, it is still too long for a name
    if not all(names):
        warnings.add(f"annotation {_HOSTNAME}: {_shown(text)} holds an empty name, which is skipped")
    return tuple(dict.fromkeys(filter(None, names)))


def _seconds(text: str | None) -> int:
    """Return an RFC 3339 time as seconds since the epoch, rounded down; 0 when it is missing or no such time."""
    if not text:
        return 0
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return 0
    # Without an offset it would be taken for local time, and depend on where the program runs.
    return 0 if time.tzinfo is None else int(time.timestamp() // 1)


def _shown(text: str) -> str:
    """Return `text` for a message: quoted, control characters escaped, no longer than a line."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
