# SPDX-License-Identifier: Apache-2.0
"""Read-only tests of a server: key, clock, permission to update, and UDP.

Two requests test a permission, because servers check in different order. BIND (since 9.18.11), Knot and PowerDNS check
permissions before prerequisites: they refuse an addition without permission, and with it report the prerequisite, which
is chosen to fail. A server that follows RFC 2136, 3 checks prerequisites first: it refuses to delete a record without
permission, and with it does nothing, because the record and its name do not exist.
"""

import ipaddress
import secrets
import socket
import time
from typing import NamedTuple

from ksd_ddns.errors import PrimaryError, SettingsError, Unreachable
from ksd_ddns.primary.connection import Connection, Server
from ksd_ddns.primary.exchange import Exchange, Response, UnsignedExchange, new_id
from ksd_ddns.primary.keys import Key
from ksd_ddns.primary.session import Peer
from ksd_ddns.wire import codec, names, rcodes
from ksd_ddns.wire.codec import Malformed, Message, Statement
from ksd_ddns.wire.rcodes import BADKEY, BADSIG, BADTIME
from ksd_ddns.wire.rrset import AAAA, ANY, CLASS_ANY, CLASS_NONE, IN, NS, PTR, SOA, SRV, TXT, A

UDP_TIMEOUT = 1.0
"""Seconds before a UDP query is repeated, once."""

_NOWHERE = names.from_text("ksd-ddns-check.invalid.")
EXAMPLES = {
    A: bytes((192, 0, 2, 1)),  # RFC 5737: documentation addresses
    AAAA: bytes.fromhex("20010db8") + bytes(12),  # RFC 3849
    TXT: b"\x0eksd-ddns check",
    PTR: _NOWHERE,
    SRV: bytes(6) + _NOWHERE,
    NS: _NOWHERE,
}
"""An rdata of each type that we may publish, as an example."""


class ProbeResult(NamedTuple):
    """A server's answer.

    `ahead` is how many seconds its clock is ahead of ours, None if unknown; `tsig` is the TSIG error in the response;
    `error` is the result of verifying the response, None if it is valid.
    """

    message: Message
    ahead: int | None
    tsig: int
    error: PrimaryError | None

    @property
    def key_rejected(self) -> bool:
        """Whether the server rejects the key itself, regardless of the request.

        Knot since 3.4 and PowerDNS then send NOTAUTH without a signature.
        """
        unsigned_notauth = self.message.tsig is None and self.message.rcode == rcodes.NOTAUTH
        return unsigned_notauth or self.tsig in {BADSIG, BADKEY}


class Probe:
    """A separate connection to one primary, opened on demand and reopened after a failure.

    Every method raises PrimaryError if there is no valid answer.
    """

    def __init__(self, peer: Peer, *, timeout: float) -> None:
        self._peer = peer
        self._timeout = timeout
        self._connection: Connection | None = None

    @property
    def server(self) -> Server:
        """The primary."""
        return self._peer.server

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read_key(self) -> Key:
        """Return the key that signs queries."""
        return self._peer.read_keys.current(self.connection())

    def update_key(self) -> Key:
        """Return the key that signs updates."""
        return self._peer.keys.current(self.connection())

    def connection(self) -> Connection:
        """Return the open connection, or a new one."""
        if self._connection is None or not self._connection.usable:
            self.close()
            self._connection = Connection(self._peer.server, timeout=self._timeout, tls=self._peer.tls)
        return self._connection

    def soa(self, name: bytes) -> ProbeResult:
        """Query the SOA of `name`."""
        return self._ask(self.read_key(), codec.query(new_id(), name, SOA))

    def apex(self, name: bytes) -> bytes | None:
        """Return the apex of the zone that holds `name`, from an unsigned query; None if it has no answer."""
        request = codec.query(new_id(), name, SOA)
        try:
            message = self._response(UnsignedExchange(self.connection()), request).message
        except PrimaryError:
            return None
        records = (*message.answer, *message.authority)
        return next((owner for owner, rdtype, _, _ in records if rdtype == SOA and names.is_below(name, owner)), None)

    def any_update(self, zone: bytes, name: bytes) -> ProbeResult:
        """Send an UPDATE without changes and with a prerequisite that fails: that `name`, which is unused, exists."""
        return self._update(zone, [(name, ANY, CLASS_ANY, 0, b"")], [])

    def prerequisites(self, zone: bytes, prerequisites: list[Statement]) -> ProbeResult:
        """Send an UPDATE without changes and with these prerequisites."""
        return self._update(zone, prerequisites, [])

    def addition(self, zone: bytes, name: bytes, rdtype: int, owner: bytes | None = None) -> ProbeResult:
        """Send the addition of a record at `owner` (default: `name`) with the same failing prerequisite."""
        return self._update(zone, [(name, ANY, CLASS_ANY, 0, b"")], [(owner or name, rdtype, IN, 60, EXAMPLES[rdtype])])

    def deletion(self, zone: bytes, name: bytes, rdtype: int) -> ProbeResult:
        """Send the deletion of one record at `name` with the prerequisite that the name does not exist."""
        return self._update(zone, [(name, ANY, CLASS_NONE, 0, b"")], [(name, rdtype, CLASS_NONE, 0, EXAMPLES[rdtype])])

    def _update(self, zone: bytes, prerequisites: list[Statement], updates: list[Statement]) -> ProbeResult:
        return self._ask(self.update_key(), codec.update(new_id(), zone, prerequisites, updates))

    def _ask(self, key: Key, request: bytes) -> ProbeResult:
        response = self._response(Exchange(self.connection(), key), request)
        return ProbeResult(response.message, *_tsig(response.message), response.error)

    def _response(self, exchange: UnsignedExchange, request: bytes) -> Response:
        try:
            return exchange.ask(request)
        except PrimaryError:
            self.close()
            raise


