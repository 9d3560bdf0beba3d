# SPDX-License-Identifier: Apache-2.0
"""NOTIFY: foreign changes are found at once over UDP and TCP, and no message does harm."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import pytest

from harness.kube import Kube
from harness.servers import Bind, Key, Knot, Port, PowerDns, Server
from harness.vmis import vmi
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.keys import RotatingKey, read_key_file
from ksd_ddns.primary.notify import Listener, RateLimit
from tests.controller.conftest import Run
from tests.controller.running import Running

DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
NAME = "net1.db.prod.vm."
DELETE = f"update delete {NAME} A"


@pytest.fixture
def port() -> Iterator[int]:
    """Yield a free port for the listener."""
    port = Port.reserve()
    yield port.number
    port.release()


@pytest.fixture(params=["bind9", "knot"])
def notifying(
    request: pytest.FixtureRequest, make_bind: Callable[..., Bind], make_knot: Callable[..., Knot], port: int
) -> Callable[..., Server]:
    """Return a factory of a company's primary that sends NOTIFY to `port`, signed with its key or not at all."""

    def make(*, signed: bool) -> Server:
        key = Key()
        if request.param == "bind9":
            by = f'key "{key.name}"' if signed else ""
            options = f"notify explicit; notify-delay 0; also-notify {{ 127.0.0.1 port {port} {by}; }};"
            options += f'allow-transfer {{ key "{key.name}"; }}; update-policy {{ grant "{key.name}" zonesub ANY; }};'
            return make_bind(zones={"vm.": ""}, keys=(key,), zone_options=options)
        remote = f"remote:\n  - id: ksd\n    address: 127.0.0.1@{port}\n" + (f"    key: {key.name}\n" if signed else "")
        return make_knot(zones={"vm.": ""}, keys=(key,), extra=remote, zone_options="acl: all\nnotify: ksd")

    return make


@pytest.mark.parametrize("address", ["127.0.0.1", "[::]"], ids=["v4", "mapped"])
def test_a_primary_reports_a_changed_zone(
    notifying: Callable[..., Server], kube: Kube, run: Run, port: int, address: str
) -> None:
    kube.put(DB)
    primary = notifying(signed=True)
    ksd = run(primary, kube, NOTIFY_LISTEN=f"{address}:{port}", DRIFT_INTERVAL="1h")
    ksd.wait_ready()
    time.sleep(1.2)  # until it has reported our own changes
    began = time.monotonic()
    primary.nsupdate(DELETE)
    ksd.wait_answer(primary, NAME, "A", "10.1.0.9", seconds=15)
    print(f"put back after {time.monotonic() - began:.3f} s")
    assert "NOTIFY ignored" not in ksd.log()
    assert "expected a TSIG" not in primary.log()


def test_powerdns_reports_a_changed_zone(
    make_powerdns: Callable[..., PowerDns], kube: Kube, run: Run, port: int
) -> None:
    """It signs with the key that is allowed to transfer the zone."""
    kube.put(DB)
    primary = make_powerdns(zones={"vm.": ""}, options="primary=yes\nxfr-cycle-interval=1")
    primary.pdnsutil("set-kind", "vm", "primary")
    primary.pdnsutil("set-meta", "vm", "ALSO-NOTIFY", f"127.0.0.1:{port}")
    ksd = run(primary, kube, NOTIFY_LISTEN=f"127.0.0.1:{port}", DRIFT_INTERVAL="1h")
    ksd.wait_ready()
    time.sleep(2.5)  # until it has reported our own changes
    primary.nsupdate(DELETE)
    ksd.wait_answer(primary, NAME, "A", "10.1.0.9")
    assert "NOTIFY ignored" not in ksd.log()


def test_an_unsigned_notify_is_ignored_and_the_remedy_is_logged(
    notifying: Callable[..., Server], kube: Kube, run: Run, port: int
) -> None:
    kube.put(DB)
    primary = notifying(signed=False)
    ksd = run(primary, kube, NOTIFY_LISTEN=f"127.0.0.1:{port}", DRIFT_INTERVAL="1h")
    ksd.wait_ready()
    primary.nsupdate(DELETE)
    ksd.wait(lambda: "NOTIFY ignored" in ksd.log() and "it is not signed" in ksd.log(), "a warning")
    assert f"with key {primary.key_name}" in ksd.log()
    assert "also-notify" in ksd.log()
    time.sleep(2)
    assert primary.query(NAME, "A") == []


class Sender:
    """A sender of NOTIFY, with any source address and key."""

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
        """Send one; return whether it was answered."""
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
    """Return a controller that finds foreign changes only by NOTIFY; its primary sends none."""
    kube.put(DB)
    ksd = run(bind, kube, NOTIFY_LISTEN=f"127.0.0.1:{port}", DRIFT_INTERVAL="1h")
    ksd.wait_ready()
    return ksd


