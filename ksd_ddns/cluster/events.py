"""Events on VMIs: what their owners should know, where they look for it (kubectl describe vmi)."""

import logging
import time
from collections import Counter, OrderedDict, deque
from datetime import UTC, datetime
from hashlib import sha256
from threading import Condition, Event

from ksd_ddns.cluster.api import Api, Busy, Conflict
from ksd_ddns.errors import SourceError
from ksd_ddns.zone.notification import Notification

WAITING = 2000
"""Events that wait to be written, at most; the namespace with the most of them has to make room."""

PER_NAMESPACE = 200
"""Events of one namespace that wait, at most."""

PER_VMI = 20
"""Events of one VMI that wait, at most."""

REMEMBERED = 20_000
"""Events that are remembered, so that none is written twice; the namespace with the most forgets first."""

PER_SECOND = 10.0

LOG_EVERY = 60.0
"""Seconds between two log lines about Events that were not written."""

_COMPONENT = "ksd-ddns"
_LONGEST = 1024  # the API server takes no longer message (core/v1 validation)

_log = logging.getLogger(__name__)


class _Namespace:
    """The Events of one namespace: those that wait, how many of each VMI, and the hashes of those that are written."""

    def __init__(self) -> None:
        self.waiting: deque[Notification] = deque()
        self.vmis: Counter[str] = Counter()
        self.seen: OrderedDict[int, None] = OrderedDict()


class Recorder:
    """Writes Events on a thread of its own (`run`), one namespace after the other, so that each gets its share.

    However many Events one namespace has, those of another are written soon. What is over a limit is dropped, and
    written when it is reported again and there is room.
    """

    def __init__(self, api: Api, *, instance: str) -> None:
        self._api = api
        self._instance = instance
        self._changed = Condition()
        self._namespaces: dict[str, _Namespace] = {}
        self._turns: deque[str] = deque()
        self._waiting = 0
        self._remembered = 0
        self._dropped = 0
        self._failed = 0
        self._logged_at = float("-inf")

    def remark(self, remark: Notification) -> None:
        """Write `remark` soon, unless it was written before; never waits, and is safe to call from any thread."""
        name = remark.vmi.partition("/")[0]
        key = hash(remark)
        with self._changed:
            space = self._namespaces.get(name)
            if space is None:
                space = self._namespaces[name] = _Namespace()
            if key in space.seen:
                return
            if len(space.waiting) >= PER_NAMESPACE or space.vmis[remark.vmi] >= PER_VMI or not self._has_room(space):
                self._dropped += 1
                if not space.seen:
                    del self._namespaces[name]
                return
            if not space.waiting:
                self._turns.append(name)
            space.waiting.append(remark)
            space.vmis[remark.vmi] += 1
            self._waiting += 1
            self._remember(space, key)
            self._changed.notify()

    def _has_room(self, space: _Namespace) -> bool:
        """Return whether one more Event of `space` may wait, if need be instead of one of the namespace with most."""
        if self._waiting < WAITING:
            return True
        largest = max(self._namespaces.values(), key=lambda each: len(each.waiting))
        if len(largest.waiting) <= len(space.waiting) + 1:
            return False
        dropped = largest.waiting.pop()
        largest.seen.pop(hash(dropped), None)
        self._remembered -= 1
        self._took(largest, dropped)
        self._dropped += 1
        return True

    def _took(self, space: _Namespace, remark: Notification) -> None:
        self._waiting -= 1
        space.vmis[remark.vmi] -= 1
        if not space.vmis[remark.vmi]:
            del space.vmis[remark.vmi]

    def _remember(self, space: _Namespace, key: int) -> None:
        space.seen[key] = None
        self._remembered += 1
        if self._remembered <= REMEMBERED:
            return
        name, largest = max(self._namespaces.items(), key=lambda item: len(item[1].seen))
        largest.seen.popitem(last=False)
        self._remembered -= 1
        if not largest.seen and not largest.waiting:
            del self._namespaces[name]

    def run(self, stop: Event) -> None:
        """Write what is reported until `stop` is set, not faster than PER_SECOND."""
        while not stop.is_set():
            remark = self._next()
            self._log_lost()
            if remark is not None:
                stop.wait(max(self._write(remark), 1.0 / PER_SECOND))

    def _next(self) -> Notification | None:
        """Return the next Event: the first that waits in the namespace whose turn it is; None after a second."""
        with self._changed:
            if not self._turns:
                self._changed.wait(1.0)
            if not self._turns:
                return None
            name = self._turns.popleft()
            space = self._namespaces[name]
            remark = space.waiting.popleft()
            self._took(space, remark)
            if space.waiting:
                self._turns.append(name)
            return remark

    def _log_lost(self) -> None:
        """Log how many Events were not written, now and then: one tenant can cause any number of them."""
        if not (self._dropped or self._failed) or time.monotonic() < self._logged_at + LOG_EVERY:
            return
        self._logged_at = time.monotonic()
        with self._changed:
            dropped, self._dropped, failed, self._failed = self._dropped, 0, self._failed, 0
        _log.info("Events not written  over_limit=%d failed=%d", dropped, failed)

    def _write(self, remark: Notification) -> float:
        """Write one Event; return for how many seconds the API server asks to be left alone."""
        namespace, _, name = remark.vmi.partition("/")
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": _name(remark), "namespace": namespace},
            "involvedObject": {
                "apiVersion": "kubevirt.io/v1",
                "kind": "VirtualMachineInstance",
                "namespace": namespace,
                "name": name,
                "uid": remark.uid,
            },
            "type": "Warning" if remark.warning else "Normal",
            "reason": remark.reason,
            "message": remark.text[:_LONGEST],
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._api.send("POST", f"/api/v1/namespaces/{namespace}/events", body)
        except Conflict:
            pass  # another replica wrote it, or we did before we were restarted
        except SourceError as e:
            self._failed += 1
            _log.debug("Event not written  vmi=%s error=%s", remark.vmi, e)
            return e.after if isinstance(e, Busy) else 0.0
        return 0.0


def _name(remark: Notification) -> str:
    """Return the name of the Event: the same for the same remark, so that of several replicas one writes it."""
    digest = sha256(f"{remark.uid} {remark.reason} {remark.text}".encode()).hexdigest()[:16]
    return f"{remark.vmi.partition('/')[2][:200].rstrip('-.')}.{digest}"
