# SPDX-License-Identifier: Apache-2.0
"""The page docs/reference/servers.md: written from results, and read back."""

from collections.abc import Iterable

from servers.outcome import Outcome, Report, Step, Verdict

_HEAD = """\
# Servers

<!-- Written by `make servers`, which runs the same script against each server. Do not edit it. -->

What works with which primary. `make servers` runs the same script against each server and writes this page. It tests
the servers on `PATH`, and in the directories in `SERVERS`.

```sh
make servers SERVERS="/opt/knot-3.5/sbin /opt/bind-9.20/sbin"
```

| column | `yes` means |
| --- | --- |
| check | `ksd-ddns check` reports no failure |
| add | a name with an IPv4 and an IPv6 address is added, and the primary answers both |
| change | an address of each family is replaced |
| TTL | the TTL of a name is changed |
| delete | the names are deleted |
| 300 names | 300 names are added, and then deleted |
| conflict | a name with records of others is reported, and its records are not changed |
| race | a record that another client adds between our read and our update is not changed |
| refused | a name that the server refuses is reported, and delays no other name |
| AXFR | the zone is transferred, signed |
| IXFR | after a change, only the change is transferred |
| NOTIFY | the server reports a change with a signed NOTIFY |
| GSS-TSIG | the steps work with a key negotiated with Kerberos |
| bundled | the configuration that `ksd-ddns bootstrap` writes works |

A dash means that the step does not apply.

"""
_NOTES = "\n## Notes\n\n| server | steps | note |\n| --- | --- | --- |\n"
_TABLE = f"| server | {' | '.join(Step)} |\n|{' --- |' * (1 + len(Step))}\n"


def text(results: Iterable[Report]) -> str:
    """Return the page."""
    found = sorted(results, key=lambda report: report.order)
    rows = [f"| {report.name} | {' | '.join(_cell(report, step) for step in Step)} |\n" for report in found]
    notes = [
        f"| {report.name} | {', '.join(steps)} | {note} |\n"
        for report in found
        for note, steps in _by_note(report).items()
    ]
    return f"{_HEAD}## Results\n\n{_TABLE}{''.join(rows)}{_NOTES if notes else ''}{''.join(notes)}"


def results(page: str) -> list[Report]:
    """Return the results on a page. Raises ValueError if `text` did not write it."""
    before, _, rest = page.partition(_TABLE)
    rows, _, notes = rest.partition(_NOTES)
    if before != f"{_HEAD}## Results\n\n":
        raise ValueError("the beginning of the page is not what the program writes")
    by_step = {
        (name, Step(step)): note for name, steps, note in map(_cells, notes.splitlines()) for step in steps.split(", ")
    }
    found = []
    for name, *verdicts in map(_cells, rows.splitlines()):
        outcomes = {
            step: Outcome(Verdict(verdict), by_step.pop((name, step), ""))
            for step, verdict in zip(Step, verdicts, strict=True)
        }
        found.append(Report(name, outcomes))
    if by_step:
        raise ValueError(f"notes without a row: {sorted(by_step)}")
    return found


def _by_note(report: Report) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in Step:
        if step in report.outcomes and report.outcomes[step].note:
            found.setdefault(report.outcomes[step].note, []).append(step)
    return found


def _cell(report: Report, step: Step) -> str:
    outcome = report.outcomes.get(step)
    return str(outcome.verdict if outcome else Verdict.NOT_APPLICABLE)


def _cells(row: str) -> list[str]:
    return row.removeprefix("| ").removesuffix(" |").split(" | ")
