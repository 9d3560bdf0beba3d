# SPDX-License-Identifier: Apache-2.0
"""What a response code of the primary means for a query, a transfer or an update, and what fixes it."""

from ksd_ddns.errors import BadResponse, Denied, PrimaryError, Stanza, Unreachable, ZoneChanged
from ksd_ddns.primary import grants
from ksd_ddns.primary.grants import Permission
from ksd_ddns.wire import rcodes
from ksd_ddns.wire.rcodes import NOTAUTH, NOTIMP, PREREQUISITE_FAILED, REFUSED, SERVFAIL

_COMPARE = "compare name, algorithm and secret of the key with the server's, and set both clocks by NTP"


def query_error(rcode: int, *, server: str, name: str, key: str, rdtype: str = "SOA") -> PrimaryError:
    """Return the error for `rcode` in response to a query for the records of `rdtype` at `name`."""
    if rcode == REFUSED:
        return Denied(
            f"{server} refused the query for the {rdtype} of {name} (REFUSED): it serves no zone that holds this name, "
            "or does not accept our queries",
            "correct DOMAIN, ZONE or REVERSE_ZONES, set DNS_SERVER to the zone's primary, or correct its allow-query",
            server=server,
            key=key,
            name=name,
            rcode=rcode,
        )
    if rcode == NOTAUTH:
        return Denied(
            f"{server} does not accept key {key} (NOTAUTH), and does not say why",
            f"{_COMPARE}; the server's log has the reason",
            server=server,
            key=key,
            name=name,
            rcode=rcode,
            stanzas=grants.unsigned_notauth_stanzas(key),
        )
    return _other(rcode, f"the query for the {rdtype} of {name}", server=server, key=key, name=name)


def transfer_error(rcode: int, *, server: str, zone: str, key: str, signed: bool = True) -> PrimaryError:
    """Return the error for `rcode` in response to a transfer of `zone`; `signed` is whether the response was."""
    stanzas = grants.transfer(zone, key)
    if rcode == REFUSED:
        return Denied(
            f"{server} refused the transfer of {zone} to key {key} (REFUSED); nothing was sent, since the content of "
            "the zone is unknown",
            "allow the transfer",
            server=server,
            zone=zone,
            key=key,
            rcode=rcode,
            stanzas=stanzas,
        )
    if rcode == NOTAUTH and not signed:
        return Denied(
            f"{server} does not accept key {key}, or key {key} may not transfer {zone} (NOTAUTH), and does not say why",
            f"{_COMPARE}, allow the transfer, or set ZONE to a zone that this server is primary of",
            server=server,
            zone=zone,
            key=key,
            rcode=rcode,
            stanzas=(*grants.unsigned_notauth_stanzas(key), *stanzas),
        )
    if rcode == NOTAUTH:
        return Denied(
            f"{server} is not authoritative for {zone}, or key {key} may not transfer it (NOTAUTH; PowerDNS also "
            "returns this for a wrong key or clock)",
            "set ZONE to a zone that this server is primary of, or allow the transfer",
            server=server,
            zone=zone,
            key=key,
            rcode=rcode,
            stanzas=stanzas,
        )
    return _other(rcode, f"the transfer of {zone}", server=server, zone=zone, key=key)


def update_error(rcode: int, *, server: str, permission: Permission, signed: bool = True) -> PrimaryError:
    """Return the error for `rcode` in response to an UPDATE that needs `permission`."""
    zone, key = permission.zone, permission.key
    kind: type[PrimaryError] = Denied
    stanzas: tuple[Stanza, ...] = ()
    if rcode in PREREQUISITE_FAILED:
        kind = ZoneChanged
        problem, remedy = f"{zone} changed on {server} since it was read ({rcodes.text(rcode)})", ""
    elif rcode == REFUSED:
        problem = f"{server} refused the update of {zone} with key {key} (REFUSED)"
        remedy = (
            "allow it there; if the zone is frozen, thaw it (rndc thaw); if this server is a secondary, set DNS_SERVER "
            "to the zone's primary"
        )
        stanzas = grants.update(permission)
    elif rcode == NOTAUTH and signed:
        problem = f"{server} is not authoritative for {zone}, or key {key} may not update it (NOTAUTH)"
        remedy = "set DNS_SERVER to the zone's primary, or allow the update"
        stanzas = grants.update(permission)
    elif rcode == NOTAUTH:
        problem = f"{server} does not accept key {key} for the update of {zone} (NOTAUTH), and does not say why"
        remedy = f"{_COMPARE}, allow the update, or set DNS_SERVER to the zone's primary"
        stanzas = (*grants.unsigned_notauth_stanzas(key), *grants.update(permission))
    elif rcode == NOTIMP:
        problem = f"{server} does not support dynamic updates of {zone} (NOTIMP)"
        remedy = "enable them there, or set DNS_SERVER to another primary"
    elif rcode == SERVFAIL:
        kind = Unreachable
        problem = (
            f"{server} failed to update {zone} (SERVFAIL): it cannot write its journal, or the zone reached a limit "
            "(BIND: max-records, max-records-per-type)"
        )
        remedy = "check its log"
    else:
        return _other(rcode, f"the update of {zone}", server=server, zone=zone, key=key)
    return kind(problem, remedy, server=server, zone=zone, key=key, rcode=rcode, stanzas=stanzas)


def _other(rcode: int, what: str, *, server: str, zone: str = "", key: str = "", name: str = "") -> PrimaryError:
    kind, verb = (Unreachable, "failed") if rcode == SERVFAIL else (BadResponse, "rejected")
    return kind(
        f"{server} {verb} {what} ({rcodes.text(rcode)})",
        "check its log: is the zone loaded?" if rcode == SERVFAIL else "check its log",
        server=server,
        zone=zone,
        key=key,
        name=name,
        rcode=rcode,
    )
