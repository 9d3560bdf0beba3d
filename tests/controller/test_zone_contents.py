# SPDX-License-Identifier: Apache-2.0
"""Zone contents that the serial does not show: restored, edited, signed late, or from another server."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.hostile import Proxy, is_update, only
from harness.kube import Kube
from harness.servers import Bind, Knot, PowerDns
from harness.vmis import as_json, listing, vmi
from tests.controller.conftest import Run
from tests.controller.running import addresses

DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
NAME = "net1.db.prod.vm."
QUICK = {"DRIFT_INTERVAL": "0.5s", "FULL_READ_INTERVAL": "2s"}


def test_an_edit_without_a_new_serial_is_found(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    bind = make_bind(zones={"vm.": ""})
    kube.put(DB)
    ksd = run(bind, kube, **QUICK)
    ksd.wait_ready()
    ksd.wait(lambda: ksd.metrics()["zone_serial"] == bind.serial(), "it was read back")
    serial = bind.serial()
    bind.rndc("freeze", "vm.")
    file = bind.zone_path("vm.")
    ksd.wait(lambda: "10.1.0.9" in file.read_text(), "BIND has written the zone")
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "10.1.0.9" not in line))
    later = time.time() + 2  # BIND reads a file again only if its time has changed, in seconds
    os.utime(file, (later, later))
    bind.rndc("thaw", "vm.")
    ksd.wait(lambda: bind.serial() > serial, "it is put back")  # right after the thaw, BIND may still have it
    ksd.wait_answer(bind, NAME, "A", "10.1.0.9")


@pytest.mark.parametrize("interval", ["1h", "2s"], ids=["spot-check", "full-read"])
def test_a_record_deleted_in_the_powerdns_database_is_restored(
    make_powerdns: Callable[..., PowerDns], kube: Kube, run: Run, interval: str
) -> None:
    primary = make_powerdns(zones={"vm.": ""})
    kube.put(DB)
    ksd = run(primary, kube, DRIFT_INTERVAL="0.5s", FULL_READ_INTERVAL=interval)
    ksd.wait_ready()
    ksd.wait(lambda: ksd.metrics()["zone_serial"] == primary.serial(), "it was read back")
    primary.pdnsutil("delete-rrset", "vm.", NAME.removesuffix(".vm."), "A")
    ksd.wait_answer(primary, NAME, "A", "10.1.0.9")
    ksd.wait_ready()


def test_another_server_with_the_same_serial_is_detected(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    first = make_bind(zones={"vm.": ""})
    kube.put(DB)
    with Proxy(first) as proxy:
        ksd = run(first, kube, through=proxy.address, DRIFT_INTERVAL="0.5s", FULL_READ_INTERVAL="1h")
        ksd.wait_ready()
        ksd.wait(lambda: ksd.metrics()["zone_serial"] == first.serial(), "it was read back")
        second = make_bind(zones={"vm.": ""}, keys=first.keys)
        while second.serial() != first.serial():
            second.nsupdate(f"update add other{second.serial()}.vm. 60 TXT x")
        proxy.lead_to(second)
        first.stop()
        ksd.wait_answer(second, NAME, "A", "10.1.0.9")


SIGNED = 'dnssec-policy default; inline-signing yes; key-directory "."; '


def test_changes_that_a_signed_zone_shows_late_are_sent_once(
    make_bind: Callable[..., Bind], tmp_path: Path, run: Run
) -> None:
    policy = 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." zonesub ANY; }; '
    bind = make_bind(zones={"vm.": ""}, zone_options=SIGNED + policy)
    source = tmp_path / "vmis.json"
    many = [vmi(f"vm{i}", f"ns{i % 20}", {"net1": [f"10.1.{i // 250}.{i % 250}"]}) for i in range(300)]
    source.write_bytes(as_json(listing(many)))
    sent: list[bytes] = []

    def counted(message: bytes) -> list[bytes]:
        sent.append(message)
        return [message]

    with Proxy(bind, request=only(is_update, counted)) as proxy:
        ksd = run(bind, source=source, through=proxy.address)
        ksd.wait(lambda: len(addresses(bind)) == 600, "all names are shown", seconds=60)
        ksd.wait_ready()
        assert len(sent) <= 60
        assert ksd.metrics()["names{refused}"] == 0
        ksd.wait(lambda: {bind.ttl(f"vm{i}.ns{i}.vm.", "A") for i in range(5)} == {60}, "no name has another TTL")


def test_a_new_ttl_reaches_knot_and_the_name_never_lacks_its_address(
    make_knot: Callable[..., Knot], kube: Kube, run: Run
) -> None:
    knot = make_knot(zones={"vm.": ""})
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9", "2001:db8::9"]}, annotations={"ksd-ddns/ttl": "120"}))
    ksd = run(knot, kube)
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9", "2001:db8::9"]}, annotations={"ksd-ddns/ttl": "900"}))
    ksd.wait(lambda: (knot.ttl(NAME, "A"), knot.ttl(NAME, "AAAA")) == (900, 900), "the new TTL")
    ksd.wait(lambda: ksd.metrics()["zone_serial"] == knot.serial(), "it was read back")
    serial = knot.serial()
    time.sleep(2)
    assert knot.serial() == serial, "nothing is sent again"
    assert ksd.ready


def test_two_controllers_with_one_owner_id_are_reported(
    make_bind: Callable[..., Bind], run: Run, tmp_path: Path
) -> None:
    bind = make_bind(zones={"vm.": ""})
    both = []
    for name in ("east", "west"):
        source = tmp_path / f"{name}.json"
        source.write_bytes(as_json(listing([vmi(f"{name}{i}", "prod") for i in range(3)])))
        both.append(run(bind, source=source, DRIFT_INTERVAL="0.5s"))
    east, west = both
    east.wait(lambda: any("OWNER_ID" in ksd.log() for ksd in both), "one of them says so")
    assert west.log().count("same owner ID") <= 1
