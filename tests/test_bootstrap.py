# SPDX-License-Identifier: Apache-2.0
"""The bundled primary: real servers run what bootstrap writes, and answer queries."""

import ipaddress
import os
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from harness.servers import Bind, Key, Knot, Record, Server, program, scratch
from ksd_ddns import bootstrap
from ksd_ddns.bootstrap import BundledPrimary, Outcome
from ksd_ddns.errors import SettingsError

SOMEBODY = 12345
SERVERS = pytest.mark.parametrize("server", ["bind9", "knot"])


@pytest.fixture
def directory() -> Iterator[Path]:
    # not tmp_path: Knot's control socket needs a short path
    path = scratch()
    yield path
    shutil.rmtree(path)


def bundled(server: str, directory: Path, **values: object) -> BundledPrimary:
    return BundledPrimary(server=server, directory=directory, **{"base": "vm.", **values})  # type: ignore[arg-type]


# What it serves


@pytest.mark.parametrize(
    ("base", "ips", "want"),
    [
        pytest.param("vm.", (), {("vm.", "NS", "localhost.")}, id="no-domain-no-address"),
        pytest.param("vm.example.", (), {("vm.example.", "NS", "localhost.")}, id="domain"),
        pytest.param(
            "VM.Example", (), {("vm.example.", "NS", "localhost.")}, id="upper-case-and-no-final-dot-are-folded"
        ),
        pytest.param(
            "vm.", ("192.0.2.53",), {("vm.", "NS", "ns.vm."), ("ns.vm.", "A", "192.0.2.53")}, id="ipv4-name-server"
        ),
        pytest.param(
            "vm.", ("2001:DB8::53",), {("vm.", "NS", "ns.vm."), ("ns.vm.", "AAAA", "2001:db8::53")}, id="ipv6"
        ),
        pytest.param(
            "vm.example.",
            ("192.0.2.53", "2001:db8::53", "192.0.2.53"),
            {
                ("vm.example.", "NS", "ns.vm.example."),
                ("ns.vm.example.", "A", "192.0.2.53"),
                ("ns.vm.example.", "AAAA", "2001:db8::53"),
            },
            id="both-families-with-domain",
        ),
    ],
)
def test_a_fresh_zone_holds_its_own_records_only(
    make_primary: Callable[..., Server], base: str, ips: tuple[str, ...], want: set[tuple[str, str, str]]
) -> None:
    server = make_primary(base=base, name_server_ips=ips)
    records = server.axfr(base, soa=False)
    assert {(record.owner, record.type, record.rdata) for record in records} == want
    assert {record.ttl for record in records} == {60}


def test_the_serial_of_a_new_zone_is_higher_than_that_of_a_lost_one(primary: Server) -> None:
    first = primary.serial()
    for number in range(3):
        primary.nsupdate(f"add a{number}.vm. 60 A 10.0.0.1")
    assert primary.serial() == first + 3
    time.sleep(0.3)
    text = bootstrap.zone_text(primary.bundled(), "vm.", serial=bootstrap.new_serial())
    begun = int(text.split(" SOA ")[1].split()[2])
    # RFC 1982, 3.2
    assert 0 < (begun - primary.serial()) % 2**32 < 2**31


def test_the_negative_ttl_is_30_seconds(primary: Server) -> None:
    answer = dns.query.udp(dns.message.make_query("nobody.vm.", "A"), primary.address, port=primary.port, timeout=5)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    (negative,) = answer.authority
    assert min(negative.ttl, negative[0].minimum) == 30
    # Some resolvers use only one of the two (RFC 2308, 5).
    (soa,) = (record for record in primary.axfr() if record.type == "SOA")
    assert (soa.ttl, soa.rdata.split()[-1]) == (30, "30")


@pytest.mark.parametrize("kind", [Bind, Knot])
def test_the_server_listens_on_ipv6(kind: type[Server]) -> None:
    with kind(address="::1") as server:
        server.nsupdate("add a.vm. 60 AAAA fd00::1")
        assert server.query("a.vm.", "AAAA") == ["fd00::1"]


