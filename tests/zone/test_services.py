# SPDX-License-Identifier: Apache-2.0
"""Services of groups (GROUP_SRV): which SRV records the members of a group have, and what becomes of them."""

import msgspec
import pytest

from ksd_ddns.kubevirt.groups import Membership, Port
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.warning import WarningCode
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import SRV, TXT
from ksd_ddns.wire.text import rdata_text
from ksd_ddns.zone.desired import Desired, Rules, desired
from ksd_ddns.zone.explain import NameExplanation, State, Viewpoint, name_view
from ksd_ddns.zone.hold import with_groups
from ksd_ddns.zone.plan import Kind, full
from ksd_ddns.zone.reconciler.refusals import violates_check_names
from ksd_ddns.zone.render import nsupdate
from ksd_ddns.zone.update import Limits
from tests.zone.build import OWNER, a, aaaa, live, n, node, scope, srv, txt, txt_rules, vmi, zone_rules
from tests.zone.reconciler.model import Server, World

HTTP = n("_http._tcp.web.prod.vm.example.")
RULES = txt_rules(group_srv=True)
RECORD = f"heritage=ksd-ddns,owner={OWNER},group=prod/web"


def member(
    name: str,
    address: str = "10.0.0.1",
    *,
    ports: str = "http=8080",
    group: str = "web",
    ready: bool = True,
    ttl: int | None = None,
    created: int = 1000,
) -> Vmi:
    """Return a member of the group with `ports` (`name=number[/protocol], ...`)."""
    parts = [each.partition("=") for each in ports.split(",")]
    found = [(port, *rest.partition("/")) for port, _, rest in parts]
    made = vmi(name, interfaces={"net1": [address]}, ttl=ttl, created=created)
    return msgspec.structs.replace(
        made,
        groups=(Membership(*group.split("=")),),
        ports=tuple(Port(port, int(number), protocol or "tcp") for port, number, _, protocol in found),
        ready=ready,
    )


def services(of: Desired, name: bytes = HTTP) -> list[str]:
    """Return the SRV records that are wanted at `name`."""
    found = of.get(name)
    item = found.get(SRV) if found else None
    return [rdata_text(SRV, rdata) for rdata in item.rdatas] if item else []


def test_a_service_has_a_record_for_each_member_and_one_ownership_record() -> None:
    wanted = desired([member("a", ttl=30), member("b", "10.0.0.2", ports="http=80")], RULES)
    assert wanted.get(HTTP) == node(
        HTTP, txt(RECORD, ttl=30), srv((8080, "a.prod.vm.example."), (80, "b.prod.vm.example."), ttl=30)
    )
    assert services(wanted) == ["0 0 80 b.prod.vm.example.", "0 0 8080 a.prod.vm.example."]


@pytest.mark.parametrize(
    ("one", "rules", "target"),
    [
        pytest.param(member("a"), {}, "a", id="default-record"),
        pytest.param(member("a", group="web=net1"), {}, "net1.a", id="interface"),
        pytest.param(member("a"), {"default_record": False}, "net1.a", id="no-default-record"),
        pytest.param(
            msgspec.structs.replace(
                vmi("a", interfaces={"net1": ["10.0.0.1"], "net2": ["fd00::2"]}),
                groups=(Membership("web"),),
                ports=(Port("http", 8080),),
            ),
            {"default_record": False},
            "net1.a",
            id="no-default-record-of-two-interfaces",
        ),
        pytest.param(
            msgspec.structs.replace(
                vmi("a", interfaces={"net 1": ["10.0.0.1"]}),
                groups=(Membership("web", "net 1"),),
                ports=(Port("http", 8080),),
            ),
            {},
            "a",
            id="interface-that-is-no-label",
        ),
    ],
)
def test_the_target_is_the_name_with_the_addresses(one: Vmi, rules: dict[str, object], target: str) -> None:
    wanted = desired([one], txt_rules(group_srv=True, **rules))
    assert services(wanted) == [f"0 0 8080 {target}.prod.vm.example."]
    assert wanted.get(n(f"{target}.prod.vm.example.")) is not None


def test_there_are_no_services_without_the_setting() -> None:
    assert desired([member("a")], txt_rules()).get(HTTP) is None


