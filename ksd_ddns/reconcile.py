"""Brings a zone to what is desired: reads it, plans, sends, reads back, and again where the zone moved meanwhile."""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from ksd_ddns.errors import Unreachable, ZoneChanged
from ksd_ddns.primary.session import Refreshed, Session
from ksd_ddns.primary.update import Outcome, Result, Sender
from ksd_ddns.zone import names
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.plan import Change, Kind, Plan, Scope
from ksd_ddns.zone.rrset import TXT, Node
from ksd_ddns.zone.update import Limits

ATTEMPTS = 3
"""How often a primary that does not answer is asked before one pass gives up."""

ROUNDS = 8
"""How often a zone that keeps changing is planned anew before one pass gives up."""

VISIBLE_WITHIN = 3.0
"""Seconds that an acknowledged change is waited for in the zone; a server that signs inline shows it late."""

DROPPED = (
    "the primary acknowledged this change, but it is not in the zone: a limit of its update-policy, or inline signing "
    "that is slow"
)

UNMARKED = (
    "the primary acknowledged this change, and left our marker out: its policy must let TXT pass; until then these "
    "addresses are nobody's, afterwards ADOPT=true takes them over"
)

_UNANSWERED = frozenset({Result.UNKNOWN, Result.UNSENT})

_SHOWN_EVERY = 100

Step = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and of how much where that is known."""

_log = logging.getLogger(__name__)
_audit = logging.getLogger("ksd_ddns.audit")
_T = TypeVar("_T")


def _ignore(what: str, done: int, total: int | None) -> None:
    """Show no progress."""


def _unheard(outcome: Outcome) -> None:
    """Leave it to the list of all outcomes."""


class Keeper:
    """One zone, what is desired of it, and what the primary made of what was sent.

    `live` is the zone as far as it is known; it must be there (`read`) before anything is planned. `refused` are the
    names that the primary does not take, until `retry` or a change of what is wanted gives them another chance.
    """

    def __init__(
        self, session: Session, desired: Desired, scope: Scope, *, zone: bytes, limits: Limits, step: Step = _ignore
    ) -> None:
        self._session = session
        self._desired = desired
        self._scope = scope
        self._step = step
        self._sender = Sender(session, zone, limits, base=scope.base, types=scope.written)
        self._acknowledged: dict[bytes, Outcome] = {}
        self._moved = False
        self._sent_at: int | None = None
        self.zone = zone
        self.live = Live(zone, 0, {})
        self.refused: dict[bytes, Outcome] = {}

    def read(self) -> None:
        """Read the whole zone."""
        self.live = self._session.read(self.zone, lambda records: self._step("reading the zone", records, None))

    def full(self, *, max_withdraw_percent: int, seen: Collection[bytes] = (), complete: bool = True) -> Plan:
        """Return the plan for the whole zone; `seen` and `complete` are as in `zone.plan.full`."""
        return planning.full(
            self._desired,
            self.live,
            self._scope,
            max_withdraw_percent=max_withdraw_percent,
            seen=seen,
            complete=complete,
        )

    def partial(self, names: Collection[bytes]) -> Plan:
        """Return the plan for `names`."""
        return planning.partial(names, self._desired, self.live, self._scope)

    def send(
        self,
        changes: Iterable[Change],
        *,
        halve: bool = False,
        settled: Callable[[Outcome], None] = _unheard,
        ending: Callable[[], bool] = lambda: False,
    ) -> list[Outcome]:
        """Send `changes` but those of refused names; what is acknowledged is assumed until `read_back` judges it.

        `halve`, `settled` and `ending` are as in `Sender.send`.
        """
        todo = [change for change in changes if change.name not in self.refused]
        done = 0

        def take(outcome: Outcome) -> None:
            nonlocal done
            name = outcome.change.name
            if outcome.result is Result.REFUSED:
                self.refused[name] = outcome
            elif outcome.result is Result.ACKNOWLEDGED:
                self._acknowledged[name] = outcome
                self.live.assume(outcome.change.new)
            self._moved = self._moved or outcome.result is Result.STALE
            settled(outcome)
            done += 1
            if not done % _SHOWN_EVERY:
                self._step("updating", done, len(todo))

        serial = self.live.serial
        try:
            return self._sender.send(todo, halve=halve, settled=take, ending=ending, serial=serial)
        finally:
            self._sent_at = serial if done and self._sent_at is None else self._sent_at

    def read_back(self) -> Refreshed:
        """Bring `live` up to date.

        NOERROR is not proof: a change that was acknowledged and left no trace is counted as refused.
        """
        refreshed = self._session.refresh(
            self.live, lambda records: self._step("reading back", records, None), moved=self._moved
        )
        self._moved = False
        if self._sent_at is not None:
            _audit.info(
                "serial of %s on %s: %d, before the updates %d",
                names.to_text(self.zone),
                self._session.server,
                self.live.serial,
                self._sent_at,
            )
            self._sent_at = None
        if refreshed.elsewhere:
            # What one server acknowledged, another has not heard of; what one refused, another may take.
            self._acknowledged = {}
            self.refused = {}
        for name in refreshed.changed & self._acknowledged.keys():
            outcome = self._acknowledged[name]
            cap = planning.ttl_cap(outcome.change, self.live.get(name))
            if cap is not None and cap != self._scope.ttl_cap:
                _log.info("server lowers TTLs above %d s  zone=%s", cap, names.to_text(self.zone))
                self._scope = msgspec.structs.replace(self._scope, ttl_cap=cap)
            reason = _lost(outcome.change, self.live.get(name))
            if reason:
                self.refused[name] = Outcome(outcome.change, Result.REFUSED, reason)
        self._acknowledged = {}
        return refreshed

    def owned(self) -> Owned:
        """Return what is ours in the zone as it is known now; safe to call from any thread."""
        live = self.live
        return Owned(Live(live.zone, live.serial, live.nodes.copy(), live.cuts.copy()), self._scope)

    def retry(self, names: Collection[bytes]) -> None:
        """Give refused `names` another chance."""
        for name in names:
            self.refused.pop(name, None)


def _lost(change: Change, found: Node) -> str:
    """Return how an acknowledged `change` was lost where `found` stands at its name now; empty where it was not."""
    if found == change.old:
        return DROPPED
    return UNMARKED if change.kind is Kind.ADD and found == change.new.having((), types=(TXT,)) else ""


@dataclass(slots=True)
class Report:
    """What one pass did: the last plan, the changes that are in the zone now, and those the primary does not take."""

    plan: Plan
    applied: list[Change] = field(default_factory=list)
    refused: list[Outcome] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the zone is now as desired, with nothing refused, in conflict, or kept back."""
        return not (self.refused or self.plan.conflicts or self.plan.kept_back)


