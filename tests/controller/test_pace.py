"""Fairness: a VMI whose addresses keep changing is slowed down, others are not."""

import time

from harness.kube import Kube
from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.pace import MAX_TRACKED, WINDOW, Pace
from ksd_ddns.zone.reconciler.timing import TIMING
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import answer

BURST, SLOWED = TIMING.burst, TIMING.slowed


def test_a_burst_passes_and_then_one_in_a_while() -> None:
    pace = Pace()
    for _ in range(BURST):
        assert pace.due("a", 100.0) == 100.0
        pace.passes("a", 100.0)
    assert pace.due("a", 100.0) == 100.0 + SLOWED
    assert pace.due("b", 100.0) == 100.0
    pace.passes("a", 110.0)
    assert pace.due("a", 111.0) == 120.0


def test_never_more_than_a_burst_and_a_little_in_any_window() -> None:
    pace = Pace()
    passed: list[float] = []
    now = 0.0
    while now < 600:
        if pace.due("a", now) <= now:
            pace.passes("a", now)
            passed.append(now)
        now += 0.25
    assert all(sum(start <= at < start + WINDOW for at in passed) <= BURST + WINDOW / SLOWED for start in passed)


def test_one_that_keeps_still_is_forgotten() -> None:
    pace = Pace()
    for now in range(BURST):
        pace.passes("a", float(now))
    assert pace.due("a", 8.0 + WINDOW) == 8.0 + WINDOW
    assert "a" in pace
    assert pace.due("b", 9.0 + WINDOW) == 9.0 + WINDOW
    assert "a" not in pace


def test_no_more_is_kept_than_what_changed_within_the_window() -> None:
    pace = Pace()
    for number in range(10_000):
        pace.passes(f"{number}", number / 10)
    assert sum(f"{number}" in pace for number in range(10_000)) == WINDOW * 10
    pace.passes("late", 10_000.0)
    assert len(pace) == 1
    for number in range(MAX_TRACKED + 10):
        pace.passes(f"{number}", 10_000.0)
    assert len(pace) == MAX_TRACKED


def test_times_may_come_a_little_out_of_order() -> None:
    pace = Pace()
    pace.passes("a", 100.0)
    pace.passes("b", 50.0)
    assert pace.due("b", 111.0) == 111.0
    assert pace.due("a", 111.0) == 111.0


def test_the_eleventh_change_in_a_minute_waits(bind: Bind, kube: Kube, run: Run) -> None:
    name = "net1.flap.prod.vm."
    kube.put(vmi("flap", "prod", {"net1": ["10.1.0.0"]}))
    ksd = run(bind, kube, timing=Timing(zone=ZoneTiming(slowed=2.0)))
    ksd.wait_ready()
    for number in range(1, BURST + 1):
        kube.put(vmi("flap", "prod", {"net1": [f"10.1.0.{number}"]}))
        ksd.wait_answer(bind, name, "A", f"10.1.0.{number}")
    slowed = time.monotonic()
    for number in range(11, 40):
        kube.put(vmi("flap", "prod", {"net1": [f"10.1.0.{number}"]}))
    kube.put(vmi("calm", "prod", {"net1": ["10.2.0.1"]}))
    ksd.wait_answer(bind, "net1.calm.prod.vm.", "A", "10.2.0.1")
    assert answer(bind, name, "A") == ["10.1.0.10"]
    ksd.wait_answer(bind, name, "A", "10.1.0.39")  # only the last one is worth it
    assert 1.5 < time.monotonic() - slowed < 6
    # An end is not slowed.
    kube.put(vmi("flap", "prod", {"net1": ["10.1.0.40"]}))
    kube.put(vmi("flap", "prod", {"net1": ["10.1.0.40"]}, phase="Succeeded"))
    ksd.wait_answer(bind, name, "A", seconds=1.5)


def test_recreating_a_vmi_does_not_evade_the_limit(bind: Bind, kube: Kube, run: Run) -> None:
    name = "net1.flap.prod.vm."
    ksd = run(bind, kube, timing=Timing(zone=ZoneTiming(slowed=3.0)))
    ksd.wait_ready()
    for number in range(BURST // 2):
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


def test_a_slowed_vmi_is_deleted_at_once(bind: Bind, kube: Kube, run: Run) -> None:
    ksd = run(bind, kube)
    for number in range(15):
        kube.put(vmi("flap", "prod", {"net1": [f"10.1.0.{number}"]}))
    kube.delete("prod", "flap")
    kube.put(vmi("calm", "prod"))
    ksd.wait_answer(bind, "calm.prod.vm.", "A", "10.0.0.1")
    assert answer(bind, "net1.flap.prod.vm.", "A") == []
