# SPDX-License-Identifier: Apache-2.0
"""Moves: deleted names whose addresses the same plan publishes at other names of the VMI.

A VMI gets new names when INTERFACE_NAME, DEFAULT_NAME or its annotations change. The old name goes only when a new one
is in DNS, so that the VMI has a name all the time. Without ownership records, as many new names with an address as old
ones show that names move.

After a restart in the middle, the new names are in DNS already. Then the zone shows that an old name has moved.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import AAAA, TXT, A, Node
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.desired import Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan.change import Change, Kind
from ksd_ddns.zone.plan.conflict import Conflict
from ksd_ddns.zone.plan.scope import Ownership, Scope

_SEPARATORS = ".-_"
"""What a template can have between the name and the namespace of a VMI."""


def moves(
    changes: Iterable[Change], conflicts: Iterable[Conflict], desired: Desired, scope: Scope
) -> dict[bytes, frozenset[bytes]]:
    """Return the deletions whose addresses are all published at other names, each with these names.

    A name in conflict counts too: the VMI keeps its old name until it gets the new one.
    """
    deletions = [change for change in changes if change.kind is Kind.DELETE]
    if not deletions:
        return {}
    new: defaultdict[tuple[str, bytes], set[bytes]] = defaultdict(set)
    by_vmi = scope.ownership is Ownership.TXT
    for change in changes:
        if change.kind is not Kind.DELETE:
            vmi = desired.vmi_of(change.name) if by_vmi else ""
            for address in addresses(change.new) - addresses(change.old):
                new[vmi, address].add(change.name)
    for conflict in conflicts:
        for address in addresses(conflict.wanted):
            new[conflict.vmi if by_vmi else "", address].add(conflict.name)
    if not new:
        return {}
    old = Counter(address for change in deletions for address in addresses(change.old)) if not by_vmi else {}
    found: dict[bytes, frozenset[bytes]] = {}
    for change in deletions:
        vmi = vmi_of(change.old, scope) if by_vmi else ""
        gone = addresses(change.old)
        if not gone or bool(vmi) is not by_vmi:
            continue
        if all((vmi, address) in new and len(new[vmi, address]) >= old.get(address, 0) for address in gone):
            found[change.name] = frozenset().union(*(new[vmi, address] for address in gone))
    return found


def moved(deletions: Collection[Change], desired: Desired, live: Live, scope: Scope) -> set[bytes]:
    """Return the names of `deletions` whose VMI exists, and has their addresses at other names that are in sync.

    Without ownership records, the VMI of a name is one whose name and namespace are in it, before the base.
    """
    by_record = scope.ownership is Ownership.TXT
    found: set[bytes] = set()
    vmis = {} if by_record else _vmis({each for change in deletions for each in addresses(change.old)}, desired, live)
    for change in deletions:
        gone = addresses(change.old)
        if not gone:
            continue
        if by_record:
            is_moved = gone <= _published(vmi_of(change.old, scope), desired, live)
        else:
            text = names.to_text(change.name.removesuffix(scope.base) + names.ROOT)
            is_moved = any(_is_in(vmi, text) for vmi in set.intersection(*(vmis[address] for address in gone)))
        if is_moved:
            found.add(change.name)
    return found


def _vmis(gone: Collection[bytes], desired: Desired, live: Live) -> dict[bytes, set[str]]:
    """Return the VMIs that have each address of `gone` at a name that is in sync."""
    found: dict[bytes, set[str]] = {address: set() for address in gone}
    for name in desired.names():
        node = live.nodes.get(name)
        if node is not None and node == desired.get(name):
            for address in addresses(node) & found.keys():
                found[address].add(desired.vmi_of(name))
    return found


def _published(vmi: str, desired: Desired, live: Live) -> set[bytes]:
    """Return the addresses of a VMI at its names that are in sync."""
    claims = desired.claims_of(vmi) if vmi else ()
    nodes = (live.get(claim.node.name) for claim in claims if desired.vmi_of(claim.node.name) == vmi)
    return {address for node in nodes if node == desired.get(node.name) for address in addresses(node)}


def _is_in(vmi: str, text: str) -> bool:
    """Return whether the name and the namespace of a VMI are parts of the owner name `text`."""
    namespace, _, vm = vmi.lower().partition("/")
    return bool(vm) and _has_part(f".{text}", vm) and _has_part(f".{text}", namespace)


def _has_part(text: str, part: str) -> bool:
    return any(f"{before}{part}{after}" in text for before in _SEPARATORS for after in _SEPARATORS)


def vmi_of(node: Node, scope: Scope) -> str:
    """Return the VMI in our ownership record at a name, empty without one."""
    record = ownership_record.owned(node.get(TXT), scope.owner)
    return record.vmi if record else ""


def addresses(node: Node) -> set[bytes]:
    """Return the addresses at a name, packed."""
    return {rdata for item in node.rrsets if item.type in {A, AAAA} for rdata in item.rdatas}
