# SPDX-License-Identifier: Apache-2.0
"""Reads of the zone and serial checks: what they confirm, and which names they make dirty."""

from collections.abc import Iterable

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Malformed
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.answers import Answers
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Change
from ksd_ddns.zone.reconciler import outcomes, vmis
from ksd_ddns.zone.reconciler.events import DriftFound, RivalFound, SerialChecked, ServerChanged, TtlLowered, ZoneRead
from ksd_ddns.zone.reconciler.learned import CUT_PAUSE
from ksd_ddns.zone.reconciler.reads import Need
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal
from ksd_ddns.zone.reconciler.state import State
from ksd_ddns.zone.reconciler.unconfirmed import Verdict
from ksd_ddns.zone.rivalry import is_undone

RIVAL_PAUSE = 30.0
"""Seconds until changes of another controller are undone, once it is known that it undoes ours again and again."""

READ_SIGNED_EVERY = 15.0
"""Seconds between two full reads of a signed zone whose serial stays the same although it accepted changes."""


def handle_zone(state: State, event: ZoneRead, now: float) -> None:
    """Handle a read of the zone, full or incremental."""
    _recover(state, now)
    reads, transfer = state.reads, event.transfer
    answers = transfer if isinstance(transfer, Answers) else None
    full = _is_full(transfer)
    reading_changes, state.learned.reading_changes = state.learned.reading_changes, False
    if reading_changes and not event.other_server:
        state.schedule.full_only = full  # the server has no IXFR: read less often
    if reads.live is None:
        reads.live = Live.of(state.zone, transfer)
        _note_read(state, event, now)
        for kept in state.sources.take_deferred():
            vmis.handle(state, kept, now)
        return
    if event.other_server:
        _start_over(state)
        if answers is not None and not full:
            reads.require(Need.ZONE)
            return
    elif isinstance(transfer, Transfer) and _hides_changes(state, transfer, now):
        reads.require(Need.ZONE)
        return
    first = answers.names - reads.live.asked if answers and reads.live.asked is not None else frozenset[bytes]()
    try:
        changed = reads.live.apply(transfer)
    except Malformed:
        # The deltas do not fit the zone as it is here. (A full zone always does.)
        reads.require(Need.ZONE)
        return
    _note_read(state, event, now)
    expected = state.unconfirmed.names() | state.updates.uncertain.keys()
    changed -= _confirm(state, changed, now)
    drifted = changed - expected
    _watch_rivals(state, drifted, now)
    _slow_down(state, changed - first, now)
    drift = sum(1 for name in drifted - first if state.desired.get(name) is not None)
    if drift and state.synced:
        state.facts.append(DriftFound(drift))
    if answers and not full and 2 * drift > len(answers.names):
        reads.require(Need.ZONE)  # a mass loss: the other names may be affected, too
    again = changed | _resolve_uncertain(state) | _below_changed_cuts(state, now)
    if state.updates.suspects or state.updates.delayed:
        again = {name for name in again if name not in state.updates.suspects and name not in state.updates.delayed}
    state.updates.dirty |= again
    state.moves.note_finished()


def handle_serial(state: State, event: SerialChecked, now: float) -> None:
    """Handle a serial check: read the zone if it changed, or should have."""
    reads = state.reads
    was_reconnected, reads.reconnected = reads.reconnected, event.reconnected
    state.schedule.check_later(now)
    if reads.live is None:
        return
    if event.reconnected and not was_reconnected:
        state.schedule.check_at = now  # check again, with a larger spot check
    if event.other_server or event.serial != reads.live.serial:
        reads.require(Need.CHANGES)
    elif event.wrong - _expected(state):
        state.facts.append(DriftFound(len(event.wrong), spots=True))
        reads.require(Need.ZONE)
    elif state.unconfirmed.overdue(now, signed=reads.signed):
        reads.require(Need.CHANGES)
    elif state.unconfirmed:
        _poll(state, now)


def _note_read(state: State, event: ZoneRead, now: float) -> None:
    reads = state.reads
    full = _is_full(event.transfer)
    reads.need = Need.NOTHING
    state.learned.stale = False
    state.updates.not_read_back_since = None
    state.schedule.check_later(now)
    if full:
        state.schedule.note_full_read(event.began, now)


def _is_full(transfer: Transfer | Answers) -> bool:
    return transfer.full if isinstance(transfer, Answers) else transfer.nodes is not None


def _hides_changes(state: State, transfer: Transfer, now: float) -> bool:
    """Return whether `transfer` is an IXFR that reports no changes and must be wrong.

    The primary may have been restored from a backup, or may change the zone without changing the serial. A zone with
    inline signing shows changes late, so it gets a full read only every READ_SIGNED_EVERY seconds.
    """
    live = state.live
    if transfer.nodes is not None or transfer.deltas:
        return False
    if transfer.serial != live.serial or state.learned.stale:
        return True
    if not live.tentative:
        return False
    return not state.reads.signed or now >= state.schedule.last_full + READ_SIGNED_EVERY


