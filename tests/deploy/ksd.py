# SPDX-License-Identifier: Apache-2.0
"""KubeSecondaryDNS as deployed in clusters: the parts of its manifest that matter to an upgrade."""

from typing import Any

_LABELS = {"k8s-app": "secondary-dns"}
_META = {"name": "secondary-dns", "namespace": "secondary"}


def _http_probe(path: str, port: str, delay: int, period: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "initialDelaySeconds": delay, "periodSeconds": period}


def _probes(ready: tuple[str, str], live: tuple[str, str]) -> dict[str, Any]:
    return {"readinessProbe": _http_probe(*ready, 5, 10), "livenessProbe": _http_probe(*live, 15, 20)}


def _port(name: str, number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": protocol}


def _setting(name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"configMapKeyRef": {"name": "secondary-dns", "key": name}}}


_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_RESOURCES = {"requests": {"cpu": "100m", "memory": "70Mi"}}

_SERVER = {
    "name": "secondary-dns",
    "image": "registry.k8s.io/coredns/coredns:v1.10.1",
    "args": ["-conf", "/etc/coredns/Corefile"],
    "ports": [_port("dns", 5353, "UDP"), _port("healthport", 8082), _port("readyport", 8083)],
    "resources": _RESOURCES,
    "securityContext": _SECURITY,
    "terminationMessagePolicy": "FallbackToLogsOnError",
    "volumeMounts": [
        {"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True},
        {"name": "secdns-zones", "mountPath": "/zones", "readOnly": True},
    ],
} | _probes(("/ready", "readyport"), ("/health", "healthport"))

_MONITOR = {
    "name": "status-monitor",
    "image": "quay.io/kubevirt/kubesecondarydns:latest",
    "env": [_setting("DOMAIN"), _setting("NAME_SERVER_IP")],
    "ports": [_port("healthport", 8081)],
    "resources": _RESOURCES,
    "securityContext": _SECURITY,
    "terminationMessagePolicy": "FallbackToLogsOnError",
    "volumeMounts": [{"name": "secdns-zones", "mountPath": "/zones"}],
} | _probes(("/readyz", "healthport"), ("/healthz", "healthport"))

_COREFILE = {"name": "secondary-dns", "defaultMode": 420, "items": [{"key": "Corefile", "path": "Corefile"}]}

_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {**_META, "labels": _LABELS},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {
                "labels": _LABELS,
                "annotations": {"kubectl.kubernetes.io/default-container": "status-monitor"},
            },
            "spec": {
                "serviceAccountName": "secondary",
                "priorityClassName": "system-cluster-critical",
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsUser": 107,
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [_SERVER, _MONITOR],
                "volumes": [
                    {"name": "config-volume", "configMap": _COREFILE},
                    {"name": "secdns-zones", "emptyDir": {}},
                ],
            },
        },
    },
}

MANIFEST: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "secondary"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _META,
        "data": {"DOMAIN": "", "NAME_SERVER_IP": "", "Corefile": ".:5353 {\n    auto {\n    }\n}\n"},
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "secondary"},
        "rules": [
            {
                "apiGroups": ["kubevirt.io"],
                "resources": ["virtualmachineinstances"],
                "verbs": ["get", "list", "watch"],
            }
        ],
    },
    _DEPLOYMENT,
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow-ingress-to-secondary-dns", "namespace": "secondary"},
        "spec": {
            "podSelector": {"matchLabels": _LABELS},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "UDP", "port": 5353}]}],
        },
    },
)
