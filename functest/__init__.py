# SPDX-License-Identifier: Apache-2.0
"""End-to-end tests in a cluster where ksd-ddns runs: `make functest`.

KUBECONFIG               the cluster; default: the development cluster (make cluster-up)
FUNCTEST_NAMESPACE       the namespace of ksd-ddns; default: secondary
FUNCTEST_DNS             address:port of the name server; default: 127.0.0.1:31111
FUNCTEST_DOMAIN          DOMAIN of ksd-ddns; default: that of the ConfigMap
FUNCTEST_SIMULATE_STATUS true: the cluster runs no VMs, and the tests write the status of VMIs themselves
FUNCTEST_SECONDS         timeout for the first address of a VM; default: 300

Each test has its own namespace, which is deleted afterwards.

The tests are skipped if the cluster has no CRD of KubeVirt or Multus, and if there is neither a Deployment nor
FUNCTEST_DNS. Set FUNCTEST_DNS to test a controller outside of the cluster, or your own primary. Only the tests of the
pods need the Deployment.
"""
