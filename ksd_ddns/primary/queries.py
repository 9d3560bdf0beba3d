# SPDX-License-Identifier: Apache-2.0
"""Queries: which zone holds a name, a zone's serial, and spot checks of its records."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from ksd_ddns.errors import BadResponse, Denied
from ksd_ddns.primary import diagnosis
from ksd_ddns.primary.exchange import Exchange, Request
from ksd_ddns.primary.keys import GSS_ALGORITHM
from ksd_ddns.wire import codec, names, rcodes
from ksd_ddns.wire.codec import Malformed, Message
from ksd_ddns.wire.rrset import CNAME, SOA, RRset
from ksd_ddns.zone.reverse_search import Placed

PIPELINED = 32
"""Queries that are in flight at the same time."""

Question = tuple[bytes, int]
"""What a query asks for: an owner name and a record type."""

_EMPTY_ZONE = names.ROOT + bytes(4)
"""The SOA of the empty zones that BIND adds (RFC 6303), after the first name: no mail address, serial 0."""


class Spot(NamedTuple):
    """An RRset that the server should have at `owner`. The TTL is not compared.

    An RRset without rdatas should not exist.
    """

    owner: bytes
    rrset: RRset


class PollResult(NamedTuple):
    """The result of a poll.

    `primary` is the primary that the SOA names (MNAME). `other_server`: the zone was last read from another server.
    `differing` are the owner names of spots with another answer, `unknown` those without a usable answer (SERVFAIL,
    REFUSED, not authoritative). If `serial` has changed since the zone was read, that may be why spots differ.
    """

    serial: int
    primary: bytes
    other_server: bool
    differing: set[bytes]
    unknown: set[bytes]


def enclosing_zone(exchange: Exchange, name: bytes) -> bytes:
    """Return the apex of the zone that contains `name`, from a query for its SOA, as nsupdate does."""
    message = _soa_response(exchange, exchange.ask(codec.query(exchange.new_id(), name, SOA)).verified(), name)
    for owner, rdtype, _, rdata in (*message.answer, *message.authority):
        if rdtype == SOA and names.is_below(name, owner):
            if rdata.startswith(owner + _EMPTY_ZONE):
                raise Denied(
                    f"{exchange.server} has no zone {names.to_text(owner)}: it is one of the empty zones that BIND "
                    "adds for reverse names (RFC 6303)",
                    "create the zone there, or correct REVERSE_ZONES",
                    server=exchange.server,
                    zone=names.to_text(owner),
                )
            return owner
    raise BadResponse(
        f"{exchange.server} does not say which zone holds {names.to_text(name)}",
        "set ZONE",
        server=exchange.server,
        name=names.to_text(name),
    )


def place(exchange: Exchange, name: bytes) -> Placed:
    """Return which zone of the server holds `name`: only one that it is authoritative for, and that an admin made.

    An error response for this name alone is an answer, too: the server does not serve it, or not to us.
    """
    response = exchange.ask(codec.query(exchange.new_id(), name, SOA))
    message = response.verified()
    if message.rcode == rcodes.REFUSED and exchange.key.algorithm == GSS_ALGORITHM and not response.proven:
        # The server may only have lost the key that it negotiated.
        raise diagnosis.query_error(
            message.rcode, server=exchange.server, name=names.to_text(name), key=exchange.key.name
        )
    if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN}:
        # A server that has just started has not loaded all its zones.
        unsure = message.rcode == rcodes.SERVFAIL
        reason = f"{exchange.server} serves no zone for it ({rcodes.text(message.rcode)})"
        return Placed(None, reason=reason, unsure=unsure)
    if message.tsig is None:
        raise _unsigned(exchange, name)
    if not message.flags & codec.FLAG_AA:
        return Placed(None, reason=f"{exchange.server} is not authoritative for it: it forwards or delegates the name")
    for owner, rdtype, _, rdata in message.answer:
        if owner == name and rdtype == CNAME:
            return Placed(None, alias=rdata)
    for owner, rdtype, _, rdata in (*message.answer, *message.authority):
        if rdtype == SOA and names.is_below(name, owner):
            if rdata.startswith(owner + _EMPTY_ZONE):
                return Placed(None, reason=f"{names.to_text(owner)} is an empty zone that BIND adds (RFC 6303)")
            return Placed(owner)
    return Placed(None, reason=f"{exchange.server} does not say which zone holds it")


def ask(exchange: Exchange, questions: Iterable[Question]) -> Iterator[tuple[Question, Message]]:
    """Ask `questions`, PIPELINED at a time; yield each with its verified answer. Raises PrimaryError."""
    waiting = iter(questions)
    in_flight: dict[int, tuple[Question, Request]] = {}
    while True:
        if len(in_flight) <= PIPELINED // 2:  # several queries take one system call
            batch: dict[int, tuple[Question, Request]] = {}
            for question in islice(waiting, PIPELINED - len(in_flight)):
                while (ident := exchange.new_id()) in batch:
                    pass
                batch[ident] = question, exchange.prepare(codec.query(ident, *question))
            if batch:
                exchange.send_all([request for _, request in batch.values()])
                in_flight.update(batch)
        if not in_flight:
            return
        response = exchange.receive()
        question, request = in_flight.pop(response.request.ident)
        exchange.end(request)
        yield question, response.verified()


def poll(exchange: Exchange, zone: bytes, spots: Sequence[Spot], *, other_server: bool) -> PollResult:
    """Return the serial of `zone`, and the `spots` with another answer."""
    by_question = {(spot.owner, spot.rrset.type): spot for spot in spots}
    serial, primary = 0, b""
    differing: set[bytes] = set()
    unknown: set[bytes] = set()
    for question, message in ask(exchange, [(zone, SOA), *by_question]):
        spot = by_question.get(question)
        if spot is None:
            serial, primary = _soa(exchange, _soa_response(exchange, message, zone), zone)
            continue
        found = _rdatas(exchange, message, spot)
        if found is None:
            unknown.add(spot.owner)
        elif found != spot.rrset.rdatas:
            differing.add(spot.owner)
    return PollResult(serial, primary, other_server, differing, unknown)


def _rdatas(exchange: Exchange, message: Message, spot: Spot) -> tuple[bytes, ...] | None:
    """Return the rdatas in the answer for a spot; None if the answer is not usable."""
    if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN} or not message.flags & codec.FLAG_AA:
        return None
    if message.tsig is None:
        raise _unsigned(exchange, spot.owner)
    owner, rdtype = spot.owner, spot.rrset.type
    return tuple(sorted({rdata for name, kind, _, rdata in message.answer if name == owner and kind == rdtype}))


def _soa(exchange: Exchange, message: Message, zone: bytes) -> tuple[int, bytes]:
    """Return the serial of `zone`, and the name of its primary."""
    for owner, rdtype, _, rdata in message.answer:
        if rdtype == SOA and owner == zone:
            try:
                return codec.soa_serial(rdata), codec.soa_primary(rdata)
            except Malformed as e:
                raise BadResponse(f"{exchange.server} sent a malformed SOA: {e}", server=exchange.server) from e
    raise BadResponse(
        f"{exchange.server} serves no zone {names.to_text(zone)}",
        "set ZONE to the apex of a zone that it is primary of",
        server=exchange.server,
        zone=names.to_text(zone),
    )


def _soa_response(exchange: Exchange, message: Message, name: bytes) -> Message:
    """Return the verified and authoritative response to a query for the SOA of `name`. Raises PrimaryError."""
    server, key = exchange.server, exchange.key.name
    if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN}:
        raise diagnosis.query_error(message.rcode, server=server, name=names.to_text(name), key=key)
    if message.tsig is None:
        raise _unsigned(exchange, name)
    if not message.flags & codec.FLAG_AA:
        raise BadResponse(
            f"{server} is not authoritative for {names.to_text(name)}: it is a resolver, or the zone is delegated",
            "set DNS_SERVER to the zone's primary",
            server=server,
            name=names.to_text(name),
        )
    return message


def _unsigned(exchange: Exchange, name: bytes) -> BadResponse:
    text = names.to_text(name)
    return BadResponse(
        f"{exchange.server} answered that {text} does not exist, without a signature", server=exchange.server, name=text
    )
