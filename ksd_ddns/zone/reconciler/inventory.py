# SPDX-License-Identifier: Apache-2.0
"""The VMIs as last reported, and the records they need, with hold-down and rate limiting applied."""

import heapq
from collections.abc import Collection
from math import inf

import msgspec

from ksd_ddns.kubevirt.events import VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.warning import VmiWarning
from ksd_ddns.zone import hold
from ksd_ddns.zone.desired import Desired, Effect, Rules
from ksd_ddns.zone.hold import Vanished
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Scope
from ksd_ddns.zone.reconciler.outages import Outages
from ksd_ddns.zone.reconciler.rate_limit import RateLimit
from ksd_ddns.zone.reconciler.timing import TIMING, Timing

_Hold = tuple[float, tuple[bytes, ...]]
"""The end of the hold, and the held addresses; none if the hold has ended."""

_ENDED: _Hold = (0.0, ())


class HeldFamily(msgspec.Struct, frozen=True):
    """The addresses of one family that vanished from `interface`, and until when they are kept (monotonic)."""

    interface: str
    rdtype: int
    until: float
    addresses: tuple[bytes, ...]


class Inventory:
    """Takes the events of a source, and returns the owner names whose wanted records they may change.

    All times are by the monotonic clock, in seconds. `due` is when to call `tick` next.
    """

    def __init__(
        self, desired: Desired, rules: Rules, scope: Scope, *, hold_down: float, timing: Timing = TIMING
    ) -> None:
        self._desired = desired
        self._rules = rules
        self._scope = scope
        self._hold_down = hold_down
        self._vmis: dict[str, Vmi] = {}
        self._held: dict[str, dict[Vanished, _Hold]] = {}
        self._deleted: set[str] = set()  # their records may still be in the zone
        self._slowed: dict[str, Vmi] = {}  # the latest state of rate-limited VMIs
        self._unreadable: set[str] = set()
        self._outages = Outages(timing.catch_up)
        self._timers: list[tuple[float, str]] = []
        self._rate_limit = RateLimit(timing)
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._vmis)

    @property
    def names(self) -> int:
        """The number of owner names that are wanted."""
        return len(self._desired)

    @property
    def warned(self) -> int:
        """The number of VMIs of which something cannot be published."""
        return self._desired.warned

    @property
    def incomplete_namespaces(self) -> frozenset[str]:
        """The namespaces with VMIs that could not be parsed: a missing VMI may still exist."""
        return frozenset(key.partition("/")[0] for key in self._unreadable)

    def take_changed(self) -> set[str]:
        """Return the VMIs that were added, changed or deleted, or whose holds changed, since the last call."""
        found, self._changed = self._changed, set()
        return found

    def held_families(self, key: str) -> tuple[HeldFamily, ...]:
        """Return what is held of the VMI `namespace/name`."""
        families = self._held.get(key)
        if not families:
            return ()
        return tuple(
            HeldFamily(interface, rdtype, until, addresses)
            for (interface, rdtype), (until, addresses) in sorted(families.items())
            if addresses
        )

    def waits(self, key: str) -> bool:
        """Return whether a change of the VMI `namespace/name` waits, because it changes too often."""
        return key in self._slowed

    def get(self, key: str) -> Vmi | None:
        """Return the VMI `namespace/name` as last reported; None if there is none."""
        return self._vmis.get(key)

    def keys(self) -> Collection[str]:
        """Return `namespace/name` of every VMI."""
        return self._vmis.keys()

    def slowed(self, key: str, now: float) -> tuple[Vmi, float] | None:
        """Return the state of a VMI that has to wait because it changes too often, and when it is taken."""
        vmi = self._slowed.get(key)
        return None if vmi is None else (vmi, self._rate_limit.due(key, now))

    def holds(self, key: str, now: float) -> dict[Vanished, tuple[float, tuple[bytes, ...]]]:
        """Return the held address families of a VMI: when each hold ends, and the addresses."""
        return {vanished: each for vanished, each in self._held.get(key, {}).items() if self._lasts(key, each, now)}

    def outage(self, key: str) -> float:
        """Return until when no hold of a VMI ends: infinite while its source cannot be read."""
        return self._outages.until(key)

    def vmi_of(self, name: bytes) -> str:
        """Return `namespace/name` of the VMI that has the owner name."""
        return self._desired.vmi_of(name)

    def warnings(self, key: str) -> tuple[VmiWarning, ...]:
        """Return what cannot be published of the VMI `namespace/name`, and why."""
        return self._desired.warnings_of(key)

    def wants(self, name: bytes) -> bool:
        """Return whether any record is wanted at the owner name."""
        return self._desired.get(name) is not None

    def held(self, now: float) -> int:
        """Return the number of held address families."""
        return sum(self._lasts(key, each, now) for key, families in self._held.items() for each in families.values())

    @property
    def due(self) -> float | None:
        """When the next hold ends or the next rate-limited change is due; None if there is none."""
        return self._timers[0][0] if self._timers else None

    def handle_list(self, event: VmisListed, live: Live, now: float) -> set[bytes]:
        """Take a full list: a VMI that is missing in it is gone."""
        prefix = f"{event.namespace}/" if event.namespace else ""
        found = {vmi.key: vmi for vmi in event.vmis}
        gone = [
            key for key in self._vmis if key not in found and key not in event.unreadable and key.startswith(prefix)
        ]
        self._unreadable = {key for key in self._unreadable if not key.startswith(prefix)} | event.unreadable
        dirty: set[bytes] = set()
        for key in gone:
            dirty |= self._forget(key, now)
        for key, vmi in found.items():
            if key in self._slowed or self._vmis.get(key) != vmi:
                # The first list and a new VMI do not count as changes.
                changed = key in self._vmis or key in self._slowed or key in self._rate_limit
                dirty |= self._take(vmi, live, now) if changed else self._put(vmi, live, now)
        return dirty

    def handle_change(self, event: VmiChanged, live: Live, now: float) -> set[bytes]:
        """Take a new or changed VMI; one that changes too often has to wait."""
        self._unreadable.discard(event.vmi.key)
        return self._take(event.vmi, live, now)

    def handle_deletion(self, event: VmiDeleted) -> set[bytes]:
        """Take the deletion of a VMI."""
        self._unreadable.discard(event.key)
        return self._forget(event.key, event.at)

    def tick(self, live: Live, now: float) -> set[bytes]:
        """End the holds and apply the rate-limited changes that are due."""
        dirty: set[bytes] = set()
        while self._timers and self._timers[0][0] <= now:
            _, key = heapq.heappop(self._timers)
            if key in self._slowed and (due := self._rate_limit.due(key, now)) > now:
                heapq.heappush(self._timers, (due, key))  # the timer was that of a hold
            elif key in self._slowed:
                dirty |= self._take(self._slowed[key], live, now)
                continue
            outage_until = self._outages.until(key)
            if outage_until == inf:
                self._outages.wait(key)
            elif now < outage_until:
                heapq.heappush(self._timers, (outage_until, key))
            elif key in self._held and key in self._vmis:
                dirty |= self._put(self._vmis[key], live, now)
        return dirty

    def begin_outage(self, namespace: str) -> None:
        """Note that `namespace` cannot be read: its held addresses may return unnoticed, so no hold ends."""
        self._outages.begin(namespace)

    def end_outage(self, namespace: str, now: float) -> None:
        """Note that `namespace` can be read again."""
        for key in self._outages.end(namespace, now):
            heapq.heappush(self._timers, (now, key))

    def _lasts(self, key: str, each: _Hold, now: float) -> bool:
        until, addresses = each
        return bool(addresses) and (until > now or now < self._outages.until(key))

    def note_in_sync(self) -> None:
        """Note that the zone is in sync: it holds no records of deleted VMIs."""
        self._deleted.clear()

    def _take(self, vmi: Vmi, live: Live, now: float) -> set[bytes]:
        """Take a new or changed VMI, unless it has to wait because it changes too often.

        Only changes of its wanted records count, for whatever reason: addresses, annotations, the phase. A change that
        only removes records counts too, but never waits.
        """
        holds = self._held_by(vmi, live, now)
        effective = self._effective(vmi, holds, live)
        effect = self._desired.effect(effective)
        if effect is Effect.CHANGES:
            due = self._rate_limit.due(vmi.key, now)
            if due > now:
                if vmi.key not in self._slowed:
                    heapq.heappush(self._timers, (due, vmi.key))
                previous = self._vmis.get(vmi.key)
                # The records of the previous VMI of this name are deleted at once.
                dirty = self._forget(vmi.key, now) if previous is not None and previous.uid != vmi.uid else set()
                self._slowed[vmi.key] = vmi
                self._changed.add(vmi.key)
                return dirty
        if effect is not Effect.NONE:
            self._rate_limit.count(vmi.key, now)
        return self._accept(vmi, holds, effective)

    def _put(self, vmi: Vmi, live: Live, now: float) -> set[bytes]:
        """Take a VMI without rate limiting."""
        holds = self._held_by(vmi, live, now)
        return self._accept(vmi, holds, self._effective(vmi, holds, live))

    def _accept(self, vmi: Vmi, holds: dict[Vanished, _Hold], effective: Vmi) -> set[bytes]:
        key = vmi.key
        self._changed.add(key)
        self._slowed.pop(key, None)
        self._vmis[key] = vmi
        before = self._held.pop(key, {})
        for vanished, (until, _) in holds.items():
            if vanished not in before:
                heapq.heappush(self._timers, (until, key))
        if holds:
            self._held[key] = holds
        return self._desired.put(effective)

    def _held_by(self, vmi: Vmi, live: Live, now: float) -> dict[Vanished, _Hold]:
        """Return the holds of a VMI; none if it took the name of a deleted one."""
        key = vmi.key
        previous = self._vmis.get(key)
        successor = key in self._deleted or (previous is not None and previous.uid != vmi.uid)
        if successor or self._hold_down <= 0:
            return {}
        return self._holds(vmi, previous, self._held.get(key, {}), live, now)

    def _holds(
        self, vmi: Vmi, previous: Vmi | None, before: dict[Vanished, _Hold], live: Live, now: float
    ) -> dict[Vanished, _Hold]:
        """Return the holds of the address families that are missing from `vmi`.

        The held addresses are those last reported, or for a new VMI those in the zone. A hold that has ended is
        remembered until the family returns, so that it does not start again.
        """
        holds: dict[Vanished, _Hold] = {}
        for vanished in hold.missing(vmi):
            if vanished in before:
                holds[vanished] = before[vanished] if self._lasts(vmi.key, before[vanished], now) else _ENDED
                continue
            if previous is not None:
                addresses = hold.previous(previous, vanished)
            else:
                addresses = hold.published(vmi, vanished, live, self._rules, self._scope)
            if addresses:
                holds[vanished] = (now + self._hold_down, addresses)
        return holds

    def _forget(self, key: str, now: float) -> set[bytes]:
        if self._vmis.pop(key, None) is not None:
            self._deleted.add(key)
        self._held.pop(key, None)
        self._slowed.pop(key, None)
        self._changed.add(key)
        dirty = self._desired.remove(key)
        if dirty:
            self._rate_limit.count(key, now)  # a deletion never waits, but counts against the next creation
        return dirty

    def _effective(self, vmi: Vmi, holds: dict[Vanished, _Hold], live: Live) -> Vmi:
        """Return `vmi` with its held addresses, and a new one with what the zone says about its groups."""
        present = {vanished: addresses for vanished, (_, addresses) in holds.items() if addresses}
        found = hold.with_held(vmi, present) if present else vmi
        if found.ready or vmi.key in self._vmis or vmi.key in self._deleted:
            return found
        return hold.with_groups(found, live, self._rules, self._scope)
