# SPDX-License-Identifier: Apache-2.0
"""Reverse zones and the addresses that belong in them: names of blocks, and names as in RFC 2317."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksd_ddns.wire import names
from ksd_ddns.zone.desired import Network, ReverseZone, block, desired, is_preferred, reverse_zone
from tests.zone.build import ip, n, reverse_rules, vmi


def network(text: str) -> Network:
    found = ip_network(text)
    return Network(found.network_address.packed, found.prefixlen)


def blocks(zone: ReverseZone) -> list[str]:
    """Return the blocks of the zone's addresses, as text."""
    return [str(ip_network((each.address, each.prefix))) for each in zone.networks]


@pytest.mark.parametrize(
    ("name", "inside", "pointer"),
    [
        pytest.param("2.0.192.in-addr.arpa", ["192.0.2.0/24"], "5.2.0.192.in-addr.arpa.", id="block"),
        pytest.param("0-63.2.0.192.in-addr.arpa", ["192.0.2.0/26"], "5.0-63.2.0.192.in-addr.arpa.", id="range"),
        pytest.param("0/26.2.0.192.in-addr.arpa", ["192.0.2.0/26"], "5.0/26.2.0.192.in-addr.arpa.", id="prefix"),
        pytest.param(r"0\/26.2.0.192.in-addr.arpa", ["192.0.2.0/26"], "5.0/26.2.0.192.in-addr.arpa.", id="escaped"),
        pytest.param("0_26.2.0.192.in-addr.arpa", ["192.0.2.0/26"], "5.0_26.2.0.192.in-addr.arpa.", id="underscore"),
        pytest.param("0-31.2.0.192.IN-ADDR.ARPA.", ["192.0.2.0/27"], "5.0-31.2.0.192.in-addr.arpa.", id="0-31"),
        pytest.param("0-255.2.0.192.in-addr.arpa", ["192.0.2.0/24"], "5.0-255.2.0.192.in-addr.arpa.", id="full"),
        pytest.param(
            "1-10.2.0.192.in-addr.arpa",
            ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/30", "192.0.2.8/31", "192.0.2.10/32"],
            "5.1-10.2.0.192.in-addr.arpa.",
            id="unaligned-range",
        ),
        pytest.param("5-5.2.0.192.in-addr.arpa", ["192.0.2.5/32"], "5.5-5.2.0.192.in-addr.arpa.", id="one-address"),
        pytest.param("0-15.192.in-addr.arpa", ["192.0.0.0/12"], "5.2.0.0-15.192.in-addr.arpa.", id="second-octet"),
        pytest.param("0/20.0.192.in-addr.arpa", ["192.0.0.0/20"], "5.2.0/20.0.192.in-addr.arpa.", id="third-octet"),
    ],
)
def test_the_name_of_a_zone_says_which_addresses_it_has(name: str, inside: list[str], pointer: str) -> None:
    zone = reverse_zone(n(name))
    assert blocks(zone) == inside
    assert zone.name(ip("192.0.2.5")) == n(pointer)
    assert zone.address(n(pointer)) == ip("192.0.2.5")
    assert zone.name(ip("198.51.100.5")) is None
    assert zone.name(ip("2001:db8::5")) is None


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        pytest.param("64-26.2.0.192.in-addr.arpa", "192.0.2.64/26", id="no-range"),
        pytest.param("64-127.2.0.192.in-addr.arpa", "192.0.2.64/26", id="range"),
        pytest.param("128-25.2.0.192.in-addr.arpa", "192.0.2.128/25", id="half"),
        pytest.param("16-31.2.0.192.in-addr.arpa", "192.0.2.16/28", id="range-before-prefix"),
    ],
)
def test_a_hyphen_is_a_range_or_a_prefix(name: str, inside: str) -> None:
    assert blocks(reverse_zone(n(name))) == [inside]


@pytest.mark.parametrize(
    "name",
    [
        "example.com", "customer.2.0.192.in-addr.arpa", "64-10.2.0.192.in-addr.arpa", "0-256.2.0.192.in-addr.arpa",
        "300-310.2.0.192.in-addr.arpa", "1/26.2.0.192.in-addr.arpa", "0/33.2.0.192.in-addr.arpa",
        "0/24.2.0.192.in-addr.arpa", "0-63.5.2.0.192.in-addr.arpa", "0-26.2.0.192.in-addr.arpa",
        "0-7.8.b.d.0.1.0.0.2.ip6.arpa", "5.0-63.2.0.192.in-addr.arpa", ".",
    ],
)  # fmt: skip
def test_other_names_say_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=r"does not say|neither a range|can be a range"):
        reverse_zone(n(name))


