# SPDX-License-Identifier: Apache-2.0
"""The inventory, event by event: which changes pass at once, which wait, and until when."""

from collections.abc import Callable, Sequence

import msgspec
import pytest

from ksd_ddns.kubevirt.events import VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.zone.desired import Desired, Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.reconciler.inventory import Inventory
from ksd_ddns.zone.reconciler.rate_limit import WINDOW
from ksd_ddns.zone.reconciler.timing import TIMING
from tests.zone.build import live, n, scope, txt_rules, vmi

NAME = n("net1.db.prod.vm.example.")
STEP = 0.1
"""Seconds between two events."""


class World:
    """VMIs and their wanted records; time passes with every event."""

    def __init__(self, rules: Rules | None = None, *, hold_down: float = 0.0) -> None:
        rules = rules or txt_rules()
        self.desired = Desired(rules)
        self.known = Inventory(self.desired, rules, scope(rules), hold_down=hold_down)
        self.live: Live = live()
        self.now = 1000.0

    def put(self, item: Vmi) -> set[bytes]:
        self.now += STEP
        return self.known.handle_change(VmiChanged(item, self.now), self.live, self.now)

    def delete(self, key: str = "prod/db") -> set[bytes]:
        self.now += STEP
        return self.known.handle_deletion(VmiDeleted(key, self.now))

    def list(self, *items: Vmi) -> set[bytes]:
        self.now += STEP
        return self.known.handle_list(VmisListed("", items), self.live, self.now)

    def wait(self, seconds: float) -> set[bytes]:
        self.now += seconds
        return self.known.tick(self.live, self.now)

    def desired_of(self, item: Vmi) -> object:
        """Return what `item` alone wants at NAME."""
        self.desired.put(item)
        return self.desired.get(NAME)

    def shows(self, item: Vmi) -> bool:
        """Whether the wanted records at its names are those of `item`."""
        want = Desired(txt_rules())
        want.put(item)
        return {name: self.desired.get(name) for name in self.desired.names()} == {
            name: want.get(name) for name in want.names()
        }


def address(number: int) -> Vmi:
    return vmi(interfaces={"net1": [f"10.1.0.{number}"]})


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(address, id="address"),
        pytest.param(lambda number: vmi(hostnames=[f"h{number}"]), id="hostname"),
        pytest.param(lambda number: vmi(ttl=5 + number), id="ttl"),
        pytest.param(lambda number: vmi(interfaces={f"net{number}": ["10.1.0.9"]}), id="interface"),
    ],
)
@pytest.mark.parametrize("listed", [False, True], ids=["watched", "listed"])
def test_every_change_is_rate_limited(state: Callable[[int], Vmi], listed: bool) -> None:
    world = World()
    event = world.list if listed else world.put
    world.list(state(0))
    for number in range(1, TIMING.burst + 1):
        assert event(state(number))
        assert world.shows(state(number))
    event(state(11))
    event(state(12))
    assert not world.shows(state(12))
    assert world.known.due is not None
    assert world.wait(TIMING.slowed - 3 * STEP) == set()
    assert world.wait(3 * STEP)
    assert world.shows(state(12))  # only the last one matters
    event(state(13))
    world.wait(TIMING.slowed - 3 * STEP)
    assert world.shows(state(12))
    world.wait(WINDOW)
    assert world.shows(state(13))
    assert world.known.due is None


