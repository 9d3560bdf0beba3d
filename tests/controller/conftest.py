# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the controller's tests: `ksd-ddns run` against a fake API server and a real primary."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.kube import Kube
from harness.servers import Server
from ksd_ddns.cli.timing import Timing
from ksd_ddns.primary.connection import Server as Address
from tests.controller.running import Running
from tests.kube_fixtures import kube, make_kube

__all__ = ["kube", "make_kube", "run"]

Run = Callable[..., Running]

SETTINGS = {"DRIFT_INTERVAL": "1s", "HOLD_DOWN": "1s", "DNS_TIMEOUT": "2s", "OWNER_ID": "test"}
"""Shorter durations than the defaults."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Return a factory of running controllers, which end with the test.

    `run(primary, kube, NAMESPACES="prod")`, or with `source=path` for `--from`, `through=proxy.address`.
    """
    with ExitStack() as stack:

        def make(
            primary: Server,
            kube: Kube | None = None,
            *,
            source: Path | None = None,
            through: Address | None = None,
            program: bool = False,
            timing: Timing | None = None,
            **settings: object,
        ) -> Running:
            found: dict[str, object] = {
                **SETTINGS,
                "DNS_SERVER": through or Address(primary.address, primary.port),
                "TSIG_KEY_FILE": primary.key_file,
                **settings,
            }
            if kube is not None and "KUBECONFIG" not in settings:
                found["KUBECONFIG"] = kube.kubeconfig(tmp_path / f"kubeconfig-{kube.port}")
            arguments = [] if source is None else ["--from", source]
            return stack.enter_context(Running(tmp_path, found, *arguments, program=program, timing=timing))

        yield make
