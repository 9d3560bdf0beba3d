"""Worlds to plan in: VMIs, rules, and a live zone where the same names hold anything at all, drawn by hypothesis."""

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
TTL = st.sampled_from([60, 300])


def sets(of: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(of), unique=True, max_size=2)


@st.composite
def contents(draw: st.DrawFn) -> tuple[RRset, ...]:
    """Draw what stands at a name: often addresses and texts, sometimes what rules them out, sometimes nothing."""
    kind = draw(st.sampled_from(["any", "any", "any", "any", "cname", "delegation", "dname", "nothing"]))
    if kind == "cname":
        return (cname("elsewhere.", draw(TTL)),)
    if kind == "delegation":
        return (ns("ns.elsewhere.", ttl=draw(TTL)),)
    found = [dname("elsewhere.", draw(TTL))] if kind == "dname" else []
    if kind == "any":
        v4, v6 = draw(sets(["10.0.0.1", "10.0.0.2"])), draw(sets(["fd00::1", "fd00::2"]))
        texts = draw(sets(TEXTS))
        found += [a(*v4, ttl=draw(TTL))] if v4 else []
        found += [aaaa(*v6, ttl=draw(TTL))] if v6 else []
        found += [txt(*texts, ttl=draw(TTL))] if texts else []
        found += [sshfp(draw(st.integers(1, 2)), draw(TTL))] if draw(st.booleans()) else []
    return tuple(sorted(found, key=lambda item: item.type))


VMIS = st.lists(
    st.builds(
        vmi,
        st.sampled_from(["a", "b", "a.b"]),
        interfaces=st.dictionaries(st.sampled_from(["net1", "a"]), st.sampled_from(ADDRESSES), max_size=2),
        created=st.integers(1, 2),
        hostnames=st.sampled_from([(), ("c",), ("www.example.", "x.vm.example.")]),
    ),
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
    vmis = draw(VMIS)
    wanted = desired(vmis, rules)
    names = [name for name in NAMES if name.endswith(apex)]
    nodes = {name: node(name, *draw(contents())) for name in draw(st.lists(st.sampled_from(names), unique=True))}
    for name in draw(st.lists(st.sampled_from(sorted(wanted.names())), unique=True)) if len(wanted) else []:
        nodes[name] = wanted.get(name) or Node(name)
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
