# SPDX-License-Identifier: Apache-2.0
"""Which reverse zones hold published addresses, from the answers of the primary (REVERSE_ZONES=auto).

The primary is asked for one address of each block: a /24 of IPv4, a /64 of IPv6. Zones rarely end inside one. If an
answer shows that one does, by an alias (RFC 2317), each address of that block is looked up.

Anyone who can write to a guest can make it report any address. So the number of blocks is limited, and a namespace with
fewer blocks takes the place of one with more.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import ReverseZone, Rules, publishable, reverse_zone

MAX_BLOCKS = 4096
"""Blocks that are looked up; addresses in more blocks have no PTR."""

MAX_ZONES = 1000
"""Zones that are found at most: each has a transfer and a poll of its own."""

MAX_ADDRESSES = 256
"""Addresses of one block that are remembered, in case each has to be looked up."""

AGAIN = 600.0
"""Seconds until a block is looked up again: zones come and go."""

SOON = 5.0
"""Seconds until a block is looked up again if the answer was unsure."""


class Placed(NamedTuple):
    """Where the primary has a name: the apex of its zone, None if it has none, and the target if it is an alias.

    `reason` says why there is no zone; with `unsure` there may be one that the primary has not loaded yet.
    """

    zone: bytes | None
    alias: bytes | None = None
    reason: str = ""
    unsure: bool = False


class Nowhere(NamedTuple):
    """An address without a reverse zone on the primary, and why."""

    address: bytes
    reason: str


class ReverseSearch:
    """The blocks that published addresses are in, and the zones found for them. Times are in seconds, monotonic.

    `named` are the zones that the settings name: their addresses are not looked up. Zones that were found remain, so
    that their records can be deleted.
    """

    def __init__(self, rules: Rules, named: Iterable[ReverseZone] = (), *, again: float = AGAIN) -> None:
        self._rules = rules
        self._networks = tuple(network for zone in named for network in zone.networks)
        self._again = again
        self._blocks: dict[bytes, dict[bytes, None]] = {}
        self._due: dict[bytes, float] = {}
        self._namespaces: dict[bytes, str] = {}  # of those with addresses in a block, one with few blocks
        self._counts: Counter[str] = Counter()
        self._divided: set[bytes] = set()
        self._nowhere: dict[bytes, Nowhere] = {}
        self._zones: dict[bytes, ReverseZone] = {}
        self.full = False

    @property
    def zones(self) -> tuple[ReverseZone, ...]:
        """The zones found so far."""
        return tuple(self._zones.values())

    @property
    def nowhere(self) -> tuple[Nowhere, ...]:
        """An address of each block without a zone."""
        return tuple(self._nowhere.values())

    def add(self, vmi: Vmi) -> None:
        """Note the published addresses of `vmi`."""
        if not vmi.live or vmi.ignored:
            return
        for interface in vmi.interfaces:
            for family in publishable(interface, self._rules, self._rules.max_family)[0]:
                for address in family:
                    self.add_address(address, vmi.namespace)

    def add_address(self, address: bytes, namespace: str = "") -> None:
        """Note a published address of a VMI in `namespace`."""
        key = self._key(address)
        known = self._blocks.get(key)
        if known is not None:
            if len(known) < MAX_ADDRESSES:
                known[address] = None
            if self._counts[namespace] + 1 < self._counts[self._namespaces[key]]:
                self._count(key, namespace)
        elif any(address in network for network in self._networks):
            return
        elif self._has_room(namespace):
            self._blocks[key] = {address: None}
            self._due[key] = 0.0
            self._count(key, namespace)

    @property
    def due(self) -> float | None:
        """When the next block is due, None if there is none."""
        return min(self._due.values(), default=None)

    def take(self, now: float) -> bytes | None:
        """Return an address of a block that is due, None if there is none."""
        return next((next(iter(self._blocks[key])) for key, due in self._due.items() if due <= now), None)

    def postpone(self, address: bytes, now: float) -> None:
        """Look up the block of `address` later, after all others that are due: it was not answered."""
        key = self._key(address)
        self._due.pop(key, None)
        self._due[key] = now + min(SOON, self._again)

    def note(self, address: bytes, placed: Placed, target: Placed | None, now: float) -> None:
        """Take the answer for `address`: where its reverse name is, and where the target is if that is an alias."""
        key = self._key(address)
        if placed.alias is not None and key != address:
            self._divide(key)
            key = address
        # At the end of the order, so that take() goes through all that are due.
        self._due.pop(key, None)
        unsure = placed.unsure or (target is not None and target.unsure)
        self._due[key] = now + (min(SOON, self._again) if unsure else self._again)
        zone, reason = _zone(address, placed, target)
        self._nowhere.pop(key, None)
        if zone is None:
            self._nowhere[key] = Nowhere(address, reason)
        elif zone.base in self._zones or len(self._zones) < MAX_ZONES:
            self._zones[zone.base] = zone
        else:
            self.full = True

    def _has_room(self, namespace: str) -> bool:
        """Return whether there is room for a block of `namespace`, and make it at the cost of one with more blocks."""
        if len(self._blocks) < MAX_BLOCKS:
            return True
        self.full = True
        largest, count = self._counts.most_common(1)[0]
        if self._counts[namespace] + 1 >= count:
            return False
        self._forget(next(key for key in reversed(self._blocks) if self._namespaces[key] == largest))
        return True

    def _count(self, key: bytes, namespace: str | None) -> None:
        """Count a block for `namespace`, and no longer for the one before; None: for no other."""
        before = self._namespaces.pop(key, None)
        if before is not None:
            self._counts[before] -= 1
        if namespace is not None:
            self._namespaces[key] = namespace
            self._counts[namespace] += 1

    def _forget(self, key: bytes) -> dict[bytes, None]:
        """Forget a block; return its addresses."""
        self._count(key, None)
        self._due.pop(key, None)
        self._nowhere.pop(key, None)
        return self._blocks.pop(key)

    def _key(self, address: bytes) -> bytes:
        block = address[:3] if len(address) == 4 else address[:8]
        return address if block in self._divided else block

    def _divide(self, block: bytes) -> None:
        """Look up each address of `block`."""
        self._divided.add(block)
        namespace = self._namespaces[block]
        for address in self._forget(block):
            self.add_address(address, namespace)


def _zone(address: bytes, placed: Placed, target: Placed | None) -> tuple[ReverseZone | None, str]:
    """Return the zone for the PTR of `address`; without one, the reason."""
    if placed.alias is not None:
        alias = names.to_text(placed.alias)
        if target is None or target.zone is None:
            return None, f"its reverse name is an alias of {alias}, which the primary does not serve"
        try:
            zone = reverse_zone(target.zone)
        except ValueError:
            zone = None
        if zone is None or zone.name(address) != placed.alias:
            apex = names.to_text(target.zone)
            return None, f"its reverse name is an alias of {alias}: add {apex}=CIDR to REVERSE_ZONES"
        return zone, ""
    if placed.zone is None:
        return None, placed.reason
    try:
        zone = reverse_zone(placed.zone)
    except ValueError:
        zone = None
    if zone is None or zone.name(address) is None:
        return None, f"its reverse name is in {names.to_text(placed.zone)}, which is not a reverse zone"
    return zone, ""
