"""Progress of long work, on a terminal only, and only where there is something to wait for."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_AFTER = 1.0


class Steps:
    """Shows on standard error what is being done, from the second second on; in a pipe it shows nothing."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._silent = sys.stderr is None or not sys.stderr.isatty()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Notify that of `what` so much is done, of `total` where that is known."""
        if self._silent or time.monotonic() - self._started < _AFTER:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.start()
        if what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._what, self._task = what, self._progress.add_task(what, total=total)
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