@pytest.mark.parametrize("kind", [Bind, Knot])
@pytest.mark.parametrize(("address", "asked"), [("0.0.0.0", {"127.0.0.1"}), ("::", {"127.0.0.1", "::1"})])
def test_the_server_listens_on_all_addresses(kind: type[Server], address: str, asked: set[str]) -> None:
    query = dns.message.make_query("vm.", "SOA")
    with kind(address="127.0.0.1") as server:
        server.stop()
        server.configuration.unlink()
        bootstrap.write(
            bundled(server.kind, server.directory, port=server.port, address=address),
        )
        server.start()
        for one in asked:
            assert dns.query.udp(query, one, port=server.port, timeout=5).answer
            assert dns.query.tcp(query, one, port=server.port, timeout=5).answer


def test_the_server_is_authoritative_only_and_hides_its_version(primary: Server) -> None:
    query = dns.message.make_query("www.example.com.", "A")
    answer = dns.query.udp(query, primary.address, port=primary.port, timeout=5)
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.flags & dns.flags.RA
    for name in ("version.bind.", "version.server.", "hostname.bind.", "id.server."):
        assert primary.query(name, "TXT") == []
        assert not [line for line in primary.dig("CH", "TXT", name, "+short").splitlines() if line.strip('"')]
    assert "NSID" not in primary.dig("+nsid", "vm.", "SOA")


def test_answers_are_minimal(make_primary: Callable[..., Server]) -> None:
    server = make_primary(name_server_ips=("192.0.2.53",))
    server.nsupdate("add a.vm. 60 A 10.0.0.1")
    query = dns.message.make_query("a.vm.", "A", use_edns=True)
    answer = dns.query.udp(query, server.address, port=server.port, timeout=5)
    assert answer.flags & dns.flags.AA
    assert (len(answer.answer), len(answer.authority), len(answer.additional)) == (1, 0, 0)


def test_a_slow_reader_gets_the_full_zone(primary: Server) -> None:
    # More than the socket buffers of both ends hold: the server has to wait for its reader.
    primary.stop()
    with primary.zone_path("vm.").open("a") as zone:
        zone.writelines(
            f"n{i}.namespace-of-some-length A 10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n" for i in range(150_000)
        )
    primary.start()
    query = dns.message.make_query("vm.", "AXFR")
    query.use_tsig(dns.tsigkeyring.from_text({primary.key_name: primary.secret}))
    wire = query.to_wire()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        connection.settimeout(10)
        connection.connect((primary.address, primary.port))
        connection.sendall(len(wire).to_bytes(2, "big") + wire)
        time.sleep(1.5)
        stream = connection.makefile("rb")
        records = 0
        while records < 150_003:  # with the NS and the SOA at both ends
            message = stream.read(int.from_bytes(stream.read(2), "big"))
            assert message, f"cut after {records} records"
            records += int.from_bytes(message[6:8], "big")
        stream.close()
    assert records == 150_003


# Who may do what


def test_transfers_require_the_key(primary: Server) -> None:
    (stranger,) = (Key("stranger.").file(primary.directory),)
    wrong = Key("ksd-ddns.").file(primary.directory)
    for key in (None, stranger, wrong):
        refusal = primary.dig("vm.", "AXFR", key=key, check=False)
        assert "Transfer failed" in refusal
        assert "hostmaster" not in refusal
        assert "hostmaster" not in primary.dig("vm.", "IXFR=1", "+noall", "+answer", "+tcp", key=key, check=False)
    assert primary.axfr()


@pytest.mark.parametrize(
    "key", [None, Key("stranger."), Key("ksd-ddns.")], ids=["unsigned", "stranger", "wrong-secret"]
)
def test_updates_require_the_key(primary: Server, key: Key | None) -> None:
    before = primary.axfr()
    path = None if key is None else key.file(primary.directory)
    primary.nsupdate("add a.vm. 60 A 10.0.0.1", key=path, check=False)
    assert primary.axfr() == before


