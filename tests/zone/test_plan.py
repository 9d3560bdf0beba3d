# SPDX-License-Identifier: Apache-2.0
"""Desired x live -> Plan, as truth tables, and invariants for any input."""

from collections import Counter
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import AAAA, CLASS_NONE, CNAME, DNAME, NS, TXT, A, Node, RRset
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.desired import HostnameScope, Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import (
    Change,
    Conflict,
    ConflictCause,
    Kind,
    Ownership,
    Plan,
    Policy,
    Scope,
    full,
    is_owned,
    owned_names,
    partial,
    ttl_cap,
)
from ksd_ddns.zone.update import prerequisites
from tests.zone.build import (
    BASE,
    OWNER,
    ZONE,
    a,
    aaaa,
    cname,
    dname,
    ips,
    live,
    mark,
    n,
    node,
    ns,
    ptr,
    reverse_rules,
    scope,
    sshfp,
    txt,
    txt_rules,
    vmi,
    wanted,
    zone_rules,
)
from tests.zone.worlds import World, worlds

NAME = n("net1.db.prod.vm.example.")
TXT_MODE = txt_rules(default_record=False)
ZONE_MODE = zone_rules(default_record=False)
WANTED = ("10.1.0.9",)  # what VMI prod/db wants at NAME
MARK = mark("prod/db")

Rrsets = list[RRset]


def planned(rules: Rules, *nodes: Node, vmis: int = 1, **settings: object) -> Plan:
    """Return the plan for a zone of `nodes` and the VMI prod/db, or none."""
    found = live(*nodes, zone=rules.zone)
    return full(wanted(*[vmi()] * vmis, rules=rules), found, scope(rules, **settings))


def only_change(plan: Plan) -> Change:
    (change,) = plan.changes
    assert plan.conflicts == ()
    return change


# Wanted names by the contents of the zone, with ownership records

ADD, CHANGE = Kind.ADD, Kind.CHANGE


@pytest.mark.parametrize(
    ("found", "kind", "new"),
    [
        pytest.param([], ADD, [a(*WANTED), txt(MARK)], id="free"),
        pytest.param([a("10.1.0.1"), txt(MARK)], CHANGE, [a(*WANTED), txt(MARK)], id="other-address"),
        pytest.param([a("10.1.0.1", *WANTED), txt(MARK)], CHANGE, [a(*WANTED), txt(MARK)], id="one-address-too-many"),
        pytest.param([txt(MARK)], CHANGE, [a(*WANTED), txt(MARK)], id="addresses-lost"),
        pytest.param([aaaa("fd00::1"), txt(MARK)], CHANGE, [a(*WANTED), txt(MARK)], id="other-family"),
        pytest.param([a(*WANTED, ttl=5), txt(MARK)], CHANGE, [a(*WANTED), txt(MARK)], id="other-ttl"),
        pytest.param([a(*WANTED), txt(MARK, ttl=5)], CHANGE, [a(*WANTED), txt(MARK)], id="other-ttl-of-the-record"),
        pytest.param([a("10.1.0.1"), sshfp(), txt(MARK)], CHANGE, [a(*WANTED), sshfp(), txt(MARK)], id="sshfp-stays"),
        pytest.param([a("10.1.0.1"), txt(MARK + ",family=4")], CHANGE, [a(*WANTED), txt(MARK + ",family=4")],
                     id="record-of-a-later-version-stays-as-it-is"),
        pytest.param([a(*WANTED), txt(mark("prod/old"))], CHANGE, [a(*WANTED), txt(MARK)], id="record-of-another-vmi"),
        pytest.param([a(*WANTED), txt(mark("prod/old", more=",family=4"))], CHANGE,
                     [a(*WANTED), txt(MARK + ",family=4")], id="record-of-another-vmi-and-a-later-version"),
        pytest.param([a(*WANTED), txt(MARK, mark("prod/old"))], CHANGE, [a(*WANTED), txt(MARK)], id="two-records"),
        pytest.param([a(*WANTED), txt(MARK + ",x=1", mark("prod/old"))], CHANGE, [a(*WANTED), txt(MARK + ",x=1")],
                     id="two-records-one-with-more-fields"),
        pytest.param([a("10.1.0.1"), txt(MARK, "foreign", ttl=300)], CHANGE,
                     [a(*WANTED), txt(MARK, "foreign", ttl=300)], id="foreign-text-keeps-its-ttl"),
        pytest.param([a(*WANTED), txt(mark("prod/old"), "foreign", ttl=300)], CHANGE,
                     [a(*WANTED), txt(MARK, "foreign", ttl=300)], id="new-record-takes-the-ttl-of-a-foreign-text"),
    ],
)  # fmt: skip
def test_an_owned_name_is_changed(found: Rrsets, kind: Kind, new: Rrsets) -> None:
    change = only_change(planned(TXT_MODE, node(NAME, *found)))
    assert change == Change(node(NAME, *found), node(NAME, *new), kind)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([a(*WANTED), txt(MARK)], id="right"),
        pytest.param([a(*WANTED), txt(MARK), sshfp(ttl=5)], id="sshfp-beside"),
        pytest.param([a(*WANTED), txt(MARK + ",family=4")], id="more-fields"),
        pytest.param([a(*WANTED), txt(f"heritage=ksd-ddns,vmi=prod/db,owner={OWNER}")], id="fields-in-another-order"),
        pytest.param([a(*WANTED), txt(MARK, "foreign", ttl=300)], id="foreign-text-beside"),
    ],
)
def test_a_correct_name_is_unchanged(found: Rrsets) -> None:
    plan = planned(TXT_MODE, node(NAME, *found))
    assert (plan.changes, plan.conflicts, plan.owned) == ((), (), 1)


Cause = ConflictCause


