# SPDX-License-Identifier: Apache-2.0
"""The programs of the name servers: paths and processes."""

import concurrent.futures
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from harness.servers.errors import NotServing

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/bin"))
"""Where servers and their tools are looked up; Debian does not put /usr/sbin into every user's PATH."""

COMMAND_SECONDS = 60.0

_copies: list[Path] = []
# Linux sends the parent-death signal when the *thread* that started the child exits: this one exits with the process.
_starter = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="start-server")


@dataclass(frozen=True, slots=True)
class Answer:
    """The output and the exit code of a command line client."""

    returncode: int
    stdout: str
    stderr: str


@cache
def program(name: str) -> str:
    """Return the path of a server or client, or fail the test that needs it."""
    binary = shutil.which(name, path=PATH)
    if binary is None:
        raise NotServing(
            f"{name} is not installed: `apt-get install bind9 bind9-dnsutils knot knot-dnsutils pdns-backend-sqlite3 "
            "prometheus`"
        )
    return binary


@cache
def server_program(name: str) -> str:
    """Return the path of a server that may access files in any directory.

    Debian and Ubuntu confine /usr/sbin/named by an AppArmor profile to a few directories. Profiles apply by path, so
    a copy is not confined.
    """
    binary = program(name)
    profile = Path("/etc/apparmor.d") / binary.lstrip("/").replace("/", ".")
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not (profile.exists() and enabled.exists() and enabled.read_text().startswith("Y")):
        return binary
    copy = Path(tempfile.mkdtemp(prefix="ksd-bin-")) / name
    shutil.copy(binary, copy)
    _copies.append(copy.parent)
    return str(copy)


def remove_copies() -> None:
    """Remove the copies of servers."""
    for directory in _copies:
        shutil.rmtree(directory, ignore_errors=True)
    _copies.clear()
    server_program.cache_clear()


def start(
    command: Sequence[str], *, log: IO[bytes], environment: Mapping[str, str], uid: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a server that ends with the tests, as user and group `uid` if given, logging to `log`."""
    user = [] if uid is None else [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    setpriv = shutil.which("setpriv", path=PATH)
    assert setpriv or not user, "setpriv (util-linux) is needed to run a server as another user"
    wrapper = [setpriv, *user, "--pdeathsig", "KILL", "--"] if setpriv else []
    return _starter.submit(
        subprocess.Popen,
        [*wrapper, *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env=dict(environment),
    ).result()


def run(command: Sequence[str], script: str | None = None, *, seconds: float = COMMAND_SECONDS) -> Answer:
    """Run a command line client with `script` as its standard input, at most for `seconds`; return its answer."""
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=seconds, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)
