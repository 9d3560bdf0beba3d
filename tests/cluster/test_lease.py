# SPDX-License-Identifier: Apache-2.0
"""Leader election: one leads, the next takes over when the Lease is released or expires, and never before.

Two never lead at the same time, whatever happens to the API server, the network or the process.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest

from harness.kube import LEASES, Drop, Fault, Kube, Reply, Slow, Stall
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.lease import Election
from ksd_ddns.cluster.timing import LeaseTiming

QUICK = LeaseTiming(duration=2.0, lead_for=1.0, renew_every=0.1, request=0.4)

Candidate = Callable[..., Election]


@pytest.fixture
def candidate(kube: Kube, tmp_path: Path) -> Iterator[Candidate]:
    """Yield a factory of candidates, which stop at the end of the test."""
    kubeconfig = str(kube.kubeconfig(tmp_path / "config"))
    with ExitStack() as stack:

        def make(name: str, timing: LeaseTiming = QUICK) -> Election:
            api = Api(kubeconfig=kubeconfig)
            found = Election(api, namespace="default", name="secondary-dns", identity=name, timing=timing)
            stack.callback(found.resign)
            return found

        yield make


def holder(kube: Kube) -> str:
    held: str = kube.objects(LEASES)[0]["spec"]["holderIdentity"]
    return held


def lease(spec: object) -> dict[str, object]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "secondary-dns", "namespace": "default"},
        **({} if spec is ... else {"spec": spec}),
    }


def wait(condition: Callable[[], object], what: str, seconds: float = 15.0) -> float:
    """Wait until `condition` is true; return how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, what
        time.sleep(0.005)
    return time.monotonic() - began


def test_one_candidate_leads_and_the_next_waits_for_the_release(kube: Kube, candidate: Candidate) -> None:
    lost = Event()
    first, second = candidate("first"), candidate("second")
    assert not first.leading()
    assert first.campaign(Event())
    first.lead(lost.set)
    waiting = Thread(target=second.campaign, args=(Event(),), daemon=True)
    waiting.start()
    time.sleep(2.5)  # longer than the Lease lasts: it is renewed
    assert holder(kube) == "first"
    assert second.leader == "first"
    assert first.leading()
    assert not second.leading()
    first.resign()
    assert not first.leading()
    assert wait(second.leading, "the second leads") < 1.5, "released, it needs no waiting for its end"
    assert holder(kube) == "second"
    assert not lost.is_set()
    assert not first.lost


def test_a_lease_expires_without_renewal(kube: Kube, candidate: Candidate) -> None:
    assert candidate("killed").campaign(Event())
    began = time.monotonic()
    assert candidate("next").campaign(Event())
    assert time.monotonic() - began >= 2.0
    assert holder(kube) == "next"
    assert kube.objects(LEASES)[0]["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize("spec", [..., None, {}, {"holderIdentity": ""}, {"holderIdentity": None}], ids=str)
def test_a_lease_without_holder_is_acquired(kube: Kube, candidate: Candidate, spec: object) -> None:
    kube.put(lease(spec))
    assert candidate("first").campaign(Event())
    assert holder(kube) == "first"


def test_a_deleted_lease_stays_with_its_holder_until_it_would_expire(kube: Kube, candidate: Candidate) -> None:
    """The holder may still send until its time is over, so no other candidate leads before that."""
    lost = Event()
    first, second = candidate("first"), candidate("second")
    assert first.campaign(Event())
    stop = Event()
    standby = Thread(target=second.campaign, args=(stop,))
    standby.start()
    time.sleep(3 * QUICK.renew_every)
    kube.delete("default", "secondary-dns", LEASES)
    deleted = time.monotonic()
    wait(lambda: not first.leading(), "the first leads no longer")
    assert not second.leading()
    wait(second.leading, "the second leads")
    assert time.monotonic() >= deleted + QUICK.duration
    stop.set()
    standby.join()
    assert not lost.is_set()


def test_a_leader_keeps_leading_when_its_lease_is_deleted(kube: Kube, candidate: Candidate) -> None:
    lost = Event()
    first, second = candidate("first"), candidate("second")
    assert first.campaign(Event())
    first.lead(lost.set)
    stop = Event()
    standby = Thread(target=second.campaign, args=(stop,))
    standby.start()
    for _ in range(5):
        time.sleep(3 * QUICK.renew_every)
        kube.delete("default", "secondary-dns", LEASES)
    time.sleep(3 * QUICK.renew_every)
    assert first.leading()
    assert not second.leading()
    stop.set()
    standby.join()


def test_the_wrong_clock_of_another_candidate_does_not_matter(kube: Kube, candidate: Candidate) -> None:
    """Only the moment of seeing a renewal counts: this one's own time is decades in the past or future."""
    for year in ("1999", "2099"):
        spec = {"holderIdentity": "other", "leaseDurationSeconds": 2, "renewTime": f"{year}-01-01T00:00:00.000000Z"}
        kube.put(lease(spec))
        began = time.monotonic()
        assert candidate(f"next-{year}").campaign(Event())
        assert 2.0 <= time.monotonic() - began < 6


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Reply.status(500), id="500"),
        pytest.param(Reply.forbidden("ksd"), id="403"),
        pytest.param(Reply.garbage(b"[]"), id="garbage"),
        pytest.param(Drop(), id="cut"),
        pytest.param(Stall(), id="silent"),
        pytest.param(Stall(sent=10), id="silent-in-the-middle"),
        pytest.param(Slow(30), id="trickle"),
    ],
)
def test_a_leader_that_cannot_renew_steps_down_in_time(kube: Kube, candidate: Candidate, fault: Fault) -> None:
    """Its time starts before its last renewal is sent, so it ends before another candidate can lead."""
    lost = Event()
    leader = candidate("leader")
    assert leader.campaign(Event())
    leader.lead(lost.set)
    time.sleep(0.3)
    with kube.fault(fault, resource="leases", times=None):
        began = time.monotonic()
        wait(lambda: not leader.leading(), "it does not lead any longer")
        assert time.monotonic() - began < 1.5, "half a second is for the test"
        assert lost.wait(timeout=5)
        assert leader.lost
    time.sleep(0.5)
    assert not leader.leading(), "a lost leader does not lead again: its state is stale"


