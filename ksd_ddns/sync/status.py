# SPDX-License-Identifier: Apache-2.0
"""The counters of one zone's controller, and its snapshots: written by its thread, read by any."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice

from ksd_ddns.sync import reasons
from ksd_ddns.sync.snapshot import LATENCY_BUCKETS, Part, Problem, ProblemCause, RefusedNames, Snapshot
from ksd_ddns.wire import names, rcodes
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.plan import Conflict, Kind
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.events import Accepted, Planned
from ksd_ddns.zone.reconciler.refusals import Cause

SHOWN = 50
"""Names of one cause of refusals in a snapshot."""

EVENTS = ("listed", "changed", "deleted")
"""Kinds of source events."""

UNANSWERED, OTHER = "none", "other"
"""For `Snapshot.updates`: no response, and an rcode without a mnemonic."""

_FIRST = Problem(Part.SYNC, ProblemCause.FIRST_SYNC, "the first full sync is not complete yet")


class Status:
    """What a controller has done, and its problems."""

    def __init__(self) -> None:
        self.snapshot = Snapshot(problems=(_FIRST,))
        self._sources: dict[str, str] = {}
        self._primary = ""
        self._stopped = ""
        self._conflicts: dict[bytes, list[Conflict]] = {}
        self._published_conflicts: tuple[Conflict, ...] | None = ()
        self._applied = Counter({kind.value: 0 for kind in Kind})
        self._outcomes = Counter({result.value: 0 for result in Result})
        self._events = Counter(dict.fromkeys(EVENTS, 0))
        self._updates = Counter(dict.fromkeys((*rcodes.MNEMONICS, OTHER, UNANSWERED), 0))
        self._errors = Counter({Part.SOURCE.value: 0, Part.PRIMARY.value: 0})
        self._drift = 0
        self._last_sync = 0.0
        self._full_read: tuple[float, float] = (0.0, 0.0)
        self._latencies = [0] * (len(LATENCY_BUCKETS) + 1)
        self._latency_sum = 0.0

    def record_source(self, scope: str, reason: str) -> None:
        """Record why a source cannot be read, or with an empty reason that it can."""
        if reason:
            self._errors[Part.SOURCE] += 1
            self._sources[scope] = reason
        else:
            self._sources.pop(scope, None)

    def record_primary(self, reason: str) -> None:
        """Record why the zone cannot be found, or with an empty reason that it was."""
        if reason:
            self.count_failure()
        self._primary = reason

    def record_stop(self, reason: str) -> None:
        """Record why the controller has stopped."""
        self.count_failure()
        self._stopped = reason

    def record_plan(self, fact: Planned) -> None:
        """Record the conflicts of a plan for the full zone, or for some names."""
        if self._conflicts:
            for name in tuple(self._conflicts) if fact.dirty is None else fact.dirty:
                if self._conflicts.pop(name, None):
                    self._published_conflicts = None
        for conflict in fact.plan.conflicts:
            self._conflicts.setdefault(conflict.name, []).append(conflict)
            self._published_conflicts = None

    def count_change(self, fact: Accepted, now: float) -> None:
        """Count an accepted change, and the time from its event to the response."""
        self._applied[fact.change.kind.value] += 1
        if fact.since is not None:
            seconds = now - fact.since
            self._latencies[bisect_left(LATENCY_BUCKETS, seconds)] += 1
            self._latency_sum += seconds

    def count_answer(self, answer: Answer) -> None:
        """Count one message by its rcode, and its names by their result."""
        self._outcomes[answer.result.value] += len(answer.changes)
        if answer.rcode is not None:
            rcode = rcodes.text(answer.rcode)
            self._updates[rcode if rcode in self._updates else OTHER] += 1
        elif answer.result is Result.UNKNOWN:
            self._updates[UNANSWERED] += 1

    def count_failure(self) -> None:
        """Count a failure of the primary."""
        self._errors[Part.PRIMARY] += 1

    def count_drift(self) -> None:
        """Count foreign changes that were found."""
        self._drift += 1

    def count_event(self, kind: str) -> None:
        """Count an event of a source, by its kind in EVENTS."""
        self._events[kind] += 1

    def publish(
        self,
        reconciler: Reconciler | None,
        *,
        server: str,
        zone: str,
        now: float,
        transfers: Mapping[tuple[str, str], int],
    ) -> None:
        """Make a new snapshot."""
        if self._published_conflicts is None:  # there can be many, and events are more
            self._published_conflicts = tuple(item for found in self._conflicts.values() for item in found)
        counts = {} if reconciler is None else _counts(reconciler, now)
        if reconciler is not None:
            self._note_times(reconciler, now)
        self.snapshot = Snapshot(
            server=server,
            zone=zone,
            serial=reconciler.live.serial if reconciler else 0,
            synced=reconciler is not None and reconciler.synced,
            problems=tuple(self._problems(reconciler, server)),
            optional=False,
            conflicts=self._published_conflicts,
            refused=() if reconciler is None else _refused(reconciler, server),
            applied=dict(self._applied),
            outcomes=dict(self._outcomes),
            updates=dict(self._updates),
            transfers=dict(transfers),
            errors=dict(self._errors),
            drift=self._drift,
            last_sync=self._last_sync,
            last_full_read=self._full_read[1],
            events=dict(self._events),
            latencies=tuple(self._latencies),
            latency_sum=self._latency_sum,
            **counts,
        )

    def _note_times(self, reconciler: Reconciler, now: float) -> None:
        unix = time.time()
        if reconciler.synced and reconciler.settled and not self._sources and not self._primary_fails(reconciler):
            self._last_sync = unix
        at = reconciler.schedule.last_full
        if at != self._full_read[0]:
            self._full_read = (at, unix - (now - at))

    def _primary_fails(self, reconciler: Reconciler) -> bool:
        return reconciler.problem is not None or reconciler.acceptance.refuses

    def _problems(self, reconciler: Reconciler | None, server: str) -> Iterator[Problem]:
        if reconciler is None or not reconciler.synced:
            yield _FIRST
        if self._sources:
            yield Problem(Part.SOURCE, ProblemCause.UNREADABLE, "; ".join(self._sources.values()))
        if self._stopped:
            yield Problem(Part.PRIMARY, ProblemCause.STOPPED, self._stopped)
        elif self._primary:
            yield Problem(Part.PRIMARY, ProblemCause.FAILED, self._primary)
        elif reconciler is not None and (text := reasons.primary(reconciler, server)):
            cause = ProblemCause.REFUSED if reconciler.acceptance.refuses else ProblemCause.FAILED
            yield Problem(Part.PRIMARY, cause, text)
        if reconciler is not None and (text := reasons.deletions(reconciler)):
            yield Problem(Part.DELETIONS, ProblemCause.DELETION_LIMIT, text)


def _counts(reconciler: Reconciler, now: float) -> dict[str, int]:
    inventory, groups = reconciler.inventory, reconciler.desired.groups
    return {
        "vmis": len(inventory),
        "names": inventory.names,
        "warned": inventory.warned,
        "held": inventory.held(now),
        "groups": groups.groups,
        "unserved_groups": groups.unserved,
        "ready_members": groups.ready,
        "unready_members": groups.unready,
        "refused_deletions": reconciler.refusals.deletions,
        "pending": reconciler.updates.pending,
        "blocked": len(reconciler.deletions.blocked),
        "unconfirmed": len(reconciler.unconfirmed),
    }


def _refused(reconciler: Reconciler, server: str) -> tuple[RefusedNames, ...]:
    if not reconciler.refusals:
        return ()
    shown: dict[Cause, list[str]] = {}
    for group in reconciler.refusals.groups():
        shown[group.cause] = [names.to_text(name) for name in islice(reconciler.refusals.names_of(group.cause), SHOWN)]
    return tuple(
        RefusedNames(
            cause=group.cause.value,
            count=group.count,
            names=tuple(shown[group.cause]),
            reason=reasons.refusal(group.first, reconciler, server),
        )
        for group in reconciler.refusals.groups()
    )
