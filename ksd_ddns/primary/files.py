# SPDX-License-Identifier: Apache-2.0
"""Values that are reloaded when their files change, so that keys and certificates rotate without a restart."""

import logging
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from ksd_ddns.errors import SettingsError

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class FileValue(Generic[_T]):
    """The value that `load` reads from `files`. Raises SettingsError if the first load fails."""

    def __init__(self, what: str, load: Callable[[], _T], files: Iterable[Path | None]) -> None:
        self._what = what
        self._load = load
        self._files = tuple(file for file in files if file is not None)
        # Before the load: a change in between causes one more load, and is never missed.
        self._seen = self._look()
        self._made = load()

    def latest(self) -> _T:
        """Return the current value; if the files are unreadable or invalid, the last valid one."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._made = self._load()
                _log.info("files changed, read again", extra={"fields": {"what": self._what}})
            except SettingsError as e:
                facts = {"what": self._what, "error": str(e)}
                _log.warning("files changed, but cannot be used, keeping what was read before", extra={"fields": facts})
        return self._made

    def _look(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_look(file) for file in self._files)


def exposure(file: Path) -> str:
    """Return a text that says who else can read a file with a secret; empty if no one can, or if it is missing.

    In a volume that Kubernetes mounts, the group may read it: that is the group of the pod.
    Credentials of systemd are readable for their service only; their mode may show the mask of an ACL.
    """
    if (credentials := os.environ.get("CREDENTIALS_DIRECTORY")) and file.is_relative_to(credentials):
        return ""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        mounted = in_kubernetes_volume(file)
    except (OSError, ValueError, RuntimeError):
        return ""
    if mode & 0o004:
        who = "every user of the pod's containers" if mounted else "every user of this machine"
    elif mode & 0o040 and not mounted:
        who = "its group"
    else:
        return ""
    return f"{who} can read it (mode {mode:04o})"


def in_kubernetes_volume(file: Path) -> bool:
    """Return whether Kubernetes mounted the file, for example from a Secret."""
    try:
        return file.resolve().parent.name.startswith("..")  # ..2026_11_25_10_00_00.123, which ..data leads to
    except (OSError, RuntimeError):
        return False


def _look(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()  # follows symbolic links: a mounted Secret changes by replacing one
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)  # ctime: chmod, chown
