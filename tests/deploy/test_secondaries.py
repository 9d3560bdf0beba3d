# SPDX-License-Identifier: Apache-2.0
"""Secondaries of a bundled primary, with the manifests of deploy/secondaries."""

import subprocess
import time

import dns.message
import dns.query
import dns.rcode
import pytest

from harness.kube import Kube
from harness.servers import program
from harness.vmis import vmi
from tests.deploy import rendered
from tests.deploy.pod import Pod

PRIMARY, SECONDARY = "10.88.0.1", "10.88.0.2"
NAME = "nic1.vmi-sec.secondary-test.vm."


@pytest.fixture
def key() -> str:
    """Return the key from the steps of the page."""
    done = subprocess.run([program("tsig-keygen"), "transfer"], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout


def ask(pod: Pod, name: str = NAME) -> list[str] | str:
    """Return the addresses of an answer, or its response code."""
    question = dns.message.make_query(name, "A")
    with pod.network():
        answer = dns.query.udp(question, "127.0.0.1", port=5353, timeout=5)
    return [str(item) for rrset in answer.answer for item in rrset] or dns.rcode.to_text(answer.rcode())


def test_a_change_reaches_the_secondaries_in_about_a_second(cluster: Kube, key: str) -> None:
    documents = rendered.documents("secondaries")
    cluster.authorize(documents)
    secrets = {"secondary-dns-transfer": {"tsig.key": key}}
    # By the names of the Services.
    secondaries, primaries = {"secondary-dns-secondaries": SECONDARY}, {"secondary-dns-primary": PRIMARY}
    with (
        Pod(documents, kube=cluster, secrets=secrets, hosts=secondaries) as primary,
        Pod(documents, name="secondary-dns-secondaries", secrets=secrets, hosts=primaries) as secondary,
    ):
        primary.connect(secondary, PRIMARY, SECONDARY)
        (waiting,) = secondary.init_containers
        waiting.start()
        while "waiting until secondary-dns-primary:5353 serves its catalog" not in waiting.log():
            time.sleep(0.05)
        primary.initialize()
        primary.start()
        primary.wait_ready()
        assert waiting.process is not None
        assert waiting.process.wait(20) == 0
        secondary.start()
        secondary.wait_ready()
        assert ask(secondary) == ["10.10.0.5"]
        # A secondary is ready when it has every zone of the catalog.
        (copy,) = secondary.volume("secdns-zones").glob("__catz__*.db")
        copy.rename(copy.with_suffix(".away"))
        assert secondary.ready()
        copy.with_suffix(".away").rename(copy)
        assert not secondary.ready()
        for address in ("10.10.0.6", "10.10.0.7"):
            cluster.put(vmi("vmi-sec", "secondary-test", {"nic1": [address]}))
            begin = time.monotonic()
            while ask(secondary) != [address]:
                assert time.monotonic() - begin < 10, ask(secondary)
                time.sleep(0.02)
            assert time.monotonic() - begin < 5
        assert "received notify for zone 'vm': TSIG 'transfer'" in secondary["secondary-dns"].log()
        assert "refused" not in secondary["secondary-dns"].log()

        # It keeps answering without the primary, and follows it again later.
        primary["secondary-dns"].kill()
        assert ask(secondary) == ["10.10.0.7"]
        assert not secondary.ready()
        cluster.put(vmi("vmi-sec", "secondary-test", {"nic1": ["10.10.0.8"]}))
        primary["secondary-dns"].start()
        begin = time.monotonic()
        while ask(secondary) != ["10.10.0.8"]:
            assert time.monotonic() - begin < 30, ask(secondary)
            time.sleep(0.05)


def test_the_transfer_key_cannot_update(cluster: Kube, key: str) -> None:
    documents = rendered.documents("secondaries")
    cluster.authorize(documents)
    with Pod(documents, kube=cluster, secrets={"secondary-dns-transfer": {"tsig.key": key}}) as primary:
        primary.initialize()
        primary.start()
        primary.wait_ready()
        file = primary.directory / "transfer.key"
        file.write_text(key)
        script = "server 127.0.0.1 5353\nzone vm.\nupdate add evil.vm. 60 A 192.0.2.66\nsend\n"
        with primary.network():
            update = [program("nsupdate"), "-v", "-k", str(file)]
            done = subprocess.run(update, input=script, capture_output=True, text=True, timeout=20, check=False)
            read = [program("dig"), "-k", str(file), "@127.0.0.1", "-p", "5353", "vm.", "AXFR"]
            transfer = subprocess.run(read, capture_output=True, text=True, timeout=20, check=False)
        assert "REFUSED" in done.stderr
        assert ask(primary, "evil.vm.") == "NXDOMAIN"
        assert NAME in transfer.stdout
