"""VMIs -> the names that the zone should hold."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksd_ddns.zone import marker, names
from ksd_ddns.zone.desired import Desired, HostnameScope, Network, Rules, apex_name_server, desired
from ksd_ddns.zone.rrset import AAAA, PTR, TXT, A, Node, RRset
from ksd_ddns.zone.vmi import Interface, Vmi
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


def notices(of: Desired) -> list[str]:
    return [f"{notice.vmi}: {notice.text}" for notice in of.notices()]


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
def test_names_and_addresses(given_vmi: Vmi, want: Content) -> None:
    found = desired([given_vmi], zone_rules())
    assert content(found) == want
    assert notices(found) == []
    assert {found.vmi_of(name) for name in found.names()} <= {given_vmi.key}


@pytest.mark.parametrize(
    ("given_vmi", "want", "notice"),
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
                     "prod/db: interface 'net1' has 18 addresses: the first 16 are published", id="too-many-addresses"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_is_left_out_with_one_notice(given_vmi: Vmi, want: Content, notice: str) -> None:
    found = desired([given_vmi], zone_rules())
    assert content(found) == want
    assert len(notices(found)) == 1
    assert notice in notices(found)[0]


def test_the_longest_names_are_published() -> None:
    stem = f"{LONG}.{LONG}.{LONG}.{'m' * 40}"
    found = desired([vmi(stem)], zone_rules())
    assert sorted(map(len, found.names())) == [250, 255]
    assert notices(found) == []
    whole = desired([vmi(f"{stem}{'m' * 5}")], zone_rules())
    assert list(map(len, whole.names())) == [255]


def test_warnings_of_the_vmi_are_passed_on() -> None:
    warned = Vmi("prod", "db", "", 0, True, (), frozenset(), warnings=("interface 'x': 'y' is not an IP address",))
    assert notices(desired([warned], zone_rules())) == ["prod/db: interface 'x': 'y' is not an IP address"]


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        pytest.param(Rules(base=n("vm."), zone=n("vm.")), ["db.prod.vm.", "net1.db.prod.vm."], id="empty-domain"),
        pytest.param(txt_rules(), ["db.prod.vm.example.", "net1.db.prod.vm.example."], id="domain-in-a-larger-zone"),
        pytest.param(zone_rules(default_record=False), ["net1.db.prod.vm.example."], id="no-default-record"),
    ],
)
def test_where_the_names_stand(rules: Rules, want: list[str]) -> None:
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
def test_ttl(rules: Rules, ttl: int | None, want: int) -> None:
    found = desired([vmi(interfaces={"net1": ["10.1.0.9", "fd00::1"]}, ttl=ttl)], rules)
    assert {item.ttl for name in found.names() for item in (found.get(name) or Node(name)).rrsets} == {want}


def test_marked_names_carry_the_vmi() -> None:
    found = desired([vmi(interfaces={"net1": ["10.1.0.9", "fd00::1"]})], txt_rules())
    want = marker.text_rdata(mark("prod/db").encode())
    node = found.get(n("net1.db.prod.vm.example."))
    assert node == Node(
        n("net1.db.prod.vm.example."),
        (RRset(A, 60, ips("10.1.0.9")), RRset(TXT, 60, (want,)), RRset(AAAA, 60, ips("fd00::1"))),
    )
    assert marker.owned_vmi([want], OWNER) == "prod/db"


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
def test_cidrs(publish: list[str], exclude: list[str], want: list[str]) -> None:
    rules = zone_rules(publish=tuple(map(network, publish)), exclude=tuple(map(network, exclude)))
    found = desired([vmi(interfaces={"net1": ["10.1.0.1", "10.2.0.1", "fd00:1::1", "fd00:2::1"]})], rules)
    assert content(found) == ({"net1.db.prod": want, "db.prod": content(found)["db.prod"]} if want else {})
    assert notices(found) == []


def test_max_addresses_counts_what_is_published() -> None:
    rules = zone_rules(max_addresses=1, exclude=(network("10.1.0.0/16"),))
    found = desired([vmi(interfaces={"net1": ["10.1.0.1", "10.2.0.1"]})], rules)
    assert content(found)["net1.db.prod"] == ["10.2.0.1"]
    assert notices(found) == []


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_networks_mean_the_same_to_ipaddress(address: object, other: object, prefix: int) -> None:
    first, second = ip_address(str(address)), ip_address(str(other))
    block = ip_network((second, min(prefix, second.max_prefixlen)), strict=False)
    assert (first.packed in network(str(block))) is (first in block)


# The annotation ksd-ddns/hostname

OUTSIDE = "is outside of the VMI's namespace; an admin allows it with HOSTNAME_SCOPE=zone"


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
        pytest.param("namespace", "*", "cannot be a DNS name", id="wildcard"),
        pytest.param("namespace", "*.web", "cannot be a DNS name", id="wildcard-below"),
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
        pytest.param("zone", "example.", "kept for the zone itself", id="zone-apex"),
        pytest.param("zone", "vm.example.", "kept for the zone itself", id="zone-base"),
        pytest.param("zone", "ns.vm.example.", "kept for the zone itself", id="zone-name-server"),
        pytest.param("zone", "example.org.", "not in the zone example.", id="zone-another-zone"),
        pytest.param("zone", "wwwexample.", "not in the zone example.", id="zone-ends-like-the-zone"),
        pytest.param("zone", ".".join([LONG] * 3 + ["m" * 54]) + ".example.", "too long", id="zone-256-octets"),
        pytest.param("zone", ".".join([LONG] * 3 + ["m" * 53]) + ".example.",
                     ".".join([LONG] * 3 + ["m" * 53]) + ".example.", id="zone-255-octets"),
    ],
)  # fmt: skip
def test_hostnames(scope: str, hostname: str, want: str | None) -> None:
    rules = txt_rules(hostname_scope=HostnameScope(scope), default_record=False)
    found = desired([vmi(interfaces={"net1": ["10.1.0.9", "fd00::1"]}, hostnames=[hostname])], rules)
    names_found = {names.to_text(name) for name in found.names()} - {"net1.db.prod.vm.example."}
    if want is None:
        assert (names_found, notices(found)) == (set(), [])
    elif want.endswith(".") and " " not in want:
        assert (names_found, notices(found)) == ({want}, [])
        node = found.get(n(want))
        assert node is not None
        assert (node.get(A), node.get(AAAA)) == (RRset(A, 60, ips("10.1.0.9")), RRset(AAAA, 60, ips("fd00::1")))
    else:
        assert names_found == set()
        assert len(notices(found)) == 1
        assert notices(found)[0].startswith("prod/db: annotation ksd-ddns/hostname: ")
        assert want in notices(found)[0]


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
        pytest.param([vmi("x", created=2), vmi("y", created=1, hostnames=["x"])], "x.prod", "prod/y", ["prod/x"],
                     id="a-hostname-may-be-older-than-a-name"),
        pytest.param([vmi("DB", created=2), vmi("db", created=1)], "db.prod", "prod/db", ["prod/DB"], id="fold-alike"),
    ],
)  # fmt: skip
def test_the_one_created_first_has_the_name(vmis: list[Vmi], name: str, winner: str, losers: list[str]) -> None:
    owner = n(f"{name}.vm.example.")
    for order in (vmis, vmis[::-1]):
        found = desired(order, txt_rules())
        assert found.vmi_of(owner) == winner
        node = found.get(owner)
        text = node.get(TXT) if node else None
        assert text is not None
        assert marker.owned_vmi(text.rdatas, OWNER) == winner
        lost = [collision for collision in found.collisions() if collision.name == owner]
        assert [(collision.winner, collision.loser) for collision in lost] == [(winner, loser) for loser in losers]
        assert all(collision.wanted.name == owner for collision in lost)


def test_addresses_are_never_merged() -> None:
    assert content(desired([OLDER, YOUNGER], zone_rules())) == {
        "a.b.prod": ["10.0.0.1"], "b.prod": ["10.0.0.1"], "net1.a.b.prod": ["10.0.0.2"]
    }  # fmt: skip


def test_the_next_has_the_name_when_the_winner_goes() -> None:
    found = desired([OLDER, YOUNGER], zone_rules())
    assert n("a.b.prod.vm.example.") in found.remove(OLDER.key)
    assert content(found) == {"a.b.prod": ["10.0.0.2"], "net1.a.b.prod": ["10.0.0.2"]}
    assert found.collisions() == []


@pytest.mark.parametrize(
    ("gone", "winner", "losers"),
    [("prod/c", "prod/b", ["prod/a"]), ("prod/b", "prod/c", ["prod/a"]), ("prod/a", "prod/c", ["prod/b"])],
    ids=["winner", "second", "third"],
)
def test_one_of_three_goes(gone: str, winner: str, losers: list[str]) -> None:
    vmis = [vmi(name, created=3 - age, hostnames=["x"]) for age, name in enumerate("abc")]
    found = desired(vmis, txt_rules())
    found.remove(gone)
    assert found.vmi_of(n("x.prod.vm.example.")) == winner
    assert [collision.loser for collision in found.collisions()] == losers
    assert state(found) == state(desired([item for item in vmis if item.key != gone], txt_rules()))


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
RULES = st.builds(reverse_rules, owner=st.sampled_from(["", OWNER])) | st.builds(
    txt_rules,
    zone=st.sampled_from([ZONE, BASE]),
    owner=st.sampled_from(["", OWNER]),
    hostname_scope=st.sampled_from(HostnameScope),
    name_server=st.sampled_from([(), ips("192.0.2.53")]),
)


def state(of: Desired) -> object:
    nodes = {name: (of.get(name), of.vmi_of(name)) for name in of.names()}
    return nodes, of.collisions(), of.notices(), len(of)


@settings(max_examples=200)
@given(RULES, st.lists(EVENT, max_size=12), st.randoms(use_true_random=False))
def test_the_outcome_depends_on_the_vmis_alone(rules: Rules, events: Iterable[Vmi | str], random: Random) -> None:
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


def test_what_is_put_twice_is_there_once() -> None:
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
def test_the_zones_own_records(rules: Rules, want: list[str] | None) -> None:
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
    assert len(notices(found)) == 1


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
def test_pointers(vmis: list[Vmi], want: dict[str, list[str]]) -> None:
    for order in (vmis, vmis[::-1]):
        found = desired(order, reverse_rules())
        assert pointers(found) == want
        assert found.collisions() == []


def test_a_shared_pointer_has_the_lowest_ttl_and_the_marker_of_the_first() -> None:
    name = n("9.0.1.10.in-addr.arpa.")
    found = desired([vmi("a", ttl=30, created=2), vmi("b", created=1)], reverse_rules())
    targets = ptr("net1.a.prod.vm.example.", "net1.b.prod.vm.example.", ttl=30)
    assert found.get(name) == node(name, targets, txt(mark("prod/b")))
    assert found.remove("prod/b") == {name}
    assert found.get(name) == node(name, ptr("net1.a.prod.vm.example.", ttl=30), txt(mark("prod/a"), ttl=30))


def test_the_zones_own_records_have_no_part_in_a_reverse_zone() -> None:
    rules = reverse_rules(base=REVERSE, name_server=ips("192.0.2.53"))
    assert len(desired([], rules)) == 0
    assert apex_name_server(rules) is None


def test_interfaces_are_taken_in_the_order_of_their_names() -> None:
    interfaces = (Interface("net1", ips("10.1.0.1")), Interface("net2", ips("10.2.0.1")))
    assert content(desired([Vmi("p", "d", "", 0, True, interfaces, frozenset())], zone_rules()))["d.p"] == ["10.1.0.1"]
