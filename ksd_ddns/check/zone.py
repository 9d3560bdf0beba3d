# SPDX-License-Identifier: Apache-2.0
"""Checks one zone on one server: authority, and the permissions to transfer and to update it."""

from collections.abc import Iterator
from typing import NamedTuple

from ksd_ddns.check import prerequisites
from ksd_ddns.check.finding import Finding, Sign, failed, failure, ok, skipped, warning
from ksd_ddns.check.setup import Found, Read, Setup
from ksd_ddns.errors import BadResponse, Denied, KsdError, Stanza, Unreachable
from ksd_ddns.primary import diagnosis, grants
from ksd_ddns.primary.grants import Permission
from ksd_ddns.primary.names_reader import NamesRequest
from ksd_ddns.primary.probe import (
    UDP_TIMEOUT,
    Probe,
    ProbeResult,
    other_addresses,
    own_address,
    serial_over_udp,
    unused_below,
)
from ksd_ddns.primary.session import Session
from ksd_ddns.wire import codec, names, rcodes
from ksd_ddns.wire.rcodes import BADKEY
from ksd_ddns.wire.rrset import NS, SOA, TXT
from ksd_ddns.wire.text import rdtype_text
from ksd_ddns.wire.transfer import newer
from ksd_ddns.zone import index
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.desired import desired
from ksd_ddns.zone.index import Index
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Ownership, Scope

MAX_TESTED = 8
"""Maximum number of namespaces, or of names outside the base, for which the permission to update is tested."""

LONG_NEGATIVE = 600
"""Negative TTL, in seconds, from which to warn."""


class Target(NamedTuple):
    """Two connections to one server: `probe` tests permissions, `session` reads as the controller does.

    `zones` are the zones found on the server so far.
    """

    probe: Probe
    session: Session
    zones: set[bytes]

    @property
    def server(self) -> str:
        """The server, as text."""
        return str(self.probe.server)


def findings(setup: Setup, target: Target, base: bytes, found: Found) -> Iterator[Finding]:
    """Check the zone that contains `base`."""
    server = target.server
    subject = f"{names.to_text(base)} on {server}"
    try:
        apex = _apex(setup, target.session, base)
        scope = setup.scope(setup.rules(apex, base))
        authority = target.probe.soa(apex)
    except KsdError as e:
        yield failed("zone", subject, e)
        yield from (skipped(what, subject) for what in ("transfer", "update"))
        return
    soa = next((item for item in authority.message.answer if item[1] == SOA and item[0] == apex), None)
    if soa is None:
        yield failed("zone", subject, BadResponse(f"{server} answers without the SOA of {names.to_text(apex)}"))
        yield from (skipped(what, subject) for what in ("transfer", "update"))
        return
    target.zones.add(apex)
    yield _soa(subject, apex, soa[2], soa[3])
    yield from _primary(setup, target, apex, soa[3], found)
    if scope.read is planning.Read.QUERIES:
        live, finding = _queries(setup, target, apex, base, scope, found)
    else:
        live, finding = _transfer(target, apex, scope)
    yield finding
    update = _update(
        target, apex, scope, _subtrees(setup, base, found), primary=names.to_text(codec.soa_primary(soa[3]))
    )
    yield update
    for name in _outside(setup, apex, scope, found) if base == setup.bases[0] else ():
        # Test names that may exist only if the server is known to check prerequisites.
        usable = update.sign is Sign.OK
        yield (
            _update_of(target, apex, scope, name) if usable else skipped("update", f"{names.to_text(name)} on {server}")
        )
    if live is not None:
        if update.sign is Sign.OK:
            yield from _prerequisites(target, live)
        found.zones.setdefault(base, []).append(Read(server, live))


def _prerequisites(target: Target, live: Live) -> Iterator[Finding]:
    try:
        found = prerequisites.finding(target.probe, live)
    except KsdError as e:
        found = failed("prerequisites", f"{names.to_text(live.zone)} on {target.server}", e)
    if found is not None:
        yield found


def unchecked(base: bytes, server: str) -> Iterator[Finding]:
    """Yield the checks of a zone that are skipped because its server cannot be used."""
    for what in ("zone", "transfer", "update"):
        yield skipped(what, f"{names.to_text(base)} on {server}")


def _apex(setup: Setup, session: Session, base: bytes) -> bytes:
    """Return the apex of the zone that contains `base`. Raises PrimaryError if the server does not serve it."""
    zone = setup.zone_of(base)
    if zone is None:
        return session.enclosing_zone(base)
    session.serial(zone)
    return zone


