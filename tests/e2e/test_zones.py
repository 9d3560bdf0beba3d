# SPDX-License-Identifier: Apache-2.0
"""Foreign, signed, shared and larger zones, and their contents afterwards."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.servers import Bind, Record, Server
from harness.vmis import vmi
from tests.e2e.conftest import Ksd

FOREIGN = """
db.prod       CNAME elsewhere.example.
WEB.Prod      300 A 192.0.2.80
ssh.prod      SSHFP 4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
txt.prod      TXT "say \\"hello\\"" "again"
*.wild.prod   A 192.0.2.99
*.prod        MX 10 mail.elsewhere.example.
sub.prod      NS ns.elsewhere.example.
alias.prod    DNAME elsewhere.example.
www           A 192.0.2.1
www           AAAA 2001:db8::1
_ldap._tcp    SRV 0 0 389 www
loc           LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
odd\\.label   TXT "a dot in a label"
"""


def wanted() -> list[dict[str, Any]]:
    """Return VMIs that want names at, below and next to everything foreign."""
    names = ("db", "web", "ssh", "txt", "x.wild", "a.sub", "a.alias", "free")
    return [vmi(name, "prod", {"net1": [f"10.1.0.{i}", f"fd00::{i}"]}) for i, name in enumerate(names, 1)]


def conflicts(done: Any) -> set[str]:
    """Return the names in conflict, of a plan in JSON."""
    return {conflict["name"] for conflict in done.zone["conflicts"]}


def addresses(primary: Server, zone: str | None = None) -> dict[tuple[str, str], set[str]]:
    """Return every A and AAAA of the zone."""
    found: dict[tuple[str, str], set[str]] = {}
    for record in primary.axfr(zone):
        if record.type in {"A", "AAAA"}:
            found.setdefault((record.owner, record.type), set()).add(record.rdata)
    return found


# Foreign records


def test_foreign_records_are_unchanged_and_reported(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"vm.": FOREIGN})
    before = primary.axfr(soa=False)
    command = ksd(primary)
    expected = {
        "db.prod.vm.",
        "web.prod.vm.",
        "a.sub.prod.vm.",
        "net1.a.sub.prod.vm.",
        "a.alias.prod.vm.",
        "net1.a.alias.prod.vm.",
    }
    assert conflicts(command("plan", "-o", "json", vmi=wanted())) == expected
    done = command("apply", vmi=wanted())
    assert done.code == 1
    assert done.summary.startswith("Applied: 10 added, 0 changed, 0 deleted, 0 refused, 6 conflicts.")
    after = primary.axfr(soa=False)
    assert before < after
    assert {record.owner for record in after - before} == {
        "net1.db.prod.vm.",
        "net1.web.prod.vm.",
        "ssh.prod.vm.",
        "txt.prod.vm.",
        "net1.ssh.prod.vm.",
        "net1.txt.prod.vm.",
        "x.wild.prod.vm.",
        "net1.x.wild.prod.vm.",
        "free.prod.vm.",
        "net1.free.prod.vm.",
    }
    assert primary.query("other.wild.prod.vm", "A") == ["192.0.2.99"]
    assert command("apply", "--force", vmi=[]).code == 0
    assert primary.axfr(soa=False) == before, "what was ours is gone, everything else is as it was"


def test_a_conflict_ends_when_the_name_is_free(primary: Server, ksd: Ksd) -> None:
    primary.nsupdate("update add web.prod.vm. 300 A 192.0.2.80")
    command = ksd(primary)
    web = [vmi("web", "prod", {"net1": ["10.1.0.2"]})]
    assert command("apply", vmi=web).code == 1
    primary.nsupdate("update delete web.prod.vm. A")
    assert command("apply", vmi=web).code == 0
    assert primary.query("web.prod.vm", "A") == ["10.1.0.2"]


def test_without_ownership_records_only_addresses_are_owned(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"vm.": FOREIGN + "ns A 192.0.2.53\n@ A 192.0.2.54\n"})
    before = primary.axfr(soa=False)
    command = ksd(primary, OWNERSHIP="zone", MAX_DELETE_PERCENT=100)
    done = command("plan", "-o", "json", vmi=wanted())
    below_cuts = {"a.sub.prod.vm.", "net1.a.sub.prod.vm.", "a.alias.prod.vm.", "net1.a.alias.prod.vm."}
    assert conflicts(done) == {"db.prod.vm.", *below_cuts}
    assert command("apply", vmi=wanted()).code == 1
    others = {record for record in before if record.type not in {"A", "AAAA"}}
    assert {record for record in primary.axfr(soa=False) if record.type not in {"A", "AAAA"}} == others
    assert addresses(primary)["ssh.prod.vm.", "A"] == {"10.1.0.3"}
    assert addresses(primary)["web.prod.vm.", "A"] == {"10.1.0.2"}
    assert ("www.vm.", "A") not in addresses(primary), "everything under the base is ours"
    assert command("apply", vmi=[]).code == 0
    assert addresses(primary) == {("ns.vm.", "A"): {"192.0.2.53"}, ("vm.", "A"): {"192.0.2.54"}}
    assert {record for record in primary.axfr(soa=False) if record.type not in {"A", "AAAA"}} == others


def test_foreign_records_at_our_names_outlive_our_addresses(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"vm.": ""})
    command = ksd(primary)
    command("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.9"]})])
    primary.nsupdate(
        "update add net1.db.prod.vm. 60 SSHFP 4 1 0123456789abcdef0123456789abcdef01234567\n"
        'update add net1.db.prod.vm. 60 TXT "somebody else"'
    )
    assert command("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.10"]})]).code == 0
    assert primary.query("net1.db.prod.vm", "A") == ["10.1.0.10"]
    assert command("apply", vmi=[]).code == 0
    left = {record for record in primary.axfr() if record.owner != "vm."}
    assert {(record.owner, record.type) for record in left} == {
        ("net1.db.prod.vm.", "SSHFP"),
        ("net1.db.prod.vm.", "TXT"),
    }
    assert primary.query("net1.db.prod.vm", "TXT") == ['"somebody else"']


# Manual changes to our names


@pytest.mark.parametrize(
    "by_hand",
    [
        pytest.param(
            "update delete net1.db.prod.vm. A\nupdate add net1.db.prod.vm. 60 A 192.0.2.1", id="another-address"
        ),
        pytest.param("update add net1.db.prod.vm. 60 A 192.0.2.1", id="one-more-address"),
        pytest.param("update delete net1.db.prod.vm. AAAA", id="a-family-less"),
        # In two messages: with one, Knot 3.5 and later changes nothing.
        pytest.param("update delete net1.db.prod.vm. A\nsend\nupdate add net1.db.prod.vm. 7 A 10.1.0.9\nsend",
                     id="another-ttl"),
        pytest.param("\n".join(f"update delete net1.db.prod.vm. {rdtype}" for rdtype in ("A", "AAAA", "TXT")),
                     id="the-whole-name"),
        pytest.param(
            'update add net1.db.prod.vm. 60 TXT "heritage=ksd-ddns,owner=default,vmi=prod/other"', id="a-second-record"
        ),
        pytest.param(
            "update delete net1.db.prod.vm. TXT\n"
            'update add net1.db.prod.vm. 60 TXT "heritage=ksd-ddns,owner=default,vmi=prod/other"',
            id="the-record-of-another-vmi",
        ),
        pytest.param("update add more.prod.vm. 60 A 192.0.2.1\n"
                     'update add more.prod.vm. 60 TXT "heritage=ksd-ddns,owner=default,vmi=prod/db"',
                     id="a-name-more"),
    ],
)  # fmt: skip
def test_manual_changes_to_our_names_are_reverted(primary: Server, ksd: Ksd, by_hand: str) -> None:
    command = ksd(primary)
    db = [vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})]
    command("apply", vmi=db)
    before = primary.axfr(soa=False)
    primary.nsupdate(by_hand)
    assert primary.axfr(soa=False) != before
    assert command("plan", "--exit-code", vmi=db).code == 1
    assert command("apply", vmi=db).code == 0
    assert primary.axfr(soa=False) == before


def test_a_name_without_an_ownership_record_is_foreign_until_adopted(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    db = [vmi("db", "prod", {"net1": ["10.1.0.9"]})]
    command("apply", vmi=db)
    before = primary.axfr(soa=False)
    primary.nsupdate("update delete net1.db.prod.vm. TXT")
    done = command("apply", vmi=db)
    assert done.code == 1
    assert "without our ownership record: apply --adopt (ADOPT=true) takes it over" in done.out
    assert command("apply", "--adopt", vmi=db).code == 0
    assert primary.axfr(soa=False) == before


# Ownership


@pytest.mark.parametrize("setting", [True, False], ids=["setting", "flag"])
def test_adopt_takes_over_exact_matches(primary: Server, ksd: Ksd, *, setting: bool) -> None:
    primary.nsupdate(
        "update add net1.db.prod.vm. 3600 A 10.1.0.9\n"
        "update add db.prod.vm. 3600 A 10.1.0.9\n"
        "update add net1.web.prod.vm. 3600 A 192.0.2.80\n"  # another address
        "update add web.prod.vm. 3600 A 10.1.0.7\n"
        "update add web.prod.vm. 3600 A 10.1.0.8"  # one more
    )
    both = [vmi("db", "prod", {"net1": ["10.1.0.9"]}), vmi("web", "prod", {"net1": ["10.1.0.7"]})]
    command = ksd(primary, ADOPT="true") if setting else ksd(primary)
    flag = [] if setting else ["--adopt"]
    done = command("apply", *flag, vmi=both)
    assert done.code == 1
    assert addresses(primary)["net1.web.prod.vm.", "A"] == {"192.0.2.80"}
    assert addresses(primary)["web.prod.vm.", "A"] == {"10.1.0.7", "10.1.0.8"}
    assert ksd(primary)("list").out.splitlines() == [
        "db.prod.vm. 60 A 10.1.0.9 prod/db",
        "net1.db.prod.vm. 60 A 10.1.0.9 prod/db",
    ]


def test_adopt_by_script_leaves_nothing_to_do(bind: Bind, ksd: Ksd) -> None:
    bind.nsupdate("update add net1.db.prod.vm. 3600 A 10.1.0.9\nupdate add db.prod.vm. 3600 A 10.1.0.9")
    command = ksd(bind, ADOPT="true")
    db = [vmi("db", "prod", {"net1": ["10.1.0.9"]})]
    bind.nsupdate(command("plan", "-o", "nsupdate", vmi=db).out)
    assert command("plan", "--exit-code", vmi=db).code == 0


def test_two_owners_share_a_zone(primary: Server, ksd: Ksd) -> None:
    east, west = ksd(primary, OWNER_ID="east"), ksd(primary, OWNER_ID="west")
    shared = vmi("shared", "prod", {"net1": ["10.1.0.1"]})
    elsewhere = vmi("shared", "prod", {"net1": ["10.2.0.1"]})
    assert east("apply", vmi=[shared, vmi("e", "prod")]).code == 0
    done = west("apply", vmi=[elsewhere, vmi("w", "prod")])
    assert done.code == 1
    assert "conflict: it belongs to owner east (we are west)" in done.out
    assert primary.query("shared.prod.vm", "A") == ["10.1.0.1"]
    assert primary.query("w.prod.vm", "A") == ["10.0.0.1"]
    assert west("apply", "--adopt", vmi=[shared]).code == 1, "the ownership record of another owner is never adopted"
    assert east("apply", vmi=[]).code == 0
    assert primary.query("w.prod.vm", "A") == [], "west has deleted it"
    assert west("apply", vmi=[elsewhere]).code == 0
    assert primary.query("shared.prod.vm", "A") == ["10.2.0.1"]


def test_owned_names_outside_of_the_base_are_deleted(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"example.": "www A 192.0.2.1"})
    db = [vmi("db", "prod")]
    assert ksd(primary, DOMAIN="old.example")("apply", vmi=db).code == 0
    assert ksd(primary, DOMAIN="new.example")("apply", vmi=db).code == 0
    assert {owner for owner, _ in addresses(primary)} == {
        "www.example.",
        "db.prod.vm.new.example.",
        "nic1.db.prod.vm.new.example.",
    }


# Policies


def test_upsert_only_never_deletes_a_name(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary, POLICY="upsert-only")
    command("apply", vmi=[vmi("a", "ns"), vmi("b", "ns")])
    done = command("apply", vmi=[vmi("a", "ns", {"nic1": ["10.0.0.2"]})])
    assert done.code == 0
    assert primary.query("a.ns.vm", "A") == ["10.0.0.2"]
    assert primary.query("b.ns.vm", "A") == ["10.0.0.1"]
    assert command("apply", "--policy", "sync", vmi=[vmi("a", "ns", {"nic1": ["10.0.0.2"]})]).code == 0
    assert primary.query("b.ns.vm", "A") == []


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_many_deletions_are_blocked_and_the_rest_is_applied(bind: Bind, ksd: Ksd, ownership: str) -> None:
    command = ksd(bind, OWNERSHIP=ownership)
    five = [vmi(f"vm{i}", "ns") for i in range(5)]
    command("apply", vmi=five)  # ten names
    few = [*five[:3], vmi("new", "ns", {"nic1": ["10.0.0.2"]})]
    plan = command("plan", "-o", "json", vmi=few).zone
    assert plan["summary"] == {"add": 2, "change": 0, "delete": 0, "conflicts": 0, "blocked": 4, "owned": 10}
    done = command("apply", vmi=few)
    assert done.code == 1
    assert "warning: refusing to delete 4 of 10 owned names (4 of 10 in namespace ns)" in done.err
    assert "ksd-ddns apply --force or MAX_DELETE_PERCENT=100 deletes them" in done.err
    assert bind.query("vm4.ns.vm", "A") == ["10.0.0.1"]
    assert bind.query("new.ns.vm", "A") == ["10.0.0.2"]
    assert command("apply", vmi=few).code == 1, "they do not slip through because others were added"
    assert command("apply", "--force", vmi=few).code == 0
    assert bind.query("vm4.ns.vm", "A") == []


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_deletions_in_one_namespace_block_no_other(bind: Bind, ksd: Ksd, ownership: str) -> None:
    command = ksd(bind, OWNERSHIP=ownership)
    prod = [vmi(f"p{i}", "prod") for i in range(10)]
    evil = [vmi(f"e.{i}", "evil") for i in range(20)]
    command("apply", vmi=[*prod, *evil])
    assert command("apply", vmi=prod[1:]).code == 1
    assert bind.query("p0.prod.vm", "A") == []
    assert bind.query("e.0.evil.vm", "A") == ["10.0.0.1"]
    done = command("apply", vmi=[*evil])
    assert done.code == 1
    assert "18 of 18 in namespace prod" in done.err
    assert bind.query("p1.prod.vm", "A") == ["10.0.0.1"]
    assert command("apply", "--force", vmi=[*evil]).code == 0
    assert bind.query("p1.prod.vm", "A") == []


def test_few_deletions_are_not_blocked(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    five = [vmi(f"vm{i}", "ns") for i in range(5)]
    command("apply", vmi=five)
    assert command("apply", vmi=five[:4]).code == 0, "2 of 10 are 20 %"
    assert command("apply", vmi=[]).code == 0, "8 names are too few for a percentage"
    assert command("apply", vmi=five).code == 0
    assert command("apply", "--max-delete-percent", "0", vmi=five[:4]).code == 1


# TTL


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_new_ttl_applies_to_all_our_records(primary: Server, ksd: Ksd, ownership: str) -> None:
    command = ksd(primary, OWNERSHIP=ownership)
    before = [vmi("db", "prod", {"net1": ["10.1.0.9", "10.1.0.10", "fd00::9"]})]
    after = [vmi("db", "prod", {"net1": ["10.1.0.10", "10.1.0.11", "fd00::9"]})]
    command("apply", vmi=before)
    for vmis, ttl in ((before, 300), (before, 60), (after, 5)):
        assert command("apply", "--record-ttl", ttl, vmi=vmis).code == 0
        assert {record.ttl for record in primary.axfr() if record.owner != "vm."} == {ttl}
        assert command("plan", "--record-ttl", ttl, "--exit-code", vmi=vmis).code == 0
    assert addresses(primary)["net1.db.prod.vm.", "A"] == {"10.1.0.10", "10.1.0.11"}


# The zone's own records


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_the_zone_gets_its_name_server_records(primary: Server, ksd: Ksd, ownership: str) -> None:
    command = ksd(primary, OWNERSHIP=ownership, NAME_SERVER_IP="192.0.2.53, 2001:db8::53")
    assert primary.query("vm", "NS") == ["localhost."]
    done = command("apply", vmi=[vmi("db", "prod")])
    assert (done.code, done.err) == (0, "")
    assert "ns.vm." in primary.query("vm", "NS")
    if ownership == "zone":
        assert primary.query("vm", "NS") == ["ns.vm."], "the placeholder has made room"
    assert primary.query("ns.vm", "A") == ["192.0.2.53"]
    assert primary.query("ns.vm", "AAAA") == ["2001:db8::53"]
    assert command("plan", "--exit-code", vmi=[vmi("db", "prod")]).code == 0
    assert command("apply", "--name-server-ip", "192.0.2.54", vmi=[]).code == 0
    assert primary.query("ns.vm", "A") == ["192.0.2.54"]
    assert primary.query("ns.vm", "AAAA") == []
    assert command("apply", "--name-server-ip=", vmi=[]).code == 0
    assert primary.query("ns.vm", "A") == ["192.0.2.54"], "never deleted by the end of a VMI"
    assert "ns.vm." in primary.query("vm", "NS")


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_primary_with_its_name_server_needs_no_change(
    make_primary: Callable[..., Server], ksd: Ksd, ownership: str
) -> None:
    primary = make_primary(name_server_ips=("192.0.2.53",))
    before = primary.axfr()
    command = ksd(primary, OWNERSHIP=ownership, NAME_SERVER_IP="192.0.2.53")
    assert command("plan", "--exit-code", vmi=[]).code == 0
    assert command("apply", vmi=[]).code == 0
    assert primary.axfr() == before


def test_a_vmi_cannot_take_the_name_of_the_name_server(bind: Bind, ksd: Ksd) -> None:
    thief = vmi("x", "prod", annotations={"ksd-ddns/hostname": "ns.vm."})
    command = ksd(bind, OWNERSHIP="zone", NAME_SERVER_IP="192.0.2.53", HOSTNAME_SCOPE="zone")
    done = command("apply", vmi=[thief])
    assert "warning: VMI prod/x: annotation ksd-ddns/hostname: 'ns.vm.' is reserved for the zone itself" in done.err
    assert bind.query("ns.vm", "A") == ["192.0.2.53"]


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_no_name_server_is_added_inside_a_larger_zone(
    make_primary: Callable[..., Server], ksd: Ksd, ownership: str
) -> None:
    primary = make_primary(zones={"example.": "www A 192.0.2.1\nns.vm A 192.0.2.99\nvm MX 10 mail"})
    before = primary.axfr(soa=False)
    command = ksd(primary, DOMAIN="example", OWNERSHIP=ownership, NAME_SERVER_IP="192.0.2.53")
    done = command("apply", vmi=[vmi("db", "prod")])
    assert done.code == 0
    assert "warning: NAME_SERVER_IP is not published: vm.example. is not the apex of example." in done.err
    assert primary.axfr(soa=False) > before
    assert primary.query("vm.example", "NS") == []
    assert primary.query("db.prod.vm.example", "A") == ["10.0.0.1"]


# Which zone


def test_the_zone_is_found_by_its_soa(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"example.": "", "vm.dept.example.": ""})
    deep = ksd(primary, DOMAIN="a.b.example")
    own = ksd(primary, DOMAIN="dept.example")
    for command, zone in ((deep, "example."), (own, "vm.dept.example.")):
        assert command("plan", "-o", "json", vmi=[]).zone["zone"] == zone
        assert command("apply", vmi=[vmi("db", "prod")]).code == 0
    assert set(addresses(primary, "example.")) == {
        ("db.prod.vm.a.b.example.", "A"),
        ("nic1.db.prod.vm.a.b.example.", "A"),
    }
    assert set(addresses(primary, "vm.dept.example.")) == {
        ("db.prod.vm.dept.example.", "A"),
        ("nic1.db.prod.vm.dept.example.", "A"),
    }


def test_the_zone_can_be_set(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"example.": ""})
    command = ksd(bind, DOMAIN="Dept.Example.", ZONE="EXAMPLE")
    assert command("apply", vmi=[vmi("db", "prod")]).code == 0
    assert bind.query("db.prod.vm.dept.example", "A") == ["10.0.0.1"]


def test_without_ownership_records_only_names_below_the_base_are_owned(
    make_primary: Callable[..., Server], ksd: Ksd
) -> None:
    primary = make_primary(zones={"example.": "www A 192.0.2.1\nvm A 192.0.2.2\nxvm A 192.0.2.3\nold.vm A 192.0.2.4"})
    command = ksd(primary, DOMAIN="example", OWNERSHIP="zone")
    assert command("apply", vmi=[vmi("db", "prod")]).code == 0
    assert addresses(primary) == {
        ("www.example.", "A"): {"192.0.2.1"},
        ("vm.example.", "A"): {"192.0.2.2"},
        ("xvm.example.", "A"): {"192.0.2.3"},
        ("db.prod.vm.example.", "A"): {"10.0.0.1"},
        ("nic1.db.prod.vm.example.", "A"): {"10.0.0.1"},
    }


# DNSSEC

GENERATED = {"RRSIG", "NSEC", "NSEC3", "SOA"}


def signed(primary: Server, name: str) -> bool:
    """Return whether the A records of `name` are signed."""
    return any(record.type == "RRSIG" and record.owner == name for record in primary.axfr())


def kept(primary: Server) -> set[Record]:
    """Return the zone without what the server generates."""
    return {record for record in primary.axfr() if record.type not in GENERATED}


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_signed_zone_is_updated(make_either: Callable[..., Server], ksd: Ksd, ownership: str) -> None:
    rights = 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." zonesub ANY; };'
    primary = make_either(
        zones={"vm.": "foreign.prod 60 TXT hello"},
        bind={"zone_options": f"{rights} dnssec-policy default; inline-signing no;"},
        knot={"zone_options": "acl: all\ndnssec-signing: on"},
    )
    deadline = time.monotonic() + 20
    while not signed(primary, "foreign.prod.vm."):
        assert time.monotonic() < deadline, "the zone was not signed"
        time.sleep(0.05)
    before = kept(primary)
    assert any(record.type == "DNSKEY" for record in before)
    command = ksd(primary, OWNERSHIP=ownership, MAX_DELETE_PERCENT=100)
    vmis = [vmi(f"vm{i}", "prod", {"net1": [f"10.1.0.{i}", f"fd00::{i}"]}) for i in range(5)]
    assert command("apply", vmi=vmis).code == 0
    assert command("plan", "--exit-code", vmi=vmis).code == 0
    assert signed(primary, "net1.vm3.prod.vm.")
    moved = [vmi("vm3", "prod", {"net1": ["10.2.0.3"]}), *vmis[4:]]
    assert command("apply", vmi=moved).code == 0
    assert command("plan", "--exit-code", vmi=moved).code == 0
    assert primary.query("net1.vm3.prod.vm", "A") == ["10.2.0.3"]
    assert command("apply", vmi=[]).code == 0
    assert kept(primary) == before
