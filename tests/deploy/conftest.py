"""What the tests of pods share: the API server that they meet."""

from collections.abc import Iterator

import pytest

from harness.kube import Kube
from harness.vmis import vmi
from tests.deploy.pod import require_root


@pytest.fixture
def cluster() -> Iterator[Kube]:
    """Yield an API server that lets nobody in without a right, and that does not run yet."""
    require_root()
    kube = Kube(tls=True, auth=True)
    try:
        kube.put(vmi("vmi-sec", "secondary-test", {"nic1": ["10.10.0.5"]}))
        yield kube
    finally:
        kube.close()
