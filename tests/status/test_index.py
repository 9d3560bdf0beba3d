# SPDX-License-Identifier: Apache-2.0
"""The index of VMs: each row is what the controller knows, after every kind of change."""

from random import Random

import msgspec
import pytest

from ksd_ddns.kubevirt.groups import Membership
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.status.view import NOTHING, Views, VmView
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.plan import ConflictCause
from ksd_ddns.zone.reconciler.refusals import Cause
from tests.status.site import Site, fleet, underscores
from tests.status.test_page import text_of
from tests.zone.build import REVERSE, a, n, node, ptr, sshfp, vmi
from tests.zone.reconciler.model import REFUSED, Server

DB = vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]})
NAME = n("net1.db.prod.vm.example.")


def view(site: Site, key: str = "prod/db") -> VmView:
    return VmView(site.row(key))


def without(of: Vmi, interface: str) -> Vmi:
    """Return the VMI when its guest no longer reports the addresses of `interface`."""
    kept = tuple(each for each in of.interfaces if each.name != interface)
    return msgspec.structs.replace(of, interfaces=kept)


def test_a_vm_that_is_published() -> None:
    site = Site()
    site.report(DB, vmi("idle", "prod", {}))
    found = view(site)
    assert (found.states, found.in_dns, found.wanted) == ((State.PUBLISHED,), 3, 3)
    assert found.changed is not None
    assert view(site, "prod/idle").states == (NOTHING,)
    assert site.index.times()[0].names == 3
    site.main.delete("prod/db")
    site.run()
    assert site.index.get("prod/db") is None
    assert site.index.times()[0].names == 0


def test_a_name_that_vms_share_counts_once() -> None:
    """Of VMs that come and go in any order, change their addresses, groups and readiness."""
    site, random = Site(Server(), Server(zone=REVERSE)), Random(1)
    most = [0, 0]
    site.report()
    for _ in range(150):
        key, address = f"vm-{random.randrange(5)}", f"10.1.0.{random.randrange(3)}"
        if random.random() < 0.3:
            for zone in site.zones:
                zone.world.delete(f"prod/{key}")
        else:
            member = msgspec.structs.replace(
                vmi(key, "prod", {"net1": [address]}, created=random.randrange(3)),
                groups=tuple(Membership(group) for group in ("web", "db") if random.random() < 0.5),
                ready=random.random() < 0.7,
            )
            for zone in site.zones:
                zone.world.change(member)
        site.run(30)
        ours = [sum(1 for _ in owned.names()) for owned in site.owned() if owned is not None]
        assert [times.names for times in site.index.times()] == ours
        most = [max(seen, now) for seen, now in zip(most, ours, strict=True)]
    assert min(most) > 2


def test_a_change_waits_while_the_primary_is_down() -> None:
    site = Site()
    site.report(DB)
    site.main.server.down = True
    site.main.change(vmi("db", "prod", {"net1": ["10.1.0.10"], "net2": ["10.2.0.9"]}))
    site.run()
    found = view(site)
    assert found.states == (State.PENDING,)
    assert found.in_dns == 1, "net2 is unchanged"
    site.main.server.down = False
    site.run(60)
    assert view(site).states == (State.PUBLISHED,)


def test_a_name_is_refused_until_it_is_accepted() -> None:
    server = Server()
    server.refuses = {NAME: REFUSED}
    site = Site(server)
    site.report(DB)
    found = view(site)
    assert (found.states, found.cause, found.in_dns) == ((State.REFUSED,), f"refused/{Cause.PERMISSION}", 2)
    assert Cause.PERMISSION in site.index.times()[0].retries
    server.refuses = {}
    site.run(1_000)
    assert view(site).states == (State.PUBLISHED,)
    assert not site.index.times()[0].retries


def test_a_refused_name_that_someone_else_creates_is_published() -> None:
    """The primary accepts no change, and none is needed any longer: there is no answer that would say so."""
    server = Server()
    server.refuses = {NAME: REFUSED}
    site = Site(server)
    site.report(DB)
    wanted = site.main.reconciler.desired.get(NAME)
    assert wanted is not None
    server.put(wanted)
    site.run(1_000)
    assert view(site).states == (State.PUBLISHED,)


@pytest.mark.parametrize("by_us", [True, False], ids=["accepted", "deleted-by-someone"])
def test_a_deletion_is_refused_until_the_name_is_gone(by_us: bool) -> None:
    server = Server()
    site = Site(server)
    site.report(DB)
    server.refuses = {NAME: REFUSED}
    site.main.delete("prod/db")
    site.run(10)
    found = view(site)
    assert (found.states, found.cause) == ((State.REFUSED,), f"refused/{Cause.PERMISSION}")
    assert [problem.name for _, problem in found.problems()] == [NAME]
    with site:
        assert "1 name refused The key lacks permission" in text_of(site.get("/").partition('id="problems"')[2])
    if by_us:
        server.refuses = {}
    else:
        server.put(node(NAME))
    site.run(1_000)
    assert site.index.get("prod/db") is None
    assert footprint(site) == footprint(Site())


