"""Sends changes as UPDATE messages (RFC 2136), several in flight on one connection, and reports what became of each."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from ksd_ddns.errors import PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import rcodes
from ksd_ddns.primary.grants import Right
from ksd_ddns.primary.keys import Key, KeyRejected, Verifier
from ksd_ddns.primary.session import Session, new_id
from ksd_ddns.wire import codec, names
from ksd_ddns.wire.text import rdtype_text
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.update import Batch

IN_FLIGHT = 16
"""Messages on their way at the same time: on one connection they are applied and answered in order."""

AUDIT_OCTETS = 8_000
"""Octets of names in one line of the audit: container runtimes cut lines of more than 16 KiB."""

_audit = logging.getLogger("ksd_ddns.audit")


class _Sent(msgspec.Struct, frozen=True):
    batch: Batch
    key: Key
    mac: bytes


class Sender:
    """Sends changes of one zone on a session.

    `base` is the name below which changes stand, as far as there is one, and `types` are the record types that are
    written there: the permission that an error asks for covers these, and no more.

    A server that hangs up while several messages are in flight gets fewer of them, down to one, and then only as many
    on one connection as it has answered before (Knot 3.4 over TLS answers one).
    """

    def __init__(self, session: Session, zone: bytes, *, base: bytes = b"", types: tuple[int, ...] = ()) -> None:
        self._session = session
        self._zone = zone
        self._base = base or zone
        self._types = types
        self._in_flight = IN_FLIGHT
        self._per_connection = 0
        self._answered = 0
        self._refused: dict[str, list[_Sent]] = {}

    def send(
        self,
        messages: Iterable[Batch],
        report: Callable[[Answer], None],
        *,
        may_send: Callable[[], bool] = lambda: True,
        serial: int = 0,
    ) -> None:
        """Send `messages` in order; `report` what became of each as soon as that is known, of each exactly once.

        `report` has the time in which the server works at the next message. `serial` is that of the zone that was
        planned on. `may_send` is asked right before each message: where it says no, nothing more is sent, and what is
        in flight is waited for. Raises a PrimaryError where the server answers nonsense; all messages were reported
        then, too.
        """
        waiting = iter(messages)
        first = next(waiting, None)
        if first is None:
            return
        waiting = _chain(first, waiting)
        with self._session.held():
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
        flying: dict[int, _Sent] = {}
        self._answered = 0
        try:
            self._exchange(waiting, flying, report, may_send, serial)
            self._in_flight = self._in_flight if self._per_connection else min(IN_FLIGHT, self._in_flight + 1)
        except ZoneChanged as e:
            _report_all(waiting, Result.UNSENT, e, report)
        except Unreachable as e:
            self._hung_up(len(flying))
            self._log_unanswered(flying, serial)  # while it is the server that is left
            self._session.failed(e)
            _report_all((sent.batch for sent in flying.values()), Result.UNKNOWN, e, report)
            _report_all(waiting, Result.UNSENT, e, report)
        except PrimaryError as e:
            self._log_unanswered(flying, serial)
            self._session.close()
            _report_all((sent.batch for sent in flying.values()), Result.UNKNOWN, e, report)
            _report_all(waiting, Result.UNSENT, e, report)
            raise

    def _exchange(
        self,
        waiting: Iterator[Batch],
        flying: dict[int, _Sent],
        report: Callable[[Answer], None],
        may_send: Callable[[], bool],
        serial: int,
    ) -> None:
        # One key for all of it: asking for another one looks at the connection, on which answers are waiting.
        connection, key = self._session.for_updates(self._zone)
        more = True
        while True:
            while more and len(flying) < self._in_flight and connection.room:
                if self._per_connection and self._answered + len(flying) >= self._per_connection:
                    break
                batch = next(waiting, None)
                if batch is None:
                    more = False
                    break
                ident = new_id()
                while ident in flying:
                    ident = new_id()
                request = self._signed(ident, batch, key, report)
                if request is None:
                    continue
                signed, mac = request
                if not may_send():
                    stopped = Unreachable("updates are no longer sent: shutting down, or leadership was lost")
                    _report_all(_chain(batch, waiting), Result.UNSENT, stopped, report)
                    more = False
                    break
                flying[ident] = _Sent(batch, key, mac)
                connection.send(signed)
            if not flying:
                if not more:
                    return
                self._session.close()
                connection, key = self._session.for_updates(self._zone)
                self._answered = 0
                continue
            octets = connection.receive()
            self._answered += 1
            if self._settle(octets, flying, report, serial):
                continue
            replaced = KeyRejected(f"{self._session.server} does not know key {key.name} any longer")
            _report_all(waiting, Result.UNSENT, replaced, report)
            more = False

    def _hung_up(self, in_flight: int) -> None:
        """Learn from a connection that was lost while messages were in flight."""
        if in_flight > 1:
            self._in_flight = max(1, self._in_flight // 2)
        elif self._answered and self._in_flight == 1:
            self._per_connection = self._answered

    def _signed(
        self, ident: int, batch: Batch, key: Key, report: Callable[[Answer], None]
    ) -> tuple[bytes, bytes] | None:
        """Return the message of `batch`, signed as of now, and its MAC; None where no message can hold it."""
        try:
            request = codec.update(ident, self._zone, batch.prerequisites, batch.updates)
        except codec.Malformed as e:
            reason = str(e)
        else:
            signed, mac = key.sign(request)
            if len(signed) <= codec.MAX_MESSAGE:
                return signed, mac
            reason = f"an UPDATE message of {len(signed)} octets with its signature: {codec.MAX_MESSAGE} are allowed"
        report(Answer(batch.changes, Result.REFUSED, None, PrimaryError(reason)))
        return None

    def _settle(self, octets: bytes, flying: dict[int, _Sent], report: Callable[[Answer], None], serial: int) -> bool:
        """Take one response; return false where its key is not known any more, and another one is there by now."""
        message = self._session.parsed(octets)
        sent = flying.get(message.id)
        if sent is None:
            raise self._session.foreign_response()
        error = self._judged(message, sent)
        del flying[message.id]
        changes, rcode = sent.batch.changes, message.rcode
        if rcode == rcodes.NOERROR or rcode in rcodes.PREREQUISITE_FAILED:
            self._log([sent], rcodes.text(rcode), serial)
        else:
            self._refused.setdefault(rcodes.text(rcode), []).append(sent)
        if isinstance(error, KeyRejected) and self._session.renewed(sent.key):
            report(Answer(changes, Result.UNSENT, rcode, error))
            return False
        if error is None and rcode == rcodes.NOERROR:
            report(Answer(changes, Result.ACCEPTED, rcode))
            return True
        result = Result.REFUSED
        if error is None:
            signed = message.tsig is not None
            error = rcodes.update_error(rcode, server=str(self._session.server), right=self._right(sent), signed=signed)
            if rcode in rcodes.PREREQUISITE_FAILED:
                result = Result.STALE
            elif rcode == rcodes.SERVFAIL:
                result = Result.FAILED
        report(Answer(changes, result, rcode, error))
        return True

    def _judged(self, message: codec.Message, sent: _Sent) -> PrimaryError | None:
        """Return the error that the signature of the response tells of, None where it is good."""
        try:
            Verifier(sent.key, sent.mac, server=str(self._session.server)).verify(message)
        except KeyRejected as e:
            # Perhaps of this one name only.
            right = self._right(sent)
            return KeyRejected(f"{e}. To let it update {right.zone}: {rcodes.update_grant(right)}")
        return None

    def _right(self, sent: _Sent) -> Right:
        """Return what a message like this one needs, whichever of our types it holds."""
        change = sent.batch.changes[0]
        written = self._types or change.types
        others = {item.type for pair in change.rrsets() for item in pair if item}.difference(written)
        types = [rdtype_text(rdtype) for rdtype in (*written, *sorted(others))]
        alone = not names.is_below(change.name, self._base)
        base = change.name if alone else self._base
        return Right(names.to_text(self._zone), names.to_text(base), sent.key.name, types, alone=alone)

    def _log_unanswered(self, flying: dict[int, _Sent], serial: int) -> None:
        for sent in flying.values():
            self._log([sent], "no valid response", serial)

    def _log_refused(self, serial: int) -> None:
        """Write one line for all messages that were refused with one rcode: there can be a message for each name."""
        for rcode, sent in self._refused.items():
            self._log(sent, rcode, serial)
        self._refused.clear()

    def _log(self, messages: Sequence[_Sent], answer: str, serial: int) -> None:
        if _audit.isEnabledFor(logging.INFO):
            _audit.info(
                "update of %s at serial %d on %s with key %s: %s: %s",
                names.to_text(self._zone),
                serial,
                self._session.server,
                messages[0].key.name,
                answer,
                _listed(change.name for sent in messages for change in sent.batch.changes),
            )


def _chain(first: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    yield first
    yield from rest


def _report_all(
    batches: Iterable[Batch], result: Result, error: PrimaryError, report: Callable[[Answer], None]
) -> None:
    for batch in batches:
        report(Answer(batch.changes, result, None, error))


def _listed(owners: Iterable[bytes]) -> str:
    """Return the names, as many of them as a line of a log can hold."""
    shown = [names.to_text(owner) for owner in owners]
    used, count = 0, 0
    while count < len(shown) and used < AUDIT_OCTETS:
        used += len(shown[count]) + 2
        count += 1
    more = f" and {len(shown) - count} more" if count < len(shown) else ""
    return ", ".join(shown[:count]) + more
