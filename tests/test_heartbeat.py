# SPDX-License-Identifier: Apache-2.0
"""Stuck threads are distinguished from those that wait, work, or have ended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.servers import Bind
from ksd_ddns import heartbeat
from ksd_ddns.errors import SettingsError
from ksd_ddns.heartbeat import Heartbeat
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.sync import Controller, Options, Supervisor
from ksd_ddns.sync.snapshot import Part, Snapshot
from ksd_ddns.wire import names
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.update import Limits
from tests.zone.build import scope, zone_rules


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_thread_is_stuck_when_it_stops_beating() -> None:
    clock = Clock()
    beat = Heartbeat("zone vm.", clock=clock)
    clock.now += 1_000
    assert beat.problem(60) == "", "it has not begun"
    with beat:
        clock.now += 60
        assert beat.problem(60) == ""
        clock.now += 1
        assert beat.problem(60) == "zone vm.: no progress for 61 s"
        beat.beat()
        assert (beat.age(), beat.problem(60)) == (0, "")
        beat.beat(ahead=30)
        clock.now += 90
        assert (beat.age(), beat.problem(60)) == (60, "")
        clock.now += 1
        assert beat.problem(60) == "zone vm.: no progress for 61 s"
    assert beat.problem(60) == "", "it has ended"


def test_a_bug_is_unhealthy_and_an_invalid_setting_is_not() -> None:
    beat = Heartbeat("zone vm.")
    with pytest.raises(SettingsError), beat:
        raise SettingsError("wrong")
    assert beat.problem(60) == ""
    with pytest.raises(ZeroDivisionError), beat:
        raise ZeroDivisionError("a bug")
    assert beat.problem(60) == "zone vm.: the thread died, restart the process: ZeroDivisionError: a bug"


def test_progress_counts_for_the_thread_that_makes_it() -> None:
    clock = Clock()
    beat, other = Heartbeat("this", clock=clock), Heartbeat("other", clock=clock)
    entered, done = threading.Event(), threading.Event()

    def idle() -> None:
        with other:
            entered.set()
            done.wait(20)

    heartbeat.beat()  # without a heartbeat it is harmless
    thread = threading.Thread(target=idle)
    thread.start()
    with beat:
        assert entered.wait(20)
        clock.now += 70
        heartbeat.beat()
        assert heartbeat.problem((beat, other), 60) == "other: no progress for 70 s"
    done.set()
    thread.join(20)


def _controller(bind: Bind, zone: bytes, rules: Callable[[bytes], Rules]) -> Controller:
    session = Session([Peer(Address(bind.address, bind.port), read_key_file(bind.key_file))], timeout=5)
    limits = Limits(names=100, octets=60_000)
    return Controller(session, [""], Options(zone=zone, base=zone, rules=rules, scope=scope, limits=limits))


@contextmanager
def _running(*controllers: Controller) -> Iterator[Supervisor]:
    fleet = Supervisor([], controllers)
    thread = threading.Thread(target=fleet.run)
    thread.start()
    try:
        yield fleet
    finally:
        fleet.stop()
        thread.join(20)


def problems_of(snapshot: Snapshot, part: Part) -> list[str]:
    return [problem.text for problem in snapshot.problems if problem.part is part]


def _until(condition: Callable[[], object], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_zone_that_hangs_is_named(make_bind: Callable[..., Bind]) -> None:
    bind = make_bind(zones={"vm.": "", "b.": ""})
    go_on = threading.Event()

    def hangs(zone: bytes) -> Rules:
        go_on.wait(60)
        return zone_rules()

    good = _controller(bind, names.from_text("vm."), lambda _: zone_rules())
    bad = _controller(bind, names.from_text("b."), hangs)
    with _running(good, bad) as fleet:
        assert _until(lambda: fleet.stuck(0.5).startswith("zone b.: no progress"))
        assert fleet.stuck(60) == ""
        go_on.set()
        assert _until(lambda: "zone b." not in fleet.stuck(0.5))


def test_a_zone_whose_thread_died_is_named(make_bind: Callable[..., Bind]) -> None:
    bind = make_bind(zones={"vm.": "", "b.": "", "c.": ""})

    def dies(zone: bytes) -> Rules:
        raise ZeroDivisionError("a bug")

    def refuses(zone: bytes) -> Rules:
        raise SettingsError("it does not fit")

    good = _controller(bind, names.from_text("vm."), lambda _: zone_rules())
    bad = _controller(bind, names.from_text("b."), dies)
    wrong = _controller(bind, names.from_text("c."), refuses)
    with _running(good, bad, wrong) as fleet:
        assert _until(lambda: fleet.stuck(60))
        assert _until(
            lambda: (
                [each.text for each in fleet.snapshots()[2].problems if each.part is Part.PRIMARY]
                == ["it does not fit"]
            )
        )
        assert "zone b.: the thread died" in fleet.stuck(60)
        assert "zone c." not in fleet.stuck(60)


def test_an_idle_controller_beats(make_bind: Callable[..., Bind]) -> None:
    bind = make_bind(zones={"vm.": ""})
    only = _controller(bind, names.from_text("vm."), lambda _: zone_rules())
    with _running(only) as fleet:
        assert _until(lambda: only.owned() is not None)
        oldest = 0.0
        for _ in range(70):  # longer than it waits between two beats, shorter than between two polls of the serial
            oldest = max(oldest, only.heartbeat.age())
            time.sleep(0.1)
        assert oldest < 4, "it beats, and says ahead how long it waits"
        assert fleet.stuck(4) == ""
