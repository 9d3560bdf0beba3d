# SPDX-License-Identifier: Apache-2.0
"""Logs: readable text on a terminal and for one-shot commands, one JSON object per line for a controller in a pod.

An event is logged by its name in plain words, with its facts as fields:

    _log.warning("update failed, retrying", extra={"fields": {"zone": "vm.", "rcode": "REFUSED", "retry_in": "4s"}})

JSON holds the fields as keys of its own, text shows them as `key=value`.

The controller must not wait for the reader of its log: a full pipe would stop it. So everything for standard error goes
to a writer thread; lines that do not fit are dropped, and counted in the log. (The queue of `logging.handlers` is not
enough: it waits for the reader at the end.)
"""

import contextlib
import io
import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TextIO

from ksd_ddns.printable import printable

CAPACITY = 4 << 20
"""Maximum octets of lines in the queue."""

FLUSH_WITHIN = 0.5
"""Seconds that the process may wait for its last lines to be written when it ends."""

_UNPRINTABLE = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that control a terminal."""

_TEXT = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNPRINTABLE} | {
    ord("\t"): "\t",
    ord("\n"): "\n  ",  # a value must not look like a line of the log
}
_JSON = {code: f"\\u{code:04x}" for code in _UNPRINTABLE if code >= 0x20}

_RESERVED = frozenset({"time", "level", "logger", "message", "traceback"})
"""Keys of a line of JSON that no field may replace."""

_BARE = re.compile(r"""[!#-<>-~]+""")
"""A value that needs no quotes: visible ASCII without quotes and equals signs."""

_log = logging.getLogger(__name__)


class _Text(logging.Formatter):
    """Time, level, logger, event and `key=value` fields, and the traceback if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 the base class names it
        fields = " ".join(f"{name}={_text_value(value)}" for name, value in _fields(record).items())
        return _shown(super().formatMessage(record) + (f"  {fields}" if fields else ""), _TEXT)


class _Json(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the fields, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line[f"{name}_" if name in _RESERVED else name] = _json_value(value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _shown(json.dumps(line, ensure_ascii=False), _JSON)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    """Return the facts of an event: what was passed as `extra={"fields": {...}}`."""
    found = getattr(record, "fields", None)
    return found if isinstance(found, Mapping) else {}


def _json_value(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case list() | tuple():
            return [_json_value(item) for item in value]
        case _:
            return printable(str(value))


def _text_value(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case list() | tuple():
            text = ",".join(map(str, value))
        case _:
            text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(printable(text), ensure_ascii=False)


class Writer:
    """Writes lines to a file descriptor on its own thread; `put` never blocks.

    Lines beyond `capacity` octets, and those that cannot be written, are dropped. When lines can be written again, the
    first one is `dropped` of their number.
    """

    def __init__(self, descriptor: int, dropped: Callable[[int], str], *, capacity: int = CAPACITY) -> None:
        self._descriptor = descriptor
        self._notice = dropped
        self._capacity = capacity
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()  # None: how many were dropped
        self._waiting = 0
        self._dropped = 0
        self._announced = False
        # Reentrant: a signal handler may write while its thread holds the lock.
        self._changed = threading.Condition(threading.RLock())
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, line: str) -> None:
        """Write `line` soon; safe to call from any thread, and from a signal handler."""
        octets = _octets(line)
        with self._changed:
            if self._waiting + len(octets) > self._capacity:
                self._dropped += 1
                return
            if self._dropped:
                self._announce()
            self._waiting += len(octets)
            self._queue.put(octets)

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, at most `seconds`; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._announced, seconds)

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self._queue.put(None)

    def _run(self) -> None:
        while True:
            octets = self._queue.get()
            if octets is None:
                with self._changed:
                    count, self._dropped = self._dropped, 0
                written = self._write(_octets(self._notice(count)))
                with self._changed:
                    self._announced = False
                    self._dropped += 0 if written else count
                    self._changed.notify_all()
                continue
            written = self._write(octets)
            with self._changed:
                self._waiting -= len(octets)
                self._dropped += not written
                if written and self._dropped and self._queue.empty():
                    self._announce()
                self._changed.notify_all()

    def _write(self, octets: bytes) -> bool:
        """Write all octets, without a timeout; return whether that worked."""
        rest = memoryview(octets)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process with the same pipe set O_NONBLOCK
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except OSError:
                return False  # closed, or the disk is full
        return True


class _Handler(logging.Handler):
    """Passes lines to a writer."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer
        self._flush_until: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self.format(record))
        except Exception:  # noqa: BLE001 a bug in a log line must not stop the controller
            self._writer.put(self.format(_record("BUG: cannot format a log line", event=record.msg)))

    def flush(self) -> None:
        """Wait until all lines are written, FLUSH_WITHIN seconds in total."""
        if self._flush_until is None:
            self._flush_until = time.monotonic() + FLUSH_WITHIN
        self._writer.flush(max(0.0, self._flush_until - time.monotonic()))


class _Stream(io.TextIOBase):
    """Standard error through a writer: no print blocks."""

    def __init__(self, writer: Writer, stream: TextIO) -> None:
        self._writer = writer
        self._stream = stream
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override] # a constant there
        return self._stream.encoding

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._writer.put(line)
        return len(text)


def set_up(*, verbose: bool, lines: bool) -> None:
    """Log to standard error: JSON with `lines`, except on a terminal; INFO and above with `lines` or `verbose`.

    With `lines` no write to standard error blocks.
    """
    logging.raiseExceptions = False  # a line that cannot be written is lost, without a traceback
    logging.basicConfig(level=logging.INFO if verbose or lines else logging.WARNING, handlers=[_handler(lines=lines)])


def _handler(*, lines: bool) -> logging.Handler:
    stream: TextIO | None = sys.stderr
    if stream is None:  # it was closed at the start; its number may now be that of a socket
        return logging.NullHandler()
    formatter = _Json() if lines and not stream.isatty() else _Text()
    handler: logging.Handler
    if lines:
        writer = Writer(stream.fileno(), lambda count: formatter.format(_record("log lines dropped", count=count)))
        sys.stderr = _Stream(writer, stream)
        handler = _Handler(writer)
    else:
        handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    return handler


def flush() -> None:
    """Wait at most FLUSH_WITHIN seconds for the last lines to be written; call before the process ends."""
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(OSError, ValueError):  # standard error is full or closed: those lines are lost
            handler.flush()


def _shown(text: str, instead: dict[int, str]) -> str:
    return text if text.isprintable() else text.translate(instead)


def _record(message: str, **fields: object) -> logging.LogRecord:
    return _log.makeRecord(_log.name, logging.WARNING, "", 0, message, (), None, extra={"fields": fields})


def _octets(line: str) -> bytes:
    return f"{line}\n".encode(errors="backslashreplace")
