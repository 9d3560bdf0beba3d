"""What each command does, from its options to its exit code."""

import shlex
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from socket import AF_INET, AF_INET6, SOCK_STREAM, getaddrinfo, inet_ntop
from typing import TypeVar

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from ksd_ddns import bootstrap
from ksd_ddns.cli import output, sources
from ksd_ddns.cli.arguments import Options
from ksd_ddns.cli.check import check
from ksd_ddns.cli.output import OutputError
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.session import warn
from ksd_ddns.config import settings
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import KsdError, PrimaryError, SettingsError
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.printable import printable
from ksd_ddns.sync import one_pass, reasons
from ksd_ddns.sync.one_pass import OnePass, Report
from ksd_ddns.wire import names
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.plan import Kind, Plan
from ksd_ddns.zone.render import document, message, nsupdate, text
from ksd_ddns.zone.render.text import DiffLine, Sign

_T = TypeVar("_T")

_PAUSE = 0.5
"""Seconds between two looks at a primary that is waited for."""

_STYLES = {
    Sign.ADD: Style.parse("green"),
    Sign.DELETE: Style.parse("red"),
    Sign.CHANGE: Style.parse("yellow"),
    Sign.NOT_DONE: Style.parse("magenta"),
}
_BOLD = Style.parse("bold")


def plan(options: Options) -> int:
    """Show the difference; send nothing."""
    chosen = settings.load(options.flags)
    with Steps() as step, closing(open_session(chosen)) as session:
        # The VMIs are read before the primary is asked anything: bad input costs nobody a question.
        vmis = sources.vmis(chosen, options.source, step)
        chosen = sources.owning(chosen, options.source)

        def planned(base: bytes) -> tuple[Plan, Server]:
            one = _one_pass(chosen, session, base, vmis, step)
            found = one.plan()
            _warn_about_vmis(one)
            return found, session.server

        plans, code = _in_each_zone(chosen, planned)
    _show(chosen, options.output, plans)
    return code or int(options.exit_code and any(found.changes for found, _ in plans))


def _show(chosen: Settings, form: str, plans: Iterable[tuple[Plan, Server]]) -> None:
    """Print the plans, each made of what a server holds."""
    if form == "json":
        _print_json(document.plan(found) for found, _ in plans)
        return
    for found, server in plans:
        if form == "nsupdate":
            lines = nsupdate.script(found, chosen.limits(), server=server.host, port=server.port)
            output.lines(lines)
        else:
            _print_heading(chosen, found.zone)
            _print_diff(text.plan(found))
            _print_bold(text.summary(found))


def apply(options: Options) -> int:
    """Send the plan, once."""
    chosen = settings.load(options.flags)
    with Steps() as step, closing(open_session(chosen)) as session:
        vmis = sources.vmis(chosen, options.source, step)
        chosen = sources.owning(chosen, options.source)

        def applied(base: bytes) -> Report:
            one = _one_pass(chosen, session, base, vmis, step)
            try:
                return one.apply()
            finally:
                _warn_about_vmis(one)

        reports, code = _in_each_zone(chosen, applied)
    code = code or int(not all(report.complete for report in reports))
    try:
        for report in reports:
            _print_heading(chosen, report.plan.zone)
            _print_report(report)
        output.flush()
    except OutputError as e:
        e.code = code  # what was sent is in the zone, whether it could be shown or not
        raise
    return code


def owned(options: Options) -> int:
    """Show the records that are ours in the zone now."""
    chosen = sources.owning(settings.load(options.flags), None)
    with Steps() as step, closing(open_session(chosen)) as session:

        def listed(base: bytes) -> Owned:
            one = _one_pass(chosen, session, base, (), step)
            return Owned(one.read(), one.reconciler.scope)

        zones, code = _in_each_zone(chosen, listed)
    if options.output == "json":
        _print_json(document.owned(zone) for zone in zones)
        return code
    for zone in zones:
        _print_heading(chosen, zone.live.zone)
        for name, vmi, item in zone.records():
            output.line(f"{names.to_text(name)} {text.rrset(item)} {vmi or '-'}")
    return code


def write_primary(options: Options) -> int:
    """Write key, zone and configuration of the bundled primary, or the configuration of its secondary."""
    chosen = settings.load(options.flags)
    if options.secondary_of:
        return _write_secondary(chosen, options)
    primary = bootstrap.BundledPrimary(
        server="knot" if options.server == "knot" else "bind9",
        directory=options.directory,
        base=names.to_text(chosen.base),
        reverse_zones=tuple(map(names.to_text, chosen.reverse_zones)),
        name_server_ips=tuple(_address_text(address) for address in chosen.name_server_ip),
        address=options.address,
        port=options.port,
        ttl=chosen.record_ttl,
        transfer_key=options.transfer_key,
    )
    _print_written(bootstrap.write(primary))
    try:
        output.line(f"start it with: {shlex.join(bootstrap.command(primary))}")
    except SettingsError as e:
        # The server may well be in another container, or be installed later.
        output.line(f"here it cannot be started: {e}")
    return 0


