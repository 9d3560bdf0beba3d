# SPDX-License-Identifier: Apache-2.0
"""Samba domain controllers: one of each kind for all tests of a process. Provisioning one takes seconds."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.servers import PATH, Samba
from harness.servers.samba import HOST, ZONE
from tests.e2e.command import settings_of

BASE = f"vm.{ZONE}"

needs_samba = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can provision a domain"),
    pytest.mark.skipif(
        not Path("/usr/bin/apt-get").exists() and shutil.which("samba-tool", path=PATH) is None,
        reason="Samba is not installed, and make test installs it with apt-get only",
    ),
]
"""The marks of tests that need a domain controller. Where `make test` installs Samba, a missing one is a failure."""


@pytest.fixture(scope="session")
def dlz() -> Iterator[Samba]:
    """Yield a domain controller whose DNS server is BIND with Samba's module."""
    with Samba(dlz=True, options="dns zone transfer clients allow = 127.0.0.1") as server:
        yield server


@pytest.fixture(scope="session")
def internal() -> Iterator[Samba]:
    """Yield a domain controller with Samba's internal DNS server, and the account `other` of another client."""
    with Samba(accounts=("ksd-ddns", "other")) as server:
        yield server


def settings(server: Samba) -> dict[str, str]:
    """Return the settings for the account ksd-ddns."""
    given = settings_of(server)
    del given["TSIG_KEY_FILE"]
    return given | {"DOMAIN": ZONE, "GSS_TSIG": "true", "GSS_TSIG_HOSTNAME": HOST} | server.client("ksd-ddns")
