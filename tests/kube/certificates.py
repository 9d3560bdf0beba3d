"""An authority of our own for one fake API server: its certificate, and those of its clients. Made by openssl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_DAYS = "2"
_EXTENSIONS = """
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost, DNS:kubernetes.default.svc
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a directory that `close` removes. Its certificates hold for two days."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kube-ca-"))
        (self.directory / "extensions").write_text(_EXTENSIONS)
        self._count = 0
        self._ca = self._make("ca", "/CN=kubernetes", None)

    @property
    def certificate(self) -> Path:
        """What clients verify the server with: ca.crt."""
        return self._ca.certificate

    def client(self, user: str, *groups: str) -> Pair:
        """Return a new client certificate for `user`."""
        organizations = "".join(f"/O={group}" for group in groups)
        self._count += 1
        return self._make(f"client{self._count}", f"{organizations}/CN={user}", self._ca, "client")

    def context(self) -> ssl.SSLContext:
        """Return the server's side of TLS; clients may show a certificate of this authority."""
        pair = self._make("server", "/CN=kube-apiserver", self._ca, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _make(self, name: str, subject: str, issuer: Pair | None, section: str = "ca") -> Pair:
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        request = self.directory / f"{name}.csr"
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-keyout", str(pair.key), "-out", str(request), "-subj", subject)  # fmt: skip
        signer = ["-signkey", str(pair.key)] if issuer is None else [
            "-CA", str(issuer.certificate), "-CAkey", str(issuer.key), "-CAcreateserial"]  # fmt: skip
        self._openssl("x509", "-req", "-sha256", "-in", str(request), "-out", str(pair.certificate), "-days", _DAYS,
                      "-extfile", str(self.directory / "extensions"), "-extensions", section, *signer)  # fmt: skip
        return pair

    def _openssl(self, *arguments: str) -> None:
        program = shutil.which("openssl")
        if program is None:
            raise AssertionError("openssl is not installed: `apt-get install openssl`")
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise AssertionError(f"openssl {arguments[0]} failed: {done.stderr}")
