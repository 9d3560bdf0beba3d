# SPDX-License-Identifier: Apache-2.0
"""When to try the primary again after a failure, for reads and for updates."""

from ksd_ddns.errors import PrimaryError
from ksd_ddns.zone.reconciler.backoff import Backoff, Jitter
from ksd_ddns.zone.reconciler.timing import TIMING, Timing

FIRST_POLL, LONGEST_POLL = 0.05, 1.0
"""Shortest and longest pause between serial checks while the zone does not show accepted changes, in seconds."""


class Pauses:
    """When to try the primary again (`until`), when to send updates (`send_at`), and the `failures` in a row.

    `read_error` says why the last read failed, None if it did not.
    """

    def __init__(self, *, jitter: Jitter, timing: Timing = TIMING) -> None:
        self._read = Backoff(timing.first_pause, timing.longest_pause, jitter=jitter, spread=0.5)
        self._send = Backoff(timing.first_pause, timing.longest_pause, jitter=jitter, spread=0.5)
        self.poll = Backoff(FIRST_POLL, LONGEST_POLL, jitter=jitter)
        self.read_error: PrimaryError | None = None
        self._update_error: PrimaryError | None = None
        self.until = 0.0
        self.send_at = 0.0
        self.failures = 0

    @property
    def problem(self) -> PrimaryError | None:
        """Why the last read or update failed; None if neither did."""
        return self.read_error or self._update_error

    def note_read_failed(self, error: PrimaryError, now: float) -> None:
        """Note that the primary could not be read or reached."""
        self.failures += 1
        self.until = now + (self._read.next() if self.read_error is not None else 0.0)
        self.read_error = error

    def note_read(self) -> bool:
        """Note that the primary could be read; return whether the read before failed."""
        failed, self.read_error = self.read_error is not None, None
        self.failures = 0 if self._update_error is None else self.failures
        self._read.reset()
        return failed

    def note_updates_unanswered(self, error: PrimaryError, now: float) -> None:
        """Note that updates were not answered."""
        self.failures += 1
        self.send_at = now + (self._send.next() if self._update_error is not None else 0.0)
        self._update_error = error

    def note_updates_answered(self) -> None:
        """Note that updates were answered."""
        self._update_error = None
        self.failures = 0
        self.send_at = 0.0
        self._send.reset()
