# SPDX-License-Identifier: Apache-2.0
"""For the soak: wanted addresses over time, and a witness of every change in the zone.

The witness reads the zone's IXFR stream, as a secondary does, with code of its own: every transaction of the primary is
in it, however short what it did has lasted.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import NamedTuple, Self

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.tsig
import dns.update

from harness.servers import Server


class Record(NamedTuple):
    """A record as dnspython formats it; owner in lower case."""

    owner: str
    type: str
    rdata: str


ADDRESSES = ("A", "AAAA")
ANY = "*"
"""Stands for whichever address: something is wanted."""


class _Slot:
    """The addresses wanted at one name of one type over time."""

    __slots__ = ("now", "past")

    def __init__(self) -> None:
        self.now: dict[str, list[float]] = {}
        self.past: list[tuple[str, float, float]] = []

    def end(self, what: str, at: float) -> None:
        since, until = self.now.pop(what)
        self.past.append((what, since, min(at, until)))


class Wishes:
    """The addresses wanted at each name, over time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, str], _Slot] = {}

    def set(self, owner: str, rdtype: str, addresses: Iterable[str], *, before: float, until: float = 0.0) -> None:
        """Set the wanted addresses from now on; the previous ones were wanted until `before`.

        If none are wanted, the previous ones are held `until` then. `before` is a time before the change of the
        cluster, so that no address counts as wanted too early.
        """
        wanted = set(addresses)
        with self._lock:
            now = time.monotonic()
            slot = self._slots.setdefault((owner, rdtype), _Slot())
            for what in [what for what, (_, until) in slot.now.items() if until < before]:
                slot.end(what, before)
            if not wanted and until > before:
                for span in slot.now.values():
                    span[1] = min(span[1], until)
                return
            wanted |= {ANY} if wanted else set()
            for what in slot.now.keys() - wanted:
                slot.end(what, before)
            for what in wanted:
                slot.now.setdefault(what, [now, inf])[1] = inf

    def history(self, owner: str, rdtype: str, at: float) -> str:
        """Return what was wanted in the last half minute, with times in seconds before `at`."""
        with self._lock:
            slot = self._slots[owner, rdtype]
            spans = [*slot.past, *((what, since, until) for what, (since, until) in slot.now.items())]
        shown = (f"{what} {first - at:.2f}..{last - at:.2f}" for what, first, last in spans if last > at - 30)
        return "; ".join(shown)

    def throughout(self, owner: str, rdtype: str, what: str, begin: float, end: float) -> bool:
        """Return whether `what` was wanted from `begin` to `end` without interruption."""
        with self._lock:
            slot = self._slots.get((owner, rdtype))
            if slot is None:
                return False
            since, until = slot.now.get(what, (inf, inf))
            if since <= begin and end <= until:
                return True
            return any(what == each and first <= begin and end <= last for each, first, last in slot.past)


@dataclass
class Delta:
    """One transaction of the primary."""

    serial: int
    removed: set[Record] = field(default_factory=set)
    added: set[Record] = field(default_factory=set)


class Transfers:
    """Transfers of one zone from one primary."""

    def __init__(self, primary: Server, zone: str) -> None:
        self._where = (primary.address, primary.port)
        self._zone = dns.name.from_text(zone)
        key = dns.tsig.Key(primary.key_name, primary.secret, "hmac-sha256")
        self.keyring = {key.name: key}

    def whole(self) -> tuple[int, set[Record]]:
        """Return serial and records of the zone, without the SOA."""
        records = list(self._records(dns.rdatatype.AXFR, 0))
        return _serial(records[0]), {record for record in records if record.type != "SOA"}

    def deltas(self, serial: int) -> list[Delta]:
        """Return all transactions since `serial`, in order."""
        first, *rest = self._records(dns.rdatatype.IXFR, serial)
        if not rest:
            return []
        assert rest[0].type == "SOA", "the primary sends the whole zone: its journal does not reach back"
        found: list[Delta] = []
        adding = True
        for record in rest[:-1]:
            if record.type == "SOA":
                adding = not adding
                if adding:
                    found[-1].serial = _serial(record)
                else:
                    found.append(Delta(0))
            else:
                (found[-1].added if adding else found[-1].removed).add(record)
        assert found[-1].serial == _serial(first)
        return found

    def edit(self, script: Iterable[tuple[str, str, str, str]]) -> None:
        """Send one UPDATE of lines like ("add", owner, type, rdata), ("delete", owner, type, "")."""
        message = dns.update.UpdateMessage(self._zone)
        message.use_tsig(self.keyring)
        for verb, owner, rdtype, rdata in script:
            name = dns.name.from_text(owner)
            if verb == "add":
                message.add(name, 60, rdtype, rdata)
            else:
                message.delete(name, rdtype, *([rdata] if rdata else []))
        response = dns.query.tcp(message, self._where[0], timeout=5, port=self._where[1])
        assert response.rcode() == 0, response.to_text()

    def _records(self, rdtype: dns.rdatatype.RdataType, serial: int) -> Iterator[Record]:
        messages = dns.query.xfr(
            self._where[0],
            self._zone,
            rdtype,
            port=self._where[1],
            keyring=self.keyring,
            serial=serial,
            relativize=False,
            timeout=20,
            lifetime=120,
        )
        with contextlib.closing(messages):
            for message in messages:
                for rrset in message.answer:
                    owner = rrset.name.to_text().lower()
                    kind = dns.rdatatype.to_text(rrset.rdtype)
                    for rdata in rrset:
                        yield Record(owner, kind, rdata.to_text())


