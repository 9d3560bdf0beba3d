# SPDX-License-Identifier: Apache-2.0
"""Moves while controllers run: a client that asks all the time misses no name."""

from collections.abc import Callable

from harness.kube import Kube
from harness.servers import Server
from harness.vmis import vmi
from tests.controller.conftest import Run
from tests.controller.running import answer
from tests.e2e.asking import asking, gaps, missing

FOREIGN = 'www A 192.0.2.1\nnet1.vm1.prod.vm TXT "a text of the network team"\n'
NAMES = [f"net1.vm{i}.prod.vm.example." for i in range(1, 31)]


def fill(kube: Kube) -> None:
    for i in range(1, 31):
        kube.put(vmi(f"vm{i}", "prod", {"net1": [f"10.1.0.{i}"]}))


def owners(primary: Server) -> set[str]:
    """Return the owner IDs in ownership records."""
    records = primary.axfr("example.", soa=False)
    return {record.rdata.split("owner=")[1].split(",")[0] for record in records if "heritage=" in record.rdata}


def test_a_controller_takes_names_over(make_primary: Callable[..., Server], kube: Kube, run: Run) -> None:
    primary = make_primary(zones={"example.": FOREIGN})
    fill(kube)
    old = run(primary, kube, DOMAIN="example", OWNER_ID="old")
    old.wait_ready()
    old.wait_answer(primary, NAMES[-1], "A", "10.1.0.30")
    with asking(primary, NAMES) as answers:
        # The old controller still runs: it finds conflicts, and takes nothing back.
        new = run(primary, kube, DOMAIN="example", OWNER_ID="new", TAKE_OVER_FROM="old")
        new.wait_ready()
        new.wait(lambda: owners(primary) == {"new"}, "the new owner")
        old.wait(lambda: old.metrics()["names{conflict}"] == 60, "the conflicts")
        serial = primary.serial("example.")
        kube.put(vmi("vm1", "prod", {"net1": ["10.1.0.31"]}))
        new.wait_answer(primary, NAMES[0], "A", "10.1.0.31")
        assert old.stop() == 0
    assert missing(answers) == []
    assert owners(primary) == {"new"}
    assert primary.serial("example.") == serial + 1, "they do not undo each other's changes"
    assert primary.query(NAMES[0], "TXT")[0] == '"a text of the network team"'
    assert new.stop() == 0
    # The setting is needed once.
    later = run(primary, kube, DOMAIN="example", OWNER_ID="new")
    later.wait_ready()
    assert primary.serial("example.") == serial + 1
    assert later.stop() == 0


def test_a_controller_moves_to_another_domain(make_primary: Callable[..., Server], kube: Kube, run: Run) -> None:
    primary = make_primary(zones={"example.": FOREIGN})
    fill(kube)
    old = run(primary, kube, DOMAIN="example")
    old.wait_ready()
    old.wait_answer(primary, NAMES[-1], "A", "10.1.0.30")
    assert old.stop() == 0
    moved = [name.replace("example.", "new.example.") for name in NAMES]
    with asking(primary, [*NAMES, *moved]) as answers:
        both = run(primary, kube, DOMAIN="new.example", POLICY="upsert-only")
        both.wait_ready()
        both.wait_answer(primary, moved[-1], "A", "10.1.0.30")
        assert answer(primary, NAMES[0], "A") == ["10.1.0.1"], "the old names stay"
        assert both.stop() == 0
        new = run(primary, kube, DOMAIN="new.example", MAX_DELETE_PERCENT=100)
        new.wait_ready()
        new.wait_answer(primary, NAMES[0], "A")
        assert new.stop() == 0
    assert gaps(answers, zip(NAMES, moved, strict=True)) == []
    assert {record.owner for record in primary.axfr("example.") if record.type == "A"} - {*moved} - {
        name.replace("net1.", "") for name in moved
    } == {"www.example."}
