# SPDX-License-Identifier: Apache-2.0
"""Zones with arbitrary octets in foreign records: our updates, and our scripts in nsupdate."""

from collections.abc import Callable
from contextlib import closing
from random import Random

import pytest

from harness.servers import Bind, Knot, Server
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import TXT, Node, rrset
from ksd_ddns.wire.txt import text_rdata
from ksd_ddns.zone.answer import Result
from ksd_ddns.zone.plan import Change, Kind, full
from ksd_ddns.zone.render import nsupdate
from ksd_ddns.zone.update import Limits
from tests.primary.zone_client import send_changes
from tests.zone.build import ZONE, a, mark, n, node, scope, txt_rules, wanted

RANDOM = Random(1)
LABELS = [
    b"a b", b"a;b", b'a"b', b"a\\b", b"a.b", b"a\nb", b"a\rb", b"\0\xff", b"$a", b"@", b"(a)", b"*", b"send", b"#",
    b"a\tb", b"%s", b"\\", *(RANDOM.randbytes(index) for index in range(1, 16)),
]  # fmt: skip
TEXTS = [
    b"\nsend\n", b'"\nupdate delete example. TXT\nsend\n"', b"\\", b'\\"', b"\r\n\r\n", b"", b"; no comment",
    b"$ORIGIN a.", b"(", b"@", b"x" * 255, *(RANDOM.randbytes(40) for _ in range(10)),
]  # fmt: skip
CANARY = n("canary.example.")


def hostile_nodes() -> list[Node]:
    """Return unwanted nodes with our ownership record, at odd names and next to odd texts."""
    ours = text_rdata(mark().encode())
    found = []
    for index, label in enumerate(LABELS):
        text = TEXTS[index % len(TEXTS)]
        texts = rrset(TXT, 60, [ours, bytes([len(text)]) + text])
        found.append(node(names.from_labels([label, b"example"]), a(f"10.0.0.{index + 1}"), texts))
    return found


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Bind(zones={"example.": ""}, options="check-names primary ignore;"), id="bind9"),
        pytest.param(lambda: Knot(zones={"example.": ""}), id="knot"),
    ],
)
@pytest.mark.parametrize("by_script", [True, False], ids=["script", "apply"])
def test_odd_octets_in_foreign_records_are_kept(make: Callable[[], Server], by_script: bool) -> None:
    nodes = hostile_nodes()
    with make() as server:
        session = Session([Peer(Address(server.address, server.port), keys.read_key_file(server.key_file))], timeout=10)
        with closing(session):
            added = [*nodes, node(CANARY, a("10.9.9.9"))]
            answers = send_changes(
                session, ZONE, [Change(Node(each.name), each, Kind.ADD) for each in added], Limits(names=7)
            )
            assert {answer.result for answer in answers} == {Result.ACCEPTED}
            plan = full(wanted(), session.read(ZONE), scope(txt_rules()))
            assert {change.old for change in plan.changes} == set(nodes)
            if by_script:
                lines = nsupdate.script(plan, Limits(names=7), server=server.address, port=server.port)
                update = server.knsupdate if isinstance(server, Knot) else server.nsupdate
                answer = update("\n".join(lines))
                assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
            else:
                answers = send_changes(session, ZONE, plan.changes, Limits(names=7))
                assert {answer.result for answer in answers} == {Result.ACCEPTED}
            after = session.read(ZONE)
    left = {change.name: change.new for change in plan.changes}
    assert {name: after.nodes[name] for name in after.nodes if name not in {ZONE, CANARY}} == left
    assert CANARY in after.nodes
    assert all(each.get(TXT) for each in left.values())
