# SPDX-License-Identifier: Apache-2.0
"""Watches as the real client gets them: order, selection, bookmarks, and expired history."""

import json
import threading
import time

import pytest
from kubernetes import watch
from kubernetes.client.exceptions import ApiException

from harness.kube import Kube
from harness.kube.client import PATH, Client, Connect, MakeKube, lines, status_of, version
from harness.vmis import vmi


def test_events_follow_the_list_in_order_with_their_versions(kube: Kube, api: Client) -> None:
    kube.put(vmi("old"))
    begin = version(api.listed())
    made = kube.put(vmi("a", "ns1"))
    kube.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": "ns1"}})
    bumped = kube.bump("default", "old")
    kube.delete("ns1", "a")
    assert lines(api.watched(kube, begin)) == [
        ("ADDED", "a", made),
        ("MODIFIED", "old", bumped),
        ("DELETED", "a", bumped + 1),  # the version of the deletion
    ]


def test_an_open_watch_gets_every_change_at_once(kube: Kube, api: Client) -> None:
    seen: list[tuple[float, int]] = []

    def read() -> None:
        for event in api.watch(kube.revision, seconds=30):
            seen.append((time.monotonic(), version(event["object"])))
            if event["object"]["metadata"]["name"] == "last":
                return

    thread = threading.Thread(target=read)
    thread.start()
    kube.wait_watches()
    written = [kube.put(vmi(f"vm-{i % 7}")) for i in range(300)]
    kube.wait(lambda: len(seen) == 300, "300 events")
    now = time.monotonic()
    written.append(kube.put(vmi("last")))
    thread.join(5)
    assert [revision for _, revision in seen] == written
    assert seen[-1][0] - now < 1
    kube.wait(lambda: not kube.watches, "the server forgets a watch whose client went")


def test_a_watch_is_limited_to_its_namespace(kube: Kube, api: Client) -> None:
    begin = kube.revision
    kube.put(vmi("x", "a"))
    kube.put(vmi("y", "a-b"))
    assert [name for _, name, _ in lines(api.watched(kube, begin, namespace="a"))] == ["x"]
    assert [name for _, name, _ in lines(api.watched(kube, begin))] == ["x", "y"]


@pytest.mark.parametrize("resource_version", ["", "0"])
def test_a_watch_without_a_version_starts_with_the_current_state(
    kube: Kube, api: Client, resource_version: str
) -> None:
    first, second = kube.put(vmi("b")), kube.put(vmi("a"))
    assert lines(api.watched(kube, resource_version)) == [("ADDED", "a", second), ("ADDED", "b", first)]


def test_objects_are_added_and_deleted_as_they_enter_and_leave_the_selection(kube: Kube, api: Client) -> None:
    begin = kube.put(vmi("a"))
    into = kube.put(vmi("a", labels={"l": "x"}))
    within = kube.put(vmi("a", labels={"l": "x", "m": "y"}))
    out = kube.put(vmi("a", labels={"l": "z"}))
    kube.put(vmi("b", labels={"l": "z"}))
    kube.delete("default", "a")
    events = api.watched(kube, begin, label_selector="l=x")
    assert lines(events) == [("ADDED", "a", into), ("MODIFIED", "a", within), ("DELETED", "a", out)]
    assert events[-1]["object"]["metadata"]["labels"]["l"] == "x"  # as it was before


def test_bookmarks_are_sent_on_request(make_kube: MakeKube, connect: Connect) -> None:
    kube = make_kube(bookmark_seconds=0.2)
    api = connect(kube)
    begin = kube.put(vmi("a"))
    kube.add_namespace("elsewhere")
    events = list(api.watch(begin, seconds=1, allow_watch_bookmarks=True))
    assert len(events) >= 2
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert events[0]["object"] == {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"resourceVersion": str(begin + 1)},
    }
    assert api.watched(kube, begin) == []


def test_a_watch_ends_with_a_bookmark_from_which_the_next_can_start(kube: Kube, api: Client) -> None:
    begin = kube.revision
    for name in "abc":
        kube.put(vmi(name))
    *events, bookmark = lines(api.watch(begin, seconds=1, allow_watch_bookmarks=True))
    assert [name for _, name, _ in events] == ["a", "b", "c"]
    assert bookmark == ("BOOKMARK", "", kube.revision)
    later = kube.put(vmi("d"))
    assert lines(api.watched(kube, bookmark[2])) == [("ADDED", "d", later)]


def test_a_watch_ends_at_its_timeout(kube: Kube, api: Client) -> None:
    begin = time.monotonic()
    answer = api.raw(PATH, watch="true", resourceVersion=str(kube.revision), timeoutSeconds="1")
    assert (answer.status, answer.data) == (200, b"")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert 0.9 < time.monotonic() - begin < 2
    api.listed()
    assert {request.connection for request in kube.requests()} == {1}  # the connection is still good


def test_an_expired_version_returns_200_and_an_error_event(kube: Kube, api: Client) -> None:
    begin = kube.put(vmi("a"))
    oldest = kube.compact()
    answer = api.raw(PATH, watch="1", resourceVersion=str(begin), timeoutSeconds="5")
    assert answer.status == 200
    assert json.loads(answer.data) == {
        "type": "ERROR",
        "object": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"too old resource version: {begin} ({oldest})",
            "reason": "Expired",
            "code": 410,
        },
    }
    with pytest.raises(ApiException) as error:
        api.watched(kube, begin)
    assert error.value.status == 410
    assert api.watched(kube, version(api.listed())) == []


def test_an_expired_version_can_return_410(kube: Kube, api: Client) -> None:
    kube.api.gone_as_status = True
    kube.compact()
    with pytest.raises(ApiException) as error:
        api.watched(kube, 1)
    assert (error.value.status, status_of(error)["reason"]) == (410, "Expired")


def test_the_history_is_limited(make_kube: MakeKube, connect: Connect) -> None:
    kube = make_kube(history=5)
    api = connect(kube)
    versions = [kube.put(vmi("a")) for _ in range(10)]
    assert [revision for _, _, revision in lines(api.watched(kube, versions[4]))] == versions[5:]
    with pytest.raises(ApiException):
        api.watched(kube, versions[3])


def test_an_open_watch_survives_a_compaction(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    events = api.watch(kube.revision)
    kube.bump("default", "a")
    assert next(events)["type"] == "MODIFIED"
    kube.compact()
    kube.bump("default", "a")
    assert next(events)["type"] == "MODIFIED"


def test_a_watch_from_a_future_version_waits_for_it(kube: Kube, api: Client) -> None:
    """As after the restore of an older backup: the client asks for versions that do not exist yet."""
    begin = kube.revision
    for name in "abcd":
        kube.put(vmi(name))
    assert lines(api.watched(kube, begin + 3)) == [("ADDED", "d", begin + 4)]


def test_a_streaming_list_ends_with_a_marked_bookmark(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    options = {"watch": "1", "sendInitialEvents": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "1"}
    answer = api.raw(PATH, resourceVersionMatch="NotOlderThan", **options)
    added, bookmark = (json.loads(line) for line in answer.data.splitlines()[:2])
    assert added["type"] == "ADDED"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert api.raw(PATH, **options).status == 422


def test_built_in_kinds_can_be_watched(kube: Kube, api: Client) -> None:
    begin = kube.revision
    kube.add_namespace("new")
    stream = watch.Watch().stream(api.core.list_namespace, resource_version=str(begin), timeout_seconds=1)
    assert [(event["type"], event["object"].metadata.name) for event in stream] == [("ADDED", "new")]