@pytest.mark.parametrize(
    ("found", "cause", "details"),
    [
        pytest.param([a("10.1.0.1")], Cause.UNOWNED, {}, id="a"),
        pytest.param([a(*WANTED)], Cause.UNOWNED_EQUAL, {}, id="a-with-the-wanted-address"),
        pytest.param([a(*WANTED, ttl=5), txt("foreign")], Cause.UNOWNED_EQUAL, {},
                     id="wanted-address-beside-a-foreign-text"),
        pytest.param([a(*WANTED, "10.1.0.1")], Cause.UNOWNED, {}, id="a-with-one-address-more"),
        pytest.param([a(*WANTED), aaaa("fd00::1")], Cause.UNOWNED, {}, id="a-with-another-family-beside"),
        pytest.param([aaaa("fd00::1")], Cause.UNOWNED, {}, id="aaaa"),
        pytest.param([txt("heritage=external-dns,external-dns/owner=x")], Cause.OTHER_PROGRAM, {},
                     id="of-external-dns"),
        pytest.param([txt('"heritage=external-dns,external-dns/owner=x"'), sshfp()], Cause.OTHER_PROGRAM, {},
                     id="of-external-dns-in-quotation-marks"),
        pytest.param([txt("heritage=ksd-ddns,owner=")], Cause.OTHER_PROGRAM, {}, id="empty-owner"),
        pytest.param([sshfp(), txt(mark("prod/db", owner="other"))], Cause.OTHER_OWNER, {"owners": ("other",)},
                     id="another-owner-without-addresses"),
        pytest.param([a("10.1.0.1"), sshfp(), txt("foreign")], Cause.UNOWNED, {}, id="a-beside-what-we-do-not-manage"),
        pytest.param([cname("elsewhere.")], Cause.CNAME, {}, id="cname"),
        pytest.param([a(*WANTED), txt(mark("prod/db", owner="other"))], Cause.OTHER_OWNER, {"owners": ("other",)},
                     id="another-owner"),
        pytest.param([txt(mark("prod/db", owner="b"), mark("x/y", owner="a"))], Cause.OTHER_OWNER,
                     {"owners": ("a", "b")},
                     id="two-other-owners"),
        pytest.param([ns("ns.elsewhere.")], Cause.DELEGATION, {"ancestor": NAME}, id="delegation"),
    ],
)  # fmt: skip
def test_a_foreign_name_is_a_conflict(found: Rrsets, cause: Cause, details: dict[str, object]) -> None:
    plan = planned(TXT_MODE, node(NAME, *found))
    (conflict,) = plan.conflicts
    assert plan.changes == ()
    assert plan.owned == 0
    wanted_node = node(NAME, a(*WANTED), txt(MARK))
    owner = OWNER if cause is Cause.OTHER_OWNER else ""
    expected = Conflict(NAME, wanted_node, node(NAME, *found), cause, vmi="prod/db", owner=owner)
    assert conflict == msgspec.structs.replace(expected, **details)


@pytest.mark.parametrize("adopt", [False, True], ids=["", "adopt"])
@pytest.mark.parametrize(
    ("found", "new"),
    [
        pytest.param([sshfp()], [a(*WANTED), sshfp(), txt(MARK)], id="sshfp"),
        pytest.param([txt("foreign")], [a(*WANTED), txt("foreign", MARK)], id="text"),
        pytest.param([txt("foreign", "rack 12", ttl=300), sshfp(ttl=5)],
                     [a(*WANTED), txt("foreign", "rack 12", MARK, ttl=300), sshfp(ttl=5)], id="their-ttls-stay"),
        pytest.param([ptr("elsewhere.")], [a(*WANTED), ptr("elsewhere."), txt(MARK)], id="pointer"),
        pytest.param([dname("elsewhere.")], [a(*WANTED), dname("elsewhere."), txt(MARK)], id="dname"),
        pytest.param([txt("the heritage=ksd-ddns")], [a(*WANTED), txt("the heritage=ksd-ddns", MARK)],
                     id="text-that-speaks-of-record"),
    ],
)  # fmt: skip
def test_a_name_without_addresses_is_free_and_keeps_its_records(found: Rrsets, new: Rrsets, adopt: bool) -> None:
    there = node(NAME, *found)
    change = only_change(planned(TXT_MODE, there, adopt=adopt))
    assert change == Change(there, node(NAME, *new), Kind.ADD)
    # Records from before the VMI stay after its deletion; when it returns, it gets its name again.
    assert only_change(planned(TXT_MODE, change.new, vmis=0)).new == there
    assert planned(TXT_MODE, change.new).changes == ()
    conditions = {(rdtype, rdclass) for _, rdtype, rdclass, _, _ in prerequisites(change)}
    assert {(A, CLASS_NONE), (AAAA, CLASS_NONE)} < conditions
    assert there.get(TXT) or {(CNAME, CLASS_NONE), (TXT, CLASS_NONE)} < conditions


@pytest.mark.parametrize(
    ("found", "new"),
    [
        pytest.param([a("10.9.9.9"), txt("foreign")], [a("10.9.9.9"), txt("foreign", MARK)], id="an-address"),
        pytest.param([ptr("elsewhere.")], None, id="a-pointer"),
        pytest.param([cname("elsewhere.")], None, id="a-cname"),
    ],
)
def test_a_reverse_name_without_pointers_is_free(found: Rrsets, new: Rrsets | None) -> None:
    name = n("9.0.1.10.in-addr.arpa.")
    rules = reverse_rules()
    plan = full(wanted(vmi(), rules=rules), live(node(name, *found), zone=rules.zone), scope(rules))
    pointer = ptr("net1.db.prod.vm.example.")
    assert [change.new for change in plan.changes] == ([node(name, pointer, *new)] if new else [])
    assert len(plan.conflicts) == (not new)


