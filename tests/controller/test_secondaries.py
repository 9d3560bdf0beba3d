# SPDX-License-Identifier: Apache-2.0
"""Secondaries of a bundled primary: their zones, NOTIFY and polling, and failures."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import pytest

from harness.kube import Kube
from harness.servers import Bind, Key, Port, Secondary
from harness.vmis import vmi
from ksd_ddns import bootstrap
from tests.controller.conftest import Run
from tests.controller.running import WAIT_SECONDS

ADDRESS, OTHER = "10.1.0.9", "10.1.0.10"
NAME, POINTER = "net1.db.prod.vm.", "9.0.1.10.in-addr.arpa."
REVERSE = "1.10.in-addr.arpa."

MakeSecondary = Callable[..., Secondary]


KEY = Key("transfer.")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return KEY.file(tmp_path)


@pytest.fixture
def bind(make_bind: Callable[..., Bind], key: Path) -> Bind:
    """Return a bundled primary with a reverse zone and a transfer key.

    NOTIFY comes from another address than its own, as with a primary behind a Service.
    """
    return make_bind(transfer_key=key, reverse_zones=(REVERSE,), address="::1")


@pytest.fixture
def make_secondary(bind: Bind) -> Iterator[MakeSecondary]:
    """Yield a factory of secondaries that follow `bind`."""
    with ExitStack() as stack:

        def make(*, polls: bool = True) -> Secondary:
            return stack.enter_context(Secondary(bind, polls=polls))

        yield make


def settings(key: Path, *secondaries: Secondary) -> dict[str, object]:
    """Return the settings of the controller next to the primary."""
    return {
        "OWNERSHIP": "zone",
        "REVERSE_ZONES": REVERSE,
        "TRANSFER_TSIG_KEY_FILE": key,
        "NOTIFY_SECONDARIES": ",".join(f"127.0.0.1:{secondary.port}" for secondary in secondaries),
        "DRIFT_INTERVAL": "1h",
    }


def restart_without_data(bind: Bind) -> None:
    """Start it as in a new pod: without the old data, but with the key that its controller has."""
    for path in bind.directory.iterdir():
        if path.name not in {"log", bind.key_file.name}:
            path.unlink()
    bootstrap.write(bind.bundled())
    bind.start()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_secondaries_learn_zones_from_the_catalog_and_changes_by_notify(
    bind: Bind, make_secondary: MakeSecondary, key: Path, kube: Kube, run: Run
) -> None:
    secondaries = [make_secondary(polls=False) for _ in range(3)]
    kube.put(vmi("db", "prod", {"net1": [ADDRESS]}))
    ksd = run(bind, kube, **settings(key, *secondaries))
    for secondary in secondaries:
        ksd.wait_answer(secondary, NAME, "A", ADDRESS)
        ksd.wait_answer(secondary, POINTER, "PTR", NAME)
    kube.put(vmi("db", "prod", {"net1": [OTHER]}))
    for secondary in secondaries:
        ksd.wait_answer(secondary, NAME, "A", OTHER)
        ksd.wait(lambda secondary=secondary: not secondary.query(POINTER, "PTR"), "the pointer goes")  # type: ignore[misc]
        assert "TSIG 'transfer'" in secondary.log()
        assert "refused notify" not in secondary.log()
    kube.delete("prod", "db")
    for secondary in secondaries:
        ksd.wait(lambda secondary=secondary: secondary.status(NAME, "A") == "NXDOMAIN", "the name goes")  # type: ignore[misc]


def test_a_secondary_without_notify_polls(
    bind: Bind, make_secondary: MakeSecondary, key: Path, kube: Kube, run: Run
) -> None:
    notified, polling = make_secondary(polls=False), make_secondary()
    # One name does not resolve, one address is unused: the other secondaries still get NOTIFY.
    unused = Port.reserve()
    known = settings(key, notified)
    known["NOTIFY_SECONDARIES"] = f"no.such.name.invalid:53,127.0.0.1:{unused.number},{known['NOTIFY_SECONDARIES']}"
    ksd = run(bind, kube, **known)
    ksd.wait_ready()
    unused.release()
    kube.put(vmi("db", "prod", {"net1": [ADDRESS]}))
    for secondary in (notified, polling):
        ksd.wait_answer(secondary, NAME, "A", ADDRESS)


def test_only_a_signed_notify_is_accepted(make_secondary: MakeSecondary) -> None:
    secondary = make_secondary(polls=False)
    message = dns.message.make_query("vm.", "SOA")
    message.flags = dns.opcode.to_flags(dns.opcode.NOTIFY) | dns.flags.AA

    def rcode() -> dns.rcode.Rcode:
        return dns.query.udp(message, secondary.address, port=secondary.port, timeout=5).rcode()

    assert rcode() == dns.rcode.REFUSED
    message.use_tsig(dns.tsig.Key(KEY.name, KEY.secret, KEY.algorithm))
    assert rcode() == dns.rcode.NOERROR


def test_secondaries_follow_a_primary_that_lost_everything(
    bind: Bind, make_secondary: MakeSecondary, key: Path, kube: Kube, run: Run
) -> None:
    secondary = make_secondary()
    kube.put(vmi("db", "prod", {"net1": [ADDRESS]}))
    ksd = run(bind, kube, **settings(key, secondary))
    ksd.wait_answer(secondary, NAME, "A", ADDRESS)
    ksd.kill()
    bind.kill()
    assert secondary.query(NAME, "A") == [ADDRESS]
    restart_without_data(bind)
    kube.put(vmi("db", "prod", {"net1": [OTHER]}))
    ksd.start()
    ksd.wait_answer(secondary, NAME, "A", OTHER)


def test_secondaries_follow_a_primary_that_has_other_zones(bind: Bind, make_secondary: MakeSecondary) -> None:
    secondary = make_secondary()
    bind.kill()
    bind.base, bind.reverse_zones = "vm.example.", ()
    restart_without_data(bind)
    wait(lambda: secondary.status("vm.example.", "SOA") == "NOERROR")
    wait(lambda: secondary.status("vm.", "SOA") == "REFUSED")
    assert secondary.status(REVERSE, "SOA") == "REFUSED"


def test_a_killed_secondary_serves_its_last_copy(bind: Bind, make_secondary: MakeSecondary, key: Path) -> None:
    secondary = make_secondary()
    bind.nsupdate(f"add {NAME} 60 A {ADDRESS}")
    wait(lambda: secondary.serial() == bind.serial())
    bind.stop()
    secondary.kill()
    secondary.start()
    assert secondary.query(NAME, "A") == [ADDRESS]


def test_a_secondary_with_a_wrong_key_logs_the_error(bind: Bind, tmp_path: Path) -> None:
    other = Key(KEY.name).file(tmp_path)
    arguments = ["--dir", tmp_path / "zones", "--secondary-of", f"[::1]:{bind.port}", "--transfer-key", other]
    command = [sys.executable, "-m", "ksd_ddns", "bootstrap", "--server", "bind9", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert any("BADSIG" in line for line in waiting.stdout)
        assert waiting.poll() is None
        waiting.kill()


def test_the_catalog_requires_the_key(bind: Bind, key: Path) -> None:
    catalog = "catalog.ksd-ddns.invalid."
    assert bind.status(catalog, "SOA") == "REFUSED"
    assert bind.status(catalog, "SOA", key=True) == "REFUSED"
    listed = bind.dig("+noall", "+answer", catalog, "AXFR", key=key)
    assert {line.split()[-1] for line in listed.splitlines() if " PTR" in line.replace("\t", " ")} == {"vm.", REVERSE}
