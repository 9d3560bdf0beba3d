# SPDX-License-Identifier: Apache-2.0
"""HTTP errors of an API server: cause and cure."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from ksd_ddns.cluster.timing import ApiTiming
from ksd_ddns.errors import SourceError

_NAMESPACES = "/api/v1/namespaces/"
_LEASES = "/apis/coordination.k8s.io/"
_ONE_VMI = "/virtualmachineinstances/"
_GRANTS = (
    ("/api/v1/namespaces/kube-system", "get of namespaces to this account (ClusterRole secondary), or set OWNER_ID"),
    (_NAMESPACES, "create of events to this account (ClusterRole secondary)"),
    (_LEASES, "get, create and update of leases in its own namespace to this account (Role secondary)"),
    ("/apis/kubevirt.io/", "get, list and watch of virtualmachineinstances to this account (ClusterRole secondary)"),
)
"""What to grant when a request is forbidden, by the prefix of its path."""

_T = TypeVar("_T")


class Forbidden(SourceError):
    """403 Forbidden. `cure` is what to grant; the message includes it only when the server keeps refusing."""

    def __init__(self, message: str, *, cure: str, lasting: bool) -> None:
        super().__init__(f"{message}: {cure}" if lasting else f"{message}; the server may still be starting, retrying")
        self._lasting = f"{message}: {cure}"

    def lasting(self) -> SourceError:
        """Return the error for a server that keeps refusing."""
        return SourceError(self._lasting)


class Expired(SourceError):
    """410 Gone: the resource version or the continue token is too old; list again."""


class Conflict(SourceError):
    """409 Conflict: another client changed or created the object first."""


class Missing(SourceError):
    """404 Not Found for a single object."""


class Busy(SourceError):
    """429 Too Many Requests or 5xx; `after` is the server's Retry-After in seconds, 0 if it sent none."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.after = after


class HttpErrors:
    """Turns HTTP errors into SourceError, and remembers how long each path has been forbidden."""

    def __init__(self, timing: ApiTiming) -> None:
        self._timing = timing
        self._lock = threading.Lock()
        self._forbidden: dict[str, tuple[float, float]] = {}

    def error(
        self, code: int, message: str, *, server: str, path: str, impersonated: str | None, after: str | None = None
    ) -> SourceError:
        """Return the error for a request for `path` that was answered with the HTTP status `code`.

        `message` is the server's, without secrets. `impersonated` is the user that we act as, `after` the Retry-After.
        """
        answer = f"{code} {message}".strip()
        if code in {409, 410}:
            kind = Conflict if code == 409 else Expired
            return kind(f"{path}: {message or 'the resource version is too old'}")
        if code == 403:
            return self._forbid(answer, server, path, impersonated)
        if code == 404:
            return _missing(message, server, path)
        if code == 429 or code >= 500:
            seconds = min(self._timing.longest_retry_after, float(after)) if after and after.isdigit() else 0.0
            return Busy(f"the API server {server} cannot answer now ({answer})", after=seconds)
        if code == 401:
            return SourceError(
                f"the API server {server} rejected the credential ({answer}): the token is expired, or belongs to "
                "another cluster; check the service account, or log in again"
            )
        text = f"the API server {server} answered {path} with {answer}"
        if code == 400 and server.startswith("http:"):
            text += "; if it requires TLS, write https:// instead of http:// in server"
        return SourceError(text)

    def _forbid(self, answer: str, server: str, path: str, impersonated: str | None) -> Forbidden:
        now = time.monotonic()
        with self._lock:
            since, last = self._forbidden.get(path, (now, now))
            # Requests for the path may succeed in between: the first pages of a list, or the list before its watch.
            since = since if now - last < self._timing.forbidden_gap else now
            self._forbidden[path] = since, now
        grant = next((what for prefix, what in _GRANTS if path.startswith(prefix)), "it to this account")
        if impersonated:
            grant = f"{grant.replace('this account', impersonated)}, and this account to impersonate it"
        return Forbidden(
            f"the API server {server} forbids it ({answer})",
            cure=f"grant {grant}",
            lasting=now - since >= self._timing.forbidden_for,
        )


def _missing(message: str, server: str, path: str) -> SourceError:
    # Without KubeVirt, the answer has no message.
    if path.startswith(_LEASES) or (_ONE_VMI in path and message):
        return Missing(f"{path}: {message}")
    cure = (
        "check that it is the API server of a cluster; if it is, set OWNER_ID"
        if path.startswith(_NAMESPACES)
        else "KubeVirt is not installed there; install it, and ksd-ddns continues on its own"
    )
    return SourceError(f"the API server {server} does not know {path} (404): {cure}")


def insist(request: Callable[[], _T]) -> _T:
    """Return what `request` returns, retrying for 2 s while it is forbidden. For commands, which end with the result.

    Raises SourceError; if the request stays forbidden, one that says what to grant.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Forbidden),
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_fixed(1.0),
        reraise=True,
    )
    try:
        return attempts(request)
    except Forbidden as e:
        raise e.lasting() from None
