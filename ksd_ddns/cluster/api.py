# SPDX-License-Identifier: Apache-2.0
"""The API server: authenticated requests, bodies as bytes.

Every failure is raised as SourceError, with its cause and its cure. No library's message is passed on: it may quote a
header with a token, or the password of a proxy.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import urllib3

from ksd_ddns.cluster import kubeconfig as configuration
from ksd_ddns.cluster import problems
from ksd_ddns.cluster.counts import Counts
from ksd_ddns.cluster.credentials import acquire
from ksd_ddns.cluster.deadline import Deadline, current_deadline
from ksd_ddns.cluster.http_errors import HttpErrors
from ksd_ddns.cluster.kubeconfig import SERVICE_ACCOUNT, Access
from ksd_ddns.cluster.timing import ApiTiming
from ksd_ddns.cluster.transport import Transport
from ksd_ddns.errors import SourceError

_LONGEST = 500  # characters of a server's message that are passed on

_FAILURES = (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)
"""What urllib3 and the libraries below it raise."""

_log = logging.getLogger(__name__)


class Broken(SourceError):
    """A stream was cut or went silent; it continues with a new request."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    code: int = 0


class Api:
    """An API server and our credential for it; safe to use from several threads.

    `service_account` is the directory of a pod's token and CA, `kubeconfig` a file that replaces every other
    configuration. Tokens and certificates are read again when their files change, and when the server refuses them.
    Raises SourceError when no cluster is configured; a credential plugin runs with the first request. `counts` may be
    shared with other connections.
    """

    def __init__(
        self,
        *,
        kubeconfig: str | None = None,
        service_account: Path = SERVICE_ACCOUNT,
        timing: ApiTiming | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.counts = counts or Counts()
        self._timing = timing or ApiTiming()
        self._connections = _Connections(kubeconfig, service_account, renew_every=self._timing.renew_every)
        self._http_errors = HttpErrors(self._timing)

    @property
    def host(self) -> str:
        """The URL of the API server."""
        return self._connections.host

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Set a total deadline of `seconds` for all requests of this thread in the block."""
        with Deadline(seconds):
            yield

    def get(self, path: str, query: Mapping[str, object]) -> bytes:
        """Return the body of a GET. Raises SourceError."""
        return self._exchange("GET", path, query)

    def send(self, method: str, path: str, body: Mapping[str, object]) -> bytes:
        """Send `body` as JSON with POST or PUT; return the body of the answer. Raises SourceError."""
        return self._exchange(method, path, {}, msgspec.json.encode(body))

    def stream(self, path: str, query: Mapping[str, object], *, silence: float) -> Iterator[bytes]:
        """Send a GET; return the lines of its answer as they arrive.

        Raises SourceError at once when the server refuses the request; the lines raise Broken when nothing arrives for
        `silence` seconds, or the answer is cut.
        """
        with self._translated(path):
            response, transport = self._request("GET", path, query, silence)
            refusal = b"" if response.status == 200 else response.data
        self._check(response, refusal, path, transport)
        return self._lines(response, path)

    def http_error(self, code: int, message: str, path: str, *, after: str | None = None) -> SourceError:
        """Return the error for a request for `path` that was answered with the HTTP status `code`.

        `message` is the server's, `after` the Retry-After.
        """
        transport = self._connections.latest
        for secret in transport.secrets if transport is not None else ():
            message = message.replace(secret, "***")
        return self._http_errors.error(
            code,
            " ".join(message.split())[:_LONGEST],
            server=self.host,
            path=path,
            impersonated=transport.access.user.as_user if transport is not None else None,
            after=after,
        )

    def _exchange(self, method: str, path: str, query: Mapping[str, object], body: bytes | None = None) -> bytes:
        with self._translated(path):
            response, transport = self._request(method, path, query, self._timing.read, body)
            answer = response.data
        self._check(response, answer, path, transport)
        return answer

    def _lines(self, response: urllib3.BaseHTTPResponse, path: str) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in response.stream(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from filter(None, lines)
        except _FAILURES:
            raise Broken(f"the API server {self.host} cut its answer to {path}, or went silent") from None
        finally:
            # The connection carries the rest of this watch, so it cannot be used again.
            response.close()
            response.release_conn()

    def _request(
        self, method: str, path: str, query: Mapping[str, object], silence: float, body: bytes | None = None
    ) -> tuple[urllib3.BaseHTTPResponse, Transport]:
        """Send a request; if the server refuses our credential, send it again with a new one if there is one."""
        text = urlencode([(key, value) for key, value in query.items() if value not in {"", None}])
        transport = self._connections.current()
        response = self._send(transport, method, path, text, body, silence)
        if response.status == 401 and self._connections.refuse(transport):
            response.drain_conn()
            transport = self._connections.current()
            response = self._send(transport, method, path, text, body, silence)
            if response.status == 401:
                self._connections.refuse(transport)
        return response, transport

    def _send(
        self, transport: Transport, method: str, path: str, query: str, body: bytes | None, silence: float
    ) -> urllib3.BaseHTTPResponse:
        deadline = current_deadline()
        if deadline is not None and deadline.passed:
            raise self._late(deadline)
        status = None
        try:
            response = transport.request(method, path, query=query, body=body, timeout=(self._timing.connect, silence))
            status = response.status
        except (urllib3.exceptions.SSLError, ValueError):
            # Most likely a certificate was replaced: the next request reads it again.
            self._connections.distrust(transport)
            raise
        finally:
            self.counts.count_request(status)
        return response

    def _late(self, deadline: Deadline) -> SourceError:
        return SourceError(f"the API server {self.host} did not answer within {deadline.seconds:g} s")

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as e:
            deadline = current_deadline()
            if deadline is not None and deadline.passed:
                raise self._late(deadline) from None
            transport = self._connections.latest
            # Not chained: printing the chain would print the library's message.
            raise SourceError(
                f"{problems.explain(e, self.host, transport.proxy if transport is not None else None)} ({path})"
            ) from None

    def _check(self, response: urllib3.BaseHTTPResponse, body: bytes, path: str, transport: Transport) -> None:
        """Raise SourceError unless the answer is a success."""
        code = response.status
        if 200 <= code < 300:
            return
        if code == 407 and transport.proxy is not None:
            raise SourceError(problems.proxy_refusal(code, self.host, transport.proxy))
        try:
            message = msgspec.json.decode(body, type=_Status).message
        except msgspec.DecodeError:
            message = ""  # from a proxy or a login page, which may quote what it received
        raise self.http_error(code, message, path, after=response.headers.get("Retry-After"))


class _Connections:
    """The connections to the API server, replaced when the configuration or the credential changes.

    `latest` are the last connections that were made, None before the first request. `host` is the server's URL.
    """

    def __init__(self, kubeconfig: str | None, service_account: Path, *, renew_every: float) -> None:
        self._kubeconfig = kubeconfig
        self._service_account = service_account
        self._renew_every = renew_every
        self._lock = threading.Lock()
        self._versions: _Versions = ()
        self._refused = False
        self._renewed_at = float("-inf")
        self._failure: tuple[float, SourceError] | None = None
        self.latest: Transport | None = None
        access = self._access()
        self.host = access.server
        if access.user.execute is None:
            self._renew(access)

    def current(self) -> Transport:
        """Return connections that match the configuration now. Raises SourceError."""
        with self._lock:
            made = self.latest
            if made is not None and not self._refused and not made.credential.expired:
                return made if self._versions == _versions(made.access) else self._renew_or_keep(made)
            if self._failure is not None and time.monotonic() < self._failure[0] + self._renew_every:
                raise self._failure[1]
            access = self._access()
            self._failure = None
            try:
                return self._renew(access)
            except SourceError as e:
                if access.user.execute is not None:
                    self._failure = (time.monotonic(), e)  # a plugin is expensive: it does not run for each request
                raise

    def refuse(self, transport: Transport) -> bool:
        """Record that the server refuses the credential of `transport`; return whether to try another one now."""
        with self._lock:
            if transport is not self.latest:
                return True  # another thread has replaced it
            now = time.monotonic()
            if now < self._renewed_at + self._renew_every:
                # The next request reads files again; a plugin does not run that often.
                self._refused = transport.access.user.execute is None
                return False
            self._renewed_at = now
            self._refused = True
            return True

    def distrust(self, transport: Transport) -> None:
        """Make the next request read the configuration again."""
        with self._lock:
            self._refused = self._refused or transport is self.latest

    def _access(self) -> Access:
        return configuration.find(kubeconfig=self._kubeconfig, service_account=self._service_account)

    def _renew(self, access: Access) -> Transport:
        versions = _versions(access)
        transport = Transport(access, acquire(access))
        if self.latest is not None:
            self.latest.close()
        self.latest, self._versions, self._refused = transport, versions, False
        self.host = access.server
        return transport

    def _renew_or_keep(self, made: Transport) -> Transport:
        """Return connections made with the changed files; if those are unusable, the previous connections."""
        try:
            return self._renew(self._access())
        except SourceError as e:
            # Perhaps a file is still being written. The previous content is good until the server refuses it.
            _log.warning(
                "cluster configuration changed and is not usable, keeping the previous one",
                extra={"fields": {"error": str(e)}},
            )
            self._versions = _versions(made.access)
            return made


_Versions = tuple[tuple[int, int, int] | None, ...]


def _versions(access: Access) -> _Versions:
    """Return a value that differs after one of the files of `access` was written."""
    return tuple(_version(path) for path in access.files)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
