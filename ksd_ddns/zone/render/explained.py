# SPDX-License-Identifier: Apache-2.0
"""Explanations -> the JSON document of `ksd-ddns explain -o json` and `/explain` (docs/reference/json.md).

The text is made from the document, so that a command can show the explanation of a running controller.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import msgspec

from ksd_ddns.wire import names, rcodes
from ksd_ddns.wire.rrset import Node
from ksd_ddns.wire.text import rdata_text, rdtype_text
from ksd_ddns.zone.explain import (
    AddressExplanation,
    ClaimFact,
    Member,
    NameAnswer,
    NameExplanation,
    Skip,
    State,
    VmiExplanation,
    ZoneFact,
)
from ksd_ddns.zone.render import message, reasons
from ksd_ddns.zone.render.document import VERSION

Clock = Callable[[float], datetime]
"""Returns the time of day of a time by the monotonic clock."""

_DATE, _CLOCK = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])", r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
Time: TypeAlias = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{_DATE}T{_CLOCK}Z)?\Z")]
"""A time in UTC as RFC 3339 writes it, empty if there is none: the document of another server is decoded, too."""


class RRset(msgspec.Struct, frozen=True):
    """An RRset: `values` as in a zone file."""

    type: str
    ttl: int
    values: list[str]


class Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    """An ownership record: the owner ID, and the VMI (or the group) that had the name."""

    owner: str
    vmi: str
    group: str = ""


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """A VMI that wants a name, for an `interface`, an `annotation` or a `group`; `created` is empty if unknown.

    `served`: it gets the name, perhaps with others. `member` is what became of a member of a group.
    """

    vmi: str
    origin: str
    created: str
    served: bool
    member: Member | None = None


class Name(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A name in a zone. Times are in RFC 3339, UTC; fields that do not apply are left out."""

    zone: str
    name: str
    state: State
    wanted: list[RRset]
    found: list[RRset]
    ours: bool
    owners: list[Owner]
    claims: list[Claim]
    claimed: int
    message: str = ""
    fix: str = ""
    cause: str = ""
    winner: str = ""
    server: str = ""
    rcode: str = ""
    since: Time = ""
    until: Time = ""
    retry_at: Time = ""


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address of an interface, empty if it has none."""

    address: str
    state: State
    names: list[str]
    skip: Skip | None = None
    message: str = ""
    fix: str = ""
    since: Time = ""
    until: Time = ""


class Interface(msgspec.Struct, frozen=True):
    """An interface; the name is empty if only the guest knows it."""

    name: str
    addresses: list[Address]


class Warned(msgspec.Struct, frozen=True):
    """A warning about an annotation, or about a limit."""

    code: str
    message: str


class Vmi(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A VMI, `namespace/name`."""

    vmi: str
    exists: bool
    names: list[Name]
    interfaces: list[Interface]
    warnings: list[Warned]
    uid: str = ""
    phase: str = ""
    created: str = ""
    ttl: int | None = None
    skip: Skip | None = None
    message: str = ""
    fix: str = ""
    slowed_until: Time = ""
    known: bool = True
    unread: str = ""
    similar: list[str] = []


class Zone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A zone; `problem` is why it cannot be read or updated. `sent`: by a controller, which also sends updates."""

    zone: str
    server: str
    serial: int | None
    owner: str
    sent: bool
    problem: str = ""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An explanation of a `vmi` or a `name`, at `time`; `complete`: nothing is missing in DNS.

    `asked` is the name in question; `name` is left out if it is in no zone of ours. `similar` are VMIs that an unused
    name may have been meant to be, `wildcard` is the name whose records answer queries for an unused name.
    """

    version: int
    time: Time
    complete: bool
    zones: list[Zone]
    problems: list[str]
    vmi: Vmi | None = None
    asked: str = ""
    name: Name | None = None
    similar: list[str] = []
    wildcard: str = ""


def names_alike(of: Address, vmi: Vmi) -> list[str]:
    """Return the names of an address of `vmi` that are in DNS, if it is; else those that are not."""
    in_dns = {name.name for name in vmi.names if name.state.in_dns}
    alike = [name for name in of.names if (name in in_dns) == of.state.in_dns]
    return alike or of.names


def encoded(of: Document) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(of), indent=2)


