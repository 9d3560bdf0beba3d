"""Plan -> text for people, JSON for programs, a script for nsupdate and knsupdate."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Statement
from ksd_ddns.wire.rrset import ANY, CLASS_ANY, CLASS_NONE, Node, RRset
from ksd_ddns.wire.text import is_readable, rdata_text, rdtype_text
from ksd_ddns.zone.plan import ADDRESSES, Change, Conflict, Kind, Plan
from ksd_ddns.zone.update import Limits, batches

Line = tuple[str, str]
"""A line of the text form, and its sign: `+`, `-`, `~`, `!`, or a space."""


def text(plan: Plan) -> Iterator[Line]:
    """Yield the plan as a diff, one line an RRset, and a summary at the end."""
    for change in sorted(plan.changes, key=_canonical):
        yield from _change_lines(change)
    for change in sorted(plan.blocked, key=_canonical):
        for _, line in _change_lines(change):
            yield "!", f"! {line[2:]}: blocked by the deletion limit"
    for conflict in sorted(plan.conflicts, key=_canonical):
        yield "!", _conflict_line(conflict)
    yield " ", summary(plan)


def _canonical(item: Change | Conflict) -> list[bytes]:
    return names.canonical(item.name)


def summary(plan: Plan) -> str:
    """Return the plan in one line."""
    kept = f", {len(plan.blocked)} blocked" if plan.blocked else ""
    return (
        f"Plan: {plan.count(Kind.ADD)} to add, {plan.count(Kind.CHANGE)} to change, "
        f"{plan.count(Kind.DELETE)} to delete, {conflicts_text(len(plan.conflicts))}{kept}."
    )


def blocked_text(plan: Plan) -> str:
    """Return how many names the deletion limit blocks, and of how many, by namespace where it is that one's limit."""
    return ", ".join(
        f"{each.count} of {each.owned} owned names"
        + ("" if each.namespace is None else f" of namespace {each.namespace}")
        for each in plan.limits
    )


def conflicts_text(count: int) -> str:
    """Return how many conflicts there are, in words."""
    return "1 conflict" if count == 1 else f"{count} conflicts"


def _change_lines(change: Change) -> Iterator[Line]:
    owner = names.to_text(change.name)
    for old, new in change.rrsets():
        if old is None:
            if new is not None:
                yield "+", f"+ {owner} {rrset_text(new)}"
        elif new is None:
            yield "-", f"- {owner} {rrset_text(old)}"
        else:
            ttl = f"{old.ttl} -> {new.ttl}" if old.ttl != new.ttl else str(new.ttl)
            rdatas = values(new) if old.rdatas == new.rdatas else f"{values(old)} -> {values(new)}"
            yield "~", f"~ {owner} {ttl} {rdtype_text(new.type)} {rdatas}"


def rrset_text(rrset: RRset) -> str:
    """Return TTL, type and rdatas of `rrset`."""
    return f"{rrset.ttl} {rdtype_text(rrset.type)} {values(rrset)}"


def values(rrset: RRset) -> str:
    """Return the rdatas of `rrset` in presentation form, separated by commas."""
    return ", ".join(rdata_text(rrset.type, rdata) for rdata in rrset.rdatas)


def _conflict_line(conflict: Conflict) -> str:
    vmi = f" (VMI {conflict.vmi})" if conflict.vmi else ""
    return f"! {names.to_text(conflict.name)}{vmi} conflict: {conflict.reason}; found {_found(conflict.found)}"


def _found(node: Node) -> str:
    return "; ".join(_brief(item) for item in node.rrsets) or "nothing"


def _brief(rrset: RRset) -> str:
    shown = f" {values(rrset)}" if is_readable(rrset.type) else ""
    return f"{rdtype_text(rrset.type)}{shown}"


def document(zones: Iterable[dict[str, object]]) -> bytes:
    """Return one JSON document of what is shown of each zone."""
    return msgspec.json.format(msgspec.json.encode({"zones": list(zones)}), indent=2)


