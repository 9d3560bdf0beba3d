"""Keys negotiated by Kerberos: GSS-TSIG (RFC 3645) with TKEY (RFC 2930), for Active Directory and BIND.

The ticket comes from where every Kerberos client takes it: the keytab KRB5_CLIENT_KTNAME or the cache KRB5CCNAME, by
the realm's KDC as KRB5_CONFIG says. gssapi is the extra `gss`, and imported when the first key is asked for.
"""

import importlib
import logging
import math
import secrets
import time
from concurrent.futures import Future, wait
from threading import Thread
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

from ksd_ddns.errors import BadResponse, Denied, PrimaryError, SettingsError, Unreachable
from ksd_ddns.primary import rcodes
from ksd_ddns.primary.connection import Connection
from ksd_ddns.primary.exchange import UnsignedExchange
from ksd_ddns.primary.keys import GSS_ALGORITHM, Key
from ksd_ddns.primary.verifier import Verifier
from ksd_ddns.wire.codec import Message

RENEW_BEFORE = 120.0
"""Seconds before its end in which a key is not used any more; a quarter of its life, where that is less."""

KDC_WITHIN = 5.0
"""Seconds that a KDC is waited for; Kerberos itself has no limit to set, and gives up after a minute or so."""

_MAX_LEGS = 8
_TKEY = 249
_MODE_GSS = 3
_KERBEROS = "1.2.840.113554.1.2.2"
_SPNEGO = "1.3.6.1.5.5.2"

_log = logging.getLogger(__name__)


class Negotiated:
    """A key for one server, whose service is DNS/`host`.

    It is negotiated when it is needed, and kept until shortly before its end, or until the server does not know it any
    more. Raises SettingsError where the extra `gss` is not installed.
    """

    def __init__(self, host: str) -> None:
        _gssapi()
        self._host = host
        self._asked: Future[_Introduction] | None = None
        self._key: Key | None = None
        self._renew_at = 0.0

    def current(self, connection: Connection) -> Key:
        """Return the key, negotiated over `connection` where there is none that holds.

        Raises Denied where there is no ticket, or the server does not take it; Unreachable where the KDC or the server
        does not answer.
        """
        if self._key is None or time.monotonic() >= self._renew_at:
            self._key, seconds = _negotiated(connection, self._introduction(str(connection.server)))
            self._renew_at = time.monotonic() + seconds - min(RENEW_BEFORE, seconds / 4)
            _log.info("%s and %s agreed on a key for %d s", connection.server, self._key.name, seconds)
        return self._key

    def rejected(self, key: Key) -> bool:
        """Forget `key`: a server that was restarted has forgotten it, too. Return that another can be had."""
        if key is self._key:
            self._key = None
        return True

    def _introduction(self, server: str) -> "_Introduction":
        """Return what introduces us to `server`; a KDC that is silent keeps a thread of its own waiting, not us."""
        if self._asked is None or self._asked.done():  # what came when nobody waited is old; its tickets are kept
            self._asked = _told(server, self._host)
        if not wait([self._asked], KDC_WITHIN).done:
            raise Unreachable(f"no Kerberos ticket to show to {server}: no KDC answers within {KDC_WITHIN:g} s{_KDC}")
        asked, self._asked = self._asked, None
        return asked.result()


class _Token(NamedTuple):
    """What a server says of a negotiation: a TKEY error, or the next token of the mechanism."""

    error: int
    token: bytes
    seconds: int


