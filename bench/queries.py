# SPDX-License-Identifier: Apache-2.0
"""READ=queries, against the same work by transfer: reading a zone that is right, and one change with its read back."""

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench.timing import Contest, in_turn, say
from bench.workload import OWNER, ZONE, Workload, connect, parsed
from harness.servers import Bind, Server
from ksd_ddns.kubevirt.events import VmiChanged, VmisListed
from ksd_ddns.primary.session import Session
from ksd_ddns.sync.zone_sync import ZoneSync
from ksd_ddns.zone import index
from ksd_ddns.zone.plan import Ownership, Read
from ksd_ddns.zone.reconciler import Options, Reconciler
from ksd_ddns.zone.reconciler.events import Send, Wait
from ksd_ddns.zone.update import Limits

VMIS = 1_000

_STEADY = Options(hold_down=0.0, drift_interval=86_400.0, full_read_interval=86_400.0)
"""No reads in turn between the changes."""


def contests(*, times: int) -> Iterator[Contest]:
    """Yield the comparisons with VMIS VMIs of three names each. Both sides read back what they sent."""
    work = Workload(9 * VMIS, Ownership.TXT)
    say(f"queries: filling two zones for {work.vmis} VMIs")
    with Bind() as by_queries, Bind() as by_transfer, contextlib.ExitStack() as stack:
        settings: dict[Server, Read] = {by_queries: Read.QUERIES, by_transfer: Read.AXFR}
        with tempfile.TemporaryDirectory() as directory:
            path = work.write(Path(directory, "vmis.json"))
            for server, how in settings.items():
                work.command(server, "apply", "--from", str(path), "--read", how.value)
        vmis = work.parsed()

        def start(server: Server, session: Session) -> ZoneSync:
            scope = work.scope
            if settings[server] is Read.QUERIES:
                scope = msgspec.structs.replace(scope, read=Read.QUERIES, excluded=(index.head(ZONE, OWNER),))
            reconciler = Reconciler(
                ZONE, rules=work.rules, scope=scope, namespaces=("",), options=_STEADY, jitter=lambda: 0.5
            )
            sync = ZoneSync(session, reconciler, Limits())
            reconciler.handle(VmisListed("", vmis), time.monotonic())
            if _settle(sync):
                raise RuntimeError("there were changes in a zone that is right")
            return sync

        def read_all(server: Server) -> Callable[[], None]:
            def begin() -> None:
                with contextlib.closing(connect(server)) as session:
                    start(server, session)

            return begin

        def change(server: Server) -> Callable[[], None]:
            sync = start(server, stack.enter_context(contextlib.closing(connect(server))))
            changed = itertools.cycle([parsed(i, storage=s) for s in (2, 1) for i in range(2, work.vmis)[:100]])

            def one() -> None:
                now = time.monotonic()
                sync.reconciler.handle(VmiChanged(next(changed), now), now)
                if not _settle(sync):
                    raise RuntimeError("the change was not made")

            return one

        say(f"queries: {times} times")
        ours, theirs = in_turn([read_all(by_queries), read_all(by_transfer)], times=max(3, times // 20))
        yield Contest(f"READ=queries: start with {work.vmis} VMIs, zone right", "READ=axfr", ours, theirs)
        ours, theirs = in_turn([change(by_queries), change(by_transfer)], times=times, seconds=60.0)
        yield Contest(f"READ=queries: one change until confirmed, {work.vmis} VMIs", "READ=axfr", ours, theirs)


def _settle(sync: ZoneSync) -> int:
    """Carry out what there is to do; return how many updates were sent."""
    sent = 0
    while not isinstance(action := sync.reconciler.next(time.monotonic()), Wait):
        sent += isinstance(action, Send)
        sync.perform(action)
    if not sync.reconciler.settled:
        raise RuntimeError("the zone is not in sync")
    return sent
