# SPDX-License-Identifier: Apache-2.0
"""Command line clients: dig and nsupdate."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from harness.servers.errors import NotServing
from harness.servers.programs import Answer, program, run


class Record(NamedTuple):
    """One record as dig prints it; owner in lower case."""

    owner: str
    ttl: int
    type: str
    rdata: str


class Client:
    """The command line clients of a running server, which the subclass describes."""

    address: str

    @property
    def port(self) -> int:
        """The port that the server listens on, UDP and TCP."""
        raise NotImplementedError

    @property
    def zone_names(self) -> tuple[str, ...]:
        """The zones it serves."""
        raise NotImplementedError

    @property
    def key_file(self) -> Path:
        """The key that signs, in the form of tsig-keygen."""
        raise NotImplementedError

    def log(self) -> str:
        """Return the server's log so far."""
        raise NotImplementedError

    def dig(self, *arguments: str, key: Path | Literal[True] | None = None, check: bool = True) -> str:
        """Query this server with dig; return its output. `key` signs: a key file, or True for the server's own."""
        signed = () if key is None else ("-k", str(self.key_file if key is True else key))
        command = [
            program("dig"),
            f"@{self.address}",
            "-p",
            str(self.port),
            *signed,
            "+tries=1",
            "+time=5",
            *arguments,
        ]
        answer = run(command)
        if check and answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def query(self, name: str, rdtype: str) -> list[str]:
        """Return the sorted rdata of one RRset, as text; nothing when there is none."""
        return sorted(self.dig("+short", "+norecurse", name, rdtype).splitlines())

    def status(self, name: str, rdtype: str, *, key: Path | Literal[True] | None = None) -> str:
        """Return the response code, for example NXDOMAIN."""
        found = re.search(r"status: ([A-Z]+)", self.dig("+norecurse", name, rdtype, key=key))
        assert found, f"no response code from {self}"
        return found[1]

    def ttl(self, name: str, rdtype: str) -> int | None:
        """Return the TTL of one RRset; None when there is none."""
        for record in _records(self.dig("+noall", "+answer", "+norecurse", name, rdtype)):
            if record.type == rdtype:
                return record.ttl
        return None

    def serial(self, zone: str | None = None) -> int:
        """Return the serial of the zone."""
        return int(self.query(zone or self.zone_names[0], "SOA")[0].split()[2])

    def axfr(
        self, zone: str | None = None, *, soa: bool = True, key: Path | Literal[True] | None = True
    ) -> frozenset[Record]:
        """Return the full zone by AXFR, signed with the key; without the SOA if `soa` is false."""
        zone = zone or self.zone_names[0]
        text = self.dig("+noall", "+answer", "+comments", "+time=30", zone, "AXFR", key=key)
        records = frozenset(_records(text))
        if "Transfer failed" in text or not any(record.type == "SOA" for record in records):
            raise NotServing(f"{self} does not transfer {zone}\n{text}\n{self.log()[-2000:]}")
        return records if soa else frozenset(record for record in records if record.type != "SOA")

    def nsupdate(
        self, script: str, *, key: Path | Literal[True] | None = True, zone: str | None = None, check: bool = True
    ) -> Answer:
        """Send an nsupdate script over TCP: `server` and `zone` are added, and `send` if it is missing.

        Raises NotServing if nsupdate fails, unless `check` is false.
        """
        signed = () if key is None else ("-k", str(self.key_file if key is True else key))
        command = [program("nsupdate"), "-v", "-t", "30", *signed]
        return self._update(command, script, zone=zone, check=check)

    def _update(self, command: list[str], script: str, *, zone: str | None, check: bool) -> Answer:
        script = script.strip("\n")
        lines = [f"server {self.address} {self.port}"]
        if not re.search(r"^\s*zone\s", script, re.MULTILINE):
            lines.append(f"zone {zone or self.zone_names[0]}")
        lines.append(script)
        if not re.search(r"^\s*send\s*$", script, re.MULTILINE):
            lines.append("send")
        answer = run(command, "\n".join(lines) + "\n")
        failed = answer.returncode != 0 or "update failed" in (answer.stdout + answer.stderr)
        if check and failed:
            raise NotServing(f"{script}\n{answer.stdout}{answer.stderr}\n{self.log()[-2000:]}")
        return answer


def _records(text: str) -> Iterator[Record]:
    """Yield the records in an answer section of dig."""
    for line in text.splitlines():
        if not line or line.startswith(";"):
            continue
        owner, ttl, _, rdtype, rdata = line.split(None, 4)
        if rdtype != "TSIG":
            yield Record(owner.lower(), int(ttl), rdtype, rdata)
