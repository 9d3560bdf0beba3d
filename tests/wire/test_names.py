# SPDX-License-Identifier: Apache-2.0
"""Owner names, with dnspython as the oracle."""

from ipaddress import IPv4Address, IPv6Address

import dns.exception
import dns.name
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ksd_ddns.wire import names
from tests.zone.build import ip, n

LABEL = st.binary(min_size=1, max_size=63) | st.sampled_from([b"VM", b"vm", b"\2vm", b"a.b", b"*", b"_x", b"\0", b"\\"])


def fits(labels: list[bytes]) -> bool:
    return sum(len(label) + 1 for label in labels) < 255


LABELS = st.lists(LABEL, max_size=6).filter(fits)


def oracle(labels: list[bytes]) -> dns.name.Name:
    return dns.name.Name((*labels, b""))


@given(LABELS)
def test_the_presentation_format_agrees_with_dnspython(labels: list[bytes]) -> None:
    want = oracle(labels).to_digestable()
    name = names.from_labels(labels)
    assert name == want
    assert names.from_text(oracle(labels).to_text()) == want
    assert names.from_text(names.to_text(name)) == want
    assert dns.name.from_text(names.to_text(name)).to_digestable() == want
    assert names.to_text(name).isascii()
    assert names.to_text(name).isprintable()
    assert " " not in names.to_text(name)
    assert names.labels(name) == [label.lower() for label in labels]


@given(LABELS, LABELS)
@example([b"a\2vm"], [b"vm"])
@example([b"\2vm\0"], [b"vm"])
@example([], [])
def test_below_agrees_with_dnspython(labels: list[bytes], ancestor: list[bytes]) -> None:
    for one, other in ((labels, ancestor), (labels + ancestor, ancestor), (ancestor, labels + ancestor)):
        if fits(one) and fits(other):
            want = oracle(one).is_subdomain(oracle(other))
            assert names.is_below(names.from_labels(one), names.from_labels(other)) is want


