# SPDX-License-Identifier: Apache-2.0
"""Refused names as text: why the primary refuses a name, and the remedy."""

from typing import NamedTuple

from ksd_ddns.wire import names, rcodes
from ksd_ddns.zone.reconciler.refusals import Cause, Refusal


class Advice(NamedTuple):
    """A problem, and what fixes it (empty if the problem says it all): clauses in lower case, without the final dot."""

    problem: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.problem}. {self.fix[0].upper()}{self.fix[1:]}" if self.fix else self.problem


def refused(  # noqa: PLR0911 one for each cause
    found: Refusal, *, zone: str, server: str, accepts: bool, ours: bool
) -> Advice:
    """Return why a name is refused, and the remedy.

    `accepts` is whether the zone accepts other updates, `ours` whether it has names of ours.
    """
    name, rcode = names.to_text(found.name), rcodes.text(found.rcode or 0)
    if ours and not accepts and found.cause in {Cause.ZONE, Cause.PERMISSION, Cause.SERVER}:
        return zone_refuses(found, zone=zone, server=server)
    match found.cause:
        case Cause.HOST_NAME:
            return Advice(
                f"{server} refuses {name} (REFUSED): the zone checks host names, and this name is not one",
                'add "check-names ignore;" to the zone (or "check-names primary ignore;" to its options), or rename '
                "the interface or hostname",
            )
        case Cause.LIMIT:
            return Advice(
                f"{server} cannot take {name} (SERVFAIL): it has more records of one type than the zone allows (BIND: "
                "max-records-per-type)",
                "raise the limit there, or lower MAX_RRSET",
            )
        case Cause.NOT_SHOWN:
            return Advice(
                f"{server} acknowledged the change of {name}, but it is not in the zone: its update-policy "
                "ignores it, inline signing is slow, or it is a secondary that forwards updates",
                "look at its policy, or set DNS_SERVER to the primary",
            )
        case Cause.NO_TXT:
            return Advice(
                f"{server} acknowledged the change of {name}, but left out the ownership record",
                "allow TXT in its policy. Until then these addresses are not ours; afterwards ADOPT=true takes them "
                "over",
            )
        case Cause.CHANGING:
            return Advice(
                f"{name} on {server} always differs from the zone that was just read: another program keeps changing "
                "it, or the server stores records in another form than it shows, or compares them wrongly",
                "run ksd-ddns check, which tests the server; delete the name there, or rename the VM",
            )
        case Cause.PERMISSION | Cause.ZONE if accepts and ours:
            return Advice(
                f"{server} refuses {name} ({rcode}), but accepts other names of {zone}: the key lacks "
                "permission for this name or its types",
                "look at the update-policy of the zone (BIND), its acl (Knot), or the owner of the name (Active "
                "Directory)",
            )
    return _of_error(found, server)


def zone_refuses(found: Refusal | None, *, zone: str, server: str) -> Advice:
    """Return why a zone that holds names of ours accepts no update; `found` is one of the refusals, if there is one."""
    shown = f" ({rcodes.text(found.rcode or 0)})" if found else ""
    return Advice(
        f"{server} accepts no update of {zone}{shown}, although it holds our names: the zone is frozen (rndc thaw), "
        "the server is a secondary, its disk is full, or the permission of the key was removed"
    )


def _of_error(found: Refusal, server: str) -> Advice:
    if found.error is None:
        return Advice(f"{server} refuses {names.to_text(found.name)}")
    return Advice(str(found.error))
