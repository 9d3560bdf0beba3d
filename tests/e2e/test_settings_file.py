# SPDX-License-Identifier: Apache-2.0
"""The settings file, warnings about settings, and passwords in settings that take none."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.cli.arguments import COMMANDS
from ksd_ddns.config.settings import Settings
from tests.e2e.command import Command
from tests.e2e.conftest import Ksd

ROOT = Path(__file__).resolve().parents[2]
DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
WITH_SETTINGS = ["plan", "apply", "run", "check", "list", "bootstrap"]


def config(tmp_path: Path, text: str) -> Path:
    found = tmp_path / "ksd-ddns.toml"
    found.write_text(text, encoding="utf-8")
    found.chmod(0o600)
    return found


def test_a_flag_overrides_the_environment_and_that_the_file(bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    file = config(tmp_path, "record_ttl = 100\ndefault_record = false\nowner_id = 'in-file'\n")
    command = ksd(bind, OWNER_ID="in-variable", DOMAIN=" ")
    assert command("apply", "--config", file, vmi=[DB]).code == 0
    assert bind.ttl("net1.db.prod.vm.", "A") == 100
    assert bind.query("db.prod.vm", "A") == []
    assert bind.query("net1.db.prod.vm", "TXT") == ['"heritage=ksd-ddns,owner=in-variable,vmi=prod/db"']
    assert command.but(RECORD_TTL="200")("apply", "--config", file, vmi=[DB]).code == 0
    assert bind.ttl("net1.db.prod.vm.", "A") == 200
    assert command.but(RECORD_TTL="200")("apply", "--config", file, "--record-ttl=300", vmi=[DB]).code == 0
    assert bind.ttl("net1.db.prod.vm.", "A") == 300


def test_an_empty_variable_and_an_empty_flag_with_a_file(bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    file = config(tmp_path, "record_ttl = 100\n")
    command = ksd(bind, RECORD_TTL="  ")
    assert command("apply", "--config", file, vmi=[DB]).code == 0
    assert bind.ttl("net1.db.prod.vm.", "A") == 100, "an empty variable is not set"
    assert command("apply", "--config", file, "--record-ttl=", vmi=[DB]).code == 0
    assert bind.ttl("net1.db.prod.vm.", "A") == 60, "an empty flag is the default"


def test_every_setting_can_be_in_the_file(bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    values = {
        "domain": "example.com",
        "dns_server": [f"127.0.0.1:{bind.port}"],
        "dns_timeout": 5,
        "hold_down": "1m30s",
        "drift_interval": 0.5,
        "publish_cidrs": ["10.1.0.0/16", "fd00::/8"],
        "label_selector": "tier in (front, back)",
        "namespaces": ["prod", "stage"],
        "tsig_key_file": str(bind.key_file),
        "adopt": True,
    }
    file = config(tmp_path, "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    front = vmi("web", "prod", {"net1": ["10.1.0.7", "10.2.0.7"]}, labels={"tier": "front"})
    command = ksd(bind).but("DNS_SERVER", "TSIG_KEY_FILE", "DNS_TIMEOUT")
    done = command("apply", "--config", file, "--domain=", vmi=[front, DB])
    assert (done.code, done.err) == (0, "")
    assert {record.owner for record in bind.axfr() if record.type == "A"} == {"web.prod.vm.", "net1.web.prod.vm."}
    shown = command("check", "-v", "--config", file, vmi=[front]).out
    assert f"ok    setting HOLD_DOWN: '1m30s' ({file})" in shown.splitlines()


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "ksd-ddns.toml"
    file.write_bytes(b"\xef\xbb\xbfrecord_ttl = 0\r\n")
    assert "record_ttl = 0: must be" in Command(tmp_path, {})("plan", "--config", file, vmi=[DB]).err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("dns_servr = 'x'", ("unknown setting 'dns_servr'", "did you mean dns_server?"), id="misspelled"),
        pytest.param("DNS_SERVER = 'x'", ("'DNS_SERVER'", "did you mean dns_server?"), id="upper-case"),
        pytest.param("dns-server = 'x'", ("'dns-server'", "did you mean dns_server?"), id="hyphen"),
        pytest.param("colour = 1", ("unknown setting 'colour'",), id="unknown"),
        pytest.param("[dns]\nserver = 'x'", ("'dns'", "no tables"), id="table"),
        pytest.param("domain = {a = 1}", ("domain:", "a string"), id="table-as-value"),
        pytest.param("record_ttl = true", ("record_ttl = 'true'", "whole number"), id="type"),
        pytest.param("record_ttl = 0", ("record_ttl = 0: must be 1 to 86400",), id="range"),
        pytest.param("namespaces = [1]", ("namespaces:", "list of strings"), id="list"),
        pytest.param("domain = 2026-01-01", ("domain:", "a string"), id="date"),
        pytest.param("domain = x", ("not TOML", "line 1", "text needs quotes"), id="no-toml"),
        pytest.param("domain = '\udcff'", ("UTF-8",), id="no-utf-8"),
    ],
)
def test_a_wrong_file_ends_with_2_and_names_the_key(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "ksd-ddns.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = Command(tmp_path, {})("plan", "--config", file, vmi=[DB])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    for word in (str(file), *words):
        assert word in done.err


@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if verb != "completion"])
def test_every_command_reads_the_file(verb: str, tmp_path: Path) -> None:
    file = config(tmp_path, "dns_servr = 'x'\nrecrd_ttl = 1\n")
    needed = {"bootstrap": ("--server=bind9", f"--dir={tmp_path / 'new'}"), "explain": ("prod/db",)}
    done = Command(tmp_path, {}).process(verb, "--config", file, *needed.get(verb, ()))
    assert done.code == (1 if verb == "check" else 2)
    shown = done.out if verb == "check" else done.err
    assert f"{file}: unknown setting 'dns_servr': did you mean dns_server?" in shown
    assert f"{file}: unknown setting 'recrd_ttl': did you mean record_ttl?" in shown
    assert not (tmp_path / "new").exists()


def test_a_missing_file(tmp_path: Path) -> None:
    done = Command(tmp_path, {})("plan", "--config", tmp_path / "nowhere.toml", vmi=[DB])
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: --config {tmp_path / 'nowhere.toml'}: No such file or directory\n"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o644, True)])
def test_a_secret_in_a_file_that_others_can_read(mode: int, warned: bool, bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    name, secret = _key(bind)
    file = config(tmp_path, f"tsig_key_name = '{name}'\ntsig_secret = '{secret}'\n")
    file.chmod(mode)
    done = ksd(bind).but("TSIG_KEY_FILE")("plan", "--config", file, vmi=[DB])
    assert done.code == 0
    assert ("it holds a secret" in done.err) is warned
    assert not warned or f"chmod 600 {file}" in done.err
    assert secret not in done.out + done.err


def test_a_file_without_secrets_may_be_public(bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    file = config(tmp_path, "record_ttl = 100\n")
    file.chmod(0o644)
    assert ksd(bind)("plan", "--config", file, vmi=[DB]).err == ""


def _key(bind: Bind) -> tuple[str, str]:
    text = bind.key_file.read_text()
    name, secret = re.search(r'key\s+"?([^\s"]+)', text), re.search(r'secret\s+"?([^\s";]+)', text)
    assert name
    assert secret
    return name[1], secret[1]


def test_the_example_is_valid_and_has_the_settings_that_it_says(bind: Bind, ksd: Ksd) -> None:
    file = ROOT / "examples" / "ksd-ddns.toml"
    commented = re.findall(r"^# (\w+) = .*$", file.read_text(), re.MULTILINE)
    assert {*tomllib.loads(file.read_text()), *commented} <= set(Settings.model_fields)
    done = ksd(bind, ZONE="vm", DOMAIN="")("apply", "--config", file, "--domain=", vmi=[DB])
    assert (done.code, done.err) == (0, "")
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"], "PUBLISH_CIDRS of the example"


# warnings


@pytest.mark.parametrize("verb", ["plan", "apply", "list"])
def test_misspelled_variables_are_warned_about_once(verb: str, bind: Bind, ksd: Ksd) -> None:
    command = ksd(bind, KSD_DOMAIN="x", TSIG_SECRT="shortsecret", UNRELATED="y")
    done = command(verb, vmi=None if verb == "list" else [DB])
    assert done.code == 0
    for variable, meant in (("KSD_DOMAIN", "DOMAIN"), ("TSIG_SECRT", "TSIG_SECRET")):
        line = f"warning: {variable}: this variable is not used; if {meant} is meant, correct it\n"
        assert done.err.count(line) == 1
    assert "UNRELATED" not in done.err
    assert "shortsecret" not in done.out + done.err


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_domain_that_begins_with_vm_is_warned_about(verb: str, bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, DOMAIN="vm", ZONE="vm")(verb, vmi=[DB])
    assert done.err.count("warning: DOMAIN: it begins with vm.") == 1
    assert "names are published below vm.vm." in done.err


def test_run_logs_the_same_warnings_once(bind: Bind, ksd: Ksd, tmp_path: Path) -> None:
    file = ksd(bind).file([DB])
    with ksd(bind, DNS_SERVR="x", STATUS_ADDRESS="127.0.0.1:0").started("run", "--from", file) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["message"] == "running":
                break
        process.terminate()
        lines += map(json.loads, process.stderr)
    found = [line for line in lines if line.get("setting") == "DNS_SERVR"]
    assert [(line["level"], line["remedy"]) for line in found] == [("warning", "if DNS_SERVER is meant, correct it")]


# passwords


PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "setting",
    [
        name
        for name in Settings.model_fields
        if not name.endswith("_secret") and Settings.model_fields[name].annotation is not bool
    ],
)
@pytest.mark.parametrize("value", [f"admin:{PASSWORD}@10.0.0.53", f"10.0.0.1,admin:{PASSWORD},x@host"])
def test_a_password_in_any_setting_is_not_shown(setting: str, value: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text('key "k" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0"; };')
    tls = {"DNS_TLS": "true"} if setting.startswith("dns_tls") else {}
    more = {"DNS_TLS_CERT": str(key)} if setting == "dns_tls_key" else {}
    base = {"DNS_SERVER": "127.0.0.1:1", "DNS_TIMEOUT": "100ms", "TSIG_KEY_FILE": str(key), **tls, **more}
    if setting.endswith("secret_file"):
        base[setting.upper().replace("SECRET_FILE", "KEY_NAME")] = "k"
        base |= {"TSIG_KEY_FILE": ""} if setting == "tsig_secret_file" else {}
    file = config(tmp_path, f"{setting} = {json.dumps(value)}\n")
    by_variable = Command(tmp_path, {**base, setting.upper(): value})
    by_file = Command(tmp_path, base).but(setting.upper())
    for verb in ("plan", "check", "list"):
        for done in (by_variable(verb, "-v"), by_file(verb, "-v", "--config", file)):
            assert done.code in {1, 2}
            assert PASSWORD not in done.out + done.err
            assert setting.upper() in done.out + done.err or setting in done.out + done.err


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param("plan admin:hunter2@host", id="argument"),
        pytest.param("plan --dns-servr=admin:hunter2@host", id="misspelled-flag"),
        pytest.param("plan --dns-server=admin:hunter2@host", id="flag"),
        pytest.param("plan -o admin:hunter2@host", id="choice"),
        pytest.param("admin:hunter2@host", id="command"),
        pytest.param("bootstrap --server bind9 --dir x --port admin:hunter2@host", id="port"),
        pytest.param("bootstrap --server bind9 --dir x --address admin:hunter2@host", id="address"),
        pytest.param(
            "bootstrap --server bind9 --dir x --transfer-key k --secondary-of admin:hunter2@host", id="primary"
        ),
    ],
)
def test_a_password_in_an_argument_is_not_shown(argv: str, tmp_path: Path) -> None:
    done = Command(tmp_path, {})(*shlex.split(argv))
    assert (done.code, done.out) == (2, "")
    assert PASSWORD not in done.err
