# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the cluster, and a namespace for each test."""

import secrets
from collections.abc import Iterator

import pytest
from kubernetes.client.exceptions import ApiException

from functest.cluster import NETWORKS, VMIS, Cluster, Namespace, wait


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the cluster of KUBECONFIG; skip all tests if they cannot run there."""
    cluster = Cluster()
    for resource, program in ((VMIS, "KubeVirt"), (NETWORKS, "Multus")):
        if not cluster.serves(resource):
            pytest.skip(f"{program} is not installed: the cluster has no {resource[2]}.{resource[0]}")
    if not cluster.dns_given and cluster.deployment() is None:
        pytest.skip(
            f"there is no Deployment secondary-dns in namespace {cluster.namespace}: deploy ksd-ddns "
            "(make cluster-sync), or say where it answers (FUNCTEST_DNS=address:port)"
        )
    return cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """Yield a new namespace, which is deleted afterwards."""
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
