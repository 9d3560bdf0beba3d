# SPDX-License-Identifier: Apache-2.0
"""Keys negotiated with Kerberos: GSS-TSIG (RFC 3645) and TKEY (RFC 2930), for Active Directory and BIND."""

import logging
import math
import secrets
import time
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TKEY
import dns.rrset
import dns.tsig

from ksd_ddns.errors import BadResponse, Denied, Unreachable
from ksd_ddns.primary.connection import Connection
from ksd_ddns.primary.exchange import UnsignedExchange
from ksd_ddns.primary.kerberos import (
    NO_KDC,
    InitialContext,
    error_text,
    gssapi_module,
    kerberos_error,
    request_context,
)
from ksd_ddns.primary.keys import GSS_ALGORITHM, Key
from ksd_ddns.primary.verifier import Verifier
from ksd_ddns.wire import rcodes
from ksd_ddns.wire.codec import Message

RENEW_BEFORE = 120.0
"""Seconds before its expiry that a key is replaced; or a quarter of its lifetime, if that is less."""

KDC_WITHIN = 5.0
"""Timeout for the KDC in seconds. Kerberos itself has no such setting, and gives up after about a minute."""

_MAX_LEGS = 8
_TKEY = 249
_MODE_GSS = 3

_log = logging.getLogger(__name__)


class NegotiatedKey:
    """The key for one server, the service DNS/`host`.

    It is negotiated on demand, and kept until shortly before it expires or until the server no longer knows it. Raises
    SettingsError if the extra `gss` is not installed.
    """

    def __init__(self, host: str) -> None:
        gssapi_module()
        self._host = host
        self._pending: Future[InitialContext] | None = None
        self._key: Key | None = None
        self._renew_at = 0.0

    def current(self, connection: Connection) -> Key:
        """Return the key; if there is no valid one, negotiate it over `connection`.

        Raises Denied if there is no ticket or the server does not accept it; Unreachable if the KDC or the server does
        not answer.
        """
        if self._key is None or time.monotonic() >= self._renew_at:
            self._key, seconds = _negotiate(connection, self._initial_context(str(connection.server)))
            self._renew_at = time.monotonic() + seconds - min(RENEW_BEFORE, seconds / 4)
            facts = {"server": str(connection.server), "principal": self._key.name, "lifetime": f"{seconds:.0f}s"}
            _log.info("negotiated a key by Kerberos", extra={"fields": facts})
        return self._key

    def reject(self, key: Key) -> bool:
        """Discard `key`, which a restarted server does not know; return True: another one can be negotiated."""
        if key is self._key:
            self._key = None
        return True

    def _initial_context(self, server: str) -> InitialContext:
        """Start a security context with `server`; wait at most KDC_WITHIN for the KDC."""
        # A result that came after the timeout is old, but its tickets are cached.
        if self._pending is None or self._pending.done():
            self._pending = request_context(server, self._host)
        if not wait([self._pending], KDC_WITHIN).done:
            raise Unreachable(
                f"no Kerberos ticket for {server}: no KDC answers within {KDC_WITHIN:g} s", NO_KDC, server=server
            )
        pending, self._pending = self._pending, None
        return pending.result()


class _Token(NamedTuple):
    """The server's part of a negotiation: a TKEY error, or the next token of the mechanism."""

    error: int
    token: bytes
    seconds: int


