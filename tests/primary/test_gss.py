# SPDX-License-Identifier: Apache-2.0
"""GSS-TSIG against BIND and an MIT KDC: updates and transfers, renewal, and problems with tickets."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from harness import hostile, vmis
from harness.hostile import OPCODE_QUERY, OPCODE_UPDATE, Proxy
from harness.kerberos import NAME, Realm, faketime
from harness.servers import Bind, Key, Knot
from harness.vmis import vmi
from ksd_ddns.errors import Denied, SettingsError
from ksd_ddns.primary import gss
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.primary.update import Sender
from ksd_ddns.wire import codec, names, rcodes
from ksd_ddns.zone.answer import Result
from ksd_ddns.zone.reverse_search import Placed
from ksd_ddns.zone.update import batch
from tests.controller.running import Running
from tests.e2e.command import Command, Done
from tests.primary.zone_client import ZoneClient, send_changes

VM = names.from_text("vm.")
HOST = "ns.example.test"
SERVICE = f"DNS/{HOST}"
KSD = f"ksd@{NAME}"
POLICY = f'grant "{KSD}" zonesub A AAAA TXT;'
DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with Realm() as realm:
        realm.add(SERVICE, "ksd", "stranger")
        realm.add("short", maxlife="3 sec")
        yield realm


@pytest.fixture
def as_ksd(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be the Kerberos client ksd."""
    for name, value in realm.client("ksd").items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bind(realm: Realm) -> Iterator[Bind]:
    """Yield a BIND that lets only ksd update and transfer vm."""
    with Bind(zones={"vm.": ""}, **realm.bind(SERVICE, POLICY, transfer=f'key "{KSD}";')) as bind:
        yield bind
        print(bind.log()[-10_000:])


@pytest.fixture
def ksd(realm: Realm, bind: Bind, tmp_path: Path) -> Command:
    return Command(tmp_path, settings(bind) | realm.client("ksd"))


def settings(*servers: Bind) -> dict[str, str]:
    return {
        "DNS_SERVER": ",".join(f"{server.address}:{server.port}" for server in servers),
        "GSS_TSIG": "true",
        "GSS_TSIG_HOSTNAME": HOST,
    }


