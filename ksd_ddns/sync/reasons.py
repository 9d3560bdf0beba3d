"""Why a name is refused, why the primary is not right, why deletions are blocked: facts -> sentences, in one place."""

from collections.abc import Collection

from ksd_ddns.wire import names
from ksd_ddns.zone.plan import Blocked, Plan, namespace_of
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal


def refusal(found: Refusal, reconciler: Reconciler, server: str) -> str:
    """Return why a name is refused, and what helps, as a sentence."""
    accepts = not reconciler.acceptance.refuses
    return refusal_text(
        found,
        zone=names.to_text(reconciler.zone),
        server=server,
        accepts=accepts,
        owned=reconciler.deletions.owned,
    )


def refusal_text(  # noqa: PLR0911 one for each cause
    found: Refusal, *, zone: str, server: str, accepts: bool, owned: int
) -> str:
    """Return the same, for a zone that `accepts` other updates, or none, and holds `owned` names of ours."""
    name = names.to_text(found.name)
    match found.cause:
        case Cause.HOST_NAME:
            return (
                f"{server} refuses {name} (REFUSED): the zone checks host names, and this name is not one. "
                'Add "check-names ignore;" to the zone (or "check-names primary ignore;" to its options), or rename '
                "the interface"
            )
        case Cause.LIMIT:
            return (
                f"{server} cannot take {name} (SERVFAIL): it has more records of one type than the zone allows (BIND: "
                "max-records-per-type). Raise the limit there, or lower MAX_RRSET"
            )
        case Cause.NOT_SHOWN:
            return (
                f"{server} acknowledged the change of {name}, but it is not in the zone: a limit of its update-policy, "
                "or inline signing that is slow"
            )
        case Cause.NO_TXT:
            return (
                f"{server} acknowledged the change of {name}, but left out the ownership record: let its policy pass "
                "TXT. Until then these addresses are not ours; afterwards ADOPT=true takes them over"
            )
        case Cause.PERMISSION | Cause.ZONE if accepts and owned:
            return (
                f"{server} refuses {name} ({_rcode(found)}), but accepts other names of {zone}: the key lacks "
                "permission for this name or its types. Look at the update-policy of the zone (BIND) or its acl (Knot)"
            )
    if owned and not accepts and found.cause in {Cause.PERMISSION, Cause.ZONE}:
        return _refuses_all(zone, server, found)
    return str(found.error) if found.error is not None else f"{server} refuses {name}"


def primary(reconciler: Reconciler, server: str) -> str:
    """Return why the primary is not right; empty while it is."""
    if reconciler.pauses.unanswered_reads is not None:
        return str(reconciler.pauses.unanswered_reads)
    if reconciler.problem is not None:
        return (
            f"updates of {names.to_text(reconciler.zone)} are not answered, queries are: {reconciler.problem}. "
            "Is the zone frozen (Knot: knotc zone-thaw), or does something between here and the server drop updates?"
        )
    if not reconciler.acceptance.refuses:
        return ""
    zone = names.to_text(reconciler.zone)
    first = next(iter(reconciler.refusals), None)
    if reconciler.deletions.owned:
        return _refuses_all(zone, server, first)
    error = first.error if first else None
    return str(error) if error is not None else f"{server} accepts no update of {zone}"


def _refuses_all(zone: str, server: str, found: Refusal | None) -> str:
    rcode = f" ({_rcode(found)})" if found else ""
    return (
        f"{server} accepts no update of {zone}{rcode}, although it holds our names: the zone is frozen (rndc "
        "thaw), the server is a secondary, its disk is full, or the permission of the key was removed"
    )


def deletions(reconciler: Reconciler) -> str:
    """Return which deletions are blocked, and what helps; empty where none are."""
    blocked = reconciler.deletions.blocked
    if not blocked:
        return ""
    # What waits for a scope that cannot be listed is the source's problem, and reported as such.
    unlisted = reconciler.sources.unlisted
    if unlisted:
        spaces = (namespace_of(change.old, reconciler.scope) for change in blocked.values())
        count = sum(1 for namespace in spaces if namespace not in unlisted)
    else:
        count = len(blocked)
    return _deletions(count, reconciler.deletions.owned, reconciler.deletions.limits)


def blocked_in(plan: Plan) -> str:
    """Return which deletions of `plan` are blocked; empty where none are."""
    return _deletions(len(plan.blocked), plan.owned, plan.limits)


def _deletions(count: int, owned: int, limits: Collection[Blocked]) -> str:
    if not count:
        return ""
    where = ", ".join(f"{one.count} of {one.owned} in namespace {one.namespace}" for one in limits if one.namespace)
    return (
        f"refusing to delete {count} of {owned} owned names{f' ({where})' if where else ''}: is the list of VMIs "
        "complete? ksd-ddns apply --force or MAX_DELETE_PERCENT=100 deletes them"
    )


def _rcode(found: Refusal) -> str:
    return {2: "SERVFAIL", 5: "REFUSED", 9: "NOTAUTH"}.get(found.rcode or 0, f"rcode {found.rcode}")