@pytest.mark.parametrize(
    "off", [vmi(alive=False), vmi(ignored=True), None], ids=["phase", "ignored", "deleted-or-not-selected"]
)
def test_a_flapping_vmi_is_rate_limited_and_deleted_at_once(off: Vmi | None) -> None:
    world = World()
    world.list(vmi())
    for _ in range(TIMING.burst // 2):
        assert world.put(off) if off else world.delete()
        assert len(world.desired) == 0
        assert world.put(vmi())
        assert world.shows(vmi())
    assert world.put(off) if off else world.delete()
    assert len(world.desired) == 0
    assert world.put(vmi()) == set()
    assert len(world.desired) == 0
    # An unpublished change that is reverted is no change, so it adds no delay.
    world.put(off) if off else world.delete()
    world.put(vmi())
    assert world.wait(TIMING.slowed)
    assert world.shows(vmi())
    assert world.put(off) if off else world.delete()
    assert len(world.desired) == 0


def test_a_vmi_missing_from_a_list_counts_as_a_change() -> None:
    world = World()
    for _ in range(TIMING.burst // 2 + 1):
        world.list(vmi())
        assert world.shows(vmi())
        world.list()
        assert len(world.desired) == 0
    world.list(vmi())
    assert len(world.desired) == 0
    world.wait(TIMING.slowed)
    assert world.shows(vmi())


def test_a_deleted_vmi_that_was_rate_limited_does_not_return() -> None:
    world = World()
    world.list(address(0))
    for number in range(1, 15):
        world.put(address(number))
    assert world.delete()
    world.wait(2 * TIMING.slowed)
    assert len(world.desired) == 0


def test_a_rate_limited_vmi_takes_over_a_name_late_and_the_loser_leaves_at_once() -> None:
    world = World(hold_down=300.0)
    world.list(address(0))
    for number in range(1, TIMING.burst + 1):
        world.put(address(number))
    successor = vmi(interfaces={"net1": ["10.1.0.99"]}, uid="another")
    assert world.put(successor)
    assert len(world.desired) == 0
    world.wait(TIMING.slowed)
    assert world.shows(successor)


BOTH = ["10.1.0.9", "10.1.0.8"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(vmi(hostnames=["x"]), vmi(), id="hostname"),
        pytest.param(vmi(interfaces={"net1": BOTH}), vmi(interfaces={"net1": BOTH[:1]}), id="address"),
        pytest.param(vmi(interfaces={"net1": ["10.1.0.9"], "net2": ["10.1.0.8"]}), vmi(), id="interface"),
    ],
)
def test_removing_records_is_not_rate_limited(before: Vmi, after: Vmi) -> None:
    world = World()
    world.list(address(0))
    for number in range(1, TIMING.burst):
        world.put(address(number))
    world.put(before)
    assert world.put(after)
    assert world.shows(after)
    assert world.put(before) == set()


@pytest.mark.parametrize(
    ("states", "rules"),
    [
        pytest.param([vmi(hostnames=["a..b"]), vmi(hostnames=["c..d"])], {}, id="what-cannot-be-published"),
        pytest.param([vmi(hostnames=["a", "b"]), vmi(hostnames=["a", "c"])], {"max_names": 3}, id="over-a-limit"),
        pytest.param([vmi(), vmi(interfaces={})], {"hold_down": 300.0}, id="what-is-held"),
    ],
)
def test_a_change_without_effect_is_not_counted(states: Sequence[Vmi], rules: dict[str, object]) -> None:
    hold_down = rules.pop("hold_down", 0.0)
    assert isinstance(hold_down, float)
    world = World(txt_rules(**rules), hold_down=hold_down)
    networks = vmi().networks
    world.list(vmi())
    for number in range(5 * TIMING.burst):
        state = states[number % 2]
        world.put(msgspec.structs.replace(state, networks=networks))
    world.put(address(1))
    assert world.desired.get(NAME) == World().desired_of(address(1))


def test_other_vmis_are_not_rate_limited() -> None:
    world = World()
    world.list(address(0), vmi("calm"))
    for number in range(1, 100):
        world.put(address(number))
    assert world.put(vmi("calm", interfaces={"net1": ["10.2.0.1"]}))


def test_new_vmis_are_not_counted_as_changes() -> None:
    world = World()
    assert world.list(*(vmi(f"v{number}") for number in range(100)))
    assert len(world.desired) == 200
    assert world.list(*(vmi(f"v{number}") for number in range(200)))
    assert len(world.desired) == 400
