# SPDX-License-Identifier: Apache-2.0
"""Hold-down: only an address that vanishes from the status of a live VMI stays in DNS for a while."""

import time
from collections.abc import Sequence
from typing import Any

import pytest

from harness.kube import Kube
from harness.servers import Bind, Server
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.cluster.timing import Timing as ClusterTiming
from ksd_ddns.cluster.timing import WatchTiming
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import Running, answer

NAME = "net1.db.prod.vm."
BOTH = ["10.1.0.9", "fd00::9"]

QUICK_WATCH = ClusterTiming(watch=WatchTiming(longest_pause=0.3))


def db(addresses: Sequence[str] | None = BOTH, **more: Any) -> dict[str, Any]:
    """Return the VMI with these addresses on `net1`; None: the status does not list the interface at all."""
    return vmi("db", "prod", {"net1": addresses}, **more)


def settle(ksd: Running, primary: Server, kube: Kube) -> None:
    """Wait until the controller has processed all events so far."""
    number = kube.revision
    kube.put(vmi(f"settled-{number}", "prod", {"net1": ["10.9.9.9"]}))
    ksd.wait_answer(primary, f"settled-{number}.prod.vm.", "A", "10.9.9.9")


@pytest.mark.parametrize("ownership", ["txt", "zone"])
@pytest.mark.parametrize("left", [["10.1.0.9"], [], None], ids=["one-family", "no-address", "no-interface"])
def test_a_vanished_address_family_is_held_then_deleted(
    bind: Bind, kube: Kube, run: Run, ownership: str, left: list[str] | None
) -> None:
    kube.put(db())
    ksd = run(bind, kube, OWNERSHIP=ownership, HOLD_DOWN="1s")
    ksd.wait_ready()
    vanished = time.monotonic()
    kube.put(db(left))
    settle(ksd, bind, kube)
    assert answer(bind, NAME, "AAAA") == ["fd00::9"]
    assert answer(bind, "db.prod.vm.", "AAAA") == ["fd00::9"]
    assert ksd.metrics()["held_families"] == 1 + (not left)
    assert ksd.ready
    ksd.wait_answer(bind, NAME, "AAAA")
    assert 0.9 < time.monotonic() - vanished < 5
    assert answer(bind, NAME, "A") == (left or [])
    ksd.wait(lambda: ksd.metrics()["held_families"] == 0, "all holds have ended")


