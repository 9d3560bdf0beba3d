"""A TCP connection to a primary: messages with their length in front (RFC 1035, 4.2.2; RFC 7766).

All waiting has a deadline. What the kernel and the peer can do wrong comes out as Unreachable.
"""

import select
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ksd_ddns.errors import Unreachable

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Server:
    """Where a primary listens: a name or an address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection:
    """One connection; `timeout` in seconds is the longest silence of the peer that is waited out."""

    def __init__(self, server: Server, *, timeout: float) -> None:
        self.server = server
        self._timeout = timeout
        self._buffer = bytearray()
        self._start = 0
        self._ended: Unreachable | None = None
        try:
            self._socket = socket.create_connection((server.host, server.port), timeout)
        except (OSError, UnicodeError) as e:
            raise Unreachable(f"{server} cannot be reached: {_reason(e)}{_cure(e)}") from e
        self._socket.setblocking(False)
        # A lone update must not wait for the acknowledgement of the message before it.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; harmless when it is closed already."""
        self._socket.close()

    @property
    def usable(self) -> bool:
        """Whether the peer still listens: an idle connection that it closed looks readable."""
        try:
            return not self._wait(select.POLLIN, 0)
        except (OSError, ValueError):
            return False

    def send(self, wire: bytes) -> None:
        """Send one message."""
        unsent = memoryview(len(wire).to_bytes(2, "big") + wire)
        deadline = time.monotonic() + self._timeout
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, deadline - time.monotonic()):
                    raise Unreachable(f"{self.server} takes no data for {self._timeout:g} s") from None
            except OSError as e:
                raise Unreachable(f"{self.server} cut the connection: {_reason(e)}") from e

    def receive(self) -> bytes:
        """Return the next message, waiting for it. Raises Unreachable after `timeout` seconds of silence."""
        while (message := self._take()) is None:
            if self._ended is not None:
                raise self._ended
            if not self._fill():
                if not self._wait(select.POLLIN, self._timeout):
                    raise Unreachable(f"{self.server} did not answer within {self._timeout:g} s")
                continue
        return message

    def drain(self) -> None:
        """Take what has arrived out of the kernel, without waiting: a server may cut a reader that is slow."""
        try:
            while self._ended is None and self._fill():
                pass
        except Unreachable as e:
            self._ended = e  # told when it is missed: what arrived before is whole

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
        """Read once without waiting; return whether anything came."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError as e:
            raise Unreachable(f"{self.server} cut the connection: {_reason(e)}") from e
        if not chunk:
            middle = " in the middle of a message" if len(self._buffer) > self._start else ""
            raise Unreachable(f"{self.server} closed the connection{middle}")
        self._buffer += chunk
        return True

    def _wait(self, event: int, seconds: float) -> bool:
        self._poll.register(self._socket, event)
        return bool(self._poll.poll(max(0.0, seconds) * 1000))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer to the connection"
    return str(getattr(error, "strerror", None) or error)


def _cure(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "; does a primary listen there on TCP? Set DNS_SERVER and DNS_PORT"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "; set DNS_SERVER to a name that resolves, or to an address"
    return "; is DNS_SERVER right, and TCP let through to it?"