def _write_secondary(chosen: Settings, options: Options) -> int:
    if options.server != "bind9" or options.transfer_key is None:
        raise SettingsError("--secondary-of needs --server bind9, and --transfer-key with the key of the primary")
    primary = settings.server(options.secondary_of, 5353, where="--secondary-of")
    try:
        found = getaddrinfo(primary.host, primary.port, type=SOCK_STREAM)
    except OSError as e:
        raise SettingsError(f"--secondary-of = {options.secondary_of!r}: {primary.host} is not found: {e}") from e
    secondary = bootstrap.BundledSecondary(
        directory=options.directory,
        primaries=tuple(dict.fromkeys(str(item[4][0]) for item in found)),
        primary_port=primary.port,
        transfer_key=options.transfer_key,
        address=options.address,
        port=options.port,
    )
    _print_written(bootstrap.write_secondary(secondary))
    _await_catalog(secondary, options.secondary_of)
    return 0


def _await_catalog(secondary: bootstrap.BundledSecondary, primary: str) -> None:
    """Wait until a primary serves its zones: a BIND that finds none at its start asks after a minute, and later still.

    Says what it waits for, once each time that it is something else.
    """
    key = read_key_file(secondary.directory / bootstrap.TRANSFER_KEY_FILE)
    peers = [Peer(Server(ip, secondary.primary_port), key) for ip in secondary.primaries]
    said = ""
    while True:
        with closing(Session(peers, timeout=2.0)) as session:
            try:
                session.serial(names.from_text(bootstrap.CATALOG))
            except PrimaryError as e:
                if str(e) != said:
                    said = str(e)
                    output.line(f"waiting until {primary} serves its catalog: {said}")
                    output.flush()
            else:
                return
        time.sleep(_PAUSE)


def _print_written(files: Iterable[bootstrap.Written]) -> None:
    for file in files:
        output.line(f"{file.path}: {file.outcome.value}")


COMMANDS: dict[str, Callable[[Options], int]] = {
    "plan": plan,
    "apply": apply,
    "check": check,
    "list": owned,
    "bootstrap": write_primary,
}


def _in_each_zone(chosen: Settings, action: Callable[[bytes], _T]) -> tuple[list[_T], int]:
    """Return what `action` makes of each base, and the exit code: a zone that is broken holds up no other."""
    bases = chosen.bases()
    if len(bases) == 1:
        return [action(bases[0])], 0
    results, code = [], 0
    for base in bases:
        try:
            results.append(action(base))
        except KsdError as e:
            output.say(f"error: {names.to_text(base)}: {e}")
            code = max(code, e.exit_code)
    return results, code


def _one_pass(chosen: Settings, session: Session, base: bytes, vmis: Iterable[Vmi], step: Steps) -> OnePass:
    """Return the pass over the zone that holds `base`, with what the VMIs want in it."""
    zone = (chosen.zone if base == chosen.base else None) or one_pass.enclosing_zone(session, base)
    rules = chosen.rules(zone, base)
    if chosen.name_server_ip and base == chosen.base != zone:
        shown, apex = names.to_text(base), names.to_text(zone)
        warn(f"NAME_SERVER_IP is not published: {shown} is not the apex of {apex}, its NS would hide what is below it")
    return OnePass(
        session,
        vmis,
        zone=zone,
        rules=rules,
        scope=chosen.scope(rules),
        limits=chosen.limits(),
        max_delete_percent=chosen.max_delete_percent,
        step=step,
    )


def _warn_about_vmis(one: OnePass) -> None:
    for warning in one.reconciler.desired.warnings():
        warn(f"VMI {warning.vmi}: {message.warning(warning)}")


def _print_heading(chosen: Settings, zone: bytes) -> None:
    if len(chosen.bases()) > 1:
        _print_bold(f"Zone {names.to_text(zone)}")


def _print_report(report: Report) -> None:
    done = Plan(report.plan.zone, report.plan.serial, tuple(report.applied), report.plan.conflicts, report.plan.blocked)
    _print_diff(text.plan(done))
    _print_diff(DiffLine(Sign.NOT_DONE, line) for line in report.refusals())
    if report.plan.blocked:
        warn(reasons.blocked_in(report.plan))
    output.line(
        f"Applied: {done.count(Kind.ADD)} added, {done.count(Kind.CHANGE)} changed, "
        f"{done.count(Kind.DELETE)} deleted, {len(report.refused)} refused, "
        f"{text.conflict_count(len(report.plan.conflicts))}. Serial {report.plan.serial}."
    )


def _print_json(zones: Iterable[dict[str, object]]) -> None:
    output.document(document.document(zones))


def _print_diff(lines: Iterable[DiffLine]) -> None:
    """Print the lines of a diff, in the colours of their signs if the terminal has colours."""
    _print_styled((_STYLES[line.sign], str(line)) for line in lines)


def _print_bold(line: str) -> None:
    _print_styled([(_BOLD, line)])


def _print_styled(lines: Iterable[tuple[Style, str]]) -> None:
    console = Console()
    if not output.is_terminal() or console.color_system is None or console.no_color:
        output.lines(line for _, line in lines)
        return
    with output.stdout() as stream:
        # Rendered by hand: rich's own print would take a minute for a hundred thousand lines.
        for style, line in lines:
            stream.write(style.render(printable(line), color_system=ColorSystem.STANDARD) + "\n")


def _address_text(address: bytes) -> str:
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)
