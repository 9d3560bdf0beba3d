# SPDX-License-Identifier: Apache-2.0
"""The rendered manifests: names, permissions, restrictions, and that all parts fit together."""

import copy
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from harness.servers import program
from ksd_ddns import __version__, cli
from ksd_ddns.config.settings import Settings
from tests.deploy import rendered
from tests.deploy.rendered import BUNDLED, SERVICES, VARIANTS, one

LABEL = {"k8s-app": "secondary-dns"}
OLDEST, NEWEST = "1.27", "1.36"


@pytest.fixture(params=VARIANTS)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered.documents(request.param)


@pytest.fixture(params=BUNDLED)
def bundled(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered.documents(request.param)


def pod_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def containers_of(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pod = pod_of(objects)
    return [*pod.get("initContainers", ()), *pod["containers"]]


# Schemas


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("variant", [*VARIANTS, "secondaries", *SERVICES])
def test_every_object_is_valid_and_has_only_known_fields(variant: str, version: str) -> None:
    for item in rendered.documents(variant):
        kubernetes_validate.validate(item, version, strict=True)


def test_the_validator_finds_a_misplaced_field() -> None:
    deployment = copy.deepcopy(one(rendered.documents("bind9"), "Deployment"))
    deployment["spec"]["template"]["spec"]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


# Names, as KubeSecondaryDNS has them


def test_the_objects_of_kubesecondarydns_keep_their_names(bundled: list[dict[str, Any]]) -> None:
    names = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in bundled}
    assert names >= {
        ("Namespace", "", "secondary"),
        ("ServiceAccount", "secondary", "secondary"),
        ("ClusterRole", "", "secondary"),
        ("ClusterRoleBinding", "", "secondary"),
        ("ConfigMap", "secondary", "secondary-dns"),
        ("Deployment", "secondary", "secondary-dns"),
        ("NetworkPolicy", "secondary", "allow-ingress-to-secondary-dns"),
        ("NetworkPolicy", "secondary", "ksd-allow-egress-to-dns"),
        ("NetworkPolicy", "secondary", "ksd-allow-egress-to-api-server"),
    }
    server, monitor = pod_of(bundled)["containers"]
    assert (server["name"], monitor["name"]) == ("secondary-dns", "status-monitor")
    assert one(bundled, "ConfigMap")["data"] == {"DOMAIN": "", "NAME_SERVER_IP": ""}
    assert pod_of(bundled)["priorityClassName"] == "system-cluster-critical"
    assert {"name": "dns", "containerPort": 5353, "protocol": "UDP"} in server["ports"]
    assert {"name": "status", "containerPort": 8081, "protocol": "TCP"} in monitor["ports"]
    assert monitor["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert monitor["readinessProbe"]["httpGet"]["path"].partition("?")[0] == "/readyz"


def test_every_object_has_the_label_and_the_namespace(objects: list[dict[str, Any]]) -> None:
    for item in objects:
        assert item["metadata"]["labels"].items() >= LABEL.items(), item["metadata"]
        cluster_wide = item["kind"] in {"Namespace", "ClusterRole", "ClusterRoleBinding"}
        assert item["metadata"].get("namespace") == (None if cluster_wide else "secondary"), item["metadata"]


def test_namespace_and_suffix_change_every_reference(tmp_path: Path) -> None:
    resources = [os.path.relpath(rendered.DEPLOY / name, tmp_path.resolve()) for name in ("bind9", "nodeport")]
    overlay = {"namespace": "elsewhere", "nameSuffix": "-new", "resources": resources}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    objects = list(yaml.safe_load_all(rendered.text(tmp_path)))
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        binding = one(objects, kind, "secondary-new")
        assert binding["roleRef"]["name"] == "secondary-new"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "secondary-new", "namespace": "elsewhere"}]
    pod = one(objects, "Deployment", "secondary-dns-new")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "secondary-new"
    sources = [source for item in (*pod["initContainers"], *pod["containers"]) for source in item.get("envFrom", ())]
    assert sources == [{"configMapRef": {"name": "secondary-dns-new"}}] * 2


def test_the_bundled_variants_differ_only_in_the_server() -> None:
    def without_server(variant: str) -> list[dict[str, Any]]:
        objects = rendered.documents(variant)
        pod = pod_of(objects)
        for item in containers_of(objects):
            if item["name"] == "bootstrap":
                del item["args"]
        del pod["containers"][0]
        pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "tmp"]
        return objects

    assert without_server("bind9") == without_server("knot")


# Restrictions: the rules of the pod security standard `restricted`, and what goes beyond


def test_the_namespace_admits_only_restricted_pods(objects: list[dict[str, Any]]) -> None:
    labels = one(objects, "Namespace", "secondary")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_is_restricted(objects: list[dict[str, Any]]) -> None:
    pod = pod_of(objects)
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} & set(pod)
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for volume in pod["volumes"]:
        kinds = set(volume) - {"name"}
        assert kinds <= {"configMap", "downwardAPI", "emptyDir", "projected", "secret"}, volume
    for container in containers_of(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }, container["name"]
        assert not any("hostPort" in port for port in container.get("ports", ())), container["name"]


