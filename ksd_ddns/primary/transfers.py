# SPDX-License-Identifier: Apache-2.0
"""Zone transfers: AXFR, and IXFR if the server supports it. Every message is verified."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ksd_ddns.errors import BadResponse, PrimaryError, Unreachable
from ksd_ddns.primary import diagnosis, grants
from ksd_ddns.primary.connection import MESSAGE_TIMEOUTS, SLOWEST
from ksd_ddns.primary.exchange import Exchange, Request
from ksd_ddns.primary.link import Silent
from ksd_ddns.primary.timing import Timing
from ksd_ddns.primary.verifier import KeyRejected
from ksd_ddns.wire import codec, names, rcodes
from ksd_ddns.wire.codec import Malformed
from ksd_ddns.wire.rrset import AXFR, SOA
from ksd_ddns.wire.transfer import Transfer

ALIVE = 10.0
"""Seconds for which a server that answered counts as alive."""

_log = logging.getLogger(__name__)

Progress = Callable[[int], None]
"""Gets the number of records so far."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a transfer, so that no server can keep us busy forever or exhaust the memory.

    The largest zones that a primary serves to hundreds of clients have some million names. `seconds` is for the full
    transfer, `octets_per_second` what must arrive in the long run.
    """

    records: int = 5_000_000
    octets: int = 1 << 30
    seconds: float = 3600.0
    octets_per_second: float = SLOWEST


class IxfrFailed(Exception):
    """IXFR failed with `error`: AXFR must follow."""

    def __init__(self, error: PrimaryError) -> None:
        super().__init__(str(error))
        self.error = error


class _Pause(NamedTuple):
    until: float
    seconds: float


class IxfrPauses:
    """Which zones are read by AXFR for a while, by server index and zone: a missing IXFR must not cost time each poll.

    The pause doubles with each failure in a row.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._pauses: dict[tuple[int, bytes], _Pause] = {}

    def covers(self, index: int, zone: bytes) -> bool:
        """Return whether `zone` must not be read by IXFR now."""
        pause = self._pauses.get((index, zone))
        return pause is not None and time.monotonic() < pause.until

    def note_success(self, index: int, zone: bytes) -> None:
        """Record that IXFR works."""
        self._pauses.pop((index, zone), None)

    def note_failure(self, index: int, zone: bytes, server: object, error: PrimaryError) -> None:
        """Start or extend the pause."""
        before = self._pauses.get((index, zone))
        longest = self._timing.longest_ixfr_pause
        seconds = min(2 * before.seconds, longest) if before else self._timing.ixfr_pause
        if isinstance(error, Silent):
            seconds = longest
        self._pauses[index, zone] = _Pause(time.monotonic() + seconds, seconds)
        facts = {"zone": names.to_text(zone), "server": str(server), "pause": f"{seconds:g}s", "error": str(error)}
        _log.info("IXFR failed, using AXFR for a while", extra={"fields": facts})


class _Deadline:
    """Aborts an endless transfer."""

    def __init__(self, limits: Limits, timeout: float) -> None:
        self._limits = limits
        self._grace = MESSAGE_TIMEOUTS * timeout
        self._began = time.monotonic()

    def check(self, records: int, octets: int) -> None:
        """Raise Malformed if more than `Limits` arrived, Silent if it takes too long."""
        limits = self._limits
        if records > limits.records:
            raise Malformed(f"more than {limits.records} records, and no end")
        if octets > limits.octets:
            raise Malformed(f"more than {limits.octets} octets, and no end")
        seconds = time.monotonic() - self._began
        if seconds > min(limits.seconds, self._grace + octets / limits.octets_per_second):
            raise Silent(f"only {octets} octets arrived in {seconds:.0f} s, and no end")


def check_alive(exchange: Exchange, zone: bytes) -> None:
    """Wait for any response unless one came recently: the long timeout of a transfer is not for a dead server."""
    if time.monotonic() >= exchange.connection.link.received_at + ALIVE:
        exchange.ask(codec.query(exchange.new_id(), zone, SOA))


def receive(
    exchange: Exchange, zone: bytes, serial: int | None, *, limits: Limits, progress: Progress | None = None
) -> Transfer:
    """Return the full zone (AXFR), or what changed since `serial` (IXFR).

    Raises IxfrFailed where IXFR fails, except KeyRejected; PrimaryError where AXFR fails.
    """
    try:
        return _Receiving(exchange, zone, serial, limits).run(progress)
    except KeyRejected as e:
        text = names.to_text(zone)
        remedy = "; ".join(filter(None, (e.remedy, f"allow it to transfer {text}")))
        raise e.replace(remedy=remedy, zone=text, stanzas=grants.transfer(text, e.key)) from e
    except PrimaryError as e:
        if serial is not None:
            raise IxfrFailed(e) from e
        raise


class _Receiving:
    """One transfer while it is received."""

    def __init__(self, exchange: Exchange, zone: bytes, serial: int | None, limits: Limits) -> None:
        self._exchange = exchange
        self._zone = zone
        self._limits = limits
        self._transfer = Transfer(zone, serial)
        self._probe: Request | None = None
        ident = exchange.new_id()
        query = codec.query(ident, zone, AXFR) if serial is None else codec.ixfr_query(ident, zone, serial)
        self._request = exchange.prepare(query, several=True)

    def run(self, progress: Progress | None) -> Transfer:
        """Send the request, and return the complete transfer."""
        exchange, transfer, zone = self._exchange, self._transfer, names.to_text(self._zone)
        try:
            self._receive(progress)
        except Malformed as e:
            raise BadResponse(
                f"the transfer of {zone} from {exchange.server} is malformed: {e}", server=exchange.server, zone=zone
            ) from e
        except Unreachable as e:
            after = f" after {transfer.records} records of {zone}" if transfer.records else ""
            problem = f"the transfer from {exchange.server} ended{after}: {e.problem}"
            raise e.replace(problem=problem, server=exchange.server, zone=zone) from e
        return transfer

    def _receive(self, progress: Progress | None) -> None:
        exchange, transfer = self._exchange, self._transfer
        deadline = _Deadline(self._limits, exchange.connection.timeout)
        octets = 0
        exchange.send(self._request)
        while not transfer.done:
            response = exchange.receive(large=True)
            octets += len(response.message.wire)
            if response.request is self._probe:
                exchange.end(self._probe)
                self._probe = None
                if transfer.lone:
                    raise BadResponse(f"{exchange.server} answered IXFR with its SOA only", server=exchange.server)
                continue
            message = response.verified()
            if message.rcode != rcodes.NOERROR:
                raise self._refused(message)
            transfer.feed(message.answer)
            if not transfer.done:
                deadline.check(transfer.records, octets)
                if transfer.lone and self._probe is None:
                    # If the response to a later query arrives, nothing more follows.
                    self._probe = exchange.prepare(codec.query(exchange.new_id(), self._zone, SOA))
                    exchange.send(self._probe)
            if progress:
                progress(transfer.records)
        if self._request.verifier is not None:
            self._request.verifier.finish()
        exchange.end(self._request)
        if self._probe is not None:
            exchange.receive()
            exchange.end(self._probe)

    def _refused(self, message: codec.Message) -> PrimaryError:
        return diagnosis.transfer_error(
            message.rcode,
            server=self._exchange.server,
            zone=names.to_text(self._zone),
            key=self._exchange.key.name,
            signed=message.tsig is not None,
        )