def test_a_member_may_have_several_services_of_several_groups() -> None:
    one = member("a", ports="http=80,http=81,dns=53/udp,dns=53")
    one = msgspec.structs.replace(one, groups=(Membership("web"), Membership("db")))
    found = sorted(names.to_text(name) for name in desired([one], RULES).names())
    assert [name for name in found if name.startswith("_")] == [
        f"_{service}.{group}.prod.vm.example."
        for service in ("dns._tcp", "dns._udp", "http._tcp")
        for group in ("db", "web")
    ]
    assert len(services(desired([one], RULES))) == 2


def test_a_member_leaves_its_services_and_the_last_one_stays() -> None:
    wanted = desired([member("a"), member("b"), member("c", ports="ssh=22")], RULES)
    wanted.put(member("a", ready=False))
    assert services(wanted) == ["0 0 8080 b.prod.vm.example."]
    wanted.put(member("b", ready=False))
    assert services(wanted) == ["0 0 8080 b.prod.vm.example."]
    wanted.put(member("a", ports="ssh=22"))
    assert services(wanted) == ["0 0 8080 b.prod.vm.example."]
    wanted.remove("prod/b")
    assert wanted.get(HTTP) is None
    for key in ("prod/a", "prod/c"):
        wanted.remove(key)
    assert len(wanted) == 0


def test_the_last_member_of_a_service_is_known_after_a_restart() -> None:
    zone = live(
        node("web.prod.vm.example.", a("10.0.0.3"), txt(RECORD)),
        node(HTTP, srv((8080, "b.prod.vm.example.")), txt(RECORD)),
    )
    unready = [member("a", ready=False), member("b", "10.0.0.2", ready=False), member("c", "10.0.0.3", ready=False)]
    wanted = desired([with_groups(each, zone, RULES, scope(RULES)) for each in unready], RULES)
    assert services(wanted) == ["0 0 8080 b.prod.vm.example."]
    found = wanted.get(n("web.prod.vm.example."))
    assert found == node("web.prod.vm.example.", a("10.0.0.3"), txt(RECORD))


def test_the_limits_apply_and_the_addresses_come_first() -> None:
    one = member("a", ports="http=80,ssh=22")
    wanted = desired([one], txt_rules(group_srv=True, max_names=4))
    assert [services(wanted), services(wanted, n("_ssh._tcp.web.prod.vm.example."))] == [
        ["0 0 80 a.prod.vm.example."], [],
    ]  # fmt: skip
    assert [each.code for each in wanted.warnings()] == [WarningCode.MAX_NAMES]
    wanted = desired([one], txt_rules(group_srv=True, max_namespace_names=3))
    assert not services(wanted)
    assert wanted.get(n("web.prod.vm.example.")) is not None
    (warning,) = wanted.warnings()
    assert (warning.code, warning.count, warning.wanted) == (WarningCode.MAX_NAMES_PER_NAMESPACE, 3, 5)
    many = [member(f"m{i}", f"10.0.1.{i}", created=i) for i in range(10)]
    assert len(services(desired(many, txt_rules(group_srv=True, max_rrset=4)))) == 4


def test_records_with_long_targets_fit_in_a_message() -> None:
    long = ".".join(["x" * 60] * 3)
    many = [member(f"m{i:03}.{long}", f"10.0.{i // 250}.{i % 250}", created=i) for i in range(400)]
    found = desired(many, txt_rules(group_srv=True, max_rrset=300)).get(HTTP)
    assert found is not None
    item = found.get(SRV)
    assert item is not None
    assert 25_000 < sum(len(HTTP) + 10 + len(rdata) for rdata in item.rdatas) <= 30_000


def test_a_service_yields_to_a_hostname() -> None:
    host = vmi("host", hostnames=["_http._tcp.web"], created=5000)
    wanted = desired([member("a"), member("b"), host], RULES)
    assert wanted.get(HTTP) == node(HTTP, a("10.1.0.9"), txt(f"heritage=ksd-ddns,owner={OWNER},vmi=prod/host"))
    assert [(each.winner, each.loser, each.group) for each in wanted.collisions()] == [("prod/host", "prod/a", True)]


@pytest.mark.parametrize("rules", [RULES, zone_rules(group_srv=True)], ids=["txt", "zone"])
def test_the_zone_converges_and_the_last_record_goes_with_the_last_member(rules: Rules) -> None:
    world = World(Server(zone=rules.zone), rules=rules)
    world.report(member("a"), member("b", "10.0.0.2"))
    world.run()
    assert not world.wrong()
    found = world.reconciler.live.get(HTTP).get(SRV)
    assert found is not None
    assert len(found.rdatas) == 2
    world.change(member("a", ready=False))
    world.run()
    assert world.reconciler.live.get(HTTP).get(SRV) == srv((8080, "b.prod.vm.example."))
    world.delete("prod/a", "prod/b")
    world.run()
    assert not world.reconciler.live.get(HTTP).rrsets


