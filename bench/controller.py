# SPDX-License-Identifier: Apache-2.0
"""The controller: latency from a change in the cluster to the answer, startup, events without effect, and memory.

The API server is the fake one of the tests, in a separate process, so that its own speed matters little. Its pages and
events have realistic sizes.
"""

import http.client
import itertools
import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from bench import bare
from bench.timing import Contest, Stopwatch, percentile, say
from bench.workload import ZONE, Workload, connect, dig_axfr
from harness.kube.__main__ import many
from harness.kube.process import KubeProcess
from harness.servers import Bind, Knot, Server
from harness.vmis import vmi
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.timing import WatchTiming
from ksd_ddns.cluster.watch import Watch
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.sync import Controller, Options, Supervisor
from ksd_ddns.wire import codec, names
from ksd_ddns.wire.rrset import AAAA, A, Node, rrset
from ksd_ddns.zone.plan import Change, Kind, Ownership
from ksd_ddns.zone.update import Limits, batches
from tests.controller.running import Running

EVENTS = 20_000
"""Events per second that one core must absorb."""

MEMORY = 150 * 2**20
"""Limit of resident octets with 10,000 VMIs."""

PATIENCE = 60.0
"""Timeout in seconds for every wait."""

IDLE = 0.03
"""Seconds between changes, so that the controller has read back the last one and is idle."""

MEMBERS = 10
"""Members of each group; all but one leave, once each: the rate limit does not matter."""

DEADLINE = 0.1
"""Seconds after which no answer may have a member that has left."""

CHANGING = 150
"""VMIs that change in turn: one that changes more than ten times a minute is rate limited."""

_PATH = "/apis/kubevirt.io/v1/virtualmachineinstances"
_TOKEN = re.compile(rb'"continue":"([^"]*)"')


