# SPDX-License-Identifier: Apache-2.0
"""Updates that a primary refuses, drops, fails or never answers, and the zone afterwards."""

import base64
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from harness import hostile
from harness.hostile import Proxy, is_update, only
from harness.servers import Bind, Key, Server
from harness.vmis import vmi
from tests.e2e.conftest import Ksd

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})
TRANSFER = 'allow-transfer { key "ksd-ddns."; };'


def fleet(namespaces: Iterable[str], *, each: int = 5) -> list[dict[str, Any]]:
    """Return VMIs of two names each."""
    return [vmi(f"vm{i}", namespace, {"net1": [f"10.1.0.{i}"]}) for namespace in namespaces for i in range(each)]


def published(primary: Server) -> set[str]:
    """Return every name that has an IPv4 address."""
    return {record.owner for record in primary.axfr() if record.type == "A"}


def names_of(vmis: Iterable[dict[str, Any]]) -> set[str]:
    """Return the names that the VMIs want."""
    found = set()
    for item in vmis:
        own = f"{item['metadata']['name']}.{item['metadata']['namespace']}.vm."
        found |= {own, *(f"{entry['name']}.{own}" for entry in item["status"]["interfaces"][1:] if "name" in entry)}
    return found


# One refused name never blocks the others


def test_a_name_that_check_names_rejects_delays_no_other(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""})  # check-names: fail, as a primary does by default
    good = fleet(["prod", "stage"], each=20)
    bad = [vmi("a", "prod", {"net_1": ["10.0.0.1"]}), vmi("b", "stage", {"nic-": ["10.0.0.2"], "ok": ["10.0.0.3"]})]
    command = ksd(bind)
    done = command("apply", vmi=[*good, *bad])
    assert done.code == 1
    assert "!   net_1.a.prod.vm.\n" in done.out
    assert "!   nic-.b.stage.vm.\n" in done.out
    assert "check-names primary ignore;" in done.out
    assert published(bind) == names_of(good) | {"a.prod.vm.", "b.stage.vm.", "ok.b.stage.vm."}
    again = command("apply", vmi=[*good, *bad])
    assert again.code == 1
    assert again.summary.startswith("Applied: 0 added, 0 changed, 0 deleted, 2 refused")


def test_a_key_for_one_branch_updates_that_branch(make_either: Callable[..., Server], ksd: Ksd) -> None:
    primary = make_either(
        zones={"vm.": "old.dev A 192.0.2.1"},
        bind={"zone_options": f'{TRANSFER} update-policy {{ grant "ksd-ddns." subdomain prod.vm. A AAAA TXT; }};'},
        knot={
            "extra": "  - id: read\n    key: ksd-ddns.\n    action: [query, transfer]\n"
            "  - id: update\n    key: ksd-ddns.\n    action: update\n    update-owner: name\n"
            "    update-owner-match: sub-or-equal\n    update-owner-name: [prod.vm.]\n",
            "zone_options": "acl: [read, update]",
        },
    )
    mine, others = fleet(["prod"]), fleet(["dev", "stage"])
    done = ksd(primary)("apply", vmi=[*mine, *others])
    assert done.code == 1
    assert done.summary.startswith("Applied: 10 added, 0 changed, 0 deleted, 20 refused, 0 conflicts.")
    assert "!   net1.vm3.dev.vm.\n" in done.out
    assert "lacks permission for this name" in done.out
    assert published(primary) == names_of(mine) | {"old.dev.vm."}


@pytest.mark.parametrize("granted", ["ns-00", "ns-27", "ns-39"])
def test_one_granted_branch_is_found_among_many(make_bind: Callable[..., Bind], ksd: Ksd, granted: str) -> None:
    bind = make_bind(
        zones={"vm.": ""},
        zone_options=f'{TRANSFER} update-policy {{ grant "ksd-ddns." subdomain {granted}.vm. A AAAA TXT; }};',
    )
    all_of_them = fleet([f"ns-{i:02}" for i in range(40)], each=1)
    done = ksd(bind, UPDATE_BATCH="2")("apply", vmi=all_of_them)
    assert done.code == 1
    assert published(bind) == {f"vm0.{granted}.vm.", f"net1.vm0.{granted}.vm."}


