"""The sources of VMIs: which have listed, which fail, and their events from before the zone was read."""

from collections.abc import Collection
from typing import TypeAlias

from ksd_ddns.kubevirt.events import SourceFailed, VmiChanged, VmiDeleted, VmisListed

VmiEvent: TypeAlias = VmisListed | VmiChanged | VmiDeleted


class Sources:
    """The sources of one zone; `scopes` are the parts of the VMIs that are listed separately."""

    def __init__(self, scopes: Collection[str]) -> None:
        self._unlisted = set(scopes)
        self._listed = 0
        self.failing: dict[str, str] = {}
        self._lists: dict[str, VmisListed] = {}
        self._news: dict[str, list[VmiChanged | VmiDeleted]] = {}

    def listed(self, event: VmisListed) -> None:
        """Note that a scope was listed."""
        if event.scope in self._unlisted:
            self._unlisted.discard(event.scope)
            self._listed += 1

    def failed(self, event: SourceFailed) -> None:
        """Note that a scope cannot be read, or (with an empty reason) can be read again."""
        if event.reason:
            self.failing[event.scope] = event.reason
        else:
            self.failing.pop(event.scope, None)

    @property
    def complete(self) -> bool:
        """Whether every scope was listed: only then a missing VMI is known to be gone."""
        return not self._unlisted

    @property
    def unlisted(self) -> frozenset[str]:
        """The scopes that are not listed yet."""
        return frozenset(self._unlisted)

    @property
    def usable(self) -> bool:
        """Whether planning can start: every scope was listed or fails, and at least one was listed."""
        return self._listed > 0 and self._unlisted <= self.failing.keys()

    def keep(self, event: VmiEvent) -> None:
        """Keep an event until the zone is read; it replaces earlier events that no longer matter."""
        if isinstance(event, VmisListed):
            self._lists[event.scope] = event
            prefix = f"{event.scope}/" if event.scope else ""
            self._news = {key: news for key, news in self._news.items() if not key.startswith(prefix)}
        elif isinstance(event, VmiDeleted):
            self._news[event.key] = [event]
        else:
            # Keep the deletion: a VMI that takes the name of a deleted one must not inherit its addresses.
            before = [item for item in self._news.get(event.vmi.key, ()) if isinstance(item, VmiDeleted)]
            self._news[event.vmi.key] = [*before, event]

    def kept(self) -> list[VmiEvent]:
        """Return the kept events, and clear them."""
        found = [*self._lists.values(), *(item for news in self._news.values() for item in news)]
        self._lists, self._news = {}, {}
        return found
