"""What each command does, from its options to its exit code."""

import shlex
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from socket import AF_INET, AF_INET6, SOCK_STREAM, getaddrinfo, inet_ntop
from typing import TypeVar

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from ksd_ddns import bootstrap, reconcile, settings
from ksd_ddns.cli import sources
from ksd_ddns.cli.arguments import Options
from ksd_ddns.cli.check import check
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.session import warn
from ksd_ddns.errors import KsdError, PrimaryError, SettingsError
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.reconcile import Keeper, Report
from ksd_ddns.settings import Settings
from ksd_ddns.zone import names, render
from ksd_ddns.zone.desired import desired
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.plan import Kind, Plan
from ksd_ddns.zone.vmi import Vmi

_T = TypeVar("_T")

_PAUSE = 0.5
"""Seconds between two looks at a primary that is waited for."""

_STYLES = {
    "+": Style.parse("green"),
    "-": Style.parse("red"),
    "~": Style.parse("yellow"),
    "!": Style.parse("magenta"),
}
_PLAIN = Style.parse("bold")


def plan(options: Options) -> int:
    """Show the difference; send nothing."""
    chosen = settings.load(options.flags)
    with Steps() as step, closing(open_session(chosen)) as session:
        # The VMIs are read before the primary is asked anything: bad input costs nobody a question.
        vmis = sources.vmis(chosen, options.source, step)
        chosen = sources.owning(chosen, options.source)

        def planned(base: bytes) -> tuple[Plan, Server]:
            keeper = _keeper(chosen, session, base, vmis, step)
            reconcile.read(keeper)
            return keeper.full(max_withdraw_percent=chosen.max_withdraw_percent), session.server

        plans, code = _in_each_zone(chosen, planned)
    _show(chosen, options.output, plans)
    return code or int(options.exit_code and any(found.changes for found, _ in plans))


def _show(chosen: Settings, form: str, plans: Iterable[tuple[Plan, Server]]) -> None:
    """Print the plans, each made of what a server holds."""
    if form == "json":
        _print_json(render.as_json(found) for found, _ in plans)
        return
    for found, server in plans:
        if form == "nsupdate":
            lines = render.nsupdate(found, chosen.limits(), server=server.host, port=server.port)
            sys.stdout.writelines(line + "\n" for line in lines)
        else:
            _print_heading(chosen, found.zone)
            _print_lines(render.text(found))


def apply(options: Options) -> int:
    """Send the plan, once."""
    chosen = settings.load(options.flags)
    with Steps() as step, closing(open_session(chosen)) as session:
        vmis = sources.vmis(chosen, options.source, step)
        chosen = sources.owning(chosen, options.source)

        def applied(base: bytes) -> Report:
            keeper = _keeper(chosen, session, base, vmis, step)
            return reconcile.apply(keeper, max_withdraw_percent=chosen.max_withdraw_percent)

        reports, code = _in_each_zone(chosen, applied)
    for report in reports:
        _print_heading(chosen, report.plan.zone)
        _print_report(report)
    return code or int(not all(report.complete for report in reports))


def owned(options: Options) -> int:
    """Show the records that are ours in the zone now."""
    chosen = sources.owning(settings.load(options.flags), None)
    with Steps() as step, closing(open_session(chosen)) as session:

        def listed(base: bytes) -> Owned:
            keeper = _keeper(chosen, session, base, (), step)
            reconcile.read(keeper)
            return Owned(keeper.live, chosen.scope(chosen.rules(keeper.zone, base)))

        zones, code = _in_each_zone(chosen, listed)
    if options.output == "json":
        _print_json(zone.as_json() for zone in zones)
        return code
    for zone in zones:
        _print_heading(chosen, zone.live.zone)
        for name, vmi, item in zone.records():
            print(names.to_text(name), render.rrset_text(item), vmi or "-")
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
        print("start it with:", shlex.join(bootstrap.command(primary)))
    except SettingsError as e:
        # The server may well be in another container, or be installed later.
        print("here it cannot be started:", e)
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
                    print(f"waiting until {primary} serves its catalog: {said}", flush=True)
            else:
                return
        time.sleep(_PAUSE)


def _print_written(files: Iterable[bootstrap.Written]) -> None:
    for file in files:
        print(f"{file.path}: {file.outcome.value}")


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
            print(f"error: {names.to_text(base)}: {e}", file=sys.stderr)
            code = max(code, e.exit_code)
    return results, code


def _keeper(chosen: Settings, session: Session, base: bytes, vmis: Iterable[Vmi], step: Steps) -> Keeper:
    """Return the keeper of the zone that holds `base`, and of what the VMIs want in it."""
    zone = (chosen.zone if base == chosen.base else None) or reconcile.enclosing_zone(session, base)
    rules = chosen.rules(zone, base)
    if chosen.name_server_ip and base == chosen.base != zone:
        shown, apex = names.to_text(base), names.to_text(zone)
        warn(f"NAME_SERVER_IP is not published: {shown} is not the apex of {apex}, its NS would hide what is below it")
    wanted = desired(vmis, rules)
    for notice in wanted.notices():
        warn(f"VMI {notice.vmi}: {notice.text}")
    return Keeper(session, wanted, chosen.scope(rules), zone=zone, limits=chosen.limits(), step=step)


def _print_heading(chosen: Settings, zone: bytes) -> None:
    if len(chosen.bases()) > 1:
        _print_lines([(" ", f"Zone {names.to_text(zone)}")])


def _print_report(report: Report) -> None:
    done = Plan(
        report.plan.zone, report.plan.serial, tuple(report.applied), report.plan.conflicts, report.plan.kept_back
    )
    lines = [line for line in render.text(done) if not line[1].startswith("Plan: ")]
    _print_lines(lines)
    for outcome in report.refused:
        _print_lines([("!", f"! {names.to_text(outcome.change.name)} refused: {outcome.reason}")])
    if report.plan.kept_back:
        warn(
            f"{len(report.plan.kept_back)} withdrawals ({render.blocked_text(report.plan)}) are kept back: "
            "is the list of VMIs complete? apply --force (MAX_WITHDRAW_PERCENT=100) lets them pass"
        )
    print(
        f"Applied: {done.count(Kind.ADD)} added, {done.count(Kind.CHANGE)} changed, "
        f"{done.count(Kind.WITHDRAW)} withdrawn, {len(report.refused)} refused, "
        f"{render.conflicts_text(len(report.plan.conflicts))}. Serial {report.plan.serial}."
    )


def _print_json(zones: Iterable[dict[str, object]]) -> None:
    sys.stdout.buffer.write(render.document(zones) + b"\n")


def _print_lines(lines: Iterable[render.Line]) -> None:
    """Print lines, on a terminal that has colours in those of their signs."""
    console = Console()
    if not console.is_terminal or console.color_system is None or console.no_color:
        sys.stdout.writelines(line + "\n" for _, line in lines)
        return
    # Rendered by hand: rich's own print would take a minute for a hundred thousand lines.
    for sign, line in lines:
        print(_STYLES.get(sign, _PLAIN).render(line, color_system=ColorSystem.STANDARD))


def _address_text(address: bytes) -> str:
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)
