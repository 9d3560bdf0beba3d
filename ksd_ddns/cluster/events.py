# SPDX-License-Identifier: Apache-2.0
"""Events on VMIs, which their owners see in `kubectl describe vmi`."""

import logging
import time
from collections import Counter, OrderedDict, deque
from datetime import UTC, datetime
from hashlib import sha256
from threading import Condition, Event

from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.http_errors import Busy, Conflict
from ksd_ddns.cluster.timing import Timing
from ksd_ddns.errors import SourceError
from ksd_ddns.zone.notification import Notification

MAX_WAITING = 2000
"""Limit of waiting Events; above it, the namespace with the most loses one."""

MAX_PER_NAMESPACE = 200
"""Limit of waiting Events of one namespace."""

MAX_PER_VMI = 20
"""Limit of waiting Events of one VMI."""

REMEMBERED = 20_000
"""Limit of Events remembered to avoid duplicates; above it, the namespace with the most forgets one."""

LOG_EVERY = 60.0
"""Minimum seconds between two log lines about Events that were not written."""

_COMPONENT = "ksd-ddns"
_LONGEST = 1024  # the longest message that the API server accepts (core/v1 validation)

_log = logging.getLogger(__name__)


class _Namespace:
    """The Events of one namespace: those waiting, their number per VMI, and the hashes of all that are remembered."""

    def __init__(self) -> None:
        self.waiting: deque[Notification] = deque()
        self.vmis: Counter[str] = Counter()
        self.seen: OrderedDict[int, None] = OrderedDict()


class Recorder:
    """Writes Events on a thread of its own (`run`), taking namespaces in turn.

    A namespace with many Events does not delay those of others. Events over a limit are dropped, and written when they
    are recorded again and there is room. It writes at most `per_second` Events.
    """

    def __init__(
        self, api: Api, *, instance: str, per_second: float | None = None, remembered: int = REMEMBERED
    ) -> None:
        self._api = api
        self._instance = instance
        self._changed = Condition()
        self._namespaces: dict[str, _Namespace] = {}
        self._turns: deque[str] = deque()
        self._waiting = 0
        self._remembered = 0
        self._max_remembered = remembered
        self._pause = 1.0 / (per_second or Timing().events_per_second)
        self._dropped = 0
        self._failed = 0
        self._logged_at = float("-inf")

    def record(self, notification: Notification) -> None:
        """Write `notification` soon, unless it was written before; never blocks, and is thread-safe."""
        name = notification.vmi.partition("/")[0]
        key = hash(notification)
        with self._changed:
            space = self._namespaces.get(name)
            if space is None:
                space = self._namespaces[name] = _Namespace()
            if key in space.seen:
                return
            if (
                len(space.waiting) >= MAX_PER_NAMESPACE
                or space.vmis[notification.vmi] >= MAX_PER_VMI
                or not self._has_room(space)
            ):
                self._dropped += 1
                if not space.seen:
                    del self._namespaces[name]
                return
            if not space.waiting:
                self._turns.append(name)
            space.waiting.append(notification)
            space.vmis[notification.vmi] += 1
            self._waiting += 1
            self._remember(space, key)
            self._changed.notify()

    def _has_room(self, space: _Namespace) -> bool:
        """Return whether one more Event of `space` may wait, if necessary by dropping one of the largest namespace."""
        if self._waiting < MAX_WAITING:
            return True
        largest = max(self._namespaces.values(), key=lambda each: len(each.waiting))
        if len(largest.waiting) <= len(space.waiting) + 1:
            return False
        dropped = largest.waiting.pop()
        largest.seen.pop(hash(dropped), None)
        self._remembered -= 1
        self._dequeued(largest, dropped)
        self._dropped += 1
        return True

    def _dequeued(self, space: _Namespace, notification: Notification) -> None:
        self._waiting -= 1
        space.vmis[notification.vmi] -= 1
        if not space.vmis[notification.vmi]:
            del space.vmis[notification.vmi]

    def _remember(self, space: _Namespace, key: int) -> None:
        space.seen[key] = None
        self._remembered += 1
        if self._remembered <= self._max_remembered:
            return
        name, largest = max(self._namespaces.items(), key=lambda item: len(item[1].seen))
        largest.seen.popitem(last=False)
        self._remembered -= 1
        if not largest.seen and not largest.waiting:
            del self._namespaces[name]

    def run(self, stop: Event) -> None:
        """Write what is recorded until `stop` is set."""
        while not stop.is_set():
            notification = self._next()
            self._log_unwritten()
            if notification is not None:
                stop.wait(max(self._write(notification), self._pause))

    def _next(self) -> Notification | None:
        """Return the next Event, taking namespaces in turn; None if there is none within a second."""
        with self._changed:
            if not self._turns:
                self._changed.wait(1.0)
            if not self._turns:
                return None
            name = self._turns.popleft()
            space = self._namespaces[name]
            notification = space.waiting.popleft()
            self._dequeued(space, notification)
            if space.waiting:
                self._turns.append(name)
            return notification

    def _log_unwritten(self) -> None:
        """Log how many Events were not written, at most every LOG_EVERY: one tenant can cause any number of them."""
        if not (self._dropped or self._failed) or time.monotonic() < self._logged_at + LOG_EVERY:
            return
        self._logged_at = time.monotonic()
        with self._changed:
            dropped, self._dropped, failed, self._failed = self._dropped, 0, self._failed, 0
        _log.info("Events not written", extra={"fields": {"over_limit": dropped, "failed": failed}})

    def _write(self, notification: Notification) -> float:
        """Write one Event; return the seconds to wait that the API server asks for."""
        namespace, _, name = notification.vmi.partition("/")
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": _name(notification), "namespace": namespace},
            "involvedObject": {
                "apiVersion": "kubevirt.io/v1",
                "kind": "VirtualMachineInstance",
                "namespace": namespace,
                "name": name,
                "uid": notification.uid,
            },
            "type": "Warning" if notification.warning else "Normal",
            "reason": notification.reason,
            "message": notification.text[:_LONGEST],
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
            pass  # written by another replica, or by us before a restart
        except SourceError as e:
            self._failed += 1
            _log.debug("cannot write Event", extra={"fields": {"vmi": notification.vmi, "error": str(e)}})
            return e.after if isinstance(e, Busy) else 0.0
        return 0.0


def _name(notification: Notification) -> str:
    """Return the name of the Event: equal for equal notifications, so that only one replica writes it."""
    digest = sha256(f"{notification.uid} {notification.reason} {notification.text}".encode()).hexdigest()[:16]
    return f"{notification.vmi.partition('/')[2][:200].rstrip('-.')}.{digest}"
