# SPDX-License-Identifier: Apache-2.0
"""Which VMIs are published, and which of their networks."""

from dataclasses import dataclass

from ksd_ddns.kubevirt import vmi
from ksd_ddns.kubevirt.networks import SECONDARY, NetworkChoice
from ksd_ddns.kubevirt.selector import EVERYTHING as ANY_LABELS
from ksd_ddns.kubevirt.selector import Selector
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which VMIs are published: those in `namespaces` (all if there are none) that match `selector`.

    `networks` are the networks of each that are published.
    """

    namespaces: frozenset[str] = frozenset()
    selector: Selector = ANY_LABELS
    networks: NetworkChoice = SECONDARY

    def includes(self, obj: VmiObject) -> bool:
        """Return whether `obj` is published."""
        return self.includes_namespace(obj.namespace) and self.selector.matches(obj.labels)

    def includes_namespace(self, namespace: str) -> bool:
        """Return whether VMIs in `namespace` may be published."""
        return not self.namespaces or namespace in self.namespaces

    def parse(self, obj: VmiObject) -> Vmi:
        """Return what of `obj` may be published."""
        return vmi.parse(obj, self.networks)


EVERYTHING = Selection()
"""All VMIs, with their secondary networks."""
