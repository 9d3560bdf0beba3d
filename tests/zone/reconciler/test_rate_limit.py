# SPDX-License-Identifier: Apache-2.0
"""The rate limit of one VMI: a burst passes, and then one change per interval."""

from ksd_ddns.zone.reconciler.rate_limit import MAX_TRACKED, WINDOW, RateLimit
from ksd_ddns.zone.reconciler.timing import TIMING


def test_a_burst_passes_and_then_one_change_per_interval() -> None:
    limit = RateLimit()
    for _ in range(TIMING.burst):
        assert limit.due("a", 100.0) == 100.0
        limit.count("a", 100.0)
    assert limit.due("a", 100.0) == 100.0 + TIMING.slowed
    assert limit.due("b", 100.0) == 100.0
    limit.count("a", 110.0)
    assert limit.due("a", 111.0) == 120.0


def test_any_window_has_at_most_a_burst_plus_the_slow_rate() -> None:
    limit = RateLimit()
    passed: list[float] = []
    now = 0.0
    while now < 600:
        if limit.due("a", now) <= now:
            limit.count("a", now)
            passed.append(now)
        now += 0.25
    assert all(
        sum(start <= at < start + WINDOW for at in passed) <= TIMING.burst + WINDOW / TIMING.slowed for start in passed
    )


def test_a_quiet_key_is_forgotten() -> None:
    limit = RateLimit()
    for now in range(TIMING.burst):
        limit.count("a", float(now))
    assert limit.due("a", 8.0 + WINDOW) == 8.0 + WINDOW
    assert "a" in limit
    assert limit.due("b", 9.0 + WINDOW) == 9.0 + WINDOW
    assert "a" not in limit


def test_only_changes_within_the_window_are_stored() -> None:
    limit = RateLimit()
    for number in range(10_000):
        limit.count(f"{number}", number / 10)
    assert sum(f"{number}" in limit for number in range(10_000)) == WINDOW * 10
    limit.count("late", 10_000.0)
    assert len(limit) == 1
    for number in range(MAX_TRACKED + 10):
        limit.count(f"{number}", 10_000.0)
    assert len(limit) == MAX_TRACKED


def test_times_can_be_slightly_out_of_order() -> None:
    limit = RateLimit()
    limit.count("a", 100.0)
    limit.count("b", 50.0)
    assert limit.due("b", 111.0) == 111.0
    assert limit.due("a", 111.0) == 111.0
