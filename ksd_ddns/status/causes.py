# SPDX-License-Identifier: Apache-2.0
"""Problems grouped by cause: 60 refused names with one cause are one entry, with its fix."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ksd_ddns.kubevirt.warning import WarningCode
from ksd_ddns.status import texts
from ksd_ddns.status.view import VmView, code_of
from ksd_ddns.sync.snapshot import Part, ProblemCause, Snapshot
from ksd_ddns.sync.vm_index import ZoneTimes
from ksd_ddns.wire import names, rcodes
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.plan import Conflict, ConflictCause
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal
from ksd_ddns.zone.render import message

VMS = 12
"""Maximum number of VMs to list for a cause."""

ZONES = 5
"""Maximum number of zones to list for a cause."""


@dataclass(slots=True)
class Group:
    """The problems of one cause: `state/code`, how many, their VMs and zones, and the first of them with its detail.

    `since` and `retry` are by the monotonic clock, None if unknown.
    """

    cause: str
    words: texts.Words
    kind: str
    unit: tuple[str, str]
    count: int = 0
    name: str = ""
    detail: str = ""
    since: float | None = None
    retry: float | None = None
    zones: dict[str, None] = field(default_factory=dict)
    vms: dict[str, None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The title, with the first name."""
        return self.words.title.replace("{name}", self.name)

    def add(self, vm: str, zone: str, since: float | None = None) -> None:
        """Add a problem of a VM in a zone; with an empty VM, one of the zone itself."""
        self.count += 1
        if vm:
            self.vms[vm] = None
        self.zones[zone] = None
        if since is not None:
            self.since = since if self.since is None else min(self.since, since)


_ORDER = {kind: rank for rank, kind in enumerate(("bad", "warn", "hold", "none"))}


def groups(views: Iterable[VmView], snapshots: Sequence[Snapshot], times: Sequence[ZoneTimes]) -> list[Group]:
    """Return the problems grouped by cause, the worst first."""
    found: dict[str, Group] = {}
    for group in _of_zones(snapshots):
        found.setdefault(group.cause, group)
    zones = [now.zone for now in snapshots]
    for view in views:
        if view.cause:
            _add_names(found, view, zones, snapshots, times)
            _add_others(found, view, zones)
    for zone, now in enumerate(snapshots):
        for conflict in now.conflicts:
            if not conflict.vmi:  # the zone's own records have no row
                _conflict(found, conflict).add("", zones[zone])
    return sorted(found.values(), key=lambda group: (_ORDER[group.kind], -group.count, group.cause))


def _of_zones(snapshots: Sequence[Snapshot]) -> Iterator[Group]:
    """Yield the problems that make zones not ready; zones with the same problem share an entry."""
    found: dict[tuple[Part, str], Group] = {}
    for now in snapshots:
        for problem in now.problems:
            if problem.cause is ProblemCause.FIRST_SYNC:
                continue  # the sentence at the top reports it
            group = found.get((problem.part, problem.text))
            if group is None:
                words = texts.Words(texts.PROBLEMS[problem.cause])
                cause = f"{problem.part.value}/{problem.cause.value}/{len(found)}"
                group = Group(cause, words, "bad", ("zone", "zones"), detail=problem.text)
                found[problem.part, problem.text] = group
            if problem.cause is ProblemCause.DELETION_LIMIT:
                group.unit = ("deletion blocked", "deletions blocked")
                group.count += now.blocked
                group.zones[now.zone] = None
            else:
                group.add("", now.zone)
    yield from found.values()


def _add_names(
    found: dict[str, Group],
    view: VmView,
    zones: Sequence[str],
    snapshots: Sequence[Snapshot],
    times: Sequence[ZoneTimes],
) -> None:
    for number, problem in view.problems():
        if number >= len(zones):
            continue
        match problem.why:
            case Refusal():
                group = _refusal(found, problem.why, snapshots[number].server)
                retry = times[number].retries.get(problem.why.cause)
                if retry is not None:
                    group.retry = retry if group.retry is None else min(group.retry, retry)
            case Conflict():
                group = _conflict(found, problem.why)
            case _ if problem.state is State.BLOCKED:
                cause = f"{State.BLOCKED}/{code_of(problem)}"
                group = found.setdefault(cause, Group(cause, texts.BLOCKED, "bad", ("name blocked", "names blocked")))
                group.detail = group.detail or f"{names.to_text(problem.name)} is one of them."
            case _ if problem.state is State.SKIPPED:
                cause = f"{State.SKIPPED}/{code_of(problem)}"
                unit = ("member not ready", "members not ready")
                group = found.setdefault(cause, Group(cause, texts.NOT_READY_MEMBER, "none", unit))
                group.detail = group.detail or f"{names.to_text(problem.name)} does not have {view.key}."
            case _:
                continue  # pending: it is sent next
        group.add(view.key, zones[number], problem.since)


def _refusal(found: dict[str, Group], why: Refusal, server: str) -> Group:
    cause = f"{State.REFUSED}/{why.cause}"
    group = found.get(cause)
    if group is None:
        name = names.to_text(why.name)
        words = texts.REFUSED[why.cause]
        remedy = why.error.remedy if why.error is not None else ""
        if remedy and why.cause in {Cause.PERMISSION, Cause.OTHER, Cause.SERVER}:
            words = words._replace(fix=remedy)
        answer = "does not show" if why.cause in {Cause.NOT_SHOWN, Cause.NO_TXT} else "refuses"
        rcode = f" ({rcodes.text(why.rcode)})" if why.rcode else ""
        group = Group(cause, words, "warn", ("name refused", "names refused"), name=name)
        group.detail = f"{server} {answer} {name}{rcode}."
        found[cause] = group
    return group


def _conflict(found: dict[str, Group], conflict: Conflict) -> Group:
    cause = f"{State.CONFLICT}/{conflict.cause}"
    group = found.get(cause)
    if group is None:
        name = names.to_text(conflict.name)
        words = texts.CONFLICT[ConflictCause(conflict.cause)]
        group = Group(cause, words, "warn", ("conflict", "conflicts"), name=name)
        group.detail = f"{name} is not published: {message.conflict(conflict)}."
        found[cause] = group
    return group


def _add_others(found: dict[str, Group], view: VmView, zones: Sequence[str]) -> None:
    """Add what is held and skipped of a VM, in the first zone that says so: reverse zones repeat it."""
    for number, part in enumerate(view.row.parts):
        if part is None or number >= len(zones):
            continue
        for warning in part.warnings:
            cause = f"{State.SKIPPED}/{warning.code}"
            group = found.get(cause)
            if group is None:
                words = texts.SKIPPED[WarningCode(warning.code)]
                group = Group(cause, words, "none", ("skipped", "skipped"))
                group.detail = f"{view.key}: {message.warning(warning)}."
                found[cause] = group
            group.add(view.key, zones[number])
        if number == 0 and part.held:
            cause = f"{State.HELD}/hold-down"
            unit = ("interface held", "interfaces held")
            group = found.setdefault(cause, Group(cause, texts.HELD, "hold", unit))
            first = min(held.until for held in part.held)
            group.retry = first if group.retry is None else min(group.retry, first)
            for _ in {held.interface for held in part.held}:
                group.add(view.key, zones[number])
        if number == 0 and part.waits:
            cause = f"{State.PENDING}/rate-limit"
            group = found.setdefault(cause, Group(cause, texts.WAITING, "none", ("VM waits", "VMs wait")))
            group.add(view.key, zones[number])
