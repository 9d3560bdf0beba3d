# SPDX-License-Identifier: Apache-2.0
"""`/explain` of a running controller, `ksd-ddns explain --url`, and explain from a cluster."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from harness.kube import Kube
from harness.servers import Bind
from harness.vmis import as_json, listing, vmi
from tests.controller.conftest import Run
from tests.controller.running import Running
from tests.e2e.conftest import Ksd, ksd

__all__ = ["ksd"]

FOREIGN = """
web.prod A 10.9.9.9
net1.taken.prod A 10.1.0.4
net1.taken.prod TXT "heritage=ksd-ddns,owner=other,vmi=prod/taken"
"""


def explained(ksd: Running, key: str) -> Any:
    code, text = ksd.get(f"/explain?vmi={quote(key)}")
    assert code == 200, text
    return json.loads(text)["vmi"]


def named(ksd: Running, name: str) -> Any:
    code, text = ksd.get(f"/explain?name={quote(name)}")
    assert code == 200, text
    return json.loads(text)["name"]


def states(of: Any) -> dict[str, str]:
    return {name["name"].removesuffix(".vm."): name["state"] for name in of["names"]}


def test_each_state_of_a_running_controller(make_bind: Callable[..., Bind], kube: Kube, run: Run, ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": FOREIGN})
    raw = vmi(
        "db",
        "prod",
        {"net1": ["10.1.0.9", "fe80::9"], "vlan_12": ["10.2.0.7"], "zz": ["10.3.0.4"]},
        annotations={"ksd-ddns/hostname": "web"},
    )
    kube.put(raw)
    kube.put(vmi("taken", "prod", {"net1": ["10.1.0.5"]}))
    kube.put(vmi("out", "dev", {"net1": ["10.1.0.6"]}))
    controller = run(bind, kube, NAMESPACES="prod", HOLD_DOWN="300s")
    controller.wait_ready()
    outside = explained(controller, "dev/out")
    assert (outside["skip"], outside["interfaces"]) == ("namespaces", [])
    assert "10.1.0.6" not in str(outside)
    controller.wait(lambda: states(explained(controller, "prod/db"))["vlan_12.db.prod"] == "refused", "the refusal")
    found = explained(controller, "prod/db")
    assert states(found) == {
        "db.prod": "published",
        "net1.db.prod": "published",
        "vlan_12.db.prod": "refused",
        "zz.db.prod": "published",
        "web.prod": "conflict",
    }
    assert [(row["address"], row["state"]) for row in found["interfaces"][0]["addresses"]] == [
        ("10.1.0.9", "published"), ("fe80::9", "skipped"),
    ]  # fmt: skip
    refused = next(name for name in found["names"] if name["state"] == "refused")
    assert (refused["cause"], refused["rcode"], refused["server"]) == ("host-name", "REFUSED", _server(bind))
    assert refused["since"] < refused["retry_at"]
    assert "check-names ignore" in refused["fix"]
    # Held.
    raw["status"]["interfaces"] = [item for item in raw["status"]["interfaces"] if item.get("name") != "zz"]
    kube.put(raw)
    controller.wait(lambda: states(explained(controller, "prod/db"))["zz.db.prod"] == "held", "the hold")
    held = next(name for name in explained(controller, "prod/db")["names"] if name["state"] == "held")
    assert held["since"] < held["until"]
    # The wrong owner, not selected, gone.
    (taken,) = [name for name in explained(controller, "prod/taken")["names"] if name["state"] == "conflict"]
    assert (taken["cause"], taken["owners"]) == ("other-owner", [{"owner": "other", "vmi": "prod/taken"}])
    assert explained(controller, "dev/out")["skip"] == "namespaces"
    gone = explained(controller, "prod/d")
    assert (gone["exists"], gone["similar"]) == (False, ["prod/db"])
    # Names.
    assert (named(controller, "net1.db.prod")["state"], named(controller, "web.prod.vm.")["state"]) == (
        "published", "conflict",
    )  # fmt: skip
    # The command shows the same, without rights of its own.
    remote = ksd(bind).but("DNS_SERVER", "TSIG_KEY_FILE")
    url = f"http://127.0.0.1:{controller.port.number}"
    done = remote("explain", "prod/db", "--url", url)
    assert (done.code, done.err) == (1, "")
    assert done.out.splitlines()[0] == "VM prod/db: Running, 3 of 5 names in DNS"
    assert "conflict" in done.out
    assert remote("explain", "prod/db", "--url", f"{url}/", "-o", "json").json["vmi"]["vmi"] == "prod/db"
    assert remote("explain", "net1.db.prod", "--url", url).code == 0
    assert remote("explain", "x" * 70, "--url", url).code == 2


def _server(bind: Bind) -> str:
    return f"{bind.address}:{bind.port}"


@pytest.mark.parametrize("query", ["", "?vmi=x", "?vmi=a/b/c", "?vmi=a/b&name=x", f"?name={'x' * 64}", "?vmi=a/%0a"])
def test_a_wrong_question_is_a_bad_request(bind: Bind, kube: Kube, run: Run, query: str) -> None:
    controller = run(bind, kube)
    controller.wait_ready()
    assert controller.get(f"/explain{query}")[0] == 400


def test_without_the_api_server_the_controller_explains_what_it_knows(bind: Bind, kube: Kube, run: Run) -> None:
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    controller = run(bind, kube)
    controller.wait_ready()
    kube.stop()
    found = controller.wait(lambda: _unread(controller), "the reason")
    assert states(found) == {"db.prod": "published", "net1.db.prod": "published"}
    assert [(row["address"], row["state"]) for row in found["interfaces"][0]["addresses"]] == [
        ("10.1.0.9", "published")
    ]


def _unread(controller: Running) -> Any:
    found = explained(controller, "prod/db")
    return found if found.get("unread") else None


def test_a_controller_that_cannot_answer_says_so(
    make_bind: Callable[..., Bind], kube: Kube, run: Run, ksd: Ksd
) -> None:
    bind = make_bind(zones={"vm.": ""})
    bind.stop()
    controller = run(bind, kube)
    controller.wait(lambda: controller.get("/healthz")[0] == 200, "the status page")
    code, text = controller.get("/explain?vmi=prod/db")
    assert code == 503
    assert "try again" in text
    url = f"http://127.0.0.1:{controller.port.number}"
    done = ksd(bind).but("DNS_SERVER", "TSIG_KEY_FILE")("explain", "prod/db", "--url", url)
    assert done.code == 2
    assert "cannot answer now" in done.err


def test_from_a_file(bind: Bind, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "vmis.json"
    path.write_bytes(as_json(listing([vmi("db", "prod", {"net1": ["10.1.0.9"]})])))
    controller = run(bind, source=path)
    controller.wait_ready()
    assert states(explained(controller, "prod/db")) == {"db.prod": "published", "net1.db.prod": "published"}
    assert explained(controller, "prod/nothing")["exists"] is False


def test_from_the_cluster_and_as_a_kubectl_plugin(bind: Bind, kube: Kube, ksd: Ksd, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl here")
    kube.put(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    kube.put(vmi("db1", "prod", {"net1": ["10.1.0.8"]}))
    command = ksd(bind, KUBECONFIG=kube.kubeconfig(tmp_path / "kubeconfig"), OWNER_ID="test")
    assert command("apply").code == 0
    assert command("explain", "prod/db").code == 0
    gone = command("explain", "prod/db2")
    assert (gone.code, gone.out.splitlines()[1]) == (1, "  did you mean prod/db or prod/db1?")
    kube.delete("prod", "db")
    done = subprocess.run(
        [kubectl, "secondary-dns", "explain", "prod/db"],
        env={**command.environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[0] == "VMI prod/db: not found"
    assert "leftover" in done.stdout
