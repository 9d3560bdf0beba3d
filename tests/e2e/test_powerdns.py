# SPDX-License-Identifier: Apache-2.0
"""PowerDNS with its SQLite backend, end to end: it works like BIND and Knot, with its own peculiarities."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import hostile
from harness.hostile import Proxy
from harness.kube import Kube
from harness.servers import Bind, Key, PowerDns, Record
from harness.vmis import vmi
from tests.controller.conftest import run
from tests.controller.running import Running, answer
from tests.e2e.conftest import Ksd
from tests.kube_fixtures import kube

__all__ = ["kube", "run"]

Make = Callable[..., PowerDns]
MakeBind = Callable[..., Bind]
Run = Callable[..., Running]

FOREIGN = r"""
www       A      192.0.2.1
www       TXT    "say \"hi\"; \\ and \007" "second string"
WWW.Upper AAAA   2001:db8::1
@         MX     10 www
*.wild    A      192.0.2.2
alias     CNAME  www
sub       NS     ns.elsewhere.test.
host      SSHFP  1 1 0102030405060708090a0b0c0d0e0f1011121314
_srv._tcp SRV    1 2 3 www
caa       CAA    0 issue "ca.example.net"
vm        TXT    "at the base"
x.vm      A      192.0.2.3
"""
DB = vmi("db", "prod", {"net1": ["10.1.0.9", "10.1.0.10", "fd00::9"], "net_2": ["10.2.0.9"]})


def many(count: int, octet: int = 1) -> list[dict[str, Any]]:
    """Return VMIs with one address each."""
    return [vmi(f"vm-{i}", "prod", {"net1": [f"10.{octet}.{i >> 8}.{i & 255}"]}) for i in range(count)]


def ours(primary: PowerDns, before: frozenset[Record]) -> dict[tuple[str, str], set[str]]:
    """Return the new records; the earlier ones must still exist."""
    after = primary.axfr(soa=False)
    assert before <= after
    found: dict[tuple[str, str], set[str]] = {}
    for record in after - before:
        found.setdefault((record.owner, record.type), set()).add(record.rdata)
    return found


@pytest.mark.parametrize("read", ["axfr", "queries"])
def test_the_services_of_a_group_follow_its_members(make_powerdns: Make, ksd: Ksd, read: str) -> None:
    primary = make_powerdns(zones={"vm.": ""})
    command = ksd(primary, GROUP_SRV="true", READ=read, MAX_DELETE_PERCENT=100)
    service = "_http._tcp.web.prod.vm"

    def members(count: int, port: int) -> list[dict[str, Any]]:
        given = {"ksd-ddns/group": "web", "ksd-ddns/group-ports": f"http={port}"}
        return [vmi(f"web-{i}", "prod", {"net1": [f"10.1.0.{i}"]}, annotations=given) for i in range(count)]

    for wanted in (members(5, 80), members(2, 8080)):
        assert command("apply", vmi=wanted).code == 0
        assert len(primary.query(service, "SRV")) == len(wanted)
        assert command("plan", "--exit-code", vmi=wanted).code == 0
    assert {text.split()[2] for text in primary.query(service, "SRV")} == {"8080"}
    assert command("apply", vmi=[]).code == 0
    assert (primary.query(service, "SRV"), primary.query("web.prod.vm", "A")) == ([], [])


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_name_is_added_changed_and_deleted(make_powerdns: Make, ksd: Ksd, ownership: str) -> None:
    primary = make_powerdns(zones={"example.": FOREIGN.replace("x.vm", "x.other")})
    before = primary.axfr(soa=False)
    command = ksd(primary, DOMAIN="example", OWNERSHIP=ownership)
    assert command("apply", vmi=[DB]).code == 0
    found = ours(primary, before)
    assert found["net1.db.prod.vm.example.", "A"] == {"10.1.0.9", "10.1.0.10"}
    assert found["net_2.db.prod.vm.example.", "A"] == {"10.2.0.9"}
    assert found["db.prod.vm.example.", "AAAA"] == {"fd00::9"}
    assert primary.query("net1.db.prod.vm.example", "A") == ["10.1.0.10", "10.1.0.9"], "also past its caches"
    serial = primary.serial()
    assert command("apply", vmi=[DB]).code == 0
    assert primary.serial() == serial
    assert command("plan", "--exit-code", vmi=[DB]).code == 0
    moved = vmi("db", "prod", {"net1": ["10.1.0.10", "fd00::10"]}, annotations={"ksd-ddns/ttl": "30"})
    assert command("apply", vmi=[moved]).code == 0
    assert ours(primary, before)["net1.db.prod.vm.example.", "A"] == {"10.1.0.10"}
    assert primary.query("net1.db.prod.vm.example", "AAAA") == ["fd00::10"]
    assert primary.ttl("net1.db.prod.vm.example.", "A") == 30
    assert primary.query("net_2.db.prod.vm.example", "A") == []
    assert primary.serial() > serial
    assert command("apply", vmi=[]).code == 0
    assert ours(primary, before) == {}


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_script_adds_changes_and_deletes_a_name(make_powerdns: Make, ksd: Ksd, ownership: str) -> None:
    primary = make_powerdns(zones={"example.": "www A 192.0.2.1"})
    command = ksd(primary, DOMAIN="example", OWNERSHIP=ownership, MAX_DELETE_PERCENT=100)
    for wanted in (many(300), many(200, octet=2), many(10)):
        answer = primary.nsupdate(command("plan", "-o", "nsupdate", vmi=wanted).out)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
        assert command("plan", "--exit-code", vmi=wanted).code == 0


def test_foreign_records_are_unchanged(make_powerdns: Make, ksd: Ksd) -> None:
    names = {"foreign": "A 192.0.2.9", "alias": "CNAME www", "text": 'TXT "hello"', "print": "SSHFP 1 1 " + 20 * "ab"}
    text = "".join(f"net1.{name}.prod.vm {records}\n" for name, records in names.items())
    primary = make_powerdns(zones={"example.": f"{FOREIGN}{text}gone.vm NS elsewhere.\n"})
    before = primary.axfr(soa=False)
    command = ksd(primary, DOMAIN="example")
    wanted = [*(vmi(name, "prod") for name in names), vmi("x", "gone", {"net1": ["10.0.0.1"]}), DB]
    wanted = [vmi(item["metadata"]["name"], item["metadata"]["namespace"], {"net1": ["10.0.0.1"]}) for item in wanted]
    done = command("apply", vmi=wanted)
    assert done.code == 1
    assert done.out.count("conflict: ") == 4
    assert {owner for owner, _ in ours(primary, before)} == {
        f"{name}.prod.vm.example." for name in ("net1.db", "db", "net1.text", "net1.print", *names)
    }
    assert command("apply", vmi=[]).code == 0
    assert primary.axfr(soa=False) == before


@pytest.mark.parametrize("ownership", ["txt", "zone"])
@pytest.mark.parametrize("foreign", ["A 192.0.2.9", "CNAME www.example.", "TXT mine"])
def test_a_record_added_between_read_and_update_is_unchanged(
    make_powerdns: Make, ksd: Ksd, ownership: str, foreign: str
) -> None:
    primary = make_powerdns(zones={"example.": ""})
    name = "net1.db.prod.vm.example."

    def meanwhile() -> None:
        primary.nsupdate(f"update add {name} 60 {foreign}")

    def hook(message: bytes) -> list[bytes]:
        if hostile.is_update(message) and not done:
            done.append(True)
            meanwhile()
        return [message]

    done: list[bool] = []
    with Proxy(primary, request=hook) as proxy:
        applied = ksd(primary, DOMAIN="example", OWNERSHIP=ownership, through=proxy.address)("apply", vmi=[DB])
    assert done
    rdtype, rdata = foreign.split()
    if (ownership == "txt" and rdtype != "TXT") or rdtype == "CNAME":
        assert applied.code == 1
        assert {(item.type, item.rdata.strip('"')) for item in primary.axfr() if item.owner == name} == {
            (rdtype, rdata)
        }
    else:
        assert applied.code == 0
        assert primary.query(name, "A") == ["10.1.0.10", "10.1.0.9"]
        assert rdtype != "TXT" or '"mine"' in primary.query(name, "TXT")
    assert primary.query("db.prod.vm.example", "A") == ["10.1.0.10", "10.1.0.9"]


def test_a_signed_zone_is_updated(make_powerdns: Make, ksd: Ksd) -> None:
    primary = make_powerdns(zones={"example.": "www A 192.0.2.1"}, options="gsqlite3-dnssec=yes")
    primary.pdnsutil("secure-zone", "example")
    primary.reload()
    command = ksd(primary, DOMAIN="example")
    assert command("apply", vmi=[DB]).code == 0
    assert command("plan", "--exit-code", vmi=[DB]).code == 0
    assert "RRSIG" in primary.dig("+dnssec", "net1.db.prod.vm.example", "A")
    assert command("apply", vmi=[]).code == 0
    assert {record.owner for record in primary.axfr() if record.type == "A"} == {"www.example."}


def test_a_zone_with_narrow_nsec3_is_reported(make_powerdns: Make, ksd: Ksd) -> None:
    primary = make_powerdns(zones={"example.": "www A 192.0.2.1"}, options="gsqlite3-dnssec=yes")
    primary.pdnsutil("secure-zone", "example")
    primary.pdnsutil("set-nsec3", "example", "1 0 0 -", "narrow")
    primary.reload()
    command = ksd(primary, DOMAIN="example")
    done = command("check", vmi=[DB])
    assert done.code == 1
    assert "FAIL  transfer example." in done.out
    assert "pdnsutil set-nsec3" in done.out
    primary.pdnsutil("set-nsec3", "example", "1 0 0 -")
    primary.reload()
    assert command("check", vmi=[DB]).code == 0


def test_a_secondary_that_forwards_updates_is_reported(make_powerdns: Make, make_bind: MakeBind, ksd: Ksd) -> None:
    key = Key()
    primary = make_bind(zones={"example.": "www A 192.0.2.1"}, keys=[key])
    forwarding = "forward-dnsupdate=yes\nsecondary=yes"
    secondary = make_powerdns(zones={"example.": "www A 192.0.2.1"}, keys=[key], options=forwarding)
    secondary.pdnsutil("change-secondary-zone-primary", "example", f"127.0.0.1:{primary.port}")
    secondary.pdnsutil("set-kind", "example", "secondary")
    secondary.pdnsutil("set-meta", "example", "FORWARD-DNSUPDATE", "yes")
    secondary.restart()
    done = ksd(secondary, DOMAIN="example")("apply", vmi=[DB])
    assert done.code == 1
    assert "it is a secondary that forwards updates" in done.out
    assert primary.query("net1.db.prod.vm.example", "A") == ["10.1.0.10", "10.1.0.9"]


EPOCH = """\
add-meta ZONE TSIG-ALLOW-AXFR ksd-ddns
add-meta ZONE TSIG-ALLOW-DNSUPDATE ksd-ddns
set-meta ZONE SOA-EDIT-DNSUPDATE EPOCH
"""


def test_apply_works_while_the_serial_stays_the_same_for_a_second(make_powerdns: Make, ksd: Ksd) -> None:
    primary = make_powerdns(zones={"example.": ""}, zone_options=EPOCH)
    command = ksd(primary, DOMAIN="example", UPDATE_BATCH="1")
    for i in range(8):
        wanted = [vmi("db", "prod", {"net1": [f"10.1.0.{i}"]})]
        done = command("apply", vmi=wanted)
        assert (done.code, done.err) == (0, "")
        assert primary.query("net1.db.prod.vm.example", "A") == [f"10.1.0.{i}"]
        assert command("plan", "--exit-code", vmi=wanted).code == 0


def test_the_controller_works_while_the_serial_stays_the_same(make_powerdns: Make, kube: Kube, run: Run) -> None:
    primary = make_powerdns(zones={"vm.": ""}, zone_options=EPOCH)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.1"]}))
    ksd = run(primary, kube, HOLD_DOWN="0s", DRIFT_INTERVAL="0.5s")
    ksd.wait_ready()
    for i in range(8):
        kube.put(vmi("db", "prod", {"net1": [f"10.1.0.{i}"]}))
        ksd.wait_answer(primary, "net1.db.prod.vm.", "A", f"10.1.0.{i}", seconds=5)
    assert ksd.problems() == {}


def test_many_names_are_sent_in_messages_of_any_size(make_powerdns: Make, ksd: Ksd) -> None:
    primary = make_powerdns(zones={"example.": ""})
    for settings in ({}, {"UPDATE_BATCH": "7"}, {"UPDATE_OCTETS": "65535", "UPDATE_BATCH": "10000"}):
        command = ksd(primary, DOMAIN="example", MAX_DELETE_PERCENT=100, **settings)
        assert command("apply", vmi=many(150)).code == 0
        assert command("plan", "--exit-code", vmi=many(150)).code == 0
        assert command("apply", vmi=[]).code == 0


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        pytest.param(
            "add-meta ZONE TSIG-ALLOW-DNSUPDATE ksd-ddns",
            ("may not transfer example. (NOTAUTH)", "TSIG-ALLOW-AXFR"),
            id="no-transfer",
        ),
        pytest.param(
            "add-meta ZONE TSIG-ALLOW-AXFR ksd-ddns\nadd-meta ZONE TSIG-ALLOW-DNSUPDATE other",
            ("refused the update", "TSIG-ALLOW-DNSUPDATE"),
            id="no-update",
        ),
    ],
)
def test_a_missing_permission_is_reported(make_powerdns: Make, ksd: Ksd, commands: str, words: tuple[str, ...]) -> None:
    primary = make_powerdns(zones={"example.": ""}, zone_options=commands)
    serial = primary.serial()
    done = ksd(primary, DOMAIN="example")("apply", vmi=[DB])
    assert done.code == 4
    for word in words:
        assert word in done.err
    assert primary.serial() == serial


def test_disabled_updates_are_reported(make_powerdns: Make, ksd: Ksd) -> None:
    primary = make_powerdns(zones={"example.": ""}, options="dnsupdate=no")
    done = ksd(primary, DOMAIN="example")("apply", vmi=[DB])
    assert done.code == 4
    assert "dnsupdate=yes" in done.err


def test_a_lua_policy_limits_the_key_to_its_branch(make_powerdns: Make, ksd: Ksd, tmp_path: Path) -> None:
    script = tmp_path / "policy.lua"
    script.write_text(POLICY)
    primary = make_powerdns(zones={"example.": "www A 192.0.2.1"}, options=f"lua-dnsupdate-policy-script={script}")
    command = ksd(primary, DOMAIN="example")
    assert command("apply", vmi=[DB]).code == 0
    assert command("plan", "--exit-code", vmi=[DB]).code == 0
    for name, record in (("www.example.", "A 192.0.2.9"), ("x.vm.example.", "MX 10 www.example.")):
        # PowerDNS 4 drops it and says NOERROR, 5.1 says REFUSED.
        primary.nsupdate(f"update add {name} 60 {record}", check=False)
        assert record.split()[1] not in primary.query(name, record.split()[0])
    assert command("apply", vmi=[]).code == 0


def test_a_lua_policy_that_drops_txt_is_reported(make_powerdns: Make, ksd: Ksd, tmp_path: Path) -> None:
    script = tmp_path / "policy.lua"
    script.write_text("function updatepolicy(input) return input:getQType() ~= pdns.TXT end")
    primary = make_powerdns(zones={"vm.": ""}, options=f"lua-dnsupdate-policy-script={script}")
    done = ksd(primary)("apply", vmi=[DB])
    assert done.code == 1
    assert "left out the ownership record" in done.out
    script.write_text("function updatepolicy(input) return true end")
    primary.restart()
    assert ksd(primary)("apply", "--adopt", vmi=[DB]).code == 0


POLICY = """\
function updatepolicy(input)
  local ours = newDN("vm.example.")
  local types = {[pdns.A] = true, [pdns.AAAA] = true, [pdns.TXT] = true}
  if input:getTsigName() ~= newDN("ksd-ddns.") then
    return true -- somebody else's update: TSIG-ALLOW-DNSUPDATE has judged the key
  end
  return input:getQName():isPartOf(ours) and types[input:getQType()] == true
