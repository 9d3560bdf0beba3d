# SPDX-License-Identifier: Apache-2.0
"""Plans as text, as JSON, and as a script for nsupdate and knsupdate, for any zone."""

import json
import re
from itertools import pairwise
from random import Random
from typing import Any

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksd_ddns.kubevirt.warning import AddressKind, Embedding, VmiWarning, WarningCode, shortened
from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Statement
from ksd_ddns.wire.rrset import AAAA, ANY, CLASS_ANY, CLASS_NONE, CNAME, IN, PTR, SRV, TXT, A, Node, RRset, rrset
from ksd_ddns.wire.text import rdata_text, rdtype_text
from ksd_ddns.zone.plan import Change, Conflict, ConflictCause, Kind, Plan, full
from ksd_ddns.zone.render import document, message, nsupdate, text
from ksd_ddns.zone.update import Limits, batches
from tests.zone.build import (
    BASE,
    ZONE,
    a,
    aaaa,
    cname,
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
    wanted,
)
from tests.zone.worlds import World, worlds

NAME = "net1.db.prod.vm.example."
ADD, CHANGE, DELETE = Kind.ADD, Kind.CHANGE, Kind.DELETE
UNOWNED = ConflictCause.UNOWNED


def change(old: list[RRset], new: list[RRset], kind: Kind = CHANGE, name: str = NAME) -> Change:
    return Change(node(name, *old), node(name, *new), kind)


def plan(*changes: Change, conflicts: tuple[Conflict, ...] = (), blocked: tuple[Change, ...] = ()) -> Plan:
    return Plan(ZONE, 7, changes, conflicts, blocked, owned=20)


def lines(of: Plan) -> list[str]:
    return [*map(str, text.plan(of)), text.summary(of)]


# Text


@pytest.mark.parametrize(
    ("of", "want"),
    [
        pytest.param(change([a("10.1.0.9")], [a("10.1.0.12")]), [f"~ {NAME} 60 A 10.1.0.9 -> 10.1.0.12"], id="address"),
        pytest.param(change([a("10.1.0.9", ttl=5)], [a("10.1.0.9")]), [f"~ {NAME} 5 -> 60 A 10.1.0.9"], id="ttl"),
        pytest.param(change([a("10.1.0.9", ttl=5)], [a("10.1.0.12", "10.1.0.13")]),
                     [f"~ {NAME} 5 -> 60 A 10.1.0.9 -> 10.1.0.12, 10.1.0.13"], id="ttl-and-addresses"),
        pytest.param(change([], [a("10.1.0.9"), aaaa("fd00::1"), txt(mark())], ADD),
                     [f"+ {NAME} 60 A 10.1.0.9", f'+ {NAME} 60 TXT "{mark()}"', f"+ {NAME} 60 AAAA fd00::1"], id="new"),
        pytest.param(change([a("10.1.0.9"), sshfp(), txt(mark())], [sshfp()], DELETE),
                     [f"- {NAME} 60 A 10.1.0.9", f'- {NAME} 60 TXT "{mark()}"'], id="deleted"),
        pytest.param(change([ptr("a.")], [ptr("a.", "b.")]), [f"~ {NAME} 60 PTR a. -> a., b."], id="ptr"),
        pytest.param(change([ns("localhost.")], [ns("ns.vm.")]), [f"~ {NAME} 60 NS localhost. -> ns.vm."], id="ns"),
    ],
)  # fmt: skip
def test_a_change_reads_like_a_diff(of: Change, want: list[str]) -> None:
    counts = {kind: int(of.kind is kind) for kind in Kind}
    summary = f"Plan: {counts[ADD]} to add, {counts[CHANGE]} to change, {counts[DELETE]} to delete, 0 conflicts."
    assert lines(plan(of)) == [*want, summary]
    assert [line.sign for line in text.plan(plan(of))] == [line[0] for line in want]