def test_a_name_with_two_owners_is_a_conflict() -> None:
    """This happens only by hand; two controllers would change it back and forth forever."""
    plan = planned(TXT_MODE, node(NAME, a("10.1.0.1"), txt(MARK, mark("x/y", owner="other"))))
    assert plan.changes == ()
    (conflict,) = plan.conflicts
    assert (conflict.cause, conflict.owners) == (Cause.SEVERAL_OWNERS, ("other",))


@pytest.mark.parametrize(
    ("rules", "above"),
    [
        pytest.param(rules, above, id=f"{mode}-{what}")
        for mode, rules in (("txt", TXT_MODE), ("zone", ZONE_MODE))
        for what, above in (
            ("delegation-above", node("prod.vm.example.", ns("ns.elsewhere."))),
            ("dname-above", node("db.prod.vm.example.", dname("elsewhere."))),
        )
    ],
)
@pytest.mark.parametrize("glue", [[], [a("10.1.0.1")]], ids=["free", "glue"])
def test_a_hidden_name_is_a_conflict(rules: Rules, above: Node, glue: Rrsets) -> None:
    plan = planned(rules, above, *([node(NAME, *glue)] if glue else []))
    (conflict,) = plan.conflicts
    assert plan.changes == ()
    assert conflict.ancestor == above.name
    assert conflict.cause is (Cause.DNAME if above.get(DNAME) else Cause.DELEGATION)


@pytest.mark.parametrize(
    ("found", "new"),
    [
        pytest.param([a(*WANTED)], [a(*WANTED), txt(MARK)], id="exactly"),
        pytest.param([a(*WANTED, ttl=3600)], [a(*WANTED), txt(MARK)], id="other-ttl"),
        pytest.param([a(*WANTED), sshfp()], [a(*WANTED), sshfp(), txt(MARK)], id="sshfp-beside"),
        pytest.param(
            [a(*WANTED), txt("foreign", ttl=300)], [a(*WANTED), txt("foreign", MARK, ttl=300)], id="text-beside"
        ),
    ],
)
def test_an_unowned_name_with_the_wanted_addresses_is_adopted(found: Rrsets, new: Rrsets) -> None:
    assert planned(TXT_MODE, node(NAME, *found)).changes == ()
    change = only_change(planned(TXT_MODE, node(NAME, *found), adopt=True))
    assert change == Change(node(NAME, *found), node(NAME, *new), Kind.CHANGE)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([a("10.1.0.1")], id="other-address"),
        pytest.param([a(*WANTED, "10.1.0.1")], id="one-address-more"),
        pytest.param([a(*WANTED), aaaa("fd00::1")], id="one-family-more"),
        pytest.param([cname("elsewhere.")], id="cname"),
        pytest.param([a(*WANTED), txt(mark("prod/db", owner="other"))], id="another-owner"),
    ],
)
def test_other_names_are_not_adopted(found: Rrsets) -> None:
    plan = planned(TXT_MODE, node(NAME, *found), adopt=True)
    assert plan.changes == ()
    assert len(plan.conflicts) == 1


WILDCARD = node("*.db.prod.vm.example.", a("10.9.9.9"), txt("foreign"))


def test_a_foreign_wildcard_is_no_conflict_and_unchanged() -> None:
    assert only_change(planned(TXT_MODE, WILDCARD)).name == NAME


# Unwanted names

OUTSIDE = n("net1.db.prod.vm.old.example.")


@pytest.mark.parametrize(
    ("name", "found", "new"),
    [
        pytest.param(NAME, [a("10.1.0.1"), aaaa("fd00::1"), txt(MARK)], [], id="ours"),
        pytest.param(NAME, [a("10.1.0.1"), sshfp(), txt(MARK)], [sshfp()], id="sshfp-stays"),
        pytest.param(NAME, [a("10.1.0.1"), txt(MARK, "foreign", ttl=300)], [txt("foreign", ttl=300)], id="text-stays"),
        pytest.param(NAME, [a("10.1.0.1"), txt(MARK, mark("prod/x"))], [], id="two-records"),
        pytest.param(NAME, [a("10.1.0.1"), txt(MARK, mark("x/y", owner="a"))],
                     [a("10.1.0.1"), txt(mark("x/y", owner="a"))], id="another-owner-marks-it-too"),
        pytest.param(NAME, [a("10.1.0.1"), txt(MARK + ",family=4")], [], id="more-fields"),
        pytest.param(NAME, [txt(MARK)], [], id="record-alone"),
        pytest.param(NAME, [a("10.1.0.1"), txt(mark(""))], [], id="record-without-a-vmi"),
        pytest.param(OUTSIDE, [a("10.1.0.1"), txt(MARK)], [], id="outside-of-todays-base"),
        pytest.param(n("*.prod.vm.example."), [a("10.1.0.1"), txt(MARK)], [], id="wildcard-of-ours"),
    ],
)  # fmt: skip
def test_an_owned_name_is_deleted(name: bytes, found: Rrsets, new: Rrsets) -> None:
    plan = planned(TXT_MODE, node(name, *found), vmis=0)
    assert only_change(plan) == Change(node(name, *found), node(name, *new), Kind.DELETE)
    assert plan.owned == 1


MARKED = [a("10.1.0.1"), txt(MARK)]


