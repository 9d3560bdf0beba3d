# SPDX-License-Identifier: Apache-2.0
"""The documented permissions are sufficient and never exceeded, checked with real servers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from harness.kube import Kube
from harness.servers import Bind, Key, Knot, PowerDns, Record, Server
from harness.vmis import vmi
from tests.controller.conftest import run
from tests.controller.running import Running
from tests.e2e.command import Command
from tests.e2e.conftest import Ksd
from tests.kube_fixtures import kube

__all__ = ["kube", "run"]

Make = Callable[..., Server]
Run = Callable[..., Running]

ZONE = "corp.example."
KEYS = [Key("ksd."), Key("admin.")]
FOREIGN = """\
www A 192.0.2.1
@ MX 10 www
a.vm A 192.0.2.2
net1.print.prod.vm SSHFP 1 1 1234567890123456789012345678901234567890
*.lab.vm TXT "wild"
sub NS ns.elsewhere.test.
"""
BIND = """\
allow-transfer { key ksd.; key admin.; };
update-policy { grant admin. zonesub ANY; grant ksd. subdomain vm.corp.example. A AAAA TXT; };
"""
KNOT = """\
  - id: admin
    key: admin.
    action: [query, transfer, update]
  - id: ksd-read
    key: ksd.
    action: [query, transfer]
  - id: ksd-update
    key: ksd.
    action: update
    update-type: [A, AAAA, TXT]
    update-owner: name
    update-owner-match: sub-or-equal
    update-owner-name: [vm.corp.example.]
"""
POWERDNS = """\
set-meta ZONE TSIG-ALLOW-AXFR ksd admin
set-meta ZONE TSIG-ALLOW-DNSUPDATE ksd admin
set-meta ZONE ALLOW-DNSUPDATE-FROM 127.0.0.1/32
"""


@pytest.fixture(params=[Bind, Knot, PowerDns], ids=["bind9", "knot", "powerdns"])
def company(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Yield a company's primary that grants only what is needed, as far as it can."""
    own: dict[str, Any] = {
        "bind9": {"zone_options": " ".join(BIND.split())},
        "knot": {"extra": KNOT, "zone_options": "acl: [admin, ksd-read, ksd-update]"},
        "powerdns": {"zone_options": POWERDNS, "options": "allow-dnsupdate-from="},
    }[request.param.kind]
    with ExitStack() as stack:
        server: Server = stack.enter_context(request.param(zones={ZONE: FOREIGN}, keys=KEYS, **own))
        stack.callback(lambda: print(server.log()[-5000:]))
        yield server


def at(address: str, name: str = "db", **more: Any) -> dict[str, Any]:
    """Return a VMI with that address, the name of an existing host, and a name of its own."""
    return vmi(name, "prod", {"net1": [address, "fd00::9"]}, **more)


def admin(server: Server, script: str) -> None:
    """Make a change as the admin of the zone."""
    server.nsupdate(script, key=KEYS[1].file(server.directory))


def everything(command: Command, server: Server) -> None:
    """Publish, change, adopt, repair and delete; foreign records are unchanged."""
    before = server.axfr(soa=False)
    assert command("check", vmi=[at("10.1.0.9")]).code == 0
    assert command("apply", vmi=[at("10.1.0.9"), at("10.1.0.8", "web")]).code == 0
    hostname = {"ksd-ddns/hostname": "www, api", "ksd-ddns/ttl": "30"}
    moved = [at("10.1.0.10", annotations=hostname), vmi("print", "prod", {"net1": ["10.1.0.7"]})]
    admin(server, "update add print.prod.vm.corp.example. 60 A 192.0.2.7")
    done = command("apply", vmi=moved)
    assert done.code == 1, "one name is somebody else's"
    assert "1 conflict" in done.out
    admin(server, "update delete print.prod.vm.corp.example. A")
    admin(server, "update delete net1.db.prod.vm.corp.example. A\nupdate add x.prod.vm.corp.example. 60 A 10.1.0.6")
    adopted = [*moved[:1], vmi("x", "prod", {"net2": ["10.1.0.6"]})]
    assert command("apply", "--adopt", vmi=adopted).code == 0
    assert command("plan", "--exit-code", vmi=adopted).code == 0
    assert server.query("net1.db.prod.vm.corp.example", "A") == ["10.1.0.10"]
    assert server.query("www.prod.vm.corp.example", "AAAA") == ["fd00::9"]
    assert server.ttl("api.prod.vm.corp.example.", "A") == 30
    assert command("apply", vmi=[]).code == 0
    assert server.axfr(soa=False) == before


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_one_grant_is_enough_for_everything(company: Server, ksd: Ksd, ownership: str) -> None:
    if ownership == "zone":  # there, foreign records below the base count as ours
        admin(company, "update delete a.vm.corp.example. A")
        before = company.axfr(soa=False)
        command = ksd(company, DOMAIN="corp.example", OWNERSHIP=ownership)
        for wanted in ([at("10.1.0.9")], [at("10.1.0.10"), at("10.1.0.7", "print")], []):
            assert command("apply", vmi=wanted).code == 0
            assert command("plan", "--exit-code", vmi=wanted).code == 0
        assert company.axfr(soa=False) == before
    else:
        everything(ksd(company, DOMAIN="corp.example"), company)


