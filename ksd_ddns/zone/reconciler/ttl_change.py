# SPDX-License-Identifier: Apache-2.0
"""TTL changes in two messages, for servers that ignore a new TTL when a message re-adds the records (Knot 3.5)."""

import msgspec

from ksd_ddns.wire.rrset import TXT
from ksd_ddns.zone.plan import Change, Plan
from ksd_ddns.zone.reconciler.sending import Sending

_Group = tuple[Change, ...]


def in_two_messages(plan: Plan, groups: list[_Group], sending: Sending) -> tuple[Plan, list[_Group]]:
    """Return the plan and groups with two messages for each TTL change: one deletes the records, one adds them.

    Notes the split names in `sending`, with their nodes after the first message.
    """
    unsplit = [change for change in plan.changes if not _changes_ttl(change)]
    split = [change for change in plan.changes if _changes_ttl(change)]
    found: list[_Group] = []
    for group in [*groups, *([tuple(split)] if split else [])]:
        first: list[Change] = []
        second: list[Change] = []
        for change in group:
            if not _changes_ttl(change):
                first.append(change)
                continue
            types = [old.type for old, new in change.rrsets() if old and new and old.ttl != new.ttl]
            if TXT in types:
                types += change.types  # without the ownership record, the addresses would not be ours
            middle = change.old.with_rrsets((), types=types)
            sending.halfway[change.name] = middle
            sending.split.add(change.name)
            first.append(msgspec.structs.replace(change, new=middle))
            second.append(msgspec.structs.replace(change, old=middle))
        found += [tuple(first), tuple(second)] if second else [tuple(first)]
    return msgspec.structs.replace(plan, changes=tuple(unsplit)), found


def _changes_ttl(change: Change) -> bool:
    return any(old and new and old.ttl != new.ttl for old, new in change.rrsets())
