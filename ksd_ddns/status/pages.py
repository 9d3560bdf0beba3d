"""Pages: health, readiness, metrics, and the state of each zone as HTML and JSON.

Any client may request them, and zones are large, so the pages for people and probes are truncated. `/records` is
complete, and streamed.
"""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from hashlib import sha256
from heapq import nsmallest
from html import escape
from http import HTTPStatus
from itertools import islice
from threading import Lock, Semaphore
from typing import NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, exposition

from ksd_ddns.status.metrics import Snapshots
from ksd_ddns.sync.snapshot import RefusedNames, Snapshot
from ksd_ddns.wire import names
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.render import document
from ksd_ddns.zone.render import text as render

_T = TypeVar("_T")

Contents = Callable[[], tuple[Owned | None, ...]]
"""Returns what we own in each zone, None for a zone that has not been read yet."""

LARGEST = 90_000
"""Approximate maximum size of the HTML page, in octets."""

ZONES = 50
"""Maximum number of zones on the HTML page."""

ITEMS = 50
"""Maximum number of conflicts, and of refused names, per zone on the HTML page."""

RECORDS = 200
"""Maximum number of owner names per zone on the HTML page."""

REASONS = 10
"""Maximum number of problems in `/readyz`."""

_LONGEST = 1_000
"""Maximum characters of a line."""

_LONGEST_CELL = 300
"""Maximum characters of a table cell before escaping."""

_LEAST = 200
"""Minimum octets shown of a list, even without room."""

_BUSY_SHARE = 10
"""Cache a page for this multiple of the CPU time spent on rendering it."""

_AT_ONCE, _QUEUED, _WAIT = 2, 8, 2.0
"""For `/records`: concurrent clients, clients that may wait, and how many seconds they wait."""

_CHUNK = 1 << 16

_STYLE = """
body { font-family: sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { text-align: left; vertical-align: top; padding: 0.15em 1.5em 0.15em 0 }
td { font-family: monospace }
.wrong { color: #b00020 }
"""
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Page(NamedTuple):
    """A response: HTTP status, content type, body (full or streamed), and additional headers."""

    status: HTTPStatus
    content_type: str
    body: bytes | Generator[bytes]
    headers: tuple[tuple[str, str], ...] = ()


def plain(status: HTTPStatus, text: str, **headers: str) -> Page:
    """Return a page of plain text, with a final newline."""
    return Page(status, "text/plain", _octets(f"{text}\n"), tuple(headers.items()))


class Pages:
    """Renders the pages from `snapshots` and `owned`, which list the zones in the same order.

    `healthy` returns why the process must be restarted, "" if it is healthy.
    """

    def __init__(
        self, snapshots: Snapshots, owned: Contents, healthy: Callable[[], str], metrics: CollectorRegistry
    ) -> None:
        self._snapshots = snapshots
        self._owned = owned
        self._healthy = healthy
        self._metrics = _Cached(lambda: exposition.generate_latest(metrics))
        self._html = _Cached(lambda: _octets("".join(self._overview())))
        self._admitted = Semaphore(_AT_ONCE + _QUEUED)
        self._sending = Semaphore(_AT_ONCE)

    def page(self, path: str, query: dict[str, list[str]]) -> Page:
        """Return the page at `path`."""
        if path == "/healthz":
            return self._health()
        if path == "/readyz":
            return self._readiness(frozenset(query.get("exclude", [])))
        if path == "/metrics":
            return Page(HTTPStatus.OK, exposition.CONTENT_TYPE_LATEST, self._metrics())
        if path == "/":
            return Page(HTTPStatus.OK, "text/html", self._html(), (("Content-Security-Policy", _POLICY),))
        if path == "/records":
            return self._records()
        return plain(HTTPStatus.NOT_FOUND, "there are /healthz /readyz /metrics /records /explain and /")

    def _health(self) -> Page:
        reason = self._healthy()
        if reason:
            return plain(
                HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(_truncated(map(_line, reason.splitlines()), REASONS))
            )
        return plain(HTTPStatus.OK, "ok")

    def _readiness(self, excluded: frozenset[str]) -> Page:
        """Return one line per problem, like the Kubernetes API server; `?exclude=source` ignores a check.

        Zones with the same problem share a line.
        """
        zones: dict[tuple[str, str], list[str]] = {}
        for now in self._snapshots():
            for problem in now.problems:
                zones.setdefault((problem.part, problem.text), []).append(now.zone)
        # Excluded problems come last, so truncation hits them first.
        found = sorted(zones.items(), key=lambda item: item[0][0] in excluded)
        lines = (
            _line(f"[{' ' if part in excluded else '-'}] {part}{_of(where)}: {problem}")
            for (part, problem), where in found
        )
        wrong = any(part not in excluded for part, _ in zones)
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        return plain(status, "\n".join((*_truncated(lines, REASONS), "not ready" if wrong else "ok")))

    def _zones(self) -> list[tuple[Snapshot, Owned | None]]:
        return list(zip(self._snapshots(), self._owned(), strict=False))

    def _records(self) -> Page:
        """Return all records, streamed; slow clients delay only other clients of this page."""
        busy = plain(HTTPStatus.SERVICE_UNAVAILABLE, "too many readers, try again", **{"Retry-After": "5"})
        if not self._admitted.acquire(blocking=False):
            return busy
        if not self._sending.acquire(timeout=_WAIT):
            self._admitted.release()
            return busy
        body = self._stream()
        next(body)  # enter the try block, so that close() releases the semaphores
        return Page(HTTPStatus.OK, "application/json", body)

    def _stream(self) -> Generator[bytes]:
        try:
            yield b""
            yield from _chunks(_as_json(self._zones()))
        finally:
            self._sending.release()
            self._admitted.release()

    def _overview(self) -> Iterator[str]:
        # Zones with problems come first, so truncation does not hide them.
        zones = sorted(self._zones(), key=lambda zone: zone[0].ready)
        yield f"<!doctype html><html lang=en><meta charset=utf-8><title>ksd-ddns</title><style>{_STYLE}</style>"
        yield "<h1>ksd-ddns</h1>"
        room = LARGEST
        for index, (now, owned) in enumerate(zones[:ZONES]):
            share = room // (min(len(zones), ZONES) - index)
            for part in _zone(now, owned, share):
                room -= len(_octets(part))
                yield part
        if len(zones) > ZONES:
            yield f"<p>{_more(len(zones) - ZONES)} zones, see <a href=/records>/records</a></p>"
        yield "</html>"


