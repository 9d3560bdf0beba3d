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

# Whoever may write a VMI may fill its status and annotations: what is said about them stays bounded.
MAX_WARNINGS = 16

_IGNORE = "ksd-ddns/ignore"
_TTL = "ksd-ddns/ttl"
_HOSTNAME = "ksd-ddns/hostname"
_ENDED = frozenset(("Succeeded", "Failed"))
_LONGEST_ADDRESS = 64
_MAPPED = bytes(10) + b"\xff\xff"
_NOTABLE = frozenset((0, 127, 169, *range(224, 240), 254, 255))
"""The first octets of all addresses that are never published, so that nearly all others need no second look."""

_NEVER = {
    bytes(4): "the unspecified address",
    b"\xff\xff\xff\xff": "the broadcast address",
    bytes(16): "the unspecified address",
    bytes(15) + b"\x01": "the loopback address",
}


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
    in the phases Succeeded and Failed. `interfaces` are sorted by name, and have at least one address each. `networks`
    are the names in `spec.networks`, those of the default network left out. `ignored`, `ttl` (seconds) and `hostnames`
    come from the annotations, already validated; `warnings` says, one sentence each, what was skipped and why.
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


class Spec(msgspec.Struct, gc=False):
    """`spec`."""

    networks: list[Network | None] | None = None


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


def parse(obj: VmiObject) -> Vmi:
    """Return the `Vmi` of `obj`; what cannot be used is left out and named in its `warnings`.

    Entries of the status that have the same name are one interface with the addresses of all of them: the name is
    what is published, and each address belongs to it.
    """
    metadata = obj.metadata
    warnings: list[str] = []
    networks, defaults = _networks(obj.spec)
    interfaces = _interfaces(obj.status, defaults, warnings)
    ignored, ttl = False, None
    hostnames: tuple[str, ...] = ()
    annotations = metadata.annotations
    if annotations is not None:
        ignored = _ignored(annotations.ignore, warnings)
        ttl = _ttl(annotations.ttl, warnings)
        hostnames = _hostnames(annotations.hostname, warnings)
    if len(warnings) > MAX_WARNINGS:
        warnings[MAX_WARNINGS:] = [f"{len(warnings) - MAX_WARNINGS} more warnings of this VMI are left out"]
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
        tuple(warnings),
    )


def _networks(spec: Spec | None) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the secondary networks, and of the default one (several, should an object hold several)."""
    secondary: list[str] = []
    default: list[str] = []
    for network in (spec.networks if spec is not None else None) or ():
        if network is None or not network.name:
            continue
        is_default = network.pod is not None or (network.multus is not None and network.multus.default)
        (default if is_default else secondary).append(network.name)
    return frozenset(secondary).difference(default), frozenset(default)


def _interfaces(status: Status | None, defaults: frozenset[str], warnings: list[str]) -> tuple[Interface, ...]:
    found: dict[str, list[bytes]] = {}
    for entry in (status.interfaces if status is not None else None) or ():
        if entry is None or not entry.name or entry.name in defaults:
            continue
        addresses = _addresses(entry.name, entry, warnings)
        if addresses:
            found.setdefault(entry.name, []).extend(addresses)
    return tuple([Interface(name, tuple(dict.fromkeys(found[name]))) for name in sorted(found)])


def _addresses(name: str, entry: StatusInterface, warnings: list[str]) -> list[bytes]:
    addresses: list[bytes] = []
    # `ipAddress` repeats the first of `ipAddresses`, and stands alone in what older KubeVirt releases write.
    texts = entry.ip_addresses or ()
    for text in texts if any(texts) else (entry.ip_address,):
        if not text:
            continue
        address = _packed(text.partition("/")[0])
        if address is None:
            warnings.append(f"interface {_shown(name)}: {_shown(text)} is not an IP address, it is skipped")
        elif address[0] not in _NOTABLE:
            addresses.append(address)
        elif _is_link_local_ipv6(address):
            continue  # every IPv6 interface has one, and bridges report it: a warning would stand on each VMI
        elif reason := _unpublishable(address):
            warnings.append(f"interface {_shown(name)}: {_shown(text)} is {reason}, it is never published")
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
    first = address[0]
    if len(address) == 4:
        if first == 127:
            return "a loopback address"
        if 224 <= first < 240:
            return "a multicast address"
        if first == 169 and address[1] == 254:
            return "a link-local address"
    elif first == 0xFF:
        return "a multicast address"
    elif address.startswith(_MAPPED):
        return "an IPv4-mapped address"
    return _NEVER.get(address, "")


def _ignored(text: str | None, warnings: list[str]) -> bool:
    value = (text or "").strip().lower()
    if value not in ("", "true", "false"):
        warnings.append(f'annotation {_IGNORE}: {_shown(value)} is neither "true" nor "false", it counts as absent')
    return value == "true"


def _ttl(text: str | None, warnings: list[str]) -> int | None:
    value = (text or "").strip()
    if not value:
        return None
    # The length first: int() refuses thousands of digits with an error of its own.
    if len(value) <= 9 and value.isascii() and value.isdigit() and MIN_TTL <= int(value) <= MAX_TTL:
        return int(value)
    warnings.append(
        f"annotation {_TTL}: {_shown(value)} is not a whole number of seconds from {MIN_TTL} to {MAX_TTL}, "
        "it counts as absent"
    )
    return None


def _hostnames(text: str | None, warnings: list[str]) -> tuple[str, ...]:
    if not text or not text.strip():
        return ()
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        warnings.append(f"annotation {_HOSTNAME}: {_shown(text)} holds an empty name, which is skipped")
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
