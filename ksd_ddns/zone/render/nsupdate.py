# SPDX-License-Identifier: Apache-2.0
"""Plan -> a script for nsupdate and knsupdate."""

from collections.abc import Callable, Iterable, Iterator

from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Statement
from ksd_ddns.wire.rrset import ANY, CLASS_ANY, CLASS_NONE, SRV
from ksd_ddns.wire.text import rdata_text, rdtype_text
from ksd_ddns.zone.plan import ADDRESSES, Change, Plan
from ksd_ddns.zone.render import text
from ksd_ddns.zone.update import Limits, batches


def script(plan: Plan, limits: Limits, *, server: str, port: int) -> Iterator[str]:
    """Yield the lines of a script that sends exactly the messages that `apply` sends, prerequisites included."""
    yield f"; zone {names.to_text(plan.zone)} as of serial {plan.serial}. {text.summary(plan)}"
    for conflict in plan.conflicts:
        yield _comment(f"! {text.conflict(conflict)}")
    for change in plan.blocked:
        yield _comment(f"blocked by the deletion limit: {names.to_text(change.name)}")
    yield from _messages(plan, limits, server=server, port=port)


def undo_script(plan: Plan, limits: Limits, *, server: str, port: int) -> Iterator[str]:
    """Yield the lines of a script that restores the zone as it was before `plan` was sent.

    Its prerequisites are what the plan leaves behind: a name that has changed since is not overwritten.
    """
    zone = names.to_text(plan.zone)
    yield f"; undo script for zone {zone} as of serial {plan.serial}. To undo: {text.summary(plan)}"
    yield from _messages(plan.undo(), limits, server=server, port=port)


def _messages(plan: Plan, limits: Limits, *, server: str, port: int) -> Iterator[str]:
    """Yield the lines of the messages.

    They use only what nsupdate and knsupdate both read: absolute names, explicit TTLs, `zone` before each message (both
    forget it after `send`), no blank line (nsupdate reads it as `send`).
    """
    odd = [change.name for change in plan.changes if _refused_by_nsupdate(change)]
    if odd:
        yield (
            f"; nsupdate refuses {len(odd)} names such as {names.to_text(odd[0])}: add the line "
            '"check-names no" before this one (knsupdate accepts these names, but not that line)'
        )
    if not plan.changes:
        return
    yield f"server {server} {port}"
    for step in plan.steps():
        for batch in batches(step, limits):
            yield f"zone {names.to_text(plan.zone)}"
            yield from _lines(batch.prerequisites, _prerequisite_line)
            yield from _lines(batch.updates, _update_line)
            yield "send"


def _refused_by_nsupdate(change: Change) -> bool:
    """Return whether `change` adds addresses to a name, or an SRV record of a target, that is not a host name."""
    for _, new in change.rrsets():
        if new is not None and new.type in ADDRESSES and not names.is_host_name(change.name):
            return True
        if new is not None and new.type == SRV and not all(names.is_host_name(rdata[6:]) for rdata in new.rdatas):
            return True
    return False


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
