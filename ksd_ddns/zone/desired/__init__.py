"""What the VMIs want in a zone: rules, names of one VMI, and which VMI gets a name."""

from ksd_ddns.zone.desired.claims import ANNOTATION, Claim, Collision
from ksd_ddns.zone.desired.desired import Desired, Effect, desired
from ksd_ddns.zone.desired.hostnames import branch_of, stem_of
from ksd_ddns.zone.desired.rules import HostnameScope, Network, Rules, apex_name_server
from ksd_ddns.zone.desired.vmi_names import MAX_VMI_WARNINGS, VmiNames, interface_name, publishable, vmi_names

__all__ = [
    "ANNOTATION",
    "MAX_VMI_WARNINGS",
    "Claim",
    "Collision",
    "Desired",
    "Effect",
    "HostnameScope",
    "Network",
    "Rules",
    "VmiNames",
    "apex_name_server",
    "branch_of",
    "desired",
    "interface_name",
    "publishable",
    "stem_of",
    "vmi_names",
]