def vmi(of: VmiExplanation, clock: Clock) -> Document:
    """Return the document of a VMI."""
    zones = {fact.zone: fact for fact in of.zones}
    advice = reasons.skipped(of.skip) if of.skip is not None else None
    return Document(
        version=VERSION,
        time=_time(of.now, clock),
        complete=of.complete,
        zones=[_zone(fact) for fact in of.zones],
        problems=list(of.source_problems),
        vmi=Vmi(
            vmi=of.vmi,
            exists=of.exists,
            uid=of.uid,
            phase=of.phase,
            created=_created(of.created),
            ttl=of.ttl,
            skip=of.skip,
            message=advice.problem if advice else "",
            fix=advice.fix if advice else "",
            slowed_until=_time(of.slowed_until, clock),
            known=of.known,
            unread=of.unread,
            interfaces=[
                Interface(item.name, [_address(row, clock) for row in item.addresses]) for item in of.interfaces
            ],
            names=[_name(item, zones[item.zone], clock) for item in of.names],
            warnings=[Warned(item.code.value, message.warning(item)) for item in of.warnings],
            similar=list(of.similar),
        ),
    )


def name(of: NameAnswer, clock: Clock) -> Document:
    """Return the document of a name."""
    zones = {fact.zone: fact for fact in of.zones}
    found = of.explanation
    return Document(
        version=VERSION,
        time=_time(of.now, clock),
        complete=of.complete,
        zones=[_zone(fact) for fact in of.zones],
        problems=list(of.source_problems),
        asked=names.to_text(of.name),
        name=_name(found, zones[found.zone], clock) if found is not None else None,
        similar=list(of.similar),
        wildcard=names.to_text(of.wildcard) if of.wildcard else "",
    )


def _name(of: NameExplanation, zone: ZoneFact, clock: Clock) -> Name:
    advice = reasons.name(of, zone)
    refusal, conflict = of.refusal, of.conflict
    hold = of.hold if of.state is State.HELD else None
    cause = refusal.refusal.cause.value if refusal else conflict.cause.value if conflict else of.skip or ""
    since = refusal.refusal.since if refusal else hold.since if hold else of.unconfirmed_since
    return Name(
        zone=names.to_text(of.zone),
        name=names.to_text(of.name),
        state=of.state,
        wanted=_rrsets(of.wanted),
        found=_rrsets(of.found),
        ours=of.ours,
        owners=[Owner(record.owner, record.vmi, record.group) for record in of.owners],
        claims=[_claim(item) for item in of.claims],
        claimed=of.claimed,
        message=advice.problem,
        fix=advice.fix,
        cause=cause,
        winner=of.winner,
        server=refusal.server if refusal else "",
        rcode=rcodes.text(refusal.refusal.rcode) if refusal and refusal.refusal.rcode is not None else "",
        since=_time(since, clock),
        until=_time(hold.until if hold else None, clock),
        retry_at=_time(refusal.retry_at if refusal else None, clock),
    )


def _address(of: AddressExplanation, clock: Clock) -> Address:
    advice = reasons.address(of)
    return Address(
        address=of.address,
        state=of.state,
        names=[names.to_text(item) for item in of.names],
        skip=of.skip,
        message=advice.problem,
        fix=advice.fix,
        since=_time(of.hold.since if of.hold else None, clock),
        until=_time(of.hold.until if of.hold else None, clock),
    )


def _zone(of: ZoneFact) -> Zone:
    problem = str(of.problem) if of.problem is not None else ""
    if not problem and of.refuses:
        problem = f"{of.server} accepts no update of {names.to_text(of.zone)}"
    return Zone(
        zone=names.to_text(of.zone), server=of.server, serial=of.serial, owner=of.owner, sent=of.sent, problem=problem
    )


def _claim(of: ClaimFact) -> Claim:
    origin = "group" if of.group else "annotation" if of.annotation else "interface"
    return Claim(of.vmi, origin, _created(of.created), of.served, of.member)


def _rrsets(of: Node) -> list[RRset]:
    return [
        RRset(rdtype_text(item.type), item.ttl, [rdata_text(item.type, rdata) for rdata in item.rdatas])
        for item in of.rrsets
    ]


def _time(at: float | None, clock: Clock) -> str:
    return "" if at is None else _text(clock(at))


def _created(seconds: int) -> str:
    return _text(datetime.fromtimestamp(seconds, UTC)) if seconds else ""


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def shown(rrsets: Sequence[RRset], *, without: Sequence[str] = ()) -> str:
    """Return RRsets in one line: `A 10.1.0.9, AAAA fd00::9`, without some types."""
    return ", ".join(f"{item.type} {', '.join(item.values)}" for item in rrsets if item.type not in without)