def test_a_hanging_renewal_does_not_delay_stepping_down(
    kube: Kube, candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No deadline limits the resolver or a disk, so another thread steps down."""
    lost = Event()
    leader = candidate("leader")
    assert leader.campaign(Event())
    stuck = Event()

    def resolve(*_: object, **__: object) -> list[object]:
        stuck.wait(20)
        return []

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    kube.stop()  # a new connection is needed
    leader.lead(lost.set)
    began = time.monotonic()
    assert lost.wait(timeout=10)
    assert time.monotonic() - began < 3
    stuck.set()


def test_a_leader_steps_down_when_another_holds_the_lease(
    kube: Kube, candidate: Candidate, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Event()
    slow = candidate("slow", LeaseTiming(duration=60, lead_for=30, renew_every=0.1, request=1))
    assert slow.campaign(Event())
    kube.put(lease({"holderIdentity": "quick", "leaseDurationSeconds": 60, "renewTime": "2026-01-01T00:00:00.000000Z"}))
    slow.lead(lost.set)
    assert lost.wait(timeout=5)
    assert not slow.leading()
    assert holder(kube) == "quick"
    assert "lost leadership to quick, exiting" in caplog.text


_PROGRAM = """
import sys, time
from threading import Event
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.lease import Election
from ksd_ddns.cluster.timing import LeaseTiming
timing = LeaseTiming(duration=2.0, lead_for=1.0, renew_every=0.1, request=0.4)
election = Election(Api(kubeconfig=sys.argv[1]), namespace="default", name="secondary-dns", identity="a", timing=timing)
election.campaign(Event())
election.lead(lambda: None)
while True:
    print("leads" if election.leading() else "does not", flush=True)
    time.sleep(0.01)
"""


def test_a_leader_that_resumes_after_its_lease_expired_does_not_lead(kube: Kube, tmp_path: Path) -> None:
    kubeconfig = kube.kubeconfig(tmp_path / "config")
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, kubeconfig], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            while process.stdout.readline() != "leads\n":
                pass
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(1.2)
            os.set_blocking(process.stdout.fileno(), False)
            while process.stdout.readline():  # what it said before
                pass
            os.set_blocking(process.stdout.fileno(), True)
            os.kill(process.pid, signal.SIGCONT)
            # The first line may have been in transit.
            lines = [process.stdout.readline() for _ in range(30)][1:]
        finally:
            process.kill()
    assert set(lines) == {"does not\n"}


def test_releasing_does_not_wait_for_the_api_server(kube: Kube, candidate: Candidate) -> None:
    leader = candidate("leader")
    assert leader.campaign(Event())
    leader.lead(lambda: None)
    with kube.fault(Stall(), resource="leases", times=None):
        began = time.monotonic()
        leader.resign()
        assert time.monotonic() - began < 3
    assert not leader.lost


def test_a_campaign_ends_when_stop_is_set(kube: Kube, candidate: Candidate) -> None:
    assert candidate("leader").campaign(Event())
    stop = Event()
    stop.set()
    assert not candidate("other").campaign(stop)


def test_a_standby_logs_a_problem_once(kube: Kube, candidate: Candidate, caplog: pytest.LogCaptureFixture) -> None:
    stop = Event()
    with kube.fault(Reply.status(500), resource="leases", times=None):
        waiting = Thread(target=candidate("first").campaign, args=(stop,))
        waiting.start()
        kube.wait_requests(5, resource="leases")
        stop.set()
        waiting.join()
    (record,) = caplog.records
    assert record.__dict__["fields"]["lease"] == "default/secondary-dns"
    assert "cannot answer now" in record.__dict__["fields"]["error"]