@pytest.mark.parametrize(
    "record",
    [
        pytest.param("net1.db.prod.vm. 60 A 10.0.0.1", id="A"),
        pytest.param("net1.db.prod.vm. 60 AAAA fd00::1", id="AAAA"),
        pytest.param('db.prod.vm. 60 TXT "heritage=ksd-ddns,owner=default,vmi=prod/db"', id="TXT"),
        pytest.param("net_1.-db-.prod.vm. 60 A 10.0.0.1", id="odd-labels"),
        pytest.param("vm. 60 NS ns.vm.", id="apex-NS"),
    ],
)
def test_the_key_can_write_what_the_controller_writes(primary: Server, record: str) -> None:
    owner, ttl, rdtype, rdata = record.split(None, 3)
    # nsupdate checks host names itself
    primary.nsupdate(f"check-names no\nadd ns.vm. 60 A 192.0.2.1\nadd {record}")
    assert Record(owner, int(ttl), rdtype, rdata) in primary.axfr()
    primary.nsupdate(f"del {owner} {rdtype} {rdata}")
    if rdtype != "NS":  # the last NS of an apex stays (RFC 2136, 3.4.2.4)
        assert primary.query(owner, rdtype) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("add a.vm. 60 MX 10 b.vm.", id="MX"),
        pytest.param("add a.vm. 60 CNAME b.vm.", id="CNAME"),
        pytest.param("add a.vm. 60 SSHFP 1 1 aabbccddeeff00112233445566778899aabbccdd", id="SSHFP"),
        pytest.param("add vm. 60 SOA localhost. hostmaster.vm. 4000000000 1 1 1 1", id="SOA"),
        pytest.param("del vm. NS", id="all-NS"),
        pytest.param("add a.example. 60 A 10.0.0.1", id="outside-the-zone"),
    ],
)
def test_the_key_can_write_nothing_else(primary: Server, change: str) -> None:
    before = primary.axfr()
    primary.nsupdate(change, zone="vm.", check=False)
    assert primary.axfr() == before


def test_bind_allows_no_delegation_below_the_apex(bind: Bind) -> None:
    before = bind.axfr()
    bind.nsupdate("add prod.vm. 60 NS ns.example.", check=False)
    assert bind.axfr() == before


def test_the_server_evaluates_all_kinds_of_prerequisites(primary: Server) -> None:
    primary.nsupdate("prereq nxdomain a.vm.\nprereq nxrrset vm. SSHFP\nprereq yxdomain vm.\nadd a.vm. 60 A 10.0.0.1")
    primary.nsupdate(
        "prereq yxrrset a.vm. A 10.0.0.1\nprereq nxrrset a.vm. CNAME\ndel a.vm. A\nadd a.vm. 60 A 10.0.0.2"
    )
    primary.nsupdate("prereq yxrrset a.vm. A 10.0.0.1\nadd a.vm. 60 A 10.0.0.3", check=False)
    assert primary.query("a.vm.", "A") == ["10.0.0.2"]


def test_name_server_and_vmi_fit_in_one_message(primary: Server) -> None:
    primary.nsupdate("add ns.vm. 60 A 192.0.2.53\nadd vm. 60 NS ns.vm.\ndel vm. NS localhost.\nadd a.vm. 60 A 10.0.0.1")
    assert primary.query("vm.", "NS") == ["ns.vm."]


def test_knsupdate_can_update_knot_with_the_key(knot: Knot) -> None:
    knot.knsupdate("add a.vm. 60 A 10.0.0.1")
    assert knot.query("a.vm.", "A") == ["10.0.0.1"]


def test_sixteen_addresses_fit_on_one_name(primary: Server) -> None:
    wanted = {f"10.0.0.{i}" for i in range(16)}
    primary.nsupdate("\n".join(f"add a.vm. 60 A {address}" for address in wanted))
    assert set(primary.query("a.vm.", "A")) == wanted


# What survives


def test_a_killed_server_loses_no_acknowledged_update(primary: Server) -> None:
    acknowledged: list[str] = []
    keyring = dns.tsigkeyring.from_text({primary.key_name: primary.secret})
    started = threading.Event()

    def update() -> None:
        with socket.create_connection((primary.address, primary.port), timeout=10) as connection:
            for i in range(1_000_000):
                message = dns.update.UpdateMessage("vm.", keyring=keyring)
                message.add(f"n{i}", 60, "A", f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}")
                try:
                    answer = dns.query.tcp(message, primary.address, sock=connection, timeout=10)
                except (OSError, EOFError):
                    return
                assert answer.rcode() == dns.rcode.NOERROR
                acknowledged.append(f"n{i}.vm.")
                if i == 20:
                    started.set()

    with ThreadPoolExecutor(1) as pool:
        updates = pool.submit(update)
        started.wait(30)
        time.sleep(0.2)  # at any moment: between two updates or within one
        primary.kill()
        updates.result(30)
    primary.start()
    found = {record.owner for record in primary.axfr() if record.type == "A"}
    assert len(acknowledged) > 20
    assert set(acknowledged) <= found
    assert len(found) - len(acknowledged) in (0, 1)  # the update in flight
    primary.nsupdate("add after.vm. 60 A 10.0.0.1")
    primary.restart()
    assert {record.owner for record in primary.axfr() if record.type == "A"} == found | {"after.vm."}