def _serial(soa: Record) -> int:
    return int(soa.rdata.split()[2])


class Witness:
    """Follows the zone, and lists every wrong change.

    `foreign` are records that must never change; transactions with a record of `sentinel` are by others, and
    may change any name below `base`. `lag` is the permitted delay of the controller in seconds: addresses that were
    wanted for longer must not be deleted.
    """

    def __init__(self, transfers: Transfers, wishes: Wishes, *, base: str, sentinel: str, lag: float) -> None:
        self._transfers = transfers
        self._wishes = wishes
        self._base = base
        self._sentinel = sentinel
        self._lag = lag
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._asked = time.monotonic()
        self.serial, self.records = transfers.whole()
        self.foreign = {record for record in self.records if record.owner != sentinel}
        self.wrongs: list[str] = []
        self.transactions = 0
        self.edits = 0
        self.polls = 0
        self.removals = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                self._poll()
                self._stop.wait(0.02)
            self._poll()
        except BaseException as e:
            self.failure = e
            raise

    def _poll(self) -> None:
        asked = time.monotonic()
        try:
            deltas = self._transfers.deltas(self.serial)
        except (OSError, EOFError, dns.exception.DNSException):
            return  # the primary is down: its journal has the changes so far
        done = time.monotonic()
        self.polls += 1
        for delta in deltas:
            self._judge(delta, self._asked - self._lag, done)
        self._asked = asked

    def _judge(self, delta: Delta, begin: float, end: float) -> None:
        missing = delta.removed - self.records
        if missing or delta.added & (self.records - delta.removed):
            self.wrongs.append(f"{delta.serial}: the witness lost track: {missing}")
        self.records -= delta.removed
        self.records |= delta.added
        self.serial = delta.serial
        self.transactions += 1
        gone = delta.removed - delta.added
        for record in gone & self.foreign:
            self.wrongs.append(f"{delta.serial}: a foreign record went: {record}")
        if any(record.owner == self._sentinel for record in delta.added):
            self.edits += 1
            return
        for record in gone | (delta.added - delta.removed):
            ours = record.type in ADDRESSES or (record.type == "TXT" and "heritage=ksd-ddns,owner=soak" in record.rdata)
            if not ours or not record.owner.endswith(self._base):
                self.wrongs.append(f"{delta.serial}: not ours to touch: {record}")
        for record in gone:
            if record.type not in ADDRESSES:
                continue
            self.removals += 1
            if self._wishes.throughout(*record, begin, end):
                history = self._wishes.history(record.owner, record.type, end)
                self.wrongs.append(f"{delta.serial}: deleted, although wanted all the time: {record} ({history})")
        for owner, rdtype in {(record.owner, record.type) for record in gone if record.type in ADDRESSES}:
            # Each takes one pass over the zone: transactions are small, and most of them add.
            if self._wishes.throughout(owner, rdtype, ANY, begin, end) and not self._stands(owner, rdtype, delta):
                history = self._wishes.history(owner, rdtype, end)
                self.wrongs.append(
                    f"{delta.serial}: {owner} has no {rdtype}, but one was wanted for {end - begin:.2f} s: {history}"
                )

    def _stands(self, owner: str, rdtype: str, delta: Delta) -> bool:
        if any(record.owner == owner and record.type == rdtype for record in delta.added):
            return True
        return any(record.owner == owner and record.type == rdtype for record in self.records)
