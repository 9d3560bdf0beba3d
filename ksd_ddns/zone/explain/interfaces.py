# SPDX-License-Identifier: Apache-2.0
"""Each address that a VMI reports, and the rule that applies to it.

Whether an address is published follows from the same functions that publish it: `kubevirt.vmi.parse` reads it,
`desired.publishable` limits it, and `desired.vmi_names` gives it names. This module only finds the rule that
excluded an address.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ksd_ddns.kubevirt.addresses import unpublishable
from ksd_ddns.kubevirt.networks import ABSENT, SECONDARY, NetworkChoice, by_record, networks_of
from ksd_ddns.kubevirt.vmi import Interface, Vmi, address_of, texts_of
from ksd_ddns.kubevirt.vmi_object import Spec, VmiObject
from ksd_ddns.wire.rrset import AAAA, A
from ksd_ddns.wire.text import address_text
from ksd_ddns.zone.desired import Rules, VmiNames, interface_name, publishable
from ksd_ddns.zone.explain.model import (
    AddressExplanation,
    Hold,
    InterfaceExplanation,
    NameExplanation,
    Skip,
    State,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the rules make of a VMI: `vmi` with its held addresses, the names that it wants, and their states.

    `skip` is why nothing of the VMI is published. `networks` are those that are published.
    """

    vmi: Vmi
    wanted: VmiNames
    names: Mapping[bytes, NameExplanation]
    holds: tuple[Hold, ...]
    rules: Rules
    skip: Skip | None = None
    networks: NetworkChoice = SECONDARY


def interfaces(obj: VmiObject | None, of: Published) -> tuple[InterfaceExplanation, ...]:
    """Explain every interface in the status and spec of `obj`; without it, those that `of` knows.

    Those that can be published come first, in the order of their records; then those of excluded networks, and last
    those that only the guest knows.
    """
    if obj is None:
        texts = {each.name: [address_text(address) for address in each.addresses] for each in of.vmi.interfaces}
        excluded: Collection[str] = ()
        spec = None
    else:
        texts, spec = _reported(obj), obj.spec
        published, excluded = networks_of(spec, of.networks, of.vmi.namespace)
        if of.networks.definitions:
            excluded = texts.keys() - published
    for network in (*of.vmi.networks, *(hold.interface for hold in of.holds)):
        texts.setdefault(network, [])
    firsts = _firsts(of)

    def order(name: str) -> tuple[bool, bool, str]:
        return not name, name in excluded, by_record(name)

    found = []
    for name in sorted(texts, key=order):
        if not name or name in excluded:
            skip = Skip.GUEST_ONLY if not name else _excluded(name, spec)
            rows = [AddressExplanation(address=text, state=State.SKIPPED, skip=skip) for text in texts[name] or [""]]
        else:
            rows = _Rows(name, of, shadowed=firsts.get(_own(name, of)) != name).rows(texts[name])
        found.append(InterfaceExplanation(name=name, addresses=tuple(rows)))
    return tuple(found)


def _reported(obj: VmiObject) -> dict[str, list[str]]:
    """Return the addresses in the status by interface, as written; those that only the guest knows have no name."""
    found: dict[str, list[str]] = {}
    for entry in (obj.status.interfaces if obj.status is not None else None) or ():
        if entry is not None:
            found.setdefault(entry.name or "", []).extend(text for text in texts_of(entry) if text)
    return found


def _excluded(name: str, spec: Spec | None) -> Skip:
    """Return why an interface is excluded: it is unplugged, that of the default network, or not in NETWORKS."""
    devices = spec.domain.devices if spec is not None and spec.domain is not None else None
    entries = (devices.interfaces if devices is not None else None) or ()
    absent = any(entry is not None and entry.name == name and entry.state == ABSENT for entry in entries)
    if absent:
        return Skip.UNPLUGGED
    secondary, _ = networks_of(spec)
    return Skip.NETWORKS if name in secondary else Skip.POD_NETWORK


def _own(name: str, of: Published) -> bytes | None:
    return interface_name(of.vmi, name, of.rules)


def _firsts(of: Published) -> dict[bytes | None, str]:
    """Return the interface that has each owner name: the first with an address to publish."""
    found: dict[bytes | None, str] = {}
    for interface in of.vmi.interfaces:
        if any(publishable(interface, of.rules, of.rules.max_family)[0]):
            found.setdefault(_own(interface.name, of), interface.name)
    return found


