# SPDX-License-Identifier: Apache-2.0
"""Parsing VMI objects of the API."""

import copy
import json
from ipaddress import IPv4Address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.vmis import CREATED, interface, uid_of, vmi
from ksd_ddns.kubevirt.networks import MAX_INTERFACES, by_record
from ksd_ddns.kubevirt.vmi import (
    MAX_ADDRESSES,
    MAX_ADDRESSES_OF_INTERFACE,
    MAX_HOSTNAMES,
    MAX_WARNINGS,
    Interface,
    Vmi,
    parse,
)
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.zone.render import message

DECODER = msgspec.json.Decoder(VmiObject)


def texts(of: Vmi) -> list[str]:
    return [message.warning(warning) for warning in of.warnings]


def parsed(obj: dict[str, Any]) -> Vmi:
    """Parse `obj` as JSON and as plain values, which must agree."""
    result = parse(DECODER.decode(json.dumps(obj)))
    assert parse(msgspec.convert(obj, VmiObject)) == result
    return result


def packed(*addresses: str) -> tuple[bytes, ...]:
    return tuple(inet_pton(AF_INET6 if ":" in address else AF_INET, address) for address in addresses)


def addresses_of(result: Vmi) -> dict[str, tuple[bytes, ...]]:
    return {interface.name: interface.addresses for interface in result.interfaces}


def test_an_api_object_is_parsed() -> None:
    obj = vmi("db", "prod", {"net2": ["10.2.0.1/24", "fd00::2"], "net1": ["10.1.0.1"]}, managed_fields=True)
    assert parsed(obj) == Vmi(
        key="prod/db",
        namespace="prod",
        name="db",
        uid=uid_of("prod", "db"),
        created=1772352000,
        live=True,
        interfaces=(Interface("net1", packed("10.1.0.1")), Interface("net2", packed("10.2.0.1", "fd00::2"))),
        networks={"net2": "prod/net2", "net1": "prod/net1"},
    )


def test_an_object_with_only_a_name_is_parsed() -> None:
    assert parsed({"metadata": {"name": "db"}}) == Vmi("default/db", "default", "db", "", 0, True, (), {})


def test_irrelevant_fields_make_no_difference() -> None:
    before, after = vmi("db"), vmi("db", managed_fields=True, labels={"a": "b"}, annotations={"note": "x" * 10_000})
    after["metadata"]["resourceVersion"] = "99999"
    after["status"]["conditions"][0]["lastTransitionTime"] = "2027-01-01T00:00:00Z"
    after["status"]["interfaces"].reverse()
    assert parsed(after) == parsed(before)


def test_the_key_is_namespace_and_name() -> None:
    assert parsed(vmi("a.b", "prod")).key == "prod/a.b"


