#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts in this directory, from the root of the clone: selects the cluster. This is the cluster of
# KUBECONFIG if that is set, else a kind cluster of this clone, with its kubeconfig in build/.
PATH=$PWD/.venv/bin:$PATH

export KSD_CLUSTER=${KSD_CLUSTER:-ksd-ddns}
export VARIANT=${VARIANT:-bind9}
if [ -z "${KUBECONFIG:-}" ]; then
    export KUBECONFIG=$PWD/build/$KSD_CLUSTER.kubeconfig
    export OURS=yes
fi

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { say "$*" && exit 1; }

# need COMMAND...: exit with a message if one is missing.
need() {
    local command
    for command; do
        type -P "$command" >/dev/null || die "missing: $command. See docs/how-to/development-cluster.md"
    done
}

# Print the container engine: OCI_BIN, or the first that works.
engine() {
    local candidate
    for candidate in ${OCI_BIN:-podman docker}; do
        if "$candidate" ps >/dev/null 2>&1; then echo "$candidate" && return; fi
    done
    die "missing: podman or docker that works (OCI_BIN=...)"
}

# kind with this engine.
kind() { KIND_EXPERIMENTAL_PROVIDER=$(engine) command kind "$@"; }