def unused_below(base: bytes) -> bytes:
    """Return an unused name below `base`. Raises SettingsError if it would be too long."""
    label = f"ksd-ddns-check-{secrets.token_hex(8)}".encode()
    try:
        return names.from_labels([label, *names.labels(base)])
    except ValueError as e:
        raise SettingsError(f"{names.to_text(base)} leaves no room for names below it: set a shorter DOMAIN") from e


def rcode_over_udp(server: Server, name: bytes, *, timeout: float) -> int:
    """Return the response code to an unsigned query for the SOA of `name` over UDP; repeats the query once.

    Raises Unreachable.
    """
    return _answer_over_udp(server, name, timeout=timeout).rcode


def serial_over_udp(server: Server, zone: bytes, *, timeout: float) -> int | None:
    """Return the serial of `zone` over UDP; None if `server` does not answer authoritatively."""
    try:
        message = _answer_over_udp(server, zone, timeout=timeout)
        if message.flags & codec.FLAG_AA:
            return next(
                (codec.soa_serial(data) for name, kind, _, data in message.answer if (name, kind) == (zone, SOA))
            )
    except (Unreachable, Malformed, StopIteration):
        pass
    return None


def other_addresses(server: Server, name: str) -> list[Server]:
    """Return the candidates for the server `name`, on the port of `server` and on 53; empty if it is `server`."""
    try:
        own = {str(item[4][0]) for item in socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)}
        found = {str(item[4][0]) for item in socket.getaddrinfo(name.rstrip("."), server.port, type=socket.SOCK_DGRAM)}
    except (OSError, UnicodeError):
        return []
    if own & found:
        return []
    local = {address for address in found if ipaddress.ip_address(address.partition("%")[0]).is_loopback}
    if not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in own):
        found -= local  # in the SOA of another host, `localhost.` is a placeholder
    return [Server(address, port) for address in sorted(found)[:2] for port in dict.fromkeys((server.port, 53))]


def _answer_over_udp(server: Server, name: bytes, *, timeout: float) -> Message:
    query = codec.query(new_id(), name, SOA)
    with _udp(server, timeout) as plain:
        for _ in range(2):
            plain.send(query)
            try:
                while True:
                    octets = plain.recv(65_535)
                    if octets[:2] == query[:2]:
                        return codec.read(octets)
            except TimeoutError:
                continue
            except Malformed as e:
                raise Unreachable(
                    f"{server} answers over UDP with something that is not a DNS message: {e}", server=server
                ) from e
            except OSError as e:
                raise Unreachable(f"{server} does not answer over UDP: {e.strerror or e}", server=server) from e
    raise Unreachable(f"{server} does not answer over UDP", server=server)


def own_address(server: Server) -> str:
    """Return the source address that we use to reach `server`."""
    with _udp(server, 1.0) as plain:
        address: str = plain.getsockname()[0]
    return address


def _udp(server: Server, timeout: float) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)[0]
        plain = socket.socket(family, kind, proto)
        plain.settimeout(timeout)
        plain.connect(address)
    except OSError as e:
        raise Unreachable(f"{server} cannot be reached over UDP: {e.strerror or e}", server=server) from e
    return plain


def _tsig(message: Message) -> tuple[int | None, int]:
    """Return how far the server's clock is ahead, and the TSIG error (RFC 8945, 4.2)."""
    if message.tsig is None:
        return None, 0
    rdata = message.tsig[3]
    try:
        position = 0
        while rdata[position]:
            position += 1 + rdata[position]
    except IndexError:
        return None, 0  # the signature does not verify either
    signed_at = int.from_bytes(rdata[position + 1 : position + 7], "big")
    position += 9
    position += 2 + int.from_bytes(rdata[position : position + 2], "big") + 2
    error = int.from_bytes(rdata[position : position + 2], "big")
    other = rdata[position + 4 :]
    now = int(time.time())
    if error == BADTIME:  # the time signed is our request's; the server's time is in the other data
        return (int.from_bytes(other, "big") - now if len(other) == 6 else None), error
    return (signed_at - now if error == 0 else None), error
