"""The API server: requests with what the configuration says who we are, bodies as bytes.

Whatever goes wrong comes out as SourceError, with its cause and its cure. No library's message gets past here: it may
quote a header with a token, or the password of a proxy.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
import tenacity
import urllib3

from ksd_ddns.cluster import kubeconfig as configuration
from ksd_ddns.cluster import problems
from ksd_ddns.cluster.credentials import acquire
from ksd_ddns.cluster.kubeconfig import SERVICE_ACCOUNT, Access
from ksd_ddns.cluster.transport import Cutoff, Transport, current_cutoff
from ksd_ddns.errors import SourceError

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0

LONGEST_WAIT = 60.0
"""Seconds: a server that asks to wait longer is asked again all the same."""

FORBIDDEN_FOR = 30.0
"""Seconds for which a request must be forbidden before a permission is missing: a server that starts forbids all."""

FORBIDDEN_AGAIN = 60.0
"""Seconds between two refusals after which the second one counts as the first again."""

RENEW_EVERY = 10.0
"""Seconds between two attempts to get another credential for one that is refused: a plugin may run for it."""

_NAMESPACES = "/api/v1/namespaces/"
_LEASES = "/apis/coordination.k8s.io/"
_GRANTS = (
    ("/api/v1/namespaces/kube-system", "get of namespaces to this account (ClusterRole secondary), or set OWNER_ID"),
    ("/api/v1/namespaces/", "create of events to this account (ClusterRole secondary)"),
    (_LEASES, "get, create and update of leases in its own namespace to this account (Role secondary)"),
    ("/apis/kubevirt.io/", "get, list and watch of virtualmachineinstances to this account (ClusterRole secondary)"),
)
"""What is to be granted where a request is forbidden, by the path that it was for."""

_LONGEST = 500  # characters of the server's own words that are passed on

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Forbidden(SourceError):
    """403 Forbidden. `cure` is what to grant; it is part of the message only when the server keeps refusing."""

    def __init__(self, message: str, *, cure: str, lasting: bool) -> None:
        super().__init__(f"{message}: {cure}" if lasting else f"{message}; the server may still be starting, retrying")
        self._lasting = f"{message}: {cure}"

    def lasting(self) -> SourceError:
        """Return the error of a server that keeps refusing."""
        return SourceError(self._lasting)


class Expired(SourceError):
    """410 VmiDeleted: the resource version, or the continue token, is too old; only a new list helps."""


class Conflict(SourceError):
    """409 Conflict: somebody else changed or made the object first."""


class Missing(SourceError):
    """404 Not Found of a single object."""


class Busy(SourceError):
    """429 Too Many Requests, or the server is overloaded; `after` is how many seconds it asks to wait."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.after = after