@pytest.mark.parametrize(
    "path",
    [
        ["metadata", "namespace"],
        ["metadata", "uid"],
        ["metadata", "creationTimestamp"],
        ["metadata", "labels"],
        ["metadata", "labels", "kubevirt.io/domain"],
        ["metadata", "annotations"],
        ["spec"],
        ["spec", "networks"],
        ["spec", "networks", 1],
        ["spec", "networks", 1, "name"],
        ["spec", "networks", 1, "multus"],
        ["spec", "networks", 0, "pod"],
        ["status"],
        ["status", "phase"],
        ["status", "interfaces"],
        ["status", "interfaces", 1],
        ["status", "interfaces", 1, "name"],
        ["status", "interfaces", 1, "ipAddress"],
        ["status", "interfaces", 1, "ipAddresses"],
        ["status", "interfaces", 1, "ipAddresses", 0],
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_null_means_absent(path: list[Any]) -> None:
    null = vmi("db", interfaces={"nic1": ["10.0.0.1"]})
    absent = copy.deepcopy(null)
    for obj in (null, absent):
        holder: Any = obj
        for step in path[:-1]:
            holder = holder[step]
        if obj is null:
            holder[path[-1]] = None
        else:
            del holder[path[-1]]
    assert parsed(null) == parsed(absent)


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        pytest.param([], "", id="array"),
        pytest.param({}, "", id="no-metadata"),
        pytest.param({"metadata": None}, "$.metadata", id="null-metadata"),
        pytest.param({"metadata": {}}, "$.metadata", id="no-name"),
        pytest.param({"metadata": {"name": ""}}, "$.metadata.name", id="empty-name"),
        pytest.param({"metadata": {"name": 5}}, "$.metadata.name", id="number-as-name"),
        pytest.param({"metadata": {"name": "a/b"}}, "$.metadata.name", id="slash-in-name"),
        pytest.param({"metadata": {"name": "a", "namespace": "b/c"}}, "$.metadata.namespace", id="slash-in-namespace"),
        pytest.param({"metadata": {"name": "a\x1b[2J"}}, "$.metadata.name", id="escape-sequence-in-name"),
        pytest.param({"metadata": {"name": "a", "namespace": "\u202eb"}}, "$.metadata.namespace", id="unprintable"),
        pytest.param({"metadata": {"name": "a", "labels": {"b": 1}}}, "$.metadata.labels[...]", id="number-as-label"),
        pytest.param(
            {"metadata": {"name": "a", "annotations": {"ksd-ddns/ttl": 30}}},
            "$.metadata.annotations.ksd-ddns/ttl",
            id="number-as-annotation",
        ),
        pytest.param({"metadata": {"name": "a"}, "spec": {"networks": {}}}, "$.spec.networks", id="networks"),
        pytest.param(
            {"metadata": {"name": "a"}, "status": {"interfaces": [{}, {"ipAddresses": ["10.0.0.1", 5]}]}},
            "$.status.interfaces[1].ipAddresses[1]",
            id="number-as-address",
        ),
    ],
)
def test_a_wrong_type_is_an_error_with_its_path(obj: object, path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as of_json:
        DECODER.decode(json.dumps(obj))
    with pytest.raises(msgspec.ValidationError) as of_values:
        msgspec.convert(obj, VmiObject)
    assert path in str(of_json.value)
    assert path in str(of_values.value)


@pytest.mark.parametrize(
    ("default", "multus", "want"),
    [
        pytest.param("default", False, ["nic1"], id="pod"),
        pytest.param("default", True, ["nic1"], id="multus-default"),
        pytest.param("nic0", False, ["nic1"], id="whatever-its-name"),
        pytest.param(None, False, ["nic1"], id="none"),
    ],
)
def test_the_default_network_is_not_secondary(default: str | None, multus: bool, want: list[str]) -> None:
    result = parsed(vmi("db", interfaces={"nic1": ["10.0.0.1"]}, default=default, default_multus=multus))
    assert sorted(addresses_of(result)) == want
    assert set(result.networks) == frozenset(want)


def test_a_network_listed_twice_is_the_default_network() -> None:
    obj = vmi("db", interfaces={"nic1": ["10.0.0.1"]})
    obj["spec"]["networks"].append({"name": "default", "multus": {"networkName": "a"}})
    assert set(parsed(obj).networks) == frozenset({"nic1"})
    assert list(addresses_of(parsed(obj))) == ["nic1"]


def test_without_a_default_network_every_named_interface_is_secondary() -> None:
    obj = vmi("db", interfaces={"nic1": ["10.0.0.1"]}, default_addresses=["10.244.0.9"])
    obj["spec"]["networks"] = [{"name": "default", "multus": {"networkName": "a", "default": False}}]
    assert addresses_of(parsed(obj)) == {"default": packed("10.244.0.9"), "nic1": packed("10.0.0.1")}
    assert set(parsed(obj).networks) == frozenset({"default"})


def test_an_interface_known_only_to_the_guest_is_skipped() -> None:
    obj = vmi("db", interfaces={})
    obj["status"]["interfaces"].append({"name": "", "ipAddress": "10.9.9.9"})
    assert any(entry.get("ipAddress") == "172.17.0.1" for entry in obj["status"]["interfaces"])
    assert parsed(obj).interfaces == ()


def test_an_interface_without_an_address_counts_as_a_network() -> None:
    result = parsed(vmi("db", interfaces={"nic1": [], "nic2": None, "nic3": ["fe80::1"]}))
    assert result.interfaces == ()
    assert set(result.networks) == frozenset({"nic1", "nic2", "nic3"})


def test_entries_with_one_name_are_one_interface() -> None:
    obj = vmi("db", interfaces={"nic1": ["10.0.0.1", "10.0.0.2"]})
    obj["status"]["interfaces"] += [interface("nic1", ["10.0.0.2", "10.0.0.3"]), interface("nic1", [])]
    assert addresses_of(parsed(obj)) == {"nic1": packed("10.0.0.1", "10.0.0.2", "10.0.0.3")}
    assert parsed(obj).warnings == ()


@pytest.mark.parametrize(
    ("entry", "want"),
    [
        pytest.param({"ipAddress": "10.0.0.1", "ipAddresses": ["10.0.0.2"]}, ["10.0.0.2"], id="ipAddresses-counts"),
        pytest.param({"ipAddress": "10.0.0.1"}, ["10.0.0.1"], id="ipAddress-alone"),
        pytest.param({"ipAddress": "10.0.0.1", "ipAddresses": []}, ["10.0.0.1"], id="empty-ipAddresses"),
        pytest.param({"ipAddress": "10.0.0.1", "ipAddresses": ["", None]}, ["10.0.0.1"], id="empty-strings"),
        pytest.param({"ipAddress": "", "ipAddresses": [""]}, [], id="nothing"),
        pytest.param({"ipAddress": "10.0.0.1/24"}, ["10.0.0.1"], id="prefix-of-ipAddress"),
        pytest.param({"ipAddresses": ["10.0.0.1/24", "fd00::1/64"]}, ["10.0.0.1", "fd00::1"], id="prefixes"),
        pytest.param({"ipAddresses": ["10.0.0.2", "10.0.0.1"]}, ["10.0.0.2", "10.0.0.1"], id="order-of-the-status"),
        pytest.param({"ipAddresses": ["10.0.0.1", "10.0.0.1/8"]}, ["10.0.0.1"], id="duplicate"),
        pytest.param({"ipAddresses": ["fd00::1", "FD00:0::0001"]}, ["fd00::1"], id="duplicate-written-differently"),
        pytest.param({"ipAddresses": ["192.0.2.1", "1.0.0.0"]}, ["192.0.2.1", "1.0.0.0"], id="documentation-range"),
        pytest.param({"ipAddresses": ["128.0.0.1", "126.0.0.1"]}, ["128.0.0.1", "126.0.0.1"], id="around-loopback"),
        pytest.param({"ipAddresses": ["169.253.0.1", "223.0.0.1"]}, ["169.253.0.1", "223.0.0.1"], id="around-others"),
        pytest.param({"ipAddresses": ["fdff::1", "1::", "2003::1"]}, ["fdff::1", "1::", "2003::1"], id="around-ipv6"),
        pytest.param({"ipAddresses": ["::10.0.0.1"]}, ["::10.0.0.1"], id="compatible-form-of-a-good-one"),
        pytest.param({"ipAddresses": ["64:ff9b::10.0.0.1"]}, ["64:ff9b::10.0.0.1"], id="nat64-form-of-a-good-one"),
        pytest.param({"ipAddresses": ["64:ff9b:1::10.0.0.1"]}, ["64:ff9b:1::10.0.0.1"], id="local-nat64-96"),
        pytest.param({"ipAddresses": ["64:ff9b:1:c0a8:0:5::"]}, ["64:ff9b:1:c0a8:0:5::"], id="local-nat64-48"),
        pytest.param({"ipAddresses": ["64:ff9b:1:c0:a8:5::"]}, ["64:ff9b:1:c0:a8:5::"], id="local-nat64-56"),
        pytest.param({"ipAddresses": ["64:ff9b:1::c0:a800:500:0"]}, ["64:ff9b:1::c0:a800:500:0"], id="local-nat64-64"),
        pytest.param({"ipAddresses": ["2002:a00:1::1"]}, ["2002:a00:1::1"], id="6to4-form-of-a-good-one"),
    ],
)
def test_addresses_are_parsed(entry: dict[str, Any], want: list[str]) -> None:
    obj = vmi("db", interfaces={"nic1": []})
    obj["status"]["interfaces"][1].update(entry)
    assert addresses_of(parsed(obj)) == ({"nic1": packed(*want)} if want else {})
    assert parsed(obj).warnings == ()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        pytest.param("10.0.0.999", "not an IP address", id="octet-too-big"),
        pytest.param("10.0.0", "not an IP address", id="three-octets"),
        pytest.param("10.0.0.01", "not an IP address", id="leading-zero"),
        pytest.param("10.0.0.1 ", "not an IP address", id="space"),
        pytest.param("/24", "not an IP address", id="prefix-alone"),
        pytest.param("10.0.0.1\x00", "not an IP address", id="nul"),
        pytest.param("\u0661\u0660.0.0.1", "not an IP address", id="arabic-digits"),
        pytest.param("db.example.org", "not an IP address", id="name"),
        pytest.param("fd00::1%eth0", "not an IP address", id="zone-index-on-a-global-address"),
        pytest.param("fd00::1::2", "not an IP address", id="two-gaps"),
        pytest.param("fe80::1%", "not an IP address", id="empty-zone-index"),
        pytest.param(":" * 1_000_000, "not an IP address", id="a-megabyte"),
        pytest.param("0.0.0.0", "0.0.0.0/8", id="unspecified"),
        pytest.param("0.1.2.3", "0.0.0.0/8", id="this-network"),
        pytest.param("0.255.255.255", "0.0.0.0/8", id="this-network-last"),
        pytest.param("::", "unspecified", id="unspecified-ipv6"),
        pytest.param("127.0.0.1", "loopback", id="loopback"),
        pytest.param("127.255.255.254/8", "loopback", id="loopback-with-prefix"),
        pytest.param("::1", "loopback", id="loopback-ipv6"),
        pytest.param("169.254.10.11", "link-local", id="link-local"),
        pytest.param("224.0.0.251", "multicast", id="multicast"),
        pytest.param("239.255.255.255", "multicast", id="multicast-last"),
        pytest.param("ff02::fb", "multicast", id="multicast-ipv6"),
        pytest.param("255.255.255.255", "reserved", id="broadcast"),
        pytest.param("240.0.0.1", "reserved", id="reserved"),
        pytest.param("254.1.2.3", "reserved", id="reserved-like-link-local-ipv6"),
        pytest.param("::ffff:10.0.0.1", "IPv4-mapped", id="ipv4-mapped"),
        pytest.param("fec0::1", "site-local", id="site-local"),
        pytest.param("feff:ffff::1", "site-local", id="site-local-last"),
        pytest.param("::2", "IPv4-compatible form of an address of 0.0.0.0/8", id="compatible-this-network"),
        pytest.param("::127.0.0.1", "IPv4-compatible form of a loopback", id="compatible-loopback"),
        pytest.param("::ffff:0:127.0.0.1", "IPv4-translated form of a loopback", id="translated-loopback"),
        pytest.param("64:ff9b::", "NAT64 form of an address of 0.0.0.0/8", id="nat64-unspecified"),
        pytest.param("64:ff9b::127.0.0.1", "NAT64 form of a loopback", id="nat64-loopback"),
        pytest.param("64:ff9b::169.254.169.254", "NAT64 form of a link-local", id="nat64-link-local"),
        pytest.param("64:ff9b:1::127.0.0.1", "NAT64 form of a loopback", id="local-nat64-loopback-96"),
        pytest.param("64:ff9b:1:7f00:0:100::", "NAT64 form of a loopback", id="local-nat64-loopback-48"),
        pytest.param("64:ff9b:1:7f:0:1::", "NAT64 form of a loopback", id="local-nat64-loopback-56"),
        pytest.param("64:ff9b:1:0:7f:0:100:0", "NAT64 form of a loopback", id="local-nat64-loopback-64"),
        pytest.param("2002:7f00:1::1", "6to4 form of a loopback", id="6to4-loopback"),
        pytest.param("2002:a9fe:a9fe::1", "6to4 form of a link-local", id="6to4-link-local"),
        pytest.param("2002:e000:fb::1", "6to4 form of a multicast", id="6to4-multicast"),
        pytest.param("2002:ffff:ffff::1", "6to4 form of a reserved", id="6to4-broadcast"),
    ],
)
def test_an_unpublishable_address_causes_a_warning_and_the_rest_is_kept(address: str, why: str) -> None:
    result = parsed(vmi("db", interfaces={"nic1": ["10.0.0.1", address, "10.0.0.2"]}))
    assert addresses_of(result) == {"nic1": packed("10.0.0.1", "10.0.0.2")}
    (warning,) = texts(result)
    assert "'nic1'" in warning
    assert repr(address)[:40] in warning
    assert why in warning
    assert len(warning) < 200
    assert warning.isprintable()


