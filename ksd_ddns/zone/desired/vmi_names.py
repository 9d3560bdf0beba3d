# SPDX-License-Identifier: Apache-2.0
"""The names that one VMI wants, within its limits, and what is wrong with them."""

from itertools import islice

from ksd_ddns.kubevirt.vmi import Interface, Vmi
from ksd_ddns.kubevirt.warning import VmiWarning, WarningCode, shortened
from ksd_ddns.wire.rrset import PTR, Node, rrset
from ksd_ddns.zone.desired.claims import ANNOTATION, GROUP, INTERFACE, Claim, MemberClaim, rank
from ksd_ddns.zone.desired.groups import group_name, member_node, service_name, service_node, service_rdata
from ksd_ddns.zone.desired.hostnames import hostname_name, hostname_problem, namespace_domain
from ksd_ddns.zone.desired.interface_names import default_name, interface_name, interface_stem
from ksd_ddns.zone.desired.records import Families, address_rrsets, families, with_ownership_record
from ksd_ddns.zone.desired.rules import HostnameScope, Rules, reverse_name

MAX_VMI_WARNINGS = 10
"""Warnings about one VMI; one more counts the others."""


class VmiNames:
    """The names that a VMI wants, as many as MAX_NAMES allows, the most important first.

    `names` are the default record, the interfaces, the hostnames, the groups, each with its addresses; those from index
    `annotated` on come from annotations. `groups` has the names of the groups. `services`, the least important, have
    SRV records; each with the name of its group. `own` is the name of the VMI itself.
    """

    __slots__ = ("_latest", "_over", "_skipped", "_vmi", "annotated", "groups", "names", "own", "services")

    def __init__(self, vmi: Vmi) -> None:
        self._vmi = vmi
        self._over: list[VmiWarning] = []
        self._skipped: list[VmiWarning] = []
        self._latest: tuple[int, tuple[Claim, ...]] | None = None
        self.own = b""
        self.names: dict[bytes, Families] = {}
        self.annotated = 0
        self.groups: dict[bytes, str] = {}
        self.services: dict[bytes, tuple[str, list[bytes]]] = {}

    def __len__(self) -> int:
        return len(self.names) + len(self.services)

    def over(self, code: WarningCode, limit: int, *, interface: str = "", count: int = 0) -> None:
        """Warn about a limit that the VMI exceeds."""
        warning = VmiWarning(vmi=self._vmi.key, code=code, limit=limit, interface=shortened(interface), count=count)
        self._over.append(warning)

    def skip(self, code: WarningCode, *, interface: str = "", value: str = "") -> None:
        """Warn about something that cannot be published."""
        warning = VmiWarning(vmi=self._vmi.key, code=code, interface=shortened(interface), value=shortened(value))
        self._skipped.append(warning)

    def warnings(self, most: int, rules: Rules) -> tuple[VmiWarning, ...]:
        """Return the warnings about the VMI if only the first `most` names are published."""
        vmi = self._vmi
        if not (self._over or self._skipped or vmi.warnings or most < len(self)):
            return ()
        found = [*self._over, *vmi.warnings, *self._skipped]
        if most < len(self):
            found.insert(
                0,
                VmiWarning(
                    vmi=vmi.key,
                    code=WarningCode.MAX_NAMES_PER_NAMESPACE,
                    limit=rules.max_namespace_names,
                    count=most,
                    wanted=len(self),
                ),
            )
        more = vmi.more_warnings + max(0, len(found) - MAX_VMI_WARNINGS)
        kept = found[:MAX_VMI_WARNINGS]
        if more:
            kept.append(VmiWarning(vmi=vmi.key, code=WarningCode.MORE, count=more))
        return tuple(kept)

    def claims(self, most: int, rules: Rules) -> tuple[Claim, ...]:
        """Return the claims on the first `most` names; in a reverse zone those of the interfaces among them."""
        if self._latest is None or self._latest[0] != most:
            self._latest = most, self._reverse(most, rules) if rules.reverse else self._forward(most, rules)
        return self._latest[1]

    def _forward(self, most: int, rules: Rules) -> tuple[Claim, ...]:
        vmi, key = self._vmi, self._vmi.key
        ttl = vmi.ttl or rules.ttl
        strong = (INTERFACE, *rank(vmi))
        # Most VMIs have few addresses, and several names for each.
        rrsets = {addresses: address_rrsets(addresses, ttl, key, rules) for addresses in set(self.names.values())}
        claims = [Claim(strong, key, Node(name, rrsets[addresses])) for name, addresses in self.names.items()]
        if self.annotated < len(claims):
            weak = (ANNOTATION, *rank(vmi))
            claims[self.annotated :] = [Claim(weak, key, claim.node) for claim in claims[self.annotated :]]
        if self.groups:
            claims[len(self.names) - len(self.groups) :] = self._memberships(ttl, rules)
        return tuple(claims if most >= len(claims) else claims[:most])

    def _memberships(self, ttl: int, rules: Rules) -> list[MemberClaim]:
        vmi = self._vmi
        last = (GROUP, *rank(vmi))
        nodes = [
            member_node(name, self.names[name], ttl, f"{vmi.namespace}/{group}", rules)
            for name, group in self.groups.items()
        ]
        nodes += [
            service_node(name, rdatas, ttl, f"{vmi.namespace}/{group}", rules)
            for name, (group, rdatas) in self.services.items()
        ]
        return [MemberClaim(last, vmi.key, node, vmi.ready, node.name in vmi.was_ready) for node in nodes]

    def _reverse(self, most: int, rules: Rules) -> tuple[Claim, ...]:
        targets: dict[bytes, list[bytes]] = {}
        for target, addresses in islice(self.names.items(), min(most, self.annotated)):
            if rules.default_record and target == self.own:
                continue
            for address in (*addresses[0], *addresses[1]):
                name = reverse_name(address, rules)
                if name is not None:
                    targets.setdefault(name, []).append(target)
        vmi = self._vmi
        strong = (INTERFACE, *rank(vmi))
        ttl = vmi.ttl or rules.ttl
        return tuple(
            [
                Claim(strong, vmi.key, Node(name, with_ownership_record(rrset(PTR, ttl, found), vmi.key, rules)))
                for name, found in targets.items()
            ]
        )