@given(LABELS)
def test_the_parent_lacks_the_first_label(labels: list[bytes]) -> None:
    assert names.parent(names.from_labels(labels)) == names.from_labels(labels[1:])


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        pytest.param("", b"\0", id="empty-is-the-root"),
        pytest.param(".", b"\0", id="root"),
        pytest.param("vm", b"\2vm\0", id="relative-is-taken-as-absolute"),
        pytest.param("vm.", b"\2vm\0", id="absolute"),
        pytest.param("Db.PROD.vm.", b"\2db\4prod\2vm\0", id="upper-case-is-folded"),
        pytest.param(r"a\.b.vm.", b"\3a.b\2vm\0", id="escaped-dot"),
        pytest.param(r"\065\255.vm.", b"\2a\xff\2vm\0", id="decimal-escapes-are-folded-too"),
        pytest.param(r"a\\.vm.", b"\2a\\\2vm\0", id="escaped-backslash-before-a-dot"),
        pytest.param("a b\n.vm.", b"\4a b\n\2vm\0", id="odd-octets"),
        pytest.param("a" * 63, b"\x3f" + b"a" * 63 + b"\0", id="63-octets"),
        pytest.param(".".join(["a" * 63] * 3 + ["b" * 61]), (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0",
                     id="255-octets"),
    ],
)  # fmt: skip
def test_text_is_parsed_as_a_name(text: str, wire: bytes) -> None:
    assert names.from_text(text) == wire


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(b"\0", ".", id="root"),
        pytest.param(b"\2vm\0", "vm.", id="plain"),
        pytest.param(b"\2!~\2vm\0", "!~.vm.", id="first-and-last-printable"),
        pytest.param(b"\2 \x7f\2vm\0", r"\032\127.vm.", id="just-not-printable"),
        pytest.param(b'\7"().;@$\2vm\0', r"\"\(\)\.\;\@\$.vm.", id="special"),
        pytest.param(b"\1.\1.\0", r"\..\..", id="dots"),
    ],
)
def test_a_name_is_formatted_as_text(name: bytes, text: str) -> None:
    assert names.to_text(name) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("a..b", "0 octets", id="empty-label"),
        pytest.param(".a", "0 octets", id="leading-dot"),
        pytest.param("a..", "0 octets", id="two-final-dots"),
        pytest.param("..", "0 octets", id="dots-alone"),
        pytest.param("a" * 64, "64 octets", id="64-octets"),
        pytest.param(".".join(["a" * 63] * 3 + ["b" * 62]), "256 octets", id="256-octets"),
        pytest.param("a\\", "backslash", id="final-backslash"),
        pytest.param(r"\256", "not allowed", id="escape-over-255"),
        pytest.param("bücher", "not allowed", id="not-ascii"),
        pytest.param("\\ü", "not allowed", id="not-ascii-escaped"),
        pytest.param("\udcff", "not allowed", id="lone-surrogate"),
    ],
)
def test_an_invalid_name_is_an_error_with_its_cause(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        names.from_text(text)


@given(st.text(st.sampled_from("aA1.\\0*_\n ü"), max_size=12))
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    try:
        name = names.from_text(text)
    except ValueError:
        return
    assert names.from_labels(names.labels(name)) == name


@given(st.text(st.sampled_from('aA1.\\"$@;()0*_-'), min_size=1, max_size=12))
def test_names_that_dnspython_accepts_are_parsed_alike(text: str) -> None:
    try:
        want = dns.name.from_text(text)
    except (dns.exception.DNSException, ValueError):
        return
    if text != "@":  # a shorthand of zone files
        assert names.from_text(text) == want.to_digestable()


@pytest.mark.parametrize(
    ("label", "folded"),
    [
        pytest.param("net1", b"\4net1", id="plain"),
        pytest.param("Net1", b"\4net1", id="upper-case"),
        pytest.param("net_1", b"\5net_1", id="underscore"),
        pytest.param("-nic-", b"\5-nic-", id="edge-hyphens"),
        pytest.param("7", b"\0017", id="digit"),
        pytest.param("a" * 63, b"\x3f" + b"a" * 63, id="63-octets"),
        pytest.param("a" * 64, None, id="64-octets"),
        pytest.param("", None, id="empty"),
        pytest.param("*", None, id="wildcard"),
        pytest.param("a.b", None, id="dot"),
        pytest.param("a b", None, id="space"),
        pytest.param("a\n", None, id="newline-at-the-end"),
        pytest.param("a\\", None, id="backslash"),
        pytest.param("bücher", None, id="not-ascii"),
        pytest.param("\N{KELVIN SIGN}8s", None, id="folds-to-ascii-but-is-not"),
        pytest.param("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", None, id="folds-to-two-characters"),
        pytest.param("\N{ARABIC-INDIC DIGIT ONE}", None, id="not-an-ascii-digit"),
    ],
)
def test_legal_labels_are_lowercased(label: str, folded: bytes | None) -> None:
    assert names.legal_label(label) == folded


@given(st.ip_addresses())
def test_reverse_names_agree_with_ipaddress(address: IPv4Address | IPv6Address) -> None:
    name = n(address.reverse_pointer)
    assert names.reverse(address.packed) == name
    assert names.reversed_address(name) == address.packed


@pytest.mark.parametrize(
    ("address", "prefix", "name"),
    [
        pytest.param("10.0.0.0", 0, "in-addr.arpa.", id="all-of-ipv4"),
        pytest.param("10.0.0.0", 8, "10.in-addr.arpa.", id="one-octet"),
        pytest.param("10.1.2.0", 24, "2.1.10.in-addr.arpa.", id="three-octets"),
        pytest.param("2001:db8::", 32, "8.b.d.0.1.0.0.2.ip6.arpa.", id="eight-nibbles"),
        pytest.param("2001:db8::", 36, "0.8.b.d.0.1.0.0.2.ip6.arpa.", id="nine-nibbles"),
        pytest.param("::", 0, "ip6.arpa.", id="all-of-ipv6"),
    ],
)
def test_the_reverse_zone_of_a_network_is_computed(address: str, prefix: int, name: str) -> None:
    assert names.reverse(ip(address), prefix) == n(name)


@pytest.mark.parametrize(("address", "prefix"), [("10.0.0.0", 12), ("10.0.0.0", 31), ("2001:db8::", 33)])
def test_reverse_zones_end_between_labels(address: str, prefix: int) -> None:
    with pytest.raises(ValueError, match="between two labels"):
        names.reverse(ip(address), prefix)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("in-addr.arpa.", id="too-short"),
        pytest.param("1.0.0.in-addr.arpa.", id="three-octets"),
        pytest.param("5.1.0.0.10.in-addr.arpa.", id="five-octets"),
        pytest.param("256.0.0.10.in-addr.arpa.", id="octet-too-big"),
        pytest.param("01.0.0.10.in-addr.arpa.", id="leading-zero"),
        pytest.param("x.0.0.10.in-addr.arpa.", id="no-number"),
        pytest.param("-1.0.0.10.in-addr.arpa.", id="negative"),
        pytest.param("\\178.0.0.10.in-addr.arpa.", id="digit-of-latin-1"),
        pytest.param("1.0.0.10.in-addr.arpa.example.", id="elsewhere"),
        pytest.param("g." * 32 + "ip6.arpa.", id="no-nibble"),
        pytest.param("00." * 32 + "ip6.arpa.", id="two-nibbles-in-a-label"),
        pytest.param("0." * 31 + "ip6.arpa.", id="31-nibbles"),
        pytest.param("vm.example.", id="no-reverse-name"),
        pytest.param(".", id="root"),
    ],
)
def test_an_invalid_reverse_name_has_no_address(text: str) -> None:
    assert names.reversed_address(n(text)) is None


