# SPDX-License-Identifier: Apache-2.0
"""A TCP connection to a primary: length-prefixed messages (RFC 1035, 4.2.2; RFC 7766).

Timeouts measure progress: a peer times out if no octet moves in either direction. On a slow link the timeout grows with
the octets in flight and the measured speed. An overall deadline stops a peer that sends too slowly.
Every I/O error and every disconnect raises Lost.
"""

import contextlib
import fcntl
import select
import socket
import ssl
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ksd_ddns import heartbeat
from ksd_ddns.errors import Unreachable
from ksd_ddns.primary.link import FIRST_WINDOW, SMALL, Link, Lost, Silent, Stopped
from ksd_ddns.primary.tls import Tls, reason

_CHUNK = 1 << 18

MESSAGE_TIMEOUTS = 10
"""Maximum duration of one message, in multiples of the timeout."""

SLOWEST = 1_000
"""Minimum sustained throughput of a link, in octets per second."""

LARGE_RESPONSE = 64 * 1024
"""Octets of a large response that may be in flight before any of them arrives."""

READ_AHEAD = 64 * 1024 * 1024
"""Maximum number of octets read from the kernel before they are processed."""

_STEP = 0.25
"""Seconds between two checks of how much of our data the peer has acknowledged."""

_CONNECT_WITHIN = 300.0
"""Seconds to allow for name servers that do not answer, for all search domains, and then for every address."""

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)

_CHECK_LOG = "check its log, or set a longer DNS_TIMEOUT"


