"""Serves the status pages over HTTP."""

import logging
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from ksd_ddns.errors import SettingsError
from ksd_ddns.serving import PATIENCE, Bounded
from ksd_ddns.status.metrics import Snapshots
from ksd_ddns.status.pages import Contents, Pages

_log = logging.getLogger(__name__)


class StatusServer:
    """Serves what `snapshots` and `owned` say of each zone on one address; an empty host is every address."""

    def __init__(self, host: str, port: int, snapshots: Snapshots, owned: Contents) -> None:
        class Handler(_Handler):
            pages = Pages(snapshots, owned)

        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 kubelet asks the pod's address

        class Server(Bounded, HTTPServer):
            address_family = socket.AF_INET6 if ":" in (host or everywhere) else socket.AF_INET

        try:
            self._server = Server((host or everywhere, port), Handler)
        except OSError as e:
            raise SettingsError(f"STATUS_ADDRESS = {host}:{port}: cannot listen there: {e.strerror or e}") from e
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Begin to serve, on a thread of its own."""
        Thread(target=self._server.serve_forever, name="status", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    pages: Pages
    timeout = PATIENCE
    server_version = "ksd-ddns"
    sys_version = ""

    def do_GET(self) -> None:
        try:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        status, content_type, body = self.pages.page(url.path, query)
        self.send_response(status)
        self.send_header(
            "Content-Type", content_type if "charset" in content_type else f"{content_type}; charset=utf-8"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
        _log.debug(format, *args)
