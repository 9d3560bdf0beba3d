# SPDX-License-Identifier: Apache-2.0
"""Events on VMIs: each notification once, visible in kubectl describe; recording never blocks."""

import gc
import itertools
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from harness.kube import Kube, Reply
from harness.vmis import vmi
from ksd_ddns.cluster import events
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.events import Recorder
from ksd_ddns.wire.names import from_text
from ksd_ddns.wire.rrset import AAAA, TXT, A, Node, rrset
from ksd_ddns.zone.notification import Published, VmiWarning

CONFLICT = VmiWarning(
    "prod/db", "uid-1", "NameConflict", "db.prod.vm. is not published: it exists without our ownership record"
)


@pytest.fixture
def recorder(kube: Kube, tmp_path: Path) -> Iterator[Recorder]:
    kube.put(vmi("db", "prod"))  # makes the namespace, too
    found = Recorder(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config"))), instance="pod-1", per_second=1000)
    stop = Event()
    thread = Thread(target=found.run, args=(stop,))
    thread.start()
    yield found
    stop.set()
    thread.join()


def test_a_notification_becomes_an_event_on_its_vmi(kube: Kube, recorder: Recorder) -> None:
    recorder.record(CONFLICT)
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


def test_a_repeated_notification_is_sent_once(kube: Kube, recorder: Recorder) -> None:
    for _ in range(5):
        recorder.record(CONFLICT)
    found = rrset(A, 60, [b"\x0a\0\0\1"])
    for _ in range(2):
        node = Node(from_text("db.prod.vm."), (found, rrset(TXT, 60, [b"\4mark"])))
        recorder.record(Published("prod/db", "uid-1", node, (A, AAAA)))
    kube.wait(lambda: len(kube.events) == 2, "both events are written")
    time.sleep(0.2)
    assert {(event["type"], event["reason"], event["message"]) for event in kube.events} == {
        ("Warning", "NameConflict", CONFLICT.text),
        ("Normal", "Published", "db.prod.vm. is published: 10.0.0.1"),
    }


def test_only_one_replica_writes_the_event(
    kube: Kube, recorder: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recorder.record(CONFLICT)
    kube.wait(lambda: bool(kube.events), "the event is written")
    other = Recorder(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "other"))), instance="pod-2")
    stop = Event()
    thread = Thread(target=other.run, args=(stop,))
    thread.start()
    other.record(CONFLICT)
    # The same warning about another VMI with that name is another notification.
    other.record(VmiWarning(CONFLICT.vmi, "uid-9", CONFLICT.reason, CONFLICT.text))
    kube.wait(lambda: len(kube.events) == 2, "the second Event is written")
    stop.set()
    thread.join()
    assert {event["involvedObject"]["uid"] for event in kube.events} == {"uid-1", "uid-9"}
    assert not caplog.records


def test_a_shortened_event_name_is_valid(kube: Kube, recorder: Recorder) -> None:
    name = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 7}-{'e' * 5}"
    recorder.record(VmiWarning(f"prod/{name}", "uid-1", "NotPublished", "nothing is published"))
    kube.wait(lambda: bool(kube.events), "the event is written")
    (event,) = kube.events
    assert event["metadata"]["name"].split(".")[3] == "d" * 7


def test_recording_continues_after_a_forbidden_event(kube: Kube, recorder: Recorder) -> None:
    with kube.fault(Reply.forbidden("ksd"), resource="events", times=1):
        recorder.record(CONFLICT)
        kube.wait_requests(1, resource="events")
    recorder.record(VmiWarning("prod/web", "uid-2", "NotPublished", "nothing is published"))
    kube.wait(lambda: bool(kube.events), "the next event is written")
    assert [event["involvedObject"]["name"] for event in kube.events] == ["web"]


def warnings(namespace: str, count: int, vmi: str = "") -> list[VmiWarning]:
    return [
        VmiWarning(f"{namespace}/{vmi or f'vm-{number}'}", f"uid-{number}", "NotPublished", f"{number}")
        for number in range(count)
    ]


def order(kube: Kube) -> list[str]:
    return [request.namespace for request in kube.requests(resource="events")]


def test_a_flood_is_limited_and_recording_does_not_block(kube: Kube, tmp_path: Path) -> None:
    idle = Recorder(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config"))), instance="pod-1")
    began = time.monotonic()
    for warning in warnings("prod", 3 * events.MAX_WAITING):
        idle.record(warning)
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param([warnings("loud", 5_000)], id="one-namespace"),
        pytest.param([warnings(f"loud-{number}", 300) for number in range(30)], id="many-namespaces"),
        pytest.param([warnings("loud", 40_000, vmi="db")], id="one-vmi"),
    ],
)
def test_one_tenant_does_not_crowd_out_the_others(kube: Kube, tmp_path: Path, flood: list[list[VmiWarning]]) -> None:
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))
    recorder = Recorder(api, instance="pod-1", per_second=1000)
    quiet = warnings("quiet", 5)
    for warning in (*itertools.chain(*flood), *quiet):
        recorder.record(warning)
    for name in {warning.vmi.partition("/")[0] for warning in (*itertools.chain(*flood), *quiet)}:
        kube.add_namespace(name)
    stop = Event()
    thread = Thread(target=recorder.run, args=(stop,))
    thread.start()
    kube.wait(lambda: order(kube).count("quiet") == 5, "the Events of the quiet namespace")
    stop.set()
    thread.join()
    last = len(order(kube)) - order(kube)[::-1].index("quiet")
    assert last <= 5 * (len(flood) + 1), "one of each namespace in turn"


def test_a_dropped_notification_is_written_when_it_is_reported_again(kube: Kube, recorder: Recorder) -> None:
    kube.add_namespace("loud")
    many = warnings("loud", 2 * events.MAX_PER_NAMESPACE)
    while len(kube.events) < len(many):
        for warning in many:
            recorder.record(warning)
        seen = len(kube.events)
        kube.wait(lambda seen=seen: len(kube.events) > seen, "more Events")  # type: ignore[misc]
    assert len(kube.requests(resource="events")) == len(many), "none of them twice"


def test_memory_is_bounded(kube: Kube, tmp_path: Path) -> None:
    """Tenants can create any number of namespaces, VMIs and reasons."""
    idle = Recorder(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config"))), instance="pod-1", remembered=500)
    tracemalloc.start()
    try:
        sizes = []
        for begin in (0, 5_000):
            for number in range(begin, begin + 5_000):
                for warning in warnings(f"space-{number}", 3):
                    idle.record(warning)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] < 1.3 * sizes[0]


def test_events_pause_while_the_server_is_busy(kube: Kube, recorder: Recorder) -> None:
    kube.fault(Reply.throttled(1), resource="events", times=1)
    recorder.record(CONFLICT)
    recorder.record(VmiWarning("prod/web", "uid-2", "NotPublished", "nothing is published"))
    first, second = kube.wait_requests(2, resource="events")
    assert second.at - first.at >= 0.9