def test_no_uid_is_set_because_openshift_chooses_one(objects: list[dict[str, Any]]) -> None:
    assert not re.search(r"runAs(User|Group)|fsGroup", str(pod_of(objects)))


def test_only_the_controller_has_a_service_account_token(objects: list[dict[str, Any]]) -> None:
    pod = pod_of(objects)
    assert pod["automountServiceAccountToken"] is False
    (tokens,) = [item["name"] for item in pod["volumes"] if "serviceAccountToken" in str(item)]
    holders = [item["name"] for item in containers_of(objects) if tokens in str(item["volumeMounts"])]
    assert holders == ["status-monitor"]


def test_writable_volumes_are_in_memory_and_limited(objects: list[dict[str, Any]]) -> None:
    for volume in pod_of(objects)["volumes"]:
        if "emptyDir" in volume:
            assert volume["emptyDir"]["medium"] == "Memory"
            assert volume["emptyDir"]["sizeLimit"]
    for container in containers_of(objects):
        assert container["resources"]["limits"]["memory"], container["name"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}, container["name"]


def test_the_controller_cannot_write_to_the_zone_directory(bundled: list[dict[str, Any]]) -> None:
    monitor = pod_of(bundled)["containers"][1]
    (mount,) = [item for item in monitor["volumeMounts"] if item["mountPath"] == "/zones"]
    assert mount["readOnly"] is True


def test_rbac_grants_only_what_is_needed(objects: list[dict[str, Any]]) -> None:
    def granted(kind: str) -> set[tuple[str, str, str, tuple[str, ...]]]:
        return {
            (group, resource, verb, tuple(rule.get("resourceNames", ())))
            for rule in one(objects, kind, "secondary")["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    vmis = {("kubevirt.io", "virtualmachineinstances", verb, ()) for verb in ("get", "list", "watch")}
    others = {("", "events", "create", ()), ("", "namespaces", "get", ("kube-system",))}
    assert granted("ClusterRole") == vmis | others
    lease = ("secondary-dns",)
    assert granted("Role") == {
        ("coordination.k8s.io", "leases", "get", lease),
        ("coordination.k8s.io", "leases", "update", lease),
        ("coordination.k8s.io", "leases", "create", ()),
    }


def test_secondaries_are_restricted_and_cannot_reach_the_api_server() -> None:
    objects = rendered.documents("secondaries")
    primary = pod_of(objects)
    secondaries = one(objects, "Deployment", "secondary-dns-secondaries")["spec"]["template"]
    pod = secondaries["spec"]
    for part in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "priorityClassName"):
        assert pod[part] == primary[part]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == primary["containers"][0]["securityContext"]
    assert {item["name"] for item in pod["volumes"]} == {"secdns-zones", "transfer-key"}
    assert one(objects, "Deployment")["spec"]["replicas"] == 1


# The parts fit each other


def test_volumes_ports_and_probes_refer_to_each_other(objects: list[dict[str, Any]]) -> None:
    volumes = [item["name"] for item in pod_of(objects)["volumes"]]
    used = {mount["name"] for item in containers_of(objects) for mount in item["volumeMounts"]}
    assert used == set(volumes)
    assert len(volumes) == len(used)
    ports = {
        (item["containerPort"], item["protocol"]) for each in pod_of(objects)["containers"] for item in each["ports"]
    }
    for container in pod_of(objects)["containers"]:
        for kind in ("readinessProbe", "livenessProbe"):
            probe = container[kind].get("httpGet") or container[kind]["tcpSocket"]
            # By number: kubectl apply may keep the name of a port from an earlier manifest.
            assert (probe["port"], "TCP") in ports, (container["name"], kind)


def selector_of(item: dict[str, Any]) -> dict[str, str]:
    """Return the labels by which an object selects pods."""
    spec = item["spec"]
    selector: dict[str, Any] = spec["podSelector" if item["kind"] == "NetworkPolicy" else "selector"]
    if item["kind"] == "Service":
        return selector
    assert set(selector) == {"matchLabels"}
    labels: dict[str, str] = selector["matchLabels"]
    return labels


@pytest.mark.parametrize("variant", [*VARIANTS, "secondaries"])
def test_each_selector_selects_the_pods_of_one_deployment(variant: str) -> None:
    objects = [*rendered.documents(variant), *(item for name in SERVICES for item in rendered.documents(name))]
    pods = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in objects
        if item["kind"] == "Deployment"
    }
    selected: dict[str, set[str]] = {}
    for item in objects:
        if item["kind"] in {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}:
            selector = selector_of(item)
            assert selector, item["metadata"]
            (found,) = [name for name, labels in pods.items() if labels.items() >= selector.items()]
            selected.setdefault(found, set()).add(item["kind"])
            if item["kind"] == "Deployment":
                assert found == item["metadata"]["name"]
    assert set(selected) == set(pods)
    assert all(kinds >= {"NetworkPolicy", "PodDisruptionBudget"} for kinds in selected.values())