# NOERROR is no proof


def test_a_silently_dropped_change_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(
        zones={"vm.": ""}, zone_options=f'{TRANSFER} update-policy {{ grant "ksd-ddns." zonesub A(1) AAAA TXT; }};'
    )
    command = ksd(bind)
    assert command("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.9"]})]).code == 0
    two = vmi("db", "prod", {"net1": ["10.1.0.9", "10.1.0.10"]})
    done = command("apply", vmi=[two, vmi("web", "prod", {"net1": ["10.1.0.7"]})])
    assert done.code == 1
    for name in ("db.prod.vm.", "net1.db.prod.vm."):
        assert f"!   {name}\n" in done.out
        assert bind.query(name, "A") == ["10.1.0.9"]
    assert done.summary.startswith("Applied: 2 added, 0 changed, 0 deleted, 2 refused")
    assert bind.query("web.prod.vm", "A") == ["10.1.0.7"]


# SERVFAIL


def test_a_limit_of_the_zone_refuses_only_what_exceeds_it(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(
        zones={"vm.": ""},
        zone_options=f'{TRANSFER} update-policy {{ grant "ksd-ddns." zonesub ANY; }}; max-records-per-type 2;',
    )
    good = fleet(["prod"])
    many = vmi("many", "prod", {"net1": ["10.2.0.1", "10.2.0.2", "10.2.0.3"]})
    done = ksd(bind)("apply", vmi=[*good, many])
    assert done.code == 1
    assert all(f"!   {name}many.prod.vm.\n" in done.out for name in ("", "net1."))
    assert "(SERVFAIL)" in done.out
    assert "max-records-per-type" in done.out
    assert published(bind) == names_of(good)


@pytest.mark.parametrize("count", [1, 40])
def test_an_unwritable_journal_is_reported(make_bind: Callable[..., Bind], ksd: Ksd, count: int) -> None:
    bind = make_bind(zones={"vm.": "www A 192.0.2.1"}, uid=65534)
    bind.directory.chmod(0o555)
    before = bind.axfr()
    command = ksd(bind)
    done = command("apply", vmi=fleet(["prod"], each=count))
    assert (done.code, done.out) == (3, "")
    assert f"127.0.0.1:{bind.port} failed to update vm. (SERVFAIL)" in done.err
    assert "cannot write its journal" in done.err
    assert bind.axfr() == before
    bind.directory.chmod(0o755)
    assert command("apply", vmi=fleet(["prod"], each=count)).code == 0


def test_a_frozen_zone_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": "www A 192.0.2.1"})
    bind.rndc("freeze", "vm.")
    before = bind.axfr()
    done = ksd(bind)("apply", vmi=[DB])
    assert (done.code, done.out) == (4, "")
    assert "REFUSED" in done.err
    assert "rndc thaw" in done.err
    assert bind.axfr() == before
    bind.rndc("thaw", "vm.")
    assert ksd(bind)("apply", vmi=[DB]).code == 0


# Unknown outcomes


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"response": only(is_update, hostile.first(1, hostile.cut()))}, id="cut-before-the-answer"),
        pytest.param({"response": only(is_update, hostile.first(1, hostile.cut(reset=True)))}, id="reset"),
        pytest.param({"response": only(is_update, hostile.first(1, hostile.swallow))}, id="no-answer"),
        pytest.param({"response": only(is_update, hostile.after(2, hostile.cut()))}, id="cut-in-the-middle"),
        pytest.param({"request": only(is_update, hostile.first(1, hostile.cut()))}, id="cut-before-it-arrived"),
        pytest.param({"request": only(is_update, hostile.first(1, hostile.swallow))}, id="lost-on-its-way"),
        pytest.param(
            {"request": only(is_update, hostile.after(3, hostile.first(1, hostile.cut())))}, id="half-arrived"
        ),
    ],
)
def test_an_unknown_outcome_is_looked_up_and_not_repeated(
    primary: Server, ksd: Ksd, fault: dict[str, hostile.Hook]
) -> None:
    wanted = fleet(["prod", "stage"])
    with Proxy(primary, **fault) as proxy:
        done = ksd(primary, through=proxy.address, UPDATE_BATCH="4", DNS_TIMEOUT="500ms")("apply", vmi=wanted)
    assert (done.code, done.err) == (0, "")
    assert done.summary.startswith("Applied: 20 added, 0 changed, 0 deleted, 0 refused, 0 conflicts.")
    assert published(primary) == names_of(wanted)
    assert len([record for record in primary.axfr() if record.type in {"A", "TXT"}]) == 40
    assert ksd(primary)("plan", "--exit-code", vmi=wanted).code == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(hostile.cut(), "closed the connection", id="cuts"),
        pytest.param(hostile.swallow, "did not answer within 0.3 s", id="silent"),
    ],
)
def test_a_primary_that_answers_no_updates_is_reported(bind: Bind, ksd: Ksd, fault: hostile.Hook, words: str) -> None:
    before = bind.axfr()
    with Proxy(bind, request=only(is_update, fault)) as proxy:
        done = ksd(bind, through=proxy.address, DNS_TIMEOUT="300ms")("apply", vmi=[DB])
        assert (done.code, done.out) == (3, "")
        assert f"{proxy.address} {words}" in done.err
    assert bind.axfr() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda message: [b"garbage"], "not a DNS message", id="garbage"),
        pytest.param(lambda message: [hostile.unsigned(message)], "without a signature", id="unsigned"),
        pytest.param(lambda message: [hostile.renumbered(message)], "matches no request", id="other-id"),
        pytest.param(lambda message: [message[:3] + b"\x05" + message[4:]], "does not verify", id="other-rcode"),
    ],
)
def test_an_invalid_response_to_an_update_fails_and_the_next_run_completes(
    bind: Bind, ksd: Ksd, change: hostile.Hook, words: str
) -> None:
    with Proxy(bind, response=only(is_update, change)) as proxy:
        done = ksd(bind, through=proxy.address)("apply", vmi=[DB])
    assert (done.code, done.out) == (5, "")
    assert words in done.err
    assert str(proxy.address) in done.err
    assert ksd(bind)("apply", vmi=[DB]).code == 0
    assert published(bind) == {"db.prod.vm.", "net1.db.prod.vm."}