def test_an_address_that_returns_is_never_deleted(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(db())
    ksd = run(primary, kube, HOLD_DOWN="1s")
    ksd.wait_ready()
    serial = primary.serial()
    for _ in range(3):
        kube.put(db([]))
        time.sleep(0.3)
        kube.put(db())
        time.sleep(0.3)
    time.sleep(1)
    assert answer(primary, NAME, "A") == ["10.1.0.9"]
    assert primary.serial() == serial


def test_an_address_that_returns_and_vanishes_is_held_again(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(db())
    ksd = run(bind, kube, HOLD_DOWN="0.7s")
    ksd.wait_ready()
    kube.put(db([]))
    ksd.wait_answer(bind, NAME, "A")
    kube.put(db())
    ksd.wait_answer(bind, NAME, "A", "10.1.0.9")
    kube.put(db([]))
    settle(ksd, bind, kube)
    assert answer(bind, NAME, "A") == ["10.1.0.9"]
    ksd.wait_answer(bind, NAME, "A")


def test_a_new_address_replaces_the_held_one(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(db())
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.put(db([]))
    settle(ksd, bind, kube)
    kube.put(db(["10.1.0.77"]))
    ksd.wait_answer(bind, NAME, "A", "10.1.0.77")
    assert answer(bind, NAME, "AAAA") == ["fd00::9"]


def test_the_last_address_is_held(bind: Bind, kube: Kube, run: Run) -> None:
    """An address that changed while the primary was away, and then vanished: the new one is held, not the old one."""
    kube.put(db())
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    with bind.paused():
        kube.put(vmi("stuck", "prod", {"net1": ["10.1.0.1"]}))
        time.sleep(0.2)
        kube.put(db(["10.1.0.10", "fd00::9"]))
        time.sleep(0.1)
        kube.put(db([]))
        kube.wait_delivered()
    ksd.wait_answer(bind, NAME, "A", "10.1.0.10")
    assert answer(bind, NAME, "AAAA") == ["fd00::9"]


@pytest.mark.parametrize("ownership", ["txt", "zone"])
@pytest.mark.parametrize(
    "become",
    [
        pytest.param(lambda kube: kube.put(vmi("db", "prod", {"net2": []})), id="interface-removed"),
        pytest.param(lambda kube: kube.delete("prod", "db"), id="deleted"),
        pytest.param(lambda kube: kube.put(db([], phase="Succeeded")), id="succeeded"),
        pytest.param(lambda kube: kube.put(db([], phase="Failed")), id="failed"),
        pytest.param(lambda kube: kube.put(db([], annotations={"ksd-ddns/ignore": "true"})), id="ignored"),
    ],
)
def test_a_hold_ends_at_once_with_its_reason(bind: Bind, kube: Kube, run: Run, become: Any, ownership: str) -> None:
    kube.put(db())
    ksd = run(bind, kube, HOLD_DOWN="1h", OWNERSHIP=ownership)
    ksd.wait_ready()
    kube.put(db([]))
    settle(ksd, bind, kube)
    assert answer(bind, NAME, "A") == ["10.1.0.9"]
    become(kube)
    ksd.wait_answer(bind, NAME, "A")
    ksd.wait_answer(bind, "db.prod.vm.", "AAAA")
    ksd.wait(lambda: ksd.metrics()["held_families"] == 0, "all holds have ended")


def test_one_of_two_addresses_is_deleted_at_once(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(db(["10.1.0.9", "10.1.0.10"]))
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.put(db(["10.1.0.10"]))
    ksd.wait_answer(bind, NAME, "A", "10.1.0.10")


def test_without_hold_down_everything_is_deleted_at_once(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(db())
    ksd = run(bind, kube, HOLD_DOWN="0s")
    ksd.wait_ready()
    kube.put(db([]))
    ksd.wait_answer(bind, NAME, "A")


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_restart_restarts_the_hold_down(primary: Server, kube: Kube, run: Run, ownership: str) -> None:
    kube.put(db())
    ksd = run(primary, kube, HOLD_DOWN="1h", OWNERSHIP=ownership)
    ksd.wait_ready()
    kube.put(db([]))
    settle(ksd, primary, kube)
    ksd.kill()
    ksd.settings["HOLD_DOWN"] = "1s"
    serial = primary.serial()
    ksd.start()
    began = time.monotonic()
    ksd.wait_ready()
    assert answer(primary, NAME, "A") == ["10.1.0.9"]
    assert primary.serial() == serial
    ksd.wait_answer(primary, NAME, "A")
    ksd.wait_answer(primary, "db.prod.vm.", "AAAA")
    assert time.monotonic() - began > 0.9


def test_a_vmi_with_another_uid_inherits_nothing(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(db(uid="one"))
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.delete("prod", "db")
    kube.put(db([], uid="two"))
    ksd.wait_answer(bind, NAME, "A")
    ksd.wait_answer(bind, "db.prod.vm.", "A")


def test_a_vmi_with_another_uid_does_not_inherit_a_hold(bind: Bind, kube: Kube, run: Run) -> None:
    """The deletion happens between two lists, so no event reports it."""
    kube.put(db(uid="one"))
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.put(db([], uid="one"))
    settle(ksd, bind, kube)
    watching = kube.wait_watches()
    kube.put(db([], uid="two"))
    kube.compact()
    for watch in watching:
        watch.hang_up()
    ksd.wait_answer(bind, NAME, "A")


def test_a_vmi_recreated_while_the_primary_is_down_inherits_nothing(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(db(uid="one"))
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    bind.kill()
    kube.delete("prod", "db")
    kube.put(db([], uid="two"))
    kube.put(vmi("web", "prod"))
    ksd.wait_problem("primary")
    bind.start()
    ksd.wait_answer(bind, "web.prod.vm.", "A", "10.0.0.1")
    ksd.wait_answer(bind, NAME, "A")


def test_a_hand_edit_is_not_held(bind: Bind, kube: Kube, run: Run) -> None:
    """An address that the VMI never had did not vanish from it."""
    kube.put(db(["10.1.0.9"]))
    ksd = run(bind, kube, HOLD_DOWN="1h", DRIFT_INTERVAL="0.5s")
    ksd.wait_ready()
    bind.nsupdate(f"update add {NAME} 60 AAAA fd00::bad")
    for number in range(10):
        kube.put(db(["10.1.0.9"], annotations={"ksd-ddns/ttl": str(30 + number)}))
        time.sleep(0.1)
    ksd.wait_answer(bind, NAME, "AAAA")
    assert ksd.metrics()["held_families"] == 0


def test_no_hold_ends_while_the_source_is_down(bind: Bind, kube: Kube, run: Run) -> None:
    """The address may have returned while the source was down."""
    kube.put(db())
    kube.put(vmi("other", "prod", {"net1": BOTH}, uid="other"))
    quick = Timing(zone=ZoneTiming(catch_up=1.0), cluster=QUICK_WATCH)
    ksd = run(bind, kube, HOLD_DOWN="2s", timing=quick)
    ksd.wait_ready()
    kube.put(db([]))
    kube.put(vmi("other", "prod", {"net1": []}, uid="other"))
    settle(ksd, bind, kube)
    kube.stop()
    ksd.wait_problem("source", "cannot be reached")
    kube.put(db())
    time.sleep(2)
    assert answer(bind, NAME, "A") == ["10.1.0.9"]
    sent = ksd.metrics()["update_outcomes_total{accepted}"]
    kube.start()
    ksd.wait_answer(bind, "net1.other.prod.vm.", "A")  # this one is not back
    ksd.wait(lambda: ksd.metrics()["update_outcomes_total{accepted}"] == sent + 2, "and nothing else")
    assert answer(bind, NAME, "A") == ["10.1.0.9"]
    assert ksd.ready


def test_a_hold_that_has_ended_is_not_revived(bind: Bind, kube: Kube, run: Run) -> None:
    """Even while the source is down, when no hold ends."""
    kube.put(db())
    ksd = run(bind, kube, HOLD_DOWN="0.5s", timing=Timing(cluster=QUICK_WATCH))
    ksd.wait_ready()
    kube.put(db(["10.1.0.9"]))
    ksd.wait_answer(bind, NAME, "AAAA")
    kube.stop()
    ksd.wait_problem("source", "cannot be reached")
    kube.put(db(["10.1.0.10"]))
    kube.start()
    ksd.wait_answer(bind, NAME, "A", "10.1.0.10")
    assert answer(bind, NAME, "AAAA") == []
    assert ksd.metrics()["held_families"] == 0
