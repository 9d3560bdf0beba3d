# SPDX-License-Identifier: Apache-2.0
"""Reverse zones: PTR records in any number of zones, each with its own transfer, plan, ownership and outcome."""

from collections.abc import Callable

import pytest

from harness.servers import Bind, Knot, Server
from harness.vmis import vmi
from tests.e2e.conftest import Ksd

TEN, HOME, SIX = "10.in-addr.arpa.", "168.192.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."
ZONES = {"example.": "", TEN: "", HOME: "", SIX: ""}
DB = vmi("db", "prod", {"net1": ["10.1.0.9", "2001:db8::9"], "net2": ["192.168.7.9"]})

NINE = "9.0.1.10.in-addr.arpa."
HOME_NINE = "9.7.168.192.in-addr.arpa."
SIX_NINE = "9." + 23 * "0." + "8.b.d.0.1.0.0.2.ip6.arpa."


def pointers(primary: Server, *zones: str) -> dict[str, set[str]]:
    """Return the PTR records of `zones`: reverse names and their targets."""
    found: dict[str, set[str]] = {}
    for zone in zones or (TEN, HOME, SIX):
        for record in primary.axfr(zone):
            if record.type == "PTR":
                found.setdefault(record.owner, set()).add(record.rdata)
    return found


def ownership_records(primary: Server, zone: str) -> dict[str, str]:
    """Return the TXT records of `zone` by owner name."""
    return {record.owner: record.rdata for record in primary.axfr(zone) if record.type == "TXT"}


# What is published


@pytest.mark.parametrize("ownership", ["txt", "zone"])
@pytest.mark.parametrize(
    "zones",
    [
        pytest.param("10.in-addr.arpa, 168.192.IN-ADDR.ARPA., 8.b.d.0.1.0.0.2.ip6.arpa", id="names"),
        pytest.param("10.0.0.0/8,192.168.0.0/16,2001:db8::/32", id="blocks"),
        pytest.param("10.1.0.0/16, 192.168.7.0/24, 2001:db8::/64, 2001:db8::/48, 10.1.0.0/16", id="blocks-in-zones"),
    ],
)
def test_every_address_points_to_its_interface(
    make_primary: Callable[..., Server], ksd: Ksd, zones: str, ownership: str
) -> None:
    primary = make_primary(zones=ZONES)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES=zones, OWNERSHIP=ownership)
    done = command("apply", vmi=[DB])
    assert (done.code, done.err) == (0, "")
    assert pointers(primary) == {
        NINE: {"net1.db.prod.vm.example."},
        HOME_NINE: {"net2.db.prod.vm.example."},
        SIX_NINE: {"net1.db.prod.vm.example."},
    }
    assert primary.ttl(NINE, "PTR") == 60
    marker = '"heritage=ksd-ddns,owner=default,vmi=prod/db"'
    assert ownership_records(primary, TEN) == ({NINE: marker} if ownership == "txt" else {})
    serials = [primary.serial(zone) for zone in ZONES]
    assert command("plan", "--exit-code", vmi=[DB]).code == 0
    assert command("apply", vmi=[DB]).code == 0
    assert [primary.serial(zone) for zone in ZONES] == serials
    assert command("apply", vmi=[]).code == 0
    assert pointers(primary) == {}
    assert ownership_records(primary, TEN) == {}


