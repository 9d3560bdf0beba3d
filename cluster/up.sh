#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Create a kind cluster with KubeVirt and Multus, with its port 31111 on 127.0.0.1:31111. With KUBECONFIG, install KubeVirt
# and Multus into that cluster if they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh

KUBEVIRT_VERSION=${KUBEVIRT_VERSION:-v1.5.0}
MULTUS_VERSION=${MULTUS_VERSION:-v4.1.4}
CNI_PLUGINS_VERSION=${CNI_PLUGINS_VERSION:-v1.6.2}
releases=https://github.com

if [ -n "${OURS:-}" ]; then
    need kind
    mkdir -p build
    kind get clusters | grep -qx "$KSD_CLUSTER" || kind create cluster --name "$KSD_CLUSTER" --config cluster/kind.yaml --wait 3m
    kind get kubeconfig --name "$KSD_CLUSTER" >"$KUBECONFIG"
    # kind's nodes lack the CNI plugin "static".
    for node in $(kind get nodes --name "$KSD_CLUSTER"); do
        cluster/cli.sh ssh "$node" bash -euc "
            [ ! -e /opt/cni/bin/static ] || exit 0
            machine=\$(dpkg --print-architecture)
            curl -sSfL $releases/containernetworking/plugins/releases/download/$CNI_PLUGINS_VERSION/cni-plugins-linux-\$machine-$CNI_PLUGINS_VERSION.tgz |
                tar -xz -C /opt/cni/bin" </dev/null
    done
fi

need kubectl
if ! kubectl get crd network-attachment-definitions.k8s.cni.cncf.io >/dev/null 2>&1; then
    kubectl apply -f https://raw.githubusercontent.com/k8snetworkplumbingwg/multus-cni/"$MULTUS_VERSION"/deployments/multus-daemonset.yml
    kubectl -n kube-system rollout status daemonset kube-multus-ds --timeout 5m
fi
if ! kubectl get crd kubevirts.kubevirt.io >/dev/null 2>&1; then
    kubectl apply -f $releases/kubevirt/kubevirt/releases/download/"$KUBEVIRT_VERSION"/kubevirt-operator.yaml
    kubectl wait crd kubevirts.kubevirt.io --for condition=Established --timeout 2m
    kubectl apply -f cluster/kubevirt.yaml
fi
kubectl -n kubevirt wait kubevirt kubevirt --for condition=Available --timeout 15m
say "the cluster is up. Next: make cluster-sync"
