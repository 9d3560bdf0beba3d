# SPDX-License-Identifier: Apache-2.0
"""Codec for DNS messages: parses responses, builds queries and UPDATE messages (RFC 1035, 1995, 2136, 5936).

The parser is one flat loop over the message. It lower-cases and decompresses names, including those in the rdata of
types that allow compression there (RFC 3597, 4), and interprets nothing else. On bad input it raises only Malformed.
"""

import struct
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from ksd_ddns.wire.names import MAX_NAME
from ksd_ddns.wire.rrset import IN, IXFR, SOA, TSIG

Record: TypeAlias = tuple[bytes, int, int, bytes]
"""Owner name, type, TTL, rdata. A plain tuple for speed: a transfer can have 100,000 records."""

MAX_TTL = 2**31 - 1
"""Maximum TTL in seconds; a larger value counts as 0 (RFC 2181, 8)."""

MAX_MESSAGE = 65_535
OPCODE_UPDATE = 5
FLAG_QR = 0x8000
FLAG_AA = 0x0400
FLAG_TC = 0x0200
NOTIFY = 4 << 11

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_FIXED = struct.Struct("!HHIH")
_NAPTR = 35
_MAX_JUMPS = 127  # a name has at most 127 labels, so a valid one never needs more pointers

# Names in the rdata of types that old implementations compress: octets before the names, number of names. The octets
# after the names are copied.
# RFC 1035, 3.3; RFC 1183; RFC 2163; RFC 2230; RFC 2535; RFC 2782; RFC 3403; RFC 3597, 4; RFC 6672.
_NAMES_IN_RDATA: dict[int, tuple[int, int]] = {
    2: (0, 1),  # NS
    3: (0, 1),  # MD
    4: (0, 1),  # MF
    5: (0, 1),  # CNAME
    6: (0, 2),  # SOA
    7: (0, 1),  # MB
    8: (0, 1),  # MG
    9: (0, 1),  # MR
    12: (0, 1),  # PTR
    14: (0, 2),  # MINFO
    15: (2, 1),  # MX
    17: (0, 2),  # RP
    18: (2, 1),  # AFSDB
    21: (2, 1),  # RT
    24: (18, 1),  # SIG
    26: (2, 2),  # PX
    30: (0, 1),  # NXT
    33: (6, 1),  # SRV
    35: (4, 1),  # NAPTR: three character-strings precede the name
    36: (2, 1),  # KX
    39: (0, 1),  # DNAME
}


class Malformed(ValueError):
    """The bytes are not a DNS message, or not the expected one."""


class Message(msgspec.Struct, frozen=True):
    """A parsed response. `tsig_start` is the offset of its TSIG record, None without one."""

    wire: bytes
    id: int
    flags: int
    rcode: int
    question: tuple[bytes, int] | None
    answer: list[Record]
    authority: list[Record]
    tsig: Record | None
    tsig_start: int | None


def read(wire: bytes) -> Message:
    """Parse `wire`. Raises Malformed."""
    try:
        ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(wire)
        seen: dict[int, bytes] = {}
        position = _HEADER.size
        question = None
        for _ in range(questions):
            name, position = _name(wire, position, seen)
            rdtype, _ = _QUESTION.unpack_from(wire, position)
            question = (name, rdtype)
            position += _QUESTION.size
        answer, position = _records(wire, position, answers, seen)
        authority, position = _records(wire, position, authorities, seen)
        tsig = None
        tsig_start = None
        if additionals:
            _, position = _records(wire, position, additionals - 1, seen)
            last, end = _records(wire, position, 1, seen)
            if last[0][1] == TSIG:  # TSIG must be the last record (RFC 8945, 5.1)
                tsig, tsig_start = last[0], position
            position = end
    except (IndexError, struct.error) as e:
        raise Malformed("the message ends in the middle of a record") from e
    if position != len(wire):
        raise Malformed(f"{len(wire) - position} octets follow the last record")
    return Message(wire, ident, flags, flags & 0xF, question, answer, authority, tsig, tsig_start)


