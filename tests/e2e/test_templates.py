# SPDX-License-Identifier: Apache-2.0
"""INTERFACE_NAME, DEFAULT_NAME, NETWORKS and wildcards, with real servers."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.servers import Server
from harness.vmis import vmi
from tests.controller.running import answer
from tests.e2e.asking import repeating
from tests.e2e.conftest import Ksd
from tests.e2e.test_scripts import ours, pipe

VMS = [vmi(f"vm-{index}", f"ns-{index % 5}", {"net1": [f"10.1.0.{index}"]}) for index in range(60)]
NEW = {"INTERFACE_NAME": "{vm}-{interface}.{namespace}", "DEFAULT_NAME": "{vm}-main.{namespace}"}


def pairs() -> list[tuple[str, str]]:
    """Return each old name with the new one."""
    found = []
    for index in range(60):
        vm, namespace = f"vm-{index}", f"ns-{index % 5}"
        found.append((f"{vm}.{namespace}.vm.", f"{vm}-main.{namespace}.vm."))
        found.append((f"net1.{vm}.{namespace}.vm.", f"{vm}-net1.{namespace}.vm."))
    return found


@contextmanager
def asking(primary: Server) -> Iterator[list[str]]:
    """Query old and new names in a loop; the list gets the names for which neither has an address."""
    lost: list[str] = []

    def ask() -> None:
        # If the old name is gone, the new one must be there afterwards.
        lost.extend(old for old, new in pairs() if not answer(primary, old, "A") and not answer(primary, new, "A"))

    with repeating(ask):
        yield lost


def owners(primary: Server) -> set[str]:
    """Return the owner names of the A records."""
    return {record.owner for record in primary.axfr() if record.type == "A"}


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_apply_moves_all_names_without_a_gap(primary: Server, ksd: Ksd, ownership: str) -> None:
    command = ksd(primary, OWNERSHIP=ownership, UPDATE_BATCH=7)
    assert command("apply", vmi=VMS).code == 0
    assert owners(primary) >= {old for old, _ in pairs()}
    after = command.but(**NEW)
    with asking(primary) as lost:
        done = after("apply", vmi=VMS)
    assert (done.code, lost) == (0, [])
    assert {name for name in owners(primary) if name.startswith(("vm-", "net1."))} == {new for _, new in pairs()}
    assert after("plan", "--exit-code", vmi=VMS).code == 0


def test_script_and_undo_script_of_a_move(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    assert command("apply", vmi=VMS).code == 0
    before = ours(primary)
    after = command.but(**NEW)
    script = after("plan", "-o", "nsupdate", vmi=VMS).out
    undo = after("plan", "-o", "nsupdate", "--undo", vmi=VMS).out
    # The old names go in messages of their own, after all others.
    for text in (script, undo):
        assert text.rindex("update add") < text.rindex("send", 0, text.index("update delete"))
    pipe(primary, script)
    assert after("plan", "--exit-code", vmi=VMS).code == 0
    pipe(primary, undo)
    assert ours(primary) == before


def test_names_by_network_and_the_default_network(primary: Server, ksd: Ksd) -> None:
    db = vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.2.0.9"]}, default_multus=True)
    db["spec"]["networks"][1]["multus"]["networkName"] = "infra/vlan-10"
    command = ksd(primary, INTERFACE_NAME="{network}.{vm}.{namespace}", DEFAULT_RECORD="false")
    table = {
        "secondary": {"vlan-10.db.prod.vm.", "net2.db.prod.vm."},
        "all": {"primary.db.prod.vm.", "vlan-10.db.prod.vm.", "net2.db.prod.vm."},
        "vlan-10": {"vlan-10.db.prod.vm."},
        "infra/primary, net2": {"primary.db.prod.vm.", "net2.db.prod.vm."},
        "prod/vlan-10, prod/net2": {"net2.db.prod.vm."},
    }
    for networks, want in table.items():
        assert command.but(NETWORKS=networks)("apply", "--force", vmi=[db]).code == 0
        assert {name for name in owners(primary) if ".db." in name} == want, networks
    done = command.but(NETWORKS="vlan-10")("explain", "prod/db", "-o", "json", vmi=[db])
    skips = {item["name"]: item["addresses"][0].get("skip") for item in done.json["vmi"]["interfaces"]}
    assert (skips["net2"], skips["default"]) == ("networks", "pod-network")
    done = command.but(NETWORKS="all")("apply", vmi=[db])
    done = command.but(NETWORKS="all")("explain", "prod/db", vmi=[db])
    assert (done.code, "default    10.244.1.7  published: primary.db.prod.vm." in done.out) == (0, True)


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_wildcard_answers_for_the_names_below_it(primary: Server, ksd: Ksd, ownership: str) -> None:
    command = ksd(primary, OWNERSHIP=ownership)
    web = vmi("web", "prod", {"net1": ["10.1.0.9"]}, annotations={"ksd-ddns/hostname": "*.apps"})
    script = command("plan", "-o", "nsupdate", vmi=[web]).out
    assert "update add *.apps.prod.vm. 60 A 10.1.0.9" in script
    pipe(primary, script)
    assert command("plan", "--exit-code", vmi=[web]).code == 0
    assert answer(primary, "shop.apps.prod.vm.", "A") == ["10.1.0.9"]
    second = vmi("new", "prod", {"net1": ["10.1.0.8"]}, annotations={"ksd-ddns/hostname": "shop.apps"})
    # This name does not exist, although the wildcard answers for it.
    assert command("apply", vmi=[web, second]).code == 0
    assert answer(primary, "shop.apps.prod.vm.", "A") == ["10.1.0.8"]
    assert command("explain", "*.apps.prod", vmi=[web, second]).code == 0
    assert command("apply", "--force", vmi=[second]).code == 0
    assert answer(primary, "other.apps.prod.vm.", "A") == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"INTERFACE_NAME": "{nic}.{vm}"}, "INTERFACE_NAME (--interface-name) = '{nic}.{vm}': {nic} is not a field"),
        ({"INTERFACE_NAME": "{interface}.{namespace}"}, "it needs {vm}, and {interface} or {network}"),
        ({"INTERFACE_NAME": "{vm}.{namespace}"}, "it needs {vm}, and {interface} or {network}"),
        ({"DEFAULT_NAME": "{interface}.{vm}.{namespace}"}, "{interface} is not allowed"),
        ({"DEFAULT_NAME": "vm.{namespace}"}, "several VMs would have the same name: it needs {vm}"),
        ({"DEFAULT_NAME": "{vm}"}, "VMs of one namespace could take names of another: end it with .{namespace}"),
        ({"INTERFACE_NAME": "{interface}.{namespace}.{vm}", "HOSTNAME_SCOPE": "off"}, "end it with .{namespace}"),
        ({"NETWORKS": "all,net-a"}, "'all' cannot be combined with other values"),
        ({"NETWORKS": "Net A"}, "'Net A' is not a NetworkAttachmentDefinition"),
    ],
)
def test_a_wrong_template_is_a_settings_error(bind: Server, ksd: Ksd, settings: dict[str, str], problem: str) -> None:
    done = ksd(bind, **settings)("plan", vmi=VMS[:1])
    assert (done.code, done.out) == (2, "")
    assert problem in done.err


def test_the_namespace_may_be_left_out_with_hostname_scope_zone(bind: Server, ksd: Ksd) -> None:
    settings = {"DEFAULT_NAME": "{vm}", "INTERFACE_NAME": "{interface}.{vm}", "HOSTNAME_SCOPE": "zone"}
    command = ksd(bind, **settings)
    later = "2026-03-02T08:00:00Z"
    twins = [vmi("db", "prod", {"net1": ["10.1.0.1"]}), vmi("db", "test", {"net1": ["10.1.0.2"]}, created=later)]
    done = command("apply", vmi=twins)
    assert done.code == 1
    assert "2 conflicts" in done.out
    assert answer(bind, "db.vm.", "A") == ["10.1.0.1"]