def failed(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


def test_updates_and_transfers_are_signed_with_gss_tsig(bind: Bind, ksd: Command) -> None:
    done = ksd.process("apply", "-v", vmi=[DB])
    assert done.code == 0, done.err
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.9"]
    assert f" key={KSD} " in done.err, "the audit line names the principal"
    assert len(re.findall("negotiated a key", done.err)) == 1, "one negotiation is enough"
    again = ksd("plan", "--exit-code", vmi=[DB])
    assert again.code == 0, again.out
    assert "net1.db.prod.vm. 60 A 10.1.0.9 prod/db" in ksd("list").out


def test_thousands_of_names_are_sent_with_messages_in_flight(bind: Bind, ksd: Command) -> None:
    many = [vmi(f"vm{i}", "prod", {"net1": [f"10.{i >> 8}.{i & 255}.1"]}) for i in range(2000)]
    done = ksd.but(UPDATE_BATCH="20")("apply", vmi=many)
    assert done.code == 0, done.err
    assert bind.query("net1.vm1999.prod.vm", "A") == ["10.7.207.1"]
    assert ksd("plan", "--exit-code", vmi=many).code == 0


def test_a_credential_cache_from_kinit_works(realm: Realm, ksd: Command) -> None:
    environment = realm.client()
    realm.kinit(environment, "ksd")
    done = ksd.but(**environment)("apply", vmi=[DB])
    assert done.code == 0, done.err


def test_a_separate_transfer_key_works(realm: Realm, tmp_path: Path) -> None:
    reader = Key("reader.")
    arguments = realm.bind(SERVICE, POLICY, transfer='key "reader.";')
    with Bind(zones={"vm.": ""}, keys=[reader], **arguments) as bind:
        ksd = Command(tmp_path, settings(bind) | realm.client("ksd"))
        failed(ksd("apply", vmi=[DB]), 4, "refused the transfer", f'allow-transfer {{ key "{KSD}"; }}')
        done = ksd.but(TRANSFER_TSIG_KEY_FILE=reader.file(tmp_path))("apply", vmi=[DB])
        assert done.code == 0, done.err


def test_a_zone_that_is_not_transferred_is_read_by_signed_queries(realm: Realm, tmp_path: Path) -> None:
    with Bind(zones={"vm.": ""}, **realm.bind(SERVICE, POLICY, transfer="none;")) as bind:
        ksd = Command(tmp_path, settings(bind) | realm.client("ksd") | {"READ": "queries"})
        failed(ksd.but("READ")("plan", vmi=[DB]), 4, "refused the transfer")
        for wanted, found in (([DB], ["10.1.0.9"]), ([vmi("db", "prod", {"net1": ["10.1.0.10"]})], ["10.1.0.10"])):
            done = ksd("apply", vmi=wanted)
            assert done.code == 0, done.err
            assert bind.query("net1.db.prod.vm", "A") == found
            assert ksd("plan", "--exit-code", vmi=wanted).code == 0
        assert ksd("apply", vmi=[]).code == 0, "the index lists the names"
        assert bind.query("net1.db.prod.vm", "A") == []


def test_a_principal_without_permission_is_refused(realm: Realm, bind: Bind, tmp_path: Path) -> None:
    stranger = Command(tmp_path, settings(bind) | realm.client("stranger"))
    failed(stranger("plan", vmi=[DB]), 4, f"127.0.0.1:{bind.port} refused the transfer of vm. to key stranger@{NAME}")
    arguments = realm.bind(SERVICE, POLICY)
    with Bind(zones={"vm.": ""}, **arguments) as open_to_read:
        done = stranger.but(**settings(open_to_read))("apply", vmi=[DB])
        failed(done, 4, "refused the update of vm.", f'grant "stranger@{NAME}" subdomain "vm." A AAAA TXT;')
        assert open_to_read.status("db.prod.vm", "A") == "NXDOMAIN"


def test_check_reports_the_same(realm: Realm, bind: Bind, ksd: Command) -> None:
    done = ksd("check", vmi=[DB])
    assert done.code == 0, done.out
    assert f"{KSD} with gss-tsig is accepted" in done.out
    done = ksd.but(**realm.client("stranger"))("check", vmi=[DB])
    assert done.code == 1
    for words in (
        f'allow-transfer {{ key "stranger@{NAME}"; }};',
        f'grant "stranger@{NAME}" subdomain "vm." A AAAA TXT;',
        "Active Directory",
    ):
        assert words in done.out
    done = ksd.but(**realm.client())("check", vmi=[DB])
    assert "FAIL  key" in done.out
    assert "No Kerberos credentials available" in done.out


# No ticket


@contextlib.contextmanager
def lock_account(realm: Realm, principal: str) -> Iterator[None]:
    realm.admin(f"modprinc -allow_tix {principal}")
    try:
        yield
    finally:
        realm.admin(f"modprinc +allow_tix {principal}")


def test_missing_credentials_are_reported(realm: Realm, bind: Bind, ksd: Command) -> None:
    done = ksd.but(**realm.client())("plan", vmi=[DB])
    failed(done, 4, f"127.0.0.1:{bind.port}", "No Kerberos credentials available", "KRB5_CLIENT_KTNAME", "KRB5CCNAME")


def test_an_expired_ticket_is_reported(realm: Realm, ksd: Command) -> None:
    environment = realm.client()
    realm.kinit(environment, "ksd", "-l", "1s")
    time.sleep(2)
    failed(ksd.but(**environment)("plan", vmi=[DB]), 4, "expired", "renew it (kinit)")


@pytest.mark.parametrize("when", ["without-a-ticket", "with-a-ticket-for-the-kdc"])
def test_an_unreachable_kdc_is_reported(realm: Realm, ksd: Command, when: str) -> None:
    environment = realm.client("ksd" if when == "without-a-ticket" else None)
    if when != "without-a-ticket":
        realm.kinit(environment, "ksd")
    with realm.gone():
        done = ksd.but(**environment)("plan", vmi=[DB])
    failed(done, 3, f"Cannot contact any KDC for realm '{NAME}'", "KRB5_CONFIG")


def test_a_silent_kdc_times_out(realm: Realm, ksd: Command) -> None:
    """Kerberos itself would wait three minutes for it, and keep the process from exiting."""
    with realm.silent():
        done = ksd.process("plan", vmi=[DB], program=(sys.executable, "-c", IMPATIENT))
    failed(done, 3, "no KDC answers within 0.3 s", "KRB5_CONFIG")
    assert ksd("plan", vmi=[DB]).code == 0


IMPATIENT = (
    "import sys; from ksd_ddns import cli; from ksd_ddns.primary import gss; gss.KDC_WITHIN = 0.3; sys.exit(cli.main())"
)


def test_a_valid_ticket_works_without_the_kdc(realm: Realm, ksd: Command) -> None:
    assert ksd("apply", vmi=[]).code == 0
    with realm.gone():
        assert ksd("apply", vmi=[DB]).code == 0


def test_an_outdated_keytab_is_reported(realm: Realm, ksd: Command) -> None:
    realm.add("changed")
    environment = realm.client("changed")
    realm.admin("cpw -randkey changed")
    failed(ksd.but(**environment)("plan", vmi=[DB]), 4, "the keytab holds an old key", "KRB5_CLIENT_KTNAME")


def test_a_deleted_locked_or_expired_account_is_reported(realm: Realm, ksd: Command) -> None:
    realm.add("going")
    command = ksd.but(**realm.client("going"))
    with lock_account(realm, "going"):
        failed(command("plan", vmi=[DB]), 4, "revoked", "unlock the account")
    realm.admin("modprinc -expire yesterday going")
    failed(command("plan", vmi=[DB]), 4, "expired", "extend the account")
    realm.admin("delprinc -force going")
    failed(command("plan", vmi=[DB]), 4, f"Client 'going@{NAME}' not found", "create a new keytab")


def test_a_wrong_service_name_is_reported(ksd: Command) -> None:
    done = ksd.but(GSS_TSIG_HOSTNAME="other.example.test")("plan", vmi=[DB])
    failed(done, 4, KSD, "DNS/other.example.test", "not found in Kerberos database", "GSS_TSIG_HOSTNAME")


def test_an_unwritable_credential_cache_is_reported(ksd: Command) -> None:
    failed(ksd.but(KRB5CCNAME="FILE:/nowhere/cache")("plan", vmi=[DB]), 4, "MEMORY:ksd-ddns")
    assert ksd.but(KRB5CCNAME="MEMORY:ksd-ddns")("plan", vmi=[DB]).code == 0


def test_a_broken_krb5_configuration_is_reported(ksd: Command, tmp_path: Path) -> None:
    broken = tmp_path / "krb5.conf"
    broken.write_text("[libdefaults\n")
    failed(ksd.but(KRB5_CONFIG=broken)("plan", vmi=[DB]), 4, "KRB5_CONFIG")


# Servers that do not accept it


def test_a_server_without_kerberos_is_reported(realm: Realm, make_bind: Callable[..., Bind], ksd: Command) -> None:
    plain = make_bind(zones={"vm.": ""})
    done = ksd.but(**settings(plain))("plan", vmi=[DB])
    failed(done, 4, f"127.0.0.1:{plain.port} negotiates no key by Kerberos", "tkey-gssapi-keytab")


def test_a_server_without_tkey_is_reported(make_knot: Callable[..., Knot], ksd: Command) -> None:
    knot = make_knot(zones={"vm.": ""})
    done = ksd.but(DNS_SERVER=f"127.0.0.1:{knot.port}")("plan", vmi=[DB])
    failed(done, 4, f"127.0.0.1:{knot.port} negotiates no key by Kerberos")


def test_a_server_with_an_old_keytab_is_reported(realm: Realm, ksd: Command) -> None:
    realm.add("DNS/old.example.test")
    arguments = realm.bind("DNS/old.example.test", POLICY)
    realm.admin("cpw -randkey DNS/old.example.test")
    with Bind(zones={"vm.": ""}, **arguments) as bind:
        done = ksd.but(**settings(bind) | {"GSS_TSIG_HOSTNAME": "old.example.test"})("plan", vmi=[DB])
    failed(done, 4, "does not accept our Kerberos ticket (BADKEY)", "keytab", "clock")


def test_a_wrong_clock_of_the_kdc_is_reported(realm: Realm, ksd: Command) -> None:
    with realm.with_clock_offset("+1h"):
        failed(ksd("plan", vmi=[DB]), 4, "does not accept our Kerberos ticket (BADKEY)", "its clock must be right")


def test_a_wrong_clock_of_the_server_is_reported(realm: Realm, ksd: Command) -> None:
    with realm.with_clock_offset("+1h"):
        done = ksd.but(**faketime("+1h")).process("plan", vmi=[DB])
    failed(done, 4, "does not accept our Kerberos ticket (BADKEY)", "its clock must be right")


def test_a_server_without_proof_of_identity_is_rejected(realm: Realm, bind: Bind, ksd: Command) -> None:
    """A man in the middle may remove the signature of the last negotiation message; then there is no key."""
    with Proxy(bind, response=lambda message: [hostile.unsigned(message)]) as proxy:
        done = ksd.but(DNS_SERVER=str(proxy.address))("plan", vmi=[DB])
    failed(done, 5, "without proof of its identity")


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_an_echoed_signature_is_rejected(bind: Bind, ksd: Command, verb: str) -> None:
    """As Windows does if it ignores signatures."""
    echo = hostile.Echo(OPCODE_UPDATE if verb == "apply" else OPCODE_QUERY)
    with Proxy(bind, request=echo.request, response=echo.response) as proxy:
        done = ksd.but(DNS_SERVER=str(proxy.address))(verb, vmi=[DB])
    failed(done, 5, "sent the signature of our request back", "secure updates only")


@pytest.mark.usefixtures("as_ksd")
def test_a_new_key_replaces_one_that_the_server_forgot(bind: Bind) -> None:
    """A read is repeated with a new key; a plan is not sent before another read."""
    source = gss.NegotiatedKey(HOST)
    with closing(Session([Peer(Address("127.0.0.1", bind.port), source)], timeout=5)) as session:
        client = ZoneClient(session)
        plan = client.plan([DB])
        first = session.open_update_exchange(VM).key
        assert HOST not in repr(first)
        assert "SecurityContext" not in repr(first)
        for read in (lambda: session.serial(VM), lambda: session.read(VM)):
            bind.kill()
            bind.start()
            read()
        assert session.open_update_exchange(VM).key is not first
        bind.kill()
        bind.start()
        answers = send_changes(session, VM, plan.changes)
        assert {answer.result for answer in answers} == {Result.UNSENT}
        assert f"no longer knows the key that it negotiated with {KSD}" in str(answers[0].error)
        client.apply([DB])
    assert bind.query("db.prod.vm", "A") == ["10.1.0.9"]


# A running controller


@pytest.fixture
def run(realm: Realm, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a factory of controllers of these VMIs, by the keytab of a principal."""
    with contextlib.ExitStack() as stack:

        def make(bind: Bind, principal: str, vmis: Path) -> Running:
            quick = {"DRIFT_INTERVAL": "0.5s", "DNS_TIMEOUT": "2s"}
            given = settings(bind) | realm.client(principal) | quick
            return stack.enter_context(Running(tmp_path, given, "--from", vmis))

        yield make


def write(path: Path, *addresses: str) -> Path:
    """Replace the file with one that has the VMI db with these addresses."""
    new = path.with_suffix(".new")
    new.write_bytes(vmis.as_json(vmis.listing([vmi("db", "prod", {"net1": list(addresses)})])))
    new.replace(path)
    return path


def test_a_key_is_renewed_before_it_expires(realm: Realm, run: Callable[..., Running], tmp_path: Path) -> None:
    with Bind(zones={"vm.": ""}, **realm.bind(SERVICE, f'grant "short@{NAME}" zonesub A AAAA TXT;')) as bind:
        path = write(tmp_path / "vmis.json", "10.0.0.1")
        ksd = run(bind, "short", path)
        ksd.wait_answer(bind, "db.prod.vm", "A", "10.0.0.1")
        ksd.wait(lambda: ksd.log().count("negotiated a key") >= 3, "the third key")
        write(path, "10.0.0.2")
        ksd.wait_answer(bind, "db.prod.vm", "A", "10.0.0.2")
        assert "no longer knows the key" not in ksd.log(), "it is renewed before the server says so"
        assert '"level": "warning"' not in ksd.log()


@pytest.mark.parametrize("how", ["restarted", "killed"])
def test_a_controller_negotiates_again_when_the_server_forgot_the_key(
    bind: Bind, run: Callable[..., Running], tmp_path: Path, how: str
) -> None:
    path = write(tmp_path / "vmis.json", "10.0.0.1")
    ksd = run(bind, "ksd", path)
    ksd.wait_answer(bind, "db.prod.vm", "A", "10.0.0.1")
    if how == "killed":
        bind.kill()
        bind.start()
    else:
        bind.restart()
    write(path, "10.0.0.2")
    ksd.wait_answer(bind, "db.prod.vm", "A", "10.0.0.2")
    ksd.wait_ready()
    assert ksd.stop() == 0


def test_a_controller_recovers_when_the_kdc_is_back(realm: Realm, run: Callable[..., Running], tmp_path: Path) -> None:
    with Bind(zones={"vm.": ""}, **realm.bind(SERVICE, f'grant "short@{NAME}" zonesub A AAAA TXT;')) as bind:
        path = write(tmp_path / "vmis.json", "10.0.0.1")
        ksd = run(bind, "short", path)
        ksd.wait_answer(bind, "db.prod.vm", "A", "10.0.0.1")
        with realm.gone():
            ksd.wait_problem("primary", "Cannot contact any KDC")
            write(path, "10.0.0.2")
        ksd.wait_answer(bind, "db.prod.vm", "A", "10.0.0.2")
        ksd.wait_ready()


# Settings


def test_an_address_cannot_name_the_service(ksd: Command) -> None:
    for name in ("127.0.0.1:53", "[::1]:53"):
        done = ksd.but("GSS_TSIG_HOSTNAME", DNS_SERVER=name)("plan", vmi=[DB])
        failed(done, 2, "GSS_TSIG=true", "host name", "set GSS_TSIG_HOSTNAME")


def test_the_host_in_dns_server_names_the_service(realm: Realm, tmp_path: Path) -> None:
    realm.add("DNS/localhost")
    with Bind(zones={"vm.": ""}, **realm.bind("DNS/localhost", POLICY)) as bind:
        given = {"DNS_SERVER": f"localhost:{bind.port}", "GSS_TSIG": "true"}
        assert Command(tmp_path, given | realm.client("ksd"))("apply", vmi=[DB]).code == 0


def test_conflicting_settings_are_an_error(ksd: Command, tmp_path: Path) -> None:
    failed(ksd.but(TSIG_KEY_FILE=Key().file(tmp_path))("plan", vmi=[]), 2, "GSS_TSIG=true and a TSIG key are set")
    failed(ksd.but(GSS_TSIG="false")("plan", vmi=[]), 2, "no TSIG key is set", "GSS_TSIG=true")
    failed(ksd.but(GSS_TSIG_HOSTNAME="a.test, b.test")("plan", vmi=[]), 2, "GSS_TSIG_HOSTNAME has 2 names")
    with_key = ksd.but("GSS_TSIG", TSIG_KEY_FILE=Key().file(tmp_path))
    failed(with_key("plan", vmi=[]), 2, "GSS_TSIG_HOSTNAME is set without GSS_TSIG=true")


def test_without_the_extra_the_error_says_how_to_install_it() -> None:
    with (
        mock.patch.dict(sys.modules, {"gssapi": None}),
        pytest.raises(SettingsError, match=re.escape("pip install 'ksd-ddns[gss]'")),
    ):
        gss.NegotiatedKey(HOST)


def test_each_server_can_have_its_own_service_name(realm: Realm, tmp_path: Path) -> None:
    realm.add("DNS/a.example.test", "DNS/b.example.test")
    with (
        Bind(zones={"vm.": ""}, **realm.bind("DNS/a.example.test", POLICY)) as first,
        Bind(zones={"vm.": ""}, **realm.bind("DNS/b.example.test", POLICY)) as second,
    ):
        given = settings(first, second) | {"GSS_TSIG_HOSTNAME": "a.example.test, b.example.test"}
        ksd = Command(tmp_path, given | realm.client("ksd"))
        assert ksd("apply", vmi=[DB]).code == 0
        first.stop()
        assert ksd("apply", vmi=[DB]).code == 0
        assert second.query("db.prod.vm", "A") == ["10.1.0.9"]


@pytest.mark.usefixtures("as_ksd")
def test_a_key_that_is_refused_on_a_later_connection_is_negotiated_again_once(realm: Realm) -> None:
    with Bind(zones={"vm.": ""}, **realm.bind(SERVICE, 'grant "stranger@KSD.TEST" zonesub ANY;')) as bind:
        peer = Peer(Address(bind.address, bind.port), gss.NegotiatedKey(HOST))
        with closing(Session([peer], timeout=5)) as session:
            sender = Sender(session, VM)
            change = ZoneClient(session).plan([DB]).changes[0]
            keys: list[object] = []
            results: list[Result] = []
            for _ in range(3):
                sender.send([batch([change])], lambda answer: results.append(answer.result))
                with session.keep_connection():
                    keys.append(session.open_update_exchange(VM).key)
                if len(results) == 1:
                    session.close()
    assert results == [Result.REFUSED, Result.UNSENT, Result.REFUSED]
    assert keys[0] is not keys[1]
    assert keys[1] is keys[2]


class Forgetful:
    """Two hooks that make a server forget its first `count` keys: it refuses as Samba's internal DNS server does."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.keys: list[bytes] = []
        self._refused: dict[bytes, bytes] = {}

    def request(self, message: bytes) -> Iterable[bytes]:
        """Note the key of a request."""
        signature = codec.read(message).tsig
        if signature is not None:
            if signature[0] not in self.keys:
                self.keys.append(signature[0])
            if self.keys.index(signature[0]) < self._count:
                self._refused[message[:2]] = message
        return [message]

    def response(self, message: bytes) -> Iterable[bytes]:
        """Return REFUSED with the signature of the request if the key is forgotten."""
        request = self._refused.pop(message[:2], None)
        return [message if request is None else request[:2] + bytes([request[2] | 0x80, rcodes.REFUSED]) + request[4:]]


@pytest.mark.parametrize("ask", [Session.serial, Session.place, Session.transfer], ids=["serial", "place", "transfer"])
@pytest.mark.usefixtures("as_ksd")
def test_a_query_whose_key_the_server_forgot_is_sent_again_once(
    bind: Bind, ask: Callable[[Session, bytes], object]
) -> None:
    hooks = Forgetful(1)
    with Proxy(bind, request=hooks.request, response=hooks.response) as proxy:
        peer = Peer(proxy.address, gss.NegotiatedKey(HOST))
        with closing(Session([peer], timeout=5)) as session:
            answer = ask(session, VM)
    assert not isinstance(answer, Placed) or answer.zone == VM
    assert len(hooks.keys) == 2


@pytest.mark.usefixtures("as_ksd")
def test_a_query_that_is_refused_with_a_new_key_too_is_an_error(bind: Bind) -> None:
    hooks = Forgetful(9)
    with Proxy(bind, request=hooks.request, response=hooks.response) as proxy:
        peer = Peer(proxy.address, gss.NegotiatedKey(HOST))
        with closing(Session([peer], timeout=5)) as session, pytest.raises(Denied, match="REFUSED"):
            session.serial(VM)
    assert len(hooks.keys) == 2
