# SPDX-License-Identifier: Apache-2.0
"""The controller of one zone: one thread that owns the reconciler, reads one queue and carries out actions.

Sources and the NOTIFY listener run on their own threads, and only put events into the queue. An idle controller sends
at once; while it waits for responses, more events gather.
"""

import contextlib
import logging
import random
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any, TypeAlias

from ksd_ddns.errors import PrimaryError, SourceError
from ksd_ddns.heartbeat import Heartbeat
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.primary.session import Session
from ksd_ddns.sync import reasons
from ksd_ddns.sync.explain import Look, Question, ZoneT
from ksd_ddns.sync.facts import FactLog
from ksd_ddns.sync.notifications import Notifier
from ksd_ddns.sync.snapshot import Snapshot
from ksd_ddns.sync.status import Status
from ksd_ddns.sync.vm_index import VmIndex, ZoneTimes
from ksd_ddns.sync.zone_sync import ZoneSync
from ksd_ddns.sync.zone_vms import ZoneVms
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.notification import Notification
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.plan import Scope
from ksd_ddns.zone.reconciler import Options as ReconcilerOptions
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.backoff import Backoff
from ksd_ddns.zone.reconciler.events import (
    Accepted,
    DriftFound,
    NotifyReceived,
    Planned,
    Refused,
    Wait,
    WarningsChanged,
)
from ksd_ddns.zone.update import Limits

AT_ONCE = 10_000
"""Maximum number of events taken from the queue between two actions."""

PUBLISH_EVERY = 0.1
"""Seconds between two snapshots while busy."""

PAUSE = 0.001
"""Seconds between two parts of many rows for the status page: the other threads need their turn."""

BEAT_EVERY = 5.0
"""Seconds between two heartbeats while idle."""

_NOTIFY = NotifyReceived()
_Queued: TypeAlias = SourceEvent | NotifyReceived | Question[Any] | None
_KINDS: dict[type[SourceEvent], str] = {VmisListed: "listed", VmiChanged: "changed", VmiDeleted: "deleted"}

_log = logging.getLogger(__name__)


def _ignore(_: object) -> None:
    """Drop the notification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which zone to keep in sync, and how. Durations are in seconds.

    If `zone` is None, the controller asks the primary which zone contains `base`. It calls `rules` and `scope` once it
    has found the zone; both may raise SettingsError. `notify` receives notifications for VMI owners, `announce` the
    zone whenever its serial has changed; neither may block. `may_send` is called right before each update. The VMs are
    published to `vms`, as those of the zone `number`.
    """

    zone: bytes | None
    base: bytes
    rules: Callable[[bytes], Rules]
    scope: Callable[[Rules], Scope]
    limits: Limits
    reconciler: ReconcilerOptions = field(default_factory=ReconcilerOptions)
    notify: Callable[[Notification], None] = _ignore
    announce: Callable[[bytes], None] = _ignore
    may_send: Callable[[], bool] = lambda: True
    vms: VmIndex = field(default_factory=VmIndex)
    number: int = 0


