# SPDX-License-Identifier: Apache-2.0
"""Warnings about VMIs in the log: each once, and a limited number."""

import logging
from collections.abc import Iterator
from threading import Event

import pytest

from ksd_ddns.cli import notifications
from ksd_ddns.cli.notifications import NotificationLog
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.notification import Notification, Published, VmiWarning


@pytest.fixture
def stop() -> Iterator[Event]:
    found = Event()
    yield found
    found.set()


def fields(record: logging.LogRecord) -> dict[str, object]:
    found = vars(record)["fields"]
    assert isinstance(found, dict)
    return found


def conflict(vmi: str, text: str = "net1 is not published: it is not ours") -> VmiWarning:
    return VmiWarning(vmi, "uid", "NameConflict", text)


def test_a_warning_is_logged_once_and_passed_on_each_time(stop: Event, caplog: pytest.LogCaptureFixture) -> None:
    handed: list[Notification] = []
    notify = NotificationLog(stop, also=handed.append)
    for _ in range(3):
        notify(conflict("prod/db"))
        notify(VmiWarning("prod/db", "uid", "NotPublished", "ksd-ddns/ttl is no number"))
        notify(Published("prod/web", "uid", Node(b"\3web\0", ()), ()))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages == ["name conflict", "VMI not fully published"]
    first, second = map(fields, caplog.records)
    assert (first["vmi"], first["reason"]) == ("prod/db", "NameConflict")
    assert first["cause"] == "net1 is not published: it is not ours"
    assert second["reason"] == "NotPublished"
    assert len(handed) == 9


def test_too_many_warnings_are_summarized_as_a_count(stop: Event, caplog: pytest.LogCaptureFixture) -> None:
    notify = NotificationLog(stop)
    for number in range(5000):
        notify(conflict(f"prod/vm{number}"))
    assert notifications.AT_ONCE <= len(caplog.messages) < notifications.AT_ONCE + 20
    notify.summarize()
    assert "more warnings about VMIs" in caplog.messages[-1]
    assert fields(caplog.records[-1])["count"] == 5000 - len(caplog.messages) + 1
    before = len(caplog.messages)
    notify.summarize()
    assert len(caplog.messages) == before


def test_this_log_omits_refusals(stop: Event, caplog: pytest.LogCaptureFixture) -> None:
    NotificationLog(stop)(VmiWarning("prod/db", "uid", "UpdateRefused", "net1 is refused"))
    assert caplog.messages == []
