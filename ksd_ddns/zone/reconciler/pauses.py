"""When to try the primary again after a failure, for reads and for updates."""

from ksd_ddns.errors import PrimaryError
from ksd_ddns.zone.reconciler.backoff import Backoff, Jitter
from ksd_ddns.zone.reconciler.timing import TIMING, Timing

FIRST_POLL, LONGEST_POLL = 0.05, 1.0
"""Shortest and longest pause between serial checks while the zone does not show accepted changes, in seconds."""


class Pauses:
    """When to try the primary again (`until`), when to send updates (`send_at`), and the `failures` in a row."""

    def __init__(self, *, jitter: Jitter, timing: Timing = TIMING) -> None:
        self._read = Backoff(timing.first_pause, timing.longest_pause, jitter=jitter, spread=0.5)
        self._send = Backoff(timing.first_pause, timing.longest_pause, jitter=jitter, spread=0.5)
        self.poll = Backoff(FIRST_POLL, LONGEST_POLL, jitter=jitter)
        self._unread: PrimaryError | None = None
        self._unsent: PrimaryError | None = None
        self.until = 0.0
        self.send_at = 0.0
        self.failures = 0

    @property
    def problem(self) -> PrimaryError | None:
        """Why the last read or update failed; None if neither did."""
        return self._unread or self._unsent

    @property
    def unanswered_reads(self) -> PrimaryError | None:
        """Why the last read failed; None if it did not."""
        return self._unread

    def failed(self, error: PrimaryError, now: float) -> None:
        """Note that the primary could not be read or reached."""
        self.failures += 1
        self.until = now + (self._read.next() if self._unread is not None else 0.0)
        self._unread = error

    def answered(self) -> bool:
        """Note that the primary could be read; return whether the read before failed."""
        failed, self._unread = self._unread is not None, None
        self.failures = 0 if self._unsent is None else self.failures
        self._read.reset()
        return failed

    def unanswered(self, error: PrimaryError, now: float) -> None:
        """Note that updates were not answered."""
        self.failures += 1
        self.send_at = now + (self._send.next() if self._unsent is not None else 0.0)
        self._unsent = error

    def sent(self) -> None:
        """Note that updates were answered."""
        self._unsent = None
        self.failures = 0
        self.send_at = 0.0
        self._send.reset()
