# SPDX-License-Identifier: Apache-2.0
"""Reading a zone: failing incremental transfers, spot checks, endless transfers, shared connections."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from harness import hostile
from harness.hostile import AXFR, OPCODE_QUERY, Hook, Proxy
from harness.servers import Bind, Key, Knot, Port, PowerDns, Server
from ksd_ddns.errors import BadResponse, PrimaryError, Unreachable
from ksd_ddns.primary import keys, pool
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.primary.pool import Pool
from ksd_ddns.primary.queries import Spot
from ksd_ddns.primary.session import Peer, Session, endpoints
from ksd_ddns.primary.timing import Timing
from ksd_ddns.primary.transfers import Limits
from ksd_ddns.wire import codec, names
from ksd_ddns.wire.rrset import AAAA, IXFR, SOA, TXT, A, RRset
from tests.primary.zone_client import refresh

VM = names.from_text("vm.")
BEGIN = "a A 10.0.0.1\na A 10.0.0.2\na TXT hello\nb AAAA fd00::1\n"
MakePrimary = Callable[..., Server]


@pytest.fixture(params=[Bind, Knot], ids=["bind9", "knot"])
def primary(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Yield a primary whose zone has a few names."""
    with request.param(zones={"vm.": BEGIN}) as server:
        yield server


def peer(server: Server, at: Address | None = None) -> Peer:
    return Peer(at or Address(server.address, server.port), read_key_file(server.key_file))


class Asked:
    """A hook for requests that records the query types."""

    def __init__(self) -> None:
        self.types: list[int] = []

    def __call__(self, message: bytes) -> Iterable[bytes]:
        if not hostile.is_update(message):
            question = codec.read(message).question
            self.types.append(question[1] if question else 0)
        return [message]

    def take(self) -> list[int]:
        """Return the types of transfer requested since the last call."""
        found = [kind for kind in self.types if kind in {AXFR, IXFR}]
        self.types.clear()
        return found


# Incremental transfers


def is_ixfr(message: bytes) -> bool:
    question = codec.read(message).question if not hostile.is_update(message) else None
    return question is not None and question[1] == IXFR


def rcode(code: int) -> Hook:
    """Return a hook that turns an answer into an unsigned refusal."""

    def hook(message: bytes) -> Iterable[bytes]:
        bare = hostile.unsigned(message) if codec.read(message).tsig else message
        question = codec.read(message).question
        assert question is not None
        body = question[0] + struct.pack("!HH", question[1], 1)
        return [bare[:2] + struct.pack("!HHHHH", 0x8400 | code, 1, 0, 0, 0) + body]

    return hook


