# SPDX-License-Identifier: Apache-2.0
"""Failures of the primary: readiness reports the cause, and the zone recovers without help."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.hostile import Proxy, cut, is_update, only, swallow
from harness.kube import Kube
from harness.servers import Bind, Key, Knot, Server
from harness.vmis import vmi
from ksd_ddns import bootstrap
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import Running, addresses, answer, others

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})
NAME = "net1.db.prod.vm."
BOTH = {"10.1.0.9", "fd00::9"}

QUICK = Timing(zone=ZoneTiming(longest_pause=0.5, first_retry=0.4))


def wait_published(ksd: Running, primary: Server, zone: str | None = None) -> None:
    """Wait until the VMI is published and the controller is ready."""
    ksd.wait(lambda: addresses(primary, zone) == {"db.prod.vm.": BOTH, NAME: BOTH}, "the VMI")
    ksd.wait_ready()


# Down, and back in another state


def test_a_controller_waits_for_the_primary(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(DB)
    primary.stop()
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_problem("primary", f"127.0.0.1:{primary.port}", "cannot be reached", "DNS_SERVER")
    assert "sync" in ksd.problems()
    kube.put(vmi("gone", "prod"))
    kube.delete("prod", "gone")
    primary.start()
    wait_published(ksd, primary)


def test_changes_are_applied_after_the_primary_was_killed(primary: Server, kube: Kube, run: Run) -> None:
    kube.put(DB)
    kube.put(vmi("old", "prod"))
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    for number in range(3):
        primary.kill()
        ksd.wait_problem("primary", "cannot be reached")
        kube.put(vmi(f"new-{number}", "prod"))
        kube.delete("prod", "old" if number == 0 else f"new-{number - 1}")
        primary.start()
        ksd.wait_answer(primary, f"new-{number}.prod.vm.", "A", "10.0.0.1")
        ksd.wait_ready()
    kube.delete("prod", "new-2")
    wait_published(ksd, primary)


@contextmanager
def away(primary: Server) -> Iterator[Path]:
    """Kill the primary during the block; yield a copy of its earlier directory."""
    backup = primary.directory.with_name(f"{primary.directory.name}-backup")
    primary.kill()
    _copy(primary.directory, backup)
    try:
        yield backup
    finally:
        shutil.rmtree(backup)
        primary.start()


def restore(primary: Server, backup: Path) -> None:
    """Restore the files of the primary, except its log."""
    for path in primary.directory.iterdir():
        if path != primary.log_file:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _copy(backup, primary.directory)


def _copy(directory: Path, to: Path) -> None:
    shutil.copytree(directory, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("log", "*.sock"))


def test_a_primary_that_lost_its_zone_is_filled_again(primary: Server, kube: Kube, run: Run) -> None:
    """With a serial higher than any before, as the bundled primary starts after it lost its volume."""
    kube.put(DB)
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    key = primary.key_file.read_text()
    serial = primary.serial()
    while bootstrap.new_serial() <= serial + 1:
        time.sleep(0.1)
    with away(primary):
        for path in primary.directory.iterdir():
            if path.name not in (bootstrap.KEY_FILE, "log"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        bootstrap.write(primary.bundled())
    assert primary.key_file.read_text() == key
    wait_published(ksd, primary)
    assert primary.serial() > serial


def test_a_primary_restored_from_a_backup_is_corrected(primary: Server, kube: Kube, run: Run) -> None:
    """Its serial is lower: later additions are missing, and later deletions are back."""
    kube.put(vmi("old", "prod"))
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    primary.stop()
    backup = primary.directory.with_name(f"{primary.directory.name}-old")
    _copy(primary.directory, backup)
    primary.start()
    try:
        kube.put(DB)
        kube.delete("prod", "old")
        wait_published(ksd, primary)
        for number in range(5):
            kube.put(vmi("db", "prod", {"net1": [f"10.1.0.{number}"]}))
            ksd.wait_answer(primary, NAME, "A", f"10.1.0.{number}")
        kube.put(DB)
        wait_published(ksd, primary)
        serial = primary.serial()
        primary.kill()
        restore(primary, backup)
        primary.start()
        assert primary.serial() < serial
        wait_published(ksd, primary)
    finally:
        shutil.rmtree(backup)


# Alive, but unwilling


def company(make: Callable[..., Server], *keys: Key, **settings: object) -> Server:
    """Return a company's primary of zone vm."""
    return make(zones={"vm.": "www A 192.0.2.1"}, keys=keys, **settings)