# Restarts of the server


@pytest.mark.parametrize("way", ["restart", "kill"])
def test_a_restart_of_the_server_during_apply_loses_nothing(primary: Server, ksd: Ksd, way: str) -> None:
    def restart() -> None:
        if way == "kill":
            primary.kill()
            primary.start()
        else:
            primary.restart()

    wanted = fleet(["prod", "stage"], each=50)
    ksd(primary)("apply", vmi=wanted[:5])
    with Proxy(primary, request=only(is_update, hostile.after(3, hostile.once_before(restart)))) as proxy:
        done = ksd(primary, through=proxy.address, UPDATE_BATCH="20")("apply", vmi=wanted)
        assert proxy.connections > 1
    assert (done.code, done.err) == (0, "")
    assert published(primary) == names_of(wanted)
    assert ksd(primary)("plan", "--exit-code", vmi=wanted).code == 0


def test_the_next_primary_takes_over_during_apply(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    """Two primaries with independent serials, as replicas of the bundled one have."""
    first = make_bind(zones={"vm.": "here.prod A 192.0.2.1"})
    # Large, so that it answers with the changes instead of the full zone.
    others = "".join(f"other-{i} TXT {'x' * 200}\n" for i in range(200))
    second = make_bind(zones={"vm.": f"vm3.prod A 192.0.2.2\n{others}"}, keys=first.keys)
    assert first.serial() == second.serial(), "the same serial, but not the same zone"
    wanted = fleet(["prod"], each=20)
    with Proxy(first, request=only(is_update, hostile.after(2, hostile.once_before(first.kill)))) as proxy:
        servers = f"{proxy.address}, 127.0.0.1:{second.port}"
        done = ksd(first, DNS_SERVER=servers, UPDATE_BATCH="5", DNS_TIMEOUT="1s")("apply", vmi=wanted)
    assert (done.code, done.err) == (1, "")
    assert "! vm3.prod.vm. (VMI prod/vm3) conflict: " in done.out
    assert published(second) == names_of(wanted)
    assert second.query("vm3.prod.vm", "A") == ["192.0.2.2"]


# Races


def test_changes_between_read_and_update_are_kept(primary: Server, ksd: Ksd) -> None:
    wanted = fleet(["prod"])
    ksd(primary)("apply", vmi=wanted[:2])

    def interfere() -> None:
        primary.nsupdate(
            "update add vm3.prod.vm. 60 A 192.0.2.1\n"
            "update delete net1.vm0.prod.vm. A\n"
            "update add net1.vm0.prod.vm. 60 A 192.0.2.2"
        )

    moved = [vmi("vm0", "prod", {"net1": ["10.9.0.1"]}), *wanted[1:]]
    with Proxy(primary, request=only(is_update, hostile.once_before(interfere))) as proxy:
        done = ksd(primary, through=proxy.address)("apply", vmi=moved)
    assert done.code == 1
    assert (
        "! vm3.prod.vm. (VMI prod/vm3) conflict: it exists without our ownership record; found A 192.0.2.1" in done.out
    )
    assert primary.query("vm3.prod.vm", "A") == ["192.0.2.1"]
    assert primary.query("net1.vm0.prod.vm", "A") == ["10.9.0.1"], "a name that is ours is put back"
    assert published(primary) == names_of(moved)


def test_a_name_that_keeps_changing_delays_no_other(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""})
    wanted = fleet(["prod"])
    ksd(bind)("apply", vmi=wanted[:1])
    count = 0
    lock = threading.Lock()

    def fight(message: bytes) -> Iterable[bytes]:
        nonlocal count
        with lock:
            count += 1
            bind.nsupdate(f"update delete vm0.prod.vm. A\nupdate add vm0.prod.vm. 60 A 192.0.2.{count}")
        return [message]

    moved = [vmi("vm0", "prod", {"net1": ["10.9.0.1"]}), *wanted[1:]]
    with Proxy(bind, request=only(is_update, fight)) as proxy:
        done = ksd(bind, through=proxy.address)("apply", vmi=moved)
    assert done.code == 1
    assert "1 name refused" in done.out + done.err
    assert "another program keeps changing it" in done.out + done.err
    assert published(bind) == names_of(moved)
    assert bind.query("net1.vm0.prod.vm", "A") == ["10.9.0.1"]
    assert bind.query("vm0.prod.vm", "A") == [f"192.0.2.{count}"]
    assert ksd(bind)("apply", vmi=moved).code == 0


