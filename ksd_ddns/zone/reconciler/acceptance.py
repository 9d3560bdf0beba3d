# SPDX-License-Identifier: Apache-2.0
"""Whether the primary refuses single names, or all updates of the zone.

A primary may refuse one name. It refuses all names if the zone is frozen, if it is a secondary, or if the key lost its
permission. A canary shows the difference: an update without effect, of a name of ours that the zone holds.
"""

from typing import Final

from ksd_ddns.zone.reconciler.backoff import Backoff, Jitter

FIRST_RETRY, LONGEST_RETRY = 0.5, 30.0
"""Shortest and longest pause between canaries while none is accepted, in seconds."""

VALID_FOR = 2.0
"""Seconds after an accepted update during which no canary is sent."""

CANARIES = 3
"""Different canaries that must be refused in a row before the zone counts as refusing all updates."""

SUSPICIOUS = 16
"""Names refused in a row after which, if no canary can be sent, only a sample of the other names is tried."""

SAMPLE = 64
"""Size of that sample, spread over the plan. It may miss a namespace with a smaller share of the names."""


class CanarySchedule:
    """When to send the next canary (`due_at`, None: not needed), and the names `refused` as canaries in a row."""

    def __init__(self, *, jitter: Jitter) -> None:
        self._backoff = Backoff(FIRST_RETRY, LONGEST_RETRY, jitter=jitter)
        self._not_before = float("-inf")
        self.due_at: float | None = None
        self.refused: set[bytes] = set()

    def schedule(self, now: float) -> None:
        """Schedule a canary, if none is: no message of the last Send was accepted."""
        if self.due_at is None:
            self.due_at = max(now, self._not_before)

    def schedule_retry(self, now: float) -> None:
        """Schedule a canary after a pause: the zone accepts no update."""
        self.refused.clear()
        self.due_at = now + self._backoff.next()

    def cancel(self, *, not_before: float = float("-inf")) -> None:
        """Cancel the canary, and start with short pauses again; the next one is due at `not_before` or later."""
        self.refused.clear()
        self.due_at = None
        self._not_before = not_before
        self._backoff.reset()


class Acceptance:
    """Whether the zone accepts updates, as far as is known.

    `accepted_any`: this server accepted an update. `refuses`: it accepts none. `sampled`: a sample was tried.
    `servfail`: the last refusal was SERVFAIL, which an update without effect may not cause.
    """

    def __init__(self, *, jitter: Jitter) -> None:
        self._refused: set[bytes] = set()
        self.canaries: Final = CanarySchedule(jitter=jitter)
        self.accepted_any = False
        self.refuses = False
        self.sampled = False
        self.servfail = False

    @property
    def refused_in_a_row(self) -> int:
        """The number of names refused since the last accepted update."""
        return len(self._refused)

    def note_accepted(self, now: float) -> bool:
        """Note that an update was accepted; return whether the zone refused updates before."""
        refused = self.refuses
        self._forget()
        self.accepted_any = True
        self.canaries.cancel(not_before=now + VALID_FOR)
        return refused

    def note_refused(self, name: bytes, *, servfail: bool) -> None:
        """Note that the primary refused `name`, alone in its message, perhaps with SERVFAIL."""
        self._refused.add(name)
        self.servfail = servfail

    def note_canary_refused(self, name: bytes) -> bool:
        """Note that the canary `name` was refused; return whether to try another one first."""
        self.canaries.refused.add(name)
        return not self.refuses and len(self.canaries.refused) < CANARIES

    def note_zone_refuses(self, now: float) -> bool:
        """Note that the zone accepts no update; return whether that is new."""
        is_new, self.refuses = not self.refuses, True
        self.canaries.schedule_retry(now)
        return is_new

    def reset(self) -> None:
        """Start again: another server answers now."""
        self._forget()
        self.accepted_any = False
        self.canaries.cancel()

    def _forget(self) -> None:
        self._refused.clear()
        self.refuses = self.sampled = self.servfail = False
