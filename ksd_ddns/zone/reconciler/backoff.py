# SPDX-License-Identifier: Apache-2.0
"""Exponential backoff as a value: it computes pauses, and the caller schedules."""

from collections.abc import Callable

Jitter = Callable[[], float]
"""Returns a number in [0, 1)."""


class Backoff:
    """Pauses that double from `first` to `longest` seconds, each shortened at random by up to `spread` of itself."""

    def __init__(self, first: float, longest: float, *, jitter: Jitter, spread: float = 0.2) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._spread = spread
        self._pause = 0.0

    def next(self, *, longest: float | None = None) -> float:
        """Return how many seconds to wait before the next attempt."""
        self._pause = min(2 * self._pause or self._first, longest or self._longest)
        return self._pause * (1.0 - self._spread * self._jitter())

    def reset(self) -> None:
        """Start with the shortest pause again."""
        self._pause = 0.0
