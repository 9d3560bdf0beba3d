# SPDX-License-Identifier: Apache-2.0
"""Zone transfers, record by record and message by message."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksd_ddns.wire.codec import Malformed, Record
from ksd_ddns.wire.rrset import DNAME, NS, NSEC, NSEC3, RRSIG, SOA, TXT, A, Node, RRset
from ksd_ddns.wire.transfer import Transfer, newer
from tests.zone.build import ZONE, a, aaaa, n, node, ns, records, soa, sshfp, txt

APEX = node("example.", ns("ns.elsewhere."), txt("v=spf1 -all"))
DB = node("db.example.", a("10.0.0.1", "10.0.0.2"), aaaa("fd00::1", ttl=30), txt("hello"))
WEB = node("web.example.", a("10.0.0.3"))
NODES = {APEX.name: APEX, DB.name: DB, WEB.name: WEB}
BODY = records(NODES.values())
AXFR = [soa(7), *BODY, soa(7)]

OLD_A: Record = (DB.name, A, 60, b"\x0a\0\0\1")
NEW_A: Record = (DB.name, A, 60, b"\x0a\0\0\5")
ONE_STEP = [soa(7), soa(6), OLD_A, soa(7), NEW_A, soa(7)]
TWO_STEPS = [soa(7), soa(5), OLD_A, soa(6), NEW_A, soa(6), NEW_A, OLD_A, soa(7), soa(7)]


def transfer_of(*messages: list[Record], serial: int | None = None) -> Transfer:
    """Return the transfer after `messages`; only the last one may complete it."""
    transfer = Transfer(ZONE, serial)
    for index, message in enumerate(messages):
        done = transfer.feed(message)
        assert done is transfer.done
        assert not done or index == len(messages) - 1
    return transfer


@st.composite
def splits(draw: st.DrawFn, of: list[Record]) -> list[list[Record]]:
    cuts = sorted(draw(st.sets(st.integers(1, len(of) - 1))))
    return [of[start:end] for start, end in pairwise([0, *cuts, len(of)])]


def steps(transfer: Transfer) -> list[tuple[int, list[Record], list[Record]]]:
    return [(delta.serial, delta.removed, delta.added) for delta in transfer.deltas]


@pytest.mark.parametrize(
    ("serial", "answer", "nodes", "deltas"),
    [
        pytest.param(None, AXFR, NODES, [], id="axfr"),
        pytest.param(6, AXFR, NODES, [], id="ixfr-answered-with-the-zone"),
        pytest.param(8, AXFR, NODES, [], id="ixfr-answered-with-an-older-zone"),
        pytest.param(7, AXFR, NODES, [], id="ixfr-answered-with-the-zone-we-have"),
        pytest.param(7, [soa(7)], None, [], id="up-to-date"),
        pytest.param(9, [soa(7)], None, [], id="server-is-behind"),
        pytest.param(6, ONE_STEP, None, [(7, [OLD_A], [NEW_A])], id="one-delta"),
        pytest.param(5, TWO_STEPS, None, [(6, [OLD_A], [NEW_A]), (7, [NEW_A, OLD_A], [])], id="two-deltas"),
        pytest.param(6, [soa(7), soa(6), soa(7), soa(7)], None, [(7, [], [])], id="delta-of-the-serial-alone"),
        pytest.param(2**32 - 1, [soa(7), soa(2**32 - 1), soa(7), NEW_A, soa(7)], None, [(7, [], [NEW_A])],
                     id="delta-over-the-wrap"),
    ],
)  # fmt: skip
def test_a_transfer_is_full_or_incremental(
    serial: int | None,
    answer: list[Record],
    nodes: dict[bytes, Node] | None,
    deltas: list[tuple[int, list[Record], list[Record]]],
) -> None:
    transfer = transfer_of(answer, serial=serial)
    assert transfer.done
    assert transfer.serial == 7
    assert transfer.records == len(answer)
    assert transfer.nodes == nodes
    assert steps(transfer) == deltas
    with pytest.raises(Malformed, match="follows the final SOA"):
        transfer.feed([NEW_A])


@given(st.data())
def test_message_boundaries_make_no_difference(data: st.DataObject) -> None:
    serial, answer = data.draw(st.sampled_from([(None, AXFR), (6, AXFR), (6, ONE_STEP), (5, TWO_STEPS)]))
    whole = transfer_of(answer, serial=serial)
    split = transfer_of(*data.draw(splits(of=answer)), serial=serial)
    assert split.done
    assert (split.nodes, steps(split), split.serial) == (whole.nodes, steps(whole), whole.serial)
    assert split.records == whole.records == len(answer)


@given(st.data())
def test_a_short_transfer_is_never_done(data: st.DataObject) -> None:
    serial, answer = data.draw(st.sampled_from([(None, AXFR), (6, AXFR), (6, ONE_STEP), (5, TWO_STEPS)]))
    messages = data.draw(splits(of=answer))
    messages[-1:] = [messages[-1][:-1]] if messages[-1][:-1] else []
    short = transfer_of(*messages, serial=serial)
    assert not short.done
    assert short.nodes is None


NAMES = st.sampled_from([n(text) for text in ("example.", "a.example.", "b.example.", "*.b.example.", "a.b.example.")])
VALUES = st.sets(st.binary(min_size=1, max_size=2), min_size=1, max_size=3)
ZONES = st.dictionaries(st.tuples(NAMES, st.sampled_from([A, NS, TXT, DNAME, 44, 257])), VALUES, max_size=12)


@settings(max_examples=60)
@given(ZONES, st.data())
def test_order_and_duplicates_make_no_difference(
    zone: dict[tuple[bytes, int], set[bytes]], data: st.DataObject
) -> None:
    zone = {(ZONE, NS): {b"\0"}, **zone}
    found = [(name, rdtype, rdtype, rdata) for (name, rdtype), rdatas in zone.items() for rdata in rdatas]
    found += data.draw(st.lists(st.sampled_from(found), max_size=3))
    answer = [soa(7), *data.draw(st.permutations(found)), soa(7)]
    want: dict[bytes, list[RRset]] = {}
    for (name, rdtype), rdatas in sorted(zone.items()):
        want.setdefault(name, []).append(RRset(rdtype, rdtype, tuple(sorted(rdatas))))
    transfer = transfer_of(*data.draw(splits(of=answer)))
    assert transfer.cuts == {name for name, rdtype in zone if rdtype == DNAME or (rdtype == NS and name != ZONE)}
    assert transfer.nodes == {name: Node(name, tuple(rrsets)) for name, rrsets in want.items()}


@pytest.mark.parametrize("ttls", [(30, 60), (60, 30)])
def test_the_lowest_ttl_of_an_rrset_counts(ttls: tuple[int, int]) -> None:
    found = [(DB.name, A, ttl, bytes([10, 0, 0, ttl])) for ttl in ttls]
    nodes = transfer_of([soa(7), *records([APEX]), *found, soa(7)]).nodes
    assert nodes is not None
    assert nodes[DB.name].rrsets == (RRset(A, 30, (bytes([10, 0, 0, 30]), bytes([10, 0, 0, 60]))),)


def test_records_generated_by_a_signing_server_are_ignored() -> None:
    generated = [(DB.name, rdtype, 60, b"generated") for rdtype in (RRSIG, NSEC)]
    generated += [(n("hash.example."), rdtype, 60, b"generated") for rdtype in (NSEC3, RRSIG)]
    for answer in ([soa(7), *generated, *BODY, soa(7)], [soa(7), *BODY, *generated, soa(7)]):
        assert transfer_of(answer).nodes == NODES


def test_other_dnssec_types_are_kept() -> None:
    key = (ZONE, 48, 3600, b"\1\1\3\x0dkey")
    nodes = transfer_of([soa(7), *BODY, key, soa(7)]).nodes
    assert nodes is not None
    assert nodes[ZONE] == node("example.", *APEX.rrsets, RRset(48, 3600, (key[3],)))


FOREIGN: Record = (n("db.example.org."), A, 60, b"\x0a\0\0\1")
BELOW: Record = (n("sub.example."), SOA, 60, soa(7)[3])
SHORT_SOA: Record = (ZONE, SOA, 60, soa(7)[3][:-1])


@pytest.mark.parametrize(
    ("serial", "messages", "problem"),
    [
        pytest.param(None, [[]], "without a record", id="nothing"),
        pytest.param(6, [[]], "without a record", id="ixfr-nothing"),
        pytest.param(None, [BODY], "does not begin with the SOA", id="no-soa-first"),
        pytest.param(None, [[soa(7, zone=n("other."))]], "does not begin with the SOA", id="soa-of-another-zone-first"),
        pytest.param(6, [[BELOW]], "does not begin with the SOA", id="soa-of-a-subdomain-first"),
        pytest.param(None, [[SHORT_SOA]], "SOA", id="broken-soa-first"),
        pytest.param(None, [[soa(7), *BODY, soa(8)]], "changed in the middle", id="zone-changed"),
        pytest.param(None, [[soa(7), *BODY], [soa(8)]], "changed in the middle", id="zone-changed-message-by-message"),
        pytest.param(None, [[soa(7), *BODY, soa(7, minimum=31)]], "changed", id="final-soa-differs-but-for-the-serial"),
        pytest.param(None, [[soa(7), *BODY, BELOW, soa(7)]], "second SOA", id="second-soa-elsewhere"),
        pytest.param(None, [[*AXFR, NEW_A]], "follows the final SOA", id="record-behind"),
        pytest.param(None, [[*AXFR, soa(7)]], "follows the final SOA", id="soa-behind"),
        pytest.param(None, [AXFR, [NEW_A]], "follows the final SOA", id="message-behind"),
        pytest.param(None, [AXFR, []], "follows the final SOA", id="empty-message-behind"),
        pytest.param(None, [[soa(7), soa(7)]], "no NS", id="empty-zone"),
        pytest.param(6, [[soa(7), soa(7)]], "no NS", id="ixfr-empty-zone"),
        pytest.param(None, [[soa(7), *records([node("example.", txt("x"))]), soa(7)]], "no NS", id="apex-without-ns"),
        pytest.param(None, [[soa(7), *records([node("x.example.", ns("a."))]), soa(7)]], "no NS", id="ns-elsewhere"),
        pytest.param(None, [ONE_STEP], "changed in the middle", id="unrequested-deltas"),
        pytest.param(5, [ONE_STEP], "changed in the middle", id="deltas-from-another-serial"),
        pytest.param(7, [[soa(8), BELOW]], "second SOA", id="deltas-that-begin-with-another-soa"),
        pytest.param(6, [[*ONE_STEP, NEW_A]], "follows the final SOA", id="record-behind-deltas"),
        pytest.param(6, [ONE_STEP, [NEW_A]], "follows the final SOA", id="message-behind-deltas"),
        pytest.param(5, [[soa(7), soa(5), soa(6), soa(4)]], "do not join", id="deltas-that-do-not-join"),
        pytest.param(5, [[soa(7), soa(5), soa(6), soa(7)]], "do not join", id="deltas-with-a-step-missing"),
        pytest.param(6, [[soa(7), soa(6), BELOW]], "SOA", id="delta-with-another-soa"),
        pytest.param(6, [[soa(7), soa(6), soa(7), BELOW]], "SOA", id="delta-adds-another-soa"),
        pytest.param(6, [[soa(7), soa(6), SHORT_SOA]], "SOA", id="delta-with-a-broken-soa"),
        pytest.param(6, [[soa(7), soa(6), soa(7), soa(7, minimum=31)]], "changed", id="final-soa-of-deltas-differs"),
    ],
)  # fmt: skip
def test_an_invalid_transfer_is_malformed(serial: int | None, messages: list[list[Record]], problem: str) -> None:
    transfer = Transfer(ZONE, serial)
    for message in messages[:-1]:
        transfer.feed(message)
    with pytest.raises(Malformed, match=problem):
        transfer.feed(messages[-1])
    assert transfer.nodes is None or messages[0] is AXFR


OUTSIDE: list[Record] = [
    FOREIGN,
    (n(r"a\.example."), A, 60, b"1234"),  # looks as if it were inside
    (n("org."), A, 60, b"1234"),
    (n("org."), NS, 60, b"\0"),
    (n("org."), DNAME, 60, b"\0"),
    (n("org."), SOA, 60, soa(7)[3]),
    (b"\0", A, 60, b"1234"),
]


@pytest.mark.parametrize("record", OUTSIDE)
def test_records_outside_the_zone_are_ignored(record: Record) -> None:
    """As secondaries do. They must not be kept, nor hide names as a delegation does."""
    for answer in ([soa(7), *BODY, record, soa(7)], [soa(7), record, *BODY, record, record, soa(7)]):
        for serial in (None, 6):
            found = transfer_of(answer, serial=serial)
            assert (found.nodes, found.cuts) == (NODES, set())
    removed = [soa(7), soa(6), record, OLD_A, soa(7), NEW_A, soa(7)]
    added = [soa(7), soa(6), OLD_A, soa(7), NEW_A, record, soa(7)]
    for answer in (removed, added):
        assert steps(transfer_of(answer, serial=6)) == steps(transfer_of(ONE_STEP, serial=6))


def test_records_outside_the_zone_do_not_make_a_zone() -> None:
    with pytest.raises(Malformed, match="no NS"):
        transfer_of([soa(7), *OUTSIDE, soa(7)])


def test_an_answer_with_only_a_newer_soa_is_recognized() -> None:
    assert transfer_of([soa(7)], serial=6).lone
    assert not transfer_of([soa(7)], ONE_STEP[1:2], serial=6).lone
    assert not transfer_of([soa(7)]).lone, "a whole zone may come record by record"
    assert not transfer_of([soa(7)], serial=7).lone, "nothing changed"


def test_empty_messages_are_ignored() -> None:
    assert transfer_of([soa(7)], [], BODY, [], [soa(7)]).nodes == NODES
    assert steps(transfer_of([soa(7)], [], ONE_STEP[1:], serial=6)) == [(7, [OLD_A], [NEW_A])]


def test_the_root_can_be_transferred() -> None:
    transfer = Transfer(b"\0")
    apex = node(b"\0", ns("a.root."), sshfp())
    first = soa(7, zone=b"\0")
    assert transfer.feed([first, *records([apex, WEB]), first])
    assert transfer.nodes == {b"\0": apex, WEB.name: WEB}


@pytest.mark.parametrize(
    ("serial", "than", "is_newer"),
    [
        pytest.param(1, 0, True, id="next"),
        pytest.param(0, 1, False, id="previous"),
        pytest.param(5, 5, False, id="same"),
        pytest.param(0, 2**32 - 1, True, id="wrapped"),
        pytest.param(2**32 - 1, 0, False, id="before-the-wrap"),
        pytest.param(2**31 - 1, 0, True, id="furthest-ahead"),
        pytest.param(2**31 + 1, 0, False, id="half-way-round-is-behind"),
        pytest.param(0, 2**31 + 1, True, id="half-way-round-seen-from-there"),
        pytest.param(2**31, 0, False, id="opposite-is-undefined-and-not-newer"),
        pytest.param(0, 2**31, False, id="opposite-is-so-both-ways"),
    ],
)
def test_serials_are_compared_by_rfc_1982(serial: int, than: int, is_newer: bool) -> None:
    assert newer(serial, than) is is_newer
