"""A conversation with the primary: the first of several servers that answers, one connection, signed exchanges."""

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ksd_ddns.errors import BadResponse, PrimaryError, Unreachable
from ksd_ddns.primary import rcodes
from ksd_ddns.primary.connection import Connection, Server
from ksd_ddns.primary.keys import Key, KeyRejected, Verifier
from ksd_ddns.zone import names, wire
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.rrset import AXFR, SOA
from ksd_ddns.zone.wire import Malformed, Message
from ksd_ddns.zone.xfr import Transfer

Progress = Callable[[int], None]
"""Told how many records or names are done so far."""


class Refreshed(NamedTuple):
    """What a refresh brought: the names that are other than they were believed to be, and whether all was read."""

    changed: set[bytes]
    whole: bool


class Session:
    """Queries and transfers on one connection, which is opened when it is needed and opened again when it broke.

    The first of `servers` that answers is used, and left only when it fails. `key` signs updates, `transfer_key`
    everything that is read. `timeout` in seconds is the longest silence that is waited out.
    """

    def __init__(self, servers: Sequence[Server], *, key: Key, transfer_key: Key | None = None, timeout: float) -> None:
        self._servers = list(servers)
        self.key = key
        self.transfer_key = transfer_key or key
        self._timeout = timeout
        self._connection: Connection | None = None
        self._read_from: Server | None = None

    @property
    def server(self) -> Server:
        """The server in use, or the one to be tried first."""
        return self._servers[0]

    def close(self) -> None:
        """End the conversation; the next request opens a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def failed(self) -> None:
        """Leave the server in use: the next request begins with the one after it."""
        self.close()
        self._servers.append(self._servers.pop(0))

    def connection(self) -> Connection:
        """Return the open connection, or a new one to the first server that can be reached."""
        if self._connection is not None:
            if self._connection.usable:
                return self._connection
            self.close()
        errors = []
        for _ in self._servers:
            try:
                self._connection = Connection(self.server, timeout=self._timeout)
            except Unreachable as e:
                errors.append(e)
                self.failed()
            else:
                return self._connection
        raise Unreachable("; ".join(str(e) for e in errors)) from errors[0]

    def enclosing_zone(self, name: bytes) -> bytes:
        """Return the apex of the zone that holds `name`, found as nsupdate finds it: by asking for the name's SOA."""
        message = self._ask(name)
        for owner, rdtype, _, _ in (*message.answer, *message.authority):
            if rdtype == SOA and names.is_below(name, owner):
                return owner
        raise BadResponse(f"{self.server} does not say which zone holds {names.to_text(name)}: set ZONE")

    def serial(self, zone: bytes) -> int:
        """Return the serial of `zone`. Raises Denied or BadResponse where the server does not serve it."""
        message = self._ask(zone)
        for owner, rdtype, _, rdata in message.answer:
            if rdtype == SOA and owner == zone:
                return wire.soa_serial(rdata)
        raise BadResponse(
            f"{self.server} serves no zone {names.to_text(zone)}: set ZONE to the apex of a zone that it is primary of"
        )

    def transfer(self, zone: bytes, serial: int | None = None, progress: Progress | None = None) -> Transfer:
        """Return the whole zone (AXFR), or what changed since `serial` (IXFR), every message verified.

        Fails closed: an error, a transfer cut short, a missing final SOA or a bad signature give no transfer.
        """
        ident = new_id()
        request = wire.query(ident, zone, AXFR) if serial is None else wire.ixfr_query(ident, zone, serial)
        signed, mac = self.transfer_key.sign(request)
        transfer = Transfer(zone, serial)
        try:
            connection = self.connection()
            verifier = Verifier(self.transfer_key, mac, server=str(connection.server), several=True)
            connection.send(signed)
            while not transfer.done:
                message = self.parsed(connection.receive(), ident)
                connection.drain()
                verifier.verify(message)
                if message.rcode != rcodes.NOERROR:
                    raise self._transfer_error(message.rcode, zone)
                transfer.feed(message.answer)
                if progress:
                    progress(transfer.records)
            verifier.finish()
            self._read_from = connection.server
        except KeyRejected as e:
            self.close()
            grant = rcodes.transfer_grant(names.to_text(zone), self.transfer_key.name)
            raise KeyRejected(f"{e}. To let it transfer {names.to_text(zone)}: {grant}") from e
        except Malformed as e:
            self.close()
            raise BadResponse(f"the transfer of {names.to_text(zone)} from {self.server} is broken: {e}") from e
        except Unreachable as e:
            server = self.server
            self.failed()
            what = f" after {transfer.records} records of {names.to_text(zone)}" if transfer.records else ""
            raise Unreachable(f"the transfer from {server} ended{what}: {e}") from e
        except PrimaryError:
            # What may still follow belongs to no request any more.
            self.close()
            raise
        return transfer

    def read(self, zone: bytes, progress: Progress | None = None) -> Live:
        """Return the whole zone as the primary holds it now."""
        return Live.of(zone, self.transfer(zone, progress=progress))

    def refresh(self, live: Live, progress: Progress | None = None) -> "Refreshed":
        """Bring `live` up to date, by IXFR where the server offers it."""
        # Another server may count its serials in its own way: after a failover the zone is read whole.
        same = self.connection().server == self._read_from
        transfer = self.transfer(live.zone, live.serial if same else None, progress)
        if transfer.nodes is None and not transfer.deltas and transfer.serial != live.serial:
            # The primary is behind us: it was restored from a backup. Only the whole zone tells what it holds.
            transfer = self.transfer(live.zone, progress=progress)
        try:
            changed = live.follow(transfer)
        except Malformed:
            transfer = self.transfer(live.zone, progress=progress)
            changed = live.follow(transfer)
        return Refreshed(changed, transfer.nodes is not None)

    def _ask(self, name: bytes) -> Message:
        """Return the authoritative answer to a question for the SOA of `name`."""
        ident = new_id()
        signed, mac = self.transfer_key.sign(wire.query(ident, name, SOA))
        try:
            connection = self.connection()
            connection.send(signed)
            message = self.parsed(connection.receive(), ident)
            Verifier(self.transfer_key, mac, server=str(self.server)).verify(message)
            if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN}:
                raise rcodes.query_error(message.rcode, server=str(self.server), name=names.to_text(name))
            if message.tsig is None:
                raise BadResponse(f"{self.server} says without a signature that {names.to_text(name)} does not exist")
        except Unreachable:
            self.failed()
            raise
        except PrimaryError:
            self.close()
            raise
        if not message.flags & wire.FLAG_AA:
            raise BadResponse(
                f"{self.server} does not answer with authority for {names.to_text(name)}: it is a resolver, or the "
                "zone is delegated elsewhere; set DNS_SERVER to the zone's primary"
            )
        return message

    def _transfer_error(self, rcode: int, zone: bytes) -> PrimaryError:
        server, key = str(self.server), self.transfer_key.name
        return rcodes.transfer_error(rcode, server=server, zone=names.to_text(zone), key=key)

    def parsed(self, octets: bytes, ident: int | None = None) -> Message:
        """Return the response in `octets`, to the request of that ID. Raises BadResponse."""
        try:
            message = wire.read(octets)
        except Malformed as e:
            raise BadResponse(f"{self.server} answered with something that is not a DNS message: {e}") from e
        if (ident is not None and message.id != ident) or not message.flags & wire.FLAG_QR:
            raise self.foreign_response()
        return message

    def foreign_response(self) -> BadResponse:
        """Return the error that a response to none of our requests is."""
        return BadResponse(f"{self.server} answered another question than the one that was asked")


def new_id() -> int:
    """Return a message ID that nobody can guess."""
    return secrets.randbelow(1 << 16)
