# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns check`: each problem has its line, its remedy works, and the zone is unchanged."""

import base64
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import hostile
from harness.hostile import Hook, Proxy, Resigner
from harness.kube import Kube, service_account
from harness.servers import Bind, Key, Knot, Port, PowerDns, Server
from harness.vmis import vmi
from ksd_ddns.check import zone as check_zone
from ksd_ddns.config.doubts import misspelled
from ksd_ddns.errors import BadResponse
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.grants import Permission
from ksd_ddns.primary.probe import Probe, ProbeResult
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import codec, rcodes
from tests.e2e.command import Command, Done
from tests.e2e.conftest import Ksd
from tests.e2e.cures import apply
from tests.kube_fixtures import kube, make_kube

__all__ = ["kube", "make_kube"]

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})
FOREIGN = 'www A 192.0.2.1\n@ MX 10 www\nwww SSHFP 1 1 0102030405060708090a0b0c0d0e0f1011121314\nx.vm TXT "mine"'
READER = Key("reader.")
WITNESS = Key("witness.", secret=base64.b64encode(b"the tests look through this key.").decode())

WORST = ["ok", "skipped", "warn", "fail"]

Make = Callable[..., Server]


def signs(done: Done) -> dict[str, str]:
    """Return the worst sign of each check, by its name and subject (without a server)."""
    found: dict[str, str] = {}
    for finding in done.json["findings"]:
        subject = finding["subject"].partition(" on 127")[0].partition(" from 127")[0]
        what = f"{finding['what']} {'' if ':' in subject else subject}".strip()
        found[what] = max(found.get(what, "ok"), finding["sign"], key=WORST.index)
    return found


def bad(done: Done) -> set[str]:
    """Return the failed checks."""
    return {what for what, sign in signs(done).items() if sign == "fail"}


def warned(done: Done) -> set[str]:
    """Return the warnings."""
    return {what for what, sign in signs(done).items() if sign == "warn"}


def skipped(done: Done) -> set[str]:
    """Return the skipped checks."""
    return {what for what, sign in signs(done).items() if sign == "skipped"}


def finding(done: Done, what: str) -> dict[str, Any]:
    """Return the one finding of `what` that is not ok."""
    (found,) = (item for item in done.json["findings"] if item["what"] == what and item["sign"] in {"fail", "warn"})
    assert isinstance(found, dict)
    return found


def check(command: Command, *arguments: object, vmis: Iterable[Any] | None = (DB,)) -> Done:
    """Return the JSON output of check; its exit code must match."""
    done = command("check", "-o", "json", *arguments, vmi=vmis)
    assert done.code == (1 if bad(done) else 0) == (1 if done.json["failed"] else 0)
    assert done.err == ""
    return done


@contextlib.contextmanager
def check_unchanged(*primaries: Server, key: Key | None = None) -> Iterator[None]:
    """Check with the servers that the block changes nothing in any zone, including the serials."""
    shown: dict[str, Any] = {"key": key.file(primaries[0].directory)} if key else {}
    before = [primary.axfr(zone, **shown) for primary in primaries for zone in primary.zone_names]
    yield
    assert [primary.axfr(zone, **shown) for primary in primaries for zone in primary.zone_names] == before


