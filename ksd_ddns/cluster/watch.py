# SPDX-License-Identifier: Apache-2.0
"""VMIs of the cluster: a list in pages, then a watch from its resource version.

A list counts only when its last page has arrived: half a list looks like deletions. Watches end, break and expire in
normal operation: the next one continues from the last resource version, and only 410 Gone requires a new list.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from threading import Event
from typing import Generic, NamedTuple, TypeVar

import msgspec

from ksd_ddns.cluster.api import Api, Broken
from ksd_ddns.cluster.counts import Counts, End
from ksd_ddns.cluster.http_errors import Busy, Expired, insist
from ksd_ddns.cluster.timing import Timing, WatchTiming
from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt import vmi
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.networks import SECONDARY, NetworkChoice
from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.zone.reconciler.backoff import Backoff

RELIST_AFTER = 3
"""Failures in a row after which a new list is tried: the cause may lie in the history of changes."""

_log = logging.getLogger(__name__)


class _ListMeta(msgspec.Struct, rename={"resource_version": "resourceVersion", "token": "continue"}):
    resource_version: str = ""
    token: str = ""


_Item = TypeVar("_Item")


class _Page(msgspec.Struct, Generic[_Item]):
    items: list[_Item] | None
    metadata: _ListMeta


class _EventMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _EventObject(msgspec.Struct):
    """The fields that matter of an event's object: a VMI, a bookmark or the Status of an error."""

    metadata: _EventMeta | None = None
    code: int = 0
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _NamedMeta(msgspec.Struct):
    name: str
    namespace: str = "default"