def test_names_outside_of_the_grant_are_refused(company: Server) -> None:
    """Shows that the grant is narrow; PowerDNS can limit keys only by a script."""
    if company.kind == "powerdns":
        return
    ours = KEYS[0].file(company.directory)
    before = company.axfr()
    for script in ("add www.corp.example. 60 A 192.0.2.9", "add x.vm.corp.example. 60 MX 1 www.corp.example.",
                   "delete www.corp.example. A", "add xvm.corp.example. 60 A 192.0.2.9"):  # fmt: skip
        answer = company.nsupdate(f"update {script}", key=ours, check=False)
        assert "update failed: " in answer.stdout + answer.stderr
    assert company.axfr() == before


def test_the_same_grant_is_enough_for_the_controller(company: Server, kube: Kube, run: Run) -> None:
    before = company.axfr(soa=False)
    kube.put(at("10.1.0.9"))
    ksd = run(company, kube, DOMAIN="corp.example", MAX_DELETE_PERCENT=100)
    ksd.wait_ready()
    name = "net1.db.prod.vm.corp.example."
    ksd.wait_answer(company, name, "A", "10.1.0.9")
    kube.put(at("10.1.0.10"))
    ksd.wait_answer(company, name, "A", "10.1.0.10")
    admin(company, f"update add {name} 60 A 192.0.2.9\nupdate add other.corp.example. 60 A 192.0.2.9")
    ksd.wait_answer(company, name, "A", "10.1.0.10")
    kube.delete("prod", "db")
    after = before | {Record("other.corp.example.", 60, "A", "192.0.2.9")}
    ksd.wait(lambda: company.axfr(soa=False) == after, "all is as it was, but for what the admin did")


# Before any update permission is granted

READ_ONLY: dict[str, Any] = {
    "bind": {"zone_options": "allow-transfer { key ksd.; key admin.; }; update-policy { grant admin. zonesub ANY; };"},
    "knot": {"extra": KNOT, "zone_options": "acl: [admin, ksd-read]"},
}


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_plan_works_before_updates_are_permitted(make_either: Callable[..., Server], ksd: Ksd, ownership: str) -> None:
    primary = make_either(zones={ZONE: FOREIGN}, keys=KEYS, **READ_ONLY)
    wanted = [at("10.1.0.9"), at("10.1.0.8", "web"), vmi("print", "prod", {"net1": ["10.1.0.7"]})]
    command = ksd(primary, DOMAIN="corp.example", OWNERSHIP=ownership)
    before = primary.axfr()
    script = command("plan", "-o", "nsupdate", vmi=wanted)
    assert (script.code, script.err) == (0, "")
    assert command("apply", vmi=wanted).code in {1, 4}
    assert primary.axfr() == before, "nothing was granted"
    # The admin reads it, and sends it with a key of their own.
    key = KEYS[1]
    answer = (
        primary.knsupdate(script.out, key=key)
        if isinstance(primary, Knot)
        else primary.nsupdate(script.out, key=key.file(primary.directory))
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert command("plan", "--exit-code", vmi=wanted).code == 0
    assert {
        record for record in before if record.type != "SOA" and record.owner != "a.vm.corp.example."
    } <= primary.axfr()


# A base deep inside a larger zone


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_one_grant_is_enough_deep_inside_a_larger_zone(make_primary: Make, ksd: Ksd, ownership: str) -> None:
    zone = "corp.example.com."
    others = "www A 192.0.2.1\nvm A 192.0.2.2\nx.vm A 192.0.2.3\nc1 TXT hello\nvm.c1 MX 10 www\nxvm.c1 A 192.0.2.4\n"
    primary = make_primary(zones={zone: others})
    before = primary.axfr(soa=False)
    for settings in ({}, {"ZONE": "corp.example.com"}):
        command = ksd(primary, DOMAIN="c1.corp.example.com", OWNERSHIP=ownership, **settings)
        assert command("check", vmi=[at("10.1.0.9")]).code == 0
        done = command("apply", vmi=[at("10.1.0.9")])
        assert (done.code, done.err) == (0, "")
        assert primary.query("net1.db.prod.vm.c1.corp.example.com", "A") == ["10.1.0.9"]
        assert command("plan", "-o", "json", vmi=[at("10.1.0.9")]).zone["zone"] == zone
        assert before < primary.axfr(soa=False)
        assert command("apply", vmi=[]).code == 0
        assert primary.axfr(soa=False) == before
