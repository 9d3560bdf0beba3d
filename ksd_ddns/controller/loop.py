"""The reconcile loop: one thread that owns all state and reads one queue.

Sources are listened to on threads of their own, which only put into the queue. What they tell makes owner names
"touched"; touched names are planned on the zone as it is known, sent, and read back. An idle controller sends at once;
while it waits for answers, more gathers in the queue. Whole-zone work happens at the start, after a list, and when the
primary cannot say what changed.
"""

import logging
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import TypeAlias

from ksd_ddns.controller.account import Account
from ksd_ddns.controller.known import Known
from ksd_ddns.controller.remarks import Remarks
from ksd_ddns.errors import Denied, PrimaryError, SourceError
from ksd_ddns.primary.session import Session
from ksd_ddns.primary.update import Outcome, Result
from ksd_ddns.reconcile import Keeper
from ksd_ddns.snapshot import Snapshot
from ksd_ddns.zone import names
from ksd_ddns.zone.desired import Desired, Rules
from ksd_ddns.zone.feed import Changed, Failing, Gone, Listed, Said, Told
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.plan import Kind, Plan, Scope
from ksd_ddns.zone.update import Limits

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds between attempts at a primary that does not do what it is asked."""

FIRST_RETRY, LONGEST_RETRY = 5.0, 600.0
"""Seconds until a refused name is tried again; no longer than LONGEST_PAUSE while nothing at all is taken."""

STRIKES = 3
"""Attempts in a row after which a zone that keeps changing, or a server that fails, is worth a complaint."""

READ_BACK_WITHIN = 1.0
"""Seconds that what was acknowledged may stay unproven while changes come thick."""

AT_ONCE = 10_000
"""What is taken out of the queue between two plans, at most."""

PUBLISH_EVERY = 0.1
"""Seconds between two snapshots while there is more to do."""

TRANSFER_SHARE = 20
"""Where only whole zones are to be had, one of them is read in this many times its duration, at most."""

_log = logging.getLogger(__name__)


def _unsaid(remark: Said) -> None:
    """Tell nobody."""


def _unannounced(zone: bytes) -> None:
    """Tell nobody."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is kept, and how. Durations are in seconds.

    `zone` may be unknown (None) until the primary is asked which one holds `base`; `rules` and `scope` are made when it
    is known, and may raise SettingsError. `remark` is told what the owners of VMIs should know, again and again;
    `announce` is told the zone each time that it was read with another serial. `may_send` is called right before each
    UPDATE message: where it returns false, nothing is sent. None of them may wait.
    """

    zone: bytes | None
    base: bytes
    rules: Callable[[bytes], Rules]
    scope: Callable[[Rules], Scope]
    limits: Limits
    max_withdraw_percent: int = 30
    hold_down: float = 300.0
    drift_interval: float = 30.0
    remark: Callable[[Said], None] = _unsaid
    announce: Callable[[bytes], None] = _unannounced
    may_send: Callable[[], bool] = _always


@dataclass(frozen=True, slots=True)
class _Notified:
    zone: bytes


_Heard: TypeAlias = Listed | Changed | Gone

_UNSURE = frozenset({Result.STALE, Result.UNKNOWN, Result.UNSENT})
"""What only another look at the zone clears up."""


class Controller:
    """Keeps one zone as the VMIs are that it is told of; `scopes` are the parts in which they are listed."""

    def __init__(self, session: Session, scopes: Collection[str], options: Options) -> None:
        self._session = session
        self._options = options
        self._queue: SimpleQueue[Told | _Notified | None] = SimpleQueue()
        self._stop = Event()
        self._early = _Early()
        self._loop: _Loop | None = None
        self._unlisted = set(scopes)
        self._failing: set[str] = set()
        self._paused_until = 0.0
        self._pause = 0.0
        self._published = 0.0
        self._announced: int | None = None
        self._account = Account()

    @property
    def snapshot(self) -> Snapshot:
        """What is known now; safe to read from any thread."""
        return self._account.snapshot

    def owned(self) -> Owned | None:
        """Return what is ours in the zone, None before it has been read; safe to call from any thread."""
        loop = self._loop
        return None if loop is None else loop.keeper.owned()

    def tell(self, told: Told) -> None:
        """Take what a source says; safe to call from any thread."""
        self._queue.put(told)

    def notified(self, zone: bytes) -> None:
        """Take note that `zone` may have changed; safe to call from any thread."""
        self._queue.put(_Notified(zone))

    def stop(self) -> None:
        """End `run` as soon as what is in flight is done; safe to call from a signal handler."""
        self._stop.set()
        self._queue.put(None)

    def give_up(self, reason: str) -> None:
        """Say that this zone cannot be kept, for `reason`, once `run` has ended."""
        self._account.primary(reason)
        self._publish()

    def run(self) -> None:
        """Keep the zone until `stop`. Raises SettingsError where the zone and the settings do not fit."""
        while not self._stop.is_set():
            self._take()
            now = time.monotonic()
            if not self._stop.is_set() and now >= self._paused_until:
                self._attempt(now)
            # Under load a snapshot now and then will do: the last one comes when the queue is empty.
            if self._queue.empty() or now >= self._published + PUBLISH_EVERY:
                self._publish()
        self._session.close()

    @property
    def _zone(self) -> str:
        """The zone, or as long as it is not known, the base."""
        return names.to_text(self._loop.zone if self._loop else self._options.zone or self._options.base)

    def _attempt(self, now: float) -> None:
        """Do what there is to do; where the primary fails, wait before the next attempt."""
        try:
            self._step(now)
        except PrimaryError as e:
            _log.warning("the primary of %s is tried again: %s", self._zone, e)
            self._account.primary(str(e))
            if self._loop is not None:
                self._loop.in_doubt()
            self._back_off()
        except SourceError as e:
            _log.warning("the owner ID is asked for again: %s", e)
            self._account.source("owner", str(e))
            self._back_off()

    def _step(self, now: float) -> None:
        if self._loop is None:
            self._loop = self._begin()
            self._account.source("owner", "")
        in_order = self._loop.work(now, listed=not self._unlisted, idle=self._queue.empty())
        self._account.primary(self._loop.complaint)
        if in_order:
            self._pause = 0.0
        else:
            self._back_off()

    def _begin(self) -> "_Loop":
        """Find the zone, read it, and take what the sources have said until now."""
        options = self._options
        zone = options.zone or self._session.enclosing_zone(options.base)
        rules = options.rules(zone)
        scope = options.scope(rules)
        desired = Desired(rules)
        keeper = Keeper(self._session, desired, scope, zone=zone, limits=options.limits)
        known = Known(desired, rules, scope, hold_down=options.hold_down)
        loop = _Loop(self._session, keeper, known, self._account, options)
        loop.ending = lambda: self._stop.is_set() or not options.may_send()
        loop.read(time.monotonic())
        loop.blind(blind=bool(self._failing))
        for told in self._early.heard():
            loop.hear(told)
        return loop

    def _back_off(self) -> None:
        """Wait before the next attempt; the first time only as long as it takes to say so."""
        self._paused_until = time.monotonic() + self._pause * random.uniform(0.5, 1.0)  # noqa: S311 spreads, hides nothing
        self._pause = min(2 * self._pause or FIRST_PAUSE, LONGEST_PAUSE)

    def _wait(self) -> float:
        """Return how many seconds there is nothing to do, unless something is heard."""
        now = time.monotonic()
        if now < self._paused_until:
            return self._paused_until - now
        return 0.0 if self._loop is None else self._loop.wait(now, listed=not self._unlisted)

    def _take(self) -> None:
        """Take what is in the queue, after waiting for the first of it as long as there is nothing to do."""
        seconds = self._wait()
        try:
            self._take_one(self._queue.get(timeout=seconds) if seconds > 0 else self._queue.get_nowait())
            for _ in range(AT_ONCE):
                self._take_one(self._queue.get_nowait())
        except Empty:
            return

    def _take_one(self, told: Told | _Notified | None) -> None:
        if told is None:
            return
        if isinstance(told, _Notified):
            if self._loop is not None and self._loop.zone == told.zone:
                self._loop.look_now()
        elif isinstance(told, Failing):
            self._account.source(told.scope, told.reason)
            (self._failing.add if told.reason else self._failing.discard)(told.scope)
            if self._loop is not None:
                self._loop.blind(blind=bool(self._failing))
        else:
            if isinstance(told, Listed):
                self._unlisted.discard(told.scope)
            if self._loop is None:
                self._early.keep(told)  # what is to be held can only be told when the zone has been read
            else:
                self._loop.hear(told)

    def _publish(self) -> None:
        self._published = time.monotonic()
        loop = self._loop
        if loop is not None and loop.keeper.live.serial != self._announced:
            self._announced = loop.keeper.live.serial
            self._options.announce(loop.zone)
        self._account.publish(
            server=str(self._session.server),
            zone=self._zone,
            serial=loop.keeper.live.serial if loop else 0,
            counts=loop.counts(time.monotonic()) if loop else {},
            refused=loop.keeper.refused.values() if loop else (),
        )


class _Early:
    """What is heard before the zone has been read: of each VMI what still counts, however long that takes."""

    def __init__(self) -> None:
        self._lists: dict[str, Listed] = {}
        self._news: dict[str, list[Changed | Gone]] = {}

    def keep(self, told: _Heard) -> None:
        """Take what a source says."""
        if isinstance(told, Listed):
            self._lists[told.scope] = told
            prefix = f"{told.scope}/" if told.scope else ""
            self._news = {key: news for key, news in self._news.items() if not key.startswith(prefix)}
        elif isinstance(told, Gone):
            self._news[told.key] = [told]
        else:
            # Who comes after a VMI that went inherits nothing of it: that it went must not be forgotten.
            before = [item for item in self._news.get(told.vmi.key, ()) if isinstance(item, Gone)]
            self._news[told.vmi.key] = [*before, told]

    def heard(self) -> list[_Heard]:
        """Return what is to be heard."""
        return [*self._lists.values(), *(item for news in self._news.values() for item in news)]


class _Loop:
    """What is known once the zone has been read: which names are touched, unproven, in doubt, refused, kept back."""

    def __init__(self, session: Session, keeper: Keeper, known: Known, account: Account, options: Options) -> None:
        self._session = session
        self.keeper = keeper
        self._known = known
        self._account = account
        self._options = options
        self.ending: Callable[[], bool] = lambda: False
        self._remarks = Remarks(known, options.remark)
        self._touched: set[bytes] = set()
        self._doubted: set[bytes] = set()
        self._seen: set[bytes] = set()
        self._kept_back: set[bytes] = set()
        self._retries: dict[bytes, tuple[float, float]] = {}
        self._heard: dict[bytes, float] = {}
        self._whole = True
        self._complete = True
        self._unproven_since: float | None = None
        self._look_at = 0.0
        self._distrusted = False
        self._strikes = 0
        self._lost = ""
        self._stuck = False
        self._blocked = ""
        self._accepted = False
        self._only_whole = False
        self._not_before = 0.0

    @property
    def zone(self) -> bytes:
        """The zone that is kept."""
        return self.keeper.zone

    def counts(self, now: float) -> dict[str, int]:
        """Return the counts of a snapshot."""
        return {
            "vmis": len(self._known),
            "names": self._known.names,
            "held": self._known.held(now),
            "pending": len(self._touched) + len(self._doubted),
        }

    @property
    def complaint(self) -> str:
        """What is wrong with the primary, although it answers: nothing gets through; empty where it does."""
        return self._lost or (self._blocked if self.keeper.refused else "")

    def look_now(self) -> None:
        """Ask for the zone's serial at the next occasion."""
        self._look_at = 0.0

    def blind(self, *, blind: bool) -> None:
        """Note that a source cannot be read, or that all can."""
        self._known.blind(time.monotonic(), blind=blind)

    def in_doubt(self) -> None:
        """Note that the primary failed: it is asked how the zone is before anything is planned."""
        self._distrusted = True

    def wait(self, now: float, *, listed: bool) -> float:
        """Return how many seconds there is nothing to do."""
        if self._distrusted or (listed and (self._touched or self._whole)):
            return 0.0
        due = [self._look_at]
        if self._unproven_since is not None or self._doubted:
            due.append(self._not_before if self._only_whole else now)
        if listed:
            due += [at for at, _ in self._retries.values()]
            due += [] if self._known.due is None else [self._known.due]
        return max(0.0, min(due) - now)

    def hear(self, told: _Heard) -> None:
        """Take what a source says."""
        now = time.monotonic()
        live = self.keeper.live
        self._account.heard(type(told).__name__.lower())
        if isinstance(told, Listed):
            touched = self._known.listed(told, live, now)
            self._whole = True
        else:
            touched = self._known.gone(told) if isinstance(told, Gone) else self._known.changed(told, live, now)
            self._seen |= touched
            for name in touched:
                self._heard.setdefault(name, told.at)
            self._whole = self._whole or (self._known.complete and not self._complete)
        self.keeper.retry(touched)
        self._touched |= touched
        self._remarks.heard(told)

    def read(self, now: float) -> None:
        """Read the whole zone."""
        self.keeper.read()
        self._account.transferred("axfr")
        self._plan_look(now)

    def work(self, now: float, *, listed: bool, idle: bool) -> bool:
        """Do what there is to do: look, plan, send, read back; return whether all went as it should.

        Nothing is planned before the sources have been `listed`. Where the queue is not `idle`, reading back can wait.
        """
        if now >= self._look_at or self._distrusted:
            self._look(now)
        elif self._doubted:
            self._read_back()
        if not listed:
            return True
        ended = self._known.tick(self.keeper.live, now)
        self._seen |= ended
        self._touched |= ended
        in_order = True
        if self._touched or self._whole or self._retries:
            in_order = self._send(self._plan(now), now)
        if self._unproven_since is not None and (idle or now - self._unproven_since > READ_BACK_WITHIN):
            self._read_back()
        if not self._touched and not self._doubted:
            self._account.in_step()
            if self._unproven_since is None:
                self._known.settled()
        return in_order

    def _plan(self, now: float) -> Plan:
        retried = self._retried(now)
        touched = self._touched | retried
        whole = self._whole
        if whole:
            self._complete = self._known.complete
            plan = self.keeper.full(
                max_withdraw_percent=self._options.max_withdraw_percent, seen=self._seen, complete=self._complete
            )
            self._kept_back = {change.name for change in plan.kept_back}
            self._account.kept_back(len(self._kept_back), plan.owned)
        else:
            released = {name for name in self._kept_back & touched if name in self._seen or self._known.wants(name)}
            if released:
                self._kept_back -= released
                self._account.kept_back(len(self._kept_back), self._known.names)
            plan = self.keeper.partial(touched - self._kept_back - self._doubted)
        self._whole = False
        self._touched = set()
        changing = {change.name for change in plan.changes}
        self._seen -= (self._seen & touched) - changing - self._doubted
        for name in retried - changing:
            del self._retries[name]
        for name in (self._heard.keys() & touched) - changing:
            del self._heard[name]
        self._account.planned(plan, touched, whole=whole)
        self._remarks.conflicts(plan.conflicts)
        return plan

    def _retried(self, now: float) -> set[bytes]:
        """Return the refused names whose time has come; refused again, they wait twice as long."""
        due = {name for name, (at, _) in self._retries.items() if at <= now}
        self.keeper.retry(due)
        return due

    def _send(self, plan: Plan, now: float) -> bool:
        try:
            outcomes = self.keeper.send(
                plan.changes, halve=self._strikes > 0, settled=self._settled, ending=self.ending
            )
        except PrimaryError:
            # Where nothing at all is taken, no name is to blame.
            doubted = {change.name for change in plan.changes}
            self.keeper.retry(doubted)
            self._doubted |= doubted
            raise
        if not outcomes:
            return True
        self._unproven_since = self._unproven_since or now
        self._judge(outcomes)
        for outcome in outcomes:
            if outcome.result is Result.REFUSED:
                self._refused(outcome)
        unsure = [outcome for outcome in outcomes if outcome.result in _UNSURE]
        self._strikes = self._strikes + 1 if unsure else 0
        lost = next((outcome.reason for outcome in unsure if outcome.result is not Result.STALE), "")
        if lost:
            _log.warning("the zone is read again, since an answer is missing: %s", lost)
        self._lost = lost or (unsure[0].reason if self._strikes >= STRIKES else "")
        return not unsure

    def _judge(self, outcomes: Collection[Outcome]) -> None:
        """See whether the primary refuses some names, or everything: a zone that is frozen, a right that is gone.

        A new name may be refused for itself; one that was taken before is not.
        """
        if any(outcome.result is Result.ACKNOWLEDGED for outcome in outcomes):
            self._accepted = True
            if self._stuck:
                self._retry_all()
            self._stuck, self._blocked = False, ""
        elif all(outcome.result is Result.REFUSED for outcome in outcomes):
            plain = [outcome for outcome in outcomes if names.is_host_name(outcome.change.name)]
            self._stuck = self._stuck or bool(plain)
            telling = [
                one
                for one in plain
                if not (isinstance(one.error, Denied) and one.change.kind is Kind.ADD and self._accepted)
            ]
            self._blocked = telling[0].reason if telling else self._blocked

    def _retry_all(self) -> None:
        """Let every refused name be tried again at once: what was in the way is gone."""
        self._retries = {name: (0.0, pause) for name, (_, pause) in self._retries.items()}

    def _settled(self, outcome: Outcome) -> None:
        """Take what became of a change as soon as it is known: the primary works at the next one meanwhile."""
        name = outcome.change.name
        self._remarks.outcome(outcome)
        self._account.outcome(outcome)
        if outcome.result is Result.ACKNOWLEDGED:
            self._retries.pop(name, None)
            self._seen.discard(name)
            if (heard := self._heard.pop(name, None)) is not None:
                self._account.latency(time.monotonic() - heard)
        elif outcome.result is Result.REFUSED:
            self._heard.pop(name, None)
        else:
            self._doubted.add(name)

    def _refused(self, outcome: Outcome) -> None:
        name = outcome.change.name
        longest = LONGEST_PAUSE if self._stuck else LONGEST_RETRY
        pause = min(2 * self._retries[name][1] if name in self._retries else FIRST_RETRY, longest)
        self._retries[name] = (time.monotonic() + pause * random.uniform(0.8, 1.0), pause)  # noqa: S311 spreads only
        _log.warning("%s is refused, and tried again in %.0f s: %s", names.to_text(name), pause, outcome.reason)

    def _plan_look(self, now: float) -> None:
        self._look_at = now + self._options.drift_interval * random.uniform(0.9, 1.1)  # noqa: S311 spreads only

    def _look(self, now: float) -> None:
        """Ask for the serial; where it is another one, read what changed."""
        moved = self._session.moved(self.keeper.live)
        self._plan_look(now)
        if self._distrusted or self._doubted or self._unproven_since is not None or moved:
            self._read_back()
        if self._distrusted:
            self._distrusted = False
            self._retry_all()

    def _read_back(self) -> None:
        """Bring the live zone up to date, and touch the names that are other than they were believed to be."""
        began = time.monotonic()
        if self._only_whole and began < self._not_before:
            self._look_at = min(self._look_at, self._not_before)
            return
        self._lost = ""
        refused = set(self.keeper.refused)
        changed, whole, elsewhere = self.keeper.read_back()
        self._account.transferred("axfr" if whole else "ixfr")
        # From another server than before it was we who asked for the whole zone.
        self._only_whole = whole and not elsewhere
        done = time.monotonic()
        self._not_before = done + TRANSFER_SHARE * (done - began)
        self._unproven_since = None
        if elsewhere:
            # It may hold names of ours that nobody spoke of today: the cap on withdrawals is for the whole plan alone.
            _log.warning("%s answers now: the zone was read whole", self._session.server)
            self._whole = True
            self._retries.clear()
        dropped = set(self.keeper.refused) - refused
        for name in dropped:
            self._refused(self.keeper.refused[name])
        self._touched |= (changed - dropped) | self._doubted
        self._doubted = set()
