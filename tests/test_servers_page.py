# SPDX-License-Identifier: Apache-2.0
"""docs/reference/servers.md, and the program that writes it."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from servers import page
from servers.outcome import Outcome, Report, Step, Verdict

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "servers.md"


def test_the_page_is_what_the_program_writes() -> None:
    written = PAGE.read_text(encoding="utf-8")
    found = page.results(written)
    assert page.text(found) == written
    assert {tested.name.split()[0] for tested in found} >= {"BIND", "Knot", "PowerDNS", "Samba", "YADIFA"}


def test_results_are_sorted_and_survive_the_page() -> None:
    yes, no = Outcome(Verdict.YES), Outcome(Verdict.NO, "no NOTIFY within 10 s")
    rest = dict.fromkeys(Step, Outcome(Verdict.NOT_APPLICABLE))
    results = [
        Report("Knot 3.10.1", {**rest, Step.ADD: yes, Step.NOTIFY: no, Step.IXFR: no}),
        Report("Knot 3.9", {**rest, Step.ADD: yes}),
        Report("BIND 9.18.1", {**rest, Step.ADD: no}),
    ]
    assert page.results(page.text(results)) == results[::-1]
    assert page.text(results[::-1]) == page.text(results)


@pytest.mark.parametrize("change", [("| check |", "| CHECK |"), ("| no |", "| maybe |"), ("| Knot 3.9 |", "| Knot |")])
def test_a_page_that_was_edited_by_hand_is_recognized(change: tuple[str, str]) -> None:
    no = Outcome(Verdict.NO, "a note")
    text = page.text([Report("Knot 3.9", dict.fromkeys(Step, no))])
    assert change[0] in text
    with pytest.raises(ValueError):  # noqa: PT011 - of an enum, or of the page
        page.results(text.replace(*change, 1))


def test_the_program_runs_the_script_against_a_server() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "servers", "--json", "--only", "Knot", "--step", "add", "--step", "conflict"],
        cwd=ROOT,
        capture_output=True,
        timeout=100,
        check=True,
    )
    (knot,) = msgspec.json.decode(done.stdout, type=list[Report])
    assert knot.name.startswith("Knot 3.")
    assert knot.outcomes == {Step.ADD: Outcome(Verdict.YES), Step.CONFLICT: Outcome(Verdict.YES)}
