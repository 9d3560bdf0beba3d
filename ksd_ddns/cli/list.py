# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns list`: the records that ksd-ddns owns."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from ksd_ddns.cli import options, output, reverse_zones, settings, sources
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.text import print_heading, print_json
from ksd_ddns.cli.zones import in_each_zone, one_pass
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import KsdError
from ksd_ddns.wire import names
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.ownership_record import OwnershipRecord
from ksd_ddns.zone.plan import ADDRESSES, Ownership
from ksd_ddns.zone.render import document, text

_OWNERS = 3
"""Other owners in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `list`."""

    output: str = options.output_flag("text", "json")


def main(asked: Options) -> int:
    """Print the owned records of each zone."""
    chosen = sources.owning(settings.load(asked), None)
    unfound = 0
    with Steps() as step, closing(open_session(chosen)) as session:

        def read(base: bytes) -> Owned:
            one = one_pass(chosen, session, base, (), step)
            return Owned(one.read(), one.reconciler.scope)

        if chosen.reverse_zones.auto:
            chosen, unfound = reverse_zones.found(chosen, session, (), step, _addresses(chosen, read))
        zones, code = in_each_zone(chosen, read)
        code = code or unfound
    if asked.output == "json":
        print_json(document.owned(zone) for zone in zones)
        return code
    for zone in zones:
        print_heading(chosen, zone.live.zone)
        found = False
        for name, ownership, item in zone.records():
            found = True
            output.line(f"{names.to_text(name)} {text.rrset(item)} {_subject(ownership)}")
        if not found:
            output.flush()  # the heading must come first if both streams are the same
            output.say(f"no records{_ours(chosen)} in zone {names.to_text(zone.live.zone)}{_others(chosen, zone)}")
    return code


def _subject(of: OwnershipRecord | None) -> str:
    """Return the VMI or the group that a name is for."""
    if of is not None and of.group:
        return f"group {of.group}"
    return of.vmi or "-" if of is not None else "-"


def _others(chosen: Settings, zone: Owned) -> str:
    """Return which other owners the zone has: a command with --from, and one that reads a cluster, have two."""
    others = zone.other_owners() if chosen.ownership is Ownership.TXT else []
    if not others:
        return ""
    more = f" and {len(others) - _OWNERS} more" if len(others) > _OWNERS else ""
    return f"; it has records of owner {', '.join(others[:_OWNERS])}{more}: OWNER_ID selects the owner"


def _ours(chosen: Settings) -> str:
    return f" of owner {chosen.owner}" if chosen.ownership is Ownership.TXT else ""


def _addresses(chosen: Settings, read: Callable[[bytes], Owned]) -> Iterator[bytes]:
    """Yield the addresses at our names: without VMIs they say which reverse zones are ours."""
    try:
        zone = read(chosen.base)
    except KsdError:
        return  # it is reported when the zone is listed
    for _, _, item in zone.records():
        if item.type in ADDRESSES:
            yield from item.rdatas
