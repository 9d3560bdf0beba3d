"""A listener for NOTIFY (RFC 1996): the primary says that a zone changed, before anybody asks.

A NOTIFY is a hint and no more: whoever forges one makes us ask for a serial. Signed ones are verified with our key;
unsigned ones are taken from the addresses of the primaries only.
"""

import contextlib
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from ksd_ddns.errors import KsdError, SettingsError
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.keys import Rotating, Verifier
from ksd_ddns.serving import Bounded
from ksd_ddns.zone import wire
from ksd_ddns.zone.rrset import SOA

_OPCODE = 0x7800
LOOK_UP_EVERY = 60.0
"""Seconds between two look-ups of the primaries' addresses."""

WARN_EVERY = 60.0
"""Seconds between two warnings of a NOTIFY that is not believed."""

_PATIENCE = 5.0
_LARGEST = 4096

_log = logging.getLogger(__name__)


class Listener:
    """Listens on UDP and TCP at one address; `heard` is told the zone of every NOTIFY that counts."""

    def __init__(
        self,
        address: Server,
        *,
        primaries: Collection[Server],
        keys: Collection[Rotating],
        heard: Callable[[bytes], None],
    ) -> None:
        self._primaries = tuple(primaries)
        self._keys = tuple(keys)
        self._heard = heard
        self._addresses: frozenset[str] = frozenset()
        self._look_up_at = 0.0
        self._warn_at = 0.0
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        where = (address.host, address.port)
        try:
            self._servers: tuple[socketserver.BaseServer, ...] = (
                _tcp_server(family, where, _overtcp(self._answer)),
                _udp_server(family, where, _overudp(self._answer)),
            )
        except OSError as e:
            raise SettingsError(f"NOTIFY_LISTEN = {address}: cannot listen there: {e.strerror or e}") from e

    def start(self) -> None:
        """Begin to listen, on threads of their own."""
        for server in self._servers:
            threading.Thread(target=server.serve_forever, name="notify", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _answer(self, octets: bytes, client: str) -> bytes | None:
        """Return the response to what `client` sent, None where it deserves none."""
        try:
            message = wire.read(octets)
        except wire.Malformed:
            return None
        if message.flags & wire.FLAG_QR or message.flags & _OPCODE != wire.NOTIFY or message.question is None:
            return None
        zone, rdtype = message.question
        if rdtype != SOA:
            return None
        flags = wire.FLAG_QR | wire.FLAG_AA | wire.NOTIFY
        response = wire.reply(message.id, flags, zone)
        if message.tsig is not None:
            signed = self._signed(response, message, client)
            if signed is None:
                return None
            response = signed
        elif client not in self._known_addresses():
            return None
        self._heard(zone)
        return response

    def _signed(self, response: bytes, request: wire.Message, client: str) -> bytes | None:
        """Return `response` signed as its request is, None where that is not signed by a key of ours."""
        reason = "we do not have its key"
        for source in self._keys:
            try:
                key = source.latest()
                verifier = Verifier(key, b"", server=client)
                verifier.verify(request)
            except KsdError as e:
                reason = str(e)
            else:
                return key.sign(response, request_mac=verifier.verified)[0]
        # Whoever can reach the port can forge any number of them.
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            _log.warning("a NOTIFY from %s is not believed: %s", client, reason)
        return None

    def _known_addresses(self) -> frozenset[str]:
        """Return the addresses of the primaries; their names are looked up now and then, not for everybody who asks."""
        if time.monotonic() >= self._look_up_at:
            self._addresses = frozenset(_addresses(self._primaries))
            self._look_up_at = time.monotonic() + LOOK_UP_EVERY
        return self._addresses


def _addresses(servers: Iterable[Server]) -> Iterator[str]:
    for server in servers:
        with contextlib.suppress(OSError):
            yield from (str(item[4][0]) for item in socket.getaddrinfo(server.host, None))


def _tcp_server(
    family: socket.AddressFamily, where: tuple[str, int], handler: type[socketserver.BaseRequestHandler]
) -> socketserver.BaseServer:
    class Tcp(Bounded, socketserver.TCPServer):
        address_family = family
        allow_reuse_address = True

    return Tcp(where, handler)


def _udp_server(
    family: socket.AddressFamily, where: tuple[str, int], handler: type[socketserver.BaseRequestHandler]
) -> socketserver.BaseServer:
    class Udp(socketserver.UDPServer):
        address_family = family
        max_packet_size = _LARGEST

        def handle_error(self, request: object, client_address: object) -> None:
            _log.debug("answering %s failed", client_address, exc_info=True)

    return Udp(where, handler)


Answer = Callable[[bytes, str], bytes | None]


def _overudp(answer: Answer) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            octets, sock = self.request
            response = answer(octets, self.client_address[0])
            if response is not None:
                with contextlib.suppress(OSError):
                    sock.sendto(response, self.client_address)

    return Handler


def _overtcp(answer: Answer) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        timeout = _PATIENCE

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while len(head := self.rfile.read(2)) == 2:
                    length = int.from_bytes(head, "big")
                    if length > _LARGEST:
                        return
                    response = answer(self.rfile.read(length), self.client_address[0])
                    if response is None:
                        return
                    self.wfile.write(len(response).to_bytes(2, "big") + response)

    return Handler
