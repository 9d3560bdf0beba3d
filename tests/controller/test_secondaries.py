"""Secondaries of a bundled primary: which zones they have, how they hear of changes, and what they survive."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.controller.conftest import Run
from tests.kube import Kube
from tests.servers import Bind, Port, Reader, program
from tests.vmis import vmi

ADDRESS, OTHER = "10.1.0.9", "10.1.0.10"
NAME, POINTER = "net1.db.prod.vm.", "9.0.1.10.in-addr.arpa."
REVERSE = "1.10.in-addr.arpa."

MakeReader = Callable[..., Reader]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    done = subprocess.run([program("tsig-keygen"), "transfer"], capture_output=True, text=True, timeout=10, check=True)
    path = tmp_path / "transfer.key"
    path.write_text(done.stdout)
    return path


@pytest.fixture
def bind(make_bind: Callable[..., Bind], key: Path) -> Bind:
    """Return a bundled primary with a reverse zone, which readers may follow."""
    return make_bind(transfer_key=key, reverse_zones=(REVERSE,))


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
        "NOTIFY_SECONDARIES": ",".join(f"{reader.address}:{reader.port}" for reader in readers),
        "DRIFT_INTERVAL": "1h",
    }


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


def test_notify_is_believed_with_the_key_only(bind: Bind, make_reader: MakeReader, kube: Kube, run: Run) -> None:
    reader = make_reader(asking=False)
    # Signed with the key for updates, which a reader does not have.
    ksd = run(bind, kube, OWNERSHIP="zone", NOTIFY_SECONDARIES=f"{reader.address}:{reader.port}")
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": [ADDRESS]}))
    ksd.wait_answer(bind, NAME, "A", ADDRESS)
    ksd.wait(lambda: "NOTIFY" in reader.log().upper() or "BADKEY" in reader.log(), "the reader hears it")
    assert reader.status(NAME, "A") == "NXDOMAIN"


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
    for path in bind.directory.iterdir():
        if path.name not in {"log", bind.key_file.name}:
            path.unlink()
    bind._prepare()  # as the init container of a new pod
    bind.start()
    kube.put(vmi("db", "prod", {"net1": [OTHER]}))
    ksd.start()
    ksd.wait_answer(reader, NAME, "A", OTHER)


def test_a_reader_that_is_killed_serves_what_it_had(bind: Bind, make_reader: MakeReader, key: Path) -> None:
    reader = make_reader()
    bind.nsupdate(f"add {NAME} 60 A {ADDRESS}")
    before = bind.serial()
    while reader.serial() != before:
        pass
    bind.stop()
    reader.kill()
    reader.start()
    assert reader.query(NAME, "A") == [ADDRESS]


def test_the_catalog_is_for_those_with_the_key(bind: Bind, key: Path) -> None:
    catalog = "catalog.ksd-ddns.invalid."
    assert bind.status(catalog, "SOA") == "REFUSED"
    assert bind.status(catalog, "SOA", key=True) == "REFUSED"
    listed = bind.dig("+noall", "+answer", catalog, "AXFR", key=key)
    assert {line.split()[-1] for line in listed.splitlines() if " PTR" in line.replace("\t", " ")} == {"vm.", REVERSE}
