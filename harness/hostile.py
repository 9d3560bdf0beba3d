# SPDX-License-Identifier: Apache-2.0
"""A man in the middle: a TCP proxy for a real primary that closes, tampers, stays silent, or interferes.

    with Proxy(primary) as proxy:                     # passes everything on
        proxy.request = swallow                       # never answers
        proxy.response = after(2, cut())              # two messages, then a clean close

Hooks get DNS messages, without their length, and yield what to forward. `Cut` closes. They run in the thread of
their connection, and unexpected exceptions are raised again when the `with` block ends.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig

from harness.servers import Key, Server
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.wire import codec, rcodes

Hook = Callable[[bytes], Iterable[bytes]]
"""Takes a message, returns the messages to forward."""

OPCODE_QUERY = 0
OPCODE_UPDATE = 5
AXFR = 252
IXFR = 251


class Cut(Exception):
    """Close the connection after sending `octets` without a length; with `reset`, by a TCP reset."""

    def __init__(self, octets: bytes = b"", *, reset: bool = False) -> None:
        super().__init__("cut")
        self.octets = octets
        self.reset = reset


class Proxy:
    """Listens at `address`, a free loopback port, and forwards messages through its hooks."""

    def __init__(self, primary: Server, *, request: Hook | None = None, response: Hook | None = None) -> None:
        self._primary = (primary.address, primary.port)
        self.request: Hook = request or pass_on
        self.response: Hook = response or pass_on
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listener.getsockname())
        self._listener.settimeout(0.05)
        self._done = threading.Event()
        self._mistakes: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def lead_to(self, primary: Server) -> None:
        """Forward new connections to another primary, and cut open ones."""
        self._primary = (primary.address, primary.port)
        for client in tuple(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        if error is None and self._mistakes:
            raise self._mistakes[0]

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                self.connections += 1
                self._clients.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                with socket.create_connection(self._primary, 10) as server:
                    self._pump(client, server)
            except Cut as cut:
                with contextlib.suppress(OSError):
                    client.sendall(cut.octets)
                    if cut.reset:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass  # the primary or the client closed the connection
            except BaseException as e:  # noqa: BLE001 - raised again when the block ends
                self._mistakes.append(e)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        buffers = {client: bytearray(), server: bytearray()}
        while not self._done.is_set():
            for end in select.select([client, server], [], [], 0.05)[0]:
                chunk = end.recv(1 << 16)
                if not chunk:
                    return
                buffers[end] += chunk
                for message in _messages(buffers[end]):
                    hook, other = (self.request, server) if end is client else (self.response, client)
                    for onward in hook(message):
                        other.sendall(len(onward).to_bytes(2, "big") + onward)


def _messages(buffer: bytearray) -> Iterable[bytes]:
    while len(buffer) >= 2 and len(buffer) >= (end := 2 + int.from_bytes(buffer[:2], "big")):
        message = bytes(buffer[2:end])
        del buffer[:end]
        yield message


# Hooks


def pass_on(message: bytes) -> Iterable[bytes]:
    """Forward every message."""
    return [message]


def swallow(_: bytes) -> Iterable[bytes]:
    """Drop every message."""
    return []


def unsigned_notauth(message: bytes) -> Iterable[bytes]:
    """Reject a key as Knot from 3.4 on and PowerDNS do: NOTAUTH without the TSIG record that holds the reason."""
    return [unsigned(message) if message[3] & 0xF == rcodes.NOTAUTH and codec.read(message).tsig else message]


def cut(octets: bytes = b"", *, reset: bool = False) -> Hook:
    """Return a hook that closes the connection after sending `octets`."""

    def hook(_: bytes) -> Iterable[bytes]:
        raise Cut(octets, reset=reset)

    return hook


def replaced(octets: bytes) -> Hook:
    """Return a hook that sends `octets` instead of every message."""
    return lambda _: [octets]


def after(count: int, hook: Hook) -> Hook:
    """Return a hook that forwards `count` messages and gives all later ones to `hook`."""
    return _Counted(count, pass_on, hook)


def behind(count: int, hook: Hook) -> Hook:
    """Return a hook that forwards `count` messages per request and gives all later ones to `hook`."""
    by_id: dict[bytes, Hook] = {}
    return lambda message: by_id.setdefault(message[:2], after(count, hook))(message)


def first(count: int, hook: Hook) -> Hook:
    """Return a hook that gives the first `count` messages to `hook`, and forwards the others."""
    return _Counted(count, hook, pass_on)


def only(wanted: Callable[[bytes], bool], hook: Hook) -> Hook:
    """Return a hook that gives the `wanted` messages to `hook`, and forwards the others."""
    return lambda message: hook(message) if wanted(message) else [message]


def once_before(action: Callable[[], object]) -> Hook:
    """Return a hook that runs `action` before it forwards the first message: a race between read and update."""

    def act(message: bytes) -> Iterable[bytes]:
        action()
        return [message]

    return first(1, act)


class _Counted:
    def __init__(self, count: int, before: Hook, behind: Hook) -> None:
        self._left = count
        self._before = before
        self._behind = behind
        self._lock = threading.Lock()

    def __call__(self, message: bytes) -> Iterable[bytes]:
        with self._lock:
            self._left -= 1
            hook = self._before if self._left >= 0 else self._behind
        return hook(message)


# What a message is


def is_update(message: bytes) -> bool:
    """Return whether `message` is an UPDATE, or the response to one."""
    return message[2] >> 3 & 0xF == OPCODE_UPDATE


def is_transfer(message: bytes) -> bool:
    """Return whether `message` is a query for a transfer, or a response to one that repeats the question."""
    question = codec.read(message).question if not is_update(message) else None
    return question is not None and question[1] == AXFR


def is_ixfr(message: bytes) -> bool:
    """Return whether `message` is a query for an incremental transfer, or a response to one that repeats it."""
    question = codec.read(message).question if not is_update(message) else None
    return question is not None and question[1] == IXFR


# Changes of a response


def unsigned(message: bytes) -> bytes:
    """Return `message` without its signature."""
    start = codec.read(message).tsig_start
    assert start is not None, "this message is not signed"
    count = int.from_bytes(message[10:12], "big") - 1
    return message[:10] + count.to_bytes(2, "big") + message[12:start]


def flipped(message: bytes) -> bytes:
    """Return `message` with the last octet of its first answer's rdata changed, as a man in the middle would."""
    answer = codec.read(message).answer
    start = message.index(answer[-1][3][-4:], 12)
    return message[: start + 3] + bytes([message[start + 3] ^ 1]) + message[start + 4 :]


