# SPDX-License-Identifier: Apache-2.0
"""Following files of VMIs: a change gives a new list, an unreadable file keeps its last good content."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from harness.vmis import as_json, listing, vmi
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmisListed
from ksd_ddns.vmifile.source import FileSource


class Followed:
    """Files followed on a thread; `events` are the events so far."""

    def __init__(self, *paths: Path) -> None:
        self.events: list[SourceEvent] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=FileSource(*map(str, paths)).run, args=(self.events.append, self._stop))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def names(self) -> set[str] | None:
        """The VMIs of the last list, None before the first."""
        lists = [event for event in self.events if isinstance(event, VmisListed)]
        return {item.name for item in lists[-1].vmis} if lists else None

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, SourceFailed)]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.events
            time.sleep(0.01)


def test_an_unreadable_file_does_not_count_as_empty(tmp_path: Path) -> None:
    def put(name: str, *names: str) -> Path:
        new = tmp_path / "new"
        new.write_bytes(as_json(listing([vmi(each, "prod", {"net1": ["10.0.0.1"]}) for each in names])))
        return new.rename(tmp_path / name)

    first, second = put("a.json", "a1", "a2"), tmp_path / "b.json"
    with Followed(first, second) as followed:
        # No list until both can be read: the VMIs of the missing file would look deleted.
        followed.until(lambda: followed.reasons != [])
        assert "b.json: there is no such file" in followed.reasons[0]
        assert not followed.names
        put("b.json", "b1", "b2")
        followed.until(lambda: followed.names == {"a1", "a2", "b1", "b2"})
        followed.until(lambda: followed.reasons[-1] == "")
        # A VMI that disappears from one file is deleted.
        put("b.json", "b1")
        followed.until(lambda: followed.names == {"a1", "a2", "b1"})
        # While one file is missing, the other one is followed and the VMIs of the first stay.
        second.unlink()
        followed.until(lambda: bool(followed.reasons[-1]))
        put("a.json", "a1", "a3")
        followed.until(lambda: followed.names == {"a1", "a3", "b1"})
        # The same VMI in both files: the previous list stays.
        put("b.json", "b1", "a1")
        followed.until(lambda: "VMI prod/a1 is in" in followed.reasons[-1])
        assert followed.names == {"a1", "a3", "b1"}
        put("b.json", "b4")
        followed.until(lambda: followed.names == {"a1", "a3", "b4"})
        followed.until(lambda: followed.reasons[-1] == "")