class _Context:
    """A security context that signs and verifies for dnspython."""

    def __init__(self, context: Any, server: str) -> None:
        self._context = context
        self._server = server

    def get_signature(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        try:
            return bytes(self._context.get_signature(data))
        except gssapi_module().exceptions.GSSError as e:
            problem = f"cannot sign a message to {self._server} by Kerberos: {error_text(e)}"
            raise Unreachable(problem, server=self._server) from e

    def verify_signature(self, data: bytes, signature: bytes) -> None:
        """Raise GSSError if `signature` is not the server's signature of `data`."""
        self._context.verify_signature(data, signature)


def _negotiate(connection: Connection, initial: InitialContext) -> tuple[Key, float]:
    """Negotiate a key; return it, and its lifetime in seconds."""
    gssapi = gssapi_module()
    principal, seconds, context, _ = initial
    server = str(connection.server)
    name = dns.name.from_text(f"{secrets.token_hex(8)}.sig-ksd-ddns.")  # unique (RFC 3645, 3.1.2)
    try:
        response, longest = _authenticate(connection, initial, name)
        proven = gssapi.RequirementFlag.mutual_authentication in context.actual_flags
        seconds = min(seconds, float(context.lifetime), longest if longest > 0 else math.inf)
    except gssapi.exceptions.GSSError as e:
        raise kerberos_error(e, f"{server} and {principal} cannot agree on a key by Kerberos", server) from e
    key = Key(
        principal,
        GSS_ALGORITHM,
        dns.tsig.Key(name, _Context(context, server), dns.tsig.GSS_TSIG),  # type: ignore[arg-type]
        name.to_digestable(),
    )
    if response.tsig is None or not proven:
        raise BadResponse(f"{server} ended the negotiation with {principal} without proof of its identity")
    Verifier(key, b"", server=server).verify(response)
    return key, seconds


def _authenticate(connection: Connection, initial: InitialContext, name: dns.name.Name) -> tuple[Message, int]:
    """Exchange tokens until both sides are authenticated; return the last response, and its lifetime of the key."""
    context, token = initial.context, initial.token
    for _ in range(_MAX_LEGS):
        response = _send_token(connection, name, token)
        found = _token(connection, response, name.to_digestable())
        if found.error:
            raise _refused(connection, found.error)
        more = None if context.complete else context.step(found.token)
        if context.complete and not more:
            return response, found.seconds
        if not more:
            break
        token = more
    raise BadResponse(f"{connection.server} does not complete the negotiation by Kerberos")


def _send_token(connection: Connection, name: dns.name.Name, token: bytes) -> Message:
    """Send the token in a TKEY query (RFC 2930, 4; RFC 3645, 3.1.2); return the response."""
    now = int(time.time())
    tkey = dns.rdtypes.ANY.TKEY.TKEY(  # type: ignore[no-untyped-call]
        dns.rdataclass.ANY, dns.rdatatype.TKEY, dns.tsig.GSS_TSIG, now, now + 86_400, _MODE_GSS, 0, token
    )
    query = dns.message.make_query(name, dns.rdatatype.TKEY, dns.rdataclass.ANY, id=secrets.randbelow(1 << 16))
    query.flags = 0  # no recursion
    query.additional.append(dns.rrset.from_rdata(name, 0, tkey))
    message: Message = UnsignedExchange(connection).ask(query.to_wire()).message
    return message


def _token(connection: Connection, response: Message, name: bytes) -> _Token:
    """Return the content of the TKEY record in the response. Raises Denied if the server does not negotiate."""
    if response.rcode != rcodes.NOERROR:
        raise _unsupported(connection, rcodes.text(response.rcode), response.rcode)
    for owner, rdtype, _, rdata in response.answer:
        if rdtype == _TKEY and owner == name:
            try:
                tkey = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TKEY, rdata, 0, len(rdata))
            except (dns.exception.DNSException, ValueError) as e:
                raise BadResponse(f"{connection.server} sent a malformed TKEY record: {e}") from e
            assert isinstance(tkey, dns.rdtypes.ANY.TKEY.TKEY)
            # The difference does not depend on the server's clock.
            return _Token(tkey.error, tkey.key, tkey.expiration - tkey.inception)
    raise BadResponse(f"{connection.server} answered the negotiation of a key without a TKEY record")


def _refused(connection: Connection, error: int) -> Denied:
    codes = {16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 19: "BADMODE", 20: "BADNAME", 21: "BADALG"}
    code = codes.get(error, f"TKEY error {error}")
    if error == 19:
        return _unsupported(connection, code, error)
    return Denied(
        f"{connection.server} does not accept our Kerberos ticket ({code})",
        "its keytab must hold the current key of its service, and its clock must be right; check its log (BIND: "
        "gss_accept_sec_context)",
        server=connection.server,
        rcode=error,
    )


def _unsupported(connection: Connection, code: str, rcode: int) -> Denied:
    return Denied(
        f"{connection.server} negotiates no key by Kerberos ({code})",
        "set tkey-gssapi-keytab in the options of BIND, or enable GSS-TSIG on other servers",
        server=connection.server,
        rcode=rcode,
    )
