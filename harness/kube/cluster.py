# SPDX-License-Identifier: Apache-2.0
"""`Kube`: a cluster as seen through its API, and the methods by which tests control it."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from harness.kube import status
from harness.kube.access import ADMIN, MASTERS, Access, User, rules_of, service_account
from harness.kube.api import Api, Request
from harness.kube.certificates import KubeAuthority
from harness.kube.config import ServiceAccountFiles, with_certificate, write_kubeconfig, write_service_account
from harness.kube.faults import Fault, Faults, Injection
from harness.kube.resources import EVENTS, NAMESPACES, VMIS, Resource
from harness.kube.server import Server, Watch
from harness.kube.store import Failure, Json, Signal, Store

T = TypeVar("T")

WAIT_SECONDS = 10.0


class Kube:
    """A fake API server on a loopback port, within a `with` block or from `start` to `stop`.

    `tls` gives it an authority of its own and lets it take client certificates; `identifiers` is as in `Authority`.
    `auth` makes it refuse who shows no
    credentials; tokens are made by `token`. `history` is how many changes of a kind a watch can go back, and
    `bookmark_seconds` how often a watch gets a bookmark. `controllers` plays the controllers that take finalizers
    off (see `Api`). `stop` and `start` again: the same cluster at the same port.
    """

    def __init__(
        self,
        *,
        tls: bool = False,
        identifiers: bool = True,
        auth: bool = False,
        port: int = 0,
        history: int = 1_000,
        bookmark_seconds: float = 60.0,
        controllers: bool = True,
    ) -> None:
        self.store = Store(history=history)
        self.access = Access(require=auth)
        self.api = Api(self.store, self.access, controllers=controllers)
        self.faults = Faults()
        self.authority = KubeAuthority(identifiers=identifiers) if tls else None
        context = self.authority.context() if self.authority else None
        self.server = Server(self.api, self.faults, port=port, tls=context)
        self.server.bookmark_seconds = bookmark_seconds
        for namespace in ("default", "kube-system"):
            self.add_namespace(namespace)

    # --- running -----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        self.server.start()
        return self

    def stop(self) -> None:
        """Stop as if killed: connections are cut, new ones refused, and stored objects kept."""
        self.server.stop()

    def close(self) -> None:
        """Stop, and remove all files."""
        try:
            self.server.stop()
        finally:
            if self.authority:
                self.authority.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return f"http{'s' if self.authority else ''}://127.0.0.1:{self.port}"

    # --- what is in it -----------------------------------------------------------------------------------------------

    def put(self, obj: Mapping[str, Any]) -> int:
        """Create or replace an object, as the programs of KubeVirt do; return its resourceVersion.

        Nothing is checked. The namespace is created; uid and creation time are kept or generated.
        """
        resource = self._resource(obj)
        metadata = dict(obj["metadata"])
        namespace = metadata.get("namespace", "default") if resource.namespaced else ""
        key = resource.key(namespace, metadata["name"])
        with self.store.lock:
            if resource.namespaced:
                self.add_namespace(namespace)
                metadata["namespace"] = namespace
            if not metadata.get("uid"):
                old = self.store.collection(resource.storage).versions.get(key)
                metadata["uid"] = old.object["metadata"]["uid"] if old else str(uuid.uuid4())
            metadata.setdefault("creationTimestamp", "2026-03-01T08:00:00Z")
            return self.store.put(resource.storage, key, resource.read({**obj, "metadata": metadata})).revision

    def load(self, objects: Iterable[Mapping[str, Any]]) -> int:
        """Put many objects; return how many."""
        return sum(1 for obj in objects if self.put(obj))

    def delete(self, namespace: str, name: str, resource: Resource = VMIS) -> None:
        """Delete the object, even with finalizers; KeyError if there is none."""
        self.store.delete(resource.storage, resource.key(namespace, name))

    def bump(self, namespace: str, name: str) -> int:
        """Change only a probe time of a VMI, as heartbeats do; return its resourceVersion."""
        return self.store.touch(VMIS.storage, VMIS.key(namespace, name)).revision

    def heartbeats(self, count: int) -> None:
        """Bump `count` VMIs, one after the other, and again from the first."""
        keys = [version.key for version in self.store.collection(VMIS.storage).ordered()]
        for index in range(count):
            self.store.touch(VMIS.storage, keys[index % len(keys)])

    def get(self, namespace: str, name: str, resource: Resource = VMIS) -> Json | None:
        """Return a copy of the object, None if there is none."""
        version = self.store.collection(resource.storage).versions.get(resource.key(namespace, name))
        return None if version is None else resource.shown(version.object)

    def objects(self, resource: Resource = VMIS) -> list[Json]:
        """Return copies of all objects of a kind, by namespace and name."""
        with self.store.lock:
            return [resource.shown(version.object) for version in self.store.collection(resource.storage).ordered()]

    @property
    def events(self) -> list[Json]:
        """The Events that were written, under either API version, as core/v1 shows them."""
        return self.objects(EVENTS)

    def add_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Create a namespace unless it is there."""
        with self.store.lock:
            if name in self.store.collection(NAMESPACES.storage).versions:
                return
            metadata = {
                "name": name,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": "2026-03-01T08:00:00Z",
                "labels": {**(labels or {}), "kubernetes.io/metadata.name": name},
            }
            obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata,
                   "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}  # fmt: skip
            self.store.put(NAMESPACES.storage, name, obj)

    @property
    def kube_system_uid(self) -> str:
        """The identity of the cluster."""
        namespace = self.get("", "kube-system", NAMESPACES)
        assert namespace is not None
        uid: str = namespace["metadata"]["uid"]
        return uid

    @property
    def revision(self) -> int:
        """The resourceVersion of the last write of all."""
        return self.store.revision

    def compact(self) -> int:
        """Forget the history: every resourceVersion and continue token issued so far expires.

        Open watches continue. Return the oldest valid resourceVersion.
        """
        return self.store.compact()

    def uninstall(self, group: str = "kubevirt.io") -> None:
        """Remove an API group from the cluster; `install` restores it with its objects."""
        self.api.absent.add(group)

    def install(self, group: str = "kubevirt.io") -> None:
        self.api.absent.discard(group)

    def serve(self, resource: Resource) -> None:
        """Serve one more kind."""
        self.api.resources[resource.group, resource.version, resource.plural] = resource

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def fault(
        self,
        fault: Fault,
        *,
        verb: str | None = None,
        resource: str | None = None,
        namespace: str | None = None,
        path: str | None = None,
        when: Callable[[Request], bool] | None = None,
        skip: int = 0,
        times: int | None = 1,
    ) -> Injection:
        """Apply `fault` to the next `times` matching requests (None: to all), after `skip` successful ones.

        `verb` is one of RBAC's, `path` a regular expression, `when` any other condition.
        """
        pattern = None if path is None else re.compile(path)
        return self.faults.add(Injection(fault, verb, resource, namespace, pattern, when, skip, times))

    @property
    def watches(self) -> list[Watch]:
        """The watches that are open."""
        return self.server.watches()

    def cut_watches(self) -> None:
        """Cut the connections of all open watches, without ending the response."""
        for watch in self.watches:
            watch.hang_up()

    def end_watches(self) -> None:
        """End all open watches properly, as a server does at shutdown."""
        for watch in self.watches:
            watch.tell(Signal.END)

    def freeze_watches(self) -> None:
        """Stop sending to all open watches, with their connections open, as behind a firewall that forgot them."""
        for watch in self.watches:
            watch.tell(Signal.FREEZE)

    def fail_watches(self, code: int = 410, message: str = "The resourceVersion for the provided watch is too old.",
                     ) -> None:  # fmt: skip
        """End all open watches with an ERROR event."""
        for watch in self.watches:
            watch.tell(Failure(status.failure(code, message)))

    # --- who may do what ---------------------------------------------------------------------------------------------

    def token(self, user: User = ADMIN, *, token: str | None = None) -> str:
        """Return a bearer token for `user`. After the first, an unknown token gets 401."""
        return self.access.add(user, token)

    def revoke(self, token: str) -> None:
        del self.access.tokens[token]

    def authorize(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Limit all users but system:masters to the roles and bindings in `documents`; the rest gets 403.

        Requests without credentials are still those of an administrator, unless the server has `auth`.
        """
        self.access.rules = rules_of(documents)

    def kubeconfig(self, path: Path, user: Mapping[str, Any] | None = None, *, namespace: str = "default") -> Path:
        """Write a kubeconfig for `user`: {"token": ...}, `ExecPlugin.user` or `with_certificate(...)`.

        By default an administrator: by client certificate with TLS, else by token.
        """
        if user is None and self.authority:
            user = with_certificate(self.authority.client(ADMIN.name, MASTERS))
        elif user is None:
            user = {"token": self.token()}
        ca = self.authority.certificate if self.authority else None
        return write_kubeconfig(path, server=self.url, ca=ca, user=user, namespace=namespace)

    def service_account_files(
        self, directory: Path, *, namespace: str = "secondary", name: str = "secondary", token: str | None = None
    ) -> ServiceAccountFiles:
        """Write the files of a pod with this service account. In-cluster clients require TLS."""
        if self.authority is None:
            raise ValueError("an in-cluster client speaks TLS only: Kube(tls=True)")
        self.add_namespace(namespace)
        token = token or self.token(service_account(namespace, name))
        ca = self.authority.certificate
        return write_service_account(directory, port=self.port, token=token, ca=ca, namespace=namespace)

    # --- what was asked ----------------------------------------------------------------------------------------------

    def requests(
        self, *, verb: str | None = None, resource: str | None = None, namespace: str | None = None, since: int = 0
    ) -> list[Request]:
        """Return the requests so far, without the first `since`."""
        with self.server.log.lock:
            requests = self.server.log.requests[since:]
        return [
            request
            for request in requests
            if verb in (None, request.verb)
            and resource in (None, request.resource)
            and namespace in (None, request.namespace)
        ]

    @property
    def count(self) -> int:
        """Return the number of requests so far, for `since`."""
        return len(self.server.log.requests)

    def wait(self, condition: Callable[[], T], what: str, *, seconds: float = WAIT_SECONDS) -> T:
        """Return the result of `condition` once it is true; AssertionError if that takes longer."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                last = "\n".join(f"  {request}" for request in self.requests()[-20:])
                raise AssertionError(f"{what}: not within {seconds} s; the last requests were\n{last}")
            time.sleep(0.002)
        return value

    def wait_watches(
        self, count: int = 1, *, resource: str = VMIS.plural, seconds: float = WAIT_SECONDS
    ) -> list[Watch]:
        """Return the open watches of `resource` as soon as there are `count`."""

        def enough() -> list[Watch] | None:
            open_ones = [watch for watch in self.watches if watch.request.resource == resource]
            return open_ones if len(open_ones) >= count else None

        return self.wait(enough, f"{count} watches of {resource}", seconds=seconds) or []

    def wait_requests(
        self, count: int = 1, *, verb: str | None = None, resource: str | None = None, since: int = 0,
        seconds: float = WAIT_SECONDS,
    ) -> list[Request]:  # fmt: skip
        """Return the matching requests once `count` of them have a response."""

        def enough() -> list[Request] | None:
            found = [one for one in self.requests(verb=verb, resource=resource, since=since) if one.status is not None]
            return found if len(found) >= count else None

        return self.wait(enough, f"{count} requests ({verb} {resource})", seconds=seconds) or []

    def wait_delivered(self, *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until all open watches have been sent everything."""
        self.wait(lambda: all(watch.delivered for watch in self.watches), "all events sent", seconds=seconds)

    def _resource(self, obj: Mapping[str, Any]) -> Resource:
        for resource in self.api.resources.values():
            if (resource.api_version, resource.kind) == (obj["apiVersion"], obj["kind"]):
                return resource
        raise ValueError(f"no such kind here: {json.dumps([obj['apiVersion'], obj['kind']])}")
