# SPDX-License-Identifier: Apache-2.0
"""Hold-down in the core: missing address families, their previous addresses, and what is published."""

from collections.abc import Iterable

import msgspec
import pytest

from ksd_ddns.kubevirt.vmi import Interface, Vmi
from ksd_ddns.wire.rrset import AAAA, A, Node
from ksd_ddns.zone import hold
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.plan import Ownership
from tests.zone.build import a, aaaa, cname, ips, live, mark, node, scope, txt, txt_rules, vmi, zone_rules

NAME = "net1.db.prod.vm.example."


def having(interfaces: dict[str, list[str]], networks: Iterable[str], **more: object) -> Vmi:
    """Return the VMI prod/db whose status has `interfaces`, and whose spec has `networks`."""
    made = msgspec.structs.replace(vmi(interfaces=interfaces), networks=dict.fromkeys(networks, ""))
    return msgspec.structs.replace(made, **more)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        pytest.param(having({"net1": ["10.1.0.9", "fd00::9"]}, ["net1"]), set(), id="all-there"),
        pytest.param(having({"net1": ["10.1.0.9"]}, ["net1"]), {("net1", AAAA)}, id="one-family"),
        pytest.param(having({}, ["net1"]), {("net1", A), ("net1", AAAA)}, id="no-interface"),
        pytest.param(having({}, []), set(), id="not-in-spec"),
        pytest.param(
            having({"b": ["10.1.0.9", "fd00::9"]}, ["a", "b"]), {("a", A), ("a", AAAA)}, id="another-interface"
        ),
        pytest.param(having({}, ["net1"], live=False), set(), id="ended"),
        pytest.param(having({}, ["net1"], ignored=True), set(), id="ignored"),
    ],
)
def test_interfaces_without_addresses_are_missing(given: Vmi, want: set[hold.Vanished]) -> None:
    assert set(hold.missing(given)) == want


@pytest.mark.parametrize(
    ("given", "want"),
    [
        pytest.param(having({"net1": ["10.1.0.9", "fd00::9", "10.1.0.1"]}, []), ("10.1.0.9", "10.1.0.1"), id="of-it"),
        pytest.param(having({"net2": ["10.1.0.9"]}, ["net1"]), (), id="of-another-interface"),
        pytest.param(having({"net1": ["fd00::9"]}, ["net1"]), (), id="of-another-family"),
        pytest.param(having({"net1": ["10.1.0.9"]}, ["net1"], live=False), (), id="ended"),
        pytest.param(having({"net1": ["10.1.0.9"]}, ["net1"], ignored=True), (), id="ignored"),
    ],
)
def test_previous_addresses_come_from_the_vmi(given: Vmi, want: tuple[str, ...]) -> None:
    assert hold.previous(given, ("net1", A)) == ips(*want)


MINE = txt(mark())
TABLE = [
    pytest.param([node(NAME, a("10.1.0.9"), MINE)], ("10.1.0.9",), id="ours"),
    pytest.param([node(NAME, a("10.1.0.9", "10.1.0.10"), MINE)], ("10.1.0.9", "10.1.0.10"), id="several"),
    pytest.param([node(NAME, aaaa("fd00::9"), MINE)], (), id="another-family"),
    pytest.param([], (), id="nothing"),
    pytest.param([node(NAME, a("10.1.0.9"))], (), id="unmarked"),
    pytest.param([node(NAME, a("10.1.0.9"), txt(mark(owner="other")))], (), id="another-cluster"),
    pytest.param([node(NAME, a("10.1.0.9"), txt(mark("prod/other")))], (), id="another-vmi"),
    pytest.param([node(NAME, a("10.1.0.9"), txt("say hello", mark()))], ("10.1.0.9",), id="beside-a-foreign-text"),
    pytest.param([node("net2.db.prod.vm.example.", a("10.1.0.9"), MINE)], (), id="another-interface"),
]


@pytest.mark.parametrize(("nodes", "want"), TABLE)
def test_published_addresses_come_from_the_zone(nodes: list[Node], want: tuple[str, ...]) -> None:
    rules = txt_rules()
    found = hold.published(having({}, ["net1"]), ("net1", A), live(*nodes), rules, scope(rules))
    assert set(found) == set(ips(*want))


@pytest.mark.parametrize(
    ("nodes", "want"),
    [
        pytest.param([node(NAME, a("10.1.0.9"))], ("10.1.0.9",), id="ours"),
        pytest.param([node(NAME, cname("elsewhere."))], (), id="a-cname"),
        pytest.param([], (), id="nothing"),
    ],
)
def test_published_addresses_are_found_without_ownership_records(nodes: list[Node], want: tuple[str, ...]) -> None:
    rules = zone_rules()
    zone = live(*nodes, zone=rules.zone)
    found = hold.published(having({}, ["net1"]), ("net1", A), zone, rules, scope(rules, ownership=Ownership.ZONE))
    assert set(found) == set(ips(*want))


@pytest.mark.parametrize("interface", ["x" * 64, "a b", ""])
def test_an_interface_without_a_dns_name_has_no_published_addresses(interface: str) -> None:
    rules: Rules = txt_rules()
    assert hold.published(having({}, [interface]), (interface, A), live(), rules, scope(rules)) == ()


def test_held_addresses_are_added_to_current_ones() -> None:
    given = having({"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]}, ["net1", "net2", "net3"])
    held = {("net1", AAAA): ips("fd00::9"), ("net3", A): ips("10.3.0.9")}
    assert hold.with_held(given, held).interfaces == (
        Interface("net1", ips("10.1.0.9", "fd00::9")),
        Interface("net2", ips("10.2.0.9")),
        Interface("net3", ips("10.3.0.9")),
    )
    assert hold.with_held(given, {}) is given
