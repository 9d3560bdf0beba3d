# SPDX-License-Identifier: Apache-2.0
"""Moves from one OWNER_ID, OWNERSHIP or DOMAIN to another: a client that asks all the time misses no name."""

from collections.abc import Callable, Iterator

import pytest

from harness.servers import Server
from harness.vmis import vmi
from tests.e2e.asking import asking, gaps, missing
from tests.e2e.conftest import Ksd

COUNT = 60
FOREIGN = """\
www A 192.0.2.1
net1.mail.prod.vm A 192.0.2.2
net1.vm1.prod.vm TXT "a text of the network team"
net1.vm2.prod.vm SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
"""
VMS = [vmi(f"vm{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(1, COUNT + 1)]
NAMES = [f"net1.vm{i}.prod.vm.example." for i in range(1, COUNT + 1)]
ALL = {"DOMAIN": "example", "DEFAULT_RECORD": "false"}


@pytest.fixture
def company(make_primary: Callable[..., Server]) -> Iterator[Server]:
    """Yield a server with the zone of a company, and a reverse zone."""
    primary = make_primary(zones={"example.": FOREIGN, "10.in-addr.arpa.": "1.9.9 PTR gateway.example."})
    before = foreign(primary)
    yield primary
    assert foreign(primary) == before, "nothing of others was touched"


def foreign(primary: Server) -> set[tuple[str, str]]:
    """Return the records that are not ours."""
    records = {*primary.axfr("example.", soa=False), *primary.axfr("10.in-addr.arpa.", soa=False)}
    return {
        (record.owner, record.rdata)
        for record in records
        if "heritage=" not in record.rdata and not (record.type == "A" and record.owner in NAMES)
        if record.type != "PTR" or "gateway" in record.rdata
        if ".new.example" not in record.owner
    }


def owners(primary: Server, zone: str = "example.") -> dict[str, str]:
    """Return the owner IDs in ownership records, by owner name."""
    records = primary.axfr(zone, soa=False)
    return {item.owner: item.rdata.split("owner=")[1].split(",")[0] for item in records if "heritage=" in item.rdata}


def test_names_change_their_owner_without_a_gap(company: Server, ksd: Ksd) -> None:
    old, new = (ksd(company, **ALL, OWNER_ID=owner, REVERSE_ZONES="10.0.0.0/8") for owner in ("old", "new"))
    assert old("apply", vmi=[*VMS, vmi("gone", "prod", {"net1": ["10.1.1.1"]})]).code == 0
    done = new("apply", vmi=VMS)
    assert (done.code, done.summary) == (
        1,
        "Applied: 0 added, 0 changed, 0 deleted, 0 refused, 60 conflicts. Serial 2.",
    )
    assert "if that owner is gone, TAKE_OVER_FROM takes it over" in done.out
    taking = new.but(TAKE_OVER_FROM="older,old")
    plan = taking("plan", vmi=VMS)
    assert "Plan: 0 to add, 60 to change, 0 to delete, 0 conflicts." in plan.out
    taken = "take over vm.example.: 60 of 61 names change their owner, 1 are left alone, because no VMI wants them"
    assert taken in taking("check", vmi=VMS).out
    with asking(company, NAMES) as answers:
        assert taking("apply", vmi=VMS).code == 0
    assert missing(answers) == []
    gone = "net1.gone.prod.vm.example."
    assert owners(company) == {**dict.fromkeys(NAMES, "new"), gone: "old"}, "what is not wanted is left alone"
    assert set(owners(company, "10.in-addr.arpa.").values()) == {"new", "old"}
    assert taking("plan", "--exit-code", vmi=VMS).code == 0
    assert new("plan", "--exit-code", vmi=VMS).code == 0, "the setting is needed once"
    # The rest of the old owner's names.
    with asking(company, NAMES) as answers:
        assert old("apply", vmi=[]).code == 0
    assert missing(answers) == []
    assert set(owners(company).values()) == {"new"}


def test_addresses_change_with_the_owner(company: Server, ksd: Ksd) -> None:
    old, new = (ksd(company, **ALL, OWNER_ID=owner) for owner in ("old", "new"))
    old("apply", vmi=VMS)
    moved = [vmi(f"vm{i}", "prod", {"net1": [f"10.2.0.{i}"]}) for i in range(1, COUNT + 1)]
    with asking(company, NAMES) as answers:
        assert new("apply", "--take-over-from", "old", vmi=moved).code == 0
    assert missing(answers) == []
    for number, name in enumerate(NAMES, 1):
        assert set(answers[name]) <= {(f"10.1.0.{number}",), (f"10.2.0.{number}",)}, "never both addresses"
        assert answers[name][-1] == (f"10.2.0.{number}",)


def test_names_with_ownership_records_become_those_of_a_zone_of_our_own(company: Server, ksd: Ksd) -> None:
    old = ksd(company, **ALL)
    assert old("apply", vmi=VMS).code == 0
    new = old.but(OWNERSHIP="zone", TAKE_OVER_FROM="default")
    # Every address below the base is ours then: that of others has to move first, so it is excluded here.
    others = vmi("mail", "prod", {"net1": ["192.0.2.2"]})
    assert "FAIL  ownership" in new.but("TAKE_OVER_FROM")("check", vmi=[*VMS, others]).out
    assert new("check", vmi=[*VMS, others]).code == 0
    with asking(company, NAMES) as answers:
        assert new("apply", vmi=[*VMS, others]).code == 0
    assert missing(answers) == []
    assert owners(company) == {}
    assert new("plan", "--exit-code", vmi=[*VMS, others]).code == 0


def test_names_of_a_zone_of_our_own_get_ownership_records(company: Server, ksd: Ksd) -> None:
    others = vmi("mail", "prod", {"net1": ["192.0.2.2"]})
    old = ksd(company, **ALL, OWNERSHIP="zone")
    assert old("apply", vmi=[*VMS, others]).code == 0
    new = old.but("OWNERSHIP")
    assert "0 to add, 0 to change, 0 to delete, 60 conflicts" in new("plan", vmi=VMS).summary
    with asking(company, NAMES) as answers:
        assert new("apply", "--adopt", vmi=VMS).code == 0
    assert missing(answers) == []
    assert owners(company) == dict.fromkeys(NAMES, "default")


def test_another_domain_in_one_zone(company: Server, ksd: Ksd) -> None:
    old = ksd(company, **ALL, REVERSE_ZONES="10.0.0.0/8")
    assert old("apply", vmi=VMS).code == 0
    new = old.but(DOMAIN="new.example")
    moved = [name.replace("example.", "new.example.") for name in NAMES]
    with asking(company, [*NAMES, *moved]) as answers:
        assert new("apply", "--policy", "upsert-only", vmi=VMS).code == 0
        assert company.query(NAMES[0], "A") == ["10.1.0.1"], "the old names are still there"
        assert company.query(moved[0], "A") == ["10.1.0.1"]
        assert company.query("1.0.1.10.in-addr.arpa.", "PTR") == [moved[0]], "and addresses point to the new ones"
        assert new("apply", vmi=VMS[: COUNT // 2]).code == 1, "the limit counts the names of VMIs that are missing"
        assert company.query(NAMES[-1], "A") == [f"10.1.0.{COUNT}"]
        assert new("apply", vmi=VMS).code == 0, "but not those that have moved"
    assert gaps(answers, zip(NAMES, moved, strict=True)) == []
    assert owners(company) == dict.fromkeys(moved, "default")


def test_another_domain_in_another_zone(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(zones={"example.": FOREIGN, "new.example.": "www A 192.0.2.1"})
    before = {zone: primary.axfr(zone, soa=False) for zone in ("example.", "new.example.")}
    old = ksd(primary, **ALL)
    assert old("apply", vmi=VMS).code == 0
    moved = [name.replace("example.", "new.example.") for name in NAMES]
    with asking(primary, [*NAMES, *moved]) as answers:
        assert old.but(DOMAIN="new.example")("apply", vmi=VMS).code == 0
        assert old("apply", "--force", vmi=[]).code == 0
    assert gaps(answers, zip(NAMES, moved, strict=True)) == []
    assert primary.axfr("example.", soa=False) == before["example."]
    assert before["new.example."] < primary.axfr("new.example.", soa=False)


@pytest.mark.parametrize("value", ["two words", "ä", ","])
def test_an_invalid_owner_is_an_error(primary: Server, ksd: Ksd, value: str) -> None:
    done = ksd(primary)("plan", "--take-over-from", value, vmi=[])
    assert done.code == (0 if value == "," else 2)
    assert ("TAKE_OVER_FROM (--take-over-from) = " in done.err) is (value != ",")
