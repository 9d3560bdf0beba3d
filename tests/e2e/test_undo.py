# SPDX-License-Identifier: Apache-2.0
"""`plan -o nsupdate --undo`: plan, script and undo script leave the zone exactly as it was."""

from collections.abc import Callable
from typing import Any

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


def web(count: int, octet: int, **annotations: str) -> list[dict[str, Any]]:
    """Return the members of a group with these annotations."""
    given = {f"ksd-ddns/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return [vmi(f"web-{i}", "prod", {"net1": [f"10.1.{octet}.{i}"]}, annotations=given) for i in range(count)]


@pytest.mark.parametrize("read", ["axfr", "queries"])
def test_groups_services_wildcards_and_pointers_are_restored(
    make_primary: Callable[..., Server], ksd: Ksd, read: str
) -> None:
    zones = ("vm.", "1.10.in-addr.arpa.")
    primary = make_primary(zones=dict.fromkeys(zones, ""))
    command = ksd(primary, GROUP_SRV="true", REVERSE_ZONES=zones[1], READ=read, MAX_DELETE_PERCENT=100)
    first = web(5, 0, group="web", group_ports="http=80", ttl="60")
    first[0]["metadata"]["annotations"]["ksd-ddns/hostname"] = "*.apps"
    assert command("apply", vmi=first).code == 0
    before = {zone: primary.axfr(zone, soa=False) for zone in zones}
    later = web(3, 9, group="web, new", group_ports="http=8080, dns=53/udp", ttl="120")
    later[1]["metadata"]["annotations"]["ksd-ddns/hostname"] = "*.apps, *.new"
    script, undo = (command("plan", "-o", "nsupdate", *more, vmi=later).out for more in ((), ("--undo",)))
    primary.nsupdate(script)
    assert primary.query("_dns._udp.new.prod.vm", "SRV")
    assert command("plan", "--exit-code", vmi=later).code == 0
    primary.nsupdate(undo)
    assert {zone: primary.axfr(zone, soa=False) for zone in zones} == before


@pytest.mark.parametrize("form", ["text", "json"])
def test_undo_without_nsupdate_is_an_error(primary: Server, ksd: Ksd, form: str) -> None:
    done = ksd(primary)("plan", "-o", form, "--undo", vmi=many(1))
    assert (done.code, done.out) == (2, "")
    assert "--undo needs -o nsupdate" in done.err