@pytest.mark.parametrize(
    "address", ["fe80::1", "FE80::a:b", "febf::1", "fe80::1%eth0", "fe80::1/64", "fe80::1%eth0/64"]
)
def test_an_ipv6_link_local_address_is_skipped_without_a_warning(address: str) -> None:
    result = parsed(vmi("db", interfaces={"nic1": ["10.0.0.1", address]}))
    assert addresses_of(result) == {"nic1": packed("10.0.0.1")}
    assert result.warnings == ()


def test_addresses_of_the_default_network_cause_no_warning() -> None:
    assert parsed(vmi("db", default_addresses=["127.0.0.1", "bad"])).warnings == ()


def test_warnings_are_limited() -> None:
    result = parsed(vmi("db", interfaces={"nic1": [f"bad{number}" for number in range(100)]}))
    assert len(result.warnings) == MAX_WARNINGS
    assert result.more_warnings == 100 - MAX_WARNINGS


def test_too_many_interfaces_are_cut_in_the_order_of_their_names() -> None:
    flood = {f"i{number:04}": [f"10.9.{number // 250}.{number % 250 + 1}"] for number in range(6000)}
    obj = vmi("db", interfaces=flood)
    result = parsed(obj)
    assert [item.name for item in result.interfaces] == sorted(flood)[:MAX_INTERFACES]
    assert set(result.networks) == frozenset(sorted(flood)[:MAX_INTERFACES])
    obj["status"]["interfaces"].reverse()
    assert parsed(obj) == result


