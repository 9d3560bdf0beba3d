# SPDX-License-Identifier: Apache-2.0
"""The CA of one fake API server: certificates of the server and its clients."""

import shutil
import ssl
import tempfile
from pathlib import Path

from harness.certificates import Authority, Pair


class KubeAuthority:
    """A certificate authority in a directory that `close` removes. Its certificates hold for two days.

    `identifiers` is as in `Authority`.
    """

    def __init__(self, *, identifiers: bool = True) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kube-ca-"))
        self._authority = Authority(self._directory, identifiers=identifiers)
        self._count = 0

    @property
    def certificate(self) -> Path:
        """The certificate by which clients verify the server: ca.crt."""
        return self._authority.certificate

    def client(self, user: str, *groups: str) -> Pair:
        """Return a new client certificate for `user`."""
        organizations = "".join(f"/O={group}" for group in groups)
        self._count += 1
        return self._authority.pair(f"client{self._count}", subject=f"{organizations}/CN={user}")

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of the server; client certificates of this CA are optional."""
        pair = self._authority.pair("server", "IP:127.0.0.1, DNS:localhost, DNS:kubernetes.default.svc")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def close(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
