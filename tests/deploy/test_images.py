# SPDX-License-Identifier: Apache-2.0
"""The images: which are built, from which base, and which the manifests use."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ksd_ddns import __version__
from tests.deploy.rendered import ROOT

IMAGES = ("ksd-ddns", "ksd-ddns-bind9", "ksd-ddns-knot")


def run(*command: str, variables: dict[str, str], cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run a script of scripts/, without the variables of the current user."""
    mine = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return subprocess.run(
        command, cwd=cwd, env=mine | variables, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("variables", "prefix", "tag"),
    [
        pytest.param({}, "ghcr.io/kubevirt", f"v{__version__}", id="this-version"),
        pytest.param({"IMAGE_TAG": "dev-1"}, "ghcr.io/kubevirt", "dev-1", id="a-tag"),
        pytest.param(
            {"REGISTRY": "r.example:5000", "REPO": "dns"}, "r.example:5000/dns", f"v{__version__}", id="a-place"
        ),
    ],
)
@pytest.mark.parametrize("variant", ["bind9", "knot", "ksd", "secondaries"])
def test_the_built_images_are_the_deployed_ones(variables: dict[str, str], prefix: str, tag: str, variant: str) -> None:
    built = run("scripts/manifests", "images", variables=variables).stdout.split()
    assert built == [f"{prefix}/{name}:{tag}" for name in IMAGES]
    documents = yaml.safe_load_all(run("scripts/manifests", variant, variables=variables).stdout)
    pods = [item["spec"]["template"]["spec"] for item in documents if item["kind"] == "Deployment"]
    deployed = {item["image"] for pod in pods for item in (*pod.get("initContainers", ()), *pod["containers"])}
    assert deployed
    assert deployed <= set(built)


@pytest.mark.parametrize("arguments", [pytest.param((), id="none"), pytest.param(("kont",), id="misspelled")])
def test_an_unknown_variant_lists_the_variants(arguments: tuple[str, ...]) -> None:
    done = run("scripts/manifests", *arguments, variables={})
    use = "use bind9, knot, ksd, secondaries, nodeport or loadbalancer"
    assert done.stderr == f"manifests: no variant '{''.join(arguments)}': {use}\n"
    assert (done.returncode, done.stdout) == (2, "")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a directory with the files that scripts/images needs, and a bin/ for replaced programs."""
    for name in ("scripts", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Containerfile", tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def stand_in(clone: Path, name: str, script: str) -> dict[str, str]:
    """Replace a program with a shell script; return the PATH to find it."""
    file = clone / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return {"PATH": f"{clone / 'bin'}:{os.environ['PATH']}"}


def base_of(clone: Path) -> str:
    (line,) = [line for line in (clone / "Containerfile").read_text().splitlines() if line.startswith("ARG BASE=")]
    return line.removeprefix("ARG BASE=")


def test_the_base_image_is_pinned_to_the_current_digest(clone: Path) -> None:
    name = base_of(clone).partition("@")[0]
    for served in ('{"manifests": [1]}', '{"manifests": [2]}'):
        path = stand_in(clone, "skopeo", f'[ "$*" = "inspect --raw docker://{name}" ] && printf %s \'{served}\'')
        done = run("scripts/images", "pin-base", cwd=clone, variables=path)
        assert done.returncode == 0, done.stderr
        assert base_of(clone) == f"{name}@sha256:{hashlib.sha256(served.encode()).hexdigest()}"


def test_an_unreachable_registry_leaves_the_containerfile_unchanged(clone: Path) -> None:
    before = (clone / "Containerfile").read_text()
    path = stand_in(clone, "skopeo", "exit 1")
    assert run("scripts/images", "pin-base", cwd=clone, variables=path).returncode != 0
    assert (clone / "Containerfile").read_text() == before


@pytest.mark.parametrize("pinned", [False, True], ids=["by-tag", "by-digest"])
def test_a_build_reports_an_unpinned_base(clone: Path, pinned: bool) -> None:
    path = stand_in(clone, "buildah", 'echo "$@" >>commands')
    base = f"r.example/debian:12@sha256:{'0' * 64}" if pinned else "r.example/debian:12"
    done = run("scripts/images", "build", cwd=clone, variables={"OCI_BIN": "buildah", "BASE": base, **path})
    assert done.returncode == 0, done.stderr
    assert ("has no digest" in done.stderr) is not pinned
    commands = (clone / "commands").read_text().splitlines()
    assert len(commands) == 3
    assert all(f"--build-arg BASE={base}" in command for command in commands)
