# SPDX-License-Identifier: Apache-2.0
"""Pods of the rendered manifests, run as a kubelet would: a stand-in for kubelet and container engine.

    with Pod(documents, kube=kube) as pod:            # `kube` is not started yet: it must come up in the pod's network
        pod.initialize()                              # init containers, one after the other
        pod.start()                                   # all containers at once, as a kubelet does
        pod.ready()                                   # {container: what its readiness probe finds}
        with pod.network():                           # code in here runs in the network of the pod
            ...
        pod.stop()                                    # SIGTERM to all, SIGKILL after the grace period

A pod has a network of its own, with nothing but loopback, so that ports are those of the manifests. A container has a
root of its own, read-only as the manifest wants it, with this machine's programs in the place of an image's, and only
its own volumes; it runs without a single capability as a UID that no user of this machine has, and with the
environment that the manifest gives it. That takes root (CAP_SYS_ADMIN).

KSD_IMAGES names a directory with the roots of real images (ksd-ddns, ksd-ddns-bind9, ksd-ddns-knot): they are taken
instead of this machine's programs. `buildah mount` shows where the root of an image lies.

Not simulated: pulling images, memory limits, network policies, restarts, scheduling.
"""

import contextlib
import ctypes
import os
import random
import shlex
import shutil
import site
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from harness.kube import Kube
from harness.servers import scratch
from tests.deploy.rendered import ROOT, one

START_SECONDS = 30.0

IMAGES = os.environ.get("KSD_IMAGES", "")

_CLONE_NEWNET = 0x40000000
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))

# Where the Containerfile puts the program, and the PATH that it sets.
_HOME = "/opt/ksd-ddns"
_PATH = f"{_HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require_root() -> None:
    """Skip the test if it cannot run, except in CI."""
    if os.geteuid() != 0:
        reason = "pods of their own network and root take root: sudo make test ARGS=tests/deploy"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@cache
def _root_is_mounted() -> bool:
    """Return whether / is a mount point: in a chroot it may be a plain directory, which has no propagation to set."""
    return any(line.split()[4] == "/" for line in Path("/proc/self/mountinfo").read_text().splitlines())


