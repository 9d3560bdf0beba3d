# SPDX-License-Identifier: Apache-2.0
"""Standard output and standard error: printable text only, and no write error is lost.

All output of a command goes through here. Standard output is for results: if they cannot be written, the command fails.
Standard error is for messages: if they cannot be written, the command goes on.
"""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from ksd_ddns.printable import printable, printable_json

EXIT_CODE = 74
"""Exit code if the result could not be written (EX_IOERR of sysexits.h)."""


class OutputError(Exception):
    """Standard output cannot be written to. `code` is the exit code of the work that was done, None if none was."""

    def __init__(self, number: int) -> None:
        super().__init__(f"cannot write to standard output: {os.strerror(number)}")
        self.number = number
        self.code: int | None = None

    @property
    def silent(self) -> bool:
        """Whether the reader closed the pipe, as `head` does."""
        return self.number == errno.EPIPE


def line(text: str) -> None:
    """Write one line to standard output. Raises OutputError."""
    with stdout() as stream:
        stream.write(printable(text) + "\n")


def lines(texts: Iterable[str]) -> None:
    """Write lines to standard output. Raises OutputError."""
    with stdout() as stream:
        stream.writelines(printable(text) + "\n" for text in texts)


def document(data: bytes) -> None:
    """Write a JSON document and a newline to standard output. Raises OutputError."""
    with stdout() as stream:
        stream.flush()
        stream.buffer.write(printable_json(data) + b"\n")


def flush() -> None:
    """Flush standard output. Raises OutputError: a write error may appear only now."""
    if sys.stdout is not None:
        with stdout() as stream:
            stream.flush()


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def say(text: str) -> None:
    """Write `text` to standard error if possible."""
    if sys.stderr is None:
        return  # print() would write to standard output instead
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("".join(printable(part) + "\n" for part in text.split("\n")))
        sys.stderr.flush()


@contextlib.contextmanager
def stdout() -> Iterator[TextIO]:
    """Yield standard output for printable text. Raises OutputError if it is closed, full or broken."""
    if sys.stdout is None:
        raise OutputError(errno.EBADF)
    try:
        yield sys.stdout
    except OSError as e:
        raise OutputError(e.errno or errno.EIO) from e


def run(command: Callable[[], int]) -> int:
    """Run `command`; return its exit code, or another one if its result could not be written."""
    try:
        code = command()
        flush()
    except OutputError as e:
        if not e.silent:
            say(f"error: {e}")
        code = (128 + signal.SIGPIPE if e.silent else EXIT_CODE) if e.code is None else e.code
    for stream in (sys.stdout, sys.stderr):
        _settle(stream)
    return code


def _settle(stream: TextIO | None) -> None:
    """Discard what could not be written: the interpreter must not fail when it flushes at exit."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