def _soa(subject: str, apex: bytes, ttl: int, rdata: bytes) -> Finding:
    negative = min(ttl, int.from_bytes(rdata[-4:], "big"))  # RFC 2308, 5
    text = f"zone {names.to_text(apex)}, serial {codec.soa_serial(rdata)}, negative answers last {negative} s"
    if negative <= LONG_NEGATIVE:
        return ok("zone", subject, text)
    fix = (
        "a resolver that queries a name too early caches that it does not exist: set the last field of the SOA, or its "
        "TTL, to about 30"
    )
    return warning("zone", subject, text, fix)


def _primary(setup: Setup, target: Target, apex: bytes, rdata: bytes, found: Found) -> Iterator[Finding]:
    """Warn if the primary that the SOA names has a newer serial: then this server is one of its secondaries."""
    name, serial = names.to_text(codec.soa_primary(rdata)), codec.soa_serial(rdata)
    if name not in found.primaries:
        found.primaries[name] = other_addresses(target.probe.server, name)
    for server in found.primaries[name]:
        ahead = serial_over_udp(server, apex, timeout=min(UDP_TIMEOUT, setup.timeout))
        if ahead is None:
            found.primaries[name] = [item for item in found.primaries[name] if item != server]
        elif newer(ahead, serial):
            yield warning(
                "primary",
                f"{names.to_text(apex)} on {target.server}",
                f"the SOA names {name} as the primary: {server} has serial {ahead}, newer than {serial} here, so this "
                "server is a secondary",
                f"set DNS_SERVER to the primary, {server}: a secondary refuses updates, or forwards them and shows "
                "them late",
            )
            return


_OR_QUERIES = "if the zone cannot be transferred, set READ=queries"


def _transfer(target: Target, apex: bytes, scope: Scope) -> tuple[Live | None, Finding]:
    zone = names.to_text(apex)
    subject = f"{zone} from {target.server}"
    key = ""
    try:
        key = target.probe.read_key().name
        live = target.session.read(apex)
    except Denied:
        text = f"key {key} may not transfer the zone"
        fix = (
            "allow it in addition to the existing permissions: ksd-ddns must read the zone before it changes it; "
            "PowerDNS never transfers a zone with narrow NSEC3, see pdnsutil set-nsec3"
        )
        if scope.ownership is Ownership.TXT:
            fix = f"{fix}; {_OR_QUERIES}"
        return None, failure("transfer", subject, text, fix, grants.transfer(zone, key))
    except Unreachable as e:
        return None, failed("transfer", subject, e)
    except KsdError as e:
        if scope.ownership is Ownership.TXT:
            return None, failure("transfer", subject, str(e), _OR_QUERIES)
        return None, failed("transfer", subject, e)
    return live, ok("transfer", subject, f"{len(live.nodes)} names, with key {key}")


def _queries(
    setup: Setup, target: Target, apex: bytes, base: bytes, scope: Scope, found: Found
) -> tuple[Live | None, Finding]:
    """Read by queries what the controller would read so: the names in the index, and the wanted ones."""
    subject = f"{names.to_text(apex)} from {target.server}"
    wanted = desired(found.vmis or (), setup.rules(apex, base)).names()
    request = NamesRequest(
        names=tuple(wanted),
        shards=(),
        full=True,
        index=Index(scope.base, scope.owner),
        types=scope.types,
        known=lambda _: (),
    )
    try:
        answers = target.session.read_names(apex, request)
    except KsdError as e:
        return None, failed("queries", subject, e)
    listed = sum(1 for node in answers.nodes.values() if node.index)
    # A plan here compares records, not the index.
    nodes = {name: node.with_index(()) for name, node in answers.nodes.items() if node.rrsets}
    text = f"{listed} names in the index, with key {target.probe.read_key().name}"
    return Live(apex, answers.serial, nodes), ok("queries", subject, text)


# The permission to update


def _subtrees(setup: Setup, base: bytes, found: Found) -> list[bytes]:
    """Return the names below which the permission is tested: one for each known namespace, or the base."""
    if base != setup.bases[0]:
        return [base]
    namespaces = setup.namespaces or {vmi.namespace for vmi in found.vmis or ()}
    labels = filter(None, map(names.legal_label, sorted(namespaces)))
    return [label + base for label in labels if len(label) + len(base) < names.MAX_NAME - 64][:MAX_TESTED] or [base]


