"""Events on VMIs: what their owners should know, where they look for it (kubectl describe vmi)."""

import logging
from collections import OrderedDict
from datetime import UTC, datetime
from hashlib import sha256
from queue import Empty, Full, Queue
from threading import Event

from ksd_ddns.cluster.api import Api, Conflict
from ksd_ddns.errors import SourceError
from ksd_ddns.zone.feed import Said

WAITING = 1000
"""Remarks that wait to be written, at most: what is beyond is not written, and only counted in the log."""

REMEMBERED = 20_000
"""Remarks that are remembered, so that none is written twice."""

PER_SECOND = 10.0

_COMPONENT = "ksd-ddns"
_LONGEST = 1024  # the API server takes no longer message (core/v1 validation)

_log = logging.getLogger(__name__)


class Recorder:
    """Writes remarks as Events, on a thread of its own (`run`); whoever remarks never waits."""

    def __init__(self, api: Api, *, instance: str) -> None:
        self._api = api
        self._instance = instance
        self._waiting: Queue[Said] = Queue(WAITING)
        self._written: OrderedDict[Said, None] = OrderedDict()
        self._lost = 0

    def remark(self, remark: Said) -> None:
        """Write `remark` soon, unless it was written before; safe to call from any thread."""
        if remark in self._written:
            return
        self._written[remark] = None
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)
        try:
            self._waiting.put_nowait(remark)
        except Full:
            self._lost += 1  # said together: a zone that is filled makes some for each name

    def run(self, stop: Event) -> None:
        """Write what is remarked until `stop` is set, not faster than PER_SECOND."""
        while not stop.is_set():
            try:
                remark = self._waiting.get(timeout=1.0)
            except Empty:
                self._say_lost()
                continue
            self._write(remark)
            stop.wait(1.0 / PER_SECOND)

    def _say_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            _log.info("too many Events at once: %d are not written", lost)

    def _write(self, remark: Said) -> None:
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
            pass  # another replica has said it, or we did before we were restarted
        except SourceError as e:
            _log.info("an Event of VMI %s is not written: %s", remark.vmi, e)


def _name(remark: Said) -> str:
    """Return the name of the Event: the same for the same remark, so that of several replicas one writes it."""
    digest = sha256(f"{remark.uid} {remark.reason} {remark.text}".encode()).hexdigest()[:16]
    return f"{remark.vmi.partition('/')[2][:200].rstrip('-.')}.{digest}"
