# SPDX-License-Identifier: Apache-2.0
"""From the cluster, or a file, to the DNS answer after each change."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from harness import vmis
from harness.kube import VMIS, Kube, Reply
from harness.servers import Bind, Server
from harness.vmis import vmi
from tests.controller.conftest import Run
from tests.controller.running import Running, addresses, answer

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})


def test_a_vmi_is_added_changed_and_deleted(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(primary, kube)
    ksd.wait_ready()
    everything = {"10.1.0.9", "fd00::9"}
    assert addresses(primary) == {"db.prod.vm.": everything, "net1.db.prod.vm.": everything}

    kube.put(vmi("web", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_answer(primary, "net1.web.prod.vm.", "A", "10.1.0.10")
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.11", "10.1.0.12"]}))
    ksd.wait_answer(primary, "net1.web.prod.vm.", "A", "10.1.0.11", "10.1.0.12")
    kube.delete("prod", "db")
    ksd.wait_answer(primary, "net1.db.prod.vm.", "AAAA")
    ksd.wait(lambda: ksd.metrics()["vmis"] == 1, "one VMI is left")
    everything = {"10.1.0.11", "10.1.0.12"}
    assert addresses(primary) == {"web.prod.vm.": everything, "net1.web.prod.vm.": everything}
    assert ksd.ready
    assert len(kube.requests(verb="list", resource="virtualmachineinstances")) == 1


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_vmi_is_deleted(bind: Bind, kube: Kube, run: Run, phase: str) -> None:
    kube.put(DB)
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]}, phase=phase))
    ksd.wait_answer(bind, "net1.db.prod.vm.", "A")
    ksd.wait(lambda: not addresses(bind), "nothing is left")


def test_the_ignore_annotation_is_followed(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}, annotations={"ksd-ddns/ignore": "true"}))
    ksd.wait_answer(bind, "net1.db.prod.vm.", "A")
    kube.put(vmi("db", "prod", {"net1": []}))
    kube.put(vmi("marker", "prod"))
    ksd.wait_answer(bind, "marker.prod.vm.", "A", "10.0.0.1")
    assert answer(bind, "net1.db.prod.vm.", "A") == []
    kube.put(DB)
    ksd.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.9")


def test_the_api_server_applies_the_label_selector(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(vmi("in", "prod", labels={"dns": "yes"}))
    kube.put(vmi("out", "prod"))
    ksd = run(bind, kube, LABEL_SELECTOR="dns=yes")
    ksd.wait_ready()
    assert set(addresses(bind)) == {"in.prod.vm.", "nic1.in.prod.vm."}
    kube.put(vmi("out", "prod", labels={"dns": "yes"}))
    ksd.wait_answer(bind, "out.prod.vm.", "A", "10.0.0.1")
    kube.put(vmi("in", "prod", labels={"dns": "no"}))
    ksd.wait_answer(bind, "in.prod.vm.", "A")
    assert {request.query.get("labelSelector") for request in kube.requests(resource=VMIS.plural)} == {"dns in (yes)"}


def test_an_unreadable_namespace_does_not_delay_others(bind: Bind, kube: Kube, run: Run) -> None:
    """Its names are not deleted."""
    both = {"db.prod.vm.", "db.test.vm."}
    for namespace in ("prod", "test", "other"):
        kube.put(vmi("db", namespace))
    ksd = run(bind, kube, NAMESPACES="prod,test")
    ksd.wait_ready()
    assert {name for name in addresses(bind) if name.startswith("db.")} == both
    ksd.stop()

    with kube.fault(Reply.forbidden("secondary", namespace="test"), namespace="test", times=None):
        ksd.start()
        ksd.wait_problem("source", "403", "test")
        kube.put(vmi("web", "prod"))
        ksd.wait_answer(bind, "web.prod.vm.", "A", "10.0.0.1")
        assert {name for name in addresses(bind) if name.startswith("db.")} == both
        assert ksd.problems().keys() == {"source"}
    ksd.wait_ready()
    kube.delete("test", "db")
    ksd.wait_answer(bind, "db.test.vm.", "A")
    assert {request.namespace for request in kube.requests(resource=VMIS.plural)} == {"prod", "test"}


def test_heartbeats_change_nothing(primary: Server, kube: Kube, run: Run) -> None:
    for number in range(10):
        kube.put(vmi(f"vm-{number}", "prod", {"net1": [f"10.1.0.{number}"]}))
    ksd = run(primary, kube)
    ksd.wait_ready()
    before = primary.axfr()
    metrics = ksd.metrics()
    kube.heartbeats(2_000)
    kube.wait_delivered()
    kube.put(vmi("last", "prod"))
    ksd.wait_answer(primary, "last.prod.vm.", "A", "10.0.0.1")
    counted = metrics.get("events_total{changed}", 0)
    ksd.wait(lambda: ksd.metrics().get("events_total{changed}", 0) > counted, "the change is counted")
    after = ksd.metrics()
    assert after["events_total{changed}"] == counted + 1
    assert {record for record in primary.axfr(soa=False) if "last." not in record.owner} == {
        record for record in before if record.type != "SOA"
    }
    assert after["update_outcomes_total{accepted}"] == metrics["update_outcomes_total{accepted}"] + 2


def test_added_and_removed_interfaces_are_followed(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(bind, kube, HOLD_DOWN="1h")
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"a0": ["10.1.0.1"], "net1": ["10.1.0.9", "fd00::9"]}))
    ksd.wait_answer(bind, "a0.db.prod.vm.", "A", "10.1.0.1")
    ksd.wait_answer(bind, "db.prod.vm.", "A", "10.1.0.1")  # the first by name has the default record
    kube.put(vmi("db", "prod", {"a0": ["10.1.0.1"]}))
    ksd.wait_answer(bind, "net1.db.prod.vm.", "A")
    ksd.wait_answer(bind, "db.prod.vm.", "AAAA")
    assert addresses(bind) == {"db.prod.vm.": {"10.1.0.1"}, "a0.db.prod.vm.": {"10.1.0.1"}}


def test_annotations_are_followed(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(bind, kube)
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}, annotations={"ksd-ddns/hostname": "sql", "ksd-ddns/ttl": "30"}))
    ksd.wait_answer(bind, "sql.prod.vm.", "A", "10.1.0.9")
    assert bind.ttl("net1.db.prod.vm.", "A") == 30
    kube.put(DB)
    ksd.wait_answer(bind, "sql.prod.vm.", "A")
    assert bind.ttl("net1.db.prod.vm.", "A") == 60


def test_the_older_vmi_keeps_a_shared_name_until_it_is_deleted(bind: Bind, kube: Kube, run: Run) -> None:
    """VMI `a.b` wants the name of interface `a` of `b`; the conflict is reported throughout."""
    kube.put(vmi("b", "prod", {"a": ["10.1.0.1"]}, created="2026-03-01T08:00:00Z"))
    kube.put(vmi("a.b", "prod", {"net1": ["10.1.0.2"]}, created="2026-03-02T08:00:00Z"))
    ksd = run(bind, kube)
    ksd.wait_ready()
    assert answer(bind, "a.b.prod.vm.", "A") == ["10.1.0.1"]
    assert ksd.metrics()["names{conflict}"] == 1
    kube.put(vmi("a.b", "prod", {"net1": ["10.1.0.3"]}, created="2026-03-02T08:00:00Z"))
    ksd.wait_answer(bind, "net1.a.b.prod.vm.", "A", "10.1.0.3")
    assert ksd.metrics()["names{conflict}"] == 1
    kube.delete("prod", "b")
    ksd.wait_answer(bind, "a.b.prod.vm.", "A", "10.1.0.3")
    ksd.wait(lambda: ksd.metrics()["names{conflict}"] == 0, "no conflict is left")


# A file


def write(path: Path, *objects: dict[str, Any]) -> None:
    """Write VMIs as a program does that replaces the file."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(vmis.listing(objects)))
    new.replace(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vmis.json"
    write(path, DB)
    return path


def test_a_replaced_file_is_followed(primary: Server, file: Path, run: Run) -> None:
    ksd = run(primary, source=file)
    ksd.wait_ready()
    assert answer(primary, "net1.db.prod.vm.", "A") == ["10.1.0.9"]
    began = time.monotonic()
    write(file, vmi("db", "prod", {"net1": ["10.1.0.10"]}), vmi("web", "prod"))
    ksd.wait_answer(primary, "net1.db.prod.vm.", "A", "10.1.0.10")
    print(f"seen in the answer after {time.monotonic() - began:.3f} s")
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
    write(file, vmi("web", "prod"))
    ksd.wait_answer(primary, "net1.db.prod.vm.", "A")


def test_a_file_written_in_place_is_followed(bind: Bind, file: Path, run: Run) -> None:
    ksd = run(bind, source=file)
    ksd.wait_ready()
    text = json.dumps(vmis.listing([DB, vmi("web", "prod")]))
    with file.open("r+") as stream:
        for start in range(0, len(text), len(text) // 8):
            stream.write(text[start : start + len(text) // 8])
            stream.flush()
            time.sleep(0.03)
        stream.truncate()
    ksd.wait_answer(bind, "web.prod.vm.", "A", "10.0.0.1")
    assert answer(bind, "net1.db.prod.vm.", "A") == ["10.1.0.9"]
    file.write_text(json.dumps(vmis.listing([DB])))
    ksd.wait_answer(bind, "web.prod.vm.", "A")


def test_documents_written_one_by_one_cause_no_deletions(bind: Bind, file: Path, run: Run) -> None:
    """A partly written file is well-formed after each document."""
    everything = [vmi(f"vm-{number}", "prod", {"net1": [f"10.1.0.{number}"]}) for number in range(5)]
    write(file, *everything)
    ksd = run(bind, source=file)
    ksd.wait_ready()
    before = bind.axfr()
    with file.open("w") as stream:
        for each in everything:
            stream.write(json.dumps(each) + "\n")
            stream.flush()
            time.sleep(0.1)
    time.sleep(0.6)
    assert bind.axfr() == before  # the serial, too
    assert ksd.ready
    file.write_text("".join(json.dumps(each) for each in everything[1:]))
    ksd.wait_answer(bind, "vm-0.prod.vm.", "A")


def test_two_changes_within_one_clock_tick_are_both_applied(bind: Bind, file: Path, run: Run) -> None:
    ksd = run(bind, source=file)
    ksd.wait_ready()
    now = time.time_ns()
    for address in ("10.1.0.7", "10.1.0.8"):  # of the same length
        file.write_text(json.dumps(vmis.listing([vmi("db", "prod", {"net1": [address]})])))
        os.utime(file, ns=(now, now))
        ksd.wait_answer(bind, "net1.db.prod.vm.", "A", address)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda path: path.write_text(path.read_text()[:-100]), "broken JSON", id="cut-off"),
        pytest.param(lambda path: path.write_text(""), "empty", id="emptied"),
        pytest.param(lambda path: path.write_text("kind: Pod"), "Pod", id="something-else"),
        pytest.param(lambda path: path.unlink(), "no such file", id="removed"),
    ],
)
def test_an_unreadable_file_deletes_nothing(bind: Bind, file: Path, run: Run, spoil: Any, words: str) -> None:
    ksd = run(bind, source=file)
    ksd.wait_ready()
    before = bind.axfr()
    text = file.read_text()
    spoil(file)
    ksd.wait_problem("source", words, str(file))
    assert ksd.get("/readyz?exclude=source")[0] == 200
    time.sleep(0.3)
    assert bind.axfr() == before
    file.write_text(text)
    ksd.wait_ready()
    assert bind.axfr() == before
    write(file, vmi("db", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_answer(bind, "net1.db.prod.vm.", "A", "10.1.0.10")


def test_a_missing_file_is_followed_once_it_exists(bind: Bind, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "later.json"
    ksd = run(bind, source=path)
    ksd.wait_problem("source", "no such file")
    assert "sync" in ksd.problems()
    assert ksd.get("/readyz?exclude=source")[0] == 503  # nothing has been synced yet
    write(path, DB)
    ksd.wait_ready()
    assert answer(bind, "net1.db.prod.vm.", "A") == ["10.1.0.9"]


def test_standard_input_cannot_be_followed(bind: Bind, run: Run) -> None:
    ksd: Running = run(bind, source="-")
    assert ksd.ended() == 2
    assert "standard input cannot be followed" in ksd.log()
