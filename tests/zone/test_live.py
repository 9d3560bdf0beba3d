# SPDX-License-Identifier: Apache-2.0
"""The live zone: deltas, and names below a zone cut."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksd_ddns.wire.codec import Malformed, Record
from ksd_ddns.wire.rrset import DNAME, NS, PTR, RRSIG, TXT, A, Node, RRset
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.live import Live
from tests.zone.build import ZONE, a, aaaa, cname, dname, live, n, node, ns, records, soa, sshfp, txt

DB = node("db.example.", a("10.0.0.1", "10.0.0.2"), aaaa("fd00::1"))
WEB = node("web.example.", a("10.0.0.3"))


RDATAS = [b"\0", b"\1a\0", b"\1b\0"]


def zone(*nodes: Node) -> Live:
    return live(*nodes, serial=1)


def incremental(*deltas: tuple[list[Record], list[Record]]) -> Transfer:
    """Return a complete transfer from serial 1 with the steps `deltas`: deleted and added records."""
    transfer = Transfer(ZONE, 1)
    answer = [soa(1 + len(deltas))]
    for serial, (removed, added) in enumerate(deltas, start=1):
        answer += [soa(serial), *removed, soa(serial + 1), *added]
    assert transfer.feed([*answer, soa(1 + len(deltas))] if deltas else answer)
    return transfer


def whole(nodes: dict[bytes, Node], serial: int = 9) -> Transfer:
    transfer = Transfer(ZONE)
    assert transfer.feed([soa(serial), *records(nodes.values()), soa(serial)])
    return transfer


def state(of: Live) -> tuple[int, dict[bytes, Node], set[bytes]]:
    """Return serial, content and cuts; the index of targets must agree with the content."""
    targets = {rdata for name, rdtype, _, rdata in records(of.nodes.values()) if rdtype == PTR}
    for target in targets | set(RDATAS):
        assert of.pointers(target) == {name for name, item in of.nodes.items() if points_to(item, target)}
    return of.serial, copy.copy(of.nodes), set(of.cuts)


def points_to(item: Node, target: bytes) -> bool:
    found = item.get(PTR)
    return found is not None and target in found.rdatas


def test_a_full_transfer_is_the_zone() -> None:
    nodes = zone(DB, WEB, node("sub.example.", ns("a."))).nodes
    read = Live.of(ZONE, whole(nodes))
    assert state(read) == (9, nodes, {n("sub.example.")})
    assert read.get(DB.name) == DB
    assert read.get(n("none.example.")) == Node(n("none.example."))


def test_an_incremental_transfer_alone_is_malformed() -> None:
    with pytest.raises(Malformed, match="full zone"):
        Live.of(ZONE, incremental(([], records([WEB]))))


@pytest.mark.parametrize(
    ("removed", "added", "want"),
    [
        pytest.param([], records([node("new.example.", a("10.0.0.9"))]), [DB, WEB, node("new.example.", a("10.0.0.9"))],
                     id="name-added"),
        pytest.param(records([WEB]), [], [DB], id="name-removed"),
        pytest.param(records([node("db.example.", a("10.0.0.1"))]), [],
                     [node("db.example.", a("10.0.0.2"), aaaa("fd00::1")), WEB], id="record-removed"),
        pytest.param([], records([node("db.example.", a("10.0.0.3"))]),
                     [node("db.example.", a("10.0.0.1", "10.0.0.2", "10.0.0.3"), aaaa("fd00::1")), WEB],
                     id="record-added"),
        pytest.param(records([node("db.example.", aaaa("fd00::1"))]), [],
                     [node("db.example.", a("10.0.0.1", "10.0.0.2")), WEB], id="type-removed"),
        pytest.param([], records([node("db.example.", sshfp())]),
                     [node("db.example.", *DB.rrsets, sshfp()), WEB], id="type-added"),
        pytest.param(records([WEB]), records([node("web.example.", a("10.0.0.3", ttl=5))]),
                     [DB, node("web.example.", a("10.0.0.3", ttl=5))], id="ttl-changed"),
        pytest.param(records([node("db.example.", a("10.0.0.1"))]),
                     records([node("db.example.", a("10.0.0.9", ttl=5))]),
                     [node("db.example.", a("10.0.0.2", "10.0.0.9", ttl=5), aaaa("fd00::1")), WEB],
                     id="ttl-of-the-rrset-is-that-of-its-newest-record"),
        pytest.param(records([WEB]), records([node("web.example.", cname("db.example."))]),
                     [DB, node("web.example.", cname("db.example."))], id="address-becomes-cname"),
        pytest.param([(ZONE, RRSIG, 60, b"old")], [(WEB.name, RRSIG, 60, b"new")], [DB, WEB], id="signatures-alone"),
        pytest.param([], [], [DB, WEB], id="serial-alone"),
    ],
)  # fmt: skip
def test_a_delta_leads_to_the_next_zone(removed: list[Record], added: list[Record], want: list[Node]) -> None:
    found = zone(DB, WEB)
    before = dict(found.nodes)
    changed = found.apply(incremental((removed, added)))
    assert state(found) == (2, zone(*want).nodes, set())
    assert changed == {name for name in before | found.nodes if before.get(name) != found.nodes.get(name)}


NAMES = st.sampled_from([n(text) for text in ("example.", "a.example.", "b.example.", "*.b.example.", "a.b.example.")])
RRSETS = st.dictionaries(
    st.sampled_from([A, TXT, NS, DNAME, PTR, 44]), st.sets(st.sampled_from(RDATAS), min_size=1)
).map(dict.items)
TTLS = st.sampled_from([5, 60])
CONTENT = st.dictionaries(NAMES, RRSETS, max_size=5)


@st.composite
def zones(draw: st.DrawFn) -> dict[bytes, Node]:
    apex = node(ZONE, ns("ns.elsewhere."))
    nodes = {ZONE: apex}
    for name, content in draw(CONTENT).items():
        rrsets = [RRset(rdtype, draw(TTLS), tuple(sorted(rdatas))) for rdtype, rdatas in content]
        if name == ZONE:
            rrsets = [item for item in rrsets if item.type != NS] + [*apex.rrsets]
        if rrsets:
            nodes[name] = node(name, *rrsets)
    return nodes


def difference(old: dict[bytes, Node], new: dict[bytes, Node]) -> tuple[list[Record], list[Record]]:
    """Return the step as in the journal of a server: full RRsets if the TTL changed."""
    before, after = set(records(old.values())), set(records(new.values()))
    return sorted(before - after), sorted(after - before)


def cuts(nodes: dict[bytes, Node]) -> set[bytes]:
    return {name for name, item in nodes.items() if item.get(DNAME) or (item.get(NS) and name != ZONE)}


@settings(max_examples=120)
@given(st.lists(zones(), min_size=2, max_size=4))
def test_deltas_lead_to_the_same_zone_as_a_full_transfer(versions: list[dict[bytes, Node]]) -> None:
    first, *later = versions
    deltas = [difference(old, new) for old, new in zip(versions, later, strict=False)]
    by_deltas, by_zone = Live(ZONE, 1, dict(first)), Live(ZONE, 1, dict(first))
    assert state(by_deltas) == state(by_zone)
    changed = by_deltas.apply(incremental(*deltas))
    assert changed == by_zone.apply(whole(later[-1], serial=1 + len(later)))
    assert state(by_deltas) == state(by_zone) == (len(versions), later[-1], cuts(later[-1]))
    assert changed == {name for name in first | later[-1] if first.get(name) != later[-1].get(name)}


@settings(max_examples=120)
@given(zones(), zones(), st.lists(zones(), max_size=2), st.booleans())
def test_read_content_replaces_tentative_content(
    old: dict[bytes, Node], new: dict[bytes, Node], believed: list[dict[bytes, Node]], incrementally: bool
) -> None:
    found = Live(ZONE, 1, dict(old))
    assumed = dict(old)
    for item in (item for nodes in believed for item in nodes.values()):
        found.put_tentative(item)
        assumed[item.name] = item
    assert state(found) == (1, assumed, cuts(assumed))
    assert found.tentative == len({name for nodes in believed for name in nodes})
    changed = found.apply(incremental(difference(old, new)) if incrementally else whole(new, serial=2))
    assert state(found) == (2, new, cuts(new))
    assert changed == {name for name in assumed | new if assumed.get(name) != new.get(name)}
    assert found.tentative == 0


def test_a_tentative_name_that_does_not_appear_is_reverted() -> None:
    found = zone(DB)
    for item in (WEB, Node(DB.name)):
        found.put_tentative(item)
    assert found.get(DB.name) == Node(DB.name)
    assert found.apply(incremental()) == {DB.name, WEB.name}
    assert state(found) == state(zone(DB))


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param([(records([node("none.example.", a("10.0.0.1"))]), [])], id="removes-an-unknown-name"),
        pytest.param([(records([node("web.example.", txt("x"))]), [])], id="removes-an-unknown-type"),
        pytest.param([(records([node("web.example.", a("10.0.0.9"))]), [])], id="removes-an-unknown-record"),
        pytest.param([(records([WEB, WEB]), [])], id="removes-twice"),
        pytest.param([(records([WEB]), []), (records([WEB]), [])], id="removes-again-in-a-later-step"),
        pytest.param([([], records([node("new.example.", ns("a."))])), (records([DB, DB]), [])], id="in-step-two"),
    ],
)  # fmt: skip
def test_a_delta_that_does_not_fit_changes_nothing(deltas: list[tuple[list[Record], list[Record]]]) -> None:
    found = zone(DB, WEB)
    found.put_tentative(node("new.example.", txt("assumed")))
    before = state(found)
    with pytest.raises(Malformed, match="not in the zone"):
        found.apply(incremental(*deltas))
    assert state(found) == before
    assert found.tentative == 1


CUTS = [
    node("sub.example.", ns("a.sub.example.")),
    node("a.sub.example.", a("10.0.0.1")),
    node("alias.example.", dname("example.org."), a("10.0.0.1")),
    node("web.example.", a("10.0.0.3")),
]


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        pytest.param("sub.example.", "sub.example.", id="delegation-hides-its-own-name"),
        pytest.param("a.sub.example.", "sub.example.", id="glue"),
        pytest.param("b.a.sub.example.", "sub.example.", id="far-below-a-delegation"),
        pytest.param("alias.example.", None, id="dname-does-not-hide-its-own-name"),
        pytest.param("a.alias.example.", "alias.example.", id="below-a-dname"),
        pytest.param("b.a.alias.example.", "alias.example.", id="far-below-a-dname"),
        pytest.param("web.example.", None, id="address"),
        pytest.param("below.web.example.", None, id="below-an-address"),
        pytest.param("example.", None, id="apex"),
        pytest.param("other-sub.example.", None, id="name-that-ends-alike"),
        pytest.param(r"a\.sub.example.", None, id="label-that-looks-like-a-name-below"),
    ],
)
def test_names_below_a_delegation_are_hidden(name: str, cut: str | None) -> None:
    assert zone(*CUTS).cut_above(n(name)) == (n(cut) if cut else None)


def test_the_apex_is_no_delegation_but_its_dname_hides_everything_below() -> None:
    apex = node("example.", ns("ns.elsewhere."), dname("example.org."))
    assert zone(apex).cut_above(n("db.example.")) == ZONE
    assert zone(apex).cut_above(ZONE) is None


def test_the_root_zone_has_delegations() -> None:
    root = Live(b"\0", 1, {item.name: item for item in (node(b"\0", ns("a.")), node("org.", ns("a.")))})
    assert root.cut_above(n("example.org.")) == n("org.")
    assert root.cut_above(n("example.")) is None
    assert root.cut_above(b"\0") is None


def test_put_updates_the_delegations() -> None:
    found = zone()
    for item in CUTS:
        found.put(item)
    assert state(found) == state(zone(*CUTS))
    found.put(node("sub.example.", a("10.0.0.1")))
    found.put(Node(n("alias.example.")))
    found.put(Node(n("never.example.")))
    assert found.cuts == set()
    assert n("alias.example.") not in found.nodes
    assert n("never.example.") not in found.nodes
