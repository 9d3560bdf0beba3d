# SPDX-License-Identifier: Apache-2.0
"""Pages: health, readiness, metrics, and the state of all zones and VMs as HTML and JSON.

Any client may request them, and zones are large, so the pages for people and probes have a maximum size. `/records` is
complete, and streamed.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from threading import Lock, Semaphore
from typing import NamedTuple

from prometheus_client import CollectorRegistry, exposition

from ksd_ddns.status import explanation, templating
from ksd_ddns.status import query as querying
from ksd_ddns.status.about import About
from ksd_ddns.status.metrics import Snapshots
from ksd_ddns.status.overview import Overview
from ksd_ddns.status.records import Choice, Contents, Records
from ksd_ddns.status.view import NOTHING, STATES
from ksd_ddns.sync.vm_index import VmIndex
from ksd_ddns.wire import names
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.render.explained import Document

REASONS = 10
"""Maximum number of problems in `/readyz`."""

_LONGEST = 1_000
"""Maximum characters of a line."""

_BUSY_SHARE = 10
"""Cache metrics for this multiple of the CPU time spent on them."""

_PAGE_SHARE = 3
"""Wait for this multiple of the CPU time spent on a page before the next one is made: people wait for pages."""

_LONGEST_PAUSE = 0.5
"""Maximum seconds between two pages."""

_REMEMBERED = 16
"""Maximum number of cached pages, by query."""

_WAITING = 8
"""Maximum number of clients that wait for a page."""

_ASSETS = {
    "/page.css": "text/css",
    "/page.js": "text/javascript",
    **{f"/favicon-{kind}.svg": "image/svg+xml" for kind in ("healthy", "degraded", "not-ready", "empty")},
}

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No inline style or script: text that is not escaped by mistake does not run."""

_PAGE_HEADERS = (("Content-Security-Policy", POLICY), ("X-Frame-Options", "DENY"))

Given = Mapping[str, Sequence[str]]


class Page(NamedTuple):
    """A response: HTTP status, content type, body (full or streamed), and additional headers."""

    status: HTTPStatus
    content_type: str
    body: bytes | Generator[bytes]
    headers: tuple[tuple[str, str], ...] = ()


