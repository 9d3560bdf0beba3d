# SPDX-License-Identifier: Apache-2.0
"""Our records in a zone, with the ownership record of each."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT, RRset
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.ownership_record import OwnershipRecord
from ksd_ddns.zone.plan import Scope, owned_names


class Owned(NamedTuple):
    """The live zone, and the scope that says what is ours in it."""

    live: Live
    scope: Scope

    def names(self) -> list[bytes]:
        """Return the owner names that are ours, in no order."""
        return owned_names(self.live, self.scope)

    def other_owners(self) -> list[str]:
        """Return the other owner IDs with ownership records in the zone, sorted."""
        found: set[str] = set()
        for node in self.live.nodes.values():
            found |= ownership_record.owners(node.get(TXT))
        return sorted(found - {self.scope.owner})

    def records(self, chosen: Iterable[bytes] | None = None) -> Iterator[tuple[bytes, OwnershipRecord | None, RRset]]:
        """Yield owner name, ownership record (if there is one) and RRset of our records, in the order of names.

        With `chosen` only the records of these names, in their order.
        """
        for name in sorted(self.names(), key=names.canonical) if chosen is None else chosen:
            node = self.live.get(name)
            record = ownership_record.owned(node.get(TXT), self.scope.owner)
            for item in node.rrsets:
                if item.type in self.scope.types:
                    yield name, record, item