def test_an_update_does_not_rewrite_the_zone_file(primary: Server) -> None:
    path = primary.zone_path("vm.")
    before = path.read_bytes(), path.stat().st_mtime_ns
    primary.nsupdate("add a.vm. 60 A 10.0.0.1")
    primary.restart()
    assert primary.query("a.vm.", "A") == ["10.0.0.1"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_the_journal_answers_ixfr_after_a_restart(primary: Server) -> None:
    # BIND sends the full zone if it is shorter, so make it longer than its latest changes
    primary.nsupdate("\n".join(f"add m{i}.vm. 60 A 10.0.1.{i & 255}" for i in range(500)))
    serial = primary.serial()
    for i in range(30):
        primary.nsupdate(f"add n{i}.vm. 60 A 10.0.0.{i}")
    primary.kill()
    primary.start()
    text = primary.dig("vm.", f"IXFR={serial}", "+noall", "+answer", key=True)
    assert f" {serial} " in text.splitlines()[1]  # the old SOA comes second: differences, not the whole zone
    assert "n29.vm." in text
    assert "m0.vm." not in text


def test_the_server_runs_as_any_user_and_writes_only_in_its_directory(make_primary: Callable[..., Server]) -> None:
    server = make_primary(uid=SOMEBODY)
    if os.getuid() == 0:
        uids = re.search(r"^Uid:\s+(\d+)\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text(), re.MULTILINE)
        assert uids
        assert {int(uids[1]), int(uids[2])} == {SOMEBODY}
    server.nsupdate("add a.vm. 60 A 10.0.0.1")
    server.kill()
    server.start()
    assert server.query("a.vm.", "A") == ["10.0.0.1"]
    assert not re.search(r"permission denied|could ?n.t|could not|unable|failed", server.log(), re.IGNORECASE)
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("/") and not target.startswith(("/dev/null", "/tmp/knot-confdb.")):
            assert Path(target).is_relative_to(server.directory), target


def test_the_server_starts_as_root(make_primary: Callable[..., Server]) -> None:
    server = make_primary()  # as the current user
    server.nsupdate("add a.vm. 60 A 10.0.0.1")
    server.restart()
    assert server.query("a.vm.", "A") == ["10.0.0.1"]


def test_the_configuration_causes_no_warning(primary: Server) -> None:
    if primary.kind == "bind9":
        check = [program("named-checkconf"), "-z", str(primary.configuration)]
        assert "warn" not in primary.log().lower()
    else:
        check = [program("knotc"), "-c", str(primary.configuration), "conf-check"]
        assert "warning" not in primary.log()
    done = subprocess.run(check, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"(zone vm/IN: loaded serial \d+\n)|Configuration is valid\n", done.stdout + done.stderr)


# Files that are written


@SERVERS
def test_a_second_run_changes_nothing(server: str, directory: Path) -> None:
    primary = bundled(server, directory / "new" / "place")
    assert {file.outcome for file in bootstrap.write(primary)} == {Outcome.WRITTEN}
    before = {path: path.read_bytes() for path in primary.directory.iterdir()}
    assert {file.path for file in bootstrap.write(primary)} == set(before)
    assert {file.outcome for file in bootstrap.write(primary)} == {Outcome.KEPT}
    assert {path: path.read_bytes() for path in primary.directory.iterdir()} == before


def test_a_second_run_next_to_a_running_server_changes_nothing(primary: Server) -> None:
    primary.nsupdate("add a.vm. 60 A 10.0.0.1")
    before = primary.axfr()
    bootstrap.write(primary.bundled())
    primary.kill()
    bootstrap.write(primary.bundled())
    primary.start()
    assert primary.axfr() == before


@SERVERS
def test_keys_are_readable_only_by_their_owner(server: str, directory: Path) -> None:
    old = os.umask(0)
    try:
        bootstrap.write(bundled(server, directory))
    finally:
        os.umask(old)
    secret = re.findall(r'secret "(.+?)"', (directory / "ksd-ddns.key").read_text())[0]
    holders = [path for path in directory.iterdir() if secret in path.read_text()]
    assert len(holders) == (1 if server == "bind9" else 2)
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}


@SERVERS
def test_each_primary_gets_its_own_key(server: str, directory: Path) -> None:
    files = [bundled(server, directory / name) for name in "ab"]
    for primary in files:
        bootstrap.write(primary)
    assert files[0].key_file.read_bytes() != files[1].key_file.read_bytes()


def test_the_key_file_has_the_format_of_tsig_keygen(directory: Path) -> None:
    primary = bundled("bind9", directory, key_name="Other-Key")
    bootstrap.write(primary)
    theirs = subprocess.run([program("tsig-keygen"), "other-key."], capture_output=True, text=True, check=True).stdout
    theirs = theirs.replace('"other-key"', '"other-key."')  # BIND 9.20 drops the final dot
    secret = re.compile(r'secret "[A-Za-z0-9+/]{43}="')
    assert secret.sub("", primary.key_file.read_text()) == secret.sub("", theirs)


@pytest.mark.parametrize("kind", [Bind, Knot])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param('key "theirs." {{ algorithm hmac-sha512; secret "{}"; }};', id="one-line"),
        pytest.param("key theirs {{\n secret {};\n algorithm HMAC-SHA256;\n}};\n", id="unquoted-and-in-another-order"),
        pytest.param(
            '// key "x" {{ }};\n/* secret\n*/ key "theirs." {{ # mine\n algorithm "hmac-sha256"; secret "{}"; }};',
            id="comments",
        ),
    ],
)
def test_an_existing_key_is_used(kind: type[Server], text: str) -> None:
    secret = "c2VjcmV0//VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0+w=="  # with // inside: no comment
    if "secret {};" in text:
        secret = secret.replace("/", "A")
    with kind() as server:
        server.stop()
        algorithm = "hmac-sha512" if "sha512" in text else "hmac-sha256"
        server.key_file.write_text(text.format(secret))
        for path in (server.configuration, server.directory / "knot-key.conf"):
            path.unlink(missing_ok=True)
        bootstrap.write(server.bundled())
        assert server.key_file.read_text() == text.format(secret)
        server.start()
        key = Key("theirs.", algorithm, secret).file(server.directory)
        server.nsupdate("add a.vm. 60 A 10.0.0.1", key=key)
        assert server.axfr(key=key)


