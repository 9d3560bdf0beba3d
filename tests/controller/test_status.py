# SPDX-License-Identifier: Apache-2.0
"""Health, readiness, metrics and the page for people: what they say, and that nothing that is asked ends them."""

import contextlib
import json
import re
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.hostile import Hook, Proxy, cut, swallow
from harness.kube import Kube, Reply
from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.serving import Limits, address_of, client_of
from ksd_ddns.status import StatusServer
from ksd_ddns.sync.snapshot import LATENCY_BUCKETS, Part, Problem, ProblemCause, RefusedNames, Snapshot
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.plan import Conflict, ConflictCause
from tests.controller.conftest import Run
from tests.controller.running import Running
from tests.zone.build import a, live, n, node, scope, zone_rules

DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})


def test_not_ready_before_the_first_sync_and_ready_after(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    with kube.fault(Reply.status(500), verb="list", times=None):
        ksd = run(bind, kube)
        ksd.wait_problem("source", "500")
        assert ksd.get("/healthz") == (200, "ok\n")
        code, text = ksd.get("/readyz")
        assert code == 503
        assert re.search(r"^\[-\] sync of vm\.: the first full sync is not complete yet$", text, re.MULTILINE)
        assert text.endswith("\nnot ready\n")
        assert ksd.metrics()["ready{sync}"] == 0
        assert ksd.get("/readyz?exclude=source&exclude=sync")[0] == 200
    ksd.wait_ready()
    assert ksd.get("/readyz") == (200, "ok\n")
    assert bind.query("net1.db.prod.vm.", "A") == ["10.1.0.9"], "ready means that the zone is right"
    with kube.fault(Reply.status(500), times=None):
        kube.cut_watches()
        ksd.wait_problem("source", "500")
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
    ksd.wait(lambda: ksd.metrics()["changes_total{delete}"] == 2, "two names are deleted")
    ksd.wait(lambda: ksd.metrics()["zone_serial"] == bind.serial(), "it was read back")
    now = ksd.metrics()
    assert now["vmis"] == 1
    assert now["names{published}"] == 2
    assert now["held_families"] == 1
    assert now["changes_total{add}"] == 4
    assert now["changes_total{change}"] == 2
    assert now["update_outcomes_total{accepted}"] == 8
    assert now["events_total{listed}"] == 1
    assert now["events_total{changed}"] == 2
    assert now["events_total{deleted}"] == 1
    assert now["change_seconds_count"] == 4
    assert 0 < now["change_seconds_sum"] < 20
    assert now["transfers_total{axfr,success}"] >= 1
    assert [now[f"ready{{{part}}}"] for part in Part] == [1, 1, 1, 1]
    assert [now[f"names{{{state}}}"] for state in ("conflict", "refused", "blocked", "pending")] == [0, 0, 0, 0]


def test_the_pages_show_what_is_published(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones={"vm.": "web.prod A 192.0.2.1"})
    kube.put(DB)
    kube.put(vmi("web", "prod"))
    ksd = run(primary, kube)
    ksd.wait_ready()
    (zone,) = json.loads(ksd.get("/records")[1])["zones"]
    assert (zone["zone"], zone["ready"], zone["problems"]) == ("vm.", True, {})
    assert zone["serial"] == primary.serial()
    records = {(each["name"], each["type"], *each["values"], each["vmi"]) for each in zone["records"]}
    assert records == {
        ("db.prod.vm.", "A", "10.1.0.9", "prod/db"),
        ("net1.db.prod.vm.", "A", "10.1.0.9", "prod/db"),
        ("nic1.web.prod.vm.", "A", "10.0.0.1", "prod/web"),
    }
    (conflict,) = zone["conflicts"]
    assert (conflict["name"], conflict["cause"]) == ("web.prod.vm.", "unowned")
    page = ksd.get("/")[1]
    shown = ("net1.db.prod.vm.", "10.1.0.9", "prod/db", "1 conflict", conflict["message"])
    assert all(text in page for text in shown)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_answer(primary, "net1.db.prod.vm.", "A", "10.1.0.10")
    assert "10.1.0.10" in ksd.get("/records")[1]


def test_before_the_zone_is_read_nothing_is_shown_of_it(bind: Bind, kube: Kube, run: Run) -> None:
    bind.stop()
    ksd = run(bind, kube)
    ksd.wait_problem("primary", "refused")
    (zone,) = json.loads(ksd.get("/records")[1])["zones"]
    assert (zone["ready"], zone["records"]) == (False, [])
    assert "Not ready" in ksd.get("/")[1]


def test_a_slow_transfer_is_no_hang(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    """It takes longer than a thread may go without progress, and there is progress all the time."""
    primary = make_bind(zones={"vm.": "".join(f"n{number} TXT {'x' * 250}\n" for number in range(900))})

    def late(message: bytes) -> Iterable[bytes]:
        if len(message) > 4_000:
            time.sleep(0.5)
        return [message]

    with Proxy(primary, response=late) as proxy:
        ksd = run(primary, kube, through=proxy.address, DNS_TIMEOUT="1s", timing=Timing(stuck_after=1.5))
        began = time.monotonic()
        seen = set()
        while not ksd.ready:
            if (code := ksd.get("/healthz")[0]) and "[-] sync" in ksd.get("/readyz")[1]:
                seen.add(code)
            assert time.monotonic() - began < 60
            time.sleep(0.1)
        assert time.monotonic() - began > 3, "it was too quick to show anything"
        assert seen == {200}


@pytest.mark.parametrize("hook", [swallow, cut()], ids=["silent", "hangs-up"])
def test_a_primary_that_does_not_answer_is_no_hang(bind: Bind, kube: Kube, run: Run, hook: Hook) -> None:
    with Proxy(bind, request=hook) as proxy:
        ksd = run(bind, kube, through=proxy.address, DNS_TIMEOUT="6s", timing=Timing(stuck_after=1.5))
        ksd.wait(lambda: ksd.get("/healthz")[0], "it runs")
        for _ in range(80):
            assert ksd.get("/healthz") == (200, "ok\n")
            time.sleep(0.1)
        assert not ksd.ready


# Without a controller behind it


def conflict(text: str, name: str = "a.vm.") -> Conflict:
    cause = ConflictCause.OTHER_OWNER
    return Conflict(n(name), node(name), node(name), cause, vmi="prod/db", owner="test", owners=(text,))


def problems(**texts: str) -> tuple[Problem, ...]:
    return tuple(Problem(Part(part), ProblemCause.FAILED, text) for part, text in texts.items())


SNAPSHOT = Snapshot(
    server="192.0.2.53:53",
    zone="vm.",
    serial=7,
    synced=True,
    conflicts=(conflict("<script>alert(1)</script>"), conflict("a&b")),
    refused=(RefusedNames("other", 1, ('"quoted" <b>',), "odd"),),
    applied={"add": 3},
    latencies=(1, 2, *[0] * (len(LATENCY_BUCKETS) - 2), 4),
    latency_sum=60.5,
)


class Asked:
    """A status server, and how it is asked."""

    def __init__(
        self,
        *snapshots: Snapshot,
        host: str = "127.0.0.1",
        owned: Owned | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.snapshots = snapshots
        self.problem = ""
        self.server = StatusServer(
            host,
            0,
            lambda: self.snapshots,
            lambda: (owned,) * len(self.snapshots),
            healthy=lambda: self.problem,
            limits=limits,
        )
        self.server.start()

    def connect(self, source: str = "127.0.0.1", *, seconds: float = 5) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), seconds, (source, 0))

    def raw(self, request: bytes, *, seconds: float = 5, host: str = "127.0.0.1") -> bytes:
        """Return all that comes back for these bytes."""
        with socket.create_connection((host, self.server.port), seconds) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            while chunk := connection.recv(65_536):
                found += chunk
            return found

    def ask(self, path: str, method: str = "GET", *, seconds: float = 5) -> tuple[int, dict[str, str], str]:
        """Return status code, headers with names in lower case, and body."""
        answer = self.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), seconds=seconds)
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, body.decode()

    def get(self, path: str, *, seconds: float = 5) -> tuple[int, str]:
        code, _, body = self.ask(path, seconds=seconds)
        return code, body


