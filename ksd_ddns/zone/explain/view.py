# SPDX-License-Identifier: Apache-2.0
"""What one zone knows about a VMI: a snapshot of its reconciler."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT, Node
from ksd_ddns.zone import hold, ownership_record
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import Rules, may_have_name, vmi_names
from ksd_ddns.zone.explain.model import Hold, NameAnswer, NameExplanation, State, ZoneFact
from ksd_ddns.zone.explain.names import Names, Viewpoint, holds_of
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Ownership
from ksd_ddns.zone.reconciler import Reconciler

_MEANT = 3
"""VMIs that are shown for an unused name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmiView:
    """What one zone knows of a VMI.

    `vmi` is its state that is published, None if there is none; `latest` the last one received. `names` are all names
    that it wants, and those that remain of it. `listed`: every source was listed. `keys` are all VMIs, if this one is
    not among them.
    """

    now: float
    fact: ZoneFact
    rules: Rules
    vmi: Vmi | None
    latest: Vmi | None
    names: tuple[NameExplanation, ...]
    holds: tuple[Hold, ...] = ()
    slowed_until: float | None = None
    listed: bool = True
    source_problems: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


def vmi_view(reconciler: Reconciler, key: str, at: Viewpoint, now: float) -> VmiView:
    """Return what the zone of `reconciler` knows of the VMI `namespace/name`."""
    inventory = reconciler.inventory
    vmi, slowed = inventory.get(key), inventory.slowed(key, now)
    held = inventory.holds(key, now)
    holds = holds_of(held, inventory.outage(key), lasts=at.hold_down)
    explain = Names(reconciler, at)
    claims = reconciler.desired.claims_of(key)
    found = [explain.of_claim(claim, holds) for claim in claims]
    if vmi is not None and reconciler.rules.max_namespace_names and not reconciler.rules.reverse:
        effective = hold.with_held(vmi, {vanished: addresses for vanished, (_, addresses) in held.items()})
        wanted = vmi_names(effective, reconciler.rules)
        over = wanted.claims(len(wanted), reconciler.rules)[len(claims) :]
        found += [explain.over_quota(claim.node, reconciler.rules.max_namespace_names) for claim in over]
    seen = {each.name for each in found}
    found += [
        explain.of_name(name)
        for name in _remaining(reconciler, key, full_zone=at.full_zone)
        if name not in seen and not reconciler.desired.claims_on(name)
    ]
    return VmiView(
        now=now,
        fact=zone_fact(reconciler, at),
        rules=reconciler.rules,
        vmi=vmi,
        latest=slowed[0] if slowed else vmi,
        names=tuple(found),
        holds=holds,
        slowed_until=slowed[1] if slowed else None,
        listed=reconciler.sources.complete,
        source_problems=tuple(reconciler.sources.failing.values()),
        keys=() if vmi is not None or slowed else tuple(inventory.keys()),
    )


def name_view(reconciler: Reconciler, name: bytes, at: Viewpoint, now: float) -> NameAnswer:
    """Return what the zone of `reconciler` knows of `name`: no explanation if the name is not in the zone.

    The reverse name of an address means the name at which this zone publishes the PTR of the address (RFC 2317).
    """
    classless, address = reconciler.rules.classless, names.reversed_address(name)
    if classless is not None and address is not None:
        name = classless.name(address) or name
    inside = names.is_below(name, reconciler.zone)
    explanation = Names(reconciler, at).of_name(name) if inside else None
    unused = explanation is not None and explanation.state is State.UNUSED
    return NameAnswer(
        name=name,
        now=now,
        explanation=explanation,
        zones=(zone_fact(reconciler, at),),
        source_problems=tuple(reconciler.sources.failing.values()),
        similar=_meant(reconciler, name) if unused else (),
        wildcard=_wildcard(reconciler.live, name) if unused else b"",
    )


def zone_fact(reconciler: Reconciler, at: Viewpoint) -> ZoneFact:
    """Return the state of the zone itself."""
    scope, live = reconciler.scope, reconciler.reads.live
    return ZoneFact(
        zone=reconciler.zone,
        base=scope.base,
        server=at.server,
        owner=scope.owner if scope.ownership is Ownership.TXT else "",
        serial=live.serial if live is not None else None,
        sent=at.sends,
        synced=reconciler.synced,
        refuses=reconciler.acceptance.refuses,
        problem=reconciler.problem,
    )


def _meant(reconciler: Reconciler, name: bytes) -> tuple[str, ...]:
    """Return the VMIs that a name without a namespace (`db`), or in the wrong order (`prod.db`), may mean."""
    labels = [label.decode("latin-1") for label in names.labels(name)]
    above = len(labels) - len(names.labels(reconciler.scope.base))
    if not names.is_below(name, reconciler.scope.base) or above not in {1, 2}:
        return ()
    keys = reconciler.inventory.keys()
    if above == 1:
        return tuple(sorted(key for key in keys if key.endswith(f"/{labels[0]}"))[:_MEANT])
    key = f"{labels[0]}/{labels[1]}"
    return (key,) if key in keys else ()


def _wildcard(live: Live, name: bytes) -> bytes:
    """Return the wildcard that answers queries for `name` (RFC 4592), which has no records; empty if there is none."""
    below = name
    while below != live.zone:
        above = names.parent(below)
        wildcard = b"\1*" + above
        if live.get(wildcard).rrsets:
            # A name at or below `below`, even one without records, is nearer than the wildcard. Most names of the zone
            # have another ending, which is found out faster than whether they are below.
            ending = (node for each, node in live.nodes.items() if each.endswith(below))
            exists = any(node.rrsets and names.is_below(node.name, below) for node in ending)
            return b"" if exists else wildcard
        if live.get(above).rrsets:
            return b""
        below = above
    return b""


def _remaining(reconciler: Reconciler, key: str, *, full_zone: bool) -> Iterator[bytes]:
    """Yield the names of ours in the zone that belong to the VMI `key`, sorted: all, or those with work to do."""
    live, scope = reconciler.live, reconciler.scope
    candidates: Iterable[bytes]
    if full_zone:
        candidates = live.nodes.keys()
    else:
        candidates = {*reconciler.deletions.blocked, *reconciler.refusals.names(), *reconciler.updates.dirty}
    if scope.ownership is Ownership.TXT:
        needle = f"vmi={key}".encode()
        of_vmi = (name for name in candidates if _mentions(live.get(name), needle, scope.owner, key))
    else:
        may_have = may_have_name(key, reconciler.rules)
        of_vmi = (name for name in candidates if may_have(name))
    yield from sorted((name for name in of_vmi if planning.is_owned(live.get(name), live, scope)), key=names.canonical)


def _mentions(node: Node, needle: bytes, owner: str, key: str) -> bool:
    """Return whether the node has the ownership record of `owner` for the VMI `key`, looking for `needle` first."""
    text = node.get(TXT)
    if text is None:
        return False
    # An ownership record of several strings is rare, and may hide the needle.
    near = any(needle in rdata or len(rdata) > 255 for rdata in text.rdatas)
    record = ownership_record.owned(text, owner) if near else None
    return record is not None and record.vmi == key
