# SPDX-License-Identifier: Apache-2.0
"""The sockets of the fake API server: HTTP/1.1 with keep-alive, a thread for each connection, and the faults.

Written by hand, because the faults act below HTTP (a truncated chunk, trickling bytes, a peer that becomes
silent), and because http.server takes longer over a request's headers than a page of a list may take.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import select
import socket
import ssl
import struct
import threading
import time
import uuid
from collections.abc import Iterable
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

from harness.kube.access import User
from harness.kube.api import Answer, Api, Request, Stream, answer_of
from harness.kube.faults import (
    Drop,
    EndWatch,
    ErrorEvent,
    Fault,
    Faults,
    Noise,
    Pieces,
    Repeat,
    Reply,
    Slow,
    Stall,
    error_event,
    event_of,
)
from harness.kube.status import Refused, phrase
from harness.kube.store import Bookmark, Change, Failure, Item, Signal

GZIP_FROM = 128 * 1024  # bytes of a body that is compressed for a client that takes it
CHUNK = 128 * 1024
SHORT = 2_048  # a body up to this comes with its length, a longer one in chunks, as Go's net/http does it
BATCH = 256  # events taken from a feed at once
BOOKMARK_LEAD = 2.0  # seconds from the last bookmark to the end of a watch; half of it if it is shorter than twice that
HANDSHAKE_SECONDS = 10.0
STOP_SECONDS = 10.0

_LAST_CHUNK = b"0\r\n\r\n"


class Hangup(Exception):
    """Raised to close the connection, with a reset if `reset`."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class Wire:
    """The sending side of a connection, which applies the faults."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self.fault: Fault | None = None
        self._stopping = stopping
        self._left: int | None = None

    def meet(self, fault: Fault | None) -> None:
        """Apply `fault` to the next response."""
        self.fault = fault
        self._left = fault.sent if isinstance(fault, Drop | Stall) else None
        if isinstance(fault, Drop | Stall) and fault.sent is None:
            self._cut()

    def head(self, code: int, headers: Iterable[tuple[str, str]]) -> None:
        lines = [f"HTTP/1.1 {code} {phrase(code)}", *(f"{name}: {value}" for name, value in headers), "", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        if self._left == 0:
            self._cut()

    def body(self, data: bytes) -> None:
        """Send a part of the body with its framing, as far as the fault permits."""
        if self._left is not None:
            if len(data) >= self._left:
                self._send(data[: self._left])
                self._cut()
            self._left -= len(data)
        self._send(data)

    def silence(self) -> None:
        """Keep the connection open and send nothing, until the client closes it or the server stops."""
        with contextlib.suppress(OSError, ValueError):
            while self.sock.recv(65_536):
                pass

    def _cut(self) -> None:
        if isinstance(self.fault, Stall):
            self.silence()
        raise Hangup(reset=isinstance(self.fault, Drop) and self.fault.reset)

    def _send(self, data: bytes) -> None:
        if not isinstance(self.fault, Slow):
            self.sock.sendall(data)
            return
        rate = self.fault.bytes_per_second
        step = max(1, rate // 20)
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self.sock.sendall(piece)
            if self._stopping.wait(len(piece) / rate):
                raise Hangup


class Watch:
    """An open watch, for tests to inspect and disturb."""

    def __init__(self, request: Request, stream: Stream, wire: Wire, api: Api) -> None:
        self.request = request
        self.sent = 0  # events and bookmarks
        self._stream = stream
        self._wire = wire
        self._api = api

    @property
    def resource_version(self) -> str:
        """The version from which the client watches."""
        return self.request.query.get("resourceVersion", "")

    @property
    def delivered(self) -> bool:
        """Whether all events have been sent."""
        return self._stream.feed.idle

    def tell(self, item: Item) -> None:
        """Queue `item` after the pending items."""
        with self._api.store.lock:
            self._stream.feed.add(item)

    def hang_up(self) -> None:
        """Cut the connection at once."""
        _shut(self._wire.sock)

    def run(self, bookmark_seconds: float) -> None:
        """Send events until the timeout, a fault or a signal ends it, or the client closes (Hangup)."""
        feed, begin, seconds = self._stream.feed, self.request.at, self._stream.seconds
        deadline, last = begin + seconds, begin + seconds - min(BOOKMARK_LEAD, seconds / 2)
        bookmark = min(begin + bookmark_seconds, last) if self._stream.bookmarks else deadline
        poll = select.poll()
        poll.register(self._wire.sock, select.POLLIN)
        poll.register(feed, select.POLLIN)
        while not self._ended_by_fault([]):
            with self._api.store.lock:
                now = time.monotonic()
                if bookmark <= now < deadline:
                    feed.items.append(Bookmark(self._api.store.revision))
                    bookmark = min(now + bookmark_seconds, last) if now < last else deadline
                items = feed.take(BATCH)
            if items:
                if not self._send(items):
                    return
            elif now >= deadline:
                self._wire.body(_LAST_CHUNK)
                return
            else:
                for ready, _ in poll.poll(max(0.0, min(bookmark, deadline) - now) * 1_000 + 1):
                    if ready != feed.fileno():
                        raise Hangup  # a client that sends data during its response is closing
                    feed.acknowledge()

    def _send(self, items: list[Item]) -> bool:
        """Send the items; return whether the response continues."""
        lines: list[bytes] = []
        fault = self._wire.fault
        for item in items:
            line: bytes | None = None
            match item:
                case Signal.FREEZE:
                    self._write(lines)
                    self._wire.silence()
                    raise Hangup
                case Signal.END:
                    self._write(lines, last=True)
                    return False
                case Failure(status):
                    self._write([*lines, error_event(status)], last=True)
                    return False
                case Change() | Bookmark():
                    line = self._line(item)
            if line is None:
                continue
            if self._ended_by_fault(lines):
                return False
            if isinstance(fault, Noise) and self.sent == fault.after:
                lines.append(fault.data)
            lines.extend([line] * (fault.times if isinstance(fault, Repeat) else 1))
            self.sent += 1
        self._write(lines)
        return True

    def _write(self, lines: list[bytes], *, last: bool = False) -> None:
        """Write the lines, each as its own chunk unless the fault sets another size."""
        if isinstance(self._wire.fault, Pieces):
            text, size = b"".join(lines), self._wire.fault.size
            lines = [text[start : start + size] for start in range(0, len(text), size)]
        self._wire.body(b"".join(map(_framed, lines)) + (_LAST_CHUNK if last else b""))

    def _ended_by_fault(self, lines: list[bytes]) -> bool:
        """End the response after `lines` if the fault requires it."""
        fault = self._wire.fault
        if not isinstance(fault, EndWatch | ErrorEvent) or self.sent < fault.after:
            return False
        self._write([*lines, error_event(fault.status)] if isinstance(fault, ErrorEvent) else lines, last=True)
        return True

    def _line(self, item: Change | Bookmark) -> bytes | None:
        """Return the line of the stream for `item`, None if this watch excludes it."""
        resource, passes = self._stream.resource, self._stream.feed.passes
        if isinstance(item, Bookmark):
            metadata = b'{"resourceVersion":"%d"}' % item.revision
            if item.initial:
                metadata = b'{"annotations":{"k8s.io/initial-events-end":"true"},%b' % metadata[1:]
            names = resource.api_version.encode(), resource.kind.encode()
            return event_of("BOOKMARK", b'{"apiVersion":"%b","kind":"%b","metadata":%b}' % (*names, metadata))
        # An object that enters the selection is added; one that leaves it is deleted, in its previous state.
        old = item.old if item.old is not None and passes(item.old) else None
        new = item.new if item.new is not None and passes(item.new) else None
        if new is not None:
            return event_of("ADDED" if old is None else "MODIFIED", self._api.render(resource, new))
        if old is not None:
            return event_of("DELETED", self._api.render(resource, old.at_revision(item.revision)))
        return None


class Log:
    """The requests in order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: list[Request] = []

    def add(self, request: Request) -> None:
        with self.lock:
            self.requests.append(request)


