# SPDX-License-Identifier: Apache-2.0
"""`plan -o nsupdate`, piped into nsupdate and knsupdate: what they send is what `apply` sends."""

import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import dns.message
import pytest

from harness.hostile import OPCODE_UPDATE, Proxy, unsigned
from harness.servers import Bind, Knot, Record, Server, program
from harness.vmis import vmi
from tests.e2e.command import PROGRAM
from tests.e2e.conftest import Ksd

FEW = (vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"], "net2": ["10.2.0.9"]}),)


def many(count: int, *, octet: int = 1) -> list[dict[str, Any]]:
    """Return `count` VMIs with two interfaces, one of them with two families."""
    return [
        vmi(
            f"vm-{i}",
            f"ns-{i % 7}",
            {
                "net1": [f"10.{octet}.{i >> 8}.{i & 255}", f"fd00:{octet}::{i:x}"],
                "net2": [f"10.200.{i >> 8}.{i & 255}"],
            },
        )
        for i in range(count)
    ]


def pipe(primary: Server, script: str) -> None:
    """Feed `script` unchanged to the client of the server, which must print nothing."""
    if isinstance(primary, Knot):
        key = primary.directory / "knsupdate.key"
        key.write_text(f"hmac-sha256:{primary.key_name}:{primary.secret}\n")
        command = [program("knsupdate"), "-v", "-k", str(key)]
    else:
        command = [program("nsupdate"), "-v", "-k", str(primary.key_file)]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def ours(primary: Server) -> frozenset[Record]:
    """Return the zone without the SOA, which every update changes."""
    return primary.axfr(soa=False)


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_scripts_add_change_and_delete_the_services_of_a_group(
    make_primary: Callable[..., Server], ksd: Ksd, ownership: str
) -> None:
    primary = make_primary()
    command = ksd(primary, OWNERSHIP=ownership, GROUP_SRV="true")
    annotations = {"ksd-ddns/group": "web=net1", "ksd-ddns/group-ports": "http=8080,dns=53/udp"}
    members = [vmi(f"web-{i}", "prod", {"net1": [f"10.1.0.{i}"]}, annotations=annotations) for i in (1, 2)]
    before = ours(primary)
    for wanted in (members, members[1:], []):
        pipe(primary, command("plan", "-o", "nsupdate", vmi=wanted).out)
        assert command("plan", "--exit-code", vmi=wanted).code == 0
        found = {record.rdata for record in ours(primary) if record.type == "SRV"}
        names = [each["metadata"]["name"] for each in wanted]
        assert found == {f"0 0 {port} net1.{name}.prod.vm." for name in names for port in (8080, 53)}
    assert ours(primary) == before


@pytest.mark.parametrize("ownership", ["txt", "zone"])
@pytest.mark.parametrize("count", [1, 1000])
def test_the_script_and_apply_give_the_same_zone(
    make_primary: Callable[..., Server], ksd: Ksd, count: int, ownership: str
) -> None:
    scripted, applied = make_primary(), make_primary()
    wanted = list(FEW) if count == 1 else many(count)
    command = ksd(scripted, OWNERSHIP=ownership)
    pipe(scripted, command("plan", "-o", "nsupdate", vmi=wanted).out)
    assert command("plan", "--exit-code", vmi=wanted).code == 0
    other = ksd(applied, OWNERSHIP=ownership)
    assert other("apply", vmi=wanted).code == 0
    assert other("plan", "--exit-code", vmi=wanted).code == 0
    assert ours(scripted) == ours(applied)
    published = {record.owner for record in ours(applied) if record.type == "A"}
    assert len(published) == 3 * count


def test_plan_can_be_piped_into_nsupdate(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    file = command.file(FEW)
    line = f"{shlex.join(PROGRAM)} plan --from {file} -o nsupdate | {program('nsupdate')} -k {bind.key_file}"
    done = subprocess.run(line, shell=True, env=command.environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert command.process("plan", "--from", file, "--exit-code").code == 0
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_script_changes_and_deletes(primary: Server, ksd: Ksd, ownership: str) -> None:
    command = ksd(primary, OWNERSHIP=ownership, MAX_DELETE_PERCENT=100)
    command("apply", vmi=many(20))
    # Others change address or TTL, lose an interface, or are deleted; one is new.
    later = [
        *many(15, octet=2)[:5],
        *many(15)[5:10],
        *(vmi(f"vm-{i}", f"ns-{i % 7}", {"net2": [f"10.200.0.{i}"]}) for i in range(10, 15)),
        vmi("new", "ns-1", {"net1": ["10.3.0.1"]}, annotations={"ksd-ddns/ttl": "30", "ksd-ddns/hostname": "www"}),
    ]
    shorter = command.but(RECORD_TTL=45)
    script = shorter("plan", "-o", "nsupdate", vmi=later).out
    pipe(primary, script)
    assert shorter("plan", "--exit-code", vmi=later).code == 0
    assert primary.query("net1.vm-3.ns-3.vm", "A") == ["10.2.0.3"]
    assert primary.ttl("net1.vm-7.ns-0.vm.", "A") == 45
    assert primary.query("net1.vm-12.ns-5.vm", "A") == []
    assert primary.query("vm-19.ns-5.vm", "A") == []
    assert primary.ttl("www.ns-1.vm.", "A") == 30


def test_a_script_fails_after_the_zone_has_changed(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary, OWNERSHIP="zone")
    script = command("plan", "-o", "nsupdate", vmi=FEW).out
    primary.nsupdate("update add net1.db.prod.vm. 60 A 192.0.2.1")
    before = ours(primary)
    update = primary.knsupdate if isinstance(primary, Knot) else primary.nsupdate
    answer = update(script, check=False)
    assert "YXDOMAIN" in answer.stdout + answer.stderr
    assert ours(primary) == before


class Recorder:
    """Records the UPDATE messages that pass, without ID, signature and compression."""

    def __init__(self) -> None:
        self.messages: list[list[list[str]]] = []

    def __call__(self, message: bytes) -> list[bytes]:
        if message[2] >> 3 & 0xF == OPCODE_UPDATE:
            read = dns.message.from_wire(unsigned(message), one_rr_per_rrset=True)
            self.messages.append([[rrset.to_text() for rrset in section] for section in read.sections])
        return [message]


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_the_script_has_the_messages_that_apply_sends(
    make_primary: Callable[..., Server], ksd: Ksd, ownership: str
) -> None:
    before = [*many(9), vmi("gone", "prod", {"net1": ["10.1.0.1"]})]
    after = [vmi("new", "prod", {"net_1": ["10.1.0.2"]}), *many(9, octet=2)]
    sent = []
    for by in ("script", "apply"):
        primary = make_primary()
        command = ksd(primary, OWNERSHIP=ownership, UPDATE_BATCH="7", RECORD_TTL="30")
        assert command("apply", vmi=before).code == 0
        primary.nsupdate("update add vm-1.ns-1.vm. 30 TXT foreign\nupdate delete net1.vm-2.ns-2.vm. AAAA")
        with Proxy(primary, request=Recorder()) as proxy:
            through = command.but(DNS_SERVER=proxy.address, RECORD_TTL="60")
            if by == "apply":
                assert through("apply", vmi=after).code == 0
            else:
                script = through("plan", "-o", "nsupdate", vmi=after).out
                pipe(primary, script if isinstance(primary, Knot) else "check-names no\n" + script)
            assert isinstance(proxy.request, Recorder)
            sent.append(proxy.request.messages)
    assert len(sent[0]) == 5, "28 names that change, 2 that come, 2 that go, 7 in a message"
    assert sent[0] == sent[1]


def test_the_script_and_apply_group_changes_alike(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, UPDATE_BATCH="7")
    script = command("plan", "-o", "nsupdate", vmi=many(10)).out.splitlines()
    assert script.count("send") == 5  # 30 names, 7 in a message
    assert script.count("zone vm.") == 5
    assert "" not in script
    verbose = command("apply", "--verbose", vmi=many(10))
    assert verbose.code == 0
    assert all(line.startswith(("prereq ", "update ", "zone ", "server ", "send", "; ")) for line in script)


def test_a_script_without_changes_is_a_comment(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    command("apply", vmi=FEW)
    serial = bind.serial()
    done = command("plan", "-o", "nsupdate", vmi=FEW)
    assert [line[0] for line in done.out.splitlines()] == [";"]
    assert bind.serial() == serial


def test_conflicts_and_blocked_deletions_are_comments(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    command("apply", vmi=many(10))
    bind.nsupdate("update add db.prod.vm. 60 A 192.0.2.1")
    evil = vmi("db", "prod", {"net1": ["10.1.0.9"]})
    done = command("plan", "-o", "nsupdate", vmi=[evil])
    assert "; ! db.prod.vm. (VMI prod/db) conflict: it exists without our ownership record" in done.out
    assert "; blocked by the deletion limit: net1.vm-3.ns-3.vm." in done.out
    pipe(bind, done.out)
    assert bind.query("db.prod.vm", "A") == ["192.0.2.1"]
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]
    assert bind.query("net1.vm-3.ns-3.vm", "A") == ["10.1.0.3"]


def test_names_that_nsupdate_refuses_come_with_the_remedy(bind: Bind, ksd: Ksd) -> None:
    odd = [vmi("a", "ns", {"net_1": ["10.0.0.1"], "nic-": ["10.0.0.2"]})]
    command = ksd(bind)
    script = command("plan", "-o", "nsupdate", vmi=odd).out
    cure = next(line for line in script.splitlines() if line.startswith(";") and "check-names no" in line)
    assert "nic-.a.ns.vm." in cure
    pipe(bind, f"check-names no\n{script}")
    assert command("plan", "--exit-code", vmi=odd).code == 0
    assert "check-names" not in command("plan", "-o", "nsupdate", vmi=[*odd, *FEW]).out, "only for what is added"


def test_knsupdate_accepts_names_with_underscores(knot: Knot, ksd: Ksd) -> None:
    odd = [vmi("a", "ns", {"net_1": ["10.0.0.1"], "nic-": ["10.0.0.2"]})]
    command = ksd(knot)
    pipe(knot, command("plan", "-o", "nsupdate", vmi=odd).out)
    assert command("plan", "--exit-code", vmi=odd).code == 0


def test_foreign_texts_next_to_our_record_survive_a_script(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"vm.": ""})
    command = ksd(primary)
    command("apply", vmi=FEW)
    odd = r'"say \"hi\"; \\ and \007" "second string"'
    primary.nsupdate(f"update add net1.db.prod.vm. 60 TXT {odd}")
    moved = [vmi("db", "prod", {"net1": ["10.1.0.10"]})]
    renamed = [vmi("db2", "prod", {"net1": ["10.1.0.10"]}, annotations={"ksd-ddns/hostname": "net1.db"})]
    for wanted in (moved, renamed, []):
        pipe(primary, command("plan", "-o", "nsupdate", vmi=wanted).out)
        assert command("plan", "--exit-code", vmi=wanted).code == 0
        assert odd in primary.query("net1.db.prod.vm", "TXT")
    assert {record.owner for record in ours(primary)} == {"vm.", "net1.db.prod.vm."}
