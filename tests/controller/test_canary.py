# SPDX-License-Identifier: Apache-2.0
"""Names that the primary refuses delay no other names, and the controller stays ready while others are accepted."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.kube import Kube
from harness.servers import Bind, Key, Knot
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import Running, answer

QUICK = Timing(zone=ZoneTiming(first_retry=0.4))

MakeBind = Callable[..., Bind]


def _others() -> list[dict[str, Any]]:
    return [vmi(f"web{i}", "prod", {"net1": [f"10.2.0.{i}"]}) for i in range(10)]


def _check_stays_ready(ksd: Running, seconds: float = 3.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert ksd.ready, ksd.get("/readyz")[1]
        time.sleep(0.05)


def _reconfigure(primary: Bind, before: str, after: str) -> None:
    text = primary.configuration.read_text()
    assert before in text
    primary.configuration.write_text(text.replace(before, after))
    primary.rndc("reconfig")


def _put(kube: Kube, *vmis: dict[str, Any]) -> None:
    for each in vmis:
        kube.put(each)


@pytest.mark.parametrize("what", ["change", "deletion"])
def test_one_refused_name_does_not_make_the_zone_unready(what: str, make_bind: MakeBind, kube: Kube, run: Run) -> None:
    """A refused name shows nothing about the zone, even if the zone holds it."""
    key = Key()
    denied = f'deny "{key.name}" subdomain odd.apps.vm. ANY; '
    policy = f'update-policy {{ grant "{key.name}" zonesub ANY; }}; allow-transfer {{ key "{key.name}"; }};'
    primary = make_bind(zones={"vm.": ""}, keys=(key,), zone_options=policy)
    _put(kube, vmi("odd", "apps", {"net1": ["10.1.0.1"]}), *_others())
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    _reconfigure(primary, "update-policy { ", f"update-policy {{ {denied}")
    if what == "change":
        kube.put(vmi("odd", "apps", {"net1": ["10.1.0.2"]}))
    else:
        kube.delete("apps", "odd")
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 2, "the names are refused")
    _check_stays_ready(ksd)
    kube.put(vmi("web3", "prod", {"net1": ["10.2.1.3"]}))
    ksd.wait_answer(primary, "net1.web3.prod.vm.", "A", "10.2.1.3")


def test_losing_permission_for_most_names_does_not_make_the_zone_unready(
    make_bind: MakeBind, kube: Kube, run: Run
) -> None:
    """Neighbors of refused names are bad canaries, so several from the whole zone are tried."""
    key = Key()
    policy = f'update-policy {{ grant "{key.name}" zonesub ANY; }}; allow-transfer {{ key "{key.name}"; }};'
    primary = make_bind(zones={"vm.": ""}, keys=(key,), zone_options=policy)
    _put(kube, *(vmi(f"app{i}", "apps", {"net1": [f"10.1.0.{i}"]}) for i in range(20)), *_others())
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    _reconfigure(primary, "update-policy { ", f'update-policy {{ deny "{key.name}" subdomain apps.vm. ANY; ')
    kube.put(vmi("app0", "apps", {"net1": ["10.1.1.0"]}))
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 2, "the names are refused")
    _check_stays_ready(ksd)


def test_a_denied_namespace_on_knot_does_not_make_the_zone_unready_after_a_restart(
    make_knot: Callable[..., Knot], kube: Kube, run: Run
) -> None:
    key = Key()
    primary = make_knot(
        zones={"vm.": ""},
        keys=(key,),
        zone_options="acl: some",
        extra=(
            f"  - id: some\n    key: {key.name}\n    action: [query, transfer, update]\n"
            "    update-owner: name\n    update-owner-match: sub-or-equal\n    update-owner-name: [ prod.vm. ]\n"
        ),
    )
    _put(kube, *(vmi(f"app{i}", "apps", {"net1": [f"10.1.0.{i}"]}) for i in range(50)), *_others())
    ksd = run(primary, kube, timing=QUICK)
    for restart in (True, False):
        ksd.wait_ready()
        _check_stays_ready(ksd)
        assert answer(primary, "net1.web3.prod.vm.", "A") == ["10.2.0.3"]
        if restart:
            assert ksd.stop() == 0
            ksd.start()


def test_odd_names_at_the_first_start_do_not_make_the_zone_unready(make_bind: MakeBind, kube: Kube, run: Run) -> None:
    """A zone that has just accepted names does not refuse all, even before a read confirms them."""
    primary = make_bind(zones={"vm.": ""})
    _put(kube, *(vmi(f"app{i}", "apps", {"net_1": [f"10.1.0.{i}"]}) for i in range(60)), *_others())
    ksd = run(primary, kube)
    ksd.wait_ready()
    _check_stays_ready(ksd, 1.0)
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 60, "the odd names are refused")
    assert "refuses all updates" not in ksd.log()
    assert "grant" not in ksd.log()


def test_a_thousand_odd_names_cost_few_updates(make_bind: MakeBind, kube: Kube, run: Run) -> None:
    primary = make_bind(zones={"vm.": ""})
    odd = [vmi(f"app{i}", "apps", {"net_1": [f"10.1.{i >> 8}.{i & 255}"]}) for i in range(1000)]
    _put(kube, *odd, *_others())
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 1000, "the odd names are refused")
    assert sum("update of vm." in line and "REFUSED" in line for line in ksd.log().splitlines()) < 100
    _reconfigure(primary, "recursion no;", "recursion no; check-names primary ignore;")
    ksd.wait_answer(primary, "net_1.app777.apps.vm.", "A", "10.1.3.9")
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 0, "nothing is refused")


def test_odd_names_are_published_except_in_a_denied_namespace(make_bind: MakeBind, kube: Kube, run: Run) -> None:
    """Refused odd names in one namespace show nothing about those in another."""
    key = Key()
    policy = (
        f'update-policy {{ deny "{key.name}" subdomain apps.vm. ANY; grant "{key.name}" zonesub ANY; }}; '
        f'allow-transfer {{ key "{key.name}"; }}; check-names ignore;'
    )
    primary = make_bind(zones={"vm.": ""}, keys=(key,), zone_options=policy)
    _put(kube, *(vmi(f"app{i}", "apps", {"net_1": [f"10.1.0.{i}"]}) for i in range(100)), *_others())
    _put(kube, *(vmi(f"db{i}", "prod", {"net_1": [f"10.3.0.{i}"]}) for i in range(3)))
    ksd = run(primary, kube, timing=Timing(zone=ZoneTiming(first_retry=600.0)))
    for i in range(3):
        ksd.wait_answer(primary, f"net_1.db{i}.prod.vm.", "A", f"10.3.0.{i}")
    ksd.wait_ready()
