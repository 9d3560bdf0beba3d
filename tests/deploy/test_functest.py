"""The end-to-end tests that are meant for a cluster, in front of a pod of the bundled BIND."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.deploy import rendered
from tests.deploy.pod import Pod, require_root
from tests.deploy.rendered import ROOT, one
from tests.kube import Kube


def test_the_functional_tests_pass(tmp_path: Path) -> None:
    require_root()
    documents = rendered.documents("bind9")
    one(documents, "ConfigMap")["data"]["DOMAIN"] = "secondary.io"
    kube = Kube(tls=True, auth=True)
    kube.authorize(documents)
    kube.put(one(documents, "ConfigMap"))
    with Pod(documents, kube=kube) as pod:
        pod.initialize()
        pod.start()
        pod.wait_ready()
        environment = {
            "KUBECONFIG": str(kube.kubeconfig(tmp_path / "kubeconfig")),
            "FUNCTEST_DNS": "127.0.0.1:5353",
            "FUNCTEST_SIMULATE_STATUS": "true",
            "FUNCTEST_SECONDS": "20",
        }
        command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "functest"]
        with pod.network():
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | environment,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed, 1 skipped", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= 5
