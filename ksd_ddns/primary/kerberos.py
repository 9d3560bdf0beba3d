# SPDX-License-Identifier: Apache-2.0
"""Kerberos tickets for GSS-TSIG, and what fixes Kerberos errors.

Tickets come from the realm's KDC (KRB5_CONFIG), with the keytab KRB5_CLIENT_KTNAME or the cache KRB5CCNAME. The module
gssapi comes with the extra `gss`, and is imported when the first key is needed.
"""

import importlib
import secrets
from concurrent.futures import Future
from threading import Thread
from typing import Any, NamedTuple

from ksd_ddns.errors import Denied, PrimaryError, SettingsError, Unreachable

_KERBEROS = "1.2.840.113554.1.2.2"
_SPNEGO = "1.3.6.1.5.5.2"


def gssapi_module() -> Any:
    """Return the module gssapi. Raises SettingsError if it is not installed."""
    try:
        return importlib.import_module("gssapi")
    except ImportError as e:
        raise SettingsError(
            f"GSS_TSIG=true needs the extra gss, which cannot be imported ({e}): pip install 'ksd-ddns[gss]', which "
            "needs a C compiler and the Kerberos headers (Debian: gcc libc6-dev libkrb5-dev)"
        ) from e


class InitialContext(NamedTuple):
    """Our principal, the lifetime of its ticket in seconds, a new security context, and its first token."""

    principal: str
    seconds: float
    context: Any
    token: bytes


def request_context(server: str, host: str) -> "Future[InitialContext]":
    """Start a daemon thread that gets a ticket from the KDC and starts a security context."""
    future: Future[InitialContext] = Future()

    def ask() -> None:
        try:
            future.set_result(_initial_context(server, host))
        except Exception as e:  # noqa: BLE001 raised by result()
            future.set_exception(e)

    Thread(target=ask, name="kerberos", daemon=True).start()
    return future


def _initial_context(server: str, host: str) -> InitialContext:
    """Get a ticket and start a security context. Only this sends requests to the KDC, which may take long."""
    gssapi = gssapi_module()
    try:
        mechanisms = [gssapi.OID.from_int_seq(_KERBEROS), gssapi.OID.from_int_seq(_SPNEGO)]
        credentials = _credentials(gssapi, mechanisms)
        seconds = float(credentials.lifetime)
        principal = str(credentials.name)
    except gssapi.exceptions.GSSError as e:
        raise kerberos_error(e, f"no Kerberos ticket for {server}", server) from e
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
        return InitialContext(principal, seconds, context, context.step())
    except gssapi.exceptions.GSSError as e:
        raise kerberos_error(e, f"{principal} gets no ticket for the service DNS/{host} of {server}", server) from e


def _credentials(gssapi: Any, mechanisms: list[Any]) -> Any:
    """Return the ticket-granting ticket, from the cache or with the keytab."""
    try:
        found = gssapi.Credentials(usage="initiate", mechs=mechanisms)
        found.lifetime  # noqa: B018 fetches it
    except gssapi.exceptions.ExpiredCredentialsError:
        # MIT Kerberos does not report why the keytab could not renew it; with an empty cache it does.
        fresh = {"ccache": f"MEMORY:{secrets.token_hex(8)}"}
        try:
            return gssapi.Credentials(usage="initiate", mechs=mechanisms, store=fresh)
        except gssapi.exceptions.GSSError as e:
            if not any(sign in error_text(e) for sign in _NO_KEYTAB):
                raise
        raise
    return found


_NEW_KEYTAB = "the keytab holds an old key or password: create a new one (KRB5_CLIENT_KTNAME)"
_WRONG_SERVICE = (
    "set GSS_TSIG_HOSTNAME to the host name after DNS/ in the server's keytab or account; the realm follows from "
    "[domain_realm] in KRB5_CONFIG"
)
_NO_KEYTAB = ("No Kerberos credentials", "No credentials cache")
_SET_KEYTAB = "set KRB5_CLIENT_KTNAME to a readable keytab, or KRB5CCNAME to a cache that kinit fills"
NO_KDC = "is it running, do firewalls allow TCP and UDP to it, does KRB5_CONFIG name it?"
"""What to check if no KDC answers."""

_REMEDIES = {
    "Failed to store credentials": "set KRB5CCNAME to a writable cache, such as MEMORY:ksd-ddns",
    **dict.fromkeys(_NO_KEYTAB, _SET_KEYTAB),
    "entry in database has expired": "extend the account",
    "expired": "renew it (kinit), or set KRB5_CLIENT_KTNAME to a keytab, which renews it automatically",
    "Client '": "the account was deleted or renamed: create a new keytab (KRB5_CLIENT_KTNAME)",
    "not found in Kerberos database": _WRONG_SERVICE,
    "Decrypt integrity check failed": _NEW_KEYTAB,
    "Preauthentication failed": _NEW_KEYTAB,
    "revoked": "unlock the account",
    "Clock skew": "set the clocks of this machine, the KDC and the server by NTP",
    "configuration file": "correct the file KRB5_CONFIG",
}


def kerberos_error(error: Any, problem: str, server: str) -> PrimaryError:
    """Return the error for a GSSError. MIT Kerberos has one code for many causes, so only its text differs."""
    text = error_text(error)
    problem = f"{problem}: {text}"
    if "KDC for realm" in text:
        return Unreachable(problem, NO_KDC, server=server)
    default = "check KRB5_CONFIG, KRB5_CLIENT_KTNAME and KRB5CCNAME"
    remedy = next((remedy for part, remedy in _REMEDIES.items() if part in text), default)
    return Denied(problem, remedy, server=server)


def error_text(error: Any) -> str:
    """Return the most specific text of a GSSError: that of the mechanism, else that of GSS-API."""
    minor = [item for item in error.get_all_statuses(error.min_code, False) if item not in {"", "Success"}]
    return ", ".join(minor or error.get_all_statuses(error.maj_code, True)).rstrip(".")
