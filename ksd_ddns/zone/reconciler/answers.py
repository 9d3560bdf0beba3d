# SPDX-License-Identifier: Apache-2.0
"""Answers to updates: accepted, refused, failed, stale or lost, and what happens to the names in the message next."""

from collections.abc import Collection, Iterable

from ksd_ddns.wire import rcodes
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.plan import Change
from ksd_ddns.zone.reconciler import canaries, outcomes, refusals
from ksd_ddns.zone.reconciler.acceptance import SUSPICIOUS
from ksd_ddns.zone.reconciler.events import Unanswered, ZoneRefuses
from ksd_ddns.zone.reconciler.reads import Need
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal
from ksd_ddns.zone.reconciler.state import State

PATIENT_ATTEMPTS = 2
"""Attempts without a delay at a name that another client keeps changing."""

MOST_ATTEMPTS = 8
"""Attempts at such a name before it is refused."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0
"""Seconds between further attempts at such a name."""


def handle(state: State, answer: Answer, now: float) -> None:
    """Handle the answer to one message."""
    canary = state.sending.canary
    if canary is not None and answer.changes == (canary,):
        state.sending.canary = None
        canaries.handle(state, canary, answer, now)
        return
    state.sending.results.add(answer.result)
    halfway = state.sending.halfway
    second = halfway and any(halfway.get(change.name) == change.old for change in answer.changes)
    if second and answer.result is not Result.ACCEPTED:
        # The first of two messages was not accepted, so the second shows nothing about the names.
        state.updates.uncertain.update(dict.fromkeys(change.name for change in answer.changes))
        return
    match answer.result:
        case Result.ACCEPTED:
            _handle_accepted(state, answer, now)
        case Result.REFUSED:
            _handle_refused(state, answer, now)
        case Result.FAILED:
            _handle_failed(state, answer, now)
        case Result.STALE:
            _handle_stale(state, answer, now)
        case Result.UNKNOWN | Result.UNSENT:
            sent = answer.result is Result.UNKNOWN
            state.sending.lost = answer.error
            for change in answer.changes:
                state.updates.uncertain[change.name] = change if sent else None


def finish(state: State, now: float) -> None:
    """Handle the end of a Send."""
    state.sending.canary = None
    state.moves.note_finished()
    results, state.sending.results = state.sending.results, set()
    lost, state.sending.lost = state.sending.lost, None
    # Retried names that were neither accepted nor refused are ordinary names now.
    state.sending.retried.clear()
    state.sending.halfway.clear()
    state.sending.split.clear()
    if Result.ACCEPTED in results:
        state.updates.not_read_back_since = state.updates.not_read_back_since or now
        state.pauses.note_updates_answered()
    elif Result.REFUSED in results or Result.FAILED in results:
        state.acceptance.canaries.schedule(now)
        canaries.try_sample(state, now)
    if lost is not None:
        state.facts.append(Unanswered(lost))
        state.pauses.note_updates_unanswered(lost, now)
    elif results:
        state.pauses.note_updates_answered()
    if state.updates.uncertain:
        state.reads.require(Need.CHANGES)


def _handle_accepted(state: State, answer: Answer, now: float) -> None:
    live = state.live
    released: set[Cause] = set()
    split = False
    for change in answer.changes:
        name = change.name
        live.put_tentative(change.new)
        if state.sending.retried and (before := state.sending.retried.pop(name, None)) is not None:
            released.add(before.cause)
        if state.sending.halfway and state.sending.halfway.get(name) == change.new:
            split = True
            del state.sending.halfway[name]
            continue
        split = split or name in state.sending.split
        outcomes.accept(state, change)
    state.unconfirmed.accept(answer.changes, now, split=split)
    recovered = state.acceptance.note_accepted(now)
    if recovered:
        state.facts.append(ZoneRefuses(refuses=False))
        released |= {Cause.ZONE, Cause.PERMISSION}
        state.refusals.hurry(Cause, now)
    elif Cause.ZONE in state.refusals.causes():
        released.add(Cause.ZONE)
    if Cause.HOST_NAME in state.refusals.causes() and any(map(refusals.violates_check_names, answer.changes)):
        # The server does not refuse all such names: try each of them.
        state.learned.accepts_non_host_names = True
        state.updates.suspects.add(state.refusals.release_untried(Cause.HOST_NAME), size=outcomes.GROUP)
    for cause in released:
        outcomes.release(state, cause)


def _handle_refused(state: State, answer: Answer, now: float) -> None:
    """Handle a refusal: one name is refused, several are divided until each refused one is alone in its message."""
    changes = answer.changes
    if len(changes) > 1:
        if state.acceptance.refuses:
            outcomes.refuse_untried(state, changes, Cause.ZONE, answer, now)
        elif _may_be_check_names(state, changes, answer):
            # A sample shows what the server does with names that are not host names. Permissions may be granted
            # by namespace, so the sample includes each namespace.
            sample = {change.name for change in changes[:: len(changes) // refusals.SAMPLE]}
            by_namespace = {state.inventory.vmi_of(change.name).partition("/")[0]: change.name for change in changes}
            sample.update(by_namespace.values())
            rest = [change for change in changes if change.name not in sample]
            outcomes.refuse_untried(state, rest, Cause.HOST_NAME, answer, now)
            state.updates.suspects.add(sorted(sample), size=1, first=True)
        else:
            _divide(state, changes)
        return
    change = changes[0]
    state.acceptance.note_refused(change.name, servfail=answer.result is Result.FAILED)
    refusal = Refusal(change, refusals.cause_of(answer), now, answer.rcode, answer.error)
    outcomes.refuse(state, refusal, now)


def _handle_failed(state: State, answer: Answer, now: float) -> None:
    """Handle SERVFAIL: read the zone before these names are sent again.

    Nothing should have been applied. Samba's internal DNS server also answers so if it has applied a large message.
    """
    names = [change.name for change in answer.changes]
    if len(names) > 1:
        state.updates.suspects.divide(names)
    elif state.updates.attempts.get(names[0], 0) >= 1:
        _handle_refused(state, answer, now)
        return
    else:
        state.updates.attempts[names[0]] = 1
        state.updates.suspects.divide(names)
    for change in answer.changes:
        state.updates.uncertain[change.name] = change


def _handle_stale(state: State, answer: Answer, now: float) -> None:
    """Handle a failed prerequisite: a name in the message has changed. A read or smaller messages show which."""
    updates = state.updates
    names = [change.name for change in answer.changes]
    state.learned.stale = True
    for change in answer.changes:
        # If the zone holds the change all the same, an earlier message was applied, and its answer was lost.
        updates.uncertain[change.name] = change
    if len(names) > 1:
        # Only divide if a read has not helped before. A failed shared message is no further attempt at each name.
        if any(name in updates.attempts for name in names):
            updates.suspects.divide(names)
        for name in names:
            updates.attempts.setdefault(name, 1)
        return
    attempts = updates.attempts[names[0]] = updates.attempts.get(names[0], 0) + 1
    retried = state.sending.retried.get(names[0])
    if attempts >= MOST_ATTEMPTS or (retried is not None and retried.cause is Cause.CHANGING):
        outcomes.refuse(state, Refusal(answer.changes[0], Cause.CHANGING, now, answer.rcode, answer.error), now)
        return
    if attempts > PATIENT_ATTEMPTS:
        updates.delayed[names[0]] = now + min(FIRST_DELAY * 2 ** (attempts - PATIENT_ATTEMPTS), LONGEST_DELAY)


def _may_be_check_names(state: State, changes: Collection[Change], answer: Answer) -> bool:
    """Return whether BIND's check-names alone may explain the refusal of a large message."""
    return (
        answer.rcode == rcodes.REFUSED
        and len(changes) > SUSPICIOUS
        and not state.learned.accepts_non_host_names
        and all(map(refusals.violates_check_names, changes))
    )


def _divide(state: State, changes: Iterable[Change]) -> None:
    """Make the names of a refused message suspects; host names and other names do not share a message."""
    checked, plain = refusals.by_check_names(changes)
    for names in (checked, plain):
        if names and plain and checked:
            state.updates.suspects.add(names, size=len(names), first=True)
        elif names:
            state.updates.suspects.divide(names)
