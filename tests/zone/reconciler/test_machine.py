# SPDX-License-Identifier: Apache-2.0
"""Invariants of a reconciler on a model server, with changing VMIs and every known fault."""

import os
from collections.abc import Callable
from typing import Any, ClassVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT, Node, rrset
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import desired
from ksd_ddns.zone.index import Index
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Kind, Read, Scope
from ksd_ddns.zone.reconciler import Options
from ksd_ddns.zone.reconciler.events import NotifyReceived
from ksd_ddns.zone.update import Batch, Limits
from tests.zone.build import BASE, OWNER, a, mark, n, node, sshfp, txt, txt_rules, vmi
from tests.zone.reconciler.model import NOTAUTH, REFUSED, SERVFAIL, Server, World

EXAMPLES = int(os.environ.get("RECONCILER_EXAMPLES", "150"))
STEPS = int(os.environ.get("RECONCILER_STEPS", "30"))
INDEX = Index(BASE, OWNER)

VMIS = ["a", "b", "c", "d"]
LABELS = [*VMIS, "net1.a", "net1.b", "net1.c", "net_2.a", "net_2.b", "h", "foreign"]
NAMES = [n(f"{label}.prod.vm.example.") for label in LABELS]
ADDRESSES = [["10.0.0.1"], ["10.0.0.2"], ["10.0.0.1", "10.0.0.2"], ["fd00::1"]]
INTERFACES = st.dictionaries(st.sampled_from(["net1", "net_2"]), st.sampled_from(ADDRESSES), max_size=2)
STATES = st.builds(
    vmi,
    st.sampled_from(VMIS),
    interfaces=INTERFACES,
    created=st.integers(1, 2),
    ttl=st.sampled_from([None, 30, 300]),
    hostnames=st.sampled_from([(), (), ("h",), ("foreign",)]),
)
FOREIGN = st.sampled_from(
    [
        (a("192.0.2.1"),),
        (txt("an admin's"),),
        (sshfp(),),
        (a("192.0.2.1"), txt("an admin's")),
        (a("192.0.2.1"), txt(mark("prod/x", owner="other"))),
        (),
    ]
)


def _foreign(item: Node) -> set[tuple[int, bytes]]:
    """Return the records at a name that are not ours."""
    text = item.get(TXT)
    marks = [rdata for rdata in text.rdatas if b"owner=test," in rdata] if text else []
    others = any(b"owner=other," in rdata for rdata in text.rdatas) if text else False
    ours = {TXT} if others else {1, 28}
    return {
        (each.type, rdata)
        for each in item.rrsets
        for rdata in each.rdatas
        if rdata not in marks and not (marks and each.type in ours)
    }


