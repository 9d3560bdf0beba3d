# SPDX-License-Identifier: Apache-2.0
"""Refused names: grouped by cause, retried by samples.

A refused name delays no other name. It is sent again when its turn comes or its wanted records change. Names with the
same cause share one backoff. When that ends, a few of them are retried; if one is accepted, the cause is gone and all
of them are sent again.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum

import msgspec

from ksd_ddns.errors import PrimaryError
from ksd_ddns.wire import names, rcodes
from ksd_ddns.wire.rrset import AAAA, PTR, SRV, TXT, A
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.plan import Change, Kind
from ksd_ddns.zone.reconciler.backoff import Backoff, Jitter
from ksd_ddns.zone.reconciler.timing import TIMING, Timing

SAMPLE = 4
"""Names per cause that are retried at a time."""


class Cause(StrEnum):
    """Why a name is refused, as far as the answer, the name and the records show."""

    HOST_NAME = "host-name"
    """REFUSED, and the name is not a host name: BIND checks the owners of A and AAAA records (check-names)."""
    PERMISSION = "permission"
    """REFUSED or NOTAUTH: the key may not update this name."""
    ZONE = "zone"
    """The primary accepts no update of the zone: it is frozen, a secondary, or the permission is gone."""
    LIMIT = "limit"
    """SERVFAIL for a name with several records of one type: BIND limits them (max-records-per-type)."""
    SERVER = "server"
    """SERVFAIL for another, unknown reason."""
    NOT_SHOWN = "not-shown"
    """NOERROR, but the zone does not hold the change."""
    NO_TXT = "no-txt"
    """NOERROR, but the zone does not hold the ownership record."""
    CHANGING = "changing"
    """Prerequisites keep failing after a read: another client keeps changing the name, or the server stores its records
    in another form than it transfers."""
    OTHER = "other"
    """Another rcode, or a message that is too large."""


class Refusal(msgspec.Struct, frozen=True):
    """One refused name. `since` is by the monotonic clock, in seconds; `error` is the error that the primary reported.

    `tried` is false if the name was not sent alone, but is refused because similar names were.
    """

    change: Change
    cause: Cause
    since: float
    rcode: int | None = None
    error: PrimaryError | None = None
    tried: bool = True

    @property
    def name(self) -> bytes:
        """The owner name."""
        return self.change.name


class Group(msgspec.Struct, frozen=True):
    """The refused names of one cause: their count, the first refusal, and when a sample is retried (monotonic)."""

    cause: Cause
    count: int
    first: Refusal
    retry_at: float


class _Waiting:
    """The refused names of one cause, and when the next sample is due."""

    def __init__(self, backoff: Backoff, now: float) -> None:
        self.backoff = backoff
        self.names: OrderedDict[bytes, None] = OrderedDict()
        self.due = now + backoff.next()

    def sample(self) -> list[bytes]:
        """Return the next few names, in rotation."""
        found = list(self.names)[:SAMPLE] if len(self.names) <= SAMPLE else []
        while not found or len(found) < min(SAMPLE, len(self.names)):
            name, _ = self.names.popitem(last=False)
            self.names[name] = None
            found.append(name)
        return found


class Refusals:
    """The refused names of one zone. `deletions` is how many of them should be deleted: no VMI wants them."""

    def __init__(self, *, jitter: Jitter, timing: Timing = TIMING) -> None:
        self._jitter = jitter
        self._timing = timing
        self._refusals: dict[bytes, Refusal] = {}
        self._waiting: dict[Cause, _Waiting] = {}
        self._before: dict[bytes, Refusal] = {}  # of names whose records have changed since
        self.deletions = 0

    def __len__(self) -> int:
        return len(self._refusals)

    def __contains__(self, name: object) -> bool:
        return name in self._refusals

    def __iter__(self) -> Iterator[Refusal]:
        return iter(self._refusals.values())

    def names(self) -> Collection[bytes]:
        """Return the refused names."""
        return self._refusals.keys()

    def get(self, name: bytes) -> Refusal | None:
        """Return the refusal of `name`; None if it is not refused."""
        return self._refusals.get(name)

    def retry_at(self, cause: Cause) -> float | None:
        """Return when the next names refused for `cause` are retried; None if there are none."""
        return self._waiting[cause].due if cause in self._waiting else None

    def causes(self) -> Collection[Cause]:
        """Return the causes of all refusals."""
        return self._waiting.keys()

    def names_of(self, cause: Cause) -> Collection[bytes]:
        """Return the names refused for `cause`."""
        return self._waiting[cause].names.keys() if cause in self._waiting else ()

    def firsts(self) -> list[Refusal]:
        """Return one refusal of each cause."""
        return [self._refusals[next(iter(waiting.names))] for waiting in self._waiting.values()]

    def groups(self) -> tuple[Group, ...]:
        """Return the groups, largest first."""
        found = [
            Group(cause, len(waiting.names), self._refusals[next(iter(waiting.names))], waiting.due)
            for cause, waiting in self._waiting.items()
        ]
        return tuple(sorted(found, key=lambda group: -group.count))

    def add(self, refusal: Refusal, now: float) -> bool:
        """Add a refused name; return whether the name or its cause is new."""
        earlier = self._before.pop(refusal.name, None)
        if earlier is not None and earlier.cause is refusal.cause:
            refusal = msgspec.structs.replace(refusal, since=earlier.since)
        before = self._refusals.get(refusal.name)
        if before is not None and before.cause is refusal.cause:
            self._put(msgspec.structs.replace(refusal, since=before.since))
            return False
        if before is not None:
            self._leave(refusal.name, before.cause)
        self._put(refusal)
        waiting = self._waiting.get(refusal.cause)
        if waiting is None:
            backoff = Backoff(self._timing.first_retry, self._timing.longest_retry, jitter=self._jitter)
            self._waiting[refusal.cause] = waiting = _Waiting(backoff, now)
        waiting.names[refusal.name] = None
        return True

    def forget(self, name: bytes) -> Refusal | None:
        """Remove `name`; return its refusal."""
        refusal = self._pop(name)
        if refusal is not None:
            self._leave(name, refusal.cause)
        return refusal

    def reconsider(self, name: bytes) -> None:
        """Remove `name`, whose wanted records have changed. If the same cause refuses it again, it is still refused."""
        refusal = self.forget(name)
        if refusal is not None:
            self._before[name] = refusal

    def finish(self, name: bytes) -> None:
        """Note that `name` was accepted, or needs no change."""
        if self._before:
            self._before.pop(name, None)

    def forget_all(self) -> set[bytes]:
        """Remove and return all names."""
        found = set(self._refusals)
        self._refusals.clear()
        self._waiting.clear()
        self._before.clear()
        self.deletions = 0
        return found

    def release(self, cause: Cause) -> set[bytes]:
        """Remove and return all names of `cause`, because one was accepted."""
        waiting = self._waiting.pop(cause, None)
        found = set(waiting.names) if waiting else set()
        for name in found:
            self._pop(name)
        return found

    def release_untried(self, cause: Cause) -> list[bytes]:
        """Remove and return the names of `cause` that were not tried alone."""
        found = [name for name in self.names_of(cause) if not self._refusals[name].tried]
        for name in found:
            self.forget(name)
        return found

    @property
    def due(self) -> float | None:
        """When to retry the next sample; None if no name is refused."""
        return min((waiting.due for waiting in self._waiting.values()), default=None)

    def sample(self, now: float, *, longest: float) -> list[bytes]:
        """Return the names to retry now, of each cause that is due; the next pause is at most `longest`."""
        found: list[bytes] = []
        for waiting in self._waiting.values():
            if waiting.due <= now:
                found += waiting.sample()
                waiting.due = now + waiting.backoff.next(longest=longest)
        return found

    def hurry(self, causes: Iterable[Cause], now: float) -> None:
        """Retry names of `causes` now, and start with short pauses again: the cause may be gone."""
        for cause in causes:
            if cause in self._waiting:
                self._waiting[cause].backoff.reset()
                self._waiting[cause].due = now

    def _put(self, refusal: Refusal) -> None:
        self._pop(refusal.name)
        self._refusals[refusal.name] = refusal
        self.deletions += refusal.change.kind is Kind.DELETE

    def _pop(self, name: bytes) -> Refusal | None:
        refusal = self._refusals.pop(name, None)
        if refusal is not None:
            self.deletions -= refusal.change.kind is Kind.DELETE
        return refusal

    def _leave(self, name: bytes, cause: Cause) -> None:
        waiting = self._waiting[cause]
        del waiting.names[name]
        if not waiting.names:
            del self._waiting[cause]


def cause_of(answer: Answer) -> Cause:
    """Return why the only change of `answer` was refused or failed."""
    (change,) = answer.changes
    if answer.result is Result.FAILED:
        several = any(len(item.rdatas) > 1 for item in change.new.rrsets if item.type != TXT)
        return Cause.LIMIT if several else Cause.SERVER
    if answer.rcode == rcodes.REFUSED and violates_check_names(change):
        return Cause.HOST_NAME
    return Cause.PERMISSION if answer.rcode in {rcodes.REFUSED, rcodes.NOTAUTH} else Cause.OTHER


def by_check_names(changes: Iterable[Change]) -> tuple[list[bytes], list[bytes]]:
    """Return the names of the changes that BIND's check-names would refuse, and the names of the others."""
    found: tuple[list[bytes], list[bytes]] = [], []
    for change in changes:
        found[0 if violates_check_names(change) else 1].append(change.name)
    return found


def violates_check_names(change: Change) -> bool:
    """Return whether BIND's check-names would refuse `change`: it adds an owner or target that is not a host name."""
    for item in change.new.rrsets:
        if item.type in {A, AAAA} and not names.is_host_name(change.name):
            return True
        if item.type == PTR and not all(map(names.is_host_name, item.rdatas)):
            return True
        if item.type == SRV and not all(names.is_host_name(rdata[6:]) for rdata in item.rdatas):
            return True
    return False
