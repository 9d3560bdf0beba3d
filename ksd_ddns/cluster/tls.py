# SPDX-License-Identifier: Apache-2.0
"""TLS to the API server: its CA, and our client certificate."""

import base64
import binascii
import ssl
import tempfile

from ksd_ddns.cluster.credentials import Credential
from ksd_ddns.cluster.kubeconfig import Access
from ksd_ddns.errors import SourceError


def tls_context(access: Access, credential: Credential) -> ssl.SSLContext:
    """Return a context that verifies the API server, with our certificate if there is one. Raises SourceError."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 sets the strict flag, which rejects CAs without key identifiers or key usage. Many clusters have such
    # CAs, and kubectl accepts them. It also accepts every certificate in the CA file as a trust anchor.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    cluster, user = access.cluster, access.user
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca is not None or cluster.certificate_authority_data:
        context = _trusting(context, access)
    certificate = credential.certificate or _decoded(user.client_certificate_data, access, "client-certificate-data")
    key = credential.key or _decoded(user.client_key_data, access, "client-key-data")
    if certificate and key:
        with tempfile.NamedTemporaryFile(prefix="ksd-ddns-") as file:  # OpenSSL reads files only
            file.write(certificate.rstrip() + b"\n" + key)
            file.flush()
            _load(context, file.name, None, access)
    elif access.certificate is not None:
        _load(context, str(access.certificate), str(access.key) if access.key else None, access)
    return context


def _trusting(default: ssl.SSLContext, access: Access) -> ssl.SSLContext:
    """Return a context like `default` that trusts only the CA of the cluster."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = default.minimum_version
    context.verify_flags = default.verify_flags
    where = f"the CA file {access.ca}" if access.ca else f"certificate-authority-data in {access.source}"
    try:
        data = access.ca.read_bytes() if access.ca else b""
        data = data or _decoded(access.cluster.certificate_authority_data, access, "certificate-authority-data")
        context.load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except (OSError, ValueError):
        raise SourceError(f"{where} holds no readable certificate; it must be in PEM") from None
    return context


def _decoded(data: str | None, access: Access, name: str) -> bytes:
    try:
        return base64.b64decode(data or "", validate=False)
    except (binascii.Error, ValueError):
        raise SourceError(f"{name} in {access.source} is not base64; copy it again") from None


def _load(context: ssl.SSLContext, certificate: str, key: str | None, access: Access) -> None:
    def no_password() -> str:
        # Without this, OpenSSL prompts on the terminal and blocks.
        raise SourceError(f"the client key of {access.source} is encrypted; kubectl cannot use it either: decrypt it")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except (OSError, ValueError):
        raise SourceError(
            f"the client certificate and key of {access.source} cannot be used: both must be in PEM, belong together, "
            "and be readable"
        ) from None
