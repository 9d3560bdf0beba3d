"""Secondaries of a bundled primary: which zones they have, how they hear of changes, and what they survive."""

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
from harness.servers import Bind, Key, Port, Reader
from harness.vmis import vmi
from ksd_ddns import bootstrap
from tests.controller.conftest import Run
from tests.controller.running import WAIT_SECONDS

ADDRESS, OTHER = "10.1.0.9", "10.1.0.10"
NAME, POINTER = "net1.db.prod.vm.", "9.0.1.10.in-addr.arpa."
REVERSE = "1.10.in-addr.arpa."

MakeReader = Callable[..., Reader]


KEY = Key("transfer.")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return KEY.file(tmp_path)


@pytest.fixture
def bind(make_bind: Callable[..., Bind], key: Path) -> Bind:
    """Return a bundled primary with a reverse zone, which readers may follow.

    It has another address than that from which NOTIFY comes, as a primary behind a Service has.
    """
    return make_bind(transfer_key=key, reverse_zones=(REVERSE,), address="::1")


@pytest.fixture
def make_reader(bind: Bind) -> Iterator[MakeReader]:
    """Yield a factory of readers that follow `bind`."""
    with ExitStack() as stack:

        def make(*, asking: bool = True) -> Reader:
            return stack.enter_context(Reader(bind, asking=asking))

        yield make


def settings(key: Path, *readers: Reader) -> dict[str, object]:
    """Return what the controller beside the primary is given."""
    return {
        "OWNERSHIP": "zone",
        "REVERSE_ZONES": REVERSE,
        "TRANSFER_TSIG_KEY_FILE": key,
        "NOTIFY_SECONDARIES": ",".join(f"127.0.0.1:{reader.port}" for reader in readers),
        "DRIFT_INTERVAL": "1h",
    }


def start_anew(bind: Bind) -> None:
    """Start it as a new pod does: nothing of the old one is left but the key, which its controller has."""
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


def test_readers_learn_of_zones_by_the_catalog_and_of_changes_by_notify(
    bind: Bind, make_reader: MakeReader, key: Path, kube: Kube, run: Run
) -> None:
    readers = [make_reader(asking=False) for _ in range(3)]
    kube.put(vmi("db", "prod", {"net1": [ADDRESS]}))
    ksd = run(bind, kube, **settings(key, *readers))
    for reader in readers:
        ksd.wait_answer(reader, NAME, "A", ADDRESS)
        ksd.wait_answer(reader, POINTER, "PTR", NAME)
    kube.put(vmi("db", "prod", {"net1": [OTHER]}))
    for reader in readers:
        ksd.wait_answer(reader, NAME, "A", OTHER)
        ksd.wait(lambda reader=reader: not reader.query(POINTER, "PTR"), "the pointer goes")  # type: ignore[misc]
        assert "TSIG 'transfer'" in reader.log()
        assert "refused notify" not in reader.log()
    kube.delete("prod", "db")
    for reader in readers:
        ksd.wait(lambda reader=reader: reader.status(NAME, "A") == "NXDOMAIN", "the name goes")  # type: ignore[misc]


def test_who_hears_nothing_asks(bind: Bind, make_reader: MakeReader, key: Path, kube: Kube, run: Run) -> None:
    told, untold = make_reader(asking=False), make_reader()
    # One of the names is not found, one address is nobody's: the others hear it all the same.
    nobody = Port.reserve()
    known = settings(key, told)
    known["NOTIFY_SECONDARIES"] = f"no.such.name.invalid:53,127.0.0.1:{nobody.number},{known['NOTIFY_SECONDARIES']}"
    ksd = run(bind, kube, **known)
    ksd.wait_ready()
    nobody.release()
    kube.put(vmi("db", "prod", {"net1": [ADDRESS]}))
    for reader in (told, untold):
        ksd.wait_answer(reader, NAME, "A", ADDRESS)


def test_notify_is_believed_with_the_key_only(make_reader: MakeReader) -> None:
    reader = make_reader(asking=False)
    message = dns.message.make_query("vm.", "SOA")
    message.flags = dns.opcode.to_flags(dns.opcode.NOTIFY) | dns.flags.AA

    def rcode() -> dns.rcode.Rcode:
        return dns.query.udp(message, reader.address, port=reader.port, timeout=5).rcode()

    assert rcode() == dns.rcode.REFUSED
    message.use_tsig(dns.tsig.Key(KEY.name, KEY.secret, KEY.algorithm))
    assert rcode() == dns.rcode.NOERROR


def test_readers_follow_a_primary_that_lost_everything(
    bind: Bind, make_reader: MakeReader, key: Path, kube: Kube, run: Run
) -> None:
    reader = make_reader()
    kube.put(vmi("db", "prod", {"net1": [ADDRESS]}))
    ksd = run(bind, kube, **settings(key, reader))
    ksd.wait_answer(reader, NAME, "A", ADDRESS)
    ksd.kill()
    bind.kill()
    assert reader.query(NAME, "A") == [ADDRESS]
    start_anew(bind)
    kube.put(vmi("db", "prod", {"net1": [OTHER]}))
    ksd.start()
    ksd.wait_answer(reader, NAME, "A", OTHER)


def test_readers_follow_a_primary_that_has_other_zones(bind: Bind, make_reader: MakeReader) -> None:
    reader = make_reader()
    bind.kill()
    bind.base, bind.reverse_zones = "vm.example.", ()
    start_anew(bind)
    wait(lambda: reader.status("vm.example.", "SOA") == "NOERROR")
    wait(lambda: reader.status("vm.", "SOA") == "REFUSED")
    assert reader.status(REVERSE, "SOA") == "REFUSED"


def test_a_reader_that_is_killed_serves_what_it_had(bind: Bind, make_reader: MakeReader, key: Path) -> None:
    reader = make_reader()
    bind.nsupdate(f"add {NAME} 60 A {ADDRESS}")
    wait(lambda: reader.serial() == bind.serial())
    bind.stop()
    reader.kill()
    reader.start()
    assert reader.query(NAME, "A") == [ADDRESS]


def test_who_has_another_key_waits_and_says_so(bind: Bind, tmp_path: Path) -> None:
    other = Key(KEY.name).file(tmp_path)
    arguments = ["--dir", tmp_path / "zones", "--secondary-of", f"[::1]:{bind.port}", "--transfer-key", other]
    command = [sys.executable, "-m", "ksd_ddns", "bootstrap", "--server", "bind9", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert any("BADSIG" in line for line in waiting.stdout)
        assert waiting.poll() is None
        waiting.kill()


def test_the_catalog_is_for_those_with_the_key(bind: Bind, key: Path) -> None:
    catalog = "catalog.ksd-ddns.invalid."
    assert bind.status(catalog, "SOA") == "REFUSED"
    assert bind.status(catalog, "SOA", key=True) == "REFUSED"
    listed = bind.dig("+noall", "+answer", catalog, "AXFR", key=key)
    assert {line.split()[-1] for line in listed.splitlines() if " PTR" in line.replace("\t", " ")} == {"vm.", REVERSE}
