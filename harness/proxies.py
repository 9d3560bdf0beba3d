# SPDX-License-Identifier: Apache-2.0
"""Proxies on loopback: `HttpProxy` (absolute requests and CONNECT) and `SocksProxy` (SOCKS5). All names lead here.

`seen` are the requests they received; with `secret`, as in `user:password`, they require it.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import urlsplit


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    scheme = ""
    handler: type[socketserver.BaseRequestHandler]

    def __init__(self, *, secret: str = "") -> None:
        super().__init__(("127.0.0.1", 0), self.handler)
        self.secret = secret
        self.seen: list[str] = []

    @property
    def address(self) -> str:
        """Return `host:port`."""
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: clients that disconnect are part of the tests."""


class _Http(BaseHTTPRequestHandler):
    server: HttpProxy

    def _let_in(self) -> bool:
        given = self.headers.get("Proxy-Authorization", "")
        wanted = f"Basic {base64.b64encode(self.server.secret.encode()).decode()}"
        if self.server.secret and given != wanted:
            # As some proxies do, it quotes the request.
            self.send_error(407, explain=f"who is {given}?")
            return False
        return True

    def do_GET(self) -> None:
        self.server.seen.append(f"GET {self.path}")
        if not self._let_in():
            return
        url = urlsplit(self.path)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", url.port or 80, timeout=5)) as connection:
            connection.request("GET", f"{url.path}?{url.query}", headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.server.seen.append(f"CONNECT {self.path}")
        if not self._let_in():
            return
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2])), 5) as server:
            self.send_response(200)
            self.end_headers()
            _join(self.connection, server)

    def log_message(self, *_: object) -> None:
        pass


class HttpProxy(_Proxy):
    """An HTTP proxy."""

    scheme = "http"
    handler = _Http


class _Socks(socketserver.StreamRequestHandler):
    server: SocksProxy

    def handle(self) -> None:
        _, count = self.rfile.read(2)
        methods = self.rfile.read(count)
        method = 2 if self.server.secret else 0
        if method not in methods:
            self.wfile.write(b"\x05\xff")
            return
        self.wfile.write(bytes((5, method)))
        if self.server.secret and not self._let_in():
            return
        _, _, _, kind = self.rfile.read(4)
        host = self.rfile.read(4 if kind == 1 else self.rfile.read(1)[0])
        port = int.from_bytes(self.rfile.read(2), "big")
        self.server.seen.append(f"{socket.inet_ntoa(host) if kind == 1 else host.decode()}:{port}")
        try:
            server = socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            self.wfile.write(b"\x05\x05\x00\x01" + bytes(6))
            return
        with server:
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            _join(self.connection, server)

    def _let_in(self) -> bool:
        self.rfile.read(1)
        user = self.rfile.read(self.rfile.read(1)[0])
        password = self.rfile.read(self.rfile.read(1)[0])
        good = b"%b:%b" % (user, password) == self.server.secret.encode()
        self.wfile.write(b"\x01\x00" if good else b"\x01\x01")
        return good


class SocksProxy(_Proxy):
    """A SOCKS5 proxy (RFC 1928), with user and password (RFC 1929)."""

    scheme = "socks5"
    handler = _Socks


def _join(client: socket.socket, server: socket.socket) -> None:
    back = threading.Thread(target=_pour, args=(server, client), daemon=True)
    back.start()
    _pour(client, server)
    back.join(5)


def _pour(source: socket.socket, into: socket.socket) -> None:
    try:
        while chunk := source.recv(65_536):
            into.sendall(chunk)
        into.shutdown(socket.SHUT_WR)
    except OSError:
        pass
