"""Leader election by a Lease: of several controllers on one company zone, one works and the others stand by.

As everywhere in Kubernetes, a Lease is held by whoever renewed it last, and counts as free when nobody renewed it for
its duration; that is measured here from when a renewal was *seen*, so that clocks need not agree.
"""

import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event
from typing import Any

import msgspec

from ksd_ddns.cluster.api import Api, Conflict, Missing
from ksd_ddns.errors import SourceError

DURATION = 15.0
"""Seconds for which a Lease counts without being renewed."""

RENEW_WITHIN = 10.0
"""Seconds without a renewal after which the leader steps down: well before anybody else takes over."""

EVERY = 2.0

_log = logging.getLogger(__name__)


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
    metadata: _Meta
    spec: _Spec
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class Election:
    """One candidate, `identity`, for the Lease `namespace/name`."""

    def __init__(self, api: Api, *, namespace: str, name: str, identity: str) -> None:
        self._api = api
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._seen: tuple[str | None, str | None] = (None, None)
        self._seen_at = 0.0
        self.leader = ""

    def await_leadership(self, stop: Event) -> bool:
        """Wait until the Lease is ours; return false where `stop` was set first."""
        while not stop.is_set():
            if self._tried():
                _log.info("leading as %s", self._identity)
                return True
            stop.wait(EVERY * random.uniform(0.8, 1.2))  # noqa: S311 spreads candidates
        return False

    def lead(self, stop: Event, lost: Callable[[], None]) -> None:
        """Renew the Lease until `stop` is set, then give it free; call `lost` where it could not be renewed in time."""
        renewed = time.monotonic()
        while not stop.wait(EVERY):
            if self._tried():
                renewed = time.monotonic()
            elif self.leader not in {"", self._identity} or time.monotonic() - renewed > RENEW_WITHIN:
                _log.error(
                    "no longer leading, %s is: this process ends, and stands by again when it is restarted",
                    self.leader or "perhaps somebody else",
                )
                lost()
                return
        self._release()

    def _tried(self) -> bool:
        """Take or renew the Lease; return whether it is ours now."""
        try:
            return self._try()
        except Conflict:
            return False  # somebody else was quicker: look again
        except (SourceError, msgspec.DecodeError) as e:
            _log.warning("the Lease %s/%s cannot be renewed: %s", self._namespace, self._name, e)
            return False

    def _try(self) -> bool:
        try:
            lease = self._read()
        except Missing:
            meta = _Meta(self._name, self._namespace)
            self._api.send("POST", self._path, msgspec.to_builtins(_Lease(meta, self._ours(None))))
            self.leader = self._identity
            return True
        held = (lease.spec.holder_identity, lease.spec.renew_time)
        if held != self._seen:
            self._seen, self._seen_at = held, time.monotonic()
        self.leader = lease.spec.holder_identity or ""
        duration = lease.spec.lease_duration_seconds or DURATION
        if self.leader not in {"", self._identity} and time.monotonic() - self._seen_at < duration:
            return False
        lease.spec = self._ours(lease.spec)
        self._write(lease)
        self.leader = self._identity
        return True

    def _ours(self, before: _Spec | None) -> _Spec:
        now = _micro_time()
        if before is not None and before.holder_identity == self._identity:
            return msgspec.structs.replace(before, renew_time=now)
        transitions = (before.lease_transitions or 0) + 1 if before is not None else 0
        return _Spec(self._identity, int(DURATION), now, now, transitions)

    def _release(self) -> None:
        """Give the Lease free, so that nobody has to wait for its end."""
        try:
            lease = self._read()
            if lease.spec.holder_identity == self._identity:
                lease.spec = msgspec.structs.replace(
                    lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=_micro_time()
                )
                self._write(lease)
        except (SourceError, msgspec.DecodeError) as e:
            _log.info("the Lease is not given free, it runs out by itself: %s", e)

    def _read(self) -> _Lease:
        return msgspec.json.decode(self._api.get(f"{self._path}/{self._name}", {}), type=_Lease)

    def _write(self, lease: _Lease) -> None:
        body: Any = msgspec.to_builtins(lease)
        self._api.send("PUT", f"{self._path}/{self._name}", body)


def _micro_time() -> str:
    """Return the time as a MicroTime, which the API server takes with exactly six digits only."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