class Controller:
    """Keeps one zone in sync with the VMIs of `namespaces`, one per source ("": all namespaces)."""

    def __init__(self, session: Session, namespaces: Collection[str], options: Options) -> None:
        self._session = session
        self._scopes = tuple(namespaces)
        self._options = options
        self._queue: SimpleQueue[_Queued] = SimpleQueue()
        self._stop = Event()
        self._early: list[SourceEvent] = []
        self._sync: ZoneSync | None = None
        self._notifier: Notifier | None = None
        self._vms: ZoneVms | None = None
        self._facts = FactLog(session)
        self._status = Status()
        self._paused_until = 0.0
        # The first retry is immediate.
        self._retried = False
        self._backoff = Backoff(0.25, 30.0, jitter=random.random, spread=0.5)
        self._published = 0.0
        self._announced: int | None = None
        self.heartbeat = Heartbeat(f"zone {names.to_text(options.zone or options.base)}")
        self._publish(force=True)  # counters exist from the start

    @property
    def base(self) -> bytes:
        """The name under which the zone's records are published."""
        return self._options.base

    @property
    def number(self) -> int:
        """The place of the zone among all zones."""
        return self._options.number

    @property
    def snapshot(self) -> Snapshot:
        """The current state; thread-safe."""
        return self._status.snapshot

    def owned(self) -> Owned | None:
        """Return what we own in the zone, None before it has been read; thread-safe."""
        sync = self._sync
        if sync is None or sync.reconciler.reads.live is None:
            return None
        live = sync.reconciler.reads.live
        return Owned(Live(live.zone, live.serial, live.nodes.copy(), live.cuts.copy()), sync.reconciler.scope)

    def put(self, event: SourceEvent) -> None:
        """Queue an event of a source; thread-safe."""
        self._queue.put(event)

    def ask(self, look: Look[ZoneT]) -> Future[ZoneT]:
        """Queue a question about the state of the zone; return the future of its answer. Thread-safe."""
        question = Question(look)
        self._queue.put(question)
        return question.future

    def receive_notify(self, zone: bytes) -> None:
        """Queue a NOTIFY if it is for our zone; thread-safe."""
        if self._sync is not None and self._sync.reconciler.zone == zone:
            self._queue.put(_NOTIFY)

    def stop(self) -> None:
        """End `run` when the updates in flight are done; safe to call from a signal handler."""
        self._stop.set()
        self._queue.put(None)

    def give_up(self, reason: str) -> None:
        """Report `reason` as a permanent problem, after `run` has failed."""
        self._status.record_stop(reason)
        self._publish(force=True)

    def run(self) -> None:
        """Keep the zone in sync until `stop`. Raises SettingsError if the settings do not fit the zone."""
        rested = False
        with self.heartbeat:
            while not self._stop.is_set():
                now = time.monotonic()
                if self._sync is None and now >= self._paused_until:
                    self._begin(now)
                    now = time.monotonic()
                wait = self._paused_until - now if self._sync is None else self._turn(self._sync)
                more = self._publish(force=self._queue.empty(), idle=rested and wait > 0)
                rested = not self._take(min(wait, PAUSE) if more else wait)
            self._session.close()

    def _begin(self, now: float) -> None:
        """Find the zone and the owner ID; if that fails, back off."""
        options = self._options
        try:
            zone = options.zone or self._session.enclosing_zone(options.base)
            rules = options.rules(zone)
        except PrimaryError as e:
            _log.warning(
                "cannot find the zone, retrying", extra={"fields": {"base": names.to_text(options.base), "error": e}}
            )
            self._status.record_primary(str(e))
            self._back_off(now)
            return
        except SourceError as e:
            _log.warning("cannot read the owner ID, retrying", extra={"fields": {"error": e}})
            self._status.record_source("owner", str(e))
            self._back_off(now)
            return
        self._status.record_primary("")
        self._status.record_source("owner", "")
        reconciler = Reconciler(
            zone,
            rules=rules,
            scope=options.scope(rules),
            namespaces=self._scopes,
            options=options.reconciler,
            jitter=random.random,
        )
        self._notifier = Notifier(reconciler.inventory, options.notify)
        self._vms = ZoneVms(options.vms, options.number, reconciler)
        self._sync = ZoneSync(
            self._session,
            reconciler,
            options.limits,
            step=self._progress,
            may_send=self._may_send,
            observer=self._status,
        )
        for event in self._early:
            self._handle(event, now)
        self._early.clear()

    def _may_send(self) -> bool:
        return not self._stop.is_set() and self._options.may_send()

    def _progress(self, what: str, done: int, total: int | None) -> None:
        """Publish how many records of the first read have arrived."""
        if self._sync is not None and self._sync.reconciler.reads.live is None:
            self._options.vms.put_times(self._options.number, ZoneTimes(records=done))

    def _back_off(self, now: float) -> None:
        self._paused_until = now + (self._backoff.next() if self._retried else 0.0)
        self._retried = True

    def _turn(self, sync: ZoneSync) -> float:
        """Carry out the next action; return the seconds until the next one, if no event comes."""
        reconciler = sync.reconciler
        now = time.monotonic()
        action = reconciler.next(now, busy=not self._queue.empty())
        if isinstance(action, Wait):
            self._use_facts(reconciler)
            return action.until - now
        sync.perform(action)
        self._use_facts(reconciler)
        return 0.0

    def _use_facts(self, reconciler: Reconciler) -> None:
        facts = reconciler.take_facts()
        self._facts.log_state(reconciler)
        if not facts:
            return
        now = time.monotonic()
        assert self._notifier is not None
        assert self._vms is not None
        self._vms.use(facts, now)
        for fact in facts:
            match fact:
                case Accepted():
                    self._status.count_change(fact, now)
                    self._notifier.notify_published(fact.change)
                case Refused():
                    why = reasons.refusal(fact.refusal, reconciler, str(self._session.server))
                    self._notifier.warn_about_refusal(fact.refusal, why)
                case WarningsChanged():
                    self._notifier.warn_about_vmis(fact.vmis)
                case Planned():
                    self._status.record_plan(fact)
                    self._notifier.warn_about_conflicts(fact.plan.conflicts)
                case DriftFound():
                    self._status.count_drift()
                case _:
                    pass
        self._facts.log(facts, reconciler)

    def _take(self, seconds: float) -> bool:
        """Take all queued events; wait at most `seconds` for the first one. Return whether there was one."""
        try:
            self._take_one(self._first(seconds))
        except Empty:
            return False
        with contextlib.suppress(Empty):
            for _ in range(AT_ONCE):
                self._take_one(self._queue.get_nowait())
        return True

    def _first(self, seconds: float) -> _Queued:
        """Return the next event, waiting at most `seconds`. Raises Empty."""
        until = time.monotonic() + seconds
        while True:
            left = min(until - time.monotonic(), BEAT_EVERY)
            self.heartbeat.beat(ahead=max(0.0, left))
            try:
                return self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                if time.monotonic() >= until:
                    raise

    def _take_one(self, event: _Queued) -> None:
        if event is None:
            return
        now = time.monotonic()
        if isinstance(event, Question):
            event.answer(self._sync.reconciler if self._sync else None, str(self._session.server), now)
            return
        if isinstance(event, NotifyReceived):
            if self._sync is not None:
                self._sync.reconciler.handle(event, now)
            return
        if isinstance(event, SourceFailed):
            self._status.record_source(event.namespace, event.reason)
        else:
            self._status.count_event(_KINDS[type(event)])
        if self._sync is None:
            self._early.append(event)
        else:
            self._handle(event, now)

    def _handle(self, event: SourceEvent, now: float) -> None:
        assert self._sync is not None
        assert self._notifier is not None
        self._sync.reconciler.handle(event, now)
        if not isinstance(event, SourceFailed):
            self._notifier.warn_about_event(event)

    def _publish(self, *, force: bool, idle: bool = False) -> bool:
        """Publish what others see of the zone; return whether more remains to be published when idle."""
        now = time.monotonic()
        # Under load, publish rarely: run() forces the last snapshot when the queue is empty.
        if not force and now < self._published + PUBLISH_EVERY:
            return False
        self._published = now
        reconciler = self._sync.reconciler if self._sync else None
        if reconciler is not None and reconciler.reads.live is not None and reconciler.live.serial != self._announced:
            self._announced = reconciler.live.serial
            self._options.announce(reconciler.zone)
        zone = reconciler.zone if reconciler else self._options.zone or self._options.base
        self._status.publish(
            reconciler,
            server=str(self._session.server),
            zone=names.to_text(zone),
            now=now,
            transfers=self._session.transfers,
        )
        # Last: readiness does not wait for it.
        return self._vms is not None and self._vms.publish(now, idle=idle)
