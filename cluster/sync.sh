#!/usr/bin/env bash
# Builds the images, brings them and VARIANT (bind9) into the cluster, and waits until it serves on port 31111.
# With KUBECONFIG the images go through REGISTRY.
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh
need make

# A new tag each time: the pods are replaced, and never take another image for it.
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
say "serving: nslookup -port=31111 NAME 127.0.0.1, and make functest"
