# SPDX-License-Identifier: Apache-2.0
"""The explanation of a VMI, from its API object and what each zone knows of it."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.kubevirt.warning import VmiWarning, WarningCode
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone import hold
from ksd_ddns.zone.desired import VmiNames, vmi_names
from ksd_ddns.zone.explain.interfaces import Published, interfaces
from ksd_ddns.zone.explain.model import NameExplanation, Skip, State, VmiExplanation
from ksd_ddns.zone.explain.view import VmiView

_SIMILAR = 3
"""VMIs with similar names that are shown."""

_LENGTHS, _COMPARED = 3, 1000
"""How much longer or shorter a similar name may be, and how many are compared: it takes 20 microseconds for each."""

# Each address and interface has a line of its own.
_SHOWN_ELSEWHERE = frozenset(
    {
        WarningCode.BAD_ADDRESS,
        WarningCode.UNPUBLISHABLE_ADDRESS,
        WarningCode.ILLEGAL_VMI_NAME,
        WarningCode.ILLEGAL_INTERFACE_NAME,
        WarningCode.DUPLICATE_INTERFACE_NAME,
        WarningCode.MAX_ADDRESSES,
        WarningCode.MAX_NAMES_PER_NAMESPACE,
        WarningCode.MAX_RRSET,
    }
)


def vmi(
    key: str,
    obj: VmiObject | None,
    views: Sequence[VmiView],
    selection: Selection,
    *,
    unread: str = "",
) -> VmiExplanation:
    """Explain the VMI `namespace/name`, from its API object and the views of all zones, that of the main zone first.

    Without `obj` the VMI does not exist; or, with `unread`, it could not be read for that reason, and what the zones
    know is explained.
    """
    main = views[0]
    names = tuple(name for view in views for name in view.names)
    zones = tuple(view.fact for view in views)
    latest = selection.parse(obj) if obj is not None else main.latest
    gone = obj is None and not unread
    if latest is None or gone:
        similar = similar_keys(key, main.keys)
        return VmiExplanation(
            vmi=key,
            now=main.now,
            exists=not gone,
            read=not unread,
            unread=unread,
            names=names,
            zones=zones,
            source_problems=main.source_problems,
            similar=similar,
        )
    held = hold.with_held(latest, {(each.interface, each.rdtype): each.addresses for each in main.holds})
    wanted = vmi_names(held, main.rules)
    skip = _unselected(obj, selection) if obj is not None else None
    skip = skip or _skip(latest, wanted)
    names = (*names, *(() if skip is not None else _not_received(names, wanted, main)))
    of = Published(
        vmi=held,
        wanted=wanted,
        names={name.name: name for name in names},
        holds=main.holds,
        rules=main.rules,
        skip=skip,
        networks=selection.networks,
    )
    return VmiExplanation(
        vmi=key,
        now=main.now,
        exists=True,
        read=obj is not None,
        unread=unread,
        uid=latest.uid,
        phase=(obj.status.phase or "") if obj is not None and obj.status is not None else "",
        created=latest.created,
        ttl=latest.ttl,
        skip=skip,
        slowed_until=main.slowed_until,
        known=latest == main.latest or skip in {Skip.NAMESPACES, Skip.LABEL_SELECTOR},
        interfaces=interfaces(obj, of),
        names=names,
        warnings=_warnings(wanted, main),
        zones=zones,
        source_problems=main.source_problems,
    )


def similar_keys(key: str, keys: Collection[str]) -> tuple[str, ...]:
    """Return the VMIs that `key` may have been meant to be: the same name elsewhere, then similar ones."""
    namespace, _, name = key.lower().rpartition("/")
    elsewhere = sorted(each for each in keys if each.endswith(f"/{name}"))[:_SIMILAR]
    prefix = f"{namespace}/"
    there = (each.removeprefix(prefix) for each in keys if each.startswith(prefix))
    candidates = [each for each in there if abs(len(each) - len(name)) <= _LENGTHS][:_COMPARED]
    near = [prefix + each for each in get_close_matches(name, candidates, n=_SIMILAR, cutoff=0.5)]
    return tuple(dict.fromkeys([*elsewhere, *near]))[:_SIMILAR]


def _unselected(obj: VmiObject, selection: Selection) -> Skip | None:
    """Return why `obj` is not selected, None if it is."""
    if not selection.includes_namespace(obj.namespace):
        return Skip.NAMESPACES
    return None if selection.includes(obj) else Skip.LABEL_SELECTOR


def _skip(latest: Vmi, wanted: VmiNames) -> Skip | None:
    """Return why nothing of a selected VMI is published."""
    if latest.ignored:
        return Skip.IGNORED
    if not latest.live:
        return Skip.ENDED
    return Skip.ILLEGAL_VMI_NAME if latest.interfaces and not wanted.own else None


def _not_received(names: Collection[NameExplanation], wanted: VmiNames, main: VmiView) -> list[NameExplanation]:
    """Return the names that the VMI wants as it is now, and that the main zone does not know of yet."""
    known = {name.name for name in names}
    claims = wanted.claims(len(wanted), main.rules)
    state = State.PENDING if main.fact.sent else State.MISSING
    return [
        NameExplanation(zone=main.fact.zone, name=node.name, state=state, wanted=node, found=Node(node.name))
        for node in (claim.node for claim in claims)
        if node.name not in known
    ]


def _warnings(wanted: VmiNames, main: VmiView) -> tuple[VmiWarning, ...]:
    found = wanted.warnings(len(wanted), main.rules)
    return tuple(each for each in found if each.code not in _SHOWN_ELSEWHERE)
