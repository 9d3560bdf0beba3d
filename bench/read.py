# SPDX-License-Identifier: Apache-2.0
"""Reading: AXFR and a plan without changes, against dig transferring the same zone."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.timing import Contest, in_turn, say
from bench.workload import ZONE, Workload, connect, dig_axfr
from harness.servers import Bind, Server
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.plan import Ownership


def contests(*, records: int, times: int) -> Iterator[Contest]:
    """Yield the comparisons in both ownership modes.

    dig verifies signatures as we do, and prints every record as text (discarded). `dig +noall` prints nothing: it shows
    what a transfer costs a C program. The command is measured as a process, including the start of the interpreter and
    reading the file of VMIs.
    """
    for ownership in (Ownership.ZONE, Ownership.TXT):
        work = Workload(records, ownership)
        say(f"read: filling a zone with {work.records} records, OWNERSHIP={ownership}")
        with Bind() as server, tempfile.TemporaryDirectory() as directory:
            path = work.write(Path(directory, "vmis.json"))
            work.command(server, "apply", "--from", str(path))
            work.check(server)
            yield from _contests(work, server, path, times=times)


def _contests(work: Workload, server: Server, path: Path, *, times: int) -> Iterator[Contest]:
    desired = work.desired()

    def read_and_plan() -> None:
        with contextlib.closing(connect(server)) as session:
            live = session.read(ZONE)
            found = planning.full(desired, live, work.scope, max_delete_percent=30)
        if found.changes or found.conflicts or found.owned < work.vmis:
            raise RuntimeError(
                f"{len(found.changes)} changes and {len(found.conflicts)} conflicts in a zone that is right"
            )

    def command() -> None:
        work.command(server, "plan", "--exit-code", "--from", str(path))

    def dig() -> None:
        dig_axfr(server)

    def silent_dig() -> None:
        dig_axfr(server, "+noall")

    say(f"read: {times} times, OWNERSHIP={work.ownership}")
    ours, whole, theirs, silent = in_turn([read_and_plan, command, dig, silent_dig], times=times)
    name = f"read {work.records} records, {work.ownership}"
    yield Contest(f"{name}: AXFR and plan", "dig axfr", ours, theirs, 2.5)
    yield Contest(f"{name}: AXFR and plan", "dig axfr +noall", ours, silent)
    yield Contest(f"{name}: ksd-ddns plan --from FILE.json", "dig axfr", whole, theirs)
