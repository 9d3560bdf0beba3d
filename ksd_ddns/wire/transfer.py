# SPDX-License-Identifier: Apache-2.0
"""Zone transfers as a state machine without a socket (RFC 5936, RFC 1995).

Feed it the records of each message. The result is one of: no change, a list of deltas, or a full zone (which is also a
valid response to an IXFR query). Use the result only once the transfer is done.
Records outside the zone are ignored, as secondaries do.
"""

from collections.abc import Iterator
from enum import Enum
from itertools import groupby, islice
from operator import itemgetter

from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Malformed, Record, soa_serial
from ksd_ddns.wire.rrset import DNAME, NS, NSEC, NSEC3, RRSIG, SOA, Node, RRset, rrset

# Types that a signing server adds: never compared, and not evidence that a name is in use.
GENERATED = frozenset({RRSIG, NSEC, NSEC3})

# Types that hide the names below them: NS of a delegation (not the zone's own NS), and DNAME.
CUTTING = frozenset({NS, DNAME})

_SPECIAL = GENERATED | CUTTING | {SOA}


class _Form(Enum):
    ZONE = 1
    DELTAS = 2


class Delta:
    """One step of an IXFR: the records removed and added up to `serial`."""

    __slots__ = ("added", "removed", "serial")

    def __init__(self) -> None:
        self.serial = 0
        self.removed: list[Record] = []
        self.added: list[Record] = []