@pytest.mark.parametrize(
    ("text", "is_host_name"),
    [
        pytest.param("net1.db.vm.", True, id="plain"),
        pytest.param("1.a-b.vm.", True, id="digits-and-hyphens"),
        pytest.param("net_1.vm.", False, id="underscore"),
        pytest.param("-a.vm.", False, id="leading-hyphen"),
        pytest.param("a-.vm.", False, id="final-hyphen"),
        pytest.param("*.vm.", True, id="wildcard"),
        pytest.param("*.-a.vm.", False, id="wildcard-below-no-host-name"),
        pytest.param("a.*.vm.", False, id="asterisk-not-first"),
        pytest.param(r"a\.b.vm.", False, id="dot-in-a-label"),
    ],
)
def test_host_names_are_recognized(text: str, is_host_name: bool) -> None:
    assert names.is_host_name(n(text)) is is_host_name


def test_the_error_for_a_long_name_contains_all_of_it() -> None:
    with pytest.raises(ValueError, match=r"bb\. has 256 octets: 255 are allowed"):
        names.from_labels([b"a" * 63] * 3 + [b"b" * 62])


def test_names_with_different_labels_differ() -> None:
    assert n(r"a\.b.vm.") != n("a.b.vm.")
    assert names.to_text(n(r"a\.b.vm.")) == r"a\.b.vm."


@pytest.mark.parametrize(
    ("name", "want"),
    [
        pytest.param("db.prod.vm.example.", b"prod", id="a-vmi"),
        pytest.param("net1.a.b.prod.vm.example.", b"prod", id="the-interface-of-a-dotted-vmi"),
        pytest.param("prod.vm.example.", b"prod", id="directly-below"),
        pytest.param("vm.example.", b"", id="the-ancestor"),
        pytest.param("db.prod.xvm.example.", b"", id="a-name-that-ends-alike"),
        pytest.param("www.example.", b"", id="elsewhere"),
    ],
)
def test_child_is_the_label_directly_below_the_ancestor(name: str, want: bytes) -> None:
    assert names.child(names.from_text(name), names.from_text("vm.example.")) == want
