# SPDX-License-Identifier: Apache-2.0
"""A client that queries the primary in a loop, while something else changes the zone."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from harness.servers import Server
from tests.controller.running import answer

Answers = dict[str, list[tuple[str, ...]]]
"""The answers in their order, by name."""


@contextmanager
def repeating(ask: Callable[[], object]) -> Iterator[None]:
    """Call `ask` in a loop on another thread until the block ends, and once more then."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            ask()
        ask()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def asking(primary: Server, names: Iterable[str], *, rdtype: str = "A") -> Iterator[Answers]:
    """Query `names` in a loop until the block ends, and once more then."""
    answers: Answers = {name: [] for name in names}

    def ask() -> None:
        for name, found in answers.items():
            found.append(tuple(answer(primary, name, rdtype)))

    with repeating(ask):
        yield answers


def missing(answers: Answers) -> list[str]:
    """Return the names that had no answer at some moment."""
    return [name for name, found in answers.items() if () in found]


def gaps(answers: Answers, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of an old and a new name of which neither had an answer in some round."""
    return [
        (old, new)
        for old, new in pairs
        if any(not one and not other for one, other in zip(answers[old], answers[new], strict=True))
    ]