class Transfer:
    """The response to an AXFR query, or to an IXFR query from `serial`.

    Once `feed` has returned true, either `nodes` is the full zone, or `deltas` lead from the requested serial to
    `serial` (empty: no change).
    """

    def __init__(self, zone: bytes, serial: int | None = None) -> None:
        self._zone = zone
        self._requested = serial
        self._soa: bytes | None = None
        self._position = 0
        self._form: _Form | None = None
        self._name = b""
        self._adjacent: list[Record] = []
        self._nodes: dict[bytes, Node] = {}
        self._later: dict[bytes, list[Record]] = {}
        self._parents: set[bytes] = set()
        self.cuts: set[bytes] = set()
        self._adding = False
        self.serial = 0
        self.done = False
        self.records = 0
        self.deltas: list[Delta] = []
        self.nodes: dict[bytes, Node] | None = None

    @property
    def lone(self) -> bool:
        """Whether the only record of an IXFR so far is a newer SOA: some servers never send more."""
        return self.records == 1 and self._requested is not None and not self.done

    def feed(self, records: list[Record]) -> bool:
        """Process the answer section of the next message; return whether the transfer is complete.

        Raises Malformed if the records violate the protocol.
        """
        if self.done:
            raise Malformed("a record follows the final SOA")
        self.records += len(records)
        start = 0
        if self._soa is None:
            self._begin(records)
            start = 1
            # A single SOA that is not newer than ours: no change (RFC 1995, 2 and 4).
            if self._requested is not None and len(records) == 1 and not newer(self.serial, self._requested):
                return self._end()
        if self._form is None and start < len(records):
            self._form = self._detect_form(records[start])
            start += self._form is _Form.DELTAS
        if self._form is _Form.DELTAS:
            return self._feed_deltas(records, start)
        return self._feed_zone(records, start)

    def _begin(self, records: list[Record]) -> None:
        if not records:
            raise Malformed("a transfer without a record, so the server may not support transfers")
        name, rdtype, _, rdata = records[0]
        if rdtype != SOA or name != self._zone:
            raise Malformed(f"a transfer that does not begin with the SOA of {names.to_text(self._zone)}")
        self._soa = rdata
        self.serial = soa_serial(rdata)

    def _detect_form(self, second: Record) -> "_Form":
        """Detect from the second record whether the response is the full zone or deltas (RFC 1995, 4)."""
        name, rdtype, _, rdata = second
        if rdtype != SOA or name != self._zone or self._requested is None or soa_serial(rdata) != self._requested:
            return _Form.ZONE
        self.deltas.append(Delta())
        return _Form.DELTAS

    def _end(self) -> bool:
        self.done = True
        return True

    def _feed_deltas(self, records: list[Record], start: int) -> bool:
        for index in range(start, len(records)):
            record = records[index]
            name, rdtype, _, rdata = record
            if rdtype != SOA:
                if self._is_inside(name):
                    delta = self.deltas[-1]
                    (delta.added if self._adding else delta.removed).append(record)
                continue
            if name != self._zone:
                self._check_soa(name)
                continue
            serial = soa_serial(rdata)
            if not self._adding:
                self.deltas[-1].serial = serial
                self._adding = True
                continue
            if serial != self.deltas[-1].serial:
                raise Malformed(f"deltas that do not join: {self.deltas[-1].serial}, then {serial}")
            if serial == self.serial:  # the final SOA
                if rdata != self._soa:
                    raise Malformed("the zone changed in the middle of the transfer")
                if index + 1 != len(records):
                    raise Malformed("a record follows the final SOA")
                return self._end()
            self.deltas.append(Delta())
            self._adding = False
        return False

    def _feed_zone(self, records: list[Record], start: int) -> bool:
        # In practice the records of a name are adjacent; _finish() merges those that are not.
        name, adjacent = self._name, self._adjacent
        for record in islice(records, start, None):
            if record[1] in _SPECIAL:
                if record[1] in GENERATED:
                    continue
                if not self._is_inside(record[0]):
                    continue
                if record[1] == SOA:
                    if record[0] != self._zone or record[3] != self._soa:
                        raise Malformed("the zone changed in the middle of the transfer, or holds a second SOA")
                    if record is not records[-1]:
                        raise Malformed("a record follows the final SOA")
                    self._take(name, adjacent)
                    self._finish()
                    return self._end()
                if record[1] == DNAME or record[0] != self._zone:
                    self.cuts.add(record[0])
            if record[0] == name:
                adjacent.append(record)
                continue
            self._take(name, adjacent)
            name, adjacent = record[0], [record]
        self._name, self._adjacent = name, adjacent
        return False

    def _take(self, name: bytes, records: list[Record]) -> None:
        """Store adjacent records of one name."""
        if not records:
            return
        if name in self._nodes:
            self._later.setdefault(name, []).extend(records)
            return
        if self._is_inside(name):
            self._nodes[name] = _node(name, records)

    def _check_soa(self, name: bytes) -> None:
        if self._is_inside(name):
            raise Malformed("the zone holds a second SOA")

    def _is_inside(self, name: bytes) -> bool:
        """Return whether `name` is in the zone."""
        # Many names share a parent, so cache the parents that are in the zone.
        parent = names.parent(name)
        if parent in self._parents or name == self._zone:
            return True
        if not names.is_below(parent, self._zone):
            return False
        self._parents.add(parent)
        return True

    def _finish(self) -> None:
        for name, later in self._later.items():
            earlier = self._nodes[name].rrsets
            records = [(name, item.type, item.ttl, rdata) for item in earlier for rdata in item.rdatas]
            self._nodes[name] = _node(name, records + later)
        self._later = {}
        apex = self._nodes.get(self._zone)
        if apex is None or apex.get(NS) is None:
            # No primary serves a zone without NS: the transfer is truncated. Do not treat the zone as empty.
            raise Malformed("the transfer holds no NS record of the zone")
        self.nodes = self._nodes


def _node(name: bytes, records: list[Record]) -> Node:
    """Return the node made of the records of one name, given in any order."""
    records.sort()  # by type, then TTL: if TTLs in an RRset differ, the lowest applies (RFC 2181, 5.2)
    rrsets: list[RRset] = []
    last = -1
    for _, rdtype, ttl, rdata in records:
        if rdtype == last:
            return Node(name, tuple(_grouped(records)))
        rrsets.append(RRset(rdtype, ttl, (rdata,)))  # most have one record
        last = rdtype
    return Node(name, tuple(rrsets))


def _grouped(records: list[Record]) -> Iterator[RRset]:
    """Yield the RRsets of records sorted by type."""
    for rdtype, group in groupby(records, key=itemgetter(1)):
        adjacent = list(group)
        yield rrset(rdtype, adjacent[0][2], [rdata for _, _, _, rdata in adjacent])


def newer(serial: int, than: int) -> bool:
    """Return whether `serial` is newer than `than` in serial number arithmetic (RFC 1982, 3.2)."""
    return serial != than and (serial - than) % 2**32 < 2**31
