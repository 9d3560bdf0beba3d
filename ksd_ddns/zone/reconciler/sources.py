# SPDX-License-Identifier: Apache-2.0
"""The sources of VMIs: which have listed, which fail, and their events from before the zone was read."""

from collections.abc import Collection
from typing import TypeAlias

from ksd_ddns.kubevirt.events import SourceFailed, VmiChanged, VmiDeleted, VmisListed

VmiEvent: TypeAlias = VmisListed | VmiChanged | VmiDeleted


class Sources:
    """The sources of one zone, one for each of `namespaces` ("": one source for all namespaces)."""

    def __init__(self, namespaces: Collection[str]) -> None:
        self._unlisted = set(namespaces)
        self._listed = 0
        self.failing: dict[str, str] = {}
        self._lists: dict[str, VmisListed] = {}
        self._news: dict[str, list[VmiChanged | VmiDeleted]] = {}

    def note_listed(self, event: VmisListed) -> None:
        """Note that a namespace was listed."""
        if event.namespace in self._unlisted:
            self._unlisted.discard(event.namespace)
            self._listed += 1

    def note_failed(self, event: SourceFailed) -> None:
        """Note that a namespace cannot be read, or (with an empty reason) can be read again."""
        if event.reason:
            self.failing[event.namespace] = event.reason
        else:
            self.failing.pop(event.namespace, None)

    @property
    def complete(self) -> bool:
        """Whether every namespace was listed: only then is a missing VMI known to be deleted."""
        return not self._unlisted

    @property
    def unlisted(self) -> frozenset[str]:
        """The namespaces that are not listed yet."""
        return frozenset(self._unlisted)

    @property
    def usable(self) -> bool:
        """Whether planning can start: every namespace was listed or fails, and at least one was listed."""
        return self._listed > 0 and self._unlisted <= self.failing.keys()

    def defer(self, event: VmiEvent) -> None:
        """Defer an event until the zone is read; it replaces earlier events that no longer matter."""
        if isinstance(event, VmisListed):
            self._lists[event.namespace] = event
            prefix = f"{event.namespace}/" if event.namespace else ""
            self._news = {key: news for key, news in self._news.items() if not key.startswith(prefix)}
        elif isinstance(event, VmiDeleted):
            self._news[event.key] = [event]
        else:
            # Keep the deletion: a VMI that takes the name of a deleted one must not inherit its addresses.
            before = [item for item in self._news.get(event.vmi.key, ()) if isinstance(item, VmiDeleted)]
            self._news[event.vmi.key] = [*before, event]

    def take_deferred(self) -> list[VmiEvent]:
        """Return and remove the deferred events."""
        found = [*self._lists.values(), *(item for news in self._news.values() for item in news)]
        self._lists, self._news = {}, {}
        return found
