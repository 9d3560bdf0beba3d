"""`plan` and `apply`: the reconciler driven until its first Send, or until nothing is left to do."""

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from ksd_ddns.errors import Unreachable, ZoneChanged
from ksd_ddns.kubevirt.events import VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.session import Session
from ksd_ddns.sync import reasons
from ksd_ddns.sync.zone_sync import Step, ZoneSync, _no_progress
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Change, Conflict, Plan, Scope
from ksd_ddns.zone.reconciler import Options, Reconciler
from ksd_ddns.zone.reconciler.events import Accepted, CheckSerial, Planned, Refused, Wait
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal
from ksd_ddns.zone.update import Limits

ATTEMPTS = 3
"""How often a primary that does not answer is asked before a pass gives up."""

STALE_ATTEMPTS = 8
"""How often a name that somebody else keeps changing is planned again before a pass gives up."""

SHOWN = 20
"""Names of one cause of refusals that a report shows."""


@dataclass(slots=True)
class Report:
    """What one pass did: the last plan for the whole zone, what was changed, and the names that are refused."""

    plan: Plan
    applied: list[Change] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    server: str = ""
    accepts: bool = True

    @property
    def complete(self) -> bool:
        """Whether the zone is now as desired, with nothing refused, in conflict, or blocked."""
        return not (self.refused or self.plan.conflicts or self.plan.blocked)

    def refusals(self) -> Iterator[str]:
        """Yield the lines of the refused names, grouped by cause: how many and why, then the names."""
        groups: dict[Cause, list[Refusal]] = {}
        for one in self.refused:
            groups.setdefault(one.cause, []).append(one)
        zone = names.to_text(self.plan.zone)
        for found in sorted(groups.values(), key=len, reverse=True):
            reason = reasons.refusal_text(
                found[0],
                zone=zone,
                server=self.server,
                accepts=self.accepts,
                owned=len(self.applied) + self.plan.owned,
            )
            yield f"{len(found)} {'name' if len(found) == 1 else 'names'} refused: {reason}"
            found.sort(key=lambda one: names.canonical(one.name))
            yield from (f"  {names.to_text(one.name)}" for one in found[:SHOWN])
            if len(found) > SHOWN:
                yield f"  and {len(found) - SHOWN} more"


class OnePass:
    """One zone, and all VMIs there are, for `plan`, `apply` and `list`."""

    def __init__(  # noqa: PLR0913 what a zone is and how it is kept
        self,
        session: Session,
        vmis: Iterable[Vmi],
        *,
        zone: bytes,
        rules: Rules,
        scope: Scope,
        limits: Limits,
        max_delete_percent: int = 30,
        step: Step = _no_progress,
    ) -> None:
        options = Options(max_delete_percent=max_delete_percent, hold_down=0.0)
        self.reconciler = Reconciler(
            zone, rules=rules, scope=scope, scopes=("",), options=options, jitter=random.random
        )
        self._sync = ZoneSync(session, self.reconciler, limits, step=step)
        self._vmis = tuple(vmis)

    def read(self) -> Live:
        """Return the zone as it is now. Raises a PrimaryError."""
        while self.reconciler.view.live is None:
            self._perform()
        return self.reconciler.live

    def plan(self) -> Plan:
        """Return the plan for the whole zone; nothing is sent. Raises a PrimaryError."""
        self.read()
        self.reconciler.handle(VmisListed("", self._vmis), time.monotonic())
        while True:
            action = self.reconciler.next(time.monotonic())
            for fact in self.reconciler.take_facts():
                if isinstance(fact, Planned):
                    return fact.plan
            self._sync.perform(action)
            self._check()

    def apply(self) -> Report:
        """Bring the zone to what is desired, once.

        A name that changed meanwhile is planned again on what the zone holds now. Raises a PrimaryError where nothing
        can be done at all, ZoneChanged where the zone keeps changing.
        """
        self.read()
        reconciler = self.reconciler
        reconciler.handle(VmisListed("", self._vmis), time.monotonic())
        progress = _Progress()
        while True:
            now = time.monotonic()
            action = reconciler.next(now)
            progress.take(reconciler)
            if isinstance(action, (Wait, CheckSerial)) and reconciler.settled:
                break
            if isinstance(action, Wait):
                time.sleep(max(0.0, action.until - now))
                continue
            self._sync.perform(action)
            self._check()
            self._check_attempts()
        progress.take(reconciler)
        report = progress.report(reconciler)
        report.server = str(self._sync.session.server)
        _check_permission(report)
        return report

    def _perform(self) -> None:
        now = time.monotonic()
        action = self.reconciler.next(now)
        if isinstance(action, Wait):
            time.sleep(max(0.0, action.until - now))
            return
        self._sync.perform(action)
        self._check()

    def _check(self) -> None:
        """Raise what is wrong with the primary, unless it may yet answer."""
        problem = self.reconciler.problem
        if problem is None:
            return
        if not isinstance(problem, Unreachable) or self.reconciler.pauses.failures >= ATTEMPTS:
            raise problem

    def _check_attempts(self) -> None:
        attempts = self.reconciler.updates.attempts
        if attempts and max(attempts.values()) >= STALE_ATTEMPTS:
            name = max(attempts, key=attempts.__getitem__)
            raise ZoneChanged(
                f"{names.to_text(name)} is not as desired after {STALE_ATTEMPTS} attempts: somebody else keeps "
                "changing it; run apply again"
            )


class _Progress:
    """What a pass has done so far."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._conflicts: dict[bytes, list[Conflict]] = {}
        self._applied: dict[bytes, Change] = {}
        self._refused: set[bytes] = set()

    def take(self, reconciler: Reconciler) -> None:
        """Take the facts that the reconciler has found out."""
        for fact in reconciler.take_facts():
            match fact:
                case Planned():
                    self._planned(fact)
                case Accepted():
                    change = fact.change
                    before = self._applied.get(change.name)
                    if before is not None:
                        change = msgspec.structs.replace(before, new=change.new)
                    self._applied[change.name] = change
                case Refused():
                    self._applied.pop(fact.refusal.name, None)
                case _:
                    pass

    def _planned(self, fact: Planned) -> None:
        if self._plan is None or fact.dirty is None:
            self._plan = fact.plan
            self._conflicts = {}
        for name in fact.dirty or ():
            self._conflicts.pop(name, None)
        for conflict in fact.plan.conflicts:
            self._conflicts.setdefault(conflict.name, []).append(conflict)

    def report(self, reconciler: Reconciler) -> Report:
        """Return the whole of it."""
        assert self._plan is not None, "a pass ends with a plan"
        conflicts = tuple(item for found in self._conflicts.values() for item in found)
        plan = msgspec.structs.replace(self._plan, serial=reconciler.live.serial, changes=(), conflicts=conflicts)
        accepts = not reconciler.acceptance.refuses
        return Report(plan, list(self._applied.values()), list(reconciler.refusals), accepts=accepts)


def _check_permission(report: Report) -> None:
    """Raise what the primary said where it accepts nothing and nothing of ours is there: then it is not the names."""
    found = sorted(report.refused, key=lambda refusal: not names.is_host_name(refusal.name))
    errors = [refusal.error for refusal in found if refusal.error is not None]
    if errors and len(errors) == len(found) and not (report.applied or report.plan.owned):
        raise errors[0]  # of a name that nobody could object to, where there is one


def enclosing_zone(session: Session, name: bytes) -> bytes:
    """Return the apex of the zone that holds `name`; a primary that does not answer is asked again."""
    return Retrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.2, max=2.0) + wait_random(0, 0.2),
        reraise=True,
    )(session.enclosing_zone, name)
