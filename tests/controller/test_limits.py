# SPDX-License-Identifier: Apache-2.0
"""The controller with a server that lowers TTLs, with foreign records, and with a VMI that has too many names."""

import time
from collections.abc import Callable

import pytest

from harness.kube import Kube
from harness.servers import Bind
from harness.vmis import vmi
from tests.controller.conftest import Run
from tests.controller.running import answer

CAPPED = 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." zonesub ANY; }; max-zone-ttl 300;'


def test_a_ttl_that_the_server_lowers_is_not_sent_again(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    bind = make_bind(zones={"vm.": ""}, zone_options=CAPPED)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    ksd = run(bind, kube, RECORD_TTL=600, DRIFT_INTERVAL="0.5s")
    ksd.wait_ready()
    assert bind.ttl("db.prod.vm.", "A") == 300
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_answer(bind, "web.prod.vm.", "A", "10.1.0.10")
    time.sleep(1)
    sent = ksd.metrics()["update_outcomes_total{accepted}"]
    serial = bind.serial()
    bind.nsupdate("update delete db.prod.vm. A")
    ksd.wait_answer(bind, "db.prod.vm.", "A", "10.1.0.9")
    time.sleep(2)
    assert ksd.metrics()["update_outcomes_total{accepted}"] == sent + 1
    assert bind.serial() == serial + 2
    assert bind.ttl("db.prod.vm.", "A") == 300


@pytest.mark.parametrize("record", ["SSHFP 1 1 " + 20 * "ab", 'TXT "rack 12"', "MX 10 mail.example."])
def test_a_vm_gets_its_name_back_next_to_an_admins_record(
    make_bind: Callable[..., Bind], kube: Kube, run: Run, record: str
) -> None:
    bind = make_bind(zones={"vm.": ""})
    name = "net1.db.prod.vm."
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}, uid="one"))
    ksd = run(bind, kube, DRIFT_INTERVAL="0.5s")
    ksd.wait_ready()
    bind.nsupdate(f"update add {name} 300 {record}")
    kube.delete("prod", "db")
    ksd.wait_answer(bind, name, "A")
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}, uid="two"))
    ksd.wait_answer(bind, name, "A", "10.1.0.9")
    rdtype = record.split(maxsplit=1)[0]
    there = bind.query(name, rdtype)
    assert len(there) == (2 if rdtype == "TXT" else 1)
    assert rdtype != "TXT" or '"rack 12"' in there


def test_an_unplugged_interface_is_not_held(bind: Bind, kube: Kube, run: Run) -> None:
    plugged = vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]})
    kube.put(plugged)
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    unplugged = vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]})
    unplugged["spec"]["domain"] = {"devices": {"interfaces": [{"name": "net1"}, {"name": "net2", "state": "absent"}]}}
    kube.put(unplugged)
    ksd.wait_answer(bind, "net2.db.prod.vm.", "A")
    assert answer(bind, "net1.db.prod.vm.", "A") == ["10.1.0.9"]
    # Missing from the status but still in the spec, as during unplugging.
    kube.put(plugged)
    ksd.wait_answer(bind, "net2.db.prod.vm.", "A", "10.2.0.9")
    unplugged["status"]["interfaces"] = [
        item for item in unplugged["status"]["interfaces"] if item.get("name") != "net2"
    ]
    kube.put(unplugged)
    ksd.wait_answer(bind, "net2.db.prod.vm.", "A")


def test_a_flapping_flood_of_names_delays_no_other(bind: Bind, kube: Kube, run: Run) -> None:
    ksd = run(bind, kube, OWNERSHIP="zone")
    ksd.wait_ready()
    floods = [",".join(f"{letter}{number}" for number in range(40_000)) for letter in "ab"]
    for number in range(10):
        kube.put(vmi("bad", "evil", {"net1": ["10.9.9.9"]}, annotations={"ksd-ddns/hostname": floods[number % 2]}))
        kube.put(vmi("good", "prod", {"net1": [f"10.1.0.{number}"]}))
        ksd.wait_answer(bind, "net1.good.prod.vm.", "A", f"10.1.0.{number}", seconds=5)
    ksd.wait(lambda: len({record.owner for record in bind.axfr() if ".evil." in record.owner}) == 50, "50 names")