def test_conflicts_and_blocked_deletions_are_rendered() -> None:
    conflict = Conflict(n(NAME), node(NAME, a("10.1.0.9")), node(NAME, a("10.1.0.1"), sshfp()), UNOWNED, "prod/db")
    nameless = Conflict(n(NAME), node(NAME, a("10.1.0.9")), node(NAME), UNOWNED)
    shown = plan(conflicts=(conflict, nameless), blocked=(change([a("10.0.0.1")], [], DELETE),))
    assert lines(shown) == [
        f"! {NAME} 60 A 10.0.0.1: blocked by the deletion limit",
        f"! {NAME} (VMI prod/db) conflict: it exists without our ownership record; found A 10.1.0.1; SSHFP",
        f"! {NAME} conflict: it exists without our ownership record; found nothing",
        "Plan: 0 to add, 0 to change, 0 to delete, 2 conflicts, 1 blocked.",
    ]
    assert text.summary(plan(conflicts=(conflict,))) == "Plan: 0 to add, 0 to change, 0 to delete, 1 conflict."


# Messages

DETAILS: dict[ConflictCause, tuple[dict[str, Any], str]] = {
    ConflictCause.UNOWNED: ({}, "it exists without our ownership record"),
    ConflictCause.UNOWNED_EQUAL: (
        {},
        "it exists with the wanted records, but without our ownership record: apply --adopt (ADOPT=true) takes it over",
    ),
    ConflictCause.OTHER_OWNER: (
        {"owner": "test", "owners": ("a", "b")},
        "it belongs to owner a, b (we are test): if that owner is gone, TAKE_OVER_FROM takes it over",
    ),
    ConflictCause.SEVERAL_OWNERS: (
        {"owner": "test", "owners": ("a",)}, "it has our ownership record and that of owner a: remove one of them",
    ),
    ConflictCause.OTHER_PROGRAM: ({}, "a TXT record says that another program owns it"),
    ConflictCause.HOSTNAME_FIRST: (
        {"winner": "prod/a"},
        "VMI prod/a has this name for a hostname, and hostnames beat groups",
    ),
    ConflictCause.OLDER_VMI: ({"winner": "prod/a"}, "VMI prod/a has this name, it was created first"),
    ConflictCause.INTERFACE_FIRST: (
        {"winner": "prod/a"}, "VMI prod/a has this name for an interface, and interfaces beat annotations",
    ),
    ConflictCause.ZONE_RECORD: ({}, "it is reserved for the zone's own records"),
    ConflictCause.CNAME: ({}, "a CNAME that is not ours exists there"),
    ConflictCause.DELEGATION: ({"ancestor": BASE}, "vm.example. is delegated to other name servers"),
    ConflictCause.DNAME: ({"ancestor": BASE}, "vm.example. is a DNAME, which hides all names below it"),
    ConflictCause.UNREADABLE: ({}, "the primary gives no usable answer about it"),
    ConflictCause.OUTSIDE_BASE: (
        {"ancestor": BASE}, "it is not below vm.example.: OWNERSHIP=zone owns nothing else, OWNERSHIP=txt does",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", ConflictCause)
def test_every_cause_of_a_conflict_has_a_message(cause: ConflictCause) -> None:
    details, want = DETAILS[cause]
    conflict = Conflict(n(NAME), node(NAME), node(NAME), cause, vmi="prod/db", **details)
    assert message.conflict(conflict) == want
    shown = document.conflict(conflict)
    assert (shown["cause"], shown["message"]) == (cause.value, want)
    assert {"owners", "winner", "ancestor"} & shown.keys() == details.keys() - {"owner"}


@pytest.mark.parametrize("code", WarningCode)
def test_every_warning_has_a_message_of_one_line(code: WarningCode) -> None:
    value = shortened("{limit}\n\x1b" + "x" * 1000)
    warning = VmiWarning(
        vmi="prod/db", code=code, interface=value, annotation="ksd-ddns/ttl", value=value, kind=AddressKind.LOOPBACK,
        embedding=Embedding.NAT64, limit=7, count=3, wanted=9,
    )  # fmt: skip
    shown = message.warning(warning)
    assert len(shown) < 350
    assert code is WarningCode.ILLEGAL_VMI_NAME or code is WarningCode.MAX_RRSET or shown.isprintable()


# Arbitrary zone contents, built in advance: hypothesis draws plans, not octets

RANDOM = Random(1)
LABELS = [b"vm", b"a.b", b";", b'"', b"\\", b"\n", b"send", b"*", *(RANDOM.randbytes(index) for index in range(1, 30))]
OWNERS = [BASE, *(names.from_labels([*RANDOM.sample(LABELS, 2), b"vm", b"example"]) for _ in range(60))]
TEXTS = [
    b"", b"\nsend\n", b'"\nupdate delete vm.example. ANY\n"', b"\\", b'\\"', b"\r\n\r\n", b";", b"$", b"x" * 255,
    *(RANDOM.randbytes(index) for index in range(40)),
]  # fmt: skip
STRINGS = [bytes([len(text)]) + text for text in TEXTS]
STRINGS += [one + other for one, other in pairwise(STRINGS)]


def sets(rdtype: int, rdatas: list[bytes]) -> list[RRset]:
    """Return RRsets of one to three of `rdatas`, each at least once."""
    found = [[rdata, *RANDOM.sample(rdatas, RANDOM.randint(0, 2))] for rdata in rdatas]
    return [rrset(rdtype, RANDOM.choice([0, 60, 2**31 - 1]), each) for each in found]


OURS = [
    sets(A, [RANDOM.randbytes(4) for _ in range(9)]),
    sets(AAAA, [bytes(16), bytes(10) + b"\xff\xff\1\2\3\4", *(RANDOM.randbytes(16) for _ in range(9))]),
    sets(TXT, STRINGS),
    sets(PTR, OWNERS),
]
FOREIGN = [sets(CNAME, OWNERS), *(sets(rdtype, [b"", b"\n", RANDOM.randbytes(30)]) for rdtype in (65280, 65281))]
OWNER = st.sampled_from(OWNERS)


def node_of(kinds: list[list[RRset]]) -> st.SearchStrategy[tuple[RRset, ...]]:
    found = st.tuples(*(st.none() | st.sampled_from(kind) for kind in kinds))
    return found.map(lambda rrsets: tuple(sorted((item for item in rrsets if item), key=lambda item: item.type)))


@st.composite
def hostile_changes(draw: st.DrawFn) -> Change:
    """Draw a change of our records next to foreign ones."""
    name, kept = draw(OWNER), draw(node_of(FOREIGN[1:]))
    old, new = draw(node_of(OURS)), draw(node_of(OURS))
    return Change(node(name, *old, *kept), node(name, *new, *kept), draw(st.sampled_from(Kind)))


@st.composite
def hostile_plans(draw: st.DrawFn) -> Plan:
    """Draw a plan for a zone with arbitrary foreign records."""
    conflicts = [
        Conflict(name, node(name, *draw(node_of(OURS[:2]))), node(name, *draw(node_of(OURS + FOREIGN))), UNOWNED, "p/v")
        for name in draw(st.lists(OWNER, max_size=2))
    ]
    changes, kept = draw(st.lists(hostile_changes(), max_size=3)), draw(st.lists(hostile_changes(), max_size=1))
    return Plan(BASE, draw(st.integers(0, 2**32 - 1)), tuple(changes), tuple(conflicts), tuple(kept))


@settings(max_examples=100)
@given(hostile_plans() | worlds().map(lambda world: full(world.wanted, world.zone, world.scope)))
def test_every_line_is_one_printable_line(of: Plan) -> None:
    for line in (*lines(of), *nsupdate.script(of, Limits(), server="127.0.0.1", port=53)):
        assert line.isprintable()
        assert line.isascii()
        assert line.strip()


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(mark(owner="\x1b[2J\n"), id="terminal-sequence"),
        pytest.param(mark(owner="\nsend\n"), id="newline"),
        pytest.param(mark(owner="\u202e"), id="right-to-left"),
        pytest.param("heritage=ksd-ddns,owner=\0", id="nul"),
    ],
)
def test_an_owner_of_another_ownership_record_cannot_break_the_line(record: str) -> None:
    found = live(node(NAME, a("10.9.9.9"), txt(record)))
    of = full(wanted(vmi()), found, scope(txt_rules()))
    assert len(of.conflicts) == 1
    assert all(line.isprintable() for line in lines(of))
    assert all(line.isprintable() for line in nsupdate.script(of, Limits(), server="a", port=1))
    assert shown_as_json(of)


