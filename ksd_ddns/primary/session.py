"""A conversation with the primary: the first of several servers that answers, signed exchanges."""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from ksd_ddns.errors import BadResponse, Denied, PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import rcodes
from ksd_ddns.primary.connection import SLOWEST, WHOLE_WITHIN, Connection, Lost, Server, Silent, Tls
from ksd_ddns.primary.keys import Key, KeyRejected, KeySource, Verifier
from ksd_ddns.primary.pool import Line, Pool
from ksd_ddns.wire import codec, names
from ksd_ddns.wire.codec import Malformed, Message
from ksd_ddns.wire.rrset import AXFR, SOA, RRset
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.live import Live

_MADE_UP = names.ROOT + bytes(4)
"""How the SOA goes on behind its first name in a zone that BIND makes up: no mail address, serial 0."""

IXFR_PAUSE, LONGEST_IXFR_PAUSE = 30.0, 600.0
"""Seconds for which the whole zone is read after IXFR failed: at first, and at most."""

ALIVE = 10.0
"""Seconds for which a server that answered counts as alive."""

PIPELINED = 32
"""Queries that are under way at the same time."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

Progress = Callable[[int], None]
"""SourceEvent how many records or names are done so far."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A primary, and what is needed to speak with it: `keys` sign updates, `transfer_keys` all that is read."""

    server: Server
    keys: KeySource
    transfer_keys: KeySource | None = None
    tls: Tls | None = None


class Spot(NamedTuple):
    """What a server is expected to answer: the rdatas of one type at a name. Its TTL is not compared.

    An RRset without rdatas is expected not to exist.
    """

    owner: bytes
    rrset: RRset


