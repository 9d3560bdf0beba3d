# SPDX-License-Identifier: Apache-2.0
"""Requests to the API server: lists, watches and writes, with the checks that matter to clients."""

from __future__ import annotations

import base64
import binascii
import random
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from harness.kube import status
from harness.kube.access import ADMIN, Access, User
from harness.kube.resources import MICRO_TIME, NAMESPACES, RESOURCES, Resource, Target, target_of, value_at
from harness.kube.status import Refused, refused
from harness.kube.store import Bookmark, Change, Collection, Expired, Failure, Feed, Json, Store, Version
from ksd_ddns.kubevirt import selector

MIN_REQUEST_TIMEOUT = 1_800.0  # seconds that a watch without timeoutSeconds lasts at least; at most twice that

_encode = msgspec.json.encode
_METHODS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_GIT_VERSION = "v1.34.1"


@dataclass(slots=True)
class Request:
    """One request as received and logged.

    `verb` is that of RBAC (list and watch are two), `status` the HTTP status of the answer: None while there is none,
    or when a fault cut the connection first. `at` is in seconds of time.monotonic, `connection` counts from 1.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    connection: int = 0
    user: User = ADMIN
    at: float = field(default_factory=time.monotonic)
    target: Target | None = None
    verb: str = ""
    status: int | None = None

    def __post_init__(self) -> None:
        self.target = target_of(self.path)
        self.verb = _METHODS.get(self.method, self.method.lower())
        if self.target is not None and not self.target.name:
            if self.verb == "get":
                self.verb = "watch" if self.query.get("watch") in ("1", "true") else "list"
            elif self.verb == "delete":
                self.verb = "deletecollection"

    @property
    def resource(self) -> str:
        """The plural, as in virtualmachineinstances; empty for paths such as /version."""
        return self.target.plural if self.target else ""

    @property
    def namespace(self) -> str:
        """Empty for cluster-wide objects."""
        return self.target.namespace if self.target else ""

    @property
    def name(self) -> str:
        return self.target.name if self.target else ""

    @property
    def json(self) -> Json:
        """The body of a write."""
        value: Json = msgspec.json.decode(self.body)
        return value

    def __str__(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.query.items())
        return f"{self.method} {self.path}{'?' if query else ''}{query} -> {self.status} ({self.user.name})"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """A new watch: it sends the items of `feed`, for `seconds` at most."""

    feed: Feed
    resource: Resource
    collection: Collection
    seconds: float
    bookmarks: bool


def answer_of(refusal: Refused) -> Answer:
    """Return the answer to a request that was refused."""
    if isinstance(refusal.body, str):
        headers = {"X-Content-Type-Options": "nosniff", **refusal.headers}
        return Answer(refusal.body.encode(), refusal.code, "text/plain; charset=utf-8", headers)
    return Answer(_encode(refusal.body), refusal.code, headers=refusal.headers)


class Api:
    """The API server without its sockets.

    `absent` holds API groups that are not installed. `controllers` says whether the controllers of a cluster are
    played, so that finalizers come off what is deleted at once, and a deleted namespace is emptied. `gone_as_status`
    answers a watch that begins too far back with HTTP 410 instead of an ERROR event.
    """

    def __init__(self, store: Store, access: Access, *, controllers: bool = True) -> None:
        self.store = store
        self.access = access
        self.controllers = controllers
        self.gone_as_status = False
        self.absent: set[str] = set()
        self.resources = {(one.group, one.version, one.plural): one for one in RESOURCES}

    def answer(self, request: Request) -> Answer | Stream:
        """Process `request`, whose user is known; Refused if it is not allowed, not possible or invalid."""
        target = request.target
        if target is None:
            if not self.access.allows_path(request.user, request.verb, request.path):
                raise status.forbidden_path(request.user.name, request.verb, request.path)
            return self._discovery(request.path)
        self._authorize(request, target)
        if (target.group, target.plural) == ("authorization.k8s.io", "selfsubjectaccessreviews"):
            return self._review(request)
        resource = self.resources.get((target.group, target.version, target.plural))
        if resource is None or target.group in self.absent or target.subresource:
            raise Refused(404, status.NO_SUCH_PAGE)
        if not _accepts_json(request.headers.get("accept", "")):
            raise refused(406, "only the following media types are accepted: application/json")
        if "dryRun" in request.query:
            raise refused(501, "this server does not support dryRun", reason="NotImplemented")
        namespace, named = target.namespace, bool(target.name)
        match request.verb, named:
            case "list", _:
                answer: Answer | Stream = self._list(resource, namespace, request.query)
            case "watch", _:
                answer = self._watch(resource, namespace, request.query)
            case "get", _:
                answer = Answer(self.render(resource, self._existing(resource, target)))
            case "create", False:
                answer = self._create(resource, namespace, _body(request))
            case "update", True:
                answer = self._update(resource, target, _body(request))
            case "patch", True:
                answer = self._patch(resource, target, request)
            case "delete", _:
                answer = self._delete(resource, target, request)
            case "deletecollection", _:
                answer = self._delete_collection(resource, namespace, request.query)
            case _:
                raise refused(405, "the server does not allow this method on the requested resource")
        return answer

    def _authorize(self, request: Request, target: Target) -> None:
        name = target.name
        if not name and request.verb in ("list", "watch", "deletecollection"):
            name = _exact(request.query.get("fieldSelector", "")).get("metadata.name", "")
        asked = Target(target.group, target.version, target.plural, target.namespace, name, target.subresource)
        if not self.access.allows(request.user, request.verb, asked):
            raise status.forbidden(
                request.user.name, request.verb, group=asked.group, plural=asked.qualified,
                namespace=asked.namespace, name=asked.name,
            )  # fmt: skip

    # --- reading ---------------------------------------------------------------------------------------------------

    def render(self, resource: Resource, version: Version) -> bytes:
        """Return the object as `resource`'s API version shows it."""
        return _encode(resource.shown(version.object)) if resource.is_view else version.json

    def _existing(self, resource: Resource, target: Target) -> Version:
        version = self.store.collection(resource.storage).versions.get(resource.key(target.namespace, target.name))
        if version is None:
            raise status.not_found(resource.qualified, target.name, group=target.group, plural=target.plural)
        return version

    def _list(self, resource: Resource, namespace: str, query: Mapping[str, str]) -> Answer:
        passes, selects = self._filter(resource, namespace, query)
        prefix = f"{namespace}/" if namespace and resource.namespaced else ""
        limit = _number(query, "limit")
        with self.store.lock:
            collection = self.store.collection(resource.storage)
            revision, versions, start = self._state(collection, query, limit)
            if not query.get("continue") and query.get("resourceVersion") == "0":
                limit = 0  # served from the watch cache, which has no pages
            first = bisect_left(versions, prefix + start, key=_key_of)
            end = bisect_left(versions, prefix[:-1] + "0", key=_key_of) if prefix else len(versions)  # "0" is "/" + 1
            picked, position = _fill(versions, first, end, limit, passes if selects else None)
            following, remaining = "", None
            if position < end:
                following = _continue(revision, picked[-1].key[len(prefix) :] + "\0")
                remaining = None if selects else end - position
                collection.keep(revision, versions)
        return Answer(_list_body(resource, picked, revision, following, remaining))

    def _state(self, collection: Collection, query: Mapping[str, str], limit: int) -> tuple[int, list[Version], str]:
        """Return the revision of a list, its objects, and the key to start from, below the prefix."""
        now = self.store.revision
        wanted, match, token = (query.get(key, "") for key in ("resourceVersion", "resourceVersionMatch", "continue"))
        _check_match(wanted, match, token)
        if token:
            revision, start = _continued(token)
            if wanted not in ("", "0"):
                raise refused(400, "specifying resource version is not allowed when using continue")
            if revision < 0:
                return now, collection.ordered(), start
            try:
                return revision, collection.at_revision(revision), start
            except Expired:
                gone = status.expired(status.CONTINUE_EXPIRED)
                gone["metadata"] = {"continue": _continue(-1, start)}
                raise Refused(410, gone) from None
        revision = _number(query, "resourceVersion")
        if revision > now:
            raise status.too_large_version(revision, now)
        if match == "Exact" or (not match and limit and revision):
            try:
                return revision, collection.at_revision(revision), ""
            except Expired:
                raise Refused(410, status.expired(status.LIST_EXPIRED)) from None
        return now, collection.ordered(), ""

    def _watch(self, resource: Resource, namespace: str, query: Mapping[str, str]) -> Stream:
        passes, _ = self._filter(resource, namespace, query)
        wanted, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
        initial = query.get("sendInitialEvents")
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        if match and initial is None:
            raise _bad_option("resourceVersionMatch", "is forbidden for watch unless sendInitialEvents is provided")
        if initial is not None and match != "NotOlderThan":
            raise _bad_option("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to "
                                                      "NotOlderThan")  # fmt: skip
        seconds = float(_number(query, "timeoutSeconds")) or MIN_REQUEST_TIMEOUT * random.uniform(1, 2)
        revision = _number(query, "resourceVersion")
        with self.store.lock:
            collection = self.store.collection(resource.storage)
            now = self.store.revision
            feed = Feed(passes, revision)
            if initial == "true" or (initial is None and wanted in ("", "0")):
                feed.start = now
                feed.items.extend(Change(now, None, version) for version in collection.ordered())
                if initial == "true" and bookmarks:
                    feed.items.append(Bookmark(now, initial=True))
            elif revision == 0:
                feed.start = now
            else:
                try:
                    feed.items.extend(collection.since(revision))
                except Expired as e:
                    if self.gone_as_status:
                        feed.close()
                        raise Refused(410, status.expired(str(e))) from None
                    feed.items.append(Failure(status.expired(str(e))))
                    return Stream(feed, resource, collection, seconds, bookmarks)
            collection.feeds.append(feed)
        return Stream(feed, resource, collection, seconds, bookmarks)

    def _filter(
        self, resource: Resource, namespace: str, query: Mapping[str, str]
    ) -> tuple[Callable[[Version], bool], bool]:
        """Return the filter for the objects of a list or watch, and whether it has a selector."""
        try:
            labels = selector.parse(query.get("labelSelector", ""))
        except ValueError as e:
            raise refused(400, f"unable to parse requirement: {e}") from e
        fields = _field_terms(resource, query.get("fieldSelector", ""))
        prefix = f"{namespace}/" if namespace and resource.namespaced else ""
        selects = bool(labels.requirements or fields)

        def passes(version: Version) -> bool:
            return (
                version.key.startswith(prefix)
                and (not labels.requirements or labels.matches(version.labels))
                and all((_field(version, name) == value) is equal for name, value, equal in fields)
            )

        return passes, selects

    # --- writing ---------------------------------------------------------------------------------------------------

    def _create(self, resource: Resource, namespace: str, obj: Json, *, name: str = "") -> Answer:
        _check_type(resource, obj)
        metadata = _metadata(obj)
        if metadata.get("resourceVersion"):
            raise refused(500, "resourceVersion should not be set on objects to be created", reason="")
        if not metadata.get("name") and metadata.get("generateName"):
            tail = "".join(random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
            metadata["name"] = metadata["generateName"] + tail
        name = name or metadata.get("name", "")
        _check_metadata(resource, namespace, name, metadata)
        metadata |= {"creationTimestamp": _now(), "uid": str(uuid.uuid4())}
        metadata.pop("deletionTimestamp", None)
        if resource.namespaced:
            metadata["namespace"] = namespace
        if resource.custom:
            metadata["generation"] = 1
        if resource is NAMESPACES:
            metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": name}
            obj |= {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        obj = self._checked(resource, name, obj, None)
        with self.store.lock:
            if resource.namespaced and namespace not in self.store.collection(NAMESPACES.storage).versions:
                raise status.not_found("namespaces", namespace, group="", plural="namespaces")
            if resource.key(namespace, name) in self.store.collection(resource.storage).versions:
                raise refused(409, f'{resource.qualified} "{name}" already exists', reason="AlreadyExists",
                              name=name, group=resource.group, kind=resource.plural)  # fmt: skip
            version = self.store.put(resource.storage, resource.key(namespace, name), obj)
        return Answer(self.render(resource, version), 201)

    def _update(self, resource: Resource, target: Target, obj: Json) -> Answer:
        _check_type(resource, obj)
        metadata = _metadata(obj)
        if metadata.get("name") != target.name:
            raise refused(400, f"the name of the object ({metadata.get('name', '')}) does not match the name on the "
                               f"URL ({target.name})")  # fmt: skip
        with self.store.lock:
            there = resource.key(target.namespace, target.name) in self.store.collection(resource.storage).versions
            if resource.creates_on_update and not there:
                if metadata.get("resourceVersion"):
                    raise self._conflict(resource, target.name, status.MODIFIED)
                return self._create(resource, target.namespace, obj)
            old = self._existing(resource, target)
            if not metadata.get("resourceVersion"):
                if not resource.unconditional_update:
                    cause = ("metadata.resourceVersion", "FieldValueInvalid",
                             "Invalid value: 0: must be specified for an update")  # fmt: skip
                    raise status.invalid(resource.qualified, target.name, group=resource.group, kind=resource.plural,
                                         causes=[cause])  # fmt: skip
                metadata["resourceVersion"] = str(old.revision)
            return self._replace(resource, old, obj)

    def _patch(self, resource: Resource, target: Target, request: Request) -> Answer:
        media = request.headers.get("content-type", "").partition(";")[0].strip()
        known = ["application/json-patch+json", "application/merge-patch+json"]
        if not resource.custom:
            known.append("application/strategic-merge-patch+json")
        if media not in known:
            raise refused(415, "the body of the request was in an unknown format - accepted media types include: "
                               + ", ".join(known))  # fmt: skip
        patch = _decoded(request.body)
        with self.store.lock:
            old = self._existing(resource, target)
            before = resource.shown(old.object)
            if media == "application/json-patch+json":
                obj = json_patched(before, patch)
            elif not isinstance(patch, dict):
                raise refused(400, "error decoding patch: json: cannot unmarshal array into Go value of type map")
            else:
                # Strategic merge differs for lists with a merge key; nothing that is patched here has one.
                obj = merge_patched(before, patch)
            return self._replace(resource, old, obj)

    def _replace(self, resource: Resource, old: Version, obj: Json) -> Answer:
        """Replace `old` by `obj`, in the form of `resource`; an equal object changes nothing."""
        before = resource.shown(old.object)
        metadata, was = _metadata(obj), before["metadata"]
        if metadata.get("resourceVersion") != str(old.revision):
            raise self._conflict(resource, old.name, status.MODIFIED)
        uid = metadata.get("uid")
        if uid and uid != was.get("uid"):
            raise self._conflict(
                resource, old.name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {was['uid']}"
            )
        for name in ("name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp",
                     "deletionGracePeriodSeconds", "resourceVersion"):  # fmt: skip
            metadata.pop(name, None)
            if name in was:
                metadata[name] = was[name]
        if obj == before:
            return Answer(self.render(resource, old))
        if resource.custom and {**obj, "metadata": None} != {**before, "metadata": None}:
            metadata["generation"] = was.get("generation", 0) + 1
        stored = self._checked(resource, old.name, obj, old.object)
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.store.delete(resource.storage, old.key)
            return Answer(_encode(obj))
        return Answer(self.render(resource, self.store.put(resource.storage, old.key, stored)))

    def _checked(self, resource: Resource, name: str, obj: Json, old: Json | None) -> Json:
        """Return `obj` in its stored form; Refused if it is invalid."""
        for path in resource.times:
            value = value_at(obj, path)
            if value is not None and not MICRO_TIME.fullmatch(str(value)):
                what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
                layout = "2006-01-02T15:04:05.000000Z07:00"
                raise refused(400, f'{what}: parsing time "{value}" as "{layout}": cannot parse "{value}" as ".000000"')
        stored = resource.read(obj)
        causes = list(resource.check(stored, old))
        if causes:
            raise status.invalid(resource.qualified_kind, name, group=resource.group, kind=resource.kind, causes=causes)
        return stored

    def _delete(self, resource: Resource, target: Target, request: Request) -> Answer:
        with self.store.lock:
            old = self._existing(resource, target)
            wanted = (_body(request) if request.body else {}).get("preconditions") or {}
            uid = old.object["metadata"].get("uid", "")
            if wanted.get("uid") not in (None, uid) or wanted.get("resourceVersion") not in (None, str(old.revision)):
                raise self._conflict(resource, target.name, f"Precondition failed: {wanted}")
            going = self.remove(resource, old)
            if going is not None:
                return Answer(self.render(resource, going))
        details = {"name": target.name, "group": resource.group, "kind": resource.plural, "uid": uid}
        success: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {key: value for key, value in details.items() if value},
        }
        return Answer(_encode(success))

    def _delete_collection(self, resource: Resource, namespace: str, query: Mapping[str, str]) -> Answer:
        passes, _ = self._filter(resource, namespace, query)
        with self.store.lock:
            chosen = [one for one in self.store.collection(resource.storage).ordered() if passes(one)]
            for version in chosen:
                self.remove(resource, version)
            return Answer(_list_body(resource, chosen, self.store.revision, "", None))

    def remove(self, resource: Resource, old: Version) -> Version | None:
        """Delete an object; return it as marked for deletion if it has finalizers, else None."""
        obj = old.object
        metadata = obj["metadata"]
        if resource is NAMESPACES:
            obj["status"] = {"phase": "Terminating"}
        elif not metadata.get("finalizers"):
            self.store.delete(resource.storage, old.key)
            return None
        if metadata.get("deletionTimestamp"):
            return old
        metadata |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
        going = self.store.put(resource.storage, old.key, obj)
        if self.controllers:
            self.finish(resource, going)
        return going

    def finish(self, resource: Resource, going: Version) -> None:
        """Act as the controllers: empty a namespace and remove the finalizers, which deletes the object."""
        if resource is NAMESPACES:
            for other in self.resources.values():
                if other.namespaced and not other.is_view:
                    for version in tuple(self.store.collection(other.storage).ordered()):
                        if version.namespace == going.name:
                            self.store.delete(other.storage, version.key)
        self.store.delete(resource.storage, going.key)

    def _conflict(self, resource: Resource, name: str, why: str) -> Refused:
        message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
        return refused(409, message, name=name, group=resource.group, kind=resource.plural)

    # --- what is not about objects ---------------------------------------------------------------------------------

    def _review(self, request: Request) -> Answer:
        review = _body(request)
        asked = (review.get("spec") or {}).get("resourceAttributes") or {}
        target = Target(*(asked.get(key, "") for key in ("group", "version", "resource", "namespace", "name",
                                                         "subresource")))  # fmt: skip
        allowed = self.access.allows(request.user, asked.get("verb", ""), target)
        return Answer(_encode({**review, "status": {"allowed": allowed}}), 201)

    def _discovery(self, path: str) -> Answer:
        known = [one for one in self.resources.values() if one.group not in self.absent]
        groups = sorted({(one.group, one.version) for one in known if one.group})
        match path.strip("/").split("/"):
            case ["healthz" | "livez" | "readyz"]:
                return Answer(b"ok", content_type="text/plain; charset=utf-8")
            case ["version"]:
                body: Json = {"major": "1", "minor": "34", "gitVersion": _GIT_VERSION, "platform": "linux/amd64"}
            case ["api"]:
                body = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
            case ["apis"]:
                body = {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*pair) for pair in groups]}
            case ["apis", group] if group in dict(groups):
                body = {**_group(group, dict(groups)[group]), "kind": "APIGroup", "apiVersion": "v1"}
            case ["api", version]:
                body = _resource_list("", version, known)
            case ["apis", group, version]:
                body = _resource_list(group, version, known)
            case _:
                raise Refused(404, status.NO_SUCH_PAGE)
        return Answer(_encode(body))


