# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns explain`, against real primaries."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import Authority
from harness.kube import Kube, service_account
from harness.servers import Bind, Server
from harness.vmis import vmi
from tests.e2e.conftest import Ksd
from tests.kube_fixtures import kube

__all__ = ["kube"]

DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fe80::9"]})


def states(document: Any) -> dict[str, str]:
    return {name["name"]: name["state"] for name in document["vmi"]["names"]}


def test_a_published_vm(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    before = command("explain", "prod/db", vmi=[DB])
    assert (before.code, before.out.splitlines()[0]) == (1, "VM prod/db: Running, 0 of 2 names in DNS")
    assert command("apply", vmi=[DB]).code == 0
    content = primary.axfr()
    done = command("explain", "prod/db", vmi=[DB])
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "VM prod/db: Running, 2 of 2 names in DNS",
        "",
        "INTERFACE  ADDRESS     RESULT",
        "net1       10.1.0.9    published: net1.db.prod.vm., db.prod.vm.",
        "           fe80::9     skipped: a link-local address is never published",
        "default    10.244.1.7  skipped: default network (NETWORKS=all publishes it)",
        "(guest)    172.17.0.1  skipped: no interface of the VM: only the guest knows it",
        "",
        "NAME              ZONE HOLDS  OWNER           STATE",
        "db.prod.vm.       A 10.1.0.9  ours (prod/db)  published",
        "net1.db.prod.vm.  A 10.1.0.9  ours (prod/db)  published",
    ]
    assert primary.axfr() == content


def test_a_name_that_the_primary_refuses_is_missing_and_a_conflict_says_why(
    make_bind: Callable[..., Bind], ksd: Ksd
) -> None:
    bind = make_bind(zones={"vm.": "web.prod A 10.9.9.9"})
    raw = vmi("db", "prod", {"vlan_12": ["10.2.0.7"]}, annotations={"ksd-ddns/hostname": "web, a b"})
    command = ksd(bind, DEFAULT_RECORD="false")
    done = command("explain", "prod/db", "-o", "json", vmi=[raw])
    assert done.code == 1
    assert states(done.json) == {"vlan_12.db.prod.vm.": "missing", "web.prod.vm.": "conflict"}
    name, refused = sorted(done.json["vmi"]["names"], key=lambda name: name["name"] != "web.prod.vm.")
    assert "--url" in refused["fix"]  # only the controller knows
    assert (name["cause"], name["ours"], name["found"]) == (
        "unowned", False, [{"type": "A", "ttl": 60, "values": ["10.9.9.9"]}],
    )  # fmt: skip
    assert name["fix"]
    assert [warning["code"] for warning in done.json["vmi"]["warnings"]] == ["illegal-hostname"]
    assert done.json["complete"] is False


@pytest.mark.parametrize(
    ("settings", "raw", "skip"),
    [
        ({"NAMESPACES": "dev"}, DB, "namespaces"),
        ({"LABEL_SELECTOR": "dns=yes"}, DB, "label-selector"),
        ({}, vmi("db", "prod", annotations={"ksd-ddns/ignore": "true"}), "ignored"),
        ({}, vmi("db", "prod", phase="Succeeded"), "ended"),
    ],
    ids=["namespaces", "labels", "ignored", "ended"],
)
def test_a_vm_that_is_not_selected(
    primary: Server, ksd: Ksd, settings: dict[str, str], raw: dict[str, Any], skip: str
) -> None:
    done = ksd(primary, **settings)("explain", "prod/db", "-o", "json", vmi=[raw])
    assert (done.code, done.json["vmi"]["skip"], done.json["vmi"]["names"]) == (1, skip, [])


