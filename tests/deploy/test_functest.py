# SPDX-License-Identifier: Apache-2.0
"""The functional tests for clusters, run against a pod of the bundled BIND and against incomplete clusters."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.kube import NETWORKS, VMIS, Kube, Resource
from tests.deploy import rendered
from tests.deploy.pod import Pod, require_root
from tests.deploy.rendered import ROOT, one

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")


def functest(kube: Kube, directory: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the end-to-end tests against a cluster that runs no VMs."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("FUNCTEST_")}
    environment = {
        "KUBECONFIG": str(kube.kubeconfig(directory / "kubeconfig")),
        "FUNCTEST_SIMULATE_STATUS": "true",
        "FUNCTEST_SECONDS": "20",
    }
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-rs", "functest", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=mine | environment | variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("configured", [True, False], ids=["config-map", "no-config-map"])
def test_the_functional_tests_pass(configured: bool, tmp_path: Path) -> None:
    require_root()
    documents = rendered.documents("bind9")
    one(documents, "ConfigMap")["data"]["DOMAIN"] = "secondary.io"
    kube = Kube(tls=True, auth=True)
    kube.authorize(documents)
    variables = {"FUNCTEST_DNS": "127.0.0.1:5353"}
    if configured:
        kube.put(one(documents, "ConfigMap"))
    else:
        variables["FUNCTEST_DOMAIN"] = "secondary.io"
    with Pod(documents, kube=kube) as pod:
        pod.initialize()
        pod.start()
        pod.wait_ready()
        with pod.network():
            done = functest(kube, tmp_path, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed, 1 skipped", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= 5
    assert "there is no Deployment secondary-dns, so there are no pods to replace" in done.stdout


def test_the_functional_tests_skip_without_a_deployment(tmp_path: Path) -> None:
    with Kube() as kube:
        done = functest(kube, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"\d+ skipped in", done.stdout), done.stdout
        assert "there is no Deployment secondary-dns in namespace secondary: deploy ksd-ddns" in done.stdout
        assert not kube.requests(verb="create"), "the cluster is left alone"


@pytest.mark.parametrize(("resource", "program"), [(VMIS, "KubeVirt"), (NETWORKS, "Multus")], ids=["vmis", "networks"])
def test_the_functional_tests_skip_without_the_required_kinds(resource: Resource, program: str, tmp_path: Path) -> None:
    with Kube() as kube:
        del kube.api.resources[resource.group, resource.version, resource.plural]
        done = functest(kube, tmp_path, FUNCTEST_DNS="127.0.0.1:9")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{program} is not installed" in done.stdout


def test_the_functional_tests_skip_replacing_pods_without_ready_pods(tmp_path: Path) -> None:
    with Kube() as kube:
        kube.serve(DEPLOYMENTS)
        kube.put(one(rendered.documents("bind9"), "Deployment"))
        done = functest(kube, tmp_path, "-k", "replaced")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the Deployment secondary-dns has no pods that are ready" in done.stdout
