# SPDX-License-Identifier: Apache-2.0
"""Behaviour of the server, as learned from its answers."""

from collections import OrderedDict
from collections.abc import Iterable
from math import inf

from ksd_ddns.zone.plan import Change

REMEMBERED = 1000
"""Confirmed changes that are remembered to detect a client that undoes them."""


class Learned:
    """What earlier answers showed.

    `split_ttl`: a TTL changes only in two messages. `reading_changes`: an IXFR is in progress. `stale`: a prerequisite
    failed since the last read. `accepts_non_host_names`: the server does not apply check-names. `nudged_at` is when the
    last nudge was sent. `confirmed` holds the latest confirmed changes.

    `incomplete_namespaces` are those in which the last full plan deleted nothing, because not all of their VMIs are
    known.
    """

    def __init__(self) -> None:
        self.split_ttl = False
        self.reading_changes = False
        self.stale = False
        self.accepts_non_host_names = False
        self.incomplete_namespaces: frozenset[str] = frozenset()
        self.nudged_at = -inf
        self.confirmed: OrderedDict[bytes, Change] = OrderedDict()

    def remember(self, changes: Iterable[Change]) -> None:
        """Keep confirmed changes: a client that undoes them may be another controller."""
        for change in changes:
            self.confirmed[change.name] = change
            self.confirmed.move_to_end(change.name)
        while len(self.confirmed) > REMEMBERED:
            self.confirmed.popitem(last=False)
