"""Whether the primary accepts updates of the zone at all, or refuses single names.

A primary may refuse one name. A frozen zone, a secondary, and a key that lost its permission refuse every name. A
canary shows the difference: an update that changes nothing, of a name of ours that the zone holds.
"""

from ksd_ddns.zone.reconciler.backoff import Backoff, Jitter

FIRST_RETRY, LONGEST_RETRY = 0.5, 30.0
"""Seconds between two canaries while none is accepted."""

VALID_FOR = 2.0
"""Seconds in which an accepted canary is not repeated, whatever is refused meanwhile."""

CANARIES = 3
"""Different names that must be refused as a canary, one after the other, before the zone is believed to refuse all."""

SUSPICIOUS = 16
"""Names refused one by one, with none accepted, after which a sample decides for the rest, without a canary."""

SAMPLE = 64
"""Names from all over the plan that are tried then: a branch with a smaller part of the names than that is missed."""


class Acceptance:
    """What is known about whether the zone accepts updates.

    `proven`: it accepted one since this server answers. `refuses`: it accepts none. `sampled`: a sample was chosen.
    `failing`: the last refusals were SERVFAIL, which an update without an effect does not show.
    """

    def __init__(self, *, jitter: Jitter) -> None:
        self._backoff = Backoff(FIRST_RETRY, LONGEST_RETRY, jitter=jitter)
        self._valid_until = float("-inf")
        self._refused: set[bytes] = set()
        self.refuses = False
        self.sampled = False
        self.failing = False
        self.proven = False
        self.canary_at: float | None = None
        self.canaries: set[bytes] = set()

    def accepted(self, now: float) -> bool:
        """Note that an update was accepted; return whether the zone was believed to refuse them."""
        refused, self.refuses = self.refuses, False
        self.proven = True
        self._valid_until = now + VALID_FOR
        self._refused.clear()
        self.canaries.clear()
        self.sampled = self.failing = False
        self.canary_at = None
        self._backoff.reset()
        return refused

    def has_accepted(self, now: float) -> bool:
        """Return whether an update was accepted a moment ago; what that changed may be no canary yet."""
        return now < self._valid_until

    def refused(self, name: bytes, *, failing: bool) -> None:
        """Note that the primary does not accept `name`, alone in its message."""
        self._refused.add(name)
        self.failing = failing

    def doubt(self, now: float) -> None:
        """Note that none of the last messages was accepted: a canary is due."""
        if self.canary_at is None:
            self.canary_at = max(now, self._valid_until)

    def canary_refused(self, name: bytes) -> bool:
        """Note that the canary `name` was refused; return whether another one is to be tried before that counts."""
        self.canaries.add(name)
        return not self.refuses and len(self.canaries) < CANARIES

    @property
    def streak(self) -> int:
        """How many names were refused since one was accepted."""
        return len(self._refused)

    def zone_refuses(self, now: float) -> bool:
        """Note that the zone accepts nothing; return whether that is news."""
        news, self.refuses = not self.refuses, True
        self.canaries.clear()
        self.canary_at = now + self._backoff.next()
        return news

    def reset(self) -> None:
        """Forget what was known: another server answers now."""
        self.refuses = self.sampled = self.failing = self.proven = False
        self.canary_at = None
        self._valid_until = float("-inf")
        self._refused.clear()
        self.canaries.clear()
        self._backoff.reset()
