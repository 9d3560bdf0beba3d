# SPDX-License-Identifier: Apache-2.0
"""`plan` and `apply`: drive the reconciler until its first plan, or until nothing is left to do."""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from ksd_ddns.errors import Unreachable
from ksd_ddns.kubevirt.events import VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.session import Session
from ksd_ddns.sync.snapshot import RefusedNames
from ksd_ddns.sync.zone_sync import Step, ZoneSync, no_progress
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Change, Conflict, Plan, Scope
from ksd_ddns.zone.reconciler import Options, Reconciler
from ksd_ddns.zone.reconciler.events import Accepted, CheckSerial, Planned, ReadNames, Refused, Wait
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal
from ksd_ddns.zone.render.refused import refused
from ksd_ddns.zone.update import Limits

ATTEMPTS = 3
"""Attempts at a primary that does not respond before a pass fails."""


@dataclass(slots=True)
class Report:
    """The result of a pass: the last plan for the full zone, accepted changes, and refused names."""

    plan: Plan
    applied: list[Change] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    server: str = ""
    accepts: bool = True
    ours: bool = True

    @property
    def complete(self) -> bool:
        """Whether nothing is refused, in conflict or blocked."""
        return not (self.refused or self.plan.conflicts or self.plan.blocked)

    def refusals(self) -> list[RefusedNames]:
        """Return the refused names, grouped by cause, the largest group first."""
        groups: dict[Cause, list[Refusal]] = {}
        for one in self.refused:
            groups.setdefault(one.cause, []).append(one)
        zone = names.to_text(self.plan.zone)
        return [
            RefusedNames(
                cause=found[0].cause.value,
                count=len(found),
                reason=str(refused(found[0], zone=zone, server=self.server, accepts=self.accepts, ours=self.ours)),
                names=tuple(map(names.to_text, sorted((one.name for one in found), key=names.canonical))),
            )
            for found in sorted(groups.values(), key=len, reverse=True)
        ]


class OnePass:
    """One zone and the full list of VMIs, for `plan`, `apply` and `list`."""

    def __init__(  # noqa: PLR0913 all but two are keyword-only
        self,
        session: Session,
        vmis: Iterable[Vmi],
        *,
        zone: bytes,
        rules: Rules,
        scope: Scope,
        limits: Limits,
        max_delete_percent: int = 30,
        hold_down: float = 0.0,
        step: Step = no_progress,
    ) -> None:
        options = Options(max_delete_percent=max_delete_percent, hold_down=hold_down)
        self.reconciler = Reconciler(
            zone, rules=rules, scope=scope, namespaces=("",), options=options, jitter=random.random
        )
        self._sync = ZoneSync(session, self.reconciler, limits, step=step)
        self._vmis = tuple(vmis)

    def read(self) -> Live:
        """Return the zone as it is now. Raises a PrimaryError."""
        while self.reconciler.reads.live is None:
            self._perform()
        return self.reconciler.live

    def read_name(self, name: bytes) -> None:
        """Read the records at `name`, if a read of the zone does not include it. Raises a PrimaryError."""
        if not self.reconciler.live.is_known(name):
            self._sync.perform(ReadNames(frozenset({name})))
            self._check()

    def plan(self) -> Plan:
        """Return the plan for the full zone; nothing is sent. Raises a PrimaryError."""
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
        """Apply the plan, read the zone back, and repeat until nothing is left to do.

        A name that another client changed is planned again; if it keeps changing, it is refused. Raises a PrimaryError
        if the primary cannot be used at all.
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
        """Raise the error of the primary; for one that does not respond, only after ATTEMPTS attempts."""
        problem = self.reconciler.problem
        if problem is None:
            return
        if not isinstance(problem, Unreachable) or self.reconciler.pauses.failures >= ATTEMPTS:
            raise problem


class _Progress:
    """The progress of a pass."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._conflicts: dict[bytes, list[Conflict]] = {}
        self._applied: dict[bytes, Change] = {}
        self._refused: set[bytes] = set()

    def take(self, reconciler: Reconciler) -> None:
        """Collect the facts of the reconciler."""
        for fact in reconciler.take_facts():
            match fact:
                case Planned():
                    self._take_plan(fact)
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

    def _take_plan(self, fact: Planned) -> None:
        if self._plan is None or fact.dirty is None:
            self._plan = fact.plan
            self._conflicts = {}
        for name in fact.dirty or ():
            self._conflicts.pop(name, None)
        for conflict in fact.plan.conflicts:
            self._conflicts.setdefault(conflict.name, []).append(conflict)

    def report(self, reconciler: Reconciler) -> Report:
        """Return the result."""
        assert self._plan is not None, "a pass ends with a plan"
        conflicts = tuple(item for found in self._conflicts.values() for item in found)
        plan = msgspec.structs.replace(self._plan, serial=reconciler.live.serial, changes=(), conflicts=conflicts)
        accepts = not reconciler.acceptance.refuses
        ours = reconciler.holds_our_names
        return Report(plan, list(self._applied.values()), list(reconciler.refusals), accepts=accepts, ours=ours)


def _check_permission(report: Report) -> None:
    """Raise the primary's error if it accepts nothing and we own nothing: the permission is missing, not a name."""
    found = sorted(report.refused, key=lambda refusal: not names.is_host_name(refusal.name))
    errors = [refusal.error for refusal in found if refusal.error is not None and refusal.cause is not Cause.CHANGING]
    if errors and len(errors) == len(found) and not (report.applied or report.plan.owned):
        raise errors[0]  # preferably that of a valid host name


def enclosing_zone(session: Session, name: bytes) -> bytes:
    """Return the apex of the zone that holds `name`; retry if the primary does not respond."""
    return Retrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.2, max=2.0) + wait_random(0, 0.2),
        reraise=True,
    )(session.enclosing_zone, name)
