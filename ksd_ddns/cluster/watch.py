"""VMIs of the cluster: a list in pages, then a watch from its resource version on.

A list counts only when its last page has come: half a list looks like deletions. A watch ends, breaks and expires in
the normal course of things: it goes on from the last resource version, and only 410 VmiDeleted asks for a new list.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Event
from typing import Generic, NamedTuple, TypeVar

import msgspec

from ksd_ddns.cluster.api import Api, Broken, Busy, Expired, insist
from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt import vmi
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.selector import Selector
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject

PAGE = 500
WATCH_SECONDS = 300
"""How long the server keeps one watch open."""
SILENCE = 75.0
"""Seconds without a word after which a watch is dead: a server sends a bookmark about once a minute."""
STEADY = 10.0
"""Seconds that a watch must have lasted for its end to be no failure after another one."""

AT_LEAST = 1.0
"""Seconds that a watch must have lasted for its end to be in good order."""

RELIST_AFTER = 3
"""Failures in a row after which a new list is tried: what is in the way may lie in the history."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

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
    """What an event's object is asked for, be it a VMI, a bookmark or the Status of an error."""

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
    """As much of an object as tells which one it is."""

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
    """The VMIs of one namespace, or with an empty one of the whole cluster, that match a label selector."""

    def __init__(self, api: Api, *, namespace: str = "", selector: str = "") -> None:
        within = f"namespaces/{namespace}/" if namespace else ""
        self._api = api
        self._path = f"/apis/kubevirt.io/v1/{within}virtualmachineinstances"
        self._selector = selector
        self._known: dict[str, Vmi] = {}
        self.scope = namespace

    def run(self, tell: Callable[[SourceEvent], None], stop: Event) -> None:
        """List and watch until `stop` is set; what is heard goes to `tell`, an unchanged VMI does not."""
        failures = 0
        version = ""
        while not stop.is_set():
            began = time.monotonic()
            try:
                if not version:
                    version = self._list(tell)
                lines = self._api.stream(self._path, self._query(version), silence=SILENCE)
                tell(SourceFailed(self.scope, ""))
                for reached in self._follow(lines, version, tell):
                    version = reached
                    if stop.is_set():
                        return
                if time.monotonic() - began < AT_LEAST:
                    raise Broken(f"the API server {self._api.host} ended its answer to {self._path} at once")
            except SourceError as e:
                # One that breaks again and again must not become a loop of requests, whatever it says in between.
                lasted = time.monotonic() - began
                failures = 0 if lasted > STEADY else failures
                pause = max(_pause(failures), e.after if isinstance(e, Busy) else 0.0)
                failures += 1
                hopeless = failures % RELIST_AFTER == 0 and (lasted < AT_LEAST or not isinstance(e, Broken))
                if isinstance(e, Expired) or hopeless:
                    version = ""
                if isinstance(e, Broken | Expired) and failures < RELIST_AFTER:
                    _log.info("the watch begins again: %s", e)
                else:
                    tell(SourceFailed(self.scope, str(e)))
                stop.wait(pause)
            else:
                failures = 0

    def vmis(self) -> tuple[Vmi, ...]:
        """Return all VMIs there are now. Raises SourceError."""
        found = insist(self._pages)
        if found.unread:
            raise SourceError(
                f"VMIs that cannot be read: {', '.join(sorted(found.unread))}; nothing is done without them"
            )
        return found.vmis

    def _list(self, tell: Callable[[SourceEvent], None]) -> str:
        """Tell all VMIs there are; return the resource version that a watch goes on from."""
        found = self._pages()
        self._known = {item.key: item for item in found.vmis}
        tell(VmisListed(self.scope, found.vmis, found.unread))
        return found.version

    def _pages(self) -> "_Found":
        """Return all VMIs there are. Raises SourceError; Expired where the list took too long."""
        vmis: list[Vmi] = []
        unread: list[str] = []
        token = ""
        while True:
            body = self._api.get(self._path, {"limit": PAGE, "continue": token, "labelSelector": self._selector})
            try:
                about = self._page(body, vmis, unread)
            except (msgspec.DecodeError, RecursionError) as e:
                raise SourceError(f"the API server {self._api.host} answered {self._path} with no list") from e
            token = about.token
            if not token:
                return _Found(tuple(vmis), frozenset(unread), about.resource_version)

    def _page(self, body: bytes, vmis: list[Vmi], unread: list[str]) -> _ListMeta:
        """Add what one page lists to `vmis`, and to `unread` what cannot be read and is not known."""
        try:
            page = _page.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return self._odd_page(body, vmis, unread)
        vmis += map(vmi.parse, page.items or ())
        return page.metadata

    def _odd_page(self, body: bytes, vmis: list[Vmi], unread: list[str]) -> _ListMeta:
        """As `_page`, one object after the other, where one of them is none."""
        page = _odd_page.decode(body)
        for raw in page.items or ():
            found = self._parsed(raw)
            if found is None:
                # What is known of it stays: it is there, although it cannot be read.
                key = _named.decode(raw).key
                found = self._known.get(key)
                unread += [] if found else [key]
            vmis += [found] if found else []
        return page.metadata

    def _query(self, version: str) -> dict[str, object]:
        return {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH_SECONDS,
            "labelSelector": self._selector,
        }

    def _follow(self, lines: Iterable[bytes], version: str, tell: Callable[[SourceEvent], None]) -> Iterator[str]:
        """Take the events of a watch from `version` on; yield the resource version of every event."""
        for line in lines:
            try:
                event = _event.decode(line)
                about = _about.decode(event.object)
                if event.type == "ERROR":
                    raise self._api.refusal(about.code, about.message, self._path)
                self._heard(event, tell)
            except (msgspec.DecodeError, RecursionError) as e:
                raise SourceError(f"the API server {self._api.host} sent a watch event that is none") from e
            if about.metadata is not None and about.metadata.resource_version:
                version = about.metadata.resource_version
            yield version

    def _heard(self, event: _Event, tell: Callable[[SourceEvent], None]) -> None:
        if event.type == "DELETED":
            key = _named.decode(event.object).key
            self._known.pop(key, None)
            tell(VmiDeleted(key, time.monotonic()))
        elif event.type != "BOOKMARK":
            found = self._parsed(event.object)
            if found is not None and self._known.get(found.key) != found:  # heartbeats and conditions end here
                self._known[found.key] = found
                tell(VmiChanged(found, time.monotonic()))

    def _parsed(self, raw: msgspec.Raw) -> Vmi | None:
        try:
            return vmi.parse(_object.decode(raw))
        except (msgspec.DecodeError, RecursionError) as e:
            _log.warning("skipping an object that is not a VMI  error=%s", e)
            return None


class _Found(NamedTuple):
    """A whole list: its VMIs, the keys of those that cannot be read and are not known, its resource version."""

    vmis: tuple[Vmi, ...]
    unread: frozenset[str]
    version: str


def watches(*, namespaces: frozenset[str], selector: Selector) -> tuple[Watch, ...]:
    """Return the watches of `namespaces`, of the whole cluster where there are none. Raises SourceError."""
    api = Api()
    return tuple(Watch(api, namespace=name, selector=str(selector)) for name in sorted(namespaces) or ("",))


def _pause(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row: growing, with jitter."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 spreads clients, keeps no secret
