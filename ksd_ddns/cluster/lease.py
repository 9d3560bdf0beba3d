# SPDX-License-Identifier: Apache-2.0
"""Leader election with a Lease: one controller works, the others wait.

Two controllers never send at the same time. The leader counts from *before* it sent its last successful renewal, and
stops `lead_for` seconds later. Another candidate counts from when it *saw* that renewal, and waits for `duration`,
which is longer. Both use a clock that continues while the machine is suspended and that cannot be set, so their wall
clocks need not agree.
"""

import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import Any

import msgspec

from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.http_errors import Conflict, Missing
from ksd_ddns.cluster.timing import LeaseTiming
from ksd_ddns.errors import SourceError

_log = logging.getLogger(__name__)

# BOOTTIME includes suspended time, MONOTONIC does not (Linux, clock_gettime(2)).
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now() -> float:
    return time.clock_gettime(_CLOCK)


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Meta(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    resource_version: str | None = None


class _Lease(msgspec.Struct, rename="camel"):
    """The fields of a Lease that matter here; without a `spec` it has no holder."""

    metadata: _Meta
    spec: _Spec | None = None
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class Election:
    """One candidate, `identity`, for the Lease `namespace/name`.

    Use an `api` of its own, so that no list or watch delays a renewal. `leader` is the last observed holder; `lost`
    is true once leadership has been lost.
    """

    def __init__(
        self, api: Api, *, namespace: str, name: str, identity: str, timing: LeaseTiming | None = None
    ) -> None:
        self._api = api
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace = namespace
        self._name = name
        self._lease = f"{namespace}/{name}"
        self._identity = identity
        self._timing = timing or LeaseTiming()
        self._seen: tuple[str | None, str | None] | None = None
        self._seen_at = 0.0
        self._problem = ""
        self._valid_until = float("-inf")
        self._over = Event()
        self._lock = Lock()
        self._renewer: Thread | None = None
        self.leader = ""
        self.lost = False

    def leading(self) -> bool:
        """Return whether this candidate leads now; cheap, and safe to call from any thread."""
        return not self.lost and _now() < self._valid_until

    def campaign(self, stop: Event) -> bool:
        """Wait until this candidate holds the Lease; return false if `stop` was set first."""
        while not stop.is_set():
            if self._attempt():
                _log.info("became leader", extra={"fields": {"lease": self._lease, "identity": self._identity}})
                return True
            stop.wait(self._timing.renew_every * random.uniform(0.8, 1.2))  # noqa: S311 spreads candidates
        return False

    def lead(self, lost: Callable[[], None]) -> None:
        """Renew the Lease on a separate thread until `resign`; call `lost` once if leadership is lost.

        Another thread watches the deadline: a renewal that hangs must not delay stepping down.
        """
        self._renewer = Thread(target=self._renew, args=(lost,), name="lease", daemon=True)
        self._renewer.start()
        Thread(target=self._watch, args=(lost,), name="lease-deadline", daemon=True).start()

    def resign(self) -> None:
        """Stop leading and release the Lease, so that the next leader need not wait. No update may be in flight."""
        self._over.set()
        with self._lock:
            released = not self.lost and _now() < self._valid_until
            self._valid_until = float("-inf")
        if self._renewer is not None:
            self._renewer.join(self._timing.request)
            released = released and not self._renewer.is_alive()
        if released:
            self._release()

    def _renew(self, lost: Callable[[], None]) -> None:
        while not self._over.wait(self._timing.renew_every):
            if not self._attempt() and self.leader not in {"", self._identity}:
                self._lose(f"lost leadership to {self.leader}, exiting", lost)
            if self.lost:
                return

    def _watch(self, lost: Callable[[], None]) -> None:
        while not self._over.is_set() and not self.lost:
            left = self._valid_until - _now()
            if left <= 0:
                self._lose("lost leadership, exiting", lost, error=self._problem or "the Lease was not renewed in time")
                return
            # A wait does not count suspended time, so check the clock every second.
            self._over.wait(min(left, 1.0))

    def _lose(self, event: str, lost: Callable[[], None], **fields: str) -> None:
        with self._lock:
            if self.lost or self._over.is_set():
                return
            self.lost = True
        _log.error(event, extra={"fields": {"lease": self._lease, **fields}})
        lost()

    def _attempt(self) -> bool:
        """Acquire or renew the Lease; return whether this candidate holds it."""
        seconds = self._timing.request
        if self._valid_until > float("-inf"):
            # A renewal must finish before our lease expires.
            seconds = max(0.01, min(seconds, self._valid_until - _now()))
        problem = ""
        try:
            with self._api.within(seconds):
                return self._try()
        except Conflict:
            return False  # another candidate was faster
        except SourceError as e:
            problem = str(e)
        except msgspec.DecodeError:
            problem = f"the API server {self._api.host} answered with something other than a Lease"
        finally:
            if problem and problem != self._problem:  # log once, not on every attempt
                _log.warning(
                    "cannot read or write the Lease, retrying",
                    extra={"fields": {"lease": self._lease, "error": problem}},
                )
            self._problem = problem
        return False

    def _try(self) -> bool:
        try:
            lease = self._read()
        except Missing:
            # The holder may not have noticed the deletion yet.
            if self._is_held(self._seen[0] if self._seen else None, None, self._timing.duration):
                return False
            began = _now()
            meta = _Meta(self._name, self._namespace)
            self._api.send("POST", self._path, msgspec.to_builtins(_Lease(meta, self._ours(None))))
            return self._won(began)
        spec = lease.spec or _Spec()
        duration = max(spec.lease_duration_seconds or self._timing.duration, 1)
        if self._is_held(spec.holder_identity, spec.renew_time, duration):
            return False
        lease.spec = self._ours(spec)
        began = _now()
        self._write(lease)
        return self._won(began)

    def _is_held(self, holder: str | None, renew_time: str | None, duration: float) -> bool:
        """Record the holder; return whether another candidate holds the Lease and it changed within `duration`."""
        if (holder, renew_time) != self._seen:
            self._seen, self._seen_at = (holder, renew_time), _now()
        self.leader = holder or ""
        return self.leader not in {"", self._identity} and _now() - self._seen_at < duration

    def _won(self, began: float) -> bool:
        """Record that the renewal sent at `began` succeeded."""
        with self._lock:
            # After a late renewal, step down: another candidate may have led in between, so our state may be stale.
            late = self._valid_until > float("-inf") and _now() >= self._valid_until
            if late or self.lost or self._over.is_set():
                return False
            self._valid_until = began + self._timing.lead_for
        self.leader = self._identity
        return True

    def _ours(self, previous: _Spec | None) -> _Spec:
        now = _micro_time()
        duration = max(1, round(self._timing.duration))
        if previous is not None and previous.holder_identity == self._identity:
            return msgspec.structs.replace(previous, renew_time=now, lease_duration_seconds=duration)
        transitions = (previous.lease_transitions or 0) + 1 if previous is not None else 0
        return _Spec(self._identity, duration, now, now, transitions)

    def _release(self) -> None:
        try:
            with self._api.within(self._timing.request):
                lease = self._read()
                if lease.spec is not None and lease.spec.holder_identity == self._identity:
                    lease.spec = msgspec.structs.replace(
                        lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=_micro_time()
                    )
                    self._write(lease)
        except (SourceError, msgspec.DecodeError) as e:
            why = str(e) if isinstance(e, SourceError) else "not a Lease"
            _log.info(
                "cannot release the Lease, it expires on its own",
                extra={"fields": {"lease": self._lease, "error": why}},
            )

    def _read(self) -> _Lease:
        return msgspec.json.decode(self._api.get(f"{self._path}/{self._name}", {}), type=_Lease)

    def _write(self, lease: _Lease) -> None:
        body: Any = msgspec.to_builtins(lease)
        self._api.send("PUT", f"{self._path}/{self._name}", body)


def _micro_time() -> str:
    """Return the time as a MicroTime; the API server requires exactly six fractional digits."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
