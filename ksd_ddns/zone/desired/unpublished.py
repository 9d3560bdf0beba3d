# SPDX-License-Identifier: Apache-2.0
"""Why a VMI has no name at all, as data. `zone.render.message` makes the text."""

from enum import StrEnum

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.zone.desired.rules import Rules
from ksd_ddns.zone.desired.vmi_names import vmi_names


class Unpublished(StrEnum):
    """Why nothing of a VMI is published."""

    IGNORED = "ignored"
    """The annotation ksd-ddns/ignore is true."""
    ENDED = "ended"
    """Its phase is Succeeded or Failed."""
    NO_NETWORK = "no-network"
    """It has no secondary network."""
    NO_ADDRESS = "no-address"
    """Its status has no address of a secondary network, or none that is ever published."""
    ILLEGAL_NAME = "illegal-vmi-name"
    """Its name or its namespace cannot be a DNS name."""
    EXCLUDED = "excluded"
    """PUBLISH_CIDRS and EXCLUDE_CIDRS leave none of its addresses."""
    LIMIT = "max-names-per-namespace"
    """Older VMIs of its namespace have all the names that MAX_NAMES_PER_NAMESPACE allows."""


def unpublished(vmi: Vmi, rules: Rules) -> Unpublished:
    """Return why a VMI without names has none."""
    if vmi.ignored:
        return Unpublished.IGNORED
    if not vmi.live:
        return Unpublished.ENDED
    if not vmi.interfaces:
        return Unpublished.NO_ADDRESS if vmi.networks else Unpublished.NO_NETWORK
    wanted = vmi_names(vmi, rules)
    if not wanted.own:
        return Unpublished.ILLEGAL_NAME
    return Unpublished.LIMIT if len(wanted) else Unpublished.EXCLUDED
