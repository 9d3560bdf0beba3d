# SPDX-License-Identifier: Apache-2.0
"""The next Send: the plan for dirty names, the messages of suspects and retried names, a canary, or a nudge."""

from collections.abc import Iterable
from math import inf

import msgspec

from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.plan import Change, Kind, Plan
from ksd_ddns.zone.reconciler import canaries, outcomes, questions, vmis
from ksd_ddns.zone.reconciler.events import Planned, Send
from ksd_ddns.zone.reconciler.state import State
from ksd_ddns.zone.reconciler.ttl_change import in_two_messages

NUDGE_AFTER, NUDGE_EVERY = 2.0, 5.0
"""Seconds before the first nudge, and between two: one more update, after which BIND shows changes of a signed zone."""


def tick(state: State, now: float) -> None:
    """End the holds and apply the rate-limited changes that are due."""
    ended = state.inventory.tick(state.live, now)
    if ended:
        state.deletions.seen |= ended
        state.updates.dirty |= ended
        vmis.report_warnings(state)


def send(state: State, now: float) -> Send | None:
    """Return what to send now; None if there is nothing to send."""
    if now < state.pauses.send_at:
        return None
    if state.moves.recheck or (state.moves and state.updates.dirty):
        state.updates.dirty |= set(state.moves.ready(state.live, state.scope))
    plan = _plan_dirty(state, now)
    if plan and len(plan.changes) > 1 and state.rotation and plan.changes[0].name == state.rotation.index.head:
        # If the primary refused the change of the head, records in new shards would not be found.
        state.updates.replan_all = True
        return Send(msgspec.structs.replace(plan, changes=plan.changes[:1]))
    groups = [group for names in _separate_messages(state, now) if (group := _changes_at(state, names))]
    canary = canaries.due(state, now)
    if not (plan and plan.changes) and not groups and canary is None:
        groups = _nudge(state, now)
        if not groups:
            return None
    plan = plan or Plan(state.zone, state.live.serial, (), ())
    if state.learned.split_ttl:
        plan, groups = in_two_messages(plan, groups, state.sending)
    # Knot processes messages in flight as one: the two messages of a TTL change would then have no effect.
    return Send(plan, tuple(groups), canary, one_by_one=bool(state.sending.halfway))


def nudge_at(state: State) -> float:
    """Return when the next nudge is due, if the zone is signed."""
    oldest = state.unconfirmed.oldest
    return inf if oldest is None else max(oldest + NUDGE_AFTER, state.learned.nudged_at + NUDGE_EVERY)


def _plan_dirty(state: State, now: float) -> Plan | None:
    """Return the plan for the dirty names; None if there are none."""
    updates = state.updates
    updates.release_delayed(now)
    if not updates.replan_all and not updates.dirty:
        return None
    dirty = updates.dirty
    grown = questions.growth(state)
    if updates.replan_all:
        state.learned.incomplete_namespaces = state.incomplete_namespaces
        plan = planning.full(
            state.desired,
            state.live,
            state.scope,
            max_delete_percent=state.options.max_delete_percent,
            seen=state.deletions.seen,
            incomplete=state.learned.incomplete_namespaces,
        )
        plan = _with_first(grown, plan)
        state.deletions.note_plan(plan)
        state.facts.append(Planned(plan))
    else:
        state.deletions.release(dirty, lambda name: state.desired.get(name) is not None)
        blocked = state.deletions.blocked
        plan = planning.partial(dirty - blocked.keys() if blocked else dirty, state.desired, state.live, state.scope)
        plan = _with_first(grown, plan)
        state.facts.append(Planned(plan, frozenset(dirty)))
    changing = {change.name for change in plan.changes}
    outcomes.settle(state, dirty - changing)
    if updates.attempts:
        # A name that was stale alone is sent alone until it is accepted, so that it delays no other.
        alone = [name for name in changing if updates.attempts.get(name, 0) > 1 and name not in updates.suspects]
        updates.suspects.add(sorted(name for name in alone if name not in updates.delayed), size=1)
    moving = state.moves.take(plan, None if updates.replan_all else dirty, state.live, state.scope)
    state.deletions.seen |= moving  # the deletion limit does not apply, now or later
    updates.replan_all = False
    updates.dirty = set()
    waits = _waiting(state, changing) | moving
    if waits:
        changes = tuple(change for change in plan.changes if change.name not in waits)
        plan = msgspec.structs.replace(plan, changes=changes)
    return plan


def _with_first(change: Change | None, plan: Plan) -> Plan:
    return plan if change is None else msgspec.structs.replace(plan, changes=(change, *plan.changes))


def _waiting(state: State, names: set[bytes]) -> set[bytes]:
    """Return those of `names` that must not be sent now: refused, suspect, uncertain or delayed names."""
    updates = state.updates
    waits: set[bytes] = set()
    if state.refusals:
        waits |= {name for name in names if name in state.refusals}
    if updates.suspects:
        waits |= {name for name in names if name in updates.suspects}
    if updates.uncertain:
        waits |= names & updates.uncertain.keys()
    if updates.delayed:
        waits |= names & updates.delayed.keys()
    return waits


def _separate_messages(state: State, now: float) -> Iterable[list[bytes]]:
    """Return the names of each separate message: suspects, and samples of the refused names."""
    if state.updates.suspects:
        yield from state.updates.suspects.take(excluded=state.updates.uncertain)
    due = state.refusals.due
    if due is None or due > now:
        return
    timing = state.options.timing
    longest = timing.longest_pause if state.acceptance.refuses else timing.longest_retry
    for name in state.refusals.sample(now, longest=longest):
        refusal = state.refusals.forget(name)
        if refusal is not None:
            state.sending.retried[name] = refusal
            yield [name]


def _changes_at(state: State, names: list[bytes]) -> tuple[Change, ...]:
    """Return the changes needed at `names`."""
    changes = planning.partial(names, state.desired, state.live, state.scope).changes
    # The plan for some names also includes the apex, which has a message of its own.
    wanted = set(names)
    changes = tuple(change for change in changes if change.name in wanted)
    if len(changes) < len(names):
        outcomes.settle(state, wanted - {change.name for change in changes})
    return changes


def _nudge(state: State, now: float) -> list[tuple[Change, ...]]:
    """Return one harmless change for a signed zone that stopped showing changes: BIND then shows the others too."""
    if not state.unconfirmed or not state.reads.signed or now < nudge_at(state):
        return []
    state.learned.nudged_at = now
    for name in state.unconfirmed.names():
        node = state.live.get(name)
        new = canaries.with_another_ttl(state, node)
        if new != node:
            state.unconfirmed.nudged[name] = None
            return [(Change(node, new, Kind.CHANGE, state.scope.types),)]
    return []
