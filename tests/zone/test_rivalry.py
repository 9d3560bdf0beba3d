# SPDX-License-Identifier: Apache-2.0
"""Signs of another controller with our owner ID."""

import pytest

from ksd_ddns.wire.rrset import RRset
from ksd_ddns.zone.plan import Change, Kind
from ksd_ddns.zone.rivalry import MAX_NAMES, Rivalry, is_undone
from tests.zone.build import a, mark, n, node, scope, sshfp, txt, txt_rules, zone_rules

NAME = n("net1.db.prod.vm.example.")
OTHER = n("net1.web.prod.vm.example.")
OURS = [a("10.1.0.9"), txt(mark())]


@pytest.mark.parametrize(
    ("times", "want"),
    [
        pytest.param([0.0], [False], id="once"),
        pytest.param([0.0, 1.0], [False, False], id="twice"),
        pytest.param([0.0, 1.0, 2.0], [False, False, True], id="three-times"),
        pytest.param([0.0, 1.0, 599.0], [False, False, True], id="within-ten-minutes"),
        pytest.param([0.0, 1.0, 600.0], [False, False, False], id="not-within-ten-minutes"),
        pytest.param([0.0, 400.0, 800.0, 900.0], [False, False, False, True], id="the-last-three-count"),
    ],
)
def test_a_name_that_is_reverted_repeatedly_is_contested(times: list[float], want: list[bool]) -> None:
    rivalry = Rivalry()
    assert [rivalry.note_undone(NAME, now) for now in times] == want
    assert rivalry.names(times[-1]) == ((NAME,) if want[-1] else ())


def test_each_name_is_counted_separately_and_a_contest_ends() -> None:
    rivalry = Rivalry(repeats=2, within=10.0)
    assert not rivalry.note_undone(NAME, 0.0)
    assert not rivalry.note_undone(OTHER, 1.0)
    assert rivalry.note_undone(NAME, 2.0)
    assert rivalry.note_undone(OTHER, 3.0)
    assert rivalry.names(3.0) == (NAME, OTHER)
    assert rivalry.names(10.5) == (OTHER,)
    assert rivalry.names(20.0) == ()


def test_the_number_of_stored_names_is_limited() -> None:
    rivalry = Rivalry(repeats=1)
    for number in range(2 * MAX_NAMES):
        rivalry.note_undone(b"%d" % number, float(number) / 1000)
    assert rivalry.names(2.0) == tuple(b"%d" % number for number in range(MAX_NAMES, 2 * MAX_NAMES))


@pytest.mark.parametrize(
    ("new", "kind", "found", "txt_mode", "zone_mode"),
    [
        pytest.param(OURS, Kind.ADD, OURS, False, False, id="stands"),
        pytest.param(OURS, Kind.ADD, [], True, True, id="gone"),
        pytest.param(OURS, Kind.CHANGE, [sshfp(), txt("foreign")], True, True, id="gone-next-to-others"),
        pytest.param(OURS, Kind.ADD, [a("10.9.9.9"), txt(mark())], False, False, id="edited-by-hand"),
        pytest.param(OURS, Kind.ADD, [a("10.1.0.9"), txt(mark("prod/x"))], True, False, id="of-another-vmi"),
        pytest.param(OURS, Kind.ADD, [a("10.1.0.9"), txt(mark(owner="other"))], True, False, id="of-another-owner"),
        pytest.param([], Kind.DELETE, [], False, False, id="deleted"),
        pytest.param([], Kind.DELETE, OURS, True, True, id="deleted-and-back"),
        pytest.param([], Kind.DELETE, [a("10.1.0.9"), txt(mark("prod/x"))], True, True, id="back-for-another-vmi"),
        pytest.param([], Kind.DELETE, [a("10.1.0.9")], False, True, id="somebody-elses-address"),
        pytest.param([sshfp()], Kind.DELETE, [sshfp(), txt("foreign")], False, False, id="types-that-are-not-ours"),
    ],
)
def test_a_reverted_change_is_recognized(
    new: list[RRset], kind: Kind, found: list[RRset], txt_mode: bool, zone_mode: bool
) -> None:
    change = Change(node(NAME), node(NAME, *new), kind)
    there = node(NAME, *found)
    assert is_undone(change, there, scope(txt_rules())) is txt_mode
    assert is_undone(change, there, scope(zone_rules())) is zone_mode
