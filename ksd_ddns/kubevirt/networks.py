# SPDX-License-Identifier: Apache-2.0
"""Which networks of a VMI are published, by its spec and the setting NETWORKS."""

from collections.abc import Collection, Mapping

import msgspec

from ksd_ddns.kubevirt.vmi_object import Spec

MAX_INTERFACES = 1000

ABSENT = "absent"
"""The state of an interface in the spec that unplugs it."""


class NetworkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The networks that are published: the secondary ones, with `default` the default network too.

    With `definitions` only those of these NetworkAttachmentDefinitions, each `namespace/name`, or `name` in any
    namespace; the default network, too, if it has one of them.
    """

    default: bool = False
    definitions: frozenset[str] = frozenset()

    def takes(self, definition: str, namespace: str) -> bool:
        """Return whether `definitions` include that of a network, as a VMI in `namespace` refers to it."""
        own, _, name = definition.rpartition("/")
        return bool(name) and (name in self.definitions or f"{own or namespace}/{name}" in self.definitions)


SECONDARY = NetworkChoice()
"""The secondary networks, of any definition."""


def by_record(interface: str) -> str:
    """Sort key of interface names: the order in which KubeSecondaryDNS sorts records, `net-1` before `net`."""
    # It sorts full records as text: `net-1.<vm>` comes before `net.<vm>`, since a hyphen sorts before a dot.
    return f"{interface}."


def networks_of(
    spec: Spec | None, choice: NetworkChoice = SECONDARY, namespace: str = ""
) -> tuple[Mapping[str, str], Collection[str]]:
    """Return the published networks of a VMI in `namespace`, and the names of the excluded ones.

    Each published network has the NetworkAttachmentDefinition that the VMI refers to, empty for the pod network.
    Excluded are unplugged interfaces, and the networks that `choice` leaves out.
    """
    if spec is None:
        return {}, []
    excluded: list[str] = []
    found: dict[str, str] = {}
    devices = spec.domain.devices if spec.domain is not None else None
    if devices is not None and devices.interfaces:
        for entry in devices.interfaces:
            # An unplugged interface may still be in the status.
            if entry is not None and entry.state == ABSENT and entry.name:
                excluded.append(entry.name)  # noqa: PERF401 a comprehension costs more for the one entry that most have
    for network in spec.networks or ():
        if network is None or not network.name:
            continue
        multus = network.multus
        definition = (multus.network_name or "") if multus is not None else ""
        if choice.definitions:
            if choice.takes(definition, namespace):
                found[network.name] = definition
            else:
                excluded.append(network.name)
        elif (network.pod is not None or (multus is not None and multus.default)) and not choice.default:
            excluded.append(network.name)
        else:
            found[network.name] = definition
    if excluded:
        for name in excluded:
            found.pop(name, None)
    if len(found) > MAX_INTERFACES:
        found = {name: found[name] for name in sorted(found, key=by_record)[:MAX_INTERFACES]}
    # A set only if there are many: anyone who can write a VMI can unplug thousands of interfaces.
    return found, excluded if len(excluded) < 8 else frozenset(excluded)
