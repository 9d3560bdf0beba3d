# SPDX-License-Identifier: Apache-2.0
"""Real name servers, a fake API server, and workloads: shared by tests, benchmarks and the demo."""