def test_a_name_and_its_owner(primary: Server, ksd: Ksd) -> None:
    hostname = {"ksd-ddns/hostname": "web"}
    old = vmi("old", "prod", {"net1": ["10.1.0.1"]}, created="2020-01-01T00:00:00Z", annotations=hostname)
    new = vmi("new", "prod", {"net1": ["10.1.0.2"]}, annotations=hostname)
    command = ksd(primary)
    command("apply", vmi=[old, new])
    for text in ("web.prod.vm.", "web.prod.vm", "WEB.prod"):
        assert command("explain", text, vmi=[old, new]).out.splitlines()[0] == "web.prod.vm.: published"
    done = command("explain", "web.prod", vmi=[old, new])
    assert (done.code, done.err.count("\n")) == (0, 0)
    assert "prod/old (annotation, created 2020-01-01T00:00:00Z): comes first" in done.out
    assert "prod/new (annotation, created 2026-03-01T08:00:00Z): does not get it" in done.out
    # Of another owner.
    other = command.but(OWNER_ID="other")("explain", "web.prod", "-o", "json", vmi=[old])
    assert (other.code, other.json["name"]["cause"]) == (1, "other-owner")
    assert "TAKE_OVER_FROM" in other.json["name"]["fix"]
    assert other.json["name"]["owners"] == [{"owner": "default", "vmi": "prod/old"}]
    wildcard = vmi("proxy", "prod", annotations={"ksd-ddns/hostname": "*.apps"})
    command.but(OWNER_ID="apps")("apply", vmi=[wildcard])
    covered = command("explain", "shop.apps.prod", vmi=[old]).out.splitlines()
    assert covered[:2] == ["shop.apps.prod.vm.: unused", "  the wildcard *.apps.prod.vm. answers queries for it"]
    unused = command("explain", "no.such", vmi=[old])
    assert (unused.code, unused.out.splitlines()[0]) == (1, "no.such.vm.: unused")
    elsewhere = command("explain", "www.example.org.", vmi=[old])
    assert (elsewhere.code, elsewhere.out.splitlines()[0]) == (
        1,
        "www.example.org.: not in a zone that ksd-ddns manages",
    )


