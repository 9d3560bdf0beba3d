# SPDX-License-Identifier: Apache-2.0
"""Servers that lower TTLs: BIND applies its `max-zone-ttl` to updates without reporting it."""

from ksd_ddns.wire.rrset import Node, RRset
from ksd_ddns.zone.plan.change import Change


def lowered(want: Node, found: Node, cap: int) -> Node:
    """Return `want` with TTLs lowered to `cap` for the types that have this TTL in `found`."""
    lower = {item.type for item in found.rrsets if item.ttl == cap}
    return Node(
        want.name,
        tuple(
            RRset(item.type, cap, item.rdatas) if item.ttl > cap and item.type in lower else item
            for item in want.rrsets
        ),
        want.index,
    )


def ttl_cap(change: Change, found: Node) -> int | None:
    """Return the TTL to which the server lowered those of an accepted `change`; `found` is what the name holds now.

    None if it did not: no TTL is lower than the one that was sent, or `found` differs in more than TTLs.
    """
    caps: set[int] = set()
    for rdtype in {item.type for item in (*change.new.rrsets, *found.rrsets)}:
        sent, there = change.new.get(rdtype), found.get(rdtype)
        if sent is None or there is None or sent.rdatas != there.rdatas or sent.ttl < there.ttl:
            return None
        if there.ttl < sent.ttl:
            caps.add(there.ttl)
    cap = caps.pop() if len(caps) == 1 else None
    return cap if cap is not None and all(item.ttl <= cap for item in found.rrsets) else None
