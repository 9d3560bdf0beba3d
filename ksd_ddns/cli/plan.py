"""`ksd-ddns plan`: show what `apply` would change, send nothing."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from ksd_ddns.cli import options, output, settings, sources
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.text import print_bold, print_diff, print_heading, print_json
from ksd_ddns.cli.zones import in_each_zone, one_pass, warn_about_vmis
from ksd_ddns.config import zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SettingsError
from ksd_ddns.primary.connection import Server
from ksd_ddns.zone.plan import Plan
from ksd_ddns.zone.render import document, nsupdate, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `plan`."""

    source: tuple[str, ...] = options.source_flag()
    output: str = options.output_flag("text", "json", "nsupdate")
    exit_code: bool = options.flag(
        "--exit-code", default=False, action="store_true", help="exit with 1 if there are changes"
    )
    undo: bool = options.flag(
        "--undo", default=False, action="store_true", help="with -o nsupdate: print the script that undoes the plan"
    )


def main(asked: Options) -> int:
    """Print the plan for each zone."""
    if asked.undo and asked.output != "nsupdate":
        raise SettingsError("--undo needs -o nsupdate: it prints a script that undoes the plan")
    chosen = settings.load(asked)
    with Steps() as step, closing(open_session(chosen)) as session:
        # VMIs first: bad input must not cost a request to the primary.
        vmis = sources.vmis(chosen, asked.source, step)
        chosen = sources.owning(chosen, asked.source)

        def make_plan(base: bytes) -> tuple[Plan, Server]:
            one = one_pass(chosen, session, base, vmis, step)
            found = one.plan()
            warn_about_vmis(one)
            return found, session.server

        plans, code = in_each_zone(chosen, make_plan)
    _print(chosen, asked, plans)
    return code or int(asked.exit_code and any(found.changes for found, _ in plans))


def _print(chosen: Settings, asked: Options, plans: Iterable[tuple[Plan, Server]]) -> None:
    """Print the plans, each with the server that its zone was read from."""
    if asked.output == "json":
        print_json(document.plan(found) for found, _ in plans)
        return
    for found, server in plans:
        if asked.output == "nsupdate":
            script = nsupdate.undo_script if asked.undo else nsupdate.script
            output.lines(script(found, zones.limits(chosen), server=server.host, port=server.port))
        else:
            print_heading(chosen, found.zone)
            print_diff(text.plan(found))
            print_bold(text.summary(found))
