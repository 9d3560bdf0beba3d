# SPDX-License-Identifier: Apache-2.0
"""Deletions: which are certain, and which the deletion limit blocks."""

from collections.abc import Callable, Collection

from ksd_ddns.zone.plan import Blocked, Change, Plan


class Deletions:
    """The names whose VMI was seen to be deleted or changed (`seen`: no limit applies), and the blocked deletions.

    Of the last full plan, `limits` are those that block, and `owned` is the number of our names in the zone.
    """

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.blocked: dict[bytes, Change] = {}
        self.limits: tuple[Blocked, ...] = ()
        self.owned = 0

    def note_plan(self, plan: Plan) -> None:
        """Take the blocked deletions of a full plan."""
        self.blocked = {change.name: change for change in plan.blocked}
        self.limits = plan.limits
        self.owned = plan.owned

    def release(self, dirty: Collection[bytes], wants: Callable[[bytes], bool]) -> None:
        """Unblock those of `dirty` that are wanted again, or whose deletion is certain."""
        if self.blocked:
            for name in self.blocked.keys() & dirty:
                if name in self.seen or wants(name):
                    del self.blocked[name]
