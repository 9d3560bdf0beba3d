# SPDX-License-Identifier: Apache-2.0
"""Run the commands of the tutorial "The first name" one after another.

tests/deploy/test_first_cluster.py runs the other tutorial.

A command that ends with `&` keeps running until the end. Ports 5353 and 8081 are replaced by free ones. A
change appears in DNS after a moment, so `dig` is repeated until it prints what the page shows.

`python -m tests.tutorial` writes the output of the commands into the page.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from harness.servers import PATH, Port
from tests import examples

PAGE = examples.ROOT / "docs" / "tutorial" / "first-name.md"
SECONDS = 30.0

_BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)


class Shell:
    """A directory and an environment; background processes end with the block."""

    def __init__(self, directory: Path, ports: dict[str, int]) -> None:
        self._directory = directory
        self._ports = ports
        self._running: list[subprocess.Popen[bytes]] = []
        program = directory / "bin" / "ksd-ddns"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ksd_ddns "$@"\n')
        program.chmod(0o755)
        self._environment = {
            "PATH": f"{program.parent}:{PATH}",
            "PYTHONPATH": str(examples.ROOT),
            "DNS_PORT": str(ports["5353"]),
            "STATUS_ADDRESS": f"127.0.0.1:{ports['8081']}",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=SECONDS)

    def run(self, command: str, expected: str) -> str:
        """Return the output of `command`."""
        there = re.sub(r"\b(5353|8081)\b", lambda found: str(self._ports[found[0]]), command)
        there = there.replace("bootstrap --server", f"bootstrap --port {self._ports['5353']} --server")
        if there.startswith("export "):
            name, _, value = there.removeprefix("export ").partition("=")
            self._environment[name] = value
            return ""
        if there.endswith(" &"):
            self._running.append(
                subprocess.Popen(
                    ["sh", "-c", there.removesuffix(" &")],
                    cwd=self._directory,
                    env=self._environment,
                    start_new_session=True,
                )
            )
            return ""
        deadline = time.monotonic() + SECONDS
        while True:
            output = self._output(there)
            right = examples.comparable(output) == examples.comparable(expected)
            if right or not there.startswith("dig ") or time.monotonic() > deadline:
                return output
            time.sleep(0.1)

    def _output(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        output = done.stdout.replace(f"{self._directory}/", "/home/you/first-name/")
        output = re.sub(r"start it with: \S+/named", "start it with: /usr/sbin/named", output)
        return re.sub(rf"\b{self._ports['5353']}\b", "5353", output)


def with_output(text: str, run: Callable[[str, str], str], write: Callable[[str, str], None]) -> str:
    """Return the page `text` with the output of its commands.

    `run` gets a command and the output that the page shows, and returns the real one. `write` gets each file.
    """

    def block(match: re.Match[str]) -> str:
        if match["file"]:
            write(match["file"], match["text"])
        if match["language"] != "console":
            return match[0]
        return match[0].replace(match["text"], _COMMAND.sub(command, match["text"]))

    def command(match: re.Match[str]) -> str:
        return f"$ {match['command']}\n{run(match['command'], match['output'])}"

    return _BLOCK.sub(block, text)


def run_page(text: str) -> str:
    """Return the page `text` with the current output of its commands."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = [Port.reserve(), Port.reserve()]
        for port in ports:
            stack.callback(port.release)
        shell = stack.enter_context(Shell(directory, {"5353": ports[0].number, "8081": ports[1].number}))

        def write(name: str, content: str) -> None:
            (directory / name).write_text(content)

        return with_output(text, shell.run, write)


def main() -> None:
    """Write the output of the commands into the page."""
    PAGE.write_text(run_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
