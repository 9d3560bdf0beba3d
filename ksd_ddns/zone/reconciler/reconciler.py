# SPDX-License-Identifier: Apache-2.0
"""The reconciler of one zone: all decisions about what to read, plan, send, retry, delay and block. No I/O.

    handle(event, now)   an event: VMIs changed, the zone was read, a message was answered, the primary failed
    next(now) -> action  what to do next: ReadZone, ReadChanges, ReadNames, CheckSerial, Send or Wait
    take_facts()         facts for logs, metrics and Events

Theory of operation:

- A name is *dirty* when its wanted records, or its records in the zone, may have changed. All dirty names are planned
  and sent next, together. The cost of an event depends on the names that it changes, not on the size of the zone.
- An accepted change is *unconfirmed*. The live zone includes it, so that the next plan builds on it, until a read of
  the zone confirms or disproves it (see `unconfirmed`).
- A name is *uncertain* when its update was not answered, or when a prerequisite failed. The zone is read before the
  name is planned again.
- A deletion whose addresses *move* to other names of the VMI waits until these are confirmed (see `moves`).
- The names of a refused message are *suspects*. They are sent again in smaller messages, next to the dirty names, until
  the message holds one name only. If the primary refuses that, too, the name is *refused*: it is retried later and
  delays no other name (see `refusals`). If the primary accepts nothing, a canary shows whether it refuses the names or
  the full zone (see `acceptance`).

All modules share one `State`. One module per kind of event changes it: `vmis`, `reading` (reads and serial checks) and
`answers` (with `canaries`). `composing` makes the next Send. `outcomes` records what became of a change.
"""

from collections.abc import Iterable
from math import inf
from typing import Final

from ksd_ddns.errors import PrimaryError
from ksd_ddns.kubevirt.events import SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.index import Index
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Scope
from ksd_ddns.zone.reconciler import answers, composing, questions, reading, vmis
from ksd_ddns.zone.reconciler.backoff import Jitter
from ksd_ddns.zone.reconciler.events import (
    Action,
    CheckSerial,
    Event,
    Fact,
    NotifyReceived,
    PrimaryFailed,
    ReadChanges,
    ReadNames,
    ReadZone,
    SerialChecked,
    UpdateAnswered,
    UpdateFinished,
    Wait,
    ZoneRead,
)
from ksd_ddns.zone.reconciler.reads import Need
from ksd_ddns.zone.reconciler.state import Options, State

READ_BACK_WITHIN = 1.0
"""Seconds after which accepted changes are read back even while more events wait."""


