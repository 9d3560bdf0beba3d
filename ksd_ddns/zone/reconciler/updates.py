# SPDX-License-Identifier: Apache-2.0
"""The updates in progress: names to plan, names that wait for a read, and suspects."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from ksd_ddns.zone.plan import Change

PARTS = 4
"""Number of messages into which a refused message is divided."""

SUSPECTS_AT_ONCE = 16
"""Most messages with suspects in one Send, so that new changes do not wait for long."""


class Suspects:
    """Names from refused messages, in groups that are divided until each refused name is alone."""

    def __init__(self) -> None:
        self._groups: deque[tuple[bytes, ...]] = deque()
        self._names: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def divide(self, names: Collection[bytes]) -> None:
        """Add the names of a refused message: they go first, in PARTS messages."""
        ordered = tuple(names)
        size = -(-len(ordered) // PARTS)
        parts = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        self._groups.extendleft(reversed(parts))
        self._names.update(ordered)

    def add(self, names: Iterable[bytes], *, size: int, first: bool = False) -> None:
        """Add names, in groups of `size`; they go last, or `first`."""
        rest = iter(names)
        while group := tuple(islice(rest, size)):
            (self._groups.appendleft if first else self._groups.append)(group)
            self._names.update(group)

    def take(self, *, excluded: Collection[bytes]) -> list[list[bytes]]:
        """Remove and return the next groups, without forgotten names; keep groups with an `excluded` name."""
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
        """Remove `names`."""
        self._names.difference_update(names)

    def drain(self) -> Iterator[bytes]:
        """Remove and return all names."""
        found, self._names = self._names, set()
        waiting = [name for group in self._groups for name in group if name in found]
        self._groups.clear()
        return iter(waiting)


class Updates:
    """The names to plan next: `dirty` ones, or all of them (`replan_all`).

    `uncertain` names must be read first; each has the last change sent, if it may have been applied. `attempts` counts
    failed attempts at a name in a row, `delayed` is when to try it again. `received` is when the cause of a change was
    received from a source. `not_read_back_since` is when the first update after the last read was accepted.
    """

    def __init__(self) -> None:
        self.dirty: set[bytes] = set()
        self.replan_all = True
        self.uncertain: dict[bytes, Change | None] = {}
        self.suspects = Suspects()
        self.attempts: dict[bytes, int] = {}
        self.delayed: dict[bytes, float] = {}
        self.received: dict[bytes, float] = {}
        self.not_read_back_since: float | None = None

    @property
    def pending(self) -> int:
        """The number of names with changes in progress; refused names do not count."""
        return len(self.dirty) + len(self.uncertain) + len(self.suspects) + len(self.delayed)

    @property
    def idle(self) -> bool:
        """Whether no name is left to plan, read or send."""
        return not (self.replan_all or self.dirty or self.uncertain or self.suspects or self.delayed)

    def finish(self, name: bytes) -> None:
        """Note that the last change of `name` was accepted, or that it needs none."""
        if self.attempts:
            self.attempts.pop(name, None)
        if self.delayed:
            self.delayed.pop(name, None)

    def release_delayed(self, now: float) -> list[bytes]:
        """Make the names dirty whose delay is over; return them."""
        over = [name for name, at in self.delayed.items() if at <= now]
        for name in over:
            del self.delayed[name]
        self.dirty.update(over)
        return over