class _Cached:
    """The result of `make`, cached in proportion to its cost, because any client may poll it."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = Lock()
        self._made = b""
        self._until = 0.0

    def __call__(self) -> bytes:
        with self._lock:
            if time.monotonic() >= self._until:
                began = time.thread_time()
                self._made = self._make()
                self._until = time.monotonic() + _BUSY_SHARE * (time.thread_time() - began)
            return self._made


def _zone(now: Snapshot, owned: Owned | None, room: int) -> Iterator[str]:
    """Yield the HTML of a zone, about `room` octets."""
    yield f"<h2>{_cell(now.zone)}</h2>"
    if now.problems:
        yield from _list("Not ready", [f"{each.part}: {each.text}" for each in now.problems], room // 4, "wrong")
    else:
        yield "<p>Ready.</p>"
    figures = (now.server, now.serial, now.vmis, now.names, now.held, now.pending, now.blocked)
    yield "".join(
        _table(("primary", "serial", "VMIs", "names", "held", "pending", "blocked deletions"), [map(str, figures)])
    )
    yield from _list(
        "Conflicts: names that exist and are not ours", now.conflicts, room // 4, show=render.conflict_brief
    )
    yield from _list("Refused: names that the primary does not accept", now.refused, room // 4)
    if owned is not None:
        yield from _records_table(owned, room // 4)


def _records_table(owned: Owned, room: int) -> Iterator[str]:
    found = owned.names()
    shown = 0
    rows = []
    for name in nsmallest(RECORDS, found, key=names.canonical):
        part = [(names.to_text(name), *render.rrset(item).split(" ", 2), vmi) for _, vmi, item in owned.records([name])]
        room -= sum(len(_octets("".join(_table((), [row])))) for row in part)
        if room < 0:
            break
        rows += part
        shown += 1
    if rows:
        yield from _table(("name", "TTL", "type", "values", "VMI"), rows)
    more = f"{_more(len(found) - shown)} names, see" if len(found) > shown else "The same as JSON:"
    yield f"<p>{more} <a href=/records>/records</a></p>"


def _list(
    title: str, items: Collection[_T], room: int, kind: str = "", *, show: Callable[[_T], str] = str
) -> Iterator[str]:
    if not items:
        return
    yield f"<h3 class='{kind}'>{escape(title)}</h3><ul class='{kind}'>"
    shown = 0
    for item in islice(items, ITEMS):
        text = _line(show(item))
        while shown == 0 and _size(text) > max(room, _LEAST):
            text = f"{text[: len(text) // 2]}..."
        room -= _size(text)
        if room < 0 and shown:
            break
        yield f"<li>{escape(text)}</li>"
        shown += 1
    if len(items) > shown:
        yield f"<li>{_more(len(items) - shown)}, see <a href=/records>/records</a></li>"
    yield "</ul>"


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"<table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in heading)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>"
    yield "</table>"


def _as_json(zones: Iterable[tuple[Snapshot, Owned | None]]) -> Iterator[str]:
    """Yield the JSON of all zones piece by piece."""
    yield f'{{"version": {document.VERSION}, "zones": ['
    for index, (now, owned) in enumerate(zones):
        yield ", " if index else ""
        problems = {each.part: each.text for each in now.problems}
        yield json.dumps({"ready": now.ready, "problems": problems, "server": now.server})[:-1]  # more follows
        yield from _array("conflicts", map(document.conflict, now.conflicts))
        yield from _array("refused", map(_refused, now.refused))
        serial = owned.live.serial if owned else now.serial
        zone = names.to_text(owned.live.zone) if owned else now.zone
        yield f', "zone": {json.dumps(zone)}, "serial": {serial}'
        yield from _array("records", document.records(owned) if owned else ())
        yield "}"
    yield "]}\n"


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
            yield _octets("".join(held))
            held, size = [], 0
    yield _octets("".join(held))


def _of(zones: Collection[str]) -> str:
    """Return a short list of `zones`."""
    found = [zone for zone in zones if zone]
    more = f" and {_more(len(found) - 3)}" if len(found) > 3 else ""
    return f" of {', '.join(found[:3])}{more}" if found else ""


def _truncated(lines: Iterable[str], most: int) -> Iterator[str]:
    """Yield the first `most` of `lines`, then the number of the others."""
    lines = iter(lines)
    yield from islice(lines, most)
    if left := sum(1 for _ in lines):
        yield f"and {_more(left)}"


def _more(count: int) -> str:
    return f"{count:,} more"


def _line(text: str, longest: int = _LONGEST) -> str:
    """Return `text` as one truncated line, with control characters escaped."""
    text = text if len(text) <= longest else f"{text[:longest]}..."
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return " " if char in "\r\n\t" else char.encode("unicode_escape").decode()


def _size(text: str) -> int:
    """Return how many octets `text` takes in a list."""
    return len(_octets(escape(text))) + len("<li></li>")


def _cell(text: str) -> str:
    return escape(_line(text, _LONGEST_CELL))


def _octets(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
