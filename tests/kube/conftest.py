# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the real client, connected to the fake API server."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config
from kubernetes.client import Configuration

from harness.kube import Kube
from harness.kube.client import Client
from tests.kube_fixtures import kube, make_kube

__all__ = ["api", "connect", "kube", "make_kube"]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Yield a factory of clients of a `Kube` or a kubeconfig; attributes of `Configuration` are arguments.

    `user` is the kubeconfig's user, an administrator by default.
    """
    clients: list[Client] = []

    def make(server: Kube | Path, user: Mapping[str, Any] | None = None, **attributes: Any) -> Client:
        path = server
        if isinstance(path, Kube):
            path = path.kubeconfig(tmp_path / f"kubeconfig-{len(clients)}", user)
        configuration = Configuration()
        config.load_kube_config(str(path), client_configuration=configuration)
        for name, value in attributes.items():
            setattr(configuration, name, value)
        clients.append(Client(configuration))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def api(kube: Kube, connect: Callable[..., Client]) -> Client:
    """Return an administrator's client of `kube`."""
    return connect(kube)
