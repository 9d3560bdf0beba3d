# SPDX-License-Identifier: Apache-2.0
"""Groups: which addresses the name that several VMIs share has, as their members become ready, unready, or go."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksd_ddns.kubevirt.vmi import Membership, Vmi
from ksd_ddns.kubevirt.warning import WarningCode
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT, A
from ksd_ddns.zone.desired import Desired, Effect, desired
from ksd_ddns.zone.explain import NameExplanation, Skip, State, Viewpoint, vmi_view
from ksd_ddns.zone.hold import with_groups
from ksd_ddns.zone.plan import full
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
            [member("a", ONE, ready=False, was_ready=True), member("b", TWO, ready=False)], [ONE], id="in-the-zone"
        ),
        pytest.param(
            [member("b", TWO), member("a", ONE, ready=False, was_ready=True)], [TWO], id="in-the-zone-another-ready"
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
    other = msgspec.structs.replace(member("a", TWO), namespace="test")
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
    assert [each.was_ready for each in seen] == [False, True]
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
    assert [claim.vmi for claim in found["a"].claims] == ["prod/a", "prod/b", "prod/c"]
    assert all(claim.group for claim in found["a"].claims)


def test_explain_names_the_vmi_that_a_group_yields_to() -> None:
    world = World(Server())
    world.report(member("a", ONE), member("b", TWO), vmi("web", interfaces={"net1": [THREE]}))
    world.run()
    for key in ("prod/a", "prod/b"):
        found = explain(world, key)
        assert found.state is State.CONFLICT
        assert found.conflict is not None
        assert (found.conflict.vmi, found.conflict.winner) == (key, "prod/web")
