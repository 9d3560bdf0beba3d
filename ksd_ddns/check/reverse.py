# SPDX-License-Identifier: Apache-2.0
"""Looks for the reverse zones of published addresses (REVERSE_ZONES=auto)."""

from collections import Counter
from collections.abc import Iterator

from ksd_ddns.check.finding import Finding, failed, ok, skipped, warning
from ksd_ddns.check.setup import Found, Setup
from ksd_ddns.errors import KsdError
from ksd_ddns.primary.reverse import find
from ksd_ddns.primary.session import Session
from ksd_ddns.wire import names
from ksd_ddns.wire.text import address_text
from ksd_ddns.zone.reverse_search import MAX_BLOCKS, MAX_ZONES, ReverseSearch

SHOWN = 3
"""Maximum number of reasons in a message."""


def findings(setup: Setup, search: ReverseSearch, session: Session, found: Found) -> Iterator[Finding]:
    """Look for zones on the server of `session`, and report which addresses have none."""
    server = str(session.server)
    if found.bases:
        return  # another server answered already
    if found.vmis is None:
        yield skipped("reverse zones", server)
        return
    try:
        zones = find(session, search, found.vmis)
    except KsdError as e:
        yield failed("reverse zones", server, e)
        return
    found.bases = setup.add_reverse_zones(zones)
    shown = ", ".join(names.to_text(zone.base) for zone in zones) or "none"
    yield ok("reverse zones", server, f"auto finds {shown}")
    if search.full:
        text = f"auto looks for {MAX_BLOCKS} blocks of addresses and {MAX_ZONES} zones at most"
        yield warning("reverse zones", server, text, "name the zones of the others in REVERSE_ZONES")
    if search.nowhere:
        yield _nowhere(server, search)


def _nowhere(server: str, search: ReverseSearch) -> Finding:
    blocks = search.nowhere
    counts = Counter(each.reason for each in blocks)
    example = {each.reason: address_text(each.address) for each in reversed(blocks)}
    listed = [f"{count} such as that of {example[reason]}: {reason}" for reason, count in counts.most_common(SHOWN)]
    more = f"; and {len(counts) - SHOWN} more reasons" if len(counts) > SHOWN else ""
    found = "1 block of addresses has" if len(blocks) == 1 else f"{len(blocks)} blocks of addresses have"
    text = f"{found} no reverse zone here, and no PTR records: {'; '.join(listed)}{more}"
    return ok("reverse zones", server, text)
