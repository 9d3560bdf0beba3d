# SPDX-License-Identifier: Apache-2.0
"""The real kubernetes client, with shorter methods for the tests."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import pytest
import urllib3
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from harness import vmis
from harness.kube.cluster import Kube

GROUP, VERSION, PLURAL = "kubevirt.io", "v1", "virtualmachineinstances"
PATH = f"/apis/{GROUP}/{VERSION}/{PLURAL}"


class Client:
    """A client with this configuration; `custom`, `core`, `leases` are the real client's classes."""

    def __init__(self, configuration: Any) -> None:
        self.api = client.ApiClient(configuration)
        self.custom: Any = client.CustomObjectsApi(self.api)
        self.core: Any = client.CoreV1Api(self.api)
        self.leases: Any = client.CoordinationV1Api(self.api)
        self.authorization: Any = client.AuthorizationV1Api(self.api)
        self.url = configuration.host

    def close(self) -> None:
        self.api.rest_client.close()
        self.api.close()

    def raw(self, path: str, **query: str) -> urllib3.BaseHTTPResponse:
        """GET without credentials."""
        return self.send("GET", path, fields=query)

    def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None, timeout: float = 10.0,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """Send a request on the client's connections, without its credentials."""
        text = None if body is None else json.dumps(body).encode()
        answer: urllib3.BaseHTTPResponse = self.api.rest_client.pool_manager.request(
            method, self.url + path, fields=fields if body is None else None, body=text, timeout=timeout,
            headers={"Accept": "application/json", **(headers or {})},
        )  # fmt: skip
        return answer

    # --- VMIs --------------------------------------------------------------------------------------------------------

    def listed(self, namespace: str = "", **options: Any) -> Any:
        if namespace:
            return self.custom.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, **options)
        return self.custom.list_cluster_custom_object(GROUP, VERSION, PLURAL, **options)

    def pages(self, limit: int, **options: Any) -> Iterator[Any]:
        """Yield the pages of a list, each requested on demand."""
        page = self.listed(limit=limit, **options)
        yield page
        while page["metadata"]["continue"]:
            page = self.listed(limit=limit, _continue=page["metadata"]["continue"], **options)
            yield page

    def watch(
        self, resource_version: str | int, *, namespace: str = "", seconds: int = 30, **options: Any
    ) -> Iterator[Any]:
        """Yield the events of the real `Watch` until the server ends it."""
        options |= {"resource_version": str(resource_version), "timeout_seconds": seconds}
        custom = self.custom
        where = (custom.list_namespaced_custom_object, GROUP, VERSION, namespace) if namespace else (
            custom.list_cluster_custom_object, GROUP, VERSION)  # fmt: skip
        stream: Iterator[Any] = watch.Watch().stream(*where, PLURAL, **options)
        return stream

    def watched(self, kube: Kube, resource_version: str | int, **options: Any) -> list[Any]:
        """Return all existing events after `resource_version`; the watch ends when they have been sent."""
        before = set(kube.watches)  # an earlier one that ended but is not removed yet
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            reading = pool.submit(lambda: list(self.watch(resource_version, **options)))
            kube.wait(lambda: reading.done() or set(kube.watches) - before, "a watch")
            kube.wait_delivered()
            kube.end_watches()
            return reading.result(10)

    def create(self, obj: Any, namespace: str = "default") -> Any:
        return self.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, obj)

    def patch(self, body: Any, name: str = "a") -> Any:
        """Patch with a merge patch, or with the steps of a JSON patch."""
        media = f"application/{'json' if isinstance(body, list) else 'merge'}-patch+json"
        patched = self.custom.patch_namespaced_custom_object
        return patched(GROUP, VERSION, "default", PLURAL, name, body, _content_type=media)

    def replace(self, obj: Any, name: str = "a") -> Any:
        return self.custom.replace_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, name, obj)

    def remove(self, name: str = "a") -> Any:
        return self.custom.delete_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, name)


MakeKube: TypeAlias = Callable[..., Kube]
Connect: TypeAlias = Callable[..., Client]


def posted(name: str = "a", **arguments: Any) -> dict[str, Any]:
    """Return a VMI to create: without the fields that only the server sets, and without finalizers."""
    obj = vmis.vmi(name, **arguments)
    for key in ("uid", "resourceVersion", "creationTimestamp", "generation", "finalizers"):
        del obj["metadata"][key]
    return obj


def names(listing: Any) -> list[str]:
    """Return namespace/name of each item."""
    return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in listing["items"]]


def version(obj: Any) -> int:
    """Return the resourceVersion of an object or a list."""
    return int(obj["metadata"]["resourceVersion"])


def lines(events: Iterable[Any]) -> list[tuple[str, str, int]]:
    """Return type, name and resourceVersion of watch events."""
    return [(one["type"], one["object"]["metadata"].get("name", ""), version(one["object"])) for one in events]


def kinds(events: Iterable[Any]) -> list[str]:
    """Return the types of watch events."""
    return [one["type"] for one in events]


def status_of(error: pytest.ExceptionInfo[ApiException]) -> Any:
    """Return the Status in the body of an error of the client."""
    return json.loads(error.value.body or "null")
