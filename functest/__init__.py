"""End-to-end tests in a cluster where ksd-ddns runs: `make functest`.

KUBECONFIG               the cluster; by default the development cluster (make cluster-up)
FUNCTEST_NAMESPACE       the namespace of ksd-ddns in it, `secondary` by default
FUNCTEST_DNS             where it answers, as address:port; 127.0.0.1:31111 by default
FUNCTEST_DOMAIN          its DOMAIN; by default that of the ConfigMap
FUNCTEST_SIMULATE_STATUS true: nothing runs VMs there, and the tests write the status of VMIs themselves
FUNCTEST_SECONDS         how long a VM may take until it has an address, 300 by default

Each test has a namespace of its own, which is removed afterwards.

A test is skipped where the cluster has no CRD of KubeVirt or Multus, and where there is neither a Deployment nor
FUNCTEST_DNS. With FUNCTEST_DNS a controller outside of the cluster is tested, too, and the primary of a company: only
the tests of the pods need the Deployment.
"""
