# SPDX-License-Identifier: Apache-2.0
"""DNS messages as bytes, with dnspython as the oracle."""

import struct
import tracemalloc
from collections.abc import Iterable
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.renderer
import dns.rrset
import dns.update
import dns.zone
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ksd_ddns.wire import codec
from ksd_ddns.wire.codec import Malformed, Message, Statement
from ksd_ddns.wire.rrset import AAAA, ANY, CLASS_ANY, CLASS_NONE, CNAME, IN, IXFR, NS, PTR, SOA, TXT, A
from tests.wire.oracle import oracle, plain, records
from tests.zone.build import VARIED, ZONE, n

LABEL = st.sampled_from([b"vm", b"VM", b"Prod", b"db", b"net1", b"*", b"_x", b"a.b", b'\0\xff\\"']) | st.binary(
    min_size=1, max_size=63
)
LONGEST = dns.name.Name([b"L" * 63, b"m" * 63, b"n" * 63, b"o" * 61, b""])
NAME = (
    st.lists(LABEL, max_size=8)
    .filter(lambda labels: sum(len(label) + 1 for label in labels) < 255)
    .map(lambda labels: dns.name.Name((*labels, b"")))
    | st.just(LONGEST)
    | st.just(dns.name.Name(LONGEST.labels[1:]))
)

Octets = st.SearchStrategy[bytes]


# Untyped in dnspython. Unlike a message it renders without shuffling.
Renderer: Any = dns.renderer.Renderer


def octets(least: int, most: int | None = None) -> Octets:
    return st.binary(min_size=least, max_size=least if most is None else most)


def joined(*parts: Octets) -> Octets:
    return st.tuples(*parts).map(b"".join)


def text(rdtype: str, *values: str) -> Octets:
    """Return the wire form of one of `values`: for types whose fields depend on each other."""
    return st.sampled_from([plain(dns.rdata.from_text("IN", rdtype, value)) for value in values])


name = NAME.map(plain)
string = octets(0, 255).map(lambda value: bytes([len(value)]) + value)
bitmap = st.sampled_from([b"", b"\0\1\x40", b"\0\6\x40\1\0\0\0\3", b"\0\1\x62\1\1\x40"])

