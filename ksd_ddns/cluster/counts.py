# SPDX-License-Identifier: Apache-2.0
"""Counts of requests to the API server, and of how watches ended."""

import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a request to the API server."""

    SUCCESS = "success"
    THROTTLED = "throttled"
    """429 Too Many Requests."""
    CLIENT_ERROR = "client_error"
    """Another 4xx; 404 and 409 are normal for Leases and Events."""
    SERVER_ERROR = "server_error"
    NO_RESPONSE = "no_response"


class End(StrEnum):
    """How a watch of VMIs, or the list before it, ended."""

    ENDED = "ended"
    """The API server ended it in time, as it does every few minutes."""
    INTERRUPTED = "interrupted"
    """The connection was cut, or went silent."""
    EXPIRED = "expired"
    """410 Gone: all VMIs are listed again."""
    FAILED = "failed"


class Counts:
    """Counts since the start, for all connections to the API server; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = Counter(dict.fromkeys(Outcome, 0))
        self._ends = Counter(dict.fromkeys(End, 0))

    def count_request(self, status: int | None) -> None:
        """Count a request by the HTTP status of its answer, None if there was none."""
        with self._lock:
            self._requests[_outcome(status)] += 1

    def count_end(self, how: End) -> None:
        """Count a watch that ended."""
        with self._lock:
            self._ends[how] += 1

    @property
    def requests(self) -> Mapping[str, int]:
        """The number of requests by Outcome."""
        with self._lock:
            return {each.value: count for each, count in self._requests.items()}

    @property
    def ends(self) -> Mapping[str, int]:
        """The number of ended watches by End."""
        with self._lock:
            return {each.value: count for each, count in self._ends.items()}


def _outcome(status: int | None) -> Outcome:
    if status is None:
        return Outcome.NO_RESPONSE
    if status == 429:
        return Outcome.THROTTLED
    if status >= 500:
        return Outcome.SERVER_ERROR
    return Outcome.CLIENT_ERROR if status >= 400 else Outcome.SUCCESS
