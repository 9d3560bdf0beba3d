# SPDX-License-Identifier: Apache-2.0
"""Looks up the reverse zones of published addresses on the primary (REVERSE_ZONES=auto)."""

import time
from collections.abc import Callable, Iterable

from ksd_ddns.errors import PrimaryError
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.session import Session
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import ReverseZone
from ksd_ddns.zone.reverse_search import ReverseSearch

MOST_FAILURES = 3
"""Blocks that may fail until a command gives up: each may be a timeout."""


def find(session: Session, search: ReverseSearch, vmis: Iterable[Vmi]) -> tuple[ReverseZone, ...]:
    """Return the reverse zones that hold published addresses of `vmis`.

    Raises PrimaryError if a block fails; `search` then has the zones of the others.
    """
    for vmi in vmis:
        search.add(vmi)
    failed: PrimaryError | None = None
    for _ in range(MOST_FAILURES):
        try:
            look_up(session, search)
        except PrimaryError as e:
            failed = failed or e
        else:
            break
    if failed is not None:
        raise failed
    return search.zones


def look_up(session: Session, search: ReverseSearch, *, stopped: Callable[[], bool] = lambda: False) -> None:
    """Look up the blocks that are due. Raises PrimaryError; the block that failed is the last one next time."""
    now = time.monotonic()
    with session.keep_connection():
        while (address := search.take(now)) is not None and not stopped():
            try:
                placed = session.place(names.reverse(address))
                target = session.place(placed.alias) if placed.alias is not None else None
            except PrimaryError:
                search.postpone(address, time.monotonic())
                raise
            search.note(address, placed, target, now)