@pytest.fixture
def asked() -> Iterator[Callable[..., Asked]]:
    """Yield a factory of status servers."""
    made: list[Asked] = []

    def make(
        *snapshots: Snapshot, host: str = "127.0.0.1", owned: Owned | None = None, limits: Limits | None = None
    ) -> Asked:
        made.append(Asked(*snapshots, host=host, owned=owned, limits=limits))
        return made[-1]

    yield make
    for each in made:
        each.server.close()


def zone_of(count: int) -> Owned:
    """Return a zone with so many names."""
    return Owned(live(*(node(f"n{number}.vm.example.", a("10.0.0.1")) for number in range(count))), scope(zone_rules()))


def test_all_records_are_never_in_memory_at_once(asked: Callable[..., Asked]) -> None:
    many = a(*(f"10.0.0.{number}" for number in range(90)))
    nodes = (node(f"n{number}.vm.example.", many) for number in range(2_000))
    server = asked(
        replace(SNAPSHOT, conflicts=(conflict("x" * 100),) * 20_000),
        owned=Owned(live(*nodes), scope(zone_rules())),
    )
    size = len(server.raw(b"GET /records HTTP/1.1\r\n\r\n", seconds=60))
    assert size > 3_000_000
    tracemalloc.start()
    try:
        with server.connect(seconds=60) as connection:
            connection.sendall(b"GET /records HTTP/1.1\r\n\r\n")
            got = 0
            while chunk := connection.recv(65_536):
                got += len(chunk)
        assert got == size
        assert tracemalloc.get_traced_memory()[1] < size / 3
    finally:
        tracemalloc.stop()


