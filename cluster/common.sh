#!/usr/bin/env bash
# Sourced, from the root of the clone, by the scripts beside it: which cluster, and how to reach it. Where KUBECONFIG is
# set it is that one; else a kind cluster of ours, with its kubeconfig in build/.
PATH=$PWD/.venv/bin:$PATH

export KSD_CLUSTER=${KSD_CLUSTER:-ksd-ddns}
export VARIANT=${VARIANT:-bind9}
if [ -z "${KUBECONFIG:-}" ]; then
    export KUBECONFIG=$PWD/build/$KSD_CLUSTER.kubeconfig
    export OURS=yes
fi

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { say "$*" && exit 1; }

# need COMMAND...: or say which is missing.
need() {
    local command
    for command; do
        type -P "$command" >/dev/null || die "missing: $command. See docs/how-to/development-cluster.md"
    done
}

# The container engine: OCI_BIN, or the first that works.
engine() {
    local candidate
    for candidate in ${OCI_BIN:-podman docker}; do
        if "$candidate" ps >/dev/null 2>&1; then echo "$candidate" && return; fi
    done
    die "missing: podman or docker that works (OCI_BIN=...)"
}

# kind with our engine.
kind() { KIND_EXPERIMENTAL_PROVIDER=$(engine) command kind "$@"; }

