"""Several zones side by side: one controller each, one thread each, all told the same by the same sources.

A zone whose primary is broken or slow holds up no other.
"""

import logging
from collections.abc import Callable, Collection
from threading import Event, Thread
from typing import Protocol

from ksd_ddns import heartbeat
from ksd_ddns.errors import KsdError
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed
from ksd_ddns.sync.controller import Controller
from ksd_ddns.sync.snapshot import Snapshot
from ksd_ddns.zone.owned import Owned

AFTER_A_BUG = 10.0
"""Seconds until a source that failed in a way that nobody thought of begins anew."""

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Where VMIs come from; `scope` is the part of them that it lists by itself."""

    scope: str

    def run(self, tell: Callable[[SourceEvent], None], stop: Event) -> None:
        """Tell what there is, and what becomes of it, until `stop` is set."""


class Supervisor:
    """The controllers of all zones, and the sources that they are told of VMIs by. The first zone is the main one."""

    def __init__(self, sources: Collection[Source], controllers: Collection[Controller]) -> None:
        self._sources = tuple(sources)
        self._first, *self._others = controllers
        self._stop = Event()

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return what is known now of each zone; safe to call from any thread."""
        return tuple(controller.snapshot for controller in (self._first, *self._others))

    def owned(self) -> tuple[Owned | None, ...]:
        """Return what is ours in each zone, in the same order; safe to call from any thread."""
        return tuple(controller.owned() for controller in (self._first, *self._others))

    def stuck(self, limit: float) -> str:
        """Return which zones have made no progress for `limit` seconds, "" if none; safe to call from any thread."""
        return heartbeat.problem((each.heartbeat for each in (self._first, *self._others)), limit)

    def notified(self, zone: bytes) -> None:
        """Take note that `zone` may have changed; safe to call from any thread."""
        for controller in (self._first, *self._others):
            controller.notified(zone)

    def stop(self) -> None:
        """End `run` as soon as what is in flight is done; safe to call from a signal handler."""
        self._stop.set()
        for controller in (self._first, *self._others):
            controller.stop()

    def run(self) -> None:
        """Keep the zones until `stop`. Raises SettingsError where the main zone and the settings do not fit."""
        for source in self._sources:
            Thread(target=self._listen, args=(source,), name="source", daemon=True).start()
        threads = [Thread(target=_kept, args=(other,), name="zone", daemon=True) for other in self._others]
        for thread in threads:
            thread.start()
        try:
            self._first.run()
        finally:
            self.stop()
        for thread in threads:
            thread.join()

    def _listen(self, source: Source) -> None:
        """Listen to `source` until the end, whatever happens: a source that died in silence would look like a calm."""
        while not self._stop.is_set():
            try:
                source.run(self._tell, self._stop)
            except Exception as e:  # noqa: BLE001 it is told, and the source begins anew
                _log.error(
                    "BUG: VMI source crashed, restarting it",
                    extra={"fields": {"error": _place(e)}},
                    exc_info=_debugging(),
                )
                self._tell(SourceFailed(source.scope, f"BUG: reading VMIs failed: {_place(e)}, please report it"))
                self._stop.wait(AFTER_A_BUG)

    def _tell(self, told: SourceEvent) -> None:
        if isinstance(told, SourceFailed) and told.reason:
            _log.warning(
                "cannot read VMIs, keeping the last list", extra={"fields": {"scope": told.scope, "error": told.reason}}
            )
        for controller in (self._first, *self._others):
            controller.tell(told)


def _kept(controller: Controller) -> None:
    try:
        controller.run()
    except KsdError as e:
        _log.error("zone controller stopped", extra={"fields": {"zone": controller.snapshot.zone, "error": e}})
        controller.give_up(str(e))
    except Exception as e:  # noqa: BLE001 the other zones go on, and this one says what is wrong with it
        _log.error(
            "BUG: zone controller crashed",
            extra={"fields": {"zone": controller.snapshot.zone, "error": _place(e)}},
            exc_info=_debugging(),
        )
        controller.give_up(f"BUG: its controller crashed: {_place(e)}; restart the process, and please report it")


def _place(error: Exception) -> str:
    """Return type and place of an error: its message may hold a secret."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" at {at.tb_frame.f_globals.get('__name__')}:{at.tb_lineno}" if at is not None else ""
    return f"{type(error).__name__}{where}"


def _debugging() -> bool:
    return _log.isEnabledFor(logging.DEBUG)
