# SPDX-License-Identifier: Apache-2.0
"""Keys that change while the controller runs: as files, as a mounted Secret, one for each server, one for each use."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import vmis
from harness.servers import Bind, Key, Server
from harness.vmis import vmi
from ksd_ddns.primary import keys
from tests.controller.running import Running
from tests.e2e.command import Command

QUICK = {"DRIFT_INTERVAL": "0.5s", "DNS_TIMEOUT": "2s"}
Run = Callable[..., Running]


class Wanted:
    """A file with the VMI db, whose address changes."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "vmis.json"
        self._count = 0
        self.next()

    def next(self) -> str:
        """Change the address; return the new one."""
        self._count += 1
        address = f"10.0.0.{self._count}"
        new = self.path.with_suffix(".new")
        new.write_bytes(vmis.as_json(vmis.listing([vmi("db", "prod", {"net1": [address]})])))
        new.replace(self.path)
        return address


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    return Wanted(tmp_path)


@pytest.fixture
def run(tmp_path: Path, wanted: Wanted) -> Iterator[Run]:
    """Return a factory of controllers that publish db on servers, with these settings."""
    with contextlib.ExitStack() as stack:

        def make(*servers: Server, **settings: object) -> Running:
            endpoints = ",".join(f"{server.address}:{server.port}" for server in servers)
            given = {**QUICK, "DNS_SERVER": endpoints, **settings}
            return stack.enter_context(Running(tmp_path, given, "--from", wanted.path))

        yield make


def rotate(server: Server, old: Key, new: Key) -> None:
    """Replace the key `old` by `new` on the server, as an admin does: with its files, without a restart."""
    text = server.configuration.read_text()
    assert text.count(old.secret) == 1
    server.configuration.write_text(text.replace(old.secret, new.secret))
    server.rndc("reconfig") if isinstance(server, Bind) else server.reload()


def check_change_published(ksd: Running, server: Server, wanted: Wanted) -> None:
    """Check that a change is published, and that no problem is reported afterwards."""
    address = wanted.next()
    ksd.wait_answer(server, "db.prod.vm", "A", address, seconds=40)
    ksd.wait_ready(seconds=40)


def test_a_replaced_key_file_is_reloaded(
    make_primary: Callable[..., Server], run: Run, wanted: Wanted, tmp_path: Path
) -> None:
    old, new = Key("ksd."), Key("ksd.")
    primary = make_primary(zones={"vm.": ""}, keys=[old])
    file = old.file(tmp_path)
    ksd = run(primary, TSIG_KEY_FILE=file)
    check_change_published(ksd, primary, wanted)
    rotate(primary, old, new)
    ksd.wait_problem("primary", "BADSIG")
    new.file(tmp_path)
    check_change_published(ksd, primary, wanted)
    for secret in (old.secret, new.secret):
        assert secret not in ksd.log()
    assert ksd.stop() == 0


def test_a_key_can_be_replaced_on_the_client_first(
    make_bind: Callable[..., Bind], run: Run, wanted: Wanted, tmp_path: Path
) -> None:
    """The server has both keys for a while, as in a rotation without an interruption."""
    old, new = Key("old."), Key("new.")
    bind = make_bind(
        zones={"vm.": ""},
        keys=[old, new],
        zone_options='allow-transfer { key "old."; key "new."; }; '
        'update-policy { grant "old." zonesub ANY; grant "new." zonesub ANY; };',
    )
    file = tmp_path / "ksd.key"
    file.write_text(old.bind())
    file.chmod(0o600)
    ksd = run(bind, TSIG_KEY_FILE=file)
    check_change_published(ksd, bind, wanted)
    ksd.wait(lambda: any(line["key"] == "old." for line in ksd.events("update")), "its audit line")
    file.write_text(new.bind())
    check_change_published(ksd, bind, wanted)
    ksd.wait(lambda: any(line["key"] == "new." for line in ksd.events("update")), "its audit line")
    assert '"level": "warning"' not in ksd.log(), "no interruption"


def test_a_changed_mounted_secret_is_reloaded(
    make_bind: Callable[..., Bind], run: Run, wanted: Wanted, tmp_path: Path
) -> None:
    """The kubelet writes a new directory and switches a symbolic link: the file itself never changes."""
    old, new = Key("ksd."), Key("ksd.")
    bind = make_bind(zones={"vm.": ""}, keys=[old])
    mount = tmp_path / "secret"
    mount.mkdir()
    (mount / "ksd.key").symlink_to("..data/ksd.key")
    _mounted(mount, "1", old)
    ksd = run(bind, TSIG_KEY_FILE=mount / "ksd.key")
    check_change_published(ksd, bind, wanted)
    _mounted(mount, "2", new)
    rotate(bind, old, new)
    check_change_published(ksd, bind, wanted)