@pytest.mark.parametrize(
    ("name", "found", "settings"),
    [
        pytest.param(NAME, [a("10.1.0.1")], {}, id="unmarked"),
        pytest.param(NAME, [a("10.1.0.1"), txt("foreign")], {}, id="foreign-text"),
        pytest.param(NAME, [a("10.1.0.1"), txt(mark("prod/db", owner="other"))], {}, id="another-owner"),
        pytest.param(NAME, [a("10.1.0.1"), txt(mark("prod/db", owner="test2"))], {}, id="owner-that-begins-alike"),
        pytest.param(NAME, MARKED, {"policy": Policy.UPSERT_ONLY}, id="upsert-only"),
        pytest.param(NAME, MARKED, {"protected": frozenset({NAME})}, id="protected"),
        pytest.param(BASE, MARKED, {}, id="base"),
        pytest.param(n("ns.vm.example."), MARKED, {}, id="name-server"),
        pytest.param(NAME, [cname("elsewhere.")], {}, id="cname"),
    ],
)
def test_other_names_are_not_deleted(name: bytes, found: Rrsets, settings: dict[str, object]) -> None:
    plan = planned(TXT_MODE, node(name, *found), vmis=0, **settings)
    assert (plan.changes, plan.conflicts) == ((), ())


def test_upsert_only_still_adds_and_changes() -> None:
    plan = planned(txt_rules(), node(NAME, *MARKED), policy=Policy.UPSERT_ONLY)
    assert [(change.name, change.kind) for change in plan.changes] == [(n("db.prod.vm.example."), ADD), (NAME, CHANGE)]


# A zone for ksd-ddns only

INSIDE = zone_rules(zone=ZONE, default_record=False)  # the base inside a larger zone, everything below it ours


@pytest.mark.parametrize(
    ("found", "kind", "new"),
    [
        pytest.param([], ADD, [a(*WANTED)], id="free"),
        pytest.param([a("10.1.0.1")], CHANGE, [a(*WANTED)], id="other-address"),
        pytest.param([a(*WANTED, ttl=5)], CHANGE, [a(*WANTED)], id="other-ttl"),
        pytest.param([a(*WANTED), aaaa("fd00::1")], CHANGE, [a(*WANTED)], id="one-family-more"),
        pytest.param(
            [txt("foreign", ttl=5), sshfp()], ADD, [a(*WANTED), txt("foreign", ttl=5), sshfp()], id="others-stay"
        ),
        pytest.param([a("10.1.0.1"), txt(MARK)], CHANGE, [a(*WANTED), txt(MARK)], id="ownership-records-are-just-text"),
    ],
)
def test_a_name_is_changed_with_ownership_zone(found: Rrsets, kind: Kind, new: Rrsets) -> None:
    for rules in (ZONE_MODE, INSIDE):
        change = only_change(planned(rules, node(NAME, *found)))
        assert change == Change(node(NAME, *found), node(NAME, *new), kind)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        pytest.param([cname("elsewhere.")], Cause.CNAME, id="cname"),
        pytest.param([ns("elsewhere.")], Cause.DELEGATION, id="delegation"),
    ],
)
def test_conflicts_are_found_with_ownership_zone(found: Rrsets, cause: Cause) -> None:
    plan = planned(ZONE_MODE, node(NAME, *found))
    assert plan.changes == ()
    assert [conflict.cause for conflict in plan.conflicts] == [cause]


@pytest.mark.parametrize(
    ("rules", "name", "found", "new"),
    [
        pytest.param(ZONE_MODE, NAME, [a("10.1.0.1"), aaaa("fd00::1")], [], id="addresses"),
        pytest.param(ZONE_MODE, NAME, [a("10.1.0.1"), sshfp(), txt("x")], [sshfp(), txt("x")], id="others-stay"),
        pytest.param(ZONE_MODE, n("*.prod.vm.example."), [a("10.1.0.1")], [], id="wildcard"),
        pytest.param(INSIDE, NAME, [a("10.1.0.1")], [], id="below-the-base-in-a-larger-zone"),
    ],
)
def test_a_name_is_deleted_with_ownership_zone(rules: Rules, name: bytes, found: Rrsets, new: Rrsets) -> None:
    plan = planned(rules, node(name, *found), vmis=0)
    assert only_change(plan) == Change(node(name, *found), node(name, *new), Kind.DELETE)
    assert planned(rules, node(name, *found), vmis=0, policy=Policy.UPSERT_ONLY).changes == ()


@pytest.mark.parametrize(
    ("rules", "nodes"),
    [
        pytest.param(ZONE_MODE, [node(BASE, ns("localhost."), a("10.1.0.1"))], id="apex"),
        pytest.param(INSIDE, [node(BASE, a("10.1.0.1"))], id="base"),
        pytest.param(ZONE_MODE, [node("ns.vm.example.", a("192.0.2.53"))], id="name-server"),
        pytest.param(INSIDE, [node("www.example.", a("10.1.0.1"))], id="outside-of-the-base"),
        pytest.param(INSIDE, [node("xvm.example.", a("10.1.0.1"))], id="name-that-ends-like-the-base"),
        pytest.param(ZONE_MODE, [node(NAME, txt("x"), sshfp())], id="other-types"),
        pytest.param(ZONE_MODE, [node(NAME, cname("elsewhere."))], id="cname"),
        pytest.param(ZONE_MODE, [node("prod.vm.example.", ns(r"x.prod.vm.example.")), node(NAME, a("10.1.0.1"))],
                     id="glue-below-a-delegation"),
    ],
)  # fmt: skip
def test_other_records_are_not_deleted_with_ownership_zone(rules: Rules, nodes: list[Node]) -> None:
    plan = planned(rules, *nodes, vmis=0)
    assert (plan.changes, plan.conflicts, plan.owned) == ((), (), 0)


@pytest.mark.parametrize(
    "found", [[], [a("10.9.9.9")], [a(*WANTED, ttl=5)], [txt("foreign")]], ids=["free", "address", "ttl", "text"]
)
def test_without_ownership_records_nothing_outside_the_base_is_owned(found: Rrsets) -> None:
    rules = msgspec.structs.replace(INSIDE, hostname_scope=HostnameScope.ZONE)
    zone = live(*([node("www.example.", *found)] if found else []), node(NAME, a(*WANTED)))
    plan = full(wanted(vmi(hostnames=["www.example."]), rules=rules), zone, scope(rules))
    assert plan.changes == ()
    (conflict,) = plan.conflicts
    assert (conflict.name, conflict.found.rrsets) == (n("www.example."), tuple(found))
    assert (conflict.cause, conflict.ancestor) == (Cause.OUTSIDE_BASE, BASE)


