# SPDX-License-Identifier: Apache-2.0
"""The metrics: each changes with its effect, and Prometheus accepts them."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from msgspec import structs
from prometheus_client import CollectorRegistry

from harness.kube import Kube, Reply
from harness.servers import Bind, Port, Server, program
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.cluster.counts import Counts, End
from ksd_ddns.cluster.timing import LeaseTiming
from ksd_ddns.cluster.timing import Timing as ClusterTiming
from ksd_ddns.primary.session import Session
from ksd_ddns.status.metrics import TABLE, Kind, Process, registry
from ksd_ddns.sync.snapshot import RefusedNames, Snapshot
from ksd_ddns.sync.status import Status
from ksd_ddns.zone.plan import Conflict, ConflictCause
from tests.controller.conftest import Run
from tests.controller.running import Running
from tests.zone.build import a, n, node

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = Conflict(n("web"), node("web", a("10.0.0.1")), node("web"), ConflictCause.UNOWNED)
TWO = structs.replace(FOREIGN, winner="prod/db")
PARTLY = {"published": 2, "pending": 1, "unconfirmed": 2, "blocked": 3}
DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})


@pytest.fixture
def fresh() -> CollectorRegistry:
    """Return the metrics of a process that has done nothing yet."""
    status, counts = Status(), Counts()
    status.publish(None, server="", zone="vm.", now=0.0, transfers=Session((), timeout=1.0).transfers)
    return registry(
        lambda: (status.snapshot,), lambda: Process(api_requests=counts.requests, watch_ends=counts.ends, leading=False)
    )


class Prometheus:
    """A Prometheus with the alerts of deploy/monitoring, which scrapes one controller."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the series that it finds; none while it does not answer."""
        found: list[dict[str, Any]] = self._get(f"query?{urlencode({'query': query})}").get("result", [])
        return found

    def alerts(self) -> dict[str, tuple[str, str]]:
        """Return the state of each alert, and whether its rule could be evaluated (ok, err, unknown)."""
        groups = self._get("rules").get("groups", [])
        return {rule["name"]: (rule["state"], rule["health"]) for group in groups for rule in group["rules"]}

    def unhealthy(self) -> list[str]:
        """Return the rules that could not be evaluated."""
        return [name for name, (_, health) in self.alerts().items() if health != "ok"]

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self._url}/{path}", timeout=5) as response:
                found: dict[str, Any] = json.load(response)["data"]
        except OSError:
            return {}
        return found


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[Running], Prometheus]]:
    """Return a factory of running Prometheus servers, which end with the test."""
    started: list[tuple[subprocess.Popen[bytes], Port]] = []

    def start(ksd: Running) -> Prometheus:
        port = Port.reserve()
        rules = yaml.safe_load((ROOT / "deploy" / "monitoring" / "prometheus-rule.yaml").read_text(encoding="utf-8"))
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))
        target = {"targets": [f"127.0.0.1:{ksd.port.number}"], "labels": {"namespace": "secondary", "pod": "a"}}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "ksd", "static_configs": [target]}],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            program("prometheus"),
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port.number}",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append((process, port))
        return Prometheus(port.number)

    yield start
    for process, port in started:
        process.terminate()
        process.wait(20)
        port.release()


def test_every_counter_exists_from_the_start(fresh: CollectorRegistry) -> None:
    """A rate over a counter that appears with its first event misses that event."""
    found = {family.name: family for family in fresh.collect()}
    for metric in TABLE:
        family = found[f"ksd_ddns_{metric.name}"]
        assert family.samples, metric.name
        if metric.kind is not Kind.GAUGE:
            assert {sample.value for sample in family.samples} == {0.0}, metric.name
    assert {s.labels["rcode"] for s in found["ksd_ddns_updates"].samples} >= {"NOERROR", "REFUSED", "YXRRSET", "none"}
    assert {(s.labels["kind"], s.labels["result"]) for s in found["ksd_ddns_transfers"].samples} == {
        (kind, result) for kind in ("axfr", "ixfr") for result in ("success", "failure")
    }


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        pytest.param(Snapshot(names=5, synced=True), {"published": 5}, id="all"),
        pytest.param(Snapshot(names=5, unconfirmed=1), {"unconfirmed": 1, "pending": 4}, id="before-the-first-sync"),
        pytest.param(Snapshot(names=5, synced=True, pending=1, unconfirmed=2, blocked=3), PARTLY, id="partly"),
        pytest.param(Snapshot(names=1, synced=True, pending=4), {"pending": 4}, id="more-deletions-than-names"),
        pytest.param(Snapshot(names=2, synced=True, conflicts=(TWO,)), {"published": 2, "conflict": 1}, id="two-vmis"),
        pytest.param(
            Snapshot(names=2, synced=True, conflicts=(FOREIGN,)), {"published": 1, "conflict": 1}, id="foreign"
        ),
    ],
)
def test_names_are_counted_by_state(snapshot: Snapshot, expected: dict[str, float]) -> None:
    families = {family.name: family for family in registry(lambda: (snapshot,), Process).collect()}
    found = {sample.labels["state"]: sample.value for sample in families["ksd_ddns_names"].samples}
    assert {state: value for state, value in found.items() if value} == expected


