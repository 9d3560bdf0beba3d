# SPDX-License-Identifier: Apache-2.0
"""The result of one UPDATE message."""

from enum import StrEnum

import msgspec

from ksd_ddns.errors import PrimaryError
from ksd_ddns.zone.plan import Change


class Result(StrEnum):
    """The result of a message, for all of its changes. Only ACCEPTED and UNKNOWN may have changed the zone."""

    ACCEPTED = "accepted"
    """NOERROR. Only a read shows whether the zone holds the changes."""
    STALE = "stale"
    """A prerequisite failed: the zone changed since it was read."""
    REFUSED = "refused"
    """The primary refused the message (REFUSED, NOTAUTH, FORMERR or similar), or it is too large to send."""
    FAILED = "failed"
    """SERVFAIL: the primary failed to apply the message."""
    UNKNOWN = "unknown"
    """The message was sent, but not answered."""
    UNSENT = "unsent"
    """The message was not sent: the connection was lost, the key was replaced, or the process may not send now."""


class Answer(msgspec.Struct, frozen=True):
    """The changes of one message, and their result.

    `error` says why they were not accepted, None if they were. `rcode` is None without a response.
    """

    changes: tuple[Change, ...]
    result: Result
    rcode: int | None = None
    error: PrimaryError | None = None