@pytest.mark.parametrize("server", ["bind9", "knot"])
def test_changes_to_a_frozen_zone_are_applied_after_the_thaw(
    make_bind: Callable[..., Bind], make_knot: Callable[..., Knot], kube: Kube, run: Run, server: str
) -> None:
    primary = company(make_bind if server == "bind9" else make_knot)
    kube.put(DB)
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    thaw = _freeze(primary)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.10", "fd00::9"]}))
    kube.put(vmi("web", "prod"))
    ksd.wait_problem("primary", f"127.0.0.1:{primary.port}")
    assert answer(primary, NAME, "A") == ["10.1.0.9"]
    time.sleep(1)
    thaw()
    ksd.wait_answer(primary, NAME, "A", "10.1.0.10")
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
    ksd.wait_ready()


def _freeze(primary: Server) -> Callable[[], object]:
    if isinstance(primary, Bind):
        primary.rndc("freeze", "vm.")
        return lambda: primary.rndc("thaw", "vm.")
    assert isinstance(primary, Knot)
    primary.knotc("zone-freeze", "vm.")
    return lambda: primary.knotc("zone-thaw", "vm.")


def _with_keys(primary: Server, *keys: Key) -> None:
    """Replace the keys of a company's primary, without a restart."""
    text = primary.configuration.read_text()
    for key in primary.keys:
        text = text.replace(key.secret, "@@")
    secrets = iter([key.secret for key in keys])
    while "@@" in text:
        text = text.replace("@@", next(secrets), 1)
    primary.configuration.write_text(text)
    primary.keys = keys
    if isinstance(primary, Bind):
        primary.rndc("reconfig")
    else:
        primary.reload()


def test_a_wrong_key_on_the_server_is_reported_until_it_is_corrected(
    make_either: Callable[..., Server], kube: Kube, run: Run
) -> None:
    key, other = Key(), Key()
    primary = make_either(zones={"vm.": ""}, keys=(key,), bind={}, knot={})
    kube.put(DB)
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    _with_keys(primary, other)
    kube.put(vmi("web", "prod"))
    text = ksd.wait_problem("primary", key.name)
    assert key.secret not in text + ksd.log()
    time.sleep(0.5)
    assert answer(primary, "web.prod.vm.", "A") == []
    _with_keys(primary, key)
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
    ksd.wait_ready()


def test_a_wrong_key_file_is_reloaded_once_corrected(make_either: Callable[..., Server], kube: Kube, run: Run) -> None:
    key, other = Key(), Key()
    primary = make_either(zones={"vm.": ""}, keys=(key,), bind={}, knot={})
    kube.put(DB)
    _with_keys(primary, other)
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_problem("primary", key.name)
    _with_keys(primary, key)
    wait_published(ksd, primary)


def test_a_key_replaced_on_both_sides_is_reloaded(make_either: Callable[..., Server], kube: Kube, run: Run) -> None:
    key, other = Key(), Key()
    primary = make_either(zones={"vm.": ""}, keys=(key,), bind={}, knot={})
    kube.put(DB)
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    _with_keys(primary, other)
    primary.key_file.write_text(other.bind())
    kube.put(vmi("web", "prod"))
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
    ksd.wait_ready()


