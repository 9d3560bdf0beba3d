# SPDX-License-Identifier: Apache-2.0
"""A zone that is read by queries: which names are asked, when, and what follows from the answers."""

import pytest

from ksd_ddns.errors import Denied
from ksd_ddns.wire.rrset import TXT, Node
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.index import Index
from ksd_ddns.zone.plan import Read
from ksd_ddns.zone.reconciler import Options
from ksd_ddns.zone.reconciler.events import (
    CheckSerial,
    DriftFound,
    ReadChanges,
    ReadNames,
    ReadZone,
    Send,
    UpdateAnswered,
    UpdateFinished,
)
from ksd_ddns.zone.reconciler.refusals import Cause
from ksd_ddns.zone.update import Batch
from tests.zone.build import BASE, OWNER, ZONE, a, mark, n, node, txt, vmi
from tests.zone.reconciler.model import Server, World, changes_of

INDEX = Index(BASE, OWNER)
DB = n("db.prod.vm.example.")
NET1 = n("net1.db.prod.vm.example.")


def world(server: Server | None = None, **options: float) -> World:
    """Return a reconciler that reads by queries."""
    settings: dict[str, object] = {"read": Read.QUERIES, "excluded": (INDEX.head,)}
    return World(server or Server(), settings=settings, options=Options(**options))  # type: ignore[arg-type]


def published(*, percent: int = 30) -> World:
    """Return one that has published a VMI."""
    made = world(max_delete_percent=percent)
    made.report(vmi("db", interfaces={"net1": ["10.0.0.1"]}))
    made.run()
    assert not made.wrong() - index_names(made)
    return made


def index_names(of: World) -> set[bytes]:
    """Return the names of the index in the zone."""
    return {name for name in of.server.nodes if name.endswith(INDEX.head)}


def listed(of: World) -> set[bytes]:
    """Return the names that the index lists."""
    found = set()
    for shard in INDEX.all_shards(64):
        text = of.server.get(shard).get(TXT)
        found |= {name for name, _ in INDEX.entries(shard, text)}
    return found


def asked(of: World) -> list[ReadNames]:
    """Return all requests so far."""
    return [action for action in of.actions if isinstance(action, ReadNames)]


def test_nothing_is_transferred() -> None:
    zone = published()
    zone.run(7200.0, most=1000)
    assert not [action for action in zone.actions if isinstance(action, (ReadZone, ReadChanges, CheckSerial))]


def test_the_index_is_read_first_then_the_wanted_names_then_what_was_sent() -> None:
    zone = published()
    first, second, third = asked(zone)
    assert first.full
    assert second.names >= {DB, NET1}
    assert not second.full
    assert third.names == {DB, NET1}
    assert third.shards == {INDEX.entry(DB, 64)[0], INDEX.entry(NET1, 64)[0]}
    assert listed(zone) == {DB, NET1}


def test_a_new_name_is_asked_before_it_is_planned() -> None:
    zone = published()
    zone.server.put(node("web.prod.vm.example.", a("192.0.2.1")))
    zone.change(vmi("web", interfaces={"net1": ["10.0.0.2"]}))
    zone.run()
    assert zone.server.get(n("web.prod.vm.example.")).rrsets == (a("192.0.2.1"),)
    assert not [message for message in zone.messages if message[2].value != "accepted"]


def test_after_a_restart_names_that_are_no_longer_wanted_are_found_by_the_index() -> None:
    zone = published(percent=100)
    zone.start()
    zone.report()
    zone.run()
    assert zone.server.nodes.keys() == {ZONE}


def test_a_late_change_is_asked_until_it_is_shown() -> None:
    zone = published()
    zone.server.hides = True
    zone.change(vmi("db", interfaces={"net1": ["10.0.0.2"]}))
    zone.run(1.0)
    assert len(zone.reconciler.unconfirmed) == 2
    assert not zone.reconciler.settled
    assert not zone.reconciler.refusals
    zone.server.hides = False
    zone.server.show()
    zone.run(2.0)
    assert not zone.reconciler.unconfirmed
    assert zone.reconciler.settled


def test_another_read_does_not_confirm_a_late_change() -> None:
    zone = published()
    zone.server.hides = True
    zone.change(vmi("db", interfaces={"net1": ["10.0.0.2"]}))
    zone.run(0.5)
    zone.change(vmi("web", interfaces={"net1": ["10.0.0.3"]}))  # its names are asked
    zone.run(0.5)
    assert DB in zone.reconciler.unconfirmed
    assert all(DB in request.names for request in asked(zone)[-3:])


