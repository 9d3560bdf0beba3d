# SPDX-License-Identifier: Apache-2.0
"""TLS to a BIND for updates and transfers (RFC 9103), with valid and invalid certificates on both sides."""

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import vmis
from harness.certificates import Authority, Pair, openssl
from harness.servers import Bind, Knot, Port, Server, program
from harness.vmis import vmi
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Connection
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.primary.tls import tls
from ksd_ddns.wire import names
from tests.controller.running import Running
from tests.e2e.command import Command, Done

HOST = "ns.example.test"
VM = names.from_text("vm.")
DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
LARGE = "\n".join(f"host-with-a-long-name-{i} A 10.9.{i >> 8}.{i & 255}" for i in range(20_000))


class Secured(NamedTuple):
    """A BIND and its TLS ports, by their certificate or requirement of a client certificate."""

    bind: Server
    authority: Authority
    ports: dict[str, int]

    def settings(self, port: str = "right", **more: object) -> dict[str, str]:
        return {
            "DNS_SERVER": f"127.0.0.1:{self.ports[port]}",
            "DNS_TLS": "true",
            "DNS_TLS_CA": str(self.authority.certificate),
            "DNS_TLS_HOSTNAME": HOST,
            "TSIG_KEY_FILE": str(self.bind.key_file),
            **{name: str(value) for name, value in more.items()},
        }


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an untrusted authority."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Pair:
    return authority.pair("client", "DNS:ksd-ddns.example.test")


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[Secured]:
    """Yield a BIND with every kind of TLS and a large zone; tests remove nothing from it."""
    right = authority.pair("right", f"DNS:{HOST}, DNS:localhost, IP:127.0.0.1")
    expired = authority.pair("expired", f"DNS:{HOST}", made="-9d")
    early = authority.pair("early", f"DNS:{HOST}", made="+9d")
    mutual = f'ca-file "{authority.certificate}";'
    kinds = {
        "right": _statement("right", right),
        "old-tls": _statement("old-tls", right, "protocols { TLSv1.2; };"),
        "expired": _statement("expired", expired),
        "early": _statement("early", early),
        "mutual": _statement("mutual", right, mutual),
        "old-mutual": _statement("old-mutual", right, mutual + " protocols { TLSv1.2; };"),
    }
    ports = {name: Port.reserve() for name in kinds}
    listen = "".join(f"listen-on port {port.number} tls {name} {{ 127.0.0.1; }};\n" for name, port in ports.items())
    with Bind(zones={"vm.": LARGE}, extra="".join(kinds.values()), options=f"{listen} tcp-idle-timeout 5;") as bind:
        yield Secured(bind, authority, {name: port.number for name, port in ports.items()})
        print(bind.log()[-5000:])
    for port in ports.values():
        port.release()


def _statement(name: str, pair: Pair, more: str = "") -> str:
    return f'tls {name} {{ cert-file "{pair.certificate}"; key-file "{pair.key}"; {more} }};\n'


@pytest.fixture
def ksd(secured: Secured, tmp_path: Path) -> Callable[..., Command]:
    """Return a factory of commands that speak TLS with one of the ports."""

    def make(port: str = "right", *without: str, **more: object) -> Command:
        return Command(tmp_path, secured.settings(port, **more)).but(*without)

    return make


