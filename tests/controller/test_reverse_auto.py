# SPDX-License-Identifier: Apache-2.0
"""REVERSE_ZONES=auto while the controller runs: zones are found when addresses appear, and when zones do."""

import json
from collections.abc import Callable

from harness.kube import Kube
from harness.servers import Bind, Server
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from tests.controller.conftest import Run

PARENT, SUB = "2.0.192.in-addr.arpa.", "0-63.2.0.192.in-addr.arpa."
ZONES = {
    "vm.": "", "10.in-addr.arpa.": "", "16.172.in-addr.arpa.": "", SUB: "",
    PARENT: "0-63 NS localhost.\n" + "\n".join(f"{octet} CNAME {octet}.0-63" for octet in range(64)),
}  # fmt: skip
OFTEN = Timing(reverse_again=0.5)


def name_of(address: str) -> str:
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa."


def test_zones_are_found_when_addresses_appear(make_primary: Callable[..., Server], kube: Kube, run: Run) -> None:
    primary = make_primary(zones=ZONES)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    ksd = run(primary, kube, REVERSE_ZONES="auto")
    ksd.wait_ready()
    ksd.wait_answer(primary, name_of("10.1.0.9"), "PTR", "net1.db.prod.vm.")
    before = primary.axfr("16.172.in-addr.arpa.")
    kube.put(vmi("web", "prod", {"net1": ["172.16.0.9", "192.168.0.9"]}))
    ksd.wait_answer(primary, name_of("172.16.0.9"), "PTR", "net1.web.prod.vm.")
    assert primary.axfr("16.172.in-addr.arpa.") > {item for item in before if item.type != "SOA"}
    kube.put(vmi("sub", "prod", {"net1": ["192.0.2.5", "192.0.2.70"]}))
    ksd.wait_answer(primary, f"5.{SUB}", "PTR", "net1.sub.prod.vm.")
    ksd.wait_answer(primary, name_of("192.0.2.70"), "PTR", "net1.sub.prod.vm.")
    ksd.wait_ready()  # the zone of the last answer may not have been read back yet
    assert {zone["zone"] for zone in json.loads(ksd.get("/records")[1])["zones"]} == {*ZONES}
    # VMIs that came before a zone was found leave it, too.
    kube.delete("prod", "web")
    kube.delete("prod", "db")
    ksd.wait_answer(primary, name_of("172.16.0.9"), "PTR")
    ksd.wait_answer(primary, name_of("10.1.0.9"), "PTR")
    assert ksd.stop() == 0
    assert "publishing PTR records" in ksd.log()


