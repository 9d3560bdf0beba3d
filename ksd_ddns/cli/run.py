"""`ksd-ddns run`: the controller, its status pages and its NOTIFY listener, until a signal ends them."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from ksd_ddns import settings
from ksd_ddns.cli import sources
from ksd_ddns.cli.arguments import Options
from ksd_ddns.cli.session import sessions
from ksd_ddns.controller import Controller, Fleet
from ksd_ddns.controller import Options as ControllerOptions
from ksd_ddns.controller.remarks import Say
from ksd_ddns.primary.announce import Announcer
from ksd_ddns.primary.notify import Listener
from ksd_ddns.settings import Settings
from ksd_ddns.status import StatusServer
from ksd_ddns.zone.feed import Said

END_WITHIN = 1.5
"""Seconds after a signal in which what is in flight may be answered; then it is unknown, as after a crash."""

_log = logging.getLogger(__name__)


def run(options: Options) -> int:
    """Keep the zones as the VMIs are."""
    chosen = settings.load(options.flags)
    owner = _Owner(chosen, options.source)
    told_by = sources.followed(chosen, options.source)
    scopes = [source.scope for source in told_by]
    stop = threading.Event()
    remark = sources.recorder(options.source, stop)
    # Signed with the key for transfers, where there is one: secondaries have it.
    announcer = Announcer(chosen.secondaries(), next(iter(chosen.shared_keys()), None))
    announcer.start()
    fleet = Fleet(
        told_by,
        [
            Controller(session, scopes, _options(chosen, owner, base, remark, announcer.changed))
            for session, base in zip(sessions(chosen), chosen.bases(), strict=True)
        ],
    )
    leadership = sources.leadership(chosen, options.source)
    status = StatusServer(
        chosen.status_address.host,
        chosen.status_address.port,
        lambda: fleet.snapshots() if leadership is None or leadership.held else (),
        fleet.owned,
    )
    status.start()
    if chosen.notify_listen is not None:
        Listener(
            chosen.notify_listen, primaries=chosen.servers(), keys=chosen.shared_keys(), heard=fleet.notified
        ).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _Ending(fleet, stop))
    _log.info("running: status on port %d", status.port)
    if leadership is None:
        fleet.run()
    elif leadership.awaited(stop):
        leadership.keep(stop, fleet.stop)
        fleet.run()
        stop.set()
        leadership.ended()
    _log.info("ended: what was in flight is done")
    return 0 if leadership is None or not leadership.lost else 1


def _unsaid(remark: Said) -> None:
    """Tell nobody."""


class _Owner:
    """Settles whose names they are when that is first needed: the cluster that says it may not answer at first."""

    def __init__(self, chosen: Settings, path: str) -> None:
        self._chosen = chosen
        self._path = path
        self._settled = False
        self._lock = threading.Lock()

    def settings(self) -> Settings:
        """Return the settings with their owner ID. Raises SourceError where the cluster does not say it."""
        with self._lock:
            if not self._settled:
                self._chosen = sources.owning(self._chosen, self._path)
                self._settled = True
            return self._chosen


def _options(
    chosen: Settings, owner: _Owner, base: bytes, remark: Say, announce: Callable[[bytes], None]
) -> ControllerOptions:
    return ControllerOptions(
        zone=chosen.zone if base == chosen.base else None,
        base=base,
        rules=lambda zone: owner.settings().rules(zone, base),
        scope=lambda rules: owner.settings().scope(rules),
        limits=chosen.limits(),
        max_withdraw_percent=chosen.max_withdraw_percent,
        hold_down=chosen.hold_down,
        drift_interval=chosen.drift_interval,
        # The names' own controller says it; those of reverse zones would repeat it.
        remark=remark if base == chosen.base else _unsaid,
        announce=announce,
    )


class _Ending:
    """Ends the controllers at a signal, and the process soon after, should a primary be silent just then."""

    def __init__(self, fleet: Fleet, stop: threading.Event) -> None:
        self._fleet = fleet
        self._stop = stop

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
        self._fleet.stop()
        last = threading.Timer(END_WITHIN, os._exit, (0,))
        last.daemon = True
        last.start()