def enclosing_zone(session: Session, name: bytes) -> bytes:
    """Return the apex of the zone that holds `name`; a primary that does not answer is asked again."""
    return _persistently(lambda: session.enclosing_zone(name))


def read(keeper: Keeper) -> None:
    """Read the whole zone; a primary that does not answer is asked again, with growing pauses."""
    _persistently(keeper.read)


def apply(keeper: Keeper, *, max_withdraw_percent: int) -> Report:
    """Bring the zone to what is desired, once.

    A name that moved meanwhile is planned again on what stands there now. Raises a PrimaryError where nothing can be
    done at all, ZoneChanged where the zone keeps changing.
    """
    read(keeper)
    report = Report(keeper.full(max_withdraw_percent=max_withdraw_percent))
    outcomes: list[Outcome] = []
    silent = 0
    for round_ in range(ROUNDS):
        todo = [change for change in report.plan.changes if change.name not in keeper.refused]
        if not todo:
            report.refused = list(keeper.refused.values())
            _check_right(report)
            return report
        if round_ > 1:
            time.sleep(min(0.05 * 2**round_, 2.0))
        outcomes = keeper.send(todo, halve=round_ > 0)
        surprising = _read_back(keeper)
        applied: list[Change] = []
        # What came true needs no second look; everything else is planned on what stands there now.
        again = set(surprising)
        for outcome in outcomes:
            if _came_true(outcome, keeper, surprising):
                applied.append(outcome.change)
            else:
                again.add(outcome.change.name)
        report.applied += applied
        silent = 0 if applied or any(outcome.result not in _UNANSWERED for outcome in outcomes) else silent + 1
        if silent == ATTEMPTS:
            raise Unreachable(outcomes[0].reason)
        report.plan = _next(report.plan, keeper, again)
    last = next((outcome.reason for outcome in outcomes if outcome.reason), "")
    raise ZoneChanged(f"the zone is not as desired after {ROUNDS} attempts: {last}; run apply again")


def _came_true(outcome: Outcome, keeper: Keeper, surprising: set[bytes]) -> bool:
    """Return whether the change is in the zone, also where the answer was lost."""
    change = outcome.change
    if outcome.result is Result.ACKNOWLEDGED and change.name not in surprising:
        return True  # it was assumed, and what was read back bears it out
    found = keeper.live.get(change.name)
    return found == change.new or planning.ttl_cap(change, found) is not None


def _next(plan: Plan, keeper: Keeper, names: set[bytes]) -> Plan:
    """Return the plan for `names`, with what `plan` says of all others.

    What it keeps back stays so, however many names this very pass adds.
    """
    kept_back = {change.name for change in plan.kept_back}
    again = keeper.partial(names - kept_back)
    conflicts = (*(conflict for conflict in plan.conflicts if conflict.name not in names), *again.conflicts)
    return msgspec.structs.replace(
        again, conflicts=conflicts, kept_back=plan.kept_back, owned=plan.owned, blocked=plan.blocked
    )


def _check_right(report: Report) -> None:
    """Raise what the primary said where it takes nothing and nothing of ours is there: then it is not the names."""
    found = sorted(report.refused, key=lambda outcome: not names.is_host_name(outcome.change.name))
    errors = [outcome.error for outcome in found if outcome.error is not None]
    if errors and len(errors) == len(found) and not (report.applied or report.plan.owned):
        raise errors[0]  # of a name that nobody could object to, where there is one


def _read_back(keeper: Keeper) -> set[bytes]:
    """Read back what was sent; a change that left no trace is waited for a little.

    Returns the names that are other than they were believed to be.
    """
    before = set(keeper.refused)
    deadline = time.monotonic() + VISIBLE_WITHIN
    pause = 0.05
    surprising = _persistently(keeper.read_back).changed
    while dropped := {
        name: outcome
        for name, outcome in keeper.refused.items()
        if name not in before and outcome.reason == DROPPED and keeper.live.get(name) != outcome.change.new
    }:
        if time.monotonic() + pause > deadline:
            return surprising
        time.sleep(pause)
        pause *= 2
        surprising |= _persistently(keeper.read_back).changed
        keeper.retry([name for name, item in dropped.items() if keeper.live.get(name) == item.change.new])
    return surprising


def _persistently(action: Callable[[], _T]) -> _T:
    """Return what `action` returns; where the primary does not answer it is done again, with growing pauses."""
    return Retrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.2, max=2.0) + wait_random(0, 0.2),
        before_sleep=before_sleep_log(_log, logging.INFO),
        reraise=True,
    )(action)
