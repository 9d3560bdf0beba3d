# SPDX-License-Identifier: Apache-2.0
"""Files of VMIs as a source: each is read again when it changes."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import NamedTuple

from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmisListed
from ksd_ddns.kubevirt.selection import EVERYTHING, Selection
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.vmifile.file import merged, read

POLL_EVERY = 0.02
"""Seconds between two stat calls for a file, which take two microseconds."""

SETTLED = 0.25
"""Seconds without a change after which a file counts as complete.

Until then, another change may leave its status unchanged, because file systems count time in steps; and a file that is
written in place may look complete before it is.
"""

ANOTHER_ERROR_AFTER = 1.0
"""Seconds until a different error is reported: several may come and go while a file is written."""


class _Status(NamedTuple):
    """The status of a file, which identifies its version; `complete` is false while it may still be written."""

    inode: tuple[int, int]
    version: tuple[int, int]
    complete: bool


class FileSource:
    """Publishes all VMIs of the files at `paths`, and again after each change of a file.

    If a file cannot be read, its last good content stays valid. Nothing is published until every file was read once.
    """

    namespace = ""

    def __init__(
        self,
        *paths: str,
        selection: Selection = EVERYTHING,
    ) -> None:
        self._files = tuple(_File(path, partial(read, path, selection)) for path in paths)

    def run(self, publish: Callable[[SourceEvent], None], stop: Event) -> None:
        """Read the files, and each file again when it changes, until `stop` is set; call `publish` with each event."""
        published: tuple[Vmi, ...] | None = None
        reported, reported_at = "", 0.0
        while not stop.is_set():
            began = time.monotonic()
            for file in self._files:
                file.poll()
            reason = next((file.error for file in self._files if file.error), "")
            found = [(file.path, file.vmis) for file in self._files if file.vmis is not None]
            if len(found) == len(self._files):
                try:
                    vmis = merged(found)
                except SourceError as e:
                    reason = reason or str(e)
                else:
                    if vmis != published:
                        # When the first list changed is unknown.
                        publish(VmisListed(self.namespace, vmis, at=None if published is None else began))
                        published = vmis
            # A file is broken for a moment while it is written; it changes again when it is complete.
            now = time.monotonic()
            if bool(reason) != bool(reported) or (reason != reported and now - reported_at > ANOTHER_ERROR_AFTER):
                publish(SourceFailed(self.namespace, reason))
                reported, reported_at = reason, now
            stop.wait(POLL_EVERY)


class _File:
    """One file: `vmis` is its last good content, None before the first; `error` says why it is unreadable now."""

    def __init__(self, path: str, read: Callable[[], tuple[Vmi, ...]]) -> None:
        self.path = path
        self.vmis: tuple[Vmi, ...] | None = None
        self.error = ""
        self._read = read
        self._status: _Status | None = None
        self._inode: tuple[int, int] | None = None

    def poll(self) -> None:
        """Read the file if its status changed or is unavailable."""
        status = _status(self.path)
        if status is not None and status == self._status:
            return
        self._status = status
        try:
            vmis = self._read()
        except SourceError as e:
            self.error = str(e)
            return
        self.error = ""
        if status is None or status.complete or status.inode != self._inode or _contains_all(vmis, self.vmis):
            self.vmis = vmis
            self._inode = status.inode if status else None


def _status(path: str) -> _Status | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    complete = abs(time.time() - found.st_mtime) > SETTLED  # a time in the future counts too
    return _Status((found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns), complete)


def _contains_all(vmis: tuple[Vmi, ...], previous: tuple[Vmi, ...] | None) -> bool:
    """Return whether `vmis` has every VMI of `previous`: half a file would look like deletions."""
    return previous is not None and {vmi.key for vmi in previous} <= {vmi.key for vmi in vmis}
