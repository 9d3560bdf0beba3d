# SPDX-License-Identifier: Apache-2.0
"""An API server for `kubectl apply`, `create` and `replace`: it stores and merges objects.

    with ApiServer(directory) as server:
        server.kubectl("apply", "-k", "deploy/bind9")
        server.object("Deployment", "secondary-dns")

The merge is kubectl's own, on both sides: kubectl works out the patch from the manifest, from the annotation that it
left last time and from the object here, and `kubectl patch --local` applies it with the code of the real API server.

Not simulated: validation, server-side apply to an object that is there, and defaults beyond those that a merge meets.
"""

import copy
import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

Json = dict[str, Any]

# API version -> plural -> kind, namespaced
_KINDS: dict[str, dict[str, tuple[str, bool]]] = {
    "v1": {
        "namespaces": ("Namespace", False),
        "serviceaccounts": ("ServiceAccount", True),
        "configmaps": ("ConfigMap", True),
        "services": ("Service", True),
    },
    "apps/v1": {"deployments": ("Deployment", True)},
    "networking.k8s.io/v1": {"networkpolicies": ("NetworkPolicy", True)},
    "policy/v1": {"poddisruptionbudgets": ("PodDisruptionBudget", True)},
    "rbac.authorization.k8s.io/v1": {
        "roles": ("Role", True),
        "rolebindings": ("RoleBinding", True),
        "clusterroles": ("ClusterRole", False),
        "clusterrolebindings": ("ClusterRoleBinding", False),
    },
}
_VERBS = ["create", "delete", "get", "list", "patch", "update"]

_MERGE_PATCHES = {
    "application/strategic-merge-patch+json": "strategic",
    "application/merge-patch+json": "merge",
    "application/json-patch+json": "json",
}
_SERVER_SIDE_APPLY = "application/apply-patch+yaml"


class ApiServer:
    """Stores objects of the kinds in deploy/, over HTTP on loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.objects: dict[str, Json] = {}  # by URL path
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._merges = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl against this server, and return its standard output."""
        host, port = self._http.server_address[:2]
        return self._run(f"--server=http://{host!s}:{port}", "--validate=false", *arguments, stdin=stdin)

    def object(self, kind: str, name: str) -> Json:
        """Return a stored object without the annotation of kubectl."""
        (found,) = [item for item in self.objects.values() if item["kind"] == kind and item["metadata"]["name"] == name]
        found = copy.deepcopy(found)
        annotations = found["metadata"].get("annotations", {})
        annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
        if not annotations:
            found["metadata"].pop("annotations", None)
        return found

    def merge(self, path: str, patch: str, kind: str) -> None:
        """Apply a patch as the API server does."""
        self._merges += 1
        live, change = (self.directory / f"{self._merges}-{name}.json" for name in ("live", "patch"))
        live.write_text(json.dumps(self.objects[path]))
        change.write_text(patch)
        merged = self._run("patch", "--local", "-f", str(live), "--type", kind, "--patch-file", str(change), "-ojson")
        self.objects[path] = _stored(json.loads(merged))

    def _run(self, *arguments: str, stdin: str | None = None) -> str:
        kubectl = shutil.which("kubectl")
        assert kubectl, "kubectl is not installed: requirements/dev.txt brings it (make test)"
        # Without configuration and cache of the current user.
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "KUBECONFIG": os.devnull}
        done = subprocess.run(
            [kubectl, *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout


def _stored(value: Any) -> Any:
    """Return an object as the API server stores it: without nulls, and with the defaults that a merge meets."""
    match value:
        case dict():
            found = {key: _stored(item) for key, item in value.items() if item is not None}
            if {"httpGet", "tcpSocket", "exec"} & set(found) and "periodSeconds" in found:
                found = {"timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3} | found
            if "httpGet" in found and "path" in found["httpGet"]:
                found["httpGet"] = {"scheme": "HTTP"} | found["httpGet"]
            if "mountPath" in found and not found.get("readOnly"):
                found.pop("readOnly", None)
            return found
        case list():
            return [_stored(item) for item in value]
        case _:
            return value


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            found = _discovery(path) or server.objects.get(path)
            self._answer(200, found) if found else self._refuse(404, "NotFound")

        def do_POST(self) -> None:
            sent = self._body()
            path = f"{urlsplit(self.path).path}/{sent['metadata']['name']}"
            if path in server.objects:
                self._refuse(409, "AlreadyExists")
            else:
                server.objects[path] = _stored(sent)
                self._answer(201, server.objects[path])

        def do_PUT(self) -> None:
            sent = self._body()
            path = urlsplit(self.path).path
            if path not in server.objects:
                self._refuse(404, "NotFound")
            else:
                server.objects[path] = _stored(sent)
                self._answer(200, server.objects[path])

        def do_PATCH(self) -> None:
            kind, path = self.headers["Content-Type"], urlsplit(self.path).path
            length = int(self.headers["Content-Length"])
            text = self.rfile.read(length).decode()
            if kind == _SERVER_SIDE_APPLY and path not in server.objects:
                server.objects[path] = _stored(yaml.safe_load(text))
                self._answer(201, server.objects[path])
            elif kind in _MERGE_PATCHES and path in server.objects:
                server.merge(path, text, _MERGE_PATCHES[kind])
                self._answer(200, server.objects[path])
            else:
                self._refuse(404 if kind in _MERGE_PATCHES else 415, "NotFound")

        def _body(self) -> Json:
            found: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            return found

        def _answer(self, code: int, body: Json) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _refuse(self, code: int, reason: str) -> None:
            self._answer(
                code, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code}
            )

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    return Handler


def _discovery(path: str) -> Json | None:
    """Return the discovery document at a path, None for every other path."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [version.split("/") for version in _KINDS if "/" in version]
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [
                {"name": group, "versions": [served], "preferredVersion": served}
                for group, version in groups
                for served in [{"groupVersion": f"{group}/{version}", "version": version}]
            ],
        }
    kinds = _KINDS.get(path.removeprefix("/apis/").removeprefix("/api/"))
    if kinds is None:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": path.removeprefix("/apis/").removeprefix("/api/"),
        "resources": [
            {"name": plural, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": _VERBS}
            for plural, (kind, namespaced) in kinds.items()
        ],
    }