end
"""


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_the_controller_follows_changes(make_powerdns: Make, kube: Kube, run: Run, ownership: str) -> None:
    primary = make_powerdns(zones={"vm.": "www TXT hello"})
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    ksd = run(primary, kube, OWNERSHIP=ownership, DRIFT_INTERVAL="0.5s", HOLD_DOWN="1s")
    ksd.wait_ready()
    name = "net1.db.prod.vm."
    assert answer(primary, name, "A") == ["10.1.0.9"]
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.12"]}))
    ksd.wait_answer(primary, name, "A", "10.1.0.12")
    primary.nsupdate(f"update delete {name} A\nupdate add {name} 60 A 192.0.2.1\nupdate add other.vm. 60 TXT x")
    ksd.wait_answer(primary, name, "A", "10.1.0.12")
    kube.put(vmi("db", "prod", {"net1": []}))
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.7"]}))
    ksd.wait_answer(primary, "net1.web.prod.vm.", "A", "10.1.0.7")
    ksd.wait_answer(primary, name, "A")
    primary.restart()
    kube.delete("prod", "web")
    ksd.wait_answer(primary, "net1.web.prod.vm.", "A")
    assert answer(primary, "other.vm.", "TXT") == ['"x"']
    assert answer(primary, "www.vm.", "TXT") == ['"hello"']
    assert ksd.stop() == 0
