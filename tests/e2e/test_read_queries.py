# SPDX-License-Identifier: Apache-2.0
"""READ=queries: primaries that transfer the zone only to the test."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from harness.hostile import Proxy, Resigner, unsigned
from harness.servers import Key, Server
from harness.vmis import vmi
from ksd_ddns.wire import codec
from ksd_ddns.wire.rrset import TXT
from tests.e2e.command import Command
from tests.e2e.conftest import Ksd
from tests.no_transfer import AUDIT, addresses, index, no_transfer, owned, records

Make = Callable[..., Server]

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})
WEB = vmi("web", "prod", {"net1": ["10.1.0.7"]})
NAMES = {"db.prod.vm.", "net1.db.prod.vm."}

FOREIGN = """
www.prod    A     192.0.2.1
www.prod    TXT   "mine"
mx.prod     MX    10 www.prod
alias.prod  CNAME www.prod
sub.prod    NS    ns.elsewhere.test.
old.prod    DNAME elsewhere.test.
*.wild.prod A     192.0.2.7
"""


@pytest.fixture
def primary(make_either: Make) -> Server:
    """Return a primary with foreign records that transfers its zone only to the test."""
    return no_transfer(make_either, {"vm.": FOREIGN})


@pytest.fixture
def command(primary: Server, ksd: Ksd) -> Command:
    """Return the command that reads by queries."""
    return ksd(primary, READ="queries")


def test_a_transfer_is_refused(primary: Server, ksd: Ksd) -> None:
    done = ksd(primary)("plan", vmi=[DB])
    assert done.code > 1
    assert "transfer" in done.err


def test_names_are_added_changed_and_deleted(primary: Server, command: Command) -> None:
    before = records(primary)
    done = command("apply", vmi=[DB, WEB])
    assert (done.code, done.summary) == (
        0,
        f"Applied: 4 added, 0 changed, 0 deleted, 0 refused, 0 conflicts. Serial {primary.serial()}.",
    )
    assert index(primary) == owned(primary) == NAMES | {"web.prod.vm.", "net1.web.prod.vm."}
    assert command("plan", vmi=[DB, WEB]).summary == "Plan: 0 to add, 0 to change, 0 to delete, 0 conflicts."
    changed = vmi("db", "prod", {"net1": ["10.1.0.12"]})
    assert command("apply", vmi=[changed]).summary.startswith("Applied: 0 added, 2 changed, 2 deleted, 0 refused")
    assert index(primary) == owned(primary) == NAMES
    assert primary.query("db.prod.vm", "A") == ["10.1.0.12"]
    assert primary.query("db.prod.vm", "AAAA") == []
    assert command("apply", vmi=[]).summary.startswith("Applied: 0 added, 0 changed, 2 deleted, 0 refused")
    assert records(primary) == before, "nothing is left behind, and nothing foreign changed"


def test_a_dry_run_sends_nothing(primary: Server, command: Command) -> None:
    before, serial = records(primary), primary.serial()
    assert command("plan", "--exit-code", vmi=[DB]).code == 1
    assert (records(primary), primary.serial()) == (before, serial)


def test_list_finds_our_names_by_the_index(command: Command) -> None:
    command("apply", vmi=[DB])
    lines = command("list").out.splitlines()
    assert {line.split()[0] for line in lines} == NAMES
    assert all(line.endswith(" prod/db") for line in lines)


CONFLICTS = {
    "www": "without our ownership record",
    "alias": "CNAME",
    "sub": "delegated",
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_foreign_name_is_a_conflict(primary: Server, command: Command, name: str) -> None:
    before = records(primary)
    done = command("apply", vmi=[vmi(name, "prod", {"net1": ["10.1.0.1"]})])
    assert done.code == 1
    line = next(line for line in done.out.splitlines() if line.startswith(f"! {name}.prod.vm."))
    assert CONFLICTS[name] in line
    kept = {record for record in records(primary) if record.owner == f"{name}.prod.vm."}
    assert kept == {record for record in before if record.owner == f"{name}.prod.vm."}


def test_names_below_a_dname_are_conflicts(primary: Server, command: Command) -> None:
    done = command("apply", vmi=[vmi("old", "prod", {"net1": ["10.1.0.1"]})])
    assert done.code == 1
    assert "! net1.old.prod.vm." in done.out
    assert "DNAME" in done.out
    assert "net1.old.prod.vm." not in addresses(primary)


def test_a_name_with_other_types_only_gets_addresses_next_to_them(primary: Server, command: Command) -> None:
    assert command("apply", vmi=[vmi("mx", "prod", {"net1": ["10.1.0.1"]})]).code == 0
    assert primary.query("mx.prod.vm", "A") == ["10.1.0.1"]
    assert primary.query("mx.prod.vm", "MX") == ["10 www.prod.vm."]
    assert command("apply", vmi=[]).code == 0
    assert primary.query("mx.prod.vm", "A") == []
    assert primary.query("mx.prod.vm", "MX") == ["10 www.prod.vm."]


def test_a_name_that_only_a_wildcard_answers_is_free(primary: Server, command: Command) -> None:
    wild = vmi("db", "wild", {"net1": ["10.1.0.1"]})
    primary.nsupdate('update add *.wild.vm. 60 A 192.0.2.7\nupdate add *.wild.vm. 60 TXT "anything"')
    done = command("apply", vmi=[wild])
    assert (done.code, done.out.count("conflict:")) == (0, 0)
    assert addresses(primary)["db.wild.vm."] == {"10.1.0.1"}
    assert addresses(primary)["*.wild.vm."] == {"192.0.2.7"}
    assert command("apply", vmi=[]).code == 0
    assert addresses(primary)["*.wild.vm."] == {"192.0.2.7"}
    assert "db.wild.vm." not in addresses(primary)


def test_a_name_above_another_one_is_free(primary: Server, command: Command) -> None:
    primary.nsupdate("update add net1.db.prod.vm. 60 A 192.0.2.9")
    assert command("apply", vmi=[DB]).code == 1
    assert addresses(primary)["db.prod.vm."] == {"10.1.0.9", "fd00::9"}
    assert addresses(primary)["net1.db.prod.vm."] == {"192.0.2.9"}


def test_an_index_entry_gives_no_right_to_a_foreign_name(primary: Server, command: Command) -> None:
    command("apply", vmi=[DB])
    entry = next(record for record in records(primary) if "name=db.prod.vm." in record.rdata)
    for name in ("www.prod.vm.", "absent.prod.vm.", "www.example.", entry.owner):
        primary.nsupdate(f"update add {entry.owner} 60 TXT {entry.rdata.replace('db.prod.vm.', name)}")
    before = {record for record in records(primary) if record.owner == "www.prod.vm."}
    done = command("apply", vmi=[DB])
    assert done.code == 0
    assert "www.prod.vm. is removed from the index" in done.out
    assert {record for record in records(primary) if record.owner == "www.prod.vm."} == before
    assert {"www.prod.vm.", "absent.prod.vm."}.isdisjoint(index(primary))
    assert owned(primary) == NAMES


def test_names_that_the_index_lacks_are_added_to_it(primary: Server, command: Command) -> None:
    command("apply", vmi=[DB])
    shards = {record.owner for record in records(primary) if "name=" in record.rdata}
    primary.nsupdate("\n".join(f"update delete {shard} TXT" for shard in shards))
    assert index(primary) == set()
    done = command("apply", vmi=[DB])
    assert done.summary.startswith("Applied: 0 added, 2 changed, 0 deleted, 0 refused, 0 conflicts")
    assert index(primary) == NAMES
    assert command("plan", "--exit-code", vmi=[DB]).code == 0


def test_a_mass_deletion_is_blocked(primary: Server, command: Command) -> None:
    many = [vmi(f"vm-{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(20)]
    assert command("apply", vmi=many).code == 0
    assert command("apply", vmi=many[:3]).code == 1
    assert len(owned(primary)) == len(index(primary)) == 40
    assert command("apply", "--force", vmi=many[:3]).code == 0
    assert len(owned(primary)) == len(index(primary)) == 6


def test_many_names_get_more_shards_first(primary: Server, command: Command) -> None:
    many = [vmi(f"vm-{i}", "prod", {"net1": [f"10.1.{i >> 8}.{i & 255}"]}) for i in range(1300)]
    assert command("apply", vmi=many).code == 0
    found = [record for record in records(primary) if "heritage" in record.rdata and "shards=512" in record.rdata]
    assert len(found) == 1
    assert len(index(primary)) == 2600
    shards: dict[str, int] = {}
    for record in records(primary):
        if "name=" in record.rdata:
            shards[record.owner] = shards.get(record.owner, 0) + 1
    assert max(shards.values()) < 40
    assert command("apply", "--force", vmi=many[:10]).code == 0
    assert len(owned(primary)) == len(index(primary)) == 20


def test_a_script_and_its_undo_restore_the_zone(primary: Server, command: Command) -> None:
    before = records(primary)
    script, undo = (command("plan", "-o", "nsupdate", *more, vmi=[DB]).out for more in ((), ("--undo",)))
    primary.nsupdate(script)
    assert index(primary) == NAMES
    primary.nsupdate(undo)
    assert records(primary) == before


def test_a_controller_that_reads_by_transfer_deletes_the_index(primary: Server, command: Command) -> None:
    many = [vmi(f"vm-{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(10)]
    command("apply", vmi=many)
    transfer = command.but("READ", TRANSFER_TSIG_KEY_FILE=AUDIT.file(primary.directory))
    assert transfer("apply", vmi=many).code == 0
    assert index(primary) == set()
    assert len(owned(primary)) == 20


def test_the_index_hides_no_mass_deletion_from_a_controller_that_reads_by_transfer(
    primary: Server, command: Command
) -> None:
    many = [vmi(f"vm-{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(10)]
    command("apply", vmi=many)
    transfer = command.but("READ", TRANSFER_TSIG_KEY_FILE=AUDIT.file(primary.directory))
    assert transfer("apply", vmi=many[:6]).code == 1, "8 of 20 names are over the limit, and index records do not count"
    assert len(owned(primary)) == 20


def test_reverse_zones(make_either: Make, ksd: Ksd) -> None:
    primary = no_transfer(make_either, {"vm.": "", "1.10.in-addr.arpa.": ""})
    command = ksd(primary, READ="queries", REVERSE_ZONES="1.10.in-addr.arpa")
    assert command("apply", vmi=[DB]).code == 0
    assert primary.query("9.0.1.10.in-addr.arpa", "PTR") == ["net1.db.prod.vm."]
    assert index(primary, "1.10.in-addr.arpa.") == {"9.0.1.10.in-addr.arpa."}
    assert command("apply", vmi=[]).code == 0
    assert records(primary, "1.10.in-addr.arpa.") == {
        record for record in records(primary, "1.10.in-addr.arpa.") if record.type == "NS"
    }


def test_ownership_zone_is_a_wrong_setting(ksd: Ksd, primary: Server) -> None:
    done = ksd(primary, READ="queries", OWNERSHIP="zone")("plan", vmi=[DB])
    assert done.code == 2
    assert "READ" in done.err
    assert "OWNERSHIP" in done.err


# Fail closed


def _is_about_txt(wire: bytes) -> bool:
    question = codec.read(wire).question
    return question is not None and question[1] == TXT and question[0] != b"\2vm\0"


BAD: dict[str, Callable[[bytes], bytes]] = {
    "refused": lambda wire: wire[:3] + bytes([wire[3] & 0xF0 | 5]) + wire[4:],
    "servfail": lambda wire: wire[:3] + bytes([wire[3] & 0xF0 | 2]) + wire[4:],
    "truncated": lambda wire: wire[:2] + bytes([wire[2] | 2]) + wire[3:],
    "not-authoritative": lambda wire: wire[:2] + bytes([wire[2] & ~4]) + wire[3:],
    "nxdomain": lambda wire: wire[:3] + bytes([wire[3] & 0xF0 | 3]) + wire[4:],
    "about-another-name": lambda wire: wire[:13] + b"x" + wire[14:],
}


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "signature-broken"])
@pytest.mark.parametrize("bad", [bad for bad in BAD if bad != "nxdomain"])
def test_a_bad_answer_gives_no_plan(primary: Server, ksd: Ksd, bad: str, signed: bool) -> None:
    _check_fails_closed(primary, ksd, BAD[bad], signed=signed)


def test_an_answer_without_a_signature_gives_no_plan(primary: Server, ksd: Ksd) -> None:
    _check_fails_closed(primary, ksd, unsigned, signed=False)


def test_an_nxdomain_with_a_broken_signature_gives_no_plan(primary: Server, ksd: Ksd) -> None:
    _check_fails_closed(primary, ksd, BAD["nxdomain"], signed=False)


def _check_fails_closed(primary: Server, ksd: Ksd, spoil: Callable[[bytes], bytes], *, signed: bool) -> None:
    assert ksd(primary, READ="queries")("apply", vmi=[DB]).code == 0
    before = records(primary)
    signer = Resigner(Key(primary.key_name, secret=primary.secret))

    def response(wire: bytes) -> Iterable[bytes]:
        if not _is_about_txt(wire):
            return [wire]
        return signer.response(spoil(wire)) if signed else [spoil(wire)]

    with Proxy(primary, request=signer.request, response=response) as proxy:
        done = ksd(primary, through=proxy.address, READ="queries")("apply", vmi=[WEB])
    assert done.code > 1
    assert "Applied" not in done.out
    assert records(primary) == before


# Races


def test_a_change_between_read_and_update_is_not_overwritten(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary, READ="queries")
    assert command("apply", vmi=[DB]).code == 0
    intruded: list[Any] = []

    def intrude(wire: bytes) -> list[bytes]:
        if wire[2] >> 3 & 0xF == codec.OPCODE_UPDATE and not intruded:
            intruded.append(True)
            primary.nsupdate(
                "update delete db.prod.vm. A\nupdate delete db.prod.vm. TXT\nupdate add db.prod.vm. 60 A 192.0.2.66"
            )
        return [wire]

    with Proxy(primary, request=intrude) as proxy:
        done = ksd(primary, through=proxy.address, READ="queries")("apply", vmi=[WEB])
    assert intruded
    assert done.code == 0
    assert primary.query("db.prod.vm", "A") == ["192.0.2.66"]
    assert primary.query("web.prod.vm", "A") == ["10.1.0.7"]
    assert command("apply", vmi=[WEB]).code == 0
    assert index(primary) == {"web.prod.vm.", "net1.web.prod.vm."}


def test_services_of_a_group_are_deleted_when_they_are_turned_off(primary: Server, ksd: Ksd) -> None:
    web = vmi(
        "web",
        "prod",
        {"net1": ["10.1.0.7"]},
        annotations={"ksd-ddns/group": "all", "ksd-ddns/group-ports": "http=80"},
    )
    service = "_http._tcp.all.prod.vm."
    with_services = ksd(primary, READ="queries", GROUP_SRV="true")
    assert with_services("apply", vmi=[web]).code == 0
    assert primary.query(service, "SRV")
    assert service in index(primary)
    assert with_services("plan", "--exit-code", vmi=[web]).code == 0
    assert ksd(primary, READ="queries")("apply", vmi=[web]).code == 0
    assert primary.query(service, "SRV") == []
    assert service not in index(primary)


def test_explain_reads_the_name_that_it_explains(command: Command) -> None:
    command("apply", vmi=[DB])
    assert "192.0.2.1" in command("explain", "www.prod", vmi=[DB]).out
    done = command("explain", "db.prod", vmi=[DB])
    assert done.code == 0, done.out
    assert "10.1.0.9" in done.out
    assert "10.1.0.9" in command("explain", "prod/db", vmi=[DB]).out


# check


def _findings(done: Any, what: str) -> list[dict[str, Any]]:
    return [item for item in done.json["findings"] if item["what"] == what]


def test_check_recommends_queries_if_the_transfer_is_refused(primary: Server, ksd: Ksd) -> None:
    done = ksd(primary)("check", "-o", "json", vmi=[DB])
    (finding,) = _findings(done, "transfer")
    assert finding["sign"] == "fail"
    assert "set READ=queries" in finding["fix"]
    (finding,) = _findings(ksd(primary, OWNERSHIP="zone")("check", "-o", "json", vmi=[DB]), "transfer")
    assert "READ=queries" not in finding["fix"], "it needs ownership records"


def test_check_reads_by_queries(primary: Server, command: Command) -> None:
    command("apply", vmi=[DB])
    before, serial = records(primary), primary.serial()
    done = command("check", "-o", "json", vmi=[DB, WEB])
    assert done.code == 0, done.out
    assert not _findings(done, "transfer")
    (finding,) = _findings(done, "queries")
    assert finding["text"] == "2 names in the index, with key ksd-ddns."
    (plan,) = _findings(done, "plan")
    assert "2 to add, 0 to change, 0 to delete" in plan["text"]
    assert (records(primary), primary.serial()) == (before, serial)


def test_check_tests_the_permission_for_the_index(make_bind: Make, ksd: Ksd) -> None:
    primary = make_bind(
        zones={"vm.": ""},
        zone_options='allow-transfer { none; }; update-policy { grant "ksd-ddns." subdomain prod.vm. A AAAA TXT; };',
    )
    done = ksd(primary, READ="queries")("check", "-o", "json", vmi=[DB])
    (finding,) = _findings(done, "update")
    assert finding["sign"] == "fail"
    assert "TXT below _ksd-ddns-" in finding["text"]
