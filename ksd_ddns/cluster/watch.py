"""VMIs of the cluster: a list in pages, then a watch from its resource version on.

A list counts only when its last page has come: half a list looks like deletions. A watch ends, breaks and expires in
the normal course of things: it goes on from the last resource version, and only 410 Gone asks for a new list.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from threading import Event

import msgspec

from ksd_ddns.cluster.api import Api, Broken, Busy, Expired
from ksd_ddns.errors import SourceError
from ksd_ddns.zone import vmi
from ksd_ddns.zone.feed import Changed, Failing, Gone, Listed, Told
from ksd_ddns.zone.selector import Selector
from ksd_ddns.zone.vmi import Vmi, VmiObject

PAGE = 500
WATCH_SECONDS = 300
"""How long the server keeps one watch open."""
SILENCE = 75.0
"""Seconds without a word after which a watch is dead: a server sends a bookmark about once a minute."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

_log = logging.getLogger(__name__)


class _ListMeta(msgspec.Struct, rename={"resource_version": "resourceVersion", "token": "continue"}):
    resource_version: str = ""
    token: str = ""


class _Page(msgspec.Struct):
    items: list[msgspec.Raw] | None
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


_page = msgspec.json.Decoder(_Page)
_event = msgspec.json.Decoder(_Event)
_about = msgspec.json.Decoder(_EventObject)
_object = msgspec.json.Decoder(VmiObject)


class Watch:
    """The VMIs of one namespace, or with an empty one of the whole cluster, that match a label selector."""

    def __init__(self, api: Api, *, namespace: str = "", selector: str = "") -> None:
        within = f"namespaces/{namespace}/" if namespace else ""
        self._api = api
        self._path = f"/apis/kubevirt.io/v1/{within}virtualmachineinstances"
        self._selector = selector
        self._known: dict[str, Vmi] = {}
        self.scope = namespace

    def run(self, tell: Callable[[Told], None], stop: Event) -> None:
        """List and watch until `stop` is set; what is heard goes to `tell`, an unchanged VMI does not."""
        failures = 0
        version = ""
        while not stop.is_set():
            began = time.monotonic()
            try:
                if not version:
                    version = self._list(tell)
                    tell(Failing(self.scope, ""))
                for reached in self._follow(version, tell):
                    version = reached
                    failures = 0
                    if stop.is_set():
                        return
                # A watch that ends at once, again and again, must not become a loop of requests.
                stop.wait(max(0.0, 1.0 - (time.monotonic() - began)))
            except Broken as e:
                _log.info("the watch goes on with a new request: %s", e)
                if failures:
                    stop.wait(_pause(failures))
                failures += 1
            except Expired as e:
                _log.info("a new list is needed: %s", e)
                version = ""
                stop.wait(_pause(failures))
                failures += 1
            except SourceError as e:
                tell(Failing(self.scope, str(e)))
                stop.wait(max(_pause(failures), e.after if isinstance(e, Busy) else 0.0))
                failures += 1

    def vmis(self) -> tuple[Vmi, ...]:
        """Return all VMIs there are now. Raises SourceError."""
        return self._pages()[0]

    def _list(self, tell: Callable[[Told], None]) -> str:
        """Tell all VMIs there are; return the resource version that a watch goes on from."""
        vmis, version = self._pages()
        self._known = {item.key: item for item in vmis}
        tell(Listed(self.scope, vmis))
        return version

    def _pages(self) -> tuple[tuple[Vmi, ...], str]:
        found: list[Vmi] = []
        token = ""
        while True:
            body = self._api.get(self._path, {"limit": PAGE, "continue": token, "labelSelector": self._selector})
            try:
                page = _page.decode(body)
            except (msgspec.DecodeError, RecursionError) as e:
                raise SourceError(f"the API server {self._api.host} answered {self._path} with no list: {e}") from e
            found += filter(None, map(self._parsed, page.items or ()))
            token = page.metadata.token
            if not token:
                return tuple(found), page.metadata.resource_version

    def _follow(self, version: str, tell: Callable[[Told], None]) -> Iterator[str]:
        """Watch from `version` on; yield the resource version of every event."""
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH_SECONDS,
            "labelSelector": self._selector,
        }
        reachable = False
        for line in self._api.stream(self._path, query, silence=SILENCE):
            try:
                event = _event.decode(line)
                about = _about.decode(event.object)
            except (msgspec.DecodeError, RecursionError) as e:
                raise SourceError(f"the API server {self._api.host} sent a watch event that is none: {e}") from e
            if event.type == "ERROR":
                raise self._api.refusal(about.code, about.message, self._path)
            if not reachable:
                reachable = True
                tell(Failing(self.scope, ""))
            self._heard(event, tell)
            if about.metadata is not None and about.metadata.resource_version:
                version = about.metadata.resource_version
            yield version

    def _heard(self, event: _Event, tell: Callable[[Told], None]) -> None:
        if event.type == "BOOKMARK":
            return
        found = self._parsed(event.object)
        if found is None:
            return
        if event.type == "DELETED":
            self._known.pop(found.key, None)
            tell(Gone(found.key, time.monotonic()))
        elif self._known.get(found.key) != found:  # heartbeats and conditions end here
            self._known[found.key] = found
            tell(Changed(found, time.monotonic()))

    def _parsed(self, raw: msgspec.Raw) -> Vmi | None:
        try:
            return vmi.parse(_object.decode(raw))
        except (msgspec.DecodeError, RecursionError) as e:
            _log.warning("an object that is not a VMI is passed over: %s", e)
            return None


def watches(*, namespaces: frozenset[str], selector: Selector) -> tuple[Watch, ...]:
    """Return the watches of `namespaces`, of the whole cluster where there are none. Raises SourceError."""
    api = Api()
    return tuple(Watch(api, namespace=name, selector=str(selector)) for name in sorted(namespaces) or ("",))


def _pause(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row: growing, with jitter."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 spreads clients, keeps no secret
