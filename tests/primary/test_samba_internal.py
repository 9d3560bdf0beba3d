# SPDX-License-Identifier: Apache-2.0
"""Active Directory on Samba with its internal DNS server, which transfers no zone: READ=queries.

Old versions sign their responses wrongly, so nothing can work with them. nsupdate shows which ones.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.hostile import Proxy, is_update
from harness.kube import Kube
from harness.servers import Samba
from harness.vmis import vmi
from tests.controller.conftest import run
from tests.controller.running import Running, answer
from tests.e2e.command import Command, Done
from tests.kube_fixtures import kube
from tests.samba import BASE, internal, needs_samba, settings

__all__ = ["internal", "kube", "run"]

Run = Callable[..., Running]

pytestmark = needs_samba

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})
WEB = vmi("web", "prod", {"net1": ["10.1.0.7"]})
NAME, NET1 = f"db.prod.{BASE}", f"net1.db.prod.{BASE}"
WEB_NAME = f"web.prod.{BASE}"


@pytest.fixture(scope="session")
def signs(internal: Samba) -> bool:
    """Return whether nsupdate accepts the signatures of the server."""
    script = f"prereq nxdomain signs.{BASE}"
    done = internal.nsupdate_as(internal.client("other"), script, check=False)
    assert done.returncode == 0 or "tsig verify failure" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.fixture
def server(internal: Samba, signs: bool) -> Samba:
    """Return the server if its signatures are right."""
    if not signs:
        pytest.skip("this version of Samba signs its responses wrongly")
    return internal


@pytest.fixture
def ksd(server: Samba, tmp_path: Path) -> Iterator[Command]:
    """Yield the command that reads by queries; nothing is left of it afterwards."""
    command = Command(tmp_path, settings(server) | {"READ": "queries", "MAX_DELETE_PERCENT": "100"})
    yield command
    assert command("apply", vmi=[]).code == 0
    assert [line for line in command("list").out.splitlines() if BASE in line] == []


def test_wrong_signatures_are_refused_with_the_fix(internal: Samba, signs: bool, tmp_path: Path) -> None:
    if signs:
        pytest.skip("this version of Samba signs its responses rightly")
    ksd = Command(tmp_path, settings(internal) | {"READ": "queries"})
    done = ksd("check", vmi=[DB])
    (failure,) = [line for line in done.out.splitlines() if line.startswith("FAIL")]
    assert "does not verify with key" in failure
    assert "update Samba" in done.out
    assert (done.code, ksd("apply", vmi=[DB]).code > 1) == (1, True)
    assert answer(internal, NAME, "A") == []


def test_check_recommends_queries_and_accepts_them(server: Samba, ksd: Command) -> None:
    done = ksd.but("READ")("check", vmi=[DB])
    (at,) = [index for index, line in enumerate(done.out.splitlines()) if line.startswith("FAIL")]
    failure, cure = done.out.splitlines()[at : at + 2]
    assert failure.startswith("FAIL  transfer ")
    assert "set READ=queries" in cure
    assert done.code == 1
    several = vmi("db", "prod", {"net1": ["10.1.0.9", "10.1.0.10"]})
    assert ksd("apply", vmi=[several]).code == 0
    done = ksd("check", vmi=[several])
    assert done.code == 0, done.out
    assert "one record of an RRset with several" in done.out


def test_names_are_added_listed_explained_changed_and_deleted(server: Samba, ksd: Command) -> None:
    ttl = vmi("db", "prod", {"net1": ["10.1.0.12", "10.1.0.13"]}, annotations={"ksd-ddns/ttl": "90"})
    for wanted, found in (([DB], ["10.1.0.9"]), ([ttl], ["10.1.0.12", "10.1.0.13"]), ([], []), ([DB], ["10.1.0.9"])):
        done = ksd("apply", vmi=wanted)
        assert (done.code, done.err) == (0, ""), done.out
        assert answer(server, NAME, "A") == found
        if wanted == [ttl]:
            assert server.ttl(NAME, "A") == 90
        assert ksd("plan", "--exit-code", vmi=wanted).code == 0
    assert {line.split()[0] for line in ksd("list").out.splitlines()} == {NAME, NET1}
    assert "2 of 2 names in DNS" in ksd("explain", "prod/db", vmi=[DB]).out


def test_groups_hostnames_wildcards_and_templates(server: Samba, ksd: Command) -> None:
    members = [
        vmi(f"web-{number}", "prod", {"net1": [f"10.1.1.{number}"]}, annotations={"ksd-ddns/group": "web"})
        for number in (1, 2)
    ]
    app = vmi("app", "prod", {"net1": ["10.1.2.1"]}, annotations={"ksd-ddns/hostname": "shop,*.apps"})
    below = vmi("y", "prod", {"net1": ["10.1.2.2"]}, annotations={"ksd-ddns/hostname": "y.apps"})
    template = ksd.but(INTERFACE_NAME="{vm}-{interface}.{namespace}")
    expected = {
        WEB_NAME: ["10.1.1.1", "10.1.1.2"],
        f"shop.prod.{BASE}": ["10.1.2.1"],
        f"any.apps.prod.{BASE}": ["10.1.2.1"],
        f"y.apps.prod.{BASE}": ["10.1.2.2"],
        f"app-net1.prod.{BASE}": ["10.1.2.1"],
    }
    for wanted in ([*members, app], [*members, app, below]):
        assert template("apply", vmi=wanted).code == 0
        assert template("plan", "--exit-code", vmi=wanted).code == 0
    assert {name: answer(server, name, "A") for name in expected} == expected


def test_a_foreign_name_is_a_conflict_and_stays(server: Samba, ksd: Command) -> None:
    taken = f"taken.prod.{BASE}"  # never ours: a deleted name still belongs to the account that created it
    server.nsupdate_as(server.client("other"), f"update add {taken} 60 A 192.0.2.1\nupdate add {taken} 60 TXT mine")
    done = ksd("apply", vmi=[vmi("taken", "prod", {"net1": ["10.1.0.7"]})])
    assert (done.code, f"! {taken}" in done.out) == (1, True), done.out
    assert ksd("apply", vmi=[]).code == 0
    assert (answer(server, taken, "A"), answer(server, taken, "TXT")) == (["192.0.2.1"], ['"mine"'])


def during(server: Samba, ksd: Command, script: str, *, vmi: list[dict[str, Any]]) -> Done:
    """Apply `vmi`; right before the first update, an administrator sends `script`."""
    sent: list[str] = []

    def intrude(message: bytes) -> list[bytes]:
        if is_update(message) and not sent:
            sent.append(script)
            server.nsupdate_as(server.client("Administrator"), script)
        return [message]

    with Proxy(server, request=intrude) as proxy:
        done = ksd.but(DNS_SERVER=proxy.address)("apply", vmi=vmi)
    assert sent, "no update was sent"
    return done


def test_a_name_that_is_taken_between_read_and_update_is_not_changed(server: Samba, ksd: Command) -> None:
    names = (WEB_NAME, f"net1.{WEB_NAME}")
    try:
        done = during(server, ksd, "\n".join(f"update add {name} 60 A 192.0.2.1" for name in names), vmi=[WEB])
        assert "2 conflicts" in done.out
        assert [answer(server, name, rdtype) for name in names for rdtype in ("A", "TXT")] == [["192.0.2.1"], []] * 2
    finally:
        server.nsupdate_as(server.client("Administrator"), "\n".join(f"update delete {name}" for name in names))


def test_a_record_that_is_added_between_read_and_deletion_stays(server: Samba, ksd: Command) -> None:
    assert ksd("apply", vmi=[DB]).code == 0
    script = f"update add {NAME} 60 A 192.0.2.1\nupdate add {NAME} 60 TXT mine"
    try:
        during(server, ksd, script, vmi=[])
        assert (answer(server, NAME, "A"), answer(server, NAME, "TXT")) == (["192.0.2.1"], ['"mine"'])
        assert ksd("plan", "--exit-code", vmi=[]).code == 0
    finally:
        server.nsupdate_as(server.client("Administrator"), f"update delete {NAME}")


def test_a_message_that_is_applied_and_answered_with_an_error_is_counted(server: Samba, ksd: Command) -> None:
    many = [vmi(f"vm-{number}", "prod", {"net1": [f"10.1.3.{number}"]}) for number in range(100)]
    together = ksd.but(UPDATE_BATCH="500")
    assert "200 added, 0 changed, 0 deleted, 0 refused" in together("apply", vmi=many).summary
    assert "200 deleted, 0 refused" in together("apply", vmi=[]).summary


def test_the_controller_follows_events_and_finds_stale_names_after_a_restart(
    server: Samba, ksd: Command, kube: Kube, run: Run
) -> None:
    kube.put(DB)
    kube.put(WEB)
    running = run(server, kube, **settings(server), TSIG_KEY_FILE="", READ="queries", OWNER_ID="default")
    running.wait_ready()
    assert (answer(server, NET1, "A"), answer(server, NET1, "AAAA")) == (["10.1.0.9"], ["fd00::9"])
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.10"]}))
    running.wait_answer(server, NET1, "A", "10.1.0.10")
    running.kill()
    kube.delete("prod", "db")
    running.start()
    running.wait_answer(server, NET1, "A")
    running.wait_answer(server, NAME, "A")
    assert answer(server, WEB_NAME, "A") == ["10.1.0.7"]
    server.nsupdate_as(server.client("Administrator"), f"update delete {WEB_NAME}")
    running.wait_answer(server, WEB_NAME, "A", "10.1.0.7")
    server.restart()
    kube.put(vmi("web", "prod", {"net1": ["10.1.0.8"]}))
    running.wait_answer(server, WEB_NAME, "A", "10.1.0.8")
