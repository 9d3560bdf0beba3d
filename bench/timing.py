# SPDX-License-Identifier: Apache-2.0
"""Timing of several contestants in turn, and the table that compares them."""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


def duration(seconds: float) -> str:
    """Return a duration as the table shows it."""
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds:.3f} s"


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of all do not exceed."""
    return values[0] if len(values) == 1 else statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class Contest:
    """One comparison: the seconds of each run of ksd-ddns and of the other contestant.

    `target` is the maximum of ours / theirs, None if there is no target. `percentile` selects which of our values is
    compared with the median of theirs. `text` formats a value, if it is not in seconds.
    """

    what: str
    against: str
    ours: Sequence[float]
    theirs: Sequence[float]
    target: float | None = None
    percentile: int = 50
    text: Callable[[float], str] = duration

    @property
    def our(self) -> float:
        """Our median, or the percentile that is compared."""
        return percentile(self.ours, self.percentile)

    @property
    def their(self) -> float:
        """Their median."""
        return statistics.median(self.theirs)

    @property
    def ratio(self) -> float:
        """Ours divided by theirs."""
        return self.our / self.their

    @property
    def missed(self) -> bool:
        """Whether there is a target that was not reached."""
        return self.target is not None and self.ratio > self.target


@dataclass(slots=True)
class Stopwatch:
    """Collects the seconds of one contestant; only calls of `time` count."""

    seconds: list[float] = field(default_factory=list)

    def time(self, action: Callable[[], None]) -> None:
        """Run `action` and record how long it took."""
        start = time.perf_counter()
        action()
        self.seconds.append(time.perf_counter() - start)


def in_turn(contestants: Sequence[Callable[[], None]], *, times: int, seconds: float = 300.0) -> list[list[float]]:
    """Run A B C A B C ..., so that changes in the machine's load affect all; return the seconds of each.

    The first round warms up caches and does not count. Ends after `times` rounds, or after `seconds`, but not before
    one counted round.
    """
    watches = [Stopwatch() for _ in contestants]
    deadline = time.perf_counter() + seconds
    for action in contestants:
        action()
    for _ in range(times):
        for watch, action in zip(watches, contestants, strict=True):
            watch.time(action)
        if time.perf_counter() > deadline:
            break
    return [watch.seconds for watch in watches]


def table(contests: Iterable[Contest]) -> list[str]:
    """Return the lines of a table with the compared values and their ratios."""
    rows = [("", "ksd-ddns", "", "", "ratio", "target", "runs")]
    rows += [
        (
            contest.what,
            contest.text(contest.our),
            contest.text(contest.their),
            contest.against,
            f"{contest.ratio:.2f}",
            "" if contest.target is None else f"{contest.target:g}{' MISSED' if contest.missed else ''}",
            str(len(contest.ours)),
        )
        for contest in contests
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, 3, 5}
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def say(text: str) -> None:
    """Print progress if stderr is a terminal."""
    if sys.stderr.isatty():
        print(f"  {text}", file=sys.stderr, flush=True)
