"""What is ours in a zone, for those who want to see it: the records, and which VMI each is of."""

from collections.abc import Iterator
from typing import NamedTuple

from ksd_ddns.zone import names, render
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.marker import owned_vmi
from ksd_ddns.zone.plan import Scope, owned_names
from ksd_ddns.zone.rrset import TXT, RRset


class Owned(NamedTuple):
    """A zone as it is known, and what in it may be ours."""

    live: Live
    scope: Scope

    def records(self) -> Iterator[tuple[bytes, str, RRset]]:
        """Yield owner name, VMI (empty where no marker tells it) and RRset of what is ours, in the order of names."""
        for name in sorted(owned_names(self.live, self.scope), key=names.canonical):
            node = self.live.get(name)
            text = node.get(TXT)
            vmi = owned_vmi(text.rdatas, self.scope.owner) if text else ""
            for item in node.rrsets:
                if item.type in self.scope.types:
                    yield name, vmi, item

    def as_json(self) -> dict[str, object]:
        """Return the zone and these records as the JSON outputs show them."""
        return {
            "zone": names.to_text(self.live.zone),
            "serial": self.live.serial,
            "records": [
                {"name": names.to_text(name), "vmi": vmi, **render.json_rrset(item)}
                for name, vmi, item in self.records()
            ],
        }