def test_a_revoked_permission_is_reported_until_it_is_granted_again(
    make_bind: Callable[..., Bind], kube: Kube, run: Run
) -> None:
    """The zone is still readable: only the next update shows that the permission is gone."""
    key = Key()
    primary = make_bind(zones={"vm.": ""}, keys=(key,))
    kube.put(DB)
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    before = primary.configuration.read_text()
    primary.configuration.write_text(before.replace("zonesub ANY", "name nobody.vm. ANY"))
    primary.rndc("reconfig")
    kube.put(vmi("web", "prod"))
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_problem("primary", "REFUSED", "permission")
    primary.configuration.write_text(before)
    primary.rndc("reconfig")
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
    ksd.wait_answer(primary, NAME, "A", "10.1.0.10")
    ksd.wait_ready()
    assert ksd.metrics()["names{refused}"] == 0


def test_a_permission_that_is_granted_later_is_used(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    """With more names than are sent one by one first: all of them are published."""
    key = Key()
    primary = make_bind(zones={"vm.": ""}, keys=(key,))
    granted = primary.configuration.read_text()
    primary.configuration.write_text(granted.replace("zonesub ANY", "name nobody.vm. ANY"))
    primary.rndc("reconfig")
    for number in range(50):
        kube.put(vmi(f"db-{number}", "prod"))
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_problem("primary", "REFUSED", "update-policy", key.name)
    primary.configuration.write_text(granted)
    primary.rndc("reconfig")
    ksd.wait(lambda: len(addresses(primary)) == 100, "all names")
    ksd.wait_ready()
    assert ksd.metrics()["names{refused}"] == 0


# The way there


def test_a_slow_network_only_delays_changes(primary: Server, kube: Kube, run: Run) -> None:
    def slowly(message: bytes) -> Iterable[bytes]:
        time.sleep(0.1)
        return [message]

    with Proxy(primary, response=slowly) as proxy:
        kube.put(DB)
        ksd = run(primary, kube, through=proxy.address)
        wait_published(ksd, primary)
        for number in range(20):
            kube.put(vmi(f"vm-{number}", "prod"))
        ksd.wait(lambda: len(addresses(primary)) == 42, "all of them")
        assert ksd.ready


@pytest.mark.parametrize("side", ["request", "response"])
def test_a_half_open_connection_is_replaced(primary: Server, kube: Kube, run: Run, side: str) -> None:
    """No data arrives, and no error either."""
    with Proxy(primary) as proxy:
        kube.put(DB)
        ksd = run(primary, kube, through=proxy.address, timing=QUICK, DNS_TIMEOUT="300ms")
        wait_published(ksd, primary)
        hook = getattr(proxy, side)
        setattr(proxy, side, swallow)
        kube.put(vmi("web", "prod"))
        kube.put(vmi("db", "prod", {"net1": ["10.1.0.10"]}))
        ksd.wait_problem("primary", "did not answer within 0.3 s")
        kube.put(vmi("more", "prod"))
        setattr(proxy, side, hook)
        ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
        ksd.wait_answer(primary, "more.prod.vm.", "A", "10.0.0.1")
        ksd.wait_answer(primary, NAME, "A", "10.1.0.10")
        ksd.wait_ready()


def test_an_unanswered_update_is_looked_up(primary: Server, kube: Kube, run: Run) -> None:
    """The sent update is in the zone: it is found there and not sent again."""
    with Proxy(primary, response=only(is_update, cut())) as proxy:
        kube.put(DB)
        ksd = run(primary, kube, through=proxy.address, timing=QUICK)
        wait_published(ksd, primary)
        serial = primary.serial()
        kube.put(vmi("web", "prod"))
        ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
        ksd.wait_ready()
        assert primary.serial() == serial + 1
        assert ksd.metrics()["update_outcomes_total{unknown}"] == 4


def test_without_ixfr_the_zone_is_not_read_for_every_change(
    make_bind: Callable[..., Bind], kube: Kube, run: Run
) -> None:
    filler = "\n".join(f"host-{number} A 192.0.2.{number % 250}" for number in range(10_000))
    primary = make_bind(zones={"vm.": filler}, options="provide-ixfr no;")
    kube.put(DB)
    ksd = run(primary, kube, DRIFT_INTERVAL="500ms")
    ksd.wait_ready()
    before = ksd.metrics()["transfers_total{axfr,success}"]
    began = time.monotonic()
    sent = 0
    while time.monotonic() < began + 4:
        kube.put(vmi(f"vm-{sent}", "prod"))
        ksd.wait_answer(primary, f"vm-{sent}.prod.vm.", "A", "10.0.0.1", seconds=1.5)
        sent += 1
    transfers = ksd.metrics()["transfers_total{axfr,success}"] - before
    print(f"{sent} changes, {transfers} transfers in {time.monotonic() - began:.1f} s")
    # Their interval depends on the duration of a read: the tables of the reconciler check it with a simulated clock.
    assert sent > 20
    assert transfers <= sent / 4
    assert ksd.metrics()["transfers_total{ixfr,success}"] == 0
    # Foreign changes are found.
    primary.nsupdate(f"update delete {NAME} A")
    ksd.wait_answer(primary, NAME, "A", "10.1.0.9", seconds=40)


# Drift


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_foreign_changes_to_our_names_are_reverted(
    make_either: Callable[..., Server], kube: Kube, run: Run, ownership: str
) -> None:
    primary = make_either(zones={"vm.": ""}, bind={}, knot={})
    kube.put(DB)
    ksd = run(primary, kube, OWNERSHIP=ownership, DRIFT_INTERVAL="500ms")
    ksd.wait_ready()
    right = primary.axfr(soa=False)
    for script in (
        f"update delete {NAME} A",
        f"update add {NAME} 60 A 192.0.2.66",
        f"update delete {NAME} AAAA\nupdate add {NAME} 60 AAAA fd00::bad",
        # In two messages: with one, Knot 3.5 and later changes nothing.
        f"update delete {NAME} A\nsend\nupdate add {NAME} 7200 A 10.1.0.9\nsend",
        f"update delete {NAME}\nupdate delete db.prod.vm.",
    ):
        serial = primary.serial() + max(1, script.count("send"))
        primary.nsupdate(script)
        ksd.wait(lambda: primary.serial() > serial, f"noticed: {script}", seconds=10)  # noqa: B023 at once
        ksd.wait(lambda: primary.axfr(soa=False) == right, f"put back: {script}", seconds=10)
    primary.nsupdate("update add db.prod.vm. 60 SSHFP 4 2 " + "ab" * 32)
    time.sleep(1)
    assert {record.type for record in primary.axfr(soa=False) - right} == {"SSHFP"}
    kube.delete("prod", "db")
    ksd.wait(lambda: not addresses(primary), "the VMI is gone")
    assert any(record.type == "SSHFP" for record in primary.axfr())


def test_a_conflict_is_published_as_soon_as_the_name_is_free(primary: Server, kube: Kube, run: Run) -> None:
    primary.nsupdate(f"update add {NAME} 300 A 192.0.2.80")
    foreign = others(primary)
    kube.put(DB)
    ksd = run(primary, kube, DRIFT_INTERVAL="500ms")
    ksd.wait_ready()
    assert ksd.metrics()["names{conflict}"] == 1
    assert NAME in ksd.get("/")[1]
    assert answer(primary, "db.prod.vm.", "A") == ["10.1.0.9"]
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.10"]}))
    ksd.wait_answer(primary, "db.prod.vm.", "A", "10.1.0.10")
    assert others(primary) == foreign
    assert ksd.metrics()["names{conflict}"] == 1
    primary.nsupdate(f"update delete {NAME} A")
    ksd.wait_answer(primary, NAME, "A", "10.1.0.10")
    ksd.wait(lambda: ksd.metrics()["names{conflict}"] == 0, "no conflict")


# Refusals


def test_a_refused_name_is_retried_and_delays_no_other(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    """One refused name does not make the controller unready; metrics count it."""
    primary = make_bind(zones={"vm.": ""})
    kube.put(vmi("odd", "prod", {"net_1": ["10.1.0.1"]}))
    kube.put(DB)
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_ready()
    assert answer(primary, NAME, "A") == ["10.1.0.9"]
    assert answer(primary, "odd.prod.vm.", "A") == ["10.1.0.1"]
    ksd.wait(lambda: ksd.metrics()["update_outcomes_total{refused}"] > 2, "tried again")
    assert ksd.ready
    assert ksd.metrics()["names{refused}"] == 1
    assert "net_1.odd.prod.vm." in ksd.get("/")[1]
    text = primary.configuration.read_text()
    primary.configuration.write_text(text.replace("recursion no;", "recursion no; check-names primary ignore;"))
    primary.rndc("reconfig")
    ksd.wait_answer(primary, "net_1.odd.prod.vm.", "A", "10.1.0.1")
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 0, "nothing is refused")


def test_a_refused_name_follows_its_vmi(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    primary = make_bind(zones={"vm.": ""})
    kube.put(vmi("odd", "prod", {"net_1": ["10.1.0.1"]}))
    kube.put(vmi("odder", "prod", {"net_1": ["10.1.0.2"]}))
    ksd = run(primary, kube, timing=Timing(zone=ZoneTiming(longest_pause=0.5, first_retry=600.0)))
    ksd.wait_ready()
    assert ksd.metrics()["names{refused}"] == 2
    kube.put(vmi("odd", "prod", {"net1": ["10.1.0.1"]}))
    kube.delete("prod", "odder")
    ksd.wait_answer(primary, "net1.odd.prod.vm.", "A", "10.1.0.1")
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 0, "nothing is refused")
    assert ksd.metrics()["names{pending}"] == 0


def test_a_silently_dropped_update_is_reported(make_bind: Callable[..., Bind], kube: Kube, run: Run) -> None:
    """NOERROR is no proof: a policy that allows one address per name still acknowledges a second one."""
    key = Key()
    policy = f'update-policy {{ grant "{key.name}" zonesub A(1) AAAA TXT; }}; allow-transfer {{ key "{key.name}"; }};'
    primary = make_bind(zones={"vm.": ""}, keys=(key,), zone_options=policy)
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9", "10.1.0.10"]}))
    kube.put(vmi("web", "prod"))
    ksd = run(primary, kube, timing=QUICK)
    ksd.wait_answer(primary, "web.prod.vm.", "A", "10.0.0.1")
    ksd.wait(lambda: ksd.metrics()["names{refused}"] == 2, "it is noticed, of the interface and of the default record")
    assert "update-policy" in ksd.get("/")[1]
    since = ksd.metrics()["update_outcomes_total{accepted}"]
    time.sleep(1)
    assert ksd.metrics()["update_outcomes_total{accepted}"] - since < 8  # no loop


# The cap


def twenty() -> list[str]:
    return [f"vm-{number}" for number in range(20)]


def test_a_list_that_lost_most_vmis_deletes_nothing(bind: Bind, kube: Kube, run: Run) -> None:
    kube.load(vmi(name, "prod", {"net1": ["10.1.0.1"]}) for name in twenty())
    ksd = run(bind, kube)
    ksd.wait_ready()
    kube.wait_watches()
    kube.stop()
    for name in twenty()[5:]:
        kube.delete("prod", name)
    kube.put(vmi("new", "prod"))
    kube.compact()
    kube.start()
    ksd.wait_answer(bind, "new.prod.vm.", "A", "10.0.0.1")  # additions are sent all the same
    ksd.wait_problem(
        "deletions", "refusing to delete 30 of 40 owned names (30 of 40 in namespace prod)", "apply --force"
    )
    assert ksd.metrics()["names{blocked}"] == 30
    assert len(addresses(bind)) == 42
    kube.delete("prod", "vm-0")  # seen by the watch
    ksd.wait_answer(bind, "vm-0.prod.vm.", "A")
    kube.put(vmi("vm-10", "prod", {"net1": ["10.1.0.2"]}))  # it is there again
    ksd.wait_answer(bind, "net1.vm-10.prod.vm.", "A", "10.1.0.2")
    ksd.wait(lambda: ksd.metrics()["names{blocked}"] == 28, "two names less are blocked")
    assert "refusing to delete 28 of 40 owned names:" in ksd.wait_problem("deletions", "refusing to delete 28")
    kube.delete("prod", "vm-10")
    ksd.wait_answer(bind, "vm-10.prod.vm.", "A")
    assert len(addresses(bind)) == 38
    ksd.stop()
    ksd.start()
    ksd.wait_problem("deletions", "refusing to delete 28")
    assert len(addresses(bind)) == 38
    ksd.stop()
    ksd.settings["MAX_DELETE_PERCENT"] = "100"
    ksd.start()
    ksd.wait_ready()
    assert len(addresses(bind)) == 10


def test_a_complete_list_clears_the_problem(bind: Bind, kube: Kube, run: Run) -> None:
    kube.load(vmi(name, "prod") for name in twenty())
    ksd = run(bind, kube)
    ksd.wait_ready()
    ksd.stop()
    for name in twenty()[5:]:
        kube.delete("prod", name)
    ksd.start()
    ksd.wait_problem("deletions", "refusing to delete 30")
    kube.load(vmi(name, "prod") for name in twenty())
    ksd.wait_ready()
    assert len(addresses(bind)) == 40


def test_deletions_seen_by_the_watch_are_not_limited(bind: Bind, kube: Kube, run: Run) -> None:
    kube.load(vmi(name, "prod") for name in twenty())
    ksd = run(bind, kube, timing=QUICK)
    ksd.wait_ready()
    bind.kill()
    for name in twenty()[5:]:
        kube.delete("prod", name)
    kube.wait_delivered()
    kube.wait_watches()
    kube.fail_watches(410)
    kube.wait_requests(2, verb="list", resource="virtualmachineinstances")
    ksd.wait_problem("primary")
    bind.start()
    ksd.wait(lambda: len(addresses(bind)) == 10, "they go")
    ksd.wait_ready()


def test_upsert_only_never_deletes(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(DB)
    ksd = run(bind, kube, POLICY="upsert-only")
    ksd.wait_ready()
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.10", "fd00::9"]}))
    ksd.wait_answer(bind, NAME, "A", "10.1.0.10")
    kube.delete("prod", "db")
    kube.put(vmi("web", "prod"))
    ksd.wait_answer(bind, "web.prod.vm.", "A", "10.0.0.1")
    assert answer(bind, NAME, "A") == ["10.1.0.10"]
    assert ksd.ready


def test_two_clusters_share_a_zone(primary: Server, make_kube: Callable[..., Kube], run: Run) -> None:
    one, other = make_kube(), make_kube()
    one.put(DB)
    other.put(vmi("web", "prod"))
    other.put(vmi("db", "prod", {"net1": ["10.2.0.9"]}))
    first = run(primary, one, OWNER_ID="", DRIFT_INTERVAL="500ms")
    first.wait_ready()
    second = run(primary, other, OWNER_ID="", DRIFT_INTERVAL="500ms")
    second.wait_ready()
    assert second.metrics()["names{conflict}"] == 2
    assert set(addresses(primary)) == {"db.prod.vm.", NAME, "web.prod.vm.", "nic1.web.prod.vm."}
    one.delete("prod", "db")
    second.wait_answer(primary, NAME, "A", "10.2.0.9")
    one.put(DB)
    time.sleep(1)
    assert answer(primary, NAME, "A") == ["10.2.0.9"]
