# SPDX-License-Identifier: Apache-2.0
"""Accepted is not published: changes that the zone does not show yet, and updates without an answer."""

from itertools import cycle

import pytest

from ksd_ddns.wire.rrset import TXT
from ksd_ddns.zone.answer import Result
from ksd_ddns.zone.reconciler.composing import NUDGE_AFTER
from ksd_ddns.zone.reconciler.events import (
    Accepted,
    NotifyReceived,
    ReadChanges,
    ReadZone,
    Refused,
    RivalFound,
    TtlLowered,
    Unanswered,
)
from ksd_ddns.zone.reconciler.refusals import Cause
from ksd_ddns.zone.update import Batch
from tests.zone.build import a, mark, n, node, sshfp, txt, vmi
from tests.zone.reconciler.model import Server, World, address, changes_of

DB, NET1 = n("db.prod.vm.example."), n("net1.db.prod.vm.example.")


def settled_world(*, signed: bool = False, count: int = 1, ttl: int | None = None) -> World:
    """Return a world with published VMIs."""
    world = World(Server(signed=signed))
    world.report(vmi(ttl=ttl), *(vmi(f"v{number}") for number in range(count - 1)))
    world.run(70.0)
    assert not world.wrong()
    return world


@pytest.mark.parametrize("count", [1, 100, 400])
def test_a_late_change_in_a_signed_zone_is_not_sent_again(count: int) -> None:
    server = Server(signed=True)
    server.hides = True
    world = World(server)
    world.report(*(vmi(f"v{number}") for number in range(count)))
    world.run(0.5)
    sent = [name for _, names, _ in world.messages for name in names]
    assert len(sent) == len(set(sent)) == 2 * count
    assert not world.reconciler.refusals
    server.hides = False
    server.show()
    world.run(2.0)
    assert sum(len(names) for _, names, _ in world.messages) == 2 * count
    assert world.reconciler.settled
    assert not world.wrong()


def test_a_stalled_signed_zone_gets_a_temporary_update() -> None:
    world = settled_world(signed=True, count=3)
    world.server.hides = True
    world.change(vmi("v0", interfaces={"net1": ["10.1.0.5"]}))
    world.run(NUDGE_AFTER - 0.2)
    before = len(world.messages)
    world.server.hides = False
    world.run(1.0)
    nudges = world.messages[before:]
    assert [len(names) for _, names, _ in nudges] == [1, 1], "one update, and what takes it back"
    assert not world.wrong()
    world.run(5.0)
    assert world.reconciler.settled


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_a_change_that_never_appears_is_refused(signed: bool) -> None:
    world = settled_world(signed=signed, count=3)
    world.server.drops = {NET1}
    world.change(vmi(interfaces={"net1": ["10.1.0.5"]}))
    world.run(2.0)
    assert {one.name: one.cause for one in world.reconciler.refusals} == {NET1: Cause.NOT_SHOWN}
    assert world.reconciler.settled
    world.server.drops = set()
    world.run(700.0)
    assert not world.wrong()


def test_a_dropped_ownership_record_is_a_refusal() -> None:
    world = World(Server())
    world.server.drops_txt = True
    world.report(vmi())
    world.run(2.0)
    assert {one.name: one.cause for one in world.reconciler.refusals} == {DB: Cause.NO_TXT, NET1: Cause.NO_TXT}
    assert world.reconciler.settled


def test_a_server_that_keeps_ttls_needs_two_messages() -> None:
    world = settled_world()
    world.server.keeps_ttl = True
    missing = []
    world.after_update = lambda _: missing.append(world.server.get(NET1).rrsets == ())
    world.change(vmi(ttl=300))
    world.run(1.0)
    assert not world.wrong()
    assert world.server.get(NET1).rrsets[0].ttl == 300
    assert [len(set(names)) for _, names, _ in world.messages[-2:]] == [2, 2]
    assert missing[-2:] == [True, False]
    assert [send.one_by_one for send in world.sent()][-2:] == [False, True], "in flight together they have no effect"
    count = len(world.messages)
    world.change(vmi(ttl=30))
    world.run(1.0)
    assert len(world.messages) == count + 2, "the second time it is known"
    assert not world.wrong()


@pytest.mark.parametrize("lost", [Result.REFUSED, Result.UNKNOWN])
def test_addresses_are_never_without_their_ownership_record(lost: Result) -> None:
    world = settled_world(ttl=60)
    world.server.keeps_ttl = True
    world.change(vmi(ttl=300))
    world.run(1.0)
    halfway = []

    def look(_: object) -> None:
        item = world.server.get(NET1)
        halfway.append(bool(address(item)) and item.get(TXT) is None)
        if item.rrsets == ():
            world.server.frozen = 5 if lost is Result.REFUSED else 0
            world.server.loses = int(lost is Result.UNKNOWN)

    world.after_update = look
    world.change(vmi(ttl=30, interfaces={"net1": ["10.1.0.9", "10.1.0.10"]}))
    world.step()
    world.after_update = None
    assert halfway
    assert not any(halfway)
    world.server.frozen = 0
    world.run(60.0)
    assert not world.wrong()


def test_a_lowered_ttl_is_accepted() -> None:
    world = settled_world()
    world.server.max_ttl = 120
    world.change(vmi(ttl=300))
    world.run(5.0)
    assert [fact.seconds for fact in world.facts if isinstance(fact, TtlLowered)] == [120]
    assert world.reconciler.settled
    count = len(world.messages)
    world.run(120.0)
    assert len(world.messages) == count, "and it is not changed back"


