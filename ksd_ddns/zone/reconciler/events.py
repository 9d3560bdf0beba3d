"""What a reconciler is told (events), what it asks for (actions), and what it has found out (facts).

All times are by the monotonic clock, in seconds.
"""

from typing import TypeAlias

import msgspec

from ksd_ddns.errors import PrimaryError
from ksd_ddns.kubevirt.events import SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.wire.rrset import Node
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.answer import Answer
from ksd_ddns.zone.plan import Change, Plan
from ksd_ddns.zone.reconciler.refusals import Refusal

# Events


class ZoneRead(msgspec.Struct, frozen=True):
    """A transfer is complete: the whole zone, or what changed since the serial that was asked for.

    `elsewhere`: it comes from another server than the one before, which may hold another zone, and count its serials in
    its own way. `began` is when it was asked for.
    """

    transfer: Transfer
    began: float
    elsewhere: bool = False


class SerialChecked(msgspec.Struct, frozen=True):
    """The primary answered a serial check. `wrong` are the names of the spot check whose records are not as expected.

    `elsewhere` is as in ZoneRead; `reconnected`: the answer came over a new connection.
    """

    serial: int
    wrong: frozenset[bytes] = frozenset()
    elsewhere: bool = False
    reconnected: bool = False


class UpdateAnswered(msgspec.Struct, frozen=True):
    """One message of a Send has come to its end."""

    answer: Answer


class UpdateFinished(msgspec.Struct, frozen=True):
    """All messages of a Send have come to their end."""


class PrimaryFailed(msgspec.Struct, frozen=True):
    """An action failed; of a Send, what was not answered was reported before."""

    error: PrimaryError


class NotifyReceived(msgspec.Struct, frozen=True):
    """The primary says that the zone may have changed (RFC 1996)."""


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
    """Read the whole zone (AXFR), then report ZoneRead."""


class ReadChanges(msgspec.Struct, frozen=True):
    """Read what changed since `serial` (IXFR, or AXFR where that fails), then report ZoneRead."""

    serial: int


class CheckSerial(msgspec.Struct, frozen=True):
    """Ask for the serial, and whether the zone holds `spots` as they are; then report SerialChecked."""

    spots: tuple[Node, ...]


class Send(msgspec.Struct, frozen=True):
    """Send updates: the changes of `plan`, filled into messages, and then each of `groups` in messages of its own.

    `canary` shows whether the zone accepts any update; where its old and its new node are equal, it changes nothing
    (see `zone.update.touch`). Report UpdateAnswered for each message and UpdateFinished at the end.
    """

    plan: Plan
    groups: tuple[tuple[Change, ...], ...] = ()
    canary: Change | None = None


class Wait(msgspec.Struct, frozen=True):
    """There is nothing to do before `until`, unless an event comes."""

    until: float


Action: TypeAlias = ReadZone | ReadChanges | CheckSerial | Send | Wait


# Facts


class Planned(msgspec.Struct, frozen=True):
    """A plan was made: for the whole zone (`dirty` is None), or for the names in `dirty`."""

    plan: Plan
    dirty: frozenset[bytes] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The primary accepted a change. `since` is when its cause was received from a source, None where unknown."""

    change: Change
    since: float | None


class Refused(msgspec.Struct, frozen=True):
    """A name is refused, and was not before, or for another cause."""

    refusal: Refusal


class Released(msgspec.Struct, frozen=True):
    """Names that were refused are accepted, or no longer wanted."""

    count: int


class Unanswered(msgspec.Struct, frozen=True):
    """Updates were not answered: the zone is read again to find out what became of them."""

    error: PrimaryError


class ZoneRefuses(msgspec.Struct, frozen=True):
    """The primary accepts no update of the zone, or (`refuses` is false) it does again."""

    refuses: bool


class ServerChanged(msgspec.Struct, frozen=True):
    """Another server answers than the one that the zone was read from."""


class DriftFound(msgspec.Struct, frozen=True):
    """The zone differed from what was expected; with `spots`, although its serial did not."""

    names: int
    spots: bool = False


class TtlLowered(msgspec.Struct, frozen=True):
    """The server lowers TTLs above `seconds`: accepted, and not changed back."""

    seconds: int


class RivalFound(msgspec.Struct, frozen=True):
    """Somebody with our owner ID keeps undoing our changes, for example of `name`."""

    name: bytes


class NoticesChanged(msgspec.Struct, frozen=True):
    """What cannot be published of these VMIs (`namespace/name`) may have changed because of another VMI."""

    vmis: frozenset[str]


Fact: TypeAlias = (
    Planned
    | NoticesChanged
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