class Cluster(Workload):
    """The VMIs that the fake API server generates, and their records."""

    def __init__(self, records: int) -> None:
        super().__init__(records, Ownership.ZONE)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield the VMIs as the API gives them."""
        return many(self.vmis)

    def serve(self) -> KubeProcess:
        """Return an API server with these VMIs."""
        return KubeProcess("--vmis", str(self.vmis))

    def ready(self, server: Server) -> list[bytes]:
        """Return the signed messages that fill an empty zone; valid for the TSIG fudge (5 minutes)."""
        key = read_key_file(server.key_file)
        together = batches(self.additions().changes, Limits())
        return [bare.signed(ZONE, each.changes, key, ident=ident) for ident, each in enumerate(together)]

    def fill(self, server: Server) -> None:
        """Add all records to the empty zone of `server`."""
        client = bare.Client(server)
        try:
            client.send_all(self.ready(server), in_flight=Limits().in_flight)
        finally:
            client.close()
        self.check(server)


def contests(*, sizes: tuple[int, int], vmis: int, changes: int, times: int) -> Iterator[Contest]:
    """Yield the comparisons: latency in zones of two `sizes`; startup, idle events and memory with `vmis` VMIs."""
    yield from _latency(Bind, sizes, changes)
    yield from _latency(Knot, sizes, changes)
    yield from _start(Cluster(6 * vmis), times)
    yield from _absorption(Cluster(6 * vmis), times)


# --- latency ---------------------------------------------------------------------------------------------------------


def _latency(kind: type[Server], sizes: tuple[int, int], times: int) -> Iterator[Contest]:
    """Yield the latency of a change with idle controllers, alternating between the zones.

    The clock starts when the API server is about to send the watch event, and stops when the primary, polled over UDP,
    returns the new address. Theirs: an UPDATE of the same form, signed in advance, until its response.
    """
    with ExitStack() as stack:
        tracks = []
        for size in sizes:
            say(f"controller: a zone of {kind.program} with {size} records, and as many VMIs as that takes")
            tracks.append(stack.enter_context(_Track(kind, Cluster(size), leaves=times + 1)))
        say(f"controller: {times} changes")
        for track in tracks:
            track.change(Stopwatch())  # warms up the caches, as in all comparisons
            track.leave(Stopwatch())
            track.client.exchange(next(track.messages))
        for _ in range(times):
            for track in tracks:
                track.change(track.ours)
                time.sleep(IDLE)
                track.leave(track.left)
                time.sleep(IDLE)
                message = next(track.messages)
                track.theirs.time(lambda client=track.client, message=message: client.exchange(message))  # type: ignore[misc]
                time.sleep(IDLE / 3)
    small, large = tracks
    bind = kind is Bind
    for track in tracks:
        name = f"from the watch to the answer, {kind.program}, {track.cluster.records} records"
        ours, theirs = track.ours.seconds, track.theirs.seconds
        yield Contest(name, "bare loop, signed before", ours, theirs, 5.0 if bind else 1.5)
        name = f"{name}: 99th percentile"
        yield Contest(name, "median of the bare loop", ours, theirs, 20.0 if bind else None, percentile=99)
        yield Contest(name, "its 99th percentile", ours, [percentile(theirs, 99)], percentile=99)
        name = f"group member leaves until the answer, {kind.program}, {track.cluster.records} records"
        left = track.left.seconds
        yield Contest(name, "bare loop, signed before", left, theirs, 5.0 if bind else 1.5)
        yield Contest(f"{name}: 99th percentile", "limit", left, [DEADLINE], 1.0 if bind else None, percentile=99)
    name = f"from the watch to the answer, {kind.program}, {large.cluster.records} records"
    against = f"with {small.cluster.records} records"
    yield Contest(name, against, large.ours.seconds, small.ours.seconds, 1.3 if bind else None)


class _Track:
    """An API server, a primary whose zone is in sync, and an idle controller between them."""

    def __init__(self, kind: type[Server], cluster: Cluster, *, leaves: int = 0) -> None:
        self._kind = kind
        self.cluster = cluster
        self._leaves = leaves
        self.ours, self.left, self.theirs = Stopwatch(), Stopwatch(), Stopwatch()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(self._kind())
            self.cluster.fill(server)
            self._kube = stack.enter_context(self.cluster.serve())
            self._controller = stack.enter_context(_controller(directory, server, self._kube))
            self._controller.wait_ready(seconds=PATIENCE)
            self._changes = _changes(list(itertools.islice(self.cluster.objects(), CHANGING)))
            self._asked = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._asked.connect((server.address, server.port))
            self._asked.settimeout(1.0)
            self.client = bare.Client(server)
            stack.callback(self.client.close)
            key = read_key_file(server.key_file)
            self.messages = itertools.cycle([bare.signed(ZONE, [change], key) for change in _there_and_back()])
            self.client.exchange(bare.signed(ZONE, [_arrival()], key))
            self._members = self._join(-(-self._leaves // (MEMBERS - 1)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def change(self, watch: Stopwatch) -> None:
        """Change one VMI, and measure the time until the primary returns its new address."""
        obj, name, address = next(self._changes)
        began = self._kube.tell("put", json.dumps(obj))["at"]
        watch.seconds.append(self._wait(name, lambda answer: address in answer) - began)

    def leave(self, watch: Stopwatch) -> None:
        """Make one member of a group not ready, and measure the time until the primary does not return its address."""
        obj, name, address = next(self._members)
        obj["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        began = self._kube.tell("put", json.dumps(obj))["at"]
        watch.seconds.append(self._wait(name, lambda answer: address not in answer) - began)

    def _join(self, groups: int) -> Iterator[tuple[dict[str, Any], bytes, bytes]]:
        """Create `groups` groups; return their members but the last of each, with the group's name and the address."""
        found = []
        for number in range(groups * MEMBERS):
            address = f"10.97.{number >> 8 & 255}.{number & 255}"
            annotations = {"ksd-ddns/group": f"group-{number // MEMBERS}"}
            obj = vmi(f"member-{number}", "groups", {"net1": [address]}, annotations=annotations, managed_fields=True)
            name = names.from_text(f"group-{number // MEMBERS}.groups.{names.to_text(ZONE)}")
            found.append((obj, name, socket.inet_aton(address)))
            self._kube.tell("put", json.dumps(obj))
        for _, name, octets in found:
            self._wait(name, lambda answer, octets=octets: octets in answer)  # type: ignore[misc]
        return iter([each for number, each in enumerate(found) if (number + 1) % MEMBERS])

    def _wait(self, name: bytes, done: Callable[[bytes], bool]) -> float:
        """Query the A records of `name` until the answer is as expected; return when it came."""
        question = codec.query(1, name, A)
        began = time.monotonic()
        while True:
            self._asked.send(question)
            try:
                answer = self._asked.recv(4096)
            except TimeoutError:
                answer = b""  # a lost datagram
            now = time.monotonic()
            # The question tells a late answer to another query.
            if answer[12 : 12 + len(name)] == name and done(answer):
                return now
            if now - began > PATIENCE:
                raise RuntimeError(f"{names.to_text(name)} never got the expected addresses")

    def absorbed(self) -> float:
        """Return the processor time for EVENTS events without effect. Raises RuntimeError if one had an effect."""
        time.sleep(1.0)
        pid = self._controller.pid
        sent, before = self._sent(), _processor(pid)
        self._kube.tell("heartbeats", EVENTS, EVENTS)
        self.change(Stopwatch())
        time.sleep(10 * IDLE)
        spent = _processor(pid) - before
        if self._sent() != sent + 1:
            raise RuntimeError(f"{self._sent() - sent} names were updated, not the one that changed")
        return spent

    def _sent(self) -> int:
        metrics = self._controller.metrics()
        return round(sum(value for name, value in metrics.items() if name.startswith("update_outcomes_total")))