def failed(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


# What works


def test_a_ca_certificate_that_strict_checks_reject_is_accepted(tmp_path: Path) -> None:
    """Python 3.13 and later sets VERIFY_X509_STRICT: what works with 3.11 must work there."""
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca", identifiers=False)
    port = Port.reserve()
    statement = _statement("lax", authority.pair("server", f"DNS:{HOST}"))
    with Bind(
        zones={"vm.": ""}, extra=statement, options=f"listen-on port {port.number} tls lax {{ 127.0.0.1; }};"
    ) as bind:
        settings = Secured(bind, authority, {"lax": port.number}).settings("lax")
        done = Command(tmp_path, settings)("apply", vmi=[DB])
        assert done.code == 0, done.err
        assert bind.query("db.prod.vm", "A") == ["10.1.0.9"]
    port.release()


@pytest.mark.parametrize("port", ["right", "old-tls"])
def test_updates_and_transfers_use_tls(secured: Secured, ksd: Callable[..., Command], port: str) -> None:
    done = ksd(port)("apply", vmi=[vmi(port, "prod", {"net1": ["10.1.0.9"]})])
    assert done.code == 0, done.err
    assert secured.bind.query(f"net1.{port}.prod.vm", "A") == ["10.1.0.9"]
    assert f"net1.{port}.prod.vm. 60 A 10.1.0.9" in ksd(port)("list").out


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_host_in_dns_server_is_the_name_in_the_certificate(
    secured: Secured, ksd: Callable[..., Command], host: str
) -> None:
    command = ksd("right", "DNS_TLS_HOSTNAME", DNS_SERVER=f"{host}:{secured.ports['right']}")
    assert command("list").code == 0


def test_a_large_transfer_is_the_same_with_and_without_tls(secured: Secured) -> None:
    key = keys.read_key_file(secured.bind.key_file)
    plain = Peer(Address("127.0.0.1", secured.bind.port), key)
    hidden = Peer(Address("127.0.0.1", secured.ports["right"]), key, tls=tls(HOST, ca=secured.authority.certificate))
    with closing(Session([plain], timeout=5)) as one, closing(Session([hidden], timeout=5)) as other:
        assert (found := other.read(VM).nodes) == one.read(VM).nodes
        assert len(found) > 20_000


def test_many_messages_can_be_in_flight(secured: Secured, ksd: Callable[..., Command]) -> None:
    many = [vmi(f"vm{i}", "flight", {"net1": [f"10.2.{i >> 8}.{i & 255}"]}) for i in range(2000)]
    assert ksd(UPDATE_BATCH=50)("apply", vmi=many).code == 0
    assert secured.bind.query("net1.vm1999.flight.vm", "A") == ["10.2.7.207"]
    assert ksd()("apply", "--force", vmi=[]).code == 0


def need_knot_with_tls() -> None:
    version = subprocess.run([program("knotd"), "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < (3, 4):
        pytest.skip("this Knot has no TLS")


def test_updates_and_transfers_use_tls_with_knot(authority: Authority, tmp_path: Path) -> None:
    """Knot 3.4 and 3.5 close the connection when an update arrives while they process another one."""
    need_knot_with_tls()
    port = Port.reserve()
    pair = authority.pair("knot", f"DNS:{HOST}")
    options = f"listen-tls: 127.0.0.1@{port.number}\ncert-file: {pair.certificate}\nkey-file: {pair.key}"
    with Knot(zones={"vm.": ""}, options=options) as knot:
        settings = Secured(knot, authority, {"knot": port.number}).settings("knot", UPDATE_BATCH=20)
        many = [vmi(f"vm{i}", "prod", {"net1": [f"10.2.0.{i}"]}) for i in range(100)]
        done = Command(tmp_path, settings)("apply", vmi=many)
        assert done.code == 0, done.err
        assert knot.query("net1.vm99.prod.vm", "A") == ["10.2.0.99"]
    port.release()


def test_tls_only_transfers_work(authority: Authority, tmp_path: Path) -> None:
    port = Port.reserve()
    statement = _statement("only", authority.pair("only", f"DNS:{HOST}"))
    rights = 'allow-transfer transport tls { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." zonesub ANY; };'
    listen = f"listen-on port {port.number} tls only {{ 127.0.0.1; }};"
    with Bind(zones={"vm.": ""}, extra=statement, options=listen, zone_options=rights) as bind:
        secured = Secured(bind, authority, {"right": port.number})
        hidden = Command(tmp_path, secured.settings())
        plain = Command(tmp_path, {"DNS_SERVER": f"127.0.0.1:{bind.port}", "TSIG_KEY_FILE": str(bind.key_file)})
        failed(plain("apply", vmi=[DB]), 4, "refused the transfer of vm.", "allow-transfer")
        assert hidden("apply", vmi=[DB]).code == 0
    port.release()


@pytest.mark.parametrize("kind", [Bind, Knot], ids=["bind9", "knot"])
def test_a_zone_that_is_not_transferred_is_read_by_queries(
    authority: Authority, tmp_path: Path, kind: type[Bind] | type[Knot]
) -> None:
    port = Port.reserve()
    pair = authority.pair("queries", f"DNS:{HOST}")
    if kind is Knot:
        need_knot_with_tls()
        rights = "  - id: ours\n    key: ksd-ddns.\n    action: [query, update]\n"
        listen = f"listen-tls: 127.0.0.1@{port.number}\ncert-file: {pair.certificate}\nkey-file: {pair.key}"
        server: Bind | Knot = Knot(zones={"vm.": ""}, options=listen, extra=rights, zone_options="acl: ours")
    else:
        rights = 'allow-transfer { none; }; update-policy { grant "ksd-ddns." zonesub ANY; };'
        listen = f"listen-on port {port.number} tls queries {{ 127.0.0.1; }};"
        statement = _statement("queries", pair)
        server = Bind(zones={"vm.": ""}, extra=statement, options=listen, zone_options=rights)
    many = [vmi(f"vm{i}", "prod", {"net1": [f"10.2.0.{i}"]}) for i in range(100)]
    with server:
        ksd = Command(tmp_path, Secured(server, authority, {"right": port.number}).settings(READ="queries"))
        assert ksd.but("READ")("plan", vmi=many).code == 4, "a transfer is refused"
        assert ksd("apply", vmi=many).code == 0
        assert ksd("plan", "--exit-code", vmi=many).code == 0
        assert server.query("net1.vm99.prod.vm", "A") == ["10.2.0.99"]
        assert ksd("apply", "--force", vmi=[]).code == 0, "the index lists the names"
        assert server.query("net1.vm99.prod.vm", "A") == []
    port.release()


def test_each_message_is_a_record_of_its_own(authority: Authority) -> None:
    """Knot 3.4 and 3.5 answer only the first message of a record."""
    pair = authority.pair("records", f"DNS:{HOST}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    sizes: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                sizes.extend(len(peer.recv(65_535)) for _ in range(3))  # at most one record each

        server = threading.Thread(target=serve)
        server.start()
        with Connection(
            Address(*listener.getsockname()), timeout=5, tls=tls(HOST, ca=authority.certificate)
        ) as connection:
            connection.send_all([bytes(20), bytes(30)])
            connection.send(bytes(40))
            server.join(10)
    assert sizes == [22, 32, 42]


def test_session_tickets_do_not_end_a_connection(secured: Secured) -> None:
    place = Address("127.0.0.1", secured.ports["right"])
    with Connection(place, timeout=5, tls=tls(HOST, ca=secured.authority.certificate)) as connection:
        time.sleep(0.3)  # TLS 1.3: by now the server has sent its tickets
        assert connection.usable
        assert connection.usable


def test_a_connection_closed_by_the_server_is_reopened(secured: Secured) -> None:
    """The server closes after half a second of silence; by default, after half a minute."""
    peer = Peer(
        Address("127.0.0.1", secured.ports["right"]),
        keys.read_key_file(secured.bind.key_file),
        tls=tls(HOST, ca=secured.authority.certificate),
    )
    with closing(Session([peer], timeout=5)) as session:
        before = session.open_update_exchange(VM).connection
        assert session.serial(VM) > 0
        deadline = time.monotonic() + 20
        while before.usable:
            assert time.monotonic() < deadline, "the server keeps the connection"
            time.sleep(0.1)
        assert session.serial(VM) > 0
        assert session.open_update_exchange(VM).connection is not before


# Certificates of the server


@pytest.mark.parametrize(
    ("port", "settings", "words"),
    [
        pytest.param(
            "right",
            {"DNS_TLS_HOSTNAME": "other.test"},
            ("other.test", "Hostname mismatch", "set DNS_TLS_HOSTNAME"),
            id="name",
        ),
        pytest.param("expired", {}, ("certificate has expired", "renew it"), id="expired"),
        pytest.param("early", {}, ("certificate is not yet valid",), id="not-yet"),
        pytest.param("right", {"DNS_TLS_CA": ""}, ("local issuer", "set DNS_TLS_CA to the CA"), id="unknown-ca"),
    ],
)
def test_an_invalid_server_certificate_is_reported(
    secured: Secured, ksd: Callable[..., Command], port: str, settings: dict[str, str], words: tuple[str, ...]
) -> None:
    done = ksd(port, **settings)("apply", vmi=[DB])
    failed(done, 3, f"the certificate of 127.0.0.1:{secured.ports[port]} is not accepted", *words)


def test_another_ca_with_the_same_name_is_rejected(ksd: Callable[..., Command], stranger: Authority) -> None:
    done = ksd(DNS_TLS_CA=stranger.certificate)("apply", vmi=[DB])
    failed(done, 3, "is not accepted", "local issuer")


def test_the_next_server_is_used_when_a_certificate_has_expired(secured: Secured, ksd: Callable[..., Command]) -> None:
    both = f"127.0.0.1:{secured.ports['expired']}, 127.0.0.1:{secured.ports['right']}"
    assert ksd(DNS_SERVER=both)("list").code == 0
    wrong = f"127.0.0.1:{secured.ports['expired']}, 127.0.0.1:{secured.ports['early']}"
    failed(ksd(DNS_SERVER=wrong)("list"), 3, "certificate has expired", "certificate is not yet valid")


# Certificates of ours


@pytest.mark.parametrize("port", ["mutual", "old-mutual"])
def test_a_client_certificate_authenticates_the_client(ksd: Callable[..., Command], client: Pair, port: str) -> None:
    done = ksd(port, DNS_TLS_CERT=client.certificate, DNS_TLS_KEY=client.key)("list")
    assert done.code == 0, done.err


def test_certificate_and_key_can_be_in_one_file(ksd: Callable[..., Command], client: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(client.key.read_bytes() + client.certificate.read_bytes())
    assert ksd("mutual", DNS_TLS_CERT=both)("list").code == 0


@pytest.mark.parametrize("port", ["mutual", "old-mutual"])
def test_a_missing_client_certificate_is_reported(ksd: Callable[..., Command], port: str) -> None:
    failed(ksd(port)("list"), 3, "DNS_TLS_CERT")


@pytest.mark.parametrize("port", ["mutual", "old-mutual"])
@pytest.mark.parametrize("which", ["stranger", "expired"])
def test_a_rejected_client_certificate_is_reported(
    ksd: Callable[..., Command], authority: Authority, stranger: Authority, port: str, which: str
) -> None:
    names = "DNS:ksd-ddns.example.test"
    pair = stranger.pair(port, names) if which == "stranger" else authority.pair(f"{port}-old", names, made="-9d")
    done = ksd(port, DNS_TLS_CERT=pair.certificate, DNS_TLS_KEY=pair.key)("list")
    failed(done, 3, "DNS_TLS_CERT")


# TLS on one side only


def test_a_server_without_tls_is_reported(secured: Secured, ksd: Callable[..., Command]) -> None:
    done = ksd(DNS_SERVER=f"127.0.0.1:{secured.bind.port}", DNS_TIMEOUT="300ms")("list")
    failed(done, 3, f"no TLS with 127.0.0.1:{secured.bind.port}", "does it speak TLS on this port (DNS_PORT)")


def test_a_server_that_requires_tls_is_reported(secured: Secured, tmp_path: Path) -> None:
    settings = secured.settings(DNS_TIMEOUT="2s")
    plain = {name: value for name, value in settings.items() if not name.startswith("DNS_TLS")}
    failed(Command(tmp_path, plain)("list"), 3, "closed the connection", "does it require TLS (DNS_TLS=true)?")


# Files and settings


def test_invalid_certificate_files_are_an_error(
    ksd: Callable[..., Command], client: Pair, authority: Authority, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    missing = tmp_path / "missing.pem"
    other = authority.pair("other", "DNS:other.test")
    locked = tmp_path / "locked.key"
    openssl("pkcs8", "-topk8", "-in", client.key, "-out", locked, "-passout", "pass:very-secret")
    failed(ksd(DNS_TLS_CA=missing)("list"), 2, f"DNS_TLS_CA: {missing} cannot be used: No such file")
    failed(ksd(DNS_TLS_CA=garbage)("list"), 2, f"DNS_TLS_CA: {garbage}", "PEM")
    failed(ksd(DNS_TLS_CERT=missing)("list"), 2, f"DNS_TLS_CERT, DNS_TLS_KEY: {missing}", "No such file")
    failed(ksd(DNS_TLS_CERT=client.certificate)("list"), 2, f"{client.certificate} cannot be used")
    failed(ksd(DNS_TLS_CERT=client.certificate, DNS_TLS_KEY=other.key)("list"), 2, "belong together")
    failed(ksd(DNS_TLS_CERT=client.certificate, DNS_TLS_KEY=locked)("list"), 2, "the private key is encrypted")


@pytest.mark.parametrize("name", ["DNS_TLS_CA", "DNS_TLS_CERT", "DNS_TLS_KEY", "DNS_TLS_HOSTNAME"])
def test_tls_settings_without_tls_are_an_error(secured: Secured, tmp_path: Path, client: Pair, name: str) -> None:
    given = {"DNS_SERVER": "127.0.0.1", "TSIG_KEY_FILE": str(secured.bind.key_file), name: str(client.key)}
    failed(Command(tmp_path, given)("list"), 2, f"{name} is set without DNS_TLS=true")


def test_a_key_without_its_certificate_is_an_error(ksd: Callable[..., Command], client: Pair) -> None:
    failed(ksd(DNS_TLS_KEY=client.key)("list"), 2, "DNS_TLS_KEY is set without DNS_TLS_CERT")


# Certificates that are renewed


def test_certificates_are_reloaded(
    secured: Secured, client: Pair, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """The server closes after half a second of silence, so the next query needs another connection."""
    ours, key, ca = (tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt"))
    shutil.copy(client.certificate, ours)
    shutil.copy(client.key, key)
    shutil.copy(authority.certificate, ca)
    source = tmp_path / "vmis.json"
    source.write_bytes(vmis.as_json(vmis.listing([])))
    settings = secured.settings("mutual", DNS_TLS_CA=ca, DNS_TLS_CERT=ours, DNS_TLS_KEY=key, DRIFT_INTERVAL="1s")
    with Running(tmp_path, settings, "--from", source) as ksd:
        ksd.wait_ready()
        ca.write_text("torn in the middle of being written")
        ksd.wait(
            lambda: "cannot be used, keeping" in ksd.log() and "DNS_TLS_CA" in ksd.log(),
            "a warning about the broken file",
        )
        time.sleep(1.5)
        assert ksd.ready, "what was read before is used"
        shutil.copy(stranger.certificate, ca)
        ksd.wait_problem("primary", "is not accepted")
        shutil.copy(authority.certificate, ca)
        ksd.wait_ready()
        renewed = authority.pair("renewed", "DNS:ksd-ddns.example.test")
        shutil.copy(renewed.certificate, ours)
        shutil.copy(renewed.key, key)
        ksd.wait(lambda: "files changed, read again" in ksd.log(), "the new certificate")
        time.sleep(1.5)
        assert ksd.ready


def test_a_renewed_server_certificate_is_accepted(authority: Authority, tmp_path: Path) -> None:
    """As docs/how-to/tls.md says: BIND takes a renewed certificate when it reads its configuration again."""
    port = Port.reserve()
    old, new = authority.pair("old", f"DNS:{HOST}", made="-9d"), authority.pair("new", f"DNS:{HOST}")
    served = Pair(tmp_path / "ns.crt", tmp_path / "ns.key")

    def serve(pair: Pair) -> None:
        shutil.copy(pair.certificate, served.certificate)
        shutil.copy(pair.key, served.key)

    serve(old)
    listen = f"listen-on port {port.number} tls own {{ 127.0.0.1; }};"
    with Bind(zones={"vm.": ""}, extra=_statement("own", served), options=listen) as bind:
        ksd = Command(tmp_path, Secured(bind, authority, {"right": port.number}).settings())
        failed(ksd("list"), 3, "certificate has expired")
        serve(new)
        bind.rndc("reconfig")
        assert ksd("list").code == 0
    port.release()


def test_a_context_verifies_and_names_its_protocol() -> None:
    context = tls(HOST).context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