def merge_patched(value: Any, patch: Any) -> Any:
    """Return `value` after a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), part)
    return result


def json_patched(value: Json, patch: Any) -> Json:
    """Return `value`, changed in place, after a JSON patch (RFC 6902) of add, remove, replace and test."""
    if not isinstance(patch, list):
        raise refused(400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    for step in patch:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        try:
            place: Any = value
            for part in parents:
                place = place[int(part)] if isinstance(place, list) else place[part]
            _json_patch_step(place, last, step)
        except (KeyError, IndexError, TypeError, ValueError) as e:
            raise refused(422, f"the server rejected our request due to an error in our request: {step}: {e}") from e
    return value


def _json_patch_step(place: Any, last: str, step: Mapping[str, Any]) -> None:
    index: Any = last
    if isinstance(place, list):
        index = len(place) if last == "-" else int(last)
    match step["op"]:
        case "add" if isinstance(place, list):
            place.insert(index, step["value"])
        case "add":
            place[index] = step["value"]
        case "replace":
            place[index]
            place[index] = step["value"]
        case "remove":
            del place[index]
        case "test":
            if place[index] != step["value"]:
                raise ValueError("test failed")
        case other:
            raise ValueError(f"{other} is not known here")


# --- lists -----------------------------------------------------------------------------------------------------------


def _key_of(version: Version) -> str:
    return version.key


def _fill(
    versions: list[Version], first: int, end: int, limit: int, passes: Callable[[Version], bool] | None
) -> tuple[list[Version], int]:
    """Return the objects of one page, and where the next begins.

    As with etcd, a page ends when it is full, even if no later object matches: so the last page may be empty.
    """
    if passes is None:
        position = min(end, first + limit) if limit else end
        return versions[first:position], position
    picked: list[Version] = []
    for position in range(first, end):
        if limit and len(picked) == limit:
            return picked, position
        if passes(versions[position]):
            picked.append(versions[position])
    return picked, end


def _list_body(
    resource: Resource, versions: Iterable[Version], revision: int, following: str, remaining: int | None
) -> bytes:
    """Return the list as the server writes it: with sorted keys and whole items where the kind is a custom one."""
    kind, api_version = _encode(f"{resource.kind}List"), _encode(resource.api_version)
    metadata: Json = {"continue": following} if following or resource.custom else {}
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    metadata["resourceVersion"] = str(revision)
    if resource.custom:
        items = b",".join([version.json for version in versions])
        return b'{"apiVersion":%b,"items":[%b],"kind":%b,"metadata":%b}\n' % (
            api_version, items, kind, _encode(metadata),
        )  # fmt: skip
    bare = (resource.shown(version.object) for version in versions)
    items = _encode([{key: one[key] for key in one if key not in ("apiVersion", "kind")} for one in bare])
    return b'{"kind":%b,"apiVersion":%b,"metadata":%b,"items":%b}\n' % (kind, api_version, _encode(metadata), items)


def _continue(revision: int, start: str) -> str:
    token = _encode({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def _continued(token: str) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        read = msgspec.json.decode(text, type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError) as e:
        raise refused(400, f"invalid continue token: continue key is not valid: {e}") from e
    if read.v != "meta.k8s.io/v1" or not read.rv or not read.start:
        raise refused(400, "invalid continue token: continue key is not valid")
    return read.rv, read.start


class _Token(msgspec.Struct):
    v: str = ""
    rv: int = 0
    start: str = ""


# --- options and bodies ----------------------------------------------------------------------------------------------


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise refused(400, f'{name}: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def _bad_option(name: str, why: str) -> Refused:
    return status.invalid("ListOptions.meta.k8s.io", "", group="meta.k8s.io", kind="ListOptions",
                          causes=[(name, "FieldValueForbidden", f"Forbidden: {why}")])  # fmt: skip


def _check_match(wanted: str, match: str, token: str) -> None:
    if not match:
        return
    if match not in ("Exact", "NotOlderThan"):
        raise _bad_option("resourceVersionMatch", f'Unsupported value: "{match}"')
    if token:
        raise _bad_option("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
    if not wanted:
        raise _bad_option("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is "
                                                  "provided")  # fmt: skip
    if match == "Exact" and wanted == "0":
        raise _bad_option("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _exact(text: str) -> dict[str, str]:
    """Return the terms of a field selector that want one value."""
    terms = (term.replace("==", "=").partition("=") for term in text.split(",") if "!=" not in term)
    return {name.strip(): value.strip() for name, _, value in terms}


def _field_terms(resource: Resource, text: str) -> list[tuple[str, str, bool]]:
    terms = []
    for term in filter(None, (term.strip() for term in text.split(","))):
        equal = "!=" not in term
        name, found, value = term.replace("==", "=").partition("=" if equal else "!=")
        if not found:
            raise refused(400, f'unable to find "fieldSelector": invalid selector: \'{text}\'; can\'t understand '
                               f"'{term}'")  # fmt: skip
        if name not in ("metadata.name", "metadata.namespace") and name not in resource.fields:
            raise refused(400, f"field label not supported: {name}")
        terms.append((name, value, equal))
    return terms


def _field(version: Version, name: str) -> str:
    if name == "metadata.name":
        return version.name
    if name == "metadata.namespace":
        return version.namespace
    return str(value_at(version.object, name) or "")


def _accepts_json(accept: str) -> bool:
    kinds = [part.partition(";")[0].strip() for part in accept.split(",")]
    return not accept or any(kind in ("*/*", "application/*", "application/json") for kind in kinds)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as e:
        raise refused(400, f"error decoding request body: {e}") from e


def _body(request: Request) -> Json:
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if media != "application/json":
        raise refused(415, "the body of the request was in an unknown format - accepted media types include: "
                           "application/json")  # fmt: skip
    value = _decoded(request.body)
    if not isinstance(value, dict):
        raise refused(400, "the object provided is unrecognized")
    return value


def _check_type(resource: Resource, obj: Json) -> None:
    """Check apiVersion and kind, and add them if the client of a built-in kind omitted them."""
    for name, wanted, label in (("kind", resource.kind, "kind"), ("apiVersion", resource.api_version, "API version")):
        given = obj.get(name)
        if not given:
            if resource.custom:
                raise refused(400, f"Object '{name[0].upper()}{name[1:]}' is missing")
            obj[name] = wanted
        elif given != wanted:
            raise refused(400, f"the {label} in the data ({given}) does not match the expected {label} ({wanted})")


def _metadata(obj: Json) -> Json:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = obj["metadata"] = {}
    return metadata


def _check_metadata(resource: Resource, namespace: str, name: str, metadata: Json) -> None:
    if resource.namespaced and metadata.get("namespace") not in (None, "", namespace):
        raise refused(400, "the namespace of the provided object does not match the namespace sent on the request")
    wrong = "" if not name else resource.wrong_name(name)
    if wrong is None:
        return
    cause = (
        ("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {wrong}')
        if wrong
        else ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
    )
    raise status.invalid(resource.qualified_kind, name, group=resource.group, kind=resource.kind, causes=[cause])


def _group(group: str, version: str) -> Json:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _resource_list(group: str, version: str, known: Iterable[Resource]) -> Json:
    mine = [one for one in known if (one.group, one.version) == (group, version)]
    if not mine:
        raise Refused(404, status.NO_SUCH_PAGE)
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    resources = [
        {"name": one.plural, "singularName": one.kind.lower(), "namespaced": one.namespaced, "kind": one.kind,
         "verbs": verbs, "shortNames": list(one.short)}
        for one in mine
    ]  # fmt: skip
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": mine[0].api_version, "resources": resources}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
