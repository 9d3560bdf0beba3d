"""Health, readiness, metrics and the page for people: what they say, and that nothing that is asked ends them."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ksd_ddns import serving
from ksd_ddns.sync.snapshot import LATENCY_BUCKETS, Snapshot
from ksd_ddns.status import StatusServer
from ksd_ddns.status.pages import SHOWN
from ksd_ddns.zone.owned import Owned
from tests.controller.conftest import Run
from tests.controller.running import Running
from tests.kube import Kube, Reply
from tests.servers import Bind
from tests.vmis import vmi
from tests.zone.build import a, live, node, scope, zone_rules

DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})


def test_not_ready_before_the_first_sync_and_ready_after(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    with kube.fault(Reply.status(500), verb="list", times=None):
        ksd = run(bind, kube)
        ksd.wait_complaint("source", "500")
        assert ksd.get("/healthz") == (200, "ok\n")
        code, text = ksd.get("/readyz")
        assert code == 503
        assert re.search(r"^\[-\] sync of vm\.: the first full sync is not done yet$", text, re.MULTILINE)
        assert text.endswith("\nnot ready\n")
        assert ksd.metrics()["synced"] == 0
        assert ksd.get("/readyz?exclude=source&exclude=sync")[0] == 200
    ksd.wait_ready()
    assert ksd.get("/readyz") == (200, "ok\n")
    assert bind.query("net1.db.prod.vm.", "A") == ["10.1.0.9"], "ready means that the zone is right"
    with kube.fault(Reply.status(500), times=None):
        kube.cut_watches()
        ksd.wait_complaint("source", "500")
        code, text = ksd.get("/readyz?exclude=source")
        assert code == 200
        assert "[ ] source" in text


def test_metrics_count_right(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.10"]}))
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.11"]}))
    ksd.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.11")
    kube.put(vmi("web", "prod", {"net1": []}))
    kube.delete("prod", "db")
    ksd.wait_answer(bind, "net1.db.prod.vm.", "A")
    ksd.wait(lambda: ksd.metrics()["changes_total{withdraw}"] == 2, "two names are withdrawn")
    ksd.wait(lambda: ksd.metrics()["zone_serial"] == bind.serial(), "it was read back")
    now = ksd.metrics()
    assert now["vmis"] == 1
    assert now["names"] == 2
    assert now["held_families"] == 1
    assert now["changes_total{add}"] == 4
    assert now["changes_total{change}"] == 2
    assert now["update_outcomes_total{acknowledged}"] == 8
    assert now["events_total{listed}"] == 1
    assert now["events_total{changed}"] == 2
    assert now["events_total{gone}"] == 1
    assert now["change_seconds_count"] == 4
    assert 0 < now["change_seconds_sum"] < 20
    assert now["transfers_total{axfr}"] >= 1
    assert (now["ready"], now["synced"]) == (1, 1)
    assert (now["conflicts"], now["refused_names"], now["kept_back_withdrawals"], now["pending_names"]) == (0, 0, 0, 0)


def test_the_pages_show_what_is_published(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones={"vm.": "web.prod A 192.0.2.1"})
    kube.put(DB)
    kube.put(vmi("web", "prod"))
    ksd = run(primary, kube)
    ksd.wait_ready()
    (zone,) = json.loads(ksd.get("/records")[1])["zones"]
    assert (zone["zone"], zone["ready"], zone["complaints"]) == ("vm.", True, {})
    assert zone["serial"] == primary.serial()
    records = {(each["name"], each["type"], *each["values"], each["vmi"]) for each in zone["records"]}
    assert records == {
        ("db.prod.vm.", "A", "10.1.0.9", "prod/db"),
        ("net1.db.prod.vm.", "A", "10.1.0.9", "prod/db"),
        ("nic1.web.prod.vm.", "A", "10.0.0.1", "prod/web"),
    }
    (conflict,) = zone["conflicts"]
    assert conflict.startswith("web.prod.vm.")
    page = ksd.get("/")[1]
    assert all(text in page for text in ("net1.db.prod.vm.", "10.1.0.9", "prod/db", "Ready.", conflict))
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_answer(primary, "net1.db.prod.vm.", "A", "10.1.0.10")
    assert "10.1.0.10" in ksd.get("/records")[1]


def test_before_the_zone_is_read_nothing_is_shown_of_it(bind: Bind, kube: Kube, run: Run) -> None:
    bind.stop()
    ksd = run(bind, kube)
    ksd.wait_complaint("primary", "refused")
    (zone,) = json.loads(ksd.get("/records")[1])["zones"]
    assert (zone["ready"], zone["records"]) == (False, [])
    assert "Not ready" in ksd.get("/")[1]


# Without a controller behind it

SNAPSHOT = Snapshot(
    server="192.0.2.53:53",
    zone="vm.",
    serial=7,
    synced=True,
    conflicts=("<script>alert(1)</script>.vm.: it exists", "a&b"),
    refused=('"quoted" <b>',),
    applied={"add": 3},
    latencies=(1, 2, *[0] * (len(LATENCY_BUCKETS) - 2), 4),
    latency_sum=60.5,
)


class Asked:
    """A status server, and how it is asked."""

    def __init__(self, *snapshots: Snapshot, host: str = "127.0.0.1", owned: Owned | None = None) -> None:
        self.snapshots = snapshots
        self.server = StatusServer(host, 0, lambda: self.snapshots, lambda: (owned,) * len(self.snapshots))
        self.server.start()

    def raw(self, request: bytes, *, seconds: float = 5, host: str = "127.0.0.1") -> bytes:
        """Return all that comes back for these bytes."""
        with socket.create_connection((host, self.server.port), seconds) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            while chunk := connection.recv(65_536):
                found += chunk
            return found

    def get(self, path: str) -> tuple[int, str]:
        head, _, body = self.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


@pytest.fixture
def asked() -> Iterator[Callable[..., Asked]]:
    """Yield a factory of status servers."""
    made: list[Asked] = []

    def make(*snapshots: Snapshot, host: str = "127.0.0.1", owned: Owned | None = None) -> Asked:
        made.append(Asked(*snapshots, host=host, owned=owned))
        return made[-1]

    yield make
    for each in made:
        each.server.close()


def test_the_page_for_people_is_escaped(asked: Callable[..., Asked]) -> None:
    code, text = asked(SNAPSHOT, replace(SNAPSHOT, zone="10.in-addr.arpa.")).get("/")
    assert code == 200
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>" not in text
    assert "10.in-addr.arpa." in text


def test_the_page_for_people_does_not_grow_with_the_zone(asked: Callable[..., Asked]) -> None:
    nodes = [node(f"n{number}.vm.example.", a("10.0.0.1")) for number in range(SHOWN + 7)]
    server = asked(SNAPSHOT, owned=Owned(live(*nodes), scope(zone_rules())))
    page = server.get("/")[1]
    assert page.count("<td>A</td>") == SHOWN
    assert "7 more of them" in page
    assert len(json.loads(server.get("/records")[1])["zones"][0]["records"]) == SHOWN + 7


def test_a_lone_surrogate_is_no_reason_to_say_nothing(asked: Callable[..., Asked]) -> None:
    server = asked(replace(SNAPSHOT, conflicts=("\udcff",), complaints={"primary": "\udcff"}))
    assert server.get("/")[0] == 200
    assert server.get("/records")[0] == 200
    assert server.get("/readyz")[0] == 503


def test_metrics_are_what_prometheus_reads(asked: Callable[..., Asked]) -> None:
    code, text = asked(SNAPSHOT, replace(SNAPSHOT, zone='odd"zone\\\n.')).get("/metrics")
    assert code == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    buckets = [s.value for s in families["ksd_ddns_change_seconds"].samples if s.name.endswith("_bucket")]
    assert buckets[: len(LATENCY_BUCKETS) + 1] == [1.0, *[3.0] * (len(LATENCY_BUCKETS) - 1), 7.0]
    assert {s.labels["zone"] for s in families["ksd_ddns_synced"].samples} == {"vm.", 'odd"zone\\\n.'}
    assert all(family.documentation for family in families.values())


def test_one_zone_that_is_wrong_makes_all_not_ready(asked: Callable[..., Asked]) -> None:
    server = asked(SNAPSHOT, replace(SNAPSHOT, zone="b.", complaints={"primary": "it is gone", "source": "so is this"}))
    code, text = server.get("/readyz")
    assert code == 503
    assert "[-] primary of b.: it is gone" in text
    assert server.get("/readyz?exclude=primary")[0] == 503
    assert server.get("/readyz?exclude=primary&exclude=source")[0] == 200


@pytest.mark.parametrize("path", ["/nothing", "/metricsx", "/..%2f", "*", "/healthz/"])
def test_an_unknown_path(asked: Callable[..., Asked], path: str) -> None:
    assert asked(SNAPSHOT).get(path)[0] == 404


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n\r\n", id="empty-lines"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls"),
        pytest.param(b"GET\r\n\r\n", id="no-path"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="version"),
        pytest.param(b"GET http://[ HTTP/1.1\r\n\r\n", id="broken-url"),
        pytest.param(b"GET //[:: HTTP/1.1\r\n\r\n", id="broken-host"),
        pytest.param(b"GET /\xff\xfe HTTP/1.1\r\n\r\n", id="not-text"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", id="post"),
        pytest.param(b"BREW /coffee HTTP/1.1\r\n\r\n", id="method"),
        pytest.param(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", id="long-path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1_000 + b"\r\n", id="many-headers"),
        pytest.param(b"GET /readyz?" + b"exclude=a&" * 1_000 + b" HTTP/1.1\r\n\r\n", id="many-parts"),
    ],
)
def test_garbage_does_not_end_it(
    asked: Callable[..., Asked], capfd: pytest.CaptureFixture[str], request_: bytes
) -> None:
    server = asked(SNAPSHOT)
    try:
        answer = server.raw(request_)
    except ConnectionResetError:
        answer = b""
    assert b"Traceback" not in answer
    assert server.get("/healthz") == (200, "ok\n")
    assert capfd.readouterr().err == ""


def test_a_client_that_goes_away(asked: Callable[..., Asked], capfd: pytest.CaptureFixture[str]) -> None:
    server = asked(replace(SNAPSHOT, conflicts=("x" * 100,) * 50_000))
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.server.port), 5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            connection.recv(10)
    assert server.get("/healthz")[0] == 200
    assert capfd.readouterr().err == ""


def test_clients_that_say_nothing_are_bounded(asked: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 0.5)
    server = asked(SNAPSHOT)
    idle = [socket.create_connection(("127.0.0.1", server.server.port), 5) for _ in range(serving.CONNECTIONS)]
    slow = idle[0]
    slow.sendall(b"GET / HTTP/1.1\r\n")
    for _ in range(6):  # a byte now and then, for ever
        slow.settimeout(0.15)
        try:
            slow.sendall(b"x")
            if slow.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("it lasts and lasts")
    for _ in range(100):
        with contextlib.suppress(OSError, IndexError):
            assert server.get("/healthz") == (200, "ok\n")
            break
        time.sleep(0.05)
    else:
        pytest.fail("nobody is served any more")
    for connection in idle:
        connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_without_a_host_it_listens_everywhere(asked: Callable[..., Asked], host: str) -> None:
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    server = asked(SNAPSHOT, host="")
    assert server.raw(b"GET /healthz HTTP/1.1\r\n\r\n", host=host).startswith(b"HTTP/1.0 200")


def test_a_host_without_ipv6(asked: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    server = asked(SNAPSHOT, host="")
    assert server.get("/healthz")[0] == 200


def test_hostile_names_reach_the_page_escaped(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    """What stands in the zone, and in the status of VMIs, is written by others."""
    primary = make_bind(zones={"vm.": 'db.prod A 192.0.2.1\ndb.prod TXT "heritage=ksd-ddns,owner=<script>x"'})
    kube.put(DB)
    kube.put(vmi("x", "prod", {"<img src=x>": ["10.1.0.1"]}))
    ksd: Running = run(primary, kube)
    ksd.wait_ready()
    assert ksd.metrics()["conflicts"] == 1
    code, text = ksd.get("/")
    assert code == 200
    assert "&lt;script&gt;x" in text
    assert "<script>" not in text
    assert "<img" not in text
