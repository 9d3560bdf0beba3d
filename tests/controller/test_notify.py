"""NOTIFY: what somebody else changes is noticed at once, on either transport; what anybody sends does no harm."""

import random
import socket
import time
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import pytest

from tests.controller.conftest import Run
from tests.controller.running import Running
from tests.kube import Kube
from tests.servers import Bind, Key, Knot, Port, Server
from tests.vmis import vmi

DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
NAME = "net1.db.prod.vm."
DELETE = f"update delete {NAME} A"


@pytest.fixture
def port() -> Iterator[int]:
    """Yield a free port for the listener."""
    port = Port.reserve()
    yield port.number
    port.release()


@pytest.fixture(params=["bind9-signed", "bind9-unsigned", "knot-signed", "knot-unsigned"])
def notifying(
    request: pytest.FixtureRequest, make_bind: Callable[..., Bind], make_knot: Callable[..., Knot], port: int
) -> Server:
    """Return a company's primary that sends NOTIFY to `port`, signed with its key or not at all."""
    key = Key()
    signed = request.param.endswith("-signed")
    if request.param.startswith("bind9"):
        by = f'key "{key.name}"' if signed else ""
        options = f"notify explicit; notify-delay 0; also-notify {{ 127.0.0.1 port {port} {by}; }};"
        options += f'allow-transfer {{ key "{key.name}"; }}; update-policy {{ grant "{key.name}" zonesub ANY; }};'
        return make_bind(zones={"vm.": ""}, keys=(key,), zone_options=options)
    remote = f"remote:\n  - id: ksd\n    address: 127.0.0.1@{port}\n" + (f"    key: {key.name}\n" if signed else "")
    return make_knot(zones={"vm.": ""}, keys=(key,), extra=remote, zone_options="acl: all\nnotify: ksd")


def test_a_primary_says_that_its_zone_changed(notifying: Server, kube: Kube, run: Run, port: int) -> None:
    kube.put(DB)
    ksd = run(notifying, kube, NOTIFY_LISTEN=f"127.0.0.1:{port}", DRIFT_INTERVAL="1h")
    ksd.wait_ready()
    time.sleep(1.2)  # until it has said what we changed ourselves
    began = time.monotonic()
    notifying.nsupdate(DELETE)
    ksd.wait_answer(notifying, NAME, "A", "10.1.0.9", seconds=15)
    print(f"put back after {time.monotonic() - began:.3f} s")
    assert "is not believed" not in ksd.log()
    assert "expected a TSIG" not in notifying.log()


class Sender:
    """Somebody who sends NOTIFY, as whoever he pretends to be."""

    def __init__(self, port: int) -> None:
        self.port = port

    def message(self, zone: str = "vm.", *, key: Key | None = None) -> dns.message.Message:
        message = dns.message.make_query(zone, "SOA")
        message.set_opcode(dns.opcode.NOTIFY)
        message.flags = dns.opcode.to_flags(dns.opcode.NOTIFY) | dns.flags.AA
        if key is not None:
            message.use_tsig(dns.tsig.Key(key.name, key.secret, key.algorithm))
        return message

    def __call__(
        self, zone: str = "vm.", *, key: Key | None = None, source: str = "127.0.0.1", tcp: bool = False
    ) -> bool:
        """Send one; return whether it was answered, and how it was asked: signed."""
        message = self.message(zone, key=key)
        ask = dns.query.tcp if tcp else dns.query.udp
        try:
            response = ask(message, "127.0.0.1", timeout=0.5, port=self.port, source=source)
        except (OSError, EOFError, dns.exception.Timeout):
            return False
        assert response.rcode() == dns.rcode.NOERROR
        assert response.opcode() == dns.opcode.NOTIFY
        assert response.had_tsig == (key is not None)
        return True


