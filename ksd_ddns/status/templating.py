# SPDX-License-Identifier: Apache-2.0
"""Renders the templates of the page. Everything that a template shows is escaped, and control characters made visible.

Tenants choose the names of VMs, interfaces, annotations and records.
"""

import gc
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import count as count_from
from typing import Any

LONGEST = 300
"""Maximum characters of a value on the page."""

LONGEST_DETAIL = 1_000
"""The same for a problem of a zone, which includes the fix."""

_DAY = 86_400

_PAGES_OF_GARBAGE = 16
"""Pages between two collections of garbage: each leaves reference cycles, which Python rarely collects here."""

_rendered = count_from(1)


@cache
def asset(name: str) -> bytes:
    """Return a static file."""
    return (files("ksd_ddns.status") / "assets" / name).read_bytes()


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """Return the page that `template` makes of `values`."""
    text: str = _environment().get_template(template).render(values)
    if next(_rendered) % _PAGES_OF_GARBAGE == 0:
        gc.collect(0)
    return text.encode(errors="backslashreplace")


class _Long(str):
    """A text that may be longer than others."""

    __slots__ = ()


def line(value: str, longest: int = LONGEST) -> str:
    """Return a text as one line of limited length without control characters."""
    text = value if len(value) <= longest else f"{value[:longest]}..."
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return " " if char in "\r\n\t" else char.encode("unicode_escape").decode()


@cache
def _environment() -> Any:
    # Imported for the first page: it takes 6 MiB, and most controllers are asked for metrics only.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("ksd_ddns.status"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    filters: Mapping[str, Callable[..., object]] = {
        "number": number,
        "count": count,
        "duration": duration,
        "host": host,
        "long": _Long,
        "short": short,
    }
    environment.filters.update(filters)
    return environment


def _finalize(value: object) -> object:
    """Limit the length of a value; markup comes from a template and is kept."""
    if isinstance(value, _Long):
        return line(value, LONGEST_DETAIL)
    return line(value) if type(value) is str else value


def number(value: int) -> str:
    """Return a number with separators."""
    return f"{value:,}"


def count(value: int, one: str, several: str = "") -> str:
    """Return a number with its noun."""
    return f"{value:,} {one if value == 1 else several or one + 's'}"


def host(server: str) -> str:
    """Return the host of `host:port`."""
    return server.rpartition(":")[0].strip("[]")


def short(time: str, now: str) -> str:
    """Return a time in RFC 3339, without the date if it is that of `now`."""
    found = datetime.fromisoformat(time)
    today = found.date() == datetime.fromisoformat(now).date()
    return f"{found:%H:%M:%S}" if today else f"{found.day} {found:%b %H:%M}"


class Clock:
    """Shows times of the monotonic clock, as seen now."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.wall = time.time()

    def ago(self, at: float) -> str:
        """Return how long ago a time is."""
        return f"{duration(max(0.0, round(self.now - at)))} ago"

    def time(self, at: float) -> str:
        """Return a time in UTC, with the date if it is not today."""
        found, today = self._utc(at), datetime.fromtimestamp(self.wall, UTC)
        return f"{found:%H:%M:%S}" if found.date() == today.date() else f"{found.day} {found:%b %H:%M}"

    def iso(self, at: float) -> str:
        """Return a time in UTC as HTML wants it."""
        return f"{self._utc(at):%Y-%m-%dT%H:%M:%SZ}"

    def _utc(self, at: float) -> datetime:
        return datetime.fromtimestamp(self.wall + at - self.now, UTC)


def duration(seconds: float) -> str:
    """Return a duration with one unit, or two if it is long: `12 ms`, `8 s`, `12 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "0 s" if seconds == 0 else "1 ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < _DAY:
        return f"{seconds // 3600:.0f} h"
    hours = seconds % _DAY // 3600
    return f"{seconds // _DAY:.0f} d" + (f" {hours:.0f} h" if hours and seconds < 30 * _DAY else "")
