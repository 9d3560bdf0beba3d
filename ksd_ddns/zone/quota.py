# SPDX-License-Identifier: Apache-2.0
"""How many names each VMI of a namespace may publish: the oldest VMIs come first.

A change moves only the boundary between the VMIs that get all their names and those that get none. So its cost depends
on the VMIs that it affects, not on the size of the namespace.
"""

from bisect import bisect_left, insort
from typing import TypeAlias

Rank: TypeAlias = tuple[int, str, str, str]
"""Creation time, namespace, name and UID of a VMI: older VMIs come first."""


class Quota:
    """Distributes `limit` names in each namespace to its VMIs, in the order of their ranks.

    The result depends only on the VMIs, not on the order of the calls.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shares: dict[str, _Share] = {}
        self._ranks: dict[str, Rank] = {}
        self._granted: dict[str, int] = {}

    def put(self, key: str, rank: Rank, count: int) -> set[str]:
        """Record that the VMI `key` wants `count` names; return the other VMIs whose `granted` changed."""
        moved = self._remove(key)
        if count:
            share = self._shares.setdefault(rank[1], _Share(self._limit))
            self._ranks[key] = rank
            moved |= share.insert(rank, count)
            self._granted[key] = share.granted(rank)
        return self._changed(moved, key)

    def remove(self, key: str) -> set[str]:
        """Forget the VMI `key`; return the other VMIs whose `granted` changed."""
        return self._changed(self._remove(key), key)

    def granted(self, key: str) -> int:
        """Return how many names the VMI `key` may publish: the first ones of those it wants."""
        return self._granted.get(key, 0)

    def is_short(self, key: str) -> bool:
        """Return whether the VMI `key` may publish fewer names than it wants."""
        rank = self._ranks.get(key)
        return rank is not None and self._granted[key] < self._shares[rank[1]].wanted(rank)

    def _remove(self, key: str) -> set[Rank]:
        rank = self._ranks.pop(key, None)
        if rank is None:
            return set()
        del self._granted[key]
        share = self._shares[rank[1]]
        moved = share.remove(rank)
        if not share:
            del self._shares[rank[1]]
        return moved

    def _changed(self, moved: set[Rank], key: str) -> set[str]:
        changed: set[str] = set()
        for rank in moved:
            other = f"{rank[1]}/{rank[2]}"
            if other == key or other not in self._ranks:
                continue
            granted = self._shares[rank[1]].granted(rank)
            if granted != self._granted[other]:
                self._granted[other] = granted
                changed.add(other)
        return changed


class _Share:
    """One namespace: VMIs before index `_edge` get all their names, the one at it gets the rest, others get none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ranks: list[Rank] = []
        self._counts: dict[Rank, int] = {}
        self._edge = 0
        self._used = 0

    def __len__(self) -> int:
        return len(self._ranks)

    def granted(self, rank: Rank) -> int:
        at = self._ranks[self._edge] if self._edge < len(self._ranks) else None
        if at is None or rank < at:
            return self._counts[rank]
        return self._limit - self._used if rank == at else 0

    def wanted(self, rank: Rank) -> int:
        return self._counts[rank]

    def insert(self, rank: Rank, count: int) -> set[Rank]:
        """Add a VMI; return those whose grant may have changed."""
        before = self._at_edge()
        insort(self._ranks, rank)
        self._counts[rank] = count
        if not before or rank < next(iter(before)):
            self._edge += 1
            self._used += count
        return before | self._settle()

    def remove(self, rank: Rank) -> set[Rank]:
        """Remove a VMI; return those whose grant may have changed."""
        before = self._at_edge()
        del self._ranks[bisect_left(self._ranks, rank)]
        count = self._counts.pop(rank)
        if not before or rank < next(iter(before)):
            self._edge -= 1
            self._used -= count
        return before | self._settle()

    def _at_edge(self) -> set[Rank]:
        return set(self._ranks[self._edge : self._edge + 1])

    def _settle(self) -> set[Rank]:
        """Move the edge to where the limit is now."""
        moved: set[Rank] = set()
        while self._used > self._limit:
            self._edge -= 1
            moved.add(self._ranks[self._edge])
            self._used -= self._counts[self._ranks[self._edge]]
        while self._edge < len(self._ranks) and self._used + self._counts[self._ranks[self._edge]] <= self._limit:
            moved.add(self._ranks[self._edge])
            self._used += self._counts[self._ranks[self._edge]]
            self._edge += 1
        return moved | self._at_edge()
