#!/usr/bin/env bash
# Removes ksd-ddns from the cluster, and waits until it is gone.
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh
for variant in nodeport loadbalancer secondaries knot ksd; do
    cluster/kubectl.sh delete --ignore-not-found --wait -k "deploy/$variant"
done