@pytest.mark.parametrize(
    ("zone", "addresses", "address", "pointer"),
    [
        pytest.param("customer.2.0.192.in-addr.arpa", "192.0.2.64/26", "192.0.2.70",
                     "70.customer.2.0.192.in-addr.arpa.", id="label"),
        pytest.param("rev.example", "192.0.2.64/26", "192.0.2.70", "70.rev.example.", id="elsewhere"),
        pytest.param("rev.example", "192.0.2.0/24", "192.0.2.70", "70.rev.example.", id="octet"),
        pytest.param("rev.example", "10.0.0.0/8", "10.1.2.3", "3.2.1.rev.example.", id="three-octets"),
        pytest.param("rev.example", "192.0.2.70/32", "192.0.2.70", "70.rev.example.", id="one-address"),
        pytest.param("0-26.2.0.192.in-addr.arpa", "192.0.2.0/26", "192.0.2.5",
                     "5.0-26.2.0.192.in-addr.arpa.", id="ambiguous-name"),
        pytest.param("rev.example", "2001:db8::/126", "2001:db8::3", "3.rev.example.", id="part-of-a-nibble"),
        pytest.param("2.0.192.in-addr.arpa", "192.0.2.0/24", "192.0.2.70", "70.2.0.192.in-addr.arpa.", id="its-own"),
    ],
)  # fmt: skip
def test_a_zone_can_be_given_its_addresses(zone: str, addresses: str, address: str, pointer: str) -> None:
    found = block(network(addresses), n(zone))
    assert found.name(ip(address)) == n(pointer)
    assert found.address(n(pointer)) == ip(address)
    assert found.name(ip("192.0.3.70")) is None


def test_a_zone_of_other_addresses_is_an_error() -> None:
    with pytest.raises(ValueError, match="is the reverse zone of other addresses"):
        block(network("192.0.2.64/26"), n("2.0.192.in-addr.arpa"))


@given(st.binary(min_size=4, max_size=4), st.integers(1, 32), st.sampled_from([None, n("rev.example.")]))
def test_names_lead_back_to_their_addresses(address: bytes, prefix: int, base: bytes | None) -> None:
    first = int.from_bytes(address, "big") >> (32 - prefix) << (32 - prefix)
    inside = Network(first.to_bytes(4, "big"), prefix)
    if base is None and prefix % 8:
        with pytest.raises(ValueError, match="between two labels"):
            block(inside)
        return
    zone = block(inside, base)
    name = zone.name(address)
    assert name is not None
    assert names.is_below(name, zone.base)
    assert zone.address(name) == address


def test_the_smaller_zone_gets_an_address() -> None:
    whole, part = reverse_zone(n("2.0.192.in-addr.arpa")), reverse_zone(n("0-63.2.0.192.in-addr.arpa"))
    assert is_preferred(part, whole)
    assert not is_preferred(whole, part)


def test_pointers_are_published_below_a_classless_zone() -> None:
    zone = reverse_zone(n("0-63.2.0.192.in-addr.arpa"))
    rules = reverse_rules(zone=zone.base, reverse=zone.base, classless=zone)
    found = desired([vmi(interfaces={"net1": ["192.0.2.5", "192.0.2.70", "2001:db8::1"]})], rules)
    assert [*found.names()] == [n("5.0-63.2.0.192.in-addr.arpa.")]


def test_addresses_of_a_smaller_zone_are_published_there_alone() -> None:
    part = reverse_zone(n("0-63.2.0.192.in-addr.arpa"))
    whole = n("2.0.192.in-addr.arpa")
    rules = reverse_rules(zone=whole, reverse=whole, excluded=(part.base,), elsewhere=part.networks)
    found = desired([vmi(interfaces={"net1": ["192.0.2.5", "192.0.2.70"]})], rules)
    assert [*found.names()] == [n("70.2.0.192.in-addr.arpa.")]
