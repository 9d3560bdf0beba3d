# SPDX-License-Identifier: Apache-2.0
"""Texts for people: why a name is refused, what is wrong with the primary, which deletions are blocked."""

from collections.abc import Collection

from ksd_ddns.wire import names
from ksd_ddns.zone.plan import Blocked, Plan, namespace_of
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.refusals import Refusal
from ksd_ddns.zone.render.refused import refused, zone_refuses


def refusal(found: Refusal, reconciler: Reconciler, server: str) -> str:
    """Return why a name is refused, and the remedy."""
    accepts = not reconciler.acceptance.refuses
    zone, ours = names.to_text(reconciler.zone), reconciler.holds_our_names
    return str(refused(found, zone=zone, server=server, accepts=accepts, ours=ours))


def primary(reconciler: Reconciler, server: str) -> str:
    """Return what is wrong with the primary, empty if nothing."""
    if reconciler.pauses.read_error is not None:
        return str(reconciler.pauses.read_error)
    if reconciler.problem is not None:
        return (
            f"{server} answers queries but no updates of {names.to_text(reconciler.zone)}: {reconciler.problem}. "
            "Is the zone frozen (Knot: knotc zone-thaw), or does something between here and the server drop updates?"
        )
    if not reconciler.acceptance.refuses:
        return ""
    zone = names.to_text(reconciler.zone)
    first = next(iter(reconciler.refusals), None)
    if reconciler.holds_our_names:
        return str(zone_refuses(first, zone=zone, server=server))
    error = first.error if first else None
    return str(error) if error is not None else f"{server} accepts no update of {zone}"


def deletions(reconciler: Reconciler) -> str:
    """Return which deletions are blocked, and the remedy; empty if none."""
    blocked = reconciler.deletions.blocked
    if not blocked:
        return ""
    # A namespace that cannot be listed is reported as a problem of its source.
    unlisted = reconciler.sources.unlisted
    if unlisted:
        spaces = (namespace_of(change.old, reconciler.scope) for change in blocked.values())
        count = sum(1 for namespace in spaces if namespace not in unlisted)
    else:
        count = len(blocked)
    return _deletions(count, reconciler.deletions.owned, reconciler.deletions.limits)


def blocked_in(plan: Plan) -> str:
    """Return which deletions of `plan` are blocked, empty if none."""
    return _deletions(len(plan.blocked), plan.owned, plan.limits)


def _deletions(count: int, owned: int, limits: Collection[Blocked]) -> str:
    if not count:
        return ""
    # The limits are those of the last full plan: if names are no longer blocked since then, their counts are wrong.
    current = limits if sum(one.count for one in limits) == count else ()
    where = ", ".join(f"{one.count} of {one.owned} in namespace {one.namespace}" for one in current if one.namespace)
    return (
        f"refusing to delete {count} of {owned} owned names{f' ({where})' if where else ''}: is the list of VMIs "
        "complete? ksd-ddns apply --force or MAX_DELETE_PERCENT=100 deletes them"
    )
