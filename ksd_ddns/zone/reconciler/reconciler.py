"""The reconciler of one zone: all decisions about what to read, plan, send, retry, delay and block. No I/O.

    handle(event, now)   what happened: VMIs came or went, the zone was read, a message was answered, the primary failed
    next(now) -> action  what to do now: ReadZone, ReadChanges, CheckSerial, Send or Wait
    take_facts()         what was found out, for logs, metrics and Events

Its theory of operation:

- A name is *dirty* when what is wanted there, or what the zone holds, may have changed. Dirty names are planned and
  sent next, all together. One event costs what its names cost, never what the zone costs.
- What the primary accepted is *unconfirmed*: the live zone assumes it, so that the next plan builds on it, until a read
  of the zone shows it, or does not (see `unconfirmed`).
- What was not answered, or met another zone than was planned for, is *uncertain*: the zone is read before it is planned
  again.
- The names of a message that was refused are *suspects*: they are sent again in smaller messages, next to whatever is
  dirty meanwhile, until the guilty names stand alone. Those are *refused*: each waits for its turn and delays no other
  name (see `refusals`). If nothing is accepted, a canary shows whether it is the names or the zone (see `acceptance`).
"""

from collections.abc import Collection, Iterable
from itertools import chain, islice
from math import inf

import msgspec

from ksd_ddns.errors import PrimaryError
from ksd_ddns.kubevirt.events import SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.wire.codec import Malformed
from ksd_ddns.wire.rrset import Node, RRset
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.desired import Desired, Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Change, Kind, Plan, Scope
from ksd_ddns.zone.reconciler import refusals as refused
from ksd_ddns.zone.reconciler.acceptance import CANARIES, SAMPLE, SUSPICIOUS, Acceptance
from ksd_ddns.zone.reconciler.backoff import Jitter
from ksd_ddns.zone.reconciler.deletions import Deletions
from ksd_ddns.zone.reconciler.events import (
    Accepted,
    Action,
    CheckSerial,
    DriftFound,
    Event,
    Fact,
    NoticesChanged,
    NotifyReceived,
    Planned,
    PrimaryFailed,
    ReadChanges,
    ReadZone,
    Refused,
    Released,
    RivalFound,
    Send,
    SerialChecked,
    ServerChanged,
    TtlLowered,
    Unanswered,
    UpdateAnswered,
    UpdateFinished,
    Wait,
    ZoneRead,
    ZoneRefuses,
)
from ksd_ddns.zone.reconciler.inventory import Inventory
from ksd_ddns.zone.reconciler.learned import Learned
from ksd_ddns.zone.reconciler.pauses import Pauses
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal, Refusals
from ksd_ddns.zone.reconciler.sending import Sending
from ksd_ddns.zone.reconciler.sources import Sources, VmiEvent
from ksd_ddns.zone.reconciler.timing import TIMING, Timing
from ksd_ddns.zone.reconciler.ttl_change import in_two_messages
from ksd_ddns.zone.reconciler.unconfirmed import Unconfirmed, Verdict
from ksd_ddns.zone.reconciler.updates import Updates
from ksd_ddns.zone.reconciler.view import Need, View
from ksd_ddns.zone.rivalry import Rivalry, is_undone

READ_BACK_WITHIN = 1.0
"""Seconds that what was accepted may stay unread while changes come thick."""

PATIENT_ATTEMPTS = 2
"""Attempts at a name that somebody else keeps changing, before it has to wait between them."""

MOST_ATTEMPTS = 8
"""Attempts at such a name before it is refused."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0
"""Seconds between further attempts at such a name."""

NUDGE_AFTER, NUDGE_EVERY = 2.0, 5.0
"""Seconds after which a signed zone that stopped showing changes gets one more update, which makes BIND show them."""

READ_SIGNED_EVERY = 15.0
"""Seconds between two full reads of a signed zone whose serial does not move although it accepted changes."""

GROUP = 500
"""Names that are tried together when a cause of refusals is gone."""

REFUSED = 5


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a zone is kept. Durations are in seconds."""

    max_delete_percent: int = 30
    hold_down: float = 300.0
    drift_interval: float = 30.0
    full_read_interval: float = 3600.0
    timing: Timing = TIMING


