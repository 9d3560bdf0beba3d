# SPDX-License-Identifier: Apache-2.0
"""VMs in a cluster, and their names in DNS."""

import pytest

from functest.cluster import SELECTOR, Cluster, Namespace, wait


def test_a_vm_is_found_by_its_interface_and_by_its_name(cluster: Cluster, namespace: Namespace) -> None:
    namespace.network("ptp-conf", "10.10.0.5")
    namespace.start("vmi-sec", {"nic1": "ptp-conf"})
    address = namespace.addresses("vmi-sec")["nic1"]
    cluster.wait_dns(f"nic1.vmi-sec.{namespace.name}", ("NOERROR", [address]))
    cluster.wait_dns(f"vmi-sec.{namespace.name}", ("NOERROR", [address]))


def test_a_vm_with_two_interfaces_has_a_name_for_each(cluster: Cluster, namespace: Namespace) -> None:
    namespace.network("first", "10.10.1.5")
    namespace.network("second", "10.10.2.5")
    namespace.start("vmi-two", {"nic1": "first", "nic2": "second"})
    cluster.wait_dns(f"nic1.vmi-two.{namespace.name}", ("NOERROR", ["10.10.1.5"]))
    cluster.wait_dns(f"nic2.vmi-two.{namespace.name}", ("NOERROR", ["10.10.2.5"]))
    cluster.wait_dns(f"vmi-two.{namespace.name}", ("NOERROR", ["10.10.1.5"]))


def test_a_vm_that_comes_back_with_another_address_is_found_there(cluster: Cluster, namespace: Namespace) -> None:
    namespace.network("ptp-conf", "10.10.0.5")
    namespace.start("vmi-sec", {"nic1": "ptp-conf"})
    cluster.wait_dns(f"nic1.vmi-sec.{namespace.name}", ("NOERROR", ["10.10.0.5"]))
    namespace.stop("vmi-sec")
    namespace.network("ptp-conf", "10.10.0.6")
    namespace.start("vmi-sec", {"nic1": "ptp-conf"})
    cluster.wait_dns(f"nic1.vmi-sec.{namespace.name}", ("NOERROR", ["10.10.0.6"]))


def test_a_vm_that_is_deleted_is_no_longer_found(cluster: Cluster, namespace: Namespace) -> None:
    namespace.network("ptp-conf", "10.10.0.5")
    namespace.start("vmi-sec", {"nic1": "ptp-conf"})
    cluster.wait_dns(f"vmi-sec.{namespace.name}", ("NOERROR", ["10.10.0.5"]))
    namespace.stop("vmi-sec")
    cluster.wait_dns(f"nic1.vmi-sec.{namespace.name}", ("NXDOMAIN", []))
    cluster.wait_dns(f"vmi-sec.{namespace.name}", ("NXDOMAIN", []))


def test_an_interface_that_is_unplugged_is_no_longer_found(cluster: Cluster, namespace: Namespace) -> None:
    if not cluster.simulated:
        pytest.skip("an interface is unplugged by migrating the VM, which needs two nodes")
    namespace.network("first", "10.10.1.5")
    namespace.network("second", "10.10.2.5")
    namespace.start("vmi-two", {"nic1": "first", "nic2": "second"})
    cluster.wait_dns(f"nic1.vmi-two.{namespace.name}", ("NOERROR", ["10.10.1.5"]))
    namespace.unplug("vmi-two", "nic1")
    cluster.wait_dns(f"nic1.vmi-two.{namespace.name}", ("NXDOMAIN", []))
    cluster.wait_dns(f"vmi-two.{namespace.name}", ("NOERROR", ["10.10.2.5"]))


def test_names_survive_that_all_pods_are_replaced(cluster: Cluster, namespace: Namespace) -> None:
    deployment = cluster.deployment()
    if deployment is None:
        pytest.skip("there is no Deployment secondary-dns, so there are no pods to replace")
    if not deployment.status or not deployment.status.ready_replicas:
        pytest.skip("the Deployment secondary-dns has no pods that are ready")
    namespace.network("ptp-conf", "10.10.0.5")
    namespace.start("vmi-sec", {"nic1": "ptp-conf"})
    cluster.wait_dns(f"vmi-sec.{namespace.name}", ("NOERROR", ["10.10.0.5"]))

    def pods() -> set[str]:
        found = cluster.core.list_namespaced_pod(cluster.namespace, label_selector=SELECTOR).items
        return {pod.metadata.uid for pod in found}

    before = pods()
    cluster.core.delete_collection_namespaced_pod(cluster.namespace, label_selector=SELECTOR)

    def replaced() -> bool:
        found = cluster.deployment()
        return not before & pods() and found is not None and found.status.ready_replicas == found.spec.replicas

    wait(replaced, lambda: "the pods are not replaced", seconds=cluster.seconds)
    cluster.wait_dns(f"vmi-sec.{namespace.name}", ("NOERROR", ["10.10.0.5"]))
