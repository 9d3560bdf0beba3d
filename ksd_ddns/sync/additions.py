# SPDX-License-Identifier: Apache-2.0
"""Controllers of reverse zones that are found while the process runs (REVERSE_ZONES=auto)."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeAlias

from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.session import Session
from ksd_ddns.sync.controller import Controller
from ksd_ddns.sync.reverse_zones import ReverseZoneFinder
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import ReverseZone
from ksd_ddns.zone.reverse_search import ReverseSearch

_log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """A zone that needs a controller. It is replaced when `excluded`, which is published elsewhere, changes."""

    base: bytes
    excluded: tuple[object, ...]


Choose: TypeAlias = Callable[[Sequence[ReverseZone]], dict[Wanted, Callable[[], Controller]]]
"""Returns which zones need a controller, with those named by the settings, and how to make each."""

Replace: TypeAlias = Callable[[Collection[Controller], Callable[[], Sequence[Controller]]], None]
"""Ends controllers, then makes and starts others."""


class History:
    """What the sources have reported, for controllers that start later."""

    def __init__(self) -> None:
        self._listed: dict[str, frozenset[str]] = {}
        self._vmis: dict[str, Vmi] = {}
        self._failed: dict[str, SourceFailed] = {}

    def put(self, event: SourceEvent) -> None:
        """Take an event."""
        match event:
            case VmisListed():
                for key in [key for key in self._vmis if _covers(event.namespace, key)]:
                    if key not in event.unreadable:
                        del self._vmis[key]
                self._vmis.update((vmi.key, vmi) for vmi in event.vmis)
                self._listed[event.namespace] = event.unreadable
            case VmiChanged():
                self._vmis[event.vmi.key] = event.vmi
            case VmiDeleted():
                self._vmis.pop(event.key, None)
            case SourceFailed():
                self._failed[event.namespace] = event

    def events(self) -> list[SourceEvent]:
        """Return events that lead to the present state."""
        listed = [
            VmisListed(
                namespace,
                tuple(vmi for key, vmi in self._vmis.items() if _covers(namespace, key)),
                unreadable - self._vmis.keys(),
            )
            for namespace, unreadable in self._listed.items()
        ]
        return [*listed, *(event for event in self._failed.values() if event.reason)]


class Additions:
    """Makes controllers for the zones that `search` finds.

    `choose` also names the zones of the `existing` controllers, other than the main one; one whose records belong in
    a new zone from now on is replaced.
    """

    def __init__(
        self,
        session: Session,
        search: ReverseSearch,
        choose: Choose,
        existing: dict[Wanted, Controller],
    ) -> None:
        self._finder = ReverseZoneFinder(session, search, self._take)
        self._choose = choose
        self._controllers = dict(existing)
        self._named = frozenset(wanted.base for wanted in existing)
        self._replace: Replace | None = None
        self.history = History()

    @property
    def idle(self) -> bool:
        """Whether all addresses have been looked up, as far as the primary answered; thread-safe."""
        return self._finder.idle

    def is_found(self, base: bytes) -> bool:
        """Return whether the zone was found, and not named by the settings; thread-safe."""
        return base not in self._named

    def put(self, event: SourceEvent) -> None:
        """Take an event of a source, under the lock of the supervisor."""
        self.history.put(event)
        self._finder.put(event)

    def stop(self) -> None:
        """End `run`; safe to call from a signal handler."""
        self._finder.stop()

    def run(self, replace: Replace) -> None:
        """Look for zones until `stop`."""
        self._replace = replace
        self._finder.run()

    def _take(self, found: tuple[ReverseZone, ...]) -> None:
        assert self._replace is not None
        chosen = self._choose(found)
        gone = [wanted for wanted in self._controllers if wanted not in chosen]
        new = {wanted: make for wanted, make in chosen.items() if wanted not in self._controllers}
        for wanted in new:
            _log.info("publishing PTR records", extra={"fields": {"base": names.to_text(wanted.base)}})

        def start() -> Sequence[Controller]:
            made = {wanted: make() for wanted, make in new.items()}
            self._controllers.update(made)
            return tuple(made.values())

        self._replace([self._controllers.pop(wanted) for wanted in gone], start)


def _covers(namespace: str, key: str) -> bool:
    return not namespace or key.startswith(f"{namespace}/")