def test_a_refused_deletion_does_not_count_as_a_published_name() -> None:
    server = Server()
    site = Site(server)
    site.report(DB, vmi("web", "prod", {"net1": ["10.1.0.8"]}))
    server.refuses = {NAME: REFUSED}
    site.main.delete("prod/db")
    site.run(10)
    with site:
        found = [line for line in site.get("/metrics").splitlines() if "_names{" in line and not line.endswith(" 0.0")]
        assert found == [
            'ksd_ddns_names{state="published",zone="example."} 2.0',
            'ksd_ddns_names{state="refused",zone="example."} 1.0',
            'ksd_ddns_refused_names{cause="permission",zone="example."} 1.0',
        ]
    server.refuses = {}
    site.run(1_000)
    assert site.main.reconciler.refusals.deletions == 0
    assert site.index.times()[0].names == 2


def test_the_refused_deletion_of_one_name_of_a_vm() -> None:
    server = Server()
    site = Site(server)
    site.report(DB)
    server.refuses = {NAME: REFUSED}
    site.report(without(DB, "net1"), seconds=1_000)
    found = view(site)
    assert (found.states, found.in_dns, found.wanted) == ((State.REFUSED,), 2, 2)
    server.refuses = {}
    site.report(DB, seconds=1_000)
    assert view(site).states == (State.PUBLISHED,)


def test_nothing_is_kept_of_vms_that_are_gone() -> None:
    server = Server(node("web.prod.vm.example.", a("10.9.9.9")))
    server.refuses_name = underscores
    site = Site(server)
    site.report()
    before = footprint(site)
    for number in range(3):
        site.main.change(vmi(f"v{number}", "prod", {"a_b": ["10.1.0.9"]}, hostnames=["web"]))
        site.run(2)
        assert view(site, f"prod/v{number}").states == (State.REFUSED, State.CONFLICT)
        site.main.delete(f"prod/v{number}")
        site.run(2)
    assert footprint(site) == before


def footprint(site: Site) -> dict[str, int]:
    """Return how many entries each collection about VMs has."""
    kept = {name: len(value) for name, value in vars(site.zones[0].vms).items() if hasattr(value, "__len__")}
    # When names were last changed is kept by VM; those of deleted VMs share an entry.
    return {**kept, "_changed": 0, "rows": len(site.index.rows())}


def test_a_conflict_lasts_until_the_name_is_free() -> None:
    server = Server(node(NAME, a("10.9.9.9")))
    site = Site(server)
    site.report(DB)
    found = view(site)
    assert (found.states, found.cause) == ((State.CONFLICT,), f"conflict/{ConflictCause.UNOWNED}")
    (problem,) = [problem for _, problem in found.problems()]
    site.main.change(msgspec.structs.replace(DB, ttl=120))
    site.run()
    (later,) = [problem for _, problem in view(site).problems()]
    assert later.since == problem.since, "it is the same conflict"
    server.put(node(NAME))
    site.run(100)
    assert view(site).states == (State.PUBLISHED,)


def test_the_vm_that_loses_a_name_has_the_conflict() -> None:
    site = Site()
    other = vmi("other", "prod", {"net1": ["10.3.0.1"]}, created=2, hostnames=["net1.db"])
    site.report(msgspec.structs.replace(DB, created=1), other)
    assert view(site).states == (State.PUBLISHED,)
    assert view(site, "prod/other").states == (State.CONFLICT,)
    site.main.delete("prod/db")
    site.run()
    assert view(site, "prod/other").states == (State.PUBLISHED,), "the name is free now"


def test_a_vanished_address_is_held_and_then_gone() -> None:
    site = Site()
    site.report(DB)
    site.main.change(without(DB, "net2"))
    site.run()
    found = view(site)
    assert (found.states, found.in_dns) == ((State.HELD,), 3)
    assert [held.interface for held in site.row("prod/db").parts[0].held] == ["net2"]  # type: ignore[union-attr]
    site.run(400)
    assert (view(site).states, view(site).wanted) == ((State.PUBLISHED,), 2)


def test_blocked_deletions_belong_to_vms_that_are_gone() -> None:
    site = Site()
    site.report(*fleet(20))
    site.main.report(*fleet(2))
    site.run()
    found = view(site, "team-19/vm-00019")
    assert (found.states, found.vmi) == ((State.BLOCKED,), None)
    assert len(list(found.problems())) == 2
    site.main.report(*fleet(20))
    site.run()
    assert view(site, "team-19/vm-00019").states == (State.PUBLISHED,)


