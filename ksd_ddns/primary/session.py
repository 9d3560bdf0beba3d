"""A session with the primary: it uses the first of several servers that answers, and keeps a connection to it."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ksd_ddns.errors import PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import queries, transfers
from ksd_ddns.primary.connection import Connection, Server
from ksd_ddns.primary.exchange import Exchange
from ksd_ddns.primary.keys import Key, KeySource
from ksd_ddns.primary.link import Lost, Silent
from ksd_ddns.primary.pool import Pool, PooledConnection
from ksd_ddns.primary.queries import Polled, Spot
from ksd_ddns.primary.tls import Tls
from ksd_ddns.primary.transfers import IxfrFailed, IxfrPauses, Limits, Progress
from ksd_ddns.primary.verifier import KeyRejected
from ksd_ddns.wire import names
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.live import Live

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """A primary, and what an exchange with it needs: `keys` sign updates, `transfer_keys` queries and transfers."""

    server: Server
    keys: KeySource
    transfer_keys: KeySource | None = None
    tls: Tls | None = None

    @property
    def read_keys(self) -> KeySource:
        """What signs queries and transfers."""
        return self.transfer_keys or self.keys


class Session:
    """Queries and transfers, each on a connection that is opened when it is needed and again when it broke.

    The first of `peers` that answers is used, and left only when it fails; after BACK_AFTER seconds those before it are
    tried again. `timeout` in seconds is the longest silence that is waited out.

    A session has a connection of its own, or shares those of `pool` with other sessions: it takes one for an exchange
    and gives it back. Several exchanges that belong together are put in `with session.held()`. A session is for one
    thread.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        *,
        timeout: float,
        pool: Pool | None = None,
        limits: Limits | None = None,
        back_after: float | None = None,
    ) -> None:
        self._peers = tuple(peers)
        self._shared = pool is not None
        self._pool = pool or Pool(places(self._peers), timeout=timeout, size=1, idle=None, back_after=back_after)
        self._limits = limits or Limits()
        self._at = 0
        self._pooled: PooledConnection | None = None
        self._depth = 0
        self._failed: dict[int, float] = {}
        self._errors: dict[int, Unreachable] = {}
        self._read_from: dict[bytes, int] = {}
        self._ixfr = IxfrPauses()
        self.connects = 0
        """Changes when an exchange takes place on a connection that is newer than all before."""

    @property
    def server(self) -> Server:
        """The server in use, or the one to be tried first."""
        return self._peers[self._at].server

    def read_from(self, zone: bytes) -> Server | None:
        """Return the server that `zone` was last read from."""
        index = self._read_from.get(zone)
        return None if index is None else self._peers[index].server

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep one connection for all exchanges of this block; blocks can be nested."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._give_back()

    def for_updates(self, zone: bytes) -> Exchange:
        """Return an exchange with the server that `zone` was read from, signed by the key for updates.

        To be called between exchanges only, as it checks whether the connection is still open; in `held()` where
        sessions share connections. Raises ZoneChanged where another server answers now: what was planned for one server
        must not be sent to another.
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

    def renewed(self, key: Key) -> bool:
        """Record that the server in use does not know `key`; return whether there is another one now."""
        return self._peers[self._at].keys.rejected(key)

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._give_back(close=True)
        if not self._shared:
            self._pool.close()

    def failed(self, error: Unreachable) -> None:
        """Leave the server in use: the next request begins with the first that did not fail recently."""
        index = self._at
        if isinstance(error, Lost):
            self._pool.failed(index)
        else:
            self._failed[index] = time.monotonic()  # it failed at this zone: it may serve others well
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
        """Return the connection that is held, or one to the first server that can be reached and did not fail."""
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
        """Return what `ask` reads; where a server fails at it, try the next one, until each has been tried."""
        self._errors.clear()
        with self.held():
            while True:
                pooled = self._connect()
                used, pooled.used = pooled.used, True
                try:
                    result = self._ask_signed(ask, pooled.connection)
                except Lost as e:
                    if used and not isinstance(e, Silent):
                        # Servers close idle connections, perhaps just now: that says nothing about the server.
                        self._give_back(close=True)
                        continue
                    self.failed(e)
                except Unreachable as e:
                    self.failed(e)
                except IxfrFailed as e:
                    self._give_back(close=True)
                    if used and isinstance(e.error, Lost) and not isinstance(e.error, Silent):
                        continue
                    raise
                except PrimaryError:
                    # What may still follow belongs to no request.
                    self._give_back(close=True)
                    raise
                else:
                    self._pool.answered(pooled)
                    return result

    def _ask_signed(self, ask: Callable[[Exchange], _T], connection: Connection) -> _T:
        source = self._peers[self._at].read_keys
        key = source.current(connection)
        try:
            return ask(Exchange(connection, key))
        except KeyRejected:
            if not source.rejected(key):
                raise
        return ask(Exchange(connection, source.current(connection)))

    def enclosing_zone(self, name: bytes) -> bytes:
        """Return the apex of the zone that holds `name`, found as nsupdate finds it: by a query for the name's SOA."""
        return self._read(lambda exchange: queries.enclosing_zone(exchange, name))

    def serial(self, zone: bytes) -> int:
        """Return the serial of `zone`. Raises Denied or BadResponse where the server does not serve it."""
        return self.poll(zone).serial

    def poll(self, zone: bytes, spots: Sequence[Spot] = ()) -> Polled:
        """Return the serial of `zone`, and which of `spots` are not answered as expected.

        Costs one round trip (one for each PIPELINED queries), whatever the size of the zone. Raises Denied or
        BadResponse where the server does not serve the zone.
        """

        def ask(exchange: Exchange) -> Polled:
            elsewhere = self._read_from.get(zone) not in {None, self._at}
            return queries.poll(exchange, zone, spots, elsewhere=elsewhere)

        return self._read(ask)

    def transfer(self, zone: bytes, serial: int | None = None, progress: Progress | None = None) -> Transfer:
        """Return the full zone (AXFR), or what changed since `serial` (IXFR), every message verified.

        Where IXFR fails, whatever the reason, AXFR follows; IXFR is then not used for a while. Fails closed: an error,
        a transfer cut short, a missing final SOA or a bad signature give no transfer.
        """
        with self.held():
            self._read(lambda exchange: transfers.see_alive(exchange, zone))
            try:
                return self._read(lambda exchange: self._transfer(exchange, zone, serial, progress))
            except IxfrFailed as e:
                error = e.error
            except KeyRejected as e:
                if serial is None:
                    raise
                error = e
            self._ixfr.failed(self._at, zone, self.server, error)
            self._read(lambda exchange: transfers.see_alive(exchange, zone))
            return self._read(lambda exchange: self._transfer(exchange, zone, None, progress))

    def _transfer(self, exchange: Exchange, zone: bytes, serial: int | None, progress: Progress | None) -> Transfer:
        index = self._at
        if index != self._read_from.get(zone) or self._ixfr.paused(index, zone):
            serial = None  # it counts from another server's serial, or IXFR fails on this one
        transfer = transfers.receive(exchange, zone, serial, limits=self._limits, progress=progress)
        self._read_from[zone] = index
        if serial is not None:
            self._ixfr.succeeded(index, zone)
        return transfer

    def read(self, zone: bytes, progress: Progress | None = None) -> Live:
        """Return the full zone as the primary holds it now."""
        return Live.of(zone, self.transfer(zone, progress=progress))


def places(peers: Iterable[Peer]) -> list[tuple[Server, Tls | None]]:
    """Return where the peers are, for a pool of connections to them."""
    return [(peer.server, peer.tls) for peer in peers]
