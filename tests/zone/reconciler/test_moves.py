# SPDX-License-Identifier: Apache-2.0
"""Names move without a gap: an old name is deleted when a new one is in DNS."""

from collections.abc import Callable

import pytest

from ksd_ddns.zone.desired import Rules, template
from ksd_ddns.zone.plan import Kind, Ownership, full
from ksd_ddns.zone.reconciler import Options
from ksd_ddns.zone.reconciler.events import Planned
from ksd_ddns.zone.update import Batch, Limits
from tests.zone.build import a, live, n, node, scope, txt_rules, vmi, wanted, zone_rules
from tests.zone.reconciler.model import REFUSED, Server, World

OLD_VMS = tuple(vmi(f"vm{index}", interfaces={"net1": [f"10.1.0.{index}"]}) for index in range(12))
ONE_BY_ONE = Limits(names=1)


def moved(rules: Rules) -> Rules:
    """Return `rules` with other templates."""
    given = {name: getattr(rules, name) for name in rules.__struct_fields__}
    new = {
        "interface_name": template("{vm}-{interface}.{namespace}"),
        "default_name": template("{vm}-main.{namespace}"),
    }
    return Rules(**{**given, **new})


def names_of(index: int, *, new: bool) -> set[bytes]:
    """Return the names of a VM before or after the move."""
    labels = (f"vm{index}-main", f"vm{index}-net1") if new else (f"vm{index}", f"net1.vm{index}")
    return {n(f"{label}.prod.vm.example.") for label in labels}


def world(rules: Rules, *, limits: Limits | None = None, signed: bool = False) -> World:
    """Return a zone with the old names, and a controller for the new ones that has not listed the VMIs."""
    settings: dict[str, object] = {}
    if not rules.owner:
        settings["ownership"] = Ownership.ZONE
    before = wanted(*OLD_VMS, rules=rules)
    nodes = [found for name in before.names() if (found := before.get(name))]
    server = Server(*nodes, signed=signed, zone=rules.zone)
    return World(
        server,
        rules=moved(rules),
        options=Options(max_delete_percent=30),
        settings=settings,
        limits=limits or Limits(),
    )


def watched(of: World) -> list[int]:
    """Return a list that gets the VMs that are without a name after any message."""
    lost: list[int] = []

    def look(_: Batch) -> None:
        there = of.server.nodes
        lost.extend(
            index
            for index in range(12)
            for old, new in zip(sorted(names_of(index, new=False)), sorted(names_of(index, new=True)), strict=True)
            if old not in there and new not in there
        )

    of.after_update = look
    return lost


@pytest.mark.parametrize("rules", [txt_rules(), zone_rules()], ids=["txt", "zone"])
@pytest.mark.parametrize("limits", [ONE_BY_ONE, Limits(names=5), Limits()], ids=["1", "5", "500"])
def test_all_names_move_without_a_gap_and_without_the_deletion_limit(rules: Rules, limits: Limits) -> None:
    of = world(rules, limits=limits)
    lost = watched(of)
    of.report(*OLD_VMS)
    of.run()
    assert not lost
    new = {name for index in range(12) for name in names_of(index, new=True)}
    assert of.server.nodes.keys() - {of.server.zone} == new
    assert of.reconciler.settled
    (first, *_) = [fact.plan for fact in of.facts if isinstance(fact, Planned)]
    assert (first.count(Kind.ADD), first.count(Kind.DELETE), first.blocked) == (24, 24, ())
    kinds = [change.kind for change in first.changes]
    assert kinds == [Kind.ADD] * 24 + [Kind.DELETE] * 24


def test_a_refused_new_name_keeps_the_old_one_until_another_is_in_dns() -> None:
    of = world(txt_rules())
    for name in names_of(3, new=True):
        of.server.refuses[name] = REFUSED
    of.report(*OLD_VMS)
    of.run(1.0)
    there = of.server.nodes.keys()
    assert names_of(3, new=False) <= there
    assert not any(names_of(index, new=False) & there for index in range(12) if index != 3)
    assert of.reconciler.settled
    of.server.refuses.pop(n("vm3-main.prod.vm.example."))
    of.run(7200.0)
    assert n("vm3-main.prod.vm.example.") in of.server.nodes
    assert not names_of(3, new=False) & of.server.nodes.keys()  # the VM has a name again


