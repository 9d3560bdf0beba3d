# SPDX-License-Identifier: Apache-2.0
"""Each command, from its arguments to its output and exit code, against real primaries."""

import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import hostile
from harness.hostile import Proxy
from harness.kube import Kube
from harness.servers import Bind, Port, Server
from harness.vmis import as_yaml, vmi
from ksd_ddns.config.settings import Settings, flag_of
from tests.e2e.command import PROGRAM, Command
from tests.e2e.conftest import Ksd
from tests.kube_fixtures import kube

__all__ = ["kube"]

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})
WEB = vmi("web", "prod", {"net1": ["10.1.0.7"]})


# plan


def test_plan_shows_the_difference_and_sends_nothing(primary: Server, ksd: Ksd) -> None:
    before = primary.axfr()
    done = ksd(primary)("plan", vmi=[DB])
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "+ db.prod.vm. 60 A 10.1.0.9",
        '+ db.prod.vm. 60 TXT "heritage=ksd-ddns,owner=default,vmi=prod/db"',
        "+ db.prod.vm. 60 AAAA fd00::9",
        "+ net1.db.prod.vm. 60 A 10.1.0.9",
        '+ net1.db.prod.vm. 60 TXT "heritage=ksd-ddns,owner=default,vmi=prod/db"',
        "+ net1.db.prod.vm. 60 AAAA fd00::9",
        "Plan: 2 to add, 0 to change, 0 to delete, 0 conflicts.",
    ]
    assert primary.axfr() == before


