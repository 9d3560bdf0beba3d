# SPDX-License-Identifier: Apache-2.0
"""All failures at once for a while: the zone is never wrong, and finally matches the VMIs.

SOAK_SECONDS (20), SOAK_VMIS (300) and SOAK_SEED set length, size and random seed; SOAK_PRIMARY=knot uses Knot.
"""

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.kube import VMIS, Drop, Kube, Noise, Reply, Stall
from harness.servers import Server
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.cluster.timing import ApiTiming, WatchTiming
from ksd_ddns.cluster.timing import Timing as ClusterTiming
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import Running, addresses
from tests.controller.soak import Transfers, Wishes, Witness
from tests.zone.build import VARIED

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
COUNT = int(os.environ.get("SOAK_VMIS", "300"))
SEED = int(os.environ.get("SOAK_SEED", "1"))

HOLD, HELD = 5.0, 1.5
"""Seconds that an address is held; and the minimum time that it is published before it vanishes."""

LAG = 4.0 + COUNT / 1_000
NAMESPACES = 10
ROCKS = 10
"""VMIs that are never deleted: beside their records stand foreign ones."""

HANDLED = 3
"""One VMI in this many is edited by hand; their addresses never vanish.

If an edit removes an address just when it vanishes, and the controller is down, no trace of it is left to hold.
"""

FLAPPERS = 3
SENTINEL = "sentinel.example."
BASE = ".vm.example."

FOREIGN = (
    VARIED
    + """
manual.ns-1.vm  300 A 192.0.2.77
*.wild.ns-1.vm  MX 10 mail.elsewhere.example.
other.ns-2.vm   A 192.0.2.78
other.ns-2.vm   TXT "heritage=ksd-ddns,owner=another,vmi=ns-2/other"
sentinel        TXT "0"
"""
)