def test_too_many_addresses_are_cut() -> None:
    many = {f"i{number}": [f"10.{number}.{k // 250}.{k % 250 + 1}" for k in range(3000)] for number in range(30)}
    result = parsed(vmi("db", interfaces=many))
    assert {len(item.addresses) for item in result.interfaces} == {MAX_ADDRESSES_OF_INTERFACE}
    assert sum(len(item.addresses) for item in result.interfaces) <= MAX_ADDRESSES


@pytest.mark.parametrize(
    "annotation",
    [
        pytest.param(", ".join(f"h{number}" for number in range(40_000)), id="names"),
        pytest.param("a," * 500_000, id="one-name-again-and-again"),
        pytest.param("," * 1_000_000, id="empty-names"),
        pytest.param("h" * 1_000_000, id="one-long-name"),
        pytest.param(",".join(["h" * 1000] * 5000), id="long-names"),
    ],
)
def test_too_many_hostnames_are_cut(annotation: str) -> None:
    result = parsed(vmi("db", annotations={"ksd-ddns/hostname": annotation}))
    assert len(result.hostnames) <= MAX_HOSTNAMES
    assert max(map(len, result.hostnames), default=0) <= 256
    assert sum(map(len, texts(result))) < 1000


def test_a_difference_past_the_limits_makes_no_difference() -> None:
    one = ["h"] * MAX_HOSTNAMES + ["one"]
    other = ["h"] * MAX_HOSTNAMES + ["other"]
    assert parsed(vmi("db", annotations={"ksd-ddns/hostname": ",".join(one)})) == parsed(
        vmi("db", annotations={"ksd-ddns/hostname": ",".join(other)})
    )


