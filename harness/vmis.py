# SPDX-License-Identifier: Apache-2.0
"""Builders of VirtualMachineInstance objects as the Kubernetes API gives them, for every test that needs VMIs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

CREATED = "2026-03-01T08:00:00Z"

type_meta = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance"}


def uid_of(namespace: str, name: str) -> str:
    """Return the UID that `vmi` gives an object of this name: always the same, different for every name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{namespace}/{name}"))


def vmi(
    name: str,
    namespace: str = "default",
    interfaces: Mapping[str, Sequence[str] | None] | None = None,
    *,
    default: str | None = "default",
    default_addresses: Sequence[str] = ("10.244.1.7",),
    default_multus: bool = False,
    phase: str = "Running",
    created: str = CREATED,
    uid: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    managed_fields: bool = False,
) -> dict[str, Any]:
    """Return a running VMI with the secondary interfaces `interfaces` (name to addresses), as the API would give it.

    An interface whose addresses are None is only in the spec; with `[]` the status lists it without an address.
    `default` names the interface of the default network, a pod network or with `default_multus` one of multus (None:
    there is no default network), and `default_addresses` are its addresses. The status also lists an interface that
    only the guest knows, without a name. `managed_fields` adds what a watch or list sends and kubectl hides, and
    brings the object to about 5 KB. Every call returns a new object that a test may change.
    """
    secondary = {"nic1": ["10.0.0.1"]} if interfaces is None else interfaces
    networks: list[dict[str, Any]] = []
    devices: list[dict[str, Any]] = []
    status: list[dict[str, Any]] = []
    if default is not None:
        networks.append(
            {"name": default, "multus": {"default": True, "networkName": "infra/primary"}}
            if default_multus
            else {"name": default, "pod": {}}
        )
        devices.append({"masquerade": {}, "model": "virtio", "name": default})
        status.append(interface(default, default_addresses, index=0))
    for index, (nic, addresses) in enumerate(secondary.items(), start=1):
        networks.append({"name": nic, "multus": {"networkName": f"{namespace}/{nic}"}})
        devices.append({"bridge": {}, "model": "virtio", "name": nic})
        if addresses is not None:
            status.append(interface(nic, addresses, index=index))
    status.append({"infoSource": "guest-agent", "interfaceName": "docker0", "ipAddress": "172.17.0.1",
                   "ipAddresses": ["172.17.0.1"], "mac": "02:42:5d:1f:00:01", "queueCount": 1})  # fmt: skip
    metadata: dict[str, Any] = {
        "annotations": {
            "kubevirt.io/latest-observed-api-version": "v1",
            "kubevirt.io/storage-observed-api-version": "v1",
            "kubevirt.io/vm-generation": "1",
            **(annotations or {}),
        },
        "creationTimestamp": created,
        "finalizers": ["kubevirt.io/virtualMachineControllerFinalize", "foregroundDeleteVirtualMachine"],
        "generation": 9,
        "labels": {"kubevirt.io/nodeName": "node01", "kubevirt.io/domain": name, **(labels or {})},
        "name": name,
        "namespace": namespace,
        "ownerReferences": [
            {"apiVersion": "kubevirt.io/v1", "blockOwnerDeletion": True, "controller": True,
             "kind": "VirtualMachine", "name": name, "uid": uid_of(namespace, f"vm-{name}")},
        ],
        "resourceVersion": "53871",
        "uid": uid_of(namespace, name) if uid is None else uid,
    }  # fmt: skip
    if managed_fields:
        metadata["managedFields"] = _managed_fields(len(networks))
    return {
        **type_meta,
        "metadata": metadata,
        "spec": {
            "architecture": "amd64",
            "domain": {
                "cpu": {"cores": 1, "maxSockets": 4, "model": "host-model", "sockets": 1, "threads": 1},
                "devices": {
                    "disks": [
                        {"disk": {"bus": "virtio"}, "name": "rootdisk"},
                        {"disk": {"bus": "virtio"}, "name": "cloudinitdisk"},
                    ],
                    "interfaces": devices,
                    "rng": {},
                },
                "features": {"acpi": {"enabled": True}, "smm": {"enabled": True}},
                "firmware": {"bootloader": {"efi": {"secureBoot": False}}, "uuid": uid_of(namespace, f"fw-{name}")},
                "machine": {"type": "q35"},
                "memory": {"guest": "2Gi", "maxGuest": "8Gi"},
                "resources": {"requests": {"memory": "2Gi"}},
            },
            "evictionStrategy": "LiveMigrate",
            "networks": networks,
            "terminationGracePeriodSeconds": 180,
            "volumes": [
                {"name": "rootdisk", "persistentVolumeClaim": {"claimName": f"{name}-root"}},
                {"cloudInitNoCloud": {"userData": "#cloud-config\npassword: fedora\n"}, "name": "cloudinitdisk"},
            ],
        },
        "status": {
            "activePods": {uid_of(namespace, f"pod-{name}"): "node01"},
            "conditions": [
                {"lastProbeTime": None, "lastTransitionTime": created, "status": "True", "type": "Ready"},
                {"lastProbeTime": None, "lastTransitionTime": None, "status": "True", "type": "LiveMigratable"},
                {"lastProbeTime": created, "lastTransitionTime": None, "status": "True", "type": "AgentConnected"},
            ],
            "currentCPUTopology": {"cores": 1, "sockets": 1, "threads": 1},
            "guestOSInfo": {"id": "fedora", "kernelRelease": "6.11.4-301.fc41.x86_64", "name": "Fedora Linux"},
            "interfaces": status,
            "launcherContainerImageVersion": "quay.io/kubevirt/virt-launcher:v1.5.0",
            "migrationMethod": "LiveMigration",
            "nodeName": "node01",
            "phase": phase,
            "phaseTransitionTimestamps": [
                {"phase": "Pending", "phaseTransitionTimestamp": created},
                {"phase": "Running", "phaseTransitionTimestamp": created},
            ],
            "qosClass": "Burstable",
            "runtimeUser": 107,
            "virtualMachineRevisionName": f"revision-start-vm-{uid_of(namespace, name)}-1",
        },
    }


