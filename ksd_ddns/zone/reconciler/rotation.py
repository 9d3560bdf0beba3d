# SPDX-License-Identifier: Apache-2.0
"""The index in turn: which shard and names to read next, and where new records of the index go."""

from collections.abc import Iterator
from typing import Final

from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.desired import Desired, Rules
from ksd_ddns.zone.index import FEWEST, Entry, Index
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.reconciler.reads import Reads


class Rotation:
    """The shards of the index, in turn. New records go to one of the first `count` shards."""

    def __init__(self, index: Index) -> None:
        self.index: Final = index
        self.count = FEWEST
        self._shards: Iterator[tuple[bytes, list[bytes]]] | None = None

    def place(self, name: bytes, live: Live) -> tuple[Entry, ...]:
        """Return the records that list `name`, or the one to add."""
        return live.get(name).index or (self.index.entry(name, self.count),)

    def next_shard(self, desired: Desired, live: Live) -> tuple[bytes, list[bytes]] | None:
        """Return the next shard, and the known names that belong there; None at the end of each rotation."""
        if self._shards is None:
            parts: dict[bytes, list[bytes]] = {shard: [] for shard in self.index.all_shards(self.count)}
            for name in {*desired.names(), *live.nodes} - {self.index.head}:
                parts.setdefault(self.place(name, live)[0][0], []).append(name)
            self._shards = iter(parts.items())
        following = next(self._shards, None)
        if following is None:
            self._shards = None
        return following


class IndexedDesired(Desired):
    """The desired zone content, with the records of the index that each name needs."""

    def __init__(self, rules: Rules, rotation: Rotation, reads: Reads) -> None:
        super().__init__(rules)
        self._rotation = rotation
        self._reads = reads

    def get(self, name: bytes) -> Node | None:
        """Return the node wanted at `name`, or None if nothing is wanted."""
        node, live = super().get(name), self._reads.live
        return node if node is None or live is None else node.with_index(self._rotation.place(name, live))