class Broken(SourceError):
    """A stream that had begun was cut, or went silent: it goes on with a new request."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    code: int = 0


class _Meta(msgspec.Struct):
    uid: str


class _Namespace(msgspec.Struct):
    metadata: _Meta


class Api:
    """An API server and who we are there; safe to use from several threads.

    `service_account` is where a pod finds its token and CA, `kubeconfig` a file that is used instead of all others.
    Tokens and certificates are read again when their files change, and when the server refuses them. Raises SourceError
    where no cluster is configured; a credential plugin runs with the first request.
    """

    def __init__(self, *, kubeconfig: str | None = None, service_account: Path = SERVICE_ACCOUNT) -> None:
        self._kubeconfig = kubeconfig
        self._service_account = service_account
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._versions: _Versions = ()
        self._refused = False
        self._renewed_at = float("-inf")
        self._failure: tuple[float, SourceError] | None = None
        self._forbidden_at: dict[str, tuple[float, float]] = {}
        access = self._access()
        self.host = access.server
        if access.user.execute is None:
            self._renew(access)

    def _access(self) -> Access:
        return configuration.find(kubeconfig=self._kubeconfig, service_account=self._service_account)

    def _renew(self, access: Access) -> Transport:
        versions = _versions(access)
        transport = Transport(access, acquire(access))
        if self._transport is not None:
            self._transport.close()
        self._transport, self._versions, self._refused = transport, versions, False
        self.host = access.server
        return transport

    def _current(self) -> Transport:
        """Return connections made with what the configuration says now."""
        with self._lock:
            made = self._transport
            if made is not None and not self._refused and not made.credential.expired:
                return made if self._versions == _versions(made.access) else self._changed(made)
            if self._failure is not None and time.monotonic() < self._failure[0] + RENEW_EVERY:
                raise self._failure[1]
            access = self._access()
            self._failure = None
            try:
                return self._renew(access)
            except SourceError as e:
                if access.user.execute is not None:
                    self._failure = (time.monotonic(), e)  # a plugin costs something: it is not run for each request
                raise

    def _changed(self, made: Transport) -> Transport:
        """Return connections made with files that were written again; where they cannot be used, those of before."""
        try:
            return self._renew(self._access())
        except SourceError as e:
            # Perhaps still being written. What was read before is good until the server refuses it.
            _log.warning("cluster configuration changed and is not usable, keeping the previous one: %s", e)
            self._versions = _versions(made.access)
            return made

    def _refuse(self, transport: Transport) -> bool:
        """Note that the server refuses the credential of `transport`; return whether another one is worth a try now."""
        with self._lock:
            if transport is not self._transport:
                return True  # another thread was quicker
            now = time.monotonic()
            if now < self._renewed_at + RENEW_EVERY:
                # Files are read again at the next request; a plugin is not run as often as that.
                self._refused = transport.access.user.execute is None
                return False
            self._renewed_at = now
            self._refused = True
            return True

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let all requests of this thread in the block together take no longer than `seconds`."""
        with Cutoff(seconds):
            yield

    def get(self, path: str, query: Mapping[str, object]) -> bytes:
        """Return the body of a GET. Raises SourceError."""
        return self._exchange("GET", path, query)

    def send(self, method: str, path: str, body: Mapping[str, object]) -> bytes:
        """Return the body of the answer to a POST or PUT of `body` as JSON. Raises SourceError."""
        return self._exchange(method, path, {}, msgspec.json.encode(body))

    def _exchange(self, method: str, path: str, query: Mapping[str, object], body: bytes | None = None) -> bytes:
        with self._translated(path):
            response, transport = self._request(method, path, query, READ_TIMEOUT, body)
            answer = response.data
        self._judge(response, answer, path, transport)
        return answer

    def stream(self, path: str, query: Mapping[str, object], *, silence: float) -> Iterator[bytes]:
        """Send a GET, and return the lines of its answer as they come.

        Raises SourceError at once where the server refuses it; the lines raise Broken where the server is silent for
        `silence` seconds, or cuts its answer.
        """
        with self._translated(path):
            response, transport = self._request("GET", path, query, silence)
            refusal = b"" if response.status == 200 else response.data
        self._judge(response, refusal, path, transport)
        return self._lines(response, path)

    def _lines(self, response: urllib3.BaseHTTPResponse, path: str) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in response.stream(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from filter(None, lines)
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError):
            raise Broken(f"the API server {self.host} cut its answer to {path}, or went silent") from None
        finally:
            # The connection carries the rest of this watch: it is of no use to anybody else.
            response.close()
            response.release_conn()

    def _request(
        self, method: str, path: str, query: Mapping[str, object], silence: float, body: bytes | None = None
    ) -> tuple[urllib3.BaseHTTPResponse, Transport]:
        """Send a request; one that is refused for our credential is sent again with another one, if there is."""
        text = urlencode([(key, value) for key, value in query.items() if value not in {"", None}])
        timeout = (CONNECT_TIMEOUT, silence)
        transport = self._current()
        response = self._send(transport, method, path, text, body, timeout)
        if response.status == 401 and self._refuse(transport):
            response.drain_conn()
            transport = self._current()
            response = self._send(transport, method, path, text, body, timeout)
            if response.status == 401:
                self._refuse(transport)
        return response, transport

    def _send(
        self,
        transport: Transport,
        method: str,
        path: str,
        query: str,
        body: bytes | None,
        timeout: tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        cutoff = current_cutoff()
        if cutoff is not None and cutoff.passed:
            raise SourceError(f"the API server {self.host} did not answer within {cutoff.seconds:g} s")
        try:
            return transport.request(method, path, query=query, body=body, timeout=timeout)
        except (urllib3.exceptions.SSLError, ValueError):
            # A certificate that was replaced, most likely: the next request reads it again.
            with self._lock:
                self._refused = self._refused or transport is self._transport
            raise

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as e:
            cutoff = current_cutoff()
            if cutoff is not None and cutoff.passed:
                raise SourceError(f"the API server {self.host} did not answer within {cutoff.seconds:g} s") from None
            proxy = self._transport.proxy if self._transport is not None else None
            # Not chained: whoever shows the chain would show what the library says.
            raise SourceError(f"{problems.explain(e, self.host, proxy)} ({path})") from None

    def _judge(self, response: urllib3.BaseHTTPResponse, body: bytes, path: str, transport: Transport) -> None:
        code = response.status
        if 200 <= code < 300:
            return
        if code == 407 and transport.proxy is not None:
            raise SourceError(problems.proxy_refusal(code, self.host, transport.proxy))
        try:
            message = msgspec.json.decode(body, type=_Status).message
        except msgspec.DecodeError:
            message = ""  # of a proxy or a login page, which may quote what it was sent
        raise self.refusal(code, message, path, after=response.headers.get("Retry-After"))

    def _clean(self, message: str) -> str:
        """Return the server's words in one line, without any secret of ours."""
        for secret in self._transport.secrets if self._transport is not None else ():
            message = message.replace(secret, "***")
        return " ".join(message.split())[:_LONGEST]

    def _missing(self, message: str, path: str) -> SourceError:
        if path.startswith(_LEASES):
            return Missing(f"{path}: {message}")
        cure = (
            "is it the API server of a cluster? Set OWNER_ID where it is"
            if path.startswith(_NAMESPACES)
            else "KubeVirt is not installed there; install it, and this goes on by itself"
        )
        return SourceError(f"the API server {self.host} knows no {path} (404): {cure}")

    def refusal(self, code: int, message: str, path: str, *, after: str | None = None) -> SourceError:
        """Return what it means that a request for `path` was answered with the HTTP status `code`.

        `after` is the Retry-After of the answer.
        """
        message = self._clean(message)
        answer = f"{code} {message}".strip()
        if code in {409, 410}:
            kind = Conflict if code == 409 else Expired
            return kind(f"{path}: {message or 'the resource version is too old'}")
        if code == 403:
            return self._forbidden(answer, path)
        if code == 404:
            return self._missing(message, path)
        if code == 429 or code >= 500:
            seconds = min(LONGEST_WAIT, float(after)) if after and after.isdigit() else 0.0
            return Busy(f"the API server {self.host} cannot answer now ({answer})", after=seconds)
        said = f"the API server {self.host} answered {path} with {answer}"
        if code == 401:
            said = (
                f"the API server {self.host} does not know who we are ({answer}): the token is expired, or of another "
                "cluster; look at the service account, or log in again"
            )
        elif code == 400 and self.host.startswith("http:"):
            said += "; write https:// for http:// in server if it wants TLS"
        return SourceError(said)

    def _forbidden(self, answer: str, path: str) -> Forbidden:
        now = time.monotonic()
        since, last = self._forbidden_at.get(path, (now, now))
        # Other requests for the path may succeed in between: the first pages of a list, or the list before its watch.
        since = since if now - last < FORBIDDEN_AGAIN else now
        self._forbidden_at[path] = since, now
        grant = next((what for prefix, what in _GRANTS if path.startswith(prefix)), "it to this account")
        impersonated = self._transport.access.user.as_user if self._transport is not None else None
        if impersonated:
            grant = f"{grant.replace('this account', impersonated)}, and this account to impersonate it"
        return Forbidden(
            f"the API server {self.host} forbids it ({answer})",
            cure=f"grant {grant}",
            lasting=now - since >= FORBIDDEN_FOR,
        )


_Versions = tuple[tuple[int, int, int] | None, ...]


def _versions(access: Access) -> _Versions:
    """Return what changes when one of the files of `access` is written again."""
    return tuple(_version(path) for path in access.files)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def insist(ask: Callable[[], _T]) -> _T:
    """Return what `ask` returns, for a command that ends with it: what is forbidden is asked for again for 2 s.

    Raises SourceError; of a request that stays forbidden, with what to grant.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Forbidden),
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_fixed(1.0),
        reraise=True,
    )
    try:
        return attempts(ask)
    except Forbidden as e:
        raise e.lasting() from None


def uid_of_namespace(api: Api, name: str) -> str:
    """Return the UID of a namespace: of kube-system it is what tells one cluster from another. Raises SourceError."""
    path = f"/api/v1/namespaces/{name}"
    try:
        return msgspec.json.decode(api.get(path, {}), type=_Namespace).metadata.uid
    except msgspec.DecodeError as e:
        raise SourceError(f"the API server {api.host} answered {path} with no namespace") from e


def own_namespace(service_account: Path = SERVICE_ACCOUNT) -> str:
    """Return the namespace of the pod that this runs in, `secondary` outside of a cluster."""
    try:
        return (service_account / "namespace").read_text(encoding="utf-8").strip() or "secondary"
    except OSError:
        return "secondary"
