# SPDX-License-Identifier: Apache-2.0
"""What `run` sets up before it does anything else."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("command", "shares"), [("run", True), ("plan", False)])
def test_the_controller_shares_the_processor_in_small_pieces(command: str, shares: bool) -> None:
    code = f"import sys; from ksd_ddns.cli import main; main([{command!r}]); print(sys.getswitchinterval())"
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert (float(done.stdout) < 0.001) is shares
