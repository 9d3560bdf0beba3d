# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of threads: each beats while it makes progress, and others check when it last did.

A thread that hangs or died looks idle. So each beats at least every few seconds, also while it waits and during long
work: `beat()` is for code that does not know which thread runs it, such as a transfer.
"""

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from ksd_ddns.errors import KsdError

STUCK_AFTER = 60.0
"""Seconds without progress after which a thread counts as stuck."""


class Heartbeat:
    """The progress of one thread, within a `with` block; `what` names its work. Reading is thread-safe.

    Times are in seconds of `clock`, which is monotonic.
    """

    def __init__(self, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._last: float | None = None
        self._died = ""

    def __enter__(self) -> Self:
        self.beat()
        _current.heartbeat = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _current.heartbeat = None
        self._last = None
        if isinstance(error, Exception) and not isinstance(error, KsdError):
            # A wrong setting is still wrong after a restart; after a bug a restart helps.
            self._died = f"{type(error).__name__}: {error}"

    def beat(self, *, ahead: float = 0.0) -> None:
        """Record progress; for `ahead` seconds none is expected, since the thread waits."""
        self._last = self._clock() + ahead

    def age(self) -> float:
        """Return the seconds since the last progress: 0 before the thread starts and after it ends."""
        last = self._last
        return 0.0 if last is None else max(0.0, self._clock() - last)

    def problem(self, limit: float) -> str:
        """Return why the thread counts as stuck: no progress for more than `limit` seconds, or dead; "" if it works."""
        if self._died:
            return f"{self._what}: the thread died, restart the process: {self._died}"
        age = self.age()
        return f"{self._what}: no progress for {age:.0f} s" if age > limit else ""


class _Current(threading.local):
    heartbeat: Heartbeat | None = None


_current = _Current()


def beat(*, ahead: float = 0.0) -> None:
    """Record progress of the calling thread, see `Heartbeat.beat`; does nothing if it has no heartbeat."""
    if _current.heartbeat is not None:
        _current.heartbeat.beat(ahead=ahead)


def problem(heartbeats: Iterable[Heartbeat], limit: float) -> str:
    """Return the problems of these threads, one per line; "" if all work."""
    return "\n".join(found for each in heartbeats if (found := each.problem(limit)))