def _changes(objects: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bytes, bytes]]:
    """Yield VMIs with new addresses on their second interface, its name, and its IPv4 address; endless."""
    for number in itertools.count():
        obj = objects[number % len(objects)]
        metadata = obj["metadata"]
        entry = next(item for item in obj["status"]["interfaces"] if item["name"] == "net2")
        address = f"10.99.{number >> 8 & 255}.{number & 255}"
        entry["ipAddress"], entry["ipAddresses"] = address, [address, f"fd00:99::{number:x}"]
        name = names.from_text(f"net2.{metadata['name']}.{metadata['namespace']}.{names.to_text(ZONE)}")
        yield obj, name, socket.inet_aton(address)


def _neighbour(number: int) -> Node:
    # A name that the controller neither wants nor deletes, so the bare loop causes no work for it.
    packed = bytes([10, 98, 0, number])
    return Node(b"\2ns" + ZONE, (rrset(A, 60, [packed]), rrset(AAAA, 60, [bytes([0xFD]) + bytes(14) + packed[-1:]])))


def _arrival() -> Change:
    return Change(Node(b"\2ns" + ZONE), _neighbour(1), Kind.ADD)


def _there_and_back() -> tuple[Change, Change]:
    one, other = _neighbour(1), _neighbour(2)
    return Change(one, other, Kind.CHANGE), Change(other, one, Kind.CHANGE)


# --- start and memory ------------------------------------------------------------------------------------------------


def _start(cluster: Cluster, times: int) -> Iterator[Contest]:
    """Yield the time until the controller is ready, with an empty zone and with one that is in sync.

    Measured as a process until `/readyz` returns 200, including interpreter and imports, and within this process.
    Theirs: the pages of the list, read and discarded, then the same messages, signed in advance; or a dig transfer.
    """
    race = _StartRace(cluster)
    with cluster.serve() as kube, tempfile.TemporaryDirectory() as directory:
        for round_ in range(times + 1):
            say(f"controller: start with {cluster.vmis} VMIs, {round_} of {times}" + ("" if round_ else " (uncounted)"))
            race.run(kube, Path(directory))
            if not round_:
                race.reset()
    name = f"start, {cluster.vmis} VMIs"
    filled, right = "bare list, bare loop, messages ready", "bare list, dig axfr"
    yield Contest(f"{name}, empty zone: until ready", filled, race.inside.seconds, race.bare.seconds, 1.5)
    yield Contest(f"{name}, empty zone: ksd-ddns run", filled, race.process.seconds, race.bare.seconds, 1.5)
    yield Contest(f"{name}, right zone: until ready", right, race.inside_again.seconds, race.read.seconds, 2.5)
    yield Contest(f"{name}, right zone: ksd-ddns run", right, race.process_again.seconds, race.read.seconds, 2.5)
    limit = [float(MEMORY)]
    resident = f"resident, {cluster.vmis} VMIs"
    yield Contest(f"{resident}, after an empty zone", "limit", race.memory, limit, 1.0, text=_octets)
    yield Contest(f"{resident}, after a right zone", "limit", race.memory_again, limit, 1.0, text=_octets)
    yield Contest(f"{resident}, at most, after an empty zone", "limit", race.peak, limit, text=_octets)


