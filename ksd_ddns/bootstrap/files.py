# SPDX-License-Identifier: Apache-2.0
"""Writes files once: completely or not at all, and never over an existing file."""

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ksd_ddns.errors import SettingsError


class Outcome(Enum):
    """The result of writing one file."""

    WRITTEN = "written"
    KEPT = "kept"
    DIFFERS = "kept, differs from what would be written today"


@dataclass(frozen=True, slots=True)
class Written:
    """One file of the bundled primary, and the result of writing it."""

    path: Path
    outcome: Outcome


def make(directory: Path) -> None:
    """Create `directory` if it is missing. Raises SettingsError if it is not writable."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _unusable(directory, e) from e
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _unusable(directory, PermissionError(errno.EACCES, "not writable"))


def write_once(path: Path, text: str, *, mode: int = 0o644, keep: bool = False) -> Written:
    """Write `text` to `path` atomically, unless the file exists. With `keep`, the existing content may differ."""
    try:
        if not os.path.lexists(path):
            with contextlib.suppress(FileExistsError):
                _create(path, text.encode(), mode)
                return Written(path, Outcome.WRITTEN)
        if keep or path.read_bytes() == text.encode():
            return Written(path, Outcome.KEPT)
        return Written(path, Outcome.DIFFERS)
    except OSError as e:
        raise _unusable(path, e) from e


def _create(path: Path, content: bytes, mode: int) -> None:
    """Create `path` atomically and sync it to disk. Raises FileExistsError if another process created it first."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        try:
            os.link(temporary, path)  # unlike a rename, it never replaces a file
        except OSError as e:
            if e.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            temporary.rename(path)  # a file system without hard links
            return
        temporary.unlink()
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _unusable(path: Path, error: OSError) -> SettingsError:
    reason = error.strerror or str(error)
    return SettingsError(
        f"{path} cannot be used ({reason}): the bundled primary needs a directory of its own that user {os.getuid()}"
        " may read and write; choose another one or correct its owner and mode"
    )
