# SPDX-License-Identifier: Apache-2.0
"""API object -> Vmi: what naming needs of a VirtualMachineInstance, parsed once. `parse` never fails."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache

import msgspec

from ksd_ddns.kubevirt import groups as annotated
from ksd_ddns.kubevirt import vmi_object
from ksd_ddns.kubevirt.addresses import NOTABLE, is_link_local_ipv6, packed, unpublishable
from ksd_ddns.kubevirt.groups import Membership, Port
from ksd_ddns.kubevirt.networks import MAX_INTERFACES, SECONDARY, NetworkChoice, by_record, networks_of
from ksd_ddns.kubevirt.vmi_object import DEFAULT_NAMESPACE, Status, StatusInterface, VmiObject
from ksd_ddns.kubevirt.warning import VmiWarning, WarningCode, shortened

MIN_TTL = 5
MAX_TTL = 86400

# Anyone who can write a VMI can fill its status and annotations. What is read and kept of them is bounded, well above
# what the settings allow to be published, so a flood costs no more than an ordinary VMI.
MAX_WARNINGS = 10
MAX_HOSTNAMES = 1000
MAX_ADDRESSES = 4096
MAX_ADDRESSES_OF_INTERFACE = 512

_ENDED = frozenset(("Succeeded", "Failed"))
_LONGEST_HOSTNAME = 256


class Interface(msgspec.Struct, frozen=True, gc=False):
    """A published interface that has a name.

    `name` is as in the API, not folded and not checked as a DNS label. `addresses` are packed (4 or 16 octets), unique,
    in the order of the status, without those that are never published.
    """

    name: str
    addresses: tuple[bytes, ...]


class Vmi(msgspec.Struct, frozen=True, gc=False):
    """What naming needs of a VMI; two VMIs that differ in nothing else are equal.

    `key` is `namespace/name`, as kubectl and the ownership record write it. It is kept since every table needs it.
    `created` is `metadata.creationTimestamp` in UTC seconds since the epoch, 0 if missing. `live` is false in the
    phases Succeeded and Failed. `interfaces` are in `by_record` order, and have at least one address each. `networks`
    are the published ones of `spec.networks`, each with the NetworkAttachmentDefinition that the VMI refers to (empty
    for the pod network). `ignored`, `ttl` (seconds), `hostnames`, `groups` and `ports` come from the annotations,
    already validated. `warnings` says what was skipped and why; `more_warnings` counts those past MAX_WARNINGS.

    `ready` says whether a member of groups serves: condition Ready, or the phase Running without that condition. A VMI
    that is being deleted is no member of any group. `ports` are those that it serves as a member of each of its groups.
    `was_ready` are the owner names of groups at which the zone has records of this VMI.
    """

    key: str
    namespace: str
    name: str
    uid: str
    created: int
    live: bool
    interfaces: tuple[Interface, ...]
    networks: Mapping[str, str]
    ignored: bool = False
    ttl: int | None = None
    hostnames: tuple[str, ...] = ()
    warnings: tuple[VmiWarning, ...] = ()
    more_warnings: int = 0
    groups: tuple[Membership, ...] = ()
    ready: bool = True
    was_ready: frozenset[bytes] = frozenset()
    ports: tuple[Port, ...] = ()


class _Warnings:
    """The first MAX_WARNINGS warnings about one VMI, and the number of the others."""

    __slots__ = ("_obj", "kept", "more")

    def __init__(self, obj: VmiObject) -> None:
        self._obj = obj
        self.kept: list[VmiWarning] = []
        self.more = 0

    @property
    def vmi(self) -> str:
        """The key of the VMI, made only when needed: nearly all VMIs have no warnings."""
        return f"{self._obj.namespace}/{self._obj.metadata.name}"

    @property
    def full(self) -> bool:
        """Whether further warnings are only counted."""
        return len(self.kept) >= MAX_WARNINGS

    def add(self, warning: VmiWarning) -> None:
        if self.full:
            self.more += 1
        else:
            self.kept.append(warning)

    def annotation(self, name: str, value: str, code: WarningCode = WarningCode.BAD_ANNOTATION) -> None:
        self.add(VmiWarning(vmi=self.vmi, code=code, annotation=name, value=shortened(value)))


def parse(obj: VmiObject, choice: NetworkChoice = SECONDARY) -> Vmi:
    """Return the `Vmi` of `obj`, with the networks of `choice`; what cannot be used is skipped, with a warning.

    Entries of the status with the same name are one interface with the addresses of all of them: the name is what is
    published, and each address belongs to it.
    """
    metadata = obj.metadata
    warnings = _Warnings(obj)
    namespace = metadata.namespace or DEFAULT_NAMESPACE
    networks, excluded = networks_of(obj.spec, choice, namespace)
    if choice.definitions:
        excluded = _reported(obj.status).difference(networks)
    interfaces = _interfaces(obj.status, excluded, warnings)
    ignored, ttl = False, None
    hostnames: tuple[str, ...] = ()
    groups: tuple[Membership, ...] = ()
    ports: tuple[Port, ...] = ()
    annotations = metadata.annotations
    if annotations is not None:
        ignored = _ignored(annotations.ignore, warnings)
        ttl = _ttl(annotations.ttl, warnings)
        hostnames = _hostnames(annotations.hostname, warnings)
        if annotations.group is not None and metadata.deletion_timestamp is None:
            groups = _groups(annotations.group, warnings)
            ports = _ports(annotations.group_ports, warnings) if groups else ()
    return Vmi(
        f"{namespace}/{metadata.name}",
        namespace,
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
        groups,
        _ready(obj.status) if groups else True,
        ports=ports,
    )


def _interfaces(status: Status | None, excluded: Collection[str], warnings: _Warnings) -> tuple[Interface, ...]:
    found: dict[str, list[str | None]] = {}
    for entry in (status.interfaces if status is not None else None) or ():
        if entry is None or not entry.name or entry.name in excluded:
            continue
        texts = entry.ip_addresses
        if not texts or not all(texts):
            texts = texts_of(entry)
            if not texts:
                continue
        found[entry.name] = [*found[entry.name], *texts] if entry.name in found else texts
    interfaces: list[Interface] = []
    room = MAX_ADDRESSES
    # No warning about the rest: if these are published, there is one about MAX_NAMES.
    for name in sorted(found, key=by_record)[:MAX_INTERFACES] if len(found) > 1 else found:
        texts = found[name]
        if len(texts) > MAX_ADDRESSES_OF_INTERFACE or len(texts) > room:
            texts = texts[: min(room, MAX_ADDRESSES_OF_INTERFACE)]
        addresses = _addresses(name, texts, warnings)
        room -= len(addresses)
        if addresses:
            unique = tuple(addresses) if len(addresses) == 1 else tuple(dict.fromkeys(addresses))
            interfaces.append(Interface(name, unique))
    return tuple(interfaces)


def _reported(status: Status | None) -> set[str]:
    """Return the names of the interfaces in the status."""
    entries = (status.interfaces if status is not None else None) or ()
    return {entry.name for entry in entries if entry is not None and entry.name}


def texts_of(entry: StatusInterface) -> list[str | None]:
    """Return the addresses of an entry of the status, as written."""
    # `ipAddress` repeats the first of `ipAddresses`. Older KubeVirt releases write only `ipAddress`.
    return [text for text in entry.ip_addresses or () if text] or ([entry.ip_address] if entry.ip_address else [])


def address_of(text: str) -> bytes | None:
    """Return the address in a text of the status, packed, without its prefix length; None if it is not an address."""
    return packed(text.partition("/")[0])


def _addresses(name: str, texts: list[str | None], warnings: _Warnings) -> list[bytes]:
    addresses: list[bytes] = []
    for text in texts:
        if not text:
            continue
        address = packed(text.partition("/")[0])
        if address is None:
            _warn_about_address(name, text, warnings)
        elif address[0] not in NOTABLE:
            addresses.append(address)
        elif is_link_local_ipv6(address):
            continue  # every IPv6 interface has one, and bridges report it: every VMI would have a warning
        else:
            kind, embedding = unpublishable(address)
            if kind is None:
                addresses.append(address)
            elif warnings.full:
                warnings.more += 1
            else:
                code = WarningCode.UNPUBLISHABLE_ADDRESS
                shown, value = shortened(name), shortened(text)
                warnings.add(
                    VmiWarning(
                        vmi=warnings.vmi, code=code, interface=shown, value=value, kind=kind, embedding=embedding
                    )
                )
    return addresses


def _warn_about_address(name: str, text: str, warnings: _Warnings) -> None:
    if warnings.full:  # there may be thousands
        warnings.more += 1
        return
    warnings.add(
        VmiWarning(vmi=warnings.vmi, code=WarningCode.BAD_ADDRESS, interface=shortened(name), value=shortened(text))
    )


def _ignored(text: str | None, warnings: _Warnings) -> bool:
    value = (text or "").strip().lower()
    if value not in ("", "true", "false"):
        warnings.annotation(vmi_object.IGNORE, value)
    return value == "true"


def _ttl(text: str | None, warnings: _Warnings) -> int | None:
    value = (text or "").strip()
    if not value:
        return None
    # The length first: int() refuses thousands of digits with an error of its own.
    if len(value) <= 9 and value.isascii() and value.isdigit() and MIN_TTL <= int(value) <= MAX_TTL:
        return int(value)
    warnings.annotation(vmi_object.TTL, value)
    return None


def _hostnames(text: str | None, warnings: _Warnings) -> tuple[str, ...]:
    if not text or not text.strip():
        return ()
    # Split no further than needed: the annotation can hold tens of thousands of names. There is no warning about those
    # past MAX_HOSTNAMES: fewer are published, and that has a warning.
    pieces = text.split(",", MAX_HOSTNAMES)[:MAX_HOSTNAMES]
    names = [piece.strip()[:_LONGEST_HOSTNAME] for piece in pieces]  # still too long for a DNS name
    if not all(names):
        warnings.annotation(vmi_object.HOSTNAME, text, WarningCode.EMPTY_HOSTNAME)
    return tuple(dict.fromkeys(filter(None, names)))


def _groups(text: str, warnings: _Warnings) -> tuple[Membership, ...]:
    found, named = annotated.memberships(text)
    if not named:
        warnings.annotation(vmi_object.GROUP, text, WarningCode.EMPTY_GROUP)
    return found


def _ports(text: str | None, warnings: _Warnings) -> tuple[Port, ...]:
    found, wrong = annotated.ports(text) if text else ((), None)
    if wrong is not None:
        warnings.annotation(vmi_object.GROUP_PORTS, wrong)
    return found


def _ready(status: Status | None) -> bool:
    if status is None:
        return False
    for condition in status.conditions or ():
        if condition is not None and condition.type == "Ready":
            return condition.status == "True"
    return status.phase == "Running"


@lru_cache(maxsize=4096)  # every event of a VMI repeats it, and VMIs are often created together
def _seconds(text: str | None) -> int:
    """Return an RFC 3339 time as seconds since the epoch, rounded down; 0 if it is missing or malformed."""
    if not text:
        return 0
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return 0
    # A time without an offset would be read as local time, and depend on where the program runs.
    return 0 if time.tzinfo is None else int(time.timestamp() // 1)
