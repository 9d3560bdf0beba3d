# SPDX-License-Identifier: Apache-2.0
"""Changes -> UPDATE messages, applied by a primary that follows RFC 2136 to the letter."""

from collections.abc import Iterator

import dns.message
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ksd_ddns.wire import codec
from ksd_ddns.wire.codec import Statement
from ksd_ddns.wire.rrset import AAAA, ANY, CLASS_ANY, CLASS_NONE, CNAME, IN, NS, PTR, TXT, A, Node, RRset
from ksd_ddns.zone.desired import Desired, desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import ADDRESSES, Change, Kind, full
from ksd_ddns.zone.update import HEADER_ROOM, Batch, Limits, batch, batches, prerequisites, updates
from tests.zone.build import (
    BASE,
    ZONE,
    Primary,
    a,
    aaaa,
    cname,
    ip,
    live,
    n,
    node,
    ns,
    ptr,
    records,
    reverse_rules,
    scope,
    sshfp,
    txt,
    vmi,
)
from tests.zone.worlds import World, worlds

NAME = n("net1.db.prod.vm.example.")
OLD, NEW = ip("10.1.0.9"), ip("10.1.0.12")


def change(old: list[RRset], new: list[RRset], name: bytes = NAME, types: tuple[int, ...] = ADDRESSES) -> Change:
    return Change(node(name, *old), node(name, *new), Kind.CHANGE, types)


def absent(*rdtypes: int) -> list[Statement]:
    return [(NAME, rdtype, CLASS_NONE, 0, b"") for rdtype in rdtypes]


def line(rdtype: int, rdata: bytes, rdclass: int = IN, ttl: int = 0) -> Statement:
    return (NAME, rdtype, rdclass, ttl, rdata)


TEXT, FOREIGN = b"\4mark", b"\7foreign"


@pytest.mark.parametrize(
    ("of", "before", "after"),
    [
        pytest.param(change([], [a("10.1.0.9"), txt("mark")]), absent(ANY),
                     [line(A, OLD, ttl=60), line(TXT, TEXT, ttl=60)], id="new-name"),
        pytest.param(change([a("10.1.0.9")], [a("10.1.0.12")]), [line(A, OLD), *absent(TXT, AAAA)],
                     [line(A, OLD, CLASS_NONE), line(A, NEW, ttl=60)], id="address-replaced"),
        pytest.param(change([a("10.1.0.9"), txt("mark")], [a("10.1.0.9", "10.1.0.12"), txt("mark")]),
                     [line(A, OLD), line(TXT, TEXT), *absent(AAAA)], [line(A, NEW, ttl=60)], id="address-added"),
        pytest.param(change([ptr("a.", "b.", "c.")], [ptr("d.")], types=(PTR,)),
                     [*(line(PTR, n(text)) for text in ("a.", "b.", "c.")), *absent(TXT)],
                     [*(line(PTR, n(text), CLASS_NONE) for text in ("a.", "b.", "c.")), line(PTR, n("d."), ttl=60)],
                     id="all-of-it-replaced"),
        pytest.param(change([ptr("a.", "b.", "c.")], [ptr("c.")], types=(PTR,)),
                     [*(line(PTR, n(text)) for text in ("a.", "b.", "c.")), *absent(TXT)],
                     [line(PTR, n("a."), CLASS_NONE), line(PTR, n("b."), CLASS_NONE)], id="some-of-it-deleted"),
        pytest.param(change([a("10.1.0.9")], [a("10.1.0.9", ttl=30)]), [line(A, OLD), *absent(TXT, AAAA)],
                     [line(A, OLD, CLASS_NONE), line(A, OLD, ttl=30)], id="ttl-changed"),
        pytest.param(change([a("10.1.0.9"), sshfp(), txt("foreign", "mark")], [sshfp(), txt("foreign")]),
                     [line(A, OLD), line(TXT, TEXT), line(TXT, FOREIGN), *absent(AAAA)],
                     [line(A, OLD, CLASS_NONE), line(TXT, TEXT, CLASS_NONE)], id="deleted-beside-others"),
        pytest.param(change([sshfp()], [a("10.1.0.9"), sshfp()]), absent(A, CNAME, TXT, AAAA), [line(A, OLD, ttl=60)],
                     id="beside-what-cannot-be-asked-for"),
        pytest.param(change([ns("a."), txt("x")], [ns("a.", "b."), txt("x")]), [line(NS, n("a."))],
                     [line(NS, n("b."), ttl=60)], id="ns-alone"),
        pytest.param(change([ns("a.")], [ns("b.")]), [line(NS, n("a."))],
                     [line(NS, n("b."), ttl=60), line(NS, n("a."), CLASS_NONE)], id="new-ns-comes-before-the-old-goes"),
        pytest.param(change([ptr("a.")], [ptr("a.", "b.")], types=(PTR,)), [line(PTR, n("a.")), *absent(TXT)],
                     [line(PTR, n("b."), ttl=60)], id="ptr"),
    ],
)  # fmt: skip
def test_a_change_has_its_prerequisites_and_updates(
    of: Change, before: list[Statement], after: list[Statement]
) -> None:
    assert sorted(prerequisites(of)) == sorted(before)
    assert updates(of) == after


