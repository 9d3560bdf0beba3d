# SPDX-License-Identifier: Apache-2.0
"""Storage of the fake API server: objects by revision, with the history for lists and watches.

As in etcd there is one counter for all kinds, and every write gives the object the next number as its resourceVersion.
Objects are kept as JSON text: 10,000 VMIs as Python objects would take ten times the memory, and slow the garbage
collector of the program under test when the server runs inside it.
"""

from __future__ import annotations

import contextlib
import enum
import re
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

FIRST_REVISION = 1_000
SNAPSHOTS = 32  # of paged lists in progress
WATCH_BUFFER = 200_000  # events; a slower reader is disconnected, as by the real server

_encode = msgspec.json.encode
_decode = msgspec.json.decode

_VERSION = "resource-version-of-this-object"  # placeholder in the text for the number
_VERSION_TEXT = _VERSION.encode()
_PROBE = re.compile(rb'"lastProbeTime":(?:"[^"]*"|null)')


class Expired(Exception):
    """The history no longer goes back to `revision`; `oldest` is the first valid one."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {revision} ({oldest})")


class Version(msgspec.Struct, frozen=True, gc=False):
    """One object as it was from `revision` on. `key` is namespace/name, or the name of what has no namespace."""

    key: str
    json: bytes
    at: int  # offset of the digits of the revision in `json`
    revision: int
    labels: dict[str, str]

    @property
    def object(self) -> Json:
        """A new copy of the object."""
        value: Json = _decode(self.json)
        return value

    @property
    def namespace(self) -> str:
        """Empty for what has no namespace."""
        return self.key.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    def at_revision(self, revision: int) -> Version:
        """Return the same object with another resourceVersion, as the last event about it carries."""
        return self.with_text(self.json, revision)

    def with_text(self, json: bytes, revision: int) -> Version:
        """Return the object that `json` writes, which equals this one's up to behind the resourceVersion."""
        rest = self.at + len(str(self.revision))
        return Version(self.key, b"%b%d%b" % (json[: self.at], revision, json[rest:]), self.at, revision, self.labels)


def version_of(key: str, obj: Mapping[str, Any], revision: int) -> Version:
    """Return `obj` as stored at `revision`: apiVersion and kind first, and its own resourceVersion replaced."""
    metadata = {**obj["metadata"], "resourceVersion": _VERSION}
    text = _encode({"apiVersion": obj["apiVersion"], "kind": obj["kind"], **obj, "metadata": metadata})
    at = text.index(_VERSION_TEXT)
    json = b"%b%d%b" % (text[:at], revision, text[at + len(_VERSION_TEXT) :])
    return Version(key, json, at, revision, dict(metadata.get("labels") or {}))


class Change(msgspec.Struct, frozen=True, gc=False):
    """One write: from `old` to `new`, None where there was or is no object."""

    revision: int
    old: Version | None
    new: Version | None


class Signal(enum.Enum):
    """An action of a test on an open watch, in order with the events."""

    END = "the server ends the answer in order"
    FREEZE = "nothing more comes, the connection stays open"


class Bookmark(msgspec.Struct, frozen=True):
    """Everything up to `revision` has been sent; `initial` ends the objects of a streaming list."""

    revision: int
    initial: bool = False


class Failure(msgspec.Struct, frozen=True):
    """An ERROR event with this Status, then the end of the answer."""

    status: Json


Item: TypeAlias = Change | Bookmark | Failure | Signal


