"""What each command does, from its options to its exit code."""

import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from socket import AF_INET, AF_INET6, inet_ntop

import msgspec
from rich.console import Console
from rich.text import Text

from ksd_ddns import bootstrap, reconcile, settings
from ksd_ddns.cli import sources
from ksd_ddns.cli.arguments import Options
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.run import run
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.session import warn
from ksd_ddns.primary.session import Session
from ksd_ddns.reconcile import Keeper, Report
from ksd_ddns.settings import Settings
from ksd_ddns.zone import names, render
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import desired
from ksd_ddns.zone.marker import owned_vmi
from ksd_ddns.zone.plan import Kind, Plan
from ksd_ddns.zone.rrset import TXT
from ksd_ddns.zone.vmi import Vmi

_STYLES = {"+": "green", "-": "red", "~": "yellow", "!": "magenta"}


def plan(options: Options) -> int:
    """Show the difference; send nothing."""
    chosen = settings.load(options.flags)
    with Steps() as step, closing(open_session(chosen)) as session:
        keeper = _keeper(chosen, session, options.source, step)
        reconcile.read(keeper)
        found = keeper.full(max_withdraw_percent=chosen.max_withdraw_percent)
    if options.output == "json":
        sys.stdout.buffer.write(render.as_json(found) + b"\n")
    elif options.output == "nsupdate":
        server = session.server
        lines = render.nsupdate(found, chosen.limits(), server=server.host, port=server.port)
        sys.stdout.writelines(line + "\n" for line in lines)
    else:
        _print_lines(render.text(found))
    return int(options.exit_code and bool(found.changes))


def apply(options: Options) -> int:
    """Send the plan, once."""
    chosen = settings.load(options.flags)
    with Steps() as step, closing(open_session(chosen)) as session:
        keeper = _keeper(chosen, session, options.source, step)
        report = reconcile.apply(keeper, max_withdraw_percent=chosen.max_withdraw_percent)
    _print_report(report)
    return 0 if report.complete else 1


def owned(options: Options) -> int:
    """Show the records that are ours in the zone now."""
    chosen = sources.owning(settings.load(options.flags), None)
    with Steps() as step, closing(open_session(chosen)) as session:
        keeper = _kept(chosen, session, (), step)
        reconcile.read(keeper)
    live, scope = keeper.live, chosen.scope(chosen.rules(keeper.zone))
    found = []
    for name in sorted(planning.owned_names(live, scope), key=lambda name: names.labels(name)[::-1]):
        node = live.get(name)
        text = node.get(TXT)
        vmi = owned_vmi(text.rdatas, scope.owner) if text else ""
        found += [(name, vmi, item) for item in node.rrsets if item.type in scope.types]
    if options.output == "json":
        records = [{"name": names.to_text(name), "vmi": vmi, **render.json_rrset(item)} for name, vmi, item in found]
        document = {"zone": names.to_text(live.zone), "serial": live.serial, "records": records}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    else:
        for name, vmi, item in found:
            print(names.to_text(name), render.rrset_text(item), vmi or "-")
    return 0


def write_primary(options: Options) -> int:
    """Write key, zone and configuration of the bundled primary."""
    chosen = settings.load(options.flags)
    primary = bootstrap.BundledPrimary(
        server="knot" if options.server == "knot" else "bind9",
        directory=options.directory,
        base=names.to_text(chosen.base),
        name_server_ips=tuple(_address_text(address) for address in chosen.name_server_ip),
        address=options.address,
        port=options.port,
    )
    for file in bootstrap.write(primary):
        print(f"{file.path}: {file.outcome.value}")
    print("start it with:", " ".join(bootstrap.command(primary)))
    return 0


COMMANDS: dict[str, Callable[[Options], int]] = {
    "plan": plan,
    "apply": apply,
    "run": run,
    "list": owned,
    "bootstrap": write_primary,
}


def _keeper(chosen: Settings, session: Session, path: str, step: Steps) -> Keeper:
    """Return the keeper of the zone, and of what the VMIs of the file or the cluster want in it."""
    # The VMIs are read before the primary is asked anything: bad input costs nobody a question.
    found = sources.vmis(chosen, path, step)
    return _kept(sources.owning(chosen, path), session, found, step)


def _kept(chosen: Settings, session: Session, vmis: Iterable[Vmi], step: Steps) -> Keeper:
    zone = chosen.zone or reconcile.enclosing_zone(session, chosen.base)
    rules = chosen.rules(zone)
    if chosen.name_server_ip and rules.base != zone:
        base, apex = names.to_text(rules.base), names.to_text(zone)
        warn(f"NAME_SERVER_IP is not published: {base} is not the apex of {apex}, its NS would hide what is below it")
    wanted = desired(vmis, rules)
    for notice in wanted.notices():
        warn(f"VMI {notice.vmi}: {notice.text}")
    return Keeper(session, wanted, chosen.scope(rules), zone=zone, limits=chosen.limits(), step=step)


def _print_report(report: Report) -> None:
    done = Plan(
        report.plan.zone, report.plan.serial, tuple(report.applied), report.plan.conflicts, report.plan.kept_back
    )
    lines = [line for line in render.text(done) if not line[1].startswith("Plan: ")]
    _print_lines(lines)
    for outcome in report.refused:
        _print_lines([("!", f"! {names.to_text(outcome.change.name)} refused: {outcome.reason}")])
    if report.plan.kept_back:
        kept, total = len(report.plan.kept_back), report.plan.owned
        warn(
            f"{kept} withdrawals ({100 * kept // max(1, total)} % of {total} owned names) are kept back: "
            "is the list of VMIs complete? apply --force (MAX_WITHDRAW_PERCENT=100) lets them pass"
        )
    print(
        f"Applied: {done.count(Kind.ADD)} added, {done.count(Kind.CHANGE)} changed, "
        f"{done.count(Kind.WITHDRAW)} withdrawn, {len(report.refused)} refused, "
        f"{render.conflicts_text(len(report.plan.conflicts))}. Serial {report.plan.serial}."
    )


def _print_lines(lines: Iterable[render.Line]) -> None:
    """Print lines in the colours of their signs; plain, and quickly, where standard output is no terminal."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(line + "\n" for _, line in lines)
        return
    console = Console(highlight=False, soft_wrap=True)
    for sign, line in lines:
        console.print(Text(line, style=_STYLES.get(sign, "bold")))


def _address_text(address: bytes) -> str:
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)
