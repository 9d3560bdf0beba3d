"""The books of the controller: counts and complaints, written by its thread, published as immutable snapshots."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection

from ksd_ddns.primary.update import Outcome, Result
from ksd_ddns.snapshot import LATENCY_BUCKETS, Snapshot
from ksd_ddns.zone import names
from ksd_ddns.zone.plan import Conflict, Plan


class Account:
    """What the controller has done, and what is wrong."""

    def __init__(self) -> None:
        self.snapshot = Snapshot(complaints={"sync": "the first full sync is not done yet"})
        self._synced = False
        self._sources: dict[str, str] = {}
        self._primary = ""
        self._kept_back = ""
        self._kept = 0
        self._conflicts: dict[bytes, list[Conflict]] = {}
        self._conflict_texts: tuple[str, ...] | None = ()
        self._applied: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._transfers: Counter[str] = Counter()
        self._latencies = [0] * (len(LATENCY_BUCKETS) + 1)
        self._latency_sum = 0.0

    def source(self, scope: str, reason: str) -> None:
        """Note that a source cannot be read, or with an empty reason that it can."""
        if reason:
            self._sources[scope] = reason
        else:
            self._sources.pop(scope, None)

    def primary(self, reason: str) -> None:
        """Note that the primary does not do what it is asked, or with an empty reason that it does."""
        self._primary = reason

    def kept_back(self, count: int, owned: int) -> None:
        """Note how many withdrawals are kept back, of so many owned names."""
        self._kept = count
        self._kept_back = (
            f"{count} withdrawals are kept back, of {owned} owned names: is the list of VMIs complete? "
            "ksd-ddns apply --force or MAX_WITHDRAW_PERCENT=100 lets them pass"
            if count
            else ""
        )

    def planned(self, plan: Plan, touched: Collection[bytes], *, whole: bool) -> None:
        """Note the conflicts of a plan for the whole zone, or for the names in `touched`."""
        if self._conflicts:
            for name in tuple(self._conflicts) if whole else touched:
                if self._conflicts.pop(name, None):
                    self._conflict_texts = None
        for conflict in plan.conflicts:
            self._conflicts.setdefault(conflict.name, []).append(conflict)
            self._conflict_texts = None

    def outcome(self, outcome: Outcome) -> None:
        """Count what became of a change."""
        self._outcomes[outcome.result.value] += 1
        if outcome.result is Result.ACKNOWLEDGED:
            self._applied[outcome.change.kind.value] += 1

    def heard(self, kind: str) -> None:
        """Count what a source said: `listed`, `changed` or `gone`."""
        self._events[kind] += 1

    def transferred(self, kind: str) -> None:
        """Count a transfer: `axfr` or `ixfr`."""
        self._transfers[kind] += 1

    def latency(self, seconds: float) -> None:
        """Count a change that took so long from the source to the primary's answer."""
        self._latencies[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self._latency_sum += seconds

    def in_step(self) -> None:
        """Note that the zone is as the source says, as far as the primary and the cap let it."""
        self._synced = True

    def publish(
        self, *, server: str, zone: str, serial: int, counts: dict[str, int], refused: Collection[Outcome]
    ) -> None:
        """Make a new snapshot; `counts` are its vmis, names, held and pending."""
        if self._conflict_texts is None:  # made anew only when they changed: there can be many, and events are more
            self._conflict_texts = tuple(_conflict_text(item) for found in self._conflicts.values() for item in found)
        complaints = {}
        if not self._synced:
            complaints["sync"] = "the first full sync is not done yet"
        if self._sources:
            complaints["source"] = "; ".join(self._sources.values())
        if self._primary:
            complaints["primary"] = self._primary
        if self._kept_back:
            complaints["withdrawals"] = self._kept_back
        self.snapshot = Snapshot(
            server=server,
            zone=zone,
            serial=serial,
            synced=self._synced,
            complaints=complaints,
            conflicts=self._conflict_texts,
            refused=tuple(f"{names.to_text(outcome.change.name)}: {outcome.reason}" for outcome in refused),
            kept_back=self._kept,
            applied=dict(self._applied),
            outcomes=dict(self._outcomes),
            transfers=dict(self._transfers),
            events=dict(self._events),
            latencies=tuple(self._latencies),
            latency_sum=self._latency_sum,
            **counts,
        )


def _conflict_text(conflict: Conflict) -> str:
    vmi = f" (VMI {conflict.vmi})" if conflict.vmi else ""
    return f"{names.to_text(conflict.name)}{vmi}: {conflict.reason}"