CHANGES: dict[str, Callable[[World], None]] = {
    "deleted": lambda of: of.delete("prod/vm3"),
    "another address": lambda of: of.change(vmi("vm3", interfaces={"net1": ["10.9.0.3"]})),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_kept_old_name_goes_when_it_is_wrong(change: Callable[[World], None]) -> None:
    of = world(txt_rules())
    for name in names_of(3, new=True):
        of.server.refuses[name] = REFUSED
    of.report(*OLD_VMS)
    of.run(1.0)
    assert names_of(3, new=False) <= of.server.nodes.keys()
    change(of)
    of.run(1.0)
    assert not names_of(3, new=False) & of.server.nodes.keys()


def test_a_new_name_that_is_accepted_and_not_shown_keeps_the_old_one() -> None:
    of = world(txt_rules())
    of.server.drops = names_of(3, new=True)
    lost = watched(of)
    of.report(*OLD_VMS)
    of.run(600.0)
    assert not lost
    assert names_of(3, new=False) <= of.server.nodes.keys()
    assert not names_of(2, new=False) & of.server.nodes.keys()


def test_a_new_name_in_conflict_keeps_the_old_one_until_it_is_free() -> None:
    of = world(txt_rules())
    for name in names_of(3, new=True):
        of.server.put(node(name, a("192.0.2.1")))
    of.report(*OLD_VMS)
    of.run(1.0)
    assert names_of(3, new=False) <= of.server.nodes.keys()
    for name in names_of(3, new=True):
        of.server.put(node(name))
    of.run(7200.0)
    assert not names_of(3, new=False) & of.server.nodes.keys()
    assert names_of(3, new=True) <= of.server.nodes.keys()


@pytest.mark.parametrize("rules", [txt_rules(), zone_rules()], ids=["txt", "zone"])
def test_a_restart_in_the_middle_moves_on(rules: Rules) -> None:
    of = world(rules)
    lost = watched(of)
    of.report(*OLD_VMS)
    of.step()  # reads the zone
    of.step()  # sends the new names
    assert names_of(3, new=True) | names_of(3, new=False) <= of.server.nodes.keys()
    of.start()
    of.report(*OLD_VMS)
    of.run(1.0)
    assert not lost
    assert not of.reconciler.deletions.blocked
    new = {name for index in range(12) for name in names_of(index, new=True)}
    assert of.server.nodes.keys() - {of.server.zone} == new


@pytest.mark.parametrize("rules", [txt_rules(), zone_rules()], ids=["txt", "zone"])
@pytest.mark.parametrize(("name", "namespace"), [("vm", "prod"), ("vm3", "example")], ids=["name", "namespace-in-base"])
def test_after_a_restart_in_the_middle_missing_vms_keep_all_their_names(
    name: str, namespace: str, rules: Rules
) -> None:
    # Another VM, also one that has its address, says nothing about a VM that is missing in the list.
    double = vmi(name, namespace, interfaces={"net1": [f"10.1.0.{index}" for index in range(12)]})
    of = world(rules)
    of.report(*OLD_VMS, double)
    of.step()
    of.step()
    of.start()
    of.report(double)
    of.run(1.0)
    kept = {name for index in range(12) for new in (True, False) for name in names_of(index, new=new)}
    assert kept <= of.server.nodes.keys()
    assert of.reconciler.deletions.blocked.keys() == kept


def test_a_hostname_that_changes_moves_too() -> None:
    of = World(Server())
    of.report(vmi(hostnames=["web"], interfaces={"net1": ["10.1.0.1"]}))
    of.run(1.0)
    of.change(vmi(hostnames=["www"], interfaces={"net1": ["10.1.0.1"]}))
    of.run(1.0)
    assert n("www.prod.vm.example.") in of.server.nodes
    assert n("web.prod.vm.example.") not in of.server.nodes
    assert of.messages[-1][1] == (n("web.prod.vm.example."),)


def test_the_address_of_another_vm_is_no_move() -> None:
    rules = txt_rules()
    before = wanted(vmi("old"), rules=rules)
    nodes = [found for name in before.names() if (found := before.get(name))]
    plan = full(wanted(vmi("new"), rules=rules), live(*nodes), scope(rules))
    assert not plan.moves