class _Context:
    """A security context that signs and verifies as dnspython asks for it."""

    def __init__(self, context: Any, server: str) -> None:
        self._context = context
        self._server = server

    def get_signature(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        try:
            return bytes(self._context.get_signature(data))
        except _gssapi().exceptions.GSSError as e:
            raise Unreachable(f"a message to {self._server} cannot be signed by Kerberos: {_text(e)}") from e

    def verify_signature(self, data: bytes, signature: bytes) -> None:
        """Raise GSSError where `signature` is not the server's of `data`."""
        self._context.verify_signature(data, signature)


def _gssapi() -> Any:
    try:
        return importlib.import_module("gssapi")
    except ImportError as e:
        raise SettingsError(
            f"GSS_TSIG=true needs the extra gss, which cannot be imported ({e}): pip install 'ksd-ddns[gss]', for "
            "which a C compiler and the headers of Kerberos must be there (Debian: gcc libc6-dev libkrb5-dev)"
        ) from e


class _Introduction(NamedTuple):
    """Who we are, and for how many seconds; the context that begins, and the first token that it has for the server."""

    principal: str
    seconds: float
    context: Any
    token: bytes


def _told(server: str, host: str) -> "Future[_Introduction]":
    """Return what the KDC will have told; the thread that asks it does not hold up the end of the process."""
    future: Future[_Introduction] = Future()

    def ask() -> None:
        try:
            future.set_result(_introduction(server, host))
        except Exception as e:  # noqa: BLE001 it is raised where it is waited for
            future.set_exception(e)

    Thread(target=ask, name="kerberos", daemon=True).start()
    return future


def _introduction(server: str, host: str) -> _Introduction:
    """Do all that needs the KDC: it may take its time."""
    gssapi = _gssapi()
    try:
        mechanisms = [gssapi.OID.from_int_seq(_KERBEROS), gssapi.OID.from_int_seq(_SPNEGO)]
        credentials = _credentials(gssapi, mechanisms)
        seconds = float(credentials.lifetime)
        principal = str(credentials.name)
    except gssapi.exceptions.GSSError as e:
        raise _trouble(e, f"no Kerberos ticket to show to {server}") from e
    try:
        context = gssapi.SecurityContext(
            name=gssapi.Name(f"DNS@{host}", gssapi.NameType.hostbased_service),
            usage="initiate",
            mech=mechanisms[1],  # as RFC 3645, 3.1.1, and Active Directory want it
            creds=credentials,
            flags=[
                gssapi.RequirementFlag.mutual_authentication,
                gssapi.RequirementFlag.replay_detection,
                gssapi.RequirementFlag.integrity,
            ],
        )
        return _Introduction(principal, seconds, context, context.step())
    except gssapi.exceptions.GSSError as e:
        raise _trouble(e, f"Kerberos does not lead {principal} to the service DNS/{host} of {server}") from e


def _negotiated(connection: Connection, introduction: _Introduction) -> tuple[Key, float]:
    """Return a new key, and the seconds that it holds."""
    gssapi = _gssapi()
    principal, seconds, context, _ = introduction
    server = str(connection.server)
    name = dns.name.from_text(f"{secrets.token_hex(8)}.sig-ksd-ddns.")  # unlike that of anybody else (RFC 3645, 3.1.2)
    try:
        response, longest = _introduced(connection, introduction, name)
        proven = gssapi.RequirementFlag.mutual_authentication in context.actual_flags
        seconds = min(seconds, float(context.lifetime), longest if longest > 0 else math.inf)
    except gssapi.exceptions.GSSError as e:
        raise _trouble(e, f"{server} and {principal} do not agree on a key by Kerberos") from e
    key = Key(
        principal,
        GSS_ALGORITHM,
        dns.tsig.Key(name, _Context(context, server), dns.tsig.GSS_TSIG),  # type: ignore[arg-type]
        name.to_digestable(),
    )
    if response.tsig is None or not proven:
        raise BadResponse(f"{server} ended the negotiation with {principal} without proof of what it is")
    Verifier(key, b"", server=server).verify(response)
    return key, seconds


def _credentials(gssapi: Any, mechanisms: list[Any]) -> Any:
    """Return the ticket for the KDC, from the cache or by the keytab."""
    try:
        found = gssapi.Credentials(usage="initiate", mechs=mechanisms)
        found.lifetime  # noqa: B018 only now it is fetched
    except gssapi.exceptions.ExpiredCredentialsError:
        # MIT does not say why a keytab could not renew it. A cache that was never filled does.
        fresh = {"ccache": f"MEMORY:{secrets.token_hex(8)}"}
        try:
            return gssapi.Credentials(usage="initiate", mechs=mechanisms, store=fresh)
        except gssapi.exceptions.GSSError as e:
            if not any(sign in _text(e) for sign in _NO_KEYTAB):
                raise
        raise
    return found


def _introduced(connection: Connection, introduction: _Introduction, name: dns.name.Name) -> tuple[Message, int]:
    """Exchange tokens until both sides know each other; return the last response, and how long the key holds there."""
    context, token = introduction.context, introduction.token
    for _ in range(_MAX_LEGS):
        response = _exchanged(connection, name, token)
        found = _token(connection, response, name.to_digestable())
        if found.error:
            raise _refused(connection, found.error)
        more = None if context.complete else context.step(found.token)
        if context.complete and not more:
            return response, found.seconds
        if not more:
            break
        token = more
    raise BadResponse(f"{connection.server} does not come to an end of the negotiation by Kerberos")


def _exchanged(connection: Connection, name: dns.name.Name, token: bytes) -> Message:
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
    """Return what the TKEY record of the response says. Raises Denied where there is none."""
    if response.rcode != rcodes.NOERROR:
        raise Denied(
            f"{connection.server} negotiates no key by Kerberos ({rcodes.text(response.rcode)}): BIND needs "
            "tkey-gssapi-keytab in its options, other servers GSS-TSIG switched on"
        )
    for owner, rdtype, _, rdata in response.answer:
        if rdtype == _TKEY and owner == name:
            try:
                tkey = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TKEY, rdata, 0, len(rdata))
            except (dns.exception.DNSException, ValueError) as e:
                raise BadResponse(f"{connection.server} answered with a TKEY record that is none: {e}") from e
            assert isinstance(tkey, dns.rdtypes.ANY.TKEY.TKEY)
            # From its beginning to its end: whatever time it is there.
            return _Token(tkey.error, tkey.key, tkey.expiration - tkey.inception)
    raise BadResponse(f"{connection.server} answered the negotiation of a key without a TKEY record")


