# SPDX-License-Identifier: Apache-2.0
"""The page on resolvers: each configuration that a test can run resolves names of a server on another port."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.reversename
import pytest

from harness.servers import Bind, Port, program, scratch, server_program
from tests import examples
from tests.test_how_to import file

PAGE = (examples.ROOT / "docs" / "how-to" / "resolvers.md").read_text(encoding="utf-8")
NAME = "nic1.vmi-sec.secondary-test.vm.apps.example.com."
PTR = str(dns.reversename.from_address("10.10.0.5"))
ZONES = {
    "vm.apps.example.com.": "nic1.vmi-sec.secondary-test A 10.10.0.5",
    "10.10.in-addr.arpa.": f"{PTR} PTR {NAME}",
}
SECONDS = 10.0

# What a resolver needs to run here: on loopback, with nothing of the internet. It refuses private addresses, which
# the page has settings against.
BIND = """\
options {{
    directory "{directory}"; pid-file none; session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    dnssec-validation auto;
    {options}
}};
{page}
"""
UNBOUND = """\
server:
    directory: "{directory}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: 127.0.0.1@{port}
    do-not-query-localhost: no
    private-address: 10.0.0.0/8
    trust-anchor: "example.com. DS 1 8 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
{page}
"""
DNSMASQ = """\
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
stop-dns-rebind
{page}
"""


@contextmanager
def resolver(server: Bind, kind: str, suffix: str) -> Iterator[int]:
    """Run a resolver with its blocks of the page, in front of `server`; return its port."""
    directory, port = scratch(), Port.reserve()
    configuration = directory / f"{kind}.conf"

    def block(name: str) -> str:
        return file(PAGE, name).replace("192.0.2.53", "127.0.0.1").replace("31111", str(server.port))

    about = {"directory": directory, "port": port.number, "page": block(f"{kind}{suffix}.conf")}
    match kind:
        case "bind":
            text = BIND.format(**about, options=block(f"bind{suffix}-options.conf"))
            command = [server_program("named"), "-g", "-n", "1", "-c", str(configuration)]
        case "unbound":
            text = UNBOUND.format(**about)
            command = [program("unbound"), "-d", "-c", str(configuration)]
        case _:
            text = DNSMASQ.format(**about)
            command = [program("dnsmasq"), "--no-daemon", "--user=", "--group=", f"--conf-file={configuration}"]
    configuration.write_text(text)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield port.number
    except AssertionError:
        print((directory / "log").read_text()[-5000:])
        raise
    finally:
        process.terminate()
        process.wait(SECONDS)
        port.release()
        shutil.rmtree(directory)


def answer(port: int, name: str, rdtype: str) -> list[str]:
    """Return the answer of the resolver. It may still be starting."""
    query = dns.message.make_query(name, rdtype)
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            found = dns.query.udp(query, "127.0.0.1", port=port, timeout=1)
        except (OSError, dns.exception.Timeout):
            assert time.monotonic() < deadline, f"no answer on port {port}"
            continue
        assert found.rcode() == dns.rcode.NOERROR, found
        return [str(item) for rrset in found.answer for item in rrset]


@pytest.fixture(scope="module")
def server() -> Iterator[Bind]:
    with Bind(zones=ZONES) as bind:
        yield bind


@pytest.mark.parametrize("kind", ["bind", "unbound", "dnsmasq"])
def test_the_resolver_forwards(kind: str, server: Bind) -> None:
    with resolver(server, kind, "") as port:
        assert answer(port, NAME, "A") == ["10.10.0.5"]


@pytest.mark.parametrize("kind", ["bind", "unbound", "dnsmasq"])
def test_the_resolver_forwards_reverse_zones(kind: str, server: Bind) -> None:
    with resolver(server, kind, "-reverse") as port:
        assert answer(port, PTR, "PTR") == [NAME]