FAILURES = [
    pytest.param(rcode(2), id="servfail"),
    pytest.param(rcode(1), id="formerr"),
    pytest.param(rcode(4), id="notimp"),
    pytest.param(rcode(5), id="refused"),
    pytest.param(rcode(9), id="notauth"),
    pytest.param(hostile.cut(), id="hangs-up"),
    pytest.param(hostile.cut(reset=True), id="resets"),
    pytest.param(hostile.cut(b"\x0f\xff" + bytes(20)), id="hangs-up-in-a-message"),
    pytest.param(hostile.replaced(b"garbage, and more of it"), id="garbage"),
    pytest.param(lambda message: [hostile.flipped(message)], id="changed-on-its-way"),
    pytest.param(lambda message: [hostile.unsigned(message)], id="unsigned"),
    pytest.param(hostile.swallow, id="silent"),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_axfr_follows_a_failed_ixfr(primary: Server, failure: Hook) -> None:
    asked = Asked()
    with (
        Proxy(primary, request=asked, response=hostile.only(is_ixfr, failure)) as proxy,
        closing(Session([peer(primary, proxy.address)], timeout=0.5)) as session,
    ):
        live = session.read(VM)
        assert asked.take() == [AXFR]
        primary.nsupdate("update add c.vm. 60 A 10.0.0.3")
        found = refresh(session, live)
        assert (found.whole, found.other_server) == (True, False)
        kinds = asked.take()
        # After a cut of an idle connection, IXFR is tried on a new one first.
        assert kinds in ([IXFR, AXFR], [IXFR, IXFR, AXFR])
        assert found.changed == {names.from_text("c.vm.")}
        assert live.nodes == session.read(VM).nodes
        asked.take()
        for number in range(3):
            primary.nsupdate(f"update add d{number}.vm. 60 A 10.0.0.3")
            since = time.monotonic()
            found = refresh(session, live)
            assert (asked.take(), found.whole) == ([AXFR], True), "IXFR is left out for a while"
            assert time.monotonic() - since < 0.5 or failure is not hostile.swallow
        assert live.serial == session.serial(VM)


def test_ixfr_is_retried_after_a_pause(primary: Server) -> None:
    asked = Asked()
    with (
        Proxy(primary, request=asked, response=hostile.only(is_ixfr, hostile.first(1, rcode(2)))) as proxy,
        closing(Session([peer(primary, proxy.address)], timeout=5, timing=Timing(ixfr_pause=0.1))) as session,
    ):
        live = session.read(VM)
        primary.nsupdate("update add c.vm. 60 A 10.0.0.3")
        assert refresh(session, live).whole
        time.sleep(0.2)
        asked.take()
        primary.nsupdate("update add d.vm. 60 A 10.0.0.3")
        found = refresh(session, live)
        assert (asked.take(), found.whole, found.changed) == ([IXFR], False, {names.from_text("d.vm.")})


def test_a_failed_axfr_after_a_failed_ixfr_is_an_error(primary: Server) -> None:
    def is_any(message: bytes) -> bool:
        question = codec.read(message).question if not hostile.is_update(message) else None
        return question is not None and question[1] in {AXFR, IXFR}

    asked = Asked()
    with (
        Proxy(primary, request=asked) as proxy,
        closing(Session([peer(primary, proxy.address)], timeout=5)) as session,
    ):
        live = session.read(VM)
        before, serial = dict(live.nodes), live.serial
        primary.nsupdate("update delete a.vm. A")
        proxy.response = hostile.only(is_any, rcode(5))
        asked.take()
        with pytest.raises(PrimaryError, match="refused the transfer"):
            refresh(session, live)
        assert asked.take() == [IXFR, AXFR]
        assert (live.nodes, live.serial) == (before, serial)


def signed_by(server: Server, request: bytes, records: bytes, count: int) -> bytes:
    """Return an answer to `request` with these records, signed as the server would."""
    message = codec.read(request)
    assert message.question is not None
    assert message.tsig is not None
    head = request[:2] + struct.pack("!HHHHH", 0x8400, 1, count, 0, 0)
    question = message.question[0] + struct.pack("!HH", message.question[1], 1)
    rdata = message.tsig[3]
    start = rdata.index(b"\0") + 1 + 8  # after the algorithm, the time and the fudge
    size = int.from_bytes(rdata[start : start + 2], "big")
    mac = rdata[start + 2 : start + 2 + size]
    return read_key_file(server.key_file).sign(head + question + records, request_mac=mac)[0]


class Instead:
    """Answers IXFR in place of the server with these records, and passes everything else."""

    def __init__(self, server: Server, records: Callable[[], list[bytes]]) -> None:
        self._server = server
        self._records = records
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listener.getsockname())

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, EOFError),
            client,
            socket.create_connection((self._server.address, self._server.port)) as server,
        ):
            while True:
                request = _message(client)
                if is_ixfr(request):
                    records = self._records()
                    answer = signed_by(self._server, request, b"".join(records), len(records))
                    client.sendall(len(answer).to_bytes(2, "big") + answer)
                    continue
                server.sendall(len(request).to_bytes(2, "big") + request)
                # The zones are small: each answer is one message.
                answer = _message(server)
                client.sendall(len(answer).to_bytes(2, "big") + answer)