RDATA: dict[str, Octets] = {
    "A": octets(4),
    "AAAA": octets(16),
    "NS": name,
    "CNAME": name,
    "PTR": name,
    "DNAME": name,
    "SOA": joined(name, name, octets(20)),
    "MX": joined(octets(2), name),
    "KX": joined(octets(2), name),
    "RT": joined(octets(2), name),
    "AFSDB": joined(octets(2), name),
    "RP": joined(name, name),
    "PX": joined(octets(2), name, name),
    "SRV": joined(octets(6), name),
    "NAPTR": joined(octets(4), string, string, string, name),
    "TXT": st.lists(string, min_size=1, max_size=3).map(b"".join),
    "SPF": string,
    "HINFO": joined(string, string),
    "RRSIG": joined(st.just(b"\0\1\x0d\2"), octets(14), name, octets(1, 80)),
    "NSEC": joined(name, bitmap),
    "NSEC3": joined(st.just(b"\1\0\0\0\2\xab\xcd\x14"), octets(20), bitmap),
    "NSEC3PARAM": st.just(b"\1\0\0\0\2\xab\xcd"),
    "DNSKEY": joined(octets(2), st.just(b"\3\x0d"), octets(1, 80)),
    "CDNSKEY": joined(octets(2), st.just(b"\3\x0d"), octets(1, 80)),
    "DS": joined(octets(2), st.just(b"\x0d\2"), octets(32)),
    "CDS": joined(octets(2), st.just(b"\x0d\2"), octets(32)),
    "SSHFP": joined(st.just(b"\4\2"), octets(32)),
    "TLSA": joined(st.just(b"\3\1\1"), octets(32)),
    "CAA": joined(octets(1), st.sampled_from([b"\5issue", b"\x09issuewild"]), octets(0, 40)),
    "URI": joined(octets(4), octets(1, 40)),
    "LOC": text("LOC", "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "1 S 2 W 3m"),
    "SVCB": text("SVCB", "0 Alias.example.", "1 . alpn=h2,h3 port=853 ipv4hint=192.0.2.1 key667=x"),
    "HTTPS": text("HTTPS", "1 Svc.Example. alpn=h2 ipv6hint=2001:db8::1", "16 foo.example. mandatory=alpn alpn=h3"),
    "TYPE65280": octets(0, 80),
    "TYPE65535": octets(0, 80),
}  # fmt: skip


def parsed_rdata(rdtype: str, value: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.from_text(rdtype), value, 0, len(value))


@st.composite
def rrsets(draw: st.DrawFn) -> dns.rrset.RRset:
    rdtype = draw(st.sampled_from(sorted(RDATA)))
    found = dns.rrset.RRset(draw(NAME), dns.rdataclass.IN, dns.rdatatype.from_text(rdtype))
    ttl = draw(st.integers(0, 2**32 - 1))
    for value in draw(st.lists(RDATA[rdtype], min_size=1, max_size=3)):
        rdata = parsed_rdata(rdtype, value)
        found.covers = rdata.covers()
        found.add(rdata, ttl)
    return found


KEY = dns.name.from_text("Key.Example.")


def rendered(found: Iterable[dns.rrset.RRset], *, ident: int = 0, flags: int = 0x8400) -> Any:
    """Return a renderer of dnspython's that holds a response with `found` as its answer."""
    renderer = Renderer(ident, flags, 65535)
    for each in found:
        renderer.add_rrset(dns.renderer.ANSWER, each, want_shuffle=False)
    return renderer


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    ident = draw(st.integers(0, 65535))
    renderer = Renderer(ident, draw(st.sampled_from([0x8000, 0x8400, 0x8583, 0x8005, 0])), 65535)
    if draw(st.booleans()):
        renderer.add_question(draw(NAME), dns.rdatatype.AXFR)
    for section in (dns.renderer.ANSWER, dns.renderer.AUTHORITY, dns.renderer.ADDITIONAL):
        for each in draw(st.lists(rrsets(), max_size=4)):
            renderer.add_rrset(section, each, want_shuffle=False)
    if draw(st.booleans()):
        renderer.add_edns(0, 0, 1232)
    renderer.write_header()
    if draw(st.booleans()):
        renderer.add_tsig(KEY, b"secret", 300, ident, 0, b"", b"")
    octets: bytes = renderer.get_wire()
    return octets


@settings(max_examples=200)
@given(messages())
def test_the_parser_agrees_with_dnspython(octets: bytes) -> None:
    read, want = codec.read(octets), oracle(octets)
    assert read.wire == octets
    assert (read.id, read.flags, read.rcode) == (want.id, int(want.flags), int(want.rcode()))
    assert read.question == (
        (want.question[0].name.to_digestable(), want.question[0].rdtype) if want.question else None
    )
    assert read.answer == records(want.answer)
    assert read.authority == records(want.authority)
    if want.tsig is None:
        assert (read.tsig, read.tsig_start) == (None, None)
    else:
        assert read.tsig == (want.tsig.name.to_digestable(), 250, 0, want.tsig[0].to_wire())
        assert read.tsig_start is not None
        assert octets[read.tsig_start :] == plain(want.tsig.name) + octets[-10 - len(read.tsig[3]) :]


@settings(max_examples=120)
@given(st.lists(rrsets(), min_size=1, max_size=4))
def test_compression_makes_no_difference(found: list[dns.rrset.RRset]) -> None:
    uncompressed = b"".join(
        plain(each.name) + struct.pack("!HHIH", each.rdtype, IN, each.ttl, len(plain(rdata))) + plain(rdata)
        for each in found
        for rdata in each
    )
    renderer = rendered(found)
    renderer.write_header()
    compressed: bytes = renderer.get_wire()
    assert codec.read(compressed[:12] + uncompressed).answer == codec.read(compressed).answer


NAMES_IN_RDATA = [
    pytest.param(rdtype, before, count, behind, id=rdtype)
    for rdtype, before, count, behind in [
        *((rdtype, b"", 1, b"") for rdtype in ("NS", "MD", "MF", "CNAME", "MB", "MG", "MR", "PTR", "DNAME")),
        *((rdtype, b"", 2, b"") for rdtype in ("MINFO", "RP")),
        *((rdtype, b"\0\1", 1, b"") for rdtype in ("MX", "AFSDB", "RT", "KX")),
        ("SOA", b"", 2, bytes(range(20))),
        ("PX", b"\0\1", 2, b""),
        ("SRV", b"\0\1\0\2\0\3", 1, b""),
        ("NAPTR", b"\0\1\0\2\1S\7SIP+D2U\0", 1, b""),
        ("SIG", bytes(18), 1, b"SIGNATURE"),
        ("NXT", b"", 1, b"\x62\x01\x80"),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("rdtype", "before", "count", "behind"), NAMES_IN_RDATA)
def test_names_in_rdata_are_lowercased_and_uncompressed(rdtype: str, before: bytes, count: int, behind: bytes) -> None:
    number = int(dns.rdatatype.from_text(rdtype))
    rdata = before + b"\2Ns\xc0\x0c" * count + behind
    octets = (
        struct.pack("!HHHHHH", 0, 0x8400, 1, 1, 0, 0)
        + b"\2VM\7Example\0" + struct.pack("!HH", number, IN)
        + b"\xc0\x0c" + struct.pack("!HHIH", number, IN, 60, len(rdata)) + rdata
    )  # fmt: skip
    (record,) = codec.read(octets).answer
    assert record == (n("vm.example."), number, 60, before + n("ns.vm.example.") * count + behind)


def message(*parts: bytes, counts: tuple[int, int, int, int] = (0, 1, 0, 0)) -> bytes:
    return struct.pack("!HHHHHH", 7, 0x8400, *counts) + b"".join(parts)


def record(owner: bytes, rdata: bytes = b"\1\2\3\4", rdtype: int = A, length: int | None = None) -> bytes:
    return owner + struct.pack("!HHIH", rdtype, IN, 60, len(rdata) if length is None else length) + rdata


def chain(length: int) -> bytes:
    """Return compression pointers from offset 23 on: the first to the root label there, each to the one before."""
    pointers, target = b"\0", 23
    for index in range(length):
        pointers += struct.pack("!H", 0xC000 | target)
        target = 24 + 2 * index
    return pointers


def holding(octets: bytes) -> bytes:
    """Return a record of the root whose rdata is `octets`; as the first of a message they begin at offset 23."""
    return record(b"\0", octets, TXT)


BROKEN = [
    pytest.param(b"", id="nothing"),
    pytest.param(message()[:11], id="header-cut"),
    pytest.param(message(counts=(65535, 65535, 65535, 65535)), id="counts-of-65535"),
    pytest.param(message(b"\0" * 60, counts=(0, 65535, 0, 0)), id="count-of-65535-with-a-little"),
    pytest.param(message(counts=(1, 0, 0, 0)), id="question-missing"),
    pytest.param(message(b"\0\0\1", counts=(1, 0, 0, 0)), id="question-cut"),
    pytest.param(message(record(b"\0")[:-1]), id="rdata-cut"),
    pytest.param(message(record(b"\0", length=5)), id="rdata-longer-than-the-message"),
    pytest.param(message(record(b"\0")[:5]), id="record-cut"),
    pytest.param(message(b"\xc0"), id="pointer-cut"),
    pytest.param(message(b"\x03ab"), id="label-cut"),
    pytest.param(message(record(b"\0"), b"\0"), id="octets-behind"),
    pytest.param(message(record(b"\xc0\x0c")), id="pointer-to-itself"),
    pytest.param(message(record(b"\xc0\x0e"), record(b"\xc0\x0c"), counts=(0, 2, 0, 0)), id="pointer-forward"),
    pytest.param(message(record(b"\1a\xc0\x0c")), id="name-that-contains-itself"),
    pytest.param(message(record(b"\0", b"\xc0\x17", NS)), id="rdata-pointer-to-itself"),
    pytest.param(message(record(b"\0", b"\xc0\x19", NS), record(b"\0"), counts=(0, 2, 0, 0)), id="rdata-forward"),
    pytest.param(message(record(b"\x40a\0")), id="label-type-01"),
    pytest.param(message(record(b"\x80a\0")), id="label-type-10"),
    pytest.param(message(record((b"\x3f" + b"a" * 63) * 4 + b"\0")), id="name-of-257-octets"),
    pytest.param(message(record((b"\1a") * 127 + b"\1a" + b"\0")), id="name-of-128-labels"),
    pytest.param(
        message(record(b"\x3f" + b"a" * 63 + b"\0"), *(record(b"\x3f" + b"b" * 63 + struct.pack("!H", 0xC000 | at))
                for at in (12, 91, 171, 251)), counts=(0, 5, 0, 0)),
        id="name-too-long-by-pointers",
    ),
    pytest.param(message(holding(chain(200)), record(struct.pack("!H", 0xC000 | 24 + 2 * 199)), counts=(0, 2, 0, 0)),
                 id="chain-of-200-pointers"),
    pytest.param(message(record(b"\0", b"\2ns\0", NS, length=3), counts=(0, 1, 0, 0)), id="name-longer-than-its-rdata"),
    pytest.param(message(record(b"\0", b"\xc0", NS), record(b"\x0cabcdefghijkl\0"), counts=(0, 2, 0, 0)),
                 id="name-that-reaches-into-the-next-record"),
    pytest.param(message(record(b"\0", b"\0", 15)), id="mx-without-a-name"),
    pytest.param(message(record(b"\0", b"\0\0\0\0\xff", 35)), id="naptr-string-cut"),
    pytest.param(message(record(b"\0", b"", NS)), id="ns-without-a-name"),
]  # fmt: skip


@pytest.mark.parametrize("octets", BROKEN)
def test_broken_messages_are_malformed(octets: bytes) -> None:
    with pytest.raises(Malformed):
        codec.read(octets)
    with pytest.raises((dns.exception.DNSException, ValueError)):
        oracle(octets)


def test_compression_pointers_can_be_chained() -> None:
    read = codec.read(
        message(holding(chain(100)), record(struct.pack("!H", 0xC000 | 24 + 2 * 99)), counts=(0, 2, 0, 0))
    )
    assert read.answer[1] == (b"\0", A, 60, b"\1\2\3\4")


LABELS = b"\1a" * 30_000

COSTLY = [
    pytest.param(message(LABELS, counts=(1, 0, 0, 0)), id="endless-name"),
    pytest.param(message(LABELS + b"\0" + bytes(4), counts=(1, 0, 0, 0)), id="name-of-30000-labels"),
    pytest.param(message(record(LABELS + b"\0")), id="owner-of-30000-labels"),
    pytest.param(message(record(b"\0", LABELS + b"\0", NS)), id="rdata-of-30000-labels"),
    pytest.param(
        message(holding(chain(120)), record(struct.pack("!H", 0xC000 | 24 + 2 * 119), b"") * 5000,
                counts=(0, 5001, 0, 0)),
        id="5000-names-of-120-pointers",
    ),
    pytest.param(
        message(holding(b"\1a" * 100 + b"\0"), *(record(struct.pack("!H", 0xC000 | 23 + 2 * (index % 100)), b"")
                for index in range(5000)), counts=(0, 5001, 0, 0)),
        id="5000-suffixes-of-one-name",
    ),
    pytest.param(message(record(b"\0", b"") * 5900, counts=(0, 5900, 0, 0)), id="5900-empty-records"),
    pytest.param(message(b"\xc0\x00\0\1\0\1" * 10_000, counts=(10_000, 0, 0, 0)), id="10000-pointers-into-the-header"),
]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("octets", COSTLY)
def test_parsing_uses_memory_in_proportion_to_the_message(octets: bytes) -> None:
    assert len(octets) <= codec.MAX_MESSAGE
    tracemalloc.start()
    try:
        parse_or_none(octets)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


def parse_or_none(octets: bytes) -> Message | None:
    """Return the message, or None if it is malformed: nothing but Malformed may be raised."""
    try:
        return codec.read(octets)
    except Malformed:
        return None


def whole_messages() -> list[bytes]:
    """Return messages that hold every type between them, three RRsets each, compressed."""
    zone = dns.zone.from_text("$TTL 60\n@ SOA Ns1 Admin 1 2 3 4 5\n" + VARIED, "example.", relativize=False)
    rrsets = [dns.rrset.from_rdata_list(owner, each.ttl, list(each)) for owner, each in zone.iterate_rdatasets()]
    found = []
    for index in range(len(rrsets)):
        renderer = rendered(rrsets[index : index + 3])
        renderer.write_header()
        if index % 4 == 0:
            renderer.add_tsig(KEY, b"secret", 300, 0, 0, b"", b"")
        found.append(renderer.get_wire())
    return found


EDIT = st.tuples(
    st.sampled_from(["octet", "pointer", "cut", "insert", "remove", "count"]),
    st.integers(0, 2**14),
    st.binary(max_size=4),
)


def edited(octets: bytes, kind: str, at: int, value: bytes) -> bytes:
    """Return `octets` damaged at `at`, taken modulo its length."""
    at %= len(octets) + 1
    match kind:
        case "octet":
            return octets[:at] + value[:1] + octets[at + 1 :]
        case "pointer":
            target = 0xC000 | (at if not value else value[0])
            return octets[:at] + struct.pack("!H", target) + octets[at + 2 :]
        case "cut":
            return octets[:at]
        case "insert":
            return octets[:at] + value + octets[at:]
        case "remove":
            return octets[:at] + octets[at + len(value) :]
    return octets[:4] + struct.pack("!H", at % 5) + (value + b"\0\0\xff\xff")[:4] + octets[10:]


@settings(max_examples=300)
@given(st.sampled_from(whole_messages()), st.lists(EDIT, min_size=1, max_size=3))
@example(whole_messages()[11], [("octet", 403, b"\0"), ("octet", 2409, b"\1")])  # an SRV of class 0 with a broken name
def test_a_damaged_message_is_malformed_or_agrees_with_dnspython(
    octets: bytes, edits: list[tuple[str, int, bytes]]
) -> None:
    for edit in edits:
        octets = edited(octets, *edit)
    read = parse_or_none(octets)
    try:
        want = oracle(octets)
    except Exception:  # noqa: BLE001 - dnspython interprets more than we do, and fails in more ways
        return
    if any(each.rdclass != IN or each.deleting is not None for section in want.sections for each in section):
        # dnspython treats the rdata of an SRV, PX or KX of another class as opaque octets. We support only class IN and
        # read names there whatever the class is: such a record may be malformed to us.
        return
    assert read is not None
    for ours, theirs in ((read.answer, want.answer), (read.authority, want.authority)):
        assert [(owner, rdtype, rdata) for owner, rdtype, _, rdata in ours] == [
            (owner, rdtype, rdata) for owner, rdtype, _, rdata in records(theirs)
        ]


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda octets: message(octets, counts=(1, 3, 1, 1))))
def test_any_octets_parse_or_are_malformed(octets: bytes) -> None:
    parse_or_none(octets)


