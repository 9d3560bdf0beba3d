"""The updates in progress: which names are to be planned, which wait for a read, and which share a suspect message."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from ksd_ddns.zone.plan import Change

PARTS = 4
"""Into how many messages the names of a message that was not accepted are divided."""

SUSPECTS_AT_ONCE = 16
"""Messages with suspects in one Send: changes that come meanwhile wait for no more than these."""


class Suspects:
    """Names that shared a message that was not accepted, in groups: which of them is to blame is found by dividing."""

    def __init__(self) -> None:
        self._groups: deque[tuple[bytes, ...]] = deque()
        self._names: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def divide(self, names: Collection[bytes]) -> None:
        """Take the names of a message that was not accepted: they go first, in PARTS messages."""
        ordered = tuple(names)
        size = -(-len(ordered) // PARTS)
        parts = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        self._groups.extendleft(reversed(parts))
        self._names.update(ordered)

    def add(self, names: Iterable[bytes], *, size: int, first: bool = False) -> None:
        """Take names, in groups of `size`; they go last, or `first`."""
        rest = iter(names)
        while group := tuple(islice(rest, size)):
            (self._groups.appendleft if first else self._groups.append)(group)
            self._names.update(group)

    def take(self, *, excluded: Collection[bytes]) -> list[list[bytes]]:
        """Return the next groups, without the names that are no suspects any longer; `excluded` ones stay."""
        found: list[list[bytes]] = []
        later: list[tuple[bytes, ...]] = []
        while self._groups and len(found) < SUSPECTS_AT_ONCE:
            group = self._groups.popleft()
            left = [name for name in group if name in self._names]
            if any(name in excluded for name in left):
                later.append(tuple(left))
                continue
            self._names.difference_update(left)
            if left:
                found.append(left)
        self._groups.extendleft(reversed(later))
        return found

    def ready(self, *, excluded: Collection[bytes]) -> bool:
        """Return whether `take` would return a group."""
        if not excluded:
            return bool(self._names)
        left = ([name for name in group if name in self._names] for group in self._groups)
        return any(group and not any(name in excluded for name in group) for group in left)

    def forget(self, names: Iterable[bytes]) -> None:
        """Let `names` be like any other."""
        self._names.difference_update(names)

    def drain(self) -> Iterator[bytes]:
        """Return all of them, and let none wait."""
        found, self._names = self._names, set()
        waiting = [name for group in self._groups for name in group if name in found]
        self._groups.clear()
        return iter(waiting)


class Updates:
    """What is to be sent: `dirty` names are planned next, with `whole` all of them.

    `uncertain` names hold something that only a read of the zone shows; the change that was sent last stands with them,
    if there was one. `attempts` counts how often in a row a name was not sent successfully, `delayed` says until when a
    name with several attempts waits. `received` is when the cause of a change was received from a source.
    """

    def __init__(self) -> None:
        self.dirty: set[bytes] = set()
        self.whole = True
        self.uncertain: dict[bytes, Change | None] = {}
        self.suspects = Suspects()
        self.attempts: dict[bytes, int] = {}
        self.delayed: dict[bytes, float] = {}
        self.received: dict[bytes, float] = {}
        self.unread_since: float | None = None

    @property
    def pending(self) -> int:
        """The number of names that are not yet as they should be, as far as that is not the primary's doing."""
        return len(self.dirty) + len(self.uncertain) + len(self.suspects) + len(self.delayed)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be planned, read or sent."""
        return not (self.whole or self.dirty or self.uncertain or self.suspects or self.delayed)

    def done(self, name: bytes) -> None:
        """Note that the last change of `name` was accepted, or that there is nothing to change."""
        if self.attempts:
            self.attempts.pop(name, None)
        if self.delayed:
            self.delayed.pop(name, None)

    def due(self, now: float) -> list[bytes]:
        """Let the names whose delay is over be dirty; return them."""
        over = [name for name, at in self.delayed.items() if at <= now]
        for name in over:
            del self.delayed[name]
        self.dirty.update(over)
        return over
