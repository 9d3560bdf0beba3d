# SPDX-License-Identifier: Apache-2.0
"""PTR records while the controller runs: each reverse zone follows the cluster on its own."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.kube import Kube
from harness.servers import Bind, Server
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import Running, answer
from tests.e2e.command import settings_of

TEN, HOME, SIX = "10.in-addr.arpa.", "168.192.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."
ZONES = {"vm.": "", TEN: "", HOME: "", SIX: ""}
REVERSE = "10.0.0.0/8, 192.168.0.0/16, 2001:db8::/32"
BOTH = ["10.1.0.9", "2001:db8::9"]

NAME = "net1.db.prod.vm."
NINE, TWELVE = "9.0.1.10.in-addr.arpa.", "12.0.1.10.in-addr.arpa."
SIX_NINE = "9." + 23 * "0." + "8.b.d.0.1.0.0.2.ip6.arpa."


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_pointers_follow_the_cluster(make_primary: Callable[..., Server], kube: Kube, run: Run, ownership: str) -> None:
    primary = make_primary(zones=ZONES)
    kube.put(vmi("db", "prod", {"net1": BOTH, "net2": ["192.168.7.9"]}))
    ksd = run(primary, kube, REVERSE_ZONES=REVERSE, OWNERSHIP=ownership)
    ksd.wait_ready()
    assert answer(primary, NINE, "PTR") == [NAME]
    assert answer(primary, SIX_NINE, "PTR") == [NAME]
    assert answer(primary, "9.7.168.192.in-addr.arpa.", "PTR") == ["net2.db.prod.vm."]
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.12", "2001:db8::9"]}))
    ksd.wait_answer(primary, TWELVE, "PTR", NAME)
    ksd.wait_answer(primary, NINE, "PTR")
    ksd.wait_answer(primary, "9.7.168.192.in-addr.arpa.", "PTR")
    kube.put(vmi("twin", "prod", {"net1": ["10.1.0.12"]}))
    ksd.wait_answer(primary, TWELVE, "PTR", NAME, "net1.twin.prod.vm.")
    kube.delete("prod", "db")
    ksd.wait_answer(primary, TWELVE, "PTR", "net1.twin.prod.vm.")
    ksd.wait_answer(primary, SIX_NINE, "PTR")
    assert ksd.stop() == 0


def test_foreign_changes_to_our_pointers_are_reverted(
    make_primary: Callable[..., Server], kube: Kube, run: Run
) -> None:
    primary = make_primary(zones=ZONES)
    kube.put(vmi("db", "prod", {"net1": BOTH}))
    ksd = run(primary, kube, REVERSE_ZONES=REVERSE, DRIFT_INTERVAL="0.5s")
    ksd.wait_ready()
    primary.nsupdate(f"update delete {NINE} PTR\nupdate add 7.7.7.10.in-addr.arpa. 60 PTR foreign.example.", zone=TEN)
    ksd.wait_answer(primary, NINE, "PTR", NAME)
    assert answer(primary, "7.7.7.10.in-addr.arpa.", "PTR") == ["foreign.example."]


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_pointers_are_held_like_addresses(make_bind: Callable[..., Bind], kube: Kube, run: Run, ownership: str) -> None:
    bind = make_bind(zones=ZONES)
    kube.put(vmi("db", "prod", {"net1": BOTH}))
    ksd = run(bind, kube, REVERSE_ZONES=REVERSE, OWNERSHIP=ownership, HOLD_DOWN="1.5s")
    ksd.wait_ready()
    vanished = time.monotonic()
    kube.put(vmi("db", "prod", {"net1": []}))
    kube.put(vmi("later", "prod", {"net1": ["10.9.9.9"]}))
    ksd.wait_answer(bind, "9.9.9.10.in-addr.arpa.", "PTR", "net1.later.prod.vm.")
    assert answer(bind, NINE, "PTR") == answer(bind, SIX_NINE, "PTR") == [NAME]
    ksd.wait_answer(bind, NINE, "PTR")
    ksd.wait_answer(bind, SIX_NINE, "PTR")
    assert 1.4 < time.monotonic() - vanished < 6
    ksd.wait_answer(bind, NAME, "A")


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_held_pointers_survive_a_restart(
    make_primary: Callable[..., Server], kube: Kube, run: Run, ownership: str
) -> None:
    primary = make_primary(zones=ZONES)
    twin = vmi("twin", "prod", {"net1": ["10.1.0.9"]})
    kube.put(vmi("db", "prod", {"net1": BOTH}))
    kube.put(twin)
    ksd = run(primary, kube, REVERSE_ZONES=REVERSE, OWNERSHIP=ownership, HOLD_DOWN="2s")
    ksd.wait_ready()
    assert answer(primary, NINE, "PTR") == [NAME, "net1.twin.prod.vm."]
    ksd.kill()
    kube.put(vmi("db", "prod", {"net1": []}))
    ksd.start()
    ksd.wait_ready()
    assert answer(primary, NINE, "PTR") == [NAME, "net1.twin.prod.vm."]
    assert answer(primary, SIX_NINE, "PTR") == [NAME]
    ksd.wait_answer(primary, NINE, "PTR", "net1.twin.prod.vm.")
    ksd.wait_answer(primary, SIX_NINE, "PTR")


def test_a_pointer_of_another_vmi_is_not_held(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    """Another VMI takes the address: both have a pointer until the hold-down ends, since both may have it."""
    bind = make_bind(zones=ZONES)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    ksd = run(bind, kube, REVERSE_ZONES=REVERSE, HOLD_DOWN="1s")
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": []}))
    kube.put(vmi("new", "prod", {"net1": ["10.1.0.9"]}))
    ksd.wait_answer(bind, NINE, "PTR", NAME, "net1.new.prod.vm.")
    ksd.wait_answer(bind, NINE, "PTR", "net1.new.prod.vm.")


GRANT = 'update-policy { grant "ksd-ddns." zonesub ANY; };'
TRANSFER = 'allow-transfer { key "ksd-ddns."; };'
EMPTY = "$TTL 60\n@ SOA localhost. hostmaster.localhost. 1 60 60 60 60\n@ NS localhost.\n"


def serve(bind: Bind, rights: str) -> None:
    """Serve HOME from `bind` with these permissions; empty: do not serve it."""
    (bind.directory / "home.zone").write_text(EMPTY)
    (bind.directory / "home.zone.jnl").unlink(missing_ok=True)
    text = bind.configuration.read_text().partition("// home")[0]
    zone = f'zone "{HOME}" {{ type primary; file "home.zone"; {rights} }};\n' if rights else ""
    bind.configuration.write_text(f"{text}// home\n{zone}")
    bind.reload()


@pytest.fixture
def without_home(make_bind: Callable[..., Bind]) -> Bind:
    """Return a primary that does not serve HOME."""
    return make_bind(zones={zone: text for zone, text in ZONES.items() if zone != HOME})


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        pytest.param("", "serves no zone", id="not-served"),
        pytest.param(GRANT + "allow-transfer { none; };", "refused the transfer", id="no-transfer"),
        pytest.param(TRANSFER, "refused the update", id="no-update"),
    ],
)
def test_a_broken_zone_delays_no_other_and_recovers(
    without_home: Bind, kube: Kube, run: Run, rights: str, words: str
) -> None:
    bind = without_home
    serve(bind, rights)
    kube.put(vmi("db", "prod", {"net1": BOTH, "net2": ["192.168.7.9"]}))
    quick = Timing(zone=ZoneTiming(longest_pause=1.0, first_retry=0.5))
    ksd = run(bind, kube, REVERSE_ZONES=REVERSE, timing=quick)
    ksd.wait_answer(bind, NAME, "A", "10.1.0.9")
    ksd.wait_answer(bind, NINE, "PTR", NAME)
    ksd.wait_answer(bind, SIX_NINE, "PTR", NAME)
    ksd.wait_problem("primary", words)
    if words != "refused the update":  # then each name is retried
        failed, unfound = ksd.events("primary failed, retrying"), ksd.events("cannot find the zone, retrying")
        assert HOME in [event.get("zone", event.get("base")) for event in failed + unfound]
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.12"], "net2": ["192.168.7.9"]}))
    ksd.wait_answer(bind, NAME, "A", "10.1.0.12")
    ksd.wait_answer(bind, TWELVE, "PTR", NAME)
    serve(bind, GRANT + TRANSFER)
    ksd.wait_answer(bind, "9.7.168.192.in-addr.arpa.", "PTR", "net2.db.prod.vm.")
    ksd.wait_ready()
    assert ksd.stop() == 0


def test_an_unreadable_source_is_reported_once(make_bind: Callable[..., Bind], tmp_path: Path) -> None:
    """It is one problem for any number of zones, and makes every zone uncertain."""
    bind = make_bind(zones=ZONES)
    source = tmp_path / "vmis.json"
    source.write_text('{"kind": "List", "items": []}')
    settings = {**settings_of(bind), "REVERSE_ZONES": REVERSE}
    with Running(tmp_path, settings, "--from", source) as ksd:
        ksd.wait_ready()
        source.write_text("{ broken")
        ksd.wait_problem("source", "broken")
        others = f"and {len(ZONES) - 3} more: "
        ksd.wait(lambda: others in ksd.get("/readyz")[1], "one problem of all zones")
        assert ksd.log().count("cannot read VMIs") == 1