class Reconciler:
    """The state machine of one zone. No method blocks; `now` is by the monotonic clock, in seconds.

    The public attributes are parts of its state, for others to read.
    """

    def __init__(
        self, zone: bytes, *, rules: Rules, scope: Scope, namespaces: Iterable[str], options: Options, jitter: Jitter
    ) -> None:
        state = State(zone, rules=rules, scope=scope, namespaces=namespaces, options=options, jitter=jitter)
        self._state: Final = state
        self.zone: Final = zone
        self.rules: Final = rules
        self.desired: Final = state.desired
        self.inventory: Final = state.inventory
        self.sources: Final = state.sources
        self.reads: Final = state.reads
        self.schedule: Final = state.schedule
        self.updates: Final = state.updates
        self.unconfirmed: Final = state.unconfirmed
        self.refusals: Final = state.refusals
        self.acceptance: Final = state.acceptance
        self.deletions: Final = state.deletions
        self.moves: Final = state.moves
        self.rivalry: Final = state.rivalry
        self.pauses: Final = state.pauses

    @property
    def index(self) -> Index | None:
        """The index of our names in the zone; None if the zone is read by transfer."""
        return self._state.rotation.index if self._state.rotation else None

    @property
    def scope(self) -> Scope:
        """What belongs to us in the zone, with the TTL limit of the server once it is known."""
        return self._state.scope

    @property
    def synced(self) -> bool:
        """Whether the zone was in sync at least once."""
        return self._state.synced

    @property
    def live(self) -> Live:
        """The zone as last read, with the accepted changes; empty before the first read."""
        return self._state.live

    @property
    def last_full_read(self) -> float | None:
        """When the last full read of the zone ended; None before the first."""
        return self._state.schedule.last_full if self.reads.live is not None else None

    @property
    def problem(self) -> PrimaryError | None:
        """Why the primary cannot be read or did not answer updates; None if it is fine."""
        return self.pauses.problem

    @property
    def holds_our_names(self) -> bool:
        """Whether the zone is known to hold names of ours."""
        return self._state.holds_our_names

    @property
    def settled(self) -> bool:
        """Whether the zone is in sync, apart from refused names and deletions that are blocked or wait for them."""
        unfinished = self.unconfirmed or self.moves.recheck or self.updates.not_read_back_since is not None
        return self.updates.idle and not unfinished

    def take_facts(self) -> list[Fact]:
        """Return the facts since the last call."""
        found, self._state.facts = self._state.facts, []
        return found

    def handle(self, event: Event, now: float) -> None:
        """Handle one event."""
        match event:
            case UpdateAnswered():
                answers.handle(self._state, event.answer, now)
            case VmiChanged() | VmiDeleted() | VmisListed():
                vmis.handle(self._state, event, now)
            case UpdateFinished():
                answers.finish(self._state, now)
            case ZoneRead():
                reading.handle_zone(self._state, event, now)
            case SerialChecked():
                reading.handle_serial(self._state, event, now)
            case NotifyReceived():
                self._state.schedule.check_by(now)
            case SourceFailed():
                self.sources.note_failed(event)
                if event.reason:
                    self.inventory.begin_outage(event.namespace)
                else:
                    self.inventory.end_outage(event.namespace, now)
            case PrimaryFailed():
                self.pauses.note_read_failed(event.error, now)
                self.reads.require(Need.CHANGES)

    def next(self, now: float, *, busy: bool = False) -> Action:
        """Return what to do now. While the driver is `busy` (more events wait), reading back can wait."""
        if now < self.pauses.until:
            return Wait(self.pauses.until)
        if self.reads.live is None:
            return self._read_zone()
        read = self._read(now)
        if read is not None:
            return read
        if self.sources.usable:
            composing.tick(self._state, now)
            update = questions.unread(self._state) or composing.send(self._state, now)
            if update is not None:
                return update
        since = self.updates.not_read_back_since
        if since is not None and (not busy or now - since > READ_BACK_WITHIN) and self._state.schedule.may_read(now):
            return self._read_changes()
        if self.sources.usable and self.updates.idle:
            self._note_idle()
        return Wait(self._wake_at(now))

    def _note_idle(self) -> None:
        self._state.synced = True
        self.pauses.note_updates_answered()  # unanswered updates are in the zone, or no longer wanted
        if not self.unconfirmed and self.updates.not_read_back_since is None:
            self.inventory.note_in_sync()
        if self.acceptance.refuses and not self.refusals and self.acceptance.canaries.due_at is None:
            self.acceptance.reset()  # nothing is left to show whether it still refuses

    def _read(self, now: float) -> Action | None:
        reads, schedule = self.reads, self._state.schedule
        if reads.need is Need.ZONE:
            return self._read_zone()
        if reads.need is Need.CHANGES:
            return self._read_changes() if self._state.schedule.may_read(now) else None
        if now >= schedule.full_at:
            return self._read_zone()
        if now >= schedule.check_at:
            return self._check(now)
        return None

    def _read_zone(self) -> ReadZone | ReadNames:
        return ReadZone() if self._state.rotation is None else questions.everything(self._state)

    def _check(self, now: float) -> CheckSerial | ReadNames:
        if self._state.rotation is None:
            return CheckSerial(self.reads.spots(self.desired))
        # Changes that the zone does not show yet are asked again and again, so ask for nothing else.
        return questions.some(self._state) if self.unconfirmed else questions.turn(self._state, now)

    def _read_changes(self) -> ReadChanges | ReadNames:
        if self._state.rotation is not None:
            return questions.some(self._state)
        self._state.learned.reading_changes = True
        return ReadChanges(self.live.serial)

    def _wake_at(self, now: float) -> float:
        reads, schedule, updates = self.reads, self._state.schedule, self.updates
        due = [] if reads.need is Need.CHANGES else [schedule.check_at, schedule.full_at]
        if reads.need is Need.CHANGES or updates.not_read_back_since is not None:
            due.append(schedule.not_before if schedule.full_only else now)
        if self.sources.usable:
            if self.inventory.due is not None:
                due.append(self.inventory.due)
            sends = [*updates.delayed.values(), composing.nudge_at(self._state) if reads.signed else inf]
            sends += [at for at in (self.refusals.due, self.acceptance.canaries.due_at) if at is not None]
            planned = updates.replan_all or updates.dirty or self.moves.recheck
            if planned or updates.suspects.ready(excluded=updates.uncertain):
                sends.append(now)
            due.append(max(self.pauses.send_at, min(sends)))
        return max(now, min(due))
