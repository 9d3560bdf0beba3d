"""Fixtures: the cluster, and a namespace for each test."""

import secrets
from collections.abc import Iterator

import pytest
from kubernetes.client.exceptions import ApiException

from functest.cluster import Cluster, Namespace, wait


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the cluster of KUBECONFIG."""
    return Cluster()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """Yield a new namespace, which is removed with all that is in it."""
    name = f"secondary-test-{secrets.token_hex(3)}"
    cluster.core.create_namespace({"metadata": {"name": name}})
    yield Namespace(cluster, name)
    cluster.core.delete_namespace(name)

    def gone() -> bool:
        try:
            cluster.core.read_namespace(name)
        except ApiException as e:
            return bool(e.status == 404)
        return False

    wait(gone, lambda: f"namespace {name} is still there", seconds=cluster.seconds)