class Polled(NamedTuple):
    """What a poll found.

    `primary` is the name that the SOA gives as the primary. `elsewhere`: another server answers than the one that the
    zone was read from. `differing` are the owner names of spots that the server answers otherwise, `unknown` those that
    it did not answer (SERVFAIL, REFUSED, not authoritative). Where `serial` is another one than the zone was read with,
    spots may differ because of that.
    """

    serial: int
    primary: bytes
    elsewhere: bool
    differing: set[bytes]
    unknown: set[bytes]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a transfer may cost, so that no server can keep us busy for ever or fill the memory.

    The largest zones that a primary serves to hundreds of clients have some million names. `seconds` is for all of it,
    `octets_per_second` what must arrive in the long run.
    """

    records: int = 5_000_000
    octets: int = 1 << 30
    seconds: float = 3600.0
    octets_per_second: float = SLOWEST


class _Pause(NamedTuple):
    until: float
    seconds: float


class _NoIxfr(Exception):
    """An incremental transfer failed for the reason `error`: the whole zone is to be read."""

    def __init__(self, error: PrimaryError) -> None:
        super().__init__(str(error))
        self.error = error


class _Deadline:
    """Ends a transfer that would never end."""

    def __init__(self, limits: Limits, timeout: float) -> None:
        self._limits = limits
        self._grace = WHOLE_WITHIN * timeout
        self._began = time.monotonic()

    def check(self, records: int, octets: int) -> None:
        """Raise Malformed where more than `Limits` arrived, Silent where it takes too long."""
        limits = self._limits
        if records > limits.records:
            raise Malformed(f"it has more than {limits.records} records, and no end")
        if octets > limits.octets:
            raise Malformed(f"it has more than {limits.octets} octets, and no end")
        seconds = time.monotonic() - self._began
        if seconds > min(limits.seconds, self._grace + octets / limits.octets_per_second):
            raise Silent(f"only {octets} octets arrived in {seconds:.0f} s, and no end")


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
        self._timeout = timeout
        self._limits = limits or Limits()
        self._at = 0
        self._line: Line | None = None
        self._depth = 0
        self._failed: dict[int, float] = {}
        self._errors: dict[int, str] = {}
        self._read_from: dict[bytes, int] = {}
        self._no_ixfr: dict[tuple[int, bytes], _Pause] = {}
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

    def connection(self) -> Connection:
        """Return the open connection, or a new one to the first server that can be reached.

        To be called between exchanges only: it checks whether the connection is still open. Sessions that share
        connections must call it in `held()`.
        """
        self._errors.clear()
        return self._connected().connection

    def update_key(self) -> Key:
        """Return the key that signs updates now, for the server in use."""
        connection = self.connection()
        return self._peers[self._at].keys.current(connection)

    def transfer_key(self) -> Key:
        """Return the key that signs what is read now, from the server in use."""
        connection = self.connection()
        return self._read_keys().current(connection)

    def for_updates(self, zone: bytes) -> tuple[Connection, Key]:
        """Return the connection to the server that `zone` was read from, and the key that signs its updates now.

        To be called between exchanges only, as `connection`. Raises ZoneChanged where another server answers now: what
        was planned for the one must not be sent to the other.
        """
        self._errors.clear()
        before = self._read_from.get(zone)
        line = self._connected(before)
        if before is not None and line.index != before:
            raise ZoneChanged(
                f"{line.connection.server} answers instead of {self._peers[before].server}, where the zone was read"
            )
        return line.connection, self._peers[line.index].keys.current(line.connection)

    def renewed(self, key: Key) -> bool:
        """Record that the server in use does not know `key`; return whether there is another one now."""
        return self._peers[self._at].keys.rejected(key)

    def close(self) -> None:
        """End the conversation; the next request opens a new connection."""
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
        self._errors[index] = str(error)
        if len(self._peers) > 1:
            _log.info("server failed, trying the next one: %s", error)
        self._at = self._pool.order(self._failed)[0]

    def _give_back(self, *, close: bool = False) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._pool.give(line, close=close)

    def _connected(self, prefer: int | None = None) -> Line:
        """Return the connection that is held, or one to the first server that can be reached and did not fail."""
        assert self._depth or not self._shared, "a shared connection would never be given back"
        if self._line is not None:
            if self._line.connection.usable:
                return self._line
            self._give_back(close=True)
        order = self._pool.order(self._failed)
        if prefer is not None and order[0] != prefer and not self._pool.failed_recently(prefer, self._failed):
            order.remove(prefer)
            order.insert(0, prefer)
        before = set(self._errors)
        try:
            self._line = self._pool.take(order, self._errors)
        except Unreachable:
            self._at = self._pool.order(self._failed)[0]
            raise
        finally:
            if len(self._peers) > 1:
                for index in self._errors.keys() - before:
                    _log.info("server failed, trying the next one: %s", self._errors[index])
        if self._line.index < self._at:
            _log.info("%s is back, using it instead of %s", self._line.connection.server, self.server)
        self._at = self._line.index
        self.connects = max(self.connects, self._line.number)
        return self._line

    def _read(self, ask: Callable[[Connection, Key], _T]) -> _T:
        """Return what `ask` reads; a server that fails at it is left for the next one, until each has been tried."""
        self._errors.clear()
        with self.held():
            while True:
                line = self._connected()
                used, line.used = line.used, True
                try:
                    answer = self._ask_signed(ask, line.connection)
                except Lost as e:
                    if used and not isinstance(e, Silent):
                        # Servers close idle connections, perhaps just now: that says nothing about the server.
                        self._give_back(close=True)
                        continue
                    self.failed(e)
                except Unreachable as e:
                    self.failed(e)
                except _NoIxfr as e:
                    self._give_back(close=True)
                    if used and isinstance(e.error, Lost) and not isinstance(e.error, Silent):
                        continue
                    raise
                except PrimaryError:
                    # What may still follow belongs to no request.
                    self._give_back(close=True)
                    raise
                else:
                    self._pool.answered(line)
                    return answer

    def _read_keys(self) -> KeySource:
        peer = self._peers[self._at]
        return peer.transfer_keys or peer.keys

    def _ask_signed(self, ask: Callable[[Connection, Key], _T], connection: Connection) -> _T:
        source = self._read_keys()
        key = source.current(connection)
        try:
            return ask(connection, key)
        except KeyRejected:
            if not source.rejected(key):
                raise
        return ask(connection, source.current(connection))

    def enclosing_zone(self, name: bytes) -> bytes:
        """Return the apex of the zone that holds `name`, found as nsupdate finds it: by asking for the name's SOA."""
        message = self._ask(name)
        for owner, rdtype, _, rdata in (*message.answer, *message.authority):
            if rdtype == SOA and names.is_below(name, owner):
                if rdata.startswith(owner + _MADE_UP):
                    raise Denied(
                        f"{self.server} has no zone {names.to_text(owner)}: it is one of the empty zones that BIND "
                        "makes up for reverse names (RFC 6303); make the zone there, or correct REVERSE_ZONES"
                    )
                return owner
        raise BadResponse(f"{self.server} does not say which zone holds {names.to_text(name)}: set ZONE")

    def serial(self, zone: bytes) -> int:
        """Return the serial of `zone`. Raises Denied or BadResponse where the server does not serve it."""
        return self.poll(zone).serial

    def poll(self, zone: bytes, spots: Sequence[Spot] = ()) -> Polled:
        """Return the serial of `zone`, and which of `spots` are not answered as expected.

        Costs one round trip (one for each PIPELINED queries), whatever the size of the zone. Raises Denied or
        BadResponse where the server does not serve the zone.
        """
        return self._read(lambda connection, key: self._polled(connection, key, zone, spots))

    def _polled(self, connection: Connection, key: Key, zone: bytes, spots: Sequence[Spot]) -> Polled:
        queries = iter([Spot(zone, RRset(SOA, 0, ())), *spots])
        under_way: dict[int, tuple[Spot, bytes]] = {}
        serial = 0
        primary = b""
        differing: set[bytes] = set()
        unknown: set[bytes] = set()
        soa: Spot | None = None
        while True:
            for spot in islice(queries, PIPELINED - len(under_way)):
                soa = soa or spot
                ident = new_id()
                while ident in under_way:
                    ident = new_id()
                signed, mac = key.sign(codec.query(ident, spot.owner, spot.rrset.type))
                under_way[ident] = spot, mac
                connection.send(signed)
            if not under_way:
                elsewhere = self._read_from.get(zone) not in {None, self._at}
                return Polled(serial, primary, elsewhere, differing, unknown)
            message = self.parsed(connection.receive())
            if message.id not in under_way:
                raise self.foreign_response()
            spot, mac = under_way.pop(message.id)
            Verifier(key, mac, server=str(self.server)).verify(message)
            if spot is soa:
                serial, primary = self._soa(self._authoritative(self._answer(message, zone, key), zone), zone)
                continue
            found = self._found(message, spot)
            if found is None:
                unknown.add(spot.owner)
            elif found != spot.rrset.rdatas:
                differing.add(spot.owner)

    def _found(self, message: Message, spot: Spot) -> tuple[bytes, ...] | None:
        """Return the rdatas that a server has for a spot; None where it does not say."""
        if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN} or not message.flags & codec.FLAG_AA:
            return None
        if message.tsig is None:
            raise self._unsigned(spot.owner)
        owner, rdtype = spot.owner, spot.rrset.type
        return tuple(sorted({rdata for name, kind, _, rdata in message.answer if name == owner and kind == rdtype}))

    def _soa(self, message: Message, zone: bytes) -> tuple[int, bytes]:
        """Return the serial of `zone`, and the name of its primary."""
        for owner, rdtype, _, rdata in message.answer:
            if rdtype == SOA and owner == zone:
                try:
                    return codec.soa_serial(rdata), codec.soa_primary(rdata)
                except Malformed as e:
                    raise BadResponse(f"{self.server} answered with an SOA that is none: {e}") from e
        raise BadResponse(
            f"{self.server} serves no zone {names.to_text(zone)}: set ZONE to the apex of a zone that it is primary of"
        )

    def transfer(self, zone: bytes, serial: int | None = None, progress: Progress | None = None) -> Transfer:
        """Return the whole zone (AXFR), or what changed since `serial` (IXFR), every message verified.

        Where IXFR fails, whatever the reason, the whole zone is read instead; IXFR is then left out for a while. Fails
        closed: an error, a transfer cut short, a missing final SOA or a bad signature give no transfer.
        """
        with self.held():
            self._read(lambda connection, key: self._see_alive(connection, key, zone))
            try:
                return self._read(lambda connection, key: self._transferred(connection, key, zone, serial, progress))
            except _NoIxfr as e:
                self._pause_ixfr(zone, e.error)
            except KeyRejected as e:
                if serial is None:
                    raise
                self._pause_ixfr(zone, e)
            self._read(lambda connection, key: self._see_alive(connection, key, zone))
            return self._read(lambda connection, key: self._transferred(connection, key, zone, None, progress))

    def _pause_ixfr(self, zone: bytes, error: Exception) -> None:
        """Read whole zones for a while; a server that does not answer IXFR must not be waited for each time."""
        where = (self._at, zone)
        before = self._no_ixfr.get(where)
        seconds = min(2 * before.seconds, LONGEST_IXFR_PAUSE) if before else IXFR_PAUSE
        if isinstance(error, Silent):
            seconds = LONGEST_IXFR_PAUSE
        self._no_ixfr[where] = _Pause(time.monotonic() + seconds, seconds)
        _log.info(
            "IXFR failed, reading whole zones for a while  zone=%s server=%s seconds=%g error=%s",
            names.to_text(zone),
            self.server,
            seconds,
            error,
        )

    def _transferred(
        self, connection: Connection, key: Key, zone: bytes, serial: int | None, progress: Progress | None
    ) -> Transfer:
        index = self._at
        pause = self._no_ixfr.get((index, zone))
        if index != self._read_from.get(zone) or (pause and time.monotonic() < pause.until):
            serial = None  # what it counts from is another server's, or the server does not know deltas
        try:
            transfer = self._received(connection, key, zone, serial, progress)
        except KeyRejected as e:
            grant = rcodes.transfer_grant(names.to_text(zone), key.name)
            raise KeyRejected(f"{e}. To let it transfer {names.to_text(zone)}: {grant}") from e
        except PrimaryError as e:
            if serial is not None:
                raise _NoIxfr(e) from e
            raise
        self._read_from[zone] = index
        if serial is not None:
            self._no_ixfr.pop((index, zone), None)
        return transfer

    def _see_alive(self, connection: Connection, key: Key, zone: bytes) -> None:
        """Wait for any answer unless one came recently: a dead server must not get the time that a large one takes."""
        if time.monotonic() < connection.link.heard_at + ALIVE:
            return
        ident = new_id()
        connection.send(key.sign(codec.query(ident, zone, SOA))[0])
        self.parsed(connection.receive(), ident)

    def _received(
        self, connection: Connection, key: Key, zone: bytes, serial: int | None, progress: Progress | None
    ) -> Transfer:
        ident = new_id()
        transfer = Transfer(zone, serial)
        signed, mac = key.sign(
            codec.query(ident, zone, AXFR) if serial is None else codec.ixfr_query(ident, zone, serial)
        )
        verifier = Verifier(key, mac, server=str(connection.server), several=True)
        octets, deadline = 0, _Deadline(self._limits, self._timeout)
        behind: int | None = None
        try:
            connection.send(signed)
            while not transfer.done:
                received = connection.receive(large=True)
                octets += len(received)
                message = self.parsed(received)
                connection.drain()
                if message.id == behind:
                    behind = None
                    if transfer.lone:
                        raise BadResponse(f"{self.server} answered IXFR with its SOA only")
                    continue
                if message.id != ident:
                    raise self.foreign_response()
                verifier.verify(message)
                if message.rcode != rcodes.NOERROR:
                    raise self._transfer_error(message, zone, key)
                transfer.feed(message.answer)
                if not transfer.done:
                    deadline.check(transfer.records, octets)
                    if transfer.lone and behind is None:
                        # Whether more follows shows when the answer to a question behind it comes first.
                        behind = ident ^ 1
                        connection.send(key.sign(codec.query(behind, zone, SOA))[0])
                if progress:
                    progress(transfer.records)
            verifier.finish()
            if behind is not None:
                self.parsed(connection.receive(), behind)
        except Malformed as e:
            raise BadResponse(f"the transfer of {names.to_text(zone)} from {self.server} is broken: {e}") from e
        except Unreachable as e:
            what = f" after {transfer.records} records of {names.to_text(zone)}" if transfer.records else ""
            raise type(e)(f"the transfer from {self.server} ended{what}: {e}") from e
        return transfer

    def read(self, zone: bytes, progress: Progress | None = None) -> Live:
        """Return the whole zone as the primary holds it now."""
        return Live.of(zone, self.transfer(zone, progress=progress))

    def _ask(self, name: bytes) -> Message:
        """Return the authoritative answer to a question for the SOA of `name`."""
        message = self._read(lambda connection, key: self._answered(connection, key, name))
        return self._authoritative(message, name)

    def _authoritative(self, message: Message, name: bytes) -> Message:
        if not message.flags & codec.FLAG_AA:
            raise BadResponse(
                f"{self.server} does not answer with authority for {names.to_text(name)}: it is a resolver, or the "
                "zone is delegated elsewhere; set DNS_SERVER to the zone's primary"
            )
        return message

    def _answered(self, connection: Connection, key: Key, name: bytes) -> Message:
        ident = new_id()
        signed, mac = key.sign(codec.query(ident, name, SOA))
        connection.send(signed)
        message = self.parsed(connection.receive(), ident)
        Verifier(key, mac, server=str(self.server)).verify(message)
        return self._answer(message, name, key)

    def _answer(self, message: Message, name: bytes, key: Key) -> Message:
        """Return a verified answer to a question for the SOA of `name`. Raises PrimaryError where it is none."""
        if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN}:
            raise rcodes.query_error(message.rcode, server=str(self.server), name=names.to_text(name), key=key.name)
        if message.tsig is None:
            raise self._unsigned(name)
        return message

    def _unsigned(self, name: bytes) -> BadResponse:
        return BadResponse(f"{self.server} says without a signature that {names.to_text(name)} does not exist")

    def _transfer_error(self, message: Message, zone: bytes, key: Key) -> PrimaryError:
        signed = message.tsig is not None
        text = names.to_text(zone)
        return rcodes.transfer_error(message.rcode, server=str(self.server), zone=text, key=key.name, signed=signed)

    def parsed(self, octets: bytes, ident: int | None = None) -> Message:
        """Return the response in `octets`, to the request of that ID. Raises BadResponse."""
        try:
            message = codec.read(octets)
        except Malformed as e:
            raise BadResponse(
                f"{self.server} answered with something that is not a DNS message: {e}; do DNS_SERVER and DNS_PORT "
                "lead to a primary?"
            ) from e
        if (ident is not None and message.id != ident) or not message.flags & codec.FLAG_QR:
            raise self.foreign_response()
        return message

    def foreign_response(self) -> BadResponse:
        """Return the error that a response to none of our requests is."""
        return BadResponse(f"{self.server} answered another question than the one that was asked")


def places(peers: Iterable[Peer]) -> list[tuple[Server, Tls | None]]:
    """Return where the peers are, for a pool of connections to them."""
    return [(peer.server, peer.tls) for peer in peers]


def new_id() -> int:
    """Return a message ID that nobody can guess."""
    return secrets.randbelow(1 << 16)
