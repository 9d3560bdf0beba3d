# SPDX-License-Identifier: Apache-2.0
"""Pods with the commands, files, environment and permissions of the manifests, with a fake API server."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import dns.zone
import pytest

from harness.kube import LEASES, Kube, Reply
from harness.vmis import vmi
from ksd_ddns import bootstrap
from tests.deploy import rendered
from tests.deploy.pod import Pod
from tests.deploy.rendered import BUNDLED, one

NAME = "nic1.vmi-sec.secondary-test.vm."
BUNDLED_SERVER = ("127.0.0.1", 5353)
COMPANY = ("192.0.2.53", 53)


@pytest.fixture(params=BUNDLED)
def pod(request: pytest.FixtureRequest, cluster: Kube) -> Iterator[Pod]:
    """Yield a pod of a bundled variant whose init container has run."""
    documents = rendered.documents(request.param)
    cluster.authorize(documents)
    with Pod(documents, kube=cluster) as made:
        made.initialize()
        yield made


def ask(
    pod: Pod, name: str = NAME, rdtype: str = "A", *, tcp: bool = False, at: tuple[str, int] = BUNDLED_SERVER
) -> tuple[str, list[str]]:
    """Return response code and rdata from the server in the pod, or from another in its network."""
    question = dns.message.make_query(name, rdtype)
    question.flags = 0
    query = dns.query.tcp if tcp else dns.query.udp
    with pod.network():
        answer = query(question, at[0], port=at[1], timeout=5)
    return dns.rcode.to_text(answer.rcode()), [str(item) for rrset in answer.answer for item in rrset]


def wait_answer(pod: Pod, wanted: list[str], name: str = NAME, rdtype: str = "A") -> None:
    deadline = time.monotonic() + 10
    while (found := ask(pod, name, rdtype)[1]) != wanted:
        assert time.monotonic() < deadline, f"{name} {rdtype}: {found}, not {wanted}"
        time.sleep(0.02)


def serial(pod: Pod) -> int:
    return int(ask(pod, "vm.", "SOA")[1][0].split()[2])


def test_the_pod_becomes_ready_after_the_first_full_sync(pod: Pod, cluster: Kube) -> None:
    with cluster.fault(Reply.status(503), verb="list", times=None):
        pod.start()
        cluster.wait_requests(2, verb="list", seconds=20)
        while "secondary-dns" in pod.ready():
            time.sleep(0.05)
        # The server already answers with the empty zone, so the pod must not be ready yet.
        assert ask(pod) == ("NXDOMAIN", [])
        assert "the first full sync is not complete yet" in pod.ready()["status-monitor"]
    pod.wait_ready()
    assert ask(pod) == ("NOERROR", ["10.10.0.5"])
    assert ask(pod, tcp=True) == ("NOERROR", ["10.10.0.5"])
    assert ask(pod, "vmi-sec.secondary-test.vm.") == ("NOERROR", ["10.10.0.5"])


def test_the_granted_permissions_are_sufficient(pod: Pod, cluster: Kube) -> None:
    pod.start()
    pod.wait_ready()
    cluster.put(vmi("vmi-sec", "secondary-test", {"nic1": ["10.10.0.6"]}))
    wait_answer(pod, ["10.10.0.6"])
    cluster.wait(lambda: cluster.events, "an Event on the VMI")
    asked = cluster.requests()
    assert {request.user.name for request in asked} == {"system:serviceaccount:secondary:secondary"}
    assert {request.status for request in asked} <= {200, 201}
    assert {(request.verb, request.resource) for request in asked} == {
        ("list", "virtualmachineinstances"),
        ("watch", "virtualmachineinstances"),
        ("get", "namespaces"),
        ("create", "events"),
    }


def test_every_granted_permission_is_used(cluster: Kube) -> None:
    documents = rendered.documents("bind9")
    one(documents, "ClusterRole", "secondary")["rules"][0]["verbs"].remove("watch")
    cluster.authorize(documents)
    with Pod(documents, kube=cluster) as pod:
        pod.initialize()
        pod.start()
        cluster.wait(lambda: [one for one in cluster.requests(verb="watch") if one.status == 403], "a refusal")


def test_only_the_user_of_the_pod_can_read_the_key(pod: Pod) -> None:
    key = pod.volume("secdns-zones") / "ksd-ddns.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_uid == pod.uid
    pod.start()
    pod.wait_ready()
    secret = key.read_text().split('secret "')[1].split('"')[0]
    assert not [item for item in (*pod.init_containers, *pod.containers) if secret in item.log()]
    unsigned = dns.update.UpdateMessage("vm.")
    unsigned.add("evil", 60, "A", "192.0.2.66")
    with pod.network():
        refused = dns.query.tcp(unsigned, "127.0.0.1", port=5353, timeout=5)
    assert refused.rcode() in {dns.rcode.REFUSED, dns.rcode.NOTAUTH}
    assert ask(pod, "evil.vm.") == ("NXDOMAIN", [])


def test_the_pod_answers_while_the_api_server_is_down(pod: Pod, cluster: Kube) -> None:
    pod.start()
    pod.wait_ready()
    cluster.stop()
    for _ in range(10):
        assert not pod.ready()
        time.sleep(0.1)
    assert ask(pod) == ("NOERROR", ["10.10.0.5"])
    with pod.network():
        cluster.start()
    cluster.put(vmi("vmi-sec", "secondary-test", {"nic1": ["10.10.0.9"]}))
    wait_answer(pod, ["10.10.0.9"])


def test_a_restarted_dns_server_has_all_acknowledged_updates(pod: Pod, cluster: Kube) -> None:
    pod.start()
    pod.wait_ready()
    for last in range(25, 30):
        cluster.put(vmi("vmi-sec", "secondary-test", {"nic1": [f"10.10.0.{last}"]}))
    wait_answer(pod, ["10.10.0.29"])
    before = serial(pod)
    pod["status-monitor"].kill()  # no controller to fill it again
    pod["secondary-dns"].kill()
    pod["secondary-dns"].start()
    while pod["secondary-dns"].probe("readinessProbe"):
        time.sleep(0.05)
    wait_answer(pod, ["10.10.0.29"])
    assert serial(pod) >= before


def test_a_restarted_controller_changes_nothing(pod: Pod, cluster: Kube) -> None:
    pod.start()
    pod.wait_ready()
    before = serial(pod)
    pod["status-monitor"].restart()
    pod.wait_ready()
    assert serial(pod) == before
    cluster.delete("secondary-test", "vmi-sec")
    wait_answer(pod, [])


def test_the_pod_exits_on_sigterm_within_its_grace_period(pod: Pod) -> None:
    pod.start()
    pod.wait_ready()
    begin = time.monotonic()
    assert pod.stop() == {"secondary-dns": 0, "status-monitor": 0}
    sleep = int(pod["secondary-dns"].spec["lifecycle"]["preStop"]["exec"]["command"][1])
    assert time.monotonic() - begin + sleep < pod.spec["terminationGracePeriodSeconds"] - 5


@pytest.mark.parametrize("variant", BUNDLED)
def test_zones_and_name_server_come_from_the_config_map(variant: str, cluster: Kube) -> None:
    documents = rendered.documents(variant)
    one(documents, "ConfigMap")["data"] |= {
        "DOMAIN": "apps.example.com",
        "NAME_SERVER_IP": "192.0.2.53",
        "REVERSE_ZONES": "10.0.0.0/8,2001:db8::/32",
    }
    cluster.authorize(documents)
    with Pod(documents, kube=cluster, uid=1000) as pod:
        pod.initialize()
        pod.start()
        pod.wait_ready()
        base = "vm.apps.example.com."
        assert ask(pod, f"nic1.vmi-sec.secondary-test.{base}") == ("NOERROR", ["10.10.0.5"])
        assert ask(pod, base, "NS") == ("NOERROR", [f"ns.{base}"])
        assert ask(pod, f"ns.{base}") == ("NOERROR", ["192.0.2.53"])
        pointer = ("NOERROR", [f"nic1.vmi-sec.secondary-test.{base}"])
        assert ask(pod, "5.0.10.10.in-addr.arpa.", "PTR") == pointer


@pytest.mark.parametrize("variant", BUNDLED)
def test_the_pod_starts_on_nodes_without_ipv6(variant: str, cluster: Kube) -> None:
    documents = rendered.documents(variant)
    cluster.authorize(documents)
    with Pod(documents, kube=cluster, ipv6=False) as pod:
        pod.initialize()
        pod.start()
        pod.wait_ready()
        assert ask(pod) == ("NOERROR", ["10.10.0.5"])


class CompanyPrimary:
    """A named on 192.0.2.53 port 53 in the network of a pod, with its own zone vm.example.com."""

    def __init__(self, directory: Path) -> None:
        self.primary = bootstrap.BundledPrimary(
            server="bind9", directory=directory, base="vm.example.com.", address=COMPANY[0], port=COMPANY[1]
        )
        bootstrap.write(self.primary)
        self.key = self.primary.key_file.read_text()

    def start(self, pod: Pod) -> "subprocess.Popen[bytes]":
        with pod.network():
            subprocess.run(["ip", "address", "add", f"{COMPANY[0]}/32", "dev", "lo"], check=True)
            return subprocess.Popen(bootstrap.command(self.primary), stderr=subprocess.DEVNULL)


def test_the_controller_alone_works_with_an_external_primary(cluster: Kube, tmp_path: Path) -> None:
    documents = rendered.documents("ksd")
    cluster.authorize(documents)
    company = CompanyPrimary(tmp_path / "named")
    secret = {"secondary-dns-key": {"tsig.key": company.key}}
    with ExitStack() as stack:
        pod = stack.enter_context(Pod(documents, kube=cluster, secrets=secret))
        named = company.start(pod)
        stack.callback(named.wait)
        stack.callback(named.send_signal, signal.SIGKILL)
        pod.initialize()
        pod.start()
        pod.wait_ready()
        # A standby is ready, too: it may acquire the Lease later.
        cluster.wait(lambda: ask(pod, "nic1.vmi-sec.secondary-test.vm.example.com.", at=COMPANY)[1], "an answer")
        assert ask(pod, "vmi-sec.secondary-test.vm.example.com.", at=COMPANY) == ("NOERROR", ["10.10.0.5"])
        lease = cluster.get("secondary", "secondary-dns", LEASES)
        assert lease is not None
        assert lease["spec"]["holderIdentity"]
        assert {request.status for request in cluster.requests()} <= {200, 201, 404}
        assert pod.stop() == {"status-monitor": 0}


def test_the_pod_uses_no_settings_of_the_host(pod: Pod) -> None:
    environment: dict[str, Any] = pod["status-monitor"].environment
    assert not set(os.environ) & set(environment) - {"PATH", "HOME", "HOSTNAME", "PYTHONDONTWRITEBYTECODE"}
