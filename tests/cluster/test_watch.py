# SPDX-License-Identifier: Apache-2.0
"""What a watch publishes, and how it reports every failure of the API server."""

import time
from collections.abc import Callable

import pytest

from harness.kube import Drop, EndWatch, ErrorEvent, Fault, Kube, Noise, Pieces, Repeat, Reply, Request, Slow, Stall
from harness.vmis import vmi
from ksd_ddns.kubevirt.events import SourceFailed, VmiChanged, VmiDeleted
from ksd_ddns.kubevirt.vmi import Vmi
from tests.cluster.conftest import Listening

Listen = Callable[..., Listening]

MANY = [vmi(f"vm-{number}", "prod", {"net1": [f"10.1.0.{number}"]}) for number in range(12)]
LIST = "virtualmachineinstances"


@pytest.fixture
def full(kube: Kube) -> Kube:
    """Return a cluster with a dozen VMIs, which sends bookmarks often."""
    kube.load(MANY)
    kube.server.bookmark_seconds = 0.15
    return kube


def keys(vmis: tuple[Vmi, ...]) -> set[str]:
    return {item.key for item in vmis}


ALL = {f"prod/vm-{number}" for number in range(12)}


def test_a_paged_list_is_followed_by_changes(full: Kube, listen: Listen) -> None:
    watched = listen(full)
    watched.wait(lambda: watched.lists, "the list")
    assert keys(watched.lists[0].vmis) == ALL
    full.wait_watches()
    full.put(vmi("new", "prod"))
    full.put(vmi("vm-1", "prod", {"net1": ["10.1.0.99"]}))
    full.delete("prod", "vm-2")
    watched.wait(lambda: len(watched.news) == 3, "three changes")
    new, changed, gone = watched.news
    assert isinstance(new, VmiChanged)
    assert new.vmi.key == "prod/new"
    assert isinstance(changed, VmiChanged)
    assert changed.vmi.interfaces[0].addresses == (bytes((10, 1, 0, 99)),)
    assert isinstance(gone, VmiDeleted)
    assert gone.key == "prod/vm-2"
    assert [request.query.get("limit") for request in full.requests(verb="list", resource=LIST)] == ["5"] * 3
    first = full.requests(verb="watch", resource=LIST)[0].query
    assert first["allowWatchBookmarks"] == "true"
    assert int(first["timeoutSeconds"]) > 60


def test_changes_without_effect_on_names_are_not_published(full: Kube, listen: Listen) -> None:
    watched = listen(full)
    full.wait_watches()
    full.heartbeats(500)
    full.put(vmi("last", "prod"))
    watched.wait(lambda: watched.news, "the change")
    assert len(watched.news) == 1


def test_namespace_and_selector_limit_the_watch(full: Kube, listen: Listen) -> None:
    full.put(vmi("db", "test", labels={"dns": "yes"}))
    full.put(vmi("web", "test"))
    watched = listen(full, namespace="test", selector="dns=yes")
    watched.wait(lambda: watched.lists, "the list")
    assert keys(watched.lists[0].vmis) == {"test/db"}
    assert watched.lists[0].namespace == "test"
    full.wait_watches()
    full.put(vmi("db", "test", labels={"dns": "no"}))
    watched.wait(lambda: watched.news, "it leaves the selection")
    assert isinstance(watched.news[0], VmiDeleted)


LISTS = [
    pytest.param(Reply.status(401), ("401", "token", "log in again"), id="401"),
    pytest.param(Reply.forbidden("secondary"), ("403", "grant get, list and watch", "ClusterRole secondary"), id="403"),
    pytest.param(Reply.not_installed(), ("404", "KubeVirt is not installed"), id="404"),
    pytest.param(Reply.throttled(1), ("429",), id="429"),
    pytest.param(Reply.status(500), ("500", "etcdserver"), id="500"),
    pytest.param(Reply.status(503), ("503",), id="503"),
    pytest.param(Reply.status(302), ("302",), id="302"),
    pytest.param(Reply.garbage(), ("not a list",), id="half-a-body"),
    pytest.param(Reply.garbage(b""), ("not a list",), id="no-body"),
    pytest.param(Reply.garbage(b"<html>login</html>"), ("not a list",), id="html"),
    pytest.param(Reply.garbage(b'{"kind":"List","items":[],"metadata":"none"}'), ("not a list",), id="another-shape"),
    pytest.param(Reply.garbage(b'{"items":[{"metadata":{}}],"metadata":{}}'), ("not a list",), id="nameless"),
    pytest.param(Reply.garbage(b'{"items":' + b"[" * 100_000), ("not a list",), id="deep"),
    pytest.param(Drop(), ("cannot be reached",), id="dropped"),
    pytest.param(Drop(sent=3_000), ("cannot be reached",), id="dropped-in-the-middle"),
    pytest.param(Drop(sent=3_000, reset=True), ("cannot be reached",), id="reset-in-the-middle"),
    pytest.param(Stall(), ("went silent",), id="silent"),
    pytest.param(Stall(sent=3_000), ("went silent",), id="silent-in-the-middle"),
]


