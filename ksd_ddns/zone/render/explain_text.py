# SPDX-License-Identifier: Apache-2.0
"""An explanation as text for people: a sentence, a table of interfaces and a table of names."""

from collections.abc import Iterator
from datetime import datetime, tzinfo

from ksd_ddns.zone.explain import Member, State
from ksd_ddns.zone.render.explained import Address, Document, Name, Vmi, names_alike, shown
from ksd_ddns.zone.render.table import table

_MEMBERS = {
    Member.PUBLISHED: "published",
    Member.LAST: "not ready, published: no member is ready, and it was the last one",
    Member.NOT_READY: "not ready",
    Member.OVER_LIMIT: "over the limit MAX_RRSET: older VMIs come first",
}

_RECORDS = 200
"""Maximum number of records to show of a name: more than ours can have."""


class Text:
    """Makes the text of a document, with times in the time zone `zone` and lines of at most `width` characters."""

    def __init__(self, of: Document, *, zone: tzinfo | None, width: int | None) -> None:
        self._of = of
        self._zone = zone
        self._width = width

    def lines(self) -> Iterator[str]:
        """Yield the lines."""
        of = self._of
        if of.vmi is not None:
            yield from self._vmi(of.vmi)
        else:
            yield from self._asked(of.name)
        problems = [*of.problems, *(f"zone {item.zone}: {item.problem}" for item in of.zones if item.problem)]
        if problems:
            yield ""
            yield from (f"problem: {text}" for text in problems)

    def _vmi(self, of: Vmi) -> Iterator[str]:
        if not of.exists:
            yield from self._gone(of)
            return
        yield _sentence(of)
        if of.message:
            yield f"  nothing is published: {of.message}"
            if of.fix:
                yield f"  fix: {of.fix}"
        if of.slowed_until:
            yield f"  the VMI changes too often: its latest state is published at {self._time(of.slowed_until)}"
        elif not of.known:
            yield "  the controller has not received the latest state of this VMI yet"
        if of.unread:
            yield f"  the VMI cannot be read: {of.unread}; the rest is the last known state"
        yield from (f"  warning: {item.message}" for item in of.warnings)
        if of.interfaces:
            yield ""
            rows = [row for item in of.interfaces for row in self._interface(item.name, item.addresses, of)]
            yield from table(("INTERFACE", "ADDRESS", "RESULT"), rows, width=self._width)
        yield from self._names(of.names)

    def _gone(self, of: Vmi) -> Iterator[str]:
        yield f"VMI {of.vmi}: not found"
        if of.similar:
            yield f"  did you mean {' or '.join(of.similar)}?"
        yield "  a stopped VM has no VMI and no names in DNS"
        if of.names:
            yield "  these names remain in DNS:"
        else:
            yield "  none of its names remain in DNS"
        yield from self._names(of.names)

    def _interface(self, name: str, addresses: list[Address], vmi: Vmi) -> Iterator[list[list[str]]]:
        for row in addresses:
            yield [[name or "(guest)"], [row.address or "-"], self._result(row, vmi)]
            name = " "

    def _result(self, of: Address, vmi: Vmi) -> list[str]:
        found = [of.state.value]
        if of.state is State.SKIPPED and of.skip is not None:
            found = [f"skipped: {of.message}"]
        elif of.names:
            until = f" until {self._time(of.until)}" if of.until else ""
            found = [f"{of.state.value}{until}: {', '.join(names_alike(of, vmi))}"]
            if of.message:
                found.append(f"no name of its own: {of.message}")
        if of.since and of.state is State.HELD:
            found.append(f"no address reported since {self._time(of.since)}")
        return [*found, f"fix: {of.fix}"] if of.fix and of.skip is not None else found

    def _names(self, of: list[Name]) -> Iterator[str]:
        if not of:
            return
        yield ""
        rows = [[[item.name], _holds(item), _owners(item), self._state(item)] for item in of]
        yield from table(("NAME", "ZONE HOLDS", "OWNER", "STATE"), rows, width=self._width)

    def _state(self, of: Name) -> list[str]:
        times = [f"since {self._time(of.since)}"] if of.since else []
        times += [f"until {self._time(of.until)}"] if of.until else []
        times += [f"next try {self._time(of.retry_at)}"] if of.retry_at else []
        found = [f"{of.state.value}{' ' if times else ''}{', '.join(times)}"]
        found += [of.message] if of.message else []
        return [*found, f"fix: {of.fix}"] if of.fix else found

    def _asked(self, of: Name | None) -> Iterator[str]:
        if of is None:
            yield f"{self._of.asked}: not in a zone that ksd-ddns manages"
            yield from (f"  zone {item.zone} on {item.server}" for item in self._of.zones)
            return
        yield f"{of.name}: {', '.join(self._state(of)[:1])}"
        if self._of.similar:
            yield f"  did you mean the VM {' or '.join(self._of.similar)}?"
        if self._of.wildcard:
            yield f"  the wildcard {self._of.wildcard} answers queries for it"
        for line in self._state(of)[1:]:
            yield f"  {line}"
        yield ""
        yield f"zone        {of.zone}"
        yield f"zone holds  {'; '.join(_holds(of))}"
        if of.wanted:
            yield f"wanted      {shown(of.wanted, without=['TXT'])}"
        yield f"owner       {'; '.join(_owners(of))}"
        contested = not all(claim.served or claim.member for claim in of.claims)
        for label, claim in zip(["wanted by", *[""] * len(of.claims)], of.claims, strict=False):
            created = f", created {claim.created}" if claim.created else ""
            wanting = f"{claim.vmi} ({claim.origin}{created})" if claim.vmi else "the zone's own records"
            result = ": does not get it"
            if claim.member:
                result = f": {_MEMBERS[claim.member]}"
            elif claim.served:
                result = ": comes first" if contested and claim is of.claims[0] else ""
            yield f"{label:<11} {wanting}{result}"
        if of.claimed > len(of.claims):
            yield f"{'':<11} and {of.claimed - len(of.claims):,} more"
        if contested:
            yield " " * 12 + "order: interfaces, annotations, groups; then older VMIs first"

    def _time(self, text: str) -> str:
        """Return a time of the document: without the date if it is today's."""
        time = datetime.fromisoformat(text).astimezone(self._zone)
        today = datetime.fromisoformat(self._of.time).astimezone(self._zone).date()
        return time.strftime("%H:%M:%S" if time.date() == today else "%Y-%m-%d %H:%M:%S")


def _sentence(of: Vmi) -> str:
    there = sum(item.state.in_dns for item in of.names)
    phase = f"{of.phase}, " if of.phase else ""
    count = f"{there} of {len(of.names)} names in DNS" if of.names else "no names in DNS"
    return f"VM {of.vmi}: {phase}{count}"


def _holds(of: Name) -> list[str]:
    lines = [f"{item.type} {value}" for item in of.found if item.type != "TXT" for value in item.values]
    other = [f"TXT {value}" for item in of.found if item.type == "TXT" for value in item.values]
    other = [line for line in other if "heritage=ksd-ddns," not in line]
    lines += other
    more = len(lines) - _RECORDS
    return [*lines[:_RECORDS], f"and {more:,} more"] if more > 0 else lines or ["nothing"]


def _owners(of: Name) -> list[str]:
    if not of.owners:
        return ["ours"] if of.ours else ["none" if of.found else "-"]
    ours = of.ours and len(of.owners) == 1
    return [f"{'ours' if ours else item.owner} ({item.vmi or item.group or '-'})" for item in of.owners]
