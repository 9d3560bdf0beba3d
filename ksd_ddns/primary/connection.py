"""A TCP connection to a primary: messages with their length in front (RFC 1035, 4.2.2; RFC 7766).

All waiting has a deadline. What the kernel and the peer can do wrong comes out as Unreachable.
"""

import re
import select
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ksd_ddns import heartbeat
from ksd_ddns.errors import SettingsError, Unreachable
from ksd_ddns.primary.files import Followed

_CHUNK = 1 << 18

WHOLE_WITHIN = 10
"""How many times the longest silence a message may take from its beginning to its end."""

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


class Connection:
    """One connection; `timeout` in seconds is the longest silence of the peer that is waited out."""

    def __init__(self, server: Server, *, timeout: float, tls: Tls | None = None) -> None:
        self.server = server
        self.timeout = timeout
        self._buffer = bytearray()
        self._start = 0
        self._ended: Unreachable | None = None
        self._secure = tls is not None
        self._heard = False
        try:
            heartbeat.beat(ahead=_CONNECTED_WITHIN)
            self._socket = socket.create_connection((server.host, server.port), timeout)
        except (OSError, UnicodeError) as e:
            raise Unreachable(f"{server} cannot be reached: {_reason(e)}{_cure(e)}") from e
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
            raise Unreachable(
                f"the certificate of {self.server} is not accepted for {tls.hostname}: {why}; {cure}"
            ) from e
        except OSError as e:
            plain.close()
            raise Unreachable(
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

    def send(self, wire: bytes) -> None:
        """Send one message."""
        unsent = memoryview(len(wire).to_bytes(2, "big") + wire)
        deadline = time.monotonic() + self.timeout
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
                heartbeat.beat()
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as e:
                heartbeat.beat(ahead=self.timeout)
                event = select.POLLIN if isinstance(e, ssl.SSLWantReadError) else select.POLLOUT
                if not self._wait(event, deadline - time.monotonic()):
                    raise Unreachable(f"{self.server} takes no data for {self.timeout:g} s{_SILENT}") from None
            except OSError as e:
                raise self._cut(e) from e

    def receive(self) -> bytes:
        """Return the next message, waiting for it. Raises Unreachable after `timeout` seconds of silence.

        Who lets it trickle is not waited for either.
        """
        deadline = time.monotonic() + WHOLE_WITHIN * self.timeout
        while (message := self._take()) is None:
            if self._ended is not None:
                raise self._ended
            if not self._fill():
                heartbeat.beat(ahead=self.timeout)
                if not self._wait(select.POLLIN, self.timeout):
                    raise Unreachable(f"{self.server} did not answer within {self.timeout:g} s{_SILENT}")
                if time.monotonic() > deadline:
                    seconds = WHOLE_WITHIN * self.timeout
                    raise Unreachable(f"{self.server} brought no whole message to an end in {seconds:g} s{_SILENT}")
                continue
        return message

    def drain(self) -> None:
        """Take what has arrived out of the kernel, without waiting: a server may cut a reader that is slow."""
        try:
            while self._ended is None and self._fill():
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

    def _cut(self, error: OSError) -> Unreachable:
        return Unreachable(f"{self.server} cut the connection: {_reason(error)}{self._doubt()}")

    def _closed(self) -> Unreachable:
        middle = " in the middle of a message" if len(self._buffer) > self._start else ""
        return Unreachable(f"{self.server} closed the connection{middle}{self._doubt()}")

    def _doubt(self) -> str:
        """Return what may be wrong where a server hangs up, above all before it has said anything."""
        if self._heard:
            return "; look at its log"
        if self._secure:
            # With TLS 1.3 our side of the handshake is over before the server has seen our certificate, or none.
            return "; does it want a certificate of ours, from a CA that it knows (DNS_TLS_CERT)?"
        return "; does it want TLS (DNS_TLS=true)?"

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
