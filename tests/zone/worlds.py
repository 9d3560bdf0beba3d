"""Worlds to plan in: VMIs, rules, and a live zone where the same names hold anything at all, drawn by hypothesis."""

from collections.abc import Iterator
from itertools import combinations, product

import msgspec
from hypothesis import strategies as st

from ksd_ddns.zone.desired import Desired, HostnameScope, Rules, apex_name_server, desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Policy, Scope
from ksd_ddns.zone.rrset import Node, RRset
from ksd_ddns.zone.vmi import Vmi
from tests.zone.build import (
    BASE,
    OWNER,
    ZONE,
    a,
    aaaa,
    cname,
    dname,
    ips,
    live,
    mark,
    n,
    node,
    ns,
    scope,
    sshfp,
    txt,
    txt_rules,
    vmi,
)

NAMES = [
    *(n(f"{text}.vm.example.") for text in (
        "a.prod", "b.prod", "a.b.prod", "net1.a.prod", "net1.b.prod", "c.prod", "old.prod", "*.prod", "prod", "ns", "x",
        "net1.a.b.prod",
    )),
    n("www.example."),
    n("vm.old.example."),
]  # fmt: skip
ADDRESSES = [["10.0.0.1"], ["10.0.0.2"], ["10.0.0.1", "10.0.0.2"], ["fd00::1"], ["10.0.0.1", "fd00::1"]]
TEXTS = [
    mark("prod/a"), mark("prod/b"), mark("prod/a.b"), mark("prod/a", more=",family=4"), mark("prod/c", more=",x=1"),
    mark("prod/a", owner="other"), mark(""), "foreign", "foreign too",
]  # fmt: skip
TEXT_SETS = [(), *combinations(TEXTS, 1), *combinations(TEXTS[:5] + TEXTS[6:8], 2)]


V4_SETS = [(), ("10.0.0.1",), ("10.0.0.2",), ("10.0.0.1", "10.0.0.2")]
V6_SETS = [(), ("fd00::1",)]


def _address_nodes() -> Iterator[tuple[RRset, ...]]:
    sshfps = [(), (sshfp(),)]
    for v4, v6, texts, ttl, text_ttl, others in product(V4_SETS, V6_SETS, TEXT_SETS, (60, 300), (60, 300), sshfps):
        addresses = [*([a(*v4, ttl=ttl)] if v4 else []), *([aaaa(*v6, ttl=ttl)] if v6 else [])]
        yield node("x.", *addresses, *([txt(*texts, ttl=text_ttl)] if texts else []), *others).rrsets


CONTENTS = st.sampled_from(list(dict.fromkeys(_address_nodes()))) | st.sampled_from(
    [(), (cname("elsewhere."),), (ns("ns.elsewhere."),), (sshfp(2),), (a("10.0.0.1"), dname("elsewhere."))]
)
"""What stands at a name: mostly addresses and texts, sometimes what rules them out, sometimes nothing."""


VMIS = st.lists(
    st.builds(
        vmi,
        st.sampled_from(["a", "b", "a.b"]),
        interfaces=st.dictionaries(st.sampled_from(["net1", "a"]), st.sampled_from(ADDRESSES), max_size=2),
        created=st.integers(1, 2),
        hostnames=st.sampled_from([(), ("c",), ("www.example.", "x.vm.example.")]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda item: item.key,
)


class World(msgspec.Struct):
    """All that a plan is made from."""

    rules: Rules
    vmis: list[Vmi]
    wanted: Desired
    zone: Live
    scope: Scope


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a world in one of the two ownership modes, its zone as another run left it, and others after that."""
    apex = draw(st.sampled_from([ZONE, BASE]))
    rules = txt_rules(
        zone=apex,
        owner=draw(st.sampled_from(["", OWNER])),
        hostname_scope=draw(st.sampled_from(HostnameScope)),
        default_record=draw(st.booleans()),
        name_server=draw(st.sampled_from([(), ips("192.0.2.53")])),
    )
    vmis = draw(VMIS | st.just([]))
    wanted = desired(vmis, rules)
    names = [name for name in NAMES if name.endswith(apex)]
    nodes = {name: node(name, *draw(CONTENTS)) for name in draw(st.lists(st.sampled_from(names), unique=True))}
    for name in sorted(wanted.names()):
        match draw(st.sampled_from(["free", "right", "anything", "anything", "anything"])):
            case "right":
                nodes[name] = wanted.get(name) or Node(name)
            case "anything":
                nodes[name] = node(name, *draw(CONTENTS))
    apex_ns = draw(st.sampled_from([ns("localhost."), ns("ns.elsewhere."), ns("localhost.", "a.elsewhere.", ttl=300)]))
    apex_more = draw(st.sampled_from([(), (a("192.0.2.1"),), (txt("foreign"), sshfp())]))
    nodes[apex] = node(apex, apex_ns, *apex_more)
    zone = live(*(item for item in nodes.values() if item.rrsets), zone=apex)
    bounds = scope(
        rules,
        policy=draw(st.sampled_from(Policy)),
        adopt=draw(st.booleans()),
        apex=apex_name_server(rules),
    )
    return World(rules, vmis, wanted, zone, bounds)
