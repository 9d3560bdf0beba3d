# SPDX-License-Identifier: Apache-2.0
"""Timeouts of a connection: they depend on progress, not on complete messages."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.errors import Unreachable
from ksd_ddns.primary import connection as connection_module
from ksd_ddns.primary.connection import Connection, Server
from ksd_ddns.primary.link import Link, Lost, Silent, Stopped
from tests.e2e.command import Command


def trickle(listener: socket.socket) -> None:
    """Accept a connection, send the length of a message of 1,000 octets, then an octet now and then."""
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        with client:
            client.sendall(b"\x03\xe8")
            for _ in range(1000):
                client.sendall(b"x")
                time.sleep(0.02)


def test_a_trickling_message_times_out() -> None:
    """An octet now and then is no silence, but could block a zone for hours."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, args=(listener,), daemon=True).start()
        with (
            Connection(Server(*listener.getsockname()), timeout=0.4) as connection,
            pytest.raises(Unreachable, match="sent no complete message within 4 s"),
        ):
            connection.receive()


# A slow link


class SlowLink:
    """Lets `rate` octets a second through in each direction, in lumps of up to `lump`, as a link with a buffer does."""

    def __init__(self, server: Server, *, rate: float, lump: int) -> None:
        self._server, self._rate, self._lump = server, rate, lump
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Server(*self._listener.getsockname())

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._server.host, self._server.port))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self._lump):
                time.sleep(len(data) / self._rate)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def many(count: int) -> list[dict[str, Any]]:
    return [vmi(f"vm{i}", "prod", {"net1": [f"10.1.{i >> 8}.{i & 255}"]}) for i in range(count)]


@pytest.mark.parametrize(("rate", "lump"), [(80_000, 49_152), (80_000, 2_000)], ids=["in-lumps", "evenly"])
def test_a_slow_link_does_not_time_out(make_bind: Callable[..., Bind], tmp_path: Path, rate: float, lump: int) -> None:
    """A message takes longer than DNS_TIMEOUT, and so does the response to a transfer."""
    bind = make_bind(zones={"vm.": ""})
    with SlowLink(Server("127.0.0.1", bind.port), rate=rate, lump=lump) as link:
        settings = {"DNS_SERVER": str(link.address), "TSIG_KEY_FILE": str(bind.key_file), "DNS_TIMEOUT": "500ms"}
        command = Command(tmp_path, settings)
        wanted = many(1000)
        done = command("apply", vmi=wanted)
        assert (done.code, done.err) == (0, "")
        assert sum(1 for record in bind.axfr() if record.type == "A") == 2000
        done = command("plan", "--exit-code", vmi=wanted)
        assert (done.code, done.err) == (0, "")
    assert bind.log().count("': adding an RR at") == 4000, "nothing was sent twice"


def test_timeouts_and_blocks_adapt_to_the_speed_of_a_link() -> None:
    """A fast link gets a shorter timeout and larger blocks than a slow one."""
    fast, slow = Link(), Link()
    for _ in range(3):
        fast.note_speed(60_000, 0.01)
        fast.note_answered(60_000, 0.01, 5.0)
        slow.note_speed(60_000, 7.5)
        slow.note_answered(60_000, 7.5, 5.0)
    assert fast.allowed(64, 5.0) == slow.allowed(64, 5.0) == 5.0, "what is small crosses any link at once"
    assert fast.allowed(60_000, 5.0) < 6 < 60_000 / 8_000 + 5 < slow.allowed(60_000, 5.0)
    assert slow.window < Link().window < fast.window


def flood(connection: Connection) -> None:
    for _ in range(1000):
        connection.send(bytes(60_000))


def test_sending_to_a_peer_that_reads_nothing_times_out() -> None:
    """Data in kernel buffers is not progress of the peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        since = time.monotonic()
        with Connection(Server(*listener.getsockname()), timeout=0.1) as connection, pytest.raises(Silent):
            flood(connection)
        assert time.monotonic() - since < 10


def test_fewer_requests_are_in_flight_after_the_server_closed_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = Link()
        with Connection(Server(*listener.getsockname()), timeout=5, link=link) as connection:
            client, _ = listener.accept()
            connection.send(bytes(20_000))
            assert connection.room
            connection.send(bytes(20_000))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            with pytest.raises(Lost):
                connection.receive()
        with Connection(Server(*listener.getsockname()), timeout=5, link=link) as connection:
            assert connection.room
            connection.send(bytes(20_000))
            assert not connection.room, "one at a time, until the server has shown that it takes more"


def test_a_peer_that_sends_without_end_does_not_exhaust_memory() -> None:
    def send_for_ever(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            while True:
                client.sendall(bytes(1 << 20))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=send_for_ever, args=(listener,), daemon=True).start()
        with Connection(Server(*listener.getsockname()), timeout=5) as connection:
            connection.receive()
            for _ in range(5):
                connection.drain()
            assert len(connection._buffer) < connection_module.READ_AHEAD + (1 << 20)


def test_a_partial_message_is_not_completed_after_leadership_is_lost() -> None:
    """The kernel takes a large message in parts: between them another controller may have become the leader."""
    leading, message, received = threading.Event(), bytes(60_000), bytearray()
    leading.set()

    def lose_leadership_then_read(peer: socket.socket) -> None:
        time.sleep(0.3)
        leading.clear()
        while chunk := peer.recv(1 << 20):
            received.extend(chunk)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(Server(*listener.getsockname()), timeout=10)
        peer, _ = listener.accept()
        with peer:
            reading = threading.Thread(target=lose_leadership_then_read, args=(peer,))
            reading.start()
            stopped = False
            started = 0
            with connection:
                while not stopped and started < 1000:  # far more than all buffers hold
                    started += 1
                    try:
                        connection.send(message, may_send=leading.is_set)
                    except Stopped:
                        stopped = True
            reading.join()
    assert stopped
    size = len(message) + 2
    assert (started - 1) * size < len(received) < started * size, "a part of the last message, and no more"
