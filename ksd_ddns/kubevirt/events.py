# SPDX-License-Identifier: Apache-2.0
"""The events that a source of VMIs reports, whatever it reads from."""

from typing import TypeAlias

import msgspec

from ksd_ddns.kubevirt.vmi import Vmi


class VmisListed(msgspec.Struct, frozen=True):
    """All VMIs in `namespace`; empty if the source covers all namespaces.

    Reported only when the full list was read: a VMI that is missing in it was deleted. `unreadable` are the keys of
    VMIs that exist, but could never be parsed. `at` is as in VmiChanged, None if it is unknown when the VMIs changed.
    """

    namespace: str
    vmis: tuple[Vmi, ...]
    unreadable: frozenset[str] = frozenset()
    at: float | None = None


class VmiChanged(msgspec.Struct, frozen=True):
    """A VMI was added or changed. `at` is when the event was received: monotonic clock, in seconds."""

    vmi: Vmi
    at: float


class VmiDeleted(msgspec.Struct, frozen=True):
    """The watch reported that the VMI `key` (`namespace/name`) was deleted. `at` is as in VmiChanged."""

    key: str
    at: float


class SourceFailed(msgspec.Struct, frozen=True):
    """The VMIs in `namespace` cannot be read, for `reason`; earlier events stay valid.

    An empty `namespace` means all namespaces; an empty `reason` means that they can be read again.
    """

    namespace: str
    reason: str


SourceEvent: TypeAlias = VmisListed | VmiChanged | VmiDeleted | SourceFailed
