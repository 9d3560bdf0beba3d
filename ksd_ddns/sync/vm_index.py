# SPDX-License-Identifier: Apache-2.0
"""The VMs of all zones, for the status page: one immutable row per VM, written by controllers, read by HTTP threads.

A row refers to values that the controller already has (the VMI, its claims, refusals, conflicts), so publishing one
costs a few microseconds. The threads that serve pages make everything else: texts, the order, the index for searches.
"""

from collections import deque
from collections.abc import Collection, Mapping
from threading import Lock
from typing import TypeAlias

import msgspec

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.warning import VmiWarning
from ksd_ddns.zone.desired import Claim, Unpublished
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.plan import Change, Conflict
from ksd_ddns.zone.reconciler.inventory import HeldFamily
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal

KEPT_CHANGES = 200
"""Number of recent changes to keep, over all zones."""


class NameProblem(msgspec.Struct, frozen=True, gc=False):
    """A name that the zone does not hold as wanted.

    `why` has the details of `state`; none if it is pending, or skipped because the VM is not ready for its group.
    `since` is by the monotonic clock, None if unknown.
    """

    name: bytes
    state: State
    why: Refusal | Conflict | Change | None = None
    since: float | None = None


class ZonePart(msgspec.Struct, frozen=True, gc=False):
    """What one zone knows about a VM.

    `vmi` is None if the VMI no longer exists, but the deletion of its names is blocked. `claims` are its wanted names,
    `in_dns` is how many of them the zone holds as wanted, `repeated` how many of those are counted for another VM that
    shares the name. `waits`: its last change waits, because it changes too often.
    `changed` is when the primary last accepted a change (monotonic), None if it has not since the start. `unpublished`
    is why it wants no name.
    """

    vmi: Vmi | None
    claims: tuple[Claim, ...] = ()
    in_dns: int = 0
    repeated: int = 0
    problems: tuple[NameProblem, ...] = ()
    held: tuple[HeldFamily, ...] = ()
    warnings: tuple[VmiWarning, ...] = ()
    waits: bool = False
    changed: float | None = None
    unpublished: Unpublished | None = None


Parts: TypeAlias = tuple[ZonePart | None, ...]


class VmRow(msgspec.Struct, frozen=True, gc=False):
    """A VM (`namespace/name`) with what each zone knows about it, in the order of the zones."""

    key: str
    parts: Parts


class AcceptedChange(msgspec.Struct, frozen=True, gc=False):
    """A change that the primary accepted `at` (monotonic), `latency` seconds after its event was received.

    `vmi` is empty if it follows only from the ownership record; `owner` is our owner ID.
    """

    at: float
    vmi: str
    change: Change
    latency: float | None
    owner: str


class ZoneTimes(msgspec.Struct, frozen=True):
    """When things last happened in a zone (monotonic, None: not yet), and when refused names are retried, by cause.

    `names` is how many wanted names the zone holds; `records` how many records of the first read have arrived.
    """

    synced: float | None = None
    changed: float | None = None
    read: float | None = None
    retries: Mapping[Cause, float] = {}
    names: int = 0
    records: int = 0


class VmIndex:
    """The rows of all VMs, the last changes, and the times of each zone. Thread-safe; nothing in it blocks."""

    def __init__(self, zones: int = 1) -> None:
        self._none: Parts = (None,) * zones
        self._rows: dict[str, VmRow] = {}
        self._names = [0] * zones
        self._times = [ZoneTimes() for _ in range(zones)]
        self._changes: deque[AcceptedChange] = deque(maxlen=KEPT_CHANGES)
        self._lock = Lock()

    def add_zone(self) -> int:
        """Add a zone; return its number."""
        with self._lock:
            self._none = (*self._none, None)
            self._names.append(0)
            self._times.append(ZoneTimes())
            return len(self._names) - 1

    def clear(self, zone: int) -> None:
        """Forget what the zone with this number knows."""
        known = [key for key, row in self.rows().items() if zone < len(row.parts) and row.parts[zone] is not None]
        self.put(zone, dict.fromkeys(known))
        self.put_times(zone, ZoneTimes())

    def rows(self) -> dict[str, VmRow]:
        """Return all rows by VM."""
        return self._rows.copy()

    def get(self, key: str) -> VmRow | None:
        """Return the row of a VM; None if there is none."""
        return self._rows.get(key)

    def changes(self) -> list[AcceptedChange]:
        """Return the last changes, newest first."""
        with self._lock:
            return sorted(self._changes, key=lambda change: change.at)[::-1]

    def times(self) -> tuple[ZoneTimes, ...]:
        """Return the times of each zone."""
        return tuple(self._times)

    def put(self, zone: int, parts: Mapping[str, ZonePart | None]) -> None:
        """Replace what the zone with this number knows about these VMs; None if it knows nothing."""
        names = self._names[zone]
        with self._lock:
            for key, part in parts.items():
                row = self._rows.get(key)
                before = self._none if row is None else row.parts + self._none[len(row.parts) :]
                replaced = before[zone]
                if replaced is not None:
                    names -= replaced.in_dns - replaced.repeated
                if part is not None:
                    names += part.in_dns - part.repeated
                now = (*before[:zone], part, *before[zone + 1 :])
                if part is None and not any(now):
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = VmRow(key, now)
        self._names[zone] = names

    def put_times(self, zone: int, times: ZoneTimes) -> None:
        """Replace the times of the zone with this number."""
        self._times[zone] = msgspec.structs.replace(times, names=self._names[zone])

    def add_changes(self, changes: Collection[AcceptedChange]) -> None:
        """Add accepted changes."""
        with self._lock:
            self._changes.extend(changes)
