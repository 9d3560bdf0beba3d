# SPDX-License-Identifier: Apache-2.0
"""The input of a reconciler (events) and its output (actions and facts).

All times are by the monotonic clock, in seconds.
"""

from typing import TypeAlias

import msgspec

from ksd_ddns.errors import PrimaryError
from ksd_ddns.kubevirt.events import SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.wire.rrset import Node
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.answer import Answer
from ksd_ddns.zone.answers import Answers
from ksd_ddns.zone.plan import Change, Plan
from ksd_ddns.zone.reconciler.refusals import Refusal

# Events


class ZoneRead(msgspec.Struct, frozen=True):
    """The zone was read: by a complete transfer (the full zone, or the changes since a serial), or names by queries.

    `other_server`: another server answered than last time; its zone and serials may differ. `began` is the time of the
    request.
    """

    transfer: Transfer | Answers
    began: float
    other_server: bool = False


class SerialChecked(msgspec.Struct, frozen=True):
    """The primary answered a serial check. `wrong` are the names whose spot check failed.

    `other_server` is as in ZoneRead; `reconnected`: the answer came over a new connection.
    """

    serial: int
    wrong: frozenset[bytes] = frozenset()
    other_server: bool = False
    reconnected: bool = False


class UpdateAnswered(msgspec.Struct, frozen=True):
    """One message of a Send was answered, lost, or not sent."""

    answer: Answer


class UpdateFinished(msgspec.Struct, frozen=True):
    """All messages of a Send are finished."""


class PrimaryFailed(msgspec.Struct, frozen=True):
    """An action failed. After a Send, its unanswered messages were reported first."""

    error: PrimaryError


class NotifyReceived(msgspec.Struct, frozen=True):
    """A NOTIFY: the zone may have changed (RFC 1996)."""


Event: TypeAlias = (
    VmisListed
    | VmiChanged
    | VmiDeleted
    | SourceFailed
    | ZoneRead
    | SerialChecked
    | UpdateAnswered
    | UpdateFinished
    | PrimaryFailed
    | NotifyReceived
)


# Actions


class ReadZone(msgspec.Struct, frozen=True):
    """Read the full zone (AXFR), then report ZoneRead."""


class ReadChanges(msgspec.Struct, frozen=True):
    """Read the changes since `serial` (IXFR, or AXFR if that fails), then report ZoneRead."""

    serial: int


class ReadNames(msgspec.Struct, frozen=True):
    """Query the records at `names` and the index in `shards`, or (`full`) in all of them; then report ZoneRead.

    Include the names that the index lists and that are not known yet. Used instead of transfers and serial checks if
    the zone is read by queries.
    """

    names: frozenset[bytes]
    shards: frozenset[bytes] = frozenset()
    full: bool = False


class CheckSerial(msgspec.Struct, frozen=True):
    """Query the serial and the records of `spots`; then report SerialChecked."""

    spots: tuple[Node, ...]


class Send(msgspec.Struct, frozen=True):
    """Send updates: the changes of `plan` in as few messages as possible, then each of `groups` in its own messages.

    `canary` shows whether the zone accepts any update; if its old and new nodes are equal, it changes nothing (see
    `zone.update.touch`). With `one_by_one`, send each message after the response to the one before it. Report
    UpdateAnswered for each message and UpdateFinished at the end.
    """

    plan: Plan
    groups: tuple[tuple[Change, ...], ...] = ()
    canary: Change | None = None
    one_by_one: bool = False


class Wait(msgspec.Struct, frozen=True):
    """Do nothing until the next event, or until `until`."""

    until: float


Action: TypeAlias = ReadZone | ReadChanges | ReadNames | CheckSerial | Send | Wait


# Facts


class Planned(msgspec.Struct, frozen=True):
    """A new plan: for the full zone (`dirty` is None), or for the names in `dirty`."""

    plan: Plan
    dirty: frozenset[bytes] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The primary accepted a change. `since` is when its cause was received from a source, None if unknown."""

    change: Change
    since: float | None


class Refused(msgspec.Struct, frozen=True):
    """A name is newly refused, or for a new cause."""

    refusal: Refusal


class Released(msgspec.Struct, frozen=True):
    """Names are no longer refused: one was accepted, or they need no change."""

    count: int


class Unanswered(msgspec.Struct, frozen=True):
    """Updates were not answered. A read of the zone shows which of them were applied."""

    error: PrimaryError


class ZoneRefuses(msgspec.Struct, frozen=True):
    """The primary accepts no update of the zone, or (`refuses` is false) accepts updates again."""

    refuses: bool


class ServerChanged(msgspec.Struct, frozen=True):
    """Another server answered than the one from which the zone was read."""


class DriftFound(msgspec.Struct, frozen=True):
    """The zone changed unexpectedly; with `spots`, without a change of its serial."""

    names: int
    spots: bool = False


class TtlLowered(msgspec.Struct, frozen=True):
    """The server lowers TTLs above `seconds`. The lower TTL is accepted."""

    seconds: int


class RivalFound(msgspec.Struct, frozen=True):
    """Another client with our owner ID keeps undoing our changes, for example of `name`."""

    name: bytes


class WarningsChanged(msgspec.Struct, frozen=True):
    """The warnings of these VMIs (`namespace/name`) may have changed because of another VMI."""

    vmis: frozenset[str]


Fact: TypeAlias = (
    Planned
    | WarningsChanged
    | Accepted
    | Refused
    | Released
    | Unanswered
    | ZoneRefuses
    | ServerChanged
    | DriftFound
    | TtlLowered
    | RivalFound
)
