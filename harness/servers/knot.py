# SPDX-License-Identifier: Apache-2.0
"""Knot DNS: knotd as a primary."""

from typing import Literal

from harness.servers.errors import NotServing
from harness.servers.key import Key
from harness.servers.programs import Answer, program, run, server_program
from harness.servers.server import Server
from ksd_ddns import bootstrap


class Knot(Server):
    """knotd."""

    kind = "knot"
    program = "knotd"

    def _command(self) -> list[str]:
        return [server_program("knotd"), *bootstrap.command(self.bundled())[1:]]

    def _configuration(self) -> str:
        keys = "".join(
            f"  - id: {key.name}\n    algorithm: {key.algorithm}\n    secret: {key.secret}\n" for key in self.keys
        )
        zone_options = "acl: all" if self.zone_options is None else self.zone_options
        zones = "".join(
            f'  - domain: {name}\n    file: "{self.zone_path(name).name}"\n' + _indent(zone_options)
            for name in self.zone_names
        )
        return f"""\
server:
    listen: {self.address}@{self.port}
    rundir: "{self.directory}"
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
{_indent(self.options)}
log:
  - target: stderr
    any: info
database:
    storage: "{self.directory}"
    journal-db-max-size: 1G
key:
{keys}
acl:
  - id: all
    key: [{", ".join(key.name for key in self.keys)}]
    action: [query, transfer, update]
{self.extra}
template:
  - id: default
    storage: "{self.directory}"
    zonefile-sync: 1h
    journal-max-depth: 10000
zone:
{zones}"""

    def knotc(self, *arguments: str) -> str:
        """Run knotc and wait until the server has done it, for example `knotc("zone-flush", "vm.")`."""
        command = [program("knotc"), "-b", "-s", str(self.directory / "knot.sock"), *arguments]
        answer = run(command)
        if answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}\n{self.log()}")
        return answer.stdout

    def knsupdate(
        self, script: str, *, key: Key | Literal[True] | None = True, zone: str | None = None, check: bool = True
    ) -> Answer:
        """Send a knsupdate script over TCP, as `nsupdate` does; knsupdate does not read tsig-keygen's files."""
        if key is True:
            key = Key(self.key_name, secret=self.secret)
        command = [program("knsupdate"), "-v", "-t", "30"]
        if key is not None:
            path = self.directory / "knsupdate.key"
            path.write_text(f"{key.algorithm}:{key.name}:{key.secret}\n")
            command += ["-k", str(path)]
        return self._update(command, script, zone=zone, check=check)

    def reload(self) -> None:
        self.knotc("reload")
        self.knotc("zone-reload")

    def flush(self) -> None:
        self.knotc("zone-flush")


def _indent(text: str) -> str:
    return "".join(f"    {line.strip()}\n" for line in text.splitlines() if line.strip())
