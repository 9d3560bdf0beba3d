"""What a source of VMIs tells, whatever it reads from."""

from typing import TypeAlias

import msgspec

from ksd_ddns.kubevirt.vmi import Vmi


class VmisListed(msgspec.Struct, frozen=True):
    """All VMIs there are in `scope` (a part of the cluster that is listed by itself, empty for all of it).

    Comes only when the whole list was read: a VMI that is missing in it is gone. `unread` are the keys of those that
    are there, but could not be read, and were not known before.
    """

    scope: str
    vmis: tuple[Vmi, ...]
    unread: frozenset[str] = frozenset()


class VmiChanged(msgspec.Struct, frozen=True):
    """A VMI came, or is now as it is here. `at` is when that was heard, by the monotonic clock, in seconds."""

    vmi: Vmi
    at: float


class VmiDeleted(msgspec.Struct, frozen=True):
    """The VMI `key` (`namespace/name`) was seen to be deleted."""

    key: str
    at: float


class SourceFailed(msgspec.Struct, frozen=True):
    """`scope` cannot be read now, for `reason`; what was told before stays valid. An empty reason: it can again."""

    scope: str
    reason: str


SourceEvent: TypeAlias = VmisListed | VmiChanged | VmiDeleted | SourceFailed
