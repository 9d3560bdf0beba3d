# SPDX-License-Identifier: Apache-2.0
"""Reads and their timing, changes of the server, and events from the sources of VMIs."""

import sys
from math import isfinite
from types import FrameType

import pytest

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire.rrset import RRset
from ksd_ddns.zone.reconciler import Options
from ksd_ddns.zone.reconciler.events import (
    CheckSerial,
    DriftFound,
    NotifyReceived,
    ReadChanges,
    ReadZone,
    ServerChanged,
    Wait,
    WarningsChanged,
)
from tests.zone.build import a, dname, n, node, ns, txt_rules, vmi
from tests.zone.reconciler.model import ROUND_TRIP, Server, World, address

NET1 = n("net1.db.prod.vm.example.")


def fleet(namespace: str, count: int) -> list[Vmi]:
    return [vmi(f"v{number:02}", namespace) for number in range(count)]


def settled_world(*vmis: Vmi, options: Options | None = None) -> World:
    world = World(Server(), options=options or Options())
    world.report(*(vmis or (vmi(),)))
    world.run(5.0)
    assert not world.wrong()
    return world


@pytest.mark.parametrize("serial", [1, 2, 3, 50], ids=["behind", "behind-by-one", "same", "ahead"])
def test_a_primary_restored_from_a_backup_is_corrected(serial: int) -> None:
    world = settled_world()
    world.server.restore([], serial)
    world.run(70.0)
    assert not world.wrong()
    assert any(isinstance(fact, DriftFound) for fact in world.facts)


def test_another_server_is_fully_read() -> None:
    world = settled_world()
    world.server.restore([node(NET1, a("192.0.2.1"))], world.server.serial)
    world.other_server = True
    world.run(40.0)
    assert any(isinstance(fact, ServerChanged) for fact in world.facts)
    assert world.wrong() == {NET1}, "somebody else has that name on the other server"


def test_a_spot_check_after_a_reconnect_is_larger() -> None:
    world = settled_world(*fleet("prod", 40))
    world.reconnected = True
    world.run(40.0)
    sizes = [len(action.spots) for action in world.actions if isinstance(action, CheckSerial)]
    assert max(sizes) == 32
    assert sizes[0] == 4


@pytest.mark.parametrize(("interval", "within"), [(600.0, 2), (3600.0, 0)])
def test_full_reads_follow_their_interval(interval: float, within: int) -> None:
    world = settled_world(options=Options(full_read_interval=interval))
    before = world.count(ReadZone)
    world.run(1500.0)
    assert world.count(ReadZone) - before == within


def test_a_notify_causes_a_read_at_once() -> None:
    world = settled_world()
    world.server.put(node(NET1, a("192.0.2.1")))
    actions = len(world.actions)
    world.handle(NotifyReceived())
    world.run(0.5)
    assert [type(action) for action in world.actions[actions : actions + 2]] == [CheckSerial, ReadChanges]


def test_reading_without_ixfr_takes_at_most_a_twentieth_of_the_time() -> None:
    world = settled_world()
    world.server.whole_only = True
    begin = world.now
    for number in range(200):
        world.change(vmi(interfaces={"net1": [f"10.1.1.{number}"]}, uid=f"uid-{number}"), vmi(f"other{number}"))
        world.run(0.005)
    reads = world.count(ReadChanges) + world.count(ReadZone)
    assert 10 < reads <= (world.now - begin) / (20 * ROUND_TRIP) + 3


@pytest.mark.parametrize(
    ("missing", "blocked"),
    [
        pytest.param({"a": 1}, 0, id="one"),
        pytest.param({"a": 19}, 38, id="most-of-one-namespace"),
        pytest.param({"a": 19, "b": 1}, 38, id="another-deletes-one"),
        pytest.param({"a": 19, "b": 19}, 76, id="both"),
    ],
)
def test_deletions_over_the_limit_of_a_namespace_are_blocked(missing: dict[str, int], blocked: int) -> None:
    world = settled_world(*fleet("a", 20), *fleet("b", 20))
    world.report(*(item for space in "ab" for item in fleet(space, 20)[missing.get(space, 0) :]))
    world.run(1.0)
    assert len(world.reconciler.deletions.blocked) == blocked
    assert len(world.wrong()) == blocked


def test_a_blocked_deletion_is_resolved_by_a_delete_event_or_a_new_vmi() -> None:
    world = settled_world(*fleet("a", 20))
    world.report(*fleet("a", 20)[15:])
    world.run(1.0)
    assert len(world.reconciler.deletions.blocked) == 30
    world.change(*fleet("a", 10))
    world.run(1.0)
    assert len(world.reconciler.deletions.blocked) == 10
    world.delete("a/v00")
    world.run(1.0)
    assert len(world.wrong()) == 10


