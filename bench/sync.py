# SPDX-License-Identifier: Apache-2.0
"""Filling an empty zone, against nsupdate with the same records, and against messages signed in advance."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import bare
from bench.timing import Contest, Stopwatch, say
from bench.workload import ZONE, Workload, connect, run
from harness.servers import Bind, Knot, Server, program
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.sync.one_pass import OnePass
from ksd_ddns.zone.plan import Change, Ownership
from ksd_ddns.zone.update import Limits, batches

PER_MESSAGE = 500
"""Records per nsupdate message."""


def contests(*, records: int, times: int) -> Iterator[Contest]:
    """Yield the comparisons: BIND in both ownership modes, Knot in that of the bundled primary.

    Each run has a new server with the empty zone that bootstrap writes. Ours is measured twice: with the VMIs in memory
    (read the empty zone, plan, send, read back and compare), and as a process that reads a file of VMIs, including the
    start of the interpreter. nsupdate (-v: TCP) has its additions in a file, with the zone given; it sends no
    prerequisites and does not check the result. The bare loop has the messages of `apply`, signed in advance.
    """
    for kind, ownership in ((Bind, Ownership.ZONE), (Bind, Ownership.TXT), (Knot, Ownership.ZONE)):
        work = Workload(records, ownership)
        with tempfile.TemporaryDirectory() as directory:
            race = _Race(kind, work, Path(directory))
            for round_ in range(times):
                say(f"sync: {work.records} records into {kind.program}, OWNERSHIP={ownership}: {round_ + 1} of {times}")
                race.run()
        name = f"sync {work.records} records, {kind.program}, {ownership}"
        theirs = f"nsupdate -v, {PER_MESSAGE} a message"
        yield Contest(f"{name}: VMIs in memory", theirs, race.in_memory.seconds, race.nsupdate.seconds, 1.0)
        yield Contest(f"{name}: VMIs in memory", "bare loop, messages ready", race.in_memory.seconds, race.bare.seconds)
        yield Contest(
            f"{name}: ksd-ddns apply --from FILE.json", theirs, race.command.seconds, race.nsupdate.seconds, 1.0
        )


class _Race:
    """The ways to fill a zone, one after the other."""

    def __init__(self, kind: type[Server], work: Workload, directory: Path) -> None:
        self._kind = kind
        self._work = work
        self._vmis = work.write(directory / "vmis.json")
        self._in_memory = work.parsed()
        self._commands = directory / "nsupdate.txt"
        self._script = work.script(per_message=PER_MESSAGE)
        self._batches: list[tuple[Change, ...]] = [each.changes for each in batches(work.additions().changes, Limits())]
        self.in_memory, self.command, self.nsupdate, self.bare = Stopwatch(), Stopwatch(), Stopwatch(), Stopwatch()

    def run(self) -> None:
        with self._kind() as server, contextlib.closing(connect(server)) as session:
            one = OnePass(
                session,
                self._in_memory,
                zone=ZONE,
                rules=self._work.rules,
                scope=self._work.scope,
                limits=Limits(),
            )
            self.in_memory.time(lambda: _apply(one))
            self._work.check(server)
        with self._kind() as server:
            self.command.time(lambda: self._work.command(server, "apply", "--from", str(self._vmis)))
            self._work.check(server)
        with self._kind() as server:
            self._commands.write_text(f"server {server.address} {server.port}\n{self._script}")
            command = [program("nsupdate"), "-v", "-k", str(server.key_file), str(self._commands)]
            self.nsupdate.time(lambda: run(command))
            self._work.check(server)
        with self._kind() as server, contextlib.closing(bare.Client(server)) as client:
            key = read_key_file(server.key_file)
            ready = [bare.signed(ZONE, changes, key, ident=i) for i, changes in enumerate(self._batches)]
            self.bare.time(lambda: client.send_all(ready, in_flight=Limits().in_flight))
            self._work.check(server)


def _apply(one: OnePass) -> None:
    if not one.apply().complete:
        raise RuntimeError("names were refused or in conflict in an empty zone")