def test_the_deployment_has_the_selector_of_kubesecondarydns(objects: list[dict[str, Any]]) -> None:
    """It is immutable in an existing Deployment."""
    assert selector_of(one(objects, "Deployment")) == LABEL


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_services_target_port_5353_over_udp_and_tcp(service: str, bundled: list[dict[str, Any]]) -> None:
    found = rendered.documents(service) if service else bundled
    (spec,) = [item["spec"] for item in found if item["kind"] == "Service"]
    assert spec["selector"] == LABEL
    # By number: a merge by kubectl apply may remove the name of a container port.
    assert [(item["protocol"], item["targetPort"]) for item in spec["ports"]] == [("UDP", 5353), ("TCP", 5353)]


def test_the_node_port_is_that_of_kubesecondarydns() -> None:
    (service,) = rendered.documents("nodeport")
    assert service["spec"]["type"] == "NodePort"
    assert {item["nodePort"] for item in service["spec"]["ports"]} == {31111}


def test_the_network_policies_allow_dns_and_the_api_server(bundled: list[dict[str, Any]]) -> None:
    ingress = one(bundled, "NetworkPolicy", "allow-ingress-to-secondary-dns")["spec"]["ingress"]
    for_all = [rule["ports"] for rule in ingress if "from" not in rule]
    assert for_all == [[{"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"}]]
    egress = one(bundled, "NetworkPolicy", "ksd-allow-egress-to-api-server")["spec"]["egress"]
    assert {item["port"] for rule in egress for item in rule["ports"]} == {6443, 443}


@pytest.mark.parametrize("variant", [*VARIANTS, "secondaries"])
def test_ingress_is_allowed_by_a_label_and_not_by_namespace_name(variant: str) -> None:
    policies = [item for item in rendered.documents(variant) if item["kind"] == "NetworkPolicy"]
    peers = [peer for item in policies for rule in item["spec"].get("ingress", ()) for peer in rule.get("from", ())]
    assert peers == [{"namespaceSelector": {"matchLabels": {"ksd-ddns/monitoring": "allowed"}}}]
    # Egress is limited by the name label that the API server sets, not by labels that others can set.
    targets = [peer for item in policies for rule in item["spec"].get("egress", ()) for peer in rule.get("to", ())]
    namespaces = {tuple(peer["namespaceSelector"]["matchLabels"]) for peer in targets if "namespaceSelector" in peer}
    assert namespaces == {("kubernetes.io/metadata.name",)}


@pytest.mark.parametrize("variant", [*VARIANTS, "secondaries"])
def test_the_images_have_the_tag_of_this_version(variant: str) -> None:
    deployments = [item for item in rendered.documents(variant) if item["kind"] == "Deployment"]
    pods = [item["spec"]["template"]["spec"] for item in deployments]
    images = {item["image"] for pod in pods for item in (*pod.get("initContainers", ()), *pod["containers"])}
    assert {image.rpartition(":")[2] for image in images} == {f"v{__version__}"}


def test_every_variable_is_a_setting(objects: list[dict[str, Any]]) -> None:
    known = {name.upper() for name in Settings.model_fields}
    given = {item["name"] for container in containers_of(objects) for item in container.get("env", ())}
    given |= set(one(objects, "ConfigMap")["data"])
    assert given <= known


def test_a_drain_evicts_one_pod_at_a_time_and_never_blocks(objects: list[dict[str, Any]]) -> None:
    budget = one(objects, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    deployment = one(objects, "Deployment")["spec"]
    assert deployment["replicas"] > 1
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_service_links_set_no_variables(objects: list[dict[str, Any]]) -> None:
    assert pod_of(objects)["enableServiceLinks"] is False


# Servers accept what the init container writes


def bootstrap_of(objects: list[dict[str, Any]], directory: Path) -> Iterator[str]:
    """Yield the arguments of the init container, with another directory."""
    (container,) = pod_of(objects)["initContainers"]
    command: list[str] = [*container["command"], *container["args"]]
    assert command[:2] == ["ksd-ddns", "bootstrap"]
    yield from (str(directory) if argument == "/zones" else argument for argument in command[1:])


@pytest.mark.parametrize(("domain", "address"), [("", ""), ("apps.example.com", "192.0.2.53,2001:db8::53")])
@pytest.mark.parametrize("variant", BUNDLED)
def test_the_servers_accept_their_configuration(
    variant: str, domain: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOMAIN", domain)
    monkeypatch.setenv("NAME_SERVER_IP", address)
    assert cli.main(list(bootstrap_of(rendered.documents(variant), tmp_path))) == 0
    command = {
        "bind9": [program("named-checkconf"), "-z", str(tmp_path / "named.conf")],
        "knot": [program("knotc"), "-c", str(tmp_path / "knot.conf"), "conf-check"],
    }[variant]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    container = pod_of(rendered.documents(variant))["containers"][0]
    written = {f"/zones/{path.name}" for path in tmp_path.iterdir()}
    assert container["args"][-1] in written
