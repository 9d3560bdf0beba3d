"""One change: from the changed VMI to the verified answer, against the same message, signed before, in a bare loop."""

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import bare
from bench.timing import Contest, in_turn, say
from bench.workload import ZONE, Workload, connect, parsed
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.primary.update import Result
from ksd_ddns.reconcile import Keeper
from ksd_ddns.zone.plan import Change, Kind, Ownership
from ksd_ddns.zone.update import Limits
from tests.servers import Bind, Knot, Server


def contests(*, sizes: tuple[int, ...], times: int) -> Iterator[Contest]:
    """Yield the comparisons: both servers, zones of all `sizes`.

    Ours: what the VMI wants is compared with what the zone holds, the message built, signed and sent on a connection
    that is open, the answer verified. Theirs: another VMI's message of the same form, signed before the first run.
    """
    for kind, size in itertools.product((Bind, Knot), sizes):
        work = Workload(size, Ownership.ZONE)
        say(f"single: filling a zone of {kind.program} with {work.records} records")
        with kind() as server, tempfile.TemporaryDirectory() as directory:
            work.command(server, "apply", "--from", str(work.write(Path(directory, "vmis.json"))))
            yield _contest(work, server, times=times)


def _contest(work: Workload, server: Server, *, times: int) -> Contest:
    desired = work.desired()
    with contextlib.closing(connect(server)) as session, contextlib.closing(bare.Client(server)) as client:
        keeper = Keeper(session, desired, work.scope, zone=ZONE, limits=Limits())
        keeper.read()
        ours = itertools.cycle([parsed(0, storage=2), parsed(0, storage=1)])

        def send() -> None:
            touched = desired.put(next(ours))
            outcomes = keeper.send(keeper.partial(touched).changes)
            if [outcome.result for outcome in outcomes] != [Result.ACKNOWLEDGED]:
                raise RuntimeError(f"the change was not made: {outcomes}")

        key = read_key_file(server.key_file)
        ready = itertools.cycle([bare.signed(ZONE, [change], key) for change in _there_and_back(work)])

        def exchange() -> None:
            client.exchange(next(ready))

        say(f"single: {times} times")
        mine, theirs = in_turn([send, exchange], times=times, seconds=60.0)
        keeper.read_back()
        if keeper.refused:
            raise RuntimeError(f"changes left no trace: {keeper.refused}")
    return Contest(f"one change, {server.program}, {work.records} records", "bare loop, signed before", mine, theirs)


def _there_and_back(work: Workload) -> tuple[Change, Change]:
    """Return the change of the addresses of another VMI's second interface, and the one that takes it back."""
    desired = work.desired()
    before = {name: node for name in desired.put(parsed(1)) if (node := desired.get(name))}
    after = {name: node for name in desired.put(parsed(1, storage=2)) if (node := desired.get(name))}
    (name,) = (name for name, node in before.items() if after[name] != node)
    return (
        Change(before[name], after[name], Kind.CHANGE),
        Change(after[name], before[name], Kind.CHANGE),
    )
