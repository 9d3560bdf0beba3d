# SPDX-License-Identifier: Apache-2.0
"""Why a VMI or a name is in DNS, or is not: facts, from a reconciler on a primary in memory."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import vmis
from ksd_ddns.kubevirt import selector
from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.kubevirt.vmi import MAX_ADDRESSES_OF_INTERFACE, parse
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.kubevirt.warning import AddressKind, VmiWarning, WarningCode
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import AAAA, A
from ksd_ddns.zone.desired import Network, Rules
from ksd_ddns.zone.explain import (
    AddressExplanation,
    NameAnswer,
    NameExplanation,
    Skip,
    State,
    Viewpoint,
    VmiExplanation,
    best,
    name_view,
    similar_keys,
    vmi,
    vmi_view,
)
from ksd_ddns.zone.plan import ConflictCause, Kind, Policy
from ksd_ddns.zone.reconciler import Options
from ksd_ddns.zone.reconciler.refusals import Cause
from tests.zone.build import a, cname, mark, n, node, reverse_rules, txt, txt_rules, zone_rules
from tests.zone.reconciler.model import REFUSED, UNREACHABLE, Server, World

RUN = Viewpoint(server="10.0.0.53:53", sends=True, hold_down=300.0)
PLAN = Viewpoint(server="10.0.0.53:53", sends=False, full_zone=True)
ALL = Selection()

Make = Callable[..., dict[str, Any]]


def obj_of(raw: dict[str, Any]) -> VmiObject:
    return msgspec.convert(raw, VmiObject)


def db(interfaces: dict[str, list[str] | None] | None = None, **fields: Any) -> dict[str, Any]:
    """Return the VMI prod/db without a default network."""
    given = {"default": None, **fields}
    raw = vmis.vmi("db", "prod", {"net1": ["10.1.0.9"]} if interfaces is None else interfaces, **given)
    raw["status"]["interfaces"].pop()  # the interface that only the guest knows
    return raw


def world(*raws: dict[str, Any], server: Server | None = None, run: bool = True, **fields: Any) -> World:
    found = World(server or Server(), **fields)
    found.report(*(parse(obj_of(raw)) for raw in raws))
    if run:
        found.run()
    else:
        found.step()
    return found


def explained(
    of: World, raw: dict[str, Any] | None, key: str = "prod/db", *, at: Viewpoint = RUN, selection: Selection = ALL
) -> VmiExplanation:
    obj = obj_of(raw) if raw is not None else None
    return vmi(key, obj, [vmi_view(of.reconciler, key, at, of.now)], selection)


def rows(of: VmiExplanation) -> list[tuple[str, str, State, Skip | None]]:
    return [(item.name, row.address, row.state, row.skip) for item in of.interfaces for row in item.addresses]


def short(name: bytes) -> str:
    return names.to_text(name).removesuffix(".vm.example.")


def states(of: VmiExplanation) -> dict[str, State]:
    return {short(name.name): name.state for name in of.names}


def only(of: VmiExplanation, name: str) -> NameExplanation:
    (found,) = [each for each in of.names if short(each.name) == name]
    return found


def block(text: str) -> Network:
    network = ip_network(text)
    return Network(network.network_address.packed, network.prefixlen)


def test_a_published_vmi() -> None:
    raw = db({"net1": ["10.1.0.9", "fd00::9"], "net2": ["10.2.0.9"]})
    found = explained(world(raw), raw)
    assert states(found) == {
        "db.prod": State.PUBLISHED,
        "net1.db.prod": State.PUBLISHED,
        "net2.db.prod": State.PUBLISHED,
    }
    assert rows(found) == [
        ("net1", "10.1.0.9", State.PUBLISHED, None),
        ("net1", "fd00::9", State.PUBLISHED, None),
        ("net2", "10.2.0.9", State.PUBLISHED, None),
    ]
    first = found.interfaces[0].addresses[0]
    assert [short(name) for name in first.names] == ["net1.db.prod", "db.prod"]
    assert (found.phase, found.uid, found.exists, found.known, found.complete) == (
        "Running", vmis.uid_of("prod", "db"), True, True, True,
    )  # fmt: skip
    name = only(found, "net1.db.prod")
    assert name.ours
    assert [(record.owner, record.vmi) for record in name.owners] == [("test", "prod/db")]
    assert [(claim.vmi, claim.annotation) for claim in name.claims] == [("prod/db", False)]


@pytest.mark.parametrize(
    ("interfaces", "fields", "rules", "row", "complete"),
    [
        pytest.param({"net1": ["fe80::9"]}, {}, {}, ("net1", "fe80::9", Skip.NEVER_PUBLISHED), True, id="link-local"),
        pytest.param({"net1": ["127.0.0.1"]}, {}, {}, ("net1", "127.0.0.1", Skip.NEVER_PUBLISHED), True, id="loopback"),
        pytest.param({"net1": ["64:ff9b::a00:0"]}, {}, {}, None, True, id="a NAT64 form that is fine"),
        pytest.param(
            {"net1": ["64:ff9b::7f00:1"]}, {}, {}, ("net1", "64:ff9b::7f00:1", Skip.NEVER_PUBLISHED), True, id="NAT64"
        ),
        pytest.param({"net1": ["10.1.0"]}, {}, {}, ("net1", "10.1.0", Skip.NOT_AN_ADDRESS), False, id="not an address"),
        pytest.param({"net1": []}, {}, {}, ("net1", "", Skip.NO_ADDRESS), True, id="no address"),
        pytest.param({"net1": None}, {}, {}, ("net1", "", Skip.NO_ADDRESS), True, id="in the spec alone"),
        pytest.param(
            {}, {"default": "default"}, {}, ("default", "10.244.1.7", Skip.POD_NETWORK), True, id="pod network"
        ),
        pytest.param(
            {},
            {"default": "lan", "default_multus": True},
            {},
            ("lan", "10.244.1.7", Skip.POD_NETWORK),
            True,
            id="default network of Multus",
        ),
        pytest.param(
            {"net1": ["10.1.0.9"]},
            {},
            {"publish": (block("10.9.0.0/16"),)},
            ("net1", "10.1.0.9", Skip.PUBLISH_CIDRS),
            True,
            id="PUBLISH_CIDRS",
        ),
        pytest.param(
            {"net1": ["10.1.0.9"]},
            {},
            {"exclude": (block("10.1.0.0/16"),)},
            ("net1", "10.1.0.9", Skip.EXCLUDE_CIDRS),
            True,
            id="EXCLUDE_CIDRS",
        ),
        pytest.param(
            {"net1": ["10.1.0.1", "10.1.0.2", "fd00::1"]},
            {},
            {"max_addresses": 1},
            ("net1", "10.1.0.2", Skip.MAX_ADDRESSES),
            False,
            id="MAX_ADDRESSES",
        ),
        pytest.param(
            {"NET1": ["10.1.0.1"], "net1": ["10.1.0.2"]},
            {},
            {},
            ("net1", "10.1.0.2", Skip.DUPLICATE_INTERFACE_NAME),
            False,
            id="two interfaces with one DNS name",
        ),
        pytest.param(
            {"net.1": ["10.1.0.1"]}, {}, {}, ("net.1", "10.1.0.1", Skip.ILLEGAL_INTERFACE_NAME), False, id="a dot"
        ),
        pytest.param(
            {"x" * 64: ["10.1.0.1"]}, {}, {}, ("x" * 64, "10.1.0.1", Skip.ILLEGAL_INTERFACE_NAME), False, id="too long"
        ),
        pytest.param(
            {"net1": [f"10.1.{i >> 8}.{i & 255}" for i in range(MAX_ADDRESSES_OF_INTERFACE + 1)]},
            {},
            {"max_addresses": 1000, "max_rrset": 1000},
            ("net1", "10.1.2.0", Skip.FLOOD),
            False,
            id="a flood",
        ),
    ],
)
def test_a_skipped_address(
    interfaces: dict[str, list[str] | None],
    fields: dict[str, Any],
    rules: dict[str, Any],
    row: tuple[str, str, Skip] | None,
    complete: bool,
) -> None:
    # Another interface has a name, so that only the row decides.
    raw = db({"aaa": ["10.9.0.9"], **interfaces}, **fields)
    found = explained(world(raw, rules=txt_rules(**rules)), raw)
    skipped = [(name, address, skip) for name, address, _, skip in rows(found) if skip and name != "aaa"]
    assert skipped[-1:] == ([row] if row else [])
    assert found.complete is complete


def test_the_kind_of_an_address_is_a_fact() -> None:
    raw = db({"net1": ["10.1.0.9", "169.254.1.1", "fe80::1"]})
    found = explained(world(raw), raw)
    kinds = [row.kind for row in found.interfaces[0].addresses]
    assert kinds == [None, AddressKind.LINK_LOCAL, AddressKind.LINK_LOCAL]


def test_an_interface_that_is_unplugged_or_known_to_the_guest_only() -> None:
    raw = vmis.vmi("db", "prod", {"net1": ["10.1.0.9"], "old": ["10.2.0.9"]}, default=None)
    raw["spec"]["domain"]["devices"]["interfaces"][1]["state"] = "absent"
    assert rows(explained(world(raw), raw)) == [
        ("net1", "10.1.0.9", State.PUBLISHED, None),
        ("old", "10.2.0.9", State.SKIPPED, Skip.UNPLUGGED),
        ("", "172.17.0.1", State.SKIPPED, Skip.GUEST_ONLY),
    ]


def test_an_interface_without_a_name_of_its_own_may_be_in_the_default_record() -> None:
    raw = db({"net.1": ["10.1.0.9"]})
    (row,) = explained(world(raw), raw).interfaces[0].addresses
    assert (row.state, row.skip, [short(name) for name in row.names]) == (
        State.PUBLISHED, Skip.ILLEGAL_INTERFACE_NAME, ["db.prod"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "selection", "skip"),
    [
        ({"annotations": {"ksd-ddns/ignore": "true"}}, ALL, Skip.IGNORED),
        ({"phase": "Succeeded"}, ALL, Skip.ENDED),
        ({}, Selection(namespaces=frozenset({"dev"})), Skip.NAMESPACES),
        ({}, Selection(selector=selector.parse("dns=yes")), Skip.LABEL_SELECTOR),
    ],
    ids=["ignored", "ended", "namespaces", "labels"],
)
def test_a_vmi_of_which_nothing_is_published(fields: dict[str, Any], selection: Selection, skip: Skip) -> None:
    raw = db(**fields)
    selected = selection.includes(obj_of(raw))
    found = explained(world(*([raw] if selected else [])), raw, selection=selection)
    assert (found.skip, found.complete, found.known, states(found)) == (skip, False, True, {})
    assert rows(found) == [("net1", "10.1.0.9", State.SKIPPED, skip)]


def test_a_vmi_whose_name_cannot_be_a_dns_name() -> None:
    raw = db()
    raw["metadata"]["name"] = "d_b!"
    found = explained(world(raw), raw, "prod/d_b!")
    assert (found.skip, found.complete) == (Skip.ILLEGAL_VMI_NAME, False)
    assert rows(found) == [("net1", "10.1.0.9", State.SKIPPED, Skip.ILLEGAL_VMI_NAME)]


def test_max_names() -> None:
    raw = db({"net1": ["10.1.0.1"], "net2": ["10.1.0.2"]})
    found = explained(world(raw, rules=txt_rules(max_names=2)), raw)
    assert rows(found)[-1] == ("net2", "10.1.0.2", State.SKIPPED, Skip.MAX_NAMES)
    assert found.interfaces[1].addresses[0].limit == 2
    assert not found.complete


def test_max_names_per_namespace() -> None:
    old, raw = vmis.vmi("old", "prod", created="2020-01-01T00:00:00Z", default=None), db()
    found = explained(world(old, raw, rules=txt_rules(max_namespace_names=3)), raw)
    assert states(found) == {"db.prod": State.PUBLISHED, "net1.db.prod": State.SKIPPED}
    assert rows(found) == [("net1", "10.1.0.9", State.SKIPPED, Skip.MAX_NAMES_PER_NAMESPACE)]
    name = only(found, "net1.db.prod")
    assert (name.skip, name.limit) == (Skip.MAX_NAMES_PER_NAMESPACE, 3)


def test_a_bad_annotation_is_a_warning_and_only_a_missing_name_makes_it_incomplete() -> None:
    raw = db(annotations={"ksd-ddns/ttl": "soon"})
    found = explained(world(raw), raw)
    assert [warning.code for warning in found.warnings] == [WarningCode.BAD_ANNOTATION]
    assert found.complete
    raw = db(annotations={"ksd-ddns/hostname": "a b"})
    found = explained(world(raw), raw)
    assert [warning.code for warning in found.warnings] == [WarningCode.ILLEGAL_HOSTNAME]
    assert not found.complete


@pytest.mark.parametrize(
    ("there", "cause"),
    [
        (node("net1.db.prod.vm.example.", a("10.9.9.9")), ConflictCause.UNOWNED),
        (node("net1.db.prod.vm.example.", a("10.9.9.9"), txt(mark(owner="other"))), ConflictCause.OTHER_OWNER),
        (node("net1.db.prod.vm.example.", cname("www.example.")), ConflictCause.CNAME),
    ],
    ids=["unowned", "other owner", "cname"],
)
def test_a_conflict_with_the_zone(there: Any, cause: ConflictCause) -> None:
    raw = db()
    found = explained(world(raw, server=Server(there)), raw)
    assert states(found) == {"db.prod": State.PUBLISHED, "net1.db.prod": State.CONFLICT}
    name = only(found, "net1.db.prod")
    assert name.conflict is not None
    assert (name.conflict.cause, name.conflict.vmi, name.ours, name.found) == (cause, "prod/db", False, there)
    assert rows(found) == [("net1", "10.1.0.9", State.CONFLICT, None)]
    assert not found.complete


def test_a_conflict_between_two_vmis() -> None:
    hostname = {"ksd-ddns/hostname": "web"}
    old = vmis.vmi("old", "prod", created="2020-01-01T00:00:00Z", annotations=hostname)
    raw = db(annotations=hostname)
    both = world(old, raw)
    loser = only(explained(both, raw), "web.prod")
    assert loser.conflict is not None
    assert (loser.state, loser.conflict.cause, loser.conflict.winner, loser.winner) == (
        State.CONFLICT, ConflictCause.OLDER_VMI, "prod/old", "prod/old",
    )  # fmt: skip
    assert [claim.vmi for claim in loser.claims] == ["prod/old", "prod/db"]
    assert all(claim.annotation for claim in loser.claims)
    assert loser.claims[0].created < loser.claims[1].created
    winner = only(explained(both, old, "prod/old"), "web.prod")
    assert winner.state is State.PUBLISHED
    # For the name it is published: by the winner.
    name = asked(both, "web.prod")
    assert (name.state, name.winner) == (State.PUBLISHED, "prod/old")


def asked(of: World, name: str, at: Viewpoint = RUN) -> NameExplanation:
    answer: NameAnswer = name_view(of.reconciler, n(f"{name}.vm.example."), at, of.now)
    assert answer.explanation is not None
    return answer.explanation


def test_a_refused_name_since_when_and_when_it_is_retried() -> None:
    raw = db({"vlan_12": ["10.2.0.7"]})
    server = Server()
    server.refuses = {n("vlan_12.db.prod.vm.example."): REFUSED}
    both = world(raw, server=server)
    first = both.now
    both.run(1.0)
    found = explained(both, raw)
    assert states(found) == {"db.prod": State.PUBLISHED, "vlan_12.db.prod": State.REFUSED}
    name = only(found, "vlan_12.db.prod")
    fact = name.refusal
    assert fact is not None
    assert (fact.refusal.cause, fact.refusal.rcode, fact.server, name.change) == (
        Cause.HOST_NAME, REFUSED, "10.0.0.53:53", Kind.ADD,
    )  # fmt: skip
    assert fact.retry_at is not None
    assert fact.refusal.since <= first < both.now < fact.retry_at
    since = fact.refusal.since
    both.run(20.0)  # the retries are refused, too
    again = only(explained(both, raw), "vlan_12.db.prod").refusal
    assert again is not None
    assert again.retry_at is not None
    assert (again.refusal.since, again.retry_at > both.now) == (since, True)
    assert rows(found) == [("vlan_12", "10.2.0.7", State.REFUSED, None)]
    server.refuses = {}
    both.run(700.0)
    assert explained(both, raw).complete


def test_a_held_address() -> None:
    raw = db({"net1": ["10.1.0.9", "fd00::9"]})
    both = world(raw, options=Options(hold_down=300.0))
    gone = db({"net1": ["10.1.0.9"]})
    both.change(parse(obj_of(gone)))
    since = both.now
    both.run(10.0)
    found = explained(both, gone)
    assert states(found) == {"db.prod": State.HELD, "net1.db.prod": State.HELD}
    assert rows(found) == [
        ("net1", "10.1.0.9", State.PUBLISHED, None),
        ("net1", "fd00::9", State.HELD, None),
    ]
    hold = found.interfaces[0].addresses[1].hold
    assert hold is not None
    assert (hold.interface, hold.rdtype, hold.since, hold.until) == ("net1", AAAA, since, since + 300.0)
    assert found.complete
    # While the source cannot be read, no hold ends.
    both.fail_source("", "no API server")
    (first, *_) = explained(both, gone).names
    assert first.hold is not None
    assert (first.hold.since, first.hold.until) == (since, None)
    assert explained(both, gone).source_problems == ("no API server",)


def test_another_process_may_hold_it() -> None:
    there = node("net1.db.prod.vm.example.", a("10.1.0.9"), txt(mark()))
    raw = db({"net1": []})
    found = explained(world(raw, server=Server(there), options=Options(hold_down=300.0)), raw, at=PLAN)
    hold = only(found, "net1.db.prod").hold
    assert hold is not None
    assert (hold.rdtype, hold.since, hold.until) == (A, None, None)


def test_a_rate_limited_vmi() -> None:
    raw = db()
    both = world(raw)
    latest = raw
    for number in range(12):
        latest = db({"net1": [f"10.1.0.{number + 10}"]})
        both.change(parse(obj_of(latest)))
        both.run(0.01)
    found = explained(both, latest)
    assert found.slowed_until is not None
    assert found.slowed_until > both.now
    assert found.known
    assert found.slowed_until == both.reconciler.inventory.due
    assert rows(found) == [("net1", "10.1.0.21", State.PENDING, None)]
    assert states(found) == {"db.prod": State.PUBLISHED, "net1.db.prod": State.PUBLISHED}
    assert not found.complete


def test_a_change_that_is_not_sent_or_not_shown() -> None:
    raw = db()
    server = Server()
    server.down = True
    down = World(server)
    down.run()
    server.down = False
    down.run(5.0)
    server.down = True
    down.change(parse(obj_of(raw)))
    down.report(parse(obj_of(raw)))
    down.run(0.5)
    pending = explained(down, raw)
    assert set(states(pending).values()) == {State.PENDING}
    assert pending.zones[0].problem is UNREACHABLE
    assert {name.change for name in pending.names} == {Kind.ADD}
    hides = Server(signed=True)
    hides.hides = True
    late = world(raw, server=hides)
    shown = explained(late, raw)
    assert set(states(shown).values()) == {State.PENDING}
    assert all(name.unconfirmed_since is not None for name in shown.names)
    assert not shown.complete


def test_a_change_that_only_plan_sees_is_missing() -> None:
    raw = db()
    both = world(raw, run=False)
    found = explained(both, raw, at=PLAN)
    assert states(found) == {"db.prod": State.MISSING, "net1.db.prod": State.MISSING}
    assert rows(found) == [("net1", "10.1.0.9", State.MISSING, None)]


def test_an_address_that_is_in_the_zone_already_is_published_while_another_one_is_not() -> None:
    there = node("net1.db.prod.vm.example.", a("10.1.0.9"), txt(mark()))
    raw = db({"net1": ["10.1.0.9", "10.1.0.10"]})
    both = world(raw, server=Server(there), run=False)
    assert rows(explained(both, raw, at=PLAN)) == [
        ("net1", "10.1.0.9", State.PUBLISHED, None),
        ("net1", "10.1.0.10", State.MISSING, None),
    ]


def test_a_vmi_that_the_controller_has_not_received_as_it_is_now() -> None:
    raw = db({"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]})
    both = world(db())
    found = explained(both, raw)
    assert not found.known
    assert states(found)["net2.db.prod"] is State.PENDING
    assert rows(found)[1] == ("net2", "10.2.0.9", State.PENDING, None)


@pytest.mark.parametrize("at", [RUN, PLAN], ids=["run", "plan"])
def test_what_remains_of_a_vmi_that_is_gone(at: Viewpoint) -> None:
    there = [node(f"net1.x{i}.prod.vm.example.", a("10.1.0.9"), txt(mark(f"prod/x{i}"))) for i in range(12)]
    both = world(db(), server=Server(*there))
    found = explained(both, None, "prod/x3", at=at)
    assert (found.exists, found.complete) == (False, False)
    assert states(found) == {"net1.x3.prod": State.BLOCKED}
    (name,) = found.names
    assert (name.change, name.limits[0].owned) == (Kind.DELETE, 12)
    assert [record.vmi for record in name.owners] == ["prod/x3"]


def test_upsert_only_leaves_names() -> None:
    there = node("net1.x.prod.vm.example.", a("10.1.0.9"), txt(mark("prod/x")))
    both = world(db(), server=Server(there), settings={"policy": Policy.UPSERT_ONLY})
    assert states(explained(both, None, "prod/x", at=PLAN)) == {"net1.x.prod": State.LEFTOVER}
    assert asked(both, "net1.x.prod").state is State.LEFTOVER


def test_capital_letters_in_the_name_of_a_vm() -> None:
    assert similar_keys("Prod/DB", ["prod/db", "prod/web"]) == ("prod/db",)


def test_there_is_no_such_vmi() -> None:
    both = world(db(), vmis.vmi("db1", "prod"), vmis.vmi("other", "prod"), vmis.vmi("bd", "dev"))
    found = explained(both, None, "prod/bd")
    assert (found.exists, found.names, found.similar) == (False, (), ("dev/bd", "prod/db"))


def test_a_vmi_that_cannot_be_read_is_explained_as_far_as_the_controller_knows() -> None:
    both = world(db({"net1": ["10.1.0.9"]}))
    found = vmi("prod/db", None, [vmi_view(both.reconciler, "prod/db", RUN, both.now)], ALL, unread="no API server")
    assert (found.exists, found.read, found.unread) == (True, False, "no API server")
    assert rows(found) == [("net1", "10.1.0.9", State.PUBLISHED, None)]


@pytest.mark.parametrize(
    ("name", "state", "winner"),
    [
        ("net1.db.prod", State.PUBLISHED, "prod/db"),
        ("nothing", State.UNUSED, ""),
        ("foreign", State.FOREIGN, ""),
        ("taken", State.FOREIGN, ""),
    ],
)
def test_a_name(name: str, state: State, winner: str) -> None:
    server = Server(
        node("foreign.vm.example.", a("10.9.9.9")), node("taken.vm.example.", a("10.9.9.9"), txt(mark(owner="other")))
    )
    found = asked(world(db(), server=server), name)
    assert (found.state, found.winner) == (state, winner)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("db.vm.example.", ("dev/db", "prod/db")),
        ("prod.db.vm.example.", ("prod/db",)),
        ("prod.web.vm.example.", ()),
        ("web.vm.example.", ()),
        ("db.prod.vm.example.", ()),
        ("db.elsewhere.", ()),
    ],
)
def test_an_unused_name_may_mean_a_vm(name: str, meant: tuple[str, ...]) -> None:
    of = world(db(), vmis.vmi("db", "dev", {"net1": ["10.1.0.7"]}))
    answer = name_view(of.reconciler, n(name), RUN, of.now)
    assert answer.similar == meant
    assert best([answer]).similar == meant


@pytest.mark.parametrize(
    ("name", "wildcard"),
    [
        pytest.param("shop.apps.prod.vm.example.", "*.apps.prod.vm.example.", id="below"),
        pytest.param("a.b.apps.prod.vm.example.", "*.apps.prod.vm.example.", id="two-labels-below"),
        pytest.param("apps.prod.vm.example.", "", id="the-parent"),
        pytest.param("other.prod.vm.example.", "", id="elsewhere"),
        pytest.param("b.mail.apps.prod.vm.example.", "", id="below-another-name"),
        pytest.param("deep.apps.prod.vm.example.", "", id="a-name-exists-below"),
        pytest.param("b.deep.apps.prod.vm.example.", "", id="below-a-name-without-records"),
        pytest.param("db.prod.vm.example.", "", id="published"),
    ],
)
def test_the_wildcard_that_answers_for_an_unused_name(name: str, wildcard: str) -> None:
    apps = vmis.vmi("db", "prod", {"net1": ["10.1.0.9"]}, annotations={"ksd-ddns/hostname": "*.apps"})
    below = [node(f"{label}.apps.prod.vm.example.", a("10.9.9.9")) for label in ("mail", "a.deep")]
    answer = name_view(world(apps, server=Server(*below)).reconciler, n(name), RUN, 0.0)
    assert answer.wildcard == best([answer]).wildcard == (n(wildcard) if wildcard else b"")


def test_before_the_zone_is_read_nothing_is_known() -> None:
    empty = World(Server())
    assert asked(empty, "net1.db.prod").state is State.UNKNOWN


def test_ptr_records() -> None:
    server = Server(zone=n("10.in-addr.arpa."))
    raw, other = db(), vmis.vmi("z", "prod", {"net1": ["10.1.0.9"]}, created="2027-01-01T00:00:00Z", default=None)
    both = world(raw, other, server=server, rules=reverse_rules(max_rrset=1))
    first = explained(both, raw)
    assert [(names.to_text(name.name), name.state) for name in first.names] == [
        ("9.0.1.10.in-addr.arpa.", State.PUBLISHED)
    ]
    second = explained(both, other, "prod/z").names[0]
    assert (second.state, second.skip, second.limit) == (State.SKIPPED, Skip.MAX_RRSET, 1)


def test_without_ownership_records() -> None:
    server = Server(zone=n("vm.example."))
    raw = db()
    both = world(raw, server=server, rules=zone_rules())
    found = explained(both, raw)
    assert (found.complete, found.names[0].ours, found.names[0].owners, found.zones[0].owner) == (True, True, (), "")


# What is explained is what is published

TEXTS = ["10.0.0.1", "10.0.0.2/24", "10.9.0.1", "fd00::1", "fe80::1", "127.0.0.1", "169.254.0.1", "10.0.0", "::1", ""]
NICS = ["net1", "NET1", "net-1", "net_2", "n.t", "default", "gone", "y" * 70]


@st.composite
def raws(draw: st.DrawFn) -> dict[str, Any]:
    found = draw(st.dictionaries(st.sampled_from(NICS), st.lists(st.sampled_from(TEXTS), max_size=6), max_size=5))
    annotations = draw(
        st.sampled_from(
            [{}, {}, {"ksd-ddns/hostname": "web, db, a b"}, {"ksd-ddns/ignore": "true"}, {"ksd-ddns/ttl": "9x"}]
        )
    )
    raw = vmis.vmi(
        draw(st.sampled_from(["db", "web", "a.b", "x!"])),
        draw(st.sampled_from(["prod", "dev"])),
        {name: list(filter(None, texts)) for name, texts in found.items()},
        default="default" if draw(st.booleans()) else None,
        phase=draw(st.sampled_from(["Running", "Running", "Failed"])),
        created=draw(st.sampled_from([vmis.CREATED, "2020-01-01T00:00:00Z"])),
        annotations=annotations,
    )
    for entry in raw["spec"]["domain"]["devices"]["interfaces"]:
        if entry["name"] == "gone":
            entry["state"] = "absent"
    return raw


RULES = st.builds(
    txt_rules,
    default_record=st.booleans(),
    max_addresses=st.sampled_from([1, 2, 16]),
    max_names=st.sampled_from([1, 2, 3, 50]),
    max_namespace_names=st.sampled_from([0, 0, 2, 5]),
    publish=st.sampled_from([(), (), (block("10.0.0.0/24"), block("fd00::/8"))]),
    exclude=st.sampled_from([(), (block("10.0.0.2/32"),)]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(raws(), min_size=1, max_size=4, unique_by=lambda raw: raw["metadata"]["name"]), RULES)
def test_explained_as_published_is_what_the_zone_holds(found: list[dict[str, Any]], rules: Rules) -> None:
    both = world(*found, rules=rules)
    holds: dict[tuple[str, bytes], str] = {}
    for name, item in both.server.nodes.items():
        for rdtype in (A, AAAA):
            rrset = item.get(rdtype)
            for rdata in rrset.rdatas if rrset else ():
                holds[name.hex(), rdata] = both.reconciler.inventory.vmi_of(name)
    published: dict[tuple[str, bytes], str] = {}
    by_names: dict[str, str] = {}
    for raw in found:
        key = f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"
        result = explained(both, raw, key)
        assert result.known
        same_rules(result, both.reconciler.desired.warnings_of(key))
        assert {name.state for name in result.names} <= {State.PUBLISHED, State.CONFLICT, State.SKIPPED}
        states_of = {name.name: name.state for name in result.names}
        by_names |= {name.hex(): key for name, state in states_of.items() if state is State.PUBLISHED}
        for row in (row for interface in result.interfaces for row in interface.addresses):
            consistent(row)
            for name in row.names:
                if states_of[name] is State.PUBLISHED:
                    published[name.hex(), ip_address(row.address.partition("/")[0]).packed] = key
    assert published == holds
    assert by_names.keys() == {name for name, _ in holds}


WARNED = {
    Skip.MAX_ADDRESSES: WarningCode.MAX_ADDRESSES,
    Skip.ILLEGAL_INTERFACE_NAME: WarningCode.ILLEGAL_INTERFACE_NAME,
    Skip.DUPLICATE_INTERFACE_NAME: WarningCode.DUPLICATE_INTERFACE_NAME,
    Skip.NOT_AN_ADDRESS: WarningCode.BAD_ADDRESS,
}


def same_rules(of: VmiExplanation, warnings: tuple[VmiWarning, ...]) -> None:
    """Assert that the rules that leave something out are those that the code that publishes warns about."""
    codes = {warning.code for warning in warnings}
    if of.skip is not None or WarningCode.MORE in codes:
        return
    skips = {row.skip for interface in of.interfaces for row in interface.addresses}
    # Past MAX_NAMES, and where nothing is published, no more interfaces are looked at.
    if of.names and WarningCode.MAX_NAMES not in codes:
        assert {WARNED[skip] for skip in skips if skip in WARNED} == codes & set(WARNED.values()), (skips, codes)
    assert (Skip.MAX_NAMES in skips) <= (WarningCode.MAX_NAMES in codes)


def consistent(row: AddressExplanation) -> None:
    """Assert that a row says why, and only where something is left out."""
    assert row.names or row.skip is not None, row
    assert (row.state is State.SKIPPED) <= (row.skip is not None), row
    assert (row.skip is Skip.NEVER_PUBLISHED) == (row.kind is not None), row
    assert row.skip is not Skip.FLOOD, row
