"""What was learned about the server's ways, and about the zone, while it was kept."""

from collections import OrderedDict
from collections.abc import Iterable
from math import inf

from ksd_ddns.zone.plan import Change

REMEMBERED = 1000
"""Changes that are remembered to see whether somebody undoes them."""


class Learned:
    """What earlier answers showed.

    `split_ttl`: a TTL changes only in two messages. `asked_changes`: an IXFR is in progress. `stale`: a prerequisite
    failed since the last read. `accepts_checked`: names that are not host names are accepted. `unread` are the
    namespaces that the last plan left alone because they were not listed.
    """

    def __init__(self) -> None:
        self.split_ttl = False
        self.asked_changes = False
        self.stale = False
        self.accepts_checked = False
        self.unread: frozenset[str] = frozenset()
        self.nudged_at = -inf
        self.confirmed: OrderedDict[bytes, Change] = OrderedDict()

    def remember(self, changes: Iterable[Change]) -> None:
        """Keep the last changes that the zone has shown: who undoes them may be another controller."""
        for change in changes:
            self.confirmed[change.name] = change
            self.confirmed.move_to_end(change.name)
        while len(self.confirmed) > REMEMBERED:
            self.confirmed.popitem(last=False)
