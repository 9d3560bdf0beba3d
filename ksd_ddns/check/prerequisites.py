# SPDX-License-Identifier: Apache-2.0
"""Checks that a server compares RRsets as RFC 2136, 2.4.2 says: all updates rely on it.

The requests have prerequisites and no updates, so they change nothing. They need records that exist.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ksd_ddns.check.finding import Finding, failure
from ksd_ddns.primary.probe import Probe
from ksd_ddns.wire import names, rcodes
from ksd_ddns.wire.codec import Statement
from ksd_ddns.wire.rrset import AAAA, IN, TXT, A, RRset
from ksd_ddns.zone.live import Live

_TESTED = frozenset({A, AAAA, TXT})
_MAX_RECORDS = 20
_CURE = "use another server: with this one ksd-ddns could overwrite changes of others, or would update no name"


class Held(NamedTuple):
    """An RRset that the zone holds, with its owner name."""

    name: bytes
    rrset: RRset


def finding(probe: Probe, live: Live) -> Finding | None:
    """Return a failure if the server of `probe` compares wrongly; None if it does not, or if this cannot be tested.

    Raises PrimaryError.
    """
    held = list(itertools.islice(_held(live), 2))
    several = next((item for item in _held(live) if len(item.rrset.rdatas) > 1), None)
    if several is not None and _holds(probe, live, [_part(several)]):
        text = "accepts a prerequisite that lists one record of an RRset with several"
    elif len(held) > 1 and not _holds(probe, live, held) and all(_holds(probe, live, [item]) for item in held):
        text = "accepts a prerequisite for one RRset, but not the same prerequisites for two RRsets in one message"
    else:
        return None
    subject = f"{names.to_text(live.zone)} on {probe.server}"
    return failure("prerequisites", subject, f"the server {text} (RFC 2136, 2.4.2)", _CURE)


def _held(live: Live) -> Iterator[Held]:
    """Yield RRsets of the types that we publish, outside of delegations."""
    for name, node in live.nodes.items():
        if live.cuts and any(names.is_below(name, cut) for cut in live.cuts):
            continue
        for item in node.rrsets:
            if item.type in _TESTED and len(item.rdatas) <= _MAX_RECORDS:
                yield Held(name, item)


def _part(held: Held) -> Held:
    return Held(held.name, RRset(held.rrset.type, held.rrset.ttl, held.rrset.rdatas[:1]))


def _holds(probe: Probe, live: Live, held: Sequence[Held]) -> bool:
    """Return whether the server says that the zone holds exactly these RRsets."""
    statements: list[Statement] = [(name, item.type, IN, 0, rdata) for name, item in held for rdata in item.rdatas]
    answer = probe.prerequisites(live.zone, statements)
    if answer.error is not None:
        raise answer.error
    return answer.message.rcode == rcodes.NOERROR
