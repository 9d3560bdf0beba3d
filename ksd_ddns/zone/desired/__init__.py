# SPDX-License-Identifier: Apache-2.0
"""What the VMIs want in a zone: rules, names of one VMI, and which VMI gets a name."""

from ksd_ddns.zone.desired.blocks import Network, ReverseZone, block, is_preferred, reverse_zone
from ksd_ddns.zone.desired.claims import ANNOTATION, Claim, Collision, MemberClaim
from ksd_ddns.zone.desired.desired import Desired, Effect, desired
from ksd_ddns.zone.desired.groups import GroupCounts, is_service
from ksd_ddns.zone.desired.interface_names import default_name, interface_name, may_have_name
from ksd_ddns.zone.desired.rules import HostnameScope, Rules, apex_name_server, pointed_address, reverse_name
from ksd_ddns.zone.desired.templates import DEFAULT_NAME, INTERFACE_NAME, Template, template
from ksd_ddns.zone.desired.unpublished import Unpublished
from ksd_ddns.zone.desired.vmi_names import MAX_VMI_WARNINGS, VmiNames, publishable, vmi_names

__all__ = [
    "ANNOTATION",
    "DEFAULT_NAME",
    "INTERFACE_NAME",
    "MAX_VMI_WARNINGS",
    "Claim",
    "Collision",
    "Desired",
    "Effect",
    "GroupCounts",
    "HostnameScope",
    "MemberClaim",
    "Network",
    "ReverseZone",
    "Rules",
    "Template",
    "Unpublished",
    "VmiNames",
    "apex_name_server",
    "block",
    "default_name",
    "desired",
    "interface_name",
    "is_preferred",
    "is_service",
    "may_have_name",
    "pointed_address",
    "publishable",
    "reverse_name",
    "reverse_zone",
    "template",
    "vmi_names",
]