def test_a_change_that_is_never_shown_is_refused() -> None:
    zone = published()
    zone.server.drops = {DB}
    zone.change(vmi("db", interfaces={"net1": ["10.0.0.2"]}))
    zone.run(4.0)
    assert [(one.name, one.cause) for one in zone.reconciler.refusals] == [(DB, Cause.NOT_SHOWN)]


def test_a_failed_prerequisite_asks_the_names_of_the_message_again() -> None:
    zone = published()

    def race(_: Batch) -> None:
        zone.on_update = None
        zone.server.put(node("net1.db.prod.vm.example.", a("192.0.2.1")))

    zone.on_update = race
    zone.change(vmi("db", interfaces={"net1": ["10.0.0.2"]}))
    zone.run(1.0)
    assert zone.server.get(NET1).rrsets == (a("192.0.2.1"),)
    assert zone.server.get(DB).get(1) == a("10.0.0.2")


def test_each_name_and_shard_is_asked_within_the_full_read_interval() -> None:
    zone = world(drift_interval=30.0, full_read_interval=3600.0)
    zone.report(*(vmi(f"vm-{i}", interfaces={"net1": [f"10.0.0.{i}"]}) for i in range(200)))
    zone.run()
    before = len(zone.actions)
    zone.run(3600.0, most=1000)
    requests = [action for action in zone.actions[before:] if isinstance(action, ReadNames)]
    assert set().union(*(request.names for request in requests)) >= set(zone.reconciler.desired.names())
    assert set().union(*(request.shards for request in requests)) == set(INDEX.all_shards(64))
    assert max(len(request.names) for request in requests) < 200, "a share of 400 names at a time"


def test_drift_is_repaired() -> None:
    zone = published()
    zone.server.put(node("net1.db.prod.vm.example.", a("192.0.2.66"), txt(mark())))
    zone.run(300.0)
    assert zone.server.get(NET1).get(1) == a("10.0.0.1")
    assert any(isinstance(fact, DriftFound) for fact in zone.facts)


def test_a_mass_loss_is_noticed_by_the_first_share() -> None:
    zone = world(max_delete_percent=100)
    zone.report(*(vmi(f"vm-{i}", interfaces={"net1": [f"10.0.0.{i}"]}) for i in range(200)))
    zone.run()
    zone.server.restore([], 7)
    zone.run(40.0, most=1000)
    assert not zone.wrong() - index_names(zone)
    assert listed(zone) == set(zone.reconciler.desired.names())


def test_a_damaged_index_is_repaired() -> None:
    zone = published()
    for shard in INDEX.all_shards(64):
        zone.server.put(Node(shard))
    zone.run(300.0)
    assert listed(zone) == {DB, NET1}


@pytest.mark.parametrize("accepted", [True, False])
def test_more_shards_are_announced_alone_and_first_and_not_used_if_that_is_refused(accepted: bool) -> None:
    zone = world()
    zone.report(*(vmi(f"vm-{i}", interfaces={"net1": [f"10.0.{i >> 8}.{i & 255}"]}) for i in range(1300)))
    zone.step()
    zone.step()
    first = zone.reconciler.next(zone.now)
    assert isinstance(first, Send)
    (head,) = changes_of(first)
    assert head.name == INDEX.head
    result, rcode = (Result.ACCEPTED, 0) if accepted else (Result.REFUSED, 5)
    error = None if accepted else Denied("refused")
    zone.reconciler.handle(UpdateAnswered(Answer((head,), result, rcode, error)), zone.now)
    zone.reconciler.handle(UpdateFinished(), zone.now)
    second = zone.reconciler.next(zone.now)
    assert isinstance(second, Send)
    changes = changes_of(second)
    assert len(changes) == 2600
    used = {owner for change in changes for owner, _ in change.new.index}
    assert used <= set(INDEX.all_shards(512 if accepted else 64))
    assert accepted == bool(used - set(INDEX.all_shards(64)))


def test_another_server_is_read_in_full() -> None:
    zone = published()
    zone.server.restore([node("db.prod.vm.example.", a("192.0.2.1"))], 3)
    zone.other_server = True
    zone.run(40.0)
    assert asked(zone)[-1].names
    assert any(request.full for request in asked(zone)[1:])
    assert zone.server.get(DB).rrsets == (a("192.0.2.1"),)
    assert zone.server.get(NET1).get(1) == a("10.0.0.1")