def test_a_vm_that_is_gone(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    command("apply", vmi=[DB])
    other = vmi("db1", "prod", {"net1": ["10.1.0.8"]})
    done = command("explain", "prod/db", vmi=[other])
    lines = done.out.splitlines()
    assert done.code == 1
    assert lines[:3] == [
        "VMI prod/db: not found",
        "  did you mean prod/db1?",
        "  a stopped VM has no VMI and no names in DNS",
    ]
    assert [line.split()[0] for line in lines if "leftover" in line] == ["db.prod.vm.", "net1.db.prod.vm."]


def test_a_held_address(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary)
    command("apply", vmi=[DB])
    done = command("explain", "prod/db", "-o", "json", vmi=[vmi("db", "prod", {"net1": []})])
    assert (done.code, set(states(done.json).values())) == (0, {"held"})
    rows = done.json["vmi"]["interfaces"][0]["addresses"]
    assert [(row["address"], row["state"]) for row in rows] == [("10.1.0.9", "held")]


def test_reverse_names(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": "", "10.in-addr.arpa.": ""})
    command = ksd(bind, REVERSE_ZONES="10.in-addr.arpa")
    command("apply", vmi=[DB])
    done = command("explain", "prod/db", "-o", "json", vmi=[DB])
    assert (done.code, states(done.json)["9.0.1.10.in-addr.arpa."]) == (0, "published")
    assert command("explain", "10.1.0.9", vmi=[DB]).out.splitlines()[0] == "9.0.1.10.in-addr.arpa.: published"


@pytest.mark.parametrize("arguments", [("db", "-n", "prod"), ("-n", "prod", "prod/db"), ("db", "--namespace=prod")])
def test_a_vm_with_the_namespace_as_for_kubectl(primary: Server, ksd: Ksd, arguments: tuple[str, ...]) -> None:
    done = ksd(primary)("explain", *arguments, vmi=[DB])
    assert done.out.splitlines()[0] == "VM prod/db: Running, 0 of 2 names in DNS"


def test_a_reverse_name_without_the_final_dot(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": "", "10.in-addr.arpa.": ""})
    done = ksd(bind, REVERSE_ZONES="10.in-addr.arpa")("explain", "9.0.1.10.IN-ADDR.arpa", vmi=[DB])
    assert done.out.splitlines()[0] == "9.0.1.10.in-addr.arpa.: missing"


def test_a_vm_that_may_not_be_read_says_what_to_grant(primary: Server, ksd: Ksd, kube: Kube, tmp_path: Path) -> None:
    kube.authorize([])
    config = kube.kubeconfig(tmp_path / "kubeconfig", {"token": kube.token(service_account("prod", "weak"))})
    done = ksd(primary, KUBECONFIG=config)("explain", "prod/db")
    assert (done.code, done.out) == (2, "")
    assert "403" in done.err
    assert "grant get, list and watch of virtualmachineinstances" in done.err
    assert "retrying" not in done.err


ANSWER = {"version": 1, "time": "2026-03-01T08:00:00Z", "complete": False, "zones": [], "problems": []}
HELD = {"zone": "vm.", "name": "db.vm.", "state": "held", "wanted": [], "found": [], "ours": True, "owners": [],
        "claims": [], "claimed": 0}  # fmt: skip


class Stranger(BaseHTTPRequestHandler):
    """A server that is not a controller: the path of --url chooses its answer."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if kind == "closed":
            return
        self.send_response(421 if kind == "host" else 404 if kind == "none" else 200)
        if kind == "short":
            self.send_header("Content-Length", "1000")
        elif kind == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        wrong = {**ANSWER, "asked": "db.vm.", "name": {**HELD, "since": "2026-03-01T08:00"}}
        self.wfile.write(json.dumps(wrong).encode() if kind == "time" else b"<p>hello</p>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[HTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("closed", "sent no complete HTTP response: check --url"),
        ("short", "sent no complete HTTP response: check --url"),
        ("gzip", "sent no complete HTTP response: check --url"),
        ("page", "something that is not an explanation: check --url"),
        ("time", "something that is not an explanation: check --url"),
        ("host", ": <p>hello</p>"),
        ("none", "has no /explain: check --url"),
    ],
)
def test_another_server(primary: Server, ksd: Ksd, stranger: HTTPServer, path: str, text: str) -> None:
    done = ksd(primary)("explain", "db", "--url", f"http://127.0.0.1:{stranger.server_port}/{path}")
    assert (done.code, done.out) == (2, "")
    assert text in done.err


def test_tls(primary: Server, ksd: Ksd, stranger: HTTPServer, tmp_path: Path) -> None:
    plain = ksd(primary)("explain", "db", "--url", f"https://127.0.0.1:{stranger.server_port}/none")
    assert (plain.code, plain.out) == (2, "")
    assert "if the server does not use TLS, write http:// instead" in plain.err
    authority = Authority(tmp_path)
    pair = authority.pair("server", "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}/none"
        unknown = ksd(primary)("explain", "db", "--url", url)
        assert unknown.code == 2
        assert "the certificate is not trusted" in unknown.err
        trusted = ksd(primary, SSL_CERT_FILE=authority.certificate)("explain", "db", "--url", url)
        assert "has no /explain" in trusted.err
        server.shutdown()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("prod/",), "is not a VM: write NAMESPACE/VM"),
        (("a/b/c",), "is not a VM: write NAMESPACE/VM"),
        ((f"{'x' * 64}.prod",), "64 octets"),
        (("prod/db", "--url", "127.0.0.1:1"), "write the URL of the status page"),
        (("prod/db", "--url", "http://127.0.0.1:1"), "cannot connect; check that the controller runs"),
        (("prod/db", "--url", "http://ann:SECRET@127.0.0.1:1"), "**********@127.0.0.1:1: cannot connect"),
        (("prod/db", "--url", "ftp://ann:SECRET@127.0.0.1:1"), "write the URL of the status page"),
        (("prod/db", "--url", "http://[::1"), "write the URL of the status page"),
        (("prod/db", "--url", "http://127.0.0.1:http"), "write the URL of the status page"),
        (("prod/db", "prod/web"), "unexpected argument"),
        (("",), "an empty name"),
        (("prod/db", "-n", "dev"), "'prod/db' is in another namespace"),
        (("a/b", "-n", "x/y"), "is in another namespace"),
        (("db", "-n", "x/y"), "'x/y/db' is not a VM"),
    ],
)
def test_wrong_arguments(primary: Server, ksd: Ksd, arguments: tuple[str, ...], text: str) -> None:
    done = ksd(primary)("explain", *arguments, **({} if "--url" in arguments else {"vmi": [DB]}))
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert "SECRET" not in done.err
