# SPDX-License-Identifier: Apache-2.0
"""REVERSE_ZONES=auto: the settings with the reverse zones that are found on the primary."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import warn
from ksd_ddns.config import zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import KsdError
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.reverse import find
from ksd_ddns.primary.session import Session
from ksd_ddns.sync import Controller
from ksd_ddns.sync.additions import Choose, Wanted
from ksd_ddns.zone.desired import ReverseZone
from ksd_ddns.zone.reverse_search import AGAIN, MAX_BLOCKS, MAX_ZONES, ReverseSearch


def search(chosen: Settings, *, again: float = AGAIN) -> ReverseSearch:
    """Return a search for the zones that the settings do not name."""
    return ReverseSearch(zones.rules(chosen, chosen.base, chosen.base), chosen.reverse_zones.zones, again=again)


def found(
    chosen: Settings, session: Session, vmis: Iterable[Vmi], step: Steps, addresses: Iterable[bytes] = ()
) -> tuple[Settings, int]:
    """Return the settings with the zones that hold published addresses of `vmis`, or `addresses`; and the exit code.

    An error does not stop the work in the zones that are known.
    """
    if not chosen.reverse_zones.auto:
        return chosen, 0
    step("looking for reverse zones", 0, None)
    looked = search(chosen)
    for address in addresses:
        looked.add_address(address)
    code = 0
    try:
        find(session, looked, vmis)
    except KsdError as e:
        warn(f"cannot look for reverse zones: {e}")
        code = e.exit_code
    if looked.full:
        warn(f"REVERSE_ZONES=auto looks for {MAX_BLOCKS} blocks and {MAX_ZONES} zones at most: name the zones")
    return zones.with_reverse_zones(chosen, looked.zones), code


def wanted(chosen: Settings, make: Callable[[bytes, Settings], Controller]) -> Choose:
    """Return what chooses the zones with a controller; `make` gets the base and the settings with all zones."""

    def choose(found: Sequence[ReverseZone]) -> dict[Wanted, Callable[[], Controller]]:
        known = zones.with_reverse_zones(chosen, found)
        made: dict[Wanted, Callable[[], Controller]] = {}
        for base in zones.reverse_bases(known):
            rules = zones.rules(known, base, base)
            made[Wanted(base, (*rules.excluded, *rules.elsewhere))] = partial(make, base, known)
        return made

    return choose
