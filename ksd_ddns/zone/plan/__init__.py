# SPDX-License-Identifier: Apache-2.0
"""Desired and live zone -> plan: what to change, what to leave alone and why, what the deletion limit blocks."""

from ksd_ddns.zone.plan.change import Blocked, Change, Kind, Plan
from ksd_ddns.zone.plan.conflict import Conflict, ConflictCause
from ksd_ddns.zone.plan.deletion_limit import LIMIT_FLOOR
from ksd_ddns.zone.plan.moves import addresses, vmi_of
from ksd_ddns.zone.plan.ownership import is_owned, is_recognized, namespace_of, owned_names
from ksd_ddns.zone.plan.planner import collisions, full, partial, verdict
from ksd_ddns.zone.plan.scope import ADDRESSES, POINTERS, SERVICES, Ownership, Policy, Read, Scope
from ksd_ddns.zone.plan.ttl import lowered, ttl_cap

__all__ = [
    "ADDRESSES",
    "LIMIT_FLOOR",
    "POINTERS",
    "SERVICES",
    "Blocked",
    "Change",
    "Conflict",
    "ConflictCause",
    "Kind",
    "Ownership",
    "Plan",
    "Policy",
    "Read",
    "Scope",
    "addresses",
    "collisions",
    "full",
    "is_owned",
    "is_recognized",
    "lowered",
    "namespace_of",
    "owned_names",
    "partial",
    "ttl_cap",
    "verdict",
    "vmi_of",
]
