# SPDX-License-Identifier: Apache-2.0
"""READ=queries in the controller: primaries that transfer the zone to nobody but the test."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.kube import Kube
from harness.servers import Bind, PowerDns, Server
from harness.vmis import vmi
from tests.controller.conftest import Run
from tests.controller.running import Running, answer
from tests.no_transfer import addresses, index, no_transfer, owned, records

NAME = "net1.db.prod.vm."
FOREIGN = 'www.prod A 192.0.2.1\nwww.prod TXT "mine"'


@pytest.fixture
def primary(make_either: Callable[..., Server]) -> Server:
    """Return a primary that transfers its zone only to the test."""
    return no_transfer(make_either, {"vm.": FOREIGN})


def db(addresses: list[str], **more: Any) -> dict[str, Any]:
    """Return the VMI with these addresses."""
    return vmi("db", "prod", {"net1": addresses}, **more)


def start(run: Run, primary: Server, kube: Kube, **settings: object) -> Running:
    """Return a controller that is ready."""
    ksd = run(primary, kube, READ="queries", **settings)
    ksd.wait_ready()
    return ksd


def test_events_change_names_and_index_together(primary: Server, kube: Kube, run: Run) -> None:
    before = records(primary)
    kube.put(db(["10.1.0.9"]))
    ksd = start(run, primary, kube)
    assert index(primary) == owned(primary) == {"db.prod.vm.", NAME}
    kube.put(db(["10.1.0.10"]))
    ksd.wait_answer(primary, NAME, "A", "10.1.0.10")
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.7"]}))
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.1.0.7")
    assert index(primary) == owned(primary)
    kube.delete("prod", "db")
    kube.delete("prod", "web")
    ksd.wait(lambda: records(primary) == before, "nothing of ours is left, and nothing foreign changed")
    assert not ksd.events("zone update failed, retrying")


def test_a_deletion_while_the_controller_is_down_is_found_by_the_index(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(db(["10.1.0.9"]))
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.7"]}))
    ksd = start(run, primary, kube)
    ksd.kill()
    kube.delete("prod", "db")
    ksd.start()
    ksd.wait_answer(primary, NAME, "A")
    ksd.wait(lambda: index(primary) == owned(primary) == {"web.prod.vm.", "net1.web.prod.vm."}, "only web is left")


def test_an_address_that_vanished_before_a_restart_is_held(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(db(["10.1.0.9", "fd00::9"]))
    ksd = start(run, primary, kube, HOLD_DOWN="3s")
    ksd.kill()
    kube.put(db([]))
    ksd.start()
    ksd.wait_ready()
    assert answer(primary, NAME, "A") == ["10.1.0.9"]
    assert answer(primary, NAME, "AAAA") == ["fd00::9"]
    assert ksd.metrics()["held_families"] == 2
    ksd.wait_answer(primary, NAME, "A")
    ksd.wait(lambda: not owned(primary) and not index(primary), "nothing is left after the hold")


def test_a_conflict_is_published_when_the_name_becomes_free(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(vmi("www", "prod", {"net1": ["10.1.0.8"]}))
    ksd = start(run, primary, kube)
    assert answer(primary, "net1.www.prod.vm.", "A") == ["10.1.0.8"]
    assert answer(primary, "www.prod.vm.", "A") == ["192.0.2.1"]
    primary.nsupdate("update delete www.prod.vm.")
    ksd.wait_answer(primary, "www.prod.vm.", "A", "10.1.0.8")
    assert index(primary) == owned(primary)


def test_foreign_changes_of_our_names_are_put_back(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(db(["10.1.0.9"]))
    ksd = start(run, primary, kube)
    primary.nsupdate(f"update delete {NAME} A\nupdate add {NAME} 60 A 192.0.2.66")
    ksd.wait_answer(primary, NAME, "A", "10.1.0.9")
    primary.nsupdate(f"update delete {NAME}")
    ksd.wait_answer(primary, NAME, "A", "10.1.0.9")


def test_a_damaged_index_is_repaired(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(db(["10.1.0.9"]))
    ksd = start(run, primary, kube)
    shards = {record.owner for record in records(primary) if "name=" in record.rdata}
    primary.nsupdate("\n".join(f"update delete {shard} TXT" for shard in shards))
    ksd.wait(lambda: index(primary) == owned(primary), "the index lists all names again")
    assert addresses(primary)[NAME] == {"10.1.0.9"}


def test_a_race_does_not_overwrite_a_foreign_name(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(db(["10.1.0.9"]))
    ksd = start(run, primary, kube, DRIFT_INTERVAL="1h", FULL_READ_INTERVAL="24h")
    primary.nsupdate(f"update delete {NAME} A\nupdate delete {NAME} TXT\nupdate add {NAME} 60 A 192.0.2.66")
    kube.put(db(["10.1.0.10"]))
    ksd.wait_answer(primary, "db.prod.vm.", "A", "10.1.0.10")
    assert answer(primary, NAME, "A") == ["192.0.2.66"]


def test_a_member_that_leaves_its_group_is_removed(primary: Server, kube: Kube, run: Run) -> None:
    def member(number: int, *, ready: bool) -> dict[str, Any]:
        made = vmi(f"web-{number}", "prod", {"net1": [f"10.1.0.{number}"]}, annotations={"ksd-ddns/group": "web"})
        made["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]
        return made

    kube.put(member(1, ready=True))
    kube.put(member(2, ready=True))
    ksd = start(run, primary, kube)
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.1.0.1", "10.1.0.2")
    assert index(primary) == owned(primary)
    kube.put(member(1, ready=False))
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.1.0.2")
    ksd.kill()
    kube.put(member(2, ready=False))
    ksd.start()
    ksd.wait_ready()
    assert answer(primary, "web.prod.vm.", "A") == ["10.1.0.2"], "the last member stays, also after a restart"


@pytest.mark.parametrize("child", ["refused", "delegated"])
def test_a_name_is_published_when_its_child_zone_goes(
    make_bind: Callable[..., Bind], kube: Kube, run: Run, child: str
) -> None:
    primary = no_transfer(
        lambda *, bind, knot, **more: make_bind(**bind, **more),
        {"vm.": "prod NS localhost." if child == "delegated" else ""},
    )
    assert isinstance(primary, Bind)
    configuration = primary.configuration.read_text()
    (primary.directory / "child").write_text("$TTL 60\n@ SOA localhost. root 1 1 1 1 1\n@ NS localhost.\n")
    query = "none" if child == "refused" else "any"
    with primary.configuration.open("a") as file:
        file.write(f'zone "prod.vm." {{ type primary; file "child"; allow-query {{ {query}; }}; }};\n')
    primary.reload()
    kube.put(db(["10.1.0.9"]))
    kube.put(vmi("db", "dev", {"net1": ["10.1.0.8"]}))
    ksd = start(run, primary, kube)
    assert answer(primary, "db.dev.vm.", "A") == ["10.1.0.8"]
    assert ksd.metrics()["names{conflict}"] == 2
    primary.configuration.write_text(configuration)
    primary.reload()
    if child == "delegated":
        primary.nsupdate("update delete prod.vm. NS")
    ksd.wait_answer(primary, NAME, "A", "10.1.0.9")
    assert index(primary) == owned(primary)
    ksd.wait(lambda: ksd.metrics()["names{conflict}"] == 0, "the conflicts are over")


def test_powerdns(make_powerdns: Callable[..., PowerDns], kube: Kube, run: Run) -> None:
    primary = make_powerdns(
        zones={"vm.": "www.prod A 192.0.2.1"}, zone_options="add-meta ZONE TSIG-ALLOW-DNSUPDATE ksd-ddns"
    )
    kube.put(db(["10.1.0.9"]))
    kube.put(vmi("www", "prod", {"net1": ["10.1.0.8"]}))
    ksd = start(run, primary, kube)
    assert answer(primary, NAME, "A") == ["10.1.0.9"]
    assert answer(primary, "www.prod.vm.", "A") == ["192.0.2.1"]
    kube.put(db(["10.1.0.10"]))
    ksd.wait_answer(primary, NAME, "A", "10.1.0.10")
    ksd.kill()
    kube.delete("prod", "db")
    ksd.start()
    ksd.wait_answer(primary, NAME, "A")
    ksd.wait_answer(primary, "db.prod.vm.", "A")
    assert answer(primary, "www.prod.vm.", "A") == ["192.0.2.1"]
