# SPDX-License-Identifier: Apache-2.0
"""Faults of responses, and the requests that they apply to.

    kube.fault(Reply.status(403), verb="list")                   # the next list
    kube.fault(Reply.throttled(2), times=3)                      # any three requests
    kube.fault(Reply.status(500), verb="list", skip=1)           # the second page
    kube.fault(Drop(sent=100_000), resource="virtualmachineinstances", verb="list")
    with kube.fault(Stall(), times=None): ...                    # nothing is answered in here

`sent` counts the bytes behind the headers: None cuts before the server has looked at the request, so that a write has
no effect, 0 after the headers. `after` counts the events of a watch.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from harness.kube import status
from harness.kube.api import Answer, Request, answer_of
from harness.kube.status import Refused
from harness.kube.store import Json


@dataclass(frozen=True, slots=True)
class Reply:
    """This response instead of the normal one; the request has no effect."""

    answer: Answer

    @classmethod
    def status(cls, code: int, message: str = "", *, headers: Mapping[str, str] | None = None) -> Reply:
        """Return the answer with a Status, worded as the API server does for the common codes."""
        messages = {
            401: "Unauthorized",
            500: "Internal error occurred: etcdserver: request timed out",
            503: "the server is currently unable to handle the request",
        }
        text = message or messages.get(code, status.phrase(code))
        return cls(answer_of(Refused(code, status.failure(code, text), headers)))

    @classmethod
    def forbidden(cls, user: str, verb: str = "list", *, namespace: str = "") -> Reply:
        """Return the RBAC error for `user`, who lacks `verb` on VMIs."""
        return cls(answer_of(status.forbidden(user, verb, group="kubevirt.io", plural="virtualmachineinstances",
                                              namespace=namespace)))  # fmt: skip

    @classmethod
    def not_installed(cls) -> Reply:
        """Return the error for an API group that is not installed."""
        return cls(answer_of(Refused(404, status.NO_SUCH_PAGE)))

    @classmethod
    def throttled(cls, seconds: int = 1) -> Reply:
        """Return 429 of priority and fairness: plain text, with Retry-After."""
        return cls(answer_of(Refused(429, status.TOO_MANY, {"Retry-After": str(seconds)})))

    @classmethod
    def expired(cls) -> Reply:
        """Return 410 as HTTP status."""
        return cls(answer_of(Refused(410, status.expired(status.LIST_EXPIRED))))

    @classmethod
    def garbage(cls, body: bytes = b'{"apiVersion":"kubevirt.io/v1","items":[{"metadata":') -> Reply:
        """Return HTTP 200 with a body that is not JSON."""
        return cls(Answer(body))


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection ends; with a reset if `reset`, else as if the server had exited."""

    sent: int | None = None
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing more is sent, and the connection stays open until the client closes it."""

    sent: int | None = None


@dataclass(frozen=True, slots=True)
class Slow:
    """The body trickles at this rate."""

    bytes_per_second: int = 1_000


@dataclass(frozen=True, slots=True)
class EndWatch:
    """The watch ends properly after `after` events."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The watch sends ERROR with this code after `after` events, and ends."""

    code: int = 410
    message: str = "too old resource version: 1 (2)"
    after: int = 0

    @property
    def status(self) -> Json:
        return status.failure(self.code, self.message)


@dataclass(frozen=True, slots=True)
class Noise:
    """The stream of the watch contains these bytes after `after` events; the rest follows."""

    data: bytes = b'{"type":"MODIFIED","object":{"metadata":\n'
    after: int = 0


@dataclass(frozen=True, slots=True)
class Repeat:
    """Every event of the watch is sent several times."""

    times: int = 2


@dataclass(frozen=True, slots=True)
class Pieces:
    """The stream of the watch has chunks of this size, regardless of events, as from proxies."""

    size: int = 1_000


Fault: TypeAlias = Reply | Drop | Stall | Slow | EndWatch | ErrorEvent | Noise | Repeat | Pieces
_OF_WATCHES = (EndWatch, ErrorEvent, Noise, Repeat, Pieces)


@dataclass(slots=True)
class Injection:
    """A fault and its requests; `hits` counts those affected. A `with` block removes it at its end."""

    fault: Fault
    verb: str | None = None
    resource: str | None = None
    namespace: str | None = None
    path: re.Pattern[str] | None = None
    when: Callable[[Request], bool] | None = None
    skip: int = 0
    times: int | None = 1
    hits: int = 0
    remove: Callable[[], None] = field(default=lambda: None)

    def matches(self, request: Request) -> bool:
        return (
            (request.verb == "watch" or not isinstance(self.fault, _OF_WATCHES))
            and self.verb in (None, request.verb)
            and self.resource in (None, request.resource)
            and self.namespace in (None, request.namespace)
            and (self.path is None or self.path.search(request.path) is not None)
            and (self.when is None or self.when(request))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class Faults:
    """The injections of one server; the first match applies to a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._injections: list[Injection] = []

    def add(self, injection: Injection) -> Injection:
        injection.remove = lambda: self._remove(injection)
        with self._lock:
            self._injections.append(injection)
        return injection

    def next(self, request: Request) -> Fault | None:
        """Return the fault for `request`, and count it."""
        with self._lock:
            for injection in self._injections:
                if not injection.matches(request):
                    continue
                if injection.skip:
                    injection.skip -= 1
                    continue
                injection.hits += 1
                if injection.times is not None and injection.hits >= injection.times:
                    self._injections.remove(injection)
                return injection.fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._injections.clear()

    def _remove(self, injection: Injection) -> None:
        with self._lock:
            if injection in self._injections:
                self._injections.remove(injection)


def event_of(kind: str, obj: bytes) -> bytes:
    """Return one line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), obj)


def error_event(failure: Json) -> bytes:
    return event_of("ERROR", msgspec.json.encode(failure))