def test_an_unpublished_address_has_no_pointer(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones=ZONES)
    command = ksd(bind, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8", EXCLUDE_CIDRS="10.9.0.0/16", RECORD_TTL=90)
    command(
        "apply",
        vmi=[
            vmi("db", "prod", {"net1": ["10.1.0.9", "10.9.0.1", "192.168.7.9", "fe80::1"]}),  # of another block
            vmi("off", "prod", {"net1": ["10.1.0.10"]}, annotations={"ksd-ddns/ignore": "true"}),
            vmi("done", "prod", {"net1": ["10.1.0.11"]}, phase="Succeeded"),
            vmi("short", "prod", {"net1": ["10.1.0.12"]}, annotations={"ksd-ddns/ttl": "30"}),
        ],
    )
    assert pointers(bind) == {
        NINE: {"net1.db.prod.vm.example."},
        "12.0.1.10.in-addr.arpa.": {"net1.short.prod.vm.example."},
    }
    assert (bind.ttl(NINE, "PTR"), bind.ttl("12.0.1.10.in-addr.arpa.", "PTR")) == (90, 30)


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_shared_address_has_several_pointers(make_primary: Callable[..., Server], ksd: Ksd, ownership: str) -> None:
    primary = make_primary(zones=ZONES)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8", OWNERSHIP=ownership)
    a, b, c = (vmi(name, "prod", {"net1": ["10.1.0.9"]}, created=f"2026-03-0{i}T08:00:00Z")
               for i, name in enumerate("abc", 1))  # fmt: skip
    for present in ([a, b, c], [b, c], [a, c], [c], [c, b, a], []):
        assert command("apply", vmi=present).code == 0
        wanted = {f"net1.{item['metadata']['name']}.prod.vm.example." for item in present}
        assert pointers(primary) == ({NINE: wanted} if wanted else {})
        assert command("plan", "--exit-code", vmi=present).code == 0


def test_a_pointer_follows_an_address_that_moves(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones=ZONES)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8")
    command("apply", vmi=[vmi("a", "prod", {"net1": ["10.1.0.9"]}), vmi("b", "prod", {"net1": ["10.1.0.10"]})])
    command("apply", vmi=[vmi("a", "prod", {"net1": ["10.1.0.10"]}), vmi("b", "prod", {"net1": ["10.1.0.9"]})])
    assert pointers(primary) == {
        NINE: {"net1.b.prod.vm.example."},
        "10.0.1.10.in-addr.arpa.": {"net1.a.prod.vm.example."},
    }
    assert ownership_records(primary, TEN)[NINE] == '"heritage=ksd-ddns,owner=default,vmi=prod/b"'


def test_a_nested_zone_has_its_own_pointers(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    inner = "1.10.in-addr.arpa."
    primary = make_primary(zones={"example.": "", TEN: "1 NS ns.elsewhere.example.", inner: ""})
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8, 10.1.0.0/16")
    both = [vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]})]
    assert command("apply", vmi=both).code == 0
    assert pointers(primary, TEN) == {"9.0.2.10.in-addr.arpa.": {"net2.db.prod.vm.example."}}
    assert pointers(primary, inner) == {NINE: {"net1.db.prod.vm.example."}}


def test_several_blocks_can_share_one_zone(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones=ZONES)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8, 10.1.0.0/16, 10.2.0.0/16", OWNERSHIP="zone")
    db = [vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"], "net3": ["10.3.0.9"]})]
    assert command("apply", vmi=db).code == 0
    assert len(pointers(primary, TEN)) == 3
    assert command("plan", "--exit-code", vmi=db).code == 0, "no block deletes what is another's"
    assert command("apply", vmi=[]).code == 0
    assert pointers(primary, TEN) == {}


def test_only_pointers_in_the_current_blocks_are_owned(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones=ZONES)
    two = [vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]})]
    command = ksd(bind, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8")
    command("apply", vmi=two)
    assert command("apply", "--reverse-zones", "10.1.0.0/16", vmi=[]).code == 0
    assert pointers(bind) == {"9.0.2.10.in-addr.arpa.": {"net2.db.prod.vm.example."}}


def test_names_and_pointers_can_share_a_zone(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={".": "localhost A 127.0.0.1"})
    command = ksd(primary, REVERSE_ZONES="10.0.0.0/8")
    assert command("apply", vmi=[DB]).code == 0
    assert command("plan", "--exit-code", vmi=[DB]).code == 0
    assert pointers(primary, ".") == {NINE: {"net1.db.prod.vm."}}
    assert command("apply", vmi=[]).code == 0
    assert {record.owner for record in primary.axfr(".")} == {".", "localhost."}


# What others have there

FOREIGN = """\
1.0.1    PTR gateway.example.
1.0.1    TXT "the gateway"
9.0.1    PTR host.example.
10.0.1   CNAME 10.0-31.0.1
10.0-31.0.1 PTR customer.example.
11.0.1   TXT "reserved"
2        NS ns.elsewhere.example.
*.3      PTR pool.example.
"""
FOREIGN_VMI = vmi("db", "prod", {"net1": ["10.1.0.9", "10.1.0.10", "10.1.0.11", "10.1.0.12", "10.2.0.1", "10.3.0.1"]})
TARGET = "net1.db.prod.vm.example."


def test_foreign_pointers_are_unchanged(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"example.": "", TEN: FOREIGN})
    before = primary.axfr(TEN, soa=False)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8")
    done = command("apply", vmi=[FOREIGN_VMI])
    assert done.code == 1
    conflict = f"! {NINE} (VMI prod/db) conflict: it exists without our ownership record"
    assert f"{conflict}; found PTR host.example." in done.out
    assert "! 10.0.1.10.in-addr.arpa. (VMI prod/db) conflict: a CNAME that is not ours exists there" in done.out
    assert "11.0.1.10.in-addr.arpa. (VMI prod/db) conflict" not in done.out, "a text is no pointer"
    assert "! 1.0.2.10.in-addr.arpa. (VMI prod/db) conflict: 2.10.in-addr.arpa. is delegated" in done.out
    after = primary.axfr(TEN, soa=False)
    assert before < after
    published = {f"{number}.in-addr.arpa." for number in ("11.0.1.10", "12.0.1.10", "1.0.3.10")}
    assert {record.owner for record in after - before} == published
    assert primary.query(TARGET, "A") == ["10.1.0.10", "10.1.0.11", "10.1.0.12", "10.1.0.9", "10.2.0.1", "10.3.0.1"]
    assert command("apply", vmi=[]).code == 0
    assert primary.axfr(TEN, soa=False) == before