def _message(source: socket.socket) -> bytes:
    head = source.recv(2, socket.MSG_WAITALL)
    if len(head) < 2:
        raise EOFError
    return source.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)


def soa(serial: int) -> bytes:
    rdata = b"\0\0" + struct.pack("!IIIII", serial, 1, 1, 1, 1)
    return b"\xc0\x0c" + struct.pack("!HHIH", SOA, 1, 60, len(rdata)) + rdata


def address(name: str) -> bytes:
    return names.from_text(name) + struct.pack("!HHIH", A, 1, 60, 4) + bytes(4)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda old, new: [soa(new)], id="a-lone-newer-soa"),
        pytest.param(lambda old, new: [soa(old - 1)], id="a-lone-older-soa"),
        pytest.param(lambda old, new: [], id="nothing"),
        pytest.param(lambda old, new: [soa(new), soa(new)], id="an-empty-zone"),
        pytest.param(lambda old, new: [soa(new), soa(old), address("x.vm."), soa(new), soa(new)], id="does-not-fit"),
        pytest.param(lambda old, new: [soa(new), soa(old), soa(new + 1), soa(new)], id="does-not-join"),
        pytest.param(lambda old, new: [soa(new), soa(old - 1), soa(new), soa(new)], id="from-another-serial"),
    ],
)
def test_axfr_follows_an_inconsistent_ixfr(primary: Server, answer: Callable[[int, int], list[bytes]]) -> None:
    old = primary.serial()
    with (
        Instead(primary, lambda: answer(old, primary.serial())) as between,
        closing(Session([peer(primary, between.address)], timeout=5)) as session,
    ):
        live = session.read(VM)
        primary.nsupdate("update add c.vm. 60 A 10.0.0.3")
        since = time.monotonic()
        found = refresh(session, live)
        assert (found.whole, found.changed) == (True, {names.from_text("c.vm.")})
        assert time.monotonic() - since < 4, "nothing was waited out"
        assert live.serial == primary.serial()


def test_records_outside_the_zone_are_ignored_in_a_transfer(primary: Server) -> None:
    """In deltas here; what a whole zone may hold is a matter of tests/wire/test_xfr.py."""
    old = primary.serial()

    def deltas() -> list[bytes]:
        new = primary.serial()
        return [soa(new), soa(old), address("x.example."), soa(new), address("c.vm."), address("example."), soa(new)]

    with (
        Instead(primary, deltas) as between,
        closing(Session([peer(primary, between.address)], timeout=5)) as session,
    ):
        live = session.read(VM)
        primary.nsupdate("update add c.vm. 60 A 0.0.0.0")
        found = refresh(session, live)
        assert (found.whole, found.changed) == (False, {names.from_text("c.vm.")})
        assert all(names.is_below(name, VM) for name in live.nodes)


# Spot checks


def spots(session: Session) -> list[Spot]:
    """Return everything in the zone, as it was just read."""
    return [Spot(name, item) for name, node in session.read(VM).nodes.items() for item in node.rrsets]