@pytest.mark.parametrize(("fault", "words"), LISTS)
@pytest.mark.parametrize("page", [0, 2], ids=["first-page", "last-page"])
def test_a_failed_list_is_not_an_empty_list(
    full: Kube, listen: Listen, fault: Fault, words: tuple[str, ...], page: int
) -> None:
    tokens: list[str] = []

    def wanted(request: Request) -> bool:
        token = request.query.get("continue", "")
        if not token:
            tokens.clear()
        if token not in tokens:  # a page may be requested again
            tokens.append(token)
        return tokens.index(token) == page

    with full.fault(fault, verb="list", when=wanted, times=None):
        watched = listen(full)
        watched.wait(lambda: all(word in watched.failure for word in words), f"a problem: {words}")
        assert full.url in watched.failure
        assert not watched.lists
    watched.wait(lambda: watched.lists and not watched.failure, "it goes on")
    assert keys(watched.lists[0].vmis) == ALL


def test_a_continue_token_that_expires_restarts_the_list(full: Kube, listen: Listen) -> None:
    done: list[int] = []

    def compact(request: Request) -> bool:
        if request.query.get("continue") and not done:
            done.append(full.compact())
        return False

    full.fault(Reply.status(500), verb="list", when=compact, times=None)
    watched = listen(full)
    watched.wait(lambda: watched.lists, "the list")
    assert done
    assert keys(watched.lists[0].vmis) == ALL
    assert len(full.requests(verb="list", resource=LIST)) == 5


WATCHES = [
    pytest.param(Reply.status(401), ("401",), id="401"),
    pytest.param(Reply.forbidden("secondary", "watch"), ("403", "grant"), id="403"),
    pytest.param(Reply.not_installed(), ("404", "KubeVirt is not installed"), id="404"),
    pytest.param(Reply.throttled(1), ("429",), id="429"),
    pytest.param(Reply.status(500), ("500",), id="500"),
    pytest.param(Reply.garbage(b"<html>login</html>\n"), ("an invalid watch event",), id="html"),
    pytest.param(Noise(), ("an invalid watch event",), id="garbage"),
    pytest.param(Noise(b"\xff\xfe\n"), ("an invalid watch event",), id="not-text"),
    pytest.param(Noise(b'{"type":"MODIFIED","object":null}\n'), ("an invalid watch event",), id="null"),
    pytest.param(
        Noise(b'{"type":"DELETED","object":{"metadata":{}}}\n'), ("invalid watch event",), id="deleted-nameless"
    ),
    pytest.param(ErrorEvent(500, "etcdserver: leader changed"), ("500", "leader changed"), id="error-500"),
    pytest.param(ErrorEvent(403, "forbidden"), ("403",), id="error-403"),
    pytest.param(Drop(), ("cannot be reached",), id="dropped"),
    pytest.param(Stall(), ("went silent",), id="silent"),
    pytest.param(EndWatch(), ("ended its answer", "at once"), id="ends-at-once"),
    pytest.param(Drop(sent=0), ("cut its answer",), id="cut-at-once"),
    pytest.param(Stall(sent=0), ("went silent",), id="half-open"),
]


@pytest.mark.parametrize(("fault", "words"), WATCHES)
def test_a_failed_watch_recovers(full: Kube, listen: Listen, fault: Fault, words: tuple[str, ...]) -> None:
    """The problem is reported, nothing is deleted, requests are few, and changes in the meantime arrive later."""
    watched = listen(full)
    full.wait_watches()
    since, began = full.count, time.monotonic()
    with full.fault(fault, verb="watch", times=None):
        full.cut_watches()
        watched.wait(lambda: all(word in watched.failure for word in words), f"a problem: {words}")
        full.delete("prod", "vm-3")
        time.sleep(0.3)
        assert len(full.requests(since=since)) < 12 + 4 * (time.monotonic() - began) / 0.025
        assert all(len(listed.vmis) >= 11 for listed in watched.lists)
    seen = len(watched.events)

    def recovered() -> bool:
        new = watched.events[seen:]
        return not watched.failure and SourceFailed("", "") in new

    def gone() -> bool:  # the problem ends with the headers of the response, before the event arrives
        deleted = any(isinstance(item, VmiDeleted) for item in watched.news)
        return deleted or "prod/vm-3" not in keys(watched.lists[-1].vmis)

    watched.wait(recovered, "it goes on, and says so without an event")
    watched.wait(gone, "the deletion arrives")