def interface(name: str, addresses: Sequence[str], *, index: int = 1) -> dict[str, Any]:
    """Return an entry of `status.interfaces`; `ipAddress` is the first of `addresses`, as KubeVirt writes it."""
    entry: dict[str, Any] = {
        "infoSource": "domain, guest-agent, multus-status",
        "interfaceName": f"eth{index}",
        "linkState": "up",
        "mac": f"02:00:00:00:00:{index % 256:02x}",
        "name": name,
        "queueCount": 1,
    }
    if addresses:
        entry["ipAddress"] = addresses[0]
        entry["ipAddresses"] = list(addresses)
    return entry


def listing(vmis: Iterable[Mapping[str, Any]], *, kind: str = "List") -> dict[str, Any]:
    """Return `vmis` as the list that `kubectl get vmi -A -o json` writes (kind `List`) or that the API sends."""
    api_version = "v1" if kind == "List" else "kubevirt.io/v1"
    return {"apiVersion": api_version, "items": list(vmis), "kind": kind, "metadata": {"resourceVersion": "53912"}}


def as_json(*documents: Mapping[str, Any]) -> bytes:
    """Return the documents one after another, indented as by kubectl."""
    return "".join(json.dumps(document, indent=4) + "\n" for document in documents).encode()


def as_yaml(*documents: Mapping[str, Any]) -> bytes:
    """Return the documents as one YAML stream."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    # Without aliases, even for equal strings of uid_of: kubectl writes none.
    text: str = yaml.dump_all(documents, Dumper=dumper, default_flow_style=False, explicit_start=len(documents) > 1)
    return text.encode()


def _managed_fields(networks: int) -> list[dict[str, Any]]:
    multus: dict[str, Any] = {".": {}, "f:multus": {".": {}, "f:networkName": {}}, "f:name": {}}
    keys = {f'k:{{"name":"net{index}"}}': multus for index in range(networks)}
    return [
        {
            "apiVersion": "kubevirt.io/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {
                    "f:annotations": {".": {}, "f:kubevirt.io/vm-generation": {}},
                    "f:finalizers": {".": {}, 'v:"kubevirt.io/virtualMachineControllerFinalize"': {}},
                    "f:labels": {".": {}, "f:kubevirt.io/nodeName": {}, "f:kubevirt.io/domain": {}},
                    "f:ownerReferences": {".": {}},
                },
                "f:spec": {"f:domain": {"f:devices": {"f:disks": {}, "f:interfaces": {}}}, "f:networks": keys},
                "f:status": {
                    "f:activePods": {}, "f:conditions": {}, "f:guestOSInfo": {"f:id": {}, "f:name": {}},
                    "f:interfaces": {}, "f:nodeName": {}, "f:phase": {}, "f:phaseTransitionTimestamps": {},
                },
            },
            "manager": manager,
            "operation": "Update",
            "time": CREATED,
        }
        for manager in ("virt-controller", "virt-handler")
    ]  # fmt: skip
