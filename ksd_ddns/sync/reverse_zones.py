# SPDX-License-Identifier: Apache-2.0
"""Keeps looking for the reverse zones of published addresses while the process runs (REVERSE_ZONES=auto)."""

import logging
import random
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event
from typing import TypeAlias

from ksd_ddns.errors import PrimaryError
from ksd_ddns.kubevirt.events import SourceEvent, VmiChanged, VmisListed
from ksd_ddns.primary.reverse import look_up
from ksd_ddns.primary.session import Session
from ksd_ddns.zone.desired import ReverseZone
from ksd_ddns.zone.reconciler.backoff import Backoff
from ksd_ddns.zone.reverse_search import ReverseSearch

Found: TypeAlias = Callable[[tuple[ReverseZone, ...]], None]
"""Takes all zones found so far."""

_log = logging.getLogger(__name__)


class ReverseZoneFinder:
    """A thread that looks up the addresses of new VMIs, and all of them again from time to time.

    `found` is called on this thread whenever there is a new zone.
    """

    def __init__(self, session: Session, search: ReverseSearch, found: Found) -> None:
        self._session = session
        self._search = search
        self._found = found
        self._queue: SimpleQueue[SourceEvent | None] = SimpleQueue()
        self._received = 0
        self._taken = 0
        self._looked_at = 0
        self._stop = Event()
        self._backoff = Backoff(0.25, 30.0, jitter=random.random, spread=0.5)
        self._retry_at = 0.0
        self._failing = ""
        self._reported: tuple[int, int, bool] = (0, 0, False)

    def put(self, event: SourceEvent) -> None:
        """Queue an event of a source; events come one after the other, from any thread."""
        self._received += 1
        self._queue.put(event)

    @property
    def idle(self) -> bool:
        """Whether the addresses of all events have been looked up, as far as the primary answered; thread-safe."""
        return self._looked_at == self._received

    def stop(self) -> None:
        """End `run`; safe to call from a signal handler."""
        self._stop.set()
        self._queue.put(None)

    def run(self) -> None:
        """Look up zones until `stop`."""
        while not self._stop.is_set():
            self._take()
            now = time.monotonic()
            due = self._search.due
            if due is None or due > now or self._retry_at > now or self._stop.is_set():
                self._looked_at = self._taken
                continue
            try:
                look_up(self._session, self._search, stopped=self._stop.is_set)
            except PrimaryError as e:
                self._fail(e, now)
            else:
                self._failing = ""
                self._backoff.reset()
            self._report()
            self._looked_at = self._taken
        self._session.close()

    def _take(self) -> None:
        """Take all queued events; wait for one until a block is due."""
        due = self._search.due
        until = None if due is None else max(due, self._retry_at)
        try:
            first = self._queue.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            while True:
                self._note(first)
                first = self._queue.get_nowait()
        except Empty:
            return

    def _note(self, event: SourceEvent | None) -> None:
        self._taken += event is not None
        match event:
            case VmisListed():
                for vmi in event.vmis:
                    self._search.add(vmi)
            case VmiChanged():
                self._search.add(event.vmi)
            case _:
                pass

    def _fail(self, error: PrimaryError, now: float) -> None:
        self._retry_at = now + self._backoff.next()
        if str(error) != self._failing:
            self._failing = str(error)
            _log.warning("cannot look for reverse zones, retrying", extra={"fields": {"error": error}})

    def _report(self) -> None:
        """Report new zones, and log what has changed."""
        search = self._search
        state = len(search.zones), len(search.nowhere), search.full
        if state == self._reported:
            return
        new, self._reported = state[0] > self._reported[0], state
        _log.info(
            "looked for reverse zones",
            extra={"fields": {"zones": state[0], "blocks_without_zone": state[1], "limit_reached": search.full}},
        )
        if new:
            self._found(search.zones)