@pytest.mark.parametrize(
    ("rdata", "serial"),
    [
        pytest.param(b"\0\0" + bytes(20), 0, id="zero"),
        pytest.param(n("ns.vm.") + n("x.") + b"\xff\xff\xff\xff" + bytes(16), 2**32 - 1, id="highest"),
        pytest.param(b"\0\0" + bytes(19), None, id="too-short"),
        pytest.param(b"\0\0" + bytes(21), None, id="too-long"),
        pytest.param(n("a.long.name.instead.of.numbers.") + n("x.") + bytes(16), None, id="a-number-missing"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"\5ab", None, id="name-cut"),
    ],
)
def test_the_serial_is_read_from_soa_rdata(rdata: bytes, serial: int | None) -> None:
    if serial is None:
        with pytest.raises(Malformed):
            codec.soa_serial(rdata)
    else:
        assert codec.soa_serial(rdata) == serial


@given(st.integers(0, 65535), NAME, st.sampled_from([A, SOA, 252]))
def test_queries_contain_the_question(ident: int, owner: dns.name.Name, rdtype: int) -> None:
    read = dns.message.from_wire(codec.query(ident, owner.to_digestable(), rdtype))
    assert (read.id, int(read.flags), read.opcode()) == (ident, 0, 0)
    assert [(each.name, each.rdtype, each.rdclass) for each in read.question] == [(owner, rdtype, IN)]
    assert not any(read.sections[1:])


