# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of pods: their API server."""

from collections.abc import Iterator

import pytest

from harness.kube import Kube
from harness.vmis import vmi
from tests.deploy.pod import require_root


@pytest.fixture
def cluster() -> Iterator[Kube]:
    """Yield an API server that requires permissions, not yet started."""
    require_root()
    kube = Kube(tls=True, auth=True)
    try:
        kube.put(vmi("vmi-sec", "secondary-test", {"nic1": ["10.10.0.5"]}))
        yield kube
    finally:
        kube.close()
