# SPDX-License-Identifier: Apache-2.0
"""Reverse names and pointers against a model: addresses of any kind, changing VMIs, nested blocks."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import PTR, TXT
from ksd_ddns.zone.desired import Desired, Network, desired, reverse_zone
from ksd_ddns.zone.plan import full, owned_names
from tests.zone.build import OWNER, ip, live, mark, n, node, ptr, reverse_rules, scope, txt, vmi

ADDRESSES = st.ip_addresses().map(lambda address: address.packed)
LABELS = st.sampled_from(["0", "1", "10", "255", "256", "01", "a", "f", "g", "*", "in-addr", "ip6", "-1", "²", " "])


@given(ADDRESSES)
def test_reverse_names_agree_with_ipaddress_in_both_directions(address: bytes) -> None:
    name = names.reverse(address)
    assert name == n(ip_address(address).reverse_pointer)  # dnspython turns ::ffff:0:0/96 into IPv4
    assert names.reversed_address(name) == address
    assert reverse_zone(name).networks == (Network(address, 8 * len(address)),)
    with pytest.raises(ValueError, match="does not say which addresses"):
        reverse_zone(b"\x010" + name)


@given(ADDRESSES, st.integers(0, 128))
def test_the_block_of_an_address_contains_it(address: bytes, wanted: int) -> None:
    step = 8 if len(address) == 4 else 4
    prefix = min(wanted, 8 * len(address)) // step * step
    network = ip_network((address, prefix), strict=False)
    assert isinstance(network, IPv4Network | IPv6Network)
    block = names.reverse(network.network_address.packed, prefix)
    assert reverse_zone(block).networks == (Network(network.network_address.packed, prefix),)
    assert names.is_below(names.reverse(address), block)
    assert names.is_below(names.reverse(network[-1].packed), block)
    if prefix:
        outside = ip_address(int(network.network_address) ^ (1 << (8 * len(address) - prefix)))
        if outside.version == network.version:
            assert not names.is_below(names.reverse(outside.packed), block)


@given(st.lists(LABELS, max_size=34), st.sampled_from(["in-addr.arpa.", "ip6.arpa.", "example."]))
def test_a_reverse_name_has_one_address(found: list[str], above: str) -> None:
    try:
        name = names.from_labels([*(label.encode("latin-1") for label in found), *names.labels(n(above))])
    except ValueError:
        return
    address = names.reversed_address(name)
    assert address is None or names.reverse(address) == name


# Pointers of changing VMIs

VMIS = st.builds(
    vmi,
    st.sampled_from("abcd"),
    interfaces=st.dictionaries(
        st.sampled_from(["net1", "Net2", "*"]),
        st.lists(st.sampled_from(["10.1.0.1", "10.1.0.2", "10.2.0.1", "11.0.0.1", "2001:db8::1"]), unique=True),
        max_size=3,
    ),
    created=st.integers(1, 3),
    ttl=st.sampled_from([None, 5, 300]),
    ignored=st.sampled_from([False, False, False, True]),
    alive=st.sampled_from([True, True, True, False]),
)
BLOCK, INNER = n("10.in-addr.arpa."), n("1.10.in-addr.arpa.")


def model(vmis: list[Vmi], block: bytes, excluded: bytes) -> dict[bytes, set[bytes]]:
    """Return which names the reverse names point to, worked out address by address."""
    found: dict[bytes, set[bytes]] = {}
    for item in vmis:
        for interface in item.interfaces:
            if item.ignored or not item.live or interface.name == "*":
                continue
            for address in interface.addresses:
                name = names.reverse(address)
                if names.is_below(name, block) and not (excluded and names.is_below(name, excluded)):
                    target = n(f"{interface.name}.{item.name}.{item.namespace}.vm.example.")
                    found.setdefault(name, set()).add(target)
    return found


def content(of: Desired) -> dict[bytes, set[bytes]]:
    """Return which names the wanted reverse names point to."""
    found = {}
    for name in of.names():
        wanted = of.get(name)
        pointers = wanted.get(PTR) if wanted else None
        assert wanted is not None
        assert pointers is not None
        assert wanted.get(TXT) is not None
        found[name] = set(pointers.rdatas)
    return found


@given(
    st.lists(VMIS | st.sampled_from("abcd"), max_size=12), st.sampled_from([(BLOCK, b""), (BLOCK, INNER), (INNER, b"")])
)
def test_pointers_match_the_current_vmis(history: list[Vmi | str], blocks: tuple[bytes, bytes]) -> None:
    block, excluded = blocks
    rules = reverse_rules(zone=block, reverse=block, excluded=(excluded,) if excluded else ())
    found = Desired(rules)
    there: dict[str, Vmi] = {}
    for event in history:
        before = {name: found.get(name) for name in found.names()}
        key = f"prod/{event}" if isinstance(event, str) else event.key
        there.pop(key, None)
        if isinstance(event, str):
            touched = found.remove(key)
        else:
            touched = found.put(event)
            there[key] = event
        after = {name: found.get(name) for name in found.names()}
        assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} <= touched
    assert content(found) == model([*there.values()], block, excluded)
    again = desired(there.values(), rules)
    assert {name: found.get(name) for name in found.names()} == {name: again.get(name) for name in again.names()}


# Blocks inside of blocks


@pytest.mark.parametrize("owner", ["", OWNER])
def test_names_in_a_nested_block_are_never_owned(owner: str) -> None:
    outer = reverse_rules(owner=owner, excluded=(INNER,))
    one, two = n("1.0.1.10.in-addr.arpa."), n("1.0.2.10.in-addr.arpa.")
    texts = [txt(mark(""))] if owner else []
    zone = live(node(one, ptr("x."), *texts), node(two, ptr("x."), *texts), zone=BLOCK)
    ours = scope(outer, excluded=(INNER,))
    assert owned_names(zone, ours) == [two]
    plan = full(desired([vmi(interfaces={"net1": ["10.1.0.1"]})], outer), zone, ours)
    assert [change.name for change in plan.changes] == [two]
    assert ip("10.1.0.1") not in {names.reversed_address(change.name) for change in plan.changes}
