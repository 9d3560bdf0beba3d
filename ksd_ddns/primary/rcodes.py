"""Response codes of a primary (RFC 1035, 4.1.1; RFC 2136, 2.2): what each means here, and its cure."""

from ksd_ddns.errors import BadResponse, Denied, PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.primary import grants
from ksd_ddns.primary.grants import Right

_IN_FULL = "(ksd-ddns check shows each in full)"

NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
YXDOMAIN = 6
YXRRSET = 7
NXRRSET = 8
NOTAUTH = 9
NOTZONE = 10

PREREQUISITE_FAILED = frozenset({NXDOMAIN, YXDOMAIN, YXRRSET, NXRRSET})

_TEXT = {
    NOERROR: "NOERROR",
    FORMERR: "FORMERR",
    SERVFAIL: "SERVFAIL",
    NXDOMAIN: "NXDOMAIN",
    NOTIMP: "NOTIMP",
    REFUSED: "REFUSED",
    YXDOMAIN: "YXDOMAIN",
    YXRRSET: "YXRRSET",
    NXRRSET: "NXRRSET",
    NOTAUTH: "NOTAUTH",
    NOTZONE: "NOTZONE",
}
_ACTIVE_DIRECTORY = "Active Directory, in the properties of the zone: allow {}"


def text(rcode: int) -> str:
    """Return the mnemonic of `rcode`."""
    return _TEXT.get(rcode, f"rcode {rcode}")


def query_error(rcode: int, *, server: str, name: str, key: str) -> PrimaryError:
    """Return what it means that a query for the SOA of `name` was answered with `rcode`."""
    if rcode == REFUSED:
        return Denied(
            f"{server} refused the question for the SOA of {name} (REFUSED): it serves no zone that holds this name, "
            "or does not answer us; correct DOMAIN, ZONE or REVERSE_ZONES, set DNS_SERVER to the primary of the zone, "
            "or look at its allow-query"
        )
    if rcode == NOTAUTH:
        return Denied(
            f"{server} does not accept key {key} (NOTAUTH), and does not say why: it does not know the key, has "
            "another secret or algorithm for it, or the clocks differ; compare the key with the server's, set both "
            f"clocks by NTP, and look at the server's log. {key_known(key)}"
        )
    return _other(rcode, server, f"the question for the SOA of {name}", "look at the server's log")


def key_known(key: str) -> str:
    """Return what makes a server accept `key` that answers NOTAUTH without a signature: Knot since 3.4, PowerDNS."""
    return (
        f"Knot: in knot.conf, under key, the item id: {key} with our algorithm and secret, and in the zone an acl with "
        f"key: {key}  PowerDNS: pdnsutil import-tsig-key {_IN_FULL}"
    )


def transfer_error(rcode: int, *, server: str, zone: str, key: str, signed: bool = True) -> PrimaryError:
    """Return what it means that a transfer of `zone` was answered with `rcode`, `signed` or not."""
    if rcode == REFUSED:
        return Denied(
            f"{server} refused the transfer of {zone} to key {key} (REFUSED): nothing was sent, as what the zone "
            f"holds is unknown; allow it there. {transfer_grant(zone, key)}"
        )
    if rcode == NOTAUTH and not signed:
        return Denied(
            f"{server} does not accept key {key}, or key {key} may not transfer it (NOTAUTH), and does not say why: "
            f"compare the key with the server's, and allow it the transfer of {zone}; or set ZONE to a zone that this "
            f"server is primary of. {key_known(key)}  {transfer_grant(zone, key)}"
        )
    if rcode == NOTAUTH:
        return Denied(
            f"{server} is not authoritative for {zone}, or key {key} may not transfer it (NOTAUTH): set ZONE to a zone "
            "that this server is primary of, or allow the transfer to the key (PowerDNS says so of a wrong key or "
            f"clock, too). {transfer_grant(zone, key)}"
        )
    return _other(rcode, server, f"the transfer of {zone}", "look at the server's log: is the zone loaded?")


def transfer_grant(zone: str, key: str) -> str:
    """Return what lets `key` transfer `zone`, on each server."""
    bind = grants.transfer(zone, key)[0]
    if grants.is_principal(key):
        return f"BIND, {bind.place}: {bind.text}  {_ACTIVE_DIRECTORY.format('zone transfers to this machine')}"
    return (
        f"BIND, {bind.place}: {bind.text}  Knot: an acl with action: [query, transfer] and this key  "
        f"PowerDNS: TSIG-ALLOW-AXFR {_IN_FULL}"
    )


def update_error(rcode: int, *, server: str, right: Right, signed: bool = True) -> PrimaryError:
    """Return what it means that an UPDATE for which `right` is needed was answered with `rcode`, `signed` or not."""
    zone, key = right.zone, right.key
    if rcode == REFUSED:
        return Denied(
            f"{server} refused the update of {zone} with key {key} (REFUSED): grant it there, thaw the zone where "
            "it is frozen (rndc thaw), or set DNS_SERVER to the zone's primary where this server is a secondary. "
            f"{update_grant(right)}"
        )
    if rcode == NOTAUTH:
        return _no_authority_to_update(server, right, signed=signed)
    if rcode == NOTIMP:
        return Denied(
            f"{server} knows no dynamic updates for {zone} (NOTIMP): allow them there, or set another primary"
        )
    if rcode == SERVFAIL:
        return Unreachable(
            f"{server} could not carry out the update of {zone} (SERVFAIL): it may be unable to write its journal, or "
            "this is more than the zone may hold (BIND: max-records, max-records-per-type); look at its log"
        )
    if rcode in PREREQUISITE_FAILED:
        return ZoneChanged(f"{zone} changed on {server} since it was read ({text(rcode)})")
    return _other(rcode, server, f"the update of {zone}", "look at the server's log")


def _no_authority_to_update(server: str, right: Right, *, signed: bool) -> Denied:
    zone, key = right.zone, right.key
    if signed:
        return Denied(
            f"{server} is not authoritative for {zone}, or key {key} may not update it (NOTAUTH): set DNS_SERVER to "
            f"the zone's primary, and grant the update to the key there. {update_grant(right)}"
        )
    return Denied(
        f"{server} does not accept key {key} for the update of {zone} (NOTAUTH), and does not say why: compare the key "
        "with the server's, and grant the update to it; or set DNS_SERVER to the zone's primary. "
        f"{key_known(key)}  {update_grant(right)}"
    )


def update_grant(right: Right) -> str:
    """Return what gives `right`, on each server."""
    bind = grants.update(right, address="")[0]
    if grants.is_principal(right.key):
        text = " ".join(bind.text.split())
        return f"BIND, {bind.place}: {text}  {_ACTIVE_DIRECTORY.format('the account to create and delete records')}"
    return (
        f"BIND, {bind.place}: {' '.join(bind.text.split())}  Knot: an acl with action: update, this key and these "
        f"types  PowerDNS: dnsupdate=yes, TSIG-ALLOW-DNSUPDATE and ALLOW-DNSUPDATE-FROM {_IN_FULL}"
    )


def _other(rcode: int, server: str, what: str, cure: str) -> PrimaryError:
    if rcode == SERVFAIL:
        return Unreachable(f"{server} failed at {what} (SERVFAIL): {cure}")
    return BadResponse(f"{server} answered {what} with {text(rcode)}: {cure}")