def test_the_records_go_when_the_setting_is_turned_off() -> None:
    foreign = node("_ldap._tcp.prod.vm.example.", srv((389, "dc.example.")))
    ours = node(HTTP, txt(RECORD), srv((8080, "a.prod.vm.example.")))
    world = World(Server(foreign, ours))
    world.report(member("a"))
    world.run()
    assert not world.reconciler.live.get(HTTP).rrsets
    assert world.reconciler.live.get(foreign.name) == foreign


def test_an_srv_record_that_someone_added_to_a_group_outlives_it() -> None:
    added = node("web.prod.vm.example.", a("10.0.0.1"), txt(RECORD), srv((389, "dc.example.")))
    world = World(Server(added))
    world.report()
    world.run()
    assert world.reconciler.live.get(added.name) == node(added.name, srv((389, "dc.example.")))


def test_a_foreign_record_is_a_conflict_and_is_adopted_only_if_it_is_the_same() -> None:
    there = [node(HTTP, srv((8080, "a.prod.vm.example."))), node("web.prod.vm.example.", a("10.0.0.9"))]
    wanted = desired([member("a")], RULES)
    plan = full(wanted, live(*there), scope(RULES))
    assert {each.name for each in plan.conflicts} == {HTTP, n("web.prod.vm.example.")}
    adopted = full(wanted, live(*there), scope(RULES, adopt=True))
    assert HTTP in {each.name for each in adopted.changes if each.kind is Kind.CHANGE}
    assert {each.name for each in adopted.conflicts} == {n("web.prod.vm.example.")}


def test_the_script_of_a_plan_has_the_records() -> None:
    zone = live(node(HTTP, txt(RECORD), srv((8080, "a.prod.vm.example."), (8080, "b.prod.vm.example."))))
    plan = full(desired([member("a")], RULES), zone, scope(RULES))
    lines = list(nsupdate.script(plan, Limits(), server="127.0.0.1", port=53))
    owner = names.to_text(HTTP)
    assert f"prereq yxrrset {owner} SRV 0 0 8080 b.prod.vm.example." in lines
    assert f"update delete {owner} SRV 0 0 8080 b.prod.vm.example." in lines
    assert not any("check-names" in line for line in lines)


@pytest.mark.parametrize(("group", "violates"), [("web", False), ("web=vlan_12", True)])
def test_check_names_looks_at_the_target_and_not_at_the_name(group: str, violates: bool) -> None:
    one = vmi("a", interfaces={"vlan_12": ["10.0.0.1"]})
    one = msgspec.structs.replace(one, groups=(Membership(*group.split("=")),), ports=(Port("http", 80),))
    plan = full(desired([one], RULES), live(), scope(RULES))
    (change,) = [each for each in plan.changes if each.name == HTTP]
    assert violates_check_names(change) is violates
    only = msgspec.structs.replace(plan, changes=(change,))
    lines = list(nsupdate.script(only, Limits(), server="127.0.0.1", port=53))
    assert any("check-names" in line for line in lines) is violates


def explained(world: World, name: bytes) -> NameExplanation:
    """Return what is explained for a name."""
    found = name_view(world.reconciler, name, Viewpoint(server="10.0.0.53:53", sends=True), world.now).explanation
    assert found is not None
    return found


def test_explain_shows_the_members_of_a_service() -> None:
    world = World(Server(), rules=RULES)
    world.report(member("a"), member("b", ready=False), member("c", ports="ssh=22"))
    world.run()
    found = explained(world, HTTP)
    assert found.state is State.PUBLISHED
    assert [(each.vmi, each.member) for each in found.claims] == [("prod/a", "published"), ("prod/b", "not-ready")]
    assert found.wanted.get(SRV) == srv((8080, "a.prod.vm.example."))
    assert found.found.get(TXT) == txt(RECORD)


def test_an_ipv6_member_has_a_record_too() -> None:
    wanted = desired([member("a", "fd00::1")], RULES)
    assert services(wanted) == ["0 0 8080 a.prod.vm.example."]
    assert wanted.get(n("web.prod.vm.example.")) == node("web.prod.vm.example.", txt(RECORD), aaaa("fd00::1"))