def renumbered(message: bytes) -> bytes:
    """Return `message` with another ID."""
    return bytes([message[0] ^ 0xFF]) + message[1:]


class Echo:
    """Two hooks that put the signature of each request of an opcode, TKEY aside, on its response, as Windows does."""

    def __init__(self, opcode: int) -> None:
        self._opcode = opcode
        self._records: dict[bytes, bytes] = {}

    def request(self, message: bytes) -> Iterable[bytes]:
        """Pass on a request, and remember its signature."""
        start = codec.read(message).tsig_start
        if start is not None and message[2] >> 3 & 0xF == self._opcode:
            self._records[message[:2]] = message[start:]
        return [message]

    def response(self, message: bytes) -> Iterable[bytes]:
        """Return the response with that signature, in place of its own if it has one."""
        if message[:2] not in self._records:
            return [message]
        bare = unsigned(message) if codec.read(message).tsig else message
        count = int.from_bytes(bare[10:12], "big") + 1
        return [bare[:10] + count.to_bytes(2, "big") + bare[12:] + self._records[message[:2]]]


class Resigner:
    """Two hooks that sign every response again: with another key, or with a wrong clock."""

    def __init__(self, key: Key, *, offset: int = 0) -> None:
        self._key = dns.tsig.Key(key.name, key.secret, key.algorithm)
        self._offset = offset
        self._macs: dict[int, bytes] = {}

    def request(self, message: bytes) -> Iterable[bytes]:
        """Record the signature that the response will refer to."""
        tsig = codec.read(message).tsig
        assert tsig is not None, "this request is not signed"
        rdata = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, tsig[3], 0, len(tsig[3]))
        assert isinstance(rdata, dns.rdtypes.ANY.TSIG.TSIG)
        self._macs[int.from_bytes(message[:2], "big")] = rdata.mac
        return [message]

    def response(self, message: bytes) -> Iterable[bytes]:
        """Sign the response."""
        bare = unsigned(message)
        ident = int.from_bytes(bare[:2], "big")
        empty = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]
            dns.rdataclass.ANY, dns.rdatatype.TSIG, self._key.algorithm, 0, 300, b"", ident, 0, b""
        )
        signed, _ = dns.tsig.sign(  # type: ignore[no-untyped-call]
            bare, self._key, empty, int(time.time()) + self._offset, self._macs[ident]
        )
        rdata = signed.to_wire()
        record = self._key.name.to_digestable() + struct.pack("!HHIH", 250, 255, 0, len(rdata)) + rdata
        count = int.from_bytes(bare[10:12], "big") + 1
        return [bare[:10] + count.to_bytes(2, "big") + bare[12:] + record]
