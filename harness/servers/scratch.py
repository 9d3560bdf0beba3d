# SPDX-License-Identifier: Apache-2.0
"""Directories for servers."""

import contextlib
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path


def scratch() -> Path:
    """Return a new directory in shared memory if there is any: a name server syncs its journal at every update.

    The caller removes it; if this process is killed, the next run does.
    """
    shm = Path("/dev/shm")
    parent = shm if shm.is_dir() and os.access(shm, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    _sweep(parent)
    return Path(tempfile.mkdtemp(prefix=f"ksd-{os.getpid()}-", dir=parent))


@cache
def _sweep(parent: Path) -> None:
    """Remove directories of killed runs."""
    for directory in parent.glob("ksd-*-*"):
        owner = directory.name.split("-")[1]
        with contextlib.suppress(FileNotFoundError):  # others sweep too
            hours = (time.time() - directory.stat().st_mtime) / 3600
            # The age matters: in another container the owner may have another process ID.
            if owner.isdecimal() and hours > 1 and not Path("/proc", owner).exists():
                shutil.rmtree(directory, ignore_errors=True)
