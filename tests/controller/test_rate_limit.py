# SPDX-License-Identifier: Apache-2.0
"""Fairness: only a VMI whose addresses change all the time is rate limited."""

import time

from harness.kube import Kube
from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.timing import TIMING
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import answer


def test_the_eleventh_change_in_a_minute_waits(bind: Bind, kube: Kube, run: Run) -> None:
    name = "net1.flap.prod.vm."
    kube.put(vmi("flap", "prod", {"net1": ["10.1.0.0"]}))
    ksd = run(bind, kube, timing=Timing(zone=ZoneTiming(slowed=2.0)))
    ksd.wait_ready()
    for number in range(1, TIMING.burst + 1):
        kube.put(vmi("flap", "prod", {"net1": [f"10.1.0.{number}"]}))
        ksd.wait_answer(bind, name, "A", f"10.1.0.{number}")
    slowed = time.monotonic()
    for number in range(11, 40):
        kube.put(vmi("flap", "prod", {"net1": [f"10.1.0.{number}"]}))
    kube.put(vmi("calm", "prod", {"net1": ["10.2.0.1"]}))
    ksd.wait_answer(bind, "net1.calm.prod.vm.", "A", "10.2.0.1")
    assert answer(bind, name, "A") == ["10.1.0.10"]
    ksd.wait_answer(bind, name, "A", "10.1.0.39")  # only the last one matters
    assert 1.5 < time.monotonic() - slowed < 6
    # An end is not slowed.
    kube.put(vmi("flap", "prod", {"net1": ["10.1.0.40"]}))
    kube.put(vmi("flap", "prod", {"net1": ["10.1.0.40"]}, phase="Succeeded"))
    ksd.wait_answer(bind, name, "A", seconds=1.5)


def test_a_vmi_that_is_recreated_repeatedly_waits(bind: Bind, kube: Kube, run: Run) -> None:
    name = "net1.flap.prod.vm."
    ksd = run(bind, kube, timing=Timing(zone=ZoneTiming(slowed=3.0)))
    ksd.wait_ready()
    for number in range(TIMING.burst // 2):
        kube.put(vmi("flap", "prod", {"net1": [f"10.1.0.{number}"]}, uid=f"uid-{number}"))
        ksd.wait_answer(bind, name, "A", f"10.1.0.{number}")
        kube.delete("prod", "flap")
        ksd.wait_answer(bind, name, "A")
    slowed = time.monotonic()
    kube.put(vmi("flap", "prod", {"net1": ["10.1.0.99"]}, uid="last"))
    ksd.wait_answer(bind, name, "A", "10.1.0.99")
    assert time.monotonic() - slowed > 2
    kube.delete("prod", "flap")
    ksd.wait_answer(bind, name, "A", seconds=1.5)


def test_a_rate_limited_vmi_is_deleted_without_delay(bind: Bind, kube: Kube, run: Run) -> None:
    ksd = run(bind, kube)
    for number in range(15):
        kube.put(vmi("flap", "prod", {"net1": [f"10.1.0.{number}"]}))
    kube.delete("prod", "flap")
    kube.put(vmi("calm", "prod"))
    ksd.wait_answer(bind, "calm.prod.vm.", "A", "10.0.0.1")
    assert answer(bind, "net1.flap.prod.vm.", "A") == []