@pytest.mark.parametrize("applied", [False, True], ids=["not-applied", "applied"])
def test_an_update_without_an_answer_is_looked_up(applied: bool) -> None:
    world = settled_world()
    if applied:
        world.server.loses_answers = 1
    else:
        world.server.loses = 1
    actions = len(world.actions)
    world.change(vmi(interfaces={"net1": ["10.1.0.5"]}))
    world.run(1.0)
    assert not world.wrong()
    assert isinstance(world.actions[actions + 1], ReadChanges)
    assert len(world.messages) == (2 if applied else 3)
    assert sum(isinstance(fact, Unanswered) for fact in world.facts) == 1
    assert sum(isinstance(fact, Accepted) for fact in world.facts) == 4
    assert world.reconciler.problem is None


@pytest.mark.parametrize("count", [1, 5])
def test_a_change_that_is_applied_in_spite_of_servfail_counts_as_accepted(count: int) -> None:
    world = World(Server())
    world.server.fails_answers = 1
    world.report(*(vmi(f"v{number}", interfaces={"net1": ["10.1.0.5"]}) for number in range(count)))
    world.run(5.0)
    assert not world.wrong()
    assert sum(isinstance(fact, Accepted) for fact in world.facts) == 2 * count
    assert not any(isinstance(fact, Refused) for fact in world.facts)
    assert sum(len(changes_of(send)) for send in world.sent()) == 2 * count, "nothing is sent again"


def test_unsent_updates_are_retried_with_pauses_while_the_primary_is_down() -> None:
    world = settled_world()
    world.server.down = True
    world.change(vmi(interfaces={"net1": ["10.1.0.5"]}))
    actions = len(world.actions)
    world.run(60.0)
    assert world.reconciler.problem is not None
    assert 3 < len(world.actions) - actions < 20
    world.server.down = False
    world.run(31.0)
    assert not world.wrong()
    assert world.reconciler.problem is None


def test_a_stale_change_is_read_and_planned_again() -> None:
    world = settled_world()
    world.server.put(node(NET1, a("192.0.2.1"), txt(mark()), sshfp()))
    actions = len(world.actions)
    world.change(vmi(interfaces={"net1": ["10.1.0.5"]}))
    world.run(1.0)
    assert [type(action).__name__ for action in world.actions[actions : actions + 3]] == ["Send", "ReadChanges", "Send"]
    assert address(world.server.get(NET1)) == (b"\x0a\1\0\5",)
    assert world.server.get(NET1).get(44) is not None


def test_a_name_that_keeps_changing_waits_alone() -> None:
    world = settled_world()
    count = 0

    def fight(_: object) -> None:
        nonlocal count
        count += 1
        world.server.put(node(NET1, a(f"192.0.2.{count}"), txt(mark())))

    world.on_update = fight
    world.change(vmi(interfaces={"net1": ["10.1.0.5"]}), vmi("calm"))
    world.run(0.5)
    assert world.wrong() == {NET1}
    world.run(3.0)
    assert len(world.messages) < 15
    world.on_update = None
    world.run(20.0)
    assert not world.wrong()


def test_two_controllers_with_one_owner_id_are_detected() -> None:
    world = settled_world()
    for _ in range(4):
        world.server.put(node(NET1, a("10.9.9.9"), txt(mark("prod/other"))))
        world.run(60.0)
    assert [fact.name for fact in world.facts if isinstance(fact, RivalFound)] == [NET1]
    assert world.reconciler.rivalry.names(world.now) == (NET1,)
    world.run(60.0)
    world.server.put(node("www.example.", a("192.0.2.1")))
    world.handle(NotifyReceived())
    world.run(1.0)
    assert world.reconciler.settled, "names of others wait for nothing"


@pytest.mark.parametrize("at_once", [False, True], ids=["after-reading-back", "before-reading-back"])
def test_two_controllers_that_undo_each_other_at_once_do_not_loop(at_once: bool) -> None:
    world = settled_world()
    before = len(world.messages)
    octets = cycle(range(1, 255))

    def undo(_: Batch | None = None) -> None:
        world.server.put(node(NET1, a(f"10.9.9.{next(octets)}"), txt(mark("prod/other"))))

    undo()
    world.after_update = undo if at_once else None
    for _ in range(600):
        if not at_once:
            undo()
        world.handle(NotifyReceived())
        world.run(0.1)
    assert len(world.messages) - before < 10
    assert [fact.name for fact in world.facts if isinstance(fact, RivalFound)] == [NET1]
    world.after_update = None
    world.server.put(node(NET1))
    world.run(1200.0)
    assert not world.wrong()


def test_a_name_with_foreign_types_is_published_again_after_a_restart_of_the_vm() -> None:
    world = settled_world()
    world.server.put(node(NET1, *world.server.get(NET1).rrsets, sshfp()))
    world.run(40.0)
    world.delete("prod/db")
    world.run(1.0)
    assert world.server.get(NET1).rrsets == (sshfp(),)
    world.change(vmi())
    world.run(1.0)
    assert address(world.server.get(NET1))
    assert world.server.get(NET1).get(44) == sshfp()


def test_an_unchanged_serial_after_an_update_causes_a_full_read() -> None:
    world = settled_world()
    world.server.stands = True
    actions = len(world.actions)
    world.change(vmi(interfaces={"net1": ["10.1.0.5"]}))
    world.run(1.0)
    kinds = [type(action) for action in world.actions[actions:]]
    assert ReadZone in kinds
    assert len(kinds) <= 4
    assert world.reconciler.settled
    assert not world.wrong()