def vmi_names(vmi: Vmi, rules: Rules) -> VmiNames:
    """Return the names that `vmi` wants."""
    wanted = VmiNames(vmi)
    if vmi.ignored or not vmi.live or not vmi.interfaces:
        return wanted
    domain = namespace_domain(vmi.namespace, rules.base)
    own = default_name(vmi.name, vmi.namespace, rules)
    if domain is None or own is None:
        wanted.skip(WarningCode.ILLEGAL_VMI_NAME, value=f"{shortened(vmi.name)}.{shortened(vmi.namespace)}")
        return wanted
    wanted.own = own
    found = wanted.names
    if rules.default_record:
        found[own] = ((), ())  # reserves the first place; its addresses follow
    first, complete = _add_interfaces(wanted, vmi, rules)
    if not any(first):
        found.clear()
        return wanted
    if rules.default_record:
        found[own] = first
    wanted.annotated = len(found)
    # In a reverse zone hostnames are only counted.
    if complete and rules.hostname_scope is not HostnameScope.OFF and (not rules.reverse or rules.max_namespace_names):
        complete = _add_hostnames(wanted, vmi, domain, first, rules)
    if complete and vmi.groups and (not rules.reverse or rules.max_namespace_names):
        complete = _add_groups(wanted, vmi, first, rules)
    if not complete:
        wanted.over(WarningCode.MAX_NAMES, rules.max_names)
    return wanted


def _add_interfaces(wanted: VmiNames, vmi: Vmi, rules: Rules) -> tuple[Families, bool]:
    """Add the names of the interfaces; return the addresses of the default record, and whether MAX_NAMES sufficed.

    If an interface and a hostname have the same name, the interface comes first and keeps it.
    """
    found = wanted.names
    first: Families = ((), ())
    complete = True
    crowded: list[str] = []
    stem = interface_stem(vmi.name, vmi.namespace, rules, own=wanted.own)
    most = rules.max_family
    for interface in vmi.interfaces:
        if not complete and all(first):
            break
        addresses, fits = publishable(interface, rules, most)
        if not any(addresses):
            continue
        if not fits:
            crowded.append(interface.name)
        first = (first[0] or addresses[0], first[1] or addresses[1])
        name = interface_name(vmi, interface.name, rules, stem)
        if name is None:
            wanted.skip(WarningCode.ILLEGAL_INTERFACE_NAME, interface=interface.name)
        elif name in found:
            wanted.skip(WarningCode.DUPLICATE_INTERFACE_NAME, interface=interface.name)
        elif len(found) < rules.max_names:
            found[name] = addresses
        else:
            complete = False
    if crowded:
        wanted.over(WarningCode.MAX_ADDRESSES, most, interface=crowded[0], count=len(crowded))
    return first, complete


