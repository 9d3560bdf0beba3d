# SPDX-License-Identifier: Apache-2.0
"""Outages of VMI sources: while a source cannot be read, held addresses may return unnoticed."""

from math import inf


class Outages:
    """The namespaces ("": all) that cannot be read, or can be read again since less than `catch_up` seconds.

    No hold of a VMI in these namespaces ends.
    """

    def __init__(self, catch_up: float) -> None:
        self._catch_up = catch_up
        self._until: dict[str, float] = {}
        self._overdue: set[str] = set()

    def begin(self, namespace: str) -> None:
        """Note that `namespace` cannot be read."""
        self._until[namespace] = inf

    def end(self, namespace: str, now: float) -> set[str]:
        """Note that `namespace` can be read again; return the VMIs with overdue holds."""
        if self._until.get(namespace) != inf:
            return set()
        self._until[namespace] = now + self._catch_up
        overdue, self._overdue = self._overdue, set()
        return overdue

    def until(self, key: str) -> float:
        """Return until when changes of the VMI `key` may be missed: `inf` while its namespace cannot be read."""
        return max(
            (until for namespace, until in self._until.items() if not namespace or key.startswith(f"{namespace}/")),
            default=0.0,
        )

    def wait(self, key: str) -> None:
        """Note that a hold of the VMI `key` is over, but cannot end before the outage does."""
        self._overdue.add(key)