QUICK = Timing(
    cluster=ClusterTiming(
        watch=WatchTiming(page=max(50, COUNT // 20), silence=1.0, longest_pause=0.5, at_least=0.2),
        api=ApiTiming(read=2.0),
    ),
    zone=ZoneTiming(longest_pause=0.5, first_retry=0.5),
)


@dataclass
class Machine:
    """A VMI as the soak knows it; `net1` has addresses, or had them, and `net2` may come and go."""

    name: str
    namespace: str
    v4: list[str] = field(default_factory=list)
    v6: list[str] = field(default_factory=list)
    net2: list[str] | None = None
    uid: int = 0
    held_v4: float = 0.0
    held_v6: float = 0.0

    @property
    def owner(self) -> str:
        return f"{self.name}.{self.namespace}{BASE}"

    def interfaces(self) -> dict[str, list[str]]:
        found = {"net1": [*self.v4, *self.v6]}
        if self.net2 is not None:
            found["net2"] = self.net2
        return found

    def expected(self) -> dict[str, set[str]]:
        """Return the records expected for it once no address is held."""
        found = {f"net1.{self.owner}": {*self.v4, *self.v6}, f"net2.{self.owner}": set(self.net2 or ())}
        found[self.owner] = {*(self.v4 or self.net2 or ()), *self.v6}
        return {owner: each for owner, each in found.items() if each}


class Soak:
    """The cluster, the wanted addresses, and all events that can happen."""

    def __init__(self, kube: Kube, chance: random.Random) -> None:
        self.kube = kube
        self.chance = chance
        self.wishes = Wishes()
        self.machines: dict[str, Machine] = {}
        self.done: Counter[str] = Counter()
        self._number = 0

    def address(self, octets: int) -> str:
        self._number += 1
        number = self._number
        if octets == 4:
            return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        return str(ip_address((0xFD00 << 112) + number))

    def new(self, name: str) -> Machine:
        count = self.chance.randint(1, 2)
        machine = Machine(name, f"ns-{self.chance.randrange(NAMESPACES)}")
        machine.v4 = [self.address(4) for _ in range(count)]
        machine.v6 = [self.address(6)] if self.chance.random() < 0.7 else []
        machine.net2 = [self.address(4)] if self.chance.random() < 0.3 else None
        return machine

    def put(self, machine: Machine) -> None:
        """Put the current state of `machine` into the cluster."""
        before = time.monotonic()
        known = self.machines.get(machine.name)
        machine = replace(machine)
        if known and known.uid == machine.uid:
            machine.held_v4 = before + HELD if known.v4 and not machine.v4 else known.held_v4
            machine.held_v6 = before + HELD if known.v6 and not machine.v6 else known.held_v6
        else:
            machine.held_v4 = machine.held_v6 = 0.0
            self._wish(replace(machine, v4=[], v6=[], net2=None), before)
        self.kube.put(vmi(machine.name, machine.namespace, machine.interfaces(), uid=f"{machine.name}-{machine.uid}"))
        self.machines[machine.name] = machine
        self._wish(machine, before)

    def _wish(self, machine: Machine, before: float) -> None:
        owner = machine.owner
        self.wishes.set(f"net1.{owner}", "A", machine.v4, before=before, until=machine.held_v4)
        self.wishes.set(f"net1.{owner}", "AAAA", machine.v6, before=before, until=machine.held_v6)
        self.wishes.set(f"net2.{owner}", "A", machine.net2 or (), before=before)
        # The addresses of the default record depend on held ones, but it always has some.
        some = bool(machine.v4 or machine.net2)
        self.wishes.set(owner, "A", ["some"] if some else (), before=before, until=machine.held_v4)
        self.wishes.set(owner, "AAAA", ["some"] if machine.v6 else (), before=before, until=machine.held_v6)

    def delete(self, machine: Machine) -> None:
        before = time.monotonic()
        self.kube.delete(machine.namespace, machine.name)
        del self.machines[machine.name]
        self._wish(replace(machine, v4=[], v6=[], net2=None, held_v4=0.0, held_v6=0.0), before)

    def any(self, *, handled: bool | None = None) -> Machine:
        """Return a copy of some machine, either of those edited by hand or of the others."""
        while True:
            number = self.chance.randrange(COUNT)
            if f"vm-{number}" in self.machines and handled in {None, number % HANDLED == 0}:
                return replace(self.machines[f"vm-{number}"])

    # What VMIs do

    def create(self) -> None:
        name = f"vm-{self.chance.randrange(COUNT)}"
        if name not in self.machines:
            self.put(self.new(name))

    def remove(self) -> None:
        self.delete(self.any())

    def recreate(self) -> None:
        """Delete it, and create another one with its name, without an address or with the same one."""
        machine = self.any()
        if self.chance.random() < 0.5:
            self.delete(machine)
        machine.uid += 1
        if self.chance.random() < 0.5:
            machine.v4, machine.v6 = [], []
        self.put(machine)

    def change(self) -> None:
        machine = self.any()
        if self.chance.random() < 0.7:
            machine.v4 = [self.address(4) for _ in range(self.chance.randint(1, 3))]
        if self.chance.random() < 0.3:
            machine.v6 = [self.address(6)]
        self.put(machine)

    def vanish(self) -> None:
        machine = self.any(handled=False)
        machine.v4 = [] if self.chance.random() < 0.8 else machine.v4
        machine.v6 = [] if self.chance.random() < 0.8 else machine.v6
        self.put(machine)

    def blink(self) -> None:
        """Remove all addresses and restore them, as a restart of the guest agent does."""
        machine = self.any(handled=False)
        self.put(replace(machine, v4=[], v6=[]))
        if self.chance.random() < 0.5:
            time.sleep(self.chance.random() * 0.1)
        self.put(machine)

    def come_back(self) -> None:
        machine = self.any()
        if not machine.v4:
            machine.v4 = [self.address(4)]
            self.put(machine)

    def second_interface(self) -> None:
        machine = self.any()
        machine.net2 = [self.address(4)] if machine.net2 is None else None
        self.put(machine)

    def flap(self) -> None:
        machine = replace(self.machines[f"flap-{self.chance.randrange(FLAPPERS)}"])
        for _ in range(3):
            machine.v4 = [self.address(4)]
            self.put(machine)

    def heartbeats(self) -> None:
        for machine in [self.any() for _ in range(20)]:
            self.kube.bump(machine.namespace, machine.name)

    # What clusters do

    def cut(self) -> None:
        self.kube.cut_watches()

    def end(self) -> None:
        self.kube.end_watches()

    def freeze(self) -> None:
        self.kube.freeze_watches()

    def relist(self) -> None:
        self.kube.fail_watches(410)

    def compact(self) -> None:
        """Cut the watch so that it cannot resume."""
        self.kube.compact()
        self.kube.cut_watches()

    def broken_list(self) -> None:
        faults = (Reply.status(500), Reply.garbage(), Drop(sent=100_000), Stall(sent=100_000), Reply.throttled(1))
        self.kube.fault(self.chance.choice(faults), verb="list", skip=self.chance.randrange(1, 4))
        self.kube.fail_watches(410)

    def broken_watch(self) -> None:
        faults = (Reply.status(500), Reply.status(401), Noise(), Drop(), Reply.expired())
        self.kube.fault(self.chance.choice(faults), verb="watch", times=self.chance.randint(1, 4))
        self.kube.cut_watches()

    def api_gone(self) -> None:
        self.kube.stop()
        time.sleep(self.chance.random() * 0.5)
        self.kube.start()


class Hand:
    """A person whose key has the same permissions, and who edits our records."""

    def __init__(self, soak: Soak, transfers: Transfers, witness: Witness) -> None:
        self._soak = soak
        self._transfers = transfers
        self._witness = witness
        self._count = 0

    def edit(self) -> None:
        machine = self._soak.any(handled=True)
        owner = self._soak.chance.choice([machine.owner, f"net1.{machine.owner}"])
        script = self._soak.chance.choice(
            [
                [("delete", owner, "A", "")],
                [("delete", owner, "A", ""), ("delete", owner, "AAAA", ""), ("delete", owner, "TXT", "")],
                [("add", owner, "A", "192.0.2.66")],
                [("delete", owner, "AAAA", ""), ("add", owner, "AAAA", "2001:db8::bad")],
            ]
        )
        # An addition at a name without our records would be foreign, and stay.
        if script[-1][0] == "add" and not any(
            record.owner == owner and record.type == "TXT" for record in tuple(self._witness.records)
        ):
            return
        self._count += 1
        sentinel = [("delete", SENTINEL, "TXT", ""), ("add", SENTINEL, "TXT", f'"{self._count}"')]
        self._transfers.edit([*script, *sentinel])


@pytest.fixture
def soak_primary(make_bind: Callable[..., Server], make_knot: Callable[..., Server]) -> Server:
    """Return a company's primary whose journal covers the whole test."""
    if os.environ.get("SOAK_PRIMARY") == "knot":
        # The server must not disconnect a slow witness.
        return make_knot(
            zones={"example.": FOREIGN},
            options="tcp-io-timeout: 30000",
            zone_options="acl: all\njournal-max-depth: 100000",
        )
    options = "max-journal-size unlimited; max-ixfr-ratio unlimited; check-names primary ignore;"
    return make_bind(zones={"example.": FOREIGN}, options=options)


@pytest.mark.timeout(SECONDS * 2 + 180)
def test_soak(soak_primary: Server, kube: Kube, run: Run, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    kube.server.bookmark_seconds = 0.3
    soak = Soak(kube, chance)
    for number in range(COUNT):
        soak.put(soak.new(f"vm-{number}"))
    for number in range(ROCKS):
        soak.put(soak.new(f"rock-{number}"))
    for number in range(FLAPPERS):
        soak.put(soak.new(f"flap-{number}"))
    transfers = Transfers(soak_primary, "example.")
    _, foreign = transfers.whole()
    ksd = run(
        soak_primary,
        kube,
        DOMAIN="example",
        OWNER_ID="soak",
        HOLD_DOWN=f"{HOLD:g}s",
        DRIFT_INTERVAL="1s",
        MAX_DELETE_PERCENT="100",  # the limit would hide the effect of half a list
        timing=QUICK,
    )
    began = time.monotonic()
    ksd.wait_ready(seconds=120)
    print(f"{COUNT} VMIs synced in {time.monotonic() - began:.2f} s")
    transfers.edit(
        [
            ("add", f"rock-{n}.{soak.machines[f'rock-{n}'].namespace}{BASE}", "SSHFP", f"4 2 {'ab' * 32}")
            for n in range(ROCKS)
        ]
    )
    with Witness(transfers, soak.wishes, base=BASE, sentinel=SENTINEL, lag=LAG) as witness:
        ours = {r for r in witness.records if r.type == "SSHFP"}
        witness.foreign = {record for record in foreign if record.owner != SENTINEL} | ours
        _shake(soak, ksd, soak_primary, Hand(soak, transfers, witness))
        _calm_down(soak, ksd)
        expected = {owner: each for m in soak.machines.values() for owner, each in m.expected().items()}
        strangers = {"manual.ns-1.vm.example.": {"192.0.2.77"}, "other.ns-2.vm.example.": {"192.0.2.78"}}
        _is_right(ksd, soak_primary, expected | strangers)
    _report(soak, ksd, witness)
    assert witness.failure is None
    assert not witness.wrongs, "\n".join(witness.wrongs[:50])
    assert witness.removals > SECONDS
    _, records = transfers.whole()
    assert witness.foreign <= records
    assert records == witness.records, "the witness has seen everything"
    assert ksd.problems() == {}


def _shake(soak: Soak, ksd: Running, primary: Server, hand: Hand) -> None:
    def kill_controller() -> None:
        ksd.kill()
        time.sleep(soak.chance.random() * 0.5)
        ksd.start()

    def end_controller() -> None:
        assert ksd.stop() == 0
        assert ksd.seconds < 2
        ksd.start()

    def kill_primary() -> None:
        primary.kill()
        time.sleep(soak.chance.random() * 0.5)
        primary.start()

    def pause_primary() -> None:
        with primary.paused():
            time.sleep(soak.chance.random())

    often = {
        soak.create: 20, soak.remove: 12, soak.recreate: 6, soak.change: 30, soak.vanish: 6, soak.blink: 10,
        soak.come_back: 10, soak.second_interface: 5, soak.flap: 3, soak.heartbeats: 5, hand.edit: 6,
    }  # fmt: skip
    seldom = {
        soak.cut: 6, soak.end: 4, soak.freeze: 2, soak.relist: 4, soak.compact: 4, soak.broken_list: 3,
        soak.broken_watch: 4, soak.api_gone: 2, kill_controller: 3, end_controller: 1, kill_primary: 3,
        pause_primary: 1,
    }  # fmt: skip
    # The strongest faults are rare, so that there is activity between them.
    pause = max(0.7, COUNT / 4_000)
    end = time.monotonic() + SECONDS
    next_blow = time.monotonic() + pause
    while time.monotonic() < end:
        what = often
        if time.monotonic() > next_blow:
            what = seldom
            next_blow = time.monotonic() + pause * soak.chance.uniform(0.5, 1.5)
        (action,) = soak.chance.choices(list(what), list(what.values()))
        with contextlib.suppress(OSError):  # of the person, whose edit came while the primary was down
            action()
        soak.done[action.__name__] += 1
        time.sleep(0.01)


def _calm_down(soak: Soak, ksd: Running) -> None:
    soak.kube.faults.clear()
    soak.kube.wait_watches(seconds=60)
    ksd.wait_ready(seconds=60)


def _is_right(ksd: Running, primary: Server, expected: dict[str, set[str]]) -> None:
    """Wait until the zone matches the VMIs: all holds end, and rate limited changes are sent."""
    deadline = time.monotonic() + 60
    wrong: list[str] = ["?"]
    others = set(addresses(primary))
    while wrong and time.monotonic() < deadline:
        time.sleep(0.5)
        found = addresses(primary)
        others = {owner for owner in found if not owner.endswith(BASE)}
        wrong = [
            f"{owner}: {found.get(owner)} instead of {expected.get(owner)}"
            for owner in sorted((found.keys() | expected.keys()) - others)
            if found.get(owner) != expected.get(owner)
        ]
    assert not wrong, "\n".join(wrong[:20]) + f"\n{ksd.problems()}"


def _report(soak: Soak, ksd: Running, witness: Witness) -> None:
    metrics = ksd.metrics()
    print(f"seed {SEED}, {SECONDS:g} s, {COUNT} VMIs: {dict(soak.done.most_common())}")
    print(
        f"{witness.transactions} transactions, {witness.edits} by hand, {witness.removals} addresses deleted, "
        f"{witness.polls} polls"
    )
    print({name: value for name, value in metrics.items() if "bucket" not in name})
    memory = Path(f"/proc/{ksd.pid}/status").read_text()
    print(next(line for line in memory.splitlines() if line.startswith("VmRSS")))
    print(f"{len(soak.kube.requests(verb='list', resource=VMIS.plural))} pages of lists")