@contextlib.contextmanager
def inside(network: Path) -> Iterator[None]:
    """Move this thread, and the processes it starts, into another network during the block."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(fd, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {path}")
        finally:
            os.close(fd)

    before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(network)
        try:
            yield
        finally:
            enter(Path(f"/proc/self/fd/{before}"))
    finally:
        os.close(before)


class Container:
    """One container of a pod, running or not."""

    def __init__(self, pod: "Pod", spec: Mapping[str, Any]) -> None:
        self.pod = pod
        self.spec = spec
        self.name: str = spec["name"]
        self.log_file = pod.directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"Container({self.name})"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the process: as engines and kubelets set it, then as in the manifest."""
        engine = {"PATH": _PATH, "HOME": "/", "HOSTNAME": "secondary-dns-0", "PYTHONDONTWRITEBYTECODE": "1"}
        assert self.pod.spec["enableServiceLinks"] is False
        port = self.pod.kube.port if self.pod.kube is not None else 443
        cluster = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
        found = engine | cluster
        for source in self.spec.get("envFrom", ()):
            found |= one(self.pod.documents, "ConfigMap", source["configMapRef"]["name"])["data"]
        return found | {item["name"]: self._value(item) for item in self.spec.get("env", ())}

    def _value(self, item: Mapping[str, Any]) -> str:
        match item:
            case {"value": str(value)}:
                return value
            case {"valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}:
                found: str = one(self.pod.documents, "ConfigMap", name)["data"][key]
                return found
        raise AssertionError(f"{item} is not simulated")

    def command(self) -> list[str]:
        """Return the command of the manifest, as its user, in its root and in the network of the pod."""
        security = self.spec["securityContext"]
        assert security["capabilities"]["drop"] == ["ALL"]
        user = str(self.pod.uid)
        dropped = ["--pdeathsig=KILL", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        privileges = [] if security["allowPrivilegeEscalation"] else ["--no-new-privs"]
        wanted = [*self.spec["command"], *self.spec.get("args", ())]
        as_user = ["setpriv", "--reuid", user, "--regid", "0", "--clear-groups", *dropped, *privileges, "--", *wanted]
        script = self.pod.root_script(self.spec, read_only=security["readOnlyRootFilesystem"])
        script += f"exec chroot {shlex.quote(str(self.pod.mount_point))} {shlex.join(as_user)}\n"
        kernel = [] if self.pod.ipv6 else [sys.executable, str(ROOT / "tests" / "deploy" / "without_ipv6.py")]
        mounts = ["unshare", "--mount", f"--propagation={'private' if _root_is_mounted() else 'unchanged'}"]
        return [*kernel, "nsenter", f"--net={self.pod.net}", *mounts, "sh", "-c", script]

    def start(self) -> None:
        """Start it."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=self.environment
            )

    def run(self) -> None:
        """Run it until it exits, as an init container."""
        self.start()
        assert self.process is not None
        code = self.process.wait(START_SECONDS)
        assert code == 0, f"{self} ended with {code}\n{self.log()}"

    def stop(self, grace: float) -> int:
        """Stop it as a kubelet does; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Start it again with the pod's volumes as they are, as after a crash."""
        self.kill()
        self.start()

    def log(self) -> str:
        """Return its output so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def probe(self, kind: str) -> str:
        """Return the failure of its `readinessProbe` or `livenessProbe`, empty if it succeeds."""
        assert self.process is not None
        code = self.process.poll()
        if code is not None:
            return f"ended with {code}: {self.log()[-2000:]}"
        wanted = self.spec[kind]
        if "exec" in wanted:
            # In the root of the container, which its process gives access to.
            inside = ["nsenter", f"--target={self.process.pid}", "--mount", "--root", "--", *wanted["exec"]["command"]]
            return "" if subprocess.run(inside, check=False).returncode == 0 else f"{wanted['exec']} fails"
        with self.pod.network():
            if "tcpSocket" in wanted:
                return _tcp(wanted["tcpSocket"]["port"])
            return _http(wanted["httpGet"]["port"], wanted["httpGet"]["path"])


def _tcp(port: int) -> str:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as e:
        return str(e)
    return ""


def _http(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            answer.read()
    except urllib.error.HTTPError as e:
        with e:
            return f"{e.code} {e.read().decode()}"
    except OSError as e:
        return str(e)
    return ""


class Pod:
    """The pod of the Deployment `name` among `documents`, with `kube` as the API server it finds in its network.

    `secrets` are the Secrets that it mounts: name -> file -> content. `uid` is any that no user of this machine has.
    `hosts` are the names that it finds, with their addresses; `connect` leads to the network of another pod.
    Without `ipv6` the kernel knows no sockets of IPv6.
    """

    def __init__(
        self,
        documents: Sequence[dict[str, Any]],
        *,
        kube: Kube | None = None,
        name: str = "secondary-dns",
        hosts: Mapping[str, str] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        uid: int | None = None,
        ipv6: bool = True,
    ) -> None:
        require_root()
        self.documents = list(documents)
        self.kube = kube
        self.secrets = secrets or {}
        self.hosts = hosts or {}
        self.ipv6 = ipv6
        self.deployment = one(self.documents, "Deployment", name)
        self.namespace: str = self.deployment["metadata"]["namespace"]
        self.spec: dict[str, Any] = self.deployment["spec"]["template"]["spec"]
        # From the range of OpenShift, far from those of people and of user namespaces.
        self.uid = uid or random.randrange(1_000_000_000, 2_000_000_000)
        self.directory = scratch()
        self.directory.chmod(0o755)
        self.mount_point = self.directory / "root"
        self.mount_point.mkdir()
        self._mounted = False
        self._pause: subprocess.Popen[bytes] | None = None
        self.net = Path()
        self.init_containers = [Container(self, item) for item in self.spec.get("initContainers", ())]
        self.containers = [Container(self, item) for item in self.spec["containers"]]

    def __enter__(self) -> Self:
        try:
            network = "ip link set lo up && echo up && exec setpriv --pdeathsig KILL sleep 600"
            self._pause = subprocess.Popen(["unshare", "--net", "sh", "-c", network], stdout=subprocess.PIPE)
            assert self._pause.stdout is not None
            assert self._pause.stdout.readline() == b"up\n"
            self._pause.stdout.close()
            self.net = Path(f"/proc/{self._pause.pid}/ns/net")
            if self.kube is not None:
                with self.network():
                    self.kube.start()
            if not _root_is_mounted():
                # The mount below a chroot cannot be made private, so containers mount on top of one that is.
                subprocess.run(["mount", "-t", "tmpfs", "none", self.mount_point], check=True)
                self._mounted = True
                subprocess.run(["mount", "--make-private", self.mount_point], check=True)
            self._write_volumes()
            lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self.hosts.items())]
            (self.directory / "hosts").write_text("\n".join(lines) + "\n")
            shutil.copy(self._program(), self.directory / "ksd-ddns")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for container in (*self.init_containers, *self.containers):
            print(f"--- {container.name}\n{container.log()[-10_000:]}")
        self.close()

    def close(self) -> None:
        """Stop everything, and remove all files."""
        for container in (*self.init_containers, *self.containers):
            container.kill()
        if self.kube is not None:
            self.kube.stop()
        if self._pause is not None:
            self._pause.kill()
            self._pause.wait()
        if self._mounted:
            subprocess.run(["umount", "--lazy", self.mount_point], check=True)
            self._mounted = False
        shutil.rmtree(self.directory, ignore_errors=True)

    def __getitem__(self, name: str) -> Container:
        (found,) = [item for item in (*self.init_containers, *self.containers) if item.name == name]
        return found

    def network(self) -> contextlib.AbstractContextManager[None]:
        """Move this thread into the pod's network during the block."""
        return inside(self.net)

    def connect(self, other: "Pod", address: str, others: str) -> None:
        """Connect to the network of another pod: `address` is ours, `others` that of the other."""
        ends = ((self, "eth0", address), (other, "eth1", others))
        pids = [str(pod._pause.pid) for pod, _, _ in ends if pod._pause is not None]
        with self.network():
            peer = ["peer", "name", "eth1", "netns", pids[1]]
            subprocess.run(["ip", "link", "add", "eth0", "type", "veth", *peer], check=True)
        for pod, device, own in ends:
            with pod.network():
                subprocess.run(["ip", "address", "add", f"{own}/24", "dev", device], check=True)
                subprocess.run(["ip", "link", "set", device, "up"], check=True)

    def initialize(self) -> None:
        """Run the init containers."""
        for container in self.init_containers:
            container.run()

    def start(self) -> None:
        """Start all containers."""
        for container in self.containers:
            container.start()

    def stop(self) -> dict[str, int]:
        """Stop all containers as a kubelet does; return their exit codes."""
        grace = self.spec["terminationGracePeriodSeconds"]
        return {container.name: container.stop(grace) for container in self.containers}

    def ready(self) -> dict[str, str]:
        """Return the failures of the readiness probes by container; the pod is ready if all are empty."""
        found = {container.name: container.probe("readinessProbe") for container in self.containers}
        return {name: wrong for name, wrong in found.items() if wrong}

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until all readiness probes succeed."""
        deadline = time.monotonic() + seconds
        while wrong := self.ready():
            assert time.monotonic() < deadline, f"not ready within {seconds} s: {wrong}"
            time.sleep(0.05)

    # Files

    def volume(self, name: str) -> Path:
        """Return the directory of the volume."""
        return self.directory / "volumes" / name

    def _write_volumes(self) -> None:
        for volume in self.spec["volumes"]:
            path = self.volume(volume["name"])
            path.mkdir(parents=True)
            match volume:
                case {"emptyDir": {"medium": "Memory"}}:
                    path.chmod(0o777)
                case {"projected": {"sources": sources}}:
                    self._write_service_account(path, sources)
                case {"secret": {"secretName": secret, "defaultMode": int(mode)}}:
                    for file, content in self.secrets[secret].items():
                        (path / file).write_text(content)
                        (path / file).chmod(mode)
                case {"configMap": {"name": name, "items": items}}:
                    data = one(self.documents, "ConfigMap", name)["data"]
                    for item in items:
                        (path / item["path"]).write_text(data[item["key"]])
                case _:
                    raise AssertionError(f"volume {volume} is not simulated")

    def _write_service_account(self, path: Path, sources: Sequence[Mapping[str, Any]]) -> None:
        name = self.spec["serviceAccountName"]
        assert self.kube is not None
        files = self.kube.service_account_files(self.directory / "account", namespace=self.namespace, name=name)
        for source in sources:
            match source:
                case {"serviceAccountToken": {"path": file}}:
                    shutil.copy(files.token, path / file)
                    # The kubelet makes it readable only for the user of the pod.
                    (path / file).chmod(0o600)
                    os.chown(path / file, self.uid, -1)
                case {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": file}]}}:
                    shutil.copy(files.ca, path / file)
                case {"downwardAPI": {"items": [{"fieldRef": {"fieldPath": "metadata.namespace"}, "path": file}]}}:
                    (path / file).write_text(self.namespace)
                case _:
                    raise AssertionError(f"{source} is not simulated")

    def _program(self) -> Path:
        """Write a replacement for the program of the image; return its path."""
        path = self.directory / "program"
        modules = f"{_HOME}/source:{_HOME}/packages"
        python = shlex.quote(str(Path(sys.executable).resolve()))
        path.write_text(f'#!/bin/sh\nPYTHONPATH={modules} exec {python} -m ksd_ddns "$@"\n')
        path.chmod(0o755)
        return path

    def root_script(self, spec: Mapping[str, Any], *, read_only: bool) -> str:
        """Return the commands that build the root of a container at `mount_point`."""
        root = str(self.mount_point)
        lines = ["set -e", *(self._image(spec, root) if IMAGES else self._machine(spec, root))]
        lines += _bind(str(self.directory / "hosts"), f"{root}/etc/hosts", read_only=True)
        mounts = spec.get("volumeMounts", ())
        # /var/run may be a link to /run: of this root, not of the machine's.
        lines += [f"m{i}={root}$(chroot {root} readlink -m {item['mountPath']})" for i, item in enumerate(mounts)]
        lines += [f"mkdir -p $m{i}" for i, _ in enumerate(mounts)]
        if read_only:
            lines.append(f"mount -o remount,ro,bind {root}")
        for i, item in enumerate(mounts):
            lines.append(f"mount --bind {shlex.quote(str(self.volume(item['name'])))} $m{i}")
            if item.get("readOnly", False):
                lines.append(f"mount -o remount,ro,bind $m{i}")
        return "\n".join(lines) + "\n"

    def _image(self, spec: Mapping[str, Any], root: str) -> Iterator[str]:
        """Yield the commands that mount the root of a real image at `root`."""
        image = Path(IMAGES, spec["image"].rpartition("/")[2].partition(":")[0])
        yield from _bind(str(image), root, read_only=False)
        for path in ("/proc", *_DEVICES):
            yield from _bind(path, root + path, read_only=False)

    def _machine(self, spec: Mapping[str, Any], root: str) -> Iterator[str]:
        """Yield the commands that build a root with this machine's programs at `root`."""
        bound = {path: path for path in ("/usr", "/proc", *_DEVICES)}
        etc = ("alternatives", "bind", "group", "ld.so.cache", "nsswitch.conf", "passwd", "ssl")
        bound |= {f"/etc/{name}": f"/etc/{name}" for name in etc if Path("/etc", name).exists()}
        if not sys.base_prefix.startswith("/usr"):
            bound[sys.base_prefix] = sys.base_prefix
        (packages,) = {path for path in site.getsitepackages() if Path(path, "kubernetes").is_dir()}
        bound |= {f"{_HOME}/packages": packages, f"{_HOME}/source/ksd_ddns": str(ROOT / "ksd_ddns")}
        bound |= {f"{_HOME}/bin/ksd-ddns": str(self.directory / "ksd-ddns")}
        yield from (f"mount -t tmpfs -o mode=755 none {root}", f"mkdir {root}/tmp {root}/run {root}/var")
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            path = Path("/", name)
            if path.is_symlink():
                yield f"ln -s {shlex.quote(str(path.readlink()))} {root}/{name}"
            elif path.exists():
                bound[f"/{name}"] = f"/{name}"
        for target, source in bound.items():
            yield from _bind(source, root + target, read_only=True)
        # An image contains only its own program.
        for other in filter(None, map(shutil.which, {"named", "knotd"} - {spec["command"][0]})):
            yield f"mount --bind /dev/null {root}{other}"


def _bind(source: str, target: str, *, read_only: bool) -> Iterator[str]:
    """Yield the commands that bind mount `source` at `target`."""
    source, target = shlex.quote(source), shlex.quote(target)
    file = f"{{ mkdir -p $(dirname {target}); : >{target}; }}"
    yield f"[ -e {target} ] || if [ -d {source} ]; then mkdir -p {target}; else {file}; fi"
    yield f"mount --{'r' if source == '/proc' else ''}bind {source} {target}"
    if read_only and not source.startswith(("/dev/", "/proc")):
        yield f"mount -o remount,ro,bind {target}"
