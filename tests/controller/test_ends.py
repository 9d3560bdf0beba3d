# SPDX-License-Identifier: Apache-2.0
"""Shutdown: SIGTERM takes at most two seconds at any time, and after SIGKILL the next start repairs the zone."""

import random
import signal
import time

import pytest

from harness.hostile import Proxy, swallow
from harness.kube import Kube, Reply, Stall
from harness.servers import Bind, Server
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import addresses


def load(kube: Kube, count: int) -> None:
    """Put `count` VMIs with one interface and two addresses: two names each."""
    kube.load(
        vmi(f"vm-{number}", "prod", {"net1": [f"10.1.{number >> 8}.{number & 255}", f"fd00::{number:x}"]})
        for number in range(count)
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_controller_exits(primary: Server, kube: Kube, run: Run, number: int) -> None:
    load(kube, 10)
    ksd = run(primary, kube)
    ksd.wait_ready()
    assert ksd.stop(number) == 0
    assert "shutdown complete" in ksd.log()  # not the end by force, which comes soon after


def test_the_process_exits_with_0_on_sigterm(bind: Bind, kube: Kube, run: Run) -> None:
    load(kube, 10)
    ksd = run(bind, kube, program=True)
    ksd.wait_ready()
    assert len(addresses(bind)) == 20
    assert ksd.stop() == 0
    assert ksd.seconds < 2


@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_a_controller_that_has_just_started_exits(bind: Bind, kube: Kube, run: Run, after: float) -> None:
    load(kube, 100)
    ksd = run(bind, kube)
    # Before that, only Python runs, and a signal has its default effect.
    ksd.wait(lambda: "running" in ksd.log() or after < 0.1, "it runs")
    time.sleep(after)
    assert ksd.stop() in ((0, -15) if after < 0.1 else (0,))
    assert ksd.seconds < 2


def test_a_busy_controller_finishes_updates_in_flight(primary: Server, kube: Kube, run: Run) -> None:
    """No name is partly changed; the next controller completes the work."""
    load(kube, 3_000)
    ksd = run(primary, kube, UPDATE_BATCH="20")
    ksd.wait(lambda: len(addresses(primary)) > 100, "it is at work", seconds=60)
    assert ksd.stop() == 0
    assert ksd.seconds < 2
    assert "shutdown complete" in ksd.log()
    found = addresses(primary)
    assert len(found) > 100
    assert all(len(each) == 2 for each in found.values())
    ksd.settings["UPDATE_BATCH"] = "500"
    ksd.start()
    ksd.wait_ready(seconds=60)
    assert len(addresses(primary)) == 6_000


def test_a_controller_with_a_silent_primary_exits(bind: Bind, kube: Kube, run: Run) -> None:
    load(kube, 10)
    with Proxy(bind) as proxy:
        ksd = run(bind, kube, through=proxy.address, DNS_TIMEOUT="60s")
        ksd.wait_ready()
        proxy.request = swallow
        kube.put(vmi("web", "prod"))
        time.sleep(0.3)
        assert ksd.stop() == 0
        assert 0.5 < ksd.seconds < 2


def test_a_controller_with_a_silent_api_server_exits(bind: Bind, kube: Kube, run: Run) -> None:
    with kube.fault(Stall(), times=None):
        ksd = run(bind, kube, OWNER_ID="")
        ksd.wait(lambda: "running" in ksd.log(), "it runs")
        time.sleep(0.3)
        assert ksd.stop() == 0
        assert ksd.seconds < 2


def test_a_controller_that_never_reached_a_server_exits(bind: Bind, kube: Kube, run: Run) -> None:
    bind.stop()
    with kube.fault(Reply.status(500), times=None):
        ksd = run(bind, kube)
        ksd.wait_problem("source", "500")
        ksd.wait_problem("primary")
        assert ksd.stop() == 0
        assert ksd.seconds < 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [("STATUS_ADDRESS", "nowhere"), ("HOLD_DOWN", "-1s"), ("DNS_SERVER", "ns1:99999"), ("KUBECONFIG", "/nowhere")],
)
def test_an_invalid_setting_exits_at_once(bind: Bind, kube: Kube, run: Run, setting: str, value: str) -> None:
    ksd = run(bind, kube, **{setting: value})
    assert ksd.ended() == 2
    assert setting in ksd.log()


def test_a_status_address_in_use_exits_at_once(bind: Bind, kube: Kube, run: Run) -> None:
    first = run(bind, kube)
    first.wait_ready()
    second = run(bind, kube, STATUS_ADDRESS=f"127.0.0.1:{first.port.number}")
    assert second.ended() == 2
    assert "STATUS_ADDRESS" in second.log()


def test_a_base_outside_of_the_zone_exits(bind: Bind, kube: Kube, run: Run) -> None:
    ksd = run(bind, kube, ZONE="elsewhere.example.")
    assert ksd.ended() == 2
    assert "does not lie in" in ksd.log() or "elsewhere.example." in ksd.log()


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_kill_at_any_time_leaves_a_zone_that_the_next_run_completes(
    primary: Server, kube: Kube, run: Run, ownership: str
) -> None:
    """Controller and primary are killed repeatedly; at the end the zone matches the VMIs."""
    chance = random.Random(7)
    load(kube, 200)
    ksd = run(
        primary,
        kube,
        OWNERSHIP=ownership,
        UPDATE_BATCH="10",
        HOLD_DOWN="0s",
        MAX_DELETE_PERCENT="100",
        timing=Timing(zone=ZoneTiming(longest_pause=0.5)),
    )
    for number in range(10):
        for _ in range(30):
            name = f"vm-{chance.randrange(200)}"
            if chance.random() < 0.3:
                if kube.get("prod", name):
                    kube.delete("prod", name)
            else:
                kube.put(vmi(name, "prod", {"net1": [f"10.2.{number}.{chance.randrange(256)}"]}))
        time.sleep(chance.random() * 0.3)
        ksd.kill()
        if number % 3 == 0:
            primary.kill()
            primary.start()
        ksd.start()
    ksd.wait_ready(seconds=40)
    kube.put(vmi("last", "prod"))
    ksd.wait_answer(primary, "last.prod.vm.", "A", "10.0.0.1")
    expected = {}
    for obj in kube.objects():
        name = obj["metadata"]["name"]
        interface = obj["status"]["interfaces"][1]
        for owner in (f"{name}.prod.vm.", f"{interface['name']}.{name}.prod.vm."):
            expected[owner] = set(interface["ipAddresses"])
    ksd.wait(lambda: addresses(primary) == expected, "the zone is what the VMIs say")
