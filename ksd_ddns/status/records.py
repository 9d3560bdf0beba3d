# SPDX-License-Identifier: Apache-2.0
"""Our records and their problems as JSON, streamed: never all in memory."""

import json
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from threading import Semaphore

from ksd_ddns.sync.snapshot import RefusedNames, Snapshot
from ksd_ddns.wire import names
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.render import document

Contents = Callable[[], tuple[Owned | None, ...]]
"""Returns what we own in each zone, None for a zone that has not been read yet."""

_AT_ONCE, _QUEUED, _WAIT = 2, 8, 2.0
"""Concurrent clients, clients that may wait, and how many seconds they wait."""

_CHUNK = 1 << 16


Zones = Callable[[], Iterable[tuple[Snapshot, Owned | None]]]
"""Returns the state and the content of each zone."""

Holds = Callable[[bytes], bool]
"""Returns whether a name is in a state."""


def _all() -> Holds:
    return lambda name: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which records: of a VMI (`namespace/name`), of a name, of names that are in a state, and at most `limit`.

    `refused`, `conflicts`: whether names in these states are listed, too. `in_state` returns a test for the state of a
    name. It looks at all VMs, so it is called once for each answer.
    """

    vmi: str = ""
    name: bytes | None = None
    in_state: Callable[[], Holds] = _all
    refused: bool = True
    conflicts: bool = True
    limit: int | None = None

    def includes(self, vmi: str, name: bytes) -> bool:
        """Return whether a record of this VMI at this name is chosen."""
        return self.vmi in {"", vmi} and self.name in {None, name}


class Records:
    """Streams the records to a few clients at a time. A slow client delays only other clients of this page."""

    def __init__(self) -> None:
        self._admitted = Semaphore(_AT_ONCE + _QUEUED)
        self._sending = Semaphore(_AT_ONCE)

    def stream(self, zones: Zones, choice: Choice) -> Generator[bytes] | None:
        """Return the records as JSON, None if there are too many clients. Close what is returned.

        `zones` is called only for an answer: copying the contents of large zones takes milliseconds.
        """
        if not self._admitted.acquire(blocking=False):
            return None
        if not self._sending.acquire(timeout=_WAIT):
            self._admitted.release()
            return None
        body = self._stream(zones, choice)
        next(body)  # enter the try block, so that close() releases the semaphores
        return body

    def _stream(self, zones: Zones, choice: Choice) -> Generator[bytes]:
        try:
            yield b""
            yield from _chunks(_as_json(zones(), choice))
        finally:
            self._sending.release()
            self._admitted.release()


def _as_json(zones: Iterable[tuple[Snapshot, Owned | None]], choice: Choice) -> Iterator[str]:
    """Yield the JSON of all zones piece by piece."""
    holds = choice.in_state()
    yield f'{{"version": {document.VERSION}, "zones": ['
    for index, (now, owned) in enumerate(zones):
        yield ", " if index else ""
        problems = {each.part: each.text for each in now.problems}
        yield json.dumps({"ready": now.ready, "problems": problems, "server": now.server})[:-1]  # more follows
        conflicts = (each for each in now.conflicts if choice.conflicts and choice.includes(each.vmi, each.name))
        yield from _array("conflicts", map(document.conflict, islice(conflicts, choice.limit)))
        yield from _array("refused", map(_refused, now.refused if choice.refused else ()))
        serial = owned.live.serial if owned else now.serial
        zone = names.to_text(owned.live.zone) if owned else now.zone
        yield f', "zone": {json.dumps(zone)}, "serial": {serial}'
        yield from _array("records", islice(_records(owned, choice, holds), choice.limit) if owned else ())
        yield "}"
    yield "]}\n"


def _records(owned: Owned, choice: Choice, holds: Holds) -> Iterator[dict[str, object]]:
    chosen = None if choice.name is None else [name for name in owned.names() if name == choice.name]
    for name, ownership, item in owned.records(chosen):
        if choice.includes(ownership.vmi if ownership else "", name) and holds(name):
            yield document.record(name, ownership, item)


def _refused(of: RefusedNames) -> dict[str, object]:
    return document.refused(cause=of.cause, count=of.count, first=of.names, reason=of.reason)


def _array(name: str, items: Iterable[object]) -> Iterator[str]:
    yield f', "{name}": ['
    for index, item in enumerate(items):
        yield (", " if index else "") + json.dumps(item)
    yield "]"


def _chunks(pieces: Iterable[str]) -> Iterator[bytes]:
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield "".join(held).encode(errors="backslashreplace")
            held, size = [], 0
    yield "".join(held).encode(errors="backslashreplace")
