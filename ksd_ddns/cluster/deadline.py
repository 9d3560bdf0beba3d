# SPDX-License-Identifier: Apache-2.0
"""A total deadline for requests that must not be late, such as the renewal of a Lease."""

import os
import socket
import threading
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Any, Self

_active = threading.local()


class Deadline:
    """A total deadline for the requests of this thread in a `with` block.

    A read timeout restarts with each recv, so an answer that trickles in never exceeds it. When this deadline passes,
    the connections in use are shut down, whatever the request waits for: the connection, TLS or the answer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        _active.deadline = self
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        _active.deadline = None

    def cover(self, connection: socket.socket) -> None:
        """Shut `connection` down when the deadline passes."""
        with self._lock:
            self._sockets.append(connection)
            if self.passed:
                _shut(connection)

    def _pass(self) -> None:
        with self._lock:
            self.passed = True
            for each in self._sockets:
                _shut(each)


def current_deadline() -> Deadline | None:
    """Return the deadline of this thread, None if there is none."""
    found: Deadline | None = getattr(_active, "deadline", None)
    return found


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@cache
def with_deadline(pool: Any) -> Any:
    """Return urllib3's `pool` class, with connections that a Deadline can shut down."""

    class Coverable(pool.ConnectionCls):  # type: ignore[misc]
        _handle: socket.socket | None = None

        def _new_conn(self) -> Any:
            made = super()._new_conn()
            self._cover(made)
            return made

        def putrequest(self, *args: Any, **kwargs: Any) -> Any:
            if self.sock is not None:
                self._cover(self.sock)
            return super().putrequest(*args, **kwargs)

        def close(self) -> None:
            super().close()
            handle, self._handle = self._handle, None
            if handle is not None:
                handle.close()

        def _cover(self, made: socket.socket) -> None:
            deadline = current_deadline()
            if deadline is None:
                return
            if self._handle is None:
                # A handle of its own: TLS detaches the descriptor from the socket.
                self._handle = socket.socket(fileno=os.dup(made.fileno()))
            deadline.cover(self._handle)

    return type(pool.__name__, (pool,), {"ConnectionCls": Coverable})
