# SPDX-License-Identifier: Apache-2.0
"""deploy/monitoring: the component fits the variants, each alert fires when it should, and all names in it exist."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import pytest
import yaml

from harness.servers import program
from ksd_ddns.cluster.counts import Counts
from ksd_ddns.primary.session import Session
from ksd_ddns.status.metrics import Process, registry
from ksd_ddns.sync.snapshot import Part
from ksd_ddns.sync.status import Status
from tests.deploy import rendered
from tests.deploy.rendered import DEPLOY, ROOT, VARIANTS, one

COMPONENT = DEPLOY / "monitoring"
RULE = yaml.safe_load((COMPONENT / "prometheus-rule.yaml").read_text(encoding="utf-8"))
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in RULE["spec"]["groups"] for rule in group["rules"]}
DASHBOARD = json.loads((COMPONENT / "ksd-ddns.json").read_text(encoding="utf-8"))
RUNBOOK = (ROOT / "docs" / "how-to" / "runbook.md").read_text(encoding="utf-8")
HOW_TO = (ROOT / "docs" / "how-to" / "monitoring.md").read_text(encoding="utf-8")

each_alert = pytest.mark.parametrize("alert", list(ALERTS))


# The component


@pytest.fixture(params=[*VARIANTS, "secondaries"])
def overlay(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the overlay of the how-to page, for one variant."""
    text = re.search(r"^```yaml\n# kustomization.yaml\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)
    assert text
    (tmp_path / "ksd-ddns").symlink_to(ROOT)
    (tmp_path / "kustomization.yaml").write_text(text[1].replace("deploy/bind9", f"deploy/{request.param}"))
    return tmp_path


def test_the_overlay_adds_monitoring_to_a_variant(overlay: Path) -> None:
    objects = list(yaml.safe_load_all(rendered.text(overlay)))
    monitor = one(objects, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    template = one(objects, "Deployment")["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for each in template["spec"]["containers"] for port in each["ports"]}
    assert ports[endpoint["port"]] == 8081
    assert one(objects, "PrometheusRule")["spec"] == RULE["spec"]
    dashboard = one(objects, "ConfigMap", "secondary-dns-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["ksd-ddns.json"]) == DASHBOARD
    kinds = {(item["kind"], item["metadata"]["namespace"]) for item in (monitor, dashboard)}
    assert kinds == {("PodMonitor", "secondary"), ("ConfigMap", "secondary")}


def test_the_overlay_can_add_a_label_and_change_an_alert(tmp_path: Path) -> None:
    overlay, label, patch = re.findall(r"^```yaml\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)
    (tmp_path / "ksd-ddns").symlink_to(ROOT)
    (tmp_path / "kustomization.yaml").write_text(overlay + label + patch)
    objects = list(yaml.safe_load_all(rendered.text(tmp_path)))
    for kind in ("PodMonitor", "PrometheusRule"):
        assert one(objects, kind)["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    rules = {rule["alert"]: rule["expr"] for rule in one(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]}
    assert {alert for alert, rule in ALERTS.items() if rules[alert] != rule["expr"]} == {"KsdDdnsSlowUpdates"}
    assert rules["KsdDdnsSlowUpdates"] == ALERTS["KsdDdnsSlowUpdates"]["expr"].replace("> 5", "> 30")


def test_every_object_of_the_overlay_is_valid(overlay: Path) -> None:
    for item in yaml.safe_load_all(rendered.text(overlay)):
        if item["apiVersion"] != "monitoring.coreos.com/v1":  # there is no schema of it here
            kubernetes_validate.validate(item, "1.36", strict=True)


def test_monitoring_may_connect_once_its_namespace_has_the_label() -> None:
    """The component adds no policy: that of the base admits the namespaces that an administrator marked."""
    policy = one(rendered.documents("ksd"), "NetworkPolicy", "allow-ingress-to-secondary-dns")
    (rule,) = policy["spec"]["ingress"]
    (source,) = rule["from"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8081}]
    ((label, value),) = source["namespaceSelector"]["matchLabels"].items()
    assert f"kubectl label namespace monitoring {label}={value}" in HOW_TO


# The rules


class Case(NamedTuple):
    """Series of which an alert fires `after` minutes and not before, and series of which it does not fire."""

    firing: dict[str, str]
    labels: dict[str, str]
    after: int
    quiet: dict[str, str]


A, ZONE = 'namespace="secondary",pod="a"', 'namespace="secondary",pod="a",zone="vm."'
SERIES = {"namespace": "secondary", "pod": "a", "zone": "vm."}
NOW = 3600  # the series start at the Unix time 0

CASES = {
    "KsdDdnsNotReady": Case(
        {f'ksd_ddns_ready{{{ZONE},part="sync"}}': "0x60"},
        {**SERIES, "part": "sync"},
        10,
        {f'ksd_ddns_ready{{{ZONE},part="sync"}}': "0x8 1x60", f'ksd_ddns_ready{{{ZONE},part="source"}}': "0x60"},
    ),
    "KsdDdnsPrimaryUnreachable": Case(
        {f'ksd_ddns_ready{{{ZONE},part="primary"}}': "0x60"},
        {**SERIES, "part": "primary"},
        10,
        {f'ksd_ddns_ready{{{ZONE},part="primary"}}': "0x8 1x60", f'ksd_ddns_ready{{{ZONE},part="sync"}}': "0x60"},
    ),
    "KsdDdnsWatchFailing": Case(
        {f'ksd_ddns_ready{{{ZONE},part="source"}}': "0x60"},
        {"namespace": "secondary", "pod": "a"},
        10,
        {
            f'ksd_ddns_ready{{{ZONE},part="source"}}': "1x60",
            f'ksd_ddns_ready{{{ZONE},part="primary"}}': "0x60",
            f'ksd_ddns_watch_restarts_total{{{A},result="ended"}}': "0+5x60",
            f'ksd_ddns_watch_restarts_total{{{A},result="failed"}}': "0x20 3x40",
        },
    ),
    "KsdDdnsWatchFailing (interrupted)": Case(
        {f'ksd_ddns_watch_restarts_total{{{A},result="interrupted"}}': "0+2x60"},
        {"namespace": "secondary", "pod": "a"},
        16,
        {f'ksd_ddns_watch_restarts_total{{{A},result="interrupted"}}': "0+0.2x60"},
    ),
    "KsdDdnsSyncStale": Case(
        {f"ksd_ddns_last_sync_timestamp_seconds{{{ZONE}}}": "0x60", f'ksd_ddns_ready{{{ZONE},part="sync"}}': "1x60"},
        SERIES,
        21,
        {
            f"ksd_ddns_last_sync_timestamp_seconds{{{ZONE}}}": "0+60x60",
            f'ksd_ddns_last_sync_timestamp_seconds{{{A},zone="other."}}': "0x60",
            f'ksd_ddns_ready{{{A},zone="other.",part="primary"}}': "0x60",
        },
    ),
    "KsdDdnsNamesRefused": Case(
        {f'ksd_ddns_names{{{ZONE},state="refused"}}': "2x60"},
        {**SERIES, "state": "refused"},
        15,
        {
            f'ksd_ddns_names{{{ZONE},state="refused"}}': "2x10 0x50",
            f'ksd_ddns_names{{{ZONE},state="published"}}': "9x60",
        },
    ),
    "KsdDdnsNameConflicts": Case(
        {f'ksd_ddns_names{{{ZONE},state="conflict"}}': "2x90"},
        {**SERIES, "state": "conflict"},
        60,
        {
            f'ksd_ddns_names{{{ZONE},state="conflict"}}': "2x50 0x40",
            f'ksd_ddns_names{{{ZONE},state="published"}}': "9x60",
        },
    ),
    "KsdDdnsDeletionsBlocked": Case(
        {f'ksd_ddns_names{{{ZONE},state="blocked"}}': "40x60"},
        {**SERIES, "state": "blocked"},
        15,
        {
            f'ksd_ddns_names{{{ZONE},state="blocked"}}': "40x10 0x50",
            f'ksd_ddns_names{{{ZONE},state="published"}}': "9x60",
        },
    ),
    "KsdDdnsNoLeader": Case(
        {f"ksd_ddns_leader{{{A}}}": "0x60", 'ksd_ddns_leader{namespace="secondary",pod="b"}': "0x60"},
        {"namespace": "secondary"},
        5,
        {f"ksd_ddns_leader{{{A}}}": "0x60", 'ksd_ddns_leader{namespace="secondary",pod="b"}': "1x60"},
    ),
    "KsdDdnsTwoLeaders": Case(
        {f"ksd_ddns_leader{{{A}}}": "1x60", 'ksd_ddns_leader{namespace="secondary",pod="b"}': "1x60"},
        {"namespace": "secondary"},
        2,
        {f"ksd_ddns_leader{{{A}}}": "1x60", 'ksd_ddns_leader{namespace="other",pod="b"}': "1x60"},
    ),
    "KsdDdnsSlowUpdates": Case(
        {
            f'ksd_ddns_change_seconds_bucket{{{ZONE},le="5.0"}}': "0x60",
            f'ksd_ddns_change_seconds_bucket{{{ZONE},le="10.0"}}': "0+10x60",
            f'ksd_ddns_change_seconds_bucket{{{ZONE},le="+Inf"}}': "0+10x60",
        },
        SERIES,
        16,
        {
            f'ksd_ddns_change_seconds_bucket{{{ZONE},le="5.0"}}': "0+10x60",
            f'ksd_ddns_change_seconds_bucket{{{ZONE},le="10.0"}}': "0+10x60",
            f'ksd_ddns_change_seconds_bucket{{{ZONE},le="+Inf"}}': "0+10x60",
        },
    ),
    "KsdDdnsAbsent": Case({}, {}, 10, {f'ksd_ddns_build_info{{{A},version="1",python="3"}}': "1x60"}),
}


@each_alert
def test_alert_is_tested(alert: str) -> None:
    assert alert in {case.split(" ")[0] for case in CASES}


@pytest.mark.parametrize("name", CASES)
def test_alert_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    case, alert = CASES[name], name.split(" ", maxsplit=1)[0]
    rule = ALERTS[alert]
    # Without annotations: promtool compares them all, and the next test checks them.
    bare = {key: value for key, value in rule.items() if key != "annotations"}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": [bare]}]}))
    fired = {"exp_labels": {**case.labels, "severity": rule["labels"]["severity"]}}
    tests = [
        _test(alert, case.firing, {f"{case.after - 1}m": [], f"{case.after + 1}m": [fired]}),
        _test(alert, case.quiet, {f"{minute}m": [] for minute in range(61)}),
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([program("promtool"), "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _test(alert: str, series: dict[str, str], expected: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": time, "alertname": alert, "exp_alerts": alerts} for time, alerts in expected.items()
        ],
    }


def test_the_annotations_are_filled_in(tmp_path: Path) -> None:
    rule = ALERTS["KsdDdnsNamesRefused"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULE["spec"]))
    fired = {
        "exp_labels": {**SERIES, "state": "refused", "severity": "warning"},
        "exp_annotations": {
            "summary": "The primary refuses names in zone vm.",
            "description": "The primary accepts all names in zone vm. except 2.",
            "runbook_url": rule["annotations"]["runbook_url"],
        },
    }
    tests = [_test(rule["alert"], CASES[rule["alert"]].firing, {"16m": [fired]})]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    done = subprocess.run([program("promtool"), "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    queries = [
        {"record": "test:query", "expr": text, "labels": {"number": str(number)}}
        for number, text in enumerate(_queries())
    ]
    spec = {"groups": [*RULE["spec"]["groups"], {"name": "dashboard", "rules": queries}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    done = subprocess.run(
        [program("promtool"), "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + len(queries)} rules found" in done.stdout


def test_every_part_of_readiness_has_an_alert() -> None:
    text = " ".join(rule["expr"] for rule in ALERTS.values())
    for part in Part:
        assert f'part="{part}"' in text or (part is Part.DELETIONS and 'state="blocked"' in text)


# The names in the queries


def _fresh() -> dict[str, dict[str, set[str]]]:
    """Return the labels of each series in /metrics, with their values."""
    status, counts = Status(), Counts()
    status.publish(None, server="", zone="vm.", now=0.0, transfers=Session((), timeout=1.0).transfers)
    process = Process(leading=True, api_requests=counts.requests, watch_ends=counts.ends)
    found: dict[str, dict[str, set[str]]] = {}
    for family in registry(lambda: (status.snapshot,), lambda: process).collect():
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


METRICS = _fresh()
TARGET = {"namespace", "pod", "job", "instance", "container"}
"""Labels that Prometheus adds to the series of a pod."""


def _queries() -> Iterator[str]:
    """Yield the queries of the dashboard, with its variables replaced."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$zone", ".*")


def problems(query: str) -> list[str]:
    """Return the metrics, labels and values of labels in `query` that do not exist."""
    found = re.findall(r"\b((?:ksd_ddns|process|python)_\w+)(?:\{(.*?)\})?", query)
    wrong = [name for name, _ in found if name not in METRICS]
    for name, matchers in found:
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"(.*?)"', matchers):
            if label in TARGET or value == ".*":
                wrong += [] if label in TARGET or label in METRICS.get(name, {}) else [f"{name}: {label}"]
                continue
            values = value.split("|") if operator in {"=~", "!~"} else [value]
            known = METRICS.get(name, {}).get(label, set())
            wrong += [f"{name}: {label}={each}" for each in values if each not in known]
    labels = {label for name, _ in found for label in METRICS.get(name, {})} | TARGET
    for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", query):
        wrong += [label for label in re.split(r"\s*,\s*", group) if label not in labels]
    return wrong if found else ["no metric"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ('sum by (zone) (ksd_ddns_names{state="refused"})', []),
        ("ksd_ddns_nothing > 0", ["ksd_ddns_nothing"]),
        ('ksd_ddns_names{state="lost"}', ["ksd_ddns_names: state=lost"]),
        ('ksd_ddns_vmis{part=~".*"}', ["ksd_ddns_vmis: part"]),
        ("sum by (vm) (ksd_ddns_vmis)", ["vm"]),
    ],
)
def test_the_check_of_queries_finds_what_is_not_there(query: str, wrong: list[str]) -> None:
    assert problems(query) == wrong


@each_alert
def test_alert_uses_existing_metrics_and_labels(alert: str) -> None:
    rule = ALERTS[alert]
    assert problems(rule["expr"]) == []
    text = " ".join(rule["annotations"].values())
    labels = {label for name in re.findall(r"ksd_ddns_\w+", rule["expr"]) for label in METRICS[name]} | TARGET
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels


def test_the_dashboard_uses_existing_metrics_and_labels() -> None:
    queries = list(_queries())
    assert len(queries) > 20
    assert {query: problems(query) for query in queries if problems(query)} == {}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label in re.findall(r"\w+", target["expr"]) or label in TARGET, (panel["title"], label)
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used <= variables


def test_every_metric_is_on_the_dashboard() -> None:
    text = " ".join(_queries())
    missing = {name for name in METRICS if name.startswith("ksd_ddns_") and not name.endswith(("_sum", "_count"))}
    assert {name for name in missing if name not in text} == set()


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


# The runbook


@each_alert
def test_alert_leads_to_its_section_of_the_runbook(alert: str) -> None:
    annotations = ALERTS[alert]["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"].endswith(f"/docs/how-to/runbook.md#{alert.lower()}")
    section = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert section, "the runbook has no section of it"
    for heading in ("Meaning", "Impact", "Diagnosis", "Fix"):
        assert f"**{heading}.**" in section[1], heading


def test_the_runbook_has_no_section_of_another_alert() -> None:
    assert set(re.findall(r"^## (Ksd\w+)", RUNBOOK, re.MULTILINE)) == set(ALERTS)
