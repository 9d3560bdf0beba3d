"""Every error that ksd-ddns raises on purpose.

KsdError
  SettingsError      a setting is missing or wrong: nothing was read, nothing was sent
  SourceError        the cluster or the file cannot be read: keep what is known
  PrimaryError
    Unreachable      no connection, or no answer in time: back off, next server
    Denied           the server refuses this key, this zone or this right: names server, zone, key and cure
    ZoneChanged      a prerequisite failed: read again, plan again
    BadResponse      anything that breaks the protocol, a missing or a wrong signature
  CapExceeded        deletions are blocked

A message names the thing, the cause and the cure, and never holds a secret. `exit_code` is what the command line
ends with when nothing catches the error.
"""

from typing import ClassVar


class KsdError(Exception):
    """Base of all errors that ksd-ddns raises on purpose."""

    exit_code: ClassVar[int] = 2


class SettingsError(KsdError):
    """A setting is missing or wrong."""


class SourceError(KsdError):
    """The source of VMIs cannot be read; what was known before stays valid."""


class PrimaryError(KsdError):
    """The primary did not do what it was asked."""

    exit_code = 3


class Unreachable(PrimaryError):
    """No connection, or no answer in time. Whether a message that was sent took effect is unknown."""


class Denied(PrimaryError):
    """The server refuses this key, this zone or this right."""

    exit_code = 4


class ZoneChanged(PrimaryError):
    """A prerequisite failed: the zone is not what the plan was made from."""

    exit_code = 5


class BadResponse(PrimaryError):
    """The response breaks the protocol, or its signature is missing or wrong."""

    exit_code = 5


class CapExceeded(KsdError):
    """Deletions are blocked because they exceed the deletion limit."""

    exit_code = 1
