# SPDX-License-Identifier: Apache-2.0
"""Fixtures: real primaries. `harness.servers` says what they can do."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

import hypothesis
import pytest

from harness.servers import Bind, Knot, PowerDns, Server, stop_all

S = TypeVar("S", bound=Server)

# A background job of a script ignores SIGINT, and everything that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The duration of an example depends on the machine, not on the code.
hypothesis.settings.register_profile("ours", deadline=None)
hypothesis.settings.load_profile("ours")


@pytest.fixture
def bind() -> Iterator[Bind]:
    """Yield a BIND 9 as bootstrap sets it up for zone vm."""
    with Bind() as server:
        yield server
        print(server.log()[-10_000:])


@pytest.fixture
def knot() -> Iterator[Knot]:
    """Yield a Knot as bootstrap sets it up for zone vm."""
    with Knot() as server:
        yield server
        print(server.log()[-10_000:])


@pytest.fixture(params=[Bind, Knot], ids=["bind9", "knot"])
def primary(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Yield either server as bootstrap sets it up for zone vm.: the test runs with both."""
    with request.param() as server:
        yield server
        print(server.log()[-10_000:])


@pytest.fixture
def make_bind() -> Iterator[Callable[..., Bind]]:
    """Yield a factory of running BIND 9s, with the arguments of `Bind`; they end with the test."""
    with ExitStack() as stack:
        yield _factory(stack, Bind)


@pytest.fixture
def make_knot() -> Iterator[Callable[..., Knot]]:
    """Yield a factory of running Knots, with the arguments of `Knot`; they end with the test."""
    with ExitStack() as stack:
        yield _factory(stack, Knot)


@pytest.fixture
def make_powerdns() -> Iterator[Callable[..., PowerDns]]:
    """Yield a factory of running PowerDNS servers, with the arguments of `PowerDns`; they end with the test."""
    with ExitStack() as stack:
        yield _factory(stack, PowerDns)


@pytest.fixture(params=[Bind, Knot], ids=["bind9", "knot"])
def make_primary(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Yield a factory of running servers, of either kind: the test runs with both."""
    with ExitStack() as stack:
        yield _factory(stack, request.param)


@pytest.fixture(params=["bind9", "knot"])
def make_either(
    request: pytest.FixtureRequest, make_bind: Callable[..., Bind], make_knot: Callable[..., Knot]
) -> Callable[..., Server]:
    """Return a factory of running servers, each kind with its own configuration: the test runs with both.

    `make_either(zones=..., bind={"zone_options": ...}, knot={"extra": ..., "zone_options": ...})`
    """

    def make(*, bind: Mapping[str, Any], knot: Mapping[str, Any], **both: Any) -> Server:
        return make_bind(**both, **bind) if request.param == "bind9" else make_knot(**both, **knot)

    return make


def _factory(stack: ExitStack, kind: type[S]) -> Callable[..., S]:
    def make(**arguments: Any) -> S:
        server = kind(**arguments)
        stack.enter_context(server)
        stack.callback(lambda: print(server.log()[-10_000:]))
        return server

    return make


def pytest_sessionfinish() -> None:
    """Stop all servers, also after Ctrl-C."""
    stop_all()
