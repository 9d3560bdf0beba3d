# SPDX-License-Identifier: Apache-2.0
"""Refused names: they wait alone, and other accepted names show the state of the zone."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.zone.answer import Result
from ksd_ddns.zone.reconciler.events import Planned, Refused, Released, Send, ZoneRefuses
from ksd_ddns.zone.reconciler.refusals import SAMPLE, Cause
from ksd_ddns.zone.reconciler.timing import TIMING
from tests.zone.build import a, n, vmi
from tests.zone.reconciler.model import NOTAUTH, REFUSED, SERVFAIL, Server, World, address, changes_of

FORMERR = 1
OK = vmi("ok", interfaces={"net1": ["10.2.0.1"]})
OK_NAME = n("ok.prod.vm.example.")
MOVED = vmi("ok", interfaces={"net1": ["10.2.0.2"]})
BAD_NAME = n("net1.bad.prod.vm.example.")


def many(count: int) -> list[Vmi]:
    """Return VMIs with one interface each that check-names refuses."""
    return [vmi(f"v{number}", interfaces={"vlan_12": ["10.1.0.9"]}, created=number) for number in range(count)]


def underscores(name: bytes) -> int:
    return REFUSED if b"_" in name else 0


def refusing(*names: str, rcode: int = REFUSED, others: list[Vmi] | None = None) -> World:
    """Return a world where `names` are refused."""
    server = Server()
    server.refuses = {n(f"{name}.prod.vm.example."): rcode for name in names}
    world = World(server)
    world.report(*(others or [OK, vmi("bad")]))
    return world


def refuses_all(world: World) -> bool:
    return world.reconciler.acceptance.refuses


def causes(world: World) -> dict[Cause, int]:
    return {group.cause: group.count for group in world.reconciler.refusals.groups()}


@pytest.mark.parametrize("count", [1, 10, 100, 400])
@pytest.mark.parametrize("restarted", [False, True], ids=["first", "restarted"])
def test_refused_names_delay_no_other(count: int, restarted: bool) -> None:
    server = Server()
    server.refuses_name = underscores
    world = World(server)
    world.report(OK, *many(count))
    world.run(2.0, most=100 * (count // 100 + 10))
    if restarted:
        world.start()
        world.report(OK, *many(count))
        world.run(2.0, most=100 * (count // 100 + 10))
    assert causes(world) == {Cause.HOST_NAME: count}
    assert not refuses_all(world)
    assert world.reconciler.settled
    assert world.reconciler.synced
    sends = len(world.sent())
    world.change(MOVED)
    world.step()
    assert address(server.get(OK_NAME)) == (b"\x0a\2\0\2",)
    world.delete("prod/ok")
    world.step()
    world.step()
    assert not server.get(OK_NAME).rrsets
    assert len(world.sent()) == sends + 2


def test_a_name_is_refused_since_the_first_time_even_if_its_records_change() -> None:
    world = refusing("net1.bad")
    world.run(2.0)
    refusals, server = world.reconciler.refusals, world.server
    first = refusals.get(BAD_NAME)
    assert first is not None
    world.run(5.0)
    world.change(vmi("bad", interfaces={"net1": ["10.1.0.77"]}))
    world.run(2.0)
    again = refusals.get(BAD_NAME)
    assert again is not None
    assert again.change.new != first.change.new
    assert again.since == first.since
    server.refuses = {}
    world.change(vmi("bad", interfaces={"net1": ["10.1.0.78"]}))
    world.run(2.0)
    assert refusals.get(BAD_NAME) is None
    server.refuses = {BAD_NAME: REFUSED}
    world.change(vmi("bad", interfaces={"net1": ["10.1.0.79"]}))
    world.run(2.0)
    last = refusals.get(BAD_NAME)
    assert last is not None
    assert last.since > first.since, "it was accepted in between"


def test_a_change_during_division_is_sent_with_the_next_messages() -> None:
    server = Server()
    server.refuses_name = lambda name: REFUSED if name.startswith(b"\4net1") else 0
    world = World(server)
    world.report(OK, *(vmi(f"v{number}") for number in range(300)))
    for _ in range(5):
        world.step()
    world.change(MOVED)
    for _ in range(3):
        world.step()
    assert address(server.get(OK_NAME)) == (b"\x0a\2\0\2",)


@pytest.mark.parametrize(
    ("rcode", "cause", "interfaces", "name"),
    [
        pytest.param(REFUSED, Cause.PERMISSION, {"net1": ["10.1.0.9"]}, "net1.bad", id="REFUSED"),
        pytest.param(NOTAUTH, Cause.PERMISSION, {"net1": ["10.1.0.9"]}, "net1.bad", id="NOTAUTH"),
        pytest.param(SERVFAIL, Cause.SERVER, {"net1": ["10.1.0.9"]}, "net1.bad", id="SERVFAIL"),
        pytest.param(SERVFAIL, Cause.LIMIT, {"net1": ["10.1.0.9", "10.1.0.8"]}, "net1.bad", id="record-limit"),
        pytest.param(REFUSED, Cause.HOST_NAME, {"vlan_12": ["10.1.0.9"]}, "vlan_12.bad", id="check-names"),
        pytest.param(FORMERR, Cause.OTHER, {"net1": ["10.1.0.9"]}, "net1.bad", id="FORMERR"),
    ],
)
def test_one_refused_name_does_not_affect_accepted_ones(
    rcode: int, cause: Cause, interfaces: dict[str, list[str]], name: str
) -> None:
    world = refusing(name, rcode=rcode, others=[OK, vmi("bad", interfaces=interfaces)])
    world.run(1.0)
    assert causes(world) == {cause: 1}
    assert not refuses_all(world)
    assert not any(isinstance(fact, ZoneRefuses) for fact in world.facts)
    assert world.reconciler.settled
    assert world.wrong() == {n(f"{name}.prod.vm.example.")}
    assert [fact.refusal.cause for fact in world.facts if isinstance(fact, Refused)] == [cause]


@pytest.mark.parametrize("rcode", [REFUSED, SERVFAIL, NOTAUTH], ids=["REFUSED", "SERVFAIL", "NOTAUTH"])
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_thawed_zone_accepts_its_refused_names(rcode: int, restarted: bool) -> None:
    world = World(Server())
    world.report(OK, *(vmi(f"v{number}") for number in range(20)))
    world.run(5.0)
    world.server.frozen = rcode
    if restarted:
        world.start()
        world.report(*world.vmis.values())
    world.change(MOVED, *(vmi(f"v{number}", interfaces={"net1": ["10.1.0.8"]}) for number in range(10)))
    world.run(10.0)
    assert refuses_all(world)
    assert [fact.refuses for fact in world.facts if isinstance(fact, ZoneRefuses)] == [True]
    assert len(world.reconciler.refusals) == 22
    before = len(world.messages)
    world.run(60.0)
    assert len(world.messages) - before < 60, "retries are few while everything is refused"
    world.server.frozen = 0
    world.run(35.0)
    assert not world.wrong()
    assert not refuses_all(world)
    assert not world.reconciler.refusals
    assert [fact.refuses for fact in world.facts if isinstance(fact, ZoneRefuses)] == [True, False]


@pytest.mark.parametrize("count", [1, 15, 60, 400])
def test_an_empty_zone_that_refuses_everything_is_recognized(count: int) -> None:
    world = World(Server())
    world.server.frozen = REFUSED
    world.report(*(vmi(f"v{number}") for number in range(count)))
    world.run(5.0, most=400)
    assert refuses_all(world)
    assert len(world.reconciler.refusals) == 2 * count
    assert len(world.messages) < 500, "a sample decides about the others"
    world.server.frozen = 0
    world.run(40.0, most=400)
    assert not world.wrong()
    assert not refuses_all(world)


def test_a_refused_message_is_divided_and_host_names_are_sent_first() -> None:
    server = Server()
    server.refuses_name = underscores
    world = World(server)
    world.report(OK, vmi("v", interfaces={"net_1": ["10.1.0.9"], "net2": ["10.1.0.8"]}))
    world.run(1.0)
    assert [len(names) for _, names, _ in world.messages[:4]] == [5, 4, 1, 1][:3] + [1] * (len(world.messages) > 3)
    assert [result for _, _, result in world.messages[:3]] == [Result.REFUSED, Result.ACCEPTED, Result.REFUSED]
    assert b"_" not in b"".join(world.messages[1][1])


def test_one_refused_name_among_thousands_costs_few_messages() -> None:
    world = refusing("net1.v77", others=[vmi(f"v{number}") for number in range(250)])
    world.run(1.0)
    assert causes(world) == {Cause.PERMISSION: 1}
    assert len(world.messages) <= 1 + 5 * 4


def test_retries_are_samples_with_growing_pauses() -> None:
    server = Server()
    server.refuses_name = underscores
    world = World(server)
    world.report(OK, *many(100))
    world.run(1.0, most=2_000)
    start = len(world.messages)
    world.run(4 * 3600.0)
    retries = [message for message in world.messages[start:] if b"_" in message[1][0]]  # no canaries
    assert all(result is Result.REFUSED for _, _, result in retries)
    times = sorted({round(at) for at, _, _ in retries if at > world.now - 4 * 3600.0 + 1})
    pauses = [later - earlier for earlier, later in pairwise(times) if later - earlier > 1]
    assert pauses == sorted(pauses)
    assert pauses[-1] <= TIMING.longest_retry
    assert len(retries) <= SAMPLE * 40
    server.refuses_name = lambda _: 0
    world.run(TIMING.longest_retry + 5)
    assert not world.wrong()
    assert sum(fact.count for fact in world.facts if isinstance(fact, Released)) >= 90


@pytest.mark.parametrize(
    ("act", "wrong"),
    [
        pytest.param(lambda world: world.change(vmi("bad", interfaces={"net1": ["10.1.0.5"]})), 1, id="changes"),
        pytest.param(lambda world: world.delete("prod/bad"), 0, id="goes"),
        pytest.param(lambda world: world.change(vmi("bad", interfaces={})), 0, id="loses-its-address"),
        pytest.param(lambda world: world.change(vmi("bad", alive=False)), 0, id="stops"),
    ],
)
def test_a_refused_name_follows_changes_of_its_vmi(act: Callable[[World], None], wrong: int) -> None:
    server = Server()
    server.refuses = {BAD_NAME: REFUSED}
    world = World(server)
    world.report(OK, vmi("bad"))
    world.run(1.0)
    assert causes(world) == {Cause.PERMISSION: 1}
    tries = sum(BAD_NAME in names for _, names, _ in world.messages)
    act(world)
    world.run(1.0)
    if wrong:
        assert causes(world) == {Cause.PERMISSION: 1}
        assert sum(BAD_NAME in names for _, names, _ in world.messages) > tries, "another change is tried at once"
    else:
        assert not [name for name in world.reconciler.refusals.names() if world.reconciler.desired.get(name) is None]


def test_a_refused_name_is_not_sent_before_its_retry() -> None:
    world = refusing("net1.bad")
    world.run(1.0)
    tries = sum(BAD_NAME in names for _, names, _ in world.messages)
    for number in range(10):
        world.change(vmi("ok", interfaces={"net1": [f"10.2.1.{number}"]}))
        world.run(0.2)
    world.report(*world.vmis.values())
    world.run(0.1)
    assert sum(BAD_NAME in names for _, names, _ in world.messages) == tries


def test_a_temporary_failure_is_retried_once_before_it_counts() -> None:
    world = refusing("net1.bad", rcode=SERVFAIL, others=[vmi("bad")])
    while not world.messages:
        world.step()
    world.server.refuses.clear()
    world.run(1.0)
    assert not world.wrong()
    assert not any(isinstance(fact, Refused) for fact in world.facts)


def test_an_accepted_canary_shows_that_only_the_names_are_refused() -> None:
    world = World(Server())
    world.report(OK)
    world.run(5.0)
    world.server.refuses_name = lambda name: REFUSED if b"bad" in name else 0
    world.change(vmi("bad"))
    world.run(4.0)
    assert any(send.canary is not None for send in world.sent())
    assert not refuses_all(world)
    assert causes(world) == {Cause.PERMISSION: 2}
    assert not any(change.name == OK_NAME for send in world.sent()[1:] for change in changes_of(send))
    assert world.server.get(OK_NAME) == world.wanted()[OK_NAME], "the canary changes nothing"


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("moving", [1, 2, 5])
def test_a_name_whose_prerequisites_never_hold_is_refused_alone(others: int, moving: int) -> None:
    world = World(Server())
    world.report(*(vmi(f"v{number}", interfaces={"net1": ["10.1.0.1"]}) for number in range(moving)))
    world.run(5.0)
    bad = {n(f"net1.v{number}.prod.vm.example.") for number in range(moving)}
    world.server.rewrites = lambda item: item.with_rrsets([a("192.0.2.9")], types=(1,)) if item.name in bad else item
    world.change(
        *(vmi(f"v{number}", interfaces={"net1": ["10.1.0.2"]}) for number in range(moving)),
        *(vmi(f"other{number}") for number in range(others)),
    )
    world.run(0.1)
    assert world.wrong() <= bad
    world.run(30.0)
    assert causes(world) == {Cause.CHANGING: moving}
    assert world.reconciler.settled
    assert not world.reconciler.updates.attempts
    assert len(world.messages) < 20 + 12 * moving
    assert not refuses_all(world)
    world.server.rewrites = None
    world.run(TIMING.longest_retry)
    assert not world.wrong()


def test_a_plan_for_one_event_contains_only_its_names() -> None:
    world = World(Server())
    world.report(OK, *(vmi(f"v{number}") for number in range(200)))
    world.run(5.0)
    world.change(MOVED)
    world.run(0.1)
    dirty = [fact.dirty for fact in world.facts if isinstance(fact, Planned) and fact.dirty]
    assert dirty[-1] == {OK_NAME, n("net1.ok.prod.vm.example.")}
    assert isinstance(world.sent()[-1], Send)
