#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Demonstrate ksd-ddns with its own primary: plan, apply and query, change an address, then run the controller.

All files are in a temporary directory, all servers on 127.0.0.1. On a terminal the servers run until Ctrl-C.
Exit codes: 0 if every command and answer was right, 1 if one was wrong, 2 if the primary cannot run here.
"""

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn

import dns.exception
import dns.flags
import dns.message
import dns.query

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "vmis.yaml"
ADDRESS = "127.0.0.1"
DAEMONS = {"bind9": "named", "knot": "knotd"}
# Settings in the environment of the shell could lead to another primary, so only these variables are passed on.
KEPT_VARIABLES = ("PATH", "HOME", "TERM", "COLORTERM", "LANG", "LC_ALL", "NO_COLOR", "COLUMNS")
START_SECONDS = 10.0
CHANGE_SECONDS = 10.0


class Wrong(Exception):
    """A command or an answer was wrong."""


class Stage:
    """A directory and an environment in which commands are printed, run and checked."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self.directory = directory
        self.settings = settings
        self.environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | settings
        self.colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def heading(self, text: str) -> None:
        """Print the title of the next step."""
        print(f"\n{self._styled('1;36', text)}", flush=True)

    def say(self, *lines: str) -> None:
        """Print explanations, dimmed."""
        for line in lines:
            print(self._styled("2", line), flush=True)

    def run(self, command: str, *, expected: int = 0) -> None:
        """Print and run `command` with our own standard output, so that its output has colors."""
        self._show(command)
        status = subprocess.run(shlex.split(command), cwd=self.directory, env=self.environment, check=False).returncode
        if status != expected:
            raise Wrong(f"{command}: exit code {status}, expected {expected}")

    def read(self, command: str) -> str:
        """Print and run `command`, print its output and return it."""
        self._show(command)
        done = subprocess.run(
            shlex.split(command),
            cwd=self.directory,
            env=self.environment,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(done.stdout.strip(), flush=True)
        return done.stdout

    def ask(self, command: str, *expected: str) -> None:
        """Print and run a query, and compare the addresses in its answer with `expected`."""
        answer = self.read(command)
        # "Address: X" of nslookup (that of the server has a tab), "NAME TTL IN TYPE X" of dig
        addresses = re.findall(r"^Address: (\S+)$|\sIN\s+A{1,4}\s+(\S+)$", answer, re.MULTILINE)
        found = sorted(a or b for a, b in addresses)
        if found == sorted(expected):
            print(self._styled("32", f"  right: {', '.join(found) or 'no address'}"), flush=True)
        else:
            raise Wrong(f"{command}: answered {found or 'nothing'}, expected {sorted(expected)}")

    def _show(self, command: str) -> None:
        print(f"\n{self._styled('1', f'$ {command}')}", flush=True)

    def _styled(self, style: str, text: str) -> str:
        return f"\033[{style}m{text}\033[0m" if self.colors else text


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--primary", choices=sorted(DAEMONS), default="bind9")
    parser.add_argument("--port", type=int, default=5353)
    options = parser.parse_args()

    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda number, _: sys.exit(128 + number))  # clean up in this case, too
    refuse_taken_port(options.port)
    directory = Path(tempfile.mkdtemp(prefix="ksd-ddns-demo."))
    settings = {
        "DNS_SERVER": ADDRESS,
        "DNS_PORT": str(options.port),
        "TSIG_KEY_FILE": "primary/ksd-ddns.key",
        "OWNERSHIP": "zone",
    }
    stage = Stage(directory, settings)
    try:
        play(stage, options.primary, options.port)
    except Wrong as e:
        print(f"demo: WRONG: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    else:
        return 0
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def play(stage: Stage, primary: str, port: int) -> None:
    """Run all steps. Raises Wrong at the first error."""
    nslookup = f"nslookup -port={port}"
    dig = f"dig @{ADDRESS} -p {port} +noall +answer"

    stage.heading(
        f"1. Start a primary: {DAEMONS[primary]} on {ADDRESS}, port {port}, with a key and the empty zone vm."
    )
    said = stage.read(f"ksd-ddns bootstrap --server {primary} --dir primary --address {ADDRESS} --port {port}")
    _, found, rest = said.partition("start it with: ")
    if not found:
        fail("ksd-ddns bootstrap did not print how to start the primary")
    with running(stage, rest.partition("\n")[0], port):
        stage.heading("2. Plan: what would change for the example VMIs. Nothing is sent.")
        stage.say("Settings of all commands:", *(f"  {k}={v}" for k, v in stage.settings.items()))
        shutil.copy(EXAMPLE, stage.directory / "vmis.yaml")
        stage.run("ksd-ddns plan --from vmis.yaml")

        stage.heading("3. Apply: send the plan as signed dynamic updates (RFC 2136), then query.")
        stage.run("ksd-ddns apply --from vmis.yaml")
        stage.ask(f"{nslookup} nic1.vmi-sec.secondary-test.vm {ADDRESS}", "10.10.0.5")
        stage.ask(f"{dig} data.db-0.prod.vm A data.db-0.prod.vm AAAA", "10.20.0.10", "2001:db8:20::10")
        stage.ask(f"{dig} db.prod.vm A front.web.eu.shop.vm AAAA", "192.168.50.20", "2001:db8:30::80")
        stage.ask(f"{dig} vlan_12.legacy.shop.vm A", "10.12.0.7", "10.12.0.8")

        stage.heading("4. Change the address of a VMI. Only the difference is sent.")
        stage.run("sed -i s/10.10.0.5/10.10.0.77/ vmis.yaml")
        stage.run("ksd-ddns plan --from vmis.yaml")
        stage.run("ksd-ddns apply --from vmis.yaml")
        stage.ask(f"{nslookup} nic1.vmi-sec.secondary-test.vm {ADDRESS}", "10.10.0.77")

        stage.heading("5. Plan again: the zone is in sync with the file.")
        stage.run("ksd-ddns plan --from vmis.yaml --exit-code")

        stage.heading("6. Run the controller: it follows the file, or a cluster.")
        status = free_port()
        with background(
            stage,
            f"ksd-ddns run --from vmis.yaml --status-address {ADDRESS}:{status}",
            lambda: ready(status),
            what="the controller is not ready",
        ):
            stage.run(f"curl -sS http://{ADDRESS}:{status}/readyz" if shutil.which("curl") else "ksd-ddns list")
            changed(stage, port, "nic1.vmi-sec.secondary-test.vm", "10.10.0.77", "10.10.0.99")
            stage.ask(f"{nslookup} nic1.vmi-sec.secondary-test.vm {ADDRESS}", "10.10.0.99")

            stage.heading("Every answer was right.")
            if sys.stdin.isatty() and sys.stdout.isatty():
                wait(stage, nslookup)


def changed(stage: Stage, port: int, name: str, old: str, new: str) -> None:
    """Change an address in the file and print the time until the primary answers with the new one."""
    path = stage.directory / "vmis.yaml"
    text = path.read_text()
    stage.say("", f"$ sed -i s/{old}/{new}/ vmis.yaml     # start the clock")
    written = path.with_suffix(".new")
    written.write_text(text.replace(old, new))
    query = dns.message.make_query(name, "A")
    began = time.perf_counter()
    written.replace(path)
    while time.perf_counter() - began < CHANGE_SECONDS:
        answer = dns.query.udp(query, ADDRESS, port=port, timeout=1)
        if any(str(rdata) == new for rrset in answer.answer for rdata in rrset):
            stage.say(
                f"  {1000 * (time.perf_counter() - began):.0f} ms from the change of the file to the changed answer"
            )
            return
    raise Wrong(f"the controller did not publish {new} within {CHANGE_SECONDS:g} s")


def wait(stage: Stage, nslookup: str) -> None:
    """Keep the primary running until Ctrl-C, and print what to try."""
    lines = [
        f"export {name}={shlex.quote(value)}\n"
        for name, value in {"PATH": os.environ["PATH"], **stage.settings}.items()
    ]
    (stage.directory / "env").write_text("".join(lines))
    print(f"""
The primary and the controller are running. Try this in another terminal:

    cd {stage.directory}
    . ./env
    {nslookup} vmi-sec.secondary-test.vm {ADDRESS}
    ksd-ddns list
    sed -i s/10.10.0.99/10.10.0.5/ vmis.yaml       # the controller follows the file: query again
    ksd-ddns plan --from vmis.yaml -o nsupdate     # nothing to change

Ctrl-C stops both and removes the directory.""")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    print()


@contextlib.contextmanager
def running(stage: Stage, command: str, port: int) -> Iterator[None]:
    """Run the primary in the directory of `stage`, until the block is left. It serves when the block is entered."""
    with background(stage, command, lambda: serves(port), what=f"the primary does not serve {ADDRESS}:{port}"):
        yield


@contextlib.contextmanager
def background(stage: Stage, command: str, is_up: Callable[[], bool], *, what: str) -> Iterator[None]:
    """Run `command` in the directory of `stage`, until the block is left. It is up when the block is entered."""
    log = stage.directory / f"{Path(shlex.split(command)[0]).name}.log"
    stage.say("", f"$ {command} &")
    with log.open("w") as output:
        # Its own session: Ctrl-C goes only to the demo, which then stops the primary.
        process = subprocess.Popen(
            shlex.split(command),
            cwd=stage.directory,
            env=stage.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                fail(f"{what}. Its output:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serves(port: int) -> bool:
    """Return whether the server is authoritative for the zone, over UDP and TCP."""
    query = dns.message.make_query("vm.", "SOA")
    try:
        answers = [ask(query, ADDRESS, port=port, timeout=1) for ask in (dns.query.udp, dns.query.tcp)]
    except (OSError, EOFError, dns.exception.DNSException):
        return False
    return all(answer.flags & dns.flags.AA for answer in answers)


def ready(port: int) -> bool:
    """Return whether the controller is ready."""
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def refuse_taken_port(port: int) -> None:
    """End the demo if the port cannot be used.

    Only binding it shows that: an mDNS responder on 0.0.0.0:5353 does not conflict with 127.0.0.1:5353.
    """
    for kind, transport in ((socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as named and knotd do
            try:
                probe.bind((ADDRESS, port))
                if kind == socket.SOCK_STREAM:
                    probe.listen()
            except OSError as e:
                fail(
                    f"{transport} port {port} on {ADDRESS} cannot be used: {e.strerror}. "
                    f"Find the process with: ss -ltunp 'sport = {port}'. Use another port with: make demo PORT=5454"
                )


def fail(text: str) -> NoReturn:
    """End the demo because the primary cannot run here."""
    print(f"demo: {text}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    sys.exit(main())
