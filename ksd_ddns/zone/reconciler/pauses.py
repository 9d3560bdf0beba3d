"""When the primary is tried again after a failure, for reads and for updates."""

from ksd_ddns.errors import PrimaryError
from ksd_ddns.zone.reconciler.backoff import Backoff, Jitter
from ksd_ddns.zone.reconciler.timing import TIMING, Timing

FIRST_POLL, LONGEST_POLL = 0.05, 1.0
"""Seconds between two looks at a zone that does not show yet what it accepted."""


class Pauses:
    """When the primary is tried again, for reads and for updates, what is wrong, and how often in a row it failed."""

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
        """What is wrong with the primary now."""
        return self._unread or self._unsent

    @property
    def unanswered_reads(self) -> PrimaryError | None:
        """Why the primary cannot be read now, None where it can: whatever is wrong concerns updates then."""
        return self._unread

    def failed(self, error: PrimaryError, now: float) -> None:
        """Note that the primary could not be read, or took nothing at all."""
        self.failures += 1
        self.until = now + (self._read.next() if self._unread is not None else 0.0)
        self._unread = error

    def answered(self) -> bool:
        """Note that the primary could be read; return whether it could not before."""
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
