# SPDX-License-Identifier: Apache-2.0
"""Explanations from a running controller, over HTTP."""

import ssl
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from ksd_ddns.errors import SettingsError, SourceError
from ksd_ddns.printable import masked
from ksd_ddns.zone import explain
from ksd_ddns.zone.render.document import VERSION
from ksd_ddns.zone.render.explained import Document

_CONNECT, _READ = 5.0, 15.0
_LONGEST = 1000
_LARGEST = 64 << 20


def explanation(url: str, what: str) -> Document:
    """Return the explanation of `what` from the controller at `url`. Raises SettingsError, SourceError."""
    if not _is_url(url):
        raise SettingsError(f"--url = {masked(url)!r}: write the URL of the status page, such as http://127.0.0.1:8081")
    query = urlencode({"vmi" if explain.is_vmi(what) else "name": what})
    full, url = f"{url.rstrip('/')}/explain?{query}", masked(url)
    status, body = _get(url, full)
    if status != 200:
        raise _refusal(url, status, body)
    try:
        found = msgspec.json.decode(body, type=Document)
    except msgspec.DecodeError as e:
        raise SourceError(f"{url} answered with something that is not an explanation: check --url") from e
    if found.version != VERSION:
        raise SourceError(f"{url} runs another version of ksd-ddns: use the same version for explain")
    return found


def _get(url: str, full: str) -> tuple[int, bytes]:
    try:
        response = urllib3.request(
            "GET",
            full,
            headers={"Accept": "application/json"},
            timeout=urllib3.Timeout(connect=_CONNECT, read=_READ),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        with response:
            return response.status, response.read(_LARGEST)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as e:
        raise _failure(url, e) from e


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment)
        )
    except ValueError:  # of an IPv6 address or a port
        return False


def _failure(url: str, e: Exception) -> SourceError:
    """Return the error for a request without a response."""
    if isinstance(e, urllib3.exceptions.SSLError):
        cause = e.args[0] if e.args else None
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceError(
                f"{url}: the certificate is not trusted ({cause.verify_message}); set SSL_CERT_FILE to a file with the "
                "certificate of its CA"
            )
        return SourceError(f"{url}: no TLS connection; if the server does not use TLS, write http:// instead")
    if isinstance(e, urllib3.exceptions.ProtocolError | urllib3.exceptions.DecodeError):
        return SourceError(f"{url} sent no complete HTTP response: check --url")
    # NewConnectionError is a ConnectTimeoutError by its class.
    connected = not isinstance(e, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)
    late = connected and isinstance(e, urllib3.exceptions.TimeoutError)
    reason = "no answer in time" if late else "cannot connect"
    return SourceError(
        f"{url}: {reason}; check that the controller runs and that its STATUS_ADDRESS can be reached, for example "
        "with kubectl -n secondary port-forward deployment/secondary-dns 8081"
    )


def _refusal(url: str, status: int, body: bytes) -> SourceError:
    text = " ".join(body[:_LONGEST].decode(errors="replace").split())
    if status == 503:
        return SourceError(f"{url} cannot answer now: {text}")
    if status in {400, 421}:
        return SourceError(f"{url}: {text}")
    if status == 404:
        return SourceError(f"{url} has no /explain: check --url, and the version of the controller")
    return SourceError(f"{url} answered with HTTP status {status}: check --url")
