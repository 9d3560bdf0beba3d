# SPDX-License-Identifier: Apache-2.0
"""Faults look to the real client as those of a real server or network."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from harness.kube import Drop, EndWatch, ErrorEvent, Fault, Kube, Noise, Pieces, Repeat, Reply, Slow, Stall
from harness.kube.client import PATH, Client, Connect, kinds, lines, names, status_of
from harness.vmis import vmi


@pytest.fixture(params=[False, True], ids=["http", "https"])
def kube(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """Yield a server without and one with TLS: broken connections look different to the client."""
    with Kube(tls=request.param) as server:
        yield server


@pytest.fixture
def api(kube: Kube, connect: Connect) -> Client:
    """Return a client without retries, so that each fault is visible."""
    return connect(kube, retries=False)


@pytest.mark.parametrize(
    ("fault", "code", "reason", "message"),
    [
        pytest.param(Reply.status(401), 401, "Unauthorized", "Unauthorized", id="401"),
        pytest.param(
            Reply.forbidden("system:serviceaccount:secondary:secondary"), 403, "Forbidden",
            'virtualmachineinstances.kubevirt.io is forbidden: User "system:serviceaccount:secondary:secondary" cannot '
            'list resource "virtualmachineinstances" in API group "kubevirt.io" at the cluster scope', id="403",
        ),
        pytest.param(Reply.expired(), 410, "Expired", "The resourceVersion for the provided list is too old.",
                     id="410"),
        pytest.param(Reply.status(500), 500, "InternalError",
                     "Internal error occurred: etcdserver: request timed out", id="500"),
        pytest.param(Reply.status(503, "not ready"), 503, "ServiceUnavailable", "not ready", id="503"),
    ],
)  # fmt: skip
def test_a_fault_can_return_a_status(
    kube: Kube, api: Client, fault: Fault, code: int, reason: str, message: str
) -> None:
    injected = kube.fault(fault, verb="list", resource="virtualmachineinstances")
    assert api.core.list_namespace().items
    with pytest.raises(ApiException) as error:
        api.listed()
    status = status_of(error)
    assert (error.value.status, status["code"], status["reason"], status["message"]) == (code, code, reason, message)
    assert injected.hits == 1
    assert [request.status for request in kube.requests(verb="list")] == [200, code]
    assert api.listed()["items"] == []


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        pytest.param(Reply.not_installed(), 404, b"404 page not found\n", id="404"),
        pytest.param(Reply.throttled(7), 429, b"Too many requests, please try again later.\n", id="429"),
    ],
)
def test_a_fault_can_return_plain_text(kube: Kube, api: Client, fault: Fault, code: int, text: bytes) -> None:
    kube.fault(fault)
    answer = api.raw(PATH)
    assert (answer.status, answer.data) == (code, text)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers.get("Retry-After") == ("7" if code == 429 else None)


def test_a_client_retries_after_429(kube: Kube, connect: Connect) -> None:
    kube.fault(Reply.throttled(1))
    begin = time.monotonic()
    assert connect(kube).listed()["items"] == []  # urllib3 does that itself
    assert time.monotonic() - begin >= 1
    assert [request.status for request in kube.requests()] == [429, 200]


def test_the_second_page_can_fail(kube: Kube, api: Client) -> None:
    kube.load(vmi(name) for name in "abcd")
    kube.fault(Reply.status(500), verb="list", skip=1)
    pages = api.pages(2)
    assert names(next(pages)) == ["default/a", "default/b"]
    with pytest.raises(ApiException) as error:
        next(pages)
    assert error.value.status == 500


def test_a_connection_can_break_within_a_page(kube: Kube, api: Client) -> None:
    kube.load(vmi(f"vm-{i}") for i in range(100))
    for reset in (False, True):
        kube.fault(Drop(sent=100_000, reset=reset), verb="list")
        with pytest.raises(ProtocolError):
            api.listed()
    assert len(api.listed()["items"]) == 100


@pytest.mark.parametrize("sent", [None, 0], ids=["before-headers", "after-headers"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_connection_can_break_around_the_headers(kube: Kube, api: Client, sent: int | None, reset: bool) -> None:
    kube.put(vmi("a"))
    kube.fault(Drop(sent, reset=reset), verb="list")
    with pytest.raises(ProtocolError):
        api.listed()
    assert [request.status for request in kube.requests()] == [None if sent is None else 200]


def test_a_write_can_break_before_or_after_it_is_applied(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    for sent, done in ((None, False), (0, True)):
        kube.fault(Drop(sent), verb="patch")
        with pytest.raises(ProtocolError):
            api.patch({"metadata": {"labels": {"done": "yes"}}})
        obj = kube.get("default", "a")
        assert obj is not None
        assert ("done" in obj["metadata"]["labels"]) is done


@pytest.mark.parametrize("sent", [None, 0, 50_000], ids=["before-headers", "after-headers", "in-a-page"])
def test_a_server_can_stop_responding(kube: Kube, api: Client, sent: int | None) -> None:
    kube.load(vmi(f"vm-{i}") for i in range(100))
    with kube.fault(Stall(sent), times=None):
        begin = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            api.listed(_request_timeout=(1, 0.3))
        assert 0.25 < time.monotonic() - begin < 2
    assert len(api.listed()["items"]) == 100


def test_a_response_can_trickle(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    kube.fault(Slow(bytes_per_second=10_000), verb="list")
    begin = time.monotonic()
    assert names(api.listed()) == ["default/a"]
    assert time.monotonic() - begin > len(api.raw(PATH).data) / 10_000 * 0.9


def test_a_response_can_be_garbage(kube: Kube, api: Client) -> None:
    kube.fault(Reply.garbage())
    answer = api.raw(PATH)
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.data)


def test_a_fault_can_have_any_condition(kube: Kube, api: Client) -> None:
    fault = kube.fault(Reply.status(500), when=lambda request: request.query.get("limit") == "7", times=None)
    other = kube.fault(Reply.status(503), path=r"/namespaces/b/", times=2)
    assert api.listed()["items"] == []
    for _ in range(3):
        with pytest.raises(ApiException):
            api.listed(limit=7)
    assert api.listed("a")["items"] == []
    for _ in range(2):
        with pytest.raises(ApiException):
            api.listed("b")
    assert api.listed("b")["items"] == []
    assert (fault.hits, other.hits) == (3, 2)
    kube.faults.clear()
    assert api.listed(limit=7)["items"] == []


# --- watches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 2])
def test_a_watch_can_end_early(kube: Kube, api: Client, after: int) -> None:
    begin = kube.revision
    for name in "abc":
        kube.put(vmi(name))
    kube.fault(EndWatch(after))
    assert len(list(api.watch(begin))) == after
    assert len(api.watched(kube, begin)) == 3


@pytest.mark.parametrize(("code", "after"), [(410, 0), (410, 2), (500, 1)])
def test_a_watch_can_send_an_error_event(kube: Kube, api: Client, code: int, after: int) -> None:
    begin = kube.revision
    for name in "abc":
        kube.put(vmi(name))
    kube.fault(ErrorEvent(code, after=after))
    events = api.watch(begin)
    for _ in range(after):
        next(events)
    with pytest.raises(ApiException) as error:
        next(events)
    assert error.value.status == code


def test_a_watch_can_send_a_line_that_is_not_json(kube: Kube, api: Client) -> None:
    begin = kube.revision
    for name in "ab":
        kube.put(vmi(name))
    kube.fault(Noise(after=1))
    text = api.raw(PATH, watch="1", resourceVersion=str(begin), timeoutSeconds="1").data
    first, noise, second = text.splitlines()
    assert json.loads(first)["object"]["metadata"]["name"] == "a"
    assert noise == b'{"type":"MODIFIED","object":{"metadata":'
    assert json.loads(second)["object"]["metadata"]["name"] == "b"


def test_a_watch_can_repeat_events(kube: Kube, api: Client) -> None:
    begin = kube.put(vmi("a"))
    kube.delete("default", "a")
    kube.fault(Repeat(2))
    assert kinds(api.watched(kube, begin)) == ["DELETED"] * 2


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_chunks_do_not_align_with_events(kube: Kube, api: Client, size: int) -> None:
    begin = kube.revision
    written = [kube.put(vmi(name)) for name in "abcde"]
    kube.fault(Pieces(size))
    assert [revision for _, _, revision in lines(api.watched(kube, begin))] == written


def test_faults_of_watches_do_not_affect_lists(kube: Kube, api: Client) -> None:
    fault = kube.fault(EndWatch())
    api.listed()
    assert fault.hits == 0


@pytest.mark.parametrize(
    ("disturb", "outcome"),
    [
        pytest.param(Kube.cut_watches, ProtocolError, id="cut"),
        pytest.param(Kube.freeze_watches, ReadTimeoutError, id="half-open"),
        pytest.param(Kube.fail_watches, ApiException, id="error-event"),
        pytest.param(Kube.stop, ProtocolError, id="server-gone"),
        pytest.param(Kube.end_watches, StopIteration, id="end"),
    ],
)
def test_a_fault_affects_an_open_watch(
    kube: Kube, api: Client, disturb: Callable[[Kube], None], outcome: type[Exception]
) -> None:
    kube.put(vmi("a"))
    events = api.watch(kube.revision, _request_timeout=(1, 0.5))
    kube.bump("default", "a")
    assert next(events)["type"] == "MODIFIED"
    (watch,) = kube.wait_watches()
    kube.wait_delivered()
    disturb(kube)
    with pytest.raises(outcome):
        next(events)
    assert watch.sent == 1
    kube.wait(lambda: not kube.watches, "the watch is over")


def test_a_watch_can_break_within_an_event(kube: Kube, api: Client) -> None:
    begin = kube.put(vmi("a"))
    for _ in range(2):
        kube.bump("default", "a")
    size = len(json.dumps(kube.get("default", "a"), separators=(",", ":")))
    kube.fault(Drop(sent=size + size // 2), verb="watch")
    events = api.watch(begin)
    next(events)
    with pytest.raises(ProtocolError):
        next(events)


def test_a_frozen_watch_does_not_block_the_server(connect: Connect) -> None:
    with Kube() as kube:
        api = connect(kube)
        kube.put(vmi("a"))
        events = api.watch("0")
        next(events)
        kube.freeze_watches()
        begin = time.monotonic()
    assert time.monotonic() - begin < 1
    with pytest.raises(ProtocolError):
        next(events)


def test_a_new_watch_sends_missed_events(kube: Kube, api: Client) -> None:
    begin = kube.put(vmi("a"))
    seen: list[tuple[str, str, int]] = []
    faults: list[Any] = [EndWatch(1), Drop(sent=9_000), ErrorEvent(500, after=2), EndWatch(0), Drop(None), Repeat(1)]
    for name in "bcdefgh":
        kube.put(vmi(name))
    for fault in faults:
        kube.fault(fault, verb="watch")
        try:
            for event in api.watch(seen[-1][2] if seen else begin, seconds=1):
                seen += lines([event])
        except (ApiException, urllib3.exceptions.HTTPError):
            continue
    assert [name for _, name, _ in seen] == list("bcdefgh")


def test_retries_of_a_client_appear_in_the_request_log(kube: Kube, connect: Connect) -> None:
    kube.fault(Drop(None), times=2)
    api = connect(kube)
    api.listed()
    assert [request.status for request in kube.requests()] == [None, None, 200]