class _Rows:
    """Explains the addresses of one interface that can be published; `shadowed`: another one has its DNS name."""

    def __init__(self, name: str, of: Published, *, shadowed: bool) -> None:
        self._name = name
        self._of = of
        self._shadowed = shadowed
        self._own = _own(name, of)
        self._read = next((each for each in of.vmi.interfaces if each.name == name), Interface(name, ()))
        v4, v6 = publishable(self._read, of.rules, of.rules.max_family)[0]
        self._kept = {*v4, *v6}
        self._holds = {address: hold for hold in of.holds if hold.interface == name for address in hold.addresses}

    def rows(self, texts: list[str]) -> list[AddressExplanation]:
        """Return a row for each of `texts` and each held address, or one that says that there is none."""
        found: list[AddressExplanation] = []
        seen: set[bytes] = set()
        for text in texts:
            address = address_of(text)
            if address is not None and address not in seen:
                found.append(self._row(text, address))
                seen.add(address)
            elif address is None:
                found.append(AddressExplanation(address=text, state=State.SKIPPED, skip=Skip.NOT_AN_ADDRESS))
        found += [self._row(address_text(address), address) for address in self._holds if address not in seen]
        return found or [AddressExplanation(address="", state=State.SKIPPED, skip=self._of.skip or Skip.NO_ADDRESS)]

    def _row(self, text: str, address: bytes) -> AddressExplanation:
        if address not in self._read.addresses:
            kind, embedding = unpublishable(address)
            skip = Skip.NEVER_PUBLISHED if kind is not None else Skip.FLOOD
            return AddressExplanation(address=text, state=State.SKIPPED, skip=skip, kind=kind, embedding=embedding)
        of = self._of
        names = _names_with(address, self._own, of.wanted) if address in self._kept and of.skip is None else ()
        if not self._shadowed and self._own in names:
            return self._published(text, address, names)
        names = tuple(name for name in names if name != self._own)
        skip, limit = self._skip(address)
        state = State.SKIPPED
        if names:
            state = _state(address, of.names.get(names[0]), None)
        return AddressExplanation(address=text, state=state, names=names, skip=skip, limit=limit)

    def _published(self, text: str, address: bytes, names: tuple[bytes, ...]) -> AddressExplanation:
        own = self._of.names.get(names[0])
        hold = self._holds.get(address)
        skip, limit = (own.skip, own.limit) if own is not None else (None, 0)
        state = _state(address, own, hold)
        return AddressExplanation(address=text, state=state, names=names, skip=skip, limit=limit, hold=hold)

    def _skip(self, address: bytes) -> tuple[Skip, int]:
        """Return the rule that excludes the address, or the name of its interface, and its limit."""
        of, rules = self._of, self._of.rules
        if of.skip is not None:
            return of.skip, 0
        if address not in self._kept:
            return _excluding_rule(address, rules)
        if self._own is None:
            return Skip.ILLEGAL_INTERFACE_NAME, 0
        if self._shadowed and self._own in of.wanted.names:
            return Skip.DUPLICATE_INTERFACE_NAME, 0
        return Skip.MAX_NAMES, rules.max_names


def _excluding_rule(address: bytes, rules: Rules) -> tuple[Skip, int]:
    """Return the rule by which `desired.publishable` excluded an address, and its limit."""
    if rules.publish and not any(address in network for network in rules.publish):
        return Skip.PUBLISH_CIDRS, 0
    if any(address in network for network in rules.exclude):
        return Skip.EXCLUDE_CIDRS, 0
    return Skip.MAX_ADDRESSES, rules.max_family


def _names_with(address: bytes, own: bytes | None, wanted: VmiNames) -> tuple[bytes, ...]:
    """Return the wanted names with `address`, the name `own` first."""
    found = [name for name, (v4, v6) in wanted.names.items() if address in v4 or address in v6]
    return tuple(sorted(found, key=lambda name: name != own))


def _state(address: bytes, name: NameExplanation | None, hold: Hold | None) -> State:
    """Return the state of an address, from that of its name: a name that lacks one address may hold the others."""
    rdtype = A if len(address) == 4 else AAAA
    wanted = name.wanted.get(rdtype) if name is not None else None
    if name is None or wanted is None or address not in wanted.rdatas:
        return State.PENDING  # the controller has not received this state of the VMI, or delays it
    if name.state in {State.PUBLISHED, State.HELD}:
        return State.HELD if hold is not None else State.PUBLISHED
    item = name.found.get(rdtype)
    unfinished = name.state in {State.PENDING, State.MISSING, State.REFUSED}
    if unfinished and name.ours and name.unconfirmed_since is None and item is not None and address in item.rdatas:
        return State.HELD if hold is not None else State.PUBLISHED
    return name.state