@pytest.fixture(params=[Bind, Knot, PowerDns], ids=["bind9", "knot", "powerdns"])
def any_primary(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Yield a primary of any kind, whose zone has a few names."""
    with request.param(zones={"vm.": BEGIN + 'P PTR Some.Where.\nlong TXT "Case Matters"\n'}) as server:
        yield server


def test_a_spot_check_finds_differences(any_primary: Server) -> None:
    with closing(Session([peer(any_primary)], timeout=5)) as session:
        expected = spots(session)
        assert len(expected) >= 6
        found = session.poll(VM, expected)
        assert (found.serial, found.differing, found.unknown) == (any_primary.serial(), set(), set())
        assert (found.other_server, names.to_text(found.primary)) == (False, "localhost.")
        other = [
            Spot(names.from_text("a.vm."), RRset(A, 60, (bytes([10, 0, 0, 1]),))),  # one of two
            Spot(names.from_text("b.vm."), RRset(A, 60, (bytes(4),))),  # another type is there
            Spot(names.from_text("none.vm."), RRset(AAAA, 60, (bytes(16),))),
            Spot(names.from_text("long.vm."), RRset(TXT, 60, (b"\x0ccase matters",))),
            Spot(names.from_text("gone.vm."), RRset(AAAA, 60, ())),  # expected not to exist
        ]
        found = session.poll(VM, [*expected, *other])
        assert found.differing == {spot.owner for spot in other[:4]}


def test_a_spot_check_ignores_the_ttl(any_primary: Server) -> None:
    with closing(Session([peer(any_primary)], timeout=5)) as session:
        changed = [Spot(owner, RRset(item.type, item.ttl + 7, item.rdatas)) for owner, item in spots(session)]
        assert session.poll(VM, changed).differing == set()


def test_a_spot_check_has_the_requested_size(any_primary: Server) -> None:
    """More than are in flight at once."""
    nowhere = [Spot(names.from_text(f"x{i}.vm."), RRset(A, 60, (bytes(4),))) for i in range(200)]
    with closing(Session([peer(any_primary)], timeout=5)) as session:
        assert session.poll(VM, nowhere).differing == {spot.owner for spot in nowhere}


def test_nxdomain_with_the_signature_of_the_query_is_not_signed(primary: Server) -> None:
    a, echo = names.from_text("a.vm."), hostile.Echo(OPCODE_QUERY)

    def nxdomain(message: bytes) -> Iterable[bytes]:
        question = codec.read(message).question
        if question is None or question[0] != a:
            return [message]
        return [echoed for bare in rcode(3)(message) for echoed in echo.response(bare)]

    with (
        Proxy(primary, request=echo.request, response=nxdomain) as proxy,
        closing(Session([peer(primary, proxy.address)], timeout=5)) as session,
        pytest.raises(BadResponse, match="without a signature"),
    ):
        session.poll(VM, spots(session))


@pytest.mark.parametrize(
    ("code", "unknown"), [(2, True), (5, True), (3, False)], ids=["servfail", "refused", "nxdomain"]
)
def test_a_failed_spot_query_is_no_difference(primary: Server, code: int, unknown: bool) -> None:
    a = names.from_text("a.vm.")

    def is_spot(message: bytes) -> bool:
        question = codec.read(message).question
        return question is not None and question[0] == a

    with (
        Proxy(primary, response=hostile.only(is_spot, rcode(code))) as proxy,
        closing(Session([peer(primary, proxy.address)], timeout=5)) as session,
    ):
        expected = spots(session)
        if unknown:
            found = session.poll(VM, expected)
            assert (found.differing, found.unknown) == (set(), {a})
        else:
            with pytest.raises(BadResponse, match="without a signature"):
                session.poll(VM, expected)


def test_a_spot_check_takes_one_round_trip(primary: Server) -> None:
    """The proxy delays the answers until all queries have arrived."""
    waiting: list[bytes] = []

    def together(message: bytes) -> Iterable[bytes]:
        waiting.append(message)
        return waiting if len(waiting) == 9 else []

    absent = [Spot(names.from_text(f"{label}.vm."), RRset(TXT, 60, ())) for label in "stuvwxyz"]
    with (
        Proxy(primary, request=together) as proxy,
        closing(Session([peer(primary, proxy.address)], timeout=5)) as session,
    ):
        found = session.poll(VM, absent)
        assert (found.differing, found.unknown, proxy.connections) == (set(), set(), 1)


def test_a_reconnect_increases_the_count_of_connections(primary: Server) -> None:
    with Proxy(primary) as proxy, closing(Session([peer(primary, proxy.address)], timeout=5)) as session:
        session.poll(VM)
        before = session.connects
        session.poll(VM)
        assert session.connects == before
        proxy.response = hostile.first(1, hostile.cut())
        session.poll(VM)  # a server may close an idle connection at any time
        assert session.connects == before + 1
        assert proxy.connections == 2


# Transfers without end


class Endless:
    """A server that answers SOA, and every transfer with records without end, `pause` seconds apart, or with no end."""

    def __init__(self, key: Key, *, pause: float, size: int) -> None:
        self._key = keys.key(key.name, key.algorithm, key.secret)
        self._pause, self._size = pause, size
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listener.getsockname())

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), client:
            while True:
                request = _message(client)
                self._answer(client, request, [soa(1)])
                if not is_soa(request):
                    self._stream(client, request)

    def _stream(self, client: socket.socket, request: bytes) -> None:
        head = request[:2] + struct.pack("!HHHHH", 0x8400, 0, self._size, 0, 0)
        count = 0
        while True:
            records = b"".join(address(f"x{count + i}.vm.") for i in range(self._size))
            count += self._size
            message = head + records
            client.sendall(len(message).to_bytes(2, "big") + message)
            time.sleep(self._pause)

    def _answer(self, client: socket.socket, request: bytes, records: list[bytes]) -> None:
        message = codec.read(request)
        assert message.question is not None
        assert message.tsig is not None
        start = message.tsig[3].index(b"\0") + 9
        size = int.from_bytes(message.tsig[3][start : start + 2], "big")
        mac = message.tsig[3][start + 2 : start + 2 + size]
        head = request[:2] + struct.pack("!HHHHH", 0x8400, 1, len(records), 0, 0)
        question = message.question[0] + struct.pack("!HH", message.question[1], 1)
        answer = self._key.sign(head + question + b"".join(records), request_mac=mac)[0]
        client.sendall(len(answer).to_bytes(2, "big") + answer)


def is_soa(message: bytes) -> bool:
    question = codec.read(message).question
    return question is not None and question[1] == SOA


@pytest.mark.parametrize(
    ("pause", "size", "limits", "words"),
    [
        pytest.param(0.0, 1000, Limits(records=20_000), "more than 20000 records", id="records"),
        pytest.param(0.0, 1000, Limits(octets=200_000), "more than 200000 octets", id="octets"),
        pytest.param(0.05, 1, Limits(octets_per_second=100_000), "octets arrived in", id="trickle"),
        pytest.param(0.05, 1000, Limits(seconds=0.5), "octets arrived in", id="time"),
    ],
)
def test_a_transfer_without_end_is_aborted(tmp_path: Path, pause: float, size: int, limits: Limits, words: str) -> None:
    key = Key("shared.")
    with (
        Endless(key, pause=pause, size=size) as server,
        closing(
            Session([Peer(server.address, read_key_file(key.file(tmp_path)))], timeout=0.1, limits=limits)
        ) as session,
        pytest.raises(PrimaryError, match=words),
    ):
        session.read(VM)


# Shared connections


@pytest.fixture
def shared(primary: Server) -> Iterator[tuple[Proxy, Pool]]:
    """Yield a proxy before a primary, and a pool of two connections through it."""
    with Proxy(primary) as proxy:
        connections = Pool(endpoints([peer(primary, proxy.address)]), timeout=5, size=2, idle=0.5)
        yield proxy, connections
        connections.close()


def test_many_sessions_share_a_few_connections(primary: Server, shared: tuple[Proxy, Pool]) -> None:
    proxy, connections = shared
    lives: list[int] = []

    def work() -> None:
        session = Session([peer(primary, proxy.address)], timeout=5, pool=connections)
        live = session.read(VM)
        for _ in range(3):
            refresh(session, live)
            session.poll(VM, [Spot(names.from_text("a.vm."), RRset(TXT, 60, (b"\x05hello",)))])
        lives.append(live.serial)
        session.close()

    threads = [threading.Thread(target=work) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert lives == [primary.serial()] * 40
    assert proxy.connections == 2, "no more at a time, and none for each message"


def test_an_idle_shared_connection_is_closed(primary: Server, shared: tuple[Proxy, Pool]) -> None:
    proxy, connections = shared
    session = Session([peer(primary, proxy.address)], timeout=5, pool=connections)
    session.poll(VM)
    assert open_to(proxy.address) == 1
    deadline = time.monotonic() + 10
    while open_to(proxy.address) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert open_to(proxy.address) == 0
    before = session.connects
    assert session.poll(VM).serial == primary.serial()
    assert (proxy.connections, session.connects) == (2, before + 1)


def open_to(place: Address) -> int:
    """Return how many connections of this machine to `place` are open."""
    wanted = f":{place.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[2].endswith(wanted) and row[3] == "01")


def test_exchanges_of_one_zone_keep_their_connection(primary: Server, shared: tuple[Proxy, Pool]) -> None:
    proxy, connections = shared
    one, two, three = (Session([peer(primary, proxy.address)], timeout=5, pool=connections) for _ in range(3))
    with one.keep_connection():
        first = one.open_update_exchange(VM).connection
        with two.keep_connection():
            assert two.open_update_exchange(VM).connection is not first
            done = threading.Event()

            def wait() -> None:
                three.poll(VM)
                done.set()

            waiting = threading.Thread(target=wait)
            waiting.start()
            assert not done.wait(0.3), "both are in use"
            assert one.open_update_exchange(VM).connection is first
        assert done.wait(5), "first come, first served"
        waiting.join()


def test_a_dead_server_costs_one_timeout_for_all_zones(primary: Server) -> None:
    asked: list[bytes] = []

    def silent(message: bytes) -> Iterable[bytes]:
        asked.append(message)
        return []

    with Proxy(primary, request=silent) as dead:
        peers = [peer(primary, dead.address), peer(primary)]
        connections = Pool(endpoints(peers), timeout=0.5)
        since = time.monotonic()
        for _ in range(50):
            with closing(Session(peers, timeout=0.5, pool=connections)) as session:
                assert session.poll(VM).serial == primary.serial()
        assert time.monotonic() - since < 10
        connections.close()
    assert len(asked) == 1


def test_a_zone_that_fails_on_a_server_does_not_affect_other_zones(tmp_path: Path) -> None:
    key = Key("shared.")
    broken = 'zone "ill." { type secondary; file "none"; primaries { 127.0.0.1 port 1; }; };'
    with (
        Bind(zones={"vm.": ""}, keys=[key], extra=broken) as one,
        Bind(zones={"vm.": "", "ill.": ""}, keys=[key]) as two,
    ):
        peers = [peer(one), peer(two)]
        connections = Pool(endpoints(peers), timeout=5)
        ill, well = (Session(peers, timeout=5, pool=connections) for _ in range(2))
        for _ in range(2):
            assert ill.poll(names.from_text("ill.")).serial == two.serial("ill.")
            assert ill.server.port == two.port
            well.poll(VM)
            assert well.server.port == one.port
        connections.close()


def test_every_connection_is_given_back_after_a_failure(primary: Server, shared: tuple[Proxy, Pool]) -> None:
    proxy, connections = shared
    for hook in (hostile.cut(), hostile.replaced(b"garbage"), hostile.swallow, rcode(5), rcode(2)):
        proxy.response = hook
        for _ in range(4):
            session = Session([peer(primary, proxy.address)], timeout=0.3, pool=connections)
            with pytest.raises(PrimaryError):
                session.read(VM)
    proxy.response = hostile.pass_on
    assert Session([peer(primary, proxy.address)], timeout=5, pool=connections).poll(VM).serial == primary.serial()


def test_an_unreachable_server_gives_its_turn_back() -> None:
    port = Port.reserve()
    place = Address("127.0.0.1", port.number)
    connections = Pool([(place, None)], timeout=1, size=1)
    for _ in range(3):
        with pytest.raises(Unreachable, match="cannot be reached"):
            connections.take([0], {})
    port.release()


def test_the_default_pool_leaves_connections_to_others() -> None:
    assert pool.SHARED <= 4, "of BIND's 150 (tcp-clients) and its transfers-out of 10"
