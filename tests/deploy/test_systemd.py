# SPDX-License-Identifier: Apache-2.0
"""The systemd unit of examples/."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.servers import Bind
from harness.vmis import vmi
from ksd_ddns.primary.files import exposure
from tests.e2e.command import Command, settings_of

UNIT = Path(__file__).resolve().parents[2] / "examples" / "ksd-ddns.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return a copy of the unit that starts a program which exists."""
    text = UNIT.read_text(encoding="utf-8")
    assert "ExecStart=/opt/ksd-ddns/bin/ksd-ddns run " in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("/opt/ksd-ddns/bin/ksd-ddns", sys.executable), encoding="utf-8")
    return copy


def analyze(*argv: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *argv], capture_output=True, text=True, timeout=60, check=False
    )


@needs_systemd
def test_unit_is_valid(unit: Path) -> None:
    done = analyze("verify", unit)
    assert (done.returncode, done.stderr) == (0, "")  # an unknown key is only a warning


@needs_systemd
def test_unit_is_hardened(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=15", unit)  # tenths: 1.5 of 10
    assert done.returncode == 0, done.stdout + done.stderr


def test_unit_has_only_flags_and_variables_that_exist(bind: Bind, tmp_path: Path) -> None:
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    (start,) = (line.partition("=")[2].split() for line in lines if line.startswith("ExecStart="))
    assert start[1:3] == ["run", "--config"]
    (tmp_path / "ksd-ddns.toml").write_text("status_address = '127.0.0.1:0'\n")
    (tmp_path / "ksd-ddns.key").write_bytes(bind.key_file.read_bytes())
    pairs = [line.partition("=")[2].partition("=") for line in lines if line.startswith("Environment=")]
    given = {name: value.replace("%d", str(tmp_path)) for name, _, value in pairs}
    assert set(given) == {"TSIG_KEY_FILE", "KUBECONFIG"}
    credentials = [line.partition("=")[2].partition(":")[0] for line in lines if line.startswith("LoadCredential=")]
    assert sorted(credentials) == sorted(Path(value).name for value in given.values())
    command = Command(tmp_path, settings_of(bind)).but(TSIG_KEY_FILE=given["TSIG_KEY_FILE"])
    file = command.file([vmi("db", "prod", {"net1": ["10.1.0.9"]})])
    # As in the unit, but with VMIs of a file: there is no cluster here.
    with command.started(*start[1:3], tmp_path / "ksd-ddns.toml", "--from", file) as process:
        assert process.stderr is not None
        while not bind.query("net1.db.prod.vm", "A"):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.terminate()
        assert process.wait(20) == 0


def test_credentials_of_systemd_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their mode is 0440 where an ACL gives the service access, but their directory is closed to others."""
    key = tmp_path / "ksd-ddns.key"
    key.touch()
    key.chmod(0o440)
    assert exposure(key) == "its group can read it (mode 0440)"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert exposure(key) == ""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "other"))
    assert exposure(key) != ""
