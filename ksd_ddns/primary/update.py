"""Sends changes as UPDATE messages: several in flight, refused ones halved until the guilty name stands alone."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import islice

import msgspec

from ksd_ddns.errors import Denied, PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import rcodes
from ksd_ddns.primary.grants import Right
from ksd_ddns.primary.keys import Key, KeyRejected, Verifier
from ksd_ddns.primary.session import Session, new_id
from ksd_ddns.zone import names, wire
from ksd_ddns.zone.plan import Change
from ksd_ddns.zone.text import rdtype_text
from ksd_ddns.zone.update import Batch, Limits, batch, batches

IN_FLIGHT = 16
"""Messages on their way at the same time: on one connection they are applied and answered in order."""

GIVE_UP_AFTER = 16
"""Names refused one by one, with none accepted, after which it may be the right that is missing, not the names."""

SAMPLE = 64
"""Names from all over the plan that are tried then: a branch with a smaller part of the names than that is missed."""

AUDIT_OCTETS = 8_000
"""Octets of names in one line of the audit: container runtimes cut lines of more than 16 KiB."""

_UNLESS = 'without "check-names primary ignore;" (in its options) or "check-names ignore;" (in the zone)'

_audit = logging.getLogger("ksd_ddns.audit")


class Result(StrEnum):
    """What became of a change."""

    ACKNOWLEDGED = "acknowledged"
    """The server says it is done; that it is, only reading the zone again can tell."""
    STALE = "stale"
    """A prerequisite of its message failed: the zone is not what the plan was made from. Nothing was applied."""
    REFUSED = "refused"
    """The server refuses this very name. Nothing was applied."""
    UNKNOWN = "unknown"
    """The message was sent, and no answer came: only reading the zone again can tell."""
    UNSENT = "unsent"
    """The message was not sent, or not taken: the connection was lost, the key is another one, the program ended."""


class Outcome(msgspec.Struct, frozen=True):
    """A change, what became of it, and why, as a sentence for people (empty when acknowledged).

    `error` is what the server said of a change that it refuses, None where it said nothing of the kind.
    """

    change: Change
    result: Result
    reason: str = ""
    error: PrimaryError | None = None


_PASSING = dict.fromkeys(rcodes.PREREQUISITE_FAILED, Result.STALE) | {rcodes.SERVFAIL: Result.UNKNOWN}
"""Refusals that may be gone after another look at the zone."""


class _Sent(msgspec.Struct, frozen=True):
    batch: Batch
    key: Key
    mac: bytes


class _Hopeless(Exception):
    """The server takes no name at all; `error` is what it says of each."""

    def __init__(self, error: PrimaryError) -> None:
        super().__init__(str(error))
        self.error = error


class _Queue:
    """The batches that wait: those that go first, and behind them those that are made when their turn comes."""

    def __init__(self, coming: Iterator[Batch]) -> None:
        self._ready: deque[Batch] = deque()
        self._coming = coming

    def __bool__(self) -> bool:
        if not self._ready:
            self._ready.extend(islice(self._coming, 1))
        return bool(self._ready)

    def next(self) -> Batch:
        """Return the next batch; there must be one."""
        return self._ready.popleft()

    def first(self, these: Iterable[Batch]) -> None:
        """Let `these` go before all others, in their order."""
        self._ready.extendleft(reversed([*these]))

    def drained(self) -> list[Change]:
        """Return all changes that wait, and let none wait any more."""
        waiting = [change for item in (*self._ready, *self._coming) for change in item.changes]
        self._ready.clear()
        return waiting


def _ignore(outcome: Outcome) -> None:
    """Let it pass."""


class Sender:
    """Sends changes of one zone on a session; keeps what it learns about the right to update.

    `base` is the name below which changes stand, as far as there is one, and `types` are the record types that are
    written there: what is granted for them need not be more, nor less.
    """

    def __init__(
        self, session: Session, zone: bytes, limits: Limits, *, base: bytes = b"", types: tuple[int, ...] = ()
    ) -> None:
        self._session = session
        self._zone = zone
        self._base = base or zone
        self._types = types
        self._limits = limits
        self._accepted = 0
        self._refused = 0
        self._give_up_after = GIVE_UP_AFTER

    def send(
        self,
        changes: Iterable[Change],
        *,
        halve: bool = False,
        settled: Callable[[Outcome], None] = _ignore,
        ending: Callable[[], bool] = lambda: False,
        serial: int = 0,
    ) -> list[Outcome]:
        """Send `changes`, each name whole in one message, and return what became of each.

        `serial` is that of the zone that they were planned on. `settled` is told as soon as that is known of a change:
        it has the time in which the server works.

        A message that is stale, or that the server failed at, is worth another look at the zone first: only with
        `halve` is it halved like a refused one, so that a name that somebody else keeps changing does not hold up the
        others. When it is `ending` nothing more is sent, and what is in flight is waited for. Raises a PrimaryError
        where the server takes nothing at all.
        """
        with self._session.held():
            return self._send(
                _Queue(batches(changes, self._limits)), halve=halve, settled=settled, ending=ending, serial=serial
            )

    def _send(
        self,
        queue: _Queue,
        *,
        halve: bool,
        settled: Callable[[Outcome], None],
        ending: Callable[[], bool],
        serial: int,
    ) -> list[Outcome]:
        flying: dict[int, _Sent] = {}
        outcomes: list[Outcome] = []
        told = 0
        try:
            # One key for all of it: asking for another one looks at the connection, on which answers are waiting.
            line = self._session.for_updates(self._zone) if queue else None
            while line and (queue or flying):
                connection, key = line
                if ending():
                    outcomes += _unsent(queue.drained(), "the program ends")
                while queue and len(flying) < IN_FLIGHT and connection.room:
                    batch = queue.next()
                    ident = self._new_id(flying)
                    request = self._signed(ident, batch, key, outcomes)
                    if request is None:
                        continue
                    signed, mac = request
                    flying[ident] = _Sent(batch, key, mac)
                    connection.send(signed)
                if flying:
                    self._settle(connection.receive(), flying, queue, outcomes, halve=halve, serial=serial)
                for outcome in outcomes[told:]:
                    settled(outcome)
                told = len(outcomes)
        except _Hopeless as e:
            self._log_unanswered(flying, serial)
            self._session.close()
            raise e.error from None
        except ZoneChanged as e:
            outcomes += _unsent(queue.drained(), str(e))
        except Unreachable as e:
            self._log_unanswered(flying, serial)  # while it is the server that is left
            self._session.failed(e)
            outcomes += _all(flying.values(), Result.UNKNOWN, str(e))
            outcomes += _unsent(queue.drained(), str(e))
        except PrimaryError:
            self._log_unanswered(flying, serial)
            self._session.close()
            raise
        for outcome in outcomes[told:]:
            settled(outcome)
        return outcomes

    def _new_id(self, flying: dict[int, _Sent]) -> int:
        ident = new_id()
        while ident in flying:
            ident = new_id()
        return ident

    def _signed(self, ident: int, batch: Batch, key: Key, outcomes: list[Outcome]) -> tuple[bytes, bytes] | None:
        """Return the message of `batch`, signed as of now, and its MAC; None where no message can hold it."""
        try:
            request = wire.update(ident, self._zone, batch.prerequisites, batch.updates)
        except wire.Malformed as e:
            reason = str(e)
        else:
            signed, mac = key.sign(request)
            if len(signed) <= wire.MAX_MESSAGE:
                return signed, mac
            reason = f"an UPDATE message of {len(signed)} octets with its signature: {wire.MAX_MESSAGE} are allowed"
        outcomes += [Outcome(change, Result.REFUSED, reason) for change in batch.changes]
        return None

    def _settle(
        self,
        octets: bytes,
        flying: dict[int, _Sent],
        queue: _Queue,
        outcomes: list[Outcome],
        *,
        halve: bool,
        serial: int,
    ) -> None:
        """Take one response: its message is done, or goes back into the queue in halves."""
        message = self._session.parsed(octets)
        sent = flying.get(message.id)
        if sent is None:
            raise self._session.foreign_response()
        error = self._judged(message, sent)
        del flying[message.id]
        self._log(sent, rcodes.text(message.rcode), serial)
        if isinstance(error, KeyRejected) and self._session.renewed(sent.key):
            outcomes += _unsent((*sent.batch.changes, *queue.drained()), str(error))
            return
        batch = sent.batch
        if message.rcode == rcodes.NOERROR and error is None:
            self._accepted += len(batch.changes)
            outcomes += [Outcome(change, Result.ACKNOWLEDGED) for change in batch.changes]
            return
        passing = _PASSING.get(message.rcode) if error is None else None
        if len(batch.changes) > 1 and (halve or passing is None):
            queue.first(batch.halves())
            return
        signed = message.tsig is not None
        error = error or rcodes.update_error(
            message.rcode, server=str(self._session.server), right=self._right(sent), signed=signed
        )
        if passing is Result.STALE or (passing and not halve):
            outcomes += [Outcome(change, passing, str(error)) for change in batch.changes]
            return
        if message.rcode == rcodes.REFUSED and not names.is_host_name(batch.changes[0].name):
            error = Denied(f"{error}. Or it is the name alone: it is no host name, which BIND refuses {_UNLESS}")
        self._count_refusal(error, flying, queue)
        outcomes.append(Outcome(batch.changes[0], Result.REFUSED, str(error), error))

    def _count_refusal(self, error: PrimaryError, flying: dict[int, _Sent], queue: _Queue) -> None:
        """Raise `error` where it is the right that is missing, not some names that are odd.

        What is granted may be one branch of many: before giving up, names from all over the plan are tried first.
        """
        self._refused += 1
        if self._accepted or self._refused < self._give_up_after:
            return
        if self._give_up_after > GIVE_UP_AFTER:
            raise _Hopeless(error)
        waiting = queue.drained()
        step = len(waiting) // SAMPLE + 1
        sample = waiting[::step]
        on_their_way = sum(len(item.batch.changes) for item in flying.values())
        self._give_up_after += max(1, on_their_way + len(sample))
        queue.first(batches((change for i, change in enumerate(waiting) if i % step), self._limits))
        queue.first(batch([change]) for change in sample)

    def _judged(self, message: wire.Message, sent: _Sent) -> PrimaryError | None:
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
            self._log(sent, "no answer that counts", serial)

    def _log(self, sent: _Sent, answer: str, serial: int) -> None:
        if _audit.isEnabledFor(logging.INFO):
            _audit.info(
                "update of %s at serial %d on %s with key %s: %s: %s",
                names.to_text(self._zone),
                serial,
                self._session.server,
                sent.key.name,
                answer,
                _listed(change.name for change in sent.batch.changes),
            )


def _listed(owners: Iterable[bytes]) -> str:
    """Return the names, as many of them as a line of a log can hold."""
    shown = [names.to_text(owner) for owner in owners]
    used, count = 0, 0
    while count < len(shown) and used < AUDIT_OCTETS:
        used += len(shown[count]) + 2
        count += 1
    more = f" and {len(shown) - count} more" if count < len(shown) else ""
    return ", ".join(shown[:count]) + more


def _unsent(changes: Iterable[Change], reason: str) -> list[Outcome]:
    return [Outcome(change, Result.UNSENT, reason) for change in changes]


def _all(sent: Iterable[_Sent], result: Result, reason: str) -> list[Outcome]:
    return [Outcome(change, result, reason) for item in sent for change in item.batch.changes]
