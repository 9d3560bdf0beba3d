# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM from the first moment to the last.

This module imports nothing that takes time: the handlers must be there before anything else is imported. As process 1
of a container a signal without a handler is lost, and then the container is killed at the end of its grace period.

A SIGINT that is ignored when the program starts (nohup, a background job of a script) stays ignored.
"""

import os
import signal

TYPE_CHECKING = False  # typing takes longer to import than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]

END_WITHIN = 2.0
"""Seconds after a signal in which a command may end in good order: what it does just then may not let it."""


class Interrupted(BaseException):
    """A signal ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that this signal ended."""
        return 128 + self.number


def end_at_once(*, controller: bool) -> None:
    """End the process at a signal, from now on: nothing was begun yet. A `controller` ends in good order, with 0."""

    def end(number: int, frame: "FrameType | None") -> None:
        # No exception: one raised in the middle of an import, or in a destructor, may get lost or be printed.
        os._exit(0 if controller else 128 + number)

    handle(end)


def interrupt() -> None:
    """Raise Interrupted at the first signal, from now on; end the process soon after, and at the second one at once."""
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
    """Ignore signals, from now on: the process ends anyway, with the exit code that it has."""
    handle(signal.SIG_IGN)


def handle(handler: "Handler | signal.Handlers") -> None:
    """Set the handler of SIGTERM, and of SIGINT unless that was ignored."""
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