# Sizes


@pytest.mark.parametrize(("octets", "names"), [(65_535, 10_000), (60_000, 500), (4_096, 10_000), (60_000, 1)])
def test_no_message_is_too_large(primary: Server, ksd: Ksd, octets: int, names: int) -> None:
    sizes: list[int] = []

    def weigh(message: bytes) -> Iterable[bytes]:
        sizes.append(len(message))
        return [message]

    long = "x" * 63
    wanted = [
        vmi(
            f"{long}.{long}.vm{i}",
            f"ns-{i % 3}",
            {f"{'n' * 50}{j}": [f"10.{j}.0.{i}", f"fd00::{j}:{i}"] for j in range(3)},
        )
        for i in range(30 if names == 1 else 120)
    ]
    with Proxy(primary, request=only(is_update, weigh)) as proxy:
        command = ksd(primary, through=proxy.address, UPDATE_OCTETS=octets, UPDATE_BATCH=names)
        assert command("apply", vmi=wanted).code == 0
        moved = [vmi(item["metadata"]["name"], item["metadata"]["namespace"], {"n": ["10.0.0.1"]}) for item in wanted]
        assert command("apply", "--force", vmi=moved).code == 0
        assert command("plan", "--exit-code", vmi=moved).code == 0
    assert max(sizes) <= octets
    if names == 1:
        assert len(sizes) == 30 * 4 + 30 * 5
    else:
        assert max(sizes) > octets / 3, "messages are filled"


