"""Files of VMIs that are followed: read again whenever they change, kept as they were where they cannot be read."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import NamedTuple

from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmisListed
from ksd_ddns.kubevirt.selector import EVERYTHING, Selector
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.vmifile.file import merged, read

LOOK_EVERY = 0.02
"""Seconds between two looks at the file's status: a look costs two microseconds."""

SETTLED = 0.25
"""Seconds after which a file that does not change any more is written whole.

Until then another change may leave its status as it is, since file systems count time in steps; and where a file is
written in place, a part of it may already look like all of it.
"""

ANOTHER_REASON = 1.0
"""Seconds until another reason why a file cannot be read is told: many come and go while it is written."""


class _Look(NamedTuple):
    """What tells one version of a file from another; `whole` is false while it may still be written."""

    place: tuple[int, int]
    version: tuple[int, int]
    whole: bool


class Follow:
    """The VMIs of the files at `paths` together; each version of them is a list of all there are.

    A file that cannot be read holds what it held before. Until each could be read once there is no list.
    """

    scope = ""

    def __init__(self, *paths: str, namespaces: frozenset[str] = frozenset(), selector: Selector = EVERYTHING) -> None:
        self._files = tuple(
            _File(path, partial(read, path, namespaces=namespaces, selector=selector)) for path in paths
        )

    def run(self, tell: Callable[[SourceEvent], None], stop: Event) -> None:
        """Read the files, and each again at every change of it, until `stop` is set."""
        told: tuple[Vmi, ...] | None = None
        failing, failing_since = "", 0.0
        while not stop.is_set():
            for file in self._files:
                file.look()
            reason = next((file.error for file in self._files if file.error), "")
            found = [(file.path, file.vmis) for file in self._files if file.vmis is not None]
            if len(found) == len(self._files):
                try:
                    vmis = merged(found)
                except SourceError as e:
                    reason = reason or str(e)
                else:
                    if vmis != told:
                        tell(VmisListed(self.scope, vmis))
                        told = vmis
            # A file that is being written is broken for a moment; it changes again when it is whole.
            now = time.monotonic()
            if bool(reason) != bool(failing) or (reason != failing and now - failing_since > ANOTHER_REASON):
                tell(SourceFailed(self.scope, reason))
                failing, failing_since = reason, now
            stop.wait(LOOK_EVERY)


class _File:
    """One file: `vmis` is what it held when it was last whole, None before that; `error` says why it is unreadable."""

    def __init__(self, path: str, read: Callable[[], tuple[Vmi, ...]]) -> None:
        self.path = path
        self.vmis: tuple[Vmi, ...] | None = None
        self.error = ""
        self._read = read
        self._seen: _Look | None = None
        self._place: tuple[int, int] | None = None

    def look(self) -> None:
        """Read the file where it changed, or cannot be looked at."""
        look = _look(self.path)
        if look is not None and look == self._seen:
            return
        self._seen = look
        try:
            vmis = self._read()
        except SourceError as e:
            self.error = str(e)
            return
        self.error = ""
        if look is None or look.whole or look.place != self._place or _all_in(self.vmis, vmis):
            self.vmis = vmis
            self._place = look.place if look else None


def _look(path: str) -> _Look | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    whole = abs(time.time() - found.st_mtime) > SETTLED  # a time in the future is no reason to wait for it
    return _Look((found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns), whole)


def _all_in(before: tuple[Vmi, ...] | None, after: tuple[Vmi, ...]) -> bool:
    """Return whether no VMI of `before` is missing `after` the change: half a file would look like deletions."""
    return before is not None and {vmi.key for vmi in before} <= {vmi.key for vmi in after}
