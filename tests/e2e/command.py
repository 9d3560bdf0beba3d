# SPDX-License-Identifier: Apache-2.0
"""ksd-ddns as a user runs it: arguments and environment in, exit code and output out."""

import contextlib
import gc
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness import vmis
from harness.servers import Server
from ksd_ddns.cli import main
from ksd_ddns.config.settings import Settings
from ksd_ddns.primary.connection import Server as Address

SECONDS = 60.0
PROGRAM = (sys.executable, "-m", "ksd_ddns")

_SECRET = re.compile(r'\bsecret\s+"?([^\s";]+)')


@contextlib.contextmanager
def sigint_not_ignored() -> Iterator[None]:
    """Let SIGINT end the processes that are started while the block runs.

    A shell script starts its background commands with SIGINT ignored, and every child inherits that. What has a
    handler here is back at the default in a child.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True, slots=True)
class Done:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> str:
        """The last line of standard output."""
        return self.out.splitlines()[-1] if self.out else ""

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.out)

    @property
    def zone(self) -> Any:
        """The single zone in standard output, parsed."""
        (zone,) = self.json["zones"]
        return zone


class Command:
    """`ksd-ddns` with the settings for one primary; checks that no output contains a secret.

    A call runs it in this process, which saves half a second each time; `process` starts a process.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self._directory = directory
        self.settings = dict(settings)
        self._count = 0

    def but(self, *without: str, **settings: object) -> "Command":
        """Return this command with other settings, and without those named."""
        changed = {**self.settings, **{name: str(value) for name, value in settings.items()}}
        return Command(self._directory, {name: value for name, value in changed.items() if name not in without})

    def __call__(self, *arguments: object, vmi: Iterable[Mapping[str, Any]] | None = None) -> Done:
        """Run it in this process; `vmi` are the VMIs of its `--from`."""
        argv = self._arguments(arguments, vmi)
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _process_state(),
        ):
            try:
                code = main(argv)
            except SystemExit as e:
                code = e.code if isinstance(e.code, int) else 1
        return self._proven(Done(code, _text(out), _text(err)))

    def process(
        self,
        *arguments: object,
        vmi: Iterable[Mapping[str, Any]] | None = None,
        stdin: bytes | None = None,
        program: Iterable[str] = PROGRAM,
    ) -> Done:
        """Run it as a process of its own."""
        done = subprocess.run(
            [*program, *self._arguments(arguments, vmi)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=self.environment,
            timeout=SECONDS,
            check=False,
        )
        return self._proven(Done(done.returncode, done.stdout.decode(), done.stderr.decode()))

    @contextlib.contextmanager
    def started(
        self, *arguments: object, vmi: Iterable[Mapping[str, Any]] | None = None
    ) -> Iterator["subprocess.Popen[str]"]:
        """Run it as a process during the block; it is killed at the end at the latest."""
        with sigint_not_ignored():
            process = subprocess.Popen(
                [*PROGRAM, *self._arguments(arguments, vmi)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment,
            )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def on_a_terminal(self, *arguments: object, vmi: Iterable[Mapping[str, Any]] | None = None) -> Done:
        """Run it as a process on a terminal; `out` is the content of the terminal."""
        try:
            ours, theirs = pty.openpty()
        except OSError as e:
            pytest.skip(f"no pseudo-terminals here, /dev/pts is not mounted: {e}")
        with subprocess.Popen(
            [*PROGRAM, *self._arguments(arguments, vmi)],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm-256color", **self.environment, "COLUMNS": "120"},
        ) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # a terminal reports this once no process uses it
                while chunk := os.read(ours, 1 << 16):
                    shown += chunk
            os.close(ours)
        return self._proven(Done(process.returncode, shown.decode(), ""))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command: that of this process, with its own settings only."""
        foreign = {*Settings.model_fields, "force_color", "no_color"}
        ours = {name: value for name, value in os.environ.items() if name.lower() not in foreign}
        return {**ours, **self.settings}

    def file(self, vmi: Iterable[Mapping[str, Any]]) -> Path:
        """Write the VMIs as kubectl does; return the path."""
        self._count += 1
        path = self._directory / f"vmis-{self._count}.json"
        path.write_bytes(vmis.as_json(vmis.listing(vmi)))
        return path

    def _arguments(self, arguments: Iterable[object], vmi: Iterable[Mapping[str, Any]] | None) -> list[str]:
        source = [] if vmi is None else ["--from", str(self.file(vmi))]
        return [*map(str, arguments), *source]

    def _proven(self, done: Done) -> Done:
        for secret in self._secrets():
            assert secret not in done.out, "standard output holds a secret"
            assert secret not in done.err, "standard error holds a secret"
        return done

    def _secrets(self) -> Iterator[str]:
        for name, value in self.settings.items():
            if name.endswith("SECRET") and len(value) > 3:
                yield value
            path = Path(value)
            if name.endswith("_FILE") and path.is_file() and os.access(path, os.R_OK):
                text = path.read_bytes().decode(errors="replace")
                yield from _SECRET.findall(text) if name.endswith("KEY_FILE") else [text.strip()]


def settings_of(primary: Server, *, through: Address | None = None) -> dict[str, str]:
    """Return the settings for `primary`, or for a proxy before it (`through`)."""
    return {
        "DNS_SERVER": str(through or Address(primary.address, primary.port)),
        "DNS_TIMEOUT": "5s",
        "TSIG_KEY_FILE": str(primary.key_file),
    }


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextlib.contextmanager
def _process_state() -> Iterator[None]:
    """Restore what a command sets for its whole process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threshold = gc.get_threshold()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.set_threshold(*threshold)
        gc.unfreeze()
