"""End-to-end tests in a cluster where ksd-ddns runs: `make functest`.

KUBECONFIG               the cluster; by default the development cluster (make cluster-up)
FUNCTEST_DNS             where it answers, as address:port; 127.0.0.1:31111 by default
FUNCTEST_SIMULATE_STATUS true: nothing runs VMs there, and the tests write the status of VMIs themselves
FUNCTEST_SECONDS         how long a VM may take until it has an address, 300 by default

Each test has a namespace of its own, which is removed afterwards.
"""
