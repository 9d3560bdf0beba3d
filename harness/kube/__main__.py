# SPDX-License-Identifier: Apache-2.0
"""The fake API server as a process of its own, for demos and benchmarks.

    python -m harness.kube --port 8001 --objects vmis.yaml --kubeconfig /tmp/kubeconfig

With --commands it reads one command per line from standard input, and writes one line of JSON for each; the end of the
input ends it. `harness.kube.process` uses it.
"""

from __future__ import annotations

import argparse
import gc
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from harness import vmis
from harness.kube import ADMIN, VMIS, Kube

Command: TypeAlias = Callable[[Kube, list[str]], Mapping[str, Any] | None]


def many(count: int, namespaces: int = 10, *, interfaces: int = 2) -> Iterator[dict[str, Any]]:
    """Yield running VMIs of about 5 KB, each interface with an IPv4 and an IPv6 address."""
    for number in range(count):
        addresses = {
            f"net{index}": [f"10.{index}.{number >> 8 & 255}.{number & 255}", f"fd00:{index}::{number:x}"]
            for index in range(1, interfaces + 1)
        }
        yield vmis.vmi(f"vm-{number:05}", f"ns-{number % namespaces}", addresses, managed_fields=True)


def objects_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a YAML or JSON file, those of a List one by one."""
    with path.open() as file:
        for document in yaml.load_all(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if document:
                yield from document["items"] if document["kind"].endswith("List") else [document]


def heartbeats(kube: Kube, arguments: list[str]) -> Mapping[str, Any]:
    """COUNT [PER_SECOND]: bump COUNT VMIs, and wait until the watches have sent all events."""
    count, rate = int(arguments[0]), float(arguments[1]) if len(arguments) > 1 else 0.0
    begin = time.perf_counter()
    if not rate:
        kube.heartbeats(count)
    step = max(1, int(rate / 200))
    for done in range(0, count if rate else 0, step):
        kube.heartbeats(min(step, count - done))
        time.sleep(max(0.0, begin + (done + step) / rate - time.perf_counter()))
    written = time.perf_counter() - begin
    kube.wait_delivered(seconds=120)
    return {"written_seconds": written, "delivered_seconds": time.perf_counter() - begin}


def load(kube: Kube, arguments: list[str]) -> Mapping[str, Any]:
    """COUNT [NAMESPACES]: put COUNT VMIs."""
    loaded = kube.load(many(int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 10))
    gc.collect()
    gc.freeze()
    return {"loaded": loaded}


def put(kube: Kube, arguments: list[str]) -> Mapping[str, Any]:
    """OBJECT: create or replace the object; `at` is the time on the monotonic clock of the machine."""
    obj = json.loads(" ".join(arguments))
    with kube.store.lock:  # watches need it to read the store, so they see the change right after this time
        kube.put(obj)
        return {"at": time.monotonic()}


def delete(kube: Kube, arguments: list[str]) -> None:
    """NAMESPACE NAME: delete a VMI."""
    kube.delete(arguments[0], arguments[1])


def requests(kube: Kube, arguments: list[str]) -> Mapping[str, Any]:
    """[SINCE]: list the requests."""
    found = kube.requests(since=int(arguments[0]) if arguments else 0)
    return {"requests": [[one.verb, one.resource, one.namespace, one.status] for one in found]}


COMMANDS: Mapping[str, Command] = {
    "load": load,
    "put": put,
    "delete": delete,
    "heartbeats": heartbeats,
    "requests": requests,
    "compact": lambda kube, _: {"oldest": kube.compact()},
    "cut": lambda kube, _: kube.cut_watches(),
    "end": lambda kube, _: kube.end_watches(),
    "freeze": lambda kube, _: kube.freeze_watches(),
    "stop": lambda kube, _: kube.stop(),
    "start": lambda kube, _: {"url": kube.start().url},
    "state": lambda kube, _: {"vmis": len(kube.objects(VMIS)), "watches": len(kube.watches), "count": kube.count},
}


def obey(kube: Kube, lines: Iterable[str]) -> None:
    """Run the commands, and answer each."""
    for line in lines:
        name, *arguments = line.split(maxsplit=1) if line.startswith("put ") else line.split()
        answer = COMMANDS[name](kube, arguments) or {}
        print(json.dumps({"revision": kube.revision, **answer}), flush=True)


def main() -> None:
    """Serve until SIGINT, SIGTERM or the end of the commands."""
    parser = argparse.ArgumentParser(prog="python -m harness.kube", description="a fake Kubernetes API server")
    parser.add_argument("--port", type=int, default=0, help="loopback port; any free one by default")
    parser.add_argument("--objects", type=Path, action="append", default=[], help="YAML or JSON file of objects")
    parser.add_argument("--vmis", type=int, default=0, help="how many VMIs to make up")
    parser.add_argument("--namespaces", type=int, default=10, help="how many namespaces to spread them over")
    parser.add_argument("--kubeconfig", type=Path, help="write a kubeconfig of an administrator here")
    parser.add_argument("--tls", action="store_true", help="speak TLS")
    parser.add_argument("--token", help="a token of an administrator, instead of one that is made up")
    parser.add_argument("--history", type=int, default=1_000, help="how many changes a watch can go back")
    parser.add_argument("--bookmark-seconds", type=float, default=60.0, help="how often a watch gets a bookmark")
    parser.add_argument("--not-installed", action="store_true", help="a cluster without KubeVirt")
    parser.add_argument("--commands", action="store_true", help="read commands from standard input: "
                        + ", ".join(COMMANDS))  # fmt: skip
    options = parser.parse_args()
    with Kube(
        tls=options.tls, port=options.port, history=options.history, bookmark_seconds=options.bookmark_seconds
    ) as kube:
        loaded = kube.load(many(options.vmis, options.namespaces))
        loaded += sum(kube.load(objects_in(path)) for path in options.objects)
        if options.not_installed:
            kube.uninstall()
        token = {"token": kube.token(ADMIN, token=options.token)} if options.token else None
        if options.kubeconfig:
            kube.kubeconfig(options.kubeconfig, token)
        gc.collect()
        gc.freeze()
        if options.commands:
            print(json.dumps({"url": kube.url, "port": kube.port}), flush=True)
            obey(kube, sys.stdin)
            return
        print(f"{kube.url} serves {loaded} objects; Ctrl-C ends it", flush=True)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()


if __name__ == "__main__":
    main()
