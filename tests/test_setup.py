# SPDX-License-Identifier: Apache-2.0
"""scripts/setup, as far as it can be tested without installing anything."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_setup_does_not_clear_a_linked_environment(tmp_path: Path) -> None:
    clone, shared = tmp_path / "clone", tmp_path / "shared"
    for path in ("scripts/setup", "requirements/dev.txt", "pyproject.toml"):
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, clone / path)
    shared.mkdir()
    (shared / "in-use").touch()
    (clone / ".venv").symlink_to(shared)

    done = subprocess.run([clone / "scripts/setup"], check=False, capture_output=True, text=True, timeout=60)

    assert (done.returncode, [path.name for path in shared.iterdir()]) == (1, ["in-use"])
    assert done.stderr == (
        f"setup: .venv is a symbolic link to {shared}, an environment of another clone."
        " Delete the link, then try again\n"
    )