def test_without_ownership_records_all_pointers_are_owned(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"example.": "", TEN: FOREIGN})
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.1.0.0/16", OWNERSHIP="zone")
    before = primary.axfr(TEN, soa=False)
    assert command("apply", vmi=[FOREIGN_VMI]).code == 1, "the CNAME is in the way"
    assert pointers(primary, TEN) == {
        NINE: {TARGET},
        "11.0.1.10.in-addr.arpa.": {TARGET},
        "12.0.1.10.in-addr.arpa.": {TARGET},
        "*.3.10.in-addr.arpa.": {"pool.example."},
    }
    assert {item for item in before if item.type != "PTR"} <= primary.axfr(TEN, soa=False)


def test_adopt_takes_over_pointers(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"example.": "", TEN: f"9.0.1 3600 PTR {TARGET}\n10.0.1 PTR {TARGET}\n10.0.1 PTR x."})
    db = [vmi("db", "prod", {"net1": ["10.1.0.9", "10.1.0.10"]})]
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8")
    assert "apply --adopt (ADOPT=true) takes it over" in command("plan", vmi=db).out
    assert command("apply", "--adopt", vmi=db).code == 1, "the other one is not as wanted"
    assert (primary.ttl(NINE, "PTR"), list(ownership_records(primary, TEN))) == (60, [NINE])
    assert command("apply", vmi=[]).code == 0
    assert pointers(primary, TEN) == {"10.0.1.10.in-addr.arpa.": {TARGET, "x."}}


def test_two_owners_share_a_reverse_zone(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"example.": "", TEN: ""})
    east, west = (ksd(primary, DOMAIN=f"{owner}.example", OWNER_ID=owner, REVERSE_ZONES="10.0.0.0/8")
                  for owner in ("east", "west"))  # fmt: skip
    shared = vmi("shared", "prod", {"net1": ["10.1.0.9"]})
    assert east("apply", vmi=[shared, vmi("e", "prod", {"net1": ["10.1.0.1"]})]).code == 0
    done = west("apply", vmi=[shared, vmi("w", "prod", {"net1": ["10.1.0.2"]})])
    assert done.code == 1
    assert "it belongs to owner east (we are west)" in done.out
    assert pointers(primary, TEN) == {
        NINE: {"net1.shared.prod.vm.east.example."},
        "1.0.1.10.in-addr.arpa.": {"net1.e.prod.vm.east.example."},
        "2.0.1.10.in-addr.arpa.": {"net1.w.prod.vm.west.example."},
    }
    assert east("apply", vmi=[]).code == 0
    assert west("apply", vmi=[shared]).code == 0
    assert pointers(primary, TEN) == {NINE: {"net1.shared.prod.vm.west.example."}}


# One broken zone