def _records(wire: bytes, position: int, count: int, seen: dict[int, bytes]) -> tuple[list[Record], int]:
    """Parse `count` records at `position`; return them and the position after them. The hot loop of every transfer."""
    records: list[Record] = []
    append = records.append
    fixed = _FIXED.unpack_from
    lookup = seen.get
    size = len(wire)
    for _ in range(count):
        first = wire[position]
        # Most owner names are one pointer to a name already in `seen`.
        if first >= 0xC0 and (found := lookup((first & 0x3F) << 8 | wire[position + 1])) is not None:
            name = found
            position += 2
        else:
            name, position = _name(wire, position, seen)
        rdtype, _, ttl, length = fixed(wire, position)
        if ttl > MAX_TTL:
            ttl = 0
        position += 10
        end = position + length
        if end > size:
            raise Malformed("the message ends in the middle of a record")
        if rdtype in _NAMES_IN_RDATA:
            append((name, rdtype, ttl, _decompressed(wire, position, end, rdtype, seen)))
        else:
            append((name, rdtype, ttl, wire[position:end]))
        position = end
    return records, position


def _name(wire: bytes, position: int, seen: dict[int, bytes]) -> tuple[bytes, int]:
    """Return the lower-case name at `position` and the position after it; add its suffixes to `seen`."""
    start = position
    length = wire[position]
    if 0 < length < 0x40:
        # Most names are one label followed by a pointer to a name already in `seen`.
        end = position + 1 + length
        if wire[end] >= 0xC0 and (rest := seen.get((wire[end] & 0x3F) << 8 | wire[end + 1])) is not None:
            return _remember(wire[start:end].lower() + rest, start, seen), end + 2
    after = 0
    pieces: list[tuple[int, bytes]] = []  # offset of each label, and the label
    barrier = position  # pointers must point backwards (RFC 1035, 4.1.4), so the loop ends
    jumps = 0
    size = 1
    name = b"\0"
    while True:
        length = wire[position]
        if length == 0:
            position += 1
            break
        if length < 0x40:
            end = position + 1 + length
            size += 1 + length
            if end > len(wire) or size > MAX_NAME:  # check here, before storing the suffixes of an endless name
                raise Malformed(f"a name runs over the end of the message, or over {MAX_NAME} octets")
            pieces.append((position, wire[position:end]))
            position = end
            continue
        if length < 0xC0:
            raise Malformed(f"a label of the unknown kind {length >> 6}")
        target = (length & 0x3F) << 8 | wire[position + 1]
        position += 2
        if jumps == 0:
            after = position
        if target >= barrier:
            raise Malformed("a compression pointer does not point backwards")
        jumps += 1
        if jumps > _MAX_JUMPS:
            raise Malformed("a name of too many compression pointers")
        if target in seen:
            name = seen[target]
            break
        barrier = position = target
    if jumps == 0:
        after = position
    for offset, label in reversed(pieces):
        name = label.lower() + name
        if offset < 0x4000:
            seen[offset] = name
    return _remember(name, start, seen), after


def _remember(name: bytes, start: int, seen: dict[int, bytes]) -> bytes:
    """Add `name`, which starts at offset `start`, to `seen`; return it."""
    if len(name) > MAX_NAME:
        raise Malformed(f"a name of more than {MAX_NAME} octets")
    if start < 0x4000:  # a pointer has a 14-bit offset
        seen[start] = name
    return name


def _decompressed(wire: bytes, position: int, end: int, rdtype: int, seen: dict[int, bytes]) -> bytes:
    """Return the rdata at `position` with its names decompressed and in lower case."""
    before, count = _NAMES_IN_RDATA[rdtype]
    if rdtype == _NAPTR:
        for _ in range(3):
            before += 1 + wire[position + before]
    parts = [wire[position : position + before]]
    position += before
    for _ in range(count):
        name, position = _name(wire, position, seen)
        parts.append(name)
    if position > end:
        raise Malformed("a name runs over the end of its record")
    parts.append(wire[position:end])
    return b"".join(parts)