def _start_over(state: State) -> None:
    """Forget what the previous server accepted and refused: another server answers now."""
    state.facts.append(ServerChanged())
    state.unconfirmed.clear()
    state.acceptance.reset()
    state.refusals.forget_all()
    state.updates.suspects.drain()
    state.updates.delayed.clear()
    state.updates.attempts.clear()
    state.updates.replan_all = True


def _confirm(state: State, changed: set[bytes], now: float) -> set[bytes]:
    """Compare the zone with the accepted changes; return the names that need no new plan."""
    live = state.live
    nudged = [name for name in state.unconfirmed.nudged if name not in changed]
    differing = {name: live.get(name) for name in changed if name in state.unconfirmed}
    settled: set[bytes] = set()
    accepted = {name: state.unconfirmed.change(name) for name in differing}
    state.learned.remember(state.unconfirmed.change(name) for name in state.unconfirmed.names() if name not in changed)
    in_turn = state.rotation is not None
    verdicts = state.unconfirmed.confirm(differing, now, signed=state.reads.signed, in_turn=in_turn)
    for name, verdict in verdicts.items():
        match verdict:
            case Verdict.LATE:
                live.put_tentative(accepted[name].new)
                settled.add(name)
            case Verdict.NOT_SHOWN | Verdict.NO_TXT:
                cause = Cause.NOT_SHOWN if verdict is Verdict.NOT_SHOWN else Cause.NO_TXT
                outcomes.refuse(state, Refusal(accepted[name], cause, now), now)
                settled.add(name)
            case Verdict.TTL_KEPT:
                state.learned.split_ttl = True
            case Verdict.OTHER:
                cap = planning.ttl_cap(accepted[name], live.get(name))
                if cap is not None and cap != state.scope.ttl_cap:
                    state.scope = msgspec.structs.replace(state.scope, ttl_cap=cap)
                    state.facts.append(TtlLowered(cap))
                elif cap is None:
                    _watch_rival(state, accepted[name], now)
    for name in nudged:
        del state.unconfirmed.nudged[name]
        state.updates.dirty.add(name)
    if state.unconfirmed:
        _poll(state, now)
    else:
        state.pauses.poll.reset()
    return settled


def _resolve_uncertain(state: State) -> set[bytes]:
    """Accept the changes without an answer that the zone shows; return the names of all of them."""
    uncertain, state.updates.uncertain = state.updates.uncertain, {}
    for name, change in uncertain.items():
        if change is not None and state.live.get(name) == change.new:
            outcomes.accept(state, change)
    return set(uncertain)


def _below_changed_cuts(state: State, now: float) -> set[bytes]:
    """Return the wanted names that a delegation or DNAME hides now, or no longer; they wait if it keeps changing."""
    changed = state.live.take_changed_cuts()
    if not changed:
        return set()
    unstable = {cut for cut in changed if not state.learned.note_cut_changed(cut, now)}
    lengths = {len(cut) for cut in changed}  # of thousands of cuts, few
    found: set[bytes] = set()
    for name in state.desired.names():
        ends = (name[-length:] for length in lengths)
        cuts = {cut for cut in ends if cut in changed and names.is_below(name, cut)}
        if cuts & unstable:
            state.updates.delayed.setdefault(name, now + CUT_PAUSE)
        elif cuts:
            found.add(name)
    return found


def _watch_rivals(state: State, changed: Iterable[bytes], now: float) -> None:
    """Look for another controller with our owner ID and other VMIs, which undoes our changes."""
    for name in changed:
        before = state.learned.confirmed.pop(name, None)
        if before is not None:
            _watch_rival(state, before, now)


def _slow_down(state: State, changed: Iterable[bytes], now: float) -> None:
    """While another controller undoes our changes, wait before undoing its: both could react to each other's NOTIFY."""
    if state.rivalry.names(now):
        live = state.live
        for name in changed:
            if state.desired.get(name) is not None or planning.is_owned(live.get(name), live, state.scope):
                state.updates.delayed.setdefault(name, now + RIVAL_PAUSE)


def _watch_rival(state: State, before: Change, now: float) -> None:
    name = before.name
    if is_undone(before, state.live.get(name), state.scope):
        known = state.rivalry.names(now)
        if state.rivalry.note_undone(name, now) and not known:
            state.facts.append(RivalFound(name))


def _recover(state: State, now: float) -> None:
    """Note that the primary can be read; after an outage, retry refused names now."""
    if state.pauses.note_read():
        state.refusals.hurry(Cause, now)


def _expected(state: State) -> set[bytes]:
    """Return the names that may differ from the last read: their changes are not confirmed yet."""
    return {*state.unconfirmed.names(), *state.updates.uncertain}


def _poll(state: State, now: float) -> None:
    """Schedule an early serial check, for changes that the zone does not show yet."""
    state.schedule.check_by(now + state.pauses.poll.next())
