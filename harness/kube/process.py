# SPDX-License-Identifier: Apache-2.0
"""A fake API server in a process of its own, so that it uses no time of the measured program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 10.0


class KubeProcess:
    """`python -m harness.kube --commands` with these options, within a `with` block.

    with KubeProcess("--vmis", "10000", "--tls") as kube:
        kubernetes.config.load_kube_config(str(kube.kubeconfig))
        kube.tell("heartbeats", 20_000)
    """

    def __init__(self, *options: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="kube-")
        self.kubeconfig = Path(self._directory.name) / "kubeconfig"
        self._options = ["--commands", "--kubeconfig", str(self.kubeconfig), *options]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.port = 0

    def __enter__(self) -> Self:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.kube", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            started = self._answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.url, self.port = started["url"], started["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._directory.cleanup()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def tell(self, command: str, *arguments: object) -> dict[str, Any]:
        """Send a command of `harness.kube.__main__`; return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join((command, *map(str, arguments))) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the API server's process ended with {self._process.wait(STOP_SECONDS)}")
        answer: dict[str, Any] = json.loads(line)
        return answer