def test_with_ownership_records_a_hostname_can_be_anywhere_in_the_zone() -> None:
    rules = msgspec.structs.replace(TXT_MODE, hostname_scope=HostnameScope.ZONE)
    zone = live(node(NAME, a(*WANTED), txt(MARK)))
    plan = full(wanted(vmi(hostnames=["www.example."]), rules=rules), zone, scope(rules))
    assert [change.name for change in plan.changes] == [n("www.example.")]


# The zone's own records

NS_RULES = zone_rules(name_server=ips("192.0.2.53"))
OURS = "ns.vm.example."


@pytest.mark.parametrize(
    ("owner", "found", "new"),
    [
        pytest.param("", ns("localhost."), ns(OURS), id="placeholder-makes-room"),
        pytest.param("", ns("localhost.", ttl=300), ns(OURS, ttl=300), id="the-ttl-stays"),
        pytest.param("", ns("a.elsewhere."), ns("a.elsewhere.", OURS), id="another-stays"),
        pytest.param("", ns("localhost.", "a.elsewhere."), ns("a.elsewhere.", OURS), id="placeholder-beside-another"),
        pytest.param("", ns(OURS, "localhost."), ns(OURS), id="placeholder-left-over"),
        pytest.param("", ns(OURS), None, id="right"),
        pytest.param("", ns(OURS, "a.elsewhere."), None, id="right-beside-another"),
        pytest.param(OWNER, ns("localhost."), ns("localhost.", OURS), id="txt-placeholder-stays"),
        pytest.param(OWNER, ns(OURS, ttl=5), None, id="txt-right"),
    ],
)
def test_the_ns_record_of_the_apex_is_planned(owner: str, found: RRset, new: RRset | None) -> None:
    rules = msgspec.structs.replace(NS_RULES, owner=owner)
    own = wanted(rules=rules).get(n(OURS))
    assert own is not None
    zone = live(node(BASE, found, txt("foreign")), own, zone=BASE)
    apex = RRset(NS, 60, (n(OURS),))
    plan = full(wanted(rules=rules), zone, scope(rules, apex=apex))
    old = node(BASE, found, txt("foreign"))
    assert plan.changes == ((Change(old, node(BASE, new, txt("foreign")), CHANGE),) if new else ())
    assert partial([], wanted(rules=rules), zone, scope(rules, apex=apex)).changes == plan.changes
    assert full(wanted(rules=rules), zone, scope(rules)).changes == ()


@pytest.mark.parametrize(
    ("owner", "found", "new"),
    [
        pytest.param("", [], [a("192.0.2.53")], id="missing"),
        pytest.param("", [a("192.0.2.1")], [a("192.0.2.53")], id="old-address"),
        pytest.param("", [a("192.0.2.53")], None, id="right"),
        pytest.param(OWNER, [], [a("192.0.2.53"), txt(mark(""))], id="txt-missing"),
        pytest.param(OWNER, [a("192.0.2.1"), txt(mark(""))], [a("192.0.2.53"), txt(mark(""))], id="txt-old-address"),
        pytest.param(OWNER, [a("192.0.2.53", ttl=5)], None, id="txt-right-though-unmarked"),
    ],
)
def test_the_address_of_the_name_server_is_planned(owner: str, found: Rrsets, new: Rrsets | None) -> None:
    rules = msgspec.structs.replace(NS_RULES, owner=owner)
    plan = planned(rules, *([node(OURS, *found)] if found else []), vmis=0)
    assert [change.new for change in plan.changes] == ([node(OURS, *new)] if new else [])
    assert plan.conflicts == ()
    assert plan.owned == 0


# Names that several VMIs want


def test_a_collision_is_a_conflict_of_the_loser() -> None:
    older, younger = vmi("b", interfaces={"a": ["10.0.0.1"]}, created=1), vmi("a.b", interfaces={}, created=2)
    younger = msgspec.structs.replace(younger, interfaces=older.interfaces)
    plan = full(wanted(older, younger), live(), scope(txt_rules()))
    (conflict,) = plan.conflicts
    assert conflict.name == n("a.b.prod.vm.example.")
    assert conflict.vmi == "prod/a.b"
    assert (conflict.cause, conflict.winner) == (Cause.OLDER_VMI, "prod/b")
    assert conflict.wanted.name == conflict.found.name == conflict.name
    assert len(plan.changes) == 3


# The deletion limit


