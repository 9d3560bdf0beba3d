# SPDX-License-Identifier: Apache-2.0
"""Run `ksd-ddns run` as a process, and query it and its primary.

    with Running(directory, settings) as ksd:
        ksd.wait_ready()
        ksd.wait(lambda: answer(primary, "net1.db.prod.vm.", "A") == ["10.0.0.1"], "the address")
        assert ksd.problems().keys() == {"source"}
        ksd.kill()                            # at once, at any point
        ksd.start()
        assert ksd.stop() == 0                # SIGTERM; its duration is `ksd.seconds`

It is forked from a process that has imported the program, which saves most of a second each time; `program=True` runs
`python -m ksd_ddns run` instead.
"""

import ctypes
import json
import multiprocessing
import multiprocessing.context
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import dns.flags
import dns.message
import dns.query
import dns.rcode
from prometheus_client.parser import text_string_to_metric_families

from harness.servers import Port, Record, Server
from ksd_ddns.cli.timing import Timing
from ksd_ddns.config.settings import Settings

WAIT_SECONDS = 20.0
"""Timeout for what should happen at once: other tests use the processor too."""

_PR_SET_PDEATHSIG = 1

T = TypeVar("T")

_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["ksd_ddns.cli.run", "ksd_ddns.cluster.watch", "ksd_ddns.cluster.events"])


def _run(environment: dict[str, str], arguments: list[str], log: str, timing: Timing) -> None:
    """Run the program with the durations `timing`."""
    from ksd_ddns.cli import main  # noqa: PLC0415 in the child, where it is imported already

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.exit(main(["run", *arguments], timing=timing))


