# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong with a primary, a key or the network: message, exit code and unchanged zone."""

import base64
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import hostile
from harness.hostile import Cut, Hook, Proxy, Resigner
from harness.servers import Bind, Key, Port, Server
from harness.vmis import vmi
from tests.e2e.command import Done
from tests.e2e.conftest import Ksd

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]})
MANY = [vmi(f"vm-{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(12)]
WITNESS = Key("witness.", secret=base64.b64encode(b"the tests look through this key.").decode())


@contextlib.contextmanager
def check_unchanged(primary: Server, zone: str | None = None, *, witness: bool = False) -> Iterator[None]:
    """Check with the server that the block changes nothing in the zone, including the serial."""
    key: Path | bool = WITNESS.file(primary.directory) if witness else True
    before = primary.axfr(zone, key=key or True)
    yield
    assert primary.axfr(zone, key=key or True) == before


def failed(done: Done, code: int, *words: str) -> None:
    """Check the exit code and the words of the error."""
    assert (done.code, done.out) == (code, ""), done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


def key_rejected(done: Done, primary: Server, *words: str) -> None:
    """Check that it failed because of the key; Knot from 3.4 on does not say what is wrong with it."""
    reason = ["BADKEY", "TSIG_KEY_NAME", "TSIG_ALGORITHM"]
    if primary.kind == "knot" and "BADKEY" not in done.err:
        reason = ["NOTAUTH", "knot.conf", "acl"]
    failed(done, 4, f"127.0.0.1:{primary.port}", *words, *reason)


# Keys and clocks


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_an_unknown_key_is_reported(primary: Server, ksd: Ksd, verb: str) -> None:
    command = ksd(primary).but("TSIG_KEY_FILE", TSIG_KEY_NAME="other.", TSIG_SECRET=primary.secret)
    with check_unchanged(primary):
        done = command(verb, vmi=[DB])
    key_rejected(done, primary, "other.")


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_wrong_secret_is_reported(primary: Server, ksd: Ksd, verb: str) -> None:
    wrong = base64.b64encode(b"this is not the secret of the key").decode()
    command = ksd(primary).but("TSIG_KEY_FILE", TSIG_KEY_NAME=primary.key_name, TSIG_SECRET=wrong)
    with check_unchanged(primary):
        done = command(verb, vmi=[DB])
    failed(done, 4, f"127.0.0.1:{primary.port}", primary.key_name, "BADSIG", "copy the secret")


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_wrong_algorithm_is_reported(primary: Server, ksd: Ksd, verb: str) -> None:
    command = ksd(primary).but(
        "TSIG_KEY_FILE", TSIG_KEY_NAME=primary.key_name, TSIG_SECRET=primary.secret, TSIG_ALGORITHM="hmac-sha512"
    )
    with check_unchanged(primary):
        done = command(verb, vmi=[DB])
    key_rejected(done, primary, primary.key_name, "algorithm")


@pytest.mark.parametrize("verb", ["plan", "apply"])
@pytest.mark.parametrize(
    "wrong",
    [{"TSIG_KEY_NAME": "other."}, {"TSIG_ALGORITHM": "hmac-sha512"}, {"TSIG_SECRET": "bm90IGl0cyBzZWNyZXQ="}],
    ids=["name", "algorithm", "secret"],
)
def test_a_key_rejected_without_a_reason_is_reported(bind: Bind, ksd: Ksd, verb: str, wrong: dict[str, str]) -> None:
    right = {"TSIG_KEY_NAME": bind.key_name, "TSIG_SECRET": bind.secret}
    with check_unchanged(bind), Proxy(bind, response=hostile.unsigned_notauth) as proxy:
        command = ksd(bind, through=proxy.address).but("TSIG_KEY_FILE", **right | wrong)
        done = command(verb, vmi=[DB])
    failed(done, 4, str(proxy.address), (right | wrong)["TSIG_KEY_NAME"], "NOTAUTH", "knot.conf", "acl", "PowerDNS")


@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "behind"])
def test_a_clock_that_is_off_by_an_hour_is_reported(primary: Server, ksd: Ksd, hours: int) -> None:
    # A process with another clock: everything after the import uses that time.
    clock = f"import time; now = time.time; time.time = lambda: now() + {3600 * hours}"
    run = "import sys; from ksd_ddns.cli import main; sys.exit(main())"
    with check_unchanged(primary):
        done = ksd(primary).process("apply", vmi=[DB], program=(sys.executable, "-c", f"{clock}; {run}"))
    failed(done, 4, "BADTIME", "NTP")
    if primary.kind == "bind9":  # Knot does not report its time
        assert "behind us" in done.err if hours > 0 else "ahead of us" in done.err
        assert any(f"{seconds} s" in done.err for seconds in range(3595, 3606))