@pytest.mark.parametrize(
    ("owned", "kept", "percent", "deleted"),
    [
        pytest.param(9, 0, 30, 9, id="nine-owned-all-gone"),
        pytest.param(9, 0, 0, 9, id="nine-owned-no-percentage"),
        pytest.param(10, 0, 30, 0, id="ten-owned-all-gone"),
        pytest.param(10, 7, 30, 3, id="exactly-the-percentage"),
        pytest.param(10, 6, 30, 0, id="one-over-the-percentage"),
        pytest.param(10, 0, 99, 0, id="all-are-more-than-99-percent"),
        pytest.param(10, 0, 100, 10, id="100-percent-is-no-cap"),
        pytest.param(10, 9, 0, 0, id="zero-percent-keeps-everything"),
        pytest.param(10, 10, 0, 0, id="nothing-to-delete"),
        pytest.param(101, 71, 30, 30, id="30-of-101"),
        pytest.param(101, 70, 30, 0, id="31-of-101"),
    ],
)
@pytest.mark.parametrize("rules", [txt_rules(), zone_rules()], ids=["txt", "zone"])
def test_deletions_over_the_limit_are_blocked(rules: Rules, owned: int, kept: int, percent: int, deleted: int) -> None:
    rules = msgspec.structs.replace(rules, default_record=False)
    before = wanted(*(vmi(f"old{index}") for index in range(owned)), rules=rules)
    nodes = [before.get(name) or Node(name) for name in before.names()]
    new = vmi("new", interfaces={"net1": ["10.1.0.1"]})
    after = wanted(*(vmi(f"old{index}") for index in range(kept)), new, rules=rules)
    zone = live(*nodes, node(rules.zone, ns("a."), a("10.0.0.1")), zone=rules.zone)
    plan = full(after, zone, scope(rules), max_delete_percent=percent)
    assert plan.count(Kind.ADD) == 1  # additions are sent, whatever is blocked
    assert plan.count(Kind.DELETE) == deleted
    assert len(plan.blocked) == owned - kept - deleted
    assert {change.kind for change in plan.blocked} <= {Kind.DELETE}
    assert plan.owned == owned


@pytest.mark.parametrize(
    ("seen", "deleted"), [(17, 20), (14, 20), (13, 13), (0, 0)], ids=["3-absent", "6-absent", "7-absent", "20-absent"]
)
def test_deletions_with_a_delete_event_are_not_limited(seen: int, deleted: int) -> None:
    zone = live(*(node(f"n{index}.prod.vm.example.", *MARKED) for index in range(20)))
    known = [n(f"n{index}.prod.vm.example.") for index in range(seen)]
    plan = full(wanted(), zone, scope(txt_rules()), max_delete_percent=30, seen=known)
    assert plan.count(Kind.DELETE) == deleted
    assert len(plan.blocked) == 20 - deleted
    assert not {change.name for change in plan.blocked} & set(known)


@pytest.mark.parametrize("owned", [1, 20])
def test_an_incomplete_list_blocks_deletions(owned: int) -> None:
    zone = live(*(node(f"n{index}.prod.vm.example.", *MARKED) for index in range(owned)))
    seen = [n("n0.prod.vm.example.")]
    plan = full(wanted(vmi()), zone, scope(txt_rules()), seen=seen, incomplete={"prod"})
    assert [change.name for change in plan.changes if change.kind is Kind.DELETE] == seen
    assert plan.count(Kind.ADD) == 2
    assert len(plan.blocked) == owned - 1


# The deletion limit of each namespace


