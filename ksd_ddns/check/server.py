# SPDX-License-Identifier: Apache-2.0
"""Checks one server: connection, key and clock, and then each zone on it."""

from collections.abc import Iterator
from contextlib import closing

from ksd_ddns.check import reverse, zone
from ksd_ddns.check.finding import Finding, Sign, failed, failure, ok, skipped, warning
from ksd_ddns.check.setup import Found, Setup
from ksd_ddns.check.zone import Target
from ksd_ddns.errors import KsdError, Unreachable
from ksd_ddns.primary import grants
from ksd_ddns.primary.keys import FUDGE, Key
from ksd_ddns.primary.probe import UDP_TIMEOUT, Probe, ProbeResult, rcode_over_udp
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import names, rcodes
from ksd_ddns.wire.rcodes import BADSIG, BADTIME

CLOCK_WARNING = 60
"""Difference between the clocks, in seconds, from which to warn; beyond FUDGE the server accepts nothing."""

MANY_ZONES = 100
"""The number of zones that the defaults of a server are sufficient for."""

ROUNDING = 2
"""Difference between the clocks, in seconds, that rounding and network latency may cause."""

_SAME_KEY = "name, algorithm and secret must be the same on both sides (replace SECRET by the secret in the key file)"
_NOT_SAID = (
    "it does not know the key, has another secret or algorithm for it, or the clocks differ; its log shows which"
)
_NTP = "use NTP on both machines"


def findings(setup: Setup, peer: Peer, found: Found) -> Iterator[Finding]:
    """Check one server, and all zones on it."""
    zones: set[bytes] = set()
    server = str(peer.server)
    with closing(Probe(peer, timeout=setup.timeout)) as probe:
        try:
            probe.connection()
        except KsdError as e:
            yield failed("connection", server, e)
            for what in ("key", "clock"):
                yield skipped(what, server)
            usable = False
        else:
            yield ok("connection", server, "reachable over TLS" if peer.tls else "reachable over TCP")
            if peer.tls is None:
                yield _udp(setup, peer)
            known, clock = _key_and_clock(setup, probe)
            yield from (known, clock)
            usable = Sign.FAIL not in {known.sign, clock.sign}
        with closing(Session((peer,), timeout=setup.timeout)) as session:
            if usable and setup.reverse_search is not None:
                yield from reverse.findings(setup, setup.reverse_search, session, found)
            for base in found.bases or setup.bases:
                if usable:
                    yield from zone.findings(setup, Target(probe, session, zones), base, found)
                else:
                    yield from zone.unchecked(base, server)
    if len(zones) > MANY_ZONES:
        yield warning(
            "zones",
            server,
            f"{len(zones)} zones on one server: each is transferred at startup, and polled separately",
            "raise its limits for clients and transfers (BIND: tcp-clients, 150 by default, and transfers-out, 10), or "
            "use reverse zones of larger blocks, such as 10.in-addr.arpa",
        )


def _udp(setup: Setup, peer: Peer) -> Finding:
    server = str(peer.server)
    try:
        rcode = rcode_over_udp(peer.server, setup.zone or setup.bases[0], timeout=min(UDP_TIMEOUT, setup.timeout))
    except Unreachable as e:
        fix = "allow UDP: ksd-ddns uses only TCP, but resolvers use UDP"
        return warning("UDP", server, str(e), fix)
    if rcode in {rcodes.NOERROR, rcodes.NXDOMAIN}:
        return ok("UDP", server, "answers")
    text = f"an unsigned query returns {rcodes.text(rcode)}"
    return warning("UDP", server, text, "allow queries from resolvers (BIND: allow-query), here or on a secondary")


def _key_and_clock(setup: Setup, probe: Probe) -> tuple[Finding, Finding]:
    """Check the key for reads, and the clock. A separate key for updates is checked with the update."""
    server = str(probe.server)
    try:
        key = probe.read_key()
        answer = probe.soa(setup.zone or setup.bases[0])
    except KsdError as e:
        return failed("key", server, e), skipped("clock", server)
    if answer.tsig == BADTIME or abs(answer.ahead or 0) > FUDGE:
        return skipped("key", server), _wrong_time(server, answer)
    if answer.error is not None:
        return _unknown(setup, probe, key, answer), skipped("clock", server)
    if answer.key_rejected:
        return _unknown(setup, probe, key, answer), skipped("clock", server)
    if answer.message.tsig is None:
        # An unsigned refusal: the check of the zone reports its cause.
        return skipped("key", server), skipped("clock", server)
    return ok("key", server, f"{key.name} with {key.algorithm} is accepted"), _clock(server, answer.ahead or 0)


def _unknown(setup: Setup, probe: Probe, key: Key, answer: ProbeResult) -> Finding:
    server, error = str(probe.server), answer.error
    if error is not None and not answer.key_rejected:
        return failed("key", server, error)
    text = str(error) if error is not None else f"{server} does not accept key {key.name} (NOTAUTH): {_NOT_SAID}"
    stanzas = grants.key_stanzas(key.name, key.algorithm)
    if answer.tsig != BADSIG and (apex := probe.apex(setup.zone or setup.bases[0])) is not None:
        # Knot also returns BADKEY for a known key that no acl of the zone names.
        read = grants.transfer(names.to_text(apex), key.name)
        stanzas += tuple(stanza for stanza in read if stanza.server == "Knot")
    return failure("key", server, text, _SAME_KEY, stanzas)


def _clock(server: str, ahead: int) -> Finding:
    if abs(ahead) < CLOCK_WARNING:
        return ok("clock", server, "in sync" if abs(ahead) <= ROUNDING else _by(ahead))
    return warning("clock", server, f"{_by(ahead)}; beyond {FUDGE} s the server accepts nothing", _NTP)


def _wrong_time(server: str, answer: ProbeResult) -> Finding:
    by = _by(answer.ahead) if answer.ahead is not None else "the server does not report its time"
    return failure("clock", server, f"more than {FUDGE} s from ours: {by} (BADTIME)", _NTP)


def _by(ahead: int) -> str:
    return f"{abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} ours"