def test_one_failed_scope_delays_no_other_and_loses_nothing() -> None:
    world = settled_world(*fleet("a", 3), *fleet("b", 3))
    world.namespaces = ("a", "b")
    world.start()
    world.report(*fleet("a", 2), namespace="a")
    world.run(1.0)
    assert not world.sent()[1:]
    world.fail_source("b", "forbidden")
    world.run(1.0)
    assert world.reconciler.synced
    assert not world.wrong()
    world.change(vmi("v00", "a", {"net1": ["10.1.0.77"]}))
    world.run(1.0)
    assert address(world.server.get(n("v00.a.vm.example."))) == (b"\x0a\1\0\x4d",)
    world.report(*fleet("b", 2), namespace="b")
    world.run(1.0)
    assert not world.wrong()


def test_events_before_the_first_read_are_applied() -> None:
    world = World(Server())
    world.report(*fleet("a", 2))
    world.change(vmi())
    world.delete("a/v00")
    world.run(1.0)
    assert not world.wrong()
    assert set(world.vmis) == {"a/v01", "prod/db"}


def test_a_restart_holds_published_addresses() -> None:
    world = settled_world(options=Options(hold_down=300.0))
    world.start()
    world.report(Vmi(**{**{field: getattr(vmi(), field) for field in vmi().__struct_fields__}, "interfaces": ()}))
    world.run(290.0)
    assert address(world.server.get(NET1))
    world.run(20.0)
    assert not world.server.get(NET1).rrsets


def test_a_busy_driver_delays_reading_back_for_a_limited_time() -> None:
    world = settled_world()
    world.change(vmi(interfaces={"net1": ["10.1.0.5"]}))
    world.step()
    assert isinstance(world.reconciler.next(world.now, busy=True), Wait)
    assert isinstance(world.reconciler.next(world.now + 1.1, busy=True), ReadChanges)
    wait = world.reconciler.next(world.now, busy=True)
    assert isinstance(wait, Wait)
    assert isfinite(wait.until)


def test_a_limit_reached_because_of_another_vmi_is_reported() -> None:
    world = World(Server(), rules=txt_rules(max_namespace_names=4))
    world.report(vmi("b", created=2), vmi("c", created=3))
    world.run(1.0)
    world.facts.clear()
    world.change(vmi("a", created=1))
    world.run(1.0)
    assert {key for fact in world.facts if isinstance(fact, WarningsChanged) for key in fact.vmis} == {"prod/c"}
    assert world.reconciler.inventory.warnings("prod/c")


@pytest.mark.parametrize("cut", [ns("ns.elsewhere."), dname("elsewhere.")], ids=["delegation", "dname"])
@pytest.mark.parametrize("whole_only", [False, True], ids=["ixfr", "axfr"])
def test_names_below_a_delegation_are_published_when_it_goes(cut: RRset, whole_only: bool) -> None:
    of = World(Server(node("prod.vm.example.", cut)))
    of.server.whole_only = whole_only
    of.report(vmi("db", interfaces={"net1": ["10.0.0.1"]}))
    of.run(1.0)
    assert n("db.prod.vm.example.") not in of.server.nodes
    of.server.put(node("prod.vm.example."))
    of.run(7200.0)
    assert n("db.prod.vm.example.") in of.server.nodes


def test_a_delegation_that_comes_and_goes_all_the_time_causes_no_loop() -> None:
    of = settled_world(vmi("db", interfaces={"net1": ["10.0.0.1"]}))
    before = len(of.messages)
    for number in range(400):
        of.server.put(node("prod.vm.example.", *([ns("ns.elsewhere.")] if number % 2 else [])))
        of.handle(NotifyReceived())
        of.run(0.1)
    assert len(of.messages) - before < 10
    of.server.put(node("prod.vm.example."))
    of.run(7200.0)
    assert not of.wrong()


def test_many_new_delegations_cost_one_look_at_each_name() -> None:
    of = settled_world(*fleet("prod", 100))
    for number in range(200):
        of.server.put(node(f"customer{number}.example.", ns("ns.elsewhere.")))
    of.handle(NotifyReceived())
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:  # calls, not time: what counts is how the cost grows
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        of.run(0.1)
    finally:
        sys.setprofile(None)
    assert len(of.reconciler.live.cuts) == 200
    assert calls < 20_000, "not one for each name and delegation"