def _refused(connection: Connection, error: int) -> Denied:
    codes = {16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 19: "BADMODE", 20: "BADNAME", 21: "BADALG"}
    code = codes.get(error, f"TKEY error {error}")
    if error == 19:
        return Denied(f"{connection.server} negotiates no key by Kerberos ({code}): BIND needs tkey-gssapi-keytab")
    return Denied(
        f"{connection.server} does not take our Kerberos ticket ({code}): its keytab must hold the present key of its "
        "service, and its clock must be right; look at its log (BIND: gss_accept_sec_context)"
    )


_NEW_KEYTAB = "the keytab holds an old key or password: make a new one (KRB5_CLIENT_KTNAME)"
_WRONG_SERVICE = (
    "set GSS_TSIG_HOSTNAME to the host name after DNS/ in the server's keytab or account; the realm follows from "
    "[domain_realm] in KRB5_CONFIG"
)
_NO_KEYTAB = ("No Kerberos credentials", "No credentials cache")
_HAVE_KEYTAB = "set KRB5_CLIENT_KTNAME to a keytab that we may read, or KRB5CCNAME to a cache that kinit fills"
_KDC = "; is it running, is TCP and UDP let through to it, does KRB5_CONFIG name it?"
_CURES = {
    "Failed to store credentials": "set KRB5CCNAME to where tickets can be kept, such as MEMORY:ksd-ddns",
    **dict.fromkeys(_NO_KEYTAB, _HAVE_KEYTAB),
    "entry in database has expired": "let the account be prolonged",
    "expired": "renew it (kinit), or set KRB5_CLIENT_KTNAME to a keytab, with which that goes by itself",
    "Client '": "the account is gone, or has another name: make a new keytab (KRB5_CLIENT_KTNAME)",
    "not found in Kerberos database": _WRONG_SERVICE,
    "Decrypt integrity check failed": _NEW_KEYTAB,
    "Preauthentication failed": _NEW_KEYTAB,
    "revoked": "the account is locked: have it unlocked",
    "Clock skew": "set the clocks of this machine, the KDC and the server by NTP",
    "configuration file": "correct the file KRB5_CONFIG",
}


def _trouble(error: Any, what: str) -> PrimaryError:
    """Return what it means that Kerberos fails: MIT maps its codes, so only the text tells one from another."""
    text = _text(error)
    if "KDC for realm" in text:
        return Unreachable(f"{what}: {text}{_KDC}")
    cure = next(
        (cure for sign, cure in _CURES.items() if sign in text), "look at KRB5_CONFIG, KRB5_CLIENT_KTNAME, KRB5CCNAME"
    )
    return Denied(f"{what}: {text}; {cure}")


def _text(error: Any) -> str:
    """Return the most telling text of a GSSError: that of the mechanism, else that of GSS-API."""
    minor = [item for item in error.get_all_statuses(error.min_code, False) if item not in {"", "Success"}]
    return ", ".join(minor or error.get_all_statuses(error.maj_code, True)).rstrip(".")