@pytest.mark.parametrize("state", ["absent", "up", "down", "", None])
def test_an_unplugged_interface_is_skipped_although_the_status_lists_it(state: str | None) -> None:
    obj = vmi("db", interfaces={"nic1": ["10.0.0.1"], "nic2": ["10.0.0.2"]})
    obj["spec"]["domain"] = {"devices": {"interfaces": [{"name": "nic1"}, {"name": "nic2", "state": state}, None]}}
    left = ["nic1"] if state == "absent" else ["nic1", "nic2"]
    result = parsed(obj)
    assert sorted(addresses_of(result)) == left
    assert set(result.networks) == frozenset(left)


def test_interfaces_are_in_the_order_of_their_records() -> None:
    names = ["net", "net-1", "net1", "net-", "NET", "n"]
    result = parsed(vmi("db", interfaces={name: ["10.0.0.1"] for name in names}))
    assert [item.name for item in result.interfaces] == ["NET", "n", "net-", "net-1", "net", "net1"]


@pytest.mark.parametrize(
    ("phase", "live"),
    [(phase, True) for phase in ("", "Pending", "Scheduling", "Scheduled", "Running", "WaitingForSync", "Unknown")]
    + [("Succeeded", False), ("Failed", False)],
)
def test_phases_decide_whether_a_vmi_is_published(phase: str, live: bool) -> None:
    assert parsed(vmi("db", phase=phase)).live is live


