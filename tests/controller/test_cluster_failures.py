# SPDX-License-Identifier: Apache-2.0
"""Failures of the API server: they delete nothing, readiness reports the cause, and the controller recovers."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.kube import (
    VMIS,
    Drop,
    EndWatch,
    ErrorEvent,
    Fault,
    Injection,
    Kube,
    Noise,
    Reply,
    Request,
    Stall,
    service_account,
)
from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.cluster.timing import ApiTiming, WatchTiming
from ksd_ddns.cluster.timing import Timing as ClusterTiming
from tests.controller.conftest import Run
from tests.controller.running import Running, addresses, answer

MANY = [vmi(f"vm-{number}", "prod", {"net1": [f"10.1.0.{number}", f"fd00::{number}"]}) for number in range(12)]

WATCH = WatchTiming(page=5, silence=0.7, first_pause=0.1, longest_pause=0.4, at_least=0.2)
API = ApiTiming(read=0.7, connect=0.7, forbidden_for=0.5)
QUICK = Timing(cluster=ClusterTiming(watch=WATCH, api=API))
PATIENT = Timing(cluster=ClusterTiming(watch=WATCH, api=replace(API, forbidden_for=30.0)))


@pytest.fixture
def full(kube: Kube) -> Kube:
    """Return a cluster with a dozen VMIs, three pages of a list."""
    kube.load(MANY)
    kube.server.bookmark_seconds = 0.3
    return kube


def check_unchanged(primary: Bind, seconds: float = 0.5) -> None:
    """Check that the zone, including its serial, stays the same for a while."""
    before = primary.axfr()
    time.sleep(seconds)
    assert primary.axfr() == before


def check_changes_arrive(ksd: Running, primary: Bind, kube: Kube) -> None:
    """Check that a change of each kind arrives, and that the zone is correct."""
    number = kube.revision
    kube.put(vmi(f"new-{number}", "prod"))
    kube.delete("prod", "vm-3")
    ksd.wait_answer(primary, f"new-{number}.prod.vm.", "A", "10.0.0.1")
    ksd.wait_answer(primary, "vm-3.prod.vm.", "A")
    ksd.wait_ready()
    assert len([name for name in addresses(primary) if "vm-" in name]) == 22
    kube.put(MANY[3])
    ksd.wait_answer(primary, "vm-3.prod.vm.", "A", "10.1.0.3")


# Lists; tests/cluster covers every failure of a list

LISTS = [
    pytest.param(Reply.status(401), ("401", "token", "log in again"), id="401"),
    pytest.param(Reply.forbidden("secondary"), ("403", "grant get, list and watch", "ClusterRole secondary"), id="403"),
    pytest.param(Reply.status(500), ("500", "etcdserver"), id="500"),
    pytest.param(Drop(sent=3_000, reset=True), ("cannot be reached",), id="reset-in-the-middle"),
    pytest.param(Stall(sent=3_000), ("went silent",), id="silent-in-the-middle"),
]


@pytest.mark.parametrize(("fault", "words"), LISTS)
def test_a_list_whose_last_page_fails_deletes_nothing(
    bind: Bind, full: Kube, run: Run, fault: Fault, words: tuple[str, ...]
) -> None:
    """The zone has the names of an earlier controller; two thirds of a list would delete the rest."""
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    ksd.kill()
    before = bind.axfr()
    with _last_page(full, fault):
        ksd.start()
        problem = ksd.wait_problem("source", *words)
        assert full.url in problem
        assert "sync" in ksd.problems()
        assert ksd.get("/readyz?exclude=source")[0] == 503
        assert bind.axfr() == before
    ksd.wait_ready()
    assert bind.axfr() == before
    with _last_page(full, fault):
        full.wait_watches()
        full.fail_watches(410)
        ksd.wait_problem("source", *words)
        assert ksd.get("/readyz?exclude=source")[0] == 200
        check_unchanged(bind)
    check_changes_arrive(ksd, bind, full)


def _last_page(kube: Kube, fault: Fault) -> Injection:
    """Apply `fault` to every third page of a list."""
    tokens: list[str] = []

    def last(request: Request) -> bool:
        token = request.query.get("continue", "")
        if not token:
            tokens.clear()
        if token not in tokens:  # a page may be requested again
            tokens.append(token)
        return tokens.index(token) == 2

    return kube.fault(fault, verb="list", when=last, times=None)


def test_an_expired_continue_token_deletes_nothing(bind: Bind, full: Kube, run: Run) -> None:
    """The list starts again; the pages read before do not count."""
    done: list[int] = []

    def compact(request: Request) -> bool:
        if request.query.get("continue") and len(done) < 2:
            done.append(full.compact())
        return False

    full.fault(Reply.status(500), verb="list", when=compact, times=None)
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    assert len(done) == 2
    assert len(addresses(bind)) == 24
    lists = full.requests(verb="list", resource=VMIS.plural)
    assert sum(not request.query.get("continue") for request in lists) == 3
    check_changes_arrive(ksd, bind, full)


# Watches


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(Reply.forbidden("secondary", "watch"), ("403", "grant"), id="403"),
        pytest.param(Noise(), ("an invalid watch event",), id="garbage"),
        pytest.param(Stall(), ("went silent",), id="silent"),
    ],
)
def test_a_failed_watch_loses_no_change(bind: Bind, full: Kube, run: Run, fault: Fault, words: tuple[str, ...]) -> None:
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    full.wait_watches()
    with full.fault(fault, verb="watch", times=None):
        full.cut_watches()
        ksd.wait_problem("source", *words)
        assert ksd.get("/readyz?exclude=source")[0] == 200
        check_unchanged(bind)
    check_changes_arrive(ksd, bind, full)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(EndWatch(), id="ends-at-once"),
        pytest.param(EndWatch(after=1), id="ends-after-one-event"),
        pytest.param(Drop(sent=0), id="cut-at-once"),
        pytest.param(Stall(sent=0), id="half-open"),
        pytest.param(ErrorEvent(410), id="410-at-once"),
        pytest.param(ErrorEvent(410, after=1), id="410-after-one-event"),
        pytest.param(Reply.expired(), id="410-as-status"),
    ],
)
def test_a_watch_that_keeps_ending_causes_no_request_loop(bind: Bind, full: Kube, run: Run, fault: Fault) -> None:
    """Changes still arrive, only later: each new watch or list reports them."""
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    full.wait_watches()
    with full.fault(fault, verb="watch", times=None):
        full.cut_watches()
        since, began = full.count, time.monotonic()
        stop = began + 2
        while time.monotonic() < stop:
            full.heartbeats(5)
            time.sleep(0.01)
        watches = len(full.requests(verb="watch", since=since))
        lists = sum(not r.query.get("continue") for r in full.requests(verb="list", since=since))
        assert watches < 3 + (time.monotonic() - began) / 0.09, "the pauses are 0.1 s and more"
        assert lists < 3 + (time.monotonic() - began) / 0.09
        if not isinstance(fault, Drop | Stall):
            full.put(vmi("late", "prod", {"net1": ["10.1.9.9"]}))
            ksd.wait_answer(bind, "late.prod.vm.", "A", "10.1.9.9")
            full.delete("prod", "late")
            ksd.wait_answer(bind, "late.prod.vm.", "A")
        assert len(addresses(bind)) == 24
    ksd.wait_ready()
    check_changes_arrive(ksd, bind, full)


@pytest.mark.parametrize("how", ["cut_watches", "end_watches", "freeze_watches", "fail_watches"])
def test_every_way_a_watch_can_end_loses_no_change(bind: Bind, full: Kube, run: Run, how: str) -> None:
    """No change is lost, and readiness does not flap for normal ends of a watch."""
    full.server.bookmark_seconds = 60.0
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    for number in range(2):
        full.wait_watches()
        time.sleep(0.3)  # not at once: that would cause a new list
        getattr(full, how)()
        full.delete("prod", "vm-3")
        full.put(vmi(f"new-{number}", "prod"))
        ksd.wait_answer(bind, f"new-{number}.prod.vm.", "A", "10.0.0.1")
        ksd.wait_answer(bind, "vm-3.prod.vm.", "A")
        assert ksd.ready
        full.put(MANY[3])
        ksd.wait_answer(bind, "vm-3.prod.vm.", "A", "10.1.0.3")
    if how != "fail_watches":
        assert len(full.requests(verb="list", resource=VMIS.plural)) == 3, "one list in three pages"


def test_a_compaction_during_an_interrupted_watch_loses_no_change(bind: Bind, full: Kube, run: Run) -> None:
    """410 as an event in a stream with status 200: the new list shows what was deleted in the meantime."""
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    full.wait_watches()
    with full.fault(Reply.status(500), verb="watch", times=None):
        full.cut_watches()
        full.delete("prod", "vm-3")
        full.put(vmi("new", "prod"))
        full.compact()
        time.sleep(0.1)
    ksd.wait_answer(bind, "new.prod.vm.", "A", "10.0.0.1")
    ksd.wait_answer(bind, "vm-3.prod.vm.", "A")


def test_an_unreachable_api_server_deletes_nothing(bind: Bind, full: Kube, run: Run) -> None:
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    full.stop()
    ksd.wait_problem("source", "cannot be reached", "check that it is up", full.url)
    assert ksd.get("/readyz?exclude=source")[0] == 200
    check_unchanged(bind)
    full.start()
    ksd.wait_ready()
    check_changes_arrive(ksd, bind, full)
    ksd.kill()
    full.stop()
    before = bind.axfr()
    ksd.start()
    ksd.wait_problem("source", "cannot be reached")
    assert "sync" in ksd.problems()
    time.sleep(0.3)
    assert bind.axfr() == before
    full.start()
    ksd.wait_ready()
    check_changes_arrive(ksd, bind, full)


def test_the_controller_waits_for_the_owner_id_from_the_cluster(bind: Bind, full: Kube, run: Run) -> None:
    with full.fault(Reply.forbidden("secondary", "get"), verb="get", resource="namespaces", times=None):
        ksd = run(bind, full, timing=QUICK, OWNER_ID="")
        ksd.wait_problem("source", "403", "get of namespaces", "OWNER_ID")
    ksd.wait_ready()
    assert any(full.kube_system_uid in record.rdata for record in bind.axfr() if record.type == "TXT")


def test_a_controller_waits_for_kubevirt(bind: Bind, full: Kube, run: Run) -> None:
    full.uninstall()
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_problem("source", "404", "KubeVirt is not installed")
    full.install()
    ksd.wait_ready()
    assert len(addresses(bind)) == 24


def test_retry_after_is_honored(bind: Bind, full: Kube, run: Run) -> None:
    full.fault(Reply.throttled(2), verb="list", times=1)
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    first, second, *_ = full.requests(verb="list", resource=VMIS.plural)
    assert 2 <= second.at - first.at < 8


# Permissions

TWO = [vmi(f"vm-{number}", space, {"net1": [address % number]})
       for space, address in (("open", "10.1.0.%d"), ("closed", "10.2.0.%d")) for number in range(1, 4)]  # fmt: skip


def _role(namespace: str) -> list[dict[str, object]]:
    """Return the RBAC of the service account, with a Role for VMIs in one namespace only."""
    rule = {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances"], "verbs": ["get", "list", "watch"]}
    subject = {"kind": "ServiceAccount", "name": "secondary", "namespace": "secondary"}
    metadata = {"name": "secondary", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "secondary"}
    return [
        {"kind": "Role", "metadata": metadata, "rules": [rule]},
        {"kind": "RoleBinding", "metadata": metadata, "roleRef": reference, "subjects": [subject]},
    ]


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_one_forbidden_namespace_does_not_delay_others(
    bind: Bind, kube: Kube, run: Run, tmp_path: Path, ownership: str
) -> None:
    kube.load(TWO)
    user = {"token": kube.token(service_account("secondary", "secondary"))}
    settings = {"KUBECONFIG": kube.kubeconfig(tmp_path / "sa", user), "NAMESPACES": "open,closed"}
    kube.authorize([*_role("open"), *_role("closed")])
    ksd = run(bind, kube, timing=QUICK, OWNERSHIP=ownership, **settings)
    ksd.wait_ready()
    ksd.kill()
    kube.authorize(_role("open"))
    kube.put(vmi("vm-1", "open", {"net1": ["10.1.0.99"]}))
    kube.delete("closed", "vm-1")
    ksd.start()
    ksd.wait_answer(bind, "net1.vm-1.open.vm.", "A", "10.1.0.99")
    ksd.wait_problem("source", "403", "grant get, list and watch")
    assert "sync" not in ksd.problems()
    kube.put(vmi("new", "open"))
    ksd.wait_answer(bind, "new.open.vm.", "A", "10.0.0.1")
    kube.delete("open", "vm-2")
    ksd.wait_answer(bind, "net1.vm-2.open.vm.", "A")
    # Its hold ends, although another namespace cannot be read.
    kube.put(vmi("vm-3", "open", {"net1": []}))
    ksd.wait_answer(bind, "net1.vm-3.open.vm.", "A")
    for number in (1, 2, 3):
        assert answer(bind, f"net1.vm-{number}.closed.vm.", "A") == [f"10.2.0.{number}"]
    kube.authorize([*_role("open"), *_role("closed")])
    ksd.wait_ready()
    ksd.wait_answer(bind, "net1.vm-1.closed.vm.", "A")
    assert answer(bind, "net1.vm-2.closed.vm.", "A") == ["10.2.0.2"]


def test_a_403_while_the_api_server_starts_is_retried(bind: Bind, full: Kube, run: Run) -> None:
    """A server refuses everything until RBAC is loaded: nothing is deleted, and no grant is suggested."""
    with full.fault(Reply.forbidden("secondary"), times=None):
        ksd = run(bind, full, timing=PATIENT, OWNER_ID="")
        ksd.wait_problem("source", "403", "may still be starting")
        assert "grant" not in ksd.get("/readyz")[1]
    ksd.wait_ready()
    assert "grant" not in ksd.log()


# Unreadable objects

BROKEN = {**vmi("vm-3", "prod"), "status": {"interfaces": {"net1": "10.1.0.3"}}}


def test_an_object_that_becomes_unreadable_keeps_its_last_state(bind: Bind, full: Kube, run: Run) -> None:
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    full.put(BROKEN)
    full.put(vmi("next", "prod"))
    ksd.wait_answer(bind, "next.prod.vm.", "A", "10.0.0.1")
    full.wait_watches()
    full.fail_watches(410)
    full.put(vmi("after", "prod"))
    ksd.wait_answer(bind, "after.prod.vm.", "A", "10.0.0.1")
    assert answer(bind, "net1.vm-3.prod.vm.", "A") == ["10.1.0.3"]
    assert ksd.ready
    full.delete("prod", "vm-3")
    ksd.wait_answer(bind, "net1.vm-3.prod.vm.", "A")


def test_an_object_that_was_never_readable_blocks_deletions(bind: Bind, full: Kube, run: Run) -> None:
    """A restarted controller has no earlier state: the names in the zone may belong to it."""
    ksd = run(bind, full, timing=QUICK)
    ksd.wait_ready()
    ksd.kill()
    full.put(BROKEN)
    full.delete("prod", "vm-4")
    full.put(vmi("next", "prod"))
    ksd.start()
    ksd.wait_answer(bind, "next.prod.vm.", "A", "10.0.0.1")
    ksd.wait_problem("deletions", "refusing to delete 4")
    assert answer(bind, "net1.vm-3.prod.vm.", "A") == ["10.1.0.3"]
    assert answer(bind, "net1.vm-4.prod.vm.", "A") == ["10.1.0.4"]
    full.delete("prod", "vm-5")  # seen, not concluded
    ksd.wait_answer(bind, "vm-5.prod.vm.", "A")
    full.put(MANY[3])
    ksd.wait_answer(bind, "net1.vm-4.prod.vm.", "A")
    ksd.wait_ready()
    assert answer(bind, "net1.vm-3.prod.vm.", "A") == ["10.1.0.3"]
