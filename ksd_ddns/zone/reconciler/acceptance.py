"""Whether the primary refuses single names, or all updates of the zone.

A primary may refuse one name. It refuses all names if the zone is frozen, if it is a secondary, or if the key lost its
permission. A canary shows the difference: an update without effect, of a name of ours that the zone holds.
"""

from ksd_ddns.zone.reconciler.backoff import Backoff, Jitter

FIRST_RETRY, LONGEST_RETRY = 0.5, 30.0
"""Shortest and longest pause between canaries while none is accepted, in seconds."""

VALID_FOR = 2.0
"""Seconds after an accepted update during which no canary is sent."""

CANARIES = 3
"""Different canaries that must be refused in a row before the zone counts as refusing all updates."""

SUSPICIOUS = 16
"""Names refused in a row, without a canary to send, after which only a sample of the other names is tried."""

SAMPLE = 64
"""Size of that sample, spread over the plan. It misses a branch that holds a smaller share of the names."""


class Acceptance:
    """Whether the zone accepts updates, as far as is known.

    `proven`: this server accepted an update. `refuses`: it accepts none. `sampled`: a sample was tried. `failing`: the
    last refusal was SERVFAIL, which an update without effect may not trigger. `canary_at` is when to send the next
    canary, `canaries` are the names refused as canaries so far.
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
        """Note that an update was accepted; return whether the zone refused updates before."""
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
        """Return whether an update was accepted within the last VALID_FOR seconds."""
        return now < self._valid_until

    def refused(self, name: bytes, *, failing: bool) -> None:
        """Note that the primary refused `name`, alone in its message; `failing`: by SERVFAIL."""
        self._refused.add(name)
        self.failing = failing

    def doubt(self, now: float) -> None:
        """Note that no message of the last Send was accepted: a canary is due."""
        if self.canary_at is None:
            self.canary_at = max(now, self._valid_until)

    def canary_refused(self, name: bytes) -> bool:
        """Note that the canary `name` was refused; return whether to try another one first."""
        self.canaries.add(name)
        return not self.refuses and len(self.canaries) < CANARIES

    @property
    def streak(self) -> int:
        """The number of names refused since the last accepted update."""
        return len(self._refused)

    def zone_refuses(self, now: float) -> bool:
        """Note that the zone accepts no update; return whether that is new."""
        news, self.refuses = not self.refuses, True
        self.canaries.clear()
        self.canary_at = now + self._backoff.next()
        return news

    def reset(self) -> None:
        """Start again: another server answers now."""
        self.refuses = self.sampled = self.failing = self.proven = False
        self.canary_at = None
        self._valid_until = float("-inf")
        self._refused.clear()
        self.canaries.clear()
        self._backoff.reset()
