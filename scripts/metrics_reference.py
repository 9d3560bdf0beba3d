#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/metrics.md from the table in ksd_ddns/status/metrics.py."""

from pathlib import Path

from prometheus_client.metrics_core import Metric as Family

from ksd_ddns.cluster.counts import Counts
from ksd_ddns.primary.session import Session
from ksd_ddns.status.metrics import TABLE, Kind, Metric, Process, State, registry
from ksd_ddns.sync.status import Status

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "metrics.md"

_HEAD = """\
# Metrics

<!-- Written by scripts/metrics_reference.py from ksd_ddns/status/metrics.py. Change the text there. -->

`ksd-ddns run` serves these metrics at `/metrics` on `STATUS_ADDRESS`, in the text format of Prometheus.
[Monitoring](../how-to/monitoring.md) explains how to install scraping, alerts and a dashboard, and the
[runbook](../how-to/runbook.md) what each alert means.

- `zone` is the name of the zone. The number of zones is the only thing that the number of series depends on: no label
  has a value for each VM or name.
- Every series exists from the start, counters with 0. So `rate()` and `increase()` count the first event, too.
- A process that is not the leader has no zone: it reports the metrics of the process only.
- Timestamps are Unix times in seconds, and 0 before the first time.
"""

_STATES = """
The values of `state` in `ksd_ddns_names`:

| state | meaning |
| --- | --- |
| `published` | wanted, and in the zone: all wanted names except those in the next four states |
| `pending` | about to be planned or sent; before the first sync, all names that are in no other state |
| `unconfirmed` | the primary accepted the change, but a read of the zone has not shown it yet |
| `conflict` | wanted, but the zone holds records that are not ours, or two VMIs want the name |
| `refused` | the primary refuses the name; `ksd_ddns_refused_names` has the causes |
| `blocked` | no longer wanted; see the [deletion limit](../explanation/safety.md#the-deletion-limit) |
"""

_PYTHON = """
## Python

Metrics of the Prometheus client library, about memory, processor time, open files and the garbage collector.

"""


def page() -> str:
    """Return the page."""
    status = Status()
    status.publish(None, server="", zone="vm.example.", now=0.0, transfers=Session((), timeout=1.0).transfers)
    counts = Counts()
    process = Process(leading=True, api_requests=counts.requests, watch_ends=counts.ends)
    state = State((status.snapshot,), process)
    zone = [metric for metric in TABLE if "zone" in metric.labels]
    rest = [metric for metric in TABLE if "zone" not in metric.labels]
    ours = {metric.family(state).name for metric in TABLE}
    others = [family for family in registry(lambda: (), Process).collect() if family.name not in ours]
    return "".join(
        (
            _HEAD,
            "\n## Zone\n\nEach of these metrics has the label `zone`.\n\n",
            _table([_row(metric, state) for metric in zone]),
            _STATES,
            "\n## Process\n\n",
            _table([_row(metric, state) for metric in rest]),
            _PYTHON,
            _table([_python_row(family) for family in others]),
        )
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    head = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(metric: Metric, state: State) -> tuple[str, ...]:
    values: dict[str, dict[str, None]] = {label: {} for label in metric.labels if label != "zone"}
    for found, _ in metric.samples(state):
        for label, value in zip(metric.labels, found, strict=True):
            if label in values:
                values[label][value] = None
    if metric.name == "build_info":
        values = {label: {} for label in values}
    labels = "<br>".join(
        f"`{label}`: {', '.join(f'`{each}`' for each in found)}" if found else f"`{label}`"
        for label, found in values.items()
    )
    return f"`{metric.full_name}`", metric.kind.value, labels, metric.text


def _python_row(family: Family) -> tuple[str, ...]:
    name = family.name + ("_total" if family.type == Kind.COUNTER else "")
    labels = {label: None for sample in family.samples for label in sample.labels}
    return f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation.rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
