#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kubectl for the development cluster: cluster/kubectl.sh get nodes
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh
need kubectl
[ -z "${OURS:-}" ] || [ -e "$KUBECONFIG" ] || die "there is no cluster: make cluster-up, or set KUBECONFIG"
exec kubectl "$@"
