# SPDX-License-Identifier: Apache-2.0
"""Reverse zones for a part of an octet (RFC 2317), with a parent that has an alias for each address."""

from collections.abc import Callable

import pytest

from harness.servers import Knot, Server
from harness.vmis import vmi
from tests.e2e.conftest import Ksd

PARENT = "2.0.192.in-addr.arpa."
FIVE, SEVENTY = "5.2.0.192.in-addr.arpa.", "70.2.0.192.in-addr.arpa."
DB = vmi("db", "prod", {"net1": ["192.0.2.5", "192.0.2.70", "192.0.2.200", "198.51.100.5"]})
CHILD = """\
@ 30 SOA localhost. hostmaster.localhost. 1 3600 600 1209600 30
@ NS localhost.
200 PTR foreign.example.
"""
"""The text of a zone: BIND accepts no slash in a mail address, which the harness would make of the zone's name."""

TARGET = "net1.db.prod.vm.example."

SUB, CUSTOMER, PREFIX = f"0-63.{PARENT}", f"customer.{PARENT}", f"0/26.{PARENT}"


def parent(*children: tuple[str, int, int]) -> str:
    """Return the parent zone: each child is delegated, and has an alias for each of its addresses."""
    lines = []
    for label, first, last in children:
        lines.append(f"{label} NS localhost.")
        lines += [f"{octet} CNAME {octet}.{label}" for octet in range(first, last + 1)]
    return "\n".join([*lines, "250 PTR router.example."])


def pointers(primary: Server, address: str) -> list[str]:
    """Return the targets of the PTR of an address as a resolver finds them: from the parent, by the alias."""
    name = ".".join(reversed(address.split("."))) + ".in-addr.arpa."
    aliases = primary.query(name, "CNAME")
    return primary.query(aliases[0] if aliases else name, "PTR")


@pytest.mark.parametrize("ownership", ["txt", "zone"])
@pytest.mark.parametrize(
    ("zone", "setting"),
    [
        pytest.param(SUB, "0-63.2.0.192.in-addr.arpa", id="range"),
        pytest.param(PREFIX, "0/26.2.0.192.in-addr.arpa", id="prefix"),
        pytest.param(CUSTOMER, "customer.2.0.192.in-addr.arpa = 192.0.2.0/26", id="explicit"),
    ],
)
def test_addresses_are_found_through_the_parent(
    make_primary: Callable[..., Server], ksd: Ksd, zone: str, setting: str, ownership: str
) -> None:
    label = zone.removesuffix(f".{PARENT}")
    primary = make_primary(zones={"example.": "", PARENT: parent((label, 0, 63)), zone: CHILD})
    before = primary.axfr(PARENT), primary.axfr(zone, soa=False)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES=setting, OWNERSHIP=ownership, DEFAULT_RECORD="false")
    keeping = [DB] if ownership == "txt" else [DB, vmi("x", "prod", {"net1": ["192.0.2.9"]})]
    done = command("apply", vmi=keeping)
    assert (done.code, done.err) == (0, "")
    assert f"+ 5.{zone} 60 PTR {TARGET}" in done.out
    assert pointers(primary, "192.0.2.5") == [TARGET]
    assert pointers(primary, "192.0.2.70") == [], "it belongs in another zone"
    assert command("plan", "--exit-code", vmi=keeping).code == 0
    # A script does the same, and the records leave with the VMI.
    script = command("plan", "-o", "nsupdate", vmi=[]).out
    answer = primary.knsupdate(script) if isinstance(primary, Knot) else primary.nsupdate(script)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert pointers(primary, "192.0.2.5") == []
    assert primary.axfr(PARENT) == before[0], "the parent is not touched"
    if ownership == "txt":
        assert primary.axfr(zone, soa=False) == before[1]


def test_each_address_is_published_in_the_smallest_zone(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    zones = {"example.": "", PARENT: parent(("0-63", 0, 63), ("customer", 64, 127)), SUB: "", CUSTOMER: ""}
    primary = make_primary(zones=zones)
    setting = f"192.0.2.0/24, 0-63.{PARENT}, {CUSTOMER}=192.0.2.64/26"
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES=setting)
    done = command("apply", vmi=[DB])
    assert (done.code, done.err) == (0, ""), "an alias in the parent is no conflict"
    for address in ("192.0.2.5", "192.0.2.70", "192.0.2.200"):
        assert pointers(primary, address) == [TARGET], address
    assert {item.owner for zone in zones for item in primary.axfr(zone) if item.type == "PTR"} == {
        f"5.{SUB}", f"70.{CUSTOMER}", f"200.{PARENT}", f"250.{PARENT}",
    }  # fmt: skip
    check = command("check", vmi=[DB])
    assert (check.code, "FAIL" in check.out) == (0, False)
    found = command("explain", "-o", "json", "192.0.2.5", vmi=[DB]).json["name"]
    assert (found["name"], found["state"]) == (f"5.{SUB}", "published")
    found = command("explain", "-o", "json", "192.0.2.200", vmi=[DB]).json["name"]
    assert (found["name"], found["state"]) == (f"200.{PARENT}", "published")
    assert f"70.{CUSTOMER}" in command("explain", "prod/db", vmi=[DB]).out
    assert "5.0-63.2.0.192.in-addr.arpa. 60 PTR net1.db.prod.vm.example. prod/db" in command("list").out


