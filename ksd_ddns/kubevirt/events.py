"""The events that a source of VMIs reports, whatever it reads from."""

from typing import TypeAlias

import msgspec

from ksd_ddns.kubevirt.vmi import Vmi


class VmisListed(msgspec.Struct, frozen=True):
    """All VMIs in `scope` (a part of the cluster that is listed separately, empty for the full cluster).

    Reported only when the full list was read: a VMI that is missing in it was deleted. `unread` are the keys of VMIs
    that exist, but could not be parsed and were not in the inventory before.
    """

    scope: str
    vmis: tuple[Vmi, ...]
    unread: frozenset[str] = frozenset()


class VmiChanged(msgspec.Struct, frozen=True):
    """A VMI was added or changed. `at` is when the event was received: monotonic clock, in seconds."""

    vmi: Vmi
    at: float


class VmiDeleted(msgspec.Struct, frozen=True):
    """The watch reported that the VMI `key` (`namespace/name`) was deleted. `at` is as in VmiChanged."""

    key: str
    at: float


class SourceFailed(msgspec.Struct, frozen=True):
    """`scope` cannot be read, for `reason`; earlier events remain valid. An empty reason: it can be read again."""

    scope: str
    reason: str


SourceEvent: TypeAlias = VmisListed | VmiChanged | VmiDeleted | SourceFailed
