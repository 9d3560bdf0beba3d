# SPDX-License-Identifier: Apache-2.0
"""What the script found out about a server."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """Whether a step of the script worked."""

    YES = "yes"
    NO = "no"
    NOT_APPLICABLE = "-"


class Step(StrEnum):
    """The steps of the script: the columns of the table."""

    CHECK = "check"
    ADD = "add"
    CHANGE = "change"
    TTL = "TTL"
    DELETE = "delete"
    MANY = "300 names"
    CONFLICT = "conflict"
    RACE = "race"
    REFUSED = "refused"
    AXFR = "AXFR"
    IXFR = "IXFR"
    NOTIFY = "NOTIFY"
    GSS = "GSS-TSIG"
    BUNDLED = "bundled"


class Outcome(msgspec.Struct, frozen=True):
    """The result of one step; `note` is a sentence about it."""

    verdict: Verdict
    note: str = ""


class Report(msgspec.Struct, frozen=True):
    """The results of one server; `name` includes its version."""

    name: str
    outcomes: dict[Step, Outcome]

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: by name, and versions as numbers."""
        words = self.name.replace(",", " ").split()
        return tuple(_numbers(word) for word in words)


def _numbers(word: str) -> tuple[int, Sequence[int], str]:
    if word[0].isdigit():
        return 0, [int(part) for part in word.split(".") if part.isdigit()], word
    return 1, (), word
