# SPDX-License-Identifier: Apache-2.0
"""Namespaces that identify us: kube-system the cluster, and our own the pod."""

from pathlib import Path

import msgspec

from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.kubeconfig import SERVICE_ACCOUNT
from ksd_ddns.errors import SourceError


class _Meta(msgspec.Struct):
    uid: str


class _Namespace(msgspec.Struct):
    metadata: _Meta


def uid_of_namespace(api: Api, name: str) -> str:
    """Return the UID of a namespace; that of kube-system identifies the cluster. Raises SourceError."""
    path = f"/api/v1/namespaces/{name}"
    try:
        return msgspec.json.decode(api.get(path, {}), type=_Namespace).metadata.uid
    except msgspec.DecodeError as e:
        raise SourceError(f"the API server {api.host} answered {path} without a namespace") from e


def own_namespace(service_account: Path = SERVICE_ACCOUNT) -> str:
    """Return the namespace of the pod that this process runs in, `secondary` outside a cluster."""
    try:
        return (service_account / "namespace").read_text(encoding="utf-8").strip() or "secondary"
    except OSError:
        return "secondary"
