"""What is ours in a zone, for those who want to see it: the records, and which VMI each is of."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT, RRset
from ksd_ddns.zone import render
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.marker import owned_vmi
from ksd_ddns.zone.plan import Scope, owned_names


class Owned(NamedTuple):
    """A zone as it is known, and what in it may be ours."""

    live: Live
    scope: Scope

    def names(self) -> list[bytes]:
        """Return the owner names that are ours, in no order."""
        return owned_names(self.live, self.scope)

    def records(self, chosen: Iterable[bytes] | None = None) -> Iterator[tuple[bytes, str, RRset]]:
        """Yield owner name, VMI (empty where no marker tells it) and RRset of what is ours, in the order of names.

        With `chosen` only what stands at these names, in their order.
        """
        for name in sorted(self.names(), key=names.canonical) if chosen is None else chosen:
            node = self.live.get(name)
            text = node.get(TXT)
            vmi = owned_vmi(text.rdatas, self.scope.owner) if text else ""
            for item in node.rrsets:
                if item.type in self.scope.types:
                    yield name, vmi, item

    def json_records(self) -> Iterator[dict[str, object]]:
        """Yield these records as the JSON outputs show them."""
        for name, vmi, item in self.records():
            yield {"name": names.to_text(name), "vmi": vmi, **render.json_rrset(item)}

    def as_json(self) -> dict[str, object]:
        """Return the zone and these records as the JSON outputs show them."""
        return {
            "zone": names.to_text(self.live.zone),
            "serial": self.live.serial,
            "records": list(self.json_records()),
        }
