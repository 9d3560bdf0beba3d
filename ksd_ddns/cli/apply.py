# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns apply`: update the zones once."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import msgspec

from ksd_ddns.cli import options, output, reverse_zones, settings, sources
from ksd_ddns.cli.output import OutputError
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.session import warn
from ksd_ddns.cli.text import print_diff, print_heading, print_json
from ksd_ddns.cli.zones import in_each_zone, one_pass, warn_about_vmis
from ksd_ddns.sync import reasons
from ksd_ddns.sync.one_pass import Report
from ksd_ddns.zone.plan import Kind, Plan
from ksd_ddns.zone.render import document, text
from ksd_ddns.zone.render.text import DiffLine, Sign

SHOWN = 20
"""Refused names shown per cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `apply`."""

    source: tuple[str, ...] = options.source_flag()
    output: str = options.output_flag("text", "json")
    force: bool = options.flag(
        "--force", default=False, action="store_true", help="ignore the deletion limit (MAX_DELETE_PERCENT=100)"
    )


def main(asked: Options) -> int:
    """Update each zone, and print the applied changes."""
    chosen = settings.load(asked, {"max_delete_percent": 100} if asked.force else None)
    with Steps() as step, closing(open_session(chosen)) as session:
        vmis = sources.vmis(chosen, asked.source, step)
        chosen, unfound = reverse_zones.found(sources.owning(chosen, asked.source), session, vmis, step)

        def update(base: bytes) -> Report:
            one = one_pass(chosen, session, base, vmis, step)
            try:
                return one.apply()
            finally:
                warn_about_vmis(one)

        reports, code = in_each_zone(chosen, update)
    code = code or unfound or int(not all(report.complete for report in reports))
    try:
        if asked.output == "json":
            print_json(map(_document, reports), exit_code=code)
        for report in reports:
            if asked.output == "text":
                print_heading(chosen, report.plan.zone)
                _print(report)
            if report.plan.blocked:
                warn(reasons.blocked_in(report.plan))
        output.flush()
    except OutputError as e:
        e.code = code  # the updates are in the zone, even if they could not be printed
        raise
    return code


def _applied(report: Report) -> Plan:
    """Return the plan with the changes that were applied."""
    return msgspec.structs.replace(report.plan, changes=tuple(report.applied))


def _document(report: Report) -> dict[str, object]:
    refused = (
        document.refused(cause=group.cause, count=group.count, first=group.names, reason=group.reason)
        for group in report.refusals()
    )
    return document.applied(_applied(report), refused)


def _print(report: Report) -> None:
    done = _applied(report)
    print_diff(text.plan(done))
    print_diff(DiffLine(Sign.NOT_DONE, line) for line in _refusals(report))
    output.line(
        f"Applied: {done.count(Kind.ADD)} added, {done.count(Kind.CHANGE)} changed, "
        f"{done.count(Kind.DELETE)} deleted, {len(report.refused)} refused, "
        f"{text.conflict_count(len(report.plan.conflicts))}. Serial {report.plan.serial}."
    )


def _refusals(report: Report) -> Iterator[str]:
    """Yield the lines of the refused names: how many and why, then the first of them."""
    for group in report.refusals():
        yield f"{group.count} {'name' if group.count == 1 else 'names'} refused: {group.reason}"
        yield from (f"  {name}" for name in group.names[:SHOWN])
        if group.count > SHOWN:
            yield f"  and {group.count - SHOWN} more"