def _update(target: Target, apex: bytes, scope: Scope, subtrees: list[bytes], *, primary: str) -> Finding:
    zone, base = names.to_text(apex), names.to_text(scope.base)
    subject = f"{base} on {target.server}"
    types = scope.written
    try:
        key = target.probe.update_key()
        permission = Permission(zone, base, key.name, list(map(rdtype_text, types)), ("NS",) if scope.apex else ())
        unused = unused_below(subtrees[0])
        first = target.probe.any_update(apex, unused)
        if first.key_rejected and key.name != target.probe.read_key().name:
            fix = "name, algorithm and secret must be the same on both sides, and the key must be granted the update"
            stanzas = (*grants.key_stanzas(key.name, key.algorithm), *_stanzas(target, permission))
            error = first.error or diagnosis.update_error(
                rcodes.NOTAUTH, server=target.server, permission=permission, signed=False
            )
            return failure("update", subject, str(error), fix, stanzas)
        missing = ["anything"]
        if _granted(target, first, rcodes.NXDOMAIN, permission):
            missing = [
                f"{rdtype_text(rdtype)} below {names.to_text(subtree)}"
                for subtree in subtrees
                for rdtype in types
                if not _may(target, apex, unused_below(subtree), rdtype, permission)
            ]
            if scope.read is planning.Read.QUERIES:
                head = index.head(scope.base, scope.owner)
                if not _may(target, apex, unused_below(head), TXT, permission):
                    missing.append(f"TXT below {names.to_text(head)}, for the index")
            if scope.apex and not _may_name_server(target, apex, unused, permission):
                missing.append(f"NS of {zone}")
    except KsdError as e:
        return failed("update", subject, e)
    if missing:
        text = f"key {key.name} may not update {', '.join(missing)}"
        fix = (
            f"allow it; or {target.server} is not the primary (the SOA names {primary}), or the zone is frozen (BIND: "
            "rndc thaw)"
        )
        return failure("update", subject, text, fix, _stanzas(target, permission))
    tested = "one unused name" if len(subtrees) == 1 else f"one unused name in each of {len(subtrees)} namespaces"
    shown = ", ".join(permission.types)
    text = f"key {key.name} may update {shown} (tested with {tested}; servers check each name)"
    return ok("update", subject, text)


def _outside(setup: Setup, apex: bytes, scope: Scope, found: Found) -> list[bytes]:
    """Return the names of VMIs outside the base; without ownership records they are not published."""
    if scope.ownership is not Ownership.TXT:
        return []
    wanted = desired(found.vmis or (), setup.rules(apex, scope.base)).names()
    return sorted(name for name in wanted if not names.is_below(name, scope.base))[:MAX_TESTED]


def _update_of(target: Target, apex: bytes, scope: Scope, name: bytes) -> Finding:
    """Check the permission for `name`, if the server checks it before the prerequisite."""
    subject = f"{names.to_text(name)} on {target.server}"
    try:
        unused = unused_below(scope.base)
        types = list(map(rdtype_text, scope.written))
        permission = Permission(
            names.to_text(apex), names.to_text(name), target.probe.update_key().name, types, alone=True
        )
        missing = [
            rdtype_text(rdtype)
            for rdtype in scope.written
            if not _granted(
                target, target.probe.addition(apex, unused, rdtype, owner=name), rcodes.NXDOMAIN, permission
            )
        ]
    except KsdError as e:
        return failed("update", subject, e)
    if not missing:
        return ok("update", subject, f"key {permission.key} may update {', '.join(types)} of this name")
    text = f"key {permission.key} may not update {', '.join(missing)} of this name, which a VMI needs"
    fix = "grant it in addition to the rest, or limit VMIs to their namespace: HOSTNAME_SCOPE=namespace"
    return failure("update", subject, text, fix, _stanzas(target, permission))


def _stanzas(target: Target, permission: Permission) -> tuple[Stanza, ...]:
    return grants.update(permission, address=own_address(target.probe.server))


def _may_name_server(target: Target, apex: bytes, unused: bytes, permission: Permission) -> bool:
    """Return whether we may add an NS at the apex, if the server checks that before the prerequisite."""
    return _granted(target, target.probe.addition(apex, unused, NS, owner=apex), rcodes.NXDOMAIN, permission)


def _may(target: Target, apex: bytes, unused: bytes, rdtype: int, permission: Permission) -> bool:
    """Return whether we may update records of `rdtype`, whichever the server checks first (see probe)."""
    added = target.probe.addition(apex, unused, rdtype)
    return _granted(target, added, rcodes.NXDOMAIN, permission) and _granted(
        target, target.probe.deletion(apex, unused, rdtype), rcodes.NOERROR, permission
    )


def _granted(target: Target, answer: ProbeResult, expected: int, permission: Permission) -> bool:
    """Return true for the `expected` response, false for a refusal. Raises PrimaryError for all others."""
    if answer.tsig == BADKEY:
        return False
    if answer.error is not None:
        raise answer.error
    rcode = answer.message.rcode
    if rcode in {rcodes.REFUSED, rcodes.NOTAUTH}:
        return False
    if rcode == expected:
        return True
    if rcode == rcodes.NOERROR:
        raise BadResponse(
            f"{target.server} acknowledged an update although its prerequisite failed: it ignores prerequisites (RFC "
            "2136, 2.4), so records of others could be overwritten; use another server"
        )
    raise diagnosis.update_error(rcode, server=target.server, permission=permission)
