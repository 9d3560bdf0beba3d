# SPDX-License-Identifier: Apache-2.0
"""Connections to several primaries, shared by the sessions of many zones.

An exchange is short, so a few connections serve hundreds of zones: a session takes one for an exchange and gives it
back. Sessions also share server failures: a dead server costs one timeout, not one per zone.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ksd_ddns.errors import Unreachable
from ksd_ddns.primary.connection import Connection, Server
from ksd_ddns.primary.link import Link
from ksd_ddns.primary.timing import Timing
from ksd_ddns.primary.tls import Tls

SHARED = 4
"""Connections that all zones but the main one share."""

IDLE = 5.0
"""Seconds before closing an idle shared connection: servers limit connections, and close idle ones themselves."""


@dataclass(slots=True)
class PooledConnection:
    """An open connection to the server at `index`; `number` counts the connections that the pool opened.

    `used` is true after its first exchange.
    """

    index: int
    number: int
    connection: Connection
    used: bool = False
    idle_since: float = 0.0


class Pool:
    """At most `size` connections at a time to the primaries at `endpoints`; thread-safe.

    Closes connections after `idle` seconds without use (None: never). `timeout` is as in Connection.
    """

    def __init__(
        self,
        endpoints: Sequence[tuple[Server, Tls | None]],
        *,
        timeout: float,
        size: int = SHARED,
        idle: float | None = IDLE,
        timing: Timing | None = None,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._timeout = timeout
        self._size = size
        self._idle_for = idle
        self._timing = timing or Timing()
        self._lock = threading.Lock()
        self._busy = 0
        self._waiting: deque[threading.Event] = deque()
        self._idle: list[PooledConnection] = []
        self._closer: threading.Timer | None = None
        self._failed = [float("-inf")] * len(self._endpoints)
        self._links = [Link() for _ in self._endpoints]
        self._good: int | None = None
        self._opened = 0

    def order(self, failed: Mapping[int, float]) -> list[int]:
        """Return the order in which to try servers: first those without a recent failure, in configured order.

        The others follow, the most recent failure last. `failed` has the times of failures that concern only this
        caller, by index.
        """
        recent = time.monotonic() - self._timing.back_after
        return sorted(
            range(len(self._endpoints)), key=lambda index: max(recent, self._failed[index], failed.get(index, recent))
        )

    def take(self, order: Iterable[int], errors: dict[int, Unreachable]) -> PooledConnection:
        """Return a connection to the first reachable server of `order` that is not in `errors`.

        Blocks while all connections are in use. Adds unreachable servers to `errors`, and raises Unreachable with all
        of them if no server is left. The caller must give the connection back.
        """
        self._await_turn()
        try:
            for index in order:
                if index in errors:
                    continue
                try:
                    return self._connect(index)
                except Unreachable as e:
                    self.note_failed(index)
                    errors[index] = e
            raise _all_failed([error for _, error in sorted(errors.items())])
        except BaseException:
            self._end_turn()
            raise

    def give(self, pooled: PooledConnection, *, close: bool = False) -> None:
        """Take a connection back; close it if responses are outstanding or `close` is true."""
        if close or pooled.connection.in_flight:
            pooled.connection.close()
        else:
            pooled.used = True
            pooled.idle_since = time.monotonic()
            with self._lock:
                self._idle.append(pooled)
                self._arm()
        self._end_turn()

    def note_answered(self, pooled: PooledConnection) -> None:
        """Record that the server of `pooled` works; close idle connections to other servers."""
        pooled.connection.timeout = self._timeout
        if self._good == pooled.index:
            return
        with self._lock:
            self._good = pooled.index
            others = [item for item in self._idle if item.index != pooled.index]
            self._idle = [item for item in self._idle if item.index == pooled.index]
        for item in others:
            item.connection.close()

    def note_failed(self, index: int) -> None:
        """Record that the server at `index` is unreachable or does not respond."""
        with self._lock:
            self._failed[index] = time.monotonic()
            if self._good == index:
                self._good = None

    def failed_recently(self, index: int, failed: Mapping[int, float]) -> bool:
        """Return whether the server at `index` failed recently; `failed` is as in `order`."""
        at = self._failed[index]
        return max(at, failed.get(index, at)) > time.monotonic() - self._timing.back_after

    def close(self) -> None:
        """Close all idle connections; the pool remains usable."""
        with self._lock:
            idle, self._idle = self._idle, []
        for pooled in idle:
            pooled.connection.close()

    def _await_turn(self) -> None:
        with self._lock:
            if self._busy < self._size and not self._waiting:
                self._busy += 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()  # first come, first served: _end_turn passes it on

    def _end_turn(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._busy -= 1

    def _connect(self, index: int) -> PooledConnection:
        while (pooled := self._pop(index)) is not None:
            if pooled.connection.usable:
                return pooled
            pooled.connection.close()
        back = self._good not in {None, index}
        server, tls = self._endpoints[index]
        timeout = min(self._timeout, self._timing.back_timeout) if back else self._timeout
        connection = Connection(server, timeout=timeout, tls=tls, link=self._links[index])
        with self._lock:
            self._opened += 1
            return PooledConnection(index, self._opened, connection)

    def _pop(self, index: int) -> PooledConnection | None:
        """Return the most recently used idle connection to a server, so that the others age and get closed."""
        with self._lock:
            for position in range(len(self._idle) - 1, -1, -1):
                if self._idle[position].index == index:
                    return self._idle.pop(position)
        return None

    def _arm(self) -> None:
        if self._idle_for is not None and self._closer is None:
            self._closer = threading.Timer(self._idle_for, self._close_old)
            self._closer.daemon = True
            self._closer.name = "idle connections"
            self._closer.start()

    def _close_old(self) -> None:
        assert self._idle_for is not None
        with self._lock:
            self._closer = None
            limit = time.monotonic() - self._idle_for
            old = [pooled for pooled in self._idle if pooled.idle_since <= limit]
            self._idle = [pooled for pooled in self._idle if pooled.idle_since > limit]
            if self._idle:
                self._arm()
        for pooled in old:
            pooled.connection.close()


def _all_failed(errors: Sequence[Unreachable]) -> Unreachable:
    if len(errors) == 1:
        return errors[0]
    return Unreachable("; ".join(map(str, errors)), server=", ".join(error.server for error in errors))
