"""One server: can it be reached, does it take our key, does its clock go right; and then each zone on it."""

from collections.abc import Iterator
from contextlib import closing

from ksd_ddns.check import zone
from ksd_ddns.check.finding import Finding, Sign, failed, failure, ok, skipped, warning
from ksd_ddns.check.setup import Found, Setup
from ksd_ddns.check.zone import Line
from ksd_ddns.errors import KsdError, Unreachable
from ksd_ddns.primary import grants, rcodes
from ksd_ddns.primary.keys import FUDGE, Key
from ksd_ddns.primary.probe import UDP_TIMEOUT, Answer, Probe, rcode_over_udp
from ksd_ddns.primary.rcodes import BADSIG, BADTIME
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import names

CLOCK_WARNING = 60
"""Seconds by which the clocks may differ before that is worth a word; beyond FUDGE nothing is accepted."""

MANY_ZONES = 100
"""Zones on one server that its defaults are made for."""

ROUNDING = 2
"""Seconds of a difference that may come from whole seconds and the way between."""

_SAME_KEY = "name, algorithm and secret must be the same on both sides (SECRET is that of the key file)"
_NOT_SAID = (
    "it does not know the key, has another secret or algorithm for it, or the clocks differ; it does not say which, "
    "its log does"
)
_NTP = "set the clock of both by NTP"


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
            yield ok("connection", server, "stands, by TLS" if peer.tls else "stands, by TCP")
            if peer.tls is None:
                yield _udp(setup, peer)
            known, clock = _key_and_clock(setup, probe)
            yield from (known, clock)
            usable = Sign.FAIL not in {known.sign, clock.sign}
        with closing(Session((peer,), timeout=setup.timeout)) as session:
            for base in setup.bases:
                if usable:
                    yield from zone.findings(setup, Line(probe, session, zones), base, found)
                else:
                    yield from zone.unchecked(base, server)
    if len(zones) > MANY_ZONES:
        yield warning(
            "zones",
            server,
            f"{len(zones)} zones on one server: at a start each is transferred, and each is polled on its own",
            "raise its limits for clients and transfers (BIND: tcp-clients, 150 by default, and transfers-out, 10), or "
            "let one reverse zone hold a larger block, such as 10.in-addr.arpa",
        )


def _udp(setup: Setup, peer: Peer) -> Finding:
    server = str(peer.server)
    try:
        rcode = rcode_over_udp(peer.server, setup.zone or setup.bases[0], timeout=min(UDP_TIMEOUT, setup.timeout))
    except Unreachable as e:
        cure = "ksd-ddns itself needs TCP alone, but resolvers ask by UDP: let it through"
        return warning("UDP", server, str(e), cure)
    if rcode in {rcodes.NOERROR, rcodes.NXDOMAIN}:
        return ok("UDP", server, "answers")
    text = f"a question without a signature is answered with {rcodes.text(rcode)}"
    return warning("UDP", server, text, "resolvers must get answers (BIND: allow-query), here or at a secondary")


def _key_and_clock(setup: Setup, probe: Probe) -> tuple[Finding, Finding]:
    """Check the key that signs what is read, and with it the clock. Another key for updates shows with those."""
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
        # A refusal without a signature: the zone's own check says what it means.
        return skipped("key", server), skipped("clock", server)
    return ok("key", server, f"{key.name} with {key.algorithm} is known there"), _clock(server, answer.ahead or 0)


def _unknown(setup: Setup, probe: Probe, key: Key, answer: Answer) -> Finding:
    server, error = str(probe.server), answer.error
    if error is not None and not answer.key_rejected:
        return failed("key", server, error)
    text = str(error) if error is not None else f"{server} does not accept key {key.name} (NOTAUTH): {_NOT_SAID}"
    stanzas = grants.known(key.name, key.algorithm)
    if answer.tsig != BADSIG and (apex := probe.apex(setup.zone or setup.bases[0])) is not None:
        # Knot says so of a key that it knows, too, where no rule of the zone names it.
        read = grants.transfer(names.to_text(apex), key.name)
        stanzas += tuple(stanza for stanza in read if stanza.server == "Knot")
    return failure("key", server, text, _SAME_KEY, stanzas)


def _clock(server: str, ahead: int) -> Finding:
    if abs(ahead) < CLOCK_WARNING:
        return ok("clock", server, "goes with ours" if abs(ahead) <= ROUNDING else _by(ahead))
    return warning("clock", server, f"{_by(ahead)}; beyond {FUDGE} s nothing is accepted", _NTP)


def _wrong_time(server: str, answer: Answer) -> Finding:
    by = _by(answer.ahead) if answer.ahead is not None else "it does not say by how much"
    return failure("clock", server, f"more than {FUDGE} s from ours: {by} (BADTIME)", _NTP)


def _by(ahead: int) -> str:
    return f"{abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} ours"
