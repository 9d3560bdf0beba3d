# SPDX-License-Identifier: Apache-2.0
"""Explanations as JSON and as text."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from harness import vmis
from ksd_ddns.kubevirt.vmi import parse
from ksd_ddns.kubevirt.warning import AddressKind, Embedding
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.explain import AddressExplanation, NameExplanation, Skip, State, Viewpoint, ZoneFact, name_view
from ksd_ddns.zone.explain.model import CLAIMS
from ksd_ddns.zone.plan import ConflictCause
from ksd_ddns.zone.reconciler import Options
from ksd_ddns.zone.render import explained as documents
from ksd_ddns.zone.render import reasons
from ksd_ddns.zone.render.explain_text import Text
from ksd_ddns.zone.render.table import table
from tests.zone.build import a, ips, n, node, reverse_rules, txt_rules
from tests.zone.reconciler.model import REFUSED, Server, World
from tests.zone.test_explain import db, explained, obj_of, world

AT = Viewpoint(server="10.0.0.53:53", sends=True, hold_down=300.0)
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)

HOST_NAMES = (
    f"{'':57}10.0.0.53:53 refuses vlan_12.db.prod.vm.example. (REFUSED): the zone checks host names, and this name is "
    "not one"
)
HOST_NAMES_FIX = (
    f'{"":57}fix: add "check-names ignore;" to the zone (or "check-names primary ignore;" to its options), or rename '
    "the interface or hostname"
)


def clock(at: float) -> datetime:
    """Let 1000 s by the monotonic clock be noon."""
    return NOON + timedelta(seconds=at - 1000.0)


def varied() -> tuple[World, dict[str, Any]]:
    """Return a world with a VMI in many states, and the VMI."""
    server = Server(node("web.prod.vm.example.", a("10.9.9.9")))
    server.refuses = {n("vlan_12.db.prod.vm.example."): REFUSED}
    nics: dict[str, list[str] | None] = {"net1": ["10.1.0.9", "fe80::9"], "vlan_12": ["10.2.0.7"], "zz": ["10.3.0.4"]}
    fields: dict[str, Any] = {"annotations": {"ksd-ddns/hostname": "web, a b"}, "default": "default"}
    found = world(
        db(nics, **fields), server=server, rules=txt_rules(default_record=False), options=Options(hold_down=300.0)
    )
    raw = db({**nics, "zz": []}, **fields)
    found.now = 1060.0
    found.change(parse(obj_of(raw)))
    found.run(1.0)
    return found, raw


def text_of(width: int | None) -> list[str]:
    of, raw = varied()
    return list(Text(documents.vmi(explained(of, raw, at=AT), clock), zone=UTC, width=width).lines())


def test_the_text_of_a_vmi() -> None:
    assert text_of(None) == [
        "VM prod/db: Running, 2 of 4 names in DNS",
        "  warning: annotation ksd-ddns/hostname: 'a b' cannot be a DNS name",
        "",
        "INTERFACE  ADDRESS     RESULT",
        "net1       10.1.0.9    published: net1.db.prod.vm.example.",
        "           fe80::9     skipped: a link-local address is never published",
        "vlan_12    10.2.0.7    refused: vlan_12.db.prod.vm.example.",
        "zz         10.3.0.4    held until 12:06:00: zz.db.prod.vm.example.",
        "                       no address reported since 12:01:00",
        "default    10.244.1.7  skipped: default network (NETWORKS=all publishes it)",
        "",
        "NAME                         ZONE HOLDS  OWNER           STATE",
        "net1.db.prod.vm.example.     A 10.1.0.9  ours (prod/db)  published",
        "vlan_12.db.prod.vm.example.  nothing     -               refused since 12:00:00, next try 12:01:04",
        HOST_NAMES,
        HOST_NAMES_FIX,
        "zz.db.prod.vm.example.       A 10.3.0.4  ours (prod/db)  held since 12:01:00, until 12:06:00",
        f"{'':57}interface 'zz' reports no address: the last one stays for HOLD_DOWN",
        "web.prod.vm.example.         A 10.9.9.9  none            conflict",
        f"{'':57}it exists without our ownership record",
        f"{'':57}fix: delete the record, or choose another name: a free name is published within DRIFT_INTERVAL",
    ]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_text_fits_the_terminal(width: int) -> None:
    lines = text_of(width)
    heads = ("VM ", "INTERFACE", "NAME")
    table_rows = [line for line in lines if line[:1] not in {" ", ""} and not line.startswith(heads)]
    assert all(len(line) <= width for line in lines if line not in table_rows), lines
    # Only the place of words differs.
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(text_of(None)).split())


def test_a_table_wraps_details_in_its_last_column_or_below_the_row() -> None:
    rows = [[["a"], ["x", "y"], ["state", "word " * 20, "fix: " + "word " * 20]]]
    wide = list(table(("ONE", "TWO", "LAST"), rows, width=80))
    assert wide[:3] == [
        "ONE  TWO  LAST",
        "a    x    state",
        "     y    word word word word word word word word word word word word word word",
    ]
    assert wide[4].startswith("          fix: word")
    assert wide[5].startswith("               word")
    narrow = list(table(("ONE", "TWO", "LAST"), rows, width=60))
    assert narrow[1:4] == ["a    x    state", "     y", "    word word word word word word word word word word word"]
    assert all(len(line) <= 60 for line in narrow)


def test_a_table_is_aligned_with_the_escapes_of_control_characters() -> None:
    rows = [[["net\x1b[31m"], ["published"]], [["net1"], ["skipped"]]]
    assert list(table(("INTERFACE", "RESULT"), rows, width=None)) == [
        "INTERFACE    RESULT",
        r"net\x1b[31m  published",
        "net1         skipped",
    ]


def test_a_name_with_very_many_records_is_explained_in_brief() -> None:
    there = node("net1.db.prod.vm.example.", a(*(f"10.9.{number >> 8}.{number & 255}" for number in range(1000))))
    both = world(db(), server=Server(there))
    document = documents.name(name_view(both.reconciler, n("net1.db.prod.vm.example."), AT, both.now), clock)
    lines = list(Text(document, zone=UTC, width=None).lines())
    (holds,) = [line for line in lines if line.startswith("zone holds")]
    assert holds.endswith("; A 10.9.0.199; and 800 more")


def test_a_time_of_another_day_has_its_date() -> None:
    of, raw = varied()
    document = documents.vmi(explained(of, raw, at=AT), lambda at: clock(at) + timedelta(hours=11.98))
    text = "\n".join(Text(document, zone=UTC, width=None).lines())
    assert "held until 2026-11-26 00:04:48" in text
    assert "no address reported since 23:59:48" in text


def test_the_document_survives_json() -> None:
    of, raw = varied()
    for document in (
        documents.vmi(explained(of, raw, at=AT), clock),
        documents.vmi(explained(of, None, "prod/none", at=AT), clock),
        documents.name(name_view(of.reconciler, n("web.prod.vm.example."), AT, of.now), clock),
    ):
        assert msgspec.json.decode(documents.encoded(document), type=documents.Document) == document


def test_a_refusal_in_json() -> None:
    of, raw = varied()
    name = next(name for name in msgspec.to_builtins(documents.vmi(explained(of, raw, at=AT), clock))["vmi"]["names"]
                if name["state"] == "refused")  # fmt: skip
    chosen = {key: name[key] for key in ("cause", "rcode", "server", "since", "retry_at", "found", "ours")}
    assert chosen == {
        "cause": "host-name", "rcode": "REFUSED", "server": "10.0.0.53:53", "since": "2026-11-25T12:00:00Z",
        "retry_at": "2026-11-25T12:01:04Z", "found": [], "ours": False,
    }  # fmt: skip


def wanted_by(of: World, name: str) -> list[str]:
    """Return the lines about the VMIs that want a name."""
    document = documents.name(name_view(of.reconciler, n(name), AT, of.now), clock)
    lines = list(Text(document, zone=UTC, width=None).lines())
    first = next(number for number, line in enumerate(lines) if line.startswith("wanted by"))
    return [line[len("wanted by") :].strip() for line in lines[first:]]


def test_the_members_of_a_group_share_its_name() -> None:
    group = {"ksd-ddns/group": "web"}
    raws = [vmis.vmi(f"v{number}", "prod", {"net1": [f"10.1.0.{number}"]}, annotations=group) for number in (1, 2)]
    of = world(*raws)
    member = "(group, created 2026-03-01T08:00:00Z): published"
    assert wanted_by(of, "web.prod.vm.example.") == [f"prod/v1 {member}", f"prod/v2 {member}"]


def test_a_reverse_name_belongs_to_all_up_to_the_limit() -> None:
    raws = [vmis.vmi(f"v{number}", "prod", {"net1": ["10.1.0.9"]}) for number in (1, 2, 3)]
    server = Server(zone=n("10.in-addr.arpa."))
    created = "interface, created 2026-03-01T08:00:00Z"
    both = world(*raws[:2], server=server, rules=reverse_rules())
    assert wanted_by(both, "9.0.1.10.in-addr.arpa.") == [f"prod/v1 ({created})", f"prod/v2 ({created})"]
    over = world(*raws, server=server, rules=reverse_rules(max_rrset=2))
    assert wanted_by(over, "9.0.1.10.in-addr.arpa.")[:3] == [
        f"prod/v1 ({created}): comes first", f"prod/v2 ({created})", f"prod/v3 ({created}): does not get it"
    ]  # fmt: skip


def test_a_name_that_very_many_want_is_explained_in_brief() -> None:
    hostname = {"ksd-ddns/hostname": "web"}
    raws = [vmis.vmi(f"v{number:03}", "prod", annotations=hostname) for number in range(CLAIMS + 3)]
    of = World(Server())
    of.report(*(parse(obj_of(raw)) for raw in raws))
    of.step()
    lines = wanted_by(of, "web.prod.vm.example.")
    assert len(lines) == CLAIMS + 2
    assert lines[-2] == "and 3 more"
    last = next(name for name in explained(of, raws[-1], f"prod/v{CLAIMS + 2:03}", at=AT).names if name.conflict)
    assert (last.name, last.winner, last.claimed) == (n("web.prod.vm.example."), "prod/v000", CLAIMS + 3)


def test_a_name_that_two_vmis_want() -> None:
    hostname = {"ksd-ddns/hostname": "web"}
    old = vmis.vmi("old", "prod", created="2020-01-01T00:00:00Z", annotations=hostname)
    of = world(old, db(annotations=hostname))
    document = documents.name(name_view(of.reconciler, n("web.prod.vm.example."), AT, of.now), clock)
    assert list(Text(document, zone=UTC, width=None).lines()) == [
        "web.prod.vm.example.: published",
        "",
        "zone        example.",
        "zone holds  A 10.0.0.1",
        "wanted      A 10.0.0.1",
        "owner       ours (prod/old)",
        "wanted by   prod/old (annotation, created 2020-01-01T00:00:00Z): comes first",
        "            prod/db (annotation, created 2026-03-01T08:00:00Z): does not get it",
        "            order: interfaces, annotations, groups; then older VMIs first",
    ]


def test_the_records_of_the_zone_itself_have_no_vmi() -> None:
    rules = txt_rules(base=n("example."), name_server=ips("10.0.0.53"))
    assert wanted_by(world(db(), rules=rules), "ns.example.") == ["the zone's own records"]


def test_a_name_that_a_group_shares() -> None:
    member = {"ksd-ddns/group": "web"}
    old = vmis.vmi("old", "prod", created="2020-01-01T00:00:00Z", annotations=member)
    of = world(old, db(annotations=member))
    document = documents.name(name_view(of.reconciler, n("web.prod.vm.example."), AT, of.now), clock)
    wanted = [line for line in Text(document, zone=UTC, width=None).lines() if "(group" in line]
    assert wanted == [
        "wanted by   prod/old (group, created 2020-01-01T00:00:00Z): published",
        "            prod/db (group, created 2026-03-01T08:00:00Z): published",
    ]


@pytest.mark.parametrize("skip", [skip for skip in Skip if skip is not Skip.NEVER_PUBLISHED])
def test_each_rule_has_a_text(skip: Skip) -> None:
    row = AddressExplanation(address="10.0.0.1", state=State.SKIPPED, skip=skip, limit=7)
    advice = reasons.address(row)
    assert advice.problem
    assert "{" not in advice.problem
    limits = {Skip.MAX_ADDRESSES, Skip.MAX_NAMES, Skip.MAX_NAMES_PER_NAMESPACE, Skip.MAX_RRSET}
    assert ("7" in advice.problem) == (skip in limits)


def test_an_address_that_embeds_another_one_says_so() -> None:
    row = AddressExplanation(
        address="", state=State.SKIPPED, skip=Skip.NEVER_PUBLISHED, kind=AddressKind.LOOPBACK, embedding=Embedding.NAT64
    )
    assert reasons.address(row).problem == "the NAT64 form of a loopback address is never published"


@pytest.mark.parametrize(
    "state", [State.PENDING, State.MISSING, State.LEFTOVER, State.BLOCKED, State.UNKNOWN], ids=lambda state: state.value
)
def test_each_state_that_is_a_problem_has_a_text(state: State) -> None:
    name = NameExplanation(zone=b"\0", name=b"\0", state=state, wanted=Node(b"\0"), found=Node(b"\0"))
    fact = ZoneFact(zone=b"\0", base=b"\0", server="", owner="", serial=1, sent=True)
    assert reasons.name(name, fact).problem


def test_every_conflict_that_someone_can_end_has_a_remedy() -> None:
    without = {cause for cause in ConflictCause if cause not in reasons._CONFLICT_FIXES}
    # Their messages hold it.
    assert without == {ConflictCause.UNOWNED_EQUAL, ConflictCause.SEVERAL_OWNERS, ConflictCause.OUTSIDE_BASE}
