"""Leader election: one leads, the next takes over when the Lease is given free or runs out, and never before."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from ksd_ddns.cluster import lease
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.lease import Election
from tests.kube import LEASES, Kube, Reply


@pytest.fixture
def candidate(kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Election]:
    monkeypatch.setattr(lease, "EVERY", 0.05)
    monkeypatch.setattr(lease, "DURATION", 1.0)
    monkeypatch.setattr(lease, "RENEW_WITHIN", 0.5)
    kubeconfig = str(kube.kubeconfig(tmp_path / "config"))
    return lambda name: Election(Api(kubeconfig=kubeconfig), namespace="default", name="secondary-dns", identity=name)


def holder(kube: Kube) -> str:
    held: str = kube.objects(LEASES)[0]["spec"]["holderIdentity"]
    return held


def leading(election: Election, stop: Event, lost: Event) -> Thread:
    thread = Thread(target=election.lead, args=(stop, lost.set))
    thread.start()
    return thread


def test_the_first_leads_and_the_next_waits_until_it_is_given_free(
    kube: Kube, candidate: Callable[[str], Election]
) -> None:
    stop, lost = Event(), Event()
    first, second = candidate("first"), candidate("second")
    assert first.await_leadership(Event())
    thread = leading(first, stop, lost)
    impatient = Event()
    waiting = Thread(target=second.await_leadership, args=(impatient,))
    waiting.start()
    time.sleep(1.5)  # longer than the Lease lasts: it is renewed
    assert holder(kube) == "first"
    assert second.leader == "first"
    began = time.monotonic()
    stop.set()
    thread.join()
    waiting.join(timeout=5)
    assert holder(kube) == "second"
    assert time.monotonic() - began < 1.0, "given free, it needs no waiting for its end"
    assert not lost.is_set()


def test_a_lease_that_nobody_renews_runs_out(kube: Kube, candidate: Callable[[str], Election]) -> None:
    assert candidate("killed").await_leadership(Event())
    began = time.monotonic()
    assert candidate("next").await_leadership(Event())
    assert time.monotonic() - began >= 1.0
    assert holder(kube) == "next"
    assert kube.objects(LEASES)[0]["spec"]["leaseTransitions"] == 1


def test_who_cannot_renew_steps_down(kube: Kube, candidate: Callable[[str], Election]) -> None:
    lost = Event()
    leader = candidate("leader")
    assert leader.await_leadership(Event())
    with kube.fault(Reply.status(500), resource="leases", times=None):
        thread = leading(leader, Event(), lost)
        assert lost.wait(timeout=5)
        thread.join()


def test_who_was_overtaken_steps_down(kube: Kube, candidate: Callable[[str], Election]) -> None:
    lost = Event()
    slow = candidate("slow")
    assert slow.await_leadership(Event())
    assert candidate("quick").await_leadership(Event())
    thread = leading(slow, Event(), lost)
    assert lost.wait(timeout=5)
    thread.join()
    assert holder(kube) == "quick"


def test_waiting_ends_when_it_is_told_to(kube: Kube, candidate: Callable[[str], Election]) -> None:
    assert candidate("leader").await_leadership(Event())
    stop = Event()
    stop.set()
    assert not candidate("other").await_leadership(stop)
