# SPDX-License-Identifier: Apache-2.0
"""TAKE_OVER_FROM: which names of another owner become ours, in one change each; and which do not."""

import msgspec
import pytest

from ksd_ddns.kubevirt.groups import Membership
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import AAAA, TXT, A, Node, RRset
from ksd_ddns.zone import hold
from ksd_ddns.zone.desired import desired
from ksd_ddns.zone.plan import Change, ConflictCause, Kind, Plan, full
from ksd_ddns.zone.update import Limits, batches
from tests.zone.build import a, aaaa, live, mark, n, node, scope, sshfp, txt, txt_rules, vmi, zone_rules

NAME = n("net1.db.prod.vm.example.")
WANTED = a("10.1.0.9")
OURS, OLD = mark(), mark(owner="old")
RULES = txt_rules(default_record=False)
ZONE_RULES = zone_rules(default_record=False)
LIMITS = Limits()
Rrsets = list[RRset]


def planned(*found: RRset, take_over: tuple[str, ...] = ("old",), wanted: bool = True, **settings: object) -> Plan:
    """Return the plan for the name with these RRsets, which the VMI prod/db wants."""
    rules = ZONE_RULES if settings.pop("zone", False) else RULES
    vmis = [vmi(interfaces={"net1": ["10.1.0.9"]})] if wanted else []
    zone = live(node(NAME, *found), zone=rules.zone)
    return full(desired(vmis, rules), zone, scope(rules, take_over=frozenset(take_over), **settings))


@pytest.mark.parametrize(
    ("found", "new"),
    [
        pytest.param([WANTED, txt(OLD)], [WANTED, txt(OURS)], id="same-address"),
        pytest.param([a("10.9.0.9"), txt(OLD)], [WANTED, txt(OURS)], id="other-address"),
        pytest.param([WANTED, aaaa("fd00::1"), txt(OLD)], [WANTED, txt(OURS)], id="one-family-more"),
        pytest.param([txt(OLD)], [WANTED, txt(OURS)], id="no-address"),
        pytest.param([WANTED, txt(mark("prod/other", owner="old"))], [WANTED, txt(OURS)], id="another-vmi"),
        pytest.param([WANTED, txt(mark(owner="old", more=",x=1"))], [WANTED, txt(mark(more=",x=1"))], id="more-fields"),
        pytest.param([WANTED, sshfp(), txt(OLD, "hi", ttl=300)], [WANTED, sshfp(), txt(OURS, "hi", ttl=300)],
                     id="foreign-records-stay"),
        pytest.param([WANTED, txt(OURS, OLD)], [WANTED, txt(OURS)], id="ours-too"),
        pytest.param([WANTED, txt(mark(owner="older"), OLD)], [WANTED, txt(OURS)], id="two-of-the-owners"),
    ],
)  # fmt: skip
def test_a_wanted_name_becomes_ours_in_one_change(found: Rrsets, new: Rrsets) -> None:
    plan = planned(*found, take_over=("old", "older"))
    assert plan.conflicts == ()
    assert plan.changes == (Change(node(NAME, *found), node(NAME, *new), Kind.CHANGE),)
    (message,) = batches(plan.changes, LIMITS)
    seen = {(rdtype, rdata) for _, rdtype, _, _, rdata in message.prerequisites if rdata}
    assert seen >= {(item.type, rdata) for item in found for rdata in item.rdatas if item.type in {A, AAAA, TXT}}
    after = live(node(NAME, *new))
    vmis = [vmi(interfaces={"net1": ["10.1.0.9"]})]
    again = full(desired(vmis, RULES), after, scope(RULES, take_over=frozenset({"old"})))
    assert (again.changes, again.owned) == ((), 1)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        pytest.param([WANTED, txt(mark(owner="other"))], ConflictCause.OTHER_OWNER, id="another-owner"),
        pytest.param([WANTED, txt(OLD, mark(owner="other"))], ConflictCause.OTHER_OWNER, id="another-owner-too"),
        pytest.param([a("10.9.9.9")], ConflictCause.UNOWNED, id="no-owner"),
        pytest.param(
            [a("10.9.9.9"), txt("heritage=external-dns,owner=old")], ConflictCause.UNOWNED, id="other-program"
        ),
        pytest.param([a("10.9.9.9"), txt(mark(owner="OLD"))], ConflictCause.OTHER_OWNER, id="other-case"),
    ],
)
def test_other_names_remain_conflicts(found: Rrsets, cause: ConflictCause) -> None:
    plan = planned(*found)
    assert plan.changes == ()
    (conflict,) = plan.conflicts
    assert conflict.cause is cause
    assert "old" not in conflict.owners