HOME_ZONE = "$TTL 60\n@ SOA localhost. hostmaster.localhost. 1 60 60 60 60\n@ NS localhost.\n"
LACKING = {
    ("bind9", "transfer"): 'allow-transfer { none; }; update-policy { grant "ksd-ddns." zonesub ANY; };',
    ("bind9", "update"): 'allow-transfer { key "ksd-ddns."; };',
    ("knot", "transfer"): "acl: write",
    ("knot", "update"): "acl: read",
}
RULES = (
    "  - id: read\n    key: ksd-ddns.\n    action: [query, transfer]\n"
    "  - id: write\n    key: ksd-ddns.\n    action: [query, update]\n"
)


@pytest.fixture(params=["transfer", "update"])
def broken(request: pytest.FixtureRequest, make_either: Callable[..., Server]) -> Server:
    """Return a primary that refuses transfers or updates of one of the reverse zones."""
    primary = make_either(zones={zone: "" for zone in ZONES if zone != HOME}, bind={}, knot={"extra": RULES})
    right = LACKING[primary.kind, request.param]
    (primary.directory / "broken.zone").write_text(HOME_ZONE)
    with primary.configuration.open("a") as file:
        if primary.kind == "bind9":
            file.write(f'\nzone "{HOME}" {{ type primary; file "broken.zone"; {right} }};\n')
        else:
            file.write(f"  - domain: {HOME}\n    file: broken.zone\n    {right}\n")
    primary.reload()
    return primary


def test_a_zone_without_permission_delays_no_other(broken: Server, ksd: Ksd) -> None:
    command = ksd(broken, DOMAIN="example", REVERSE_ZONES="192.168.0.0/16, 10.0.0.0/8, 2001:db8::/32")
    done = command("apply", vmi=[DB])
    assert done.code == 4
    assert "error: 168.192.in-addr.arpa.: " in done.err
    assert "168.192.in-addr.arpa" in done.err
    assert broken.query("net1.db.prod.vm.example", "A") == ["10.1.0.9"]
    assert pointers(broken, TEN, SIX) == {NINE: {"net1.db.prod.vm.example."}, SIX_NINE: {"net1.db.prod.vm.example."}}
    plan = command("plan", vmi=[DB])
    assert "Zone 10.in-addr.arpa.\nPlan: 0 to add" in plan.out
    assert command("list").out.count(" PTR ") == 2


def test_an_unserved_zone_delays_no_other(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones=ZONES)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="172.16.0.0/16, 10.0.0.0/8")
    for verb in ("plan", "apply", "list"):
        done = command(verb) if verb == "list" else command(verb, vmi=[DB])
        assert done.code == 4
        assert "error: 16.172.in-addr.arpa.: " in done.err
        assert "Zone 10.in-addr.arpa." in done.out
        assert "Zone example." in done.out
    assert pointers(primary) == {NINE: {"net1.db.prod.vm.example."}}


def test_an_unserved_forward_zone_delays_no_pointer(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones=ZONES)
    done = ksd(bind, DOMAIN="elsewhere", REVERSE_ZONES="10.0.0.0/8")("apply", vmi=[DB])
    assert done.code == 4
    assert "error: vm.elsewhere.: " in done.err
    assert pointers(bind) == {NINE: {"net1.db.prod.vm.elsewhere."}}


def test_deletions_are_counted_in_each_zone(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones=ZONES)
    command = ksd(bind, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8, 192.168.0.0/16")
    many = [vmi(f"vm{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(1, 11)]
    few = [vmi("home", "prod", {"net1": ["192.168.7.1"]})]
    command("apply", vmi=[*many, *few])
    done = command("apply", vmi=many[:5])
    assert done.code == 1
    assert len(pointers(bind, TEN)) == 10, "5 of 10 are too many"
    assert pointers(bind, HOME) == {}, "1 is too few for a percentage"
    assert command("apply", "--force", vmi=many[:5]).code == 0
    assert len(pointers(bind, TEN)) == 5


def test_upsert_only_deletes_no_pointer(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones=ZONES)
    command = ksd(bind, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8", POLICY="upsert-only")
    command("apply", vmi=[DB])
    assert command("apply", vmi=[]).code == 0
    assert pointers(bind) == {NINE: {"net1.db.prod.vm.example."}}


# Scripts and lists


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_one_script_covers_all_zones(make_primary: Callable[..., Server], ksd: Ksd, ownership: str) -> None:
    primary = make_primary(zones=ZONES)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8,192.168.0.0/16,2001:db8::/32",
                  OWNERSHIP=ownership, MAX_DELETE_PERCENT=100)  # fmt: skip
    moved = vmi("db", "prod", {"net1": ["10.1.0.10", "2001:db8::9"], "net2": ["192.168.7.9"]})
    twin = vmi("twin", "prod", {"net1": ["10.1.0.10"]})
    for wanted in ([DB], [moved, twin], [twin], []):
        script = command("plan", "-o", "nsupdate", vmi=wanted).out
        update = primary.knsupdate if isinstance(primary, Knot) else primary.nsupdate
        answer = update(script)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
        assert command("plan", "--exit-code", vmi=wanted).code == 0
    assert pointers(primary) == {}


def test_list_shows_pointers(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"example.": "", TEN: FOREIGN})
    command = ksd(bind, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8")
    command("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.12"]})])
    assert command("list").out.splitlines()[-2:] == [
        "Zone 10.in-addr.arpa.",
        f"12.0.1.10.in-addr.arpa. 60 PTR {TARGET} prod/db",
    ]


