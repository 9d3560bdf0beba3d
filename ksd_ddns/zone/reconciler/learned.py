# SPDX-License-Identifier: Apache-2.0
"""Behaviour of the server, as learned from its answers."""

from collections import OrderedDict
from collections.abc import Iterable
from math import inf

from ksd_ddns.zone.plan import Change

REMEMBERED = 1000
"""Confirmed changes that are remembered to detect a client that undoes them."""

CUT_PAUSE, CUT_CHANGES = 30.0, 3
"""Seconds until names below a delegation or DNAME are planned again, if it changed more often within that time."""


class Learned:
    """What earlier answers showed.

    `split_ttl`: a TTL changes only in two messages. `reading_changes`: an IXFR is in progress. `stale`: a prerequisite
    failed since the last read. `accepts_non_host_names`: the server does not apply check-names. `nudged_at` is when the
    last nudge was sent. `confirmed` holds the latest confirmed changes.

    `incomplete_namespaces` are those in which the last full plan deleted nothing, because not all of their VMIs are
    known. `_cuts` counts how often delegations and DNAMEs appeared or went, and since when.
    """

    def __init__(self) -> None:
        self.split_ttl = False
        self.reading_changes = False
        self.stale = False
        self.accepts_non_host_names = False
        self.incomplete_namespaces: frozenset[str] = frozenset()
        self.nudged_at = -inf
        self._cuts: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self.confirmed: OrderedDict[bytes, Change] = OrderedDict()

    def remember(self, changes: Iterable[Change]) -> None:
        """Keep confirmed changes: a client that undoes them may be another controller."""
        for change in changes:
            self.confirmed[change.name] = change
            self.confirmed.move_to_end(change.name)
        while len(self.confirmed) > REMEMBERED:
            self.confirmed.popitem(last=False)

    def note_cut_changed(self, cut: bytes, now: float) -> bool:
        """Note that a delegation or DNAME appeared or went; return whether this is rare."""
        count, since = self._cuts.pop(cut, (0, now))
        if now - since >= CUT_PAUSE:
            count, since = 0, now
        self._cuts[cut] = count + 1, since
        if len(self._cuts) > REMEMBERED:
            self._cuts.popitem(last=False)
        return count < CUT_CHANGES
