# SPDX-License-Identifier: Apache-2.0
"""A client that asks all the time, while something else changes the zone."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from harness.servers import Server
from tests.controller.running import answer

Answers = dict[str, list[tuple[str, ...]]]
"""The answers in their order, by name."""


@contextmanager
def asking(primary: Server, names: Iterable[str], *, rdtype: str = "A") -> Iterator[Answers]:
    """Query `names` in a loop until the block ends, and once more then."""
    answers: Answers = {name: [] for name in names}
    stop = threading.Event()

    def ask() -> None:
        last = False
        while not last:
            last = stop.is_set()
            for name, found in answers.items():
                found.append(tuple(answer(primary, name, rdtype)))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


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
