# SPDX-License-Identifier: Apache-2.0
"""Two controllers with LEADER_ELECTION never send at the same time, and never undo what the new leader published."""

import os
import signal
import time

from harness.hostile import Proxy, is_update, pass_on, swallow
from harness.kube import LEASES, Kube
from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.cluster.timing import LeaseTiming
from ksd_ddns.cluster.timing import Timing as ClusterTiming
from tests.controller.conftest import Run
from tests.controller.running import answer

QUICK = Timing(cluster=ClusterTiming(lease=LeaseTiming(duration=3.0, lead_for=2.0, renew_every=0.2, request=0.8)))


class Recorded(Proxy):
    """A proxy for a primary; `updates` are the times of messages that change the zone."""

    def __init__(self, primary: Bind) -> None:
        self.updates: list[float] = []
        super().__init__(primary, request=self._note)

    def _note(self, message: bytes) -> list[bytes]:
        if is_update(message):
            self.updates.append(time.monotonic())
        return list(pass_on(message))


def test_a_suspended_leader_sends_nothing_when_it_resumes(bind: Bind, kube: Kube, run: Run) -> None:
    kube.add_namespace("secondary")
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.1"]}))
    with Recorded(bind) as way_a, Recorded(bind) as way_b:
        settings = {"LEADER_ELECTION": "true", "timing": QUICK}
        a = run(bind, kube, through=way_a.address, **settings)
        a.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.1")
        b = run(bind, kube, through=way_b.address, **settings)
        time.sleep(1)
        assert way_a.updates
        assert not way_b.updates
        os.kill(a.pid, signal.SIGSTOP)
        kube.put(vmi("db", "prod", {"net1": ["10.1.0.2"]}))
        b.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.2")
        sent = len(way_a.updates)
        kube.put(vmi("db", "prod", {"net1": ["10.1.0.3"]}))  # to both, once A resumes
        os.kill(a.pid, signal.SIGCONT)
        assert a.ended() == 1
        b.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.3")
        assert len(way_a.updates) == sent
        assert "exiting" in a.log()


def test_a_leader_that_exits_hands_over_at_once(bind: Bind, kube: Kube, run: Run) -> None:
    kube.add_namespace("secondary")
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.1"]}))
    with Recorded(bind) as way_a, Recorded(bind) as way_b:
        settings = {"LEADER_ELECTION": "true", "timing": QUICK}
        a = run(bind, kube, through=way_a.address, **settings)
        a.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.1")
        b = run(bind, kube, through=way_b.address, **settings)
        kube.load(
            vmi(f"vm-{number}", "prod", {"net1": [f"10.1.{number >> 8}.{number & 255}"]}) for number in range(600)
        )
        a.wait_answer(bind, "net1.vm-0.prod.vm.", "A", "10.1.0.0")
        assert a.stop() == 0
        b.wait_answer(bind, "net1.vm-599.prod.vm.", "A", "10.1.2.87")
        b.wait(lambda: kube.objects(LEASES)[0]["spec"]["leaseTransitions"] == 1, "the other one leads")
        assert max(way_a.updates) < min(way_b.updates, default=time.monotonic())
        assert answer(bind, "net1.vm-0.prod.vm.", "A") == ["10.1.0.0"]


def test_a_leader_with_a_silent_primary_exits_when_it_loses_the_lease(bind: Bind, kube: Kube, run: Run) -> None:
    kube.add_namespace("secondary")
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.1"]}))
    with Proxy(bind) as proxy:
        settings = {"LEADER_ELECTION": "true", "DNS_TIMEOUT": "60s", "timing": QUICK}
        ksd = run(bind, kube, through=proxy.address, **settings)
        ksd.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.1")
        proxy.request = swallow
        kube.put(vmi("db", "prod", {"net1": ["10.1.0.2"]}))
        time.sleep(0.3)
        (held,) = kube.objects(LEASES)
        kube.put({**held, "spec": {**held["spec"], "holderIdentity": "other"}})
        assert ksd.ended() == 1
        assert "lost leadership to other" in ksd.log()
