# SPDX-License-Identifier: Apache-2.0
"""Run the examples in the documentation: the commands of each `console` block against a primary.

The blocks of a page share one directory and one primary, a BIND with the empty zone vm., configured as by bootstrap. A
block with a file name after its language (```yaml vmis.yaml) is a file in the directory. Port 5353 in a page is the
port of that primary.

Pages that need a special server or a cluster have their own tests (SPECIAL, test_how_to, test_companies,
deploy/test_first_cluster).

`python -m tests.examples PAGE...` writes the output of the commands into the pages.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.servers import Bind, Server

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60.0
SPECIAL = frozenset(
    {
        "first-name", "first-cluster", "tls", "active-directory",
        "company-bind", "company-knot", "powerdns", "several-clusters", "reverse-zones", "move",
    }
)  # fmt: skip

_BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)
_PASSING = re.compile(r"\b\d{9,10}\b|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}")


def has_examples(page: Path) -> bool:
    """Return whether `page` has commands to run."""
    return any(block["language"] == "console" for block in _BLOCK.finditer(page.read_text(encoding="utf-8")))


def comparable(text: str) -> str:
    """Return `text` without serials and times, which change with each run."""
    return _PASSING.sub("...", text)


def run_page(text: str, server: Server, directory: Path, *, replaced: Mapping[str, str] | None = None) -> str:
    """Return the page `text` with the current output of its commands. They run in `directory`, which is filled here.

    With `replaced` the page has all settings itself. Its keys are replaced by its values in the files of the page.
    """
    shutil.copy(server.key_file, directory / "ksd-ddns.key")
    shutil.copytree(ROOT / "examples", directory / "examples")
    program = directory / "bin" / "ksd-ddns"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ksd_ddns "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    if replaced is None:
        environment |= {"DNS_PORT": str(server.port), "TSIG_KEY_FILE": "ksd-ddns.key"}

    def block(match: re.Match[str]) -> str:
        if match["file"]:
            content = match["text"].replace("5353", str(server.port))
            for said, done in (replaced or {}).items():
                content = content.replace(said, done)
            (directory / match["file"]).write_text(content)
        if match["language"] != "console":
            return match[0]
        return match[0].replace(match["text"], _COMMAND.sub(command, match["text"]))

    def command(match: re.Match[str]) -> str:
        done = subprocess.run(
            match["command"].replace("5353", str(server.port)),
            shell=True,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said = re.sub(rf"\b{server.port}\b", "5353", done.stdout)
        return f"$ {match['command']}\n{said}"

    return _BLOCK.sub(block, text)


def main() -> None:
    """Write the output of their commands into the pages."""
    for page in map(Path, sys.argv[1:]):
        text = page.read_text(encoding="utf-8")
        with Bind() as server, tempfile.TemporaryDirectory() as directory:
            page.write_text(run_page(text, server, Path(directory)), encoding="utf-8")


if __name__ == "__main__":
    main()