# Zones and rights


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_zone_that_the_server_does_not_serve_is_reported(primary: Server, ksd: Ksd, verb: str) -> None:
    command = ksd(primary, DOMAIN="example.com")
    with check_unchanged(primary):
        by_soa = command(verb, vmi=[DB])
        by_setting = command.but(ZONE="example.com")(verb, vmi=[DB])
    failed(
        by_soa,
        4,
        f"127.0.0.1:{primary.port}",
        "vm.example.com.",
        "REFUSED",
        "correct DOMAIN, ZONE or REVERSE_ZONES, set DNS_SERVER",
    )
    failed(by_setting, 4, f"127.0.0.1:{primary.port}", "example.com.", "set ZONE")


def test_a_delegated_zone_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"example.": "vm NS ns.elsewhere.test."})
    with check_unchanged(bind):
        done = ksd(bind, DOMAIN="example")("apply", vmi=[DB])
    failed(done, 5, "vm.example.", "the zone is delegated", "DNS_SERVER")


def test_a_missing_transfer_permission_is_reported(make_either: Callable[..., Server], ksd: Ksd) -> None:
    grant = 'update-policy { grant "update-only." subdomain vm. A AAAA TXT; };'
    primary = make_either(
        zones={"vm.": "www A 192.0.2.1"},
        keys=[Key("update-only."), WITNESS],
        bind={"zone_options": f'allow-transfer {{ key "witness."; }}; {grant}'},
        knot={
            "extra": "  - id: update\n    key: update-only.\n    action: [query, update]\n"
            "  - id: look\n    key: witness.\n    action: [query, transfer]\n",
            "zone_options": "acl: [update, look]",
        },
    )
    with check_unchanged(primary, witness=True):
        for verb in ("plan", "apply"):
            done = ksd(primary)(verb, vmi=[DB])
            failed(done, 4, f"127.0.0.1:{primary.port}", "vm.", 'allow-transfer { key "update-only."; }', "Knot", "acl")


@pytest.mark.parametrize("vmis", [[DB], MANY], ids=["1-vmi", "12-vmis"])
def test_a_missing_update_permission_is_reported(
    make_either: Callable[..., Server], ksd: Ksd, vmis: list[dict[str, Any]]
) -> None:
    primary = make_either(
        zones={"vm.": "www A 192.0.2.1"},
        keys=[Key("read-only.")],
        bind={"zone_options": 'allow-transfer { key "read-only."; };'},
        knot={
            "extra": "  - id: read\n    key: read-only.\n    action: [query, transfer]\n",
            "zone_options": "acl: read",
        },
    )
    with check_unchanged(primary):
        done = ksd(primary)("apply", vmi=vmis)
    failed(done, 4, f"127.0.0.1:{primary.port}", "read-only.", "grant")


def test_an_unwritable_journal_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    """That one of the names would be refused anyway is not reported."""
    bind = make_bind(zones={"vm.": ""})
    (bind.directory / "vm.zone.jnl").mkdir()
    with check_unchanged(bind):
        done = ksd(bind)("apply", vmi=[DB, vmi("web", "prod", {"net_2": ["10.1.0.10"]})])
    failed(done, 3, "failed to update vm.", "journal")


