# SPDX-License-Identifier: Apache-2.0
"""Groups: which addresses the name that several VMIs share has, as their members become ready, unready, or go."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksd_ddns.kubevirt.groups import Membership, Port
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.warning import WarningCode
from ksd_ddns.wire import codec, names
from ksd_ddns.wire.rrset import AAAA, TXT, A
from ksd_ddns.zone.desired import Desired, Effect, GroupCounts, desired
from ksd_ddns.zone.explain import Member, NameExplanation, Skip, State, Viewpoint, name_view, vmi_view
from ksd_ddns.zone.hold import with_groups
from ksd_ddns.zone.plan import Change, Kind, full
from ksd_ddns.zone.reconciler import Options
from ksd_ddns.zone.render.explain_text import Text
from ksd_ddns.zone.render.explained import name as explained_name
from ksd_ddns.zone.update import prerequisites, updates
from tests.zone.build import OWNER, a, aaaa, ip, live, mark, n, node, scope, txt, txt_rules, vmi
from tests.zone.reconciler.model import Server, World

WEB = n("web.prod.vm.example.")
RULES = txt_rules()


def member(
    name: str,
    address: str | Iterable[str] = (),
    *,
    ready: bool = True,
    created: int = 1000,
    groups: str = "web",
    **more: object,
) -> Vmi:
    """Return a VMI of the groups `groups` (comma list, as in the annotation)."""
    addresses = [address] if isinstance(address, str) else list(address)
    memberships = [Membership(*(part.strip() for part in each.split("="))) for each in groups.split(",")]
    made = vmi(name, interfaces={"net1": addresses}, created=created)
    return msgspec.structs.replace(made, groups=tuple(memberships), ready=ready, **more)


def addresses(of: Desired, name: bytes = WEB) -> list[str]:
    """Return the IPv4 addresses wanted at the name, in the order of their octets."""
    found = of.get(name)
    item = found.get(A) if found else None
    return [".".join(map(str, rdata)) for rdata in item.rdatas] if item else []


ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([member("a", ONE), member("b", TWO)], [ONE, TWO], id="all-ready"),
        pytest.param([member("a", ONE), member("b", TWO, ready=False)], [ONE], id="one-not-ready"),
        pytest.param([member("a", ONE, ready=False)], [], id="never-ready"),
        pytest.param([member("a", ONE), member("a", ONE, ready=False)], [ONE], id="last-turns-unready"),
        pytest.param(
            [member("a", ONE), member("b", TWO), member("a", ONE, ready=False), member("b", TWO, ready=False)],
            [TWO],
            id="one-by-one",
        ),
        pytest.param(
            [member("a", ONE), member("a", ONE, ready=False), member("b", TWO)], [TWO], id="another-becomes-ready"
        ),
        pytest.param(
            [member("a", ONE), member("a", ONE, ready=False), member("b", TWO, ready=False)],
            [ONE],
            id="another-unready-joins",
        ),
        pytest.param(
            [member("a", ONE), member("a", ONE, ready=False), member("a", TWO, ready=False)], [TWO], id="moves"
        ),
        pytest.param([member("a", ONE), member("b", TWO), "a"], [TWO], id="deleted"),
        pytest.param([member("a", ONE), "a"], [], id="last-deleted"),
        pytest.param([member("a", ONE), member("a", ONE, ready=False), "a"], [], id="last-unready-deleted"),
        pytest.param([member("a", ONE), member("a", ONE, groups="db")], [], id="leaves-the-group"),
        pytest.param([member("a", ONE), member("b", ONE)], [ONE], id="same-address"),
        pytest.param(
            [member("a", ONE, ready=False, was_ready=frozenset({WEB})), member("b", TWO, ready=False)],
            [ONE],
            id="in-the-zone",
        ),
        pytest.param(
            [member("b", TWO), member("a", ONE, ready=False, was_ready=frozenset({WEB}))],
            [TWO],
            id="in-the-zone-another-ready",
        ),
        pytest.param(
            [member("a", ONE), member("a", TWO, ready=False, uid="another")], [], id="successor-with-the-same-name"
        ),
    ],
)
def test_a_group_has_the_addresses_of(steps: list[Vmi | str], expected: list[str]) -> None:
    wanted = Desired(RULES)
    for step in steps:
        dirty = wanted.remove(f"prod/{step}") if isinstance(step, str) else wanted.put(step)
        assert dirty
    assert addresses(wanted) == expected


def test_the_shared_name_has_one_ownership_record_and_the_lowest_ttl() -> None:
    wanted = desired([member("a", [ONE, "fd00::1"], ttl=30), member("b", TWO)], RULES)
    record = f"heritage=ksd-ddns,owner={OWNER},group=prod/web"
    assert wanted.get(WEB) == node(
        "web.prod.vm.example.", a(ONE, TWO, ttl=30), txt(record, ttl=30), aaaa("fd00::1", ttl=30)
    )


def test_a_group_may_be_for_one_interface() -> None:
    one = vmi("a", interfaces={"net1": [ONE], "net2": [TWO]})
    one = msgspec.structs.replace(one, groups=(Membership("web", "net2"), Membership("db"), Membership("x", "net9")))
    wanted = desired([one], RULES)
    assert (addresses(wanted), addresses(wanted, n("db.prod.vm.example."))) == ([TWO], [ONE])
    assert wanted.get(n("x.prod.vm.example.")) is None
    assert [(each.code, each.value, each.interface) for each in wanted.warnings()] == [
        (WarningCode.GROUP_INTERFACE, "x", "net9")
    ]


@pytest.mark.parametrize("group", ["we b", "a.b", "x" * 64, "*"])
def test_a_group_that_is_no_label_is_skipped_with_a_warning(group: str) -> None:
    wanted = desired([member("a", ONE, groups=group)], RULES)
    assert [(each.code, each.value) for each in wanted.warnings()] == [(WarningCode.ILLEGAL_GROUP, group)]
    assert {names.to_text(name) for name in wanted.names()} == {"a.prod.vm.example.", "net1.a.prod.vm.example."}


def test_a_group_yields_to_interfaces_and_hostnames_whatever_their_age() -> None:
    older = [member(f"m{i}", f"10.0.1.{i}", created=1, groups="web, www") for i in range(3)]
    host = vmi("host", interfaces={"net1": [TWO]}, hostnames=["www"], created=2000)
    wanted = desired([*older, vmi("web", interfaces={"net1": [ONE]}, created=2000), host], RULES)
    assert (addresses(wanted), addresses(wanted, n("www.prod.vm.example."))) == ([ONE], [TWO])
    found = wanted.collisions()
    assert [(names.to_text(each.name), each.winner, each.loser, each.annotation, each.group) for each in found] == [
        ("web.prod.vm.example.", "prod/web", "prod/m0", True, False),
        ("www.prod.vm.example.", "prod/host", "prod/m0", False, True),
    ]  # fmt: skip


def test_members_of_other_namespaces_have_names_of_their_own() -> None:
    other = msgspec.structs.replace(member("a", TWO), key="test/a", namespace="test")
    wanted = desired([member("a", ONE), other], RULES)
    assert (addresses(wanted), addresses(wanted, n("web.test.vm.example."))) == ([ONE], [TWO])


def test_over_the_limit_the_oldest_members_are_published_and_the_others_warned() -> None:
    members = [member(f"m{i:03}", f"10.0.1.{i}", created=2000 - i) for i in range(100)]
    wanted = desired(members, txt_rules(max_rrset=90))
    oldest = sorted(ip(f"10.0.1.{i}") for i in range(10, 100))
    found = wanted.get(WEB)
    assert found is not None
    assert list(found.get(A).rdatas) == oldest  # type: ignore[union-attr]
    assert {each.vmi for each in wanted.warnings() if each.code is WarningCode.GROUP_FULL} == {
        f"prod/m{i:03}" for i in range(10)
    }
    # Stable: one that is not published changes nothing; the place of one that goes is taken by the next oldest.
    wanted.put(member("young", TWO, created=5000))
    assert list(wanted.get(WEB).get(A).rdatas) == oldest  # type: ignore[union-attr]
    wanted.remove("prod/m099")
    assert list(wanted.get(WEB).get(A).rdatas) == sorted(ip(f"10.0.1.{i}") for i in range(9, 99))  # type: ignore[union-attr]
    assert "prod/m009" in wanted.take_changed_warnings()


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        pytest.param(member("a", ONE), member("a", ONE), Effect.NONE, id="same"),
        pytest.param(member("a", ONE), member("a", ONE, ready=False), Effect.REMOVES, id="unready"),
        pytest.param(member("a", ONE, ready=False), member("a", ONE), Effect.CHANGES, id="ready"),
        pytest.param(member("a", ONE, groups="web,db"), member("a", ONE), Effect.REMOVES, id="leaves"),
    ],
)
def test_the_rate_limit_counts_a_change_of_readiness(before: Vmi, after: Vmi, effect: Effect) -> None:
    assert desired([before], RULES).effect(after) is effect


def test_a_new_controller_keeps_the_last_member_that_the_zone_has() -> None:
    record = f"heritage=ksd-ddns,owner={OWNER},group=prod/web"
    zone = live(node("web.prod.vm.example.", a(TWO), txt(record)))
    unready = [member("a", ONE, ready=False), member("b", TWO, ready=False)]
    seen = [with_groups(each, zone, RULES, scope(RULES)) for each in unready]
    assert [each.was_ready for each in seen] == [frozenset(), {WEB}]
    assert addresses(desired(seen, RULES)) == [TWO]


def test_the_name_of_another_owner_says_nothing_about_our_members() -> None:
    zone = live(node("web.prod.vm.example.", a(ONE), txt(mark("prod/web", owner="other"))))
    assert not with_groups(member("a", ONE, ready=False), zone, RULES, scope(RULES)).was_ready


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["ready", "unready", "gone", "other"]), st.integers(1, 3)),
        max_size=25,
    )
)
def test_whatever_happens_the_ready_members_are_published(steps: list[tuple[str, str, int]]) -> None:
    wanted = Desired(RULES)
    state: dict[str, tuple[bool, str]] = {}
    last: set[str] = set()
    for name, what, at in steps:
        address = f"10.{ord(name)}.0.{at}"
        if what == "gone":
            wanted.remove(f"prod/{name}")
            state.pop(name, None)
        elif what == "other":
            wanted.put(member(name, address, groups="other"))
            state.pop(name, None)
        else:
            wanted.put(member(name, address, ready=what == "ready"))
            state[name] = what == "ready", address
        ready = {key for key, (is_ready, _) in state.items() if is_ready}
        last = ready or last & state.keys()
        assert set(addresses(wanted)) == {state[key][1] for key in last}
        # The cost-saving bookkeeping never leaves anything behind.
        found = wanted.get(WEB)
        assert found is None or found.get(TXT) is not None
    for name in "abcd":
        wanted.remove(f"prod/{name}")
    assert len(wanted) == 0


def test_a_plan_for_a_group_deletes_the_name_with_its_last_member() -> None:
    record = f"heritage=ksd-ddns,owner={OWNER},group=prod/web"
    zone = live(node("web.prod.vm.example.", a(ONE), txt(record)))
    plan = full(Desired(RULES), zone, scope(RULES), max_delete_percent=100)
    assert [names.to_text(change.name) for change in plan.changes] == ["web.prod.vm.example."]


def explain(world: World, key: str) -> NameExplanation:
    """Return what became of the group for one VMI."""
    view = vmi_view(world.reconciler, key, Viewpoint(server="10.0.0.53:53", sends=True), world.now)
    (found,) = [each for each in view.names if each.name == WEB]
    return found


def test_explain_says_for_each_member_what_became_of_it() -> None:
    world = World(Server(), rules=txt_rules(max_rrset=2))
    world.report(
        member("a", ONE, created=1), member("b", TWO, created=2), member("c", THREE, created=3),
        member("d", "10.0.0.4", ready=False),
    )  # fmt: skip
    world.run()
    found = {key: explain(world, f"prod/{key}") for key in "abcd"}
    assert {key: (each.state, each.skip) for key, each in found.items()} == {
        "a": (State.PUBLISHED, None),
        "b": (State.PUBLISHED, None),
        "c": (State.SKIPPED, Skip.MAX_RRSET),
        "d": (State.SKIPPED, Skip.NOT_READY),
    }
    members = [("prod/a", "published"), ("prod/b", "published"), ("prod/c", "over-limit"), ("prod/d", "not-ready")]
    assert [(claim.vmi, claim.member) for claim in found["a"].claims] == members
    assert all(claim.group for claim in found["a"].claims)


def asked(world: World, name: bytes = WEB) -> NameExplanation:
    """Return what is explained for the name of a group."""
    found = name_view(world.reconciler, name, Viewpoint(server="10.0.0.53:53", sends=True), world.now).explanation
    assert found is not None
    return found


def test_explain_shows_the_records_and_all_members_of_a_group() -> None:
    world = World(Server())
    world.report(member("a", ONE), member("b", TWO), member("c", THREE, ready=False))
    world.run()
    found = asked(world)
    assert found.wanted == node(WEB, a(ONE, TWO), txt(f"heritage=ksd-ddns,owner={OWNER},group=prod/web"))
    assert (found.state, found.winner) == (State.PUBLISHED, "prod/a")
    world.change(member("a", ONE, ready=False), member("b", TWO, ready=False))
    world.run()
    found = asked(world)
    assert (found.state, found.winner) == (State.PUBLISHED, "prod/b")
    assert [(each.vmi, each.member) for each in found.claims] == [
        ("prod/b", "last"), ("prod/a", "not-ready"), ("prod/c", "not-ready"),
    ]  # fmt: skip
    lines = list(explain_lines(world))
    assert [line.split(": ", 1)[1] for line in lines if "(group" in line] == [
        "not ready, published: no member is ready, and it was the last one", "not ready", "not ready",
    ]  # fmt: skip
    assert any(line.startswith("owner ") and "prod/web" in line for line in lines)


def explain_lines(world: World) -> list[str]:
    """Return the text that is printed for the group."""
    answer = name_view(world.reconciler, WEB, Viewpoint(server="10.0.0.53:53", sends=True), world.now)
    document = explained_name(answer, lambda at: datetime.fromtimestamp(at, UTC))
    return list(Text(document, zone=UTC, width=None).lines())


def test_explain_of_a_group_without_a_ready_member_says_so() -> None:
    world = World(Server())
    world.report(member("a", ONE, ready=False))
    world.run()
    found = asked(world)
    assert (found.state, found.skip, found.winner) == (State.SKIPPED, Skip.NO_READY_MEMBER, "")
    assert [(each.vmi, each.member) for each in found.claims] == [("prod/a", "not-ready")]


def test_explain_lists_some_of_many_members() -> None:
    world = World(Server())
    world.report(*(member(f"m{i:03}", f"10.0.{i // 250}.{i % 250}", ready=i % 2 == 0) for i in range(500)))
    world.run()
    found = asked(world)
    states = [each.member for each in found.claims]
    assert (states.count(Member.NOT_READY), len(states), found.claimed) == (50, 100, 500)
    assert any(line.strip() == "and 400 more" for line in explain_lines(world))


def test_the_last_member_stays_with_a_controller_that_lists_before_it_reads_the_zone() -> None:
    world = World(Server())
    world.report(member("a", ONE), member("b", TWO))
    world.run()
    world.change(member("a", ONE, ready=False), member("b", TWO, ready=False))
    world.run()
    world.start()
    world.report(*world.vmis.values())
    world.run()
    assert addresses(world.reconciler.desired) == [TWO]


def test_the_last_member_of_each_group_is_known_after_a_restart() -> None:
    last = live(
        node(WEB, a(ONE), txt(f"heritage=ksd-ddns,owner={OWNER},group=prod/web")),
        node("db.prod.vm.example.", a(TWO), txt(f"heritage=ksd-ddns,owner={OWNER},group=prod/db")),
    )
    unready = [member("a", ONE, ready=False, groups="web, db"), member("b", TWO, ready=False, groups="web, db")]
    wanted = desired([with_groups(each, last, RULES, scope(RULES)) for each in unready], RULES)
    assert (addresses(wanted), addresses(wanted, n("db.prod.vm.example."))) == ([ONE], [TWO])


def test_the_last_member_that_is_not_ready_is_rate_limited_too() -> None:
    wanted = desired([member("a", ONE)], RULES)
    wanted.put(member("a", ONE, ready=False))
    both = member("a", ONE, ready=False, groups="web, db")
    assert wanted.effect(both) is Effect.REMOVES  # it is not published in another group
    moved = vmi("a", interfaces={"net1": [ONE], "net2": [TWO]})
    of = {"ready": False, "groups": (Membership("web", "net2"),)}
    wanted.put(msgspec.structs.replace(moved, ready=True, groups=(Membership("web", "net1"),)))
    wanted.put(msgspec.structs.replace(moved, ready=False, groups=(Membership("web", "net1"),)))
    assert wanted.effect(msgspec.structs.replace(moved, **of)) is Effect.CHANGES


def test_an_address_that_members_share_counts_once() -> None:
    floating = "10.0.0.100"
    members = [member(f"m{i}", [floating, f"10.0.1.{i}"], created=i) for i in range(4)]
    wanted = desired(members, txt_rules(max_rrset=5))
    assert addresses(wanted) == [floating, *(f"10.0.1.{i}" for i in range(4))]
    assert not wanted.warnings()


def test_the_ttl_is_that_of_published_members() -> None:
    members = [member(f"m{i}", f"10.0.1.{i}", created=i, ttl=30 + i) for i in range(4)]
    young = member("young", TWO, created=99, ttl=5)
    found = desired([*members, young], txt_rules(max_rrset=3)).get(WEB)
    assert found is not None
    assert {item.ttl for item in found.rrsets} == {30}


def test_all_addresses_of_a_large_group_change_in_one_message() -> None:
    rules = txt_rules(max_rrset=1000)

    def crowd(net: int) -> list[Vmi]:
        return [
            member(f"m{i}", [f"10.{net}.{i // 250}.{i % 250 + 1}", f"fd00:{net}::{i:x}"], created=i) for i in range(600)
        ]

    before, after = (desired(crowd(net), rules).get(WEB) for net in (1, 2))
    assert before is not None
    assert after is not None
    assert {item.type: len(item.rdatas) > 200 for item in after.rrsets} == {A: True, TXT: False, AAAA: True}
    change = Change(before, after, Kind.CHANGE)
    message = codec.update(1, n("example."), [*prerequisites(change)], [*updates(change)])
    assert len(message) < codec.MAX_MESSAGE


@pytest.mark.parametrize(("older", "published"), [(19, True), (20, False)])
def test_only_the_oldest_members_are_considered(older: int, published: bool) -> None:
    members = [member(f"m{i}", f"10.0.1.{i}", created=i) for i in range(older)]
    found = desired([*members, member("young", "fd00::1", created=99)], txt_rules(max_rrset=2)).get(WEB)
    assert found is not None
    assert (found.get(AAAA) is not None) is published


def test_the_address_of_a_member_is_held_and_goes_when_the_hold_ends() -> None:
    world = World(Server(), options=Options(hold_down=60.0))
    gone = msgspec.structs.replace(member("a", ONE), interfaces=())
    world.report(member("a", ONE), member("b", TWO))
    world.run()
    world.change(gone)
    world.run(30.0)
    assert addresses(world.reconciler.desired) == [ONE, TWO]
    world.change(msgspec.structs.replace(gone, ready=False))
    world.run(1.0)
    assert addresses(world.reconciler.desired) == [TWO]
    world.change(gone)
    world.run(1.0)
    assert addresses(world.reconciler.desired) == [ONE, TWO]
    world.run(60.0)
    assert addresses(world.reconciler.desired) == [TWO]
    assert not world.wrong()


def test_a_member_that_flaps_leaves_at_once_and_returns_slowly() -> None:
    world = World(Server())
    world.report(member("a", ONE), member("b", TWO))
    world.run()
    for _ in range(20):
        world.change(member("a", ONE))
        world.run(0.5)
        world.change(member("a", ONE, ready=False))
        world.run(0.5)
        assert addresses(world.reconciler.desired) == [TWO]
    sent = len(world.messages)
    world.change(member("a", ONE))
    world.run(1.0)
    assert addresses(world.reconciler.desired) == [TWO]
    world.run(60.0)
    assert addresses(world.reconciler.desired) == [ONE, TWO]
    assert len(world.messages) > sent


def test_the_deletion_limit_blocks_groups_with_the_names_of_their_members() -> None:
    world = World(Server())
    world.report(*(member(f"m{i}", f"10.0.1.{i}", groups=f"g{i}") for i in range(10)))
    world.run()
    world.report()
    world.run()
    blocked = world.reconciler.deletions.blocked
    assert {n(f"g{i}.prod.vm.example.") for i in range(10)} <= blocked.keys()
    assert len(blocked) == 30


def test_the_counts_follow_the_members() -> None:
    wanted = Desired(txt_rules(group_srv=True))
    ports = (Port("http", 80),)
    for each in (
        member("a", ONE, groups="web, db", ports=ports),
        member("b", TWO, ready=False),
        member("c", THREE, ready=False, groups="x"),
    ):
        wanted.put(each)
    assert wanted.groups == GroupCounts(groups=3, unserved=1, ready=2, unready=2)
    wanted.put(member("a", ONE, ready=False, groups="web"))
    assert wanted.groups == GroupCounts(groups=2, unserved=2, ready=0, unready=3)
    for key in "abc":
        wanted.remove(f"prod/{key}")
    assert wanted.groups == GroupCounts()


def test_ten_thousand_members_cost_what_ten_do() -> None:
    # Counts the comparisons of ranks rather than the time: the cost of one change is that of finding its place.
    members = [member(f"m{i:05}", f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", created=i) for i in range(10_000)]
    wanted = desired(members, RULES)
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for each in members[:10]:
            wanted.put(msgspec.structs.replace(each, ready=False))
        of_puts, calls = calls, 0
        warned = wanted.warnings()
    finally:
        sys.setprofile(None)
    assert of_puts < 10 * 300
    assert calls < 10_000 * 60
    assert len(warned) == 10_000 - 10 - 90


def test_explain_names_the_vmi_that_a_group_yields_to() -> None:
    world = World(Server())
    world.report(member("a", ONE), member("b", TWO), vmi("web", interfaces={"net1": [THREE]}))
    world.run()
    for key in ("prod/a", "prod/b"):
        found = explain(world, key)
        assert found.state is State.CONFLICT
        assert found.conflict is not None
        assert (found.conflict.vmi, found.conflict.winner) == (key, "prod/web")
