#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the images, load them into the cluster, deploy VARIANT (bind9), and wait until port 31111 answers.
# With KUBECONFIG the images are pushed to REGISTRY.
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh
need make

# A new tag each time, so that the pods are replaced and never use an older image.
IMAGE_TAG=dev-$(date +%s)
export IMAGE_TAG
make build
if [ -n "${OURS:-}" ]; then
    need kind
    for image in $(scripts/manifests images); do
        "$(engine)" save "$image" | kind load image-archive --name "$KSD_CLUSTER" /dev/stdin
    done
else
    make push
fi
make deploy create-nodeport
cluster/kubectl.sh -n secondary rollout status deployment secondary-dns --timeout 5m
say "ready. Try: nslookup -port=31111 NAME 127.0.0.1, and make functest"