@given(st.integers(0, 65535), NAME, st.integers(0, 2**32 - 1))
def test_ixfr_queries_carry_the_serial(ident: int, zone: dns.name.Name, serial: int) -> None:
    read = dns.message.from_wire(codec.ixfr_query(ident, zone.to_digestable(), serial))
    assert (read.id, int(read.flags), read.opcode()) == (ident, 0, 0)
    assert [(each.name, each.rdtype, each.rdclass) for each in read.question] == [(zone, IXFR, IN)]
    assert [(each.name, each.rdtype, each.rdclass) for each in read.authority] == [(zone, SOA, IN)]
    assert read.authority[0][0].serial == serial
    assert not any((read.answer, read.additional))


@given(st.integers(0, 65535), NAME, st.sampled_from([0x8400, 0x8005, 0xA000]))
def test_replies_contain_only_the_question(ident: int, owner: dns.name.Name, flags: int) -> None:
    read = codec.read(codec.reply(ident, flags, owner.to_digestable()))
    assert (read.id, read.flags, read.question) == (ident, flags, (owner.to_digestable(), SOA))
    assert (read.answer, read.authority, read.tsig) == ([], [], None)


OWNER = st.lists(st.sampled_from([b"vm", b"db", b"net1", b"x" * 40, b"\0."]), max_size=3).map(
    lambda labels: b"".join(bytes([len(label)]) + label for label in labels)
)
ADDED = st.sampled_from([(A, b"\1\2\3\4"), (AAAA, bytes(16)), (TXT, b"\2hi"), (PTR, n("db.example.")), (NS, b"\0")])
PREREQUISITE = st.one_of(
    st.just((ANY, CLASS_NONE, 0, b"")),
    st.sampled_from([A, TXT, CNAME]).map(lambda rdtype: (rdtype, CLASS_NONE, 0, b"")),
    ADDED.map(lambda added: (added[0], IN, 0, added[1])),
)
UPDATE = st.one_of(
    st.sampled_from([A, TXT, CNAME]).map(lambda rdtype: (rdtype, CLASS_ANY, 0, b"")),
    ADDED.map(lambda added: (added[0], CLASS_NONE, 0, added[1])),
    st.tuples(ADDED, st.integers(0, 2**31 - 1)).map(lambda added: (added[0][0], IN, added[1], added[0][1])),
)


