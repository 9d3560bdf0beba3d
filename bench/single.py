# SPDX-License-Identifier: Apache-2.0
"""One change, from the VMI event to the verified response, against a bare loop with messages signed in advance."""

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import bare
from bench.timing import Contest, in_turn, say
from bench.workload import ZONE, Workload, connect, parsed
from harness.servers import Bind, Knot, Server
from ksd_ddns.kubevirt.events import VmiChanged, VmisListed
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.sync.zone_sync import ZoneSync
from ksd_ddns.zone.plan import Change, Kind, Ownership
from ksd_ddns.zone.reconciler import Options, Reconciler
from ksd_ddns.zone.reconciler.events import Accepted, Wait
from ksd_ddns.zone.update import Limits

_STEADY = Options(hold_down=0.0, drift_interval=86_400.0, full_read_interval=86_400.0)
"""No serial checks between the changes."""


def contests(*, sizes: tuple[int, ...], times: int) -> Iterator[Contest]:
    """Yield the comparisons with both servers and zones of all `sizes`.

    Ours: compare the wanted records with the zone; build, sign and send the message on an open connection; verify the
    response. Theirs: a message of the same form for another VMI, signed before the first run.
    """
    for kind, size in itertools.product((Bind, Knot), sizes):
        work = Workload(size, Ownership.ZONE)
        say(f"single: filling a zone of {kind.program} with {work.records} records")
        with kind() as server, tempfile.TemporaryDirectory() as directory:
            work.command(server, "apply", "--from", str(work.write(Path(directory, "vmis.json"))))
            yield _contest(work, server, times=times)


def _contest(work: Workload, server: Server, *, times: int) -> Contest:
    with contextlib.closing(connect(server)) as session, contextlib.closing(bare.Client(server)) as client:
        reconciler = Reconciler(
            ZONE, rules=work.rules, scope=work.scope, namespaces=("",), options=_STEADY, jitter=lambda: 0.5
        )
        sync = ZoneSync(session, reconciler, Limits())
        reconciler.handle(VmisListed("", work.parsed()), time.monotonic())
        while not isinstance(action := reconciler.next(time.monotonic()), Wait):
            sync.perform(action)
        # In turn, because a VMI that changes all the time would be rate limited. Number 1 is theirs.
        ours = itertools.cycle([parsed(i, storage=s) for s in (2, 1) for i in range(2, work.vmis)[:100]])

        def send() -> None:
            now = time.monotonic()
            reconciler.handle(VmiChanged(next(ours), now), now)
            # Reading back can wait while more events come, as in a burst.
            action = reconciler.next(now, busy=True)
            sync.perform(action)
            if not any(isinstance(fact, Accepted) for fact in reconciler.take_facts()):
                raise RuntimeError(f"the change was not made: {action}")

        key = read_key_file(server.key_file)
        ready = itertools.cycle([bare.signed(ZONE, [change], key) for change in _there_and_back(work)])

        def exchange() -> None:
            client.exchange(next(ready))

        say(f"single: {times} times")
        mine, theirs = in_turn([send, exchange], times=times, seconds=60.0)
        # The bare loop may leave another VMI with changed addresses: restore them, and wait until the zone is in sync.
        while not reconciler.settled and not reconciler.refusals:
            action = reconciler.next(time.monotonic())
            if isinstance(action, Wait):
                time.sleep(min(1.0, max(0.0, action.until - time.monotonic())))
            else:
                sync.perform(action)
        if reconciler.refusals:
            raise RuntimeError("changes were refused")
    return Contest(f"one change, {server.program}, {work.records} records", "bare loop, signed before", mine, theirs)


def _there_and_back(work: Workload) -> tuple[Change, Change]:
    """Return a change of the addresses of VMI 1's second interface, and the change that reverts it."""
    desired = work.desired()
    before = {name: node for name in desired.put(parsed(1)) if (node := desired.get(name))}
    after = {name: node for name in desired.put(parsed(1, storage=2)) if (node := desired.get(name))}
    (name,) = (name for name, node in before.items() if after[name] != node)
    return (
        Change(before[name], after[name], Kind.CHANGE),
        Change(after[name], before[name], Kind.CHANGE),
    )