def as_json(plan: Plan) -> dict[str, object]:
    """Return the plan as the JSON document shows it; its form is described in docs/reference/command-line.md."""
    return {
        "zone": names.to_text(plan.zone),
        "serial": plan.serial,
        "changes": [_json_change(change) for change in plan.changes],
        "conflicts": [
            {
                "name": names.to_text(conflict.name),
                "vmi": conflict.vmi,
                "reason": conflict.reason,
                "wanted": json_rrsets(conflict.wanted),
                "found": json_rrsets(conflict.found),
            }
            for conflict in plan.conflicts
        ],
        "blocked": [_json_change(change) for change in plan.blocked],
        "summary": {
            "add": plan.count(Kind.ADD),
            "change": plan.count(Kind.CHANGE),
            "delete": plan.count(Kind.DELETE),
            "conflicts": len(plan.conflicts),
            "blocked": len(plan.blocked),
            "owned": plan.owned,
        },
    }


def _json_change(change: Change) -> dict[str, object]:
    return {
        "name": names.to_text(change.name),
        "kind": change.kind.value,
        "old": json_rrsets(change.old),
        "new": json_rrsets(change.new),
    }


def json_rrsets(node: Node) -> list[dict[str, object]]:
    """Return the RRsets of `node` as the JSON outputs show them."""
    return [json_rrset(item) for item in node.rrsets]


def json_rrset(rrset: RRset) -> dict[str, object]:
    """Return `rrset` as the JSON outputs show it."""
    return {
        "type": rdtype_text(rrset.type),
        "ttl": rrset.ttl,
        "values": [rdata_text(rrset.type, rdata) for rdata in rrset.rdatas],
    }


def nsupdate(plan: Plan, limits: Limits, *, server: str, port: int) -> Iterator[str]:
    """Yield the lines of a script that sends exactly the messages that `apply` sends, prerequisites included.

    It keeps to what nsupdate and knsupdate both read: absolute names, explicit TTLs, `zone` before each message (it is
    forgotten after `send`), no blank line (nsupdate reads it as `send`).
    """
    yield f"; zone {names.to_text(plan.zone)} as of serial {plan.serial}. {summary(plan)}"
    for conflict in plan.conflicts:
        yield _comment(_conflict_line(conflict))
    for change in plan.blocked:
        yield _comment(f"blocked by the deletion limit: {names.to_text(change.name)}")
    odd = [change.name for change in plan.changes if _refused_by_nsupdate(change)]
    if odd:
        yield (
            f"; nsupdate by itself refuses {len(odd)} names such as {names.to_text(odd[0])}: put the line "
            '"check-names no" before this one (knsupdate takes them, and does not know that line)'
        )
    if not plan.changes:
        return
    yield f"server {server} {port}"
    for batch in batches(plan.changes, limits):
        yield f"zone {names.to_text(plan.zone)}"
        yield from _lines(batch.prerequisites, _prerequisite_line)
        yield from _lines(batch.updates, _update_line)
        yield "send"


def _refused_by_nsupdate(change: Change) -> bool:
    """Return whether `change` adds addresses to what is no host name."""
    adds = any(new is not None and new.type in ADDRESSES for _, new in change.rrsets())
    return adds and not names.is_host_name(change.name)


def _comment(line: str) -> str:
    return "; " + line.replace("\n", " ").replace("\r", " ")


def _lines(statements: Iterable[Statement], line: Callable[[Statement, str], str]) -> Iterator[str]:
    for statement in statements:
        yield line(statement, names.to_text(statement[0]))


def _prerequisite_line(statement: Statement, owner: str) -> str:
    _, rdtype, rdclass, _, rdata = statement
    if rdclass == CLASS_NONE:
        return f"prereq nxdomain {owner}" if rdtype == ANY else f"prereq nxrrset {owner} {rdtype_text(rdtype)}"
    return f"prereq yxrrset {owner} {rdtype_text(rdtype)} {rdata_text(rdtype, rdata)}"


def _update_line(statement: Statement, owner: str) -> str:
    _, rdtype, rdclass, ttl, rdata = statement
    if rdclass == CLASS_ANY:
        return f"update delete {owner} {rdtype_text(rdtype)}"
    if rdclass == CLASS_NONE:
        return f"update delete {owner} {rdtype_text(rdtype)} {rdata_text(rdtype, rdata)}"
    return f"update add {owner} {ttl} {rdtype_text(rdtype)} {rdata_text(rdtype, rdata)}"