class Machine(RuleBasedStateMachine):
    """Events and faults in any order."""

    settings: ClassVar[dict[str, object]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.fresh = 0
        self.before: dict[bytes, Node] = {}
        self.kept: Live | None = None

    @hypothesis.stateful.initialize(
        signed=st.booleans(),
        names=st.sampled_from([1, 3, 500]),
        hold=st.sampled_from([0.0, 20.0]),
        listed=st.lists(STATES, max_size=4, unique_by=lambda item: item.key),
        there=st.dictionaries(st.sampled_from(NAMES), FOREIGN, max_size=3),
    )
    def begin(self, signed: bool, names: int, hold: float, listed: list[Any], there: dict[bytes, Any]) -> None:
        server = Server(*(node(name, *found) for name, found in there.items() if found), signed=signed)
        self.world = World(
            server,
            rules=txt_rules(),
            settings=self.settings,
            options=Options(max_delete_percent=100, hold_down=hold),
            limits=Limits(names=names),
        )
        self.world.on_update, self.world.after_update = self._look, self._compare
        self.churned: dict[str, float] = {}
        self.world.report(*listed)

    # What updates may do

    def _look(self, batch: Batch) -> None:
        self.before = self.world.server.nodes
        wanted = self.world.wanted()
        for change in batch.changes:
            if change.kind is Kind.DELETE and change.name in wanted:
                vmi_of = self.world.reconciler.desired.vmi_of(change.name)
                recent = any(at > self.world.now - 120 for at in self.churned.values())
                assert recent or vmi_of, f"{change.name!r} was deleted and is wanted"

    def _compare(self, _: Batch) -> None:
        after = self.world.server.nodes
        for name, item in self.before.items():
            lost = _foreign(item) - _foreign(after.get(name) or Node(name))
            assert not lost or name in self.world.server.drops, f"{name!r} lost {lost}"
        for name in after.keys() - self.before.keys():
            assert name in {each.name for each in after.values()}

    # VMIs

    @rule(state=STATES)
    def change(self, state: Any) -> None:
        self.churned[state.key] = self.world.now
        self.world.change(state)

    @rule(name=st.sampled_from(VMIS))
    def delete(self, name: str) -> None:
        self.churned[f"prod/{name}"] = self.world.now
        self.world.delete(f"prod/{name}")

    @rule()
    def relist(self) -> None:
        self.world.report(*self.world.vmis.values())

    @rule()
    def restart(self) -> None:
        self.world.start()
        for name in VMIS:
            self.churned[name] = self.world.now
        self.world.report(*self.world.vmis.values())

    @rule(reason=st.sampled_from(["cannot list", ""]))
    def source(self, reason: str) -> None:
        self.world.fail_source("", reason)

    # Faults

    @rule(name=st.sampled_from(NAMES), rcode=st.sampled_from([REFUSED, SERVFAIL, NOTAUTH, 1]))
    def refuse(self, name: bytes, rcode: int) -> None:
        self.world.server.refuses[name] = rcode

    @rule(name=st.sampled_from(NAMES))
    def accept(self, name: bytes) -> None:
        self.world.server.refuses.pop(name, None)

    @rule(rcode=st.sampled_from([REFUSED, SERVFAIL, 0, 0]))
    def freeze(self, rcode: int) -> None:
        self.world.server.frozen = rcode

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: bytes) -> None:
        self.world.server.drops ^= {name}

    @rule(fault=st.sampled_from(["drops_txt", "keeps_ttl", "hides", "stands", "whole_only", "down"]), on=st.booleans())
    def fault(self, fault: str, on: bool) -> None:
        setattr(self.world.server, fault, on)
        if fault == "hides" and not on:
            self.world.server.show()

    @rule(most=st.sampled_from([None, 40]))
    def lower(self, most: int | None) -> None:
        self.world.server.max_ttl = most

    @rule(before=st.integers(0, 2), after=st.integers(0, 2))
    def lose(self, before: int, after: int) -> None:
        self.world.server.loses, self.world.server.loses_answers = before, after

    @rule(name=st.sampled_from(NAMES), found=FOREIGN)
    def edit(self, name: bytes, found: Any) -> None:
        self.world.server.put(node(name, *found))

    @rule(name=st.sampled_from(NAMES), found=FOREIGN)
    def race(self, name: bytes, found: Any) -> None:
        """Change a name between the read and the next update."""
        look = self._look

        def race(batch: Batch) -> None:
            self.world.on_update = look
            self.world.server.put(node(name, *found))
            look(batch)

        self.world.on_update = race

    @rule(serial=st.integers(1, 10), same=st.booleans())
    def replace(self, serial: int, same: bool) -> None:
        """Switch to another server, which has its own zone."""
        server = self.world.server
        server.restore([item for name, item in server.nodes.items() if name != server.zone and same], serial)
        self.world.other_server = True

    @rule()
    def backup(self) -> None:
        self.kept = Live(self.world.server.zone, self.world.server.shown_serial, self.world.server.nodes)

    @precondition(lambda self: self.kept is not None)
    @rule()
    def restore(self) -> None:
        assert self.kept is not None
        nodes = [item for name, item in self.kept.nodes.items() if name != self.world.server.zone]
        self.world.server.restore(nodes, self.kept.serial)

    @rule()
    def reconnect(self) -> None:
        self.world.reconnected = True

    @rule()
    def notify(self) -> None:
        self.world.handle(NotifyReceived())

    # Time

    @rule(seconds=st.sampled_from([0.0, 0.0, 0.5, 3.0, 40.0, 700.0]))
    def run(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule()
    def step(self) -> None:
        self.world.step()

    @precondition(lambda self: not self._zone_wide())
    @rule()
    def publish_another(self) -> None:
        """Publish another VMI: it is published at once, whatever is refused, dropped or shown late."""
        world = self.world
        world.run(0.0)
        if world.reconciler.acceptance.refuses or world.reconciler.problem is not None:
            return
        self.fresh += 1
        world.change(vmi(f"fresh{self.fresh}", interfaces={"net1": ["10.3.0.1"]}))
        sends = len(world.sent())
        world.run(0.0)
        assert world.server.get(n(f"fresh{self.fresh}.prod.vm.example.")).rrsets
        assert len(world.sent()) <= sends + 8
        world.delete(f"prod/fresh{self.fresh}")

    def _zone_wide(self) -> bool:
        server, reconciler = self.world.server, self.world.reconciler
        lost = server.loses or server.loses_answers
        return bool(
            server.frozen
            or server.down
            or server.drops_txt
            or lost
            or self.world.other_server
            or server.hides
            or (server.whole_only)
            or not (reconciler.sources.usable or reconciler.reads.live is None)
            or self.world.on_update != self._look
        )

    @invariant()
    def pending_is_finite(self) -> None:
        if hasattr(self, "world"):
            assert self.world.reconciler.updates.pending >= 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self._check_quiet()

    def _check_quiet(self) -> None:
        world, server = self.world, self.world.server
        world.on_update = self._look
        server.refuses, server.drops, server.frozen = {}, set(), 0
        server.max_ttl = None
        server.drops_txt = server.keeps_ttl = server.hides = server.stands = server.whole_only = server.down = False
        server.loses = server.loses_answers = 0
        server.show()
        world.fail_source("", "")
        world.run(2 * 3600.0, most=100)
        assert world.reconciler.settled, world.actions[-10:]
        wanted = desired(world.vmis.values(), world.rules)
        live = Live(server.zone, 0, server.nodes)
        plan = planning.full(wanted, live, world.reconciler.scope)
        # A name whose successors are all in conflict stays.
        assert {change.name for change in plan.changes} <= set(plan.moves), plan.changes
        assert not world.reconciler.refusals
        assert not world.reconciler.acceptance.refuses
        assert world.reconciler.problem is None
        self._check_live()

    def _check_live(self) -> None:
        assert self.world.reconciler.live.nodes == self.world.server.nodes


class QueriesMachine(Machine):
    """The same in a zone that is read by queries."""

    settings: ClassVar[dict[str, object]] = {"read": Read.QUERIES, "excluded": (INDEX.head,)}

    @rule()
    def drop(self) -> None:
        """No server drops a deletion, but not that of the name in the index."""

    @rule(number=st.integers(0, 63))
    def damage(self, number: int) -> None:
        """Delete a shard, with all names in it still wanted."""
        if self.world.reconciler.settled and not self.world.wrong() - self._index_names():
            self.world.server.put(Node(INDEX.all_shards(64)[number]))

    @rule(name=st.sampled_from([*NAMES, n("elsewhere.example.")]))
    def forge(self, name: bytes) -> None:
        """List a name that may not be ours."""
        shard, rdata = INDEX.entry(name, 64)
        found = self.world.server.get(shard).get(TXT)
        self.world.server.put(Node(shard, (rrset(TXT, 300, [*(found.rdatas if found else ()), rdata]),)))

    def _index_names(self) -> set[bytes]:
        return {name for name in self.world.server.nodes if names.is_below(name, INDEX.head)}

    def _check_live(self) -> None:
        nodes = self.world.server.nodes
        listed = [
            name
            for shard in INDEX.all_shards(64)
            for name, _ in INDEX.entries(shard, (nodes.get(shard) or Node(shard)).get(TXT))
        ]
        ours = {name for name, item in nodes.items() if planning.is_owned(item, *self._view())}
        assert len(listed) == len(set(listed))
        assert ours <= set(listed)
        # A name in conflict stays listed until it is free.
        assert set(listed) - ours <= set(self.world.reconciler.desired.names())
        for name, item in self.world.reconciler.live.nodes.items():
            assert item.rrsets == (nodes.get(name) or Node(name)).rrsets

    def _view(self) -> tuple[Live, Scope]:
        return Live(self.world.server.zone, 0, self.world.server.nodes), self.world.reconciler.scope


MachineTest: Callable[..., Any] = Machine.TestCase
MachineTest.settings = hypothesis.settings(  # type: ignore[attr-defined]
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)

QueriesTest: Callable[..., Any] = QueriesMachine.TestCase
QueriesTest.settings = MachineTest.settings  # type: ignore[attr-defined]