def _add_hostnames(wanted: VmiNames, vmi: Vmi, domain: bytes, first: Families, rules: Rules) -> bool:
    """Add the names of the annotation, with the addresses `first`; return whether MAX_NAMES sufficed."""
    found = wanted.names
    for hostname in vmi.hostnames:
        name = hostname_name(hostname, domain, rules)
        if name is None:
            wanted.skip(hostname_problem(hostname, rules), value=hostname)
        elif name in found:
            continue
        elif len(found) < rules.max_names:
            found[name] = first
        else:
            return False
    return True


def _add_groups(wanted: VmiNames, vmi: Vmi, first: Families, rules: Rules) -> bool:
    """Add the names of the groups, then those of their services; return whether MAX_NAMES sufficed."""
    found = wanted.names
    targets: dict[bytes, bytes] = {}
    by_name = {interface.name: interface for interface in vmi.interfaces}
    for membership in vmi.groups:
        name = group_name(vmi, membership.group, rules)
        if name is None:
            wanted.skip(WarningCode.ILLEGAL_GROUP, value=membership.group)
            continue
        addresses = first
        if membership.interface:
            interface = by_name.get(membership.interface)
            if interface is None:
                if membership.interface not in vmi.networks:
                    wanted.skip(WarningCode.GROUP_INTERFACE, value=membership.group, interface=membership.interface)
                continue
            addresses, _ = publishable(interface, rules, rules.max_family)
        if name in found or not any(addresses):
            continue
        if len(found) >= rules.max_names:
            return False
        found[name] = addresses
        wanted.groups[name] = membership.group
        target = _target(
            wanted, addresses, interface_name(vmi, membership.interface, rules) if membership.interface else None
        )
        if target:
            targets[name] = target
    return _add_services(wanted, vmi, targets, rules) if rules.group_srv else True


def _target(wanted: VmiNames, addresses: Families, of_interface: bytes | None) -> bytes:
    """Return the VMI's name with the `addresses` it has in a group: `of_interface` if it has them, else the first one.

    If these are of two interfaces and there is no default record, it is the name of the first one. Empty for none.
    """
    if of_interface is not None and wanted.names.get(of_interface) == addresses:
        return of_interface
    own = list(islice(wanted.names.items(), wanted.annotated))
    exact = (name for name, there in own if there == addresses)
    part = (name for name, (v4, v6) in own if (v4 or v6) in addresses)
    return next(exact, None) or next(part, b"")


def _add_services(wanted: VmiNames, vmi: Vmi, targets: dict[bytes, bytes], rules: Rules) -> bool:
    """Add the names of the services of each group, with the host `targets`; return whether MAX_NAMES sufficed."""
    services = wanted.services
    for group, target in targets.items():
        for port in vmi.ports:
            name = service_name(port, group)
            if name is None or name in wanted.names:
                continue
            if name not in services:
                if len(wanted) >= rules.max_names:
                    return False
                services[name] = wanted.groups[group], []
            services[name][1].append(service_rdata(port, target))
    return True


def publishable(interface: Interface, rules: Rules, most: int) -> tuple[Families, bool]:
    """Return the addresses of an interface to publish, `most` of each family, and whether that is all of them."""
    addresses = interface.addresses
    if rules.publish or rules.exclude:
        addresses = tuple(
            address
            for address in addresses
            if (not rules.publish or any(address in network for network in rules.publish))
            and not any(address in network for network in rules.exclude)
        )
    v4, v6 = found = families(addresses)
    if len(addresses) <= most or (len(v4) <= most and len(v6) <= most):
        return found, True
    return (v4[:most], v6[:most]), False
