#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Delete the kind cluster of this clone. A cluster of your own (KUBECONFIG) is not changed.
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh
[ -n "${OURS:-}" ] || die "KUBECONFIG names a cluster that is not ours to end: unset it, or make cluster-clean"
need kind
kind delete cluster --name "$KSD_CLUSTER"
rm -f "$KUBECONFIG"
