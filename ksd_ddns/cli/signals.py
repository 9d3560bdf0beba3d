# SPDX-License-Identifier: Apache-2.0
"""Handlers of SIGINT and SIGTERM, from the start of the process to its end.

This module imports nothing slow: the handlers must be set before anything else is imported. Process 1 of a container
ignores signals that it has no handler for, and is killed at the end of the grace period.

A SIGINT that is ignored when the program starts (nohup, a background job of a script) stays ignored.
"""

import os
import signal

TYPE_CHECKING = False  # importing typing takes longer than everything else here
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]

END_WITHIN = 2.0
"""Seconds that a command has after a signal to clean up, before the process ends."""


class Interrupted(BaseException):
    """A signal ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code that a shell reports for a process that the signal ended."""
        return 128 + self.number


def end_at_once(*, controller: bool) -> None:
    """From now on, end the process at a signal: nothing was started yet. A `controller` exits with 0."""

    def end(number: int, frame: "FrameType | None") -> None:
        # No exception: raised during an import or in a destructor, it may be lost or printed.
        os._exit(0 if controller else 128 + number)

    handle(end)


def interrupt() -> None:
    """From now on, raise Interrupted at the first signal and end the process soon after, at the second at once."""
    import threading  # noqa: PLC0415 not before the first handlers

    last = False

    def end(number: int, frame: "FrameType | None") -> None:
        nonlocal last
        if last:
            os._exit(128 + number)
        last = True
        timer = threading.Timer(END_WITHIN, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        raise Interrupted(number)

    handle(end)


def ignore() -> None:
    """From now on, ignore signals: the process is ending, and its exit code must not change."""
    handle(signal.SIG_IGN)


def handle(handler: "Handler | signal.Handlers") -> None:
    """Set the handler of SIGTERM, and of SIGINT unless that was ignored."""
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