class Running:
    """The controller with these settings, in a `with` block or from `start` to `stop`.

    `timing` are the durations of the controller; with `program` it has its own.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, object],
        *arguments: object,
        program: bool = False,
        timing: Timing | None = None,
    ) -> None:
        self.port = Port.reserve()
        self.settings = {
            "STATUS_ADDRESS": f"127.0.0.1:{self.port.number}",
            **{name: str(value) for name, value in settings.items()},
        }
        self.arguments = [str(argument) for argument in arguments]
        self.log_file = directory / f"ksd-{self.port.number}.log"
        self.seconds = 0.0
        self._program = program
        self._timing = timing or Timing()
        self._process: multiprocessing.context.ForkServerProcess | subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            print(f"--- the controller ---\n{self.log()[-20_000:]}")
            print(f"--- /readyz ---\n{self.get('/readyz')[1]}")
        if self._process is not None:
            self.kill()
        self.port.release()
        if error is None:
            assert "Traceback" not in self.log(), self.log()
            assert '"traceback"' not in self.log(), self.log()

    # Life

    def start(self) -> None:
        """Start it; it is ready when `wait_ready` returns."""
        assert self._process is None, "it runs already"
        ours = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
        environment = {**ours, **self.settings}
        if self._program:
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "ksd_ddns", "run", *self.arguments], env=environment, stdout=log, stderr=log
                )
            return
        what = (environment, self.arguments, str(self.log_file), self._timing)
        process = _fork.Process(target=_run, args=what, daemon=True)
        process.start()
        self._process = process

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        assert self._process is not None
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        os.kill(self.pid, signal.SIGKILL)
        self._gone(WAIT_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it as Kubernetes does; return the exit code."""
        since = time.monotonic()
        os.kill(self.pid, number)
        code = self._gone(WAIT_SECONDS)
        self.seconds = time.monotonic() - since
        return code

    def ended(self) -> int:
        """Wait until it exits on its own; return the exit code."""
        return self._gone(WAIT_SECONDS)

    def _gone(self, seconds: float) -> int:
        process, self._process = self._process, None
        assert process is not None
        if isinstance(process, subprocess.Popen):
            return process.wait(seconds)
        process.join(seconds)
        assert process.exitcode is not None, "it does not end"
        return process.exitcode

    # Output

    def log(self) -> str:
        """Return its log."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def events(self, message: str) -> list[dict[str, Any]]:
        """Return the log events with this message, each with its fields."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    def get(self, path: str) -> tuple[int, str]:
        """Return status code and body of a status page; (0, "") if there is no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port.number}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read().decode()
        except OSError:
            return 0, ""

    @property
    def ready(self) -> bool:
        """Whether /readyz reports that it is ready."""
        return self.get("/readyz")[0] == 200

    def problems(self) -> dict[str, str]:
        """Return the problems that make it unready, by part. Raises AssertionError if there is no answer."""
        code, text = self.get("/readyz")
        assert code in (200, 503), self.log()
        found = {}
        for line in text.splitlines():
            if line.startswith("[-]"):
                part, _, words = line[4:].partition(": ")
                found[part.split(" of ")[0]] = words
        assert (code == 503) == bool(found), text
        return found

    def metrics(self) -> dict[str, float]:
        """Return the metrics as a Prometheus reads them, as `name` and `name{label}` without the zone."""
        time.sleep(0.1)  # metrics follow some milliseconds after the DNS answer that a test has just seen
        code, text = self.get("/metrics")
        assert code == 200, text
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = [value for label, value in sorted(sample.labels.items()) if label != "zone"]
                name = sample.name.removeprefix("ksd_ddns_")
                found[f"{name}{{{','.join(labels)}}}" if labels else name] = sample.value
        return found

    # Waiting

    def wait(self, condition: Callable[[], T], what: str, *, seconds: float = WAIT_SECONDS) -> T:
        """Return the result of `condition` once it is true; AssertionError if that takes longer."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if self._process is not None and self.code is not None:
                raise AssertionError(f"{what}: it ended with {self.code}\n{self.log()[-5000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {seconds} s\n{self.get('/readyz')[1]}")
            time.sleep(0.02)
        return value

    def wait_ready(self, *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until /readyz reports that it is ready."""
        self.wait(lambda: self.ready, "ready", seconds=seconds)

    def wait_problem(self, part: str, *words: str, seconds: float = WAIT_SECONDS) -> str:
        """Wait until /readyz reports a problem of `part` with all `words`; return its text."""

        def said() -> str:
            text = self.problems().get(part, "") if self.get("/healthz")[0] else ""
            return text if all(word in text for word in words) else ""

        return self.wait(said, f"a problem of {part}: {words}", seconds=seconds)

    def wait_answer(self, primary: Server, name: str, rdtype: str, *rdatas: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the primary answers exactly with `rdatas`; with none, that there are none."""
        wanted = sorted(rdatas)
        self.wait(
            lambda: answer(primary, name, rdtype) == wanted,
            f"{name} {rdtype} is {wanted}, not {answer(primary, name, rdtype)}",
            seconds=seconds,
        )


def answer(primary: Server, name: str, rdtype: str) -> list[str]:
    """Return the sorted rdata of an RRset as the primary answers it, as text; nothing when there is none."""
    query = dns.message.make_query(name, rdtype)
    query.flags &= ~dns.flags.RD
    # Over TCP: the bundled primary limits the rate of the same answer over UDP.
    response = dns.query.tcp(query, primary.address, timeout=5, port=primary.port)
    assert response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN), response.to_text()
    return sorted(
        str(rdata) for rrset in response.answer for rdata in rrset if rrset.rdtype == query.question[0].rdtype
    )


def addresses(primary: Server, zone: str | None = None) -> dict[str, set[str]]:
    """Return all A and AAAA records of the zone by AXFR: owner names and addresses."""
    found: dict[str, set[str]] = {}
    for record in primary.axfr(zone):
        if record.type in ("A", "AAAA"):
            found.setdefault(record.owner, set()).add(record.rdata)
    return found


def others(primary: Server, zone: str | None = None) -> frozenset[Record]:
    """Return the records at foreign names in the zone, without the SOA."""
    records = primary.axfr(zone, soa=False)
    ours = {record.owner for record in records if record.type == "TXT" and "heritage=ksd-ddns" in record.rdata}
    return frozenset(record for record in records if record.owner not in ours)