def test_a_new_list_replaces_an_unusable_history(full: Kube, listen: Listen) -> None:
    """An unreadable event is part of the history, so every watch from there repeats it: list instead."""
    watched = listen(full)
    full.wait_watches()
    with full.fault(Noise(), verb="watch", when=lambda r: int(r.query["resourceVersion"]) < full.revision, times=None):
        full.cut_watches()
        full.put(vmi("new", "prod"))
        watched.wait(lambda: len(watched.lists) == 2 and not watched.failure, "a new list")
        assert "prod/new" in keys(watched.lists[1].vmis)
        full.put(vmi("newer", "prod"))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Slow(20_000), id="slow"),
        pytest.param(Repeat(3), id="repeated"),
        pytest.param(Pieces(7), id="pieces"),
    ],
)
def test_an_odd_but_complete_stream_is_accepted(full: Kube, listen: Listen, fault: Fault) -> None:
    with full.fault(fault, verb="watch", times=None):
        watched = listen(full)
        full.wait_watches()
        full.put(vmi("new", "prod"))
        full.delete("prod", "vm-2")
        watched.wait(lambda: len(watched.news) >= 2, "two changes")
        changed, *gone = watched.news
        assert isinstance(changed, VmiChanged)
        assert {item.key for item in gone if isinstance(item, VmiDeleted)} == {"prod/vm-2"}


def test_a_slow_list_completes(full: Kube, listen: Listen) -> None:
    with full.fault(Slow(50_000), verb="list", times=None):
        watched = listen(full)
        watched.wait(lambda: watched.lists, "the list")
    assert keys(watched.lists[0].vmis) == ALL


def test_a_dead_connection_is_detected(full: Kube, listen: Listen) -> None:
    """A firewall that forgot the connection drops everything: missing bookmarks show it."""
    watched = listen(full)
    full.wait_watches()
    full.freeze_watches()
    began = time.monotonic()
    full.put(vmi("new", "prod"))
    watched.wait(lambda: watched.news, "the change comes by another connection")
    assert time.monotonic() - began > 0.2
    assert not watched.failure


def test_a_410_in_the_stream_leads_to_a_list_that_finds_deletions(full: Kube, listen: Listen) -> None:
    watched = listen(full)
    full.wait_watches()
    with full.fault(Reply.status(500), verb="watch", times=1):
        full.cut_watches()
        full.delete("prod", "vm-3")
        full.compact()
    watched.wait(lambda: len(watched.lists) == 2, "a new list")
    assert keys(watched.lists[1].vmis) == ALL - {"prod/vm-3"}


def test_bookmarks_advance_the_watch(make_kube: Callable[..., Kube], listen: Listen) -> None:
    """Unselected VMIs may change for a long time: an old version would expire."""
    kube = make_kube(history=10, bookmark_seconds=0.1)
    kube.load(MANY)
    watched = listen(kube, namespace="prod")
    kube.wait_watches()
    for number in range(20):
        kube.put(vmi(f"other-{number}", "test"))
    revision = kube.revision
    time.sleep(0.3)
    kube.cut_watches()
    kube.put(vmi("new", "prod"))
    watched.wait(lambda: watched.news, "the change")
    assert len(watched.lists) == 1
    assert int(kube.requests(verb="watch", resource=LIST)[-1].query["resourceVersion"]) >= revision


BROKEN = {**vmi("vm-3", "prod"), "status": {"interfaces": {"net1": "10.1.0.3"}}}


def test_an_object_that_becomes_unreadable_keeps_its_last_state(full: Kube, listen: Listen) -> None:
    watched = listen(full)
    full.wait_watches()
    full.put(BROKEN)
    full.put(vmi("next", "prod"))
    watched.wait(lambda: watched.news, "the next one")
    assert [item.vmi.key for item in watched.news if isinstance(item, VmiChanged)] == ["prod/next"]
    full.fail_watches(410)
    watched.wait(lambda: len(watched.lists) == 2, "a new list")
    assert keys(watched.lists[1].vmis) == ALL | {"prod/next"}  # as it was known
    assert not watched.lists[1].unreadable
    full.wait_watches()
    full.delete("prod", "vm-3")
    watched.wait(lambda: any(isinstance(item, VmiDeleted) for item in watched.news), "its end")
    assert watched.news[-1] == VmiDeleted("prod/vm-3", watched.news[-1].at)


def test_an_object_that_was_never_readable_is_reported(full: Kube, listen: Listen) -> None:
    full.put(BROKEN)
    watched = listen(full)
    watched.wait(lambda: watched.lists, "the list")
    assert keys(watched.lists[0].vmis) == ALL - {"prod/vm-3"}
    assert watched.lists[0].unreadable == {"prod/vm-3"}


def test_the_watch_survives_restarts_of_the_api_server(full: Kube, listen: Listen) -> None:
    watched = listen(full)
    full.wait_watches()
    for number in range(3):
        full.stop()
        watched.wait(lambda: "check that it is up" in watched.failure, "it is gone")
        full.delete("prod", f"vm-{number}")
        full.start()
        full.wait_watches()
        watched.wait(lambda: not watched.failure, "it is back")
    known = ALL - {f"prod/vm-{number}" for number in range(3)}

    def followed() -> bool:
        """Return whether the deletion was published, by the watch or by a new list."""
        gone = {item.key for item in watched.news if isinstance(item, VmiDeleted)}
        return keys(watched.lists[-1].vmis) - gone == known

    watched.wait(followed, "what went meanwhile")