@SERVERS
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "holds no key clause", id="empty"),
        pytest.param("hmac-sha256:ksd-ddns.:c2VjcmV0", "holds no key clause", id="form-of-knsupdate"),
        pytest.param('key "a." { algorithm hmac-sha256; secret "%%%"; };', "no secret in base64", id="not-base64"),
        pytest.param('key "a." { algorithm hmac-sha256; secret "abcd==="; };', "is not base64", id="padding"),
        pytest.param('key "a." { algorithm hmac-md5; secret "c2VjcmV0"; };', "MD5 is broken", id="md5"),
        pytest.param('key "a." { algorithm hmac-sha256; };', "has no secret", id="no-secret"),
        pytest.param("\xff\xfe\x00", "is not text", id="binary"),
        pytest.param(
            'key "a." { algorithm hmac-sha256; secret "aaaa"; }; key "b." { algorithm hmac-sha256; secret "bbbb"; };',
            "holds 2 key clauses",
            id="two",
        ),
        pytest.param(
            'key a$b { algorithm hmac-sha256; secret "aaaa"; };', "is not a domain name", id="name-of-odd-characters"
        ),
    ],
)
def test_an_invalid_key_file_is_an_error_and_unchanged(server: str, directory: Path, text: str, problem: str) -> None:
    path = directory / "ksd-ddns.key"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match=problem) as e:
        bootstrap.write(bundled(server, directory))
    assert str(path) in str(e.value)
    assert "remove it" in str(e.value)
    assert "aaaa" not in str(e.value)
    assert list(directory.iterdir()) == [path]
    assert path.read_text(encoding="latin-1") == text


def test_different_keys_in_two_files_of_knot_are_reported(directory: Path) -> None:
    primary = bundled("knot", directory)
    bootstrap.write(primary)
    primary.key_file.unlink()
    with pytest.raises(SettingsError, match=r"knot-key\.conf holds another key than .*ksd-ddns\.key: remove"):
        bootstrap.write(primary)