class Reconciler:
    """The state machine of one zone. Every method returns at once; `now` is by the monotonic clock, in seconds."""

    def __init__(
        self, zone: bytes, *, rules: Rules, scope: Scope, scopes: Iterable[str], options: Options, jitter: Jitter
    ) -> None:
        self.zone = zone
        self.scope = scope
        self._options = options
        self.desired = Desired(rules)
        self.inventory = Inventory(self.desired, rules, scope, hold_down=options.hold_down, timing=options.timing)
        self.sources = Sources(tuple(scopes))
        self.view = View(
            drift_interval=options.drift_interval, full_read_interval=options.full_read_interval, jitter=jitter
        )
        self.updates = Updates()
        self.unconfirmed = Unconfirmed()
        self.refusals = Refusals(jitter=jitter, timing=options.timing)
        self.acceptance = Acceptance(jitter=jitter)
        self.deletions = Deletions()
        self.rivalry = Rivalry()
        self.pauses = Pauses(jitter=jitter, timing=options.timing)
        self.synced = False
        self._sending = Sending()
        self._learned = Learned()
        self._facts: list[Fact] = []

    # What others may know

    @property
    def live(self) -> Live:
        """The zone as it is known; empty before it was read."""
        return self.view.live or Live(self.zone, 0, {})

    @property
    def problem(self) -> PrimaryError | None:
        """Why the primary cannot be read, or did not answer updates; None while all is well."""
        return self.pauses.problem

    @property
    def holds_our_names(self) -> bool:
        """Whether the zone holds names of ours, as far as is known."""
        return self.acceptance.proven or self.deletions.owned > 0

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do but to wait for events, retries and the next look at the zone."""
        return self.updates.idle and not self.unconfirmed and self.updates.unread_since is None

    def take_facts(self) -> list[Fact]:
        """Return what was found out since the last call."""
        found, self._facts = self._facts, []
        return found

    # Events

    def handle(self, event: Event, now: float) -> None:
        """Take what happened."""
        match event:
            case UpdateAnswered():
                self._answered(event.answer, now)
            case VmiChanged() | VmiDeleted() | VmisListed():
                self._vmis_changed(event, now)
            case UpdateFinished():
                self._finished(now)
            case ZoneRead():
                self._zone_read(event, now)
            case SerialChecked():
                self._serial_checked(event, now)
            case NotifyReceived():
                self.view.check_at = min(self.view.check_at, now)
            case SourceFailed():
                self.sources.failed(event)
                self.inventory.blind(event.scope, now, blind=bool(event.reason))
            case PrimaryFailed():
                self.pauses.failed(event.error, now)
                self.view.ask(Need.CHANGES)

    def _vmis_changed(self, event: VmiEvent, now: float) -> None:
        if isinstance(event, VmisListed):
            self.sources.listed(event)
        if self.view.live is None:
            self.sources.keep(event)  # the zone says what is to be held
            return
        updates = self.updates
        if isinstance(event, VmisListed):
            dirty = self.inventory.listed(event, self.view.live, now)
            updates.whole = True
        else:
            if isinstance(event, VmiDeleted):
                dirty = self.inventory.gone(event)
            else:
                dirty = self.inventory.changed(event, self.view.live, now)
            self.deletions.seen |= dirty
            for name in dirty:
                updates.received.setdefault(name, event.at)
            if self._learned.unread - self._unread:
                updates.whole = True  # of a namespace all is known now: something follows from absence
        self._note_notices()
        if self.refusals or updates.suspects or updates.delayed:
            for name in dirty:
                self.refusals.forget(name)
                updates.delayed.pop(name, None)
            updates.suspects.forget(dirty)
        updates.dirty |= dirty

    def _note_notices(self) -> None:
        renoticed = self.desired.take_changed_warnings()
        if renoticed:
            self._facts.append(NoticesChanged(frozenset(renoticed)))

    @property
    def _unread(self) -> frozenset[str]:
        """The namespaces in which nothing follows from absence."""
        return self.inventory.unread | self.sources.unlisted

    def _serial_checked(self, event: SerialChecked, now: float) -> None:
        view = self.view
        was_reconnected, view.reconnected = view.reconnected, event.reconnected
        view.check_later(now)
        if view.live is None:
            return
        if event.reconnected and not was_reconnected:
            view.check_at = now  # once more, with a larger spot check
        if event.elsewhere or event.serial != view.live.serial:
            view.ask(Need.CHANGES)
        elif event.wrong - self._waiting_names():
            self._facts.append(DriftFound(len(event.wrong), spots=True))
            view.ask(Need.ZONE)
        elif self.unconfirmed.overdue(now, signed=view.signed):
            view.ask(Need.CHANGES)
        elif self.unconfirmed:
            self._poll(now)

    def _recovered(self, now: float) -> None:
        """Note that the primary can be read; if it could not, what it refused before is tried again soon."""
        if self.pauses.answered():
            self.refusals.hurry(Cause, now)

    def _waiting_names(self) -> set[bytes]:
        return {*self.unconfirmed.names(), *self.updates.uncertain}

    def _zone_read(self, event: ZoneRead, now: float) -> None:
        self._recovered(now)
        view, transfer = self.view, event.transfer
        whole = transfer.nodes is not None
        asked_changes, self._learned.asked_changes = self._learned.asked_changes, False
        if asked_changes and not event.elsewhere:
            view.only_whole = whole  # then it is read less often
        if view.live is None:
            view.live = Live.of(self.zone, transfer)
            self._was_read(event, now)
            for kept in self.sources.kept():
                self._vmis_changed(kept, now)
            return
        if event.elsewhere:
            self._moved_elsewhere()
        elif not whole and not transfer.deltas and self._hides_changes(transfer.serial, now):
            view.ask(Need.ZONE)
            return
        try:
            changed = view.live.follow(transfer)
        except Malformed:
            # Deltas that do not fit what is here; of a whole zone nothing is malformed any more.
            view.ask(Need.ZONE)
            return
        self._was_read(event, now)
        expected = self.unconfirmed.names() | self.updates.uncertain.keys()
        changed -= self._judge(changed, now)
        self._watch_rivals(changed - expected, now)
        drift = sum(1 for name in changed - expected if self.desired.get(name) is not None)
        if drift and self.synced:
            self._facts.append(DriftFound(drift))
        uncertain, self.updates.uncertain = self.updates.uncertain, {}
        for name, change in uncertain.items():
            if change is not None and view.live.get(name) == change.new:
                self._note_accepted(change)
        again = changed | uncertain.keys()
        if self.updates.suspects or self.updates.delayed:
            again = {name for name in again if name not in self.updates.suspects and name not in self.updates.delayed}
        self.updates.dirty |= again

    def _watch_rivals(self, changed: Iterable[bytes], now: float) -> None:
        """Look for another controller with our owner ID and other VMIs, which undoes what we do."""
        for name in changed:
            before = self._learned.confirmed.pop(name, None)
            if before is not None and is_undone(before, self.live.get(name), self.scope):
                known = self.rivalry.names(now)
                if self.rivalry.undone(name, now) and not known:
                    self._facts.append(RivalFound(name))

    def _was_read(self, event: ZoneRead, now: float) -> None:
        view = self.view
        whole = event.transfer.nodes is not None
        view.need = Need.NOTHING
        self._learned.stale = False
        self.updates.unread_since = None
        view.check_later(now)
        if whole:
            view.was_read_whole(event.began, now)

    def _hides_changes(self, serial: int, now: float) -> bool:
        """Return whether an IXFR that says "nothing changed" cannot be right.

        The primary is behind us (restored from a backup), or its serial stands still while the zone changes. But a zone
        that is signed inline shows changes late: there a full read is worth its cost only now and then.
        """
        live = self.live
        if serial != live.serial or self._learned.stale:
            return True
        if not live.assumed:
            return False
        return not self.view.signed or now >= self.view.read_whole_at + READ_SIGNED_EVERY

    def _moved_elsewhere(self) -> None:
        """Begin again on another server: what one accepted, or refused, says nothing about the other."""
        self._facts.append(ServerChanged())
        self.unconfirmed.clear()
        self.acceptance.reset()
        self.refusals.forget_all()
        self.updates.suspects.drain()
        self.updates.delayed.clear()
        self.updates.attempts.clear()
        self.updates.whole = True

    def _judge(self, changed: set[bytes], now: float) -> set[bytes]:
        """Compare what was read with what was accepted; return the names that are not to be planned for that reason."""
        live = self.live
        nudged = [name for name in self.unconfirmed.nudged if name not in changed]
        differing = {name: live.get(name) for name in changed if name in self.unconfirmed}
        settled: set[bytes] = set()
        accepted = {name: self.unconfirmed.change(name) for name in differing}
        self._learned.remember(
            self.unconfirmed.change(name) for name in self.unconfirmed.names() if name not in changed
        )
        for name, verdict in self.unconfirmed.confirm(differing, now, signed=self.view.signed).items():
            match verdict:
                case Verdict.LATE:
                    live.assume(accepted[name].new)
                    settled.add(name)
                case Verdict.NOT_SHOWN | Verdict.NO_TXT:
                    cause = Cause.NOT_SHOWN if verdict is Verdict.NOT_SHOWN else Cause.NO_TXT
                    self._refuse(Refusal(accepted[name], cause, now), now)
                    settled.add(name)
                case Verdict.TTL_KEPT:
                    self._learned.split_ttl = True
                case Verdict.OTHER:
                    cap = planning.ttl_cap(accepted[name], live.get(name))
                    if cap is not None and cap != self.scope.ttl_cap:
                        self.scope = msgspec.structs.replace(self.scope, ttl_cap=cap)
                        self._facts.append(TtlLowered(cap))
        for name in nudged:
            del self.unconfirmed.nudged[name]
            self.updates.dirty.add(name)
        if self.unconfirmed:
            self._poll(now)
        else:
            self.pauses.poll.reset()
        return settled

    def _poll(self, now: float) -> None:
        self.view.check_at = min(self.view.check_at, now + self.pauses.poll.next())

    # Answers

    def _answered(self, answer: Answer, now: float) -> None:
        canary = self._sending.canary
        if canary is not None and answer.changes == (canary,):
            self._sending.canary = None
            self._canary_answered(canary, answer, now)
            return
        self._sending.results.add(answer.result)
        halfway = self._sending.halfway
        second = halfway and any(halfway.get(change.name) == change.old for change in answer.changes)
        if second and answer.result is not Result.ACCEPTED:
            # The first of two messages was not accepted, so the second says nothing about the names.
            self.updates.uncertain.update(dict.fromkeys(change.name for change in answer.changes))
            return
        match answer.result:
            case Result.ACCEPTED:
                self._accepted(answer, now)
            case Result.REFUSED:
                self._not_accepted(answer, now)
            case Result.FAILED:
                self._failed(answer, now)
            case Result.STALE:
                self._stale(answer, now)
            case Result.UNKNOWN | Result.UNSENT:
                sent = answer.result is Result.UNKNOWN
                self._sending.lost = answer.error
                for change in answer.changes:
                    self.updates.uncertain[change.name] = change if sent else None

    def _accepted(self, answer: Answer, now: float) -> None:
        live = self.live
        released: set[Cause] = set()
        split = False
        for change in answer.changes:
            name = change.name
            live.assume(change.new)
            if self._sending.retried and (before := self._sending.retried.pop(name, None)) is not None:
                released.add(before.cause)
            if self._sending.halfway and self._sending.halfway.get(name) == change.new:
                split = True
                del self._sending.halfway[name]
                continue
            split = split or name in self._sending.split
            self._note_accepted(change)
        self.unconfirmed.accept(answer.changes, now, split=split)
        recovered = self.acceptance.accepted(now)
        if recovered:
            self._facts.append(ZoneRefuses(refuses=False))
            released |= {Cause.ZONE, Cause.PERMISSION}
            self.refusals.hurry(Cause, now)
        elif Cause.ZONE in self.refusals.causes():
            released.add(Cause.ZONE)
        if Cause.HOST_NAME in self.refusals.causes() and any(map(refused.is_checked, answer.changes)):
            # The server does not refuse all of them: each is tried from now on.
            self._learned.accepts_checked = True
            self.updates.suspects.add(self.refusals.release_untried(Cause.HOST_NAME), size=GROUP)
        for cause in released:
            self._release(cause)

    def _note_accepted(self, change: Change) -> None:
        name = change.name
        self.updates.done(name)
        self.deletions.seen.discard(name)
        self._facts.append(Accepted(change, self.updates.received.pop(name, None)))

    def _release(self, cause: Cause) -> None:
        """Try all names again that were refused for `cause`."""
        names = self.refusals.release(cause)
        if names:
            self._facts.append(Released(len(names)))
            self.updates.suspects.add(sorted(names), size=GROUP)

    def _not_accepted(self, answer: Answer, now: float) -> None:
        changes = answer.changes
        if len(changes) > 1:
            if self.acceptance.refuses:
                self._refuse_untried(changes, Cause.ZONE, answer, now)
            elif self._are_alike(changes, answer):
                # A few of them show what the server does with all names that are no host names. Permissions are given
                # by namespace, so each namespace is in the sample.
                sample = {change.name for change in changes[:: len(changes) // refused.SAMPLE]}
                spaces = {self.inventory.vmi_of(change.name).partition("/")[0]: change.name for change in changes}
                sample.update(spaces.values())
                rest = [change for change in changes if change.name not in sample]
                self._refuse_untried(rest, Cause.HOST_NAME, answer, now)
                self.updates.suspects.add(sorted(sample), size=1, first=True)
            else:
                self._divide(changes)
            return
        change = changes[0]
        self.acceptance.refused(change.name, failing=answer.result is Result.FAILED)
        refusal = Refusal(change, refused.cause_of(answer), now, answer.rcode, answer.error)
        self._refuse(refusal, now)

    def _are_alike(self, changes: Collection[Change], answer: Answer) -> bool:
        """Return whether many names were refused together, none of which a check of host names would accept."""
        return (
            answer.rcode == REFUSED
            and len(changes) > SUSPICIOUS
            and not self._learned.accepts_checked
            and all(map(refused.is_checked, changes))
        )

    def _divide(self, changes: Iterable[Change]) -> None:
        """Let the changes of a refused message be suspects, in groups by whether they hold only host names."""
        checked = [change.name for change in changes if refused.is_checked(change)]
        plain = [change.name for change in changes if not refused.is_checked(change)]
        for names in (checked, plain):
            if names and plain and checked:
                self.updates.suspects.add(names, size=len(names), first=True)
            elif names:
                self.updates.suspects.divide(names)

    def _failed(self, answer: Answer, now: float) -> None:
        """Take SERVFAIL: nothing was applied, but the zone is looked at before anything is sent again."""
        names = [change.name for change in answer.changes]
        if len(names) > 1:
            self.updates.suspects.divide(names)
        elif self.updates.attempts.get(names[0], 0) >= 1:
            self._not_accepted(answer, now)
            return
        else:
            self.updates.attempts[names[0]] = 1
            self.updates.suspects.divide(names)
        for change in answer.changes:
            self.updates.uncertain[change.name] = None

    def _stale(self, answer: Answer, now: float) -> None:
        """Take a failed prerequisite: some name of the message is not as it was. A read, or trying, shows which."""
        updates = self.updates
        names = [change.name for change in answer.changes]
        self._learned.stale = True
        for name in names:
            updates.uncertain[name] = None
        if len(names) > 1:
            # The first time a read may show all there is to know; names are not counted for others in their message.
            if any(name in updates.attempts for name in names):
                updates.suspects.divide(names)
            for name in names:
                updates.attempts.setdefault(name, 1)
            return
        attempts = updates.attempts[names[0]] = updates.attempts.get(names[0], 0) + 1
        retried = self._sending.retried.get(names[0])
        if attempts >= MOST_ATTEMPTS or (retried is not None and retried.cause is Cause.CHANGING):
            self._refuse(Refusal(answer.changes[0], Cause.CHANGING, now, answer.rcode, answer.error), now)
            return
        if attempts > PATIENT_ATTEMPTS:
            updates.delayed[names[0]] = now + min(FIRST_DELAY * 2 ** (attempts - PATIENT_ATTEMPTS), LONGEST_DELAY)

    def _refuse(self, refusal: Refusal, now: float) -> None:
        before = self._sending.retried.pop(refusal.name, None)
        if before is not None:
            refusal = msgspec.structs.replace(refusal, since=before.since)
        news = self.refusals.add(refusal, now)
        if news and (before is None or before.cause is not refusal.cause):
            self._facts.append(Refused(refusal))
        self.updates.received.pop(refusal.name, None)
        self.updates.suspects.forget((refusal.name,))
        self.updates.done(refusal.name)

    def _refuse_untried(self, changes: Iterable[Change], cause: Cause, answer: Answer, now: float) -> None:
        for change in changes:
            self._refuse(Refusal(change, cause, now, answer.rcode, answer.error, tried=False), now)

    def _canary_answered(self, canary: Change, answer: Answer, now: float) -> None:
        match answer.result:
            case Result.ACCEPTED:
                if canary.old != canary.new:
                    self.live.assume(canary.new)
                    self.unconfirmed.accept(answer.changes, now, split=False)
                    self.unconfirmed.nudged[canary.name] = None
                    self.updates.unread_since = self.updates.unread_since or now
                if self.acceptance.accepted(now):
                    self._facts.append(ZoneRefuses(refuses=False))
                    self._release(Cause.ZONE)
                    self._release(Cause.PERMISSION)
                    self.refusals.hurry(Cause, now)
            case Result.REFUSED | Result.FAILED:
                if self.acceptance.canary_refused(canary.name) and self._canary() is not None:
                    self.acceptance.canary_at = now  # it may be another single name that is refused
                else:
                    self._zone_refuses(answer, now)
            case _:
                self.updates.uncertain[canary.name] = None
                self.acceptance.canary_at = None  # the next refusal asks for another

    def _zone_refuses(self, answer: Answer, now: float) -> None:
        if self.acceptance.zone_refuses(now):
            self._facts.append(ZoneRefuses(refuses=True))
        names = list(self.updates.suspects.drain())
        plan = planning.partial(names, self.desired, self.live, self.scope) if names else None
        if plan is not None:
            self._refuse_untried(plan.changes, Cause.ZONE, answer, now)

    def _finished(self, now: float) -> None:
        self._sending.canary = None
        results, self._sending.results = self._sending.results, set()
        lost, self._sending.lost = self._sending.lost, None
        # What was retried and neither accepted nor refused is like any other name now.
        self._sending.retried.clear()
        self._sending.halfway.clear()
        self._sending.split.clear()
        if Result.ACCEPTED in results:
            self.updates.unread_since = self.updates.unread_since or now
            self.pauses.sent()
        elif Result.REFUSED in results or Result.FAILED in results:
            self.acceptance.doubt(now)
            self._sample(now)
        if lost is not None:
            self._facts.append(Unanswered(lost))
            self.pauses.unanswered(lost, now)
        elif results:
            self.pauses.sent()
        if self.updates.uncertain:
            self.view.ask(Need.CHANGES)

    def _sample(self, now: float) -> None:
        """Without a canary, let a sample decide about the names that were not tried alone."""
        if self.acceptance.proven or self.unconfirmed or self._canary() is not None:
            return  # the zone accepted something, or a canary will tell
        acceptance, suspects = self.acceptance, self.updates.suspects
        if suspects and acceptance.streak >= SUSPICIOUS and not acceptance.sampled:
            acceptance.sampled = True
            changes = planning.partial(list(suspects.drain()), self.desired, self.live, self.scope).changes
            checked = [change.name for change in changes if refused.is_checked(change)]
            plain = [change.name for change in changes if not refused.is_checked(change)]
            sample = {*plain[:: len(plain) // SAMPLE + 1], *checked[:: len(checked) // SUSPICIOUS + 1]}
            suspects.add(sample, size=1)
            rest = [change.name for change in changes if change.name not in sample]
            plan = planning.partial(rest, self.desired, self.live, self.scope)
            last = next(iter(self.refusals), None)
            answer = Answer((), Result.REFUSED, last.rcode if last else None, last.error if last else None)
            self._refuse_untried(plan.changes, Cause.ZONE, answer, now)
        elif not suspects and any(one.cause in _ZONE_WIDE for one in self.refusals.firsts()):
            if acceptance.zone_refuses(now):
                self._facts.append(ZoneRefuses(refuses=True))
            acceptance.canary_at = None

    # Actions

    def next(self, now: float, *, busy: bool = False) -> Action:
        """Return what to do now. While the driver is `busy` (more events wait), reading back can wait."""
        if now < self.pauses.until:
            return Wait(self.pauses.until)
        if self.view.live is None:
            return ReadZone()
        read = self._read(now)
        if read is not None:
            return read
        if self.sources.usable:
            send = self._send(now)
            if send is not None:
                return send
        since = self.updates.unread_since
        if since is not None and (not busy or now - since > READ_BACK_WITHIN) and self._may_read(now):
            return self._read_changes()
        if self.sources.usable and self.updates.idle:
            self.synced = True
            self.pauses.sent()  # what was not answered is in the zone, or no longer wanted
            if not self.unconfirmed and since is None:
                self.inventory.settled()
            if self.acceptance.refuses and not self.refusals and self.acceptance.canary_at is None:
                self.acceptance.reset()  # nothing is left that could show that it does
        return Wait(self._wake_at(now))

    def _may_read(self, now: float) -> bool:
        return not self.view.only_whole or now >= self.view.not_before

    def _read(self, now: float) -> Action | None:
        view = self.view
        if view.need is Need.ZONE:
            return ReadZone()
        if view.need is Need.CHANGES:
            return self._read_changes() if self._may_read(now) else None
        if now >= view.full_at:
            return ReadZone()
        if now >= view.check_at:
            return CheckSerial(view.spots(self.desired))
        return None

    def _read_changes(self) -> ReadChanges:
        self._learned.asked_changes = True
        return ReadChanges(self.live.serial)

    def _wake_at(self, now: float) -> float:
        view, updates = self.view, self.updates
        due = [] if view.need is Need.CHANGES else [view.check_at, view.full_at]
        if view.need is Need.CHANGES or updates.unread_since is not None:
            due.append(view.not_before if view.only_whole else now)
        if self.sources.usable:
            if self.inventory.due is not None:
                due.append(self.inventory.due)
            sends = [*updates.delayed.values(), self._nudge_at() if view.signed else inf]
            sends += [at for at in (self.refusals.due, self.acceptance.canary_at) if at is not None]
            if updates.whole or updates.dirty or updates.suspects.ready(excluded=updates.uncertain):
                sends.append(now)
            due.append(max(self.pauses.send_at, min(sends)))
        return max(now, min(due))

    def _send(self, now: float) -> Send | None:
        """Return what is to be sent; None where nothing is."""
        ended = self.inventory.tick(self.live, now)
        if ended:
            self.deletions.seen |= ended
            self.updates.dirty |= ended
            self._note_notices()
        if now < self.pauses.send_at:
            return None
        plan = self._plan(now)
        groups = [group for names in self._groups(now) if (group := self._planned(names))]
        canary = self._canary_due(now)
        if not (plan and plan.changes) and not groups and canary is None:
            groups = self._nudge(now)
            if not groups:
                return None
        plan = plan or Plan(self.zone, self.live.serial, (), ())
        if self._learned.split_ttl:
            plan, groups = in_two_messages(plan, groups, self._sending)
        return Send(plan, tuple(groups), canary)

    def _plan(self, now: float) -> Plan | None:
        """Return the plan for what is dirty; None where nothing is."""
        updates = self.updates
        updates.due(now)
        if not updates.whole and not updates.dirty:
            return None
        dirty = updates.dirty
        if updates.whole:
            self._learned.unread = self._unread
            plan = planning.full(
                self.desired,
                self.live,
                self.scope,
                max_delete_percent=self._options.max_delete_percent,
                seen=self.deletions.seen,
                unread=self._learned.unread,
            )
            self.deletions.plan(plan)
            self._facts.append(Planned(plan))
        else:
            self.deletions.release(dirty, lambda name: self.desired.get(name) is not None)
            blocked = self.deletions.blocked
            plan = planning.partial(dirty - blocked.keys() if blocked else dirty, self.desired, self.live, self.scope)
            self._facts.append(Planned(plan, frozenset(dirty)))
        changing = {change.name for change in plan.changes}
        self._settle(dirty - changing)
        if updates.attempts:
            # What was stale alone is sent alone until it gets through, or others would wait for it.
            alone = [name for name in changing if updates.attempts.get(name, 0) > 1 and name not in updates.suspects]
            updates.suspects.add(sorted(name for name in alone if name not in updates.delayed), size=1)
        updates.whole = False
        updates.dirty = set()
        waits = self._waiting(changing)
        if waits:
            changes = tuple(change for change in plan.changes if change.name not in waits)
            plan = msgspec.structs.replace(plan, changes=changes)
        return plan

    def _settle(self, names: Iterable[bytes]) -> None:
        """Note that nothing is to be changed at `names`."""
        updates, seen = self.updates, self.deletions.seen
        for name in names:
            updates.received.pop(name, None)
            updates.done(name)
            seen.discard(name)
            if self.refusals and self.refusals.forget(name):
                self._facts.append(Released(1))

    def _waiting(self, names: set[bytes]) -> set[bytes]:
        """Return those of `names` that are not to be sent now: each waits for a reason of its own."""
        updates = self.updates
        waits: set[bytes] = set()
        if self.refusals:
            waits |= {name for name in names if name in self.refusals}
        if updates.suspects:
            waits |= {name for name in names if name in updates.suspects}
        if updates.uncertain:
            waits |= names & updates.uncertain.keys()
        if updates.delayed:
            waits |= names & updates.delayed.keys()
        return waits

    def _groups(self, now: float) -> Iterable[list[bytes]]:
        """Return the names that are sent in messages of their own: samples of what is refused, and suspects."""
        if self.updates.suspects:
            yield from self.updates.suspects.take(excluded=self.updates.uncertain)
        due = self.refusals.due
        if due is None or due > now:
            return
        timing = self._options.timing
        longest = timing.longest_pause if self.acceptance.refuses else timing.longest_retry
        for name in self.refusals.sample(now, longest=longest):
            refusal = self.refusals.forget(name)
            if refusal is not None:
                self._sending.retried[name] = refusal
                yield [name]

    def _planned(self, names: list[bytes]) -> tuple[Change, ...]:
        changes = planning.partial(names, self.desired, self.live, self.scope).changes
        # The plan of some names also holds the apex, which has a message of its own.
        wanted = set(names)
        changes = tuple(change for change in changes if change.name in wanted)
        if len(changes) < len(names):
            self._settle(wanted - {change.name for change in changes})
        return changes

    def _canary_due(self, now: float) -> Change | None:
        at = self.acceptance.canary_at
        if at is None or now < at:
            return None
        node = self._canary()
        if node is None:
            self.acceptance.canary_at = None
            return None
        # Where the primary fails, only a real change shows whether it can write; the next one takes it back.
        new = self._with_another_ttl(node) if self.acceptance.failing else node
        self._sending.canary = Change(node, new, Kind.CHANGE, self.scope.types)
        return self._sending.canary

    def _canary(self) -> Node | None:
        """Return a name of ours that the zone holds; None where there is none.

        A name that is refused itself says little about the zone, so it is the last choice. The others come from all
        over the zone: the permission for one namespace may be gone.
        """
        live, tried = self.live, self.acceptance.canaries
        known = list(self.desired.names())
        start = len(known) * len(tried) // CANARIES
        for name in chain(islice(known, start, None), islice(known, start)):
            if name not in self.refusals and live.get(name) == self.desired.get(name) and self._is_canary(name):
                return live.get(name)
        held = (one.name for one in self.refusals.firsts() if one.change.kind is not Kind.ADD)
        others = live.nodes if self.holds_our_names else ()
        return next((live.get(name) for name in chain(held, others) if self._is_canary(name)), None)

    def _is_canary(self, name: bytes) -> bool:
        if name in self.acceptance.canaries or name in self.unconfirmed:
            return False
        node = self.live.get(name)
        published = any(item.type in self.scope.types for item in node.rrsets)
        return published and planning.is_owned(node, self.live, self.scope)

    def _with_another_ttl(self, node: Node) -> Node:
        other = [RRset(item.type, item.ttl + 1, item.rdatas) for item in node.rrsets if item.type in self.scope.types]
        return node.with_rrsets(other, types=[item.type for item in other])

    def _nudge_at(self) -> float:
        oldest = self.unconfirmed.oldest
        return inf if oldest is None else max(oldest + NUDGE_AFTER, self._learned.nudged_at + NUDGE_EVERY)

    def _nudge(self, now: float) -> list[tuple[Change, ...]]:
        """Return one harmless change for a signed zone that stopped showing changes: BIND then shows the rest, too."""
        if not self.unconfirmed or not self.view.signed or now < self._nudge_at():
            return []
        self._learned.nudged_at = now
        for name in self.unconfirmed.names():
            node = self.live.get(name)
            new = self._with_another_ttl(node)
            if new != node:
                self.unconfirmed.nudged[name] = None
                return [(Change(node, new, Kind.CHANGE, self.scope.types),)]
        return []


_ZONE_WIDE = frozenset({Cause.PERMISSION, Cause.ZONE, Cause.SERVER})
