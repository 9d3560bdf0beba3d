# SPDX-License-Identifier: Apache-2.0
"""`python -m servers` tests the servers that it finds, and writes docs/reference/servers.md."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from harness.servers import NotServing, program, stop_all
from harness.servers.programs import run
from servers import page, script
from servers.outcome import Report, Step, Verdict
from servers.trial import CANDIDATES, Candidate

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "servers.md"

_VERSION = {
    "named": ("-v",),
    "knotd": ("--version",),
    "pdns_server": ("--version",),
    "yadifad": ("-V",),
    "samba": ("--version",),
}


def main() -> int:
    """Run the script against each server, write the page, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m servers", description=(__doc__ or "").strip())
    parser.add_argument("directory", nargs="*", help="directory with servers (default: those on PATH)")
    parser.add_argument("--only", help="test only servers whose kind contains this text, such as BIND")
    parser.add_argument("--step", action="append", type=Step, help="with --json: run only this step (several times)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and write no page")
    parser.add_argument("--add", action="store_true", help="keep the results of other servers on the page")
    options = parser.parse_args()
    if options.json:
        try:
            found = list(_tested(options.directory, options.only or "", options.step or tuple(Step)))
        finally:
            stop_all()
        sys.stdout.buffer.write(msgspec.json.encode(found))
        return 0
    tested: dict[str, Report] = {}
    for directory in options.directory or [""]:
        # Two directories may have the same server: one for Samba has the named that Samba needs.
        tested |= {item.name: item for item in _in_process(directory, options.only or "")}
    before = page.results(PAGE.read_text(encoding="utf-8")) if options.add else []
    found = [*tested.values(), *(item for item in before if item.name not in tested)]
    if not found:
        print("no server found: put their directories in SERVERS, or on PATH", file=sys.stderr)
        return 2
    PAGE.write_text(page.text(found), encoding="utf-8")
    return 0


def _in_process(directory: str, only: str) -> list[Report]:
    """Test the servers in `directory` in another process, which has it in front of its PATH."""
    path = os.pathsep.join(filter(None, (directory, os.environ.get("PATH", os.defpath))))
    command = [sys.executable, "-m", "servers", "--json", "--only", only, *filter(None, (directory,))]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=list[Report])


def _tested(directories: list[str], only: str, steps: Collection[Step]) -> Iterator[Report]:
    for binary, candidates in CANDIDATES.items():
        if directories and not any((Path(directory) / binary).exists() for directory in directories):
            continue
        try:
            version = _version(binary)
        except NotServing:
            continue
        for candidate in candidates:
            if only in candidate.kind:
                yield _test(candidate, _name(candidate, version), steps)


def _test(candidate: Candidate, name: str, steps: Collection[Step]) -> Report:
    outcomes = {}
    for step, outcome in script.outcomes(candidate, steps):
        outcomes[step] = outcome
        if outcome.verdict is not Verdict.NOT_APPLICABLE:
            print(f"{name}: {step}: {outcome.verdict}  {outcome.note}", file=sys.stderr, flush=True)
    return Report(name, outcomes)


def _version(binary: str) -> str:
    answer = run([program(binary), *_VERSION[binary]])
    found = re.search(r"\d+\.\d+(\.\d+)*", answer.stdout + answer.stderr)
    if found is None:
        raise NotServing(f"{binary} does not show its version")
    return found[0]


def _name(candidate: Candidate, version: str) -> str:
    kind, _, variant = candidate.kind.partition(" ")
    if variant == "BIND9_DLZ":
        variant = f"BIND {_version('named')} (BIND9_DLZ)"
    return f"{kind} {version}{', ' if variant else ''}{variant}"


if __name__ == "__main__":
    sys.exit(main())