def test_octets_that_are_not_text_give_valid_json() -> None:
    rdata = b"\x26heritage=ksd-ddns,owner=\xff\xfe,vmi=\xed\xa0\x80a"
    found = live(node(NAME, a("10.9.9.9"), RRset(TXT, 60, (rdata,))))
    of = full(wanted(vmi()), found, scope(txt_rules()))
    shown = shown_as_json(of)
    assert r"owner=\255\254" in shown["conflicts"][0]["found"][1]["values"][0]


# JSON


def shown_as_json(of: Plan) -> dict[str, Any]:
    (shown,) = json.loads(document.document([document.plan(of)]))["zones"]
    assert isinstance(shown, dict)
    return shown


def from_json(name: str, rrsets: list[dict[str, Any]]) -> Node:
    """Return the node in the JSON form, parsed by dnspython."""
    return node(
        dns.name.from_text(name).to_digestable(),
        *(rrset_of(item["type"], item["ttl"], item["values"]) for item in rrsets),
    )


def rrset_of(rdtype: str, ttl: int, values: list[str]) -> RRset:
    return rrset(int(dns.rdatatype.from_text(rdtype)), ttl, [rdata_of(rdtype, value) for value in values])


def rdata_of(rdtype: str, value: str) -> bytes:
    """Return the wire form of a presentation form, parsed by dnspython."""
    found = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(rdtype), value)
    wire = found.to_wire()
    assert wire is not None
    return wire