def test_the_number_of_series_does_not_grow_with_vms() -> None:
    refused = RefusedNames("other", 1_000, ("web.vm.",), "odd")
    large = Snapshot(vmis=1_000, names=9_000, synced=True, conflicts=(FOREIGN,) * 1_000, refused=(refused,))
    assert _series(Snapshot()) == _series(large)


def test_promtool_accepts_the_metrics_of_a_controller(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(bind, kube)
    ksd.wait_ready()
    text = ksd.get("/metrics")[1]
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ksd_ddns_")} == {
        metric.full_name for metric in TABLE
    }


def test_build_and_process_are_described(bind: Bind, kube: Kube, run: Run) -> None:
    ksd = run(bind, kube)
    ksd.wait_ready()
    assert 'ksd_ddns_build_info{python="3.' in ksd.get("/metrics")[1]
    now = ksd.metrics()
    assert now["process_resident_memory_bytes"] > 10_000_000
    assert now["process_start_time_seconds"] == pytest.approx(time.time(), abs=60)
    assert now["python_gc_collections_total{2}"] >= 0


def test_times_of_the_last_sync_and_the_last_full_read(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    began = time.time()
    ksd = run(bind, kube)
    ksd.wait_ready()
    first = ksd.metrics()
    assert began < first["last_full_read_timestamp_seconds"] < time.time()
    assert began < first["last_sync_timestamp_seconds"] < time.time()
    ksd.wait(
        lambda: ksd.metrics()["last_sync_timestamp_seconds"] > first["last_sync_timestamp_seconds"],
        "a serial check confirms that the zone is in sync",
    )
    assert ksd.metrics()["last_full_read_timestamp_seconds"] == first["last_full_read_timestamp_seconds"]
    bind.stop()
    ksd.wait(lambda: ksd.metrics()["ready{primary}"] == 0, "the primary is not ready")
    stopped = ksd.metrics()
    kube.put(vmi("web", "prod"))
    ksd.wait(lambda: ksd.metrics()["errors_total{primary}"] > stopped["errors_total{primary}"] + 1, "more failures")
    now = ksd.metrics()
    assert now["last_sync_timestamp_seconds"] == stopped["last_sync_timestamp_seconds"]
    assert (now["ready{sync}"], now["ready{source}"]) == (1, 1)


def test_conflicts_and_rcodes_are_counted(make_primary: Callable[..., Server], kube: Kube, run: Run) -> None:
    primary = make_primary(zones={"vm.": "db.prod A 192.0.2.1"})
    kube.put(DB)
    ksd = run(primary, kube)
    ksd.wait_ready()
    now = ksd.metrics()
    assert (now["names{conflict}"], now["names{published}"], now["vmis"]) == (1, 1, 1)
    assert now["updates_total{NOERROR}"] >= 1
    primary.nsupdate("update delete db.prod.vm. A")
    ksd.wait(lambda: ksd.metrics()["names{published}"] == 2, "the conflict is gone")
    assert ksd.metrics()["names{conflict}"] == 0


def test_refused_names_are_counted_by_cause(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones={"vm.": ""}, options="check-names primary fail;")
    kube.put(vmi("db", "prod", {"vlan_12": ["10.1.0.9"]}))
    ksd = run(primary, kube)
    _wait_started(ksd)
    ksd.wait(lambda: ksd.metrics()["refused_names{host-name}"] == 1, "the name is refused")
    now = ksd.metrics()
    assert (now["names{refused}"], now["refused_names{permission}"]) == (1, 0)
    assert now["updates_total{REFUSED}"] >= 1
    kube.delete("prod", "db")
    ksd.wait(lambda: ksd.metrics()["refused_names{host-name}"] == 0, "the name is no longer wanted")


def test_vmis_with_warnings_are_counted(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.10"], "bad name!": ["10.1.0.11"]}))
    ksd = run(bind, kube)
    ksd.wait_ready()
    assert ksd.metrics()["vmis_with_warnings"] == 1
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait(lambda: ksd.metrics()["vmis_with_warnings"] == 0, "the warning is gone")


def test_foreign_changes_are_counted(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(primary, kube)
    ksd.wait_ready()
    before = ksd.metrics()
    assert before["drift_total"] == 0
    primary.nsupdate("update delete net1.db.prod.vm. A")
    ksd.wait(lambda: ksd.metrics()["drift_total"] == 1, "drift is found")
    ksd.wait_answer(primary, "net1.db.prod.vm.", "A", "10.1.0.9")
    assert ksd.metrics()["transfers_total{ixfr,success}"] > before["transfers_total{ixfr,success}"]


def test_failed_transfers_are_counted(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones={"vm.": ""}, zone_options="allow-transfer { none; };")
    ksd = run(primary, kube)
    _wait_started(ksd)
    ksd.wait(lambda: ksd.metrics()["transfers_total{axfr,failure}"] > 0, "the transfer is refused")
    now = ksd.metrics()
    assert (now["transfers_total{axfr,success}"], now["last_full_read_timestamp_seconds"]) == (0, 0)
    assert now["errors_total{primary}"] > 0


def test_requests_and_watch_restarts_are_counted(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(bind, kube)
    ksd.wait_ready()
    kube.wait_watches()
    before = ksd.metrics()
    assert before["api_requests_total{success}"] >= 2
    assert sum(before[f"watch_restarts_total{{{end}}}"] for end in End) == 0
    kube.cut_watches()
    ksd.wait(lambda: ksd.metrics()["watch_restarts_total{interrupted}"] == 1, "the watch was cut")
    kube.wait_watches()
    kube.fail_watches(410)
    ksd.wait(lambda: ksd.metrics()["watch_restarts_total{expired}"] == 1, "the watch expired")
    kube.wait_watches()
    with kube.fault(Reply.status(500), times=None):
        kube.cut_watches()
        ksd.wait(lambda: ksd.metrics()["watch_restarts_total{failed}"] >= 1, "the API server fails")
        ksd.wait(lambda: ksd.metrics()["errors_total{source}"] >= 1, "the VMIs cannot be read")
    after = ksd.metrics()
    assert after["api_requests_total{server_error}"] >= 1
    assert after["api_requests_total{client_error}"] == 0
    kube.stop()
    ksd.wait(lambda: ksd.metrics()["api_requests_total{no_response}"] >= 1, "the API server is gone")


def test_the_leader_reports_the_zone_and_the_other_one_only_itself(bind: Bind, kube: Kube, run: Run) -> None:
    quick = Timing(cluster=ClusterTiming(lease=LeaseTiming(duration=3.0, lead_for=2.0, renew_every=0.2, request=0.8)))
    kube.add_namespace("secondary")
    kube.put(DB)
    first = run(bind, kube, LEADER_ELECTION="true", timing=quick)
    _wait_started(first)
    first.wait(lambda: first.metrics().get("leader") == 1, "it leads")
    second = run(bind, kube, LEADER_ELECTION="true", timing=quick)
    _wait_started(second)
    standby = second.metrics()
    assert (standby["leader"], "vmis" in standby) == (0, False)
    assert first.stop() == 0
    second.wait(lambda: second.metrics()["leader"] == 1, "it takes over")
    second.wait(lambda: second.metrics().get("names{published}") == 2, "it reports the zone")


def test_without_leader_election_there_is_no_leader(bind: Bind, kube: Kube, run: Run) -> None:
    ksd = run(bind, kube)
    ksd.wait_ready()
    assert "leader" not in ksd.metrics()


def test_changes_of_a_file_are_measured(bind: Bind, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vmis.json"
    file.write_text(json.dumps(DB))
    ksd = run(bind, source=file)
    ksd.wait_ready()
    before = ksd.metrics()
    assert before["change_seconds_count"] == 0, "how old the first content of a file is, is unknown"
    assert before["api_requests_total{success}"] == 0
    file.write_text(json.dumps(vmi("db", "prod", {"net1": ["10.1.0.10"]})))
    ksd.wait(lambda: ksd.metrics()["changes_total{change}"] == 2, "both names are changed")
    after = ksd.metrics()
    assert after["change_seconds_count"] == 2
    assert 0 < after["change_seconds_sum"] < 20


def test_a_prometheus_scrapes_them_and_an_alert_follows_the_effect(
    make_bind: Callable[..., Bind], kube: Kube, run: Run, prometheus: Callable[[Running], Prometheus]
) -> None:
    primary = make_bind(zones={"vm.": ""}, options="check-names primary fail;")
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"], "vlan_12": ["10.1.0.10"]}))
    ksd = run(primary, kube)
    ksd.wait_ready()
    server = prometheus(ksd)
    (series,) = ksd.wait(lambda: server.query('ksd_ddns_names{state="published"}'), "a scrape")
    assert (series["metric"]["zone"], series["value"][1]) == ("vm.", "2")
    ksd.wait(lambda: server.alerts().get("KsdDdnsNamesRefused") == ("pending", "ok"), "the alert waits for its 15 min")
    ksd.wait(lambda: len(server.alerts()) > 5 and not server.unhealthy(), "all rules are evaluated")
    assert {name for name, (state, _) in server.alerts().items() if state != "inactive"} == {"KsdDdnsNamesRefused"}
    # The cure of the runbook: rename the interface.
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"], "vlan-12": ["10.1.0.10"]}))
    ksd.wait_answer(primary, "vlan-12.db.prod.vm.", "A", "10.1.0.10")
    ksd.wait(lambda: server.alerts()["KsdDdnsNamesRefused"] == ("inactive", "ok"), "the alert ends")


def _series(snapshot: Snapshot) -> list[tuple[str, dict[str, str]]]:
    families = registry(lambda: (snapshot,), Process).collect()
    return [(sample.name, sample.labels) for family in families for sample in family.samples]


def _wait_started(ksd: Running) -> None:
    ksd.wait(lambda: ksd.get("/metrics")[0] == 200, "it serves the metrics")
