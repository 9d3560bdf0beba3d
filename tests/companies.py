# SPDX-License-Identifier: Apache-2.0
"""Run the how-to pages for company primaries from top to bottom, against a server of that kind.

A ```conf block with a name is added to the server's configuration. A ```sh block without a name is run and must not
fail. A ```console block is run and its output compared. All other blocks with a name are files. `rndc reconfig` and
`knotc reload` make the server read the configuration so far. The primary is 10.0.0.53:53.

`python -m tests.companies [PAGE...]` writes the output of the commands into the pages.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.servers import PATH, Bind, Key, Knot, PowerDns, Server, program
from tests import examples

HOW_TO = examples.ROOT / "docs" / "how-to"
PRIMARY = ("10.0.0.53", "53")
ZONE = "corp.example."
CONTENT = """\
@   30 SOA ns1 hostmaster 1 3600 600 1209600 30
@   NS  ns1
@   MX  10 www
ns1 A   10.0.0.53
www A   192.0.2.1
"""
CLUSTER = "10.0.0.0/24"
ADMIN = Key("admin.")
SECONDS = 60.0

_BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)
_CHANGING = re.compile(r"\b\d{9,10}\b")

Configure = Callable[[Mapping[str, str]], None]


def comparable(text: str) -> str:
    """Return `text` without serials derived from the clock."""
    return _CHANGING.sub("...", text)


class Page:
    """One page, run in its own directory."""

    def __init__(self, text: str, directory: Path) -> None:
        self._text = text
        self._directory = directory
        self._bin = directory / "bin"
        self._bin.mkdir()
        self._wrap("ksd-ddns", f'"{sys.executable}" -m ksd_ddns')

    def run_page(self, server: Server, configure: Configure) -> str:
        """Return the page with the current output of its commands."""
        self._tools(server)
        said: dict[str, str] = {}

        def block(match: re.Match[str]) -> str:
            language, name, text = match["language"], match["file"], match["text"]
            if language == "conf":
                said[name] = said.get(name, "") + text
            elif name:
                (self._directory / name).write_text(self._there(text, server))
            elif language == "sh":
                if re.search(r"\b(rndc reconfig|knotc reload)\b", text):
                    configure(said)
                code, output = self._run(text, server)
                assert code == 0, f"{text}\n{output}"
            elif language == "console":
                return match[0].replace(text, _COMMAND.sub(command, text))
            return match[0]

        def command(match: re.Match[str]) -> str:
            _, output = self._run(match["command"], server)
            return f"$ {match['command']}\n{self._here(output, server)}"

        return _BLOCK.sub(block, self._text)

    def _run(self, script: str, server: Server) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-e", "-c", self._there(script, server)],
            cwd=self._directory,
            env={"PATH": f"{self._bin}:{PATH}", "PYTHONPATH": str(examples.ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def _there(self, text: str, server: Server) -> str:
        """Return `text` with the address of the real server."""
        for separator in (":", " ", " -p "):
            text = text.replace(separator.join(PRIMARY), f"{server.address}{separator}{server.port}")
        return text.replace(CLUSTER, "127.0.0.0/8")

    def _here(self, text: str, server: Server) -> str:
        for separator in (":", " ", " -p "):
            text = text.replace(f"{server.address}{separator}{server.port}", separator.join(PRIMARY))
        return text

    def _tools(self, server: Server) -> None:
        """Wrap the server's admin tools so that they find it."""
        if isinstance(server, Bind):
            key = server._control_key.file(server.directory)
            self._wrap("rndc", f"{program('rndc')} -k {key} -s {server.address} -p {server._spare[0].number}")
        elif isinstance(server, Knot):
            where = f"-b -c {server.configuration} -s {server.directory / 'knot.sock'}"
            self._wrap("knotc", f"{program('knotc')} {where}")
        elif isinstance(server, PowerDns):
            for tool in ("pdnsutil", "pdns_control"):
                self._wrap(tool, f"{program(tool)} --config-dir={server.directory}")

    def _wrap(self, name: str, command: str) -> None:
        path = self._bin / name
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)


def _nothing(said: Mapping[str, str]) -> None:
    """Change nothing."""