def test_a_frozen_zone_is_reported(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    """The zone holds our names, so a missing permission is unlikely."""
    bind = make_bind(zones={"vm.": ""})
    assert ksd(bind)("apply", vmi=[DB]).code == 0
    bind.rndc("freeze", "vm")
    with check_unchanged(bind):
        done = ksd(bind)("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.99"]})])
    assert done.code == 1
    assert "rndc thaw" in done.out
    assert "grant" not in done.out


# The network, and servers that are no DNS servers


def half(message: bytes) -> Iterable[bytes]:
    """Send the first half of a message, then close the connection."""
    framed = len(message).to_bytes(2, "big") + message
    raise Cut(framed[: len(framed) // 2])


def each(change: Callable[[bytes], bytes]) -> Hook:
    """Return a hook that changes every message."""
    return lambda message: [change(message)]


def _patience(code: int) -> str:
    """Return the timeout: long where an answer is expected, for busy machines."""
    return "300ms" if code == 3 else "5s"


GARBAGE = bytes(range(256)) * 3

TAMPERING = [
    pytest.param(hostile.swallow, 3, ("did not answer within 0.3 s", "DNS_TIMEOUT"), id="silence"),
    pytest.param(hostile.cut(), 3, ("closed the connection",), id="closes"),
    pytest.param(hostile.cut(reset=True), 3, ("connection",), id="resets"),
    pytest.param(half, 3, ("closed the connection in the middle of a message",), id="half-a-message"),
    pytest.param(hostile.cut(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 3, ("closed the connection",), id="http"),
    pytest.param(hostile.replaced(GARBAGE), 5, ("not a DNS message", "DNS_PORT"), id="garbage"),
    pytest.param(hostile.replaced(b""), 5, ("not a DNS message",), id="empty-message"),
    pytest.param(each(lambda message: message[:-7]), 5, ("not a DNS message",), id="cut-short"),
    pytest.param(each(lambda message: message + b"x"), 5, ("not a DNS message",), id="too-long"),
    pytest.param(each(hostile.renumbered), 5, ("matches no request",), id="other-id"),
    pytest.param(each(hostile.unsigned), 5, ("without a signature",), id="unsigned"),
    pytest.param(each(hostile.flipped), 5, ("does not verify", "not used"), id="changed"),
]


@pytest.mark.parametrize(("hook", "code", "words"), TAMPERING)
@pytest.mark.parametrize("zone", ["", "vm"], ids=["soa-query", "transfer"])
def test_an_invalid_response_to_a_read_is_rejected(
    bind: Bind, ksd: Ksd, zone: str, hook: Hook, code: int, words: tuple[str, ...]
) -> None:
    with Proxy(bind, response=hook) as proxy, check_unchanged(bind):
        done = ksd(bind, through=proxy.address, ZONE=zone, DNS_TIMEOUT=_patience(code))("apply", vmi=[DB])
    failed(done, code, str(proxy.address), *words)


def test_an_unsigned_answer_to_the_soa_query_is_rejected(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"example.": ""})
    with Proxy(bind, response=hostile.first(1, each(hostile.unsigned))) as proxy, check_unchanged(bind):
        command = ksd(bind, through=proxy.address, DOMAIN="example")
        failed(command("apply", vmi=[DB]), 5, str(proxy.address), "vm.example.", "without a signature")
        assert command("plan", vmi=[DB]).code == 0, "the same answer with its signature is good"


def test_an_answer_signed_with_another_key_is_rejected(bind: Bind, ksd: Ksd) -> None:
    stranger = Resigner(Key(bind.key_name, secret=WITNESS.secret))
    with Proxy(bind, request=stranger.request, response=stranger.response) as proxy, check_unchanged(bind):
        done = ksd(bind, through=proxy.address)("apply", vmi=[DB])
    failed(done, 5, str(proxy.address), "does not verify", bind.key_name)


def test_an_answer_from_another_time_is_rejected(bind: Bind, ksd: Ksd) -> None:
    late = Resigner(Key(bind.key_name, secret=bind.secret), offset=-3600)
    with Proxy(bind, request=late.request, response=late.response) as proxy, check_unchanged(bind):
        done = ksd(bind, through=proxy.address)("apply", vmi=[DB])
    failed(done, 5, str(proxy.address), "a time more than 300 s off ours", "NTP")


def test_a_valid_answer_that_is_signed_again_is_accepted(bind: Bind, ksd: Ksd) -> None:
    """Shows that the two tests above fail for the right reason."""
    faithful = Resigner(Key(bind.key_name, secret=bind.secret))
    with Proxy(bind, request=faithful.request, response=faithful.response) as proxy:
        assert ksd(bind, through=proxy.address)("apply", vmi=[DB]).code == 0


# Transfers of several messages

LARGE = "\n".join(f"host-with-a-long-name-{i} A 10.9.{i >> 8}.{i & 255}" for i in range(6000))


@pytest.fixture(scope="module")
def large() -> Iterator[Bind]:
    """Yield a primary whose zone needs several messages; no test changes it."""
    with Bind(zones={"vm.": LARGE}) as bind:
        yield bind


class Reordered:
    """Swaps the second message with the third."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []

    def __call__(self, message: bytes) -> Iterable[bytes]:
        self._messages.append(message)
        count = len(self._messages)
        return [] if count == 2 else [message, self._messages[1]] if count == 3 else [message]


@pytest.mark.parametrize(
    ("hook", "code", "words"),
    [
        pytest.param(
            hostile.behind(1, hostile.cut()),
            3,
            ("ended after", "closed the connection", "check its log"),
            id="clean-close",
        ),
        pytest.param(hostile.behind(1, hostile.cut(reset=True)), 3, ("ended",), id="reset"),
        pytest.param(hostile.behind(1, half), 3, ("ended after", "in the middle of a message"), id="half-a-message"),
        pytest.param(hostile.behind(1, hostile.swallow), 3, ("ended after", "did not answer"), id="silence"),
        pytest.param(hostile.after(2, hostile.replaced(GARBAGE)), 5, ("not a DNS message",), id="garbage"),
        pytest.param(hostile.after(2, each(hostile.renumbered)), 5, ("matches no request",), id="other-id"),
        pytest.param(hostile.after(2, hostile.first(1, hostile.swallow)), 5, ("does not verify",), id="one-left-out"),
        pytest.param(hostile.after(2, hostile.first(1, lambda m: [m, m])), 5, ("does not verify",), id="one-twice"),
        pytest.param(Reordered(), 5, ("does not verify",), id="reordered"),
        pytest.param(hostile.after(2, each(hostile.flipped)), 5, ("does not verify",), id="changed"),
        pytest.param(hostile.after(2, hostile.first(1, each(hostile.unsigned))), 5, (), id="one-unsigned"),
        pytest.param(hostile.after(2, each(hostile.unsigned)), 5, ("unsigned",), id="end-unsigned"),
    ],
)
def test_a_transfer_that_fails_midway_is_rejected(
    large: Bind, ksd: Ksd, hook: Hook, code: int, words: tuple[str, ...]
) -> None:
    with Proxy(large, response=hook) as proxy, check_unchanged(large):
        done = ksd(large, through=proxy.address, ZONE="vm", DNS_TIMEOUT=_patience(code))("apply", vmi=[DB])
    failed(done, code, str(proxy.address), *words)


def test_a_transfer_that_fails_once_is_retried(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": LARGE})
    with Proxy(bind, response=hostile.after(2, hostile.first(1, half))) as proxy:
        assert ksd(bind, through=proxy.address)("apply", vmi=[DB]).code == 0
        assert proxy.connections == 2
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


def test_a_server_that_closes_after_every_answer_is_supported(primary: Server, ksd: Ksd) -> None:
    def last_words(message: bytes) -> Iterable[bytes]:
        raise Cut(len(message).to_bytes(2, "big") + message)

    with Proxy(primary, response=last_words) as proxy:
        assert ksd(primary, through=proxy.address)("apply", vmi=[DB]).code == 0
        assert proxy.connections >= 4
    assert primary.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


class OneAtATime:
    """A server that closes the connection when an update arrives during another one, as Knot 3.4 does with TLS."""

    def __init__(self) -> None:
        self._pending: set[bytes] = set()
        self.hangups = 0

    def request(self, message: bytes) -> Iterable[bytes]:
        if hostile.is_update(message):
            if self._pending:
                self._pending.clear()
                self.hangups += 1
                raise Cut
            self._pending.add(message[:2])
        return [message]

    def response(self, message: bytes) -> Iterable[bytes]:
        self._pending.discard(message[:2])
        return [message]


def test_updates_survive_a_server_that_closes_the_connection(primary: Server, ksd: Ksd) -> None:
    server = OneAtATime()
    with Proxy(primary, request=server.request, response=server.response) as proxy:
        command = ksd(primary, through=proxy.address, UPDATE_BATCH=5)
        done = command("apply", vmi=[vmi(f"vm-{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(100)])
    assert done.code == 0, done.err
    assert 0 < server.hangups <= 3
    assert primary.query("net1.vm-99.prod.vm", "A") == ["10.1.0.99"]


# Servers that are down


def test_a_port_without_a_listener_is_reported(bind: Bind, ksd: Ksd) -> None:
    port = Port.reserve()
    done = ksd(bind, DNS_SERVER=f"127.0.0.1:{port.number}")("apply", vmi=[DB])
    port.release()
    failed(done, 3, f"127.0.0.1:{port.number} cannot be reached", "Connection refused", "DNS_SERVER and DNS_PORT")


@pytest.mark.parametrize("zone", ["", "vm"], ids=["soa-query", "transfer"])
@pytest.mark.parametrize("fault", [hostile.swallow, hostile.cut(), half], ids=["silence", "closes", "half-a-message"])
def test_the_next_server_is_used_when_the_first_fails(bind: Bind, ksd: Ksd, zone: str, fault: Hook) -> None:
    with Proxy(bind, response=fault) as first:
        servers = f"127.0.0.1:1, {first.address}, 127.0.0.1:{bind.port}"
        command = ksd(bind, DNS_SERVER=servers, ZONE=zone, DNS_TIMEOUT="1s")
        assert command("apply", vmi=[DB]).code == 0
        assert first.connections == 1
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


def test_the_next_server_is_used_when_the_first_cannot_serve_the_zone(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    empty = 'zone "vm." { type secondary; file "none"; primaries { 127.0.0.1 port 1; }; };'
    broken = make_bind(zones={"other.": ""}, extra=empty)
    assert broken.status("vm.", "SOA") == "SERVFAIL"
    bind = make_bind(zones={"vm.": ""}, keys=broken.keys)
    done = ksd(bind, DNS_SERVER=f"127.0.0.1:{broken.port}, 127.0.0.1:{bind.port}")("apply", vmi=[DB])
    assert (done.code, done.err) == (0, "")
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]


def test_every_server_is_named_when_none_answers(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, DNS_SERVER="127.0.0.1:1, 127.0.0.1:2")("plan", vmi=[DB])
    failed(done, 3, "127.0.0.1:1 cannot be reached", "127.0.0.1:2 cannot be reached")


def test_an_unresolvable_server_name_is_reported(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind, DNS_SERVER="nowhere.invalid")("apply", vmi=[DB])
    failed(done, 3, "nowhere.invalid:5353 cannot be reached", "set DNS_SERVER to a name that resolves")


def test_a_stopped_server_is_reported(bind: Bind, ksd: Ksd) -> None:
    with bind.paused():
        done = ksd(bind, DNS_TIMEOUT="100ms")("apply", vmi=[DB])
    failed(done, 3, f"127.0.0.1:{bind.port} did not answer within 0.1 s")
