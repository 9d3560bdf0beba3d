"""The VMIs as the source tells them, and what the zone should hold for them: hold-down and fairness included."""

import heapq
from math import inf

from ksd_ddns.kubevirt.events import VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.warning import VmiWarning
from ksd_ddns.zone import hold
from ksd_ddns.zone.desired import Desired, Effect, Rules
from ksd_ddns.zone.hold import Vanished
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Scope
from ksd_ddns.zone.reconciler.rate_limit import RateLimit
from ksd_ddns.zone.reconciler.timing import TIMING, Timing

_Hold = tuple[float, tuple[bytes, ...]]
"""Until when, and which addresses: none any more of a hold that has ended."""

_ENDED: _Hold = (0.0, ())


class Inventory:
    """Takes what the source tells, and returns the owner names whose wanted content that may change.

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
        self._ended: set[str] = set()
        self._slowed: dict[str, Vmi] = {}
        self._unread: set[str] = set()
        self._blind: dict[str, float] = {}
        self._overdue: set[str] = set()
        self._timers: list[tuple[float, str]] = []
        self._rate_limit = RateLimit(timing)
        self._catch_up = timing.catch_up

    def __len__(self) -> int:
        return len(self._vmis)

    @property
    def names(self) -> int:
        """The number of owner names that are wanted."""
        return len(self._desired)

    @property
    def unread(self) -> frozenset[str]:
        """The namespaces with VMIs that could not be read: nothing follows from absence there."""
        return frozenset(key.partition("/")[0] for key in self._unread)

    def get(self, key: str) -> Vmi | None:
        """Return the VMI `namespace/name` as it was last told, None where there is none."""
        return self._vmis.get(key)

    def vmi_of(self, name: bytes) -> str:
        """Return `namespace/name` of the VMI that has the owner name."""
        return self._desired.vmi_of(name)

    def warnings(self, key: str) -> tuple[VmiWarning, ...]:
        """Return what of the VMI `namespace/name` cannot be published, and why."""
        return self._desired.warnings_of(key)

    def wants(self, name: bytes) -> bool:
        """Return whether anything is wanted at the owner name."""
        return self._desired.get(name) is not None

    def held(self, now: float) -> int:
        """Return the number of address families that are held."""
        return sum(self._lasts(key, each, now) for key, families in self._held.items() for each in families.values())

    @property
    def due(self) -> float | None:
        """When the next hold ends, or the next slowed change is due; None where nothing waits."""
        return self._timers[0][0] if self._timers else None

    def listed(self, told: VmisListed, live: Live, now: float) -> set[bytes]:
        """Take a whole list: what is missing in it is gone."""
        prefix = f"{told.scope}/" if told.scope else ""
        found = {vmi.key: vmi for vmi in told.vmis}
        gone = [key for key in self._vmis if key not in found and key not in told.unread and key.startswith(prefix)]
        self._unread = {key for key in self._unread if not key.startswith(prefix)} | told.unread
        dirty: set[bytes] = set()
        for key in gone:
            dirty |= self._forget(key, now)
        for key, vmi in found.items():
            if key in self._slowed or self._vmis.get(key) != vmi:
                # The first list is no change of anything, and neither is a VMI that was not there before.
                changed = key in self._vmis or key in self._slowed or key in self._rate_limit
                dirty |= self._take(vmi, live, now) if changed else self._put(vmi, live, now)
        return dirty

    def changed(self, told: VmiChanged, live: Live, now: float) -> set[bytes]:
        """Take one VMI as it is now; one that changes all the time waits for its turn."""
        self._unread.discard(told.vmi.key)
        return self._take(told.vmi, live, now)

    def gone(self, told: VmiDeleted) -> set[bytes]:
        """Take the deletion of one VMI."""
        self._unread.discard(told.key)
        return self._forget(told.key, told.at)

    def tick(self, live: Live, now: float) -> set[bytes]:
        """Let holds end and slowed changes pass whose time has come."""
        dirty: set[bytes] = set()
        while self._timers and self._timers[0][0] <= now:
            _, key = heapq.heappop(self._timers)
            if key in self._slowed and (due := self._rate_limit.due(key, now)) > now:
                heapq.heappush(self._timers, (due, key))  # it was a hold that ended
            elif key in self._slowed:
                dirty |= self._take(self._slowed[key], live, now)
                continue
            blind_until = self._blind_until(key)
            if blind_until == inf:
                self._overdue.add(key)
            elif now < blind_until:
                heapq.heappush(self._timers, (blind_until, key))
            elif key in self._held and key in self._vmis:
                dirty |= self._put(self._vmis[key], live, now)
        return dirty

    def blind(self, scope: str, now: float, *, blind: bool) -> None:
        """Note that a source cannot be read, or that it can again: held addresses may have returned while it was down.

        No hold of a VMI in `scope` ends before that is known; those of other scopes do.
        """
        if blind:
            self._blind[scope] = inf
        elif self._blind.get(scope) == inf:
            self._blind[scope] = now + self._catch_up
            for key in self._overdue:
                heapq.heappush(self._timers, (now + self._catch_up, key))
            self._overdue.clear()

    def _blind_until(self, key: str) -> float:
        """Return until when the VMI `key` may have changed unseen."""
        return max(
            (until for scope, until in self._blind.items() if not scope or key.startswith(f"{scope}/")), default=0.0
        )

    def _lasts(self, key: str, each: _Hold, now: float) -> bool:
        until, addresses = each
        return bool(addresses) and (until > now or now < self._blind_until(key))

    def settled(self) -> None:
        """Take note that the zone has followed all deletions: what stands there now belongs to living VMIs."""
        self._ended.clear()

    def _take(self, vmi: Vmi, live: Live, now: float) -> set[bytes]:
        """Take a VMI as it is now, unless it has to wait because it changes too often.

        Only what changes the records that it wants counts, whatever it is: addresses, annotations, the phase. What only
        removes records counts, too, and never waits.
        """
        holds = self._held_by(vmi, live, now)
        effective = _effective(vmi, holds)
        effect = self._desired.effect(effective)
        if effect is Effect.CHANGES:
            due = self._rate_limit.due(vmi.key, now)
            if due > now:
                if vmi.key not in self._slowed:
                    heapq.heappush(self._timers, (due, vmi.key))
                known = self._vmis.get(vmi.key)
                # The records of the one that had this name before go at once.
                dirty = self._forget(vmi.key, now) if known is not None and known.uid != vmi.uid else set()
                self._slowed[vmi.key] = vmi
                return dirty
        if effect is not Effect.NONE:
            self._rate_limit.passes(vmi.key, now)
        return self._accept(vmi, holds, effective)

    def _put(self, vmi: Vmi, live: Live, now: float) -> set[bytes]:
        """Take a VMI as it is now, however often it changes."""
        holds = self._held_by(vmi, live, now)
        return self._accept(vmi, holds, _effective(vmi, holds))

    def _accept(self, vmi: Vmi, holds: dict[Vanished, _Hold], effective: Vmi) -> set[bytes]:
        key = vmi.key
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
        """Return what is held of a VMI: nothing where it took the name of another one."""
        key = vmi.key
        known = self._vmis.get(key)
        successor = key in self._ended or (known is not None and known.uid != vmi.uid)
        if successor or self._hold_down <= 0:
            return {}
        return self._holds(vmi, known, self._held.get(key, {}), live, now)

    def _holds(
        self, vmi: Vmi, known: Vmi | None, before: dict[Vanished, _Hold], live: Live, now: float
    ) -> dict[Vanished, _Hold]:
        """Return until when which vanished families of `vmi` are held, or were.

        What it had when it was last heard of vanished now; of a VMI that is new here, the zone tells what it had.
        A hold that has ended is remembered as long as the family is missing, so that it does not begin anew.
        """
        holds: dict[Vanished, _Hold] = {}
        for vanished in hold.missing(vmi):
            if vanished in before:
                holds[vanished] = before[vanished] if self._lasts(vmi.key, before[vanished], now) else _ENDED
                continue
            if known is not None:
                addresses = hold.previous(known, vanished)
            else:
                addresses = hold.published(vmi, vanished, live, self._rules, self._scope)
            if addresses:
                holds[vanished] = (now + self._hold_down, addresses)
        return holds

    def _forget(self, key: str, now: float) -> set[bytes]:
        if self._vmis.pop(key, None) is not None:
            self._ended.add(key)
        self._held.pop(key, None)
        self._slowed.pop(key, None)
        dirty = self._desired.remove(key)
        if dirty:
            self._rate_limit.passes(key, now)  # a deletion never waits, and counts: what is created again may have to
        return dirty


def _effective(vmi: Vmi, holds: dict[Vanished, _Hold]) -> Vmi:
    """Return `vmi` with what is held."""
    present = {vanished: addresses for vanished, (_, addresses) in holds.items() if addresses}
    return hold.with_held(vmi, present) if present else vmi