@settings(max_examples=70)
@given(hostile_plans())
def test_json_is_complete(of: Plan) -> None:
    shown = shown_as_json(of)
    assert shown["zone"] == "vm.example."
    assert shown["serial"] == of.serial
    for key, changes in (("changes", of.changes), ("blocked", of.blocked)):
        assert [
            Change(from_json(item["name"], item["old"]), from_json(item["name"], item["new"]), Kind(item["kind"]))
            for item in shown[key]
        ] == list(changes)
    assert [
        Conflict(
            dns.name.from_text(item["name"]).to_digestable(),
            from_json(item["name"], item["wanted"]),
            from_json(item["name"], item["found"]),
            ConflictCause(item["cause"]),
            item["vmi"],
        )
        for item in shown["conflicts"]
    ] == list(of.conflicts)


def test_a_small_plan_has_the_expected_json() -> None:
    conflict = Conflict(n(NAME), node(NAME, a("10.1.0.9")), node(NAME), UNOWNED, "prod/db")
    of = plan(change([a("10.1.0.9")], [a("10.1.0.12")]), conflicts=(conflict,), blocked=(change([txt("x")], []),))
    old, new = {"type": "A", "ttl": 60, "values": ["10.1.0.9"]}, {"type": "A", "ttl": 60, "values": ["10.1.0.12"]}
    assert shown_as_json(of) == {
        "zone": "example.",
        "serial": 7,
        "changes": [{"name": NAME, "kind": "change", "old": [old], "new": [new]}],
        "conflicts": [
            {
                "name": NAME,
                "vmi": "prod/db",
                "cause": "unowned",
                "message": "it exists without our ownership record",
                "wanted": [old],
                "found": [],
            }
        ],
        "blocked": [
            {"name": NAME, "kind": "change", "old": [{"type": "TXT", "ttl": 60, "values": ['"x"']}], "new": []}
        ],
        "summary": {"add": 0, "change": 1, "delete": 0, "conflicts": 1, "blocked": 1, "owned": 20},
    }


# The script

