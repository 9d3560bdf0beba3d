"""A conversation with the primary: the first of several servers that answers, one connection, signed exchanges."""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ksd_ddns.errors import BadResponse, Denied, PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import rcodes
from ksd_ddns.primary.connection import Connection, Server, Tls
from ksd_ddns.primary.keys import Key, KeyRejected, KeySource, Verifier
from ksd_ddns.zone import names, wire
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.rrset import AXFR, SOA
from ksd_ddns.zone.wire import Malformed, Message
from ksd_ddns.zone.xfr import Transfer

_MADE_UP = names.ROOT + bytes(4)
"""How the SOA goes on behind its first name in a zone that BIND makes up: no mail address, serial 0."""

BACK_AFTER = 60.0
"""Seconds after which a server that failed is worth another try."""

BACK_TIMEOUT = 1.0
"""Seconds that the try may take while another server answers."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

Progress = Callable[[int], None]
"""Told how many records or names are done so far."""


class Refreshed(NamedTuple):
    """What a refresh brought: the names that are other than they were believed to be, and whether all was read.

    `elsewhere`: from another server than before, which may hold another zone, and count its serials in its own way.
    """

    changed: set[bytes]
    whole: bool
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """A primary, and what is needed to speak with it: `keys` sign updates, `transfer_keys` all that is read."""

    server: Server
    keys: KeySource
    transfer_keys: KeySource | None = None
    tls: Tls | None = None


class Session:
    """Queries and transfers on one connection, which is opened when it is needed and opened again when it broke.

    The first of `peers` that answers is used, and left only when it fails; after BACK_AFTER seconds those before it are
    tried again. `timeout` in seconds is the longest silence that is waited out.
    """

    def __init__(self, peers: Sequence[Peer], *, timeout: float) -> None:
        self._peers = tuple(peers)
        self._at = 0
        self._failed = [float("-inf")] * len(self._peers)
        self._back_at = 0.0
        self._timeout = timeout
        self._connection: Connection | None = None
        self._read_from: dict[bytes, Server] = {}
        self._troubles: dict[int, str] = {}

    @property
    def server(self) -> Server:
        """The server in use, or the one to be tried first."""
        return self._peers[self._at].server

    def connection(self) -> Connection:
        """Return the open connection, or a new one to the first server that can be reached.

        To be called between exchanges only: it looks whether the connection still stands.
        """
        self._troubles.clear()
        return self._connected()

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

        To be called between exchanges only, as `connection`. Raises ZoneChanged where another server answers by now:
        what was planned for the one must not be sent to the other.
        """
        connection = self.connection()
        before = self._read_from.get(zone, connection.server)
        if connection.server != before:
            raise ZoneChanged(f"{connection.server} answers instead of {before}, where the zone was read")
        return connection, self._peers[self._at].keys.current(connection)

    def renewed(self, key: Key) -> bool:
        """Take note that the server in use does not know `key`; return whether there is another one by now."""
        return self._peers[self._at].keys.rejected(key)

    def close(self) -> None:
        """End the conversation; the next request opens a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def failed(self, error: Unreachable) -> None:
        """Leave the server in use: the next request begins with the first that did not fail of late."""
        self.close()
        self._note(self._at, error)
        self._at = self._in_order()[0]

    def _note(self, index: int, error: Unreachable) -> None:
        self._failed[index] = time.monotonic()
        self._troubles[index] = str(error)
        if len(self._peers) > 1:
            _log.info("the next server is tried: %s", error)

    def _connected(self) -> Connection:
        """Return the open connection, or a new one to the first server that can be reached and gave no trouble."""
        if self._connection is not None:
            if self._connection.usable:
                return self._connection
            self.close()
        for index in self._in_order():
            if index not in self._troubles:
                self._at = index
                try:
                    self._connection = self._opened(index, self._timeout)
                except Unreachable as e:
                    self._note(index, e)
                else:
                    self._back_at = time.monotonic() + BACK_AFTER
                    return self._connection
        self._at = self._in_order()[0]
        raise Unreachable("; ".join(text for _, text in sorted(self._troubles.items())))

    def _in_order(self) -> list[int]:
        """Return which peers to try: those that did not fail of late as they stand, then the others, oldest first."""
        recent = time.monotonic() - BACK_AFTER
        return sorted(range(len(self._peers)), key=lambda index: max(recent, self._failed[index]))

    def _opened(self, index: int, timeout: float) -> Connection:
        peer = self._peers[index]
        return Connection(peer.server, timeout=timeout, tls=peer.tls)

    def _go_back(self) -> None:
        """Leave the server in use for one before it that can be reached again, if it is time to try."""
        if self._connection is None or not self._at or time.monotonic() < self._back_at:
            return
        self._back_at = time.monotonic() + BACK_AFTER
        for index in range(self._at):
            try:
                opened = self._opened(index, min(self._timeout, BACK_TIMEOUT))
            except Unreachable as e:
                self._note(index, e)
            else:
                _log.info("%s can be reached again, and is used instead of %s", opened.server, self.server)
                self._connection.close()
                self._connection, self._at = opened, index
                return

    def _read(self, ask: Callable[[Connection, Key], _T]) -> _T:
        """Return what `ask` reads; a server that fails at it is left for the next one, until each has been tried."""
        self._troubles.clear()
        self._go_back()
        while True:
            connection = self._connected()
            try:
                answer = self._ask_signed(ask, connection)
            except Unreachable as e:
                self.failed(e)
            except PrimaryError:
                # What may still follow belongs to no request any more.
                self.close()
                raise
            else:
                connection.timeout = self._timeout  # until it answered it was worth less patience on the way back
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

    def moved(self, live: Live) -> bool:
        """Return whether the zone is not as `live` any more: by its serial, or because another server answers."""
        serial = self.serial(live.zone)
        return serial != live.serial or self._read_from.get(live.zone) != self.server

    def serial(self, zone: bytes) -> int:
        """Return the serial of `zone`. Raises Denied or BadResponse where the server does not serve it."""
        message = self._ask(zone)
        for owner, rdtype, _, rdata in message.answer:
            if rdtype == SOA and owner == zone:
                try:
                    return wire.soa_serial(rdata)
                except Malformed as e:
                    raise BadResponse(f"{self.server} answered with an SOA that is none: {e}") from e
        raise BadResponse(
            f"{self.server} serves no zone {names.to_text(zone)}: set ZONE to the apex of a zone that it is primary of"
        )

    def transfer(self, zone: bytes, serial: int | None = None, progress: Progress | None = None) -> Transfer:
        """Return the whole zone (AXFR), or what changed since `serial` (IXFR), every message verified.

        Fails closed: an error, a transfer cut short, a missing final SOA or a bad signature give no transfer.
        """
        return self._read(lambda connection, key: self._transferred(connection, key, zone, serial, progress))

    def _transferred(
        self, connection: Connection, key: Key, zone: bytes, serial: int | None, progress: Progress | None
    ) -> Transfer:
        if connection.server != self._read_from.get(zone):
            serial = None  # what it counts from is another server's
        ident = new_id()
        transfer = Transfer(zone, serial)
        signed, mac = key.sign(
            wire.query(ident, zone, AXFR) if serial is None else wire.ixfr_query(ident, zone, serial)
        )
        verifier = Verifier(key, mac, server=str(connection.server), several=True)
        try:
            connection.send(signed)
            while not transfer.done:
                message = self.parsed(connection.receive(), ident)
                connection.drain()
                verifier.verify(message)
                if message.rcode != rcodes.NOERROR:
                    raise self._transfer_error(message.rcode, zone, key)
                transfer.feed(message.answer)
                if progress:
                    progress(transfer.records)
            verifier.finish()
        except KeyRejected as e:
            grant = rcodes.transfer_grant(names.to_text(zone), key.name)
            raise KeyRejected(f"{e}. To let it transfer {names.to_text(zone)}: {grant}") from e
        except Malformed as e:
            raise BadResponse(f"the transfer of {names.to_text(zone)} from {self.server} is broken: {e}") from e
        except Unreachable as e:
            what = f" after {transfer.records} records of {names.to_text(zone)}" if transfer.records else ""
            raise Unreachable(f"the transfer from {self.server} ended{what}: {e}") from e
        self._read_from[zone] = connection.server
        return transfer

    def read(self, zone: bytes, progress: Progress | None = None) -> Live:
        """Return the whole zone as the primary holds it now."""
        return Live.of(zone, self.transfer(zone, progress=progress))

    def refresh(self, live: Live, progress: Progress | None = None, *, moved: bool = False) -> "Refreshed":
        """Bring `live` up to date, by IXFR where the server offers it.

        `moved` is whether the server has shown that the zone is not as `live`, whatever its serial says.
        """
        before = self._read_from.get(live.zone)
        transfer = self.transfer(live.zone, live.serial, progress)
        if transfer.nodes is None and not transfer.deltas and (transfer.serial != live.serial or live.assumed or moved):
            # The primary is behind us: it was restored from a backup. Or its serial stands still while its zone
            # changes, as where it counts seconds. Only the whole zone tells what it holds.
            transfer = self.transfer(live.zone, progress=progress)
        try:
            changed = live.follow(transfer)
        except Malformed:
            transfer = self.transfer(live.zone, progress=progress)
            changed = live.follow(transfer)
        return Refreshed(changed, transfer.nodes is not None, before not in {None, self._read_from[live.zone]})

    def _ask(self, name: bytes) -> Message:
        """Return the authoritative answer to a question for the SOA of `name`."""
        message = self._read(lambda connection, key: self._answered(connection, key, name))
        if not message.flags & wire.FLAG_AA:
            raise BadResponse(
                f"{self.server} does not answer with authority for {names.to_text(name)}: it is a resolver, or the "
                "zone is delegated elsewhere; set DNS_SERVER to the zone's primary"
            )
        return message

    def _answered(self, connection: Connection, key: Key, name: bytes) -> Message:
        ident = new_id()
        signed, mac = key.sign(wire.query(ident, name, SOA))
        connection.send(signed)
        message = self.parsed(connection.receive(), ident)
        Verifier(key, mac, server=str(self.server)).verify(message)
        if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN}:
            raise rcodes.query_error(message.rcode, server=str(self.server), name=names.to_text(name))
        if message.tsig is None:
            raise BadResponse(f"{self.server} says without a signature that {names.to_text(name)} does not exist")
        return message

    def _transfer_error(self, rcode: int, zone: bytes, key: Key) -> PrimaryError:
        return rcodes.transfer_error(rcode, server=str(self.server), zone=names.to_text(zone), key=key.name)

    def parsed(self, octets: bytes, ident: int | None = None) -> Message:
        """Return the response in `octets`, to the request of that ID. Raises BadResponse."""
        try:
            message = wire.read(octets)
        except Malformed as e:
            raise BadResponse(
                f"{self.server} answered with something that is not a DNS message: {e}; do DNS_SERVER and DNS_PORT "
                "lead to a primary?"
            ) from e
        if (ident is not None and message.id != ident) or not message.flags & wire.FLAG_QR:
            raise self.foreign_response()
        return message

    def foreign_response(self) -> BadResponse:
        """Return the error that a response to none of our requests is."""
        return BadResponse(f"{self.server} answered another question than the one that was asked")


def new_id() -> int:
    """Return a message ID that nobody can guess."""
    return secrets.randbelow(1 << 16)