@pytest.mark.parametrize(
    ("created", "want"),
    [
        pytest.param("1970-01-01T00:00:01Z", 1, id="utc"),
        pytest.param("2026-03-01T08:00:00Z", 1772352000, id="as-the-api-writes-it"),
        pytest.param("2026-03-01T10:00:00+02:00", 1772352000, id="offset"),
        pytest.param("2026-03-01T08:00:00.999999Z", 1772352000, id="fraction"),
        pytest.param("2026-03-01T08:00:00.123456789Z", 1772352000, id="nanoseconds"),
        pytest.param("2026-03-01T08:00:00", 0, id="no-offset"),
        pytest.param("2026-02-30T08:00:00Z", 0, id="no-such-day"),
        pytest.param("yesterday", 0, id="words"),
        pytest.param("", 0, id="empty"),
        pytest.param("9" * 1000, 0, id="digits"),
    ],
)
def test_the_creation_time_is_parsed(created: str, want: int) -> None:
    assert parsed(vmi("db", created=created)).created == want


def test_the_creation_time_of_the_builder_is_parsed() -> None:
    assert parsed(vmi("db")).created > 0
    assert CREATED.endswith("Z")


@pytest.mark.parametrize(
    ("value", "ignored", "warns"),
    [
        pytest.param("true", True, False, id="true"),
        pytest.param(" True ", True, False, id="spaces-and-case"),
        pytest.param("false", False, False, id="false"),
        pytest.param("", False, False, id="empty"),
        pytest.param("yes", False, True, id="yes"),
        pytest.param("1", False, True, id="one"),
    ],
)
def test_the_ignore_annotation_is_parsed(value: str, ignored: bool, warns: bool) -> None:
    result = parsed(vmi("db", annotations={"ksd-ddns/ignore": value}))
    assert result.ignored is ignored
    assert any("ksd-ddns/ignore" in warning and value in warning for warning in texts(result)) is warns


@pytest.mark.parametrize(
    ("value", "ttl", "warns"),
    [
        pytest.param("5", 5, False, id="least"),
        pytest.param("86400", 86400, False, id="most"),
        pytest.param(" 30 ", 30, False, id="spaces"),
        pytest.param("", None, False, id="empty"),
        pytest.param("4", None, True, id="too-small"),
        pytest.param("86401", None, True, id="too-big"),
        pytest.param("-30", None, True, id="negative"),
        pytest.param("30s", None, True, id="unit"),
        pytest.param("1_000", None, True, id="underscore"),
        pytest.param("3e2", None, True, id="exponent"),
        pytest.param("\u0663\u0660", None, True, id="arabic-digits"),
        pytest.param("9" * 5000, None, True, id="five-thousand-digits"),
    ],
)
def test_the_ttl_annotation_is_parsed(value: str, ttl: int | None, warns: bool) -> None:
    result = parsed(vmi("db", annotations={"ksd-ddns/ttl": value}))
    assert result.ttl == ttl
    assert any("ksd-ddns/ttl" in warning and value[:20] in warning for warning in texts(result)) is warns