@SERVERS
def test_a_changed_configuration_is_kept_and_reported(server: str, directory: Path) -> None:
    primary = bundled(server, directory)
    bootstrap.write(primary)
    mine = primary.configuration.read_text() + "# mine\n"
    primary.configuration.write_text(mine)
    outcomes = {file.path: file.outcome for file in bootstrap.write(primary)}
    assert outcomes.pop(primary.configuration) is Outcome.DIFFERS
    assert set(outcomes.values()) == {Outcome.KEPT}
    assert primary.configuration.read_text() == mine


@SERVERS
@pytest.mark.parametrize("says_so", [True, False], ids=["line", "no-line"])
@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        pytest.param({}, {"base": "vm.example."}, ("DOMAIN", "vm.example."), id="domain"),
        pytest.param({}, {"port": 5399}, ("--port was 5353, is 5399",), id="port"),
        pytest.param(
            {}, {"reverse_zones": ("10.in-addr.arpa",)}, ("REVERSE_ZONES", "10.in-addr.arpa."), id="more-zones"
        ),
    ],
)
def test_a_directory_for_another_purpose_is_an_error_and_unchanged(
    server: str,
    says_so: bool,
    first: dict[str, object],
    second: dict[str, object],
    words: tuple[str, ...],
    directory: Path,
) -> None:
    primary = bundled(server, directory, **first)
    bootstrap.write(primary)
    if not says_so:
        text = re.sub(r"(?m)^.* made for: .*\n", "", primary.configuration.read_text())
        primary.configuration.write_text(text)
    before = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(SettingsError, match="made for other settings") as raised:
        bootstrap.write(bundled(server, directory, **second))
    for word in (*words, "remove", "--dir"):
        assert word in str(raised.value)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before
    primary.configuration.unlink()
    outcomes = {file.path: file.outcome for file in bootstrap.write(bundled(server, directory, **second))}
    assert outcomes[primary.configuration] is Outcome.WRITTEN


@SERVERS
def test_fewer_zones_require_another_directory(server: str, directory: Path) -> None:
    bootstrap.write(bundled(server, directory, reverse_zones=("10.in-addr.arpa",)))
    with pytest.raises(SettingsError, match="REVERSE_ZONES"):
        bootstrap.write(bundled(server, directory))


@SERVERS
def test_a_directory_of_the_other_server_is_an_error_and_unchanged(server: str, directory: Path) -> None:
    bootstrap.write(bundled(server, directory))
    other = "knot" if server == "bind9" else "bind9"
    with pytest.raises(SettingsError, match=f"was made for {server} .*--server is {other}"):
        bootstrap.write(bundled(other, directory))


@SERVERS
def test_an_edited_configuration_is_no_other_purpose(server: str, directory: Path) -> None:
    primary = bundled(server, directory)
    bootstrap.write(primary)
    text = primary.configuration.read_text().replace("5353", "5399")
    assert "port=5399" in text
    primary.configuration.write_text(text.replace("port=5399", "port=5353"))
    outcomes = {file.path: file.outcome for file in bootstrap.write(primary)}
    assert outcomes[primary.configuration] is Outcome.DIFFERS


def test_a_secondary_in_the_directory_of_a_primary_is_an_error(tmp_path: Path) -> None:
    bootstrap.write(bundled("bind9", tmp_path / "zones"))
    secondary = bootstrap.BundledSecondary(
        directory=tmp_path / "zones", primaries=("192.0.2.1",), transfer_key=_transfer_key(tmp_path)
    )
    with pytest.raises(SettingsError, match="--secondary-of was not set"):
        bootstrap.write_secondary(secondary)


def test_a_journal_without_its_zone_is_reported(bind: Bind) -> None:
    bind.nsupdate("add a.vm. 60 A 10.0.0.1")
    bind.kill()
    bind.zone_path("vm.").unlink()
    with pytest.raises(SettingsError, match=r"vm\.zone\.jnl is there without its zone .*put the zone file back"):
        bootstrap.write(bind.bundled())
    assert not bind.zone_path("vm.").exists()


