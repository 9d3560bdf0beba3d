# SPDX-License-Identifier: Apache-2.0
"""Checks that a server compares RRsets as RFC 2136, 2.4.2 says: all updates rely on it.

The requests have prerequisites and no updates, so they change nothing. They need records that exist.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ksd_ddns.check.finding import Finding, failure, warning
from ksd_ddns.primary.probe import EXAMPLES, Probe
from ksd_ddns.wire import names, rcodes
from ksd_ddns.wire.codec import Statement
from ksd_ddns.wire.rrset import AAAA, IN, TXT, A, RRset
from ksd_ddns.zone.live import Live

_TESTED = frozenset({A, AAAA, TXT})
_MAX_RECORDS = 20
_FIX = "use another server: with this one ksd-ddns could overwrite changes of others, or would update no name"
_NOTICED_LATE = (
    "ksd-ddns deletes only records that it has read, so no records of others are lost; but a record that someone else "
    "adds to one of its names may stay there until it reads the name again"
)


class Held(NamedTuple):
    """An RRset that the zone holds, with its owner name."""

    name: bytes
    rrset: RRset


def finding(probe: Probe, live: Live) -> Finding | None:
    """Return a finding if the server of `probe` compares wrongly; None if it does not, or if this cannot be tested.

    Raises PrimaryError.
    """
    subject = f"{names.to_text(live.zone)} on {probe.server}"
    held = list(itertools.islice(_held(live), 2))
    more = next(filter(None, map(_with_another, held)), None)
    several = next((item for item in _held(live) if len(item.rrset.rdatas) > 1), None)
    if more is not None and _holds(probe, live, [more]):
        text = "accepts a prerequisite that lists a record that does not exist"
    elif len(held) > 1 and not _holds(probe, live, held) and all(_holds(probe, live, [item]) for item in held):
        text = "accepts a prerequisite for one RRset, but not the same prerequisites for two RRsets in one message"
    elif several is not None and _holds(probe, live, [_part(several)]):
        text = "accepts a prerequisite that lists one record of an RRset with several"
        return warning("prerequisites", subject, f"the server {text} (RFC 2136, 2.4.2)", _NOTICED_LATE)
    else:
        return None
    return failure("prerequisites", subject, f"the server {text} (RFC 2136, 2.4.2)", _FIX)


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


def _with_another(held: Held) -> Held | None:
    """Return `held` with one more record; None if it holds that record already."""
    item = held.rrset
    another = EXAMPLES[item.type]
    return None if another in item.rdatas else Held(held.name, RRset(item.type, item.ttl, (*item.rdatas, another)))


def _holds(probe: Probe, live: Live, held: Sequence[Held]) -> bool:
    """Return whether the server says that the zone holds exactly these RRsets."""
    statements: list[Statement] = [(name, item.type, IN, 0, rdata) for name, item in held for rdata in item.rdatas]
    answer = probe.prerequisites(live.zone, statements)
    if answer.error is not None:
        raise answer.error
    return answer.message.rcode == rcodes.NOERROR
