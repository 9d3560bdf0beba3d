# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: the command with the settings of one primary."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.servers import Server
from ksd_ddns.primary.connection import Server as Address
from tests.e2e.command import Command, settings_of

Ksd = Callable[..., Command]


@pytest.fixture
def ksd(tmp_path: Path) -> Ksd:
    """Return a factory of commands: `ksd(primary, OWNERSHIP="zone", through=proxy.address)`."""

    def make(primary: Server, *, through: Address | None = None, **settings: object) -> Command:
        given = {name: str(value) for name, value in settings.items()}
        return Command(tmp_path, settings_of(primary, through=through) | given)

    return make