@dataclass(frozen=True, slots=True)
class Server:
    """The host name or address of a primary, and its port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection:
    """One connection; fails if the peer is silent for `timeout` seconds; allows more on a slow link (see Link)."""

    def __init__(self, server: Server, *, timeout: float, tls: Tls | None = None, link: Link | None = None) -> None:
        self.server = server
        self.timeout = timeout
        self.link = link or Link()
        self._received = False
        self._several = False  # were sent together, most recently
        self.in_flight = 0
        """Octets of requests without a response."""
        self._requests: deque[tuple[int, int, float]] = deque()  # octets, octets in flight then, time
        self._moved = 0
        self._began = 0.0
        self._buffer = bytearray()
        self._start = 0
        self._ended: Unreachable | None = None
        self._secure = tls is not None
        try:
            heartbeat.beat(ahead=_CONNECT_WITHIN)
            self._socket = socket.create_connection((server.host, server.port), timeout)
        except (OSError, UnicodeError) as e:
            raise Lost(f"{server} cannot be reached: {reason(e)}", _remedy(e), server=server) from e
        if tls is not None:
            self._socket = tls.wrap(self._socket, server)
        self._socket.setblocking(False)
        # Disable Nagle: a single update must not wait for the acknowledgement of the previous message.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._socket.close()

    @property
    def usable(self) -> bool:
        """Whether the connection is still open. Check it only between exchanges, when no response is due."""
        try:
            # A closed connection is readable; with TLS so is one with a session ticket, which is not data.
            return not self._wait(select.POLLIN, 0) or not self._fill()
        except (Unreachable, OSError, ValueError):
            return False

    @property
    def room(self) -> bool:
        """Whether another request may be sent before those in flight are answered."""
        return not self._requests if self.link.alone else self.in_flight < self.link.window

    def send(self, wire: bytes, *, may_send: Callable[[], bool] = lambda: True) -> None:
        """Send one message. Raises Silent if the peer accepts no data, Lost if the connection fails.

        `may_send` is checked before each part of a message that does not fit the kernel's buffer. If it returns false,
        the rest is not sent and Stopped is raised; the connection is then unusable.
        """
        self.send_all((wire,), may_send=may_send)

    def send_all(self, wires: Sequence[bytes], *, may_send: Callable[[], bool] = lambda: True) -> None:
        """Send several messages together, which costs one system call without TLS; otherwise as `send`."""
        now = time.monotonic()
        self._several = len(wires) > 1
        if not self._requests:
            self._began, self._moved = now, 0
        for wire in wires:
            size = len(wire) + 2
            self.in_flight += size
            self._requests.append((size, self.in_flight, now))
        framed = [len(wire).to_bytes(2, "big") + wire for wire in wires]
        limit = self._message_limit()
        # Over TLS, Knot 3.4 and 3.5 process only the first message of a record.
        for octets in framed if self._secure else [b"".join(framed)]:
            self._send(memoryview(octets), limit, now + limit, may_send)

    def _send(self, unsent: memoryview, limit: float, deadline: float, may_send: Callable[[], bool]) -> None:
        while unsent:
            if not may_send():
                raise Stopped("updates are no longer sent: shutting down, or lost leadership", server=self.server)
            try:
                unsent = unsent[self._socket.send(unsent) :]
                heartbeat.beat()
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as e:
                event = select.POLLIN if isinstance(e, ssl.SSLWantReadError) else select.POLLOUT
                allowed = self._allowed(0)
                if not self._await(event, allowed, deadline):
                    if time.monotonic() >= deadline:
                        raise self._silent(f"took no complete message within {limit:.3g} s") from None
                    raise self._silent(f"takes no data for {allowed:.3g} s") from None
            except OSError as e:
                raise self._cut(e) from e

    def receive(self, *, large: bool = False) -> bytes:
        """Return the next message, blocking until it arrives. Raises Silent on a timeout, Lost if the connection fails.

        The timeout is `timeout` seconds, more if many octets are in flight or expected (`large`).
        """
        deadline = limit = 0.0
        while (message := self._take()) is None:
            if self._ended is not None:
                raise self._ended
            if self._fill():
                continue
            if not deadline:
                limit = self._message_limit()
                deadline = time.monotonic() + limit
            allowed = self._allowed(LARGE_RESPONSE if large else 0)
            if not self._await(select.POLLIN, allowed, deadline):
                if time.monotonic() >= deadline:
                    raise self._silent(f"sent no complete message within {limit:.3g} s")
                raise self._silent(f"did not answer within {allowed:.3g} s")
        self._count(len(message) + 2)
        return message

    def _silent(self, what: str) -> Silent:
        return Silent(f"{self.server} {what}", _CHECK_LOG, server=self.server)

    def _message_limit(self) -> float:
        """Return the limit in seconds for one message, including all requests in flight before it."""
        return MESSAGE_TIMEOUTS * self.timeout + (self.in_flight / SLOWEST if self.in_flight >= SMALL else 0.0)

    def _allowed(self, expected: int) -> float:
        return self.link.allowed(min(self.in_flight, 2 * FIRST_WINDOW) + expected, self.timeout)

    def _count(self, octets: int) -> None:
        """Account for a received message: the response to the oldest request, or a continuation of it."""
        now = self.link.received_at = time.monotonic()
        self._moved += octets
        if self._requests:
            size, ahead, at = self._requests.popleft()
            self.in_flight -= size
            self._moved += size
            self.link.note_answered(ahead, now - at, self.timeout)
        self.link.note_speed(self._moved, now - self._began)

    def drain(self) -> None:
        """Read all received data without blocking: servers disconnect slow readers."""
        try:
            while self._ended is None and len(self._buffer) < READ_AHEAD and self._fill():
                pass
        except Unreachable as e:
            self._ended = e  # receive() raises it after the messages that arrived before

    def _take(self) -> bytes | None:
        start = self._start + 2
        buffer = self._buffer
        if len(buffer) < start:
            return None
        end = start + int.from_bytes(buffer[start - 2 : start], "big")
        if len(buffer) < end:
            return None
        message = bytes(memoryview(buffer)[start:end])
        self._start = end
        if end == len(buffer):
            buffer.clear()
            self._start = 0
        elif end > 4 * _CHUNK:
            del buffer[:end]
            self._start = 0
        return message

    def _fill(self) -> bool:
        """Read once without blocking; return whether data arrived."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError as e:
            raise self._cut(e) from e
        if not chunk:
            raise self._closed()
        self._buffer += chunk
        self._received = True
        if self._several and len(self._requests) > 1:
            self._acknowledge()
        heartbeat.beat()
        return True

    def _acknowledge(self) -> None:
        """Let the kernel acknowledge at once what has arrived (Linux only; it forgets the option again).

        More responses to queries are due. BIND sends the next one when this one is acknowledged (Nagle's algorithm),
        and the kernel waits 40 ms with that if it has nothing to send.
        """
        if _QUICKACK is not None:
            with contextlib.suppress(OSError):  # a lost connection is noticed when it is used
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _cut(self, error: OSError) -> Lost:
        return self._hung_up(f"cut the connection: {reason(error)}")

    def _closed(self) -> Lost:
        middle = " in the middle of a message" if len(self._buffer) > self._start else ""
        return self._hung_up(f"closed the connection{middle}")

    def _hung_up(self, what: str) -> Lost:
        if len(self._requests) > 1:
            self.link.narrow()  # it may have had too many requests at once
        return Lost(f"{self.server} {what}", self._hang_up_remedy(), server=self.server)

    def _hang_up_remedy(self) -> str:
        if self._received:
            return "check its log"
        if self._secure:
            # With TLS 1.3, our handshake completes before the server checks our certificate.
            return "does it require a client certificate, from a CA that it accepts (DNS_TLS_CERT)?"
        return "does it require TLS (DNS_TLS=true)?"

    def _await(self, event: int, allowed: float, deadline: float) -> bool:
        """Wait for `event`; return false after `deadline`, or after `allowed` seconds without progress.

        Acknowledged octets of ours count as progress.
        """
        heartbeat.beat(ahead=allowed)
        unsent = self._unsent()
        until = time.monotonic() + allowed
        while True:
            left = min(until, deadline) - time.monotonic()
            found = self._wait(event, min(left, _STEP) if unsent else left)
            now = time.monotonic()
            if found or now >= deadline:
                return now < deadline
            before, unsent = unsent, self._unsent()
            if unsent < before:
                until = now + allowed
            elif now >= until:
                return False

    def _unsent(self) -> int:
        """Return how many sent octets the peer's kernel has not acknowledged; 0 if our kernel does not report it."""
        try:
            found = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return 0
        return int.from_bytes(found, sys.byteorder)

    def _wait(self, event: int, seconds: float) -> bool:
        self._poll.register(self._socket, event)
        return bool(self._poll.poll(max(0.0, seconds) * 1000))


def _remedy(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "does a primary listen there on TCP? Set DNS_SERVER and DNS_PORT"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "set DNS_SERVER to a name that resolves, or to an address"
    return "check DNS_SERVER, and that firewalls allow TCP to it"
