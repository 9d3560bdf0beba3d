# SPDX-License-Identifier: Apache-2.0
"""PowerDNS: pdns_server as a primary."""

import contextlib
import sqlite3
from pathlib import Path

from harness.servers.errors import NotServing
from harness.servers.programs import program, run, server_program
from harness.servers.server import Server

_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")


class PowerDns(Server):
    """pdns_server with its SQLite backend; `zone_options` are pdnsutil commands, one per line, with ZONE for the zone.

    Its caches have their defaults: updates must be visible nevertheless.
    """

    kind = "powerdns"
    program = "pdns_server"

    def _command(self) -> list[str]:
        return [server_program("pdns_server"), f"--config-dir={self.directory}"]

    def _prepare(self) -> None:
        assert self.zones is not None, "PowerDNS is never bundled: it needs `zones`"
        with contextlib.closing(sqlite3.connect(self.directory / "pdns.sqlite3")) as database:
            database.executescript(_SCHEMA.read_text())
        super()._prepare()
        for key in self.keys:
            self.pdnsutil("import-tsig-key", key.name.removesuffix("."), key.algorithm, key.secret)
        for name in self.zones:
            zone = name.removesuffix(".") or "."
            self.pdnsutil("load-zone", zone, str(self.zone_path(name)))
            for line in (self.zone_options if self.zone_options is not None else self._everything()).splitlines():
                self.pdnsutil(*line.replace("ZONE", zone).split())

    def _everything(self) -> str:
        key = self.keys[0].name.removesuffix(".")
        return f"add-meta ZONE TSIG-ALLOW-AXFR {key}\nadd-meta ZONE TSIG-ALLOW-DNSUPDATE {key}"

    def _configuration(self) -> str:
        return f"""\
launch=gsqlite3
gsqlite3-database={self.directory}/pdns.sqlite3
local-address={self.address}
local-port={self.port}
socket-dir={self.directory}
dnsupdate=yes
daemon=no
guardian=no
loglevel=6
receiver-threads=1
distributor-threads=1
{self.options}
"""

    def pdnsutil(self, *arguments: str) -> str:
        """Run pdnsutil, for example `pdnsutil("set-meta", "example", "TSIG-ALLOW-AXFR", "ksd")`."""
        command = [program("pdnsutil"), f"--config-dir={self.directory}", *arguments]
        answer = run(command)
        if answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def reload(self) -> None:
        """Clear the caches."""
        command = [program("pdns_control"), f"--config-dir={self.directory}", "purge"]
        answer = run(command)
        if answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")

    def flush(self) -> None:
        """Do nothing: the database is always up to date."""
