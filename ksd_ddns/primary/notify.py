# SPDX-License-Identifier: Apache-2.0
"""A listener for NOTIFY (RFC 1996): the primary reports that a zone changed, before the next poll of its serial.

A NOTIFY is only a hint: a forged one causes one query for a serial. If keys are set, a NOTIFY must be signed with one
of them; then it is accepted from any address. Without shared keys (GSS-TSIG does not sign NOTIFY), it is accepted from
the addresses of the primaries.

Any host can send any number of them. So the listener uses at most a small share of one processor, and reports each zone
at most once a second.
"""

import contextlib
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from ksd_ddns.errors import KsdError, SettingsError
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.keys import RotatingKey
from ksd_ddns.primary.verifier import Verifier
from ksd_ddns.serving import Bounded, Limits, address_of
from ksd_ddns.wire import codec
from ksd_ddns.wire.rrset import SOA

_OPCODE = 0x7800
_HEADER = 12

LOOK_UP_EVERY = 60.0
"""Seconds between two lookups of the primaries' addresses."""

WARN_EVERY = 60.0
"""Seconds between two warnings about an ignored NOTIFY."""

_ZONES = 256
_PATIENCE = 5.0
_LARGEST = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Limits of the listener: each zone is reported at most once in `every` seconds.

    At most `share` of one processor is used, after a burst of `burst` seconds of it.
    """

    every: float = 1.0
    share: float = 0.05
    burst: float = 0.5


class Listener:
    """Listens on UDP and TCP at one address; calls `received` with the zone of every accepted NOTIFY.

    `received` is called from any thread, and must not wait.
    """

    def __init__(
        self,
        address: Server,
        *,
        primaries: Collection[Server],
        keys: Collection[RotatingKey],
        received: Callable[[bytes], None],
        limit: RateLimit | None = None,
    ) -> None:
        limit = limit or RateLimit()
        self._primaries = tuple(primaries)
        self._keys = tuple(keys)
        self._report = _Report(received, limit.every)
        self._budget = _Budget(limit.share, limit.burst)
        self._addresses: frozenset[str] = frozenset()
        self._look_up_at = 0.0
        self._warn_at = 0.0
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        where = (address.host, address.port)
        try:
            self._servers: tuple[socketserver.BaseServer, ...] = (
                _tcp_server(family, where, _over_tcp(self._answer)),
                _udp_server(family, where, _over_udp(self._answer)),
            )
        except OSError as e:
            raise SettingsError(f"NOTIFY_LISTEN = {address}: cannot listen there: {e.strerror or e}") from e

    def start(self) -> None:
        """Start listening, on separate threads."""
        self._report.start()
        for server in self._servers:
            threading.Thread(target=server.serve_forever, name="notify", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _answer(self, octets: bytes, client: str) -> bytes | None:
        """Return the response to a message from `client`, None if it gets none."""
        with self._budget:
            return self._response(octets, address_of(client))

    def _response(self, octets: bytes, client: str) -> bytes | None:
        message = _notify(octets)
        if message is None or message.question is None:
            return None
        zone = message.question[0]
        unsigned = codec.reply(message.id, codec.FLAG_QR | codec.FLAG_AA | codec.NOTIFY, zone)
        if message.tsig is not None:
            response = self._signed(unsigned, message, client)
        else:
            response = unsigned if self._accepts_unsigned(client) else None
        if response is not None:
            self._report(zone)
        return response

    def _accepts_unsigned(self, client: str) -> bool:
        if self._keys:
            reason = (
                f"it is not signed; let the primary sign it with key {self._keys[0].latest().name}: in BIND "
                "also-notify { ADDRESS port PORT key KEY; }, in Knot key: of the remote"
            )
        elif client in self._known_addresses():
            return True
        else:
            reason = "it is not signed, and DNS_SERVER does not have its sender's address"
        self._warn(client, reason)
        return False

    def _signed(self, response: bytes, request: codec.Message, client: str) -> bytes | None:
        """Return `response`, signed with the key of its request; None if that is not one of our keys."""
        reason = "no key is set (TSIG_KEY_FILE)"
        for source in self._keys:
            try:
                key = source.latest()
                verifier = Verifier(key, b"", server=client)
                verifier.verify(request)
            except KsdError as e:
                reason = str(e)
            else:
                return key.sign(response, request_mac=verifier.verified)[0]
        self._warn(client, reason)
        return None

    def _warn(self, client: str, reason: str) -> None:
        """Warn about an ignored NOTIFY, at most every WARN_EVERY seconds, because any host can send many."""
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            _log.warning("NOTIFY ignored", extra={"fields": {"client": client, "reason": reason}})

    def _known_addresses(self) -> frozenset[str]:
        """Return the addresses of the primaries; their names are looked up every LOOK_UP_EVERY seconds."""
        if time.monotonic() >= self._look_up_at:
            self._addresses = frozenset(_addresses(self._primaries))
            self._look_up_at = time.monotonic() + LOOK_UP_EVERY
        return self._addresses


def _notify(octets: bytes) -> codec.Message | None:
    """Return `octets` as a NOTIFY; None if they are anything else."""
    # The cheapest check first: it rejects most of a flood.
    if len(octets) < _HEADER or int.from_bytes(octets[2:4], "big") & (codec.FLAG_QR | _OPCODE) != codec.NOTIFY:
        return None
    try:
        message = codec.read(octets)
    except codec.Malformed:
        return None
    return message if message.question is not None and message.question[1] == SOA else None


class _Report:
    """Calls `received` with each zone at once, but at most once in `every` seconds.

    A NOTIFY in between is reported when that time is over, because the zone may have changed after the last report.
    """

    def __init__(self, received: Callable[[bytes], None], every: float) -> None:
        self._received = received
        self._every = every
        self._due: dict[bytes, float] = {}  # when each zone may be reported again
        self._waiting: dict[bytes, float] = {}  # zones to report, and when
        self._changed = threading.Condition()

    def start(self) -> None:
        """Start the thread that reports delayed zones."""
        threading.Thread(target=self._run, name="notify", daemon=True).start()

    def __call__(self, zone: bytes) -> None:
        now = time.monotonic()
        with self._changed:
            if zone in self._waiting:
                return
            due = self._due.get(zone, 0.0)
            if now < due:
                self._waiting[zone] = due
                self._changed.notify()
                return
            if len(self._due) > _ZONES:  # without keys any host can invent zones
                self._due = {other: at for other, at in self._due.items() if at > now}
            self._due[zone] = now + self._every
        self._received(zone)

    def _run(self) -> None:
        while True:
            with self._changed:
                seconds = min(self._waiting.values()) - time.monotonic() if self._waiting else None
                if seconds is None or seconds > 0:
                    self._changed.wait(seconds)
                    continue
                now = time.monotonic()
                over = [zone for zone, due in self._waiting.items() if due <= now]
                for zone in over:
                    del self._waiting[zone]
                    self._due[zone] = now + self._every
            for zone in over:
                self._received(zone)


class _Budget:
    """Limits processor time: entering waits while the budget is used up, and the kernel drops excess datagrams."""

    def __init__(self, share: float, burst: float) -> None:
        self._share = share
        self._burst = burst
        self._left = burst
        self._at = time.monotonic()
        self._began = threading.local()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            now = time.monotonic()
            self._left = min(self._burst, self._left + (now - self._at) * self._share)
            self._at = now
            wait = -self._left / self._share if self._left < 0 else 0.0
        if wait:
            time.sleep(min(wait, _PATIENCE))
        self._began.at = time.thread_time()

    def __exit__(self, *error: object) -> None:
        used = time.thread_time() - self._began.at
        with self._lock:
            self._left -= used


def _addresses(servers: Iterable[Server]) -> Iterator[str]:
    for server in servers:
        with contextlib.suppress(OSError, UnicodeError):
            yield from (address_of(str(item[4][0])) for item in socket.getaddrinfo(server.host, None))


def _tcp_server(
    family: socket.AddressFamily, where: tuple[str, int], handler: type[socketserver.BaseRequestHandler]
) -> socketserver.BaseServer:
    class Tcp(Bounded, socketserver.TCPServer):
        address_family = family
        allow_reuse_address = True

    return Tcp(where, handler, limits=Limits(connections=64, request_within=_PATIENCE))


def _udp_server(
    family: socket.AddressFamily, where: tuple[str, int], handler: type[socketserver.BaseRequestHandler]
) -> socketserver.BaseServer:
    class Udp(socketserver.UDPServer):
        address_family = family
        max_packet_size = _LARGEST

        def handle_error(self, request: object, client_address: object) -> None:
            _log.debug("answering failed", exc_info=True, extra={"fields": {"client": str(client_address)}})

    return Udp(where, handler)


_Respond = Callable[[bytes, str], bytes | None]


def _over_udp(respond: _Respond) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            octets, sock = self.request
            response = respond(octets, self.client_address[0])
            if response is not None:
                with contextlib.suppress(OSError):
                    sock.sendto(response, self.client_address)

    return Handler


def _over_tcp(respond: _Respond) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        timeout = _PATIENCE

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while len(head := self.rfile.read(2)) == 2:
                    length = int.from_bytes(head, "big")
                    if length > _LARGEST:
                        return
                    response = respond(self.rfile.read(length), self.client_address[0])
                    if response is None:
                        return
                    self.wfile.write(len(response).to_bytes(2, "big") + response)

    return Handler
