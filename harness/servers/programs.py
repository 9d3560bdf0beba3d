# SPDX-License-Identifier: Apache-2.0
"""The programs of the name servers: paths and processes."""

import concurrent.futures
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from harness.servers.errors import NotServing

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/bin"))
"""Where servers and their tools are looked up; Debian does not put /usr/sbin into every user's PATH."""

COMMAND_SECONDS = 60.0
START_SECONDS = 20.0

_PACKAGES = {
    **dict.fromkeys(("krb5kdc", "kdb5_util", "kadmin.local", "kinit"), "krb5-kdc krb5-admin-server krb5-user"),
    **dict.fromkeys(("samba", "samba-tool"), "samba-ad-dc samba-ad-provision"),
}
_OTHERS = "bind9 bind9-dnsutils knot knot-dnsutils pdns-backend-sqlite3 prometheus"

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
        raise NotServing(f"{name} is not installed: `apt-get install {_PACKAGES.get(name, _OTHERS)}`")
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


def wait_for_port(process: subprocess.Popen[bytes], address: str, port: int, *, log: Path) -> None:
    """Return when the server `process` accepts TCP connections; raise NotServing with its log if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotServing(f"{process.args!r} did not start\n{log.read_text(errors='replace')}")
        time.sleep(0.01)


def run(
    command: Sequence[str],
    script: str | None = None,
    *,
    seconds: float = COMMAND_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Answer:
    """Run a command line client with `script` as its standard input, at most for `seconds`; return its answer.

    `environment` are further environment variables.
    """
    done = subprocess.run(
        command,
        input=script,
        stdin=subprocess.DEVNULL if script is None else None,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def succeed(
    name: str, *arguments: str, seconds: float = COMMAND_SECONDS, environment: Mapping[str, str] | None = None
) -> Answer:
    """Run the program `name` and return its answer; raise NotServing with its output if it fails.

    kadmin.local also exits with 0 after an error; then it starts a line with its name.
    """
    command = [program(name), *arguments]
    answer = run(command, seconds=seconds, environment=environment)
    if answer.returncode != 0 or any(line.startswith(f"{name}: ") for line in answer.stderr.splitlines()):
        raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")
    return answer
