"""Zone transfers as a state machine without a socket (RFC 5936, RFC 1995).

Records go in, message by message; out comes what the answer turned out to be: nothing new, a list of deltas, or a whole
zone (which an IXFR query may be answered with, too). Nothing is to be used before the machine says that it is done.
"""

from enum import Enum

from ksd_ddns.zone import names
from ksd_ddns.zone.rrset import DNAME, NS, NSEC, NSEC3, RRSIG, SOA, Node, RRset, by_type, rrset
from ksd_ddns.zone.wire import Malformed, Record, soa_serial

# What a signing server adds by itself: never compared, and no evidence that a name is in use.
GENERATED = frozenset({RRSIG, NSEC, NSEC3})


# What hides the names below it: a delegation, unless it is the zone's own NS, and a DNAME.
CUTTING = frozenset({NS, DNAME})


class _Form(Enum):
    ZONE = 1
    DELTAS = 2


class Delta:
    """One step of an IXFR: from one serial to the next, what went and what came."""

    __slots__ = ("added", "removed", "serial")

    def __init__(self) -> None:
        self.serial = 0
        self.removed: list[Record] = []
        self.added: list[Record] = []


class Transfer:
    """An answer to an AXFR query, or to an IXFR query from `serial`.

    After `feed` returned true exactly one of these holds: `nodes` is the whole zone, or `deltas` leads from the asked
    serial to `serial` (empty: nothing changed).
    """

    def __init__(self, zone: bytes, serial: int | None = None) -> None:
        self._zone = zone
        self._asked = serial
        self._soa: bytes | None = None
        self._position = 0
        self._form: _Form | None = None
        self._run_name = b""
        self._run_type = -1
        self._run_ttl = 0
        self._run: list[bytes] = []
        self._whole: dict[bytes, list[RRset]] = {}
        self._inside: set[bytes] = set()
        self.cuts: set[bytes] = set()
        self._adding = False
        self.serial = 0
        self.done = False
        self.records = 0
        self.deltas: list[Delta] = []
        self.nodes: dict[bytes, Node] | None = None

    def feed(self, records: list[Record]) -> bool:
        """Take the answer section of the next message; return whether the transfer is complete.

        Raises Malformed on anything that no transfer may hold.
        """
        if self.done:
            raise Malformed("a record follows the final SOA")
        self.records += len(records)
        start = 0
        if self._soa is None:
            self._begin(records)
            start = 1
            # One SOA that is not newer than ours: nothing changed (RFC 1995, 2 and 4).
            if self._asked is not None and len(records) == 1 and not newer(self.serial, self._asked):
                return self._end()
        if self._form is None and start < len(records):
            self._form = self._decided(records[start])
            start += self._form is _Form.DELTAS
        if self._form is _Form.DELTAS:
            return self._feed_deltas(records, start)
        return self._feed_zone(records, start)

    def _begin(self, records: list[Record]) -> None:
        if not records:
            raise Malformed("a transfer without a record")
        name, rdtype, _, rdata = records[0]
        if rdtype != SOA or name != self._zone:
            raise Malformed(f"a transfer that does not begin with the SOA of {names.to_text(self._zone)}")
        self._soa = rdata
        self.serial = soa_serial(rdata)

    def _decided(self, second: Record) -> "_Form":
        """See in the second record whether the answer is a whole zone or deltas (RFC 1995, 4)."""
        name, rdtype, _, rdata = second
        if rdtype != SOA or name != self._zone or self._asked is None or soa_serial(rdata) != self._asked:
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
                self._check_inside(name)
                delta = self.deltas[-1]
                (delta.added if self._adding else delta.removed).append(record)
                continue
            if name != self._zone:
                raise Malformed("the zone holds a second SOA")
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
        # Records of one RRset follow each other in practice: they are gathered as a run; runs are merged at the end.
        run_name, run_type, run = self._run_name, self._run_type, self._run
        for index in range(start, len(records)):
            name, rdtype, ttl, rdata = records[index]
            if rdtype == run_type and name == run_name:
                run.append(rdata)
                continue
            if rdtype == SOA:
                if name != self._zone or rdata != self._soa:
                    raise Malformed("the zone changed in the middle of the transfer, or holds a second SOA")
                if index + 1 != len(records):
                    raise Malformed("a record follows the final SOA")
                self._end_run(run_name, run_type, run)
                self._finish()
                return self._end()
            self._end_run(run_name, run_type, run)
            run_name, run_type, run = name, rdtype, [rdata]
            self._run_ttl = ttl
        self._run_name, self._run_type, self._run = run_name, run_type, run
        return False

    def _end_run(self, name: bytes, rdtype: int, rdatas: list[bytes]) -> None:
        if rdtype < 0 or rdtype in GENERATED:
            return
        if rdtype in CUTTING and (rdtype == DNAME or name != self._zone):
            self.cuts.add(name)
        ttl = self._run_ttl
        found = RRset(rdtype, ttl, tuple(rdatas)) if len(rdatas) == 1 else rrset(rdtype, ttl, rdatas)
        rrsets = self._whole.get(name)
        if rrsets is None:
            self._check_inside(name)
            self._whole[name] = [found]
        else:
            rrsets.append(found)

    def _check_inside(self, name: bytes) -> None:
        # Most names have the parent of the one before: one walk along the labels serves all of its children.
        parent = names.parent(name)
        if parent in self._inside or name == self._zone:
            return
        if not names.is_below(parent, self._zone):
            raise Malformed(f"{names.to_text(name)} is not in {names.to_text(self._zone)}")
        self._inside.add(parent)

    def _finish(self) -> None:
        nodes = {
            name: Node(name, tuple(rrsets) if len(rrsets) == 1 else _merged(rrsets))
            for name, rrsets in self._whole.items()
        }
        self._whole = {}
        apex = nodes.get(self._zone)
        if apex is None or apex.get(NS) is None:
            # No primary serves such a zone: rather half a transfer than a zone without anything.
            raise Malformed("the transfer holds no NS record of the zone")
        self.nodes = nodes


def _merged(rrsets: list[RRset]) -> tuple[RRset, ...]:
    """Return `rrsets` sorted by type, one of each type."""
    rrsets.sort(key=by_type)
    merged: list[RRset] = []
    for item in rrsets:
        if merged and merged[-1].type == item.type:
            merged[-1] = rrset(item.type, merged[-1].ttl, (*merged[-1].rdatas, *item.rdatas))
        else:
            merged.append(item)
    return tuple(merged)


def newer(serial: int, than: int) -> bool:
    """Return whether `serial` comes after `than` in serial number arithmetic (RFC 1982, 3.2)."""
    return serial != than and (serial - than) % 2**32 < 2**31