def test_plan_reads_like_a_diff(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": "cname.prod CNAME elsewhere.example."})
    ksd_zone = ksd(bind, OWNERSHIP="zone", DEFAULT_RECORD="false")
    ksd_zone("apply", vmi=[DB, WEB])
    moved = vmi("db", "prod", {"net1": ["10.1.0.12", "fd00::9"]})
    late = vmi("prod", "default", {"web": ["10.1.0.1"]}, annotations={"ksd-ddns/hostname": "late"})
    taken = vmi("x", "prod", {"net1": ["10.1.0.2"]}, annotations={"ksd-ddns/hostname": "cname"})
    done = ksd_zone("plan", vmi=[moved, late, taken])
    assert done.out.splitlines() == [
        "+ late.default.vm. 60 A 10.1.0.1",
        "+ web.prod.default.vm. 60 A 10.1.0.1",
        "~ net1.db.prod.vm. 60 A 10.1.0.9 -> 10.1.0.12",
        "- net1.web.prod.vm. 60 A 10.1.0.7",
        "+ net1.x.prod.vm. 60 A 10.1.0.2",
        "! cname.prod.vm. (VMI prod/x) conflict: a CNAME that is not ours exists there; found CNAME elsewhere.example.",
        "Plan: 3 to add, 1 to change, 1 to delete, 1 conflict.",
    ]


def test_plan_as_json_is_complete(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    command("apply", vmi=[DB])
    bind.nsupdate("update add web.prod.vm. 300 A 192.0.2.80")
    moved = vmi("db", "prod", {"net1": ["10.1.0.12"]})
    plan = command("plan", "-o", "json", vmi=[moved, WEB]).zone
    assert plan["zone"] == "vm."
    assert plan["serial"] == bind.serial()
    assert plan["summary"] == {"add": 1, "change": 2, "delete": 0, "conflicts": 1, "blocked": 0, "owned": 2}
    change = next(change for change in plan["changes"] if change["name"] == "net1.db.prod.vm.")
    text = {"type": "TXT", "ttl": 60, "values": ['"heritage=ksd-ddns,owner=default,vmi=prod/db"']}
    assert change == {
        "name": "net1.db.prod.vm.",
        "kind": "change",
        "old": [
            {"type": "A", "ttl": 60, "values": ["10.1.0.9"]},
            text,
            {"type": "AAAA", "ttl": 60, "values": ["fd00::9"]},
        ],
        "new": [{"type": "A", "ttl": 60, "values": ["10.1.0.12"]}, text],
    }
    (conflict,) = plan["conflicts"]
    assert (conflict["name"], conflict["vmi"]) == ("web.prod.vm.", "prod/web")
    assert (conflict["cause"], conflict["message"]) == ("unowned", "it exists without our ownership record")
    assert conflict["found"] == [{"type": "A", "ttl": 300, "values": ["192.0.2.80"]}]


UNPUBLISHED = {
    "prod/a-ignored": (vmi("a-ignored", "prod", annotations={"ksd-ddns/ignore": "true"}), "ignored", "ksd-ddns/ignore"),
    "prod/b-ended": (vmi("b-ended", "prod", phase="Succeeded"), "ended", "ended"),
    "prod/c-no-network": (vmi("c-no-network", "prod", {}), "no-network", "no secondary network"),
    "prod/d-no-address": (vmi("d-no-address", "prod", {"net1": []}), "no-address", "no address"),
    "prod/e_illegal.": (vmi("e_illegal.", "prod", {"net1": ["10.1.0.5"]}), "illegal-vmi-name", "DNS name"),
    "prod/f-excluded": (vmi("f-excluded", "prod", {"net1": ["10.9.0.5"]}), "excluded", "EXCLUDE_CIDRS"),
    "prod/g-limit": (
        vmi("g-limit", "prod", {"net1": ["10.1.0.6"]}, created="2030-01-01T00:00:00Z"),
        "max-names-per-namespace",
        "MAX_NAMES_PER_NAMESPACE",
    ),
}


def test_plan_says_how_many_vmis_have_nothing_to_publish_and_why(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, EXCLUDE_CIDRS="10.9.0.0/16", MAX_NAMES_PER_NAMESPACE="2")
    vmis = [DB, *(item for item, _, _ in UNPUBLISHED.values())]
    short = command("plan", vmi=vmis)
    assert short.summary == "Plan: 2 to add, 0 to change, 0 to delete, 0 conflicts."
    assert "7 of 8 VMIs have nothing to publish (-v shows why)\n" in short.err
    assert "prod/c-no-network" not in short.err
    explained = command("plan", "-v", vmi=vmis).err
    for name, (_, _, reason) in UNPUBLISHED.items():
        assert re.search(rf"^  {re.escape(name)}: .*{reason}", explained, re.MULTILINE), name
    assert "  prod/db:" not in explained
    listed = command("plan", "-o", "json", vmi=vmis).zone["unpublished"]
    assert {item["vmi"]: item["cause"] for item in listed} == {
        name: cause for name, (_, cause, _) in UNPUBLISHED.items()
    }


def test_plan_says_that_there_are_no_vmis(bind: Bind, ksd: Ksd, kube: Kube, tmp_path: Path) -> None:
    kube.put(DB)
    command = ksd(bind, KUBECONFIG=kube.kubeconfig(tmp_path / "kubeconfig"))
    assert "there are no VMIs" not in command("plan").err
    assert "there are no VMIs that match NAMESPACES (" in command("plan", "--namespaces", "pord").err
    assert "there are no VMIs that match LABEL_SELECTOR (" in command("plan", "--label-selector", "a=b").err
    kube.delete("prod", "db")
    assert "there are no VMIs\n" in command("plan").err
    assert command("plan", vmi=[]).err == ""  # a file without VMIs is on purpose


def test_plan_shows_changes_in_its_exit_code(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    assert command.process("plan", vmi=[DB]).code == 0
    assert command.process("plan", "--exit-code", vmi=[DB]).code == 1
    assert command.process("apply", vmi=[DB]).code == 0
    assert command.process("plan", "--exit-code", vmi=[DB]).code == 0


# apply


def test_apply_sends_the_plan_and_reports_it(primary: Server, ksd: Ksd) -> None:
    done = ksd(primary).process("apply", vmi=[DB])
    assert (done.code, done.err) == (0, "")
    assert done.summary == (
        f"Applied: 2 added, 0 changed, 0 deleted, 0 refused, 0 conflicts. Serial {primary.serial()}."
    )
    assert primary.query("net1.db.prod.vm", "A") == ["10.1.0.9"]
    assert primary.query("net1.db.prod.vm", "AAAA") == ["fd00::9"]
    assert primary.query("db.prod.vm", "A") == ["10.1.0.9"]


def test_apply_changes_and_deletes_then_finds_nothing_to_do(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    command("apply", vmi=[DB, WEB])
    moved = vmi("db", "prod", {"net1": ["10.1.0.12"], "net2": ["10.2.0.12"]})
    done = command("apply", vmi=[moved])
    assert done.code == 0
    assert done.summary.startswith("Applied: 1 added, 2 changed, 2 deleted, ")
    assert {(record.owner, record.rdata) for record in primary.axfr() if record.type in {"A", "AAAA"}} == {
        ("db.prod.vm.", "10.1.0.12"),
        ("net1.db.prod.vm.", "10.1.0.12"),
        ("net2.db.prod.vm.", "10.2.0.12"),
    }
    serial = primary.serial()
    assert command("apply", vmi=[moved]).code == 0
    assert primary.serial() == serial, "an apply without changes must not touch the zone"


def test_apply_exits_with_1_and_names_the_conflict(primary: Server, ksd: Ksd) -> None:
    primary.nsupdate("update add db.prod.vm. 300 A 192.0.2.1")
    done = ksd(primary).process("apply", vmi=[DB])
    assert done.code == 1
    assert "! db.prod.vm. (VMI prod/db) conflict: it exists without our ownership record; found A 192.0.2.1" in done.out
    assert primary.query("db.prod.vm", "A") == ["192.0.2.1"]
    assert primary.query("net1.db.prod.vm", "A") == ["10.1.0.9"], "the other names are published"


def test_warnings_about_vmis_go_to_standard_error(bind: Bind, ksd: Ksd) -> None:
    odd = vmi("a", "ns", {"x" * 64: ["10.0.0.1"], "net1": ["10.0.0.999", "fe80::1%eth0", "", "10.0.0.2"]})
    done = ksd(bind)("apply", vmi=[odd])
    assert done.code == 0
    assert "warning: VMI ns/a: " in done.err
    assert "x" * 64 in done.err
    assert "10.0.0.999" in done.err
    assert bind.query("net1.a.ns.vm", "A") == ["10.0.0.2"]


def test_apply_as_json_says_what_was_done_and_what_was_not(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    assert command("apply", vmi=[vmi(f"web{i}", "prod", {"net1": ["10.1.0.7"]}) for i in range(20)]).code == 0
    bind.nsupdate("update add db.prod.vm. 300 A 192.0.2.1")
    done = command("apply", "-o", "json", vmi=[DB])
    assert done.code == 1
    assert (done.json["version"], done.json["exit_code"]) == (1, 1)
    assert done.zone["serial"] == bind.serial()
    assert [(change["name"], change["kind"]) for change in done.zone["changes"]] == [("net1.db.prod.vm.", "add")]
    assert done.zone["changes"][0]["new"][0] == {"type": "A", "ttl": 60, "values": ["10.1.0.9"]}
    (conflict,) = done.zone["conflicts"]
    assert (conflict["name"], conflict["cause"]) == ("db.prod.vm.", "unowned")
    assert len(done.zone["blocked"]) == 40
    assert {change["kind"] for change in done.zone["blocked"]} == {"delete"}
    assert done.zone["refused"] == []
    assert {key: done.zone["summary"][key] for key in ("add", "delete", "conflicts", "blocked", "refused")} == {
        "add": 1,
        "delete": 0,
        "conflicts": 1,
        "blocked": 40,
        "refused": 0,
    }
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


def test_apply_as_json_has_the_names_that_the_primary_refuses(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""}, options="check-names primary fail;")
    odd = vmi("odd", "prod", {"net_1": ["10.1.0.3"]})  # no host name: BIND refuses its addresses
    done = ksd(bind)("apply", "-o", "json", vmi=[DB, odd])
    (refused,) = done.zone["refused"]
    assert (refused["cause"], refused["count"], refused["names"]) == ("host-name", 1, ["net_1.odd.prod.vm."])
    assert done.zone["summary"]["refused"] == 1
    assert done.code == done.json["exit_code"] == 1
    assert "net_1.odd.prod.vm." not in {change["name"] for change in done.zone["changes"]}


def test_apply_as_json_without_anything_to_do(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    assert command("apply", "-o", "json", vmi=[DB]).code == 0
    done = command("apply", "-o", "json", vmi=[DB])
    assert (done.code, done.json["exit_code"], done.zone["changes"]) == (0, 0, [])


# list


def test_list_of_an_empty_zone_says_so_on_standard_error(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, OWNER_ID="east")("list")
    assert (done.code, done.out) == (0, "")
    assert done.err == "no records of owner east in zone vm.\n"
    ksd(bind, OWNER_ID="west")("apply", vmi=[DB])
    done = ksd(bind, OWNER_ID="east")("list")
    assert (
        done.err == "no records of owner east in zone vm.; it has records of owner west: OWNER_ID selects the owner\n"
    )
    as_json = ksd(bind)("list", "-o", "json")
    assert (as_json.zone["records"], as_json.err) == ([], "")


def test_list_shows_owned_names_with_their_vmi(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    command("apply", vmi=[DB])
    primary.nsupdate("update add foreign.prod.vm. 300 A 192.0.2.1")
    other = ksd(primary, OWNER_ID="other")
    other("apply", vmi=[vmi("z", "stage", {"net1": ["10.9.0.1"]})])
    done = command("list")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "db.prod.vm. 60 A 10.1.0.9 prod/db",
        "db.prod.vm. 60 AAAA fd00::9 prod/db",
        "net1.db.prod.vm. 60 A 10.1.0.9 prod/db",
        "net1.db.prod.vm. 60 AAAA fd00::9 prod/db",
    ]
    listed = other("list", "-o", "json").zone
    assert listed["zone"] == "vm."
    assert listed["serial"] == primary.serial()
    assert listed["records"] == [
        {"name": name, "vmi": "stage/z", "type": "A", "ttl": 60, "values": ["10.9.0.1"]}
        for name in ("z.stage.vm.", "net1.z.stage.vm.")
    ]


def test_list_shows_the_group_of_a_shared_name(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, DEFAULT_RECORD="false")
    command("apply", vmi=[vmi("web-1", "prod", {"net1": ["10.1.0.9"]}, annotations={"ksd-ddns/group": "web"})])
    assert command("list").out.splitlines() == [
        "web.prod.vm. 60 A 10.1.0.9 group prod/web",
        "net1.web-1.prod.vm. 60 A 10.1.0.9 prod/web-1",
    ]
    shared, own = command("list", "-o", "json").zone["records"]
    assert (shared["vmi"], shared["group"]) == ("", "prod/web")
    assert (own["vmi"], "group" in own) == ("prod/web-1", False)


def test_list_works_without_ownership_records(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, OWNERSHIP="zone")
    command("apply", vmi=[WEB])
    assert command("list").out.splitlines() == ["web.prod.vm. 60 A 10.1.0.7 -", "net1.web.prod.vm. 60 A 10.1.0.7 -"]


# bootstrap


@pytest.mark.parametrize("server", ["bind9", "knot"])
def test_bootstrap_writes_a_usable_primary(server: str, tmp_path: Path, ksd: Ksd) -> None:
    port = Port.reserve()
    directory = tmp_path / server
    (tmp_path / "unused").mkdir()
    command = Command(tmp_path / "unused", {"DOMAIN": "example.com", "NAME_SERVER_IP": "192.0.2.53"})
    done = command("bootstrap", "--server", server, "--dir", directory, "--port", port.number)
    assert (done.code, done.err) == (0, "")
    *_, starting, checking = done.out.splitlines()
    start = shlex.split(starting.removeprefix("start it with: "))
    program, *check = shlex.split(checking.removeprefix("then check it: "))
    assert program == "ksd-ddns"
    again = command("bootstrap", "--server", server, "--dir", directory, "--port", port.number)
    assert again.code == 0
    assert ": written" not in again.out
    key = str(directory / "ksd-ddns.key")
    command = command.but(DNS_SERVER=f"127.0.0.1:{port.number}", TSIG_KEY_FILE=key, OWNERSHIP="zone")
    with subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
        try:
            deadline = time.monotonic() + 20
            while (done := command("apply", vmi=[DB])).code == 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert (done.code, done.err) == (0, "")
            assert command("plan", "--exit-code", vmi=[DB]).code == 0
            checked = Command(tmp_path / "unused", {"OWNERSHIP": "zone"})(*check, vmi=[DB])
            assert (checked.code, "example.com" in checked.out) == (0, True), checked.out
        finally:
            it.terminate()
            it.wait()
            port.release()


# input


def test_vmis_can_come_from_standard_input(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind).process("apply", "--from", "-", stdin=as_yaml(DB, WEB))
    assert (done.code, done.err) == (0, "")
    assert bind.query("net1.web.prod.vm", "A") == ["10.1.0.7"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"a: [1,\n", ("YAML", "line 2"), id="broken-yaml"),
        pytest.param(b'{"kind": "List", "items": [', ("JSON",), id="broken-json"),
        pytest.param(b"\x00\xff\xfe" * 1000, ("UTF-8",), id="binary"),
        pytest.param(b"", ("empty",), id="nothing"),
        pytest.param(b"kind: Pod\napiVersion: v1\nmetadata: {name: a}\n", ("Pod",), id="not-a-vmi"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_invalid_input_exits_with_2_before_any_query(
    bind: Bind, ksd: Ksd, verb: str, content: bytes, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "bad-input"
    path.write_bytes(content)
    with Proxy(bind) as proxy:
        done = ksd(bind, through=proxy.address)(verb, "--from", path)
        assert proxy.connections == 0
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith(f"error: {path}: ")
    for word in words:
        assert word in done.err


def test_a_missing_file_exits_with_2(bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    done = ksd(bind).process("apply", "--from", tmp_path / "nowhere.yaml")
    assert (done.code, done.out) == (2, "")
    assert "nowhere.yaml: there is no such file" in done.err
    assert "Traceback" not in done.err


def test_an_empty_list_deletes_a_few_remaining_names(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind)
    command("apply", vmi=[WEB])
    assert command("apply", vmi=[]).code == 0
    assert bind.query("web.prod.vm", "A") == []


# help


@pytest.mark.parametrize("verb", ["plan", "apply", "list", "bootstrap"])
def test_help_shows_both_names_of_every_setting(verb: str, tmp_path: Path) -> None:
    done = Command(tmp_path, {})(verb, "--help-all")
    assert (done.code, done.err) == (0, "")
    names = ["domain", "name_server_ip"] if verb == "bootstrap" else list(Settings.model_fields)
    text = " ".join(done.out.split())
    for name in names:
        assert flag_of(name) in text
        assert f"[{name.upper()}]" in text
    assert "exit codes:" in text


def test_help_and_version_print_and_exit_with_0(tmp_path: Path) -> None:
    command = Command(tmp_path, {})
    done = command.process("--help")
    assert done.code == 0
    for verb in ("plan", "apply", "list", "bootstrap"):
        assert verb in done.out
    assert command("--version").out.startswith("ksd-ddns ")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param((), "a command is needed", id="nothing"),
        pytest.param(("publish",), "unknown command", id="unknown-command"),
        pytest.param(("aply",), "did you mean apply?", id="mistyped-command"),
        pytest.param(("--dns-port", "53", "plan"), "the command comes first", id="flag-before-the-command"),
        pytest.param(("plan", "--from", "-", "-o", "xml"), "(see ksd-ddns plan --help)", id="unknown-output"),
        pytest.param(("list", "--from", "-"), "unknown flag --from", id="flag-of-another-command"),
        pytest.param(("apply", "--from", "-", "--forc"), "did you mean --force?", id="abbreviated-flag"),
        pytest.param(("plan", "--from", "-", "--force"), "unknown flag --force", id="force-of-plan"),
        pytest.param(("apply", "--dns-servr=x"), "did you mean --dns-server?", id="mistyped-flag"),
        pytest.param(("apply", "--DNS_SERVER=x"), "did you mean --dns-server?", id="flag-like-a-variable"),
        pytest.param(("apply", "-dns-server", "x"), "did you mean --dns-server?", id="one-dash"),
        pytest.param(("apply", "--adopt=yes"), "--adopt/--no-adopt: it takes no value", id="value-of-a-switch"),
        pytest.param(("apply", "vmis.yaml"), "unexpected argument 'vmis.yaml'", id="argument"),
        pytest.param(("apply", "--from"), "expected one argument", id="no-value"),
        pytest.param(("bootstrap", "--server", "bind9"), "--dir", id="missing-flag"),
        pytest.param(("bootstrap", "--server=bind9", "--dir=x", "--port=http"), "'http'", id="no-number"),
        pytest.param(("apply", "--\x1b[31mx"), "unknown flag --\\x1b[31mx", id="control-characters"),
    ],
)
def test_invalid_arguments_exit_with_2_and_one_line(argv: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = Command(tmp_path, {})(*argv)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert re.search(r"\(see ksd-ddns( \w+)? --help\)\n\Z", done.err)
    assert done.err.count("\n") == 1
    assert words in done.err


# settings


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Yield a listening socket; `accept` raises BlockingIOError without a connection."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.setblocking(False)
        yield found


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        pytest.param("RECORD_TTL", "abc", ("a whole number",), id="ttl-no-number"),
        pytest.param("RECORD_TTL", "0", ("= 0: must be 1 to 86400",), id="ttl-too-small"),
        pytest.param("RECORD_TTL", "86401", ("= 86401: must be 1 to 86400",), id="ttl-too-large"),
        pytest.param("DNS_PORT", "70000", ("must be 1 to 65535",), id="port"),
        pytest.param("DNS_TIMEOUT", "soon", ("'soon'", "duration", "30s"), id="timeout"),
        pytest.param("DNS_TIMEOUT", "0", ("= 0: must be 50ms to 300s",), id="timeout-zero"),
        pytest.param("DNS_SERVER", "ns1 example", ("host[:port]",), id="server-with-space"),
        pytest.param("DNS_SERVER", "10.0.0.53:99999", ("host[:port]",), id="server-port"),
        pytest.param("DNS_SERVER", "::1:5301", ("ambiguous", "[::1]:5301", "[::1:5301]"), id="server-v6-and-port"),
        pytest.param("DNS_SERVER", "fd00::a:53", ("ambiguous", "[fd00::a]:53"), id="server-v6-that-may-have-a-port"),
        pytest.param("DNS_SERVER", "[1:2:3]", ("host[:port]",), id="server-no-v6"),
        pytest.param("DNS_SERVER", "10.0.0.999", ("host[:port]",), id="server-no-v4"),
        pytest.param("HOLD_DOWN", "25h", ("must be 0s to 86400s",), id="hold-down"),
        pytest.param("HOLD_DOWN", "1m 30s", ("a duration is needed", "1m30s"), id="duration-with-space"),
        pytest.param("DNS_SERVER", "10.0.0.53, [::1", ("'[::1'", "host[:port]"), id="second-server"),
        pytest.param("DNS_SERVER", ",", ("at least one is needed",), id="no-server"),
        pytest.param("DOMAIN", "exa mple.com", ("domain name",), id="domain-with-space"),
        pytest.param("DOMAIN", "a..b", ("label", "1 to 63"), id="domain-with-empty-label"),
        pytest.param("DOMAIN", "x" * 64, ("label", "1 to 63"), id="domain-with-long-label"),
        pytest.param("ZONE", "*.example.com", ("domain name",), id="zone-wildcard"),
        pytest.param("NAME_SERVER_IP", "10.0.0.999", ("not an IPv4 or IPv6 address",), id="name-server-ip"),
        pytest.param("PUBLISH_CIDRS", "10.0.0.1/8", ("bits set after its prefix",), id="cidr-with-host-bits"),
        pytest.param("EXCLUDE_CIDRS", "10.0.0.0/33", ("CIDR block",), id="cidr-too-long"),
        pytest.param("OWNERSHIP", "dns", ("'dns': must be 'txt' or 'zone'",), id="ownership"),
        pytest.param("POLICY", "never", ("must be 'sync'", "'upsert-only'"), id="policy"),
        pytest.param("OWNER_ID", "a,b", ("letters, digits",), id="owner-with-comma"),
        pytest.param("MAX_DELETE_PERCENT", "101", ("must be 0 to 100",), id="percent"),
        pytest.param("DEFAULT_RECORD", "maybe", ("true or false",), id="switch"),
        pytest.param("HOSTNAME_SCOPE", "world", ("must be 'off'", "'namespace'"), id="hostname-scope"),
        pytest.param("NAMESPACES", "prod, Prod!", ("'Prod!'", "namespace"), id="namespace"),
        pytest.param("LABEL_SELECTOR", "tier in (a", ("tier",), id="selector"),
        pytest.param("UPDATE_OCTETS", "100000", ("must be 4096 to 65535",), id="octets"),
        pytest.param("UPDATE_BATCH", "0", ("must be 1 to 10000",), id="batch"),
        pytest.param("MAX_ADDRESSES", "-1", ("= -1: must be 1 to 64",), id="addresses"),
    ],
)
def test_an_invalid_setting_is_named_with_its_value_and_what_is_allowed(
    setting: str, value: str, words: tuple[str, ...], listener: socket.socket, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text('key "k" { algorithm hmac-sha256; secret "AAAA"; };')
    host, port = listener.getsockname()
    command = Command(tmp_path, {"DNS_SERVER": f"{host}:{port}", "TSIG_KEY_FILE": str(key)})
    by_environment = command.but(**{setting: value})("apply", vmi=[DB])
    flag = flag_of(setting.lower())
    argument = "--default-record=maybe" if setting == "DEFAULT_RECORD" else f"{flag}={value}"
    by_flag = command("apply", argument, vmi=[DB])
    for done, name in ((by_environment, setting), (by_flag, flag)):
        assert done.code == 2
        assert done.out == ""
        assert name in done.err
        assert "Traceback" not in done.err
    assert by_environment.err.startswith("error: ")
    number = value.lstrip("-").isdigit()
    shown = () if setting == "DNS_SERVER" else (f" = {value}:" if number else repr(value),)  # an item of it
    for word in (*shown, *words):
        assert word in by_environment.err
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_all_invalid_settings_are_named_at_once(tmp_path: Path) -> None:
    done = Command(tmp_path, {"RECORD_TTL": "x", "DNS_PORT": "y"}).process("plan", "--policy", "z", vmi=[DB])
    assert done.code == 2
    for name in ("RECORD_TTL", "DNS_PORT", "--policy"):
        assert re.search(rf"^error: .*{name}\b.* = ", done.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({}, ("no TSIG key is set", "TSIG_KEY_FILE", "TSIG_KEY_NAME"), id="no-key"),
        pytest.param({"TSIG_KEY_NAME": "k"}, ("TSIG_SECRET", "TSIG_SECRET_FILE"), id="name-without-secret"),
        pytest.param({"TSIG_SECRET": "c2VjcmV0c2VjcmV0"}, ("TSIG_KEY_NAME",), id="secret-without-name"),
        pytest.param({"TSIG_KEY_NAME": "k", "TSIG_SECRET": "sEcReT!@#%"}, ("base64",), id="secret-not-base64"),
        pytest.param({"TSIG_KEY_NAME": "k", "TSIG_SECRET": "c2VjcmV0cw"}, ("base64",), id="secret-cut-off"),
        pytest.param(
            {"TSIG_KEY_NAME": "k", "TSIG_SECRET": "c2VjcmV0c2VjcmV0", "TSIG_ALGORITHM": "hmac-md5"},
            ("MD5", "tsig-keygen"),
            id="md5",
        ),
        pytest.param(
            {"TSIG_KEY_NAME": "k", "TSIG_SECRET": "c2VjcmV0c2VjcmV0", "TSIG_ALGORITHM": "hmac-sha3"},
            ("hmac-sha3", "hmac-sha512"),
            id="unknown-algorithm",
        ),
        pytest.param(
            {"TSIG_KEY_NAME": "k", "TSIG_SECRET_FILE": "/nowhere/secret"},
            ("/nowhere/secret",),
            id="secret-file-missing",
        ),
        pytest.param({"TSIG_KEY_FILE": "/nowhere/key"}, ("/nowhere/key",), id="key-file-missing"),
        pytest.param(
            {"TSIG_KEY_FILE": "/nowhere/key", "TSIG_KEY_NAME": "k", "TSIG_SECRET": "c2VjcmV0c2VjcmV0"},
            ("one or the other",),
            id="two-keys",
        ),
        pytest.param(
            {"TSIG_KEY_NAME": "k..k", "TSIG_SECRET": "c2VjcmV0c2VjcmV0"}, ("'k..k'", "domain name"), id="key-name"
        ),
    ],
)
def test_an_invalid_key_is_reported_before_any_query(
    settings: dict[str, str], words: tuple[str, ...], listener: socket.socket, tmp_path: Path
) -> None:
    host, port = listener.getsockname()
    for verb in ("plan", "list"):
        command = Command(tmp_path, {"DNS_SERVER": f"{host}:{port}", **settings})
        done = command(verb, vmi=[DB] if verb == "plan" else None)
        assert (done.code, done.out) == (2, "")
        for word in words:
            assert word in done.err
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_secret_as_a_flag_is_masked_like_the_setting(tmp_path: Path) -> None:
    secret = "n0t-base64-but-s3cret"
    done = Command(tmp_path, {})("plan", "--tsig-key-name=k", f"--tsig-secret={secret}", "--dns-port=0", vmi=[DB])
    assert done.code == 2
    assert secret not in done.out + done.err
    assert "DNS_PORT" in done.err or "--dns-port" in done.err


def test_a_flag_overrides_the_environment_and_an_empty_variable_is_unset(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, RECORD_TTL="300", OWNER_ID="", DOMAIN="", ZONE="", DNS_PORT="", TSIG_KEY_NAME="")
    assert command("apply", vmi=[WEB]).code == 0
    assert bind.ttl("net1.web.prod.vm.", "A") == 300
    assert command("apply", "--record-ttl", "30", "--no-default-record", vmi=[WEB]).code == 0
    assert bind.ttl("net1.web.prod.vm.", "A") == 30
    assert bind.query("web.prod.vm", "A") == []
    assert bind.query("net1.web.prod.vm", "TXT") == ['"heritage=ksd-ddns,owner=default,vmi=prod/web"']


def test_an_empty_flag_is_unset(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, DOMAIN="example.com", ZONE="example.com", NAMESPACES="prod")
    empty = ("--domain=", "--zone=", "--namespaces=", "--label-selector=", "--name-server-ip=", "--tsig-secret-file=",
             "--record-ttl=", "--ownership=", "--dns-timeout=")  # fmt: skip
    assert command("apply", *empty, vmi=[WEB, vmi("x", "other")]).code == 0
    assert bind.query("nic1.x.other.vm", "A") == ["10.0.0.1"]


def test_a_base_outside_of_the_zone_is_a_settings_error(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, ZONE="example.com")("plan", vmi=[DB])
    assert (done.code, done.out) == (2, "")
    assert "the base vm. is not in the zone example.com.: correct DOMAIN or ZONE" in done.err


def test_namespaces_and_labels_select_vmis(bind: Bind, ksd: Ksd) -> None:
    labelled = vmi("c", "stage", {"net1": ["10.3.0.1"]}, labels={"tier": "front"})
    command = ksd(bind, NAMESPACES="prod, stage", LABEL_SELECTOR="tier=front")
    assert command("apply", vmi=[DB, WEB, labelled]).code == 0
    assert {record.owner for record in bind.axfr() if record.type == "A"} == {"c.stage.vm.", "net1.c.stage.vm."}


# the process


def test_a_pipe_closed_early_prints_no_error(bind: Bind, ksd: Ksd) -> None:
    many = [vmi(f"vm{i}", "prod", {"net1": ["10.1.0.1"]}) for i in range(1500)]
    with ksd(bind).started("plan", vmi=many) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "")], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_exits_at_once_and_the_next_run_completes(
    bind: Bind, ksd: Ksd, number: signal.Signals, said: str
) -> None:
    sent = threading.Event()

    def hang(message: bytes) -> list[bytes]:
        sent.set()
        return []

    command = ksd(bind, DNS_TIMEOUT="60s")
    with (
        Proxy(bind, response=hostile.only(hostile.is_update, hang)) as proxy,
        command.but(DNS_SERVER=proxy.address).started("apply", vmi=[DB]) as process,
    ):
        assert sent.wait(20), "no update was sent"
        started = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - started < 5
    assert process.returncode == 128 + number
    assert out == ""
    assert "Traceback" not in err
    assert said in err
    assert command("apply", vmi=[DB]).code == 0
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


def test_the_installed_program_works_like_the_module(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("ksd-ddns")
    if not script.exists():
        pytest.skip("the package is not installed in this environment")
    program = Command(tmp_path, {}).process("--version", program=(str(script),))
    assert program == Command(tmp_path, {}).process("--version", program=PROGRAM)


def has_ipv6() -> bool:
    """Return whether this machine has an IPv6 loopback address."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_a_primary_can_have_an_ipv6_address(make_primary: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_primary(address="::1")
    command = ksd(primary)
    assert command.settings["DNS_SERVER"] == f"[::1]:{primary.port}"
    script = command("plan", "-o", "nsupdate", vmi=[DB]).out
    assert f"server ::1 {primary.port}" in script.splitlines()
    assert command("apply", vmi=[DB]).code == 0
    assert command.but(DNS_SERVER="::1", DNS_PORT=primary.port)("plan", "--exit-code", vmi=[DB]).code == 0


def test_only_a_terminal_gets_colors_and_progress(bind: Bind, ksd: Ksd) -> None:
    def slow(message: bytes) -> list[bytes]:
        time.sleep(0.6)
        return [message]

    with Proxy(bind, response=hostile.only(hostile.is_update, slow)) as proxy:
        command = ksd(bind, through=proxy.address, OWNERSHIP="zone", DEFAULT_RECORD="false")
        file = command.file([vmi(f"vm{i}", "prod", {"net1": ["10.1.0.9"]}) for i in range(1500)])
        shown = command.on_a_terminal("apply", "--from", file).out
    assert "updating" in shown
    assert "\x1b[32m+ net1.vm0.prod.vm. 60 A 10.1.0.9" in shown
    plan = command.but(DNS_SERVER=f"127.0.0.1:{bind.port}", MAX_DELETE_PERCENT="100")
    assert "\x1b[31m- net1.vm0.prod.vm. 60 A 10.1.0.9" in plan.on_a_terminal("plan", vmi=[]).out
    piped = plan.process("plan", vmi=[])
    assert "\x1b" not in piped.out + piped.err


@pytest.mark.parametrize(
    ("verb", "wanted", "words"),
    [
        pytest.param("list", hostile.is_transfer, "reading the zone", id="transfer"),
        pytest.param("plan", hostile.is_transfer, "reading the zone", id="transfer-of-plan"),
        pytest.param("apply", hostile.is_ixfr, "reading back", id="read-back"),
    ],
)
def test_one_long_wait_is_shown_as_progress(
    verb: str, wanted: Callable[[bytes], bool], words: str, bind: Bind, ksd: Ksd
) -> None:
    def slow(message: bytes) -> list[bytes]:
        time.sleep(2.0)  # progress appears after a second
        return [message]

    with Proxy(bind, response=hostile.only(wanted, slow)) as proxy:
        command = ksd(bind, through=proxy.address)
        done = command.on_a_terminal(verb, vmi=None if verb == "list" else [DB])
    assert done.code == 0
    assert words in done.out
