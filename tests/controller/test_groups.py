# SPDX-License-Identifier: Apache-2.0
"""Groups with a real controller and a real server: clients that ask all the time never get a member that has left."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.kube import Kube
from harness.servers import Bind, Server
from harness.vmis import vmi
from tests.controller.conftest import Run
from tests.controller.running import answer

WEB = "web.prod.vm."


def member(number: int, *, ready: bool = True, **more: Any) -> dict[str, Any]:
    """Return a VMI of the group `web`."""
    made = vmi(f"web-{number}", "prod", {"net1": [f"10.1.0.{number}"]}, annotations={"ksd-ddns/group": "web"}, **more)
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
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append((time.monotonic(), answer(primary, WEB, "A")))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


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
