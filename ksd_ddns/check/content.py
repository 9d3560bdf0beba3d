# SPDX-License-Identifier: Apache-2.0
"""The content of a zone: the owners of its names, what apply would change, and what prevents it."""

from collections import Counter
from collections.abc import Iterable, Iterator

from ksd_ddns.check.finding import Finding, failure, ok, skipped, warning
from ksd_ddns.check.setup import Found, Read, Setup
from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import NS, TXT, Node
from ksd_ddns.wire.text import rdtype_text
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import Desired, desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import ADDRESSES, Change, Kind, Ownership, Plan, Scope
from ksd_ddns.zone.render import message
from ksd_ddns.zone.render import text as render

SHOWN = 3
"""Maximum number of names in a message."""

_LOCALHOST = names.from_text("localhost.")


def findings(setup: Setup, base: bytes, found: Found) -> Iterator[Finding]:
    """Check the content of the zone that contains `base`, as read from the first readable server."""
    subject = names.to_text(base)
    reads = found.zones.get(base, [])
    if not reads or found.owner is None:
        yield skipped("records", subject)
        yield skipped("plan", subject)
        return
    live = reads[0].live
    rules = setup.rules(live.zone, base)
    scope = setup.scope(rules)
    if len(reads) > 1:
        yield _agreement(subject, reads)
    if base == setup.bases[0]:
        yield from _name_server(setup, live, base)
    yield from _records(subject, live, scope)
    if found.vmis is None:
        yield skipped("plan", subject)
        return
    wanted = desired(found.vmis, rules)
    plan = planning.full(wanted, live, scope, max_delete_percent=setup.max_delete_percent)
    yield from _plan(subject, plan, wanted, live, scope)


def _agreement(subject: str, reads: list[Read]) -> Finding:
    first, *others = reads
    different = [other for other in others if other.live.nodes != first.live.nodes]
    if not different:
        return ok("servers", subject, f"{len(reads)} servers have the same content")
    text = (
        f"{first.server} (serial {first.live.serial}) and {_listed(_with_serial(other) for other in different)} differ"
    )
    fix = "DNS_SERVER must list primaries that serve the same zone, neither secondaries nor independent copies of it"
    return warning("servers", subject, text, fix)


def _with_serial(read: Read) -> str:
    return f"{read.server} (serial {read.live.serial})"


def _name_server(setup: Setup, live: Live, base: bytes) -> Iterator[Finding]:
    subject, apex = names.to_text(base), names.to_text(live.zone)
    if setup.name_server and live.zone != base:
        yield warning(
            "name server",
            subject,
            f"NAME_SERVER_IP is set, but not published: the base is not the apex of {apex}",
            "leave NAME_SERVER_IP empty: an NS record at the base would be a delegation, and hide all names below it",
        )
    elif setup.name_server:
        yield ok("name server", subject, "NAME_SERVER_IP is published at the apex")
    there = live.get(live.zone).get(NS)
    if live.zone == base and not setup.name_server and there and there.rdatas == (_LOCALHOST,):
        yield warning(
            "name server",
            subject,
            f"the only name server of {apex} is localhost.: no parent zone can delegate to it",
            "set NAME_SERVER_IP to the address of this server, unless its clients query it directly",
        )


def _records(subject: str, live: Live, scope: Scope) -> Iterator[Finding]:
    ours = set(planning.owned_names(live, scope))
    others: Counter[str] = Counter()
    unowned = 0
    wildcards = []
    for name, node in live.nodes.items():
        if name in ours or name == scope.base or not names.is_below(name, scope.base):
            continue
        owners = _owners(node)
        others.update(owners - {scope.owner})
        unowned += not owners
        if name[:2] == b"\1*":
            wildcards.append(name)
    shares = [f"{len(ours)} {'name is' if len(ours) == 1 else 'names are'} ours"]
    shares += [f"{count} of owner {owner}" for owner, count in sorted(others.items())]
    shares += [f"{unowned} without an ownership record"] if unowned else []
    yield ok("records", subject, ", ".join(shares))
    if scope.ownership is Ownership.ZONE:
        yield from _taken(subject, live, scope, ours)
    if wildcards:
        yield warning(
            "wildcard",
            subject,
            f"{_names(wildcards)} answers for every name that is not published",
            "remove it, unless you want it: a query for a deleted VM is answered with another address",
        )


