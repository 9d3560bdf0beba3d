# SPDX-License-Identifier: Apache-2.0
"""Several zones: a controller and a thread for each, all with the same sources.

A broken or slow primary of one zone does not delay the others.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Event, Lock, Thread
from typing import Protocol

from ksd_ddns import heartbeat
from ksd_ddns.errors import KsdError
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed
from ksd_ddns.sync.additions import Additions
from ksd_ddns.sync.controller import Controller
from ksd_ddns.sync.explain import Look, ZoneT
from ksd_ddns.sync.snapshot import Part, Problem, ProblemCause, Snapshot
from ksd_ddns.zone.owned import Owned

RESTART_AFTER = 10.0
"""Seconds until a source that crashed is restarted."""

_log = logging.getLogger(__name__)


_SEARCHING = Problem(Part.SYNC, ProblemCause.FIRST_SYNC, "the reverse zones of REVERSE_ZONES=auto are not in sync yet")


class Source(Protocol):
    """A source of the VMIs in `namespace`; empty for all namespaces."""

    namespace: str

    def run(self, publish: Callable[[SourceEvent], None], stop: Event) -> None:
        """Pass events to `publish` until `stop` is set: first what exists, then what changes."""


class Supervisor:
    """The controllers of all zones, and their sources. The first zone is the main one.

    With `additions`, controllers of zones that are found later are added while it runs.
    """

    def __init__(
        self, sources: Collection[Source], controllers: Collection[Controller], additions: Additions | None = None
    ) -> None:
        self._sources = tuple(sources)
        self._first, *others = controllers
        self._others = tuple(others)
        self._additions = additions
        self._threads: dict[Controller, Thread] = {}
        self._lock = Lock()
        self._stop = Event()
        self._searched = False

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the state of each zone; thread-safe.

        The zones of REVERSE_ZONES=auto follow from the addresses of the VMs, which their users choose. So they are
        optional, except at the start: the main zone is not ready until they are in sync or have a problem.
        """
        first = self._first.snapshot
        additions = self._additions
        if additions is None:
            return (first, *(other.snapshot for other in self._others))
        idle = additions.idle  # before the zones that were found until then
        others = [replace(other.snapshot, optional=additions.is_found(other.base)) for other in self._others]
        if first.synced and not self._searched:
            self._searched = idle and not any(other.optional and _is_starting(other) for other in others)
            if not self._searched:
                first = replace(first, problems=(_SEARCHING, *first.problems))
        return (first, *others)

    def owned(self) -> tuple[Owned | None, ...]:
        """Return what we own in each zone, in the same order; thread-safe."""
        return tuple(controller.owned() for controller in (self._first, *self._others))

    @property
    def base(self) -> bytes:
        """The base of the main zone."""
        return self._first.base

    def ask(self, look: Look[ZoneT]) -> list[Future[ZoneT]]:
        """Ask the controller of each zone, in the same order; thread-safe."""
        return [controller.ask(look) for controller in (self._first, *self._others)]

    def stuck(self, limit: float) -> str:
        """Return which zones have made no progress for `limit` seconds, "" if none; thread-safe."""
        return heartbeat.problem((each.heartbeat for each in (self._first, *self._others)), limit)

    def receive_notify(self, zone: bytes) -> None:
        """Handle a NOTIFY for `zone`; thread-safe."""
        for controller in (self._first, *self._others):
            controller.receive_notify(zone)

    def stop(self) -> None:
        """End `run` when the updates in flight are done; safe to call from a signal handler."""
        self._stop.set()
        if self._additions is not None:
            self._additions.stop()
        for controller in (self._first, *self._others):
            controller.stop()

    def run(self) -> None:
        """Keep the zones in sync until `stop`. Raises SettingsError if the settings do not fit the main zone."""
        for source in self._sources:
            Thread(target=self._listen, args=(source,), name="source", daemon=True).start()
        for other in self._others:
            self._start(other)
        if self._additions is not None:
            Thread(target=self._additions.run, args=(self._replace,), name="reverse zones", daemon=True).start()
        try:
            self._first.run()
        finally:
            self.stop()
        for thread in tuple(self._threads.values()):
            thread.join()

    def _start(self, controller: Controller) -> None:
        thread = Thread(target=_run_controller, args=(controller,), name="zone", daemon=True)
        self._threads[controller] = thread
        thread.start()

    def _replace(self, gone: Collection[Controller], make: Callable[[], Sequence[Controller]]) -> None:
        """End the controllers `gone`, then start those of `make` with all that the sources have reported."""
        assert self._additions is not None
        for controller in gone:
            controller.stop()
            self._threads.pop(controller).join()
        new = make()
        with self._lock:
            for event in self._additions.history.events():
                for controller in new:
                    controller.put(event)
            kept = (other for other in self._others if other not in gone)
            self._others = tuple(sorted((*kept, *new), key=lambda other: other.number))
        for controller in new:
            self._start(controller)
            if self._stop.is_set():
                controller.stop()

    def _listen(self, source: Source) -> None:
        """Run `source`, and restart it after a crash: a dead source would look like one without changes."""
        while not self._stop.is_set():
            try:
                source.run(self._put, self._stop)
            except Exception as e:  # noqa: BLE001 logged and reported, then restarted
                _log.error(
                    "BUG: VMI source crashed, restarting it",
                    extra={"fields": {"error": _place(e)}},
                    exc_info=_debugging(),
                )
                self._put(SourceFailed(source.namespace, f"BUG: reading VMIs failed: {_place(e)}, please report it"))
                self._stop.wait(RESTART_AFTER)

    def _put(self, event: SourceEvent) -> None:
        if isinstance(event, SourceFailed) and event.reason:
            _log.warning(
                "cannot read VMIs, keeping the last list",
                extra={"fields": {"namespace": event.namespace, "error": event.reason}},
            )
        with self._lock:
            if self._additions is not None:
                self._additions.put(event)
            for controller in (self._first, *self._others):
                controller.put(event)


def _is_starting(zone: Snapshot) -> bool:
    """Return whether nothing but time is missing until the zone is in sync."""
    return not zone.synced and all(problem.cause is ProblemCause.FIRST_SYNC for problem in zone.problems)


def _run_controller(controller: Controller) -> None:
    try:
        controller.run()
    except KsdError as e:
        _log.error("zone controller stopped", extra={"fields": {"zone": controller.snapshot.zone, "error": e}})
        controller.give_up(str(e))
    except Exception as e:  # noqa: BLE001 the other zones must continue
        _log.error(
            "BUG: zone controller crashed",
            extra={"fields": {"zone": controller.snapshot.zone, "error": _place(e)}},
            exc_info=_debugging(),
        )
        controller.give_up(f"BUG: its controller crashed: {_place(e)}; restart the process, and please report it")


def _place(error: Exception) -> str:
    """Return type and place of an error; its message may hold a secret."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" at {at.tb_frame.f_globals.get('__name__')}:{at.tb_lineno}" if at is not None else ""
    return f"{type(error).__name__}{where}"


def _debugging() -> bool:
    return _log.isEnabledFor(logging.DEBUG)
