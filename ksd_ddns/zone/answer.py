"""What a primary made of one UPDATE message, as data."""

from enum import StrEnum

import msgspec

from ksd_ddns.errors import PrimaryError
from ksd_ddns.zone.plan import Change


class Result(StrEnum):
    """What became of the changes of a message. Only ACCEPTED may have changed the zone, and perhaps UNKNOWN."""

    ACCEPTED = "accepted"
    """NOERROR. That the zone holds the changes, only reading it again can tell."""
    STALE = "stale"
    """A prerequisite failed: the zone is not what the plan was made from."""
    REFUSED = "refused"
    """The primary refuses the message: REFUSED, NOTAUTH, FORMERR and the like, or it is too large to be sent."""
    FAILED = "failed"
    """SERVFAIL: the primary could not carry it out."""
    UNKNOWN = "unknown"
    """The message was sent, and there was no answer."""
    UNSENT = "unsent"
    """The message was not sent: the connection was lost, the key was replaced, or the process may not send now."""


class Answer(msgspec.Struct, frozen=True):
    """The changes of one message, and what became of all of them.

    `error` says why, None where they were accepted; `rcode` is that of the response, None without one.
    """

    changes: tuple[Change, ...]
    result: Result
    rcode: int | None = None
    error: PrimaryError | None = None
