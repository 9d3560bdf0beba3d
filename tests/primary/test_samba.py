# SPDX-License-Identifier: Apache-2.0
"""Active Directory on Samba: BIND with Samba's module (BIND9_DLZ), and Samba's internal DNS server.

They need Samba and root, which provisioning a domain needs; without them they are skipped. `make servers` runs more.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.kube import Kube
from harness.servers import PATH, Samba
from harness.servers.samba import HOST, ZONE
from harness.vmis import vmi
from tests.controller.conftest import run
from tests.controller.running import Running
from tests.e2e.command import Command, settings_of
from tests.kube_fixtures import kube

__all__ = ["kube", "run"]

Run = Callable[..., Running]

pytestmark = [
    pytest.mark.skipif(shutil.which("samba-tool", path=PATH) is None, reason="Samba is not installed"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can provision a domain"),
]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "active-directory.md"
BASE = f"vm.{ZONE}"
DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"], "net2": ["10.2.0.9"]})
MOVED = vmi("db", "prod", {"net1": ["10.1.0.12", "fd00::9"], "net2": ["10.2.0.12"]})


@pytest.fixture(scope="module")
def dlz() -> Iterator[Samba]:
    """Yield a domain controller whose DNS server is BIND with Samba's module."""
    with Samba(dlz=True, options="dns zone transfer clients allow = 127.0.0.1") as server:
        yield server


def settings(server: Samba) -> dict[str, str]:
    """Return the settings for the account ksd-ddns."""
    given = settings_of(server)
    del given["TSIG_KEY_FILE"]
    return given | {"DOMAIN": ZONE, "GSS_TSIG": "true", "GSS_TSIG_HOSTNAME": HOST} | server.client("ksd-ddns")


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


def test_the_internal_dns_server_is_refused_by_check(tmp_path: Path) -> None:
    with Samba() as server:
        done = Command(tmp_path, settings(server))("check", vmi=[DB])
    assert done.code == 1
    failures = [line for line in done.out.splitlines() if line.startswith("FAIL")]
    assert failures
    assert "does not verify with key" in failures[0] or "a transfer without a record" in failures[0]