def test_a_new_zone_is_found_later(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9", "10.2.0.9"]}))
    ksd = run(bind, kube, REVERSE_ZONES="auto", timing=OFTEN)
    ksd.wait_ready()
    add_zone(bind, "10.in-addr.arpa")
    ksd.wait_answer(bind, name_of("10.1.0.9"), "PTR", "net1.db.prod.vm.")
    ksd.wait_answer(bind, name_of("10.2.0.9"), "PTR", "net1.db.prod.vm.")
    # A zone inside it: the name above is not ours from then on, and the one in the new zone is published.
    add_zone(bind, "1.10.in-addr.arpa")
    ksd.wait(lambda: "1.10.in-addr.arpa." in ksd.log(), "the new zone")
    ksd.wait_answer(bind, name_of("10.1.0.9"), "PTR", "net1.db.prod.vm.")
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.10", "10.2.0.10"]}))
    ksd.wait_answer(bind, name_of("10.1.0.10"), "PTR", "net1.web.prod.vm.")
    ksd.wait_answer(bind, name_of("10.2.0.10"), "PTR", "net1.web.prod.vm.")
    found = {item.owner for item in bind.axfr("1.10.in-addr.arpa.") if item.type == "PTR"}
    assert found == {name_of("10.1.0.9"), name_of("10.1.0.10")}
    assert name_of("10.1.0.10") not in {item.owner for item in bind.axfr("10.in-addr.arpa.")}
    assert ksd.problems() == {}
    assert ksd.stop() == 0


def add_zone(bind: Bind, zone: str) -> None:
    """Add a reverse zone to the running server."""
    (bind.directory / f"{zone}.added").write_text(
        "$TTL 60\n@ 30 SOA localhost. hostmaster.localhost. 1 3600 600 1209600 30\n@ NS localhost.\n"
    )
    key = f'"{bind.key_name}"'
    permissions = f"allow-transfer {{ key {key}; }}; update-policy {{ grant {key} zonesub ANY; }};"
    with bind.configuration.open("a") as file:
        file.write(f'\nzone "{zone}" {{ type primary; file "{zone}.added"; {permissions} }};\n')
    bind.reload()


def test_an_outage_of_the_primary_is_waited_out(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones=ZONES)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    primary.stop()
    ksd = run(primary, kube, REVERSE_ZONES="auto")
    ksd.wait(lambda: "cannot look for reverse zones, retrying" in ksd.log(), "the failure")
    primary.start()
    ksd.wait_answer(primary, name_of("10.1.0.9"), "PTR", "net1.db.prod.vm.")
    ksd.wait_answer(primary, "net1.db.prod.vm.", "A", "10.1.0.9")
    assert ksd.stop() == 0


def test_ready_is_after_the_zones_of_the_first_list(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones=ZONES)
    for octet in range(1, 200):
        kube.put(vmi(f"db-{octet}", "prod", {"net1": [f"10.{octet}.0.9", "192.0.2.5"]}))
    ksd = run(primary, kube, REVERSE_ZONES="auto")
    ksd.wait_ready()
    pointers = [item for item in primary.axfr("10.in-addr.arpa.") if item.type == "PTR"]
    assert len(pointers) == 199
    assert len([item for item in primary.axfr(SUB) if item.type == "PTR"]) == 90


def test_a_zone_without_permission_does_not_make_it_unready(
    make_bind: Callable[..., Bind], kube: Kube, run: Run
) -> None:
    primary = make_bind(zones={"vm.": "", "10.in-addr.arpa.": ""})
    foreign = 'zone "16.172.in-addr.arpa" { type primary; file "foreign"; allow-transfer { none; }; };'
    (primary.directory / "foreign").write_text("$TTL 60\n@ SOA localhost. root 1 1 1 1 1\n@ NS localhost.\n")
    with primary.configuration.open("a") as file:
        file.write(foreign)
    primary.reload()
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    kube.put(vmi("bad", "other", {"net1": ["172.16.0.9"]}))
    ksd = run(primary, kube, REVERSE_ZONES="auto")
    ksd.wait_ready()
    ksd.wait_answer(primary, name_of("10.1.0.9"), "PTR", "net1.db.prod.vm.")
    ksd.wait(lambda: "[ ] primary of 16.172.in-addr.arpa.: " in ksd.get("/readyz")[1], "the problem is shown")
    assert ksd.ready
    assert "1 reverse zone not in sync" in ksd.get("/")[1]


def test_a_zone_that_is_removed_does_not_make_it_unready(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones={"vm.": ""})
    configuration = primary.configuration.read_text()
    add_zone(primary, "10.in-addr.arpa")
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    ksd = run(primary, kube, REVERSE_ZONES="auto", timing=OFTEN)
    ksd.wait_ready()
    assert ksd.metrics()
    primary.configuration.write_text(configuration)
    primary.reload()
    ksd.wait(lambda: "[ ] primary of 10.in-addr.arpa.: " in ksd.get("/readyz")[1], "the problem is shown")
    assert ksd.ready
    add_zone(primary, "10.in-addr.arpa")
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_answer(primary, name_of("10.1.0.10"), "PTR", "net1.web.prod.vm.")
    ksd.wait(lambda: "[" not in ksd.get("/readyz")[1], "the zone is in sync again")
