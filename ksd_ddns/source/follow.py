"""A file of VMIs that is followed: read again whenever it changes, kept as it was known where it cannot be read."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

from ksd_ddns.errors import SourceError
from ksd_ddns.source.file import read
from ksd_ddns.zone.feed import Failing, Listed, Told
from ksd_ddns.zone.selector import EVERYTHING, Selector

LOOK_EVERY = 0.02
"""Seconds between two looks at the file's status: a look costs two microseconds."""


class Follow:
    """The VMIs of the file at `path`; each version of it is a list of all there are."""

    scope = ""

    def __init__(self, path: str, *, namespaces: frozenset[str] = frozenset(), selector: Selector = EVERYTHING) -> None:
        self._path = path
        self._namespaces = namespaces
        self._selector = selector

    def run(self, tell: Callable[[Told], None], stop: Event) -> None:
        """Read the file, and again at every change, until `stop` is set."""
        known: tuple[int, ...] | None = None
        failing = False
        while not stop.is_set():
            seen = self._look()
            if seen != known or (failing and not seen):
                known = seen
                try:
                    vmis = read(self._path, namespaces=self._namespaces, selector=self._selector)
                except SourceError as e:
                    # A file that is being written is broken for a moment; it changes again when it is whole.
                    if not failing:
                        tell(Failing(self.scope, str(e)))
                    failing = True
                else:
                    tell(Listed(self.scope, vmis))
                    tell(Failing(self.scope, ""))
                    failing = False
            stop.wait(LOOK_EVERY)

    def _look(self) -> tuple[int, ...]:
        try:
            found = Path(self._path).stat()
        except OSError:
            return ()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
