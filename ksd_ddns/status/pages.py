"""What there is to see: health, readiness, metrics, and the state of each zone, for people and as JSON."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from html import escape
from http import HTTPStatus
from threading import Lock
from typing import NamedTuple

from prometheus_client import CollectorRegistry, exposition

from ksd_ddns.status.metrics import Metrics, Snapshots
from ksd_ddns.sync.snapshot import Snapshot
from ksd_ddns.zone import names, render
from ksd_ddns.zone.owned import Owned

Contents = Callable[[], tuple[Owned | None, ...]]
"""Returns what is ours in each zone, None where it has not been read yet."""

SHOWN = 1_000
"""Records of one zone on the page for people; `/records` has them all."""

_STYLE = """
body { font-family: sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { text-align: left; vertical-align: top; padding: 0.15em 1.5em 0.15em 0 }
td { font-family: monospace }
.wrong { color: #b00020 }
"""


class Page(NamedTuple):
    """An answer: HTTP status, content type, body."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Pages:
    """Makes the pages of the zones that `snapshots` and `owned` tell of, in the same order."""

    def __init__(self, snapshots: Snapshots, owned: Contents) -> None:
        self._snapshots = snapshots
        self._owned = owned
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Metrics(snapshots))
        # Whoever asks for whole zones again and again takes processor time from what keeps them: one at a time.
        self._whole = Lock()

    def page(self, path: str, query: dict[str, list[str]]) -> Page:
        """Return the page at `path`."""
        if path == "/healthz":
            return Page(HTTPStatus.OK, "text/plain", b"ok\n")
        if path == "/readyz":
            return self._readiness(query.get("exclude", []))
        if path == "/metrics":
            return Page(HTTPStatus.OK, exposition.CONTENT_TYPE_LATEST, exposition.generate_latest(self._registry))
        if path == "/":
            with self._whole:
                return Page(HTTPStatus.OK, "text/html", _octets("".join(self._overview())))
        if path == "/records":
            with self._whole:
                return Page(HTTPStatus.OK, "application/json", self._records())
        return Page(HTTPStatus.NOT_FOUND, "text/plain", b"there are /healthz /readyz /metrics /records and /\n")

    def _readiness(self, excluded: list[str]) -> Page:
        """As the Kubernetes API server does it: one line a check, `?exclude=source` leaves one out."""
        lines, wrong = [], False
        for now in self._snapshots():
            for part, text in now.complaints.items():
                ignored = part in excluded
                wrong |= not ignored
                lines.append(f"[{' ' if ignored else '-'}] {part}{now.zone and f' of {now.zone}'}: {text}")
        lines.append("not ready" if wrong else "ok")
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        return Page(status, "text/plain", _octets("\n".join(lines) + "\n"))

    def _zones(self) -> Iterable[tuple[Snapshot, Owned | None]]:
        return zip(self._snapshots(), self._owned(), strict=False)

    def _records(self) -> bytes:
        zones = [
            {
                "ready": not now.complaints,
                "complaints": now.complaints,
                "server": now.server,
                "conflicts": now.conflicts,
                "refused": [asdict(one) for one in now.refused],
                **(owned.as_json() if owned else {"zone": now.zone, "serial": now.serial, "records": []}),
            }
            for now, owned in self._zones()
        ]
        return json.dumps({"zones": zones}).encode()

    def _overview(self) -> Iterator[str]:
        yield f"<!doctype html><html lang=en><meta charset=utf-8><title>ksd-ddns</title><style>{_STYLE}</style>"
        yield "<h1>ksd-ddns</h1>"
        for now, owned in self._zones():
            yield f"<h2>{escape(now.zone)}</h2>"
            wrong = [f"{part}: {text}" for part, text in now.complaints.items()]
            yield from _list("Not ready", wrong, kind="wrong") if wrong else ("<p>Ready.</p>",)
            yield from _table(
                ("primary", "serial", "VMIs", "names", "held", "waiting", "kept back"),
                [tuple(map(str, (now.server, now.serial, now.vmis, now.names, now.held, now.pending, now.kept_back)))],
            )
            yield from _list("Conflicts: names that somebody else has", now.conflicts)
            refused = [f"{one.count} names, such as {', '.join(one.names[:5])}: {one.reason}" for one in now.refused]
            yield from _list("Refused by the primary", refused)
            if owned is not None:
                records = list(owned.records())
                rows = (
                    (names.to_text(name), *render.rrset_text(item).split(" ", 2), vmi)
                    for name, vmi, item in records[:SHOWN]
                )
                yield from _table(("name", "TTL", "type", "values", "VMI"), rows)
                more = f", {len(records) - SHOWN} more of them" if len(records) > SHOWN else ""
                yield f"<p><a href=/records>The same as JSON</a>{more}</p>"
        yield "</html>"


def _list(title: str, items: Iterable[str], *, kind: str = "") -> Iterator[str]:
    found = [f"<li>{escape(item)}</li>" for item in items]
    if found:
        yield f"<h3 class='{kind}'>{escape(title)}</h3><ul class='{kind}'>{''.join(found)}</ul>"


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"<table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in heading)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
    yield "</table>"


def _octets(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