@pytest.mark.parametrize(
    ("owned", "left", "deleted", "blocked"),
    [
        pytest.param({"evil": 100, "prod": 400}, {"evil": 0, "prod": 398}, {"prod": 2}, [("evil", 100, 100)],
                     id="one-vanishes-another-loses-one"),
        pytest.param({"evil": 300, "prod": 400}, {"evil": 0, "prod": 398}, {"prod": 2}, [("evil", 300, 300)],
                     id="most-of-the-names-vanish"),
        pytest.param({"evil": 300, "prod": 100}, {"evil": 300, "prod": 0}, {}, [("prod", 100, 100)],
                     id="many-names-of-another-hide-nothing"),
        pytest.param({"evil": 300, "prod": 9}, {"evil": 300, "prod": 0}, {"prod": 9}, [],
                     id="nine-names-are-too-few-for-a-percentage"),
        pytest.param({f"s{index}": 9 for index in range(20)}, {}, {}, [(None, 180, 180)],
                     id="many-small-namespaces-vanish-together"),
        pytest.param({**{f"s{index}": 5 for index in range(20)}, "big": 300}, {"big": 300},
                     {f"s{index}": 5 for index in range(20)}, [], id="small-namespaces-are-not-too-many-of-all"),
        pytest.param({**{f"s{index}": 5 for index in range(20)}, "big": 200}, {"big": 200}, {}, [(None, 100, 300)],
                     id="small-namespaces-are-too-many-of-all"),
        pytest.param({"evil": 1000, **{f"s{index}": 5 for index in range(20)}}, {}, {},
                     [("evil", 1000, 1000), (None, 100, 100)], id="what-is-blocked-counts-no-more"),
        pytest.param({"evil": 1000, "s": 9}, {}, {"s": 9}, [("evil", 1000, 1000)], id="nine-are-left"),
        pytest.param({"a": 100, "b": 100}, {"a": 70, "b": 69}, {"a": 30}, [("b", 31, 100)], id="30-and-31-percent"),
        pytest.param({"a": 10, "b": 10}, {"a": 7, "b": 7}, {"a": 3, "b": 3}, [], id="three-of-ten"),
        pytest.param({"a": 10, "b": 10}, {"a": 6, "b": 10}, {}, [("a", 4, 10)], id="four-of-ten"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "rules", [txt_rules(), zone_rules(), reverse_rules(), reverse_rules(owner="")],
    ids=["txt", "zone", "reverse-txt", "reverse-zone"],
)  # fmt: skip
def test_the_deletion_limit_counts_in_each_namespace_first(
    rules: Rules, owned: dict[str, int], left: dict[str, int], deleted: dict[str, int], blocked: list[object]
) -> None:
    rules = msgspec.structs.replace(rules, default_record=False)
    number = 0
    there: dict[str, list[Vmi]] = {}
    for namespace, count in owned.items():  # no two share an address
        there[namespace] = [
            vmi(f"v{index}.x", namespace, {"net1": [f"10.{(number + index) >> 8}.{(number + index) & 255}.1"]})
            for index in range(count)
        ]
        number += count
    before = wanted(*(item for items in there.values() for item in items), rules=rules)
    zone = live(*(before.get(name) or Node(name) for name in before.names()), zone=rules.zone)
    after = wanted(*(item for name, items in there.items() for item in items[: left.get(name, 0)]), rules=rules)
    plan = full(after, zone, scope(rules), max_delete_percent=30)
    gone = Counter(before.vmi_of(change.name).partition("/")[0] for change in plan.changes)
    assert gone == deleted
    assert [(each.namespace, each.count, each.owned) for each in plan.limits] == blocked
    assert len(plan.blocked) == number - sum(left.values()) - sum(deleted.values())
    assert plan.owned == number
    assert full(after, zone, scope(rules), max_delete_percent=100).blocked == ()


def test_names_without_a_namespace_are_counted_together() -> None:
    zone = live(*(node(f"n{index}.example.", a("10.1.0.1"), txt(mark(""))) for index in range(12)))
    plan = full(wanted(), zone, scope(txt_rules()), max_delete_percent=30)
    assert [(each.namespace, each.count) for each in plan.limits] == [("", 12)]


# A server that lowers TTLs


@pytest.mark.parametrize(
    ("sent", "found", "cap"),
    [
        pytest.param([a("10.1.0.9", ttl=600), txt(MARK, ttl=600)], [a("10.1.0.9", ttl=300), txt(MARK, ttl=300)], 300,
                     id="all"),
        pytest.param([a("10.1.0.9", ttl=600), txt(MARK, ttl=60)], [a("10.1.0.9", ttl=300), txt(MARK, ttl=60)], 300,
                     id="those-above-it"),
        pytest.param([a("10.1.0.9"), txt(MARK)], [a("10.1.0.9"), txt(MARK)], None, id="none"),
        pytest.param([a("10.1.0.9", ttl=600)], [a("10.1.0.8", ttl=300)], None, id="other-values"),
        pytest.param([a("10.1.0.9", ttl=600), txt(MARK, ttl=600)], [a("10.1.0.9", ttl=300)], None, id="a-type-less"),
        pytest.param([a("10.1.0.9", ttl=600)], [a("10.1.0.9", ttl=300), sshfp()], None, id="a-type-more"),
        pytest.param([a("10.1.0.9", ttl=60)], [a("10.1.0.9", ttl=300)], None, id="raised"),
        pytest.param([a("10.1.0.9", ttl=600), txt(MARK, ttl=600)], [a("10.1.0.9", ttl=300), txt(MARK, ttl=60)], None,
                     id="two-caps-are-none"),
        pytest.param([a("10.1.0.9", ttl=600), txt(MARK, ttl=600)], [a("10.1.0.9", ttl=300), txt(MARK, ttl=600)], None,
                     id="not-all-above-it"),
        pytest.param([a("10.1.0.9", ttl=600)], [], None, id="gone"),
    ],
)  # fmt: skip
def test_a_lowered_ttl_shows_the_limit_of_the_server(sent: Rrsets, found: Rrsets, cap: int | None) -> None:
    assert ttl_cap(Change(Node(NAME), node(NAME, *sent), Kind.ADD), node(NAME, *found)) == cap


@pytest.mark.parametrize(
    ("found", "cap", "new"),
    [
        pytest.param([a(*WANTED, ttl=300), txt(MARK, ttl=300)], 300, None, id="lowered"),
        pytest.param([a(*WANTED, ttl=300), txt(MARK, ttl=600)], 300, None, id="one-of-them"),
        pytest.param([a(*WANTED, ttl=600), txt(MARK, ttl=600)], 300, None, id="no-longer-lowered"),
        pytest.param([a(*WANTED, ttl=300), txt(MARK, ttl=300)], None, [a(*WANTED, ttl=600), txt(MARK, ttl=600)],
                     id="no-cap"),
        pytest.param([a(*WANTED, ttl=60), txt(MARK, ttl=300)], 300, [a(*WANTED, ttl=600), txt(MARK, ttl=300)],
                     id="lower-than-the-cap"),
        pytest.param([a("10.1.0.1", ttl=300), txt(MARK, ttl=300)], 300, [a(*WANTED, ttl=300), txt(MARK, ttl=300)],
                     id="other-address"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["full", "partial"])
def test_ttls_lowered_by_the_server_are_correct(mode: str, found: Rrsets, cap: int | None, new: Rrsets | None) -> None:
    rules = msgspec.structs.replace(TXT_MODE, ttl=600)
    zone = live(node(NAME, *found))
    bounds = scope(rules, ttl_cap=cap)
    after = wanted(vmi(), rules=rules)
    plan = full(after, zone, bounds) if mode == "full" else partial([NAME], after, zone, bounds)
    assert [change.new for change in plan.changes] == ([node(NAME, *new)] if new else [])
    assert plan.conflicts == ()


def test_deletions_in_a_partial_plan_are_not_limited() -> None:
    zone = live(*(node(f"n{index}.prod.vm.example.", *MARKED) for index in range(20)))
    plan = partial(list(zone.nodes), wanted(), zone, scope(txt_rules()))
    assert (plan.count(Kind.DELETE), plan.blocked) == (20, ())


# For any input


def own_texts(item: Node) -> list[bytes]:
    text = item.get(TXT)
    parsed = {rdata: ownership_record.parse(rdata) for rdata in (text.rdatas if text else ())}
    return [rdata for rdata, found in parsed.items() if found and found.owner == OWNER]


def foreign(item: Node, bounds: Scope) -> list[tuple[int, int, tuple[bytes, ...]]]:
    """Return the part of a node that is never ours, TTLs included."""
    ours = own_texts(item) if bounds.ownership is Ownership.TXT else []
    found = []
    for each in item.rrsets:
        rdatas = tuple(rdata for rdata in each.rdatas if each.type != TXT or rdata not in ours)
        if each.type not in bounds.types and rdatas:
            found.append((each.type, each.ttl, rdatas))
    return found


def published(item: Node | None, bounds: Scope) -> list[tuple[int, tuple[bytes, ...]]]:
    return [(each.type, each.rdatas) for each in item.rrsets if each.type in bounds.types] if item else []


def applied(plan: Plan, zone: Live) -> Live:
    after = Live(zone.zone, zone.serial + 1, dict(zone.nodes))
    for change in plan.changes:
        after.put(change.new)
    return after


@settings(max_examples=120)
@given(worlds())
def test_a_second_plan_is_empty(world: World) -> None:
    plan = full(world.wanted, world.zone, world.scope)
    again = full(world.wanted, applied(plan, world.zone), world.scope)
    assert again.changes == ()
    assert {(conflict.name, conflict.vmi) for conflict in again.conflicts} == {
        (conflict.name, conflict.vmi) for conflict in plan.conflicts
    }


@settings(max_examples=120)
@given(worlds())
def test_nothing_foreign_is_changed(world: World) -> None:
    bounds = world.scope
    for change in full(world.wanted, world.zone, bounds).changes:
        old, new = change.old, change.new
        assert old == world.zone.get(change.name)
        assert old != new
        assert names.is_below(change.name, world.rules.zone)
        if change.name == world.rules.zone:
            assert bounds.apex is not None
            assert [item for item in old.rrsets if item.type != NS] == [item for item in new.rrsets if item.type != NS]
            continue
        assert foreign(old, bounds) == foreign(new, bounds)
        assert new.get(CNAME) is None
        want = world.wanted.get(change.name)
        assert (change.kind is Kind.DELETE) is (want is None)
        if want is None:
            assert bounds.policy is Policy.SYNC
            assert change.name not in bounds.protected
        if bounds.ownership is Ownership.ZONE:
            assert names.is_below(change.name, bounds.base)
            assert change.name != bounds.base
        else:
            adopted = bounds.adopt and published(want, bounds) == published(old, bounds)
            text = old.get(TXT)
            free = not published(old, bounds) and not any(
                map(ownership_record.is_ownership, text.rdatas if text else ())
            )
            assert free or own_texts(old) or adopted


@settings(max_examples=120)
@given(worlds())
def test_every_wanted_name_is_published_or_in_conflict(world: World) -> None:
    plan = full(world.wanted, world.zone, world.scope)
    after = applied(plan, world.zone)
    conflicts = {conflict.name for conflict in plan.conflicts}
    for name in world.wanted.names():
        stands = published(after.get(name), world.scope) == published(world.wanted.get(name), world.scope)
        assert name in conflicts or stands
    if world.scope.policy is Policy.SYNC:
        for name, item in after.nodes.items():
            unwanted = world.wanted.get(name) is None and name not in world.scope.protected
            if world.scope.ownership is Ownership.TXT:
                assert not (unwanted and own_texts(item))
            assert not (unwanted and is_owned(item, after, world.scope))


@settings(max_examples=120)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_zone_and_vmis_makes_no_difference(world: World, random: Random) -> None:
    nodes, vmis = list(world.zone.nodes.values()), list(world.vmis)
    random.shuffle(nodes)
    random.shuffle(vmis)
    plan = full(world.wanted, world.zone, world.scope)
    assert full(wanted(*vmis, rules=world.rules), live(*nodes, zone=world.rules.zone), world.scope) == plan
    keys = [(change.name in plan.moves, change.name[::-1]) for change in plan.changes]
    assert keys == sorted(keys)
    assert len({change.name for change in plan.changes}) == len(plan.changes)


@settings(max_examples=120)
@given(worlds(), st.sampled_from(["a", "b", "a.b"]), st.data())
def test_the_plan_for_dirty_names_equals_the_full_plan(world: World, gone: str, data: st.DataObject) -> None:
    zone = applied(full(world.wanted, world.zone, world.scope), world.zone)
    touched = world.wanted.remove(f"prod/{gone}")
    for name in sorted(touched)[:3]:
        rrsets = data.draw(world.contents)
        cuts = any(item.type in {NS, DNAME} for item in rrsets) or name in zone.cuts
        if not cuts:  # no cut appears or disappears above names that are not in `dirty`
            zone.put(node(name, *rrsets))
    whole = full(world.wanted, zone, world.scope)
    part = partial(touched, world.wanted, zone, world.scope)
    # The order may differ: moves come last, and a conflict at a name that is not dirty can make a deletion a move.
    assert {change.name: change for change in part.changes} == {change.name: change for change in whole.changes}
    assert set(part.conflicts) <= set(whole.conflicts)


@settings(max_examples=120)
@given(worlds())
def test_owned_names_are_listed(world: World) -> None:
    found = owned_names(world.zone, world.scope)
    assert sorted(found) == sorted(
        name for name, item in world.zone.nodes.items() if is_owned(item, world.zone, world.scope)
    )
    if world.scope.ownership is Ownership.TXT:
        for name in found:
            item = world.zone.get(name)
            assert own_texts(item)
            owners = {mark.vmi for mark in map(ownership_record.parse, own_texts(item)) if mark}
            for key in ("prod/a", "prod/b"):
                assert is_owned(item, world.zone, world.scope, vmi=key) is (key in owners)


def test_conflicts_contain_their_vmi() -> None:
    plan = planned(TXT_MODE, node(NAME, a("10.1.0.1")))
    assert [conflict.vmi for conflict in plan.conflicts] == ["prod/db"]
    assert isinstance(plan.conflicts[0], Conflict)


def test_a_wanted_node_without_an_ownership_record_is_an_error() -> None:
    zone = live(node(NAME, a("10.1.0.1"), txt(MARK)))
    with pytest.raises(ValueError, match="no ownership record"):
        full(wanted(vmi(), rules=INSIDE), zone, scope(TXT_MODE))
