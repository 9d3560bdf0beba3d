# SPDX-License-Identifier: Apache-2.0
"""DNS for the secondary networks of KubeVirt virtual machines, by RFC 2136 dynamic update."""

__version__ = "0.1.0"
