# SPDX-License-Identifier: Apache-2.0
"""The cluster and its DNS, as the tests see them."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

T = TypeVar("T")

VMIS = ("kubevirt.io", "v1", "virtualmachineinstances")
NETWORKS = ("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
SELECTOR = "k8s-app=secondary-dns"

# Timeout for a change to appear in DNS; usually it takes a fraction of a second.
DNS_SECONDS = 30.0

_ROOT = Path(__file__).resolve().parents[1]


class Cluster:
    """A cluster in which ksd-ddns runs."""

    def __init__(self) -> None:
        name = os.environ.get("KSD_CLUSTER") or "ksd-ddns"
        path = os.environ.get("KUBECONFIG") or str(_ROOT / "build" / f"{name}.kubeconfig")
        config.load_kube_config(path)
        self.core: Any = client.CoreV1Api()
        self.apps: Any = client.AppsV1Api()
        self.custom: Any = client.CustomObjectsApi()
        self.simulated = os.environ.get("FUNCTEST_SIMULATE_STATUS", "").lower() in {"1", "true", "yes"}
        self.seconds = float(os.environ.get("FUNCTEST_SECONDS") or 300)
        self.dns_given = bool(os.environ.get("FUNCTEST_DNS"))
        host, _, port = (os.environ.get("FUNCTEST_DNS") or "127.0.0.1:31111").rpartition(":")
        self.dns = (host.strip("[]"), int(port))
        domain = os.environ.get("FUNCTEST_DOMAIN")
        if domain is None:
            domain = (self._config_map() or {}).get("DOMAIN", "")
        domain = domain.strip(".")
        self.base = f"vm.{domain}." if domain else "vm."

    def _config_map(self) -> dict[str, str] | None:
        found = self._found(self.core.read_namespaced_config_map, "secondary-dns", self.namespace)
        data: dict[str, str] | None = found and found.data
        return data

    def deployment(self) -> Any | None:
        """Return the Deployment of ksd-ddns, None if there is none."""
        return self._found(self.apps.read_namespaced_deployment, "secondary-dns", self.namespace)

    def serves(self, resource: tuple[str, str, str]) -> bool:
        """Return whether the API server serves these objects."""
        return self._found(self.custom.list_cluster_custom_object, *resource, limit=1) is not None

    @staticmethod
    def _found(read: Callable[..., Any], *arguments: str, **options: Any) -> Any | None:
        try:
            return read(*arguments, **options)
        except ApiException as e:
            if e.status != 404:
                raise
            return None

    @property
    def namespace(self) -> str:
        """Where ksd-ddns runs."""
        return os.environ.get("FUNCTEST_NAMESPACE") or "secondary"

    def ask(self, name: str, rdtype: str = "A") -> tuple[str, list[str]]:
        """Return response code and sorted rdata; TIMEOUT if there is no answer."""
        question = dns.message.make_query(f"{name}.{self.base}", rdtype)
        try:
            answer, _ = dns.query.udp_with_fallback(question, self.dns[0], port=self.dns[1], timeout=3)
        except (dns.exception.Timeout, OSError):
            return "TIMEOUT", []
        wanted = dns.rdatatype.from_text(rdtype)
        found = sorted(str(item) for rrset in answer.answer if rrset.rdtype == wanted for item in rrset)
        return dns.rcode.to_text(answer.rcode()), found

    def wait_dns(self, name: str, wanted: tuple[str, list[str]]) -> None:
        """Wait until the answer is `wanted` several times in a row, because each replica has its own primary."""
        in_a_row = 0

        def settled() -> bool:
            nonlocal in_a_row
            in_a_row = in_a_row + 1 if self.ask(name) == wanted else 0
            return in_a_row >= 5

        wait(settled, lambda: f"{name}.{self.base}: {self.ask(name)}, not {wanted}", seconds=DNS_SECONDS)


def wait(condition: Callable[[], T], what: Callable[[], str], *, seconds: float) -> T:
    """Return what `condition` returns once it is true. Raises AssertionError with `what` after the timeout."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what()}"
        time.sleep(0.1)
    return value


