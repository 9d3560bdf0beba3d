"""Facts -> log lines: changes of state, once, grouped by cause."""

import logging
from collections import Counter
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
    """Writes what a reconciler has found out to the log."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failing = False
        self._blocked = 0

    def log_state(self, reconciler: Reconciler) -> None:
        """Log that the primary fails or works again, and which deletions are blocked, each when it changes."""
        problem, blocked = reconciler.problem, len(reconciler.deletions.blocked)
        if (problem is not None) != self._failing:
            self._failing = problem is not None
            zone = names.to_text(reconciler.zone)
            if problem is not None:
                _log.warning("primary failed, retrying  zone=%s: %s", zone, problem)
            else:
                _log.info("primary works again  zone=%s server=%s", zone, self._session.server)
        if blocked != self._blocked:
            self._blocked = blocked
            if text := reasons.deletions(reconciler):
                _log.warning("deletions blocked  zone=%s: %s", names.to_text(reconciler.zone), text)

    def log(self, facts: Sequence[Fact], reconciler: Reconciler) -> None:
        """Log the facts that people should know."""
        zone, server = names.to_text(reconciler.zone), str(self._session.server)
        refused: dict[Cause, list[Refusal]] = {}
        counts: Counter[str] = Counter()
        for fact in facts:
            match fact:
                case Refused():
                    refused.setdefault(fact.refusal.cause, []).append(fact.refusal)
                case Released():
                    counts["released"] += fact.count
                case Unanswered():
                    _log.warning("updates were not answered, reading the zone again  zone=%s: %s", zone, fact.error)
                case ZoneRefuses() if fact.refuses:
                    _log.warning("zone refuses all updates  zone=%s: %s", zone, reasons.primary(reconciler, server))
                case ZoneRefuses():
                    _log.info("zone accepts updates again  zone=%s server=%s", zone, server)
                case ServerChanged():
                    _log.warning("another server answers, the zone was read again  zone=%s server=%s", zone, server)
                case DriftFound():
                    how = "spot check failed, reading the whole zone" if fact.spots else "zone was changed by others"
                    _log.info("%s  zone=%s names=%d", how, zone, fact.names)
                case TtlLowered():
                    _log.info("server lowers TTLs  zone=%s server=%s ttl=%d", zone, server, fact.seconds)
                case RivalFound():
                    _log.warning(
                        "another controller seems to use the same owner ID: names are changed back again and again, "
                        "set another OWNER_ID there  zone=%s name=%s owner=%s",
                        zone,
                        names.to_text(fact.name),
                        reconciler.scope.owner,
                    )
                case _:
                    pass
        for found in refused.values():
            text = reasons.refusal(found[0], reconciler, server)
            _log.warning("names refused  zone=%s names=%d cause=%s: %s", zone, len(found), found[0].cause, text)
        if counts["released"]:
            _log.info("retrying names that were refused  zone=%s names=%d", zone, counts["released"])
