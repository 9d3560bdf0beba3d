"""`ksd-ddns run`: the controller, its status pages and its NOTIFY listener, until a signal ends them."""

import logging
import os
import signal
import threading
from types import FrameType

from ksd_ddns import settings
from ksd_ddns.cli import sources
from ksd_ddns.cli.arguments import Options
from ksd_ddns.cli.session import session
from ksd_ddns.controller import Controller, Fleet
from ksd_ddns.controller import Options as ControllerOptions
from ksd_ddns.primary.notify import Listener
from ksd_ddns.settings import Settings
from ksd_ddns.status import StatusServer
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.plan import Scope

END_WITHIN = 1.5
"""Seconds after a signal in which what is in flight may be answered; then it is unknown, as after a crash."""

_log = logging.getLogger(__name__)


def run(options: Options) -> int:
    """Keep the zone as the VMIs are."""
    chosen = settings.load(options.flags)
    conversation = session(chosen)
    owned: list[Settings] = []

    def rules(zone: bytes) -> Rules:
        # The cluster that names the owner may not answer at first: the controller asks again.
        if not owned:
            owned.append(sources.owning(chosen, options.source))
        return owned[0].rules(zone)

    def scope(made: Rules) -> Scope:
        return owned[0].scope(made)

    told_by = sources.followed(chosen, options.source)
    controller = Controller(
        conversation,
        [source.scope for source in told_by],
        ControllerOptions(
            zone=chosen.zone,
            base=chosen.base,
            rules=rules,
            scope=scope,
            limits=chosen.limits(),
            max_withdraw_percent=chosen.max_withdraw_percent,
            hold_down=chosen.hold_down,
            drift_interval=chosen.drift_interval,
        ),
    )
    fleet = Fleet(told_by, [controller])
    status = StatusServer(chosen.status_address.host, chosen.status_address.port, fleet.snapshots)
    status.start()
    if chosen.notify_listen is not None:
        Listener(
            chosen.notify_listen,
            primaries=chosen.servers(),
            key=conversation.transfer_key,
            heard=fleet.notified,
        ).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _Ending(fleet))
    _log.info("running: status on port %d", status.port)
    fleet.run()
    _log.info("ended: what was in flight is done")
    return 0


class _Ending:
    """Ends the controllers at a signal, and the process soon after, should a primary be silent just then."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._fleet.stop()
        last = threading.Timer(END_WITHIN, os._exit, (0,))
        last.daemon = True
        last.start()
