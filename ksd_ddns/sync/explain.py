# SPDX-License-Identifier: Apache-2.0
"""Explanations from running controllers: the controller of each zone reads its own state, on its own thread.

Any client of the status server may send a question. So few are answered at a time, and each has a deadline.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import Generic, Protocol, TypeVar

from ksd_ddns.errors import KsdError, SourceError
from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.kubevirt.vmi_object import Metadata, VmiObject
from ksd_ddns.sync.snapshot import Part, Snapshot
from ksd_ddns.zone import explain
from ksd_ddns.zone.explain import NameAnswer, Viewpoint, VmiExplanation
from ksd_ddns.zone.reconciler import Reconciler

AT_ONCE = 2
"""Questions that are answered at a time."""

WITHIN = 3.0
"""Seconds for the controllers of all zones to answer."""

ZoneT = TypeVar("ZoneT")

Look = Callable[[Reconciler, str, float], ZoneT]
"""Returns facts from a reconciler, the name of its primary and the time; runs on the thread of the controller."""


class Unanswered(KsdError):
    """A question cannot be answered now; retry later."""


class Zones(Protocol):
    """The controllers of all zones, that of the main zone first."""

    @property
    def base(self) -> bytes:
        """The base of the main zone."""

    def ask(self, look: Look[ZoneT]) -> list[Future[ZoneT]]:
        """Put the question to each of them."""

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the state of each zone."""


class Explainer:
    """Answers questions about VMIs and names; thread-safe.

    `read` returns a VMI as it is now (None: there is none) or raises SourceError. It is not called for VMIs outside
    NAMESPACES: clients of the status server must not learn their addresses. `unavailable` returns why no
    question is answered here, "" if they are.
    """

    def __init__(
        self,
        zones: Zones,
        read: Callable[[str], VmiObject | None],
        selection: Selection,
        *,
        hold_down: float,
        unavailable: Callable[[], str] = lambda: "",
        within: float = WITHIN,
    ) -> None:
        self._zones = zones
        self._read = read
        self._selection = selection
        self._hold_down = hold_down
        self._unavailable = unavailable
        self._within = within
        self._room = BoundedSemaphore(AT_ONCE)

    def vmi(self, key: str) -> VmiExplanation:
        """Explain the VMI `namespace/name`. Raises Unanswered."""
        with self._turn():
            obj, unread = None, ""
            try:
                namespace, _, name = key.partition("/")
                outside = not self._selection.includes_namespace(namespace)
                obj = VmiObject(Metadata(name=name, namespace=namespace)) if outside else self._read(key)
            except SourceError as e:
                unread = str(e)
            views = self._ask(lambda zone, server, now: explain.vmi_view(zone, key, self._at(server), now))
            return explain.vmi(key, obj, views, self._selection, unread=unread)

    def name(self, text: str) -> NameAnswer:
        """Explain a name, as `explain.name_of` reads it. Raises Unanswered, and ValueError if it is not a name."""
        name = explain.name_of(text, self._zones.base)
        with self._turn():
            return explain.best(
                self._ask(lambda zone, server, now: explain.name_view(zone, name, self._at(server), now))
            )

    @staticmethod
    def clock() -> Callable[[float], datetime]:
        """Return a function that converts times of the monotonic clock to the time of day."""
        now, started = datetime.now(UTC), time.monotonic()
        return lambda at: now + timedelta(seconds=at - started)

    def _waits_for(self) -> str:
        """Return what the controllers probably wait for: a primary that does not answer."""
        problems = [problem for now in self._zones.snapshots() for problem in now.problems]
        found = dict.fromkeys(problem.text for problem in problems if problem.part is Part.PRIMARY)
        return f" ({'; '.join(found)})" if found else ""

    def _at(self, server: str) -> Viewpoint:
        return Viewpoint(server=server, sends=True, hold_down=self._hold_down)

    def _turn(self) -> "_Turn":
        if reason := self._unavailable():
            raise Unanswered(reason)
        return _Turn(self._room, self._within)

    def _ask(self, look: Look[ZoneT]) -> list[ZoneT]:
        futures = self._zones.ask(look)
        until = time.monotonic() + self._within
        try:
            return [future.result(max(0.0, until - time.monotonic())) for future in futures]
        except Late:
            raise Unanswered(f"the controller is busy{self._waits_for()}") from None
        finally:
            for future in futures:
                future.cancel()


class _Turn:
    """One of the places for questions, in a `with` block. Raises Unanswered if none becomes free in time."""

    def __init__(self, room: BoundedSemaphore, within: float) -> None:
        self._room = room
        self._within = within

    def __enter__(self) -> None:
        if not self._room.acquire(timeout=self._within):
            raise Unanswered("too many requests")

    def __exit__(self, *_: object) -> None:
        self._room.release()


class Question(Generic[ZoneT]):
    """A question in the queue of a controller."""

    def __init__(self, look: Look[ZoneT]) -> None:
        self._look = look
        self.future: Future[ZoneT] = Future()

    def answer(self, reconciler: Reconciler | None, server: str, now: float) -> None:
        """Answer the question, on the thread that owns `reconciler`, unless the client no longer waits."""
        if not self.future.set_running_or_notify_cancel():
            return
        if reconciler is None:
            self.future.set_exception(Unanswered("the zone has not been found on the primary yet"))
            return
        try:
            self.future.set_result(self._look(reconciler, server, now))
        except Exception as e:  # noqa: BLE001 the controller must continue; the asking thread logs it
            self.future.set_exception(e)