def _written(text: str, name: str) -> str:
    """Return the ```conf block `name` of a page."""
    found = re.search(rf"^```conf {re.escape(name)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


@contextmanager
def company_bind(text: str, directory: Path) -> Iterator[tuple[Server, Configure]]:
    """Yield a BIND that grants nothing until the page says so."""
    none = "allow-transfer { none; };"
    with Bind(zones={ZONE: CONTENT}, keys=[ADMIN], zone_options=none) as server:

        def configure(said: Mapping[str, str]) -> None:
            server.extra = said["key.conf"].replace("/etc/bind", str(directory))
            server.zone_options = " ".join(f"{said['read.conf']} {said.get('zone.conf', '')}".split())
            server.configuration.write_text(server._configuration())

        yield server, configure


@contextmanager
def company_knot(text: str, directory: Path) -> Iterator[tuple[Server, Configure]]:
    """Yield a Knot that grants nothing until the page says so."""
    with Knot(zones={ZONE: CONTENT}, keys=[ADMIN]) as server:

        def configure(said: Mapping[str, str]) -> None:
            server.extra = said["acl.conf"].removeprefix("acl:\n")
            server.zone_options = said["zone.conf"]
            included = said["key.conf"].replace("/etc/knot", str(directory))
            server.configuration.write_text(included + server._configuration())

        yield server, configure


@contextmanager
def powerdns(text: str, directory: Path) -> Iterator[tuple[Server, Configure]]:
    """Yield a PowerDNS whose zone has no metadata, with the settings of the page."""
    script = directory / "policy.lua"
    policy = re.search(r"^```lua policy.lua\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert policy
    script.write_text(policy[1])
    options = _written(text, "pdns.conf") + _written(text, "lua.conf").replace("/etc/powerdns/policy.lua", str(script))
    with PowerDns(zones={ZONE: CONTENT}, keys=[ADMIN], zone_options="", options=options) as server:
        yield server, _nothing


@contextmanager
def shared(text: str, directory: Path) -> Iterator[tuple[Server, Configure]]:
    """Yield a BIND with the zones of the pages, and the permissions of the page, if it has some."""
    rights = _written(text, "zone.conf") if "conf zone.conf" in text else None
    part = "0-63 NS localhost.\n" + "\n".join(f"{octet} CNAME {octet}.0-63" for octet in range(64))
    zones = {
        ZONE: CONTENT, "1.10.in-addr.arpa.": "", "8.b.d.0.1.0.0.2.ip6.arpa.": "",
        "2.0.192.in-addr.arpa.": part, "0-63.2.0.192.in-addr.arpa.": "",
    }  # fmt: skip
    grant = 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." zonesub A AAAA TXT; };'
    with Bind(zones=zones, keys=[Key("ksd-ddns.")], zone_options="") as server:
        lines = server.configuration.read_text().splitlines()
        for index, line in enumerate(lines):
            if line.startswith('zone "'):
                options = rights if rights and "arpa" in line else grant
                lines[index] = line.replace("type primary;", f"type primary; {' '.join(options.split())}")
        server.configuration.write_text("\n".join(lines))
        server.reload()
        shutil.copy(server.key_file, directory / "ksd-ddns.key")
        yield server, _nothing


PAGES = {
    "company-bind": company_bind,
    "company-knot": company_knot,
    "powerdns": powerdns,
    "several-clusters": shared,
    "reverse-zones": shared,
    "move": shared,
}


def play(name: str, directory: Path) -> tuple[str, str]:
    """Return a page as it is, and with the current output of its commands."""
    text = (HOW_TO / f"{name}.md").read_text(encoding="utf-8")
    with PAGES[name](text, directory) as (server, configure):
        return text, Page(text, directory).run_page(server, configure)


def main() -> None:
    """Write the output of their commands into the pages."""
    for name in sys.argv[1:] or PAGES:
        with tempfile.TemporaryDirectory() as directory:
            _, said = play(name, Path(directory))
        (HOW_TO / f"{name}.md").write_text(said, encoding="utf-8")


if __name__ == "__main__":
    main()
