# SPDX-License-Identifier: Apache-2.0
"""TSIG keys."""

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key; `algorithm` as in hmac-sha256."""

    name: str = "ksd-ddns."
    algorithm: str = "hmac-sha256"
    secret: str = field(default_factory=lambda: base64.b64encode(os.urandom(32)).decode())

    def bind(self) -> str:
        """Return the clause of tsig-keygen, which nsupdate -k, dig -k and named.conf read."""
        return f'key "{self.name}" {{\n\talgorithm {self.algorithm};\n\tsecret "{self.secret}";\n}};\n'

    def file(self, directory: Path) -> Path:
        """Write the key into `directory` in the form of tsig-keygen; return its path."""
        path = directory / f"{self.name}{self.algorithm}.key"
        path.write_text(self.bind())
        path.chmod(0o600)
        return path