def test_slow_clients_of_records_delay_no_other(asked: Callable[..., Asked]) -> None:
    server = asked(SNAPSHOT, owned=zone_of(100_000), limits=Limits(response_within=10))
    slow = [server.connect() for _ in range(12)]
    for connection in slow:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /records HTTP/1.1\r\n\r\n")
    time.sleep(0.5)
    code, headers, _ = server.ask("/records", seconds=30)
    assert (code, "retry-after" in headers) == (503, True)
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        assert server.get(path, seconds=30)[0] == 200
    deadline = time.monotonic() + 30
    while server.get("/records", seconds=30)[0] != 200:
        assert time.monotonic() < deadline, "they are never cut off"
        time.sleep(0.1)
    for connection in slow:
        connection.close()


def test_a_lone_surrogate_does_not_break_the_page(asked: Callable[..., Asked]) -> None:
    server = asked(replace(SNAPSHOT, conflicts=(conflict("\udcff"),), problems=problems(primary="\udcff")))
    assert server.get("/")[0] == 200
    assert server.get("/records")[0] == 200
    assert server.get("/readyz")[0] == 503


def test_metrics_are_what_prometheus_reads(asked: Callable[..., Asked]) -> None:
    code, text = asked(SNAPSHOT, replace(SNAPSHOT, zone='odd"zone\\\n.')).get("/metrics")
    assert code == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    buckets = [s.value for s in families["ksd_ddns_change_seconds"].samples if s.name.endswith("_bucket")]
    assert buckets[: len(LATENCY_BUCKETS) + 1] == [1.0, *[3.0] * (len(LATENCY_BUCKETS) - 1), 7.0]
    assert {s.labels["zone"] for s in families["ksd_ddns_vmis"].samples} == {"vm.", 'odd"zone\\\n.'}
    assert all(family.documentation for family in families.values())


def test_one_zone_that_is_wrong_makes_all_not_ready(asked: Callable[..., Asked]) -> None:
    server = asked(SNAPSHOT, replace(SNAPSHOT, zone="b.", problems=problems(primary="it is gone", source="so is this")))
    code, text = server.get("/readyz")
    assert code == 503
    assert "[-] primary of b.: it is gone" in text
    assert server.get("/readyz?exclude=primary")[0] == 503
    assert server.get("/readyz?exclude=primary&exclude=source")[0] == 200


def test_zones_with_the_same_problem_share_a_line(asked: Callable[..., Asked]) -> None:
    zones = [replace(SNAPSHOT, zone=f"z{number}.", problems=problems(primary="it is gone")) for number in range(200)]
    code, text = asked(*zones).get("/readyz")
    assert (code, text) == (503, "[-] primary of z0., z1., z2. and 197 more: it is gone\nnot ready\n")


def test_reasons_are_few_and_short(asked: Callable[..., Asked]) -> None:
    odd = "line\nbreak \x1b[31m " + "x" * 100_000
    zones = [replace(SNAPSHOT, zone=f"z{n}.", problems=problems(source="a", primary=f"{n} {odd}")) for n in range(200)]
    server = asked(*zones)
    code, text = server.get("/readyz?exclude=source")
    assert code == 503
    assert len(text) < 20_000
    assert re.search(r"^and 191 more$", text, re.MULTILINE)
    assert text.replace("\n", "").isprintable()
    assert text.startswith("[-] primary"), "what counts comes first"
    assert server.get("/readyz?exclude=source&exclude=primary")[0] == 200


def test_a_thread_that_hangs_makes_it_unhealthy(asked: Callable[..., Asked]) -> None:
    server = asked(SNAPSHOT)
    assert server.get("/healthz") == (200, "ok\n")
    server.problem = "zone vm.: no progress for 75 s"
    assert server.get("/healthz") == (503, "zone vm.: no progress for 75 s\n")
    server.problem = ""
    assert server.get("/healthz")[0] == 200


PATHS = [
    *("/healthz", "/readyz", "/readyz?exclude=source", "/metrics", "/", "/?q=db", "/page.css", "/page.js", "/records"),
    "/nothing",
]


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_the_body(asked: Callable[..., Asked], path: str) -> None:
    server = asked(SNAPSHOT, owned=zone_of(10))
    code, headers, body = server.ask(path)
    del headers["date"]
    assert body
    octets = str(len(body.encode()))
    assert headers.get("content-length", octets) == octets
    head = server.ask(path, "HEAD")
    del head[1]["date"]
    assert head == (code, headers, "")


