# SPDX-License-Identifier: Apache-2.0
"""The state of the zones and of the process as Prometheus metrics.

TABLE is the only list of them: `/metrics` and docs/reference/metrics.md are made from it. No label has a value for each
VM or name, so the number of series depends on the zones only.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import TypeAlias

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from ksd_ddns import __version__
from ksd_ddns.sync.snapshot import LATENCY_BUCKETS, Part, Snapshot
from ksd_ddns.zone.reconciler.refusals import Cause

Snapshots = Callable[[], tuple[Snapshot, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Facts about the process: requests to the API server by result, and how watches ended.

    `leading` is whether it is the leader, None without LEADER_ELECTION.
    """

    leading: bool | None = None
    api_requests: Mapping[str, int] = field(default_factory=dict)
    watch_ends: Mapping[str, int] = field(default_factory=dict)


class Kind(StrEnum):
    """The type of a metric."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class State:
    """The values that metrics are made from."""

    zones: tuple[Snapshot, ...]
    process: Process


@dataclass(frozen=True, slots=True)
class Buckets:
    """The value of a histogram: counts up to each of LATENCY_BUCKETS, then all; `total` is the sum."""

    counts: tuple[int, ...]
    total: float


Sample: TypeAlias = tuple[tuple[str, ...], float | Buckets]
"""The values of the labels, and that of the series."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` is without the prefix `ksd_ddns_`, and for counters without `_total`."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...]
    samples: Callable[[State], Iterable[Sample]]

    @property
    def full_name(self) -> str:
        """The name in queries; a histogram adds `_bucket`, `_sum` and `_count`."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"

    def family(self, state: State) -> Family:
        """Return all series of the metric."""
        name = f"{PREFIX}{self.name}"
        if self.kind is Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(name, self.text, labels=self.labels)
            for labels, value in self.samples(state):
                assert isinstance(value, Buckets)
                bounds = (*map(str, LATENCY_BUCKETS), "+Inf")
                histogram.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.total)
            return histogram
        kind = CounterMetricFamily if self.kind is Kind.COUNTER else GaugeMetricFamily
        found = kind(name, self.text, labels=self.labels)
        for labels, value in self.samples(state):
            assert not isinstance(value, Buckets)
            found.add_metric(labels, value)
        return found


PREFIX = "ksd_ddns_"


def _zone(kind: Kind, name: str, text: str, value: Callable[[Snapshot], float]) -> Metric:
    """Return a metric with one series for each zone."""
    return Metric(name, kind, text, ("zone",), lambda state: (((now.zone,), value(now)) for now in state.zones))


def _by(kind: Kind, name: str, text: str, label: str, values: Callable[[Snapshot], Mapping[str, float]]) -> Metric:
    """Return a metric with one series for each zone and value of `label`."""
    return Metric(
        name,
        kind,
        text,
        ("zone", label),
        lambda state: (((now.zone, each), value) for now in state.zones for each, value in values(now).items()),
    )


def _names(now: Snapshot) -> Mapping[str, float]:
    refused = sum(group.count for group in now.refused)
    # A name that two VMIs want is a conflict for one of them, and published for the other.
    unpublished = sum(1 for conflict in now.conflicts if not conflict.winner)
    # A name that the primary does not delete is refused, and not one of the wanted names.
    wanted = refused - now.refused_deletions
    rest = max(0, now.names - now.pending - now.unconfirmed - wanted - unpublished)
    return {
        # Before the first sync it is unknown what the zone lacks.
        "published": rest if now.synced else 0,
        "pending": now.pending if now.synced else now.pending + rest,
        "unconfirmed": now.unconfirmed,
        "conflict": len(now.conflicts),
        "refused": refused,
        "blocked": now.blocked,
    }


def _groups(now: Snapshot) -> Mapping[str, float]:
    return {"served": now.groups - now.unserved_groups, "unserved": now.unserved_groups}


def _members(now: Snapshot) -> Mapping[str, float]:
    return {"ready": now.ready_members, "unready": now.unready_members}


def _refused(now: Snapshot) -> Mapping[str, float]:
    return {cause.value: 0 for cause in Cause} | {group.cause: group.count for group in now.refused}


def _ready(now: Snapshot) -> Mapping[str, float]:
    wrong = {problem.part for problem in now.problems}
    return {part.value: part not in wrong for part in Part}


def _leader(state: State) -> list[Sample]:
    return [] if state.process.leading is None else [((), state.process.leading)]


_GAUGE, _COUNTER = Kind.GAUGE, Kind.COUNTER

TABLE: tuple[Metric, ...] = (
    _by(_GAUGE, "ready", "Whether a part of the zone has no problem, as in /readyz", "part", _ready),
    _by(_GAUGE, "names", "Names by state", "state", _names),
    _by(_GAUGE, "refused_names", "Names that the primary refuses, by cause", "cause", _refused),
    _zone(_GAUGE, "vmis", "VMIs", lambda now: now.vmis),
    _zone(_GAUGE, "vmis_with_warnings", "VMIs with something that cannot be published", lambda now: now.warned),
    _zone(_GAUGE, "held_families", "Address families that are held for HOLD_DOWN", lambda now: now.held),
    _by(_GAUGE, "groups", "Groups of VMIs; unserved: without a ready member", "state", _groups),
    _by(_GAUGE, "group_members", "Members of groups; a VMI in two groups counts twice", "state", _members),
    _by(_COUNTER, "changes", "Names added, changed and deleted in the zone", "kind", lambda now: now.applied),
    _by(_COUNTER, "updates", "UPDATE messages by rcode of the response", "rcode", lambda now: now.updates),
    _by(_COUNTER, "update_outcomes", "Names in UPDATE messages, by result", "result", lambda now: now.outcomes),
    Metric(
        "transfers",
        _COUNTER,
        "Zone transfers",
        ("zone", "kind", "result"),
        lambda state: (((now.zone, *labels), value) for now in state.zones for labels, value in now.transfers.items()),
    ),
    _by(_COUNTER, "events", "Lists and changes of VMIs received", "kind", lambda now: now.events),
    _by(_COUNTER, "errors", "Failures to read VMIs, and of the primary", "part", lambda now: now.errors),
    _zone(_COUNTER, "drift", "How often foreign changes of our names were found in the zone", lambda now: now.drift),
    Metric(
        "change_seconds",
        Kind.HISTOGRAM,
        "Seconds from receiving a change of a VMI to the primary's response",
        ("zone",),
        lambda state: (((now.zone,), Buckets(now.latencies, now.latency_sum)) for now in state.zones),
    ),
    _zone(
        _GAUGE,
        "last_sync_timestamp_seconds",
        "When the zone was last seen in sync (Unix time)",
        lambda now: now.last_sync,
    ),
    _zone(
        _GAUGE,
        "last_full_read_timestamp_seconds",
        "When the full zone was last read (Unix time)",
        lambda now: now.last_full_read,
    ),
    _zone(_GAUGE, "zone_serial", "Serial of the zone when last read", lambda now: now.serial),
    Metric(
        "api_requests",
        _COUNTER,
        "Requests to the Kubernetes API server, by result",
        ("result",),
        lambda state: (((result,), value) for result, value in state.process.api_requests.items()),
    ),
    Metric(
        "watch_restarts",
        _COUNTER,
        "Restarts of the VMI watch, by how the previous watch ended",
        ("result",),
        lambda state: (((result,), value) for result, value in state.process.watch_ends.items()),
    ),
    Metric("leader", _GAUGE, "Whether this process is the leader (only with LEADER_ELECTION)", (), _leader),
    Metric(
        "build_info",
        _GAUGE,
        "Always 1; the labels are the versions",
        ("version", "python"),
        lambda state: [((__version__, platform.python_version()), 1)],
    ),
)


class Metrics(Collector):
    """The metrics of TABLE, from the results of `snapshots` and `process`."""

    def __init__(self, snapshots: Snapshots, process: Callable[[], Process]) -> None:
        self._snapshots = snapshots
        self._process = process

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of this moment."""
        state = State(self._snapshots(), self._process())
        for metric in TABLE:
            yield metric.family(state)


def registry(snapshots: Snapshots, process: Callable[[], Process]) -> CollectorRegistry:
    """Return all metrics of /metrics: those of TABLE, and those of the Python process."""
    found = CollectorRegistry(auto_describe=False)
    found.register(Metrics(snapshots, process))
    ProcessCollector(registry=found)
    GCCollector(registry=found)
    return found