def key_of(primary: Server) -> Key:
    return Key(primary.key_name, secret=primary.secret)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_a_valid_notify_is_accepted(bind: Bind, listening: Running, port: int, tcp: bool) -> None:
    bind.nsupdate(DELETE)
    time.sleep(0.3)
    assert bind.query(NAME, "A") == []
    # A signed NOTIFY is accepted from any address.
    assert Sender(port)(key=key_of(bind), tcp=tcp, source="127.0.0.2")
    listening.wait_answer(bind, NAME, "A", "10.1.0.9")


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_an_invalid_notify_is_ignored(bind: Bind, listening: Running, port: int, tcp: bool) -> None:
    send = Sender(port)
    bind.nsupdate(DELETE)
    right = key_of(bind)
    assert not send(tcp=tcp), "unsigned, from the primary's address, which can be forged"
    assert not send(source="127.0.0.2", tcp=tcp), "unsigned, from somebody else"
    assert not send(key=Key(right.name), tcp=tcp), "another secret"
    assert not send(key=Key("other.", secret=right.secret), tcp=tcp), "another name"
    assert send("other.", key=right, tcp=tcp), "another zone: it is none of our business"
    query = dns.message.make_query("vm.", "SOA")
    with pytest.raises((EOFError, dns.exception.Timeout, OSError)):
        (dns.query.tcp if tcp else dns.query.udp)(query, "127.0.0.1", timeout=0.3, port=port)
    time.sleep(0.5)
    assert bind.query(NAME, "A") == []
    assert "NOTIFY ignored" in listening.log()
    assert right.secret not in listening.log()
    assert send(key=right, tcp=tcp)
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
    assert send(key=key_of(bind))  # UDP, while TCP is exhausted
    listening.wait_answer(bind, NAME, "A", "10.1.0.9")
    for connection in idle:
        connection.close()
    listening.wait(lambda: send(key=key_of(bind), tcp=True), "TCP is served again")
    assert listening.ready


def test_a_flood_of_notify_messages_costs_little(bind: Bind, listening: Running, port: int) -> None:
    """One query answers ten thousand valid messages."""
    send = Sender(port)
    message = send.message(key=key_of(bind)).to_wire()
    before = listening.metrics()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(10_000):
            udp.sendto(message, ("127.0.0.1", port))
    bind.nsupdate(DELETE)
    listening.wait(lambda: send(key=key_of(bind)), "NOTIFY arrives")
    listening.wait_answer(bind, NAME, "A", "10.1.0.9")
    assert listening.ready
    assert listening.metrics()["transfers_total{axfr,success}"] == before["transfers_total{axfr,success}"]


# The listener alone


Listen = Callable[..., list[bytes]]


@pytest.fixture
def listen(port: int) -> Iterator[Listen]:
    """Yield a factory of listeners; it returns the list of zones that they report."""
    made: list[Listener] = []

    def make(
        host: str = "127.0.0.1", *, keys: tuple[RotatingKey, ...] = (), limit: RateLimit | None = None
    ) -> list[bytes]:
        zones: list[bytes] = []
        primaries = [Address("127.0.0.1", 53)]
        made.append(Listener(Address(host, port), primaries=primaries, keys=keys, received=zones.append, limit=limit))
        made[-1].start()
        return zones

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::"], ids=["v4", "mapped"])
def test_without_a_key_the_source_address_decides(listen: Listen, port: int, host: str, tcp: bool) -> None:
    zones = listen(host)
    send = Sender(port)
    assert not send(source="127.0.0.2", tcp=tcp)
    assert not send(key=Key(), tcp=tcp), "signed with whatever key"
    assert zones == []
    assert send(tcp=tcp)
    assert zones == [b"\2vm\0"]


def test_a_zone_is_reported_at_once_and_then_at_an_interval(listen: Listen, port: int) -> None:
    zones = listen(limit=RateLimit(every=1.0))
    send = Sender(port)
    began = time.monotonic()
    assert send()
    assert send("other.")
    assert zones == [b"\2vm\0", b"\5other\0"], "neither waits"
    for _ in range(50):
        assert send()
    took = time.monotonic() - began
    assert len(zones) <= 3 + took, "once a second"
    quiet = len(zones)
    time.sleep(1.5)
    assert zones[quiet:] in ([], [b"\2vm\0"])
    assert zones.count(b"\2vm\0") >= 2, "what came meanwhile is not lost"
    assert zones.count(b"\5other\0") == 1
    quiet = len(zones)
    time.sleep(1.2)
    assert len(zones) == quiet, "nor is it reported for ever"


FLOOD = """
import socket, sys, time
port, message = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    end = time.monotonic() + float(sys.argv[3])
    while time.monotonic() < end:
        udp.sendto(message, ("127.0.0.1", port))
"""


@pytest.mark.parametrize("kind", ["wrong-secret", "unsigned", "good", "garbage"])
def test_a_flood_gets_a_limited_share_of_the_processor(listen: Listen, port: int, tmp_path: Path, kind: str) -> None:
    key = Key()
    rotating = RotatingKey("key", lambda: read_key_file(file), [file := key.file(tmp_path)])
    zones = listen(keys=(rotating,), limit=RateLimit(share=0.05, burst=0.1))
    send = Sender(port)
    with_key = {"wrong-secret": Key(key.name), "unsigned": None, "good": key, "garbage": key}[kind]
    message = send.message(key=with_key).to_wire()
    if kind == "garbage":
        message = message[:-1]
    before = _processor_seconds("notify")
    flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(port), message.hex(), "4"])
    assert flood.wait(60) == 0
    used = _processor_seconds("notify") - before
    # The budget excludes receiving; without a budget it would take most of four seconds.
    assert used < 1.5, f"{used} s of the processor"
    assert len(zones) <= 6
    deadline = time.monotonic() + 20
    while not send(key=key):
        assert time.monotonic() < deadline, "it stopped answering"


def _processor_seconds(name: str) -> float:
    """Return the processor time of the threads with that name."""
    ticks = 0
    for thread in threading.enumerate():
        if thread.name == name:
            fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_one_client_cannot_take_all_connections(listen: Listen, port: int) -> None:
    listen()
    held = []
    for _ in range(200):
        connection = socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.2", 0))
        held.append(connection)
    for _ in range(5):
        assert Sender(port)(tcp=True)
    for connection in held:
        connection.close()


def test_an_address_in_use_is_a_settings_error(bind: Bind, kube: Kube, run: Run, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        ksd = run(bind, kube, NOTIFY_LISTEN=f"127.0.0.1:{port}")
        assert ksd.ended() == 2
    assert "NOTIFY_LISTEN" in ksd.log()
