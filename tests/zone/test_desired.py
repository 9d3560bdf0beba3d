# SPDX-License-Identifier: Apache-2.0
"""VMIs -> the desired names of the zone."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksd_ddns.kubevirt.vmi import Interface, Vmi
from ksd_ddns.kubevirt.warning import VmiWarning, WarningCode
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import AAAA, PTR, TXT, A, Node, RRset
from ksd_ddns.wire.txt import text_rdata
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.desired import (
    MAX_VMI_WARNINGS,
    Desired,
    Effect,
    HostnameScope,
    Network,
    Rules,
    apex_name_server,
    desired,
)
from ksd_ddns.zone.desired.claims import MAX_OCTETS
from ksd_ddns.zone.render import message
from tests.zone.build import (
    BASE,
    OWNER,
    REVERSE,
    ZONE,
    ips,
    mark,
    n,
    node,
    ns,
    ptr,
    reverse_rules,
    txt,
    txt_rules,
    vmi,
    zone_rules,
)

Content = dict[str, list[str]]


def content(of: Desired) -> Content:
    """Return the addresses by name, names relative to the base."""
    found = {}
    for name in of.names():
        node = of.get(name)
        assert node is not None
        assert node.name == name
        assert [item.type for item in node.rrsets] == sorted(item.type for item in node.rrsets)
        addresses = [ip_address(rdata) for item in node.rrsets if item.type != TXT for rdata in item.rdatas]
        found[names.to_text(name).removesuffix("vm.example.").removesuffix(".")] = [str(each) for each in addresses]
    assert len(of) == len(found)
    return found


def warnings(of: Desired) -> list[str]:
    return [f"{warning.vmi}: {message.warning(warning)}" for warning in of.warnings()]


def codes(of: Desired) -> list[WarningCode]:
    return [warning.code for warning in of.warnings()]


LONG = "l" * 63


@pytest.mark.parametrize(
    ("given_vmi", "want"),
    [
        pytest.param(vmi(), {"net1.db.prod": ["10.1.0.9"], "db.prod": ["10.1.0.9"]}, id="one-interface"),
        pytest.param(
            vmi(interfaces={"net1": ["10.1.0.9", "10.1.0.8", "fd00::2", "fd00::1"]}),
            {"net1.db.prod": ["10.1.0.8", "10.1.0.9", "fd00::1", "fd00::2"],
             "db.prod": ["10.1.0.8", "10.1.0.9", "fd00::1", "fd00::2"]},
            id="every-address-of-an-interface-by-default-too",
        ),
        pytest.param(
            vmi(interfaces={"net3": ["10.3.0.1"], "net1": ["fd00::1"], "net2": ["10.2.0.1", "fd00::2"]}),
            {"net1.db.prod": ["fd00::1"], "net2.db.prod": ["10.2.0.1", "fd00::2"], "net3.db.prod": ["10.3.0.1"],
             "db.prod": ["10.2.0.1", "fd00::1"]},
            id="default-from-the-first-interface-of-each-family",
        ),
        pytest.param(vmi("DB", "Prod", {"Net1": ["10.1.0.9"]}),
                     {"net1.db.prod": ["10.1.0.9"], "db.prod": ["10.1.0.9"]}, id="upper-case-is-folded"),
        pytest.param(vmi(interfaces={"net_1": ["10.1.0.9"]}),
                     {"net_1.db.prod": ["10.1.0.9"], "db.prod": ["10.1.0.9"]}, id="underscores-are-published"),
        pytest.param(vmi(interfaces={LONG: ["10.1.0.9"]}),
                     {f"{LONG}.db.prod": ["10.1.0.9"], "db.prod": ["10.1.0.9"]}, id="label-of-63-octets"),
        pytest.param(vmi("a.b.c"), {"net1.a.b.c.prod": ["10.1.0.9"], "a.b.c.prod": ["10.1.0.9"]},
                     id="each-part-of-a-dotted-name-is-a-label"),
        pytest.param(vmi(alive=False), {}, id="ended"),
        pytest.param(vmi(ignored=True), {}, id="ignored"),
        pytest.param(vmi(interfaces={}), {}, id="no-address"),
    ],
)  # fmt: skip
def test_vmis_have_their_names_and_addresses(given_vmi: Vmi, want: Content) -> None:
    found = desired([given_vmi], zone_rules())
    assert content(found) == want
    assert warnings(found) == []
    assert {found.vmi_of(name) for name in found.names()} <= {given_vmi.key}


@pytest.mark.parametrize(
    ("given_vmi", "want", "warning"),
    [
        pytest.param(vmi(interfaces={LONG + "l": ["10.1.0.9"], "net2": ["10.2.0.1"]}),
                     {"net2.db.prod": ["10.2.0.1"], "db.prod": ["10.1.0.9"]}, f"prod/db: interface '{LONG}l' cannot be",
                     id="interface-of-64-octets"),
        pytest.param(vmi(interfaces={"*": ["10.1.0.9"]}), {"db.prod": ["10.1.0.9"]},
                     "prod/db: interface '*' cannot be a DNS name", id="wildcard-interface"),
        pytest.param(vmi(interfaces={"a.b": ["10.1.0.9"]}), {"db.prod": ["10.1.0.9"]},
                     "prod/db: interface 'a.b' cannot be a DNS name", id="dotted-interface"),
        pytest.param(vmi(interfaces={"Net1": ["10.1.0.1"], "net1": ["10.1.0.2"]}),
                     {"net1.db.prod": ["10.1.0.1"], "db.prod": ["10.1.0.1"]},
                     "prod/db: interface 'net1' has the DNS name of another interface", id="fold-alike-interfaces"),
        pytest.param(vmi("*"), {}, "prod/*: *.prod cannot be a DNS name", id="wildcard-vmi"),
        pytest.param(vmi("a..b"), {}, "prod/a..b: a..b.prod cannot be", id="empty-label-in-the-name"),
        pytest.param(vmi("a."), {}, "prod/a.: a..prod cannot be", id="final-dot-in-the-name"),
        pytest.param(vmi(LONG + "l"), {}, "cannot be a DNS name", id="vmi-of-64-octets"),
        pytest.param(vmi("db", "a.b"), {}, "a.b/db: db.a.b cannot be a DNS name", id="dotted-namespace"),
        pytest.param(vmi("db", ""), {}, "/db: db. cannot be a DNS name", id="empty-namespace"),
        pytest.param(vmi("bücher"), {}, "cannot be a DNS name", id="not-ascii"),
        # 255 octets less net1 (5), prod (5), vm.example. (12): the longest stem has 233
        pytest.param(vmi(f"{LONG}.{LONG}.{LONG}.{'m' * 41}"), {f"{LONG}.{LONG}.{LONG}.{'m' * 41}.prod": ["10.1.0.9"]},
                     "interface 'net1' cannot be a DNS name", id="interface-makes-the-name-too-long"),
        pytest.param(vmi(f"{LONG}.{LONG}.{LONG}.{'m' * 46}"), {}, "cannot be a DNS name", id="name-too-long"),
        pytest.param(vmi(interfaces={"net1": [f"10.1.0.{index}" for index in range(1, 19)]}),
                     {f"{name}.prod": [f"10.1.0.{index}" for index in range(1, 17)] for name in ("net1.db", "db")},
                     "prod/db: interface 'net1' has more than 16 addresses of one family (MAX_ADDRESSES): only",
                     id="too-many-addresses"),
    ],
)  # fmt: skip
def test_unpublishable_names_are_skipped_with_one_warning(given_vmi: Vmi, want: Content, warning: str) -> None:
    found = desired([given_vmi], zone_rules())
    assert content(found) == want
    assert len(warnings(found)) == 1
    assert warning in warnings(found)[0]


def test_the_longest_names_are_published() -> None:
    stem = f"{LONG}.{LONG}.{LONG}.{'m' * 40}"
    found = desired([vmi(stem)], zone_rules())
    assert sorted(map(len, found.names())) == [250, 255]
    assert warnings(found) == []
    whole = desired([vmi(f"{stem}{'m' * 5}")], zone_rules())
    assert list(map(len, whole.names())) == [255]


def test_warnings_of_the_vmi_are_passed_on() -> None:
    warning = VmiWarning(vmi="prod/db", code=WarningCode.BAD_ADDRESS, interface="x", value="y")
    warned = Vmi("prod/db", "prod", "db", "", 0, True, (), {}, warnings=(warning,))
    assert desired([warned], zone_rules()).warnings() == [warning]


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        pytest.param(Rules(base=n("vm."), zone=n("vm.")), ["db.prod.vm.", "net1.db.prod.vm."], id="empty-domain"),
        pytest.param(txt_rules(), ["db.prod.vm.example.", "net1.db.prod.vm.example."], id="domain-in-a-larger-zone"),
        pytest.param(zone_rules(default_record=False), ["net1.db.prod.vm.example."], id="no-default-record"),
    ],
)
def test_names_are_below_the_base(rules: Rules, want: list[str]) -> None:
    assert sorted(map(names.to_text, desired([vmi()], rules).names())) == want


@pytest.mark.parametrize(
    ("rules", "ttl", "want"),
    [
        pytest.param(zone_rules(), None, 60, id="default"),
        pytest.param(zone_rules(ttl=300), None, 300, id="setting"),
        pytest.param(zone_rules(ttl=300), 30, 30, id="annotation"),
        pytest.param(txt_rules(ttl=300), 30, 30, id="annotation-marked"),
    ],
)
def test_the_ttl_of_a_vmi_overrides_the_default(rules: Rules, ttl: int | None, want: int) -> None:
    found = desired([vmi(interfaces={"net1": ["10.1.0.9", "fd00::1"]}, ttl=ttl)], rules)
    assert {item.ttl for name in found.names() for item in (found.get(name) or Node(name)).rrsets} == {want}


def test_ownership_records_contain_the_vmi() -> None:
    found = desired([vmi(interfaces={"net1": ["10.1.0.9", "fd00::1"]})], txt_rules())
    want = text_rdata(mark("prod/db").encode())
    node = found.get(n("net1.db.prod.vm.example."))
    assert node == Node(
        n("net1.db.prod.vm.example."),
        (RRset(A, 60, ips("10.1.0.9")), RRset(TXT, 60, (want,)), RRset(AAAA, 60, ips("fd00::1"))),
    )
    assert ownership_record.owned(RRset(TXT, 60, (want,)), OWNER) == ownership_record.OwnershipRecord(OWNER, "prod/db")


def network(text: str) -> Network:
    parsed = ip_network(text)
    return Network(parsed.network_address.packed, parsed.prefixlen)


@pytest.mark.parametrize(
    ("publish", "exclude", "want"),
    [
        pytest.param([], [], ["10.1.0.1", "10.2.0.1", "fd00:1::1", "fd00:2::1"], id="everything"),
        pytest.param(["10.1.0.0/16"], [], ["10.1.0.1"], id="publish"),
        pytest.param(["0.0.0.0/0"], [], ["10.1.0.1", "10.2.0.1"], id="publish-all-of-one-family"),
        pytest.param(["::/0", "10.2.0.1/32"], [], ["10.2.0.1", "fd00:1::1", "fd00:2::1"], id="publish-several"),
        pytest.param(["192.0.2.0/24"], [], [], id="publish-nothing"),
        pytest.param([], ["10.1.0.0/16", "fd00:2::/32"], ["10.2.0.1", "fd00:1::1"], id="exclude"),
        pytest.param(["10.0.0.0/8"], ["10.1.0.1/32"], ["10.2.0.1"], id="exclude-wins"),
        pytest.param([], ["10.0.0.0/14"], ["fd00:1::1", "fd00:2::1"], id="prefix-inside-an-octet"),
        pytest.param([], ["10.0.0.0/15"], ["10.2.0.1", "fd00:1::1", "fd00:2::1"], id="prefix-inside-an-octet-outside"),
    ],
)
def test_only_addresses_in_the_cidrs_are_published(publish: list[str], exclude: list[str], want: list[str]) -> None:
    rules = zone_rules(publish=tuple(map(network, publish)), exclude=tuple(map(network, exclude)))
    found = desired([vmi(interfaces={"net1": ["10.1.0.1", "10.2.0.1", "fd00:1::1", "fd00:2::1"]})], rules)
    assert content(found) == ({"net1.db.prod": want, "db.prod": content(found)["db.prod"]} if want else {})
    assert warnings(found) == []


def test_max_addresses_counts_only_published_addresses() -> None:
    rules = zone_rules(max_addresses=1, exclude=(network("10.1.0.0/16"),))
    found = desired([vmi(interfaces={"net1": ["10.1.0.1", "10.2.0.1"]})], rules)
    assert content(found)["net1.db.prod"] == ["10.2.0.1"]
    assert warnings(found) == []


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_networks_agree_with_ipaddress(address: object, other: object, prefix: int) -> None:
    first, second = ip_address(str(address)), ip_address(str(other))
    block = ip_network((second, min(prefix, second.max_prefixlen)), strict=False)
    assert (first.packed in network(str(block))) is (first in block)


# The annotation ksd-ddns/hostname

OUTSIDE = "is outside the VMI's namespace: an admin can allow it with HOSTNAME_SCOPE=zone"


@pytest.mark.parametrize(
    ("scope", "hostname", "want"),
    [
        pytest.param("namespace", "web", "web.prod.vm.example.", id="label"),
        pytest.param("namespace", "Web", "web.prod.vm.example.", id="label-in-upper-case"),
        pytest.param("namespace", "a.b", "a.b.prod.vm.example.", id="labels"),
        pytest.param("namespace", "web.test.vm.example", "web.test.vm.example.prod.vm.example.", id="not-absolute"),
        pytest.param("namespace", "web.prod.vm.example.", "web.prod.vm.example.", id="absolute-in-the-namespace"),
        pytest.param("namespace", "prod.vm.example.", OUTSIDE, id="the-namespace-itself"),
        pytest.param("namespace", "web.test.vm.example.", OUTSIDE, id="another-namespace"),
        pytest.param("namespace", "webprod.vm.example.", OUTSIDE, id="ends-like-the-namespace"),
        pytest.param("namespace", "web.PROD.vm.example.", "web.prod.vm.example.", id="namespace-in-upper-case"),
        pytest.param("namespace", "vm.example.", OUTSIDE, id="base"),
        pytest.param("namespace", "ns.vm.example.", OUTSIDE, id="name-server"),
        pytest.param("namespace", "www.example.", OUTSIDE, id="elsewhere-in-the-zone"),
        pytest.param("namespace", "example.", OUTSIDE, id="apex"),
        pytest.param("namespace", "example.org.", OUTSIDE, id="another-zone"),
        pytest.param("namespace", r"web\.test.vm.example.", "cannot be a DNS name", id="escape"),
        pytest.param("namespace", "web\0.x", "cannot be a DNS name", id="nul"),
        pytest.param("namespace", "*", "*.prod.vm.example.", id="wildcard"),
        pytest.param("namespace", "*.Apps.web", "*.apps.web.prod.vm.example.", id="wildcard-below"),
        pytest.param("namespace", "*.apps.prod.vm.example.", "*.apps.prod.vm.example.", id="wildcard-absolute"),
        pytest.param("namespace", "*.prod.vm.example.", "*.prod.vm.example.", id="wildcard-of-the-namespace"),
        pytest.param("namespace", "*.test.vm.example.", OUTSIDE, id="wildcard-in-another-namespace"),
        pytest.param("namespace", "*.vm.example.", OUTSIDE, id="wildcard-of-the-base"),
        pytest.param("namespace", "web.*", "cannot be a DNS name", id="asterisk-not-first"),
        pytest.param("namespace", "*.*.web", "cannot be a DNS name", id="two-asterisks"),
        pytest.param("namespace", "*web", "cannot be a DNS name", id="asterisk-in-a-label"),
        pytest.param("namespace", "*.", OUTSIDE, id="wildcard-of-the-root"),
        pytest.param("namespace", "*..", "cannot be a DNS name", id="wildcard-two-dots"),
        pytest.param("zone", "*.vm.example.", "*.vm.example.", id="zone-wildcard-of-the-base"),
        pytest.param("off", "*", None, id="off-wildcard"),
        pytest.param("namespace", ".", "cannot be a DNS name", id="root"),
        pytest.param("namespace", "..", "cannot be a DNS name", id="dots"),
        pytest.param("namespace", "a..b", "cannot be a DNS name", id="empty-label"),
        pytest.param("namespace", ".web", "cannot be a DNS name", id="leading-dot"),
        pytest.param("namespace", "web..", "cannot be a DNS name", id="two-final-dots"),
        pytest.param("namespace", "l" * 64, "cannot be a DNS name", id="64-octets"),
        pytest.param("namespace", "ü", "cannot be a DNS name", id="not-ascii"),
        pytest.param("namespace", ".".join([LONG] * 3 + ["m" * 46]), "too long", id="too-long"),
        pytest.param("namespace", ".".join([LONG] * 3 + ["m" * 45]),
                     ".".join([LONG] * 3 + ["m" * 45, "prod.vm.example."]), id="255-octets"),
        pytest.param("off", "web", None, id="off"),
        pytest.param("off", "a..b", None, id="off-says-nothing"),
        pytest.param("zone", "web", "web.prod.vm.example.", id="zone-label"),
        pytest.param("zone", "web.test.vm.example.", "web.test.vm.example.", id="zone-another-namespace"),
        pytest.param("zone", "www.example.", "www.example.", id="zone-elsewhere"),
        pytest.param("zone", "example.", "reserved for the zone itself", id="zone-apex"),
        pytest.param("zone", "vm.example.", "reserved for the zone itself", id="zone-base"),
        pytest.param("zone", "ns.vm.example.", "reserved for the zone itself", id="zone-name-server"),
        pytest.param("zone", "example.org.", "is outside the zone", id="zone-another-zone"),
        pytest.param("zone", "wwwexample.", "is outside the zone", id="zone-ends-like-the-zone"),
        pytest.param("zone", ".".join([LONG] * 3 + ["m" * 54]) + ".example.", "too long", id="zone-256-octets"),
        pytest.param("zone", ".".join([LONG] * 3 + ["m" * 53]) + ".example.",
                     ".".join([LONG] * 3 + ["m" * 53]) + ".example.", id="zone-255-octets"),
    ],
)  # fmt: skip
def test_hostnames_are_published_within_their_scope(scope: str, hostname: str, want: str | None) -> None:
    rules = txt_rules(hostname_scope=HostnameScope(scope), default_record=False)
    found = desired([vmi(interfaces={"net1": ["10.1.0.9", "fd00::1"]}, hostnames=[hostname])], rules)
    names_found = {names.to_text(name) for name in found.names()} - {"net1.db.prod.vm.example."}
    if want is None:
        assert (names_found, warnings(found)) == (set(), [])
    elif want.endswith(".") and " " not in want:
        assert (names_found, warnings(found)) == ({want}, [])
        node = found.get(n(want))
        assert node is not None
        assert (node.get(A), node.get(AAAA)) == (RRset(A, 60, ips("10.1.0.9")), RRset(AAAA, 60, ips("fd00::1")))
    else:
        assert names_found == set()
        assert len(warnings(found)) == 1
        assert warnings(found)[0].startswith("prod/db: annotation ksd-ddns/hostname: ")
        assert want in warnings(found)[0]


HOSTNAME = st.lists(
    st.sampled_from([".", "web", "prod", "test", "vm", "example", "\\", "*", "W", "_", "\0", "\\046", "ü"]), max_size=8
).map("".join) | st.text(max_size=8)


@settings(max_examples=200)
@given(HOSTNAME)
def test_no_hostname_leaves_its_namespace(hostname: str) -> None:
    branch = n("prod.vm.example.")
    for name in desired([vmi(hostnames=[hostname])], txt_rules()).names():
        assert names.is_below(name, branch)
        assert name != branch


def test_an_interface_keeps_its_name_from_a_hostname_of_its_vmi() -> None:
    interfaces = {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]}
    found = desired([vmi(interfaces=interfaces, hostnames=["net2.db", "db"])], zone_rules())
    assert content(found) == {"net1.db.prod": ["10.1.0.9"], "net2.db.prod": ["10.2.0.9"], "db.prod": ["10.1.0.9"]}
    assert found.collisions() == []


def test_hostnames_do_not_need_the_default_record() -> None:
    found = desired([vmi(hostnames=["web"])], zone_rules(default_record=False))
    assert content(found) == {"net1.db.prod": ["10.1.0.9"], "web.prod": ["10.1.0.9"]}


# Collisions

OLDER = vmi("b", interfaces={"a": ["10.0.0.1"]}, created=1)
YOUNGER = vmi("a.b", interfaces={"net1": ["10.0.0.2"]}, created=2)


@pytest.mark.parametrize(
    ("vmis", "name", "winner", "losers"),
    [
        pytest.param([OLDER, YOUNGER], "a.b.prod", "prod/b", ["prod/a.b"], id="interface-is-older"),
        pytest.param([vmi("a.b", created=1), vmi("b", interfaces={"a": ["10.0.0.1"]}, created=2)], "a.b.prod",
                     "prod/a.b", ["prod/b"], id="dotted-vmi-is-older"),
        pytest.param([vmi("b", created=1, hostnames=["x"]), vmi("a", created=1, hostnames=["x"])], "x.prod",
                     "prod/a", ["prod/b"], id="same-age-the-first-by-name"),
        pytest.param([vmi("a", created=3, hostnames=["x"]), vmi("b", created=2, hostnames=["x"]),
                      vmi("c", created=1, hostnames=["x"])], "x.prod", "prod/c", ["prod/b", "prod/a"], id="three"),
        pytest.param([vmi("x", created=2), vmi("y", created=1, hostnames=["x"])], "x.prod", "prod/x", ["prod/y"],
                     id="an-older-hostname-yields-to-a-default-record"),
        pytest.param([vmi("b", interfaces={"a": ["10.0.0.1"]}, created=2), vmi("y", created=1, hostnames=["a.b"])],
                     "a.b.prod", "prod/b", ["prod/y"], id="an-older-hostname-yields-to-an-interface"),
        pytest.param([vmi("x", created=3), vmi("y", created=1, hostnames=["x"]), vmi("z", created=2, hostnames=["x"])],
                     "x.prod", "prod/x", ["prod/y", "prod/z"], id="hostnames-by-age-after-a-default-record"),
        pytest.param([vmi("DB", created=2), vmi("db", created=1)], "db.prod", "prod/db", ["prod/DB"], id="fold-alike"),
    ],
)  # fmt: skip
def test_the_oldest_vmi_gets_the_name(vmis: list[Vmi], name: str, winner: str, losers: list[str]) -> None:
    owner = n(f"{name}.vm.example.")
    for order in (vmis, vmis[::-1]):
        found = desired(order, txt_rules())
        assert found.vmi_of(owner) == winner
        node = found.get(owner)
        text = node.get(TXT) if node else None
        assert text is not None
        record = ownership_record.owned(text, OWNER)
        assert record is not None
        assert record.vmi == winner
        lost = [collision for collision in found.collisions() if collision.name == owner]
        assert [(collision.winner, collision.loser) for collision in lost] == [(winner, loser) for loser in losers]
        assert all(collision.wanted.name == owner for collision in lost)


def test_addresses_are_never_merged() -> None:
    assert content(desired([OLDER, YOUNGER], zone_rules())) == {
        "a.b.prod": ["10.0.0.1"], "b.prod": ["10.0.0.1"], "net1.a.b.prod": ["10.0.0.2"]
    }  # fmt: skip


def test_the_next_vmi_gets_the_name_when_the_winner_is_deleted() -> None:
    found = desired([OLDER, YOUNGER], zone_rules())
    assert n("a.b.prod.vm.example.") in found.remove(OLDER.key)
    assert content(found) == {"a.b.prod": ["10.0.0.2"], "net1.a.b.prod": ["10.0.0.2"]}
    assert found.collisions() == []


@pytest.mark.parametrize(
    ("gone", "winner", "losers"),
    [("prod/c", "prod/b", ["prod/a"]), ("prod/b", "prod/c", ["prod/a"]), ("prod/a", "prod/c", ["prod/b"])],
    ids=["winner", "second", "third"],
)
def test_collisions_are_recomputed_when_one_of_three_vmis_is_deleted(gone: str, winner: str, losers: list[str]) -> None:
    vmis = [vmi(name, created=3 - age, hostnames=["x"]) for age, name in enumerate("abc")]
    found = desired(vmis, txt_rules())
    found.remove(gone)
    assert found.vmi_of(n("x.prod.vm.example.")) == winner
    assert [collision.loser for collision in found.collisions()] == losers
    assert state(found) == state(desired([item for item in vmis if item.key != gone], txt_rules()))


def test_a_collision_has_the_reason_for_its_winner() -> None:
    older, younger = vmi("y", created=1, hostnames=["x", "z"]), vmi("x", created=2, hostnames=["z"])
    found = desired([older, younger], txt_rules())
    assert [(names.to_text(each.name), each.winner, each.annotation) for each in found.collisions()] == [
        ("x.prod.vm.example.", "prod/x", True),
        ("z.prod.vm.example.", "prod/y", False),
    ]


# Limits


def many(count: int, hostnames: Iterable[str] = ()) -> Vmi:
    found = {f"i{index:04}": [f"10.9.{index // 250}.{index % 250 + 1}"] for index in range(count)}
    return vmi(interfaces=found, hostnames=hostnames)


HOSTS = [f"h{index:03}" for index in range(60)]


@pytest.mark.parametrize(
    ("given_vmi", "more", "want", "over"),
    [
        pytest.param(many(4), {}, ["db", "i0000.db", "i0001.db", "i0002.db", "i0003.db"], False, id="just-enough"),
        pytest.param(many(5), {}, ["db", "i0000.db", "i0001.db", "i0002.db", "i0003.db"], True, id="interfaces"),
        pytest.param(many(5), {"default_record": False}, [f"i000{index}.db" for index in range(5)], False,
                     id="no-default-record"),
        pytest.param(many(1, hostnames=HOSTS), {}, ["db", "h000", "h001", "h002", "i0000.db"], True, id="hostnames"),
        pytest.param(many(1, hostnames=HOSTS[:3]), {}, ["db", "h000", "h001", "h002", "i0000.db"], False,
                     id="just-enough-hostnames"),
        pytest.param(many(3, hostnames=HOSTS), {}, ["db", "h000", "i0000.db", "i0001.db", "i0002.db"], True,
                     id="interfaces-come-first"),
        pytest.param(many(9, hostnames=HOSTS), {}, ["db", "i0000.db", "i0001.db", "i0002.db", "i0003.db"], True,
                     id="interfaces-leave-no-room"),
        pytest.param(many(1, hostnames=["db", "i0000.db", "h", "H"]), {}, ["db", "h", "i0000.db"], False,
                     id="one-name-twice-counts-once"),
        pytest.param(many(9, hostnames=HOSTS), {"max_names": 1}, ["db"], True, id="one-name"),
        pytest.param(many(1, hostnames=HOSTS), {"hostname_scope": HostnameScope.OFF}, ["db", "i0000.db"], False,
                     id="hostnames-off"),
    ],
)  # fmt: skip
def test_max_names_limits_the_names_of_a_vmi(
    given_vmi: Vmi, more: dict[str, object], want: list[str], over: bool
) -> None:
    found = desired([given_vmi], zone_rules(**{"max_names": 5, **more}))
    assert sorted(content(found)) == [f"{name}.prod" for name in want]
    limit = VmiWarning(
        vmi="prod/db", code=WarningCode.MAX_NAMES, limit=zone_rules(**{"max_names": 5, **more}).max_names
    )
    assert found.warnings() == ([limit] if over else [])


def test_the_default_record_includes_interfaces_over_the_limit() -> None:
    given_vmi = vmi(interfaces={"a": ["10.0.0.1"], "b": ["10.0.0.2"], "c": ["fd00::1"]})
    found = desired([given_vmi], zone_rules(max_names=2))
    assert content(found) == {"a.db.prod": ["10.0.0.1"], "db.prod": ["10.0.0.1", "fd00::1"]}


def test_too_many_names_cause_one_warning() -> None:
    flood = many(1000, hostnames=[f"h{index}" for index in range(1000)])
    found = desired([flood], zone_rules())
    assert len(found) == 50
    assert len(warnings(found)) == 1


def test_max_addresses_applies_to_each_family() -> None:
    addresses = [f"10.0.0.{index}" for index in range(1, 5)] + [f"fd00::{index}" for index in range(1, 5)]
    found = desired([vmi(interfaces={"net1": addresses})], zone_rules(max_addresses=4))
    assert content(found)["net1.db.prod"] == addresses
    assert warnings(found) == []
    found = desired([vmi(interfaces={"net1": addresses, "net2": addresses})], zone_rules(max_addresses=3))
    assert content(found)["net1.db.prod"] == [each for each in addresses if not each.endswith("4")]
    assert len(warnings(found)) == 1
    assert "'net1' and 1 more have more than 3" in warnings(found)[0]


def test_no_rrset_of_addresses_is_larger_than_max_rrset() -> None:
    addresses = [f"10.0.0.{index}" for index in range(1, 5)]
    assert content(desired([vmi(interfaces={"a": addresses})], zone_rules(max_rrset=2)))["a.db.prod"] == addresses[:2]


def test_too_many_warnings_about_one_vmi_are_summarized_as_a_count() -> None:
    noisy = vmi(interfaces={"net1": ["10.0.0.1"]}, hostnames=[f"{index}..x" for index in range(1000)])
    found = warnings(desired([noisy, vmi("calm")], zone_rules()))
    assert len(found) == MAX_VMI_WARNINGS + 1
    assert found[-1] == "prod/db: and 990 more warnings"
    assert sum(map(len, found)) < 2000


def test_a_long_name_in_a_warning_is_shortened() -> None:
    long = "x" * 100_000
    found = warnings(desired([vmi(interfaces={long: ["10.0.0.1"]}, hostnames=[long])], zone_rules()))
    assert len(found) == 2
    assert max(map(len, found)) < 300


# Limits of a namespace


def test_the_oldest_vmis_of_a_namespace_keep_their_names() -> None:
    rules = zone_rules(max_namespace_names=5)
    one, two, three = (vmi(name, created=created) for created, name in enumerate("abc"))
    other = vmi("a", "test", created=9)
    found = desired([three, other, two, one], rules)
    assert sorted(content(found)) == [
        "a.prod", "a.test", "b.prod", "c.prod", "net1.a.prod", "net1.a.test", "net1.b.prod",
    ]  # fmt: skip
    (warning,) = warnings(found)
    assert warning.startswith("prod/c: 1 of 2 names are published: namespace prod has no more than 5")
    assert found.remove("prod/a") == {
        n(f"{name}.vm.example.") for name in ("a.prod", "net1.a.prod", "net1.c.prod", "c.prod")
    }
    assert found.take_changed_warnings() == {"prod/c"}
    assert found.take_changed_warnings() == set()
    assert warnings(found) == []


def test_a_vmi_in_a_full_namespace_costs_little() -> None:
    """Each of ten thousand VMIs costs in proportion to the names that it affects."""
    found = Desired(zone_rules(max_namespace_names=100))
    touched = [found.put(vmi(f"v{index}", created=-index)) for index in range(2000)]
    assert len(found) == 100
    assert max(map(len, touched)) <= 6


# Limits of an RRset


def sharing(count: int, prefix: str = "vm", namespace: str = "prod", interface: str = "net1") -> list[Vmi]:
    shared = {interface: ["10.1.0.9"]}
    return [vmi(f"{prefix}{index:03}", namespace, shared, created=1000 + index) for index in range(count)]


SHARED = n("9.0.1.10.in-addr.arpa.")


def targets(of: Desired) -> list[str]:
    node = of.get(SHARED)
    item = node.get(PTR) if node else None
    return [names.to_text(rdata).split(".")[1] for rdata in item.rdatas] if item else []


def test_an_address_gets_the_pointers_of_the_oldest_vmis() -> None:
    vmis = sharing(120)
    for order in (vmis, vmis[::-1], vmis[60:] + vmis[:60]):
        found = desired(order, reverse_rules())
        assert targets(found) == [f"vm{index:03}" for index in range(90)]
        assert {warning.vmi for warning in found.warnings()} == {f"prod/vm{index:03}" for index in range(90, 120)}
        assert set(codes(found)) == {WarningCode.MAX_RRSET}
        assert "9.0.1.10.in-addr.arpa." in warnings(found)[0]
    found = desired(vmis, reverse_rules())
    found.take_changed_warnings()
    assert found.remove("prod/vm005") == {SHARED}
    assert targets(found) == [f"vm{index:03}" for index in range(91) if index != 5]
    assert found.take_changed_warnings() == {"prod/vm090"}
    found.put(vmi("first", created=1))
    assert targets(found) == ["first", *(f"vm{index:03}" for index in range(90) if index != 5)]
    assert found.take_changed_warnings() == {"prod/vm090"}


def test_old_and_new_pointers_fit_into_one_message() -> None:
    vmis = sharing(90, "v" * 60, "n" * 63, "i" * 63)
    domain = n(f"{'d' * 40}.vm.example.")
    found = desired(vmis, reverse_rules(base=domain))
    node = found.get(SHARED)
    item = node.get(PTR) if node else None
    assert item is not None
    assert sum(len(SHARED) + 10 + len(rdata) for rdata in item.rdatas) <= MAX_OCTETS
    assert len(item.rdatas) > 80
    assert targets(found) == [f"{'v' * 60}{index:03}" for index in range(len(item.rdatas))]


def test_the_pointers_of_one_vmi_are_limited_to_max_rrset() -> None:
    flood = vmi(interfaces={f"i{index:03}": ["10.1.0.9"] for index in range(40)})
    found = desired([flood], reverse_rules(max_rrset=20))
    item = (found.get(SHARED) or Node(b"")).get(PTR)
    assert item is not None
    assert [names.to_text(rdata)[:4] for rdata in item.rdatas] == [f"i{index:03}" for index in range(20)]
    assert len(warnings(found)) == 1


def test_only_published_names_have_pointers() -> None:
    flood = vmi(interfaces={f"i{index:03}": [f"10.1.0.{index}"] for index in range(100)})
    forward, reverse = desired([flood], zone_rules(max_names=10)), desired([flood], reverse_rules(max_names=10))
    assert {target for found in pointers(reverse).values() for target in found} == {
        f"{name}.vm.example." for name in content(forward) if name != "db.prod"
    }
    assert warnings(reverse) == []


SMALL: list[dict[str, list[str]]] = [{}, {"net1": ["10.1.0.9"]}, {"net1": ["10.1.0.9"], "net2": ["10.1.0.8"]}]


@settings(max_examples=100)
@given(
    st.lists(
        st.builds(vmi, st.sampled_from("abcdef"), created=st.integers(1, 4),
                  hostnames=st.sampled_from([(), ("x", "y")]), interfaces=st.sampled_from(SMALL))
        | st.sampled_from([f"prod/{name}" for name in "abcdef"]),
        max_size=20,
    ),
    st.integers(1, 12),
    st.booleans(),
)  # fmt: skip
def test_the_oldest_vmis_of_a_full_namespace_get_its_names(history: list[Vmi | str], limit: int, reverse: bool) -> None:
    rules = reverse_rules(max_namespace_names=limit) if reverse else txt_rules(max_namespace_names=limit)
    found = Desired(rules)
    there: dict[str, Vmi] = {}
    for event in history:
        before = {name: found.get(name) for name in found.names()}
        if isinstance(event, str):
            touched = found.remove(event)
            there.pop(event, None)
        else:
            touched = found.put(event)
            there[event.key] = event
        after = {name: found.get(name) for name in found.names()}
        assert {name for name in before | after if before.get(name) != after.get(name)} <= touched
    assert state(found) == state(desired(there.values(), rules))
    left = limit
    want: set[bytes] = set()
    for item in sorted(there.values(), key=lambda each: (each.created, each.key, each.uid)):
        alone = [*desired([item], msgspec.structs.replace(rules, max_namespace_names=0, reverse=b"")).names()]
        want.update(alone[:left])
        left = max(0, left - len(alone))
    if not reverse:
        assert set(found.names()) == want
    else:
        assert {n(target) for found in pointers(found).values() for target in found} == {
            name for name in want if name.startswith(b"\4net")
        }


# The effect of putting a VMI


@pytest.mark.parametrize(
    ("before", "after", "want"),
    [
        pytest.param(None, vmi(), Effect.CHANGES, id="new"),
        pytest.param(None, vmi(interfaces={}), Effect.NONE, id="new-and-wants-nothing"),
        pytest.param(vmi(), vmi(), Effect.NONE, id="as-before"),
        pytest.param(vmi(), vmi(interfaces={"net1": ["10.1.0.8"]}), Effect.CHANGES, id="other-address"),
        pytest.param(vmi(), vmi(interfaces={"net1": ["10.1.0.9", "10.1.0.8"]}), Effect.CHANGES, id="one-more-address"),
        pytest.param(vmi(interfaces={"net1": ["10.1.0.9", "10.1.0.8"]}), vmi(), Effect.REMOVES, id="one-address-less"),
        pytest.param(vmi(hostnames=["x"]), vmi(), Effect.REMOVES, id="one-name-less"),
        pytest.param(vmi(), vmi(hostnames=["x"]), Effect.CHANGES, id="one-name-more"),
        pytest.param(vmi(hostnames=["x"]), vmi(hostnames=["y"]), Effect.CHANGES, id="another-name"),
        pytest.param(vmi(), vmi(ttl=30), Effect.CHANGES, id="other-ttl"),
        pytest.param(vmi(), vmi(alive=False), Effect.REMOVES, id="ended"),
        pytest.param(vmi(), vmi(ignored=True), Effect.REMOVES, id="ignored"),
        pytest.param(vmi(alive=False), vmi(), Effect.CHANGES, id="running-again"),
        pytest.param(vmi(hostnames=["x..y"]), vmi(hostnames=["z..y"]), Effect.NONE, id="what-cannot-be-published"),
        pytest.param(many(60), many(70), Effect.NONE, id="what-is-over-the-limit"),
    ],
)
def test_the_effect_of_a_change_is_predicted(before: Vmi | None, after: Vmi, want: Effect) -> None:
    for rules in (txt_rules(), zone_rules(), zone_rules(max_namespace_names=1000)):
        found = desired([before] if before else [], rules)
        assert found.effect(after) is want
        found.put(after)
        assert state(found) == state(desired([after], rules))
        assert found.effect(after) is Effect.NONE


def test_the_effect_of_a_change_in_a_full_namespace_is_predicted() -> None:
    found = desired([vmi("a", created=1), vmi("b", created=2)], zone_rules(max_namespace_names=3))
    assert found.effect(vmi("b", created=2, hostnames=["x"])) is Effect.NONE
    assert found.effect(vmi("a", created=1, hostnames=["x"])) is Effect.CHANGES


# Order of events

LABELS = st.sampled_from(["a", "b", "a.b", "net1", "B"])
SOME_VMI = st.builds(
    vmi,
    st.sampled_from(["a", "b", "a.b", "B", "a..b"]),
    st.sampled_from(["prod", "test"]),
    st.dictionaries(st.sampled_from(["a", "b", "B", "x" * 64]),
                    st.sampled_from([["10.0.0.1"], ["10.0.0.2", "fd00::1"]]), max_size=2),
    created=st.integers(1, 2),
    hostnames=st.lists(LABELS | st.just("a.test.vm.example."), max_size=2, unique=True),
    ignored=st.sampled_from([False, False, False, True]),
    alive=st.sampled_from([True, True, True, False]),
)  # fmt: skip
EVENT = SOME_VMI | st.sampled_from(["prod/a", "prod/b", "prod/a.b", "test/a"])
LIMITS = {
    "max_names": st.sampled_from([2, 3, 50]),
    "max_namespace_names": st.sampled_from([0, 0, 1, 3, 5]),
    "max_rrset": st.sampled_from([1, 2, 90]),
}
RULES = st.builds(reverse_rules, owner=st.sampled_from(["", OWNER]), **LIMITS) | st.builds(
    txt_rules,
    **LIMITS,
    zone=st.sampled_from([ZONE, BASE]),
    owner=st.sampled_from(["", OWNER]),
    hostname_scope=st.sampled_from(HostnameScope),
    name_server=st.sampled_from([(), ips("192.0.2.53")]),
)


def state(of: Desired) -> object:
    nodes = {name: (of.get(name), of.vmi_of(name)) for name in of.names()}
    return nodes, of.collisions(), of.warnings(), len(of)


@settings(max_examples=200)
@given(RULES, st.lists(EVENT, max_size=12), st.randoms(use_true_random=False))
def test_the_result_depends_only_on_the_vmis(rules: Rules, events: Iterable[Vmi | str], random: Random) -> None:
    found = Desired(rules)
    last: dict[str, Vmi] = {}
    for event in events:
        before = {name: found.get(name) for name in found.names()}
        if isinstance(event, str):
            touched = found.remove(event)
            last.pop(event, None)
        else:
            touched = found.put(event)
            last[event.key] = event
        after = {name: found.get(name) for name in found.names()}
        assert touched >= {name for name in before | after if before.get(name) != after.get(name)}
    vmis = list(last.values())
    random.shuffle(vmis)
    assert state(found) == state(desired(vmis, rules))
    for name in [*found.names()] if not rules.reverse else []:
        of_interfaces = {
            item.key
            for item in vmis
            if name in set(desired([msgspec.structs.replace(item, hostnames=())], rules).names())
        }
        assert rules.max_namespace_names or not of_interfaces or found.vmi_of(name) in {"", *of_interfaces}


def test_putting_a_vmi_twice_adds_it_once() -> None:
    found = desired([vmi(), vmi()], zone_rules())
    assert content(found) == {"net1.db.prod": ["10.1.0.9"], "db.prod": ["10.1.0.9"]}
    assert found.collisions() == []
    assert found.remove("prod/db") == {n("net1.db.prod.vm.example."), n("db.prod.vm.example.")}
    assert state(found) == state(Desired(zone_rules()))
    assert found.remove("prod/db") == set()
    assert found.get(n("db.prod.vm.example.")) is None
    assert found.vmi_of(n("db.prod.vm.example.")) == ""


# The zone's own records


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        pytest.param(zone_rules(name_server=ips("192.0.2.53")), ["192.0.2.53"], id="base-is-the-apex"),
        pytest.param(
            zone_rules(name_server=ips("192.0.2.53", "2001:db8::53")), ["192.0.2.53", "2001:db8::53"], id="both"
        ),
        pytest.param(zone_rules(), None, id="empty"),
        pytest.param(txt_rules(name_server=ips("192.0.2.53")), None, id="inside-a-larger-zone"),
    ],
)
def test_the_zone_has_its_own_records(rules: Rules, want: list[str] | None) -> None:
    found = desired([], rules)
    assert content(found) == ({"ns": want} if want else {})
    assert found.vmi_of(n("ns.vm.example.")) == ""
    assert apex_name_server(rules) == (ns("ns.vm.example.") if want else None)


def test_no_vmi_takes_the_name_of_the_name_server() -> None:
    rules = zone_rules(name_server=ips("192.0.2.53"), hostname_scope=HostnameScope.ZONE)
    found = desired([vmi("ns", "ns", {"ns": ["10.0.0.1"]}, created=-1, hostnames=["ns.vm.example.", "ns"])], rules)
    assert content(found)["ns"] == ["192.0.2.53"]
    assert len(found) == 3
    assert found.collisions() == []
    assert len(warnings(found)) == 1


# Reverse names


def pointers(of: Desired) -> dict[str, list[str]]:
    found = {}
    for name in of.names():
        item = (of.get(name) or Node(name)).get(PTR)
        found[names.to_text(name)] = [names.to_text(rdata) for rdata in item.rdatas] if item else []
    return found


@pytest.mark.parametrize(
    ("vmis", "want"),
    [
        pytest.param([vmi(interfaces={"net1": ["10.1.0.9", "10.1.0.10"], "net2": ["10.2.0.9"]})],
                     {"9.0.1.10.in-addr.arpa.": ["net1.db.prod.vm.example."],
                      "10.0.1.10.in-addr.arpa.": ["net1.db.prod.vm.example."],
                      "9.0.2.10.in-addr.arpa.": ["net2.db.prod.vm.example."]}, id="each-address-to-its-interface"),
        pytest.param([vmi(interfaces={"net1": ["192.0.2.1", "fd00::1", "10.1.0.9"]})],
                     {"9.0.1.10.in-addr.arpa.": ["net1.db.prod.vm.example."]}, id="other-blocks-are-left-out"),
        pytest.param([vmi(interfaces={"net1": ["10.1.0.9"], "net2": ["10.1.0.9"]})],
                     {"9.0.1.10.in-addr.arpa.": ["net1.db.prod.vm.example.", "net2.db.prod.vm.example."]},
                     id="one-address-of-two-interfaces"),
        pytest.param([vmi("a"), vmi("b", created=1)],
                     {"9.0.1.10.in-addr.arpa.": ["net1.a.prod.vm.example.", "net1.b.prod.vm.example."]},
                     id="one-address-of-two-vmis"),
        pytest.param([vmi(interfaces={"*": ["10.1.0.9"]})], {}, id="interface-without-a-name-in-dns"),
        pytest.param([vmi("a..b")], {}, id="vmi-without-a-name-in-dns"),
        pytest.param([vmi("db", "a.b")], {}, id="namespace-without-a-name-in-dns"),
        pytest.param([vmi(f"{LONG}.{LONG}.{LONG}.{'m' * 41}")], {}, id="256-octets"),
        pytest.param([vmi(f"{LONG}.{LONG}.{LONG}.{'m' * 40}")],
                     {"9.0.1.10.in-addr.arpa.": [f"net1.{LONG}.{LONG}.{LONG}.{'m' * 40}.prod.vm.example."]},
                     id="255-octets"),
        pytest.param([vmi(hostnames=["web"])], {"9.0.1.10.in-addr.arpa.": ["net1.db.prod.vm.example."]},
                     id="hostnames-are-no-targets"),
        pytest.param([vmi(ignored=True), vmi("b", alive=False)], {}, id="ignored-and-ended"),
    ],
)  # fmt: skip
def test_addresses_have_pointers(vmis: list[Vmi], want: dict[str, list[str]]) -> None:
    for order in (vmis, vmis[::-1]):
        found = desired(order, reverse_rules())
        assert pointers(found) == want
        assert found.collisions() == []


def test_a_shared_pointer_has_the_lowest_ttl_and_the_owner_of_the_oldest() -> None:
    name = n("9.0.1.10.in-addr.arpa.")
    found = desired([vmi("a", ttl=30, created=2), vmi("b", created=1)], reverse_rules())
    targets = ptr("net1.a.prod.vm.example.", "net1.b.prod.vm.example.", ttl=30)
    assert found.get(name) == node(name, targets, txt(mark("prod/b")))
    assert found.remove("prod/b") == {name}
    assert found.get(name) == node(name, ptr("net1.a.prod.vm.example.", ttl=30), txt(mark("prod/a"), ttl=30))


def test_a_reverse_zone_has_no_name_server_records() -> None:
    rules = reverse_rules(base=REVERSE, name_server=ips("192.0.2.53"))
    assert len(desired([], rules)) == 0
    assert apex_name_server(rules) is None


def test_interfaces_are_ordered_by_name() -> None:
    interfaces = (Interface("net1", ips("10.1.0.1")), Interface("net2", ips("10.2.0.1")))
    assert content(desired([Vmi("p/d", "p", "d", "", 0, True, interfaces, {})], zone_rules()))["d.p"] == ["10.1.0.1"]
