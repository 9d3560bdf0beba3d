# SPDX-License-Identifier: Apache-2.0
"""Looks up the reverse zones of published addresses on the primary (REVERSE_ZONES=auto)."""

import time
from collections.abc import Callable, Iterable

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.session import Session
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import ReverseZone
from ksd_ddns.zone.reverse_search import ReverseSearch


def find(session: Session, search: ReverseSearch, vmis: Iterable[Vmi]) -> tuple[ReverseZone, ...]:
    """Return the reverse zones that hold published addresses of `vmis`. Raises PrimaryError."""
    for vmi in vmis:
        search.add(vmi)
    look_up(session, search)
    return search.zones


def look_up(session: Session, search: ReverseSearch, *, stopped: Callable[[], bool] = lambda: False) -> None:
    """Look up the blocks that are due. Raises PrimaryError."""
    now = time.monotonic()
    with session.keep_connection():
        while (address := search.take(now)) is not None and not stopped():
            placed = session.place(names.reverse(address))
            target = session.place(placed.alias) if placed.alias is not None else None
            search.note(address, placed, target, now)
