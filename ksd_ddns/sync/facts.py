# SPDX-License-Identifier: Apache-2.0
"""Facts -> log lines: each change of state once, grouped by cause."""

import logging
from collections.abc import Sequence

from ksd_ddns.primary.session import Session
from ksd_ddns.sync import reasons
from ksd_ddns.wire import names
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.events import (
    DriftFound,
    Fact,
    Refused,
    Released,
    RivalFound,
    ServerChanged,
    TtlLowered,
    Unanswered,
    ZoneRefuses,
)
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal

_log = logging.getLogger("ksd_ddns.zone")


class FactLog:
    """Writes the facts of one zone's reconciler to the log."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failing = False
        self._blocked = 0

    def log_state(self, reconciler: Reconciler) -> None:
        """Log a change in whether the primary works, and in the number of blocked deletions."""
        problem, blocked = reconciler.problem, len(reconciler.deletions.blocked)
        if (problem is not None) != self._failing:
            self._failing = problem is not None
            if problem is not None:
                self._write(logging.WARNING, "primary failed, retrying", reconciler, error=problem)
            else:
                self._write(logging.INFO, "primary works again", reconciler)
        if blocked != self._blocked:
            self._blocked = blocked
            if text := reasons.deletions(reconciler):
                self._write(logging.WARNING, "deletions blocked", reconciler, names=blocked, cause=text)

    def log(self, facts: Sequence[Fact], reconciler: Reconciler) -> None:
        """Log the facts that an admin should know."""
        refused: dict[Cause, list[Refusal]] = {}
        released = 0
        for fact in facts:
            match fact:
                case Refused():
                    refused.setdefault(fact.refusal.cause, []).append(fact.refusal)
                case Released():
                    released += fact.count
                case _:
                    self._log_one(fact, reconciler)
        for cause, found in refused.items():
            text = reasons.refusal(found[0], reconciler, str(self._session.server))
            first = names.to_text(found[0].name)
            self._write(
                logging.WARNING, "names refused", reconciler, names=len(found), first=first, cause=cause, error=text
            )
        if released:
            self._write(logging.INFO, "names no longer refused", reconciler, names=released)

    def _log_one(self, fact: Fact, reconciler: Reconciler) -> None:
        match fact:
            case Unanswered():
                event = "no response to updates, reading the zone again"
                self._write(logging.WARNING, event, reconciler, error=fact.error)
            case ZoneRefuses() if fact.refuses:
                text = reasons.primary(reconciler, str(self._session.server))
                self._write(logging.WARNING, "zone refuses all updates", reconciler, error=text)
            case ZoneRefuses():
                self._write(logging.INFO, "zone accepts updates again", reconciler)
            case ServerChanged():
                self._write(logging.WARNING, "switched to another server, zone read again", reconciler)
            case DriftFound() if fact.spots:
                event = "spot check failed, reading the full zone"
                self._write(logging.INFO, event, reconciler, names=fact.names)
            case DriftFound():
                self._write(logging.INFO, "foreign changes found in the zone", reconciler, names=fact.names)
            case TtlLowered():
                self._write(logging.INFO, "server lowers TTLs", reconciler, ttl=fact.seconds)
            case RivalFound():
                self._write(
                    logging.WARNING,
                    "another controller reverts our changes, check whether it uses the same OWNER_ID",
                    reconciler,
                    name=names.to_text(fact.name),
                    owner=reconciler.scope.owner,
                )
            case _:
                pass

    def _write(self, level: int, event: str, reconciler: Reconciler, **fields: object) -> None:
        """Log `event` with `fields`, and with the zone and the server."""
        if _log.isEnabledFor(level):
            zone, server = names.to_text(reconciler.zone), str(self._session.server)
            _log.log(level, event, extra={"fields": {"zone": zone, "server": server, **fields}})
