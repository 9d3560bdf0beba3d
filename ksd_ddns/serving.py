# SPDX-License-Identifier: Apache-2.0
"""TCP servers with limits on connections, in total and per client, and on the duration of each.

Any client can open connections and send nothing, or a byte now and then. A limit alone would then lock out all others,
so a new connection is never refused: an old one is closed instead, of the client with the most connections, and an idle
one if possible. A client that opens one connection and sends its request at once, such as a kubelet, is always served.
"""

import contextlib
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one server. Durations are in seconds.

    `connections` in total, and `per_client` (see `client_of`); `request_within`: to receive a request;
    `response_within`: to send the response.
    """

    connections: int = 128
    per_client: int = 16
    request_within: float = 5.0
    response_within: float = 120.0


def address_of(address: str) -> str:
    """Return an IP address in its normal form: IPv4 as such, even if a socket maps it into IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def client_of(address: str) -> str:
    """Return what identifies the client: its IPv4 address, or the /64 of its IPv6 address."""
    text = address_of(address)
    return str(ipaddress.ip_network((text, 64), strict=False)) if ":" in text else text


@dataclass(slots=True)
class _Open:
    """A connection: its client, deadline, and whether its request has arrived."""

    client: str
    until: float
    answering: bool = False


class _Workers:
    """Threads that serve connections, started on demand and kept: starting one takes longer than serving."""

    def __init__(self, serve: Callable[[Any, Any], None], most: int) -> None:
        self._serve = serve
        self._most = most
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._work: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

    def put(self, request: Any, client_address: Any) -> None:
        """Serve a connection; call from one thread only."""
        self._work.put((request, client_address))
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            threading.Thread(target=self._run, name="serving", daemon=True).start()
            self._started += 1

    def _run(self) -> None:
        while True:
            self._serve(*self._work.get())
            self._idle.release()


class Bounded(socketserver.ThreadingMixIn):
    """Makes a TCP server of `socketserver` serve connections at the same time, within `limits`.

    A handler calls `answering` once it has read a request.
    """

    request_queue_size = 1024  # if the kernel drops a connection, the client retries only after a second

    def __init__(self, *arguments: Any, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._open: dict[socket.socket, _Open] = {}  # oldest first
        self._lock = threading.Lock()
        # Those whose connection was closed may still run for a moment.
        self._workers = _Workers(self.process_request_thread, 2 * self._limits.connections)
        super().__init__(*arguments)

    def get_request(self) -> Any:
        """Accept a connection."""
        try:
            return super().get_request()  # type: ignore[misc] # of the server that this is mixed into
        except OSError:
            time.sleep(0.05)  # perhaps out of descriptors: do not retry at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; if there are too many, close another one."""
        client = client_of(client_address[0])
        with self._lock:
            counts = Counter(each.client for each in self._open.values())
            if counts[client] >= self._limits.per_client:
                self._close_one_of(client)
            elif len(self._open) >= self._limits.connections:
                self._close_one_of(counts.most_common(1)[0][0])
            self._open[request] = _Open(client, time.monotonic() + self._limits.request_within)
        self._workers.put(request, client_address)

    def answering(self, request: socket.socket) -> None:
        """Record that the request has arrived: the deadline is now that of the response."""
        with self._lock:
            if found := self._open.get(request):
                found.answering, found.until = True, time.monotonic() + self._limits.response_within

    def service_actions(self) -> None:
        """Close connections past their deadline; called twice a second, and after each new one."""
        now = time.monotonic()
        with self._lock:
            for request in [request for request, each in self._open.items() if each.until <= now]:
                self._hang_up(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that has been served."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)  # type: ignore[misc] # of the server that this is mixed into

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error with one client; the base class would print it."""
        _log.debug("cannot serve a client", extra={"fields": {"client": client_address[0]}}, exc_info=True)

    def _close_one_of(self, client: str) -> None:
        mine = [(each.answering, request) for request, each in self._open.items() if each.client == client]
        self._hang_up(min(mine, key=lambda item: item[0])[1])

    def _hang_up(self, request: socket.socket) -> None:
        """Shut down a connection that a thread still uses; call under the lock, so that it is not closed meanwhile."""
        del self._open[request]
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)
