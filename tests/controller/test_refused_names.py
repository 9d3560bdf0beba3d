# SPDX-License-Identifier: Apache-2.0
"""Names that the primary refuses: they wait alone, delay no other name, and differ from a zone that refuses all."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.kube import Kube
from harness.servers import Bind
from harness.vmis import as_json, listing, vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import addresses, answer
from tests.e2e.conftest import Ksd, ksd

__all__ = ["ksd"]

TRANSFER = 'allow-transfer { key "ksd-ddns."; };'
ALL = f'{TRANSFER} update-policy {{ grant "ksd-ddns." zonesub ANY; }};'
FEW = f"{ALL} max-records-per-type 2;"
ODD = (
    f'{TRANSFER} update-policy {{ deny "ksd-ddns." name odd.prod.vm. ANY; deny "ksd-ddns." name net1.odd.prod.vm. ANY; '
    'grant "ksd-ddns." zonesub ANY; };'
)


def good(number: int, last: int = 1) -> dict[str, Any]:
    """Return a VMI that any primary accepts."""
    return vmi(f"vm{number}", "prod", {"net1": [f"10.0.{last}.{number + 1}"]})


def with_underscore(count: int) -> list[dict[str, Any]]:
    """Return VMIs with an interface that is no host name."""
    return [vmi(f"app{i:04}", "apps", {"vlan_12": [f"10.12.{i // 250}.{i % 250 + 1}"]}) for i in range(count)]


def with_three_addresses(count: int) -> list[dict[str, Any]]:
    """Return VMIs with more addresses than a zone of two records per type can hold."""
    return [vmi(f"app{i:04}", "apps", {"net1": [f"10.12.{k}.{i + 1}" for k in range(3)]}) for i in range(count)]


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        pytest.param({}, with_underscore(100), id="host-names-are-checked"),
        pytest.param({"zone_options": FEW}, with_three_addresses(60), id="record-limit"),
    ],
)
def test_refused_names_delay_no_other_name_after_a_restart(
    make_bind: Callable[..., Bind], kube: Kube, run: Run, options: dict[str, Any], refused: list[dict[str, Any]]
) -> None:
    bind = make_bind(zones={"vm.": ""}, **options)
    for item in [*refused, *map(good, range(5))]:
        kube.put(item)
    ksd = run(bind, kube)
    ksd.wait_ready()
    before = ksd.metrics()["names{refused}"]
    assert before >= 60
    assert ksd.stop() == 0
    ksd.start()
    ksd.wait_ready()
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == before, "all refusals are known again")
    for number in range(3):
        kube.put(good(number, 2))
        ksd.wait_answer(bind, f"net1.vm{number}.prod.vm.", "A", f"10.0.2.{number + 1}")
    kube.delete("prod", "vm4")
    ksd.wait_answer(bind, "vm4.prod.vm.", "A")
    assert ksd.ready


def test_the_event_on_the_vmi_has_the_fix_for_its_cause(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    """The other names are accepted, so another permission would not help."""
    bind = make_bind(zones={"vm.": ""})
    kube.put(good(0))
    ksd = run(bind, kube)
    ksd.wait_ready()
    kube.put(with_underscore(1)[0])

    def refused() -> list[str]:
        return [event["message"] for event in kube.events if event["reason"] == "UpdateRefused"]

    (note,) = ksd.wait(refused, "the VMI has an Event")
    assert "vlan_12.app0000.apps.vm." in note
    assert "check-names ignore;" in note
    assert "grant" not in note


@pytest.mark.parametrize(
    ("options", "odd"),
    [
        pytest.param(ODD, ["10.1.0.20"], id="refused"),
        pytest.param(f"{ALL} max-records-per-type 1;", ["10.1.0.20", "10.1.0.21"], id="servfail"),
    ],
)
def test_one_refused_vmi_does_not_make_the_controller_unready(
    make_bind: Callable[..., Bind], kube: Kube, run: Run, options: str, odd: list[str]
) -> None:
    bind = make_bind(zones={"vm.": ""}, zone_options=options)
    for item in map(good, range(3)):
        kube.put(item)
    kube.put(vmi("odd", "prod", {"net1": odd}))
    ksd = run(bind, kube)
    for _ in range(2):  # the second time nothing is accepted, since everything else is in the zone
        ksd.wait_ready()
        ksd.wait(lambda: ksd.metrics()["names{refused}"] == 2, "both names are refused")
        time.sleep(0.5)
        assert ksd.ready
        assert answer(bind, "odd.prod.vm.", "A") == []
        assert "lacks permission to" not in ksd.log()
        ksd.stop()
        ksd.start()


def test_a_frozen_zone_is_not_ready_until_it_is_thawed(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    bind = make_bind(zones={"vm.": ""})
    kube.put(good(0))
    ksd = run(bind, kube)
    ksd.wait_ready()
    bind.rndc("freeze", "vm.")
    for item in map(good, range(1, 4)):
        kube.put(item)
    text = ksd.wait_problem("primary", "frozen")
    assert "grant" not in text
    bind.rndc("thaw", "vm.")
    ksd.wait_answer(bind, "net1.vm3.prod.vm.", "A", "10.0.1.4")
    ksd.wait_ready()
    ksd.wait(lambda: len(addresses(bind)) == 8, "all names are published")


def test_a_secondary_that_takes_over_is_not_ready(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    bind = make_bind(zones={"vm.": ""})
    secondary = make_bind(
        zones={"other.": ""},
        keys=bind.keys,
        extra=f'zone "vm" {{ type secondary; file "vm.db"; min-refresh-time 1; max-refresh-time 1; {TRANSFER} '
        f'primaries {{ 127.0.0.1 port {bind.port} key "ksd-ddns."; }}; }};',
    )
    kube.put(good(0))
    ksd = run(bind, kube, DNS_SERVER=f"127.0.0.1:{bind.port},127.0.0.1:{secondary.port}")
    ksd.wait_ready()
    ksd.wait(lambda: answer(secondary, "net1.vm0.prod.vm.", "A"), "the secondary has the zone")
    bind.stop()
    kube.put(good(1))
    ksd.wait_problem("primary", f"127.0.0.1:{secondary.port} accepts no update", "secondary")
    time.sleep(1)
    assert not ksd.ready
    bind.start()


@pytest.mark.parametrize("count", [10, 300])
def test_refused_names_are_grouped_by_cause_in_log_and_page(
    make_bind: Callable[..., Bind], kube: Kube, run: Run, count: int
) -> None:
    bind = make_bind(zones={"vm.": ""})
    for item in with_underscore(count):
        kube.put(item)
    ksd = run(bind, kube, DEFAULT_RECORD="false", timing=Timing(zone=ZoneTiming(first_retry=0.5)))
    kube.put(good(0))
    ksd.wait_answer(bind, "net1.vm0.prod.vm.", "A", "10.0.1.1")
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == count, "all are refused")
    sent = ksd.metrics()["update_outcomes_total{refused}"]
    time.sleep(3)
    assert ksd.metrics()["update_outcomes_total{refused}"] - sent <= 40, "retries are samples"
    lines = [line for line in ksd.log().splitlines() if "names refused" in line]
    assert 1 <= len(lines) <= 40
    (zone,) = json.loads(ksd.get("/records")[1])["zones"]
    assert [group["count"] for group in zone["refused"]] == [count]
    assert len(ksd.get("/")[1]) < 100_000


@pytest.mark.parametrize("count", [10, 2_000])
@pytest.mark.parametrize("frozen", [False, True], ids=["checked", "frozen"])
def test_apply_exits_with_1_if_any_names_are_refused(
    make_bind: Callable[..., Bind], ksd: Ksd, tmp_path: Path, count: int, frozen: bool
) -> None:
    bind = make_bind(zones={"vm.": ""})
    command = ksd(bind, DEFAULT_RECORD="false")
    assert command("apply", vmi=[good(0)]).code == 0
    if frozen:
        bind.rndc("freeze", "vm.")
        new = (vmi(f"new{i}", f"ns{i % 7}", {"net1": [f"10.3.{i // 250}.{i % 250}"]}) for i in range(count))
        wanted = [good(0), *new]
    else:
        wanted = [good(0), *with_underscore(count)]
    path = tmp_path / "vmis.json"
    path.write_bytes(as_json(listing(wanted)))
    done = command("apply", "--from", path)
    assert done.code == 1
    assert f"{count} refused, 0 conflicts." in done.summary
    assert len(done.out) < 10_000
    assert "grant" not in done.out