class Feed:
    """One open watch and its pending items. All methods require the lock of the store.

    `passes` decides which objects the watch includes. `fileno()` is readable when an item arrived for an idle reader.
    """

    def __init__(self, passes: Callable[[Version], bool], start: int) -> None:
        self.passes = passes
        self.start = start
        self.items: deque[Item] = deque()
        self.idle = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def add(self, item: Item) -> None:
        self.items.append(item)
        if self.idle:
            self.idle = False
            self._writer.send(b"!")

    def take(self, most: int) -> list[Item]:
        """Return up to `most` items; without any, the feed is idle until the next item."""
        if not self.items:
            self.idle = True
            return []
        self.idle = False
        items = self.items
        return [items.popleft() for _ in range(min(most, len(items)))]

    def acknowledge(self) -> None:
        """Make `fileno()` unreadable again."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(64)

    def close(self) -> None:
        self.idle = False
        self._reader.close()
        self._writer.close()


class Collection:
    """The objects of one kind, and their recent changes."""

    def __init__(self, history: int, oldest: int) -> None:
        self.versions: dict[str, Version] = {}
        self.changes: deque[Change] = deque(maxlen=history)
        self.oldest = oldest  # all changes after this revision are stored
        self.feeds: list[Feed] = []
        self.snapshots: OrderedDict[int, list[Version]] = OrderedDict()
        self._ordered: list[Version] | None = None

    def ordered(self) -> list[Version]:
        """Return the objects in the order of their keys, as lists give them. Not to be changed."""
        if self._ordered is None:
            versions = self.versions
            self._ordered = [versions[key] for key in sorted(versions)]
        return self._ordered

    def set(self, change: Change, key: str) -> None:
        if change.new is None:
            del self.versions[key]
        else:
            self.versions[key] = change.new
        self._ordered = None
        if len(self.changes) == self.changes.maxlen:
            self.oldest = self.changes[0].revision
        self.changes.append(change)
        for feed in tuple(self.feeds):
            feed.add(change)
            if len(feed.items) > WATCH_BUFFER:
                self.feeds.remove(feed)
                feed.add(Signal.END)

    def since(self, revision: int) -> list[Change]:
        """Return the events after `revision`. Raises Expired when it was compacted."""
        if revision < self.oldest:
            raise Expired(revision, self.oldest)
        return [change for change in self.changes if change.revision > revision]

    def at_revision(self, revision: int) -> list[Version]:
        """Return the objects at `revision`, in order. Raises Expired when it was compacted."""
        if revision in self.snapshots:
            return self.snapshots[revision]
        undo = self.since(revision)
        if not undo:
            return self.ordered()
        versions = dict(self.versions)
        for change in reversed(undo):
            if change.old is not None:
                versions[change.old.key] = change.old
            elif change.new is not None:
                del versions[change.new.key]
        return [versions[key] for key in sorted(versions)]

    def keep(self, revision: int, versions: list[Version]) -> None:
        """Keep the state at `revision` for the later pages of a list."""
        self.snapshots[revision] = versions
        self.snapshots.move_to_end(revision)
        while len(self.snapshots) > SNAPSHOTS:
            self.snapshots.popitem(last=False)

    def forget(self, revision: int) -> None:
        """Forget everything before `revision`."""
        self.changes.clear()
        self.snapshots.clear()
        self.oldest = revision


class Store:
    """All objects. Hold `lock` for atomic sequences; each method acquires it on its own."""

    def __init__(self, *, history: int) -> None:
        self.lock = threading.RLock()
        self.revision = FIRST_REVISION
        self.history = history
        self._compacted = 0
        self._collections: dict[str, Collection] = {}

    def collection(self, kind: str) -> Collection:
        """Return the collection of `kind`, written group/plural."""
        with self.lock:
            if kind not in self._collections:
                self._collections[kind] = Collection(self.history, self._compacted)
            return self._collections[kind]

    def put(self, kind: str, key: str, obj: Mapping[str, Any]) -> Version:
        """Write `obj`, replacing any previous one."""
        with self.lock:
            collection = self.collection(kind)
            old = collection.versions.get(key)
            new = version_of(key, obj, self.revision + 1)
            self.revision += 1
            collection.set(Change(self.revision, old, new), key)
            return new

    def delete(self, kind: str, key: str) -> Version:
        """Delete the object; KeyError if there is none."""
        with self.lock:
            collection = self.collection(kind)
            old = collection.versions[key]
            self.revision += 1
            collection.set(Change(self.revision, old, None), key)
            return old

    def touch(self, kind: str, key: str) -> Version:
        """Write the object with only a later probe time; KeyError when there is none."""
        with self.lock:
            old = self.collection(kind).versions[key]
            now = (_SOME_DAY + timedelta(seconds=self.revision)).strftime("%Y-%m-%dT%H:%M:%SZ")
            probe = _PROBE.search(old.json, old.at)
            if probe is None:
                obj = old.object
                conditions = obj.setdefault("status", {}).setdefault("conditions", [])
                conditions.append({"lastProbeTime": now, "status": "True", "type": "AgentConnected"})
                return self.put(kind, key, obj)
            text = b'%b"lastProbeTime":"%b"%b' % (old.json[: probe.start()], now.encode(), old.json[probe.end() :])
            self.revision += 1
            new = old.with_text(text, self.revision)
            self.collection(kind).set(Change(self.revision, old, new), key)
            return new

    def compact(self) -> int:
        """Make every resourceVersion given out so far too old to continue from; return the oldest valid one."""
        with self.lock:
            self.revision += 1
            self._compacted = self.revision
            for collection in self._collections.values():
                collection.forget(self.revision)
            return self.revision


_SOME_DAY = datetime(2026, 3, 1, 8, tzinfo=UTC)
