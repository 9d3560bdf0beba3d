# SPDX-License-Identifier: Apache-2.0
"""TLS to a primary (RFC 9103): CAs, our certificate, and the remedies for certificate errors."""

import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from ksd_ddns.errors import SettingsError
from ksd_ddns.primary.files import FileValue
from ksd_ddns.primary.link import Lost
from ksd_ddns.printable import masked

_OTHER_NAME = "set DNS_TLS_HOSTNAME to a name in the certificate"
_OTHER_CA = "set DNS_TLS_CA to the CA that signed it, and let the server send the intermediate certificates"
_REMEDIES = {  # by OpenSSL's X509_V_ERR_... codes
    9: "check the clock of this machine: the certificate is not valid yet",
    10: "renew it on the server, and check the clock of this machine",
    62: _OTHER_NAME,
    64: _OTHER_NAME,  # for an IP address
}
_LOCATION = re.compile(r" \(_ssl\.c:\d+\)\Z")  # a line of Python's source


@dataclass(frozen=True, slots=True)
class Tls:
    """The CAs and our certificate for TLS to a primary, and the host name that its certificate must have."""

    hostname: str
    _context: FileValue[ssl.SSLContext]

    @property
    def context(self) -> ssl.SSLContext:
        """The settings for the next connection; reloaded when the certificate files change."""
        return self._context.latest()

    def wrap(self, plain: socket.socket, server: object) -> ssl.SSLSocket:
        """Return the TLS connection to `server` over `plain`, which is closed on failure. Raises Lost."""
        try:
            return self.context.wrap_socket(plain, server_hostname=self.hostname)
        except ssl.SSLCertVerificationError as e:
            plain.close()
            raise Lost(
                f"the certificate of {server} is not accepted for {self.hostname}: {e.verify_message.rstrip('.')}",
                _REMEDIES.get(e.verify_code, _OTHER_CA),
                server=server,
            ) from e
        except OSError as e:
            plain.close()
            raise Lost(
                f"no TLS with {server}: {reason(e)}",
                "does it speak TLS on this port (DNS_PORT), and accept our certificate (DNS_TLS_CERT)?",
                server=server,
            ) from e


def tls(hostname: str, *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> Tls:
    """Return the TLS settings for a primary with a certificate for `hostname`.

    `ca` is the file with its CA, None for the CAs of the system. `certificate` and `key` are our client certificate in
    PEM, if the primary requires one. Raises SettingsError, which names the file.
    """

    def load() -> ssl.SSLContext:
        return _context(ca, certificate, key)

    return Tls(hostname, FileValue(f"TLS to {hostname}", load, (ca, certificate, key)))


def _context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as e:
        raise SettingsError(
            f"DNS_TLS_CA: {masked(str(ca))} cannot be used: {reason(e)}", "it must hold certificates in PEM"
        ) from e
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # set by Python 3.13: rejects CAs that all older versions accept
    context.set_alpn_protocols(["dot"])  # RFC 9103, 7.1
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, _no_password)
        except OSError as e:
            files = f"{certificate} and {key}" if key else str(certificate)
            raise SettingsError(
                f"DNS_TLS_CERT, DNS_TLS_KEY: {files} cannot be used: {reason(e)}",
                "certificate and key must be in PEM, belong together, and be readable",
            ) from e
    return context


def _no_password() -> str:
    # Without this, OpenSSL asks for the password on the terminal.
    raise SettingsError("DNS_TLS_KEY: the private key is encrypted", "store it without a password (openssl pkey)")


def reason(error: Exception) -> str:
    """Return the system's or OpenSSL's text for `error`."""
    if isinstance(error, TimeoutError):
        return "connection timed out"
    return _LOCATION.sub("", str(getattr(error, "strerror", None) or error))