def send_all(primary: Primary, plan: tuple[Change, ...], size: int) -> Iterator[tuple[Batch, str]]:
    """Send `plan` to `primary`, message by message; yield each with the RCODE of its answer."""
    for sent in batches(plan, Limits(names=size)):
        yield sent, primary.update(sent.prerequisites, sent.updates)


@settings(max_examples=200)
@given(worlds(), st.integers(1, 4), st.booleans())
def test_the_messages_of_a_plan_lead_to_the_planned_zone(world: World, size: int, last_ttl: bool) -> None:
    changes = full(world.wanted, world.zone, world.scope).changes
    primary = Primary(world.zone.zone, world.zone.nodes.values(), last_ttl=last_ttl)
    assert {rcode for _, rcode in send_all(primary, changes, size)} <= {"NOERROR"}
    want = Live(world.zone.zone, 1, dict(world.zone.nodes))
    for each in changes:
        want.put(each.new)
    assert primary.nodes() == want.nodes


ADDED = [a("192.0.2.66"), aaaa("2001:db8::66"), ptr("foreign."), txt("foreign")]


@settings(max_examples=200)
@given(worlds(), st.data())
def test_a_record_added_by_others_stays_although_the_server_does_not_notice_it(
    world: World, data: st.DataObject
) -> None:
    changes = full(world.wanted, world.zone, world.scope).changes
    assume(changes)
    moved, added = data.draw(st.sampled_from(changes)), data.draw(st.sampled_from(ADDED))
    here = (moved.name, added.type, added.rdatas[0])
    primary = Primary(world.zone.zone, world.zone.nodes.values(), subsets=True)
    assert primary.update([], [(moved.name, added.type, IN, 60, added.rdatas[0])]) == "NOERROR"
    assume(here in contents(primary))
    for _ in send_all(primary, changes, data.draw(st.integers(1, 3))):
        assert here in contents(primary)


def contents(primary: Primary) -> set[tuple[bytes, int, bytes]]:
    return {
        (content.name, item.type, rdata)
        for content in primary.nodes().values()
        for item in content.rrsets
        for rdata in item.rdatas
    }


JUDGED = (A, AAAA, PTR, TXT, NS)


def judged(content: Node, rdtypes: tuple[int, ...]) -> list[tuple[int, tuple[bytes, ...]]]:
    return [(item.type, item.rdatas) for item in content.rrsets if item.type in rdtypes]


@settings(max_examples=200)
@given(worlds(), st.data())
def test_concurrent_changes_by_others_are_never_overwritten(world: World, data: st.DataObject) -> None:
    changes = full(world.wanted, world.zone, world.scope).changes
    assume(changes)
    moved = data.draw(st.sampled_from(changes))
    primary = Primary(world.zone.zone, world.zone.nodes.values())
    there = node(moved.name, *data.draw(world.contents))
    if moved.name == world.zone.zone:
        there = node(moved.name, *(there.rrsets if not there.get(NS) else ()), data.draw(st.sampled_from([ns("x.")])))
        assume(not there.get(CNAME))
    primary.put(there)
    before = primary.nodes()
    types = (NS,) if moved.name == world.zone.zone else (*world.scope.types, TXT, CNAME)
    for sent, rcode in send_all(primary, changes, data.draw(st.integers(1, 3))):
        after = primary.nodes()
        if rcode != "NOERROR":
            assert moved in sent.changes
            assert before == after
        elif moved in sent.changes:
            # Then it changed nothing that the plan depends on, and its records stay.
            assert judged(there, types) == judged(moved.old, types)
            assert moved.old.rrsets or not there.rrsets
            found = after.get(moved.name, Node(moved.name))
            assert judged(found, types) == judged(moved.new, types)
            assert [item for item in found.rrsets if item.type not in types] == [
                item for item in there.rrsets if item.type not in types
            ]
        before = after


