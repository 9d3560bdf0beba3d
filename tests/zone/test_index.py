# SPDX-License-Identifier: Apache-2.0
"""The index: which record lists a name, what a damaged index says, and when it needs more shards."""

import pytest

from ksd_ddns.wire.rrset import TXT, Node
from ksd_ddns.wire.txt import join
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.index import FEWEST, FULL, SHARDS, Index
from ksd_ddns.zone.plan import Change, Kind
from ksd_ddns.zone.update import prerequisites, updates
from tests.zone.build import BASE, a, mark, n, node, txt

INDEX = Index(BASE, "test")
HEAD = "_ksd-ddns-9f86d081884c7d65.vm.example."
DB = n("db.prod.vm.example.")


def test_the_owner_id_names_the_index() -> None:
    assert n(HEAD) == INDEX.head
    assert Index(BASE, "other").head != INDEX.head


def test_a_record_lists_one_name_and_is_an_ownership_record() -> None:
    shard, rdata = INDEX.entry(DB, FEWEST)
    assert shard in INDEX.all_shards(FEWEST)
    assert join(rdata) == b"heritage=ksd-ddns,owner=test,vmi=,name=db.prod.vm.example."
    record = ownership_record.parse(rdata)
    assert record is not None
    assert (record.owner, record.vmi) == ("test", "")


def test_names_spread_over_all_shards() -> None:
    names = [n(f"vm-{i}.prod.vm.example.") for i in range(FULL * FEWEST)]
    found = [INDEX.entry(name, FEWEST)[0] for name in names]
    assert set(found) == set(INDEX.all_shards(FEWEST))
    assert max(found.count(shard) for shard in set(found)) < 90, "BIND allows 100 records"


@pytest.mark.parametrize(
    ("texts", "listed"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([mark("", more=",name=db.prod.vm.example.")], ["db.prod.vm.example."], id="one"),
        pytest.param(
            [mark("", more=",name=a.vm.example."), mark("", more=",name=b.vm.example.")],
            ["a.vm.example.", "b.vm.example."],
            id="two",
        ),
        pytest.param([mark("", more=",new=1,name=a.vm.example.")], ["a.vm.example."], id="unknown-field"),
        pytest.param([mark("", owner="other", more=",name=a.vm.example.")], [], id="other-owner"),
        pytest.param(["name=a.vm.example."], [], id="no-ownership-record"),
        pytest.param([mark("prod/db")], [], id="no-name"),
        pytest.param([mark("", more=",name=a..example.")], [], id="illegal-name"),
        pytest.param([mark("", more=f",name={'x' * 64}.example.")], [], id="long-label"),
        pytest.param([mark("", more=f",name=1.{HEAD}")], [], id="itself"),
    ],
)
def test_what_a_shard_lists(texts: list[str], listed: list[str]) -> None:
    shard = INDEX.all_shards(FEWEST)[1]
    found = list(INDEX.entries(shard, txt(*texts) if texts else None))
    assert sorted(name for name, _ in found) == sorted(map(n, listed))
    assert all(entry[0] == shard and join(entry[1]).decode() in texts for _, entry in found)


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        pytest.param([], 64, id="none"),
        pytest.param([mark("", more=",shards=512")], 512, id="more"),
        pytest.param([mark("", more=",shards=512"), mark("", more=",shards=4096")], 4096, id="the-most"),
        pytest.param([mark("", more=",shards=1000000000")], 64, id="absurd"),
        pytest.param([mark("", more=",shards=-512")], 64, id="negative"),
        pytest.param([mark("", more=",shards=x")], 64, id="no-number"),
        pytest.param([mark("", owner="other", more=",shards=512")], 64, id="other-owner"),
    ],
)
def test_the_head_counts_the_shards(texts: list[str], count: int) -> None:
    assert INDEX.shards(node(HEAD, txt(*texts)) if texts else Node(INDEX.head)) == count


@pytest.mark.parametrize(
    ("names", "there", "needed"),
    [
        (0, None, None),
        (2560, None, None),
        (2561, None, 512),
        (2561, 512, None),
        (100, 512, None),
        (20_481, 512, 4096),
        (10_000_000, None, 4096),
        (10_000_000, 4096, None),
    ],
)
def test_the_number_of_shards_only_grows(names: int, there: int | None, needed: int | None) -> None:
    found = node(HEAD, txt("an admin's", mark("", more=f",shards={there}"))) if there else Node(INDEX.head)
    grown = INDEX.grown(found, names)
    if needed is None:
        assert grown is None
        return
    assert grown is not None
    assert INDEX.shards(grown) == needed
    text = grown.get(TXT)
    assert text is not None
    kept = [b"an admin's"] if there else []
    assert sorted(map(join, text.rdatas)) == sorted([*kept, mark("", more=f",shards={needed}").encode()])


def test_all_shard_counts_are_powers_of_two() -> None:
    # A hash modulo the count spreads evenly only then.
    assert all(count & (count - 1) == 0 for count in SHARDS)


def test_the_index_changes_in_the_message_of_the_name_without_prerequisites_of_its_own() -> None:
    entry = INDEX.entry(DB, FEWEST)
    new = node("db.prod.vm.example.", a("10.0.0.1"), txt(mark())).with_index((entry,))
    add = Change(Node(DB), new, Kind.ADD)
    assert (entry[0], TXT, 1, 300, entry[1]) in updates(add)
    assert prerequisites(add) == [(DB, 255, 254, 0, b"")]
    delete = Change(new, Node(DB), Kind.DELETE)
    assert updates(delete)[-1] == (entry[0], TXT, 254, 0, entry[1])
    assert {statement[0] for statement in prerequisites(delete)} == {DB}


def test_a_name_that_stays_in_the_index_changes_nothing_there() -> None:
    entry = INDEX.entry(DB, FEWEST)
    old = node("db.prod.vm.example.", a("10.0.0.1"), txt(mark())).with_index((entry,))
    new = node("db.prod.vm.example.", a("10.0.0.2"), txt(mark())).with_index((entry,))
    assert {statement[0] for statement in updates(Change(old, new, Kind.CHANGE))} == {DB}