def statements(section: Iterable[dns.rrset.RRset]) -> list[Statement]:
    found = []
    for each in section:
        rdclass = int(each.rdclass if each.deleting is None else each.deleting)
        rdatas = [plain(rdata) for rdata in each] or [b""]
        found += [(plain(each.name), int(each.rdtype), rdclass, each.ttl, rdata) for rdata in rdatas]
    return found


@settings(max_examples=120)
@given(
    st.integers(0, 65535),
    st.sampled_from([b"\0", ZONE, n("a" * 63 + ".example.")]),
    st.lists(st.tuples(OWNER, PREREQUISITE), max_size=6),
    st.lists(st.tuples(OWNER, UPDATE), max_size=6),
)
def test_updates_contain_their_records(
    ident: int,
    zone: bytes,
    before: list[tuple[bytes, tuple[int, int, int, bytes]]],
    after: list[tuple[bytes, tuple[int, int, int, bytes]]],
) -> None:
    prerequisites = [(owner + zone, *rest) for owner, rest in before]
    updates = [(owner + zone, *rest) for owner, rest in after]
    read = dns.message.from_wire(codec.update(ident, zone, prerequisites, updates), one_rr_per_rrset=True)
    assert isinstance(read, dns.update.UpdateMessage)
    assert (read.id, int(read.flags)) == (ident, 5 << 11)
    assert [(plain(each.name), each.rdtype, each.rdclass) for each in read.zone] == [(zone, SOA, IN)]
    assert statements(read.prerequisite) == prerequisites
    assert statements(read.update) == updates
    assert not read.additional


