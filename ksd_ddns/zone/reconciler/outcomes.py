# SPDX-License-Identifier: Apache-2.0
"""The outcome of a change: accepted, refused, released, or no longer needed."""

from collections.abc import Iterable

import msgspec

from ksd_ddns.zone.answer import Answer
from ksd_ddns.zone.plan import Change
from ksd_ddns.zone.reconciler.events import Accepted, Refused, Released
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal
from ksd_ddns.zone.reconciler.state import State

GROUP = 500
"""Names per message when a cause of refusals is gone and its names are sent again."""


def accept(state: State, change: Change) -> None:
    """Note that the primary accepted `change`."""
    name = change.name
    state.updates.finish(name)
    state.refusals.finish(name)
    state.deletions.seen.discard(name)
    state.facts.append(Accepted(change, state.updates.received.pop(name, None)))


def refuse(state: State, refusal: Refusal, now: float) -> None:
    """Note that the primary refused a name."""
    before = state.sending.retried.pop(refusal.name, None)
    if before is not None:
        refusal = msgspec.structs.replace(refusal, since=before.since)
    news = state.refusals.add(refusal, now)
    if news and (before is None or before.cause is not refusal.cause):
        state.facts.append(Refused(refusal))
    state.updates.received.pop(refusal.name, None)
    state.updates.suspects.forget((refusal.name,))
    state.updates.finish(refusal.name)


def refuse_untried(state: State, changes: Iterable[Change], cause: Cause, answer: Answer, now: float) -> None:
    """Refuse `changes` without trying each: the answer to others shows that the primary would refuse them."""
    for change in changes:
        refuse(state, Refusal(change, cause, now, answer.rcode, answer.error, tried=False), now)


def release(state: State, cause: Cause) -> None:
    """Send all names again that were refused for `cause`."""
    names = state.refusals.release(cause)
    if names:
        state.facts.append(Released(len(names)))
        state.updates.suspects.add(sorted(names), size=GROUP)


def settle(state: State, names: Iterable[bytes]) -> None:
    """Note that `names` need no change."""
    updates, seen = state.updates, state.deletions.seen
    for name in names:
        updates.received.pop(name, None)
        updates.finish(name)
        state.refusals.finish(name)
        seen.discard(name)
        if state.refusals and state.refusals.forget(name):
            state.facts.append(Released(1))
