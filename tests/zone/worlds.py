# SPDX-License-Identifier: Apache-2.0
"""Inputs of a plan, drawn by hypothesis: VMIs, rules, and a live zone with arbitrary records at the same names."""

from collections.abc import Iterator
from itertools import combinations, product

import msgspec
from hypothesis import strategies as st

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire.rrset import Node, RRset
from ksd_ddns.zone.desired import Desired, HostnameScope, Rules, apex_name_server, desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Policy, Scope
from tests.zone.build import (
    BASE,
    OWNER,
    REVERSE,
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
    ptr,
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
REVERSE_NAMES = [n(f"{text}.10.in-addr.arpa.") for text in ("1.0.0", "2.0.0", "3.0.0", "*.0.0", "0.0", "www")]
V4_SETS = [(), ("10.0.0.1",), ("10.0.0.2",), ("10.0.0.1", "10.0.0.2")]
V6_SETS = [(), ("fd00::1",)]
PTR_SETS = [(), ("net1.a.prod.vm.example.",), ("a.b.prod.vm.example.",), ("net1.a.prod.vm.example.", "www.example.")]
TTLS = (60, 300)


def _addresses() -> Iterator[list[RRset]]:
    for v4, v6, ttl in product(V4_SETS, V6_SETS, TTLS):
        yield [*([a(*v4, ttl=ttl)] if v4 else []), *([aaaa(*v6, ttl=ttl)] if v6 else [])]


def _pointers() -> Iterator[list[RRset]]:
    for targets, ttl in product(PTR_SETS, TTLS):
        yield [ptr(*targets, ttl=ttl)] if targets else []


def _contents(published: Iterator[list[RRset]]) -> st.SearchStrategy[tuple[RRset, ...]]:
    found: dict[tuple[RRset, ...], None] = {}
    for sets, texts, ttl, others in product(list(published), TEXT_SETS, TTLS, [(), (sshfp(),)]):
        found[node("x.", *sets, *([txt(*texts, ttl=ttl)] if texts else []), *others).rrsets] = None
    return st.sampled_from(list(found)) | st.sampled_from(
        [(), (cname("elsewhere."),), (ns("ns.elsewhere."),), (sshfp(2),), (a("10.0.0.1"), dname("elsewhere."))]
    )


CONTENTS, REVERSE_CONTENTS = _contents(_addresses()), _contents(_pointers())
"""What stands at a name: mostly what is published and texts, sometimes what rules them out, sometimes nothing."""


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
    """All inputs of a plan."""

    rules: Rules
    vmis: list[Vmi]
    wanted: Desired
    zone: Live
    scope: Scope

    @property
    def contents(self) -> st.SearchStrategy[tuple[RRset, ...]]:
        """What may stand at a name of this zone."""
        return REVERSE_CONTENTS if self.rules.reverse else CONTENTS


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a world in one of the two ownership modes: a zone after an earlier run, with foreign changes."""
    apex = draw(st.sampled_from([ZONE, BASE, REVERSE]))
    rules = txt_rules(
        zone=apex,
        reverse=REVERSE if apex == REVERSE else b"",
        owner=draw(st.sampled_from(["", OWNER])),
        hostname_scope=draw(st.sampled_from(HostnameScope)),
        default_record=draw(st.booleans()),
        name_server=draw(st.sampled_from([(), ips("192.0.2.53")])),
    )
    vmis = draw(VMIS | st.just([]))
    wanted = desired(vmis, rules)
    names = [name for name in NAMES + REVERSE_NAMES if name.endswith(apex)]
    contents = REVERSE_CONTENTS if rules.reverse else CONTENTS
    nodes = {name: node(name, *draw(contents)) for name in draw(st.lists(st.sampled_from(names), unique=True))}
    for name in sorted(wanted.names()):
        match draw(st.sampled_from(["free", "right", "anything", "anything", "anything"])):
            case "right":
                nodes[name] = wanted.get(name) or Node(name)
            case "anything":
                nodes[name] = node(name, *draw(contents))
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
