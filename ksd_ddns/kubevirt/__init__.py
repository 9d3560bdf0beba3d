# SPDX-License-Identifier: Apache-2.0
"""KubeVirt objects: VirtualMachineInstances and label selectors. Pure: no I/O."""