def test_knot_starts_with_a_new_zone_when_its_zone_file_is_lost(knot: Knot) -> None:
    knot.nsupdate("add a.vm. 60 A 10.0.0.1")
    knot.kill()
    time.sleep(0.2)  # so that the new serial is higher
    knot.zone_path("vm.").unlink()
    bootstrap.write(knot.bundled())
    knot.start()
    knot.nsupdate("add b.vm. 60 A 10.0.0.2")
    knot.restart()
    assert knot.query("b.vm.", "A") == ["10.0.0.2"]


@SERVERS
def test_concurrent_runs_agree_on_one_key(server: str, directory: Path) -> None:
    primary = bundled(server, directory)
    start = threading.Barrier(8)

    def run() -> list[bootstrap.Written]:
        start.wait()
        return list(bootstrap.write(primary))

    with ThreadPoolExecutor(8) as pool:
        runs = [future.result() for future in [pool.submit(run) for _ in range(8)]]
    written = [file.path for files in runs for file in files if file.outcome is Outcome.WRITTEN]
    assert sorted(written) == sorted(set(written)) == sorted(directory.iterdir())


@pytest.mark.parametrize("kind", [Bind, Knot])
def test_a_directory_name_can_contain_a_space(kind: type[Server]) -> None:
    with kind() as server:
        server.stop()
        place = server.directory / "name server's, ä"
        primary = bundled(server.kind, place, port=server.port)
        bootstrap.write(primary)
        process = subprocess.Popen(bootstrap.command(primary), stderr=subprocess.PIPE, text=True)
        try:
            server.process = process  # type: ignore[assignment]
            server.wait_until_up()
        finally:
            server.kill()
            assert process.stderr
            process.stderr.close()


@SERVERS
def test_a_file_in_place_of_the_directory_is_an_error(server: str, directory: Path) -> None:
    place = directory / "file"
    place.write_text("mine")
    for path in (place, place / "below"):
        with pytest.raises(SettingsError, match=f"{re.escape(str(path))} cannot be used .*choose another"):
            bootstrap.write(bundled(server, path))
    assert place.read_text() == "mine"


@SERVERS
def test_an_unwritable_directory_is_an_error(server: str, directory: Path) -> None:
    directory.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(SOMEBODY)
    try:
        for path in (directory, directory / "below"):
            with pytest.raises(
                SettingsError, match=f"{re.escape(str(path))} cannot be used .*correct its owner and mode"
            ):
                bootstrap.write(bundled(server, path))
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(0o755)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param({"base": "vm..example."}, "base 'vm..example.' is not a domain name", id="empty-label"),
        pytest.param({"base": "."}, "is not a domain name", id="root"),
        pytest.param({"base": "vm.ex ample."}, "is not a domain name", id="space"),
        pytest.param({"base": 'vm."; };'}, "is not a domain name", id="injection"),
        pytest.param({"base": "a" * 64 + "."}, "labels of 1 to 63", id="long-label"),
        pytest.param({"base": "vm." + "a." * 130}, "255 octets", id="long-name"),
        pytest.param({"address": "localhost"}, "address 'localhost' is not an IP address", id="host-name"),
        pytest.param({"address": "fe80::1%eth0"}, "has a scope", id="scope"),
        pytest.param({"port": 0}, "port 0 is out of range", id="port-0"),
        pytest.param({"port": 65536}, "port 65536 is out of range", id="port-65536"),
        pytest.param({"name_server_ips": ("10.0.0.999",)}, "'10.0.0.999' is not an IP address", id="name-server"),
        pytest.param(
            {"name_server_ips": ("127.0.0.1",)}, "not reachable from other hosts", id="name-server-on-loopback"
        ),
        pytest.param({"name_server_ips": ("0.0.0.0",)}, "not reachable from other hosts", id="name-server-unspecified"),
        pytest.param({"key_name": "my key"}, "key name 'my key' is not a domain name", id="key-name"),
        pytest.param({"ttl": -1}, "TTL -1 is out of range", id="ttl"),
        pytest.param({"directory": Path('/tmp/a"b')}, "quotes", id="directory-with-a-quote"),
        pytest.param({"directory": Path("/tmp/a\nb")}, "control characters", id="directory-with-a-newline"),
        pytest.param({"server": "nsd"}, "server 'nsd' is unknown: bind9 or knot", id="server"),
        pytest.param({"server": "knot", "directory": Path("/tmp/" + "a" * 100)}, "too long", id="socket-path"),
    ],
)
def test_an_invalid_value_is_named(directory: Path, values: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(problem)):
        bundled(**{"server": "bind9", "directory": directory, **values})  # type: ignore[arg-type]


