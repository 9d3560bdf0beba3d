"""A TCP connection to a primary: messages with their length in front (RFC 1035, 4.2.2; RFC 7766).

Timeouts measure progress: a peer times out after a silence in which no octet moved in either direction. A slow link is
given the time that the octets under way need, as far as exchanges have shown how fast it is. A peer that trickles is
stopped by an overall deadline. What the kernel and the peer can do wrong is raised as Lost.
"""

import fcntl
import re
import select
import socket
import ssl
import sys
import termios
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ksd_ddns import heartbeat
from ksd_ddns.errors import SettingsError, Unreachable
from ksd_ddns.primary.files import Followed

_CHUNK = 1 << 18

WHOLE_WITHIN = 10
"""How many timeouts one message may take from its first octet to its last."""

SLOWEST = 1_000
"""Octets per second that a link must carry in the long run."""

SILENT_BLOCK = 32 * 1024
"""Octets under way for which one more timeout is allowed: links have buffers, so octets arrive in lumps."""

SMALL = 4 * 1024
"""Octets that cross any link at once."""

LARGE_ANSWER = 64 * 1024
"""Octets of a large answer that may be under way without any of them having arrived."""

ALONE = 1000
"""How many requests are sent one at a time to a server that hung up on several at once, twice."""

FIRST_WINDOW, SMALLEST_WINDOW, LARGEST_WINDOW = 64 * 1024, 4 * 1024, 1024 * 1024
"""Octets of requests that may be under way on a link: at first, at least and at most."""

READ_AHEAD = 64 * 1024 * 1024
"""Octets that are taken from the kernel before they are used."""

_STEP = 0.25
"""Seconds between two looks at how much of what we sent has left."""

_CONNECTED_WITHIN = 300.0
"""Seconds that name servers which do not answer may take, each for each search domain, and then every address."""

