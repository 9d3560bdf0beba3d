"""Deletions: which were seen to be right, and which the deletion limit blocks."""

from collections.abc import Callable, Collection

from ksd_ddns.zone.plan import Blocked, Change, Plan


class Deletions:
    """The names whose VMI was seen to go (`seen`: no limit applies to them), and the deletions that are blocked."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.blocked: dict[bytes, Change] = {}
        self.limits: tuple[Blocked, ...] = ()
        self.owned = 0

    def plan(self, plan: Plan) -> None:
        """Take what a plan for the whole zone blocks."""
        self.blocked = {change.name: change for change in plan.blocked}
        self.limits = plan.limits
        self.owned = plan.owned

    def release(self, dirty: Collection[bytes], wants: Callable[[bytes], bool]) -> None:
        """Let those of `dirty` be planned that are wanted again, or whose VMI was seen to go."""
        if self.blocked:
            for name in self.blocked.keys() & dirty:
                if name in self.seen or wants(name):
                    del self.blocked[name]
