"""A listener for NOTIFY (RFC 1996): the primary says that a zone changed, before anybody asks.

A NOTIFY is a hint and no more: whoever forges one makes us ask for a serial. Signed ones are verified with our key;
unsigned ones are taken from the addresses of the primaries only.
"""

import contextlib
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Collection

from ksd_ddns.errors import PrimaryError, SettingsError
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.keys import Rotating, Verifier
from ksd_ddns.zone import wire
from ksd_ddns.zone.rrset import SOA

_OPCODE_NOTIFY = 4
_OPCODE = 0x7800
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
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        where = (address.host, address.port)
        try:
            self._servers: tuple[socketserver.BaseServer, ...] = (
                _server(socketserver.ThreadingTCPServer, family, where, _overtcp(self._answer)),
                _server(socketserver.UDPServer, family, where, _overudp(self._answer)),
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
        if message.flags & wire.FLAG_QR or message.flags & _OPCODE != _OPCODE_NOTIFY << 11 or message.question is None:
            return None
        zone, rdtype = message.question
        if rdtype != SOA or not self._counts(message, client):
            return None
        self._heard(zone)
        flags = wire.FLAG_QR | wire.FLAG_AA | _OPCODE_NOTIFY << 11
        return wire.reply(message.id, flags, zone)

    def _counts(self, message: wire.Message, client: str) -> bool:
        if message.tsig is None:
            return client in self._addresses()
        reason = "we do not have its key"
        for source in self._keys:
            try:
                Verifier(source.latest(), b"", server=client).verify(message)
            except PrimaryError as e:
                reason = str(e)
            else:
                return True
        _log.warning("a NOTIFY from %s is not believed: %s", client, reason)
        return False

    def _addresses(self) -> set[str]:
        found = set()
        for primary in self._primaries:
            with contextlib.suppress(OSError):
                found |= {str(item[4][0]) for item in socket.getaddrinfo(primary.host, None)}
        return found


def _server(
    kind: type[socketserver.TCPServer],
    family: socket.AddressFamily,
    where: tuple[str, int],
    handler: type[socketserver.BaseRequestHandler],
) -> socketserver.TCPServer:
    class Bound(kind):  # type: ignore[misc,valid-type]
        address_family = family
        allow_reuse_address = True
        daemon_threads = True

    server: socketserver.TCPServer = Bound(where, handler)
    return server


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
