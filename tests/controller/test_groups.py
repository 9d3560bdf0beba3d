# SPDX-License-Identifier: Apache-2.0
"""Groups with a real controller and a real server: clients that ask all the time never get a member that has left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.kube import Kube
from harness.servers import Bind, Server
from harness.vmis import vmi
from tests.controller.conftest import Run
from tests.controller.running import answer
from tests.e2e.asking import repeating

WEB = "web.prod.vm."
HTTP = f"_http._tcp.{WEB}"


def member(number: int, *, ready: bool = True, **more: Any) -> dict[str, Any]:
    """Return a VMI of the group `web`."""
    annotations = {"ksd-ddns/group": "web", "ksd-ddns/group-ports": "http=8080"}
    made = vmi(f"web-{number}", "prod", {"net1": [f"10.1.0.{number}"]}, annotations=annotations, **more)
    made["status"]["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
    return made


def deleting(number: int) -> dict[str, Any]:
    """Return a member with a deletion timestamp."""
    made = member(number)
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return made


@contextmanager
def asking(primary: Server) -> Iterator[list[tuple[float, list[str]]]]:
    """Query the group in a loop; the list gets each answer with the time before its query."""
    answers: list[tuple[float, list[str]]] = []
    with repeating(lambda: answers.append((time.monotonic(), answer(primary, WEB, "A")))):
        yield answers


def test_a_member_that_leaves_is_not_returned_again(primary: Server, kube: Kube, run: Run) -> None:
    for number in (1, 2, 3):
        kube.put(member(number))
    ksd = run(primary, kube)
    ksd.wait_ready()
    ksd.wait_answer(primary, WEB, "A", "10.1.0.1", "10.1.0.2", "10.1.0.3")
    with asking(primary) as answers:
        kube.put(member(1, ready=False))
        ksd.wait_answer(primary, WEB, "A", "10.1.0.2", "10.1.0.3")
        kube.put(deleting(2))
        ksd.wait_answer(primary, WEB, "A", "10.1.0.3")
        kube.put(member(1))
        ksd.wait_answer(primary, WEB, "A", "10.1.0.1", "10.1.0.3")
        kube.delete("prod", "web-3")
        ksd.wait_answer(primary, WEB, "A", "10.1.0.1")
    seen = [sorted(found) for _, found in answers]
    assert [] not in seen
    order = [found for at, found in enumerate(seen) if at == 0 or seen[at - 1] != found]
    expected = [
        ["10.1.0.1", "10.1.0.2", "10.1.0.3"],
        ["10.1.0.2", "10.1.0.3"],
        ["10.1.0.3"],
        ["10.1.0.1", "10.1.0.3"],
        ["10.1.0.1"],
    ]
    assert order == expected[len(expected) - len(order) :]
    assert answer(primary, "web-2.prod.vm.", "A") == ["10.1.0.2"]


def test_the_last_member_stays_also_over_a_restart_of_the_controller(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(member(1))
    kube.put(member(2))
    ksd = run(bind, kube)
    ksd.wait_ready()
    ksd.wait_answer(bind, WEB, "A", "10.1.0.1", "10.1.0.2")
    kube.put(member(1, ready=False))
    ksd.wait_answer(bind, WEB, "A", "10.1.0.2")
    kube.put(member(2, ready=False))
    kube.put(vmi("after", "prod", {"net1": ["10.9.9.9"]}))
    ksd.wait_answer(bind, "after.prod.vm.", "A", "10.9.9.9")
    assert answer(bind, WEB, "A") == ["10.1.0.2"]
    ksd.stop()
    again = run(bind, kube)
    again.wait_ready()
    assert answer(bind, WEB, "A") == ["10.1.0.2"]
    kube.put(member(1))
    again.wait_answer(bind, WEB, "A", "10.1.0.1")
    kube.delete("prod", "web-1")
    kube.delete("prod", "web-2")
    again.wait_answer(bind, WEB, "A")
    assert not [record for record in bind.axfr(soa=False) if record.owner == WEB]


def test_a_group_of_more_members_than_a_server_accepts(bind: Bind, kube: Kube, run: Run) -> None:
    for number in range(1, 121):
        kube.put(member(number))
    ksd = run(bind, kube)
    ksd.wait_ready()
    assert len(answer(bind, WEB, "A")) == 90
    assert answer(bind, "web-120.prod.vm.", "A") == ["10.1.0.120"]


def test_the_services_of_a_group_follow_its_members(primary: Server, kube: Kube, run: Run) -> None:
    for number in (1, 2):
        kube.put(member(number))
    ksd = run(primary, kube, GROUP_SRV="true")
    ksd.wait_ready()
    both = [f"0 0 8080 web-{number}.prod.vm." for number in (1, 2)]
    ksd.wait_answer(primary, HTTP, "SRV", *both)
    kube.put(member(1, ready=False))
    ksd.wait_answer(primary, HTTP, "SRV", both[1])
    metrics = ksd.metrics()
    assert {name: value for name, value in metrics.items() if name.startswith("group")} == {
        "groups{served}": 1.0, "groups{unserved}": 0.0, "group_members{ready}": 1.0, "group_members{unready}": 1.0,
    }  # fmt: skip
    kube.put(member(2, ready=False))
    kube.put(vmi("after", "prod", {"net1": ["10.9.9.9"]}))
    ksd.wait_answer(primary, "after.prod.vm.", "A", "10.9.9.9")
    assert answer(primary, HTTP, "SRV") == both[1:]
    ksd.stop()
    again = run(primary, kube, GROUP_SRV="true")
    again.wait_ready()
    assert answer(primary, HTTP, "SRV") == both[1:]
    for number in (1, 2):
        kube.delete("prod", f"web-{number}")
    again.wait_answer(primary, WEB, "A")
    assert not [record for record in primary.axfr(soa=False) if record.owner in {WEB, HTTP}]


def test_the_records_of_services_go_when_the_setting_is_turned_off(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(member(1))
    ksd = run(primary, kube, GROUP_SRV="true")
    ksd.wait_ready()
    ksd.wait_answer(primary, HTTP, "SRV", "0 0 8080 web-1.prod.vm.")
    ksd.stop()
    again = run(primary, kube)
    again.wait_ready()
    assert not [record for record in primary.axfr(soa=False) if record.owner == HTTP]
    assert answer(primary, WEB, "A") == ["10.1.0.1"]


def test_a_vmi_that_no_longer_matches_the_selector_leaves_its_group(bind: Bind, kube: Kube, run: Run) -> None:
    for number in (1, 2):
        kube.put(member(number, labels={"dns": "yes"}))
    ksd = run(bind, kube, LABEL_SELECTOR="dns=yes")
    ksd.wait_ready()
    ksd.wait_answer(bind, WEB, "A", "10.1.0.1", "10.1.0.2")
    kube.put(member(1, labels={"dns": "no"}))
    ksd.wait_answer(bind, WEB, "A", "10.1.0.2")


def test_groups_of_two_clusters_with_one_name_are_a_conflict(bind: Bind, make_kube: Any, run: Run) -> None:
    one, other = make_kube(), make_kube()
    one.put(member(1))
    other.put(member(2))
    first = run(bind, one, OWNER_ID="one")
    first.wait_ready()
    first.wait_answer(bind, WEB, "A", "10.1.0.1")
    second = run(bind, other, OWNER_ID="two")
    second.wait_ready()
    second.wait_answer(bind, "web-2.prod.vm.", "A", "10.1.0.2")
    assert answer(bind, WEB, "A") == ["10.1.0.1"]
    one.delete("prod", "web-1")
    second.wait_answer(bind, WEB, "A", "10.1.0.2")
