# SPDX-License-Identifier: Apache-2.0
"""Explanations: why a VMI or a name is in DNS, or is not. Pure: facts in, facts out."""

from ksd_ddns.zone.explain.model import (
    AddressExplanation,
    ClaimFact,
    Hold,
    InterfaceExplanation,
    Member,
    NameAnswer,
    NameExplanation,
    RefusalFact,
    Skip,
    State,
    VmiExplanation,
    ZoneFact,
)
from ksd_ddns.zone.explain.names import Viewpoint
from ksd_ddns.zone.explain.questions import best, is_vmi, is_vmi_key, name_of
from ksd_ddns.zone.explain.view import VmiView, name_view, vmi_view
from ksd_ddns.zone.explain.vmis import similar_keys, vmi

__all__ = [
    "AddressExplanation",
    "ClaimFact",
    "Hold",
    "InterfaceExplanation",
    "Member",
    "NameAnswer",
    "NameExplanation",
    "RefusalFact",
    "Skip",
    "State",
    "Viewpoint",
    "VmiExplanation",
    "VmiView",
    "ZoneFact",
    "best",
    "is_vmi",
    "is_vmi_key",
    "name_of",
    "name_view",
    "similar_keys",
    "vmi",
    "vmi_view",
]