def test_names_of_theirs_that_are_not_wanted_are_left_alone() -> None:
    assert planned(WANTED, txt(OLD), wanted=False) == planned(sshfp(), wanted=False)


def test_only_our_record_of_an_unwanted_name_with_two_owners_is_deleted() -> None:
    (change,) = planned(WANTED, txt(OURS, OLD), wanted=False).changes
    assert change.new == node(NAME, WANTED, txt(OLD))


def test_without_the_setting_it_is_a_conflict() -> None:
    (conflict,) = planned(WANTED, txt(OLD), take_over=()).conflicts
    assert (conflict.cause, conflict.owners) == (ConflictCause.OTHER_OWNER, ("old",))


@pytest.mark.parametrize(
    ("found", "new"),
    [
        pytest.param([WANTED, txt(OLD)], [WANTED], id="record-alone"),
        pytest.param([WANTED, txt(OLD, "hi", mark(owner="other"))], [WANTED, txt("hi", mark(owner="other"))],
                     id="other-texts-stay"),
        pytest.param([a("10.9.9.9"), sshfp(), txt(OLD)], [WANTED, sshfp()], id="other-address"),
    ],
)  # fmt: skip
def test_without_ownership_records_theirs_are_removed(found: Rrsets, new: Rrsets) -> None:
    plan = planned(*found, zone=True)
    assert plan.changes == (Change(node(NAME, *found), node(NAME, *new), Kind.CHANGE),)
    (deleted,) = planned(*found, zone=True, wanted=False).changes
    assert deleted.new == node(NAME, *(item for item in new if item.type not in {A, AAAA}))


def test_without_ownership_records_texts_are_left_alone_unless_asked() -> None:
    assert planned(WANTED, txt(OLD), zone=True, take_over=()).changes == ()
    assert scope(ZONE_RULES).written == (A, AAAA)
    assert scope(ZONE_RULES, take_over=frozenset({"old"})).written == (A, AAAA, TXT)


@pytest.mark.parametrize(("take_over", "held"), [((), False), (("old",), True)])
def test_addresses_of_a_name_that_is_taken_over_are_held(take_over: tuple[str, ...], held: bool) -> None:
    both: Node = node(NAME, WANTED, aaaa("fd00::1"), txt(OLD))
    lacking: Vmi = vmi(interfaces={"net1": ["10.1.0.9"]})
    found = hold.published(lacking, ("net1", AAAA), live(both), RULES, scope(RULES, take_over=frozenset(take_over)))
    assert found == (both.get(AAAA).rdatas if held else ())  # type: ignore[union-attr]


def test_groups_are_taken_over() -> None:
    group = n("web.prod.vm.example.")
    text = "heritage=ksd-ddns,owner={},group=prod/web"
    found = node(group, a("10.1.0.9"), txt(text.format("old")))
    member = msgspec.structs.replace(vmi(interfaces={"net1": ["10.1.0.9"]}), groups=(Membership("web"),))
    plan = full(desired([member], RULES), live(found), scope(RULES, take_over=frozenset({"old"})))
    changes = {names.to_text(change.name): change for change in plan.changes}
    assert changes["web.prod.vm.example."].new == node(group, a("10.1.0.9"), txt(text.format("test")))