def test_a_name_with_very_large_foreign_texts_is_published(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""})
    command = ksd(bind)
    command("apply", vmi=[DB])
    texts = ['"' + f"{i:03}" + "x" * 250 + '" "' + "y" * 250 + '"' for i in range(90)]
    for start in (0, 45):
        bind.nsupdate("\n".join(f"update add db.prod.vm. 60 TXT {text}" for text in texts[start : start + 45]))
    moved = vmi("db", "prod", {"net1": ["10.1.0.10"]})
    assert command("apply", vmi=[moved]).code == 0
    assert bind.query("db.prod.vm", "A") == ["10.1.0.10"]
    assert len(bind.query("db.prod.vm", "TXT")) == 91
    assert command("apply", vmi=[]).code == 0
    assert sorted(bind.query("db.prod.vm", "TXT")) == sorted(texts)
    assert bind.query("db.prod.vm", "A") == []


# Keys for reading and for writing


def test_transfers_and_updates_can_use_different_keys(make_either: Callable[..., Server], ksd: Ksd) -> None:
    writer, reader = Key("writer."), Key("reader.", "hmac-sha512")
    primary = make_either(
        zones={"vm.": ""},
        keys=[writer, reader],
        bind={
            "zone_options": 'allow-transfer { key "reader."; }; '
            'update-policy { grant "writer." subdomain vm. A AAAA TXT; };'
        },
        knot={
            "extra": "  - id: read\n    key: reader.\n    action: [query, transfer]\n"
            "  - id: update\n    key: writer.\n    action: update\n",
            "zone_options": "acl: [read, update]",
        },
    )
    file = str(reader.file(primary.directory))
    writer_alone = ksd(primary)
    both = ksd(primary, TRANSFER_TSIG_KEY_FILE=file)
    by_settings = ksd(
        primary,
        TRANSFER_TSIG_KEY_NAME="reader",
        TRANSFER_TSIG_ALGORITHM="HMAC-SHA512.",
        TRANSFER_TSIG_SECRET=reader.secret,
    )
    reader_alone = ksd(primary, TSIG_KEY_FILE=file)
    assert writer_alone("apply", vmi=[DB]).code == 4
    assert reader_alone("apply", vmi=[DB]).code == 4
    assert reader_alone("plan", "--exit-code", vmi=[DB]).code == 1
    assert both("apply", vmi=[DB]).code == 0
    assert by_settings("plan", "--exit-code", vmi=[DB]).code == 0
    assert primary.axfr(key=reader.file(primary.directory))


def test_no_failure_prints_a_secret(primary: Server, ksd: Ksd) -> None:
    """The output of every command in these tests is searched for its secrets; here with the most verbose ones."""
    secret = primary.directory / "secret"
    secret.write_text(primary.secret + "\n")
    secret.chmod(0o600)
    command = ksd(primary).but("TSIG_KEY_FILE", TSIG_KEY_NAME=primary.key_name, TSIG_SECRET_FILE=str(secret))
    assert command("apply", "-v", vmi=[DB]).code == 0
    for output in ("text", "json", "nsupdate"):
        assert command("plan", "-v", "-o", output, vmi=[]).code == 0
    wrong = base64.b64encode(b"a secret that must stay hidden, too").decode()
    done = command.but("TSIG_SECRET_FILE", TSIG_SECRET=wrong)("apply", "-v", vmi=[])
    assert done.code == 4
    secret.write_text("not base64 at all")
    assert command("plan", vmi=[]).code == 2
