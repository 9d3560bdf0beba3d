"""TCP servers that no client wears out: so many connections at most, each for so long at most.

Whoever reaches a port can open connections and say nothing, or a byte now and then; the descriptors that this takes
would be missing where the zone is kept.
"""

import contextlib
import logging
import socket
import socketserver
from threading import Timer
from typing import Any

CONNECTIONS = 64
PATIENCE = 10.0
"""Seconds that one connection may last."""

_log = logging.getLogger(__name__)


class Bounded(socketserver.ThreadingMixIn):
    """Makes a TCP server of `socketserver` serve each connection in a thread, within bounds."""

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, or close it where there are too many."""
        if len(self._open) >= CONNECTIONS:
            request.close()
            return
        self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it is done, or has lasted long enough."""
        last = Timer(PATIENCE, _hang_up, (request,))
        last.daemon = True
        last.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            last.cancel()
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with one client; by itself it would be printed between the log lines."""
        _log.debug("serving %s failed", client_address, exc_info=True)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
