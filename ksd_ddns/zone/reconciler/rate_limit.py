# SPDX-License-Identifier: Apache-2.0
"""Rate limiting: a VMI that changes too often has to wait, and delays no other VMI."""

from collections import OrderedDict

from ksd_ddns.zone.reconciler.timing import TIMING, Timing

WINDOW = 60.0
"""Seconds for which a change of a VMI counts."""

MAX_TRACKED = 100_000
"""Most VMIs that are tracked; beyond that, those unchanged for longest are forgotten early."""


class RateLimit:
    """When the next change of each VMI may pass.

    Only the changes of the last WINDOW seconds are kept. A deleted VMI keeps them too, so deleting and creating it
    again does not evade the limit.
    """

    def __init__(self, timing: Timing = TIMING) -> None:
        self._timing = timing
        # Sorted by the last change, so that expired entries are at the front.
        # Most VMIs have one or two changes: a tuple takes a tenth of the memory of a deque.
        self._passed: OrderedDict[str, tuple[float, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._passed)

    def __contains__(self, key: str) -> bool:
        return key in self._passed

    def due(self, key: str, now: float) -> float:
        """Return when a change of the VMI `key` may pass: `now` if it need not wait."""
        self._forget(now)
        passed = self._passed.get(key)
        if passed is None:
            return now
        passed = tuple(at for at in passed if at > now - WINDOW)
        if not passed:
            del self._passed[key]
            return now
        self._passed[key] = passed
        return now if len(passed) < self._timing.burst else max(now, passed[-1] + self._timing.slowed)

    def count(self, key: str, now: float) -> None:
        """Count a change of the VMI `key`."""
        self._forget(now)
        self._passed[key] = (*self._passed.get(key, ()), now)[-self._timing.burst :]
        self._passed.move_to_end(key)
        if len(self._passed) > MAX_TRACKED:
            self._passed.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._passed:
            key = next(iter(self._passed))
            if self._passed[key][-1] > now - WINDOW:
                return
            del self._passed[key]
