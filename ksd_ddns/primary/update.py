# SPDX-License-Identifier: Apache-2.0
"""Sends changes as UPDATE messages (RFC 2136), several in flight on one connection, and reports the result of each."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from ksd_ddns.errors import PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import diagnosis, grants
from ksd_ddns.primary.connection import Connection
from ksd_ddns.primary.exchange import Exchange, Request, Response
from ksd_ddns.primary.grants import Permission
from ksd_ddns.primary.keys import GSS_ALGORITHM, Key
from ksd_ddns.primary.link import Stopped
from ksd_ddns.primary.session import Session
from ksd_ddns.primary.verifier import KeyRejected
from ksd_ddns.wire import codec, names, rcodes
from ksd_ddns.wire.text import rdtype_text
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.update import Batch, Limits

AUDIT_OCTETS = 8_000
"""Maximum octets of names in an audit line: container runtimes split lines over 16 KiB."""

_audit = logging.getLogger("ksd_ddns.audit")


class _Sent(msgspec.Struct, frozen=True):
    batch: Batch
    exchange: Exchange

    @property
    def key(self) -> Key:
        return self.exchange.key


class Sender:
    """Sends changes of one zone over a session.

    Most changes are at or below `base`, and write records of `types`. The permission that an error suggests covers
    exactly these. At most `in_flight` messages are sent before a response is awaited; a server applies and answers
    those of one connection in order.

    If a server closes the connection while several messages are in flight, the limit is halved, down to one. After
    that, a connection carries only as many messages as the server answered before (Knot 3.4 over TLS answers one).

    A negotiated key whose first update on a later connection is refused is negotiated again, once: after a restart BIND
    still knows the key, but with Samba's module it refuses all updates that the key signs.
    """

    def __init__(
        self,
        session: Session,
        zone: bytes,
        *,
        base: bytes = b"",
        types: tuple[int, ...] = (),
        in_flight: int | None = None,
    ) -> None:
        self._session = session
        self._zone = zone
        self._base = base or zone
        self._types = types
        self._most_in_flight = self._in_flight = in_flight or Limits().in_flight
        self._per_connection = 0
        self._answered = 0
        self._one_by_one = False
        self._latest: Key | None = None
        self._tested: Connection | None = None
        self._discarded: Key | None = None
        self._refused: dict[str, list[_Sent]] = {}

    def send(
        self,
        messages: Iterable[Batch],
        report: Callable[[Answer], None],
        *,
        may_send: Callable[[], bool] = lambda: True,
        serial: int = 0,
        one_by_one: bool = False,
    ) -> None:
        """Send `messages` in order; call `report` exactly once for each, as soon as its result is known.

        `report` runs while the server processes the next message. `serial` is the serial on which the plan is based.
        `may_send` is checked right before each message, and between the parts of a message that does not fit the
        kernel's buffer. Once it returns false, nothing more is sent, and only responses to complete messages are
        awaited. With `one_by_one` only one message is in flight. Raises PrimaryError, after reporting all messages, if
        a response violates the protocol.
        """
        waiting = iter(messages)
        first = next(waiting, None)
        if first is None:
            return
        waiting = _chain(first, waiting)
        self._one_by_one = one_by_one
        with self._session.keep_connection():
            try:
                self._send(waiting, report, may_send, serial)
            finally:
                self._log_refused(serial)

    def _send(
        self,
        waiting: Iterator[Batch],
        report: Callable[[Answer], None],
        may_send: Callable[[], bool],
        serial: int,
    ) -> None:
        in_flight: dict[int, _Sent] = {}
        self._answered = 0
        try:
            self._exchange(waiting, in_flight, report, may_send, serial)
            self._in_flight = (
                self._in_flight if self._per_connection else min(self._most_in_flight, self._in_flight + 1)
            )
        except ZoneChanged as e:
            _report_all(waiting, Result.UNSENT, e, report)
        except PrimaryError as e:
            self._log_unanswered(in_flight, serial)  # before fail_over() changes session.server
            if isinstance(e, Unreachable) and not isinstance(e, Stopped):
                self._reduce_in_flight(len(in_flight))
                self._session.fail_over(e)
            else:
                self._session.close()
            _report_all((sent.batch for sent in in_flight.values()), Result.UNKNOWN, e, report)
            _report_all(waiting, Result.UNSENT, e, report)
            if not isinstance(e, Unreachable):
                raise

    def _exchange(
        self,
        waiting: Iterator[Batch],
        in_flight: dict[int, _Sent],
        report: Callable[[Answer], None],
        may_send: Callable[[], bool],
        serial: int,
    ) -> None:
        # Use one key throughout: open_update_exchange() must not be called while responses are due.
        exchange = self._session.open_update_exchange(self._zone)
        if exchange.key is not self._latest:
            self._latest, self._tested = exchange.key, exchange.connection
        more = True
        while True:
            most = 1 if self._one_by_one else self._in_flight
            while more and len(in_flight) < most and exchange.connection.room:
                if self._per_connection and self._answered + len(in_flight) >= self._per_connection:
                    break
                batch = next(waiting, None)
                if batch is None:
                    more = False
                    break
                request = self._signed(batch, exchange, report)
                if request is None:
                    continue
                if not may_send():
                    stopped = Stopped("updates are no longer sent: shutting down, or lost leadership")
                    _report_all(_chain(batch, waiting), Result.UNSENT, stopped, report)
                    more = False
                    break
                in_flight[request.ident] = _Sent(batch, exchange)
                exchange.send(request, may_send=may_send)
            if not in_flight:
                if not more:
                    return
                self._session.close()
                exchange = self._session.open_update_exchange(self._zone)
                self._answered = 0
                continue
            response = exchange.receive()
            exchange.end(response.request)
            self._answered += 1
            if self._settle(response, in_flight, report, serial):
                continue
            _report_all(waiting, Result.UNSENT, _lost_key(exchange), report)
            more = False

    def _reduce_in_flight(self, in_flight: int) -> None:
        """Lower the limits after losing a connection with messages in flight."""
        if in_flight > 1:
            self._in_flight = max(1, self._in_flight // 2)
        elif self._answered and self._in_flight == 1:
            self._per_connection = self._answered

    def _signed(self, batch: Batch, exchange: Exchange, report: Callable[[Answer], None]) -> Request | None:
        """Return the message of `batch`, signed with the current time; report it and return None if it is too large."""
        try:
            request = exchange.prepare(codec.update(exchange.new_id(), self._zone, batch.prerequisites, batch.updates))
        except codec.Malformed as e:
            problem = str(e)
        else:
            size = len(request.wire)
            if size <= codec.MAX_MESSAGE:
                return request
            problem = f"an UPDATE message of {size} octets with its signature: {codec.MAX_MESSAGE} are allowed"
        error = PrimaryError(
            problem, server=exchange.server, zone=names.to_text(self._zone), name=names.to_text(batch.changes[0].name)
        )
        report(Answer(batch.changes, Result.REFUSED, None, error))
        return None

    def _settle(
        self, response: Response, in_flight: dict[int, _Sent], report: Callable[[Answer], None], serial: int
    ) -> bool:
        """Process a response; return false if the server rejected the key and a new one is available."""
        sent, rejected, message = in_flight[response.request.ident], response.error, response.message
        if rejected is not None and not isinstance(rejected, KeyRejected):
            raise rejected
        del in_flight[response.request.ident]
        changes, rcode = sent.batch.changes, message.rcode
        if rcode == rcodes.NOERROR or rcode in rcodes.PREREQUISITE_FAILED:
            self._log([sent], rcodes.text(rcode), serial)
        else:
            self._refused.setdefault(rcodes.text(rcode), []).append(sent)
        if rejected is not None:
            # The cause may also be a missing permission for this name.
            permission = self._permission(sent)
            remedy = "; ".join(filter(None, (rejected.remedy, f"allow it to update {permission.zone}")))
            error: PrimaryError = rejected.replace(
                remedy=remedy, zone=permission.zone, rcode=rcode, stanzas=grants.update(permission)
            )
            has_new_key = self._session.reject_key(sent.key)
            report(Answer(changes, Result.UNSENT if has_new_key else Result.REFUSED, rcode, error))
            return not has_new_key
        if rcode == rcodes.NOERROR:
            self._tested = sent.exchange.connection
            report(Answer(changes, Result.ACCEPTED, rcode))
            return True
        error = diagnosis.update_error(
            rcode,
            server=str(self._session.server),
            permission=self._permission(sent),
            signed=message.tsig is not None,
        )
        if rcode == rcodes.REFUSED and self._discards(sent):
            report(Answer(changes, Result.UNSENT, rcode, _lost_key(sent.exchange)))
            return False
        result = Result.REFUSED
        if rcode in rcodes.PREREQUISITE_FAILED:
            result = Result.STALE
        elif rcode == rcodes.SERVFAIL:
            result = Result.FAILED
        report(Answer(changes, result, rcode, error))
        return True

    def _discards(self, sent: _Sent) -> bool:
        """Return whether the refusal may be that of a negotiated key that the server lost; then discard the key."""
        if sent.key.algorithm != GSS_ALGORITHM:
            return False
        if sent.key is self._discarded:
            return True
        if sent.exchange.connection is self._tested:
            return False
        self._discarded = sent.key
        return self._session.reject_key(sent.key)

    def _permission(self, sent: _Sent) -> Permission:
        """Return the permission that the message needs, with all of our types."""
        change = sent.batch.changes[0]
        written = self._types or change.types
        others = {item.type for pair in change.rrsets() for item in pair if item}.difference(written)
        types = [rdtype_text(rdtype) for rdtype in (*written, *sorted(others))]
        alone = not names.is_below(change.name, self._base)
        base = change.name if alone else self._base
        return Permission(names.to_text(self._zone), names.to_text(base), sent.key.name, types, alone=alone)

    def _log_unanswered(self, in_flight: dict[int, _Sent], serial: int) -> None:
        for sent in in_flight.values():
            self._log([sent], None, serial)

    def _log_refused(self, serial: int) -> None:
        """Write one audit line per rcode: there can be one refused message per name."""
        for rcode, sent in self._refused.items():
            self._log(sent, rcode, serial)
        self._refused.clear()

    def _log(self, messages: Sequence[_Sent], rcode: str | None, serial: int) -> None:
        """Write an audit line; `rcode` is None if there was no valid response, so the result is unknown."""
        if not _audit.isEnabledFor(logging.INFO):
            return
        owners = [change.name for sent in messages for change in sent.batch.changes]
        listed = _listed(owners)
        fields: dict[str, object] = {
            "zone": names.to_text(self._zone),
            "server": str(self._session.server),
            "key": messages[0].key.name,
            "rcode": rcode,
            "serial": serial,
            "names": listed,
        }
        if len(listed) < len(owners):
            fields["more"] = len(owners) - len(listed)
        if len(messages) > 1:
            fields["messages"] = len(messages)
        _audit.info("update", extra={"fields": fields})


def _chain(first: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    yield first
    yield from rest


def _report_all(
    batches: Iterable[Batch], result: Result, error: PrimaryError, report: Callable[[Answer], None]
) -> None:
    for batch in batches:
        report(Answer(batch.changes, result, None, error))


def _lost_key(exchange: Exchange) -> Unreachable:
    server, key = exchange.server, exchange.key.name
    return Unreachable(f"{server} no longer accepts key {key}, using a new one", server=server, key=key)


def _listed(owners: Iterable[bytes]) -> list[str]:
    """Return as many names as fit in an audit line."""
    listed, used = [], 0
    for owner in owners:
        if used >= AUDIT_OCTETS:
            break
        listed.append(names.to_text(owner))
        used += len(listed[-1]) + 1
    return listed
