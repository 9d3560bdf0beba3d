# SPDX-License-Identifier: Apache-2.0
"""Canaries and samples, which show whether the primary refuses single names or the full zone (see `acceptance`)."""

from itertools import chain, islice

from ksd_ddns.wire.rrset import Node, RRset
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.plan import Change, Kind
from ksd_ddns.zone.reconciler import outcomes, refusals
from ksd_ddns.zone.reconciler.acceptance import CANARIES, SAMPLE, SUSPICIOUS
from ksd_ddns.zone.reconciler.events import ZoneRefuses
from ksd_ddns.zone.reconciler.refusals import Cause
from ksd_ddns.zone.reconciler.state import State

_ZONE_WIDE = frozenset({Cause.PERMISSION, Cause.ZONE, Cause.SERVER})


def due(state: State, now: float) -> Change | None:
    """Return the canary to send now; None if none is due."""
    at = state.acceptance.canaries.due_at
    if at is None or now < at:
        return None
    node = _next_canary(state)
    if node is None:
        state.acceptance.canaries.due_at = None
        return None
    # After SERVFAIL only a real change shows whether the primary can write; the next plan undoes it.
    new = with_another_ttl(state, node) if state.acceptance.servfail else node
    state.sending.canary = Change(node, new, Kind.CHANGE, state.scope.types)
    return state.sending.canary


def handle(state: State, canary: Change, answer: Answer, now: float) -> None:
    """Handle the answer to the canary."""
    match answer.result:
        case Result.ACCEPTED:
            if canary.old != canary.new:
                state.live.put_tentative(canary.new)
                state.unconfirmed.accept(answer.changes, now, split=False)
                state.unconfirmed.nudged[canary.name] = None
                state.updates.not_read_back_since = state.updates.not_read_back_since or now
            if state.acceptance.note_accepted(now):
                state.facts.append(ZoneRefuses(refuses=False))
                outcomes.release(state, Cause.ZONE)
                outcomes.release(state, Cause.PERMISSION)
                state.refusals.hurry(Cause, now)
        case Result.REFUSED | Result.FAILED:
            if state.acceptance.note_canary_refused(canary.name) and _next_canary(state) is not None:
                state.acceptance.canaries.due_at = now  # perhaps only this name is refused
            else:
                _refuse_zone(state, answer, now)
        case _:
            state.updates.uncertain[canary.name] = None
            state.acceptance.canaries.due_at = None  # the next refusal schedules another


def try_sample(state: State, now: float) -> None:
    """If there is no canary, send a sample of the suspects, and refuse the others until one of them is accepted."""
    if state.acceptance.accepted_any or state.unconfirmed or _next_canary(state) is not None:
        return  # the zone accepted an update, or a canary will show it
    acceptance, suspects = state.acceptance, state.updates.suspects
    if suspects and acceptance.refused_in_a_row >= SUSPICIOUS and not acceptance.sampled:
        acceptance.sampled = True
        changes = planning.partial(list(suspects.drain()), state.desired, state.live, state.scope).changes
        checked, plain = refusals.by_check_names(changes)
        sample = {*plain[:: len(plain) // SAMPLE + 1], *checked[:: len(checked) // SUSPICIOUS + 1]}
        suspects.add(sample, size=1)
        rest = [change.name for change in changes if change.name not in sample]
        plan = planning.partial(rest, state.desired, state.live, state.scope)
        last = next(iter(state.refusals), None)
        answer = Answer((), Result.REFUSED, last.rcode if last else None, last.error if last else None)
        outcomes.refuse_untried(state, plan.changes, Cause.ZONE, answer, now)
    elif not suspects and any(one.cause in _ZONE_WIDE for one in state.refusals.firsts()):
        if acceptance.note_zone_refuses(now):
            state.facts.append(ZoneRefuses(refuses=True))
        acceptance.canaries.due_at = None


def with_another_ttl(state: State, node: Node) -> Node:
    """Return `node` with TTLs one second longer: a change that does no harm."""
    other = [RRset(item.type, item.ttl + 1, item.rdatas) for item in node.rrsets if item.type in state.scope.types]
    return node.with_rrsets(other, types=[item.type for item in other])


def _refuse_zone(state: State, answer: Answer, now: float) -> None:
    """Note that the zone accepts no update, and refuse all suspects for that cause."""
    if state.acceptance.note_zone_refuses(now):
        state.facts.append(ZoneRefuses(refuses=True))
    names = list(state.updates.suspects.drain())
    plan = planning.partial(names, state.desired, state.live, state.scope) if names else None
    if plan is not None:
        outcomes.refuse_untried(state, plan.changes, Cause.ZONE, answer, now)


def _next_canary(state: State) -> Node | None:
    """Return a name of ours in the zone that was not refused as a canary; None if there is none.

    Refused names come last, because another refusal of them shows little. The others are spread over the zone, because
    the key may have lost its permission for one namespace only.
    """
    live, tried = state.live, state.acceptance.canaries.refused
    wanted = list(state.desired.names())
    start = len(wanted) * len(tried) // CANARIES
    for name in chain(islice(wanted, start, None), islice(wanted, start)):
        if name not in state.refusals and live.get(name) == state.desired.get(name) and _can_be_canary(state, name):
            return live.get(name)
    refused = (one.name for one in state.refusals.firsts() if one.change.kind is not Kind.ADD)
    others = live.nodes if state.holds_our_names else ()
    return next((live.get(name) for name in chain(refused, others) if _can_be_canary(state, name)), None)


def _can_be_canary(state: State, name: bytes) -> bool:
    if name in state.acceptance.canaries.refused or name in state.unconfirmed:
        return False
    node = state.live.get(name)
    published = any(item.type in state.scope.types for item in node.rrsets)
    return published and planning.is_owned(node, state.live, state.scope)
