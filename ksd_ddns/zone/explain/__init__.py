"""Explanations: why a VMI or a name is in DNS, or is not. Pure: facts in, facts out."""

from ksd_ddns.zone.explain.model import (
    AddressExplanation,
    ClaimFact,
    Hold,
    InterfaceExplanation,
    NameAnswer,
    NameExplanation,
    RefusalFact,
    Skip,
    State,
    VmiExplanation,
    ZoneFact,
)

__all__ = [
    "AddressExplanation",
    "ClaimFact",
    "Hold",
    "InterfaceExplanation",
    "NameAnswer",
    "NameExplanation",
    "RefusalFact",
    "Skip",
    "State",
    "VmiExplanation",
    "ZoneFact",
]
