#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Remove ksd-ddns from the cluster, and wait until it is gone.
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh
for variant in nodeport loadbalancer secondaries knot ksd; do
    cluster/kubectl.sh delete --ignore-not-found --wait -k "deploy/$variant"
done
