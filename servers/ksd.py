# SPDX-License-Identifier: Apache-2.0
"""ksd-ddns as a process."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.vmis import as_json, listing

_SECONDS = 120.0


class Done(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def failures(self) -> str:
        """What `check` reports as failed, in one line."""
        lines = [line.removeprefix("FAIL").strip() for line in self.out.splitlines() if line.startswith("FAIL")]
        return "; ".join(lines) or self.summary

    @property
    def summary(self) -> str:
        """The error, or the last line of the output."""
        lines = self.err.splitlines() or self.out.splitlines() or [f"exit code {self.code}"]
        return lines[-1]


_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["ksd_ddns.cli.apply", "ksd_ddns.cli.check", "ksd_ddns.cli.plan"])


def run(settings: Mapping[str, str], *arguments: str, vmis: Sequence[Mapping[str, Any]]) -> Done:
    """Run ksd-ddns with `settings` and `vmis`, in a process that is forked from one that has imported it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "vmis.json").write_bytes(as_json(listing(vmis)))
        environment = {**os.environ, "MAX_DELETE_PERCENT": "100", "DNS_TIMEOUT": "5s", **settings}
        argv = [arguments[0], "--from", str(directory / "vmis.json"), *arguments[1:]]
        process = _fork.Process(target=_main, args=(environment, argv, name), daemon=True)
        process.start()
        process.join(_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"ksd-ddns {arguments[0]} did not end within {_SECONDS:g} s")
        return Done(process.exitcode, (directory / "out").read_text(), (directory / "err").read_text())


def _main(environment: dict[str, str], argv: list[str], directory: str) -> None:
    from ksd_ddns.cli import main  # noqa: PLC0415 - in the child, where it is imported already

    os.environ.clear()
    os.environ.update(environment)
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(Path(directory) / name, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.exit(main(argv))