@settings(max_examples=100)
@given(worlds())
def test_a_message_is_applied_only_once(world: World) -> None:
    changes = full(world.wanted, world.zone, world.scope).changes
    primary = Primary(world.zone.zone, world.zone.nodes.values())
    assert all(rcode == "NOERROR" for _, rcode in send_all(primary, changes, 1))
    before = primary.nodes()
    for sent, rcode in send_all(primary, changes, 1):
        # A TTL is no prerequisite: a message that only changes it applies twice, with the same result.
        rdatas = [(judged(item.old, JUDGED), judged(item.new, JUDGED)) for item in sent.changes]
        assert (rcode == "NOERROR") is all(old == new for old, new in rdatas)
    assert primary.nodes() == before


@settings(max_examples=60)
@given(worlds())
def test_no_message_deletes_all_types_of_a_name(world: World) -> None:
    for sent in batches(full(world.wanted, world.zone, world.scope).changes, Limits()):
        assert all(rdtype != ANY for _, rdtype, _, _, _ in sent.updates)
        assert all(ttl == 0 for _, _, _, ttl, _ in sent.prerequisites)
        assert all(ttl == 0 for _, _, rdclass, ttl, _ in sent.updates if rdclass != IN)


# Filling messages

LABEL = st.sampled_from(["a", "web", "x" * 30, "y" * 63])
CHANGES = st.lists(
    st.builds(
        lambda labels, old, new, index: change(
            [a(*old)] if old else [], [a(*new), txt("t" * 90)], n(".".join([f"n{index}", *labels, "vm.example."]))
        ),
        st.lists(LABEL, max_size=3),
        st.lists(st.sampled_from([f"10.0.0.{index}" for index in range(20)]), unique=True),
        st.lists(st.sampled_from([f"10.0.1.{index}" for index in range(20)]), unique=True, min_size=1),
        st.integers(0, 10**6),
    ),
    max_size=30,
)


def octets(sent: Batch) -> int:
    """Return the size of the message that dnspython reads, no name of it compressed."""
    plain = codec.update(0, ZONE, sent.prerequisites, sent.updates)
    read = dns.message.from_wire(plain, one_rr_per_rrset=True)
    size = 12 + len(ZONE) + 4
    for section in read.sections[1:]:
        for each in section:
            for rdata in list(each) or [None]:
                size += len(each.name.to_digestable()) + 10 + (len(rdata.to_digestable()) if rdata is not None else 0)
    assert len(plain) <= size
    return size


@settings(max_examples=60)
@given(CHANGES, st.integers(1500, 6000), st.integers(1, 10))
def test_messages_are_filled_in_order_up_to_the_limit(changes: list[Change], size: int, count: int) -> None:
    limits = Limits(octets=size, names=count)
    sent = list(batches(changes, limits))
    assert [item for each in sent for item in each.changes] == changes
    for index, each in enumerate(sent):
        assert each == batch(each.changes)
        assert 1 <= len(each.changes) <= count
        assert len(each.changes) == 1 or octets(each) <= size
        if index + 1 < len(sent):  # it was full: the next change would not have fit
            more = batch((*each.changes, sent[index + 1].changes[0]))
            assert len(more.changes) > count or octets(more) > size - HEADER_ROOM


def test_a_message_can_be_filled_to_the_last_octet() -> None:
    changes = [change([], [a("10.0.0.1")], n(f"n{index}.vm.example.")) for index in range(3)]
    one = len(n("n0.vm.example.")) + 10 + len(n("n0.vm.example.")) + 14
    for octets, want in ((3 * one, [3]), (3 * one - 1, [2, 1]), (2 * one, [2, 1]), (2 * one - 1, [1, 1, 1])):
        sent = batches(changes, Limits(octets=octets + HEADER_ROOM))
        assert [len(each.changes) for each in sent] == want


def test_a_change_over_the_limit_gets_its_own_message() -> None:
    big = change([txt(*(f"{index:03}" + "x" * 200 for index in range(100)))], [a("10.0.0.1")])
    small = change([], [a("10.0.0.1")], n("a.vm.example."))
    sent = list(batches([small, big, small], Limits(octets=5000)))
    assert [each.changes for each in sent] == [(small,), (big,), (small,)]


def test_a_change_too_large_for_any_message_is_malformed() -> None:
    huge = change([txt(*(f"{index:03}" + "x" * 250 for index in range(300)))], [a("10.0.0.1")])
    (sent,) = batches([huge], Limits())
    with pytest.raises(codec.Malformed, match="65535 are allowed"):
        codec.update(1, ZONE, sent.prerequisites, sent.updates)


