"""Fairness: a VMI that changes all the time is slowed down, the others are not."""

from collections import deque

BURST = 10
"""Changes of one VMI that pass at once within WINDOW seconds."""

WINDOW = 60.0
SLOWED = 10.0
"""Seconds between the changes of a VMI that has used up its burst."""


class Pace:
    """When the next change of each VMI may pass; costs nothing for a VMI that keeps still."""

    def __init__(self) -> None:
        self._passed: dict[str, deque[float]] = {}

    def due(self, key: str, now: float) -> float:
        """Return when a change of the VMI `key` may pass: `now` where it may at once."""
        passed = self._passed.get(key)
        if passed is None:
            return now
        while passed and passed[0] <= now - WINDOW:
            passed.popleft()
        if not passed:
            del self._passed[key]
            return now
        return now if len(passed) < BURST else max(now, passed[-1] + SLOWED)

    def passes(self, key: str, now: float) -> None:
        """Count a change of the VMI `key`."""
        self._passed.setdefault(key, deque(maxlen=BURST)).append(now)

    def forget(self, key: str) -> None:
        """Forget a VMI that is gone."""
        self._passed.pop(key, None)
