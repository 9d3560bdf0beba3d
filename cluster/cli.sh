#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Access the nodes of the development cluster: cluster/cli.sh ssh [NODE] [COMMAND...], cluster/cli.sh nodes, and
# cluster/cli.sh ports, which lists the forwarded ports of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
source cluster/common.sh
need kind
case ${1:-} in
    nodes) kind get nodes --name "$KSD_CLUSTER" ;;
    ports) "$(engine)" port "$KSD_CLUSTER-control-plane" ;;
    ssh)
        node=${2:-$KSD_CLUSTER-control-plane}
        [ "$node" != node01 ] || node=$KSD_CLUSTER-control-plane
        terminal=(-i)
        [ ! -t 0 ] || terminal+=(-t)
        command=("${@:3}")
        exec "$(engine)" exec "${terminal[@]}" "$node" "${command[@]:-bash}"
        ;;
    *) die "usage: cluster/cli.sh ssh [NODE] [COMMAND...] | nodes | ports" ;;
esac
