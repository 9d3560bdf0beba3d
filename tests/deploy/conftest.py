"""What the tests of pods share: the API server that they meet."""

from collections.abc import Iterator

import pytest

from tests.deploy.pod import require_root
from tests.kube import Kube
from tests.vmis import vmi


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
