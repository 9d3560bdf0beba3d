# SPDX-License-Identifier: Apache-2.0
"""The index: TXT records in the zone that list the names of one owner, for zones that cannot be transferred.

    _ksd-ddns-<hash of the owner ID>.<base>         TXT "heritage=ksd-ddns,owner=<ID>,vmi=,shards=<count>"
    <number>._ksd-ddns-<hash of the owner ID>.<base>  TXT "heritage=ksd-ddns,owner=<ID>,vmi=,name=<owner name>"

One record lists one name. Servers limit the size of an RRset, so the records are spread over shards by a hash of the
name. The first name, the head, says how many shards there are; it is missing while there are FEWEST. The number only
grows, and a record stays in the shard in which it was written.

A record is added and deleted in the same message as the ownership record of its name, with the prerequisites of that
name. Nothing follows from the index alone: a name that it lists is deleted only if the name itself holds our ownership
record. Every record is an ownership record of ours, so a controller that reads the zone by transfer deletes the index.
"""

from collections.abc import Iterator
from hashlib import sha256

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT, Node, RRset, rrset
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.ownership_record import OwnershipRecord

SHARDS = (64, 512, 4096)
"""The possible numbers of shards."""

FEWEST = SHARDS[0]

FULL = 40
"""Names per shard, on average, from which more shards are needed: with BIND, an RRset has at most 100 records."""

LONGEST_BASE = 200
"""Octets of the longest base that leaves room for the names of the index."""

_NAME, _SHARDS = "name=", "shards="

Entry = tuple[bytes, bytes]
"""A record of the index: its owner name and TXT rdata."""


def head(base: bytes, owner: str) -> bytes:
    """Return the name at and below which the index of `owner` is; `base` has at most LONGEST_BASE octets."""
    label = b"_ksd-ddns-" + sha256(owner.encode()).hexdigest()[:16].encode()
    return bytes([len(label)]) + label + base


class Index:
    """The index of `owner` below `base`."""

    def __init__(self, base: bytes, owner: str) -> None:
        self.base = base
        self.owner = owner
        self.head = head(base, owner)

    def shards(self, found: Node) -> int:
        """Return the number of shards, given the node at the head."""
        counts = [int(value) for value in self._values(found.get(TXT), _SHARDS) if value.isascii() and value.isdigit()]
        return max((count for count in counts if count in SHARDS), default=FEWEST)

    def all_shards(self, count: int) -> list[bytes]:
        """Return the owner names of all shards."""
        return [self._shard(number) for number in range(count)]

    def entry(self, name: bytes, count: int) -> Entry:
        """Return the record that lists `name`, in the shard where it belongs if there are `count`."""
        number = int.from_bytes(sha256(name).digest()[:4], "big") % count
        return self._shard(number), self._rdata(_NAME + names.to_text(name))

    def entries(self, shard: bytes, text: RRset | None) -> Iterator[tuple[bytes, Entry]]:
        """Yield the names that the TXT records at `shard` list, each with its record."""
        for rdata in text.rdatas if text else ():
            for value in self._values(rrset(TXT, 0, [rdata]), _NAME):
                try:
                    name = names.from_text(value)
                except ValueError:
                    continue
                if not names.is_below(name, self.head):
                    yield name, (shard, rdata)

    def grown(self, found: Node, count: int) -> Node | None:
        """Return the node that the head needs for `count` names; None if there are enough shards."""
        needed = next((shards for shards in SHARDS if count <= FULL * shards), SHARDS[-1])
        if needed <= self.shards(found):
            return None
        text = found.get(TXT)
        ours = self._rdata(_SHARDS + str(needed))
        rdatas = [rdata for rdata in (text.rdatas if text else ()) if not self._is_count(rdata)]
        return found.with_rrsets([rrset(TXT, text.ttl if text else 300, [*rdatas, ours])], types=(TXT,))

    def _shard(self, number: int) -> bytes:
        label = str(number).encode()
        return bytes([len(label)]) + label + self.head

    def _rdata(self, field: str) -> bytes:
        return OwnershipRecord(self.owner, extra=(field,)).rdata()

    def _is_count(self, rdata: bytes) -> bool:
        return any(True for _ in self._values(rrset(TXT, 0, [rdata]), _SHARDS))

    def _values(self, text: RRset | None, field: str) -> Iterator[str]:
        for record in ownership_record.records(text).values():
            if record.owner == self.owner:
                yield from (extra[len(field) :] for extra in record.extra if extra.startswith(field))
