# SPDX-License-Identifier: Apache-2.0
"""The state of one zone, shared by the modules that act on it (see `reconciler`)."""

from collections.abc import Iterable
from math import inf
from typing import Final

import msgspec

from ksd_ddns.zone.desired import Desired, Rules
from ksd_ddns.zone.index import Index
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Read, Scope
from ksd_ddns.zone.reconciler.acceptance import Acceptance
from ksd_ddns.zone.reconciler.backoff import Jitter
from ksd_ddns.zone.reconciler.deletions import Deletions
from ksd_ddns.zone.reconciler.events import Fact
from ksd_ddns.zone.reconciler.inventory import Inventory
from ksd_ddns.zone.reconciler.learned import Learned
from ksd_ddns.zone.reconciler.moves import Moves
from ksd_ddns.zone.reconciler.pauses import Pauses
from ksd_ddns.zone.reconciler.reads import Reads, ReadSchedule
from ksd_ddns.zone.reconciler.refusals import Refusals
from ksd_ddns.zone.reconciler.rotation import IndexedDesired, Rotation
from ksd_ddns.zone.reconciler.sending import Sending
from ksd_ddns.zone.reconciler.sources import Sources
from ksd_ddns.zone.reconciler.timing import TIMING, Timing
from ksd_ddns.zone.reconciler.unconfirmed import Unconfirmed
from ksd_ddns.zone.reconciler.updates import Updates
from ksd_ddns.zone.rivalry import Rivalry


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a zone. Durations are in seconds."""

    max_delete_percent: int = 30
    hold_down: float = 300.0
    drift_interval: float = 30.0
    full_read_interval: float = 3600.0
    timing: Timing = TIMING


class State:
    """The parts of the state, each with a subject of its own.

    `rotation` is None if the zone is read by transfer. `scope` includes the TTL limit that the server was found to
    apply. `synced`: the zone was in sync at least once. `facts` are those since they were last taken.
    """

    def __init__(
        self, zone: bytes, *, rules: Rules, scope: Scope, namespaces: Iterable[str], options: Options, jitter: Jitter
    ) -> None:
        timing = options.timing
        self.zone: Final = zone
        self.options: Final = options
        self.reads: Final = Reads()
        queries = scope.read is Read.QUERIES
        self.rotation: Final = Rotation(Index(scope.base, scope.owner)) if queries else None
        self.desired: Final = IndexedDesired(rules, self.rotation, self.reads) if self.rotation else Desired(rules)
        self.inventory: Final = Inventory(self.desired, rules, scope, hold_down=options.hold_down, timing=timing)
        self.sources: Final = Sources(tuple(namespaces))
        self.schedule: Final = ReadSchedule(
            drift_interval=options.drift_interval,
            full_read_interval=inf if queries else options.full_read_interval,
            jitter=jitter,
        )
        self.updates: Final = Updates()
        self.sending: Final = Sending()
        self.unconfirmed: Final = Unconfirmed()
        self.refusals: Final = Refusals(jitter=jitter, timing=timing)
        self.acceptance: Final = Acceptance(jitter=jitter)
        self.deletions: Final = Deletions()
        self.moves: Final = Moves(self.desired, self.refusals, self.unconfirmed)
        self.rivalry: Final = Rivalry()
        self.pauses: Final = Pauses(jitter=jitter, timing=timing)
        self.learned: Final = Learned()
        self.scope = scope
        self.synced = False
        self.facts: list[Fact] = []

    @property
    def live(self) -> Live:
        """The zone as last read, with the accepted changes; empty before the first read."""
        return self.reads.live or Live(self.zone, 0, {})

    @property
    def incomplete_namespaces(self) -> frozenset[str]:
        """The namespaces of which not all VMIs are known: a missing VMI may still exist."""
        return self.inventory.incomplete_namespaces | self.sources.unlisted

    @property
    def holds_our_names(self) -> bool:
        """Whether the zone is known to hold names of ours."""
        return self.acceptance.accepted_any or self.deletions.owned > 0
