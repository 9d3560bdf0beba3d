# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for tests, using openssl: `Authority(directory).pair("ns", "DNS:ns.example.test")`."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.kerberos import faketime

_DAYS = "2"
_AUTHORITY = """
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_PAIR = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
_PLAIN_AUTHORITY = """
basicConstraints = CA:TRUE
subjectKeyIdentifier = none
authorityKeyIdentifier = none
"""
_PLAIN_PAIR = """
subjectKeyIdentifier = none
authorityKeyIdentifier = none
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in `directory`, which must be empty.

    Without `identifiers` it has no key usage and no key identifiers, as in some clusters.
    """

    def __init__(self, directory: Path, name: str = "ca", *, identifiers: bool = True) -> None:
        self._directory = directory
        self._identifiers = identifiers
        self._ca = self._made(name, _AUTHORITY if identifiers else _PLAIN_AUTHORITY, None)

    @property
    def certificate(self) -> Path:
        """The certificate of the authority."""
        return self._ca.certificate

    def pair(self, name: str, names: str = "", *, subject: str = "", made: str = "") -> Pair:
        """Return a new certificate, in files called `name`, that holds for two days from now, or from `made` on.

        It is for `names` and `subject`, both as openssl writes them; the subject is the common name `name` by default.
        """
        extensions = _PAIR if self._identifiers else _PLAIN_PAIR
        extensions += f"subjectAltName = {names}\n" if names else ""
        return self._made(name, extensions, self._ca, subject=subject, environment=faketime(made) if made else None)

    def _made(
        self,
        name: str,
        extensions: str,
        issuer: Pair | None,
        *,
        subject: str = "",
        environment: dict[str, str] | None = None,
    ) -> Pair:
        pair = Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        request, file = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        file.write_text(extensions)
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", pair.key, "-out", request, "-subj", subject or f"/CN={name}")  # fmt: skip
        signer = ("-signkey", pair.key) if issuer is None else (
            "-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial")  # fmt: skip
        openssl("x509", "-req", "-sha256", "-in", request, "-out", pair.certificate, "-days", _DAYS,
                "-extfile", file, *signer, environment=environment)  # fmt: skip
        return pair


def openssl(*arguments: object, environment: dict[str, str] | None = None) -> None:
    """Run openssl. Raises AssertionError with its output if it fails."""
    program = shutil.which("openssl")
    assert program, "openssl is not installed: `apt-get install openssl`"
    done = subprocess.run(
        [program, *map(str, arguments)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"