@pytest.mark.parametrize("verb", ["plan", "list"])
def test_json_of_several_zones_is_one_document(make_bind: Callable[..., Bind], ksd: Ksd, verb: str) -> None:
    command = ksd(make_bind(zones={"example.": "", TEN: ""}), DOMAIN="example", REVERSE_ZONES="10.0.0.0/8,11.0.0.0/8")
    done = command(verb, "-o", "json", **({"vmi": []} if verb == "plan" else {}))
    assert [zone["zone"] for zone in done.json["zones"]] == ["example.", TEN], "those that can be read"
    assert done.code == 4, "the third one is not served here"


# Settings


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("example.com", "is not a reverse zone", id="forward"),
        pytest.param("0-26.2.0.192.in-addr.arpa", "can be a range or an octet and a prefix; write ZONE=CIDR",
                     id="range-or-prefix"),
        pytest.param("customer.2.0.192.in-addr.arpa", "write ZONE=CIDR, such as", id="label-that-says-nothing"),
        pytest.param("300-310.2.0.192.in-addr.arpa", "neither a range of an octet nor", id="no-octet-range"),
        pytest.param("customer.example=192.0.2.64/33", "is not a CIDR block", id="no-block"),
        pytest.param("customer.example=", "write ZONE=CIDR", id="no-cidr"),
        pytest.param("=192.0.2.64/26", "has no zone before the equals sign", id="no-zone"),
        pytest.param("customer.example=192.0.2.65/26", "bits set after its prefix", id="host-bits-of-a-zone"),
        pytest.param("2.0.192.in-addr.arpa=192.0.2.64/26", "is the reverse zone of other addresses", id="other-block"),
        pytest.param("x.example=10.0.0.0/8,x.example=11.0.0.0/8", "is given twice, with different", id="twice"),
        pytest.param("192.0.2.64/26", "for other blocks (RFC 2317) write ZONE=CIDR", id="block-without-a-zone"),
        pytest.param("256.in-addr.arpa", "is not a reverse zone", id="no-octet"),
        pytest.param("1.0.0.0.0.10.in-addr.arpa", "is not a reverse zone", id="too-long"),
        pytest.param("g.ip6.arpa", "is not a reverse zone", id="no-nibble"),
        pytest.param("10.0.0.0/12", "between two labels", id="between-octets"),
        pytest.param("2001:db8::/33", "between two labels", id="between-nibbles"),
        pytest.param("10.1.0.0/8", "bits set after its prefix", id="host-bits"),
        pytest.param("10.0.0.0/8,nowhere/8", "not an IPv4 or IPv6 address", id="no-address"),
    ],
)  # fmt: skip
def test_an_invalid_reverse_zone_is_an_error(bind: Bind, ksd: Ksd, value: str, words: str) -> None:
    done = ksd(bind, REVERSE_ZONES=value)("plan", vmi=[])
    assert done.code == 2
    assert "REVERSE_ZONES (--reverse-zones) = " in done.err
    assert words in done.err


def test_names_and_pointers_need_different_bases(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, REVERSE_ZONES="vm=10.0.0.0/8")("plan", vmi=[])
    assert (done.code, done.out) == (2, "")
    assert "REVERSE_ZONES names vm., below which the VMIs' names are" in done.err