class Server:
    """Listens on a loopback port and answers from `api`. `stop` leaves no thread and no open socket."""

    def __init__(self, api: Api, faults: Faults, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.api = api
        self.faults = faults
        self.log = Log()
        self.port = port
        self.bookmark_seconds = 60.0
        self._tls = tls
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._connections: dict[threading.Thread, _Connection] = {}
        self._watches: list[Watch] = []
        self._crashes: list[BaseException] = []
        self._listener: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._count = 0

    def start(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        woken, self._waker = socket.socketpair()
        self._stopping.clear()
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener, woken), name="kube-accept", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Close everything, with open requests as if the server had exited; raise errors of its threads."""
        if self._acceptor is None or self._waker is None:
            return
        self._stopping.set()
        self._waker.close()
        self._acceptor.join(STOP_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while (left := self._open()) and time.monotonic() < deadline:
            for thread, connection in left.items():
                _shut(connection.sock)
                thread.join(0.05)
        if left or self._acceptor.is_alive():
            raise AssertionError(f"threads of the API server still run: {[thread.name for thread in left]}")
        self._acceptor = None
        if self._crashes:
            raise AssertionError("the API server crashed over a request") from self._crashes[0]

    @property
    def running(self) -> bool:
        return self._acceptor is not None

    def watches(self) -> list[Watch]:
        """Return the watches that are open."""
        with self._lock:
            return list(self._watches)

    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._open())

    def _open(self) -> dict[threading.Thread, _Connection]:
        with self._lock:
            return dict(self._connections)

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(woken, select.POLLIN)
        with listener, woken:
            while not self._stopping.is_set():
                poll.poll()
                if self._stopping.is_set():
                    return
                try:
                    sock, _ = listener.accept()
                except OSError:  # the client disconnected before it was accepted
                    continue
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._count += 1
                connection = _Connection(sock, self._count)
                thread = threading.Thread(
                    target=self._serve, args=(connection,), name=f"kube-{self._count}", daemon=True
                )
                with self._lock:
                    self._connections[thread] = connection
                thread.start()

    def _serve(self, connection: _Connection) -> None:
        reset = False
        try:
            user = self._handshake(connection)
            wire = Wire(connection.sock, self._stopping)
            with connection.sock.makefile("rb") as stream:
                while self._one(connection, user, wire, stream):
                    pass
        except Hangup as e:
            reset = e.reset
        except (OSError, ValueError):  # ValueError: a TLS socket that is closed
            pass
        except BaseException as e:  # noqa: BLE001 - nothing is lost, stop() raises it
            self._crashes.append(e)
        finally:
            if reset:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                _shut(connection.sock)
            connection.sock.close()
            with self._lock:
                del self._connections[threading.current_thread()]

    def _handshake(self, connection: _Connection) -> User | None:
        if self._tls is None:
            return None
        secure = self._tls.wrap_socket(connection.sock, server_side=True, do_handshake_on_connect=False)
        connection.sock = secure
        secure.settimeout(HANDSHAKE_SECONDS)
        secure.do_handshake()
        secure.settimeout(None)
        return _user_of(secure.getpeercert() or {})

    def _one(self, connection: _Connection, user: User | None, wire: Wire, stream: io.BufferedReader) -> bool:
        """Answer one request; return whether the connection stays open."""
        request = _read(stream, connection.number)
        if request is None or self._stopping.is_set():
            return False
        self.log.add(request)
        fault = self.faults.next(request)
        wire.meet(fault)
        try:
            answer = fault.answer if isinstance(fault, Reply) else self._answer(request, user)
        except Refused as e:
            answer = answer_of(e)
        if isinstance(answer, Answer):
            self._send(wire, request, answer)
        else:
            self._stream(wire, request, answer)
        return request.headers.get("connection", "").lower() != "close"

    def _answer(self, request: Request, certificate: User | None) -> Answer | Stream:
        request.user = self.api.access.authenticate(request.headers.get("authorization", ""), certificate)
        return self.api.answer(request)

    def _send(self, wire: Wire, request: Request, answer: Answer) -> None:
        body, headers = answer.body, [("Content-Type", answer.content_type), *answer.headers.items(), *_usual()]
        if len(body) > GZIP_FROM and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        request.status = answer.status
        if len(body) <= SHORT or request.method == "HEAD":
            wire.head(answer.status, [*headers, ("Content-Length", str(len(body)))])
            if request.method != "HEAD":
                wire.body(body)
            return
        wire.head(answer.status, [*headers, ("Transfer-Encoding", "chunked")])
        for start in range(0, len(body), CHUNK):
            wire.body(_framed(body[start : start + CHUNK]))
        wire.body(_LAST_CHUNK)

    def _stream(self, wire: Wire, request: Request, stream: Stream) -> None:
        watch = Watch(request, stream, wire, self.api)
        try:
            with self._lock:
                self._watches.append(watch)
            request.status = 200
            wire.head(200, [("Content-Type", "application/json"), *_usual(), ("Transfer-Encoding", "chunked")])
            watch.run(self.bookmark_seconds)
        finally:
            with self._lock:
                self._watches.remove(watch)
            with self.api.store.lock:
                with contextlib.suppress(ValueError):
                    stream.collection.feeds.remove(stream.feed)
                stream.feed.close()


class _Connection:
    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number


def _read(stream: io.BufferedReader, connection: int) -> Request | None:
    """Return the next request; None when the client has closed."""
    line = stream.readline(65_536)
    if not line.strip():
        return None
    method, url, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline(65_536)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, parts.path, query, headers, body, connection)


def _usual() -> list[tuple[str, str]]:
    return [
        ("Audit-Id", str(uuid.uuid4())),
        ("Cache-Control", "no-cache, private"),
        ("Date", formatdate(usegmt=True)),
    ]


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _user_of(certificate: object) -> User | None:
    """Return the user that a verified client certificate names: CN, with O as groups."""
    subject = certificate.get("subject", ()) if isinstance(certificate, dict) else ()
    names = [(name, value) for part in subject for name, value in part]
    common = next((value for name, value in names if name == "commonName"), None)
    if common is None:
        return None
    return User(common, (*(value for name, value in names if name == "organizationName"), "system:authenticated"))


def _shut(sock: socket.socket) -> None:
    """Close a connection that is in use, without a TLS close_notify, which is not safe from another thread."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
