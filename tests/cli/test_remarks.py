"""What the log says of VMIs: each thing once, and no flood."""

import logging
from collections.abc import Iterator
from threading import Event

import pytest

from ksd_ddns.cli import remarks
from ksd_ddns.cli.remarks import Remarks
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.notification import Published, Remark, Said


@pytest.fixture
def stop() -> Iterator[Event]:
    found = Event()
    yield found
    found.set()


def fields(record: logging.LogRecord) -> dict[str, object]:
    found = vars(record)["fields"]
    assert isinstance(found, dict)
    return found


def conflict(vmi: str, text: str = "net1 is not published: somebody else has it") -> Remark:
    return Remark(vmi, "uid", "NameConflict", text)


def test_a_warning_is_logged_once_and_handed_on_each_time(stop: Event, caplog: pytest.LogCaptureFixture) -> None:
    handed: list[Said] = []
    say = Remarks(stop, also=handed.append)
    for _ in range(3):
        say(conflict("prod/db"))
        say(Remark("prod/db", "uid", "NotPublished", "ksd-ddns/ttl is no number"))
        say(Published("prod/web", "uid", Node(b"\3web\0", ()), ()))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages == ["name conflict", "VMI not fully published"]
    first, second = map(fields, caplog.records)
    assert (first["vmi"], first["reason"]) == ("prod/db", "NameConflict")
    assert first["cause"] == "net1 is not published: somebody else has it"
    assert second["reason"] == "NotPublished"
    assert len(handed) == 9


def test_many_warnings_are_counted(stop: Event, caplog: pytest.LogCaptureFixture) -> None:
    say = Remarks(stop)
    for number in range(5000):
        say(conflict(f"prod/vm{number}"))
    assert remarks.AT_ONCE <= len(caplog.messages) < remarks.AT_ONCE + 20
    say.summarize()
    assert "more warnings about VMIs" in caplog.messages[-1]
    assert fields(caplog.records[-1])["count"] == 5000 - len(caplog.messages) + 1
    before = len(caplog.messages)
    say.summarize()
    assert len(caplog.messages) == before


def test_refusals_are_logged_elsewhere(stop: Event, caplog: pytest.LogCaptureFixture) -> None:
    Remarks(stop)(Remark("prod/db", "uid", "UpdateRefused", "net1 is refused"))
    assert caplog.messages == []