@pytest.mark.parametrize(
    ("value", "hostnames", "warns"),
    [
        pytest.param("db", ("db",), False, id="one"),
        pytest.param("db, web", ("db", "web"), False, id="two"),
        pytest.param(" db ,\tweb ", ("db", "web"), False, id="spaces"),
        pytest.param("web,db,web", ("web", "db"), False, id="twice"),
        pytest.param("", (), False, id="empty"),
        pytest.param("db,,web", ("db", "web"), True, id="empty-name"),
        pytest.param("db,", ("db",), True, id="comma-at-the-end"),
        pytest.param(",", (), True, id="comma-alone"),
        pytest.param("Not_Yet.Judged!", ("Not_Yet.Judged!",), False, id="judged-later"),
    ],
)
def test_the_hostname_annotation_is_parsed(value: str, hostnames: tuple[str, ...], warns: bool) -> None:
    result = parsed(vmi("db", annotations={"ksd-ddns/hostname": value}))
    assert result.hostnames == hostnames
    assert any("ksd-ddns/hostname" in warning for warning in texts(result)) is warns


def test_labels_are_those_of_the_object() -> None:
    obj = vmi("db", labels={"app": "db"})
    obj["metadata"]["labels"]["empty"] = None
    labels = msgspec.convert(obj, VmiObject).labels
    assert labels["app"] == "db"
    assert labels["empty"] == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def mapping(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=fields) | JSON


TEXT = st.text() | st.sampled_from(["10.0.0.1", "fd00::1/64", "fe80::1%x", "true", "30", CREATED, "nic1", "Failed"])
LIKE_A_VMI = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": TEXT},
            optional={
                "namespace": TEXT | JSON,
                "uid": TEXT | JSON,
                "creationTimestamp": TEXT | JSON,
                "labels": JSON,
                "annotations": mapping(**{"ksd-ddns/ignore": TEXT, "ksd-ddns/ttl": TEXT, "ksd-ddns/hostname": TEXT}),
            },
        )
    },
    optional={
        "spec": mapping(networks=st.lists(mapping(name=TEXT, pod=mapping(), multus=mapping(default=st.booleans())))),
        "status": mapping(
            phase=TEXT | JSON,
            interfaces=st.lists(mapping(name=TEXT, ipAddress=TEXT, ipAddresses=st.lists(TEXT | JSON))),
        ),
    },
)


@settings(max_examples=300)
@given(JSON | LIKE_A_VMI)
def test_any_object_parses_or_raises_a_validation_error(obj: object) -> None:
    try:
        typed = DECODER.decode(json.dumps(obj))
    except msgspec.ValidationError:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(obj, VmiObject)
        return
    result = parse(typed)
    assert result == parse(msgspec.convert(obj, VmiObject))
    assert result.name
    assert result.namespace
    for found in result.interfaces:
        assert found.name
        assert found.addresses
        assert len(set(found.addresses)) == len(found.addresses)
        assert {len(address) for address in found.addresses} <= {4, 16}
    names = [found.name for found in result.interfaces]
    assert names == sorted({*names}, key=by_record)
    assert all(warning.isprintable() for warning in texts(result))


MASK = 0xFFFFFFFF
EMBEDDING = [ip_network(block) for block in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")]


def unpublishable(address: Any) -> bool:
    never = address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified
    return never or (address.version == 4 and address.packed[0] in {0, *range(240, 256)})


@given(
    st.ip_addresses().filter(lambda address: address not in ip_network("64:ff9b:1::/48"))
    | st.builds(
        lambda block, inner: block[int(inner)],
        st.sampled_from(EMBEDDING),
        st.ip_addresses(v=4) | st.sampled_from(["127.0.0.1", "0.0.0.1", "240.0.0.1", "10.0.0.1"]).map(IPv4Address),
    )
)
def test_addresses_agree_with_ipaddress(address: Any) -> None:
    never = unpublishable(address) or getattr(address, "ipv4_mapped", None) is not None
    if address.version == 6:
        lowest = IPv4Address(int(address) & MASK)
        embedded = address.sixtofour or (lowest if any(address in block for block in EMBEDDING) else None)
        never = never or address.is_site_local or (embedded is not None and unpublishable(embedded))
    result = parsed(vmi("db", interfaces={"nic1": [str(address)]}))
    assert addresses_of(result) == ({} if never else {"nic1": (address.packed,)})