@pytest.mark.parametrize("path", ["/", "/healthz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW", "get"])
def test_other_methods_are_refused(asked: Callable[..., Asked], method: str, path: str) -> None:
    code, headers, _ = asked(SNAPSHOT).ask(path, method)
    assert (code, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [*PATHS, "//["])
def test_no_browser_does_more_with_a_page_than_show_it(asked: Callable[..., Asked], path: str) -> None:
    _, headers, _ = asked(SNAPSHOT).ask(path)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/page.") else "no-store")


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
        pytest.param(b"GET /readyz?" + b"exclude=a&" * 800 + b" HTTP/1.1\r\n\r\n", id="many-parts"),
        pytest.param(b"GET /readyz?%00%ff=%zz&&;;exclude HTTP/1.1\r\n\r\n", id="odd-query"),
        pytest.param(b"GET / HTTP/1.1\r\n: x\r\n\0\r\n x\r\n\r\n", id="odd-headers"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="odd-length"),
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", id="bare-line-feeds"),
        pytest.param(b"GET /\r\n\r\n", id="http-0.9"),
        pytest.param(b"\0" * 9_000, id="zeros"),
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
    server = asked(replace(SNAPSHOT, conflicts=(conflict("x" * 100),) * 50_000))
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.server.port), 5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            connection.recv(10)
    assert server.get("/healthz")[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("head", "code"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 90, 200, id="fits"),
        pytest.param(b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n", 431, id="long-line"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 9_000 + b"\r\n", 431, id="long-header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: yyyyyyyyy\r\n" * 1_000, 431, id="many-headers"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n", 431, id="a-megabyte"),
    ],
)
def test_the_head_of_a_request_is_limited(asked: Callable[..., Asked], head: bytes, code: int) -> None:
    server = asked(SNAPSHOT)
    with server.connect() as connection, contextlib.suppress(ConnectionError):
        with contextlib.suppress(ConnectionError):  # it need not take what is too long
            connection.sendall(head + b"\r\n")
        assert connection.recv(100).startswith(f"HTTP/1.0 {code} ".encode())
    assert server.get("/healthz")[0] == 200


# Clients that wear it out


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param(["127.0.0.2"], id="one-address"),
        pytest.param([f"127.0.0.{number}" for number in range(2, 42)], id="many-addresses"),
        pytest.param([f"127.0.{number}.2" for number in range(200)], id="more-addresses-than-connections"),
        pytest.param(["127.0.0.1"], id="the-same-address"),
    ],
)
def test_probes_get_through_when_others_hold_connections(asked: Callable[..., Asked], sources: list[str]) -> None:
    server = asked(SNAPSHOT)
    held = [server.connect(source) for source in sources for _ in range(max(1, 400 // len(sources)))]
    for _ in range(10):
        for path in ("/healthz", "/readyz"):
            assert server.get(path)[0] == 200
        held += [server.connect(source) for source in sources[:20]]
    for connection in held:
        connection.close()


def test_an_active_client_is_not_closed_for_idle_ones(asked: Callable[..., Asked]) -> None:
    limits = Limits(connections=8, per_client=4, request_within=60)
    server = asked(SNAPSHOT, limits=limits)
    quiet = server.connect("127.0.0.9")
    others = [server.connect("127.0.0.2") for _ in range(50)]
    assert server.get("/healthz")[0] == 200
    quiet.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert quiet.recv(100).startswith(b"HTTP/1.0 200"), "a lone connection of another client stays"
    ended = [connection for connection in others if closed(connection)]
    assert len(ended) == 50 - limits.per_client
    for connection in (quiet, *others):
        connection.close()


def closed(connection: socket.socket) -> bool:
    """Return whether the server has closed it by now."""
    connection.settimeout(0.1)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_requests_that_never_end_are_cut_off(asked: Callable[..., Asked]) -> None:
    server = asked(SNAPSHOT, limits=Limits(request_within=0.5))
    with server.connect() as silent, server.connect() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        began = time.monotonic()
        while not closed(slow):  # a byte now and then, for ever
            assert time.monotonic() - began < 20, "it lasts and lasts"
            with contextlib.suppress(OSError):
                slow.sendall(b"x")
        silent.settimeout(20)
        assert silent.recv(1) == b""
    assert server.get("/healthz")[0] == 200


@pytest.mark.parametrize(
    ("address", "normal", "client"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:DB8:0:1:ffff::1", "2001:db8:0:1:ffff::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("::1", "::1", "::/64"),
        ("nonsense", "nonsense", "nonsense"),
    ],
)
def test_which_addresses_count_as_one_client(address: str, normal: str, client: str) -> None:
    assert (address_of(address), client_of(address)) == (normal, client)


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
    assert ksd.metrics()["names{conflict}"] == 1
    code, text = ksd.get("/")
    assert code == 200
    assert "&lt;script&gt;x" in text
    assert "<script>" not in text
    assert "<img" not in text
