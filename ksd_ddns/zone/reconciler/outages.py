"""Outages of VMI sources: while a source cannot be read, held addresses may return unnoticed."""

from math import inf


class Outages:
    """The scopes whose source cannot be read, or became readable less than `catch_up` seconds ago.

    No hold of a VMI in such a scope ends; those of other scopes do. The scope "" includes all VMIs.
    """

    def __init__(self, catch_up: float) -> None:
        self._catch_up = catch_up
        self._until: dict[str, float] = {}
        self._overdue: set[str] = set()

    def begin(self, scope: str) -> None:
        """Note that the source of `scope` cannot be read."""
        self._until[scope] = inf

    def end(self, scope: str, now: float) -> set[str]:
        """Note that the source of `scope` can be read again; return the VMIs with overdue holds."""
        if self._until.get(scope) != inf:
            return set()
        self._until[scope] = now + self._catch_up
        overdue, self._overdue = self._overdue, set()
        return overdue

    def until(self, key: str) -> float:
        """Return until when changes of the VMI `key` may be unnoticed: `inf` while its source cannot be read."""
        return max(
            (until for scope, until in self._until.items() if not scope or key.startswith(f"{scope}/")), default=0.0
        )

    def wait(self, key: str) -> None:
        """Note that a hold of the VMI `key` is over, but cannot end before the outage does."""
        self._overdue.add(key)