LINE = re.compile(
    r"prereq (?P<nx>nxdomain|nxrrset|yxrrset) (?P<subject>\S+)(?: (?P<type>\S+))?(?: (?P<value>.+))?"
    r"|update delete (?P<gone>\S+) (?P<gone_type>\S+)(?: (?P<gone_value>.+))?"
    r"|update add (?P<come>\S+) (?P<ttl>\d+) (?P<come_type>\S+) (?P<come_value>.+)"
)


def statement(line: str) -> Statement:
    """Return the statement in a line of a script, with names and rdata parsed by dnspython."""
    match = LINE.fullmatch(line)
    assert match, line
    owner = dns.name.from_text(match["subject"] or match["gone"] or match["come"], origin=None)
    assert owner.is_absolute()
    name = owner.to_digestable()
    rdtype = match["type"] or match["gone_type"] or match["come_type"]
    number = int(dns.rdatatype.from_text(rdtype)) if rdtype else ANY
    if match["come"]:
        return (name, number, IN, int(match["ttl"]), rdata_of(rdtype, match["come_value"]))
    if match["gone"]:
        value = match["gone_value"]
        return (name, number, CLASS_NONE, 0, rdata_of(rdtype, value)) if value else (name, number, CLASS_ANY, 0, b"")
    if match["nx"] == "yxrrset":
        return (name, number, IN, 0, rdata_of(rdtype, match["value"]))
    assert match["value"] is None
    assert (match["nx"] == "nxdomain") is (number == ANY)
    return (name, number, CLASS_NONE, 0, b"")


Messages = list[tuple[tuple[Statement, ...], tuple[Statement, ...]]]


def messages(script: list[str], zone: str) -> Messages:
    """Return the messages that a script sends."""
    commands = [line for line in script if not line.startswith(";")]
    if not commands:
        return []
    assert commands[0] == "server 127.0.0.1 5353"
    found: Messages = []
    before: list[Statement] = []
    after: list[Statement] = []
    expecting_zone = True
    for line in commands[1:]:
        if expecting_zone:
            assert line == f"zone {zone}"
            expecting_zone = False
        elif line == "send":
            found.append((tuple(before), tuple(after)))
            before, after, expecting_zone = [], [], True
        else:
            (before if line.startswith("prereq") else after).append(statement(line))
    assert expecting_zone, "the last message is not sent"
    return found


@settings(max_examples=80)
@given(hostile_plans(), st.integers(1, 3))
def test_the_script_sends_what_apply_sends_for_any_zone(of: Plan, size: int) -> None:
    script = list(nsupdate.script(of, Limits(names=size), server="127.0.0.1", port=5353))
    want = [(batch.prerequisites, batch.updates) for batch in batches(of.changes, Limits(names=size))]
    assert messages(script, "vm.example.") == want


@settings(max_examples=70)
@given(worlds())
def test_the_script_of_a_plan_sends_what_apply_sends(world: World) -> None:
    of = full(world.wanted, world.zone, world.scope)
    script = list(nsupdate.script(of, Limits(names=2), server="127.0.0.1", port=5353))
    # Old names of moves are sent when the rest is in DNS.
    parts = [batch for step in of.steps() for batch in batches(step, Limits(names=2))]
    want = [(batch.prerequisites, batch.updates) for batch in parts]
    assert messages(script, names.to_text(of.zone)) == want


