"""The rate limit of one VMI: bursts pass, and then one change in a while."""

from ksd_ddns.zone.reconciler.pace import BURST, MAX_TRACKED, SLOWED, WINDOW, Pace


def test_a_burst_passes_and_then_one_in_a_while() -> None:
    pace = Pace()
    for _ in range(BURST):
        assert pace.due("a", 100.0) == 100.0
        pace.passes("a", 100.0)
    assert pace.due("a", 100.0) == 100.0 + SLOWED
    assert pace.due("b", 100.0) == 100.0
    pace.passes("a", 110.0)
    assert pace.due("a", 111.0) == 120.0


def test_never_more_than_a_burst_and_a_little_in_any_window() -> None:
    pace = Pace()
    passed: list[float] = []
    now = 0.0
    while now < 600:
        if pace.due("a", now) <= now:
            pace.passes("a", now)
            passed.append(now)
        now += 0.25
    assert all(sum(start <= at < start + WINDOW for at in passed) <= BURST + WINDOW / SLOWED for start in passed)


def test_one_that_keeps_still_is_forgotten() -> None:
    pace = Pace()
    for now in range(BURST):
        pace.passes("a", float(now))
    assert pace.due("a", 8.0 + WINDOW) == 8.0 + WINDOW
    assert "a" in pace
    assert pace.due("b", 9.0 + WINDOW) == 9.0 + WINDOW
    assert "a" not in pace


def test_no_more_is_kept_than_what_changed_within_the_window() -> None:
    pace = Pace()
    for number in range(10_000):
        pace.passes(f"{number}", number / 10)
    assert sum(f"{number}" in pace for number in range(10_000)) == WINDOW * 10
    pace.passes("late", 10_000.0)
    assert len(pace) == 1
    for number in range(MAX_TRACKED + 10):
        pace.passes(f"{number}", 10_000.0)
    assert len(pace) == MAX_TRACKED


def test_times_may_come_a_little_out_of_order() -> None:
    pace = Pace()
    pace.passes("a", 100.0)
    pace.passes("b", 50.0)
    assert pace.due("b", 111.0) == 111.0
    assert pace.due("a", 111.0) == 111.0
