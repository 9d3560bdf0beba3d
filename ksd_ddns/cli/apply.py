"""`ksd-ddns apply`: update the zones once."""

from contextlib import closing
from dataclasses import dataclass

from ksd_ddns.cli import options, output, settings, sources
from ksd_ddns.cli.output import OutputError
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.session import warn
from ksd_ddns.cli.text import print_diff, print_heading
from ksd_ddns.cli.zones import in_each_zone, one_pass, warn_about_vmis
from ksd_ddns.sync import reasons
from ksd_ddns.sync.one_pass import Report
from ksd_ddns.zone.plan import Kind, Plan
from ksd_ddns.zone.render import text
from ksd_ddns.zone.render.text import DiffLine, Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `apply`."""

    source: tuple[str, ...] = options.source_flag()
    force: bool = options.flag(
        "--force", default=False, action="store_true", help="ignore the deletion limit (MAX_DELETE_PERCENT=100)"
    )


def main(asked: Options) -> int:
    """Update each zone, and print what was done."""
    chosen = settings.load(asked, {"max_delete_percent": 100} if asked.force else None)
    with Steps() as step, closing(open_session(chosen)) as session:
        vmis = sources.vmis(chosen, asked.source, step)
        chosen = sources.owning(chosen, asked.source)

        def update(base: bytes) -> Report:
            one = one_pass(chosen, session, base, vmis, step)
            try:
                return one.apply()
            finally:
                warn_about_vmis(one)

        reports, code = in_each_zone(chosen, update)
    code = code or int(not all(report.complete for report in reports))
    try:
        for report in reports:
            print_heading(chosen, report.plan.zone)
            _print(report)
        output.flush()
    except OutputError as e:
        e.code = code  # the updates are in the zone, even if they could not be printed
        raise
    return code


def _print(report: Report) -> None:
    done = Plan(report.plan.zone, report.plan.serial, tuple(report.applied), report.plan.conflicts, report.plan.blocked)
    print_diff(text.plan(done))
    print_diff(DiffLine(Sign.NOT_DONE, line) for line in report.refusals())
    if report.plan.blocked:
        warn(reasons.blocked_in(report.plan))
    output.line(
        f"Applied: {done.count(Kind.ADD)} added, {done.count(Kind.CHANGE)} changed, "
        f"{done.count(Kind.DELETE)} deleted, {len(report.refused)} refused, "
        f"{text.conflict_count(len(report.plan.conflicts))}. Serial {report.plan.serial}."
    )
