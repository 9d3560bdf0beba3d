# SPDX-License-Identifier: Apache-2.0
"""Several primaries, each with a zone of its own: failover to the next one and back.

Their zones are independent: other records, other serials. A plan is sent only to the server it was made for.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness import hostile, vmis
from harness.hostile import AXFR, Hook, Proxy
from harness.servers import Bind, Key, Port, Record
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing as RunTiming
from ksd_ddns.errors import Denied, Unreachable
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.primary.timing import Timing
from ksd_ddns.wire import codec, names
from ksd_ddns.zone.answer import Result
from tests.controller.running import Running
from tests.e2e.command import Command, Done
from tests.primary.zone_client import ZoneClient, send_changes

VM = names.from_text("vm.")
KEY = Key("shared.")
DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
FOREIGN = ("www A 192.0.2.1\nmail MX 10 www\n", "ftp A 192.0.2.2\nwww A 192.0.2.3\n", "alias CNAME www\n")
NO_ZONE = 'zone "vm." { type secondary; file "none"; primaries { 127.0.0.1 port 1; }; };'


@pytest.fixture
def primaries(make_bind: Callable[..., Bind]) -> Callable[[int], list[Bind]]:
    """Return a factory of independent primaries of vm. with the same key."""
    return lambda count: [make_bind(zones={"vm.": FOREIGN[i]}, keys=[KEY]) for i in range(count)]


@pytest.fixture
def ksd(tmp_path: Path) -> Callable[..., Command]:
    """Return a factory of commands with several primaries, or proxies before them."""

    def make(*servers: Bind | Proxy | str, **more: str) -> Command:
        given = {"DNS_SERVER": ", ".join(map(where, servers)), "TSIG_KEY_FILE": str(KEY.file(tmp_path))}
        return Command(tmp_path, {"DNS_TIMEOUT": "400ms", **given, **more})

    return make


def where(server: Bind | Proxy | str) -> str:
    if isinstance(server, Bind):
        return f"127.0.0.1:{server.port}"
    return str(server.address) if isinstance(server, Proxy) else server


@pytest.fixture
def unused() -> Iterator[str]:
    """Yield an address where nothing listens."""
    port = Port.reserve()
    yield f"127.0.0.1:{port.number}"
    port.release()


def foreign(primary: Bind) -> frozenset[Record]:
    """Return the foreign records in the zone, without the SOA."""
    return frozenset(record for record in primary.axfr(soa=False) if "db.prod" not in record.owner)


def failed(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


def servfail(message: bytes) -> Iterable[bytes]:
    """Answer SERVFAIL, unsigned, as a server does that lost its disk."""
    bare = hostile.unsigned(message) if codec.read(message).tsig else message
    return [bare[:3] + bytes([bare[3] & 0xF0 | 2]) + bare[4:]]


# At the start


@pytest.mark.parametrize("hook", [hostile.swallow, hostile.cut(), servfail], ids=["silent", "closes", "servfail"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_last_of_several_servers_is_used(
    primaries: Callable[[int], list[Bind]], ksd: Callable[..., Command], hook: Hook, count: int
) -> None:
    [good] = primaries(1)
    with contextlib.ExitStack() as stack:
        bad = [stack.enter_context(Proxy(good, response=hook)) for _ in range(count)]
        done = ksd(*bad, good)("apply", vmi=[DB])
        assert (done.code, done.err) == (0, "")
        assert [proxy.connections for proxy in bad] == [1] * count, "each was tried once"
    assert good.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


def test_the_error_names_every_server_with_its_cause(
    primaries: Callable[[int], list[Bind]], ksd: Callable[..., Command], unused: str
) -> None:
    [good] = primaries(1)
    with Proxy(good, response=hostile.swallow) as silent, Proxy(good, response=servfail) as ill:
        done = ksd(silent, unused, ill, "nowhere.invalid:53")("plan", vmi=[DB])
    failed(
        done,
        3,
        f"{silent.address} did not answer within 0.4 s",
        f"{unused} cannot be reached: Connection refused",
        f"{ill.address} failed the query for the SOA of vm.db.prod.vm. (SERVFAIL)".replace("vm.db.prod.vm.", "vm."),
        "nowhere.invalid:53 cannot be reached",
    )


def test_a_refusal_causes_no_failover(
    primaries: Callable[[int], list[Bind]], make_bind: Callable[..., Bind], ksd: Callable[..., Command]
) -> None:
    """A server that refuses is not replaced by one that may accept: an admin must fix it."""
    [good] = primaries(1)
    other = make_bind(zones={"other.": ""}, keys=[KEY])
    failed(ksd(other, good)("apply", vmi=[DB]), 4, f"127.0.0.1:{other.port} refused the query for the SOA of vm.")
    assert good.status("db.prod.vm", "A") == "NXDOMAIN"
    assert ksd(good, other)("apply", vmi=[DB]).code == 0


def test_a_server_that_lost_its_zone_is_not_used(
    primaries: Callable[[int], list[Bind]], make_bind: Callable[..., Bind], ksd: Callable[..., Command]
) -> None:
    [good] = primaries(1)
    broken = make_bind(zones={"other.": ""}, keys=[KEY], extra=NO_ZONE)
    for zone in ("", "vm"):
        assert ksd(broken, good, ZONE=zone)("apply", vmi=[DB]).code == 0
    failed(ksd(broken, ZONE="vm")("apply", vmi=[DB]), 3, f"127.0.0.1:{broken.port}", "SERVFAIL")


# In the middle


def test_a_plan_for_one_server_is_not_sent_to_another(primaries: Callable[[int], list[Bind]], tmp_path: Path) -> None:
    first, second = primaries(2)
    key = keys.read_key_file(KEY.file(tmp_path))
    peers = [Peer(Address("127.0.0.1", primary.port), key) for primary in (first, second)]
    before = second.axfr()
    with closing(Session(peers, timeout=2)) as session:
        client = ZoneClient(session)
        plan = client.plan([DB])
        first.kill()
        answers = send_changes(session, VM, plan.changes)
        assert {answer.result for answer in answers} == {Result.UNSENT}
        assert f"127.0.0.1:{second.port} answers instead of 127.0.0.1:{first.port}" in str(answers[0].error)
        assert second.axfr() == before
        client.apply([DB])
    assert second.query("db.prod.vm", "A") == ["10.1.0.9"]


@pytest.mark.parametrize("seed", range(4))
def test_a_server_that_dies_during_updates_is_replaced(
    primaries: Callable[[int], list[Bind]], ksd: Callable[..., Command], seed: int
) -> None:
    """The second gets all changes; the first has each name completely or not at all."""
    first, second = primaries(2)
    serials = [primary.serial() for primary in (first, second)]
    strangers = [foreign(primary) for primary in (first, second)]
    many = [vmi(f"db{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(60)]
    left = random.Random(seed).randrange(0, 30)
    with Proxy(first, response=hostile.only(hostile.is_update, hostile.after(left, hostile.cut()))) as proxy:
        done = ksd(proxy, second, UPDATE_BATCH="2")("apply", vmi=many)
    assert (done.code, done.err) == (0, "")
    assert done.summary.startswith("Applied: 120 added, 0 changed"), "each name is reported once"
    for i in range(60):
        assert second.query(f"net1.db{i}.prod.vm", "A") == [f"10.1.0.{i}"]
        name = f"net1.db{i}.prod.vm."
        types = {record.type for record in first.axfr() if record.owner == name} if i % 20 == 0 else set()
        assert types in (set(), {"A", "TXT"})
    for primary, strange, serial in zip((first, second), strangers, serials, strict=True):
        assert strange <= primary.axfr()
        assert primary.serial() >= serial


def test_each_zone_is_fully_read_after_a_failover(primaries: Callable[[int], list[Bind]], tmp_path: Path) -> None:
    """Even if the serials are equal and the connection just closed between two queries."""
    first, second = primaries(2)
    assert first.serial() == second.serial()
    key = keys.read_key_file(KEY.file(tmp_path))
    questions: list[int] = []

    def noted(message: bytes) -> Iterable[bytes]:
        question = codec.read(message).question
        questions.append(question[1] if question else 0)
        return [message]

    with Proxy(second, request=noted) as watched:
        peers = [Peer(Address("127.0.0.1", first.port), key), Peer(watched.address, key)]
        with closing(Session(peers, timeout=2)) as session:
            serial = session.transfer(VM).serial
            before = session.read_from(VM)
            assert session.poll(VM)[:3:2] == (serial, False)
            first.kill()
            assert session.poll(VM)[:3:2] == (serial, True), "the serial is the same, the server is not"
            assert session.transfer(VM, serial).nodes is not None
            assert session.read_from(VM) != before
            assert questions[-1] == AXFR
            assert session.poll(VM)[:3:2] == (serial, False)
            assert session.transfer(VM, serial).deltas == []


def test_updates_acknowledged_by_a_dead_server_are_sent_to_the_next(
    primaries: Callable[[int], list[Bind]], ksd: Callable[..., Command]
) -> None:
    first, second = primaries(2)

    def last_act(message: bytes) -> Iterable[bytes]:
        first.kill()
        return [message]

    with Proxy(first, response=hostile.only(hostile.is_update, last_act)) as proxy:
        done = ksd(proxy, second)("apply", vmi=[DB])
    assert (done.code, done.err) == (0, "")
    assert second.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


# The way back

QUICKLY_BACK = Timing(back_after=0.2, back_timeout=0.2)


def test_a_session_returns_to_an_earlier_server_when_it_is_back(
    primaries: Callable[[int], list[Bind]], tmp_path: Path
) -> None:
    first, second, third = primaries(3)
    key = keys.read_key_file(KEY.file(tmp_path))
    peers = [Peer(Address("127.0.0.1", primary.port), key) for primary in (first, second, third)]
    with closing(Session(peers, timeout=2, timing=QUICKLY_BACK)) as session:
        assert query_port(session) == first.port
        first.stop()
        second.stop()
        assert query_port(session) == third.port
        second.start()
        assert switches_to(session, second.port)
        first.start()
        assert switches_to(session, first.port)
        first.stop()
        assert query_port(session) == second.port


def test_a_first_server_that_never_answers_costs_little(primaries: Callable[[int], list[Bind]], tmp_path: Path) -> None:
    [good] = primaries(1)
    key = keys.read_key_file(KEY.file(tmp_path))
    with Proxy(good) as proxy:
        peers = [Peer(proxy.address, key), Peer(Address("127.0.0.1", good.port), key)]
        with closing(Session(peers, timeout=60, timing=QUICKLY_BACK)) as session:
            proxy.response = hostile.cut()
            assert query_port(session) == good.port
            proxy.response = hostile.swallow
            for _ in range(3):
                time.sleep(0.3)
                since = time.monotonic()
                assert query_port(session) == good.port
                assert time.monotonic() - since < 5, "far less than the timeout of 60 s"
            proxy.response = hostile.pass_on
            assert switches_to(session, proxy.address.port)


def query_port(session: Session) -> int:
    """Query the zone; return the port of the server that answers."""
    session.serial(VM)
    return session.server.port


def switches_to(session: Session, port: int) -> bool:
    """Return whether the server at `port` answers within five seconds."""
    for _ in range(50):
        if query_port(session) == port:
            return True
        time.sleep(0.1)
    return False


def test_without_any_primary_every_query_is_unreachable(unused: str, tmp_path: Path) -> None:
    key = keys.read_key_file(KEY.file(tmp_path))
    session = Session([Peer(Address(*_split(unused)), key)], timeout=0.5)
    for ask in (lambda: session.serial(VM), lambda: session.read(VM), lambda: session.enclosing_zone(VM)):
        with pytest.raises(Unreachable, match="cannot be reached"):
            ask()


def _split(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host, int(port)


def test_a_refusal_is_raised_as_denied(make_bind: Callable[..., Bind], tmp_path: Path) -> None:
    bind = make_bind(zones={"other.": ""}, keys=[KEY])
    key = keys.read_key_file(KEY.file(tmp_path))
    with closing(Session([Peer(Address("127.0.0.1", bind.port), key)], timeout=2)) as session, pytest.raises(Denied):
        session.serial(VM)


# A controller


def test_a_controller_fails_over_and_returns(primaries: Callable[[int], list[Bind]], tmp_path: Path) -> None:
    first, second = primaries(2)
    strangers = [foreign(primary) for primary in (first, second)]
    source = tmp_path / "vmis.json"

    def want(*addresses: str) -> None:
        new = source.with_suffix(".new")
        new.write_bytes(vmis.as_json(vmis.listing([vmi("db", "prod", {"net1": list(addresses)})])))
        new.replace(source)

    settings = {
        "DNS_SERVER": f"127.0.0.1:{first.port}, 127.0.0.1:{second.port}",
        "TSIG_KEY_FILE": KEY.file(tmp_path),
        "DRIFT_INTERVAL": "0.5s",
        "DNS_TIMEOUT": "1s",
    }
    want("10.0.0.1")
    with Running(tmp_path, settings, "--from", source, timing=RunTiming(primary=Timing(back_after=1.0))) as ksd:
        ksd.wait_answer(first, "db.prod.vm", "A", "10.0.0.1")
        assert second.status("db.prod.vm", "A") == "NXDOMAIN"
        first.stop()
        # Without any event: reading the second shows what is missing.
        ksd.wait_answer(second, "db.prod.vm", "A", "10.0.0.1")
        want("10.0.0.2")
        ksd.wait_answer(second, "db.prod.vm", "A", "10.0.0.2")
        first.start()
        # The first is outdated by now, and is updated without any event.
        ksd.wait_answer(first, "db.prod.vm", "A", "10.0.0.2")
        ksd.wait_ready()
        want("10.0.0.3")
        ksd.wait_answer(first, "db.prod.vm", "A", "10.0.0.3")
        with first.paused():
            want("10.0.0.4")
            ksd.wait_answer(second, "db.prod.vm", "A", "10.0.0.4")
        ksd.wait_answer(first, "db.prod.vm", "A", "10.0.0.4")
        ksd.wait_ready()
        assert ksd.stop() == 0
    for primary, strange in zip((first, second), strangers, strict=True):
        assert foreign(primary) == strange


def test_another_server_is_polled_as_often_as_the_first(primaries: Callable[[int], list[Bind]], tmp_path: Path) -> None:
    """A long silence of the first and a full read of the second do not reduce polling."""
    first, second = primaries(2)
    source = tmp_path / "vmis.json"
    source.write_bytes(vmis.as_json(vmis.listing([vmi("db", "prod", {"net1": ["10.0.0.1"]})])))
    settings = {
        "DNS_SERVER": f"127.0.0.1:{first.port}, 127.0.0.1:{second.port}",
        "TSIG_KEY_FILE": KEY.file(tmp_path),
        "DRIFT_INTERVAL": "0.5s",
        "DNS_TIMEOUT": "2s",
    }
    with Running(tmp_path, settings, "--from", source) as ksd:
        ksd.wait_answer(first, "db.prod.vm", "A", "10.0.0.1")
        with first.paused():
            ksd.wait_answer(second, "db.prod.vm", "A", "10.0.0.1")
            second.nsupdate("update delete db.prod.vm. A")
            ksd.wait_answer(second, "db.prod.vm", "A", "10.0.0.1", seconds=10)
        assert ksd.stop() == 0


def test_old_names_on_another_server_are_subject_to_the_deletion_limit(
    primaries: Callable[[int], list[Bind]], ksd: Callable[..., Command], tmp_path: Path
) -> None:
    """A server that was down for long holds unwanted names; the limit applies as after a start."""
    first, second = primaries(2)
    old = [vmi(f"old{i}", "prod", {"net1": [f"10.3.0.{i}"]}) for i in range(20)]
    assert ksd(second)("apply", vmi=old).code == 0
    source = tmp_path / "vmis.json"
    source.write_bytes(vmis.as_json(vmis.listing([DB])))
    settings = {**ksd(first, second, DRIFT_INTERVAL="0.5s", OWNER_ID="default").settings}
    with Running(tmp_path, settings, "--from", source) as controller:
        controller.wait_answer(first, "db.prod.vm", "A", "10.1.0.9")
        first.kill()
        controller.wait_answer(second, "db.prod.vm", "A", "10.1.0.9")
        controller.wait(lambda: not controller.ready, "a word on what is blocked")
        assert second.query("net1.old7.prod.vm", "A") == ["10.3.0.7"]
