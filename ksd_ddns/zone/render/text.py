# SPDX-License-Identifier: Apache-2.0
"""Plan -> text for people, as a diff."""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from ksd_ddns.wire import names
from ksd_ddns.wire.rrset import Node, RRset
from ksd_ddns.wire.text import is_readable, rdata_text, rdtype_text
from ksd_ddns.zone.plan import Change, Conflict, Kind, Plan
from ksd_ddns.zone.render import message


class Sign(StrEnum):
    """What happens to an RRset."""

    ADD = "+"
    DELETE = "-"
    CHANGE = "~"
    NOT_DONE = "!"


class DiffLine(NamedTuple):
    """A line of a diff."""

    sign: Sign
    text: str

    def __str__(self) -> str:
        return f"{self.sign} {self.text}"


def plan(of: Plan) -> Iterator[DiffLine]:
    """Yield the plan as a diff, one line for each changed or blocked RRset and each conflict, without the `summary`."""
    for change in sorted(of.changes, key=_canonical):
        yield from _change(change)
    for change in sorted(of.blocked, key=_canonical):
        for line in _change(change):
            yield DiffLine(Sign.NOT_DONE, f"{line.text}: blocked by the deletion limit")
    for item in sorted(of.conflicts, key=_canonical):
        yield DiffLine(Sign.NOT_DONE, conflict(item))


def _canonical(item: Change | Conflict) -> list[bytes]:
    return names.canonical(item.name)


def summary(of: Plan) -> str:
    """Return the plan in one line."""
    return f"Plan: {counts(of)}."


def counts(of: Plan) -> str:
    """Return how many names the plan adds, changes and deletes, and how many it leaves alone."""
    blocked = f", {len(of.blocked)} blocked" if of.blocked else ""
    return (
        f"{of.count(Kind.ADD)} to add, {of.count(Kind.CHANGE)} to change, "
        f"{of.count(Kind.DELETE)} to delete, {conflict_count(len(of.conflicts))}{blocked}"
    )


def conflict_count(count: int) -> str:
    """Return how many conflicts there are, in words."""
    return "1 conflict" if count == 1 else f"{count} conflicts"


def _change(of: Change) -> Iterator[DiffLine]:
    owner = names.to_text(of.name)
    if of.index_only:
        yield DiffLine(Sign.CHANGE, f"{owner} {'is added to' if of.new.index else 'is removed from'} the index")
    for old, new in of.rrsets():
        if old is None:
            if new is not None:
                yield DiffLine(Sign.ADD, f"{owner} {rrset(new)}")
        elif new is None:
            yield DiffLine(Sign.DELETE, f"{owner} {rrset(old)}")
        else:
            ttl = f"{old.ttl} -> {new.ttl}" if old.ttl != new.ttl else str(new.ttl)
            rdatas = values(new) if old.rdatas == new.rdatas else f"{values(old)} -> {values(new)}"
            yield DiffLine(Sign.CHANGE, f"{owner} {ttl} {rdtype_text(new.type)} {rdatas}")


def rrset(of: RRset) -> str:
    """Return TTL, type and rdatas of an RRset."""
    return f"{of.ttl} {rdtype_text(of.type)} {values(of)}"


def values(of: RRset) -> str:
    """Return the rdatas of an RRset in presentation form, separated by commas."""
    return ", ".join(rdata_text(of.type, rdata) for rdata in of.rdatas)


def conflict(of: Conflict) -> str:
    """Return a conflict with its name, its VMI, the reason, and what the zone holds."""
    vmi = f" (VMI {of.vmi})" if of.vmi else ""
    return f"{names.to_text(of.name)}{vmi} conflict: {message.conflict(of)}; found {_found(of.found)}"


def _found(node: Node) -> str:
    return "; ".join(_brief(item) for item in node.rrsets) or "nothing"


def _brief(of: RRset) -> str:
    shown = f" {values(of)}" if is_readable(of.type) else ""
    return f"{rdtype_text(of.type)}{shown}"