@pytest.fixture(params=[Bind, Knot, PowerDns], ids=["bind9", "knot", "powerdns"])
def make_any(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Yield a factory of running servers, of any kind: the test runs with all three.

    `make_any(zones=..., bind={...}, knot={...}, powerdns={...})`: with arguments for each kind where they differ.
    """
    kind = request.param.kind.removesuffix("9")
    with contextlib.ExitStack() as stack:

        def make(**arguments: Any) -> Server:
            own = {name: arguments.pop(name, {}) for name in ("bind", "knot", "powerdns")}
            server: Server = request.param(**arguments, **own[kind])
            return stack.enter_context(server)

        yield make


# Nothing is wrong


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_check_finds_no_problem_in_a_correct_setup(make_any: Make, ksd: Ksd, ownership: str) -> None:
    primary = make_any(zones={"example.": FOREIGN, "10.in-addr.arpa.": ""})
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8", OWNERSHIP=ownership)
    with check_unchanged(primary):
        done = check(command)
        assert set(signs(done).values()) == {"ok"}
        assert list(signs(done)) == [
            "settings", "VMIs", "owner", "connection", "UDP", "key", "clock",
            "zone vm.example.", "transfer example.", "update vm.example.",
            "zone 10.in-addr.arpa.", "transfer 10.in-addr.arpa.", "update 10.in-addr.arpa.",
            "records vm.example.", "plan vm.example.", "records 10.in-addr.arpa.", "plan 10.in-addr.arpa.",
        ]  # fmt: skip
    assert command("apply", vmi=[DB]).code == 0
    with check_unchanged(primary):
        assert set(signs(check(command)).values()) == {"ok"}


def test_lines_in_a_pipe_have_no_colors(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, NAME_SERVER_IP="192.0.2.53").process("check", vmi=[DB])
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "ok    settings: names below vm., ownership txt"
    assert f"ok    key 127.0.0.1:{bind.port}: ksd-ddns. with hmac-sha256 is accepted" in lines
    assert lines[-1] == f"Check: 0 failed, 0 to look at, {len(lines) - 1} in all."
    assert all(line.startswith("ok    ") for line in lines[:-1])
    assert "\x1b" not in done.out


def test_lines_on_a_terminal_are_colored(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, DNS_SERVER="127.0.0.1:1")
    done = command.on_a_terminal("check", vmi=[DB])
    assert done.code == 1
    assert "\x1b[32mok" in done.out
    assert "\x1b[1;31mFAIL" in done.out


# Settings, keys, source


def test_an_invalid_setting_is_an_error(bind: Bind, ksd: Ksd) -> None:
    done = check(ksd(bind, DNS_TIMEOUT="soon", OWNERSHIP="mine"))
    assert [item["what"] for item in done.json["findings"]] == ["settings", "settings", "everything else"]
    assert "DNS_TIMEOUT (--dns-timeout) = 'soon': a duration is needed" in done.out
    assert "OWNERSHIP (--ownership) = 'mine'" in done.out
    assert skipped(done) == {"everything else"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"TSIG_KEY_FILE": "/nowhere/key"}, "key file /nowhere/key cannot be read", id="no-key-file"),
        pytest.param({"TSIG_KEY_FILE": ""}, "no TSIG key is set", id="no-key"),
        pytest.param(
            {"TSIG_KEY_FILE": "", "TSIG_KEY_NAME": "k", "TSIG_SECRET": "c2VjcmV0", "TSIG_ALGORITHM": "hmac-md5"},
            "MD5 is broken; make a new key with tsig-keygen", id="md5"),
        pytest.param({"DNS_TLS": "true", "DNS_TLS_CA": "/nowhere/ca"}, "/nowhere/ca cannot be used", id="ca"),
    ],
)  # fmt: skip
def test_an_invalid_key_file_is_an_error(bind: Bind, ksd: Ksd, settings: dict[str, str], words: str) -> None:
    done = check(ksd(bind, **settings))
    assert bad(done) == {"keys"}
    assert words in finding(done, "keys")["text"]
    assert skipped(done) == {"servers and zones"}
    assert signs(done)["VMIs"] == "ok"


def test_a_weak_key_is_a_warning(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""}, keys=[Key(algorithm="hmac-sha1")])
    done = check(ksd(bind, OWNER_ID="x"))
    assert (done.code, "key ksd-ddns." in warned(done)) == (0, True)
    assert finding(done, "key")["fix"].endswith("tsig-keygen -a hmac-sha256 ksd-ddns.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "there is no such file", id="missing"),
        pytest.param("", "it is empty", id="empty"),
        pytest.param("kind: [", "broken YAML", id="broken"),
        pytest.param('{"kind": "Pod"}', "Pod", id="no-vmi"),
    ],
)
def test_an_invalid_vmi_file_is_an_error(bind: Bind, ksd: Ksd, tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "vmis.yaml"
    if text is not None:
        path.write_text(text)
    done = check(ksd(bind), "--from", path, vmis=None)
    assert bad(done) == {"VMIs"}
    assert words in finding(done, "VMIs")["text"]
    assert skipped(done) == {"plan vm."}
    path.write_bytes(ksd(bind).file([DB]).read_bytes())
    assert bad(check(ksd(bind), "--from", path, vmis=None)) == set()


# Clusters


def in_cluster(command: Command, kube: Kube, tmp_path: Path, **who: Any) -> Command:
    """Return the command with a kubeconfig."""
    return command.but(KUBECONFIG=kube.kubeconfig(tmp_path / "kubeconfig", **who))


def test_check_lists_the_vmis_of_a_cluster(bind: Bind, ksd: Ksd, kube: Kube, tmp_path: Path) -> None:
    kube.put(DB)
    command = in_cluster(ksd(bind), kube, tmp_path)
    before = len(kube.requests())
    done = check(command, vmis=None)
    assert done.code == 0
    texts = {item["what"]: item["text"] for item in done.json["findings"]}
    assert texts["VMIs"] == "1 can be read, 1 of them with addresses of secondary interfaces"
    assert texts["owner"] == kube.kube_system_uid
    assert texts["plan"] == "2 to add, 0 to change, 0 to delete, 0 conflicts"
    assert {request.verb for request in kube.requests()[before:]} == {"list", "get"}


Outcome = tuple[set[str], set[str]]

GRANTS = {
    "vmis": {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances"], "verbs": ["get", "list", "watch"]},
    "kube-system": {
        "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("granted", "outcome"),
    [
        pytest.param([], ({"VMIs", "owner"}, {"records vm.", "plan vm."}), id="nothing"),
        pytest.param(["vmis"], ({"owner"}, {"records vm.", "plan vm."}), id="not-the-namespace"),
        pytest.param(["kube-system"], ({"VMIs"}, {"plan vm."}), id="not-the-vmis"),
        pytest.param(["vmis", "kube-system"], (set(), set()), id="both"),
    ],
)
def test_missing_cluster_permissions_are_named(
    bind: Bind, ksd: Ksd, make_kube: Callable[..., Kube], tmp_path: Path, granted: list[str], outcome: Outcome
) -> None:
    failed, unchecked = outcome
    kube = make_kube(auth=True)
    account = service_account("secondary", "secondary")
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "secondary"},
            "rules": [GRANTS[name] for name in granted]}  # fmt: skip
    kube.authorize([role, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "secondary"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "secondary"},
        "subjects": [{"kind": "ServiceAccount", "name": "secondary", "namespace": "secondary"}],
    }])  # fmt: skip
    done = check(in_cluster(ksd(bind), kube, tmp_path, user={"token": kube.token(account)}), vmis=None)
    assert (bad(done), skipped(done)) == (failed, unchecked)
    if "VMIs" in failed:
        assert "grant get, list and watch of virtualmachineinstances" in finding(done, "VMIs")["text"]
    if "owner" in failed:
        assert "get of namespaces" in finding(done, "owner")["text"]
        with_id = ksd(bind, OWNER_ID="x")
        done = check(in_cluster(with_id, kube, tmp_path, user={"token": kube.token(account)}), vmis=None)
        assert "owner" not in bad(done), "the fix"


def test_an_unreachable_cluster_is_an_error(bind: Bind, ksd: Ksd, kube: Kube, tmp_path: Path) -> None:
    nowhere = check(ksd(bind, KUBECONFIG=tmp_path / "nothing"), vmis=None)
    assert bad(nowhere) == {"VMIs", "owner"}
    assert "no cluster is set up here" in nowhere.out
    kube.uninstall()
    without = check(in_cluster(ksd(bind), kube, tmp_path), vmis=None)
    assert bad(without) == {"VMIs"}
    assert "KubeVirt is not installed there" in finding(without, "VMIs")["text"]
    kube.stop()
    gone = check(in_cluster(ksd(bind), kube, tmp_path), vmis=None)
    assert bad(gone) == {"VMIs", "owner"}
    assert "cannot be reached" in finding(gone, "VMIs")["text"]


# Servers that are down, or no DNS servers

SERVER = {"key", "clock", "zone vm.", "transfer vm.", "update vm.", "records vm.", "plan vm."}


def test_a_port_without_a_listener_is_an_error(bind: Bind, ksd: Ksd) -> None:
    port = Port.reserve()
    done = check(ksd(bind, DNS_SERVER=f"127.0.0.1:{port.number}"))
    port.release()
    assert (bad(done), skipped(done)) == ({"connection"}, SERVER)
    assert "does a primary listen there on TCP? Set DNS_SERVER and DNS_PORT" in finding(done, "connection")["text"]


def test_an_unresolvable_server_name_is_an_error(bind: Bind, ksd: Ksd) -> None:
    done = check(ksd(bind, DNS_SERVER="nowhere.invalid"))
    assert bad(done) == {"connection"}
    assert "set DNS_SERVER to a name that resolves" in finding(done, "connection")["text"]


@pytest.mark.parametrize(
    ("hook", "failed", "words"),
    [
        pytest.param(hostile.swallow, {"key"}, "did not answer within 0.3 s", id="never-answers"),
        pytest.param(hostile.cut(), {"key"}, "closed the connection", id="hangs-up"),
        pytest.param(hostile.replaced(b"garbage, and more of it"), {"key"}, "not a DNS message", id="garbage"),
        pytest.param(lambda message: [hostile.unsigned(message)], {"key"}, "without a signature", id="unsigned"),
        pytest.param(hostile.after(3, hostile.cut()), {"transfer vm."}, "the transfer from", id="mid-transfer"),
    ],
)
def test_a_server_that_is_no_dns_server_is_an_error(
    bind: Bind, ksd: Ksd, hook: hostile.Hook, failed: set[str], words: str
) -> None:
    with check_unchanged(bind), Proxy(bind, response=hook) as proxy:
        done = check(ksd(bind, through=proxy.address, DNS_TIMEOUT="300ms"))
    assert failed <= bad(done)
    assert words in finding(done, min(failed).partition(" ")[0])["text"]
    assert {"records vm.", "plan vm."} <= skipped(done)
    assert "UDP" in warned(done), "a proxy of TCP has none"


def test_blocked_udp_is_a_warning(bind: Bind, ksd: Ksd) -> None:
    with Proxy(bind) as proxy:
        done = check(ksd(bind, through=proxy.address))
    assert (done.code, warned(done)) == (0, {"UDP", "name server vm."})
    assert "allow UDP" in finding(done, "UDP")["fix"]


def test_refused_unsigned_queries_are_a_warning(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    class Signed(Bind):
        """A server that answers only queries signed with the key."""

        def wait_until_up(self) -> None:
            self._wait_for_log("running", since=0)
            while self.status("example", "SOA", key=True) != "NOERROR":
                pass

    with Signed(zones={"example.": ""}, options='allow-query { key "ksd-ddns."; };') as bind:
        done = check(ksd(bind, DOMAIN="example"))
    assert (done.code, warned(done)) == (0, {"UDP"})
    assert "allow-query" in finding(done, "UDP")["fix"]


def test_one_server_of_several_being_down_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""})
    done = check(ksd(bind, DNS_SERVER=f"127.0.0.1:1,127.0.0.1:{bind.port}"))
    assert bad(done) == {"connection"}
    assert [item["sign"] for item in done.json["findings"] if item["what"] == "update"] == ["skipped", "ok"]
    assert "plan vm." in signs(done)


def test_servers_with_different_zones_are_a_warning(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    one = make_bind(zones={"vm.": ""})
    two = make_bind(zones={"vm.": ""}, keys=one.keys)
    command = ksd(one, DNS_SERVER=f"127.0.0.1:{one.port},127.0.0.1:{two.port}")
    assert signs(check(command))["servers vm."] == "ok"
    two.nsupdate("update add x.vm. 60 A 192.0.2.1")
    done = check(command)
    assert "servers vm." in warned(done)
    assert f"127.0.0.1:{two.port} (serial 2)" in finding(done, "servers")["text"]


# Keys and clocks

ZONE = {"zone vm.example.", "transfer vm.example.", "update vm.example."}


@pytest.mark.parametrize("wrong", ["name", "secret", "algorithm"])
def test_a_wrong_key_is_reported_with_the_key_clause(make_any: Make, ksd: Ksd, wrong: str) -> None:
    primary = make_any(zones={"example.": FOREIGN})
    ours = {
        "name": Key("other.", secret=primary.secret),
        "secret": Key("ksd-ddns."),
        "algorithm": Key("ksd-ddns.", "hmac-sha512", primary.secret),
    }[wrong]
    command = ksd(primary, DOMAIN="example").but(
        "TSIG_KEY_FILE", TSIG_KEY_NAME=ours.name, TSIG_SECRET=ours.secret, TSIG_ALGORITHM=ours.algorithm
    )
    with check_unchanged(primary):
        done = check(command)
    assert bad(done) == {"key"}
    assert {"clock", "records vm.example.", "plan vm.example."} | ZONE <= skipped(done)
    key = finding(done, "key")
    assert "must be the same on both sides" in key["fix"]
    if wrong == "name":
        apply(primary, key["stanzas"], secret=ours.secret)
        done = check(command)
        assert signs(done)["key"] == "ok"
        # Knot does not answer keys that no rule of the zone names: the rule came with the key.
        assert ("transfer example." in bad(done)) is not isinstance(primary, Knot)
        for what in ("transfer", "update"):
            if any(item["what"] == what and item["sign"] == "fail" for item in done.json["findings"]):
                apply(primary, finding(done, what)["stanzas"])
        assert bad(check(command)) == set()
        assert command("apply", vmi=[DB]).code == 0


def test_a_key_rejected_without_a_reason_is_reported(make_knot: Make, ksd: Ksd) -> None:
    rule = "  - id: look\n    key: witness.\n    action: [query, transfer]\n"
    primary = make_knot(
        zones={"example.": FOREIGN}, keys=[Key("ksd-ddns."), WITNESS], extra=rule, zone_options="acl: [look]"
    )
    with Proxy(primary, response=hostile.unsigned_notauth) as proxy:
        command = ksd(primary, through=proxy.address, DOMAIN="example")
        done = check(command)
        assert bad(done) == {"key"}
        assert primary.key_name in finding(done, "key")["text"]
        assert "NOTAUTH" in finding(done, "key")["text"]
        apply(primary, [stanza for stanza in finding(done, "key")["stanzas"] if "acl:" in stanza["text"]])
        done = check(command)
        assert signs(done)["key"] == "ok"
        assert bad(done) == {"update vm.example."}
        apply(primary, finding(done, "update")["stanzas"])
        assert bad(check(command)) == set()


@pytest.mark.parametrize("zone", ["", "example"], ids=["soa-query", "transfer"])
def test_an_unknown_key_with_an_unsigned_answer_is_reported(make_any: Make, ksd: Ksd, zone: str) -> None:
    primary = make_any(zones={"example.": FOREIGN})
    with check_unchanged(primary), Proxy(primary, response=hostile.unsigned_notauth) as proxy:
        command = ksd(primary, through=proxy.address, DOMAIN="example", ZONE=zone).but(
            "TSIG_KEY_FILE", TSIG_KEY_NAME="other.", TSIG_SECRET=primary.secret
        )
        done = check(command)
        assert bad(done) == {"key"}
        found = finding(done, "key")
        assert "does not accept key other." in found["text"]
        knot = "\n".join(stanza["text"] for stanza in found["stanzas"] if stanza["server"] == "Knot")
        assert "id: other." in knot
        assert "acl: [ksd-ddns-read-example]" in knot
        done = command("apply", vmi=[DB])
        assert done.code == 4
        for words in (
            "does not accept key other.",
            "Knot",
            "an acl",
        ):
            assert words in done.err


def test_an_unknown_update_key_with_an_unsigned_answer_is_reported(make_any: Make, ksd: Ksd) -> None:
    primary = make_any(zones={"example.": FOREIGN})
    with check_unchanged(primary), Proxy(primary, response=hostile.unsigned_notauth) as proxy:
        command = ksd(primary, through=proxy.address, DOMAIN="example").but(
            "TSIG_KEY_FILE",
            TSIG_KEY_NAME="other.",
            TSIG_SECRET=primary.secret,
            TRANSFER_TSIG_KEY_NAME=primary.key_name,
            TRANSFER_TSIG_SECRET=primary.secret,
        )
        done = check(command)
        assert bad(done) == {"update vm.example."}
        words = "may not update" if isinstance(primary, PowerDns) else "does not accept key other."  # it says REFUSED
        assert words in finding(done, "update")["text"]
        done = command("apply", vmi=[DB])
        assert done.code == 4
        assert ("refused the update" if isinstance(primary, PowerDns) else words) in done.err


def test_a_secondary_is_reported_with_the_primary_from_its_soa(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    """It keeps its copy until a NOTIFY or a refresh; the test sends no NOTIFY."""
    primary = make_bind(zones={"vm.": ""})
    remote = f"remote:\n  - id: up\n    address: 127.0.0.1@{primary.port}\n    key: ksd-ddns.\n"
    # BIND listens only on addresses of interfaces, Knot on all of 127.0.0.0/8.
    secondary = Knot(
        zones={"vm.": ""}, keys=primary.keys, extra=remote, zone_options="acl: all\nmaster: up", address="127.0.0.2"
    )
    secondary._port = Port(primary.port, secondary._port.lock)  # check expects the primary on the same port
    with secondary:
        command = ksd(secondary, DNS_SERVER=f"127.0.0.2:{secondary.port}")
        assert "primary vm." not in signs(check(command)), "equal serials do not show which one is the primary"
        primary.nsupdate("update add x.vm. 60 A 192.0.2.1")
        done = check(command)
        assert "primary vm." in warned(done)
        assert f"set DNS_SERVER to the primary, 127.0.0.1:{primary.port}" in finding(done, "primary")["fix"]
        done = check(command.but(DNS_SERVER=f"127.0.0.1:{primary.port}"))
        assert "primary vm." not in signs(done)


def test_many_zones_on_one_server_are_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    zones = {f"{i}.0.10.in-addr.arpa.": "" for i in range(101)}
    bind = make_bind(zones={"vm.": "", **zones}, options="tcp-clients 10;")
    few, all_zones = (",".join(list(zones)[:count]) for count in (99, 101))
    assert not any(what.startswith("zones") for what in signs(check(ksd(bind, REVERSE_ZONES=few))))
    done = check(ksd(bind, REVERSE_ZONES=all_zones))
    assert done.code == 0
    assert finding(done, "zones")["text"].startswith("102 zones on one server")
    assert "transfers-out" in finding(done, "zones")["fix"]


@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "behind"])
def test_a_clock_that_is_off_by_an_hour_is_an_error(make_any: Make, ksd: Ksd, hours: int) -> None:
    primary = make_any(zones={"example.": ""})
    clock = f"import time; now = time.time; time.time = lambda: now() + {3600 * hours}"
    run = "import sys; from ksd_ddns.cli import main; sys.exit(main())"
    with check_unchanged(primary):
        done = ksd(primary, DOMAIN="example").process(
            "check", "-o", "json", vmi=[DB], program=(sys.executable, "-c", f"{clock}; {run}")
        )
    assert done.code == 1
    if primary.kind == "powerdns":  # which reports only that it does not accept the signature
        assert bad(done) == {"key"}
        assert "or the clocks differ" in finding(done, "key")["text"]
        return
    assert bad(done) == {"clock"}
    assert {"key", "plan vm.example."} | ZONE <= skipped(done)
    found = finding(done, "clock")
    assert found["fix"] == "use NTP on both machines"
    if primary.kind == "bind9":  # the others do not report their time
        assert f"{'behind' if hours > 0 else 'ahead of'} ours (BADTIME)" in found["text"]


@pytest.mark.parametrize(
    ("offset", "sign"), [(0, "ok"), (-30, "ok"), (-100, "warn"), (100, "warn"), (-400, "fail"), (4000, "fail")]
)
def test_the_difference_of_the_clocks_is_shown(bind: Bind, ksd: Ksd, offset: int, sign: str) -> None:
    other = Resigner(Key(bind.key_name, secret=bind.secret), offset=offset)
    with Proxy(bind, request=other.request, response=other.response) as proxy:
        done = check(ksd(bind, through=proxy.address))
    assert signs(done)["clock"] == sign
    if sign != "ok":
        way = "ahead of" if offset > 0 else "behind"
        shown = [f"{abs(offset) + rounding} s {way} ours" for rounding in (-1, 0, 1)]
        assert any(text in finding(done, "clock")["text"] for text in shown)


# Zones


def test_a_zone_without_a_server_is_an_error(make_any: Make, ksd: Ksd) -> None:
    primary = make_any(zones={"example.": ""})
    for settings in ({"DOMAIN": "elsewhere"}, {"DOMAIN": "elsewhere", "ZONE": "elsewhere"}):
        done = check(ksd(primary, **settings))
        # The key is checked with the zone: a server that does not serve it ignores signatures.
        assert bad(done) in ({"zone vm.elsewhere."}, {"key", "zone vm.elsewhere."})
        assert "ZONE" in finding(done, "zone")["text"]


def test_an_automatic_empty_zone_of_bind_is_an_error(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    """A recursive BIND answers for private reverse zones that are not configured (RFC 6303)."""
    bind = make_bind(zones={"vm.": ""})
    bind.configuration.write_text(bind.configuration.read_text().replace("recursion no;", "recursion yes;"))
    bind.restart()
    done = check(ksd(bind, REVERSE_ZONES="10.0.0.0/8"))
    assert bad(done) == {"zone 10.in-addr.arpa."}
    assert "empty zones that BIND adds" in finding(done, "zone")["text"]


def test_a_delegated_zone_is_an_error(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"example.": "vm NS ns.elsewhere.test."})
    done = check(ksd(bind, DOMAIN="example"))
    assert bad(done) == {"zone vm.example."}
    assert "the zone is delegated" in finding(done, "zone")["text"]


def test_a_base_outside_of_the_zone_is_an_error(bind: Bind, ksd: Ksd) -> None:
    done = check(ksd(bind, DOMAIN="example", ZONE="vm"))
    assert bad(done) == {"zone vm.example."}
    assert "correct DOMAIN or ZONE" in finding(done, "zone")["text"]


def test_a_secondary_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    first = make_bind(zones={"example.": "@ SOA ns1 hostmaster 7 60 60 60 30\n@ NS localhost."})
    path = first.directory / "copy"
    primaries = f"primaries {{ 127.0.0.1 port {first.port} key ksd-ddns.; }};"
    transfer = 'allow-transfer { key "ksd-ddns."; };'
    copy = f'zone "example." {{ type secondary; file "{path}"; {primaries} {transfer} }};'
    second = make_bind(zones={"other.": ""}, keys=first.keys, extra=copy)
    second._wait_for_log("transfer of 'example/IN' from 127.0.0.1#", since=0)
    command = ksd(second, DOMAIN="example")
    assert second.axfr("example.", soa=False)
    done = check(command)
    assert bad(done) == {"update vm.example."}
    assert "is not the primary (the SOA names ns1.example.)" in finding(done, "update")["fix"]


def test_a_long_negative_ttl_is_a_warning(make_any: Make, ksd: Ksd) -> None:
    primary = make_any(zones={"example.": "@ 3600 SOA ns1 hostmaster 7 60 60 60 3600\n@ NS localhost."})
    done = check(ksd(primary, DOMAIN="example"))
    assert (done.code, warned(done)) == (0, {"zone vm.example."})
    assert "negative answers last 3600 s" in finding(done, "zone")["text"]


# Permissions, and the statements that grant them

RULES = (
    "  - id: read\n    key: ksd-ddns.\n    action: [query, transfer]\n"
    "  - id: write\n    key: ksd-ddns.\n    action: [query, update]\n"
)
GRANT = 'grant "ksd-ddns." subdomain vm.example. A AAAA TXT;'
NO_TRANSFER = {
    "bind": {"zone_options": f"allow-transfer {{ none; }}; update-policy {{ {GRANT} }};"},
    "knot": {"extra": RULES, "zone_options": "acl: write"},
    "powerdns": {"zone_options": "add-meta ZONE TSIG-ALLOW-DNSUPDATE ksd-ddns"},
}
NO_UPDATE = {
    "bind": {"zone_options": 'allow-transfer { key "ksd-ddns."; };'},
    "knot": {"extra": RULES, "zone_options": "acl: read"},
    "powerdns": {"zone_options": "add-meta ZONE TSIG-ALLOW-AXFR ksd-ddns", "options": "allow-dnsupdate-from=192.0.2.1"},
}


def test_a_missing_transfer_permission_is_reported_with_the_statement_that_grants_it(make_any: Make, ksd: Ksd) -> None:
    primary = make_any(zones={"example.": FOREIGN}, **NO_TRANSFER)
    command = ksd(primary, DOMAIN="example")
    serial = primary.serial()
    done = check(command)
    assert bad(done) == {"transfer example."}
    assert skipped(done) == {"records vm.example.", "plan vm.example."}
    assert primary.serial() == serial
    apply(primary, finding(done, "transfer")["stanzas"])
    with check_unchanged(primary):
        assert bad(check(command)) == set()
    assert command("apply", vmi=[DB]).code == 0


def test_a_missing_update_permission_is_reported_with_the_statement_that_grants_it(make_any: Make, ksd: Ksd) -> None:
    primary = make_any(zones={"example.": FOREIGN}, **NO_UPDATE)
    command = ksd(primary, DOMAIN="example")
    with check_unchanged(primary):
        done = check(command)
        assert bad(done) == {"update vm.example."}
    assert "key ksd-ddns. may not update anything" in finding(done, "update")["text"]
    apply(primary, finding(done, "update")["stanzas"])
    with check_unchanged(primary):
        assert bad(check(command)) == set()
    foreign = primary.axfr(soa=False)
    assert command("apply", vmi=[DB]).code == 0
    assert foreign < primary.axfr(soa=False)
    if primary.kind != "powerdns":  # where a key can change the whole zone
        for name, rdtype, rdata in (("www.example.", "A", "192.0.2.9"), ("x.vm.example.", "MX", "10 www.example.")):
            answer = primary.nsupdate(f"update add {name} 60 {rdtype} {rdata}", check=False)
            assert answer.returncode, "the statement grants no more than is needed"


@pytest.mark.parametrize("missing", ["A", "AAAA", "TXT"])
def test_a_permission_for_some_types_only_is_reported(make_either: Make, ksd: Ksd, missing: str) -> None:
    types = [rdtype for rdtype in ("A", "AAAA", "TXT") if rdtype != missing]
    primary = make_either(
        zones={"example.": ""},
        bind={"zone_options": 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." subdomain '
                              f"vm.example. {' '.join(types)}; }};"},
        knot={"extra": f"{RULES}    update-type: [{', '.join(types)}]\n", "zone_options": "acl: [read, write]"},
    )  # fmt: skip
    command = ksd(primary, DOMAIN="example")
    with check_unchanged(primary):
        done = check(command)
    assert bad(done) == {"update vm.example."}
    assert finding(done, "update")["text"] == f"key ksd-ddns. may not update {missing} below prod.vm.example."
    apply(primary, finding(done, "update")["stanzas"])
    assert bad(check(command)) == set()
    assert command("apply", vmi=[DB]).code == 0


def test_services_need_a_permission_of_their_own(make_either: Make, ksd: Ksd) -> None:
    primary = make_either(
        zones={"example.": ""},
        bind={"zone_options": f'allow-transfer {{ key "ksd-ddns."; }}; update-policy {{ {GRANT} }};'},
        knot={"extra": f"{RULES}    update-type: [A, AAAA, TXT]\n", "zone_options": "acl: [read, write]"},
    )
    asking = {"ksd-ddns/group": "web", "ksd-ddns/group-ports": "http=8080"}
    member = vmi("db", "prod", {"net1": ["10.1.0.9"]}, annotations=asking)
    assert bad(check(ksd(primary, DOMAIN="example"), vmis=[member])) == set()
    command = ksd(primary, DOMAIN="example", GROUP_SRV="true")
    with check_unchanged(primary):
        done = check(command, vmis=[member])
    assert bad(done) == {"update vm.example."}
    assert finding(done, "update")["text"] == "key ksd-ddns. may not update SRV below prod.vm.example."
    assert command("apply", vmi=[member]).code == 1, "the service is refused, nothing else"
    assert primary.query("web.prod.vm.example", "A") == ["10.1.0.9"]
    apply(primary, finding(done, "update")["stanzas"])
    assert bad(check(command, vmis=[member])) == set()
    assert command("apply", vmi=[member]).code == 0
    assert primary.query("_http._tcp.web.prod.vm.example", "SRV") == ["0 0 8080 db.prod.vm.example."]


@pytest.mark.parametrize("settings", [{}, {"NAMESPACES": "prod,test"}], ids=["of-the-vmis", "by-setting"])
def test_a_permission_for_one_namespace_only_is_reported(make_either: Make, ksd: Ksd, settings: dict[str, str]) -> None:
    primary = make_either(
        zones={"example.": ""},
        bind={"zone_options": 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." subdomain '
                              "prod.vm.example. A AAAA TXT; };"},
        knot={"extra": f"{RULES}    update-owner: name\n    update-owner-match: sub-or-equal\n"
                       "    update-owner-name: [prod.vm.example.]\n", "zone_options": "acl: [read, write]"},
    )  # fmt: skip
    command = ksd(primary, DOMAIN="example", **settings)
    assert bad(check(ksd(primary, DOMAIN="example"))) == set()
    other = vmi("x", "test", {"net1": ["10.1.0.1"]})
    done = check(command, vmis=[DB, other])
    assert bad(done) == {"update vm.example."}
    text = finding(done, "update")["text"]
    assert "A below test.vm.example." in text
    assert "prod" not in text


def test_a_name_outside_of_the_base_needs_its_own_permission(make_either: Make, ksd: Ksd) -> None:
    primary = make_either(
        zones={"example.": "web AAAA 2001:db8::1"},
        bind={"zone_options": f'allow-transfer {{ key "ksd-ddns."; }}; update-policy {{ {GRANT} }};'},
        knot={"extra": f"{RULES}    update-owner: name\n    update-owner-match: sub-or-equal\n"
                       "    update-owner-name: [vm.example.]\n", "zone_options": "acl: [read, write]"},
    )  # fmt: skip
    command = ksd(primary, DOMAIN="example", HOSTNAME_SCOPE="zone")
    asking = vmi("db", "prod", {"net1": ["10.1.0.9"]}, annotations={"ksd-ddns/hostname": "db.example., web.example."})
    with check_unchanged(primary):
        done = check(command, vmis=[asking])
    assert bad(done) == {"update db.example.", "update web.example.", "conflicts vm.example."}
    refused = command("apply", vmi=[asking])
    assert "!   db.example.\n" in refused.out
    if isinstance(primary, Bind):
        stanzas = [stanza["text"] for item in done.json["findings"] for stanza in item["stanzas"]]
        assert any('grant "ksd-ddns." name "db.example." A AAAA TXT;' in text for text in stanzas)
    for item in done.json["findings"]:
        if item["subject"].startswith("db.example."):
            apply(primary, item["stanzas"])
    with check_unchanged(primary):
        done = check(command, vmis=[asking])
    assert signs(done)["update db.example."] == "ok"
    assert command("apply", vmi=[asking]).code == 1, "web.example. is another's"
    assert primary.query("db.example", "A") == ["10.1.0.9"]


def test_the_name_server_at_the_apex_needs_a_permission(make_either: Make, ksd: Ksd) -> None:
    primary = make_either(
        zones={"vm.": ""},
        bind={"zone_options": 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." subdomain vm. '
                              "A AAAA TXT; };"},
        knot={"extra": f"{RULES}    update-type: [A, AAAA, TXT]\n", "zone_options": "acl: [read, write]"},
    )  # fmt: skip
    assert bad(check(ksd(primary))) == set()
    command = ksd(primary, NAME_SERVER_IP="192.0.2.53")
    with check_unchanged(primary):
        done = check(command)
    assert bad(done) == {"update vm."}
    assert finding(done, "update")["text"] == "key ksd-ddns. may not update NS of vm."
    apply(primary, finding(done, "update")["stanzas"])
    with check_unchanged(primary):
        assert bad(check(command)) == set()
    assert command("apply", vmi=[DB]).code == 0
    assert "ns.vm." in primary.query("vm", "NS")


def test_each_reverse_zone_has_its_own_permission(make_any: Make, ksd: Ksd) -> None:
    reverse = ["10.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."]
    primary = make_any(zones={"example.": "", **dict.fromkeys(reverse, "")}, **NO_UPDATE)
    command = ksd(primary, DOMAIN="example", REVERSE_ZONES="10.0.0.0/8, 2001:db8::/32")
    done = check(command)
    assert bad(done) == {f"update {base}" for base in ("vm.example.", *reverse)}
    for item in done.json["findings"]:
        if item["what"] == "update" and "arpa" in item["subject"]:
            apply(primary, item["stanzas"])
            assert "PTR TXT" in item["stanzas"][0]["text"]
            if primary.kind == "powerdns":
                continue  # which now permits updates from this address, and without a key
    assert bad(check(command)) == {"update vm.example."}
    assert command("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.9", "2001:db8::9"]})]).code in {1, 4}
    assert primary.query("9.0.1.10.in-addr.arpa", "PTR") == ["net1.db.prod.vm.example."]


def test_a_reverse_zone_without_a_server_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"example.": "", "10.in-addr.arpa.": ""})
    done = check(ksd(bind, DOMAIN="example", REVERSE_ZONES="172.16.0.0/16,10.0.0.0/8"))
    assert bad(done) == {"zone 16.172.in-addr.arpa."}
    assert signs(done)["update 10.in-addr.arpa."] == "ok"
    assert "records 16.172.in-addr.arpa." in skipped(done)


def test_a_frozen_zone_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"example.": ""})
    bind.rndc("freeze", "example")
    done = check(ksd(bind, DOMAIN="example"))
    assert bad(done) == {"update vm.example."}
    assert "the zone is frozen (BIND: rndc thaw)" in finding(done, "update")["fix"]
    bind.rndc("thaw", "example")
    assert bad(check(ksd(bind, DOMAIN="example"))) == set()


@pytest.mark.parametrize("response", [hostile.pass_on, hostile.unsigned_notauth], ids=["badkey", "notauth"])
def test_separate_keys_for_transfers_and_updates_are_checked(make_either: Make, ksd: Ksd, response: Hook) -> None:
    reader = {
        "bind": {"zone_options": 'allow-transfer { key "reader."; };'},
        "knot": {
            "extra": "  - id: read\n    key: reader.\n    action: [query, transfer]\n",
            "zone_options": "acl: [read]",
        },
    }  # fmt: skip
    primary = make_either(zones={"example.": ""}, keys=[READER], **reader)
    writer = Key("writer.")
    with Proxy(primary, response=response) as proxy:
        command = ksd(primary, through=proxy.address, DOMAIN="example").but(
            TRANSFER_TSIG_KEY_NAME=READER.name, TRANSFER_TSIG_SECRET=READER.secret, TSIG_KEY_FILE="",
            TSIG_KEY_NAME=writer.name, TSIG_SECRET=writer.secret,
        )  # fmt: skip
        with check_unchanged(primary):
            done = check(command)
        assert bad(done) == {"update vm.example."}
        assert "key writer." in finding(done, "update")["text"]
        assert "may not update" not in finding(done, "update")["text"]
        apply(primary, finding(done, "update")["stanzas"], secret=writer.secret)
        assert bad(check(command)) == set()
        assert command("apply", vmi=[DB]).code == 0
        swapped = command.but(TRANSFER_TSIG_SECRET=writer.secret)
        assert bad(check(swapped)) == {"key"}


class PrerequisitesFirst:
    """A server that follows RFC 2136: it refuses an update only if its prerequisites hold."""

    def __init__(self, primary: Server) -> None:
        self._signer = Resigner(Key(primary.key_name, secret=primary.secret))
        self._guarded: set[bytes] = set()

    def request(self, message: bytes) -> Iterable[bytes]:
        """Record the messages whose prerequisite fails: an unused name that must be in use."""
        if hostile.is_update(message) and IN_USE in message:
            self._guarded.add(message[:2])
        return self._signer.request(message)

    def response(self, message: bytes) -> Iterable[bytes]:
        """Answer that the prerequisite fails where the server answers that it refuses the update."""
        if message[:2] in self._guarded and message[3] & 0xF == rcodes.REFUSED:
            message = message[:3] + bytes([message[3] & 0xF0 | rcodes.NXDOMAIN]) + message[4:]
        return self._signer.response(message)


IN_USE = bytes((0, 255, 0, 255, 0, 0, 0, 0, 0, 0))
"""Type ANY, class ANY, TTL 0, no rdata (RFC 2136, 2.4.4)."""


def test_a_missing_type_is_found_on_a_server_that_evaluates_prerequisites_first(
    make_bind: Callable[..., Bind], ksd: Ksd
) -> None:
    bind = make_bind(
        zones={"example.": ""},
        zone_options=f"{NO_UPDATE['bind']['zone_options']} update-policy {{ {GRANT.replace(' AAAA TXT', '')} }};",
    )
    literal = PrerequisitesFirst(bind)
    with check_unchanged(bind), Proxy(bind, request=literal.request, response=literal.response) as proxy:
        done = check(ksd(bind, through=proxy.address, DOMAIN="example"))
    text = "key ksd-ddns. may not update AAAA below prod.vm.example., TXT below prod.vm.example."
    assert (bad(done), finding(done, "update")["text"]) == ({"update vm.example."}, text)


# What stands in the zone


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("net1.db.prod.vm A 10.9.9.9", "it exists without our ownership record", id="foreign-a"),
        pytest.param("net1.db.prod.vm A 10.1.0.9\nnet1.db.prod.vm AAAA fd00::9", "apply --adopt", id="from-before"),
        pytest.param("net1.db.prod.vm CNAME www", "a CNAME that is not ours", id="cname"),
        pytest.param(
            "net1.db.prod.vm TXT heritage=external-dns,external-dns/owner=x",
            "another program owns it",
            id="external-dns",
        ),
        pytest.param("prod.vm NS elsewhere.", "prod.vm.example. is delegated", id="delegation"),
        pytest.param('net1.db.prod.vm TXT "heritage=ksd-ddns,owner=west,vmi=a/b"', "belongs to owner west", id="owner"),
    ],
)
def test_names_in_conflict_are_reported(bind_with: Callable[[str], Bind], ksd: Ksd, text: str, words: str) -> None:
    bind = bind_with(text)
    with check_unchanged(bind):
        done = check(ksd(bind, DOMAIN="example"))
    assert bad(done) == {"conflicts vm.example."}
    assert words in finding(done, "conflicts")["text"]


@pytest.fixture
def bind_with(make_bind: Callable[..., Bind]) -> Callable[[str], Bind]:
    """Return a factory of primaries of example. with foreign records."""
    return lambda text: make_bind(zones={"example.": text})


def test_names_are_counted_by_owner(bind_with: Callable[[str], Bind], ksd: Ksd) -> None:
    marker = '"heritage=ksd-ddns,owner={},vmi=prod/x"'
    bind = bind_with(
        f"a.vm A 192.0.2.1\na.vm TXT {marker.format('west')}\nb.vm TXT {marker.format('west')}\nc.vm A 192.0.2.1\n"
        f"c.vm TXT {marker.format('north')}\nd.vm A 192.0.2.1\nwww A 192.0.2.1\ne.vm TXT {marker.format('default')}"
    )
    done = check(ksd(bind, DOMAIN="example"))
    (records,) = (item for item in done.json["findings"] if item["what"] == "records")
    assert records["text"] == "1 name is ours, 1 of owner north, 2 of owner west, 1 without an ownership record"
    assert done.code == 0


def test_foreign_names_with_ownership_zone_are_an_error(bind_with: Callable[[str], Bind], ksd: Ksd) -> None:
    bind = bind_with('a.vm A 192.0.2.1\na.vm TXT "heritage=ksd-ddns,owner=west,vmi=a/b"\nold.vm A 192.0.2.1')
    command = ksd(bind, DOMAIN="example", OWNERSHIP="zone")
    done = check(command)
    assert (bad(done), warned(done)) == ({"ownership vm.example."}, {"deletions vm.example."})
    assert "1 with a record of owner west" in finding(done, "ownership")["text"]
    assert "no VMI has a.vm.example., old.vm.example." in finding(done, "deletions")["text"]
    assert bad(check(command.but(OWNERSHIP="txt"))) == set(), "the fix"


def test_a_wildcard_is_a_warning(bind_with: Callable[[str], Bind], ksd: Ksd) -> None:
    bind = bind_with("*.prod.vm A 192.0.2.1\n* A 192.0.2.1")
    done = check(ksd(bind, DOMAIN="example"))
    assert (done.code, warned(done)) == (0, {"wildcard vm.example."})
    assert finding(done, "wildcard")["text"].startswith("*.prod.vm.example. answers")


def test_deletions_over_the_limit_are_reported(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, NAME_SERVER_IP="192.0.2.53")
    command("apply", vmi=[vmi(f"vm{i}", "prod") for i in range(10)])
    done = check(command, vmis=[])
    assert (done.code, warned(done)) == (0, {"deletions vm."})
    assert "refusing to delete 20 of 20 owned names" in finding(done, "deletions")["text"]


def test_a_name_server_inside_a_larger_zone_is_a_warning(bind_with: Callable[[str], Bind], ksd: Ksd) -> None:
    done = check(ksd(bind_with(""), DOMAIN="example", NAME_SERVER_IP="192.0.2.53"))
    assert (done.code, warned(done)) == (0, {"name server vm.example."})
    assert "the base is not the apex of example." in finding(done, "name server")["text"]


def test_invalid_host_names_and_odd_vmis_are_warnings(bind_with: Callable[[str], Bind], ksd: Ksd) -> None:
    odd = vmi("db", "prod", {"net_1": ["10.1.0.9"], "no.name": ["10.1.0.10"]})
    done = check(ksd(bind_with(""), DOMAIN="example"), vmis=[odd])
    assert (done.code, warned(done)) == (0, {"host names vm.example.", "VMIs vm.example."})
    assert finding(done, "host names")["text"].startswith("not valid host names: net_1.db.prod.vm.example.;")
    assert "'no.name' cannot be a DNS name" in finding(done, "VMIs")["text"]


def test_srv_records_of_groups_are_not_invalid_host_names(bind_with: Callable[[str], Bind], ksd: Ksd) -> None:
    web = vmi("web-1", "prod", annotations={"ksd-ddns/group": "web", "ksd-ddns/group-ports": "http=80"})
    done = check(ksd(bind_with(""), DOMAIN="example", GROUP_SRV=True), vmis=[web])
    assert (done.code, warned(done)) == (0, set())


def test_vmis_without_addresses_are_reported(bind_with: Callable[[str], Bind], ksd: Ksd) -> None:
    done = check(ksd(bind_with(""), DOMAIN="example"), vmis=[vmi("db", "prod", {"net1": []})])
    assert (done.code, warned(done)) == (0, {"VMIs"})
    assert "qemu-guest-agent" in finding(done, "VMIs")["fix"]


def test_a_signed_zone_is_no_problem(make_either: Make, ksd: Ksd) -> None:
    rights = 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." zonesub ANY; };'
    primary = make_either(
        zones={"example.": "a.vm 60 TXT hello"},
        bind={"zone_options": f"{rights} dnssec-policy default; inline-signing no;"},
        knot={"zone_options": "acl: all\ndnssec-signing: on"},
    )
    assert bad(check(ksd(primary, DOMAIN="example"))) == set()


# What the answers mean


@pytest.fixture
def target() -> check_zone.Target:
    """Return a target on a server that is never queried."""
    peer = Peer(Address("192.0.2.53", 53), keys.key("k.", "hmac-sha256", "c2VjcmV0"))
    return check_zone.Target(Probe(peer, timeout=1), Session([peer], timeout=1), set())


def answered(rcode: int) -> ProbeResult:
    header = b"\0\0" + bytes([0xA8, rcode]) + bytes(8)
    return ProbeResult(codec.read(header), None, 0, None)


RIGHT = Permission("example.", "vm.example.", "k.", ["A"])


@pytest.mark.parametrize("rcode", [rcodes.REFUSED, rcodes.NOTAUTH])
def test_a_refusal_shows_that_a_permission_is_missing(rcode: int, target: check_zone.Target) -> None:
    assert not check_zone._granted(target, answered(rcode), rcodes.NXDOMAIN, RIGHT)


def test_a_server_that_ignores_prerequisites_is_an_error(target: check_zone.Target) -> None:
    with pytest.raises(BadResponse, match="it ignores prerequisites"):
        check_zone._granted(target, answered(rcodes.NOERROR), rcodes.NXDOMAIN, RIGHT)


@pytest.mark.parametrize("rcode", [rcodes.NOTIMP, rcodes.SERVFAIL, rcodes.FORMERR, rcodes.NOTZONE])
def test_an_inconclusive_response_to_a_permission_probe_is_an_error(rcode: int, target: check_zone.Target) -> None:
    with pytest.raises(Exception, match=rcodes.text(rcode)):
        check_zone._granted(target, answered(rcode), rcodes.NXDOMAIN, RIGHT)


# Valid settings that are probably mistakes


def test_namespaces_and_labels_without_a_match_are_reported(bind: Bind, ksd: Ksd) -> None:
    some = [vmi(f"vm{i}", "prod", {"net1": ["10.1.0.1"]}, labels={"tier": "front"}) for i in range(5)]
    for settings, words in (
        ({"NAMESPACES": "stage"}, "0 of 5 VMIs match NAMESPACES; they are in prod"),
        ({"LABEL_SELECTOR": "tier=back"}, "0 of 5 VMIs match LABEL_SELECTOR"),
        ({"NAMESPACES": "prod", "LABEL_SELECTOR": "tier=back"}, "0 of 5 VMIs match LABEL_SELECTOR"),
    ):
        found = finding(ksd(bind, **settings)("check", "-o", "json", vmi=some), "VMIs")
        assert found["sign"] == "warn"
        assert words in found["text"]
        assert "would delete the published names" in found["fix"]
    for namespace, vmis in (("prod", some), ("stage", [])):
        assert signs(ksd(bind, NAMESPACES=namespace)("check", "-o", "json", vmi=vmis))["VMIs"] == "ok"


def test_a_domain_that_begins_with_vm_is_a_warning(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, DOMAIN="vm.example.com")("check", "-o", "json", vmi=[DB])
    (found,) = [item for item in done.json["findings"] if item["subject"] == "DOMAIN"]
    assert found["sign"] == "warn"
    assert "vm.vm.example.com." in found["text"]
    assert "DOMAIN=example.com" in found["fix"]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("DNS_SEVER", "DNS_SERVER"),
        ("DNS_SERVERS", "DNS_SERVER"),
        ("TSIG_KEYFILE", "TSIG_KEY_FILE"),
        ("KSD_DDNS_DOMAIN", "DOMAIN"),
        ("KSD_DNS_SERVR", "DNS_SERVER"),
        ("HOLDDOWN", "HOLD_DOWN"),
        ("SECONDARY_DNS_SERVICE_HOST", ""),
        ("DNS_PORT_53_UDP_ADDR", ""),
        ("KSD_DDNS_SERVICE_PORT", ""),
        ("DNS_RESOLVER", ""),
        ("POD_NAMESPACE", ""),
        ("TIMEZONE", ""),
        ("dns_server", ""),
    ],
)
def test_a_misspelled_setting_is_recognized(variable: str, meant: str) -> None:
    assert misspelled([variable, "PATH", "HOME", "KUBERNETES_SERVICE_HOST"]) == ([(variable, meant)] if meant else [])


def test_a_misspelled_variable_is_a_warning_without_its_value(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, TSIG_SECRT="shortsecret")("check", "-o", "json", vmi=[DB])
    (found,) = [item for item in done.json["findings"] if item["subject"] == "TSIG_SECRT"]
    assert (done.code, found["sign"]) == (0, "warn")
    assert "TSIG_SECRET" in found["fix"]
    assert "shortsecret" not in done.out + done.err


def test_the_source_of_each_setting_is_shown(bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, TSIG_KEY_NAME="k", TSIG_SECRET="c2VjcmV0", TSIG_KEY_FILE="")
    lines = command("check", "-v", "--record-ttl", "30", vmi=[DB]).out.splitlines()
    assert "ok    setting RECORD_TTL: 30 (--record-ttl)" in lines
    assert "ok    setting TSIG_KEY_NAME: 'k' (environment)" in lines
    assert "ok    setting TSIG_SECRET: ********** (environment)" in lines
    assert not any("TSIG_KEY_FILE" in line for line in lines)


@pytest.mark.parametrize(
    ("mode", "mounted", "who"),
    [
        (0o600, False, ""),
        (0o400, False, ""),
        (0o640, False, "its group"),
        (0o644, False, "every user of this machine"),
        (0o440, True, ""),
        (0o644, True, "every user of the pod's containers"),
    ],
)
def test_secret_files_readable_by_others_are_a_warning(
    bind: Bind, ksd: Ksd, tmp_path: Path, mode: int, mounted: bool, who: str
) -> None:
    folder = tmp_path / "..2026_01_01_00_00_00.1" if mounted else tmp_path
    folder.mkdir(exist_ok=True)
    key = folder / "ksd.key"
    key.write_bytes(bind.key_file.read_bytes())
    key.chmod(mode)
    if mounted:  # as Kubernetes mounts a Secret
        (tmp_path / "..data").symlink_to(folder)
        (tmp_path / "ksd.key").symlink_to("..data/ksd.key")
    done = ksd(bind, TSIG_KEY_FILE=tmp_path / "ksd.key")("check", "-o", "json", vmi=[DB])
    found = [item for item in done.json["findings"] if item["what"] == "key file"]
    assert done.code == 0
    assert [item["sign"] for item in found] == (["warn"] if who else [])
    assert not who or who in found[0]["text"]
