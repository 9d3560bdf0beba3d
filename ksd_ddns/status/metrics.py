"""The snapshots as Prometheus metrics."""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ksd_ddns.sync.snapshot import LATENCY_BUCKETS, Snapshot

Snapshots = Callable[[], tuple[Snapshot, ...]]

_GAUGES: tuple[tuple[str, str, Callable[[Snapshot], int]], ...] = (
    ("synced", "1 once the zone has been in sync with the VMIs", lambda now: now.synced),
    ("ready", "1 while the zone has no problem", lambda now: now.ready),
    ("vmis", "Known VMIs", lambda now: now.vmis),
    ("names", "Wanted owner names", lambda now: now.names),
    ("conflicts", "Wanted names that exist and are not ours", lambda now: len(now.conflicts)),
    ("refused_names", "Names that the primary refuses", lambda now: sum(one.count for one in now.refused)),
    ("blocked_deletions", "Deletions blocked by the deletion limit", lambda now: now.blocked),
    ("held_families", "Vanished address families held for HOLD_DOWN", lambda now: now.held),
    ("pending_names", "Names that wait to be planned or sent", lambda now: now.pending),
    ("unconfirmed_names", "Names with accepted changes that the zone does not show yet", lambda now: now.unconfirmed),
    ("zone_serial", "Serial of the zone when last read", lambda now: now.serial),
)

_COUNTERS: tuple[tuple[str, str, str, Callable[[Snapshot], dict[str, int]]], ...] = (
    ("changes", "Names added, changed and deleted", "kind", lambda now: now.applied),
    ("update_outcomes", "Names sent, by result", "result", lambda now: now.outcomes),
    ("transfers", "Zone transfers", "kind", lambda now: now.transfers),
    ("events", "Events of VMI sources", "kind", lambda now: now.events),
)


class Metrics(Collector):
    """The snapshots as Prometheus metrics, one series per zone; docs/reference/status.md lists them."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment."""
        snapshots = self._snapshots()
        for name, text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"ksd_ddns_{name}", text, labels=["zone"])
            for now in snapshots:
                gauge.add_metric([now.zone], value(now))
            yield gauge
        for name, text, label, counts in _COUNTERS:
            counter = CounterMetricFamily(f"ksd_ddns_{name}", text, labels=["zone", label])
            for now in snapshots:
                for key, count in sorted(counts(now).items()):
                    counter.add_metric([now.zone, key], count)
            yield counter
        text = "Seconds from an event to the primary's response"
        histogram = HistogramMetricFamily("ksd_ddns_change_seconds", text, labels=["zone"])
        for now in snapshots:
            bounds = (*map(str, LATENCY_BUCKETS), "+Inf")
            buckets = list(zip(bounds, accumulate(now.latencies), strict=True))
            histogram.add_metric([now.zone], buckets, now.latency_sum)
        yield histogram