class Namespace:
    """A namespace of one test: networks and VMs in it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def network(self, name: str, address: str) -> None:
        """Create a network, or replace it, whose only machine gets `address`."""
        plugin = {"type": "ptp", "ipam": {"type": "static", "addresses": [{"address": f"{address}/24"}]}}
        body = {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"config": json.dumps({"cniVersion": "0.3.1", "name": name, "plugins": [plugin]})},
        }
        try:
            self.cluster.custom.delete_namespaced_custom_object(*self._path(NETWORKS), name)
        except ApiException as e:
            if e.status != 404:
                raise
        self.cluster.custom.create_namespaced_custom_object(*self._path(NETWORKS), body)

    def start(self, name: str, interfaces: dict[str, str]) -> None:
        """Start a VM whose interfaces are in the networks of these names, and wait for its addresses."""
        body = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstance",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {
                "domain": {
                    "devices": {
                        "disks": [{"name": "containerdisk", "disk": {"bus": "virtio"}}],
                        "interfaces": [{"name": interface, "bridge": {}} for interface in interfaces],
                    },
                    "resources": {"requests": {"memory": "128Mi"}},
                },
                "networks": [
                    {"name": interface, "multus": {"networkName": network}} for interface, network in interfaces.items()
                ],
                "terminationGracePeriodSeconds": 0,
                "volumes": [
                    {
                        "name": "containerdisk",
                        "containerDisk": {"image": "quay.io/kubevirt/cirros-container-disk-demo:v1.5.0"},
                    }
                ],
            },
        }
        self.cluster.custom.create_namespaced_custom_object(*self._path(VMIS), body)
        if self.cluster.simulated:
            self.simulate(name)
        wait(
            lambda: len(self.addresses(name)) == len(interfaces),
            lambda: f"addresses of {self.name}/{name}: {self.addresses(name)}",
            seconds=self.cluster.seconds,
        )

    def simulate(self, name: str) -> None:
        """Write the status that a running VM with the interfaces of its spec would have."""
        vmi = self._vmi(name)
        interfaces = []
        for network in vmi["spec"]["networks"]:
            found = self.cluster.custom.get_namespaced_custom_object(
                *self._path(NETWORKS), network["multus"]["networkName"]
            )
            (plugin,) = json.loads(found["spec"]["config"])["plugins"]
            address = plugin["ipam"]["addresses"][0]["address"].partition("/")[0]
            interfaces.append(
                {"name": network["name"], "ipAddress": address, "ipAddresses": [address], "infoSource": "domain"}
            )
        # The type has no status subresource, so the status is written with the object.
        self._patch(name, {"status": {"phase": "Running", "interfaces": interfaces}})

    def unplug(self, name: str, interface: str) -> None:
        """Remove an interface from a simulated VM."""
        vmi = self._vmi(name)
        keep = [item for item in vmi["spec"]["networks"] if item["name"] != interface]
        devices = [item for item in vmi["spec"]["domain"]["devices"]["interfaces"] if item["name"] != interface]
        self._patch(name, {"spec": {"networks": keep, "domain": {"devices": {"interfaces": devices}}}})
        self.simulate(name)

    def stop(self, name: str) -> None:
        """Delete a VM and wait until it is gone."""
        self.cluster.custom.delete_namespaced_custom_object(*self._path(VMIS), name)

        def gone() -> bool:
            try:
                self._vmi(name)
            except ApiException as e:
                if e.status != 404:
                    raise
                return True
            return False

        wait(gone, lambda: f"{self.name}/{name} is still there", seconds=self.cluster.seconds)

    def addresses(self, name: str) -> dict[str, str]:
        """Return the IPv4 address of each interface in the status."""
        found = self._vmi(name).get("status", {}).get("interfaces") or []
        return {item["name"]: item["ipAddress"] for item in found if item.get("name") and item.get("ipAddress")}

    def _vmi(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.custom.get_namespaced_custom_object(*self._path(VMIS), name)
        return found

    def _patch(self, name: str, patch: dict[str, Any]) -> None:
        self.cluster.custom.patch_namespaced_custom_object(*self._path(VMIS), name, patch)

    def _path(self, resource: tuple[str, str, str]) -> tuple[str, str, str, str]:
        group, version, plural = resource
        return group, version, self.name, plural
