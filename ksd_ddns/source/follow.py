"""A file of VMIs that is followed: read again whenever it changes, kept as it was known where it cannot be read."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import NamedTuple

from ksd_ddns.errors import SourceError
from ksd_ddns.source.file import read
from ksd_ddns.zone.feed import Failing, Listed, Told
from ksd_ddns.zone.selector import EVERYTHING, Selector
from ksd_ddns.zone.vmi import Vmi

LOOK_EVERY = 0.02
"""Seconds between two looks at the file's status: a look costs two microseconds."""

SETTLED = 0.25
"""Seconds after which a file that does not change any more is written whole.

Until then another change may leave its status as it is, since file systems count time in steps; and where a file is
written in place, a part of it may already look like all of it.
"""


class _Look(NamedTuple):
    """What tells one version of a file from another; `whole` is false while it may still be written."""

    place: tuple[int, int]
    version: tuple[int, int]
    whole: bool


class Follow:
    """The VMIs of the file at `path`; each version of it is a list of all there are."""

    scope = ""

    def __init__(self, path: str, *, namespaces: frozenset[str] = frozenset(), selector: Selector = EVERYTHING) -> None:
        self._path = path
        self._namespaces = namespaces
        self._selector = selector

    def run(self, tell: Callable[[Told], None], stop: Event) -> None:
        """Read the file, and again at every change, until `stop` is set."""
        seen: _Look | None = None
        told: tuple[Vmi, ...] | None = None
        place: tuple[int, int] | None = None
        failing = False
        while not stop.is_set():
            look = self._look()
            if look is None or look != seen:
                seen = look
                try:
                    vmis = read(self._path, namespaces=self._namespaces, selector=self._selector)
                except SourceError as e:
                    # A file that is being written is broken for a moment; it changes again when it is whole.
                    if not failing:
                        tell(Failing(self.scope, str(e)))
                    failing = True
                else:
                    if vmis != told and (look is None or look.whole or look.place != place or _all_in(told, vmis)):
                        tell(Listed(self.scope, vmis))
                        told = vmis
                        place = look.place if look else None
                    if failing:
                        tell(Failing(self.scope, ""))
                        failing = False
            stop.wait(LOOK_EVERY)

    def _look(self) -> _Look | None:
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        whole = abs(time.time() - found.st_mtime) > SETTLED  # a time in the future is no reason to wait for it
        return _Look((found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns), whole)


def _all_in(before: tuple[Vmi, ...] | None, after: tuple[Vmi, ...]) -> bool:
    """Return whether no VMI of `before` is missing `after` the change: half a file would look like deletions."""
    return before is not None and {vmi.key for vmi in before} <= {vmi.key for vmi in after}