class _StartRace:
    """The ways to fill a zone from a list and to verify it, one after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.reset()

    def reset(self) -> None:
        self.inside, self.process, self.bare = Stopwatch(), Stopwatch(), Stopwatch()
        self.inside_again, self.process_again, self.read = Stopwatch(), Stopwatch(), Stopwatch()
        self.memory: list[float] = []
        self.memory_again: list[float] = []
        self.peak: list[float] = []

    def run(self, kube: KubeProcess, directory: Path) -> None:
        cluster = self._cluster
        with Bind() as server:
            _until_ready(cluster, server, kube, self.inside)
            cluster.check(server)
            _until_ready(cluster, server, kube, self.inside_again)
        with Bind() as server:
            memory, peak = _process_until_ready(directory, server, kube, self.process)
            self.memory.append(memory)
            self.peak.append(peak)
            cluster.check(server)
            memory, _ = _process_until_ready(directory, server, kube, self.process_again)
            self.memory_again.append(memory)
        with Bind() as server:
            ready = cluster.ready(server)
            client = bare.Client(server)

            def fill() -> None:
                _list(kube)
                client.send_all(ready, in_flight=Limits().in_flight)

            def read() -> None:
                _list(kube)
                dig_axfr(server)

            self.bare.time(fill)
            client.close()
            cluster.check(server)
            self.read.time(read)


def _until_ready(cluster: Cluster, server: Server, kube: KubeProcess, watch: Stopwatch) -> None:
    """Time a controller in this process until it is ready."""
    began = time.perf_counter()
    source = Watch(Api(kubeconfig=str(kube.kubeconfig)))
    options = Options(
        zone=None, base=ZONE, rules=lambda _: cluster.rules, scope=lambda _: cluster.scope, limits=Limits()
    )
    controller = Controller(connect(server), [source.namespace], options)
    fleet = Supervisor([source], [controller])
    thread = threading.Thread(target=fleet.run, daemon=True)
    thread.start()
    while controller.snapshot.problems:
        time.sleep(0.002)
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"the controller is not ready: {controller.snapshot.problems}")
    watch.seconds.append(time.perf_counter() - began)
    fleet.stop()
    thread.join(PATIENCE)


def _process_until_ready(directory: Path, server: Server, kube: KubeProcess, watch: Stopwatch) -> tuple[float, float]:
    """Time `ksd-ddns run` until it is ready; return its resident and peak octets."""
    controller = _controller(directory, server, kube)
    began = time.perf_counter()
    with controller:
        while not controller.ready:
            time.sleep(0.005)
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError(f"the controller is not ready: {controller.log()}")
        watch.seconds.append(time.perf_counter() - began)
        time.sleep(0.5)  # let it free memory first
        found = _resident(controller.pid)
        controller.stop()
    return found


def _list(kube: KubeProcess) -> None:
    """Read all pages of the list, and parse only the continue token."""
    connection = http.client.HTTPConnection("127.0.0.1", kube.port)
    headers = {"Authorization": f"Bearer {_bearer(kube.kubeconfig)}"}
    token = ""
    while True:
        query = {"limit": WatchTiming().page} | ({"continue": token} if token else {})
        connection.request("GET", f"{_PATH}?{urlencode(query)}", headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"the list was answered with {response.status}")
        found = _TOKEN.search(body, len(body) - 1024)  # metadata comes last
        token = found[1].decode() if found else ""
        if not token:
            connection.close()
            return


@cache
def _bearer(kubeconfig: Path) -> str:
    token: str = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    return token


# --- events that change nothing --------------------------------------------------------------------------------------


def _absorption(cluster: Cluster, times: int) -> Iterator[Contest]:
    """Yield the processor time for EVENTS events without effect.

    They are processed when the change after them is answered; the metrics show that the controller sent only that.
    """
    say(f"controller: {EVENTS} events that change nothing, {times} times")
    with _Track(Bind, cluster) as track:
        spent = [track.absorbed() for _ in range(times + 1)][1:]
    what = f"processor, {EVENTS} events that change nothing"
    yield Contest(what, "a second of one core", spent, [1.0], 1.0)


def _controller(directory: Path, server: Server, kube: KubeProcess) -> Running:
    settings: Mapping[str, object] = {
        "KUBECONFIG": kube.kubeconfig,
        "DNS_SERVER": f"{server.address}:{server.port}",
        "TSIG_KEY_FILE": server.key_file,
        "OWNERSHIP": Ownership.ZONE.value,
    }
    return Running(directory, settings, program=True)


def _resident(pid: int) -> tuple[float, float]:
    """Return the resident and peak octets of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {name: 1024.0 * int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)
             if name in {"VmRSS", "VmHWM"}}  # fmt: skip
    return found["VmRSS"], found["VmHWM"]


def _processor(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _octets(value: float) -> str:
    return f"{value / 2**20:.0f} MiB"
