# SPDX-License-Identifier: Apache-2.0
"""The wheel and the sdist, built and installed as a user installs them."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from ksd_ddns import __version__

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without the settings of this environment; return its output."""
    variables = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    done = subprocess.run(
        command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def package_files() -> set[str]:
    """Return the files of the package in this tree, Python or not."""
    files = (path for path in (ROOT / "ksd_ddns").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(ROOT).as_posix() for path in files}


def content(wheel: Path) -> set[str]:
    """Return the files of the package in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if name.startswith("ksd_ddns/")}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with the wheel and the sdist of this tree, built without its repository."""
    tree, output = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in ("ksd_ddns", "examples", "requirements"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "pyproject.toml", ROOT / ".gitignore"):
        shutil.copy(path, tree)
    run(sys.executable, "-m", "hatchling", "build", "-d", output, cwd=tree)
    return output


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """Return the wheel of this tree."""
    (path,) = dist.glob("*.whl")
    return path


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    assert content(wheel) == package_files()
    assert "ksd_ddns/py.typed" in content(wheel)


def test_the_sdist_builds_the_same_wheel(dist: Path, wheel: Path, tmp_path: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=tmp_path / sdist.name[:-7])
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_an_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check")
    run(*pip, "--no-index", "--no-deps", wheel, cwd=tmp_path)
    # The requirements come from this environment. A .pth file in a directory that one names is not read, so that this
    # tree, installed as editable here, is not imported there.
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")

    assert run(environment / "bin/ksd-ddns", "--version", cwd=tmp_path) == f"ksd-ddns {__version__}\n"
    show = "import ksd_ddns, importlib.metadata as m; print(ksd_ddns.__file__, m.version('ksd-ddns'))"
    assert run(python, "-c", show, cwd=tmp_path).split() == [str(site / "ksd_ddns/__init__.py"), __version__]
    # Imports that only some command needs, and files that it reads.
    modules = sorted(name[:-3].replace("/", ".") for name in content(wheel) if name.endswith(".py"))
    run(python, "-c", "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]",
        *(name.removesuffix(".__init__") for name in modules), cwd=tmp_path)  # fmt: skip
    for path in package_files():
        assert (site / path).read_bytes() == (ROOT / path).read_bytes()
