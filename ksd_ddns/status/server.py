# SPDX-License-Identifier: Apache-2.0
"""Serves the status pages over HTTP."""

import contextlib
import gzip
import logging
import socket
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from socketserver import TCPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from ksd_ddns.errors import SettingsError
from ksd_ddns.serving import Bounded, Limits
from ksd_ddns.status import accept, explain, hosts
from ksd_ddns.status.about import About
from ksd_ddns.status.metrics import Process, Snapshots, registry
from ksd_ddns.status.pages import Page, Pages, plain
from ksd_ddns.status.records import Contents
from ksd_ddns.sync.explain import Explainer
from ksd_ddns.sync.vm_index import VmIndex

MAX_HEAD = 8192
"""Maximum octets of a request line with its headers."""

_SEND_WITHIN = 10.0
"""Timeout in seconds for a client to accept 64 KiB."""

_WORTH_COMPRESSING, _COMPRESSION = 1_000, 3
"""The minimum size of a body to compress, and the level: higher ones take far longer."""

_METHODS = ("GET", "HEAD")
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)

_log = logging.getLogger(__name__)


def _healthy() -> str:
    return ""


class StatusServer:
    """Serves the pages made from `snapshots` and `owned` on one address; an empty host means all addresses.

    `healthy` returns why the process must be restarted, "" if it is healthy; `process` returns values for metrics.
    `explainer` answers `/explain`, `names` are further host names under which the pages are requested (see `hosts`).
    """

    def __init__(  # noqa: PLR0913 the parts that the pages show
        self,
        host: str,
        port: int,
        snapshots: Snapshots,
        owned: Contents,
        *,
        healthy: Callable[[], str] = _healthy,
        process: Callable[[], Process] = Process,
        vms: VmIndex | None = None,
        about: Callable[[], About] = About,
        names: Collection[str] = (),
        explainer: Explainer | None = None,
        limits: Limits | None = None,
    ) -> None:
        given = names

        class Handler(_Handler):
            pages = Pages(snapshots, owned, healthy, registry(snapshots, process), vms or VmIndex(), about)
            names = hosts.own_names().union(name.lower() for name in given)
            explains = explainer

        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 the kubelet probes the pod IP

        class Server(_Server):
            address_family = socket.AF_INET6 if ":" in (host or everywhere) else socket.AF_INET

        try:
            self._server = Server((host or everywhere, port), Handler, limits=limits)
        except OSError as e:
            raise SettingsError(f"STATUS_ADDRESS = {host}:{port}: cannot listen there: {e.strerror or e}") from e
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Start serving on a separate thread."""
        Thread(target=self._server.serve_forever, name="status", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(Bounded, HTTPServer):
    def server_bind(self) -> None:
        """Bind without the reverse lookup of the base class, which is slow and not needed."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "ksd-ddns", self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    """Answers one request per connection."""

    server: _Server
    pages: Pages
    names: Collection[str]
    explains: Explainer | None
    server_version = "ksd-ddns"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # send a status line even if the request is invalid

    def handle(self) -> None:
        """Read the request, answer it, and close the connection."""
        with contextlib.suppress(OSError):  # the client disconnected, or was dropped in favor of another
            head = self._head()
            if head is None:
                return
            self.server.answering(self.connection)
            self.connection.settimeout(_SEND_WITHIN)
            self.close_connection = True
            self.command = self.requestline = ""
            self.request_version = self.default_request_version
            if len(head) > MAX_HEAD:
                self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            else:
                self.rfile = BytesIO(head)
                self.raw_requestline = self.rfile.readline()
                if self.parse_request():
                    self._send(self._page())
            if self.command not in _METHODS:
                self._drain()

    def _head(self) -> bytes | None:
        """Return the request up to the end of its headers, None if it is incomplete, over MAX_HEAD octets if too long.

        The server limits how long this may take.
        """
        head = b""
        while len(head) <= MAX_HEAD and b"\r\n\r\n" not in head and b"\n\n" not in head:
            chunk = self.connection.recv(MAX_HEAD)
            if not chunk:
                return None
            head += chunk
        # Ignore the body.
        end = min((at for mark in (b"\r\n\r\n", b"\n\n") if (at := head.find(mark)) >= 0), default=len(head))
        return head if end > MAX_HEAD else head[: end + 4]

    def _page(self) -> Page:
        if self.command not in _METHODS:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD", Allow=", ".join(_METHODS))
        host = self.headers.get("Host")
        if not hosts.is_allowed(host, self.names):
            return plain(HTTPStatus.MISDIRECTED_REQUEST, hosts.REFUSAL)
        try:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
        except ValueError:
            return plain(HTTPStatus.BAD_REQUEST, "this is not a URL")
        try:
            if url.path == "/explain":
                return explain.page(query, self.explains, self.headers.get("Accept", ""), self.pages)
            return self.pages.page(url.path, query)
        except Exception:  # noqa: BLE001 keep serving other requests
            _log.exception("BUG: cannot make a status page", extra={"fields": {"path": url.path}})
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR, "BUG: cannot make this page, see the log")

    def _send(self, page: Page) -> None:
        body = page.body
        headers = dict(_HEADERS) | dict(page.headers)
        if isinstance(body, bytes) and len(body) >= _WORTH_COMPRESSING:
            headers.setdefault("Vary", "Accept-Encoding")
            if self._takes_gzip():
                headers["Content-Encoding"] = "gzip"
                body = gzip.compress(body, compresslevel=_COMPRESSION, mtime=0)
        try:
            self.send_response(page.status)
            kind = page.content_type
            self.send_header("Content-Type", kind if "charset" in kind else f"{kind}; charset=utf-8")
            for name, value in headers.items():
                self.send_header(name, value)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                for chunk in (body,) if isinstance(body, bytes) else body:
                    self.wfile.write(chunk)
        finally:
            if not isinstance(body, bytes):
                body.close()

    def _takes_gzip(self) -> bool:
        headers = getattr(self, "headers", None)  # an invalid request has none
        return headers is not None and accept.takes_gzip(headers.get("Accept-Encoding", ""))

    def _drain(self) -> None:
        """Read some of an unread request: closing with unread data resets the connection and loses the response."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(0.2)
        for _ in range(16):
            if not self.connection.recv(MAX_HEAD):
                return

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error as one line of text."""
        self._send(plain(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
        """Log a request."""
        _log.debug(format, *args)
