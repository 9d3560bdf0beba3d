# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns plan`: show what `apply` would change, send nothing."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from ksd_ddns.cli import options, output, reverse_zones, settings, sources
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.text import print_bold, print_diff, print_heading, print_json
from ksd_ddns.cli.zones import in_each_zone, one_pass, warn_about_vmis
from ksd_ddns.config import zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SettingsError
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.connection import Server
from ksd_ddns.sync.one_pass import OnePass
from ksd_ddns.zone.desired import Unpublished
from ksd_ddns.zone.plan import Plan
from ksd_ddns.zone.render import document, message, nsupdate, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `plan`."""

    source: tuple[str, ...] = options.source_flag()
    output: str = options.output_flag("text", "json", "nsupdate")
    exit_code: bool = options.flag(
        "--exit-code", default=False, action="store_true", help="exit with 1 if there are changes"
    )
    undo: bool = options.flag(
        "--undo", default=False, action="store_true", help="with -o nsupdate: print the undo script"
    )


def main(asked: Options) -> int:
    """Print the plan for each zone."""
    if asked.undo and asked.output != "nsupdate":
        raise SettingsError("--undo needs -o nsupdate: it prints a script that undoes the plan")
    chosen = settings.load(asked)
    with Steps() as step, closing(open_session(chosen)) as session:
        # VMIs first: with bad input, no request is sent to the primary.
        vmis = sources.vmis(chosen, asked.source, step)
        chosen, unfound = reverse_zones.found(sources.owning(chosen, asked.source), session, vmis, step)

        def make_plan(base: bytes) -> _Planned:
            one = one_pass(chosen, session, base, vmis, step)
            found = one.plan()
            warn_about_vmis(one)
            # VMI names are those below the base: the reverse zones only repeat their addresses.
            return _Planned(found, session.server, _unpublished(one, vmis) if base == chosen.base else {})

        plans, code = in_each_zone(chosen, make_plan)
    _print(chosen, asked, plans)
    if not vmis and not asked.source:
        _say_no_vmis(chosen)
    for item in plans:
        _say_unpublished(item.unpublished, of=len(vmis), verbose=asked.verbose)
    return code or unfound or int(asked.exit_code and any(item.plan.changes for item in plans))


class _Planned(NamedTuple):
    """A plan, the server that its zone was read from, and the VMIs that have nothing to publish."""

    plan: Plan
    server: Server
    unpublished: Mapping[str, Unpublished]


def _unpublished(one: OnePass, vmis: Iterable[Vmi]) -> dict[str, Unpublished]:
    wanted = one.reconciler.desired
    return {vmi.key: cause for vmi in vmis if (cause := wanted.unpublished(vmi)) is not None}


def _print(chosen: Settings, asked: Options, plans: Iterable[_Planned]) -> None:
    if asked.output == "json":
        print_json(
            {**document.plan(item.plan), "unpublished": document.unpublished(item.unpublished)} for item in plans
        )
        return
    for item in plans:
        found, server = item.plan, item.server
        if asked.output == "nsupdate":
            script = nsupdate.undo_script if asked.undo else nsupdate.script
            output.lines(script(found, zones.limits(chosen), server=server.host, port=server.port))
        else:
            print_heading(chosen, found.zone)
            print_diff(text.plan(found))
            print_bold(text.summary(found))


def _say_no_vmis(chosen: Settings) -> None:
    """Print to standard error that the cluster has no VMIs: a wrong setting looks the same as an empty cluster."""
    output.flush()  # as below
    selecting = [
        name
        for name, value in (("NAMESPACES", chosen.namespaces), ("LABEL_SELECTOR", str(chosen.label_selector)))
        if value
    ]
    where = (
        f" that match {' and '.join(selecting)} (ksd-ddns check shows whether there are others)" if selecting else ""
    )
    output.say(f"there are no VMIs{where}")


def _say_unpublished(found: Mapping[str, Unpublished], *, of: int, verbose: bool) -> None:
    """Print to standard error how many VMIs have nothing to publish; if `verbose`, also which and why."""
    if not found:
        return
    output.flush()  # the plan must come first if both streams are the same
    subject = f"{len(found)} of {of} VMIs {'has' if len(found) == 1 else 'have'} nothing to publish"
    output.say(f"{subject}:" if verbose else f"{subject} (-v shows why)")
    if verbose:
        output.say("\n".join(f"  {vmi}: {message.unpublished(cause)}" for vmi, cause in sorted(found.items())))
