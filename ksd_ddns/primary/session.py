# SPDX-License-Identifier: Apache-2.0
"""A session with the primary: connects to the first of several servers that responds, and fails over."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ksd_ddns.errors import Denied, PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import queries, transfers
from ksd_ddns.primary.connection import Connection, Server
from ksd_ddns.primary.exchange import Exchange
from ksd_ddns.primary.keys import GSS_ALGORITHM, Key, KeySource
from ksd_ddns.primary.link import Lost, Silent
from ksd_ddns.primary.names_reader import NamesReader, NamesRequest
from ksd_ddns.primary.pool import Pool, PooledConnection
from ksd_ddns.primary.queries import PollResult, Spot
from ksd_ddns.primary.timing import Timing
from ksd_ddns.primary.tls import Tls
from ksd_ddns.primary.transfers import IxfrFailed, IxfrPauses, Limits, Progress
from ksd_ddns.primary.verifier import KeyRejected
from ksd_ddns.wire import names, rcodes
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.answers import Answers
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.reverse_search import Placed

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """A primary and its credentials: `keys` sign updates, `transfer_keys` sign queries and transfers."""

    server: Server
    keys: KeySource
    transfer_keys: KeySource | None = None
    tls: Tls | None = None

    @property
    def read_keys(self) -> KeySource:
        """The keys that sign queries and transfers."""
        return self.transfer_keys or self.keys


class Session:
    """Queries and transfers over a connection that is opened on demand and reopened after a failure.

    Uses the first of `peers` that responds, and fails over only when it fails; retries the peers before it after
    `timing.back_after` seconds. `timeout` is the timeout in seconds for a response from the primary.

    A session has its own connection, or borrows one of the connections in `pool` for each exchange. Put exchanges that
    belong together in `with session.keep_connection()`. A session is not thread-safe.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        *,
        timeout: float,
        pool: Pool | None = None,
        limits: Limits | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._peers = tuple(peers)
        self._shared = pool is not None
        self._pool = pool or Pool(endpoints(self._peers), timeout=timeout, size=1, idle=None, timing=timing)
        self._limits = limits or Limits()
        self._at = 0
        self._pooled: PooledConnection | None = None
        self._depth = 0
        self._failed: dict[int, float] = {}
        self._errors: dict[int, Unreachable] = {}
        self._read_from: dict[bytes, int] = {}
        self._ixfr = IxfrPauses(timing or Timing())
        self.transfers = Counter({(kind, result): 0 for kind in ("axfr", "ixfr") for result in ("success", "failure")})
        """Number of transfers so far, by kind and result."""
        self.connects = 0
        """Number of the newest connection used so far; it increases after each reconnect."""

    @property
    def server(self) -> Server:
        """The server in use, or the first one to try."""
        return self._peers[self._at].server

    def read_from(self, zone: bytes) -> Server | None:
        """Return the server from which `zone` was last read."""
        index = self._read_from.get(zone)
        return None if index is None else self._peers[index].server

    @contextmanager
    def keep_connection(self) -> Iterator[None]:
        """Keep one connection for all exchanges of this block; blocks can be nested."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._give_back()

    def open_update_exchange(self, zone: bytes) -> Exchange:
        """Return an exchange with the server from which `zone` was read, signed by the key for updates.

        Call it only between exchanges, because it checks whether the connection is still open. If sessions share
        connections, call it inside `keep_connection()`. Raises ZoneChanged after a failover to another server: a plan
        made for one server must not be sent to another.
        """
        self._errors.clear()
        before = self._read_from.get(zone)
        pooled = self._connect(before)
        server = pooled.connection.server
        if before is not None and pooled.index != before:
            raise ZoneChanged(
                f"{server} answers instead of {self._peers[before].server}, where the zone was read",
                server=server,
                zone=names.to_text(zone),
            )
        return Exchange(pooled.connection, self._peers[pooled.index].keys.current(pooled.connection))

    def reject_key(self, key: Key) -> bool:
        """Note that the server in use does not know `key`; return whether a new key is available."""
        return self._peers[self._at].keys.reject(key)

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._give_back(close=True)
        if not self._shared:
            self._pool.close()

    def fail_over(self, error: Unreachable) -> None:
        """Fail over: the next request starts with the first server that did not fail recently."""
        index = self._at
        if isinstance(error, Lost):
            self._pool.note_failed(index)
        else:
            self._failed[index] = time.monotonic()  # it failed for this zone only
        self._give_back(close=True)
        self._errors[index] = error
        self._log_failed(index)
        self._at = self._pool.order(self._failed)[0]

    def _log_failed(self, index: int) -> None:
        if len(self._peers) > 1:
            facts = {"server": str(self._peers[index].server), "error": str(self._errors[index])}
            _log.info("server failed, trying the next one", extra={"fields": facts})

    def _give_back(self, *, close: bool = False) -> None:
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            self._pool.give(pooled, close=close)

    def _connect(self, prefer: int | None = None) -> PooledConnection:
        """Return the connection in use, or one to the first reachable server that has not failed."""
        assert self._depth or not self._shared, "a shared connection would never be given back"
        if self._pooled is not None:
            if self._pooled.connection.usable:
                return self._pooled
            self._give_back(close=True)
        order = self._pool.order(self._failed)
        if prefer is not None and order[0] != prefer and not self._pool.failed_recently(prefer, self._failed):
            order.remove(prefer)
            order.insert(0, prefer)
        before = set(self._errors)
        try:
            self._pooled = self._pool.take(order, self._errors)
        except Unreachable:
            self._at = self._pool.order(self._failed)[0]
            raise
        finally:
            for index in self._errors.keys() - before:
                self._log_failed(index)
        if self._pooled.index < self._at:
            facts = {"server": str(self._pooled.connection.server), "instead_of": str(self.server)}
            _log.info("server is back, using it", extra={"fields": facts})
        self._at = self._pooled.index
        self.connects = max(self.connects, self._pooled.number)
        return self._pooled

    def _read(self, ask: Callable[[Exchange], _T]) -> _T:
        """Return the result of `ask`; if a server fails, try the next one until all have been tried."""
        self._errors.clear()
        with self.keep_connection():
            while True:
                pooled = self._connect()
                used, pooled.used = pooled.used, True
                try:
                    result = self._ask_signed(ask, pooled.connection)
                except Lost as e:
                    if used and not isinstance(e, Silent):
                        # The server may just have closed an idle connection, which is not a failure.
                        self._give_back(close=True)
                        continue
                    self.fail_over(e)
                except Unreachable as e:
                    self.fail_over(e)
                except IxfrFailed as e:
                    self._give_back(close=True)
                    if used and isinstance(e.error, Lost) and not isinstance(e.error, Silent):
                        continue
                    raise
                except PrimaryError:
                    # More data may still arrive for this request.
                    self._give_back(close=True)
                    raise
                else:
                    self._pool.note_answered(pooled)
                    return result

    def _ask_signed(self, ask: Callable[[Exchange], _T], connection: Connection) -> _T:
        source = self._peers[self._at].read_keys
        key = source.current(connection)
        try:
            return ask(Exchange(connection, key))
        except KeyRejected:
            if not source.reject(key):
                raise
        except Denied as e:
            # After a restart, Samba's internal DNS server answers so to a key that it negotiated before.
            if e.rcode != rcodes.REFUSED or key.algorithm != GSS_ALGORITHM or not source.reject(key):
                raise
        return ask(Exchange(connection, source.current(connection)))

    def enclosing_zone(self, name: bytes) -> bytes:
        """Return the apex of the zone that holds `name`, from a query for its SOA, as nsupdate does."""
        return self._read(lambda exchange: queries.enclosing_zone(exchange, name))

    def place(self, name: bytes) -> Placed:
        """Return which zone of the primary holds `name`, if there is one."""
        try:
            return self._read(lambda exchange: queries.place(exchange, name))
        except Denied as e:
            # Knot rejects a known key for a zone that does not name it.
            return Placed(None, reason=str(e))

    def serial(self, zone: bytes) -> int:
        """Return the serial of `zone`. Raises Denied or BadResponse if the server does not serve it."""
        return self.poll(zone).serial

    def poll(self, zone: bytes, spots: Sequence[Spot] = ()) -> PollResult:
        """Return the serial of `zone`, and the `spots` with unexpected answers.

        Takes one round trip per PIPELINED queries, regardless of the size of the zone. Raises Denied or BadResponse
        if the server does not serve the zone.
        """

        def ask(exchange: Exchange) -> PollResult:
            other_server = self._read_from.get(zone) not in {None, self._at}
            return queries.poll(exchange, zone, spots, other_server=other_server)

        return self._read(ask)

    def transfer(self, zone: bytes, serial: int | None = None, progress: Progress | None = None) -> Transfer:
        """Return the full zone (AXFR), or the changes since `serial` (IXFR), with every message verified.

        Falls back to AXFR if IXFR fails for any reason, and pauses IXFR for a while. Fails closed: raises on an error,
        a truncated transfer, a missing final SOA or a bad signature.
        """
        with self.keep_connection():
            self._read(lambda exchange: transfers.check_alive(exchange, zone))
            try:
                return self._read(lambda exchange: self._transfer(exchange, zone, serial, progress))
            except IxfrFailed as e:
                error = e.error
            except KeyRejected as e:
                if serial is None:
                    raise
                error = e
            self._ixfr.note_failure(self._at, zone, self.server, error)
            self._read(lambda exchange: transfers.check_alive(exchange, zone))
            return self._read(lambda exchange: self._transfer(exchange, zone, None, progress))

    def _transfer(self, exchange: Exchange, zone: bytes, serial: int | None, progress: Progress | None) -> Transfer:
        index = self._at
        if index != self._read_from.get(zone) or self._ixfr.covers(index, zone):
            serial = None  # the serial is another server's, or IXFR is paused
        try:
            transfer = transfers.receive(exchange, zone, serial, limits=self._limits, progress=progress)
        except (IxfrFailed, PrimaryError):
            self.transfers["axfr" if serial is None else "ixfr", "failure"] += 1
            raise
        # A server may answer IXFR with the full zone (RFC 1995, 4).
        self.transfers["ixfr" if transfer.nodes is None else "axfr", "success"] += 1
        self._read_from[zone] = index
        if serial is not None:
            self._ixfr.note_success(index, zone)
        return transfer

    def read_names(self, zone: bytes, request: NamesRequest, progress: Progress | None = None) -> Answers:
        """Return the nodes at some names of `zone`, by queries.

        Fails closed: raises on an error, a truncated or unsigned answer, or one that is not authoritative.
        """
        answers = self._read(lambda exchange: NamesReader(exchange, zone, request, progress=progress).read())
        self._read_from[zone] = self._at
        return answers

    def read(self, zone: bytes, progress: Progress | None = None) -> Live:
        """Return the current full zone from the primary."""
        return Live.of(zone, self.transfer(zone, progress=progress))


def endpoints(peers: Iterable[Peer]) -> list[tuple[Server, Tls | None]]:
    """Return the servers and TLS settings of `peers`, for a Pool."""
    return [(peer.server, peer.tls) for peer in peers]
