# SPDX-License-Identifier: Apache-2.0
"""Replacing KubeSecondaryDNS in place and restoring it, with kubectl's own merge."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import kubernetes_validate
import pytest

from harness.kube import Kube
from tests.deploy import ksd, rendered
from tests.deploy.api_server import ApiServer
from tests.deploy.pod import Pod
from tests.deploy.rendered import BUNDLED, one

INSTALLED = {
    "apply": ["apply"],
    "create": ["create"],
    "server-side apply": ["apply", "--server-side"],
}
HANDLERS = {"httpGet", "tcpSocket", "exec", "grpc"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as made:
        yield made


def install(server: ApiServer, *command: str) -> None:
    """Install KubeSecondaryDNS with kubectl."""
    manifest = {"apiVersion": "v1", "kind": "List", "items": ksd.MANIFEST}
    server.kubectl(*command, "-f", "-", stdin=json.dumps(manifest))


def apply(server: ApiServer, variant: str) -> dict[str, Any]:
    """Apply a variant of deploy/ with kubectl; return the resulting Deployment."""
    server.kubectl("apply", "-k", str(rendered.DEPLOY / variant))
    return server.object("Deployment", "secondary-dns")


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def ports_of(pod: dict[str, Any]) -> set[tuple[int, str]]:
    return {(port["containerPort"], port["protocol"]) for item in pod["containers"] for port in item.get("ports", ())}


def problems(deployment: dict[str, Any]) -> list[str]:
    """Return what the API server would reject in it, or what would not work."""
    kubernetes_validate.validate(deployment, "1.36", strict=True)
    pod = pod_of(deployment)
    volumes = [item["name"] for item in pod["volumes"]]
    found = [f"volume {item['name']}: {sorted(item)}" for item in pod["volumes"] if len(item) != 2]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        name, ports, mounts = container["name"], container.get("ports", ()), container["volumeMounts"]
        for kind in ("readinessProbe", "livenessProbe"):
            probe = container.get(kind)
            if probe is None:
                continue
            handlers = HANDLERS & set(probe)
            if len(handlers) != 1:
                found.append(f"{name}: {kind} with {sorted(handlers)}")
            for handler in handlers & {"httpGet", "tcpSocket"}:
                port = probe[handler]["port"]
                if not isinstance(port, int) and port not in {item["name"] for item in ports}:
                    found.append(f"{name}: {kind} asks port {port}, which is not there")
        for what, values in {
            "names of ports": [item["name"] for item in ports],
            "ports": [(item["containerPort"], item["protocol"]) for item in ports],
            "paths of mounts": [item["mountPath"] for item in mounts],
        }.items():
            if len(values) != len(set(values)):
                found.append(f"{name}: {what} {values}")
        found += [f"{name}: no volume {item['name']}" for item in mounts if item["name"] not in volumes]
    return found


KEYS = ("mountPath", "containerPort", "name")  # by what kubectl finds an item of a list


def missing(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Return what of `wanted` is not in `found`, where lists of ports, mounts and named things may hold more."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        if "mountPath" in wanted:
            wanted = {"readOnly": False, **wanted}
        return [line for key in wanted for line in missing(wanted[key], found.get(key), f"{path}/{key}")]
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        key = next((key for key in KEYS if key in wanted[0]), None)
        if key is not None:
            by_key = {item[key]: item for item in found or ()}
            return [line for item in wanted for line in missing(item, by_key.get(item[key]), f"{path}/{item[key]}")]
    # Absent, null and false are equal to the API server.
    return [] if (wanted or None) == (found or None) else [f"{path}: {found}, not {wanted}"]


@pytest.mark.parametrize("how", INSTALLED)
@pytest.mark.parametrize("variant", BUNDLED)
def test_kubectl_apply_replaces_kubesecondarydns(variant: str, how: str, server: ApiServer) -> None:
    install(server, *INSTALLED[how])
    assert problems(server.object("Deployment", "secondary-dns")) == []
    merged = apply(server, variant)
    assert problems(merged) == []
    pod = pod_of(merged)
    assert ports_of(pod) >= {(5353, "UDP"), (5353, "TCP"), (8081, "TCP")}
    assert [item["name"] for item in pod["containers"]] == ["secondary-dns", "status-monitor"]
    for item in rendered.documents(variant):
        assert missing(item, server.object(item["kind"], item["metadata"]["name"])) == []
    again = apply(server, variant)
    assert again == merged, "a second apply changes nothing, and replaces no pod"


@pytest.mark.parametrize("how", INSTALLED)
@pytest.mark.parametrize("variant", BUNDLED)
def test_kubectl_apply_restores_kubesecondarydns(variant: str, how: str, server: ApiServer) -> None:
    install(server, *INSTALLED[how])
    before = {kind: server.object(kind, "secondary-dns") for kind in ("Deployment", "ConfigMap")}
    apply(server, variant)
    install(server, "apply")
    assert problems(server.object("Deployment", "secondary-dns")) == []
    assert {kind: server.object(kind, "secondary-dns") for kind in before} == before


@pytest.mark.parametrize("how", INSTALLED)
def test_kubectl_apply_switches_between_the_bundled_servers(how: str, server: ApiServer) -> None:
    server.kubectl(*INSTALLED[how], "-k", str(rendered.DEPLOY / "bind9"))
    for variant in ("knot", "bind9"):
        merged = apply(server, variant)
        assert problems(merged) == []
        assert missing(one(rendered.documents(variant), "Deployment"), merged) == []


@pytest.mark.parametrize("variant", [*BUNDLED, "ksd"])
def test_the_documented_command_removes_what_a_merge_leaves(variant: str, server: ApiServer) -> None:
    install(server, "create")
    apply(server, variant)
    manifest = rendered.text(rendered.DEPLOY / variant)
    server.kubectl("replace", "--save-config", "-f", "-", stdin=manifest)
    replaced = server.object("Deployment", "secondary-dns")
    assert problems(replaced) == []
    with ApiServer(server.directory) as empty:
        assert apply(empty, variant) == replaced, "as if KubeSecondaryDNS had never been there"
    assert apply(server, variant) == replaced


def test_the_documented_command_exposes_both_protocols(server: ApiServer) -> None:
    port = {"protocol": "UDP", "port": 31111, "nodePort": 31111, "targetPort": 5353}
    meta = {"name": "dns-nodeport", "namespace": "secondary"}
    spec = {"type": "NodePort", "selector": {"k8s-app": "secondary-dns"}, "ports": [port]}
    exposed = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    server.kubectl("create", "-f", "-", stdin=json.dumps(exposed))
    server.kubectl("replace", "--save-config", "-f", "-", stdin=rendered.text(rendered.DEPLOY / "nodeport"))
    server.kubectl("apply", "-k", str(rendered.DEPLOY / "nodeport"))
    ports = server.object("Service", "dns-nodeport")["spec"]["ports"]
    assert {(item["protocol"], item["nodePort"]) for item in ports} == {("UDP", 31111), ("TCP", 31111)}


def test_a_merge_leaves_what_the_page_lists(server: ApiServer) -> None:
    install(server, "create")
    merged = pod_of(apply(server, "bind9"))
    fresh = pod_of(one(rendered.documents("bind9"), "Deployment"))
    dns, monitor = merged["containers"]
    assert {port["containerPort"] for port in dns["ports"]} == {5353, 8082, 8083}
    assert {item["mountPath"] for item in dns["volumeMounts"]} == {"/zones", "/etc/coredns"}
    left = {item["name"] for item in merged["volumes"]} - {item["name"] for item in fresh["volumes"]}
    assert left == {"config-volume"}
    assert {item["name"] for item in monitor["env"] if "valueFrom" in item} == {"DOMAIN", "NAME_SERVER_IP"}
    assert merged["securityContext"]["runAsUser"] == 107
    # Its volume needs it: without the key, no pod starts.
    assert "Corefile" in server.object("ConfigMap", "secondary-dns")["data"]


@pytest.mark.parametrize("variant", BUNDLED)
def test_a_pod_works_with_what_a_merge_leaves(variant: str, cluster: Kube, server: ApiServer) -> None:
    install(server, "create")
    apply(server, variant)
    documents = list(server.objects.values())
    cluster.authorize(documents)
    with Pod(documents, kube=cluster) as pod:
        pod.initialize()
        pod.start()
        pod.wait_ready()
        question = dns.message.make_query("nic1.vmi-sec.secondary-test.vm.", "A")
        for ask in (dns.query.udp, dns.query.tcp):
            with pod.network():
                answer = ask(question, "127.0.0.1", port=5353, timeout=5)
            assert [str(item) for rrset in answer.answer for item in rrset] == ["10.10.0.5"]
