# SPDX-License-Identifier: Apache-2.0
"""A fake Kubernetes API server, which clients use over real HTTP.

    with Kube() as kube:
        kube.put(vmi("db", "prod", {"net1": ["10.0.0.1"]}))
        path = kube.kubeconfig(tmp_path / "config")              # for kubernetes.config.load_kube_config
        kube.wait_watches()                                      # the program under test has listed, and watches
        kube.bump("prod", "db")                                  # a heartbeat
        kube.wait_delivered()
        kube.fault(Reply.status(500), verb="list", skip=1)       # the second page of a list fails
        kube.compact()                                           # 410 for clients that continue from before
        assert not kube.requests(verb="list", since=mark)        # no new list happened

It serves what a client of VMIs needs: kubevirt.io/v1 virtualmachineinstances, namespaces, events (core and
events.k8s.io), leases, network-attachment-definitions and configmaps, with pages, resourceVersions, watches, bookmarks,
conflicts, finalizers, tokens, client certificates and RBAC. Missing: schemas, admission, server-side apply, dry runs;
a strategic merge patch is applied as a merge patch. `Kube.serve` adds other kinds.
`python -m harness.kube --help` runs one as a process.
"""

from harness.kube.access import ADMIN, MASTERS, User, service_account
from harness.kube.api import Request
from harness.kube.cluster import Kube
from harness.kube.config import ExecPlugin, ServiceAccountFiles, with_certificate
from harness.kube.faults import Drop, EndWatch, ErrorEvent, Fault, Injection, Noise, Pieces, Repeat, Reply, Slow, Stall
from harness.kube.resources import CONFIG_MAPS, EVENTS, LEASES, NAMESPACES, NETWORKS, NEW_EVENTS, VMIS, Resource
from harness.kube.server import Watch

__all__ = [
    "ADMIN",
    "CONFIG_MAPS",
    "EVENTS",
    "LEASES",
    "MASTERS",
    "NAMESPACES",
    "NETWORKS",
    "NEW_EVENTS",
    "VMIS",
    "Drop",
    "EndWatch",
    "ErrorEvent",
    "ExecPlugin",
    "Fault",
    "Injection",
    "Kube",
    "Noise",
    "Pieces",
    "Repeat",
    "Reply",
    "Request",
    "Resource",
    "ServiceAccountFiles",
    "Slow",
    "Stall",
    "User",
    "Watch",
    "service_account",
    "with_certificate",
]