@pytest.mark.parametrize("namespace", ["prod", "n" * 63], ids=["short", "long"])
@pytest.mark.parametrize("address", ["10.1.0.9", "fd00::9"])
def test_the_largest_rrset_and_its_replacement_fit_into_one_message(namespace: str, address: str) -> None:
    block = n("10.in-addr.arpa.") if "." in address else n("0.0.d.f.ip6.arpa.")
    rules = reverse_rules(base=n(f"{'d' * 40}.{'e' * 10}.example."), zone=block, reverse=block, owner="o" * 200)
    shared = {"i" * 63: [address]}

    def pointers(prefix: str) -> Desired:
        return desired([vmi(f"{prefix}{i:02}" + "v" * 50, namespace, shared) for i in range(99)], rules)

    before, after = pointers("a"), pointers("b")
    (name,) = before.names()
    zone = live(before.get(name) or Node(name), zone=block)
    (sent,) = batches(full(after, zone, scope(rules)).changes, Limits())
    together = full(after, zone, scope(rules)).changes
    assert len(together) == 1
    assert len(codec.update(1, block, sent.prerequisites, sent.updates)) < 65_535 - HEADER_ROOM


def test_without_changes_there_is_no_message() -> None:
    assert list(batches([], Limits())) == []


# The model primary itself, as far as the tests above rely on it

ZONE_NOW = [node(BASE, ns("a.", "b.")), node(NAME, a("10.1.0.9"), sshfp()), node("c.vm.example.", cname("x."))]


@pytest.mark.parametrize(
    ("before", "after", "rcode"),
    [
        pytest.param(absent(ANY), [], "YXDOMAIN", id="name-exists"),
        pytest.param([(n("net1.vm.example."), ANY, CLASS_NONE, 0, b"")], [], "NOERROR", id="name-does-not-exist"),
        pytest.param([(n("prod.vm.example."), ANY, CLASS_NONE, 0, b"")], [], "NOERROR", id="empty-non-terminal"),
        pytest.param(absent(A), [], "YXRRSET", id="type-exists"),
        pytest.param(absent(AAAA), [], "NOERROR", id="type-does-not-exist"),
        pytest.param([line(A, OLD)], [], "NOERROR", id="values-as-seen"),
        pytest.param([line(A, NEW)], [], "NXRRSET", id="other-values"),
        pytest.param([line(A, OLD), line(A, NEW)], [], "NXRRSET", id="more-values"),
        pytest.param([(BASE, NS, IN, 0, n("a."))], [], "NXRRSET", id="a-subset-of-the-values"),
        pytest.param([line(A, OLD, ttl=60)], [], "FORMERR", id="ttl-in-a-prerequisite"),
        pytest.param([], [line(A, b"", CLASS_ANY, 60)], "FORMERR", id="ttl-in-a-deletion"),
        pytest.param([], [(n("example.org."), A, IN, 60, OLD)], "NOTZONE", id="outside-of-the-zone"),
    ],
)
def test_the_model_primary_evaluates_prerequisites(before: list[Statement], after: list[Statement], rcode: str) -> None:
    primary = Primary(BASE, ZONE_NOW)
    assert primary.update(before, after) == rcode
    assert sorted(records(primary.nodes().values())) == sorted(records(ZONE_NOW))


def test_the_model_primary_implements_the_exceptions_of_rfc_2136() -> None:
    primary = Primary(BASE, ZONE_NOW)
    alias = n("c.vm.example.")
    assert primary.update([], [(alias, A, IN, 60, OLD), (NAME, CNAME, IN, 60, b"\0")]) == "NOERROR"
    assert primary.update([], [(BASE, NS, CLASS_ANY, 0, b""), (BASE, NS, CLASS_NONE, 0, n("a."))]) == "NOERROR"
    assert primary.update([], [(BASE, NS, CLASS_NONE, 0, n("b."))]) == "NOERROR"
    assert primary.nodes()[alias] == ZONE_NOW[2]
    assert primary.nodes()[NAME] == ZONE_NOW[1]
    assert primary.nodes()[BASE] == node(BASE, ns("b."))


@pytest.mark.parametrize(("last_ttl", "ttl"), [(True, 5), (False, 60)], ids=["bind9", "knot"])
def test_the_model_primary_has_one_ttl_per_rrset(last_ttl: bool, ttl: int) -> None:
    primary = Primary(BASE, ZONE_NOW, last_ttl=last_ttl)
    assert primary.update([], [line(A, NEW, ttl=5), line(AAAA, bytes(16), ttl=7)]) == "NOERROR"
    assert primary.nodes()[NAME] == node(NAME, a("10.1.0.9", "10.1.0.12", ttl=ttl), aaaa("::", ttl=7), sshfp())
