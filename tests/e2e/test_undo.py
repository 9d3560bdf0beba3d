# SPDX-License-Identifier: Apache-2.0
"""`plan -o nsupdate --undo`: plan, script and undo script leave the zone exactly as it was."""

import pytest

from harness.servers import Server
from harness.vmis import vmi
from tests.e2e.conftest import Ksd
from tests.e2e.test_scripts import many, ours, pipe

RECORDS_OF_OTHERS = """\
update add www.vm. 300 A 192.0.2.80
update add net1.vm-3.ns-3.vm. 120 TXT "a note of the zone's admin"
update add vm-4.ns-4.vm. 300 TXT "another note"
"""


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_the_undo_script_restores_the_zone(primary: Server, ksd: Ksd, ownership: str) -> None:
    primary.nsupdate(RECORDS_OF_OTHERS)
    command = ksd(primary, OWNERSHIP=ownership, MAX_DELETE_PERCENT=100)
    assert command("apply", vmi=many(20)).code == 0
    before = ours(primary)
    # Addresses change, TTLs change, interfaces and VMIs go, one VMI is new.
    later = [
        *many(15, octet=2)[:5],
        *many(15)[5:10],
        *(vmi(f"vm-{i}", f"ns-{i % 7}", {"net2": [f"10.200.0.{i}"]}) for i in range(10, 15)),
        vmi("new", "ns-1", {"net1": ["10.3.0.1"]}, annotations={"ksd-ddns/ttl": "30", "ksd-ddns/hostname": "www"}),
    ]
    shorter = command.but(RECORD_TTL=45)
    script = shorter("plan", "-o", "nsupdate", vmi=later).out
    undo = shorter("plan", "-o", "nsupdate", "--undo", vmi=later).out
    pipe(primary, script)
    assert ours(primary) != before
    pipe(primary, undo)
    assert ours(primary) == before


def test_the_undo_script_empties_a_zone_that_was_empty(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    before = ours(primary)
    wanted = many(1000)
    script = command("plan", "-o", "nsupdate", vmi=wanted).out
    undo = command("plan", "-o", "nsupdate", "--undo", vmi=wanted).out
    pipe(primary, script)
    assert command("plan", "--exit-code", vmi=wanted).code == 0
    pipe(primary, undo)
    assert ours(primary) == before


def test_the_undo_script_overwrites_no_later_change(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    wanted = many(2)
    undo = command("plan", "-o", "nsupdate", "--undo", vmi=wanted).out
    assert command("apply", vmi=wanted).code == 0
    primary.nsupdate("update add net1.vm-1.ns-1.vm. 60 A 192.0.2.1")
    before = ours(primary)
    answer = primary.nsupdate(undo, check=False)
    assert "NXRRSET" in answer.stdout + answer.stderr
    assert ours(primary) == before


@pytest.mark.parametrize("form", ["text", "json"])
def test_undo_without_nsupdate_is_an_error(primary: Server, ksd: Ksd, form: str) -> None:
    done = ksd(primary)("plan", "-o", form, "--undo", vmi=many(1))
    assert (done.code, done.out) == (2, "")
    assert "--undo needs -o nsupdate" in done.err
