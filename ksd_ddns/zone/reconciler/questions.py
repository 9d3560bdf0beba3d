# SPDX-License-Identifier: Apache-2.0
"""What to ask if the zone is read by queries, and where in the index each name belongs.

Names are asked when they are planned for the first time, after each change, and in turn: the index is read shard by
shard, each with the names that it lists, so that every name is asked at least once per full read interval.
"""

from collections.abc import Iterable

from ksd_ddns.zone.plan import Change, Kind
from ksd_ddns.zone.reconciler.events import ReadNames
from ksd_ddns.zone.reconciler.state import State

LEAST_SHARDS, LEAST_NAMES = 16, 32
"""What a turn asks at least, as long as there is as much: a small zone is asked often."""


def everything(state: State) -> ReadNames:
    """Return the request for the full index, and for all names that it lists or that are known here."""
    found = {state.zone, *state.live.nodes, *_unfinished(state)}
    if state.reads.live is not None:
        found.update(state.desired.names())
    return ReadNames(frozenset(found), full=True)


def some(state: State, names: Iterable[bytes] = ()) -> ReadNames:
    """Return the request for `names`, and for all names with unfinished changes, with their shards."""
    rotation = state.rotation
    assert rotation is not None
    found = {*names, *_unfinished(state), *state.live.cuts}
    shards = {owner for name in found for owner, _ in rotation.place(name, state.live)}
    # A record that an unconfirmed change deletes may be in another shard.
    shards |= {owner for name in state.unconfirmed.names() for owner, _ in state.unconfirmed.change(name).old.index}
    return ReadNames(frozenset(found), frozenset(shards))


def _unfinished(state: State) -> set[bytes]:
    """Return the names that every read must include: whatever it does not include counts as confirmed."""
    return {*state.unconfirmed.names(), *state.updates.uncertain}


def unread(state: State) -> ReadNames | None:
    """Return the request for the names to plan that were never asked; None if all were."""
    asked, updates = state.live.asked, state.updates
    if asked is None:
        return None
    names = {name for name in updates.dirty if name not in asked}
    if updates.replan_all:
        names.update(name for name in state.desired.names() if name not in asked)
    return some(state, names) if names else None


def turn(state: State, now: float) -> ReadNames:
    """Return the request for the next share of the names."""
    rotation = state.rotation
    assert rotation is not None
    share = state.options.drift_interval / state.options.full_read_interval
    names: set[bytes] = set()
    shards: set[bytes] = set()
    least = max(LEAST_SHARDS, int(share * rotation.count) + 1)
    while len(shards) < least or len(names) < LEAST_NAMES:
        part = rotation.next_shard(state.desired, state.live)
        if part is not None:
            shards.add(part[0])
            names.update(part[1])
            continue
        state.schedule.last_full = now
        if shards:
            break
    names.add(state.zone)
    request = some(state, names)
    return ReadNames(request.names, request.shards | shards)


def growth(state: State) -> Change | None:
    """Return the change of the index that must be sent before the others: more shards; None if there are enough."""
    rotation = state.rotation
    if rotation is None:
        return None
    found = state.live.get(rotation.index.head)
    if rotation.index.head in state.refusals:
        rotation.count = rotation.index.shards(found)
        return None
    new = rotation.index.grown(found, max(len(state.desired), len(state.live.nodes)))
    rotation.count = rotation.index.shards(new or found)
    if new is None:
        return None
    return Change(found, new, Kind.CHANGE if found.rrsets else Kind.ADD, state.scope.types)