def test_a_message_can_have_65535_octets() -> None:
    # Header, zone section, and 22 octets of the statement without its rdata.
    rdata = bytes(65_535 - 12 - len(ZONE) - 4 - 18)
    assert len(codec.update(1, ZONE, [], [(b"\5owner" + ZONE, TXT, IN, 60, rdata)])) == 65_535
    with pytest.raises(Malformed):
        codec.update(1, ZONE, [], [(b"\5owner" + ZONE, TXT, IN, 60, rdata + b"\0")])


@pytest.mark.parametrize(
    ("count", "fits"),
    [
        pytest.param(2977, True, id="just-fits"),
        pytest.param(2978, False, id="one-more"),
        pytest.param(70_000, False, id="more-than-a-section-can-count"),
    ],
)
def test_an_oversized_message_is_malformed(count: int, fits: bool) -> None:
    # Header and zone section take 12 + 13 octets, each statement 22.
    owner = b"\5owner" + ZONE
    lines = [(owner, A, IN, 60, b"\1\2\3\4")] * count
    if fits:
        assert 65_513 < len(codec.update(1, ZONE, [], lines)) <= 65_535
    else:
        with pytest.raises(Malformed, match="65535"):
            codec.update(1, ZONE, [], lines)
        with pytest.raises(Malformed, match="65535"):
            codec.update(1, ZONE, lines, [])
