# SPDX-License-Identifier: Apache-2.0
"""Every error that ksd-ddns raises on purpose.

KsdError
  SettingsError      a setting is missing or wrong: nothing was read, nothing was sent
    WrongSettings    several of them
  SourceError        the cluster or the file cannot be read: keep what was read before
  PrimaryError
    Unreachable      no connection, or no response in time: back off, try the next server
    Denied           the server refuses this key, this zone or this operation
    ZoneChanged      a prerequisite failed: read and plan again
    BadResponse      the response breaks the protocol, or its signature is missing or wrong

An error carries its facts as fields. `str(error)` renders them as one line: problem, remedy, configuration. No field
ever holds a secret. `exit_code` is the exit code of a command that ends with the error.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import msgspec


class Stanza(msgspec.Struct, frozen=True):
    """Server configuration for the software `server`: the `place` to put it, the full `text`, and one line, `short`."""

    server: str
    place: str
    text: str
    short: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.server}{', ' if self.place else ''}{self.place}: {self.short}"


class KsdError(Exception):
    """Base of all errors that ksd-ddns raises on purpose: what is wrong, and what fixes it."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        """Return problem and remedy as text for people."""
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class SettingsError(KsdError):
    """A setting is missing or wrong."""


class WrongSettings(SettingsError):
    """One or more settings are wrong; `errors` has a text for each."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = tuple(errors)


class SourceError(KsdError):
    """The source of VMIs cannot be read; what was read before stays valid."""


class PrimaryError(KsdError):
    """The primary did not carry out a request.

    `server`, `zone`, `key` (its name) and `name` are text, empty if they do not apply. `rcode` is the response code,
    None without a response. `stanzas` is configuration of the server that fixes it, one for each server software.
    """

    exit_code = 3

    def __init__(  # noqa: PLR0913 the facts of a response
        self,
        problem: str,
        remedy: str = "",
        *,
        server: object = "",
        zone: str = "",
        key: str = "",
        name: str = "",
        rcode: int | None = None,
        stanzas: Sequence[Stanza] = (),
    ) -> None:
        super().__init__(problem, remedy)
        self.server = str(server)
        self.zone = zone
        self.key = key
        self.name = name
        self.rcode = rcode
        self.stanzas = tuple(stanzas)

    def __str__(self) -> str:
        """Return problem, remedy and configuration as text for people."""
        text = super().__str__()
        if not self.stanzas:
            return text
        return f"{text}. {'  '.join(map(str, self.stanzas))} (ksd-ddns check shows each in full)"

    def replace(self, **fields: Any) -> Self:
        """Return the same error with other `fields`."""
        names = ("problem", "remedy", "server", "zone", "key", "name", "rcode", "stanzas")
        return type(self)(**{name: getattr(self, name) for name in names} | fields)


class Unreachable(PrimaryError):
    """No connection, or no response in time. A sent message may have taken effect."""


class Denied(PrimaryError):
    """The server refuses this key, this zone or this operation."""

    exit_code = 4


class ZoneChanged(PrimaryError):
    """A prerequisite failed: the zone changed since the plan was made."""

    exit_code = 5


class BadResponse(PrimaryError):
    """The response breaks the protocol, or its signature is missing or wrong."""

    exit_code = 5
