"""Brings the zone to what is desired, once: read, plan, send, read back, and again where the zone moved meanwhile."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from ksd_ddns.errors import Unreachable, ZoneChanged
from ksd_ddns.primary.session import Session
from ksd_ddns.primary.update import Outcome, Result, Sender
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import Desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Change, Plan, Scope
from ksd_ddns.zone.update import Limits

ATTEMPTS = 3
"""How often a primary that does not answer is asked before one pass gives up."""

ROUNDS = 8
"""How often a zone that keeps changing is planned anew before one pass gives up."""

VISIBLE_WITHIN = 3.0
"""Seconds that an acknowledged change is waited for in the zone; a server that signs inline shows it late."""

Step = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and of how much where that is known."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def _ignore(what: str, done: int, total: int | None) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True)
class Options:
    """How one pass goes about it: the size of messages, and the withdrawal cap in percent of the owned names."""

    limits: Limits = field(default_factory=Limits)
    max_withdraw_percent: int = 30


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


def read(session: Session, zone: bytes, *, step: Step = _ignore) -> Live:
    """Return the whole zone; a primary that does not answer is asked again, with growing pauses."""
    return _persistently(lambda: session.read(zone, lambda records: step("reading the zone", records, None)))


def apply(
    session: Session, desired: Desired, scope: Scope, *, zone: bytes, options: Options, step: Step = _ignore
) -> Report:
    """Bring `zone` to what is desired.

    NOERROR is not proof: what was acknowledged is read back, and what the server dropped is reported as refused. A name
    that moved meanwhile is planned again on what stands there now. Raises a PrimaryError where nothing can be done at
    all, ZoneChanged where the zone keeps changing.
    """
    live = read(session, zone, step=step)
    sender = Sender(session, zone, options.limits)
    cap = options.max_withdraw_percent
    report = Report(planning.full(desired, live, scope, max_withdraw_percent=cap))
    if report.plan.kept_back:
        cap = 0  # what is kept back stays so, however many names this very pass adds
    refused: dict[bytes, Outcome] = {}
    outcomes: list[Outcome] = []
    for round_ in range(ROUNDS):
        todo = [change for change in report.plan.changes if change.name not in refused]
        if not todo:
            break
        if round_ > 1:
            time.sleep(min(0.05 * 2**round_, 2.0))
        outcomes = sender.send(todo, halve=round_ > 0, progress=partial(_updating, step, len(todo)))
        _read_back(session, live, outcomes, step)
        for outcome in outcomes:
            _settle(outcome, live, report, refused)
        report.plan = planning.full(desired, live, scope, max_withdraw_percent=cap)
    else:
        last = next((outcome.reason for outcome in outcomes if outcome.reason), "")
        raise ZoneChanged(f"the zone is not as desired after {ROUNDS} attempts: {last}; run apply again")
    report.refused = list(refused.values())
    return report


def _read_back(session: Session, live: Live, outcomes: list[Outcome], step: Step) -> None:
    """Bring `live` up to date with what was sent; a change that is slow to appear is waited for a little."""
    deadline = time.monotonic() + VISIBLE_WITHIN
    pause = 0.05
    while True:
        _persistently(lambda: session.refresh(live, lambda records: step("reading back", records, None)))
        missing = any(outcome.result is Result.ACKNOWLEDGED and _dropped(outcome, live) for outcome in outcomes)
        if not missing or time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        pause *= 2


def _dropped(outcome: Outcome, live: Live) -> bool:
    """Return whether an acknowledged change left no trace: its name is exactly as it was before."""
    return live.get(outcome.change.name) == outcome.change.old


def _settle(outcome: Outcome, live: Live, report: Report, refused: dict[bytes, Outcome]) -> None:
    change = outcome.change
    if outcome.result is Result.REFUSED:
        refused[change.name] = outcome
    elif live.get(change.name) == change.new:
        report.applied.append(change)  # also where the answer was lost
    elif outcome.result is Result.ACKNOWLEDGED and _dropped(outcome, live):
        reason = (
            "the primary acknowledged this change, but it is not in the zone: a limit of its update-policy, or "
            "inline signing that is slow"
        )
        refused[change.name] = Outcome(change, Result.REFUSED, reason)


def _updating(step: Step, total: int, done: int) -> None:
    step("updating", done, total)


def _persistently(action: Callable[[], _T]) -> _T:
    """Return what `action` returns; where the primary does not answer it is done again, with growing pauses."""
    return Retrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(initial=0.2, max=2.0, jitter=0.2),
        before_sleep=before_sleep_log(_log, logging.INFO),
        reraise=True,
    )(action)