def test_several_zones_make_one_row() -> None:
    reverse = Server(zone=REVERSE)
    reverse.refuses = {n("9.0.2.10.in-addr.arpa."): REFUSED}
    site = Site(Server(), reverse)
    site.report(DB)
    found = view(site)
    assert (found.in_dns, found.wanted, found.states) == (4, 5, (State.REFUSED,))
    assert [zone for zone, _ in found.problems()] == [1]
    for zone in site.zones:
        zone.world.delete("prod/db")
    site.run()
    assert site.index.get("prod/db") is None


def test_records_of_others_next_to_ours_do_not_matter() -> None:
    server = Server(node(NAME, sshfp()))
    site = Site(server, Server(node(n("9.0.1.10.in-addr.arpa."), ptr("elsewhere.")), zone=REVERSE))
    site.report(DB, vmi("twin", "prod", {"net1": ["10.2.0.9"]}))
    assert view(site).cause == f"conflict/{ConflictCause.UNOWNED}", "the pointer of someone else"
    assert [problem.name for _, problem in view(site).problems()] == [n("9.0.1.10.in-addr.arpa.")]
    assert view(site, "prod/twin").states == (State.PUBLISHED,), "it shares a pointer"


def test_a_ttl_that_the_server_lowers_is_published() -> None:
    server = Server()
    server.max_ttl = 30
    site = Site(server)
    site.report(DB)
    site.run(30)
    assert view(site).states == (State.PUBLISHED,)


def test_a_vm_that_changes_too_often_waits() -> None:
    site = Site()
    site.report(DB)
    for number in range(40):
        site.main.change(vmi("db", "prod", {"net1": [f"10.1.1.{number + 1}"], "net2": ["10.2.0.9"]}))
        site.main.run()
    site.publish()
    assert (view(site).states, view(site).cause) == ((State.PENDING,), "pending/rate-limit")


def test_the_last_changes_are_remembered() -> None:
    site = Site()
    site.report(*fleet(150))
    site.main.change(vmi("vm-00000", "team-00", {"net1": ["10.9.9.9"]}, created=0))
    site.main.delete("team-01/vm-00001")
    site.run()
    changes = site.index.changes()
    assert len(changes) == 200
    assert {change.change.kind.value for change in changes[:4]} == {"change", "delete"}
    assert all(change.latency is not None for change in changes[:4])
    assert changes == sorted(changes, key=lambda change: -change.at)


def test_only_rows_of_dirty_vms_are_made_again() -> None:
    site = Site()
    site.load(*fleet(1_000))
    before = site.index.rows()
    site.main.change(vmi("vm-00007", "team-07", {"net1": ["10.9.9.9"]}, created=7))
    site.zones[0].publish()
    assert [key for key, row in site.index.rows().items() if row is not before[key]] == ["team-07/vm-00007"]
    views = Views(site.index)
    first = {each.key: each for each in views.all()}
    site.main.change(vmi("vm-00008", "team-08", {"net1": ["10.9.9.8"]}, created=8))
    site.main.delete("team-09/vm-00009")
    site.zones[0].publish()
    later = {each.key: each for each in views.all()}
    assert first.keys() - later.keys() == {"team-09/vm-00009"}
    assert [key for key, each in later.items() if each is not first[key]] == ["team-08/vm-00008"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("db", True, id="the-vm"),
        pytest.param("PROD/DB", False, id="lower-case-is-the-caller's"),
        pytest.param("prod/db", True, id="the-key"),
        pytest.param("net1.db.prod.vm.example.", True, id="a-name"),
        pytest.param("b.prod", True, id="within-a-name"),
        pytest.param("vlan-with-1.db", True, id="a-label-of-ten-characters-or-more"),
        pytest.param("10.1.0", True, id="begins-an-address"),
        pytest.param("1.0.9", False, id="ends-an-address"),
        pytest.param("2001:db8:", True, id="begins-an-ipv6-address"),
        pytest.param("db8", False, id="within-an-address"),
        pytest.param("web net1", True, id="two-words"),
        pytest.param("web nothing", False, id="one-of-two-words"),
    ],
)
def test_a_search_looks_at_names_and_addresses(words: str, found: bool) -> None:
    site = Site()
    wanted = {"net1": ["10.1.0.9", "2001:db8:1::9"], "vlan-with-1": ["10.1.2.7"]}
    site.report(vmi("db", "prod", wanted, hostnames=["web"]))
    assert view(site).matches(words.split()) is found


def test_long_labels_are_found_too() -> None:
    site = Site()
    name = "x" * 50
    site.report(vmi(name, "prod"))
    assert view(site, f"prod/{name}").matches([f"net1.{name}.prod"])


def test_refused_for_many_is_one_cause() -> None:
    server = Server()
    server.refuses_name = underscores
    site = Site(server)
    site.report(*(vmi(f"v{number}", "prod", {"vlan_12": ["10.1.0.9"]}) for number in range(10)), seconds=10)
    assert {view(site, f"prod/v{number}").cause for number in range(10)} == {f"refused/{Cause.HOST_NAME}"}