def test_a_base_inside_the_parent_zone(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    aliases = "\n".join(f"{octet} CNAME {octet}.0-63" for octet in range(64))
    primary = make_primary(zones={"example.": "", PARENT: f"{aliases}\n9.0-63 PTR foreign.example."})
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES=SUB)
    before = primary.axfr(PARENT, soa=False)
    assert command("apply", vmi=[DB]).code == 0
    assert pointers(primary, "192.0.2.5") == [TARGET]
    assert command("apply", vmi=[]).code == 0
    assert primary.axfr(PARENT, soa=False) == before


def test_only_the_zone_with_the_addresses_is_needed(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    """The parent often belongs to the provider."""
    primary = make_primary(zones={"example.": "", SUB: ""})
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES=SUB)
    assert command("apply", vmi=[DB]).code == 0
    assert primary.query(f"5.{SUB}", "PTR") == [TARGET]


# REVERSE_ZONES=auto


def test_auto_finds_every_reverse_zone_with_an_address(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    zones = {
        "example.": "", "10.in-addr.arpa.": "1 NS localhost.", "1.10.in-addr.arpa.": "", "16.172.in-addr.arpa.": "",
        PARENT: parent(("0-63", 0, 63)), SUB: "", "8.b.d.0.1.0.0.2.ip6.arpa.": "",
    }  # fmt: skip
    primary = make_primary(zones=zones)
    addresses = ["10.1.0.9", "10.2.0.9", "192.0.2.5", "192.0.2.70", "192.168.7.9", "203.0.113.9", "2001:db8::9"]
    db = [vmi("db", "prod", {"net1": addresses})]
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="auto")
    done = command("apply", vmi=db)
    assert (done.code, done.err) == (0, "")
    assert {(zone, item.owner) for zone in zones for item in primary.axfr(zone) if item.rdata == TARGET} == {
        ("1.10.in-addr.arpa.", "9.0.1.10.in-addr.arpa."),
        ("10.in-addr.arpa.", "9.0.2.10.in-addr.arpa."),
        (SUB, f"5.{SUB}"),
        (PARENT, SEVENTY),
        ("8.b.d.0.1.0.0.2.ip6.arpa.", "9." + 23 * "0." + "8.b.d.0.1.0.0.2.ip6.arpa."),
    }
    assert "Zone 16.172.in-addr.arpa." not in done.out, "it holds no published address"
    assert command("plan", "--exit-code", vmi=db).code == 0
    assert command("list").out.count(" PTR ") == 5
    assert command("explain", "-o", "json", "192.0.2.5", vmi=db).json["name"]["state"] == "published"
    check = command("check", vmi=db)
    assert check.code == 0, check.out
    assert "auto finds 10.in-addr.arpa., " in check.out.replace("auto finds 1.10.in-addr.arpa., ", "auto finds ")
    assert "2 blocks of addresses have no reverse zone here" in check.out
    assert "1 such as that of 203.0.113.9" in check.out or "2 such as that of 192.168.7.9" in check.out
    script = command("plan", "-o", "nsupdate", vmi=[]).out
    assert script.count("\nzone ") == 1, "without addresses no reverse zone is found"


def test_auto_adds_to_the_zones_that_are_named(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    zones = {"example.": "", "10.in-addr.arpa.": "", CUSTOMER: "", PARENT: parent(("customer", 64, 127))}
    primary = make_primary(zones=zones)
    named = ksd(primary, DOMAIN="example", REVERSE_ZONES=f"auto, {CUSTOMER}=192.0.2.64/26")
    db = [vmi("db", "prod", {"net1": ["10.1.0.9", "192.0.2.70"]})]
    assert named("apply", vmi=db).code == 0
    assert pointers(primary, "192.0.2.70") == [TARGET]
    assert primary.query("9.0.1.10.in-addr.arpa.", "PTR") == [TARGET]
    auto = named.but(REVERSE_ZONES="auto")("check", vmi=db).out
    assert f"add {CUSTOMER}=CIDR to REVERSE_ZONES" in auto


def test_auto_leaves_empty_zones_and_forwarded_names_alone(make_bind: Callable[..., Server], ksd: Ksd) -> None:
    other = make_bind(zones={"16.172.in-addr.arpa.": ""})
    forward = (
        f'zone "16.172.in-addr.arpa" {{ type forward; forward only; forwarders port {other.port} '
        f"{{ {other.address}; }}; }};"
    )
    options = "recursion yes; empty-zones-enable yes; max-recursion-queries 1; resolver-query-timeout 301;"
    primary = make_bind(
        zones={"example.": ""}, extra=forward, options=options.replace("recursion yes; ", "allow-recursion { any; };")
    )
    db = [vmi("db", "prod", {"net1": ["10.1.0.9", "172.16.0.9"]})]
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="auto")
    done = command("apply", vmi=db)
    assert (done.code, done.err) == (0, "")
    assert "PTR" not in done.out
    assert "10.in-addr.arpa. is an empty zone that BIND adds (RFC 6303)" in command("check", vmi=db).out
    assert {item.type for item in other.axfr("16.172.in-addr.arpa.")} == {"SOA", "NS"}


def test_auto_reports_an_unreachable_primary(make_bind: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_bind(zones={"example.": ""})
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="auto", DNS_TIMEOUT="0.5s")
    primary.stop()
    done = command("plan", vmi=[DB])
    assert done.code > 2 or done.code == 3
    assert "warning: cannot look for reverse zones: " in done.err


def test_bootstrap_needs_names_of_zones(make_bind: Callable[..., Server], ksd: Ksd) -> None:
    done = ksd(make_bind(zones={"example.": ""}), REVERSE_ZONES="auto")("bootstrap", "--server", "knot", "--dir", "x")
    assert done.code == 2
    assert "REVERSE_ZONES=auto finds zones that exist" in done.err
