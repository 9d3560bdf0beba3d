"""KubeVirt objects: VirtualMachineInstances and label selectors. Pure: no I/O."""