class _Named(msgspec.Struct):
    """The fields that identify an object."""

    metadata: _NamedMeta

    @property
    def key(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"


_page = msgspec.json.Decoder(_Page[VmiObject])
_odd_page = msgspec.json.Decoder(_Page[msgspec.Raw])
_event = msgspec.json.Decoder(_Event)
_about = msgspec.json.Decoder(_EventObject)
_object = msgspec.json.Decoder(VmiObject)
_named = msgspec.json.Decoder(_Named)


class Watch:
    """The VMIs that match a label selector, of one namespace or, if it is empty, of the full cluster."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str = "",
        selector: str = "",
        networks: NetworkChoice = SECONDARY,
        timing: WatchTiming | None = None,
    ) -> None:
        within = f"namespaces/{namespace}/" if namespace else ""
        self._api = api
        self._path = f"/apis/kubevirt.io/v1/{within}virtualmachineinstances"
        self._selector = selector
        self._vmi_of = partial(vmi.parse, choice=networks)
        self._timing = timing or WatchTiming()
        self._latest: dict[str, Vmi] = {}
        self.namespace = namespace

    def run(self, publish: Callable[[SourceEvent], None], stop: Event) -> None:
        """List and watch until `stop` is set; call `publish` with each event, not with VMIs that did not change."""
        timing = self._timing
        backoff = Backoff(timing.first_pause, timing.longest_pause, jitter=random.random, spread=0.5)
        failures = 0
        version = ""
        while not stop.is_set():
            began = time.monotonic()
            try:
                if not version:
                    version = self._list(publish)
                lines = self._api.stream(self._path, self._query(version), silence=timing.silence)
                publish(SourceFailed(self.namespace, ""))
                for reached in self._follow(lines, version, publish):
                    version = reached
                    if stop.is_set():
                        return
                if time.monotonic() - began < timing.at_least:
                    raise Broken(f"the API server {self._api.host} ended its answer to {self._path} at once")
            except SourceError as e:
                self._api.counts.count_end(_end(e))
                # A watch that keeps breaking must not become a loop of requests, even if it delivers events.
                lasted = time.monotonic() - began
                if lasted > timing.steady:
                    failures = 0
                    backoff.reset()
                failures += 1
                relist = failures % RELIST_AFTER == 0 and (lasted < timing.at_least or not isinstance(e, Broken))
                if isinstance(e, Expired) or relist:
                    version = ""
                if isinstance(e, Broken | Expired) and failures < RELIST_AFTER:
                    _log.info("watch interrupted, restarting it", extra={"fields": {"error": str(e)}})
                else:
                    publish(SourceFailed(self.namespace, str(e)))
                stop.wait(max(backoff.next(), e.after if isinstance(e, Busy) else 0.0))
            else:
                self._api.counts.count_end(End.ENDED)
                failures = 0
                backoff.reset()

    def vmis(self) -> tuple[Vmi, ...]:
        """Return all current VMIs. Raises SourceError."""
        found = insist(self._pages)
        if found.unreadable:
            raise SourceError(
                f"VMIs that cannot be read, so nothing was changed: {', '.join(sorted(found.unreadable))}"
            )
        return found.vmis

    def _list(self, publish: Callable[[SourceEvent], None]) -> str:
        """Publish a list of all VMIs; return the resource version from which a watch continues."""
        found = self._pages()
        self._latest = {item.key: item for item in found.vmis}
        publish(VmisListed(self.namespace, found.vmis, found.unreadable))
        return found.version

    def _pages(self) -> "_Found":
        """Return all VMIs. Raises SourceError; Expired if the list took too long."""
        vmis: list[Vmi] = []
        unreadable: list[str] = []
        token = ""
        while True:
            body = self._api.get(
                self._path, {"limit": self._timing.page, "continue": token, "labelSelector": self._selector}
            )
            try:
                about = self._page(body, vmis, unreadable)
            except (msgspec.DecodeError, RecursionError) as e:
                raise SourceError(
                    f"the API server {self._api.host} answered {self._path} with something that is not a list"
                ) from e
            token = about.token
            if not token:
                return _Found(tuple(vmis), frozenset(unreadable), about.resource_version)

    def _page(self, body: bytes, vmis: list[Vmi], unreadable: list[str]) -> _ListMeta:
        """Add the VMIs of one page to `vmis`, and to `unreadable` the keys of objects that were never readable."""
        try:
            page = _page.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return self._odd_page(body, vmis, unreadable)
        vmis += map(self._vmi_of, page.items or ())
        return page.metadata

    def _odd_page(self, body: bytes, vmis: list[Vmi], unreadable: list[str]) -> _ListMeta:
        """As `_page`, object by object, for a page with an object that is not a VMI."""
        page = _odd_page.decode(body)
        for raw in page.items or ():
            found = self._parse(raw)
            if found is None:
                # It exists, although it cannot be read: keep its last readable state.
                key = _named.decode(raw).key
                found = self._latest.get(key)
                unreadable += [] if found else [key]
            vmis += [found] if found else []
        return page.metadata

    def _query(self, version: str) -> dict[str, object]:
        return {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": self._timing.lasts,
            "labelSelector": self._selector,
        }

    def _follow(self, lines: Iterable[bytes], version: str, publish: Callable[[SourceEvent], None]) -> Iterator[str]:
        """Publish the events of a watch that starts at `version`; yield the resource version after each event."""
        for line in lines:
            try:
                event = _event.decode(line)
                about = _about.decode(event.object)
                if event.type == "ERROR":
                    raise self._api.http_error(about.code, about.message, self._path)
                self._publish(event, publish)
            except (msgspec.DecodeError, RecursionError) as e:
                raise SourceError(f"the API server {self._api.host} sent an invalid watch event") from e
            if about.metadata is not None and about.metadata.resource_version:
                version = about.metadata.resource_version
            yield version

    def _publish(self, event: _Event, publish: Callable[[SourceEvent], None]) -> None:
        if event.type == "DELETED":
            key = _named.decode(event.object).key
            self._latest.pop(key, None)
            publish(VmiDeleted(key, time.monotonic()))
        elif event.type != "BOOKMARK":
            found = self._parse(event.object)
            if found is not None and self._latest.get(found.key) != found:  # drops heartbeats and conditions
                self._latest[found.key] = found
                publish(VmiChanged(found, time.monotonic()))

    def _parse(self, raw: msgspec.Raw) -> Vmi | None:
        try:
            return self._vmi_of(_object.decode(raw))
        except (msgspec.DecodeError, RecursionError) as e:
            _log.warning("skipping an object that is not a VMI", extra={"fields": {"error": str(e)}})
            return None


class _Found(NamedTuple):
    """A complete list: its VMIs, the keys of objects that were never readable, its resource version."""

    vmis: tuple[Vmi, ...]
    unreadable: frozenset[str]
    version: str


def _end(error: SourceError) -> End:
    if isinstance(error, Expired):
        return End.EXPIRED
    return End.INTERRUPTED if isinstance(error, Broken) else End.FAILED


def watches(selection: Selection, *, timing: Timing | None = None, counts: Counts | None = None) -> tuple[Watch, ...]:
    """Return a watch for each namespace of `selection`, or one for the full cluster. Raises SourceError."""
    timing = timing or Timing()
    api = Api(timing=timing.api, counts=counts)
    return tuple(
        Watch(api, namespace=name, selector=str(selection.selector), networks=selection.networks, timing=timing.watch)
        for name in sorted(selection.namespaces) or ("",)
    )