def plain(status: HTTPStatus, text: str, **headers: str) -> Page:
    """Return a page of plain text, with a final newline."""
    body = f"{text}\n".encode(errors="backslashreplace")
    return Page(status, "text/plain", body, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


class Pages:
    """Renders the pages from `snapshots`, `owned` and `vms`, which have the zones in the same order.

    `healthy` returns why the process must be restarted, "" if it is healthy.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        owned: Contents,
        healthy: Callable[[], str],
        metrics: CollectorRegistry,
        vms: VmIndex,
        about: Callable[[], About],
    ) -> None:
        self._snapshots = snapshots
        self._owned = owned
        self._healthy = healthy
        self._vms = vms
        self._about = about
        self._metrics = _Cached(lambda: exposition.generate_latest(metrics))
        self._overview = Overview(snapshots, vms, about)
        self._made = _Made()
        self._streams = Records()

    def page(self, path: str, query: Given) -> Page:  # noqa: PLR0911 one for each path
        """Return the page at `path`."""
        if path == "/healthz":
            return self._health()
        if path == "/readyz":
            return self._readiness(frozenset(query.get("exclude", [])))
        if path == "/metrics":
            return Page(HTTPStatus.OK, exposition.CONTENT_TYPE_LATEST, self._metrics())
        if path == "/":
            asked = querying.parse(query)
            return self._html(asked, lambda: self._overview.page(asked))
        if path == "/records":
            return self._records(query)
        if path in _ASSETS:
            headers = (("Cache-Control", "no-cache"),)
            return Page(HTTPStatus.OK, _ASSETS[path], templating.asset(path[1:]), headers)
        return plain(HTTPStatus.NOT_FOUND, "there are /healthz /readyz /metrics /records /explain and /")

    def _html(self, key: Hashable, make: Callable[[], bytes]) -> Page:
        body = self._made.get(key, make)
        if body is None:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests, try again", Retry_After="2")
        return Page(HTTPStatus.OK, "text/html", body, _PAGE_HEADERS)

    def standby(self) -> Page | None:
        """Return what a standby answers to questions about records: where to ask. None for the leader."""
        about = self._about()
        if not about.standby:
            return None
        where = f"ask the leader, {about.leader}" if about.leader else "the leader is not known yet, try again"
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, _line(f"this replica is not the leader: {where}"), Retry_After="2")

    def explanation(self, document: Document) -> Page:
        """Return an explanation as HTML."""
        headers = (*_PAGE_HEADERS, ("Vary", "Accept, Accept-Encoding"))
        return Page(HTTPStatus.OK, "text/html", explanation.page(document, self._about()), headers)

    def _health(self) -> Page:
        reason = self._healthy()
        if reason:
            return plain(
                HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(_truncated(map(_line, reason.splitlines()), REASONS))
            )
        return plain(HTTPStatus.OK, "ok")

    def _readiness(self, excluded: frozenset[str]) -> Page:
        """Return one line per problem, like the Kubernetes API server; `?exclude=source` ignores a check.

        Zones with the same problem share a line. Those of optional zones do not count.
        """
        zones: dict[tuple[bool, str, str], list[str]] = {}
        for now in self._snapshots():
            for problem in now.problems:
                counts = not now.optional and problem.part not in excluded
                zones.setdefault((counts, problem.part, problem.text), []).append(now.zone)
        # Problems that do not count come last, so truncation hits them first.
        found = sorted(zones.items(), key=lambda item: not item[0][0])
        lines = (
            _line(f"[{'-' if counts else ' '}] {part}{_of(where)}: {problem}")
            for (counts, part, problem), where in found
        )
        wrong = any(counts for counts, _, _ in zones)
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        return plain(status, "\n".join((*_truncated(lines, REASONS), "not ready" if wrong else "ok")))

    def _records(self, query: Given) -> Page:
        """Return the records that match the query, streamed. A standby knows none, so it must not answer with none."""
        if (standby := self.standby()) is not None:
            return standby
        choice = self._choice(query)
        if isinstance(choice, Page):
            return choice
        body = self._streams.stream(lambda: zip(self._snapshots(), self._owned(), strict=False), choice)
        if body is None:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests, try again", Retry_After="5")
        return Page(HTTPStatus.OK, "application/json", body)

    def _choice(self, query: Given) -> Choice | Page:
        """Parse the query of `/records`; return a page with the error if it is invalid."""
        limit, state, name = (query.get(key, [""])[0] for key in ("limit", "state", "name"))
        if limit and not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            return plain(HTTPStatus.BAD_REQUEST, "limit must be a whole number below 1,000,000,000")
        states = [each for each in STATES if each not in {State.SKIPPED, NOTHING}]
        if state and state not in states:
            return plain(HTTPStatus.BAD_REQUEST, f"state must be one of {', '.join(states)}")
        try:
            owner_name = names.from_text(name.lower()) if name else None
        except ValueError as e:
            return plain(HTTPStatus.BAD_REQUEST, _line(f"name: {e}"))
        return Choice(
            vmi=query.get("vmi", [""])[0],
            name=owner_name,
            in_state=lambda: self._in_state(state),
            refused=state in {"", State.REFUSED},
            conflicts=state in {"", State.CONFLICT},
            limit=int(limit) if limit else None,
        )

    def _in_state(self, state: str) -> Callable[[bytes], bool]:
        if not state:
            return lambda name: True
        parts = [part for row in self._vms.rows().values() for part in row.parts if part is not None]
        if state == State.HELD:
            held = {claim.node.name for part in parts if part.held for claim in part.claims}
            return held.__contains__
        problems = (problem for part in parts for problem in part.problems)
        if state == State.PUBLISHED:
            wrong = {problem.name for problem in problems}
            return lambda name: name not in wrong
        return {problem.name for problem in problems if problem.state == state}.__contains__


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


class _Made:
    """Pages made on request, one at a time and with pauses between them, so that no client slows the controller.

    During a pause, a cached page is returned.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting = Semaphore(_WAITING)
        self._pages: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()
        self._next = 0.0

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes | None:
        """Return the page of `key`, None if too many clients are waiting."""
        if not self._waiting.acquire(blocking=False):
            return None
        try:
            with self._lock:
                return self._get(key, make)
        finally:
            self._waiting.release()

    def _get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        now = time.monotonic()
        until, body = self._pages.get(key, (0.0, b""))
        if now < until:
            return body
        if now < self._next:
            time.sleep(self._next - now)
        began = time.thread_time()
        body = make()
        pause = min(_LONGEST_PAUSE, _PAGE_SHARE * (time.thread_time() - began))
        self._next = time.monotonic() + pause
        self._pages[key] = self._next, body
        self._pages.move_to_end(key)
        while len(self._pages) > _REMEMBERED:
            self._pages.popitem(last=False)
        return body


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


def _line(text: str) -> str:
    return templating.line(text, _LONGEST)