@pytest.fixture
def listening(bind: Bind, kube: Kube, run: Run, port: int) -> Running:
    """Return a controller that hears of changes by NOTIFY only; its primary sends none."""
    kube.put(DB)
    ksd = run(bind, kube, NOTIFY_LISTEN=f"127.0.0.1:{port}", DRIFT_INTERVAL="1h")
    ksd.wait_ready()
    return ksd


def key_of(primary: Server) -> Key:
    return Key(primary.key_name, secret=primary.secret)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_one_that_counts(bind: Bind, listening: Running, port: int, tcp: bool, signed: bool) -> None:
    bind.nsupdate(DELETE)
    time.sleep(0.3)
    assert bind.query(NAME, "A") == []
    # A signature counts wherever it comes from.
    source = "127.0.0.2" if signed else "127.0.0.1"
    assert Sender(port)(key=key_of(bind) if signed else None, tcp=tcp, source=source)
    listening.wait_answer(bind, NAME, "A", "10.1.0.9")


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_those_that_do_not_count(bind: Bind, listening: Running, port: int, tcp: bool) -> None:
    send = Sender(port)
    bind.nsupdate(DELETE)
    right = key_of(bind)
    assert not send(source="127.0.0.2", tcp=tcp), "unsigned, from somebody else"
    assert not send(key=Key(right.name), tcp=tcp), "another secret"
    assert not send(key=Key("other.", secret=right.secret), tcp=tcp), "another name"
    assert send("other.", tcp=tcp), "another zone: it is none of our business"
    query = dns.message.make_query("vm.", "SOA")
    with pytest.raises((EOFError, dns.exception.Timeout, OSError)):
        (dns.query.tcp if tcp else dns.query.udp)(query, "127.0.0.1", timeout=0.3, port=port)
    time.sleep(0.5)
    assert bind.query(NAME, "A") == []
    assert "is not believed" in listening.log()
    assert right.secret not in listening.log()
    assert send(tcp=tcp)
    listening.wait_answer(bind, NAME, "A", "10.1.0.9")


def test_garbage_does_not_end_the_listener(bind: Bind, listening: Running, port: int) -> None:
    send = Sender(port)
    chance = random.Random(1)
    good = send.message(key=key_of(bind)).to_wire()
    samples = [b"", b"\0", bytes(12), b"\xff" * 600, good[:-1], good + b"\0", good[:40]]
    for _ in range(300):
        spoiled = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        samples.append(bytes(spoiled))
        samples.append(chance.randbytes(chance.randint(0, 200)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for sample in samples:
            udp.sendto(sample, ("127.0.0.1", port))
    for sample in samples[:60]:
        with socket.create_connection(("127.0.0.1", port), 2) as tcp:
            tcp.sendall(len(sample).to_bytes(2, "big") + sample)
    with socket.create_connection(("127.0.0.1", port), 2) as tcp:
        tcp.sendall(b"\xff\xff" + bytes(100))
    idle = [socket.create_connection(("127.0.0.1", port), 2) for _ in range(100)]
    bind.nsupdate(DELETE)
    assert send(key=key_of(bind))  # UDP, while TCP is worn out
    listening.wait_answer(bind, NAME, "A", "10.1.0.9")
    for connection in idle:
        connection.close()
    listening.wait(lambda: send(key=key_of(bind), tcp=True), "TCP is served again")
    assert listening.ready


def test_a_flood_of_them_costs_little(bind: Bind, listening: Running, port: int) -> None:
    message = Sender(port).message().to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(5_000):
            udp.sendto(message, ("127.0.0.1", port))
    bind.nsupdate(DELETE)
    assert Sender(port)()
    listening.wait_answer(bind, NAME, "A", "10.1.0.9")
    assert listening.ready


def test_an_address_that_is_taken_is_a_wrong_setting(bind: Bind, kube: Kube, run: Run, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        ksd = run(bind, kube, NOTIFY_LISTEN=f"127.0.0.1:{port}")
        assert ksd.ended() == 2
    assert "NOTIFY_LISTEN" in ksd.log()
