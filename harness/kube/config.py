# SPDX-License-Identifier: Apache-2.0
"""Configuration files of the real kubernetes client."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.certificates import Pair


@dataclass(frozen=True, slots=True)
class ServiceAccountFiles:
    """The files of the service account in a pod, and the environment."""

    token: Path
    ca: Path
    namespace: Path
    environment: Mapping[str, str]


def write_service_account(directory: Path, *, port: int, token: str, ca: Path, namespace: str) -> ServiceAccountFiles:
    """Write the files that the kubelet mounts at /var/run/secrets/kubernetes.io/serviceaccount."""
    directory.mkdir(parents=True, exist_ok=True)
    files = ServiceAccountFiles(
        directory / "token",
        directory / "ca.crt",
        directory / "namespace",
        {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)},
    )
    files.token.write_text(token)
    files.ca.write_bytes(ca.read_bytes())
    files.namespace.write_text(namespace)
    return files


def write_kubeconfig(
    path: Path, *, server: str, ca: Path | None, user: Mapping[str, Any], namespace: str = "default"
) -> Path:
    """Write a kubeconfig with one context."""
    cluster = {"server": server} | ({"certificate-authority": str(ca)} if ca else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": cluster}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "user", "namespace": namespace}}],
        "current-context": "fake",
        "preferences": {},
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    path.chmod(0o600)
    return path


def with_certificate(pair: Pair) -> dict[str, Any]:
    """Return the user of a kubeconfig with a client certificate."""
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


_PLUGIN = """\
#!{python}
import json, pathlib
calls = pathlib.Path({calls!r})
calls.write_text(str(int(calls.read_text() or 0) + 1))
status = json.loads(pathlib.Path({status!r}).read_text())
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""


class ExecPlugin:
    """A credential plugin as of cloud providers: it prints the token and its expiry. `calls` counts its runs."""

    def __init__(self, directory: Path, token: str, *, expires: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._status, self._calls, program = directory / "status", directory / "calls", directory / "plugin"
        self._calls.write_text("")
        program.write_text(_PLUGIN.format(python=sys.executable, calls=str(self._calls), status=str(self._status)))
        program.chmod(0o755)
        self.user = {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": str(program),
                "args": [],
                "interactiveMode": "Never",
            }
        }
        self.tell(token, expires=expires)

    def tell(self, token: str, *, expires: str | None = None) -> None:
        """Make the plugin print another token; `expires` is a time as in 2026-03-01T08:00:00Z."""
        status = {"token": token} | ({"expirationTimestamp": expires} if expires else {})
        self._status.write_text(json.dumps(status))

    @property
    def calls(self) -> int:
        return int(self._calls.read_text() or 0)