def test_a_small_plan_has_the_expected_script() -> None:
    conflict = Conflict(n("web.vm.example."), node(NAME), node(NAME, cname("a.")), UNOWNED, "prod/web")
    of = plan(
        change([], [a("10.1.0.9"), txt(mark())], ADD, "a.vm.example."),
        change([a("10.1.0.1"), sshfp(), txt("foreign", mark())], [sshfp(), txt("foreign")], DELETE, "b.vm.example."),
        change([a("10.1.0.1")], [a("10.1.0.1", ttl=5)], CHANGE, "c.vm.example."),
        conflicts=(conflict,),
        blocked=(change([a("10.1.0.1")], [], DELETE, "d.vm.example."),),
    )
    assert list(nsupdate.script(of, Limits(names=2), server="10.0.0.53", port=5353)) == [
        "; zone example. as of serial 7. Plan: 1 to add, 1 to change, 1 to delete, 1 conflict, 1 blocked.",
        "; ! web.vm.example. (VMI prod/web) conflict: it exists without our ownership record; found CNAME a.",
        "; blocked by the deletion limit: d.vm.example.",
        "server 10.0.0.53 5353",
        "zone example.",
        "prereq nxdomain a.vm.example.",
        "prereq yxrrset b.vm.example. A 10.1.0.1",
        'prereq yxrrset b.vm.example. TXT "foreign"',
        f'prereq yxrrset b.vm.example. TXT "{mark()}"',
        "prereq nxrrset b.vm.example. AAAA",
        "update add a.vm.example. 60 A 10.1.0.9",
        f'update add a.vm.example. 60 TXT "{mark()}"',
        "update delete b.vm.example. A 10.1.0.1",
        f'update delete b.vm.example. TXT "{mark()}"',
        "send",
        "zone example.",
        "prereq yxrrset c.vm.example. A 10.1.0.1",
        "prereq nxrrset c.vm.example. TXT",
        "prereq nxrrset c.vm.example. AAAA",
        "update delete c.vm.example. A 10.1.0.1",
        "update add c.vm.example. 5 A 10.1.0.1",
        "send",
    ]


def test_a_script_without_changes_is_a_comment() -> None:
    (line,) = nsupdate.script(plan(), Limits(), server="10.0.0.53", port=5353)
    assert line.startswith("; ")


@pytest.mark.parametrize(
    ("of", "warned"),
    [
        pytest.param(change([], [a("10.1.0.9")], ADD, "net_1.vm.example."), True, id="underscore"),
        pytest.param(change([], [a("10.1.0.9")], ADD, "nic-.vm.example."), True, id="edge-hyphen"),
        pytest.param(change([], [a("10.1.0.9")], ADD, NAME), False, id="host-name"),
        pytest.param(change([a("10.1.0.9")], [], DELETE, "net_1.vm.example."), False, id="only-deleted"),
        pytest.param(change([], [txt("x")], ADD, "net_1.vm.example."), False, id="only-text"),
    ],
)
def test_names_that_nsupdate_refuses_come_with_the_remedy(of: Change, warned: bool) -> None:
    script = list(nsupdate.script(plan(of), Limits(), server="10.0.0.53", port=5353))
    assert any("check-names no" in line for line in script) is warned
    assert not any(line.startswith("check-names") for line in script)


# Presentation forms


SERVICES = sets(SRV, [RANDOM.randbytes(6) + owner for owner in OWNERS])


@pytest.mark.parametrize(
    "kind",
    [*OURS, *FOREIGN, SERVICES],
    ids=["A", "AAAA", "TXT", "PTR", "CNAME", "TYPE65280", "TYPE65281", "SRV"],
)
def test_rdata_agrees_with_dnspython(kind: list[RRset]) -> None:
    for of in kind:
        rdtype = rdtype_text(of.type)
        assert dns.rdatatype.from_text(rdtype) == of.type
        for rdata in of.rdatas:
            assert rdata_of(rdtype, rdata_text(of.type, rdata)) == rdata


def test_types_are_shown_by_name() -> None:
    named = [rdtype for rdtype in range(300) if not rdtype_text(rdtype).startswith("TYPE")]
    assert len(named) > 20
    assert [rdtype_text(rdtype) for rdtype in named] == [
        dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype)) for rdtype in named
    ]


@pytest.mark.parametrize("rdtype", [A, AAAA])
@pytest.mark.parametrize("length", [0, 3, 5, 17])
def test_an_address_of_invalid_length_is_shown_in_generic_format(rdtype: int, length: int) -> None:
    want = f"\\# {length} {'07' * length}" if length else "\\# 0"
    assert rdata_text(rdtype, bytes([7]) * length) == want
