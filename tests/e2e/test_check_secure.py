# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns check` with TLS or Kerberos: problems there have their lines, too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.kerberos import NAME, Realm
from harness.servers import Bind, Port
from tests.e2e.command import Command
from tests.e2e.cures import apply
from tests.e2e.test_check import bad, check, finding, signs, skipped, warned

HOST = "ns.example.test"
SERVICE = f"DNS/{HOST}"
KSD = f"ksd@{NAME}"


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[tuple[Bind, dict[str, int]]]:
    """Yield a BIND and its TLS ports: valid certificate, expired one, and client certificate required."""
    good, old = authority.pair("good", f"DNS:{HOST}"), authority.pair("old", f"DNS:{HOST}", made="-9d")
    statements = {
        "good": f'cert-file "{good.certificate}"; key-file "{good.key}";',
        "expired": f'cert-file "{old.certificate}"; key-file "{old.key}";',
        "mutual": f'cert-file "{good.certificate}"; key-file "{good.key}"; ca-file "{authority.certificate}";',
    }
    ports = {name: Port.reserve() for name in statements}
    extra = "".join(f"tls {name} {{ {text} }};\n" for name, text in statements.items())
    listen = "".join(f"listen-on port {port.number} tls {name} {{ 127.0.0.1; }};\n" for name, port in ports.items())
    with Bind(zones={"example.": ""}, extra=extra, options=listen) as bind:
        yield bind, {name: port.number for name, port in ports.items()}
    for port in ports.values():
        port.release()


@pytest.mark.parametrize(
    ("port", "settings", "words"),
    [
        pytest.param("good", {}, "", id="good"),
        pytest.param("good", {"DNS_TLS_HOSTNAME": "other.example.test"}, "is not accepted for other", id="wrong-name"),
        pytest.param("good", {"DNS_TLS_CA": ""}, "DNS_TLS_CA to the CA", id="another-ca"),
        pytest.param("expired", {}, "certificate has expired", id="expired"),
        pytest.param("mutual", {}, "DNS_TLS_CERT", id="ours-is-missing"),
        pytest.param("plain", {}, "no TLS with", id="no-tls-there"),
    ],
)
def test_check_tests_tls(
    secured: tuple[Bind, dict[str, int]],
    authority: Authority,
    tmp_path: Path,
    port: str,
    settings: dict[str, str],
    words: str,
) -> None:
    bind, ports = secured
    command = Command(
        tmp_path,
        {
            "DNS_SERVER": f"127.0.0.1:{ports.get(port, bind.port)}",
            "DNS_TIMEOUT": "2s",
            "DNS_TLS": "true",
            "DNS_TLS_CA": str(authority.certificate),
            "DNS_TLS_HOSTNAME": HOST,
            "DOMAIN": "example",
            "TSIG_KEY_FILE": str(bind.key_file),
            **settings,
        },
    )
    done = check(command)
    if not words:
        assert (bad(done), warned(done)) == (set(), set())
        assert "UDP" not in signs(done), "TLS has none"
        return
    (failed,) = bad(done)
    assert words in finding(done, failed)["text"]
    assert {"zone vm.example.", "transfer vm.example.", "update vm.example.", "plan vm.example."} <= skipped(done)


# Kerberos


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with Realm() as realm:
        realm.add(SERVICE, "ksd")
        yield realm


def by_ticket(bind: Bind, realm: Realm, directory: Path, principal: str | None = "ksd") -> Command:
    where = {"DNS_SERVER": f"127.0.0.1:{bind.port}", "GSS_TSIG": "true", "GSS_TSIG_HOSTNAME": HOST, "DOMAIN": "example"}
    return Command(directory, where | realm.client(principal))


def test_check_shows_the_statements_that_grant_permissions_to_a_principal(realm: Realm, tmp_path: Path) -> None:
    arguments = realm.bind(SERVICE, "", transfer="none;")
    arguments["zone_options"] = "allow-transfer { none; };"
    with Bind(zones={"example.": ""}, **arguments) as bind:
        command = by_ticket(bind, realm, tmp_path)
        done = check(command)
        assert bad(done) == {"transfer example.", "update vm.example."}
        assert signs(done)["key"] == "ok"
        for what in ("transfer", "update"):
            apply(bind, finding(done, what)["stanzas"])
        assert bad(check(command)) == set()
        assert command("apply", vmi=[]).code == 0


def test_ticket_problems_are_reported(realm: Realm, tmp_path: Path) -> None:
    with Bind(zones={"example.": ""}, **realm.bind(SERVICE, f'grant "{KSD}" zonesub ANY;')) as bind:
        assert bad(check(by_ticket(bind, realm, tmp_path))) == set()
        nobody = check(by_ticket(bind, realm, tmp_path, None))
        assert bad(nobody) == {"key"}
        assert "set KRB5_CLIENT_KTNAME" in finding(nobody, "key")["text"]
        elsewhere = check(by_ticket(bind, realm, tmp_path).but(GSS_TSIG_HOSTNAME="other.example.test"))
        assert bad(elsewhere) == {"key"}
        assert "GSS_TSIG_HOSTNAME" in finding(elsewhere, "key")["text"]
        with realm.gone():
            gone = check(by_ticket(bind, realm, tmp_path))
        assert bad(gone) == {"key"}
        assert {"clock", "zone vm.example.", "plan vm.example."} <= skipped(gone)
    with Bind(zones={"example.": ""}) as bind:
        without = check(by_ticket(bind, realm, tmp_path))
        assert bad(without) == {"key"}
        assert "tkey-gssapi-keytab" in finding(without, "key")["text"]