def _taken(subject: str, live: Live, scope: Scope, ours: set[bytes]) -> Iterator[Finding]:
    """Yield a failure if names that we would own have the ownership record of another owner."""
    owners: Counter[str] = Counter()
    for name in ours:
        owners.update(_owners(live.get(name)) - scope.take_over)
    if owners:
        types = " and ".join(map(rdtype_text, scope.types))
        shares = ", ".join(f"{count} with a record of owner {owner}" for owner, count in sorted(owners.items()))
        text = f"OWNERSHIP=zone makes every {types} below it ours, including {shares}"
        fix = "set OWNERSHIP=txt if the zone is shared; otherwise remove these ownership records"
        yield failure("ownership", subject, text, fix)


def _take_over(subject: str, plan: Plan, live: Live, scope: Scope) -> Iterator[Finding]:
    """Yield how many names of the owners in TAKE_OVER_FROM become ours."""
    if not scope.take_over:
        return
    theirs = {name for name, node in live.nodes.items() if _owners(node) & scope.take_over}
    taken = {change.name for change in plan.changes if _owners(change.old) & scope.take_over - _owners(change.new)}
    conflicts = sum(1 for item in plan.conflicts if item.name in theirs)
    shown = f"{len(taken)} of {len(theirs)} names change their owner"
    if conflicts:
        shown += f", {conflicts} are conflicts"
    if left := len(theirs) - len(taken) - conflicts:
        shown += f", {left} are left alone, because no VMI wants them"
    yield ok("take over", subject, shown)


def _owners(node: Node) -> set[str]:
    """Return the owner IDs in the ownership records of a name."""
    return ownership_record.owners(node.get(TXT))


def _plan(subject: str, plan: Plan, wanted: Desired, live: Live, scope: Scope) -> Iterator[Finding]:
    yield ok("plan", subject, render.counts(plan))
    yield from _take_over(subject, plan, live, scope)
    if plan.conflicts:
        shown = _listed(
            (f"{names.to_text(item.name)}: {message.conflict(item)}" for item in plan.conflicts), between="; "
        )
        yield failure("conflicts", subject, shown, "see ksd-ddns plan: free each name, or give the VM another one")
    if plan.blocked:
        blocked = _names(change.name for change in plan.blocked)
        text = f"refusing to delete {len(plan.blocked)} of {plan.owned} owned names: {blocked}"
        fix = "is the list of VMIs complete? apply --force (MAX_DELETE_PERCENT=100) deletes them"
        yield warning("deletions", subject, text, fix)
    doomed = [change.name for change in plan.changes if change.kind is Kind.DELETE]
    if doomed and scope.ownership is Ownership.ZONE:
        yield warning(
            "deletions",
            subject,
            f"no VMI has {_names(doomed)}: the first apply deletes them, because OWNERSHIP=zone makes them ours",
            "set OWNERSHIP=txt if they belong to another program",
        )
    odd = [change.name for change in plan.changes if _is_odd(change)]
    if odd:
        yield warning(
            "host names",
            subject,
            f"not valid host names: {_names(odd)}; BIND refuses them if it checks names",
            "add check-names ignore; to the zone, or rename the interfaces or hostnames",
        )
    warnings = wanted.warnings()
    if warnings:
        listed = _listed((f"VMI {item.vmi}: {message.warning(item)}" for item in warnings), between="; ")
        yield warning("VMIs", subject, listed, "correct them; everything else is published")


def _is_odd(change: Change) -> bool:
    # Servers check names with addresses only: the underscores of an SRV record are right.
    added = change.kind is Kind.ADD and any(item.type in ADDRESSES for item in change.new.rrsets)
    return added and not names.is_host_name(change.name)


def _names(found: Iterable[bytes]) -> str:
    return _listed(names.to_text(name) for name in sorted(found, key=lambda name: names.labels(name)[::-1]))


def _listed(texts: Iterable[str], *, between: str = ", ") -> str:
    """Return the first SHOWN of `texts`, and the number of the others."""
    found = list(texts)
    more = f"{between}and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return between.join(found[:SHOWN]) + more