_PLACE = re.compile(r" \(_ssl\.c:\d+\)\Z")  # where in Python's source, which says nothing to anybody
_SILENT = "; look at its log, or give it longer (DNS_TIMEOUT)"
_OTHER_NAME = "set DNS_TLS_HOSTNAME to a name that stands in it"
_OTHER_CA = "set DNS_TLS_CA to the CA that signed it, and let the server send the certificates in between"
_CERTIFICATE_CURES = {  # by the codes of OpenSSL, X509_V_ERR_…
    9: "look at the clock of this machine, which says that it is not valid yet",
    10: "renew it on the server, and look at the clock of this machine",
    62: _OTHER_NAME,
    64: _OTHER_NAME,  # where it is an address
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a primary listens: a name or an address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to a primary (RFC 9103): the CAs and our certificate, and the name that its certificate must be for."""

    hostname: str
    _context: Followed[ssl.SSLContext]

    @property
    def context(self) -> ssl.SSLContext:
        """What the next connection is made with: certificates are read again when their files change."""
        return self._context.latest()


def tls(hostname: str, *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> Tls:
    """Return TLS to a primary whose certificate is for `hostname`, from a CA of the file `ca` or the system's.

    `certificate` and `key` are ours, in PEM, where the primary asks for one. Raises SettingsError naming the file.
    """

    def load() -> ssl.SSLContext:
        return _context(ca, certificate, key)

    return Tls(hostname, Followed(f"TLS to {hostname}", load, (ca, certificate, key)))


def _context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as e:
        raise SettingsError(f"DNS_TLS_CA: {ca} cannot be used: {_reason(e)}; it must hold certificates in PEM") from e
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # set by Python 3.13: rejects CAs that all older versions accept
    context.set_alpn_protocols(["dot"])  # RFC 9103, 7.1
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, _no_password)
        except OSError as e:
            files = f"{certificate} and {key}" if key else str(certificate)
            raise SettingsError(
                f"DNS_TLS_CERT, DNS_TLS_KEY: {files} cannot be used: {_reason(e)}; certificate and key must be in PEM, "
                "belong together, and be readable"
            ) from e
    return context


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal, and waits.
    raise SettingsError("DNS_TLS_KEY: the private key is encrypted, and nobody is there to type its password in")


class Lost(Unreachable):
    """There is no connection to the server, or it broke."""


class Silent(Lost):
    """The server accepts connections and does not answer in time."""


@dataclass(slots=True)
class Link:
    """How fast a link is, as exchanges have shown; outlives a connection.

    `rate` is in octets per second, 0 while unknown. `window` is how many octets of requests should be under way, and
    `alone` how many more requests are sent one at a time. For the next `suspect` requests the server is known to have
    hung up on several at once. `heard_at` is when the last message came.
    """

    rate: float = 0.0
    window: int = FIRST_WINDOW
    alone: int = 0
    suspect: int = 0
    heard_at: float = float("-inf")

    def measured(self, octets: int, seconds: float) -> None:
        """Record that `octets` crossed the link in `seconds`, in either direction."""
        if octets >= SMALL and seconds > 0:
            self.rate = octets / seconds

    def answered(self, ahead: int, seconds: float, timeout: float) -> None:
        """Adapt the window to a request that was answered after `seconds`, with `ahead` octets under way."""
        self.alone = max(self.alone - 1, 0)
        self.suspect = max(self.suspect - 1, 0)
        if ahead < self.window // 2:
            return
        if seconds < timeout / 5:
            self.window = min(2 * self.window, LARGEST_WINDOW)
        elif seconds > timeout:
            self.window = max(self.window // 2, SMALLEST_WINDOW)

    def narrow(self) -> None:
        """Send fewer requests at once, since the server hung up on several: in the end one at a time.

        Knot 3.4 and 3.5 close a TLS connection when an update arrives while they process another one.
        """
        if self.suspect:
            self.alone = ALONE
        self.suspect = 2 * ALONE
        self.window = SMALLEST_WINDOW

    def allowed(self, octets: int, timeout: float) -> float:
        """Return how many seconds of silence are normal with `octets` under way."""
        if octets < SMALL:
            return timeout
        return timeout + octets / max(self.rate / 8, SILENT_BLOCK / timeout)


class Connection:
    """One connection; a peer that is silent for `timeout` seconds is given up, a slow link is not (see Link)."""

    def __init__(self, server: Server, *, timeout: float, tls: Tls | None = None, link: Link | None = None) -> None:
        self.server = server
        self.timeout = timeout
        self.link = link or Link()
        self._heard = False
        self.in_flight = 0
        """Octets of requests that are not answered."""
        self._requests: deque[tuple[int, int, float]] = deque()  # octets, octets under way then, time
        self._moved = 0
        self._began = 0.0
        self._buffer = bytearray()
        self._start = 0
        self._ended: Unreachable | None = None
        self._secure = tls is not None
        try:
            heartbeat.beat(ahead=_CONNECTED_WITHIN)
            self._socket = socket.create_connection((server.host, server.port), timeout)
        except (OSError, UnicodeError) as e:
            raise Lost(f"{server} cannot be reached: {_reason(e)}{_cure(e)}") from e
        if tls is not None:
            self._socket = self._secured(self._socket, tls)
        self._socket.setblocking(False)
        # A lone update must not wait for the acknowledgement of the message before it.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()

    def _secured(self, plain: socket.socket, tls: Tls) -> socket.socket:
        try:
            return tls.context.wrap_socket(plain, server_hostname=tls.hostname)
        except ssl.SSLCertVerificationError as e:
            plain.close()
            cure = _CERTIFICATE_CURES.get(e.verify_code, _OTHER_CA)
            why = e.verify_message.rstrip(".")
            raise Lost(f"the certificate of {self.server} is not accepted for {tls.hostname}: {why}; {cure}") from e
        except OSError as e:
            plain.close()
            raise Lost(
                f"no TLS with {self.server}: {_reason(e)}; does it speak TLS on this port (DNS_PORT), and accept our "
                "certificate (DNS_TLS_CERT)?"
            ) from e

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; harmless when it is closed already."""
        self._socket.close()

    @property
    def usable(self) -> bool:
        """Whether the peer still listens. To be asked between exchanges only, when nothing is to be read."""
        try:
            # Readable is what a peer has closed; with TLS also a session ticket, which is no data.
            return not self._wait(select.POLLIN, 0) or not self._fill()
        except (Unreachable, OSError, ValueError):
            return False

    @property
    def room(self) -> bool:
        """Whether another request should be sent before the ones under way are answered."""
        return not self._requests if self.link.alone else self.in_flight < self.link.window

    def send(self, wire: bytes) -> None:
        """Send one message. Raises Silent where the peer takes no octet, Lost where the connection breaks."""
        size = len(wire) + 2
        now = time.monotonic()
        if not self._requests:
            self._began, self._moved = now, 0
        self.in_flight += size
        self._requests.append((size, self.in_flight, now))
        unsent = memoryview(len(wire).to_bytes(2, "big") + wire)
        whole = self._whole()
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
                heartbeat.beat()
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as e:
                event = select.POLLIN if isinstance(e, ssl.SSLWantReadError) else select.POLLOUT
                allowed = self._allowed(0)
                if not self._await(event, allowed, now + whole):
                    if time.monotonic() >= now + whole:
                        raise Silent(f"{self.server} took no complete message within {whole:.3g} s{_SILENT}") from None
                    raise Silent(f"{self.server} takes no data for {allowed:.3g} s{_SILENT}") from None
            except OSError as e:
                raise self._cut(e) from e

    def receive(self, *, large: bool = False) -> bytes:
        """Return the next message, waiting for it. Raises Silent after a silence, Lost where the connection breaks.

        The silence is `timeout` seconds, more while many octets are under way or are expected (`large`).
        """
        deadline = whole = 0.0
        while (message := self._take()) is None:
            if self._ended is not None:
                raise self._ended
            if self._fill():
                continue
            if not deadline:
                whole = self._whole()
                deadline = time.monotonic() + whole
            allowed = self._allowed(LARGE_ANSWER if large else 0)
            if not self._await(select.POLLIN, allowed, deadline):
                if time.monotonic() >= deadline:
                    raise Silent(f"no complete message from {self.server} within {whole:.3g} s{_SILENT}")
                raise Silent(f"{self.server} did not answer within {allowed:.3g} s{_SILENT}")
        self._count(len(message) + 2)
        return message

    def _whole(self) -> float:
        """Return how many seconds a message may take, with all requests that are under way before it."""
        return WHOLE_WITHIN * self.timeout + (self.in_flight / SLOWEST if self.in_flight >= SMALL else 0.0)

    def _allowed(self, expected: int) -> float:
        return self.link.allowed(min(self.in_flight, 2 * FIRST_WINDOW) + expected, self.timeout)

    def _count(self, octets: int) -> None:
        """Account for a message that has arrived: the answer to the oldest request, or more of the same answer."""
        now = self.link.heard_at = time.monotonic()
        self._moved += octets
        if self._requests:
            size, ahead, at = self._requests.popleft()
            self.in_flight -= size
            self._moved += size
            self.link.answered(ahead, now - at, self.timeout)
        self.link.measured(self._moved, now - self._began)

    def drain(self) -> None:
        """Take what has arrived out of the kernel, without waiting: a server may cut a reader that is slow."""
        try:
            while self._ended is None and len(self._buffer) < READ_AHEAD and self._fill():
                pass
        except Unreachable as e:
            self._ended = e  # told when it is missed: what arrived before is whole

    def _take(self) -> bytes | None:
        start = self._start + 2
        buffer = self._buffer
        if len(buffer) < start:
            return None
        end = start + int.from_bytes(buffer[start - 2 : start], "big")
        if len(buffer) < end:
            return None
        message = bytes(memoryview(buffer)[start:end])
        self._start = end
        if end == len(buffer):
            buffer.clear()
            self._start = 0
        elif end > 4 * _CHUNK:
            del buffer[:end]
            self._start = 0
        return message

    def _fill(self) -> bool:
        """Read once without waiting; return whether anything came."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError as e:
            raise self._cut(e) from e
        if not chunk:
            raise self._closed()
        self._buffer += chunk
        self._heard = True
        heartbeat.beat()
        return True

    def _cut(self, error: OSError) -> Lost:
        self._narrow()
        return Lost(f"{self.server} cut the connection: {_reason(error)}{self._doubt()}")

    def _closed(self) -> Lost:
        self._narrow()
        middle = " in the middle of a message" if len(self._buffer) > self._start else ""
        return Lost(f"{self.server} closed the connection{middle}{self._doubt()}")

    def _narrow(self) -> None:
        """Let fewer requests be under way: a server that hangs up may have had too many at once."""
        if len(self._requests) > 1:
            self.link.narrow()

    def _doubt(self) -> str:
        """Return what may be wrong where a server hangs up, above all before it has said anything."""
        if self._heard:
            return "; look at its log"
        if self._secure:
            # With TLS 1.3 our side of the handshake is over before the server has seen our certificate, or none.
            return "; does it want a certificate of ours, from a CA that it knows (DNS_TLS_CERT)?"
        return "; does it want TLS (DNS_TLS=true)?"

    def _await(self, event: int, allowed: float, deadline: float) -> bool:
        """Wait for `event`; return whether it came before `deadline`, and before a silence of `allowed` seconds.

        Octets of ours that leave the kernel are no silence.
        """
        heartbeat.beat(ahead=allowed)
        unsent = self._unsent()
        until = time.monotonic() + allowed
        while True:
            left = min(until, deadline) - time.monotonic()
            found = self._wait(event, min(left, _STEP) if unsent else left)
            now = time.monotonic()
            if found or now >= deadline:
                return now < deadline
            before, unsent = unsent, self._unsent()
            if unsent < before:
                until = now + allowed
            elif now >= until:
                return False

    def _unsent(self) -> int:
        """Return how many octets of ours the peer's kernel has not acknowledged, as far as our kernel says it."""
        try:
            found = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return 0
        return int.from_bytes(found, sys.byteorder)

    def _wait(self, event: int, seconds: float) -> bool:
        self._poll.register(self._socket, event)
        return bool(self._poll.poll(max(0.0, seconds) * 1000))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer to the connection"
    return _PLACE.sub("", str(getattr(error, "strerror", None) or error))


def _cure(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "; does a primary listen there on TCP? Set DNS_SERVER and DNS_PORT"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "; set DNS_SERVER to a name that resolves, or to an address"
    return "; is DNS_SERVER right, and TCP let through to it?"
