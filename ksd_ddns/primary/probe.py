"""Requests that change nothing and find out what a server thinks of our key, clock and permissions, and of UDP.

A permission shows in two ways, since servers differ in what they check first. BIND (since 9.18.11), Knot and PowerDNS
check permissions before prerequisites: an addition with a prerequisite that must fail is refused without permission,
and fails at its prerequisite with it. A server that follows RFC 2136, 3 to the letter checks prerequisites first: there
the deletion of a record that cannot exist, from a name that must not exist, is refused without permission, and does
nothing with it.
"""

import ipaddress
import secrets
import socket
import time
from typing import NamedTuple

from ksd_ddns.errors import PrimaryError, SettingsError, Unreachable
from ksd_ddns.primary import rcodes
from ksd_ddns.primary.connection import Connection, Server
from ksd_ddns.primary.exchange import Exchange, Response, UnsignedExchange, new_id
from ksd_ddns.primary.keys import Key
from ksd_ddns.primary.rcodes import BADKEY, BADSIG, BADTIME
from ksd_ddns.primary.session import Peer
from ksd_ddns.wire import codec, names
from ksd_ddns.wire.codec import Malformed, Message, Statement
from ksd_ddns.wire.rrset import AAAA, ANY, CLASS_ANY, CLASS_NONE, IN, NS, PTR, SOA, TXT, A

UDP_TIMEOUT = 1.0
"""Seconds after which a query over UDP is sent once more."""

_NOWHERE = names.from_text("ksd-ddns-check.invalid.")
_RDATA = {
    A: bytes((192, 0, 2, 1)),  # RFC 5737: documentation addresses
    AAAA: bytes.fromhex("20010db8") + bytes(12),  # RFC 3849
    TXT: b"\x0eksd-ddns check",
    PTR: _NOWHERE,
    NS: _NOWHERE,
}


class Answer(NamedTuple):
    """What a server answered.

    `ahead` is by how many seconds its clock is ahead of ours, None where it does not say; `tsig` is the TSIG error that
    it reports, `error` what its signature, or the lack of one, means.
    """

    message: Message
    ahead: int | None
    tsig: int
    error: PrimaryError | None

    @property
    def key_rejected(self) -> bool:
        """Whether the server does not accept the key, whatever was asked.

        Knot since 3.4 and PowerDNS answer so with NOTAUTH and no signature.
        """
        bare = self.message.tsig is None and self.message.rcode == rcodes.NOTAUTH
        return bare or self.tsig in {BADSIG, BADKEY}


class Probe:
    """A connection of its own to one primary; opened when it is needed, and again when it broke.

    Every method raises PrimaryError where no answer comes that can be read.
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
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read_key(self) -> Key:
        """Return the key that signs what is read."""
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

    def soa(self, name: bytes) -> Answer:
        """Ask for the SOA of `name`."""
        return self._ask(self.read_key(), codec.query(new_id(), name, SOA))

    def apex(self, name: bytes) -> bytes | None:
        """Return the apex of the zone that holds `name`, as the server says without a key; None where it does not."""
        request = codec.query(new_id(), name, SOA)
        try:
            message = self._response(UnsignedExchange(self.connection()), request).message
        except PrimaryError:
            return None
        records = (*message.answer, *message.authority)
        return next((owner for owner, rdtype, _, _ in records if rdtype == SOA and names.is_below(name, owner)), None)

    def any_update(self, zone: bytes, name: bytes) -> Answer:
        """Send an UPDATE without any change, whose one prerequisite fails: that `name`, which does not exist, does."""
        return self._update(zone, [(name, ANY, CLASS_ANY, 0, b"")], [])

    def addition(self, zone: bytes, name: bytes, rdtype: int, owner: bytes | None = None) -> Answer:
        """Send the addition of a record to `owner` (by default `name`) behind the same prerequisite, which fails."""
        return self._update(zone, [(name, ANY, CLASS_ANY, 0, b"")], [(owner or name, rdtype, IN, 60, _RDATA[rdtype])])

    def deletion(self, zone: bytes, name: bytes, rdtype: int) -> Answer:
        """Send the deletion of one record from `name`, behind the prerequisite that the name does not exist."""
        return self._update(zone, [(name, ANY, CLASS_NONE, 0, b"")], [(name, rdtype, CLASS_NONE, 0, _RDATA[rdtype])])

    def _update(self, zone: bytes, prerequisites: list[Statement], updates: list[Statement]) -> Answer:
        return self._ask(self.update_key(), codec.update(new_id(), zone, prerequisites, updates))

    def _ask(self, key: Key, request: bytes) -> Answer:
        response = self._response(Exchange(self.connection(), key), request)
        return Answer(response.message, *_tsig(response.message), response.error)

    def _response(self, exchange: UnsignedExchange, request: bytes) -> Response:
        try:
            return exchange.ask(request)
        except PrimaryError:
            self.close()
            raise


def unused_below(base: bytes) -> bytes:
    """Return an unused name below `base`. Raises SettingsError where there is no room for one."""
    label = f"ksd-ddns-check-{secrets.token_hex(8)}".encode()
    try:
        return names.from_labels([label, *names.labels(base)])
    except ValueError as e:
        raise SettingsError(f"{names.to_text(base)} leaves no room for names below it: set a shorter DOMAIN") from e


def rcode_over_udp(server: Server, name: bytes, *, timeout: float) -> int:
    """Return the response code to an unsigned query for the SOA of `name` over UDP, sent twice if need be.

    Raises Unreachable.
    """
    return _answer_over_udp(server, name, timeout=timeout).rcode


def serial_over_udp(server: Server, zone: bytes, *, timeout: float) -> int | None:
    """Return the serial of `zone` on a server that is authoritative for it; None where it does not say."""
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
    """Return where the server called `name` may listen, other than at `server` itself: on its port, or on 53."""
    try:
        own = {str(item[4][0]) for item in socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)}
        found = {str(item[4][0]) for item in socket.getaddrinfo(name.rstrip("."), server.port, type=socket.SOCK_DGRAM)}
    except (OSError, UnicodeError):
        return []
    if own & found:
        return []
    local = {address for address in found if ipaddress.ip_address(address.partition("%")[0]).is_loopback}
    if not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in own):
        found -= local  # `localhost.` is a placeholder in the SOA of another machine
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
    """Return our own address on the way to `server`."""
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
    if error == BADTIME:  # the time of our request stands there; the server's own is in the other data
        return (int.from_bytes(other, "big") - now if len(other) == 6 else None), error
    return (signed_at - now if error == 0 else None), error
