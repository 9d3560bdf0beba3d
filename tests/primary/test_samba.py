# SPDX-License-Identifier: Apache-2.0
"""Active Directory on Samba: BIND with Samba's module (BIND9_DLZ). `make servers` runs more."""

import re
from collections.abc import Callable
from pathlib import Path

from harness.kube import Kube
from harness.servers import Samba
from harness.servers.samba import ZONE
from harness.vmis import vmi
from tests.controller.conftest import run
from tests.controller.running import Running
from tests.e2e.command import Command
from tests.kube_fixtures import kube
from tests.samba import BASE, dlz, needs_samba, settings

__all__ = ["dlz", "kube", "run"]

Run = Callable[..., Running]

pytestmark = needs_samba

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "active-directory.md"
DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"], "net2": ["10.2.0.9"]})
MOVED = vmi("db", "prod", {"net1": ["10.1.0.12", "fd00::9"], "net2": ["10.2.0.12"]})


def addresses(server: Samba, interface: str) -> list[str]:
    """Return the addresses of an interface of the VM."""
    return server.query(f"{interface}.db.prod.{BASE}", "A")


def test_names_are_added_changed_deleted_and_added_again(dlz: Samba, tmp_path: Path) -> None:
    ksd = Command(tmp_path, settings(dlz) | {"MAX_DELETE_PERCENT": "100"})
    assert ksd("check", vmi=[DB]).code == 0
    for wanted, found in (([DB], ["10.1.0.9"]), ([MOVED], ["10.1.0.12"]), ([], []), ([DB], ["10.1.0.9"]), ([], [])):
        done = ksd("apply", vmi=wanted)
        assert (done.code, done.err) == (0, ""), done.out
        assert addresses(dlz, "net1") == found
        assert ksd("plan", "--exit-code", vmi=wanted).code == 0


def test_a_key_that_the_restarted_server_refuses_is_negotiated_again(dlz: Samba, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(dlz, kube, **settings(dlz), TSIG_KEY_FILE="")
    ksd.wait_ready()
    assert addresses(dlz, "net1") == ["10.1.0.9"]
    dlz.restart()
    kube.put(MOVED)
    ksd.wait_answer(dlz, f"net1.db.prod.{BASE}", "A", "10.1.0.12")
    kube.delete("prod", "db")
    ksd.wait_answer(dlz, f"net1.db.prod.{BASE}", "A")


def test_a_permission_for_all_names_makes_refused_names_changeable(dlz: Samba, tmp_path: Path) -> None:
    ksd = Command(tmp_path, settings(dlz) | {"MAX_DELETE_PERCENT": "100", "UPDATE_BATCH": "500"})
    # Names that the account never had: a deleted name keeps its owner.
    web, moved = (vmi("web", "prod", {"net1": [f"10.1.0.{octet}"], "net2": [f"10.2.0.{octet}"]}) for octet in (20, 21))
    assert ksd("apply", vmi=[]).code == 0
    assert ksd("apply", vmi=[web]).code == 0
    refused = ksd("apply", vmi=[moved])
    assert (refused.code, "2 refused" in refused.out) == (1, True), "only the last name is ours"
    text = PAGE.read_text(encoding="utf-8")
    (sddl,) = re.findall(r'--sddl="(\S+)"', text)
    (identity,) = re.findall(r"objectSid: (\S+)", dlz.tool("user", "show", "ksd-ddns", "--attributes=objectSid"))
    domain = ",".join(f"DC={label}" for label in ZONE.removesuffix(".").split("."))
    node = f"DC={ZONE.removesuffix('.')},CN=MicrosoftDNS,DC=DomainDnsZones,{domain}"
    dlz.tool("dsacl", "set", f"--objectdn={node}", f"--sddl={sddl.replace('SID', identity)}")
    for wanted in ([moved], [web], [], [moved], []):
        done = ksd("apply", vmi=wanted)
        assert (done.code, done.err) == (0, ""), done.out
