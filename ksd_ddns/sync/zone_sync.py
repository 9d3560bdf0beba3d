# SPDX-License-Identifier: Apache-2.0
"""Carries out the actions of a reconciler: reads the zone, checks its serial, sends updates, reports the outcome."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from ksd_ddns.errors import PrimaryError
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.names_reader import NamesRequest
from ksd_ddns.primary.queries import Spot
from ksd_ddns.primary.session import Session
from ksd_ddns.primary.update import Sender
from ksd_ddns.wire import names
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.answer import Answer
from ksd_ddns.zone.answers import Answers
from ksd_ddns.zone.reconciler import Reconciler
from ksd_ddns.zone.reconciler.events import (
    Action,
    CheckSerial,
    PrimaryFailed,
    ReadChanges,
    ReadNames,
    ReadZone,
    Send,
    SerialChecked,
    UpdateAnswered,
    UpdateFinished,
    ZoneRead,
)
from ksd_ddns.zone.update import Batch, Limits, batches, touch

Step = Callable[[str, int, int | None], None]
"""Reports progress: what is being done, how much is done, and the total if known."""

_SHOWN_EVERY = 100

_audit = logging.getLogger("ksd_ddns.audit")


def no_progress(what: str, done: int, total: int | None) -> None:
    """Show no progress."""


class Observer(Protocol):
    """Counts responses and failures."""

    def count_failure(self) -> None:
        """Count a failed action."""

    def count_answer(self, answer: Answer) -> None:
        """Count the result of one message."""


class ZoneSync:
    """Keeps one zone in sync over one session.

    `may_send` is called right before each update; `step` gets the progress.
    """

    def __init__(
        self,
        session: Session,
        reconciler: Reconciler,
        limits: Limits,
        *,
        step: Step = no_progress,
        may_send: Callable[[], bool] = lambda: True,
        observer: Observer | None = None,
    ) -> None:
        self.session = session
        self.reconciler = reconciler
        self._limits = limits
        self._step = step
        self._may_send = may_send
        self._observer = observer
        self._sender: Sender | None = None
        self._connects = session.connects
        self._sent_at: int | None = None

    def perform(self, action: Action) -> None:
        """Carry out `action`, and let the reconciler handle the outcome, which may be PrimaryFailed."""
        try:
            match action:
                case ReadZone():
                    self._read(None)
                case ReadChanges():
                    self._read(action.serial)
                case ReadNames():
                    self._read_names(action)
                case CheckSerial():
                    self._check_serial(action)
                case Send():
                    self._send(action)
        except PrimaryError as e:
            if self._observer is not None:
                self._observer.count_failure()
            self.reconciler.handle(PrimaryFailed(e), time.monotonic())

    def _read(self, serial: int | None) -> None:
        zone = self.reconciler.zone
        what = "reading the zone" if serial is None and self._sent_at is None else "reading back"
        self._step(what, 0, None)
        before = self.session.read_from(zone)
        began = time.monotonic()
        transfer = self.session.transfer(zone, serial, lambda records: self._step(what, records, None))
        self._handle_read(transfer, before, began)

    def _read_names(self, action: ReadNames) -> None:
        reconciler = self.reconciler
        live, index, what = reconciler.live, reconciler.index, "reading the zone" if action.full else "reading names"
        assert index is not None
        before = self.session.read_from(reconciler.zone)
        began = time.monotonic()
        request = NamesRequest(
            names=action.names,
            shards=action.shards,
            full=action.full,
            index=index,
            types=reconciler.scope.types,
            known=lambda name: live.get(name).index,
            cuts=live.cuts,
        )
        answers = self.session.read_names(reconciler.zone, request, lambda count: self._step(what, count, None))
        self._handle_read(answers, before, began)

    def _handle_read(self, transfer: Transfer | Answers, before: Server | None, began: float) -> None:
        zone = self.reconciler.zone
        other_server = before not in {None, self.session.read_from(zone)}
        self.reconciler.handle(ZoneRead(transfer, began, other_server), time.monotonic())
        if self._sent_at is not None:
            _audit.info(
                "updates read back",
                extra={
                    "fields": {
                        "zone": names.to_text(zone),
                        "server": self.session.server,
                        "serial": transfer.serial,
                        "serial_before": self._sent_at,
                    }
                },
            )
            self._sent_at = None

    def _check_serial(self, action: CheckSerial) -> None:
        spots = [
            Spot(node.name, item)
            for node in action.spots
            for item in node.rrsets
            if item.type in self.reconciler.scope.types
        ]
        found = self.session.poll(self.reconciler.zone, spots)
        reconnected, self._connects = self.session.connects != self._connects, self.session.connects
        self.reconciler.handle(
            SerialChecked(found.serial, frozenset(found.differing), found.other_server, reconnected), time.monotonic()
        )

    def _send(self, action: Send) -> None:
        reconciler = self.reconciler
        if self._sender is None:
            scope = reconciler.scope
            self._sender = Sender(
                self.session,
                reconciler.zone,
                base=scope.base,
                types=scope.written,
                in_flight=self._limits.in_flight,
            )
        done, total = 0, len(action.plan.changes)

        def report(answer: Answer) -> None:
            nonlocal done
            before, done = done, done + len(answer.changes)
            reconciler.handle(UpdateAnswered(answer), time.monotonic())
            if self._observer is not None:
                self._observer.count_answer(answer)
            if done // _SHOWN_EVERY > before // _SHOWN_EVERY:
                self._step("updating", done, max(done, total))

        self._step("updating", 0, total or None)
        serial = reconciler.live.serial
        self._sent_at = serial if self._sent_at is None else self._sent_at
        try:
            self._sender.send(
                self._messages(action), report, may_send=self._may_send, serial=serial, one_by_one=action.one_by_one
            )
        finally:
            reconciler.handle(UpdateFinished(), time.monotonic())

    def _messages(self, action: Send) -> Iterator[Batch]:
        """Yield the messages of `action`: each is made while the server handles those before it."""
        if action.canary is not None:
            if action.canary.old == action.canary.new:
                yield touch(action.canary)
            else:
                yield from batches([action.canary], self._limits)
        yield from batches(action.plan.changes, self._limits)
        for group in action.groups:
            yield from batches(group, self._limits)