@SERVERS
def test_a_missing_server_is_an_error_with_the_install_command(
    server: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(directory))
    package = "bind9" if server == "bind9" else "knot"
    with pytest.raises(SettingsError, match=f"is not installed: .*apt-get install {package}`"):
        bootstrap.command(bundled(server, directory), directories=())


def test_values_are_normalized(directory: Path) -> None:
    primary = bundled("bind9", directory, base="VM.Example", key_name="K", name_server_ips=("2001:DB8:0::1",))
    assert (primary.base, primary.key_name) == ("vm.example.", "k.")
    assert primary.name_server_ips == (str(ipaddress.ip_address("2001:db8::1")),)
    assert bundled("knot", Path("relative")).directory == Path.cwd() / "relative"


# Secondaries of a bundled BIND


def _transfer_key(directory: Path, name: str = "transfer.") -> Path:
    path = directory / "tsig.key"
    path.write_text(f'key "{name}" {{ algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0c2VjcmV0"; }};\n')
    return path


@pytest.mark.parametrize("primaries", [("192.0.2.1",), ("192.0.2.1", "2001:db8::1")])
def test_bind_accepts_the_configuration_of_a_secondary(tmp_path: Path, primaries: tuple[str, ...]) -> None:
    secondary = bootstrap.BundledSecondary(
        directory=tmp_path / "zones",
        primaries=primaries,
        transfer_key=_transfer_key(tmp_path),
        address="::",
    )
    copied, written = bootstrap.write_secondary(secondary)
    assert written == bootstrap.Written(secondary.configuration, bootstrap.Outcome.WRITTEN)
    assert stat.S_IMODE(copied.path.stat().st_mode) == 0o600
    assert {file.outcome for file in bootstrap.write_secondary(secondary)} == {bootstrap.Outcome.KEPT}
    checked = subprocess.run(
        [program("named-checkconf"), str(written.path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_primary_can_have_a_transfer_key(tmp_path: Path) -> None:
    primary = bootstrap.BundledPrimary(
        server="bind9", directory=tmp_path / "zones", base="vm.", transfer_key=_transfer_key(tmp_path)
    )
    bootstrap.write(primary)
    command = [program("named-checkconf"), "-z", str(primary.configuration)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # The zone and the catalog may be transferred with it, and the catalog may be read.
    assert primary.configuration.read_text().count('"transfer."') == 3


def test_a_changed_transfer_key_is_reported_and_not_copied(tmp_path: Path) -> None:
    # A mounted Secret can change while the pod runs, but server and controller must use the same key.
    primary = BundledPrimary(
        server="bind9", directory=tmp_path / "zones", base="vm.", transfer_key=_transfer_key(tmp_path)
    )
    bootstrap.write(primary)
    _transfer_key(tmp_path, "another.")
    outcomes = {file.path.name: file.outcome for file in bootstrap.write(primary)}
    assert outcomes.pop(bootstrap.TRANSFER_KEY_FILE) is Outcome.DIFFERS
    assert set(outcomes.values()) == {Outcome.KEPT}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "holds no key clause", id="no-key"),
        pytest.param(
            "".join(f'key k{n} {{ algorithm hmac-sha256; secret "c2Vj"; }};' for n in (1, 2)), "holds 2", id="two"
        ),
        pytest.param('key ksd-ddns { algorithm hmac-sha256; secret "c2Vj"; };', "name of our own", id="our-own-name"),
        pytest.param(None, "cannot be read", id="missing"),
    ],
)
def test_an_invalid_transfer_key_is_an_error(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "tsig.key"
    if content is not None:
        file.write_text(content)
    primary = bootstrap.BundledPrimary(server="bind9", directory=tmp_path / "zones", base="vm.", transfer_key=file)
    with pytest.raises(SettingsError, match=message):
        bootstrap.write(primary)


def test_only_bind_can_have_a_transfer_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="for bind9 only"):
        bootstrap.BundledPrimary(server="knot", directory=tmp_path, base="vm.", transfer_key=_transfer_key(tmp_path))


def test_a_secondary_needs_a_primary(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs the address of its primary"):
        bootstrap.BundledSecondary(directory=tmp_path, primaries=(), transfer_key=tmp_path / "key")
