"""Events on VMIs: each remark once, where kubectl describe shows it; whoever remarks never waits."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from ksd_ddns.cluster import events
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.events import Recorder
from ksd_ddns.zone.feed import Published, Remark
from ksd_ddns.zone.names import from_text
from ksd_ddns.zone.rrset import AAAA, TXT, A, Node, rrset
from tests.kube import Kube, Reply
from tests.vmis import vmi

CONFLICT = Remark("prod/db", "uid-1", "NameConflict", "db.prod.vm. is not published: it exists without our marker")


@pytest.fixture
def recorder(kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(events, "PER_SECOND", 1000.0)
    kube.put(vmi("db", "prod"))  # makes the namespace, too
    found = Recorder(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config"))), instance="pod-1")
    stop = Event()
    thread = Thread(target=found.run, args=(stop,))
    thread.start()
    yield found
    stop.set()
    thread.join()


def test_a_remark_is_an_event_on_its_vmi(kube: Kube, recorder: Recorder) -> None:
    recorder.remark(CONFLICT)
    kube.wait(lambda: bool(kube.events), "the event is written")
    (event,) = kube.events
    involved = event["involvedObject"]
    assert (involved["kind"], involved["namespace"], involved["name"], involved["uid"]) == (
        "VirtualMachineInstance",
        "prod",
        "db",
        "uid-1",
    )
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "NameConflict", CONFLICT.text)


def test_repeats_are_not_repeated(kube: Kube, recorder: Recorder) -> None:
    for _ in range(5):
        recorder.remark(CONFLICT)
    found = rrset(A, 60, [b"\x0a\0\0\1"])
    for _ in range(2):
        node = Node(from_text("db.prod.vm."), (found, rrset(TXT, 60, [b"\4mark"])))
        recorder.remark(Published("prod/db", "uid-1", node, (A, AAAA)))
    kube.wait(lambda: len(kube.events) == 2, "both events are written")
    time.sleep(0.2)
    assert {(event["type"], event["reason"], event["message"]) for event in kube.events} == {
        ("Warning", "NameConflict", CONFLICT.text),
        ("Normal", "Published", "db.prod.vm. is published: 10.0.0.1"),
    }


def test_of_several_replicas_one_says_it(
    kube: Kube, recorder: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recorder.remark(CONFLICT)
    kube.wait(lambda: bool(kube.events), "the event is written")
    other = Recorder(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "other"))), instance="pod-2")
    stop = Event()
    thread = Thread(target=other.run, args=(stop,))
    thread.start()
    other.remark(CONFLICT)
    # The same of another VMI with that name, which is another remark.
    other.remark(Remark(CONFLICT.vmi, "uid-9", CONFLICT.reason, CONFLICT.text))
    kube.wait(lambda: len(kube.events) == 2, "the second remark is written")
    stop.set()
    thread.join()
    assert {event["involvedObject"]["uid"] for event in kube.events} == {"uid-1", "uid-9"}
    assert not caplog.records


def test_a_name_that_is_cut_is_still_one(kube: Kube, recorder: Recorder) -> None:
    name = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 7}-{'e' * 5}"
    recorder.remark(Remark(f"prod/{name}", "uid-1", "NotPublished", "nothing is published"))
    kube.wait(lambda: bool(kube.events), "the event is written")
    (event,) = kube.events
    assert event["metadata"]["name"].split(".")[3] == "d" * 7


def test_a_forbidden_event_stops_nothing(kube: Kube, recorder: Recorder) -> None:
    with kube.fault(Reply.forbidden("ksd"), resource="events", times=1):
        recorder.remark(CONFLICT)
        kube.wait_requests(1, resource="events")
    recorder.remark(Remark("prod/web", "uid-2", "NotPublished", "nothing is published"))
    kube.wait(lambda: bool(kube.events), "the next event is written")
    assert [event["involvedObject"]["name"] for event in kube.events] == ["web"]


def test_a_flood_is_cut_and_nobody_waits(kube: Kube, tmp_path: Path) -> None:
    idle = Recorder(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config"))), instance="pod-1")
    began = time.monotonic()
    for number in range(3 * events.WAITING):
        idle.remark(Remark("prod/db", "uid-1", "NotPublished", f"{number}"))
    assert time.monotonic() - began < 1.0