def _mounted(mount: Path, version: str, key: Key) -> None:
    data = mount / f"..{version}"
    data.mkdir()
    (data / "ksd.key").write_text(key.bind())
    link = mount / "..data_tmp"
    link.symlink_to(data.name)
    link.replace(mount / "..data")


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda file: file.write_text(""), id="empty"),
        pytest.param(lambda file: file.unlink(), id="gone"),
        pytest.param(lambda file: file.write_text('key "ksd." { algorithm hmac-sha256; sec'), id="half-written"),
        pytest.param(lambda file: file.write_bytes(b"\xff\xfe\x00"), id="binary"),
    ],
)
def test_an_invalid_key_file_keeps_the_previous_key(
    make_bind: Callable[..., Bind],
    run: Run,
    wanted: Wanted,
    tmp_path: Path,
    break_it: Callable[[Path], object],
) -> None:
    key = Key("ksd.")
    bind = make_bind(zones={"vm.": ""}, keys=[key])
    file = key.file(tmp_path)
    ksd = run(bind, TSIG_KEY_FILE=file)
    check_change_published(ksd, bind, wanted)
    break_it(file)
    ksd.wait(
        lambda: "cannot be used, keeping" in ksd.log() and f"key file {file}" in ksd.log(),
        "a warning about the broken file",
    )
    check_change_published(ksd, bind, wanted)
    assert ksd.log().count("cannot be used, keeping") == 1, "it is logged once"
    key.file(tmp_path)
    ksd.wait(lambda: "files changed, read again" in ksd.log(), "the complete file")
    check_change_published(ksd, bind, wanted)


def test_a_changed_secret_file_is_reloaded(
    make_bind: Callable[..., Bind], run: Run, wanted: Wanted, tmp_path: Path
) -> None:
    old, new = Key("ksd."), Key("ksd.")
    bind = make_bind(zones={"vm.": ""}, keys=[old])
    file = tmp_path / "secret"
    file.write_text(old.secret + "\n")
    ksd = run(bind, TSIG_KEY_NAME="ksd.", TSIG_SECRET_FILE=file)
    check_change_published(ksd, bind, wanted)
    file.write_text(new.secret)
    rotate(bind, old, new)
    check_change_published(ksd, bind, wanted)
    file.write_text("not base64!")
    ksd.wait(
        lambda: "cannot be used, keeping" in ksd.log() and "key ksd." in ksd.log(), "a warning about the broken file"
    )
    check_change_published(ksd, bind, wanted)
    assert "not base64!" not in ksd.log()


def test_a_separate_transfer_key_is_reloaded(
    make_bind: Callable[..., Bind], run: Run, wanted: Wanted, tmp_path: Path
) -> None:
    write, read, new = Key("write."), Key("read."), Key("read.")
    bind = make_bind(
        zones={"vm.": ""},
        keys=[write, read],
        zone_options='allow-transfer { key "read."; }; update-policy { grant "write." zonesub ANY; };',
    )
    file = read.file(tmp_path)
    ksd = run(bind, TSIG_KEY_FILE=write.file(tmp_path), TRANSFER_TSIG_KEY_FILE=file)
    check_change_published(ksd, bind, wanted)
    rotate(bind, read, new)
    ksd.wait_problem("primary", "read.", "BADSIG")
    new.file(tmp_path)
    check_change_published(ksd, bind, wanted)


def test_each_server_can_have_its_own_key(
    make_bind: Callable[..., Bind], run: Run, wanted: Wanted, tmp_path: Path
) -> None:
    one, two, new = Key("one."), Key("two."), Key("two.")
    first, second = make_bind(zones={"vm.": ""}, keys=[one]), make_bind(zones={"vm.": ""}, keys=[two])
    files = f"{one.file(tmp_path)}, {two.file(tmp_path)}"
    ksd = run(first, second, TSIG_KEY_FILE=files)
    check_change_published(ksd, first, wanted)
    first.kill()
    check_change_published(ksd, second, wanted)
    ksd.wait(lambda: any(line["key"] == "one." for line in ksd.events("update")), "its audit line")
    ksd.wait(lambda: any(line["key"] == "two." for line in ksd.events("update")), "its audit line")
    rotate(second, two, new)
    new.file(tmp_path)
    check_change_published(ksd, second, wanted)


@pytest.mark.parametrize("prefix", ["TSIG", "TRANSFER_TSIG"])
def test_the_number_of_key_files_is_one_or_that_of_servers(tmp_path: Path, prefix: str) -> None:
    files = [Key(f"k{i}.").file(tmp_path) for i in range(3)]
    settings = {"DNS_SERVER": "127.0.0.1:1, 127.0.0.1:2", "TSIG_KEY_FILE": str(files[0])}
    settings[f"{prefix}_KEY_FILE"] = ",".join(map(str, files))
    done = Command(tmp_path, settings)("plan", vmi=[])
    assert done.code == 2
    assert f"{prefix}_KEY_FILE names 3 files: one is needed, or one for each server" in done.err


def test_a_change_of_content_or_permission_is_detected(tmp_path: Path) -> None:
    """Another key of the same length with the same time, and changed file permissions, are detected, too."""
    old, new = Key("ksd."), Key("ksd.")
    file = old.file(tmp_path)
    source = keys.RotatingKey(f"key file {file}", lambda: keys.read_key_file(file), [file])
    first = source.latest()
    assert source.latest() is first
    assert not source.reject(first)
    stamp = file.stat()
    time.sleep(0.02)
    new.file(tmp_path)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert source.reject(first)
    assert source.latest() is not first
    assert source.latest().sign(bytes(12))[1] == keys.read_key_file(file).sign(bytes(12))[1]
