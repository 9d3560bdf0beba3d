"""TCP servers that no client can wear out: limits on connections, in all and per client, and on how long each lasts.

Anybody who reaches a port can open connections and send nothing, or a byte now and then. A limit alone would lock
everybody else out as soon as it is reached, so a new connection is never refused: an old one is closed for it. It is
one of the client with the most connections, and an idle one where there is one. A client that opens one connection and
asks at once, as a kubelet does, is served whatever the others do.
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
    """Of one server. Durations are in seconds.

    `connections` in all, and `per_client`, as `client_of` distinguishes clients; `request_within`: until a request must
    have arrived; `response_within`: until its answer must have been taken.
    """

    connections: int = 128
    per_client: int = 16
    request_within: float = 5.0
    response_within: float = 120.0


def address_of(address: str) -> str:
    """Return an IP address as it is written best: an IPv4 address as one, also where a socket maps it into IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def client_of(address: str) -> str:
    """Return what tells the client of that address from others: an IPv4 address, the /64 of an IPv6 address."""
    text = address_of(address)
    return str(ipaddress.ip_network((text, 64), strict=False)) if ":" in text else text


@dataclass(slots=True)
class _Open:
    """A connection: whose, until when, and whether its request has come."""

    client: str
    until: float
    answering: bool = False


class _Workers:
    """Threads that serve connections, begun when they are needed and kept: to begin one takes longer than to serve."""

    def __init__(self, serve: Callable[[Any, Any], None], most: int) -> None:
        self._serve = serve
        self._most = most
        self._begun = 0
        self._idle = threading.Semaphore(0)
        self._work: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

    def put(self, request: Any, client_address: Any) -> None:
        """Have a connection served; to be called from one thread."""
        self._work.put((request, client_address))
        if not self._idle.acquire(blocking=False) and self._begun < self._most:
            threading.Thread(target=self._run, name="serving", daemon=True).start()
            self._begun += 1

    def _run(self) -> None:
        while True:
            self._serve(*self._work.get())
            self._idle.release()


class Bounded(socketserver.ThreadingMixIn):
    """Makes a TCP server of `socketserver` serve connections at the same time, within `limits`.

    A handler calls `answering` once it has read a request.
    """

    request_queue_size = 1024  # where the kernel drops one, the client tries again after a second only

    def __init__(self, *arguments: Any, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._open: dict[socket.socket, _Open] = {}  # oldest first
        self._lock = threading.Lock()
        # Those that were closed may still be at work for a moment.
        self._workers = _Workers(self.process_request_thread, 2 * self._limits.connections)
        super().__init__(*arguments)

    def get_request(self) -> Any:
        """Accept a connection."""
        try:
            return super().get_request()  # type: ignore[misc] # of the server that this is mixed into
        except OSError:
            time.sleep(0.05)  # out of descriptors, perhaps: the next attempt follows at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; where there are too many, close another one for it."""
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
        """Note that the request has arrived: from now on its answer counts."""
        with self._lock:
            if found := self._open.get(request):
                found.answering, found.until = True, time.monotonic() + self._limits.response_within

    def service_actions(self) -> None:
        """Close the connections whose time is over; called twice a second, and after each new one."""
        now = time.monotonic()
        with self._lock:
            for request in [request for request, each in self._open.items() if each.until <= now]:
                self._hang_up(request)

    def shutdown_request(self, request: Any) -> None:
        """End a connection that has been served."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)  # type: ignore[misc] # of the server that this is mixed into

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with one client; the base class would print it between the log lines."""
        _log.debug("cannot serve a client", extra={"fields": {"client": client_address[0]}}, exc_info=True)

    def _close_one_of(self, client: str) -> None:
        mine = [(each.answering, request) for request, each in self._open.items() if each.client == client]
        self._hang_up(min(mine, key=lambda item: item[0])[1])

    def _hang_up(self, request: socket.socket) -> None:
        """End a connection whose thread still has it; under the lock, so that it is not closed meanwhile."""
        del self._open[request]
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)
