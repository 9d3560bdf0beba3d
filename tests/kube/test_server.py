# SPDX-License-Identifier: Apache-2.0
"""The server itself: it stops, restarts, runs as a process, and serves kubectl."""

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest
import urllib3

from harness.kube import VMIS, Kube
from harness.kube.client import PATH, Client, Connect, MakeKube, kinds, lines, names, version
from harness.kube.process import KubeProcess
from harness.vmis import vmi


def test_the_server_leaves_no_thread_and_no_port(connect: Connect) -> None:
    before = set(threading.enumerate())
    with Kube(tls=True) as kube:
        api = connect(kube)
        api.listed()
        events = api.watch(kube.revision, seconds=100)
        kube.put(vmi("a"))
        next(events)
        begin = time.monotonic()
    assert time.monotonic() - begin < 1
    assert set(threading.enumerate()) == before
    with pytest.raises((urllib3.exceptions.HTTPError, StopIteration)):
        next(events)
    with Kube(port=kube.port):
        pass


def test_a_restarted_server_keeps_its_port_and_state(kube: Kube, api: Client) -> None:
    begin = kube.put(vmi("a"))
    port = kube.port
    kube.stop()
    kube.put(vmi("b"))
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        api.listed()
    kube.start()
    assert kube.port == port
    assert [name for _, name, _ in lines(api.watched(kube, begin))] == ["b"]


def test_a_crash_in_the_server_fails_the_test() -> None:
    kube = Kube().start()
    kube.server.faults = None  # type: ignore[assignment]
    with pytest.raises(urllib3.exceptions.ProtocolError), urllib3.PoolManager(retries=False) as pool:
        pool.request("GET", kube.url + PATH)
    with pytest.raises(AssertionError, match="crashed over a request"):
        kube.close()


def test_waiting_has_a_deadline_and_reports_what_happened(kube: Kube, api: Client) -> None:
    api.listed()
    with pytest.raises(AssertionError, match=r"(?s)1 watches of virtualmachineinstances: not within.*GET /apis"):
        kube.wait_watches(seconds=0.05)
    assert [request.verb for request in kube.wait_requests(1, verb="list")] == ["list"]


def test_the_server_runs_as_a_process(tmp_path: Path, connect: Connect) -> None:
    objects = tmp_path / "objects.json"
    objects.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [vmi("from-file", "prod")]}))
    with KubeProcess("--vmis", "20", "--namespaces", "4", "--objects", str(objects), "--tls") as server:
        api = connect(server.kubeconfig)
        listing = api.listed()
        assert len(listing["items"]) == 21
        assert "prod/from-file" in names(listing)
        server.tell("put", json.dumps(vmi("more", "prod")))
        server.tell("heartbeats", 40)
        server.tell("delete", "prod", "more")
        events = api.watch(version(listing), seconds=1)
        assert kinds(events) == ["ADDED"] + ["MODIFIED"] * 40 + ["DELETED"]
        state = server.tell("state")
        assert (state["revision"], state["vmis"], state["count"]) == (version(listing) + 42, 21, 2)


def test_kubectl_works_with_the_server(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(tls=True)
    kube.put(vmi("db", "prod"))
    path = kube.kubeconfig(tmp_path / "config")

    def kubectl(*arguments: str) -> str:
        command = ["kubectl", "--kubeconfig", str(path), "--cache-dir", str(tmp_path / "cache"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert json.loads(kubectl("get", "vmi", "-A", "-o", "json"))["items"][0]["metadata"]["name"] == "db"
    kubectl("-n", "prod", "patch", "vmi", "db", "--type", "merge", "-p", '{"status":{"phase":"Failed"}}')
    patched = kube.get("prod", "db")
    assert patched is not None
    assert patched["status"]["phase"] == "Failed"
    kubectl("-n", "prod", "delete", "vmi", "db")
    assert kube.objects(VMIS) == []
