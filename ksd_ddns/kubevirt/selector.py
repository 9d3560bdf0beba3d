# SPDX-License-Identifier: Apache-2.0
"""Kubernetes label selectors, with the grammar and semantics of the API server.

    environment=production,tier!=frontend,zone in (a,b),track notin (canary),managed,!paused

All requirements must hold. `!=` and `notin` also hold for an object without the label, `=` and `==` are the same, a
value may be empty, and the empty selector matches everything. `key>1` and `key<1` compare integers.
Rules: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and apimachinery's `labels.Parse`.
"""

import re
from collections.abc import Mapping
from typing import Literal, NoReturn, TypeAlias

import msgspec

Operator: TypeAlias = Literal["in", "notin", "exists", "!", ">", "<"]

_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SYMBOLS = frozenset(("==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_OPERATORS: dict[str, Operator] = {
    "=": "in", "==": "in", "!=": "notin", "in": "in", "notin": "notin", ">": ">", "<": "<",
}  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class Requirement(msgspec.Struct, frozen=True):
    """A requirement on one label; `=` is `in` with one value. `values` is empty for `exists` and `!` (absent)."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an object with `labels` meets this requirement."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        number = _integer(value or "")
        bound = _integer(next(iter(self.values)))
        if number is None or bound is None:
            return False
        return number > bound if self.operator == ">" else number < bound

    def __str__(self) -> str:
        """Return the requirement in the syntax of `parse`."""
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator in {"in", "notin"}:
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        return f"{self.key}{self.operator}{next(iter(self.values))}"


class Selector(msgspec.Struct, frozen=True):
    """A label selector; without requirements it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an object with `labels` meets every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        """Return the selector in the syntax of `parse`, empty if it matches everything."""
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()


def parse(text: str) -> Selector:
    """Parse a label selector; blank text gives the empty selector.

    Raises ValueError with the cause and its position, counted from 1.
    """
    return _Parser(text).selector()


class _Parser:
    """A recursive-descent parser; an empty token marks the end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [(match[1], match.start(1)) for match in _TOKEN.finditer(text)] + [("", len(text))]
        self.at = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at][0]

    def take(self) -> str:
        token = self.next
        self.at += 1
        return token

    def fail(self, why: str) -> NoReturn:
        raise ValueError(f"label selector {self.text!r}, character {self.tokens[self.at][1] + 1}: {why}")

    def expected(self, what: str) -> NoReturn:
        self.fail(f"found {self.next!r} where {what} is expected" if self.next else f"it ends where {what} is expected")

    def selector(self) -> Selector:
        if not self.next:
            return EVERYTHING
        requirements = [self.requirement()]
        while self.next == ",":
            self.take()
            requirements.append(self.requirement())
        if self.next:
            self.expected("',' or the end")
        return Selector(tuple(requirements))

    def requirement(self) -> Requirement:
        if self.next == "!":
            self.take()
            return Requirement(self.key(), "!")
        key = self.key()
        if self.next in ("", ","):
            return Requirement(key, "exists")
        if self.next not in _OPERATORS:
            self.expected("an operator (=, ==, !=, in, notin, <, >)")
        token = self.take()
        operator = _OPERATORS[token]
        if token in ("in", "notin"):
            return Requirement(key, operator, self.values())
        if operator in ("<", ">") and _integer(self.next) is None:
            self.expected("an integer of 64 bits")
        return Requirement(key, operator, frozenset((self.value(),)))

    def key(self) -> str:
        if not self.next or self.next in _SYMBOLS:
            self.expected("a label key")
        prefix, slash, name = self.next.rpartition("/")
        if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
            self.fail(f"the prefix of the label key {self.next!r} is not a DNS name in lower case")
        if len(name) > 63 or not _NAME.fullmatch(name):
            self.fail(f"{self.next!r} is not a label key: {_RULE}")
        return self.take()

    def values(self) -> frozenset[str]:
        if self.next != "(":
            self.expected("'('")
        self.take()
        values = [self.value()]
        while self.next == ",":
            self.take()
            values.append(self.value())
        if self.next != ")":
            self.expected("',' or ')'")
        self.take()
        return frozenset(values)

    def value(self) -> str:
        """Return a value, which is empty if a separator follows immediately."""
        if self.next in ("", ",", ")"):
            return ""
        if self.next in _SYMBOLS:
            self.expected("a value")
        if len(self.next) > 63 or not _NAME.fullmatch(self.next):
            self.fail(f"{self.next!r} is not a label value: {_RULE}")
        return self.take()


_RULE = "at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends"


def _integer(text: str) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None