def soa_serial(rdata: bytes) -> int:
    """Return the serial of an SOA `rdata`: the first of the five numbers after the two names (RFC 1035, 3.3.13)."""
    start = 0
    for _ in range(2):
        while rdata[start : start + 1] > b"\0":
            start += 1 + rdata[start]
        start += 1
    if len(rdata) != start + 20:
        raise Malformed("an SOA record that is too short or too long")
    return int.from_bytes(rdata[start : start + 4], "big")


def soa_primary(rdata: bytes) -> bytes:
    """Return the name of the primary (MNAME) from an SOA `rdata` (RFC 1035, 3.3.13)."""
    end = 0
    while rdata[end : end + 1] > b"\0":
        end += 1 + rdata[end]
    return rdata[: end + 1]


def query(ident: int, name: bytes, rdtype: int) -> bytes:
    """Return a query for the records of `rdtype` at `name`."""
    return _HEADER.pack(ident, 0, 1, 0, 0, 0) + name + _QUESTION.pack(rdtype, IN)


def ixfr_query(ident: int, zone: bytes, serial: int) -> bytes:
    """Return an IXFR query for the changes to `zone` since `serial` (RFC 1995, 3)."""
    soa = b"\0\0" + serial.to_bytes(4, "big") + bytes(16)
    question = _HEADER.pack(ident, 0, 1, 0, 1, 0) + zone + _QUESTION.pack(IXFR, IN)
    return question + b"\xc0\x0c" + _FIXED.pack(SOA, IN, 0, len(soa)) + soa


def reply(ident: int, flags: int, name: bytes) -> bytes:
    """Return a response without records to a query for the SOA of `name`."""
    return _HEADER.pack(ident, flags, 1, 0, 0, 0) + name + _QUESTION.pack(SOA, IN)


def notify(ident: int, zone: bytes) -> bytes:
    """Return a NOTIFY for `zone` (RFC 1996, 3.7)."""
    return _HEADER.pack(ident, NOTIFY | FLAG_AA, 1, 0, 0, 0) + zone + _QUESTION.pack(SOA, IN)


def update(ident: int, zone: bytes, prerequisites: "Iterable[Statement]", updates: "Iterable[Statement]") -> bytes:
    """Return the UPDATE message for `zone` (RFC 2136, 2). Raises Malformed if it exceeds 65,535 octets."""
    first, count = _section(zone, prerequisites)
    second, changes = _section(zone, updates)
    size = _HEADER.size + len(zone) + _QUESTION.size + len(first) + len(second)
    if size > MAX_MESSAGE:
        raise Malformed(f"an UPDATE message of {size} octets: {MAX_MESSAGE} are allowed")
    header = _HEADER.pack(ident, OPCODE_UPDATE << 11, 1, count, changes, 0)
    return b"".join((header, zone, _QUESTION.pack(SOA, IN), first, second))


Statement: TypeAlias = tuple[bytes, int, int, int, bytes]
"""One record of an UPDATE: owner name, type, class, TTL, rdata, with the values of RFC 2136, 2.4 and 2.5."""

STATEMENT_OVERHEAD = _FIXED.size


def _section(zone: bytes, statements: Iterable[Statement]) -> tuple[bytes, int]:
    parts: list[bytes] = []
    fixed = _FIXED.pack
    cut = -len(zone)
    last = owner = b""
    count = 0
    for name, rdtype, rdclass, ttl, rdata in statements:
        if name is not last:
            # Every owner ends with the zone name, which is at offset 12 of the message.
            last, owner = name, name[:cut] + b"\xc0\x0c"
        parts.append(owner + fixed(rdtype, rdclass, ttl, len(rdata)) + rdata)
        count += 1
    return b"".join(parts), count
