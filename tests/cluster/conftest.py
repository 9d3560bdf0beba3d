# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a watch on a fake API server, and what it publishes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from harness.kube import Kube
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.timing import ApiTiming, Timing, WatchTiming
from ksd_ddns.cluster.watch import Watch
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmiChanged, VmiDeleted, VmisListed
from tests.kube_fixtures import kube, make_kube

__all__ = ["Listening", "kube", "listen", "make_kube"]

WAIT_SECONDS = 15.0

TIMING = Timing(
    watch=WatchTiming(page=5, silence=0.4, at_least=0.05, first_pause=0.05, longest_pause=0.2),
    api=ApiTiming(read=0.4, connect=0.4, forbidden_for=0.0),
)
"""Short waits, and pages that make three of the list of a dozen VMIs."""


class Listening:
    """The events that a watch publishes, in order."""

    def __init__(self, watch: Watch) -> None:
        self.events: list[SourceEvent] = []
        self.stop = threading.Event()
        self.watch = watch
        self._thread = threading.Thread(target=watch.run, args=(self.events.append, self.stop), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()

    @property
    def lists(self) -> list[VmisListed]:
        """The lists."""
        return [event for event in self.events if isinstance(event, VmisListed)]

    @property
    def news(self) -> list[VmiChanged | VmiDeleted]:
        """The events other than lists and failures."""
        return [event for event in self.events if isinstance(event, VmiChanged | VmiDeleted)]

    @property
    def failure(self) -> str:
        """The current failure, empty if there is none."""
        return next((event.reason for event in reversed(self.events) if isinstance(event, SourceFailed)), "")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until `condition` is true."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert self._thread.is_alive(), f"{what}: the source has ended"
            assert time.monotonic() < deadline, f"{what}: {len(self.lists)} lists, {self.news}, {self.failure}"
            time.sleep(0.005)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    """Yield a factory of watches: `listen(kube, namespace="prod", selector="a=b")`."""
    with ExitStack() as stack:

        def make(kube: Kube, *, namespace: str = "", selector: str = "", timing: Timing = TIMING) -> Listening:
            api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "kubeconfig")), timing=timing.api)
            return stack.enter_context(
                Listening(Watch(api, namespace=namespace, selector=selector, timing=timing.watch))
            )

        yield make
