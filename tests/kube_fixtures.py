# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the fake API server; `harness.kube` says what it can do."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from harness.kube import Kube


@pytest.fixture
def kube() -> Iterator[Kube]:
    """Yield a running API server without TLS and authentication."""
    with Kube() as server:
        yield server


@pytest.fixture
def make_kube() -> Iterator[Callable[..., Kube]]:
    """Yield a factory of running API servers, with the arguments of `Kube`; they end with the test."""
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(Kube(**arguments))
