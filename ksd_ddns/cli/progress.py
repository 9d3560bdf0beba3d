# SPDX-License-Identifier: Apache-2.0
"""Progress of work that takes more than a second, on a terminal only."""

import sys
from threading import Lock, Timer
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_AFTER = 1.0
"""Seconds until progress is shown: most commands end earlier."""


class Steps:
    """Shows progress on standard error if that is a terminal."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._latest: tuple[str, int, int | None] | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            # A timer: the work may be a single call that blocks.
            self._timer = Timer(_AFTER, self._start)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        with self._lock:
            self._timer = None
            if self._progress is not None:
                self._progress.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` units of the step `what` are done, of `total` if that is known."""
        if self._timer is None:
            return
        with self._lock:
            self._latest = what, done, total
            self._show()

    def _start(self) -> None:
        with self._lock:
            if self._timer is None:  # just ended
                return
            # Imported only here: `run` shows no progress, and needs the memory and the time for other things.
            from rich.console import Console  # noqa: PLC0415 see above
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 as above

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.start()
            self._show()

    def _show(self) -> None:
        if self._progress is None or self._latest is None:
            return
        what, done, total = self._latest
        if what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._what, self._task = what, self._progress.add_task(what, total=total)
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
