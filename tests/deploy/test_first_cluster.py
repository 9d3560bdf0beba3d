# SPDX-License-Identifier: Apache-2.0
"""The tutorial "The first cluster": its commands run against the API server of the tests and a pod of the bundled BIND.

There are no VMs: what KubeVirt does for examples/vm.yaml is done here. Blocks that are not `console` need a real
cluster, and are not run.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from harness.kube import NETWORKS, Kube, Resource
from tests import examples, tutorial
from tests.deploy import rendered
from tests.deploy.pod import Pod, require_root

PAGE = examples.ROOT / "docs" / "tutorial" / "first-cluster.md"
VM = examples.ROOT / "examples" / "vm.yaml"
VMS = Resource("kubevirt.io", "v1", "virtualmachines", "VirtualMachine", ("vm", "vms"),
               custom=True, unconditional_update=False)  # fmt: skip
POD_ADDRESS = "10.244.0.17"
SECONDS = 30.0


class Terminal:
    """Runs the commands of the page in its cluster, and between them does what KubeVirt does."""

    def __init__(self, kube: Kube, directory: Path) -> None:
        self._kube = kube
        program = directory / "kubectl"
        # The API server of the tests has no schemas.
        program.write_text(f"""#!/bin/sh
[ "$1" != apply ] || set -- "$@" --validate=false
exec {shutil.which("kubectl")} "$@"
""")
        program.chmod(0o755)
        self._environment = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "HOME": str(directory),
            "KUBECONFIG": str(kube.kubeconfig(directory / "kubeconfig")),
        }

    def run(self, command: str, expected: str) -> str:
        """Return the output of `command`. A query is repeated until it prints what is expected."""
        deadline = time.monotonic() + SECONDS
        while True:
            done = subprocess.run(
                ["sh", "-c", command.replace("31111", "5353")],
                cwd=examples.ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            self._start_and_stop_vms()
            if done.stdout == expected or not command.startswith("dig ") or time.monotonic() > deadline:
                return done.stdout
            time.sleep(0.1)

    def _start_and_stop_vms(self) -> None:
        for vm in self._kube.objects(VMS):
            namespace, name = vm["metadata"]["namespace"], vm["metadata"]["name"]
            running = self._kube.get(namespace, name) is not None
            if vm["spec"]["runStrategy"] == "Always" and not running:
                self._kube.put(started(vm, self._kube.objects(NETWORKS)))
                self._kube.put(vm | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
            elif vm["spec"]["runStrategy"] == "Halted" and running:
                self._kube.delete(namespace, name)


def started(vm: dict[str, Any], networks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the VMI of a VM that runs in these networks."""
    template = vm["spec"]["template"]
    configured = {item["metadata"]["name"]: json.loads(item["spec"]["config"]) for item in networks}
    interfaces = []
    for network in template["spec"]["networks"]:
        address = POD_ADDRESS
        if "multus" in network:
            (plugin,) = configured[network["multus"]["networkName"]]["plugins"]
            address = plugin["ipam"]["addresses"][0]["address"].partition("/")[0]
        interfaces.append({"name": network["name"], "ipAddress": address, "ipAddresses": [address]})
    return {
        "apiVersion": vm["apiVersion"],
        "kind": "VirtualMachineInstance",
        "metadata": {"name": vm["metadata"]["name"], "namespace": vm["metadata"]["namespace"]} | template["metadata"],
        "spec": template["spec"],
        "status": {"phase": "Running", "interfaces": interfaces},
    }


def test_tutorial(tmp_path: Path) -> None:
    require_root()
    documents = rendered.documents("bind9")
    kube = Kube(tls=True, auth=True)
    kube.serve(VMS)
    kube.authorize(documents)
    text = PAGE.read_text(encoding="utf-8")
    with Pod(documents, kube=kube) as pod:
        pod.initialize()
        pod.start()
        pod.wait_ready()
        with pod.network():
            printed = tutorial.with_output(text, Terminal(kube, tmp_path).run, lambda name, content: None)
    assert printed == text


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["name"] for item in items]


def test_example_vm_is_consistent() -> None:
    namespace, network, vm = yaml.safe_load_all(VM.read_text(encoding="utf-8"))
    kubernetes_validate.validate(namespace, "1.30", strict=True)
    assert [network["metadata"]["namespace"], vm["metadata"]["namespace"]] == [namespace["metadata"]["name"]] * 2
    spec = vm["spec"]["template"]["spec"]
    devices = spec["domain"]["devices"]
    # KubeVirt refuses an interface without its network, a disk without its volume, and the other way round.
    assert names(devices["interfaces"]) == names(spec["networks"])
    assert names(devices["disks"]) == names(spec["volumes"])
    assert [item["multus"]["networkName"] for item in spec["networks"] if "multus" in item] == [
        network["metadata"]["name"]
    ]
    config = json.loads(network["spec"]["config"])
    assert config["name"] == network["metadata"]["name"]


def test_example_vm_uses_the_image_of_the_functional_tests() -> None:
    image = "quay.io/kubevirt/cirros-container-disk-demo:v1.5.0"
    for path in (VM, examples.ROOT / "functest" / "cluster.py"):
        assert image in path.read_text(encoding="utf-8")
