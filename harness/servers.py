"""Real DNS primaries for the tests: named, knotd and pdns_server on free loopback ports.

    with Bind() as primary:                                   # the bundled primary of zone vm., as bootstrap writes it
    with Bind(zones={"example.": "www A 192.0.2.1"}) as primary:          # a company's primary, key grants everything
    with Bind(zones={...}, zone_options='update-policy { ... };', options="check-names primary fail;") as primary:
    with Knot(base="vm.example.", name_server_ips=("192.0.2.53",)) as primary:
    with PowerDns(zones={"example.": ""}) as primary:         # SQLite behind it; key may transfer and update everything

A server is up when the `with` block starts: its zones answer. It is gone, directory and all, when the block ends, and
also when the tests are killed. `log()` is what the server wrote to stderr.

Zone text is put below a `$ORIGIN`, a `$TTL 60` and, unless it brings its own, an SOA and `NS localhost.`.
`python -m harness.servers bind9` serves a bundled primary until Ctrl-C.
"""

import base64
import concurrent.futures
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Self

import dns.exception
import dns.message
import dns.query
import dns.rcode

from ksd_ddns import bootstrap

START_SECONDS = 20.0
COMMAND_SECONDS = 60.0
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/bin"))
"""Where servers and their tools are looked up; Debian does not put /usr/sbin into every user's PATH."""

_PORT_ATTEMPTS = 5
_CONFIGURATIONS = {"bind9": "named.conf", "knot": "knot.conf", "powerdns": "pdns.conf"}


class Record(NamedTuple):
    """One record as dig prints it; owner in lower case."""

    owner: str
    ttl: int
    type: str
    rdata: str


class NotServing(AssertionError):
    """The server did not come up, or a command against it failed."""


class PortTaken(NotServing):
    """Another process uses the port."""


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key; `algorithm` as in hmac-sha256."""

    name: str = "ksd-ddns."
    algorithm: str = "hmac-sha256"
    secret: str = field(default_factory=lambda: base64.b64encode(os.urandom(32)).decode())

    def bind(self) -> str:
        """Return the clause of tsig-keygen, which nsupdate -k, dig -k and named.conf read."""
        return f'key "{self.name}" {{\n\talgorithm {self.algorithm};\n\tsecret "{self.secret}";\n}};\n'

    def file(self, directory: Path) -> Path:
        """Write the key into `directory` in the form of tsig-keygen; return its path."""
        path = directory / f"{self.name}{self.algorithm}.key"
        path.write_text(self.bind())
        path.chmod(0o600)
        return path


@dataclass(frozen=True, slots=True)
class Answer:
    """The output and the exit code of a command line client."""

    returncode: int
    stdout: str
    stderr: str


@cache
def program(name: str) -> str:
    """Return the path of a server or client, or fail the test that needs it."""
    binary = shutil.which(name, path=PATH)
    if binary is None:
        raise NotServing(
            f"{name} is not installed: `apt-get install bind9 bind9-dnsutils knot knot-dnsutils pdns-backend-sqlite3`"
        )
    return binary


@cache
def server_program(name: str) -> str:
    """Return the path of a server that may access files in any directory.

    Debian and Ubuntu confine /usr/sbin/named by an AppArmor profile to a few directories. Profiles apply by path, so
    a copy is not confined.
    """
    binary = program(name)
    profile = Path("/etc/apparmor.d") / binary.lstrip("/").replace("/", ".")
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not (profile.exists() and enabled.exists() and enabled.read_text().startswith("Y")):
        return binary
    copy = Path(tempfile.mkdtemp(prefix="ksd-bin-")) / name
    shutil.copy(binary, copy)
    _copies.append(copy.parent)
    return str(copy)


_copies: list[Path] = []
_running: set["Server"] = set()
# Linux sends the parent-death signal when the *thread* that started the child ends: this one ends with the process.
_starter = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="start-server")


def stop_all() -> None:
    """Kill all running servers and remove their directories; call it at the end of a session."""
    for server in tuple(_running):
        server.close()
    for directory in _copies:
        shutil.rmtree(directory, ignore_errors=True)
    _copies.clear()
    server_program.cache_clear()


@dataclass(slots=True)
class Port:
    """A loopback port that is free for UDP and TCP, and that no other test takes until it is released.

    named shares a port in use silently (SO_REUSEPORT), so a successful bind proves nothing. Below 32768 no outgoing
    connection takes it between two starts of a server.
    """

    number: int
    lock: socket.socket

    @classmethod
    def reserve(cls, address: str = "127.0.0.1") -> "Port":
        """Return a free port."""
        for _ in range(1000):
            number = random.randrange(10_000, 32_000)
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0ksd-ddns-tests-port-{number}")
            except OSError:
                lock.close()
                continue
            if _is_free(address, number):
                return cls(number, lock)
            lock.close()
        raise NotServing("no free loopback port between 10000 and 32000")

    def release(self) -> None:
        """Release the port."""
        self.lock.close()


def _is_free(address: str, number: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                if kind is socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does
                probe.bind((address, number))
    except OSError:
        return False
    return True


def scratch() -> Path:
    """Return a new directory in shared memory if there is any: a name server syncs its journal at every update.

    The caller removes it; after this process was killed, the next run does.
    """
    shm = Path("/dev/shm")
    parent = shm if shm.is_dir() and os.access(shm, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    _sweep(parent)
    return Path(tempfile.mkdtemp(prefix=f"ksd-{os.getpid()}-", dir=parent))


@cache
def _sweep(parent: Path) -> None:
    """Remove directories of killed runs."""
    for directory in parent.glob("ksd-*-*"):
        owner = directory.name.split("-")[1]
        with contextlib.suppress(FileNotFoundError):  # others sweep too
            hours = (time.time() - directory.stat().st_mtime) / 3600
            # The age: in another container the owner may live under another number.
            if owner.isdecimal() and hours > 1 and not Path("/proc", owner).exists():
                shutil.rmtree(directory, ignore_errors=True)


def zone_file(name: str, text: str, *, serial: int = 1) -> str:
    """Return `text` as a complete zone: with an SOA and an NS at the apex if it has none."""
    head = [f"$ORIGIN {name}", "$TTL 60"]
    if not re.search(r"\sSOA\s", text):
        head.append(f"@ 30 IN SOA localhost. hostmaster.{name if name != '.' else ''} {serial} 3600 600 1209600 30")
        head.append("@ IN NS localhost.")
    return "\n".join((*head, text.strip("\n"))) + "\n"


class Server:
    """One running primary; the subclasses configure and control it.

    zones        zone name -> zone text; None: the bundled primary for `base`, as bootstrap writes it
    options      text added to the options (BIND) or to the server section (Knot, indented by 4)
    zone_options text in every zone, instead of "the key may transfer and update everything"
    extra        further statements at the top level (`dnssec-policy ... {}`, an `acl` section)
    keys         TSIG keys the server knows; the first one is `key_name`, `secret`, `key_file`
    address      the loopback address it listens on
    reverse_zones, transfer_key    more of the bundled primary: further zones, the file of a key for secondaries
    uid          user and group to run as (with root as the tester; otherwise it is the tester)
    environment  further environment variables, for example for libfaketime or Kerberos
    """

    kind: ClassVar[Literal["bind9", "knot", "powerdns"]]
    program: ClassVar[str]

    def __init__(
        self,
        *,
        zones: Mapping[str, str] | None = None,
        base: str = "vm.",
        name_server_ips: Sequence[str] = (),
        reverse_zones: Sequence[str] = (),
        transfer_key: Path | None = None,
        options: str = "",
        zone_options: str | None = None,
        extra: str = "",
        keys: Sequence[Key] = (),
        address: str = "127.0.0.1",
        uid: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.zones = dict(zones) if zones is not None else None
        self.base = base
        self.name_server_ips = tuple(name_server_ips)
        self.reverse_zones = tuple(reverse_zones)
        self.transfer_key = transfer_key
        self.options = options
        self.zone_options = zone_options
        self.extra = extra
        self.keys = tuple(keys) or ((Key(),) if zones is not None else ())
        self.address = address
        self.uid = uid if os.getuid() == 0 else None
        self.environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._port = Port.reserve(address)
        self._spare: list[Port] = []
        self.directory = scratch()
        _running.add(self)

    # Life

    def __enter__(self) -> Self:
        try:
            self._prepare()
            for _ in range(_PORT_ATTEMPTS):
                with contextlib.suppress(PortTaken):
                    self.start()
                    return self
                self._port.release()
                self._port = Port.reserve(self.address)
                shutil.rmtree(self.directory)
                self.directory.mkdir()
                self._prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self.log_file.exists():
            print(f"--- {self} ---\n{self.log()[-10_000:]}")
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address}:{self.port}, {self.directory})"

    def start(self) -> None:
        """Start the server, return when all its zones answer. Raises NotServing with the log when they do not."""
        assert self.process is None, f"{self} runs already"
        with self.log_file.open("ab") as log:
            self.process = _starter.submit(
                subprocess.Popen,
                [*self._wrapper(), *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, **self.environment},
            ).result()
        self.wait_until_up()

    def stop(self) -> None:
        """Stop the server (SIGTERM); return when it has exited."""
        process = self._running_process()
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired as e:
            raise NotServing(f"{self} does not end on SIGTERM\n{self.log()}") from e
        finally:
            self._kill()

    def kill(self) -> None:
        """Kill the server (SIGKILL)."""
        self._running_process()
        self._kill()

    def restart(self) -> None:
        """Stop the server and start it again on the same directory."""
        self.stop()
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the server from answering, its sockets open, while the block runs (SIGSTOP)."""
        process = self._running_process()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # until its last thread has stopped
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove its directory."""
        self._kill()
        self._port.release()
        for port in self._spare:
            port.release()
        shutil.rmtree(self.directory, ignore_errors=True)
        _running.discard(self)

    def wait_until_up(self) -> None:
        """Return when every zone answers its SOA."""
        deadline = time.monotonic() + START_SECONDS
        for zone in self.zone_names:
            query = dns.message.make_query(zone, "SOA")
            patience = 0.02  # a question asked before the socket is there is lost
            while True:
                with contextlib.suppress(OSError, dns.exception.DNSException):
                    answer = dns.query.udp(query, self.address, timeout=patience, port=self.port)
                    if answer.rcode() == dns.rcode.NOERROR and answer.answer:
                        break
                status = self._running_process().poll()
                if status is not None:
                    raise self._failure(f"ended with {status} before zone {zone} answered")
                if time.monotonic() > deadline or self._port_is_taken():
                    raise self._failure(f"did not answer for zone {zone} in {START_SECONDS:g} s")
                time.sleep(0.005)
                patience = min(patience * 1.2, 0.5)
        if self._port_is_taken():
            raise self._failure("could not have its port")  # another process answered

    def _port_is_taken(self) -> bool:
        return "address already in use" in self.log().lower()

    def _failure(self, what: str) -> NotServing:
        self._kill()
        kind = PortTaken if self._port_is_taken() else NotServing
        return kind(f"{self} {what}\n{self.log()}")

    # Properties

    @property
    def port(self) -> int:
        """The port it listens on, UDP and TCP."""
        return self._port.number

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running_process().pid

    @property
    def zone_names(self) -> tuple[str, ...]:
        """The zones it serves."""
        return (self.base, *self.reverse_zones) if self.zones is None else tuple(self.zones)

    @property
    def key_file(self) -> Path:
        """The first key, in the form of tsig-keygen."""
        return self.directory / bootstrap.KEY_FILE

    @property
    def key_name(self) -> str:
        """The first key's name."""
        return self._field("key") if self.zones is None else self.keys[0].name

    @property
    def secret(self) -> str:
        """The first key's secret, base64."""
        return self._field("secret") if self.zones is None else self.keys[0].secret

    @property
    def configuration(self) -> Path:
        """The server's configuration file."""
        return self.directory / _CONFIGURATIONS[self.kind]

    @property
    def log_file(self) -> Path:
        """Where the server's stderr goes, of all its starts."""
        return self.directory / "log"

    def log(self) -> str:
        """Return the log so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def zone_path(self, zone: str) -> Path:
        """Return the path of the zone's file."""
        return self.directory / f"{zone}zone"

    # Output

    def dig(self, *arguments: str, key: Path | Literal[True] | None = None, check: bool = True) -> str:
        """Query this server with dig; return its output. `key` signs: a key file, or True for the server's own."""
        signed = () if key is None else ("-k", str(self.key_file if key is True else key))
        command = [program("dig"), f"@{self.address}", "-p", str(self.port), *signed, "+tries=1", "+time=5", *arguments]
        answer = self._run(command)
        if check and answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def query(self, name: str, rdtype: str) -> list[str]:
        """Return the sorted rdata of one RRset, as text; nothing when there is none."""
        return sorted(self.dig("+short", "+norecurse", name, rdtype).splitlines())

    def status(self, name: str, rdtype: str, *, key: Path | Literal[True] | None = None) -> str:
        """Return the response code, for example NXDOMAIN."""
        found = re.search(r"status: ([A-Z]+)", self.dig("+norecurse", name, rdtype, key=key))
        assert found, f"no response code from {self}"
        return found[1]

    def ttl(self, name: str, rdtype: str) -> int | None:
        """Return the TTL of one RRset; None when there is none."""
        for record in _records(self.dig("+noall", "+answer", "+norecurse", name, rdtype)):
            if record.type == rdtype:
                return record.ttl
        return None

    def serial(self, zone: str | None = None) -> int:
        """Return the zone's serial."""
        return int(self.query(zone or self.zone_names[0], "SOA")[0].split()[2])

    def axfr(
        self, zone: str | None = None, *, soa: bool = True, key: Path | Literal[True] | None = True
    ) -> frozenset[Record]:
        """Return the whole zone, asked by dig and signed with the key; without the SOA when `soa` is false."""
        zone = zone or self.zone_names[0]
        text = self.dig("+noall", "+answer", "+comments", "+time=30", zone, "AXFR", key=key)
        records = frozenset(_records(text))
        if "Transfer failed" in text or not any(record.type == "SOA" for record in records):
            raise NotServing(f"{self} does not transfer {zone}\n{text}\n{self.log()[-2000:]}")
        return records if soa else frozenset(record for record in records if record.type != "SOA")

    # Changes

    def nsupdate(
        self, script: str, *, key: Path | Literal[True] | None = True, zone: str | None = None, check: bool = True
    ) -> Answer:
        """Send an nsupdate script over TCP: `server` and `zone` are put in front, `send` behind when it is missing.

        Raises NotServing when nsupdate says that it failed, unless `check` is false.
        """
        signed = () if key is None else ("-k", str(self.key_file if key is True else key))
        command = [program("nsupdate"), "-v", "-t", "30", *signed]
        return self._update(command, script, zone=zone, check=check)

    def _update(self, command: list[str], script: str, *, zone: str | None, check: bool) -> Answer:
        script = script.strip("\n")
        lines = [f"server {self.address} {self.port}"]
        if not re.search(r"^\s*zone\s", script, re.MULTILINE):
            lines.append(f"zone {zone or self.zone_names[0]}")
        lines.append(script)
        if not re.search(r"^\s*send\s*$", script, re.MULTILINE):
            lines.append("send")
        answer = self._run(command, "\n".join(lines) + "\n")
        failed = answer.returncode != 0 or "update failed" in (answer.stdout + answer.stderr)
        if check and failed:
            raise NotServing(f"{script}\n{answer.stdout}{answer.stderr}\n{self.log()[-2000:]}")
        return answer

    def reload(self) -> None:
        """Read configuration and zone files again, return when that is done."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write all zones to their files."""
        raise NotImplementedError

    # For Bind and Knot

    def _prepare(self) -> None:
        if self.zones is None:
            primary = self.bundled()
            bootstrap.write(primary)
        else:
            self.key_file.write_text(self.keys[0].bind())
            self.key_file.chmod(0o600)
            for name, text in self.zones.items():
                self.zone_path(name).write_text(zone_file(name, text))
            self.configuration.write_text(self._configuration())
        if self.uid is not None:
            for path in (self.directory, *self.directory.iterdir()):
                os.chown(path, self.uid, self.uid)

    def bundled(self) -> bootstrap.BundledPrimary:
        """Return the input of bootstrap for the bundled primary."""
        assert self.kind != "powerdns", "PowerDNS is never bundled"
        return bootstrap.BundledPrimary(
            server=self.kind,
            directory=self.directory,
            base=self.base,
            reverse_zones=self.reverse_zones,
            name_server_ips=self.name_server_ips,
            transfer_key=self.transfer_key,
            address=self.address,
            port=self.port,
        )

    def _configuration(self) -> str:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _wrapper(self) -> list[str]:
        """Return a command prefix that ends the server with the tests, and runs it as another user."""
        user = [] if self.uid is None else [f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        setpriv = shutil.which("setpriv", path=PATH)
        if setpriv is None:
            assert not user, "setpriv (util-linux) is needed to run a server as another user"
            return []
        return [setpriv, *user, "--pdeathsig", "KILL", "--"]

    def _running_process(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, f"{self} does not run"
        return self.process

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _run(self, command: Sequence[str], script: str | None = None) -> Answer:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def _field(self, name: str) -> str:
        found = re.search(rf'\b{name} "([^"]+)"', self.key_file.read_text())
        assert found, self.key_file
        return found[1]

    def _wait_for_log(self, text: str, *, since: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while text not in self.log()[since:]:
            if time.monotonic() > deadline:
                raise NotServing(f"{self} did not write {text!r}\n{self.log()}")
            time.sleep(0.01)


class Bind(Server):
    """named."""

    kind = "bind9"
    program = "named"

    def _command(self) -> list[str]:
        return [server_program("named"), *bootstrap.command(self.bundled())[1:]]

    def _configuration(self) -> str:
        if not self._spare:
            self._spare.append(Port.reserve(self.address))
        here = self.address
        zone_options = self.zone_options
        if zone_options is None:
            name = self.keys[0].name
            zone_options = f'allow-transfer {{ key "{name}"; }}; update-policy {{ grant "{name}" zonesub ANY; }};'
        zones = "".join(
            f'zone "{name}" {{ type primary; file "{self.zone_path(name).name}"; {zone_options} }};\n'
            for name in self.zone_names
        )
        v4, v6 = ("none", here) if ":" in self.address else (here, "none")
        control = f'inet {here} port {self._spare[0].number} allow {{ any; }} keys {{ "rndc-control"; }};'
        return f"""\
{"".join(key.bind() for key in self.keys)}
{self._control_key.bind()}
controls {{ {control} }};
options {{
    directory "{self.directory}";
    pid-file none;
    session-keyfile none;
    listen-on port {self.port} {{ {v4}; }};
    listen-on-v6 port {self.port} {{ {v6}; }};
    recursion no;
    dnssec-validation no;
    notify no;
    {self.options}
}};
{self.extra}
{zones}"""

    @property
    def _control_key(self) -> Key:
        # Any secret will do: the channel exists on loopback only while one test runs.
        return Key("rndc-control", secret=base64.b64encode(str(self.directory).encode()).decode())

    def rndc(self, *arguments: str) -> str:
        """Run rndc, for example `rndc("sync", "-clean", "vm.")`; not on a bundled primary, which has no channel."""
        assert self._spare, "the bundled primary has no control channel"
        key = self._control_key.file(self.directory)
        command = [program("rndc"), "-k", str(key), "-s", self.address, "-p", str(self._spare[0].number), *arguments]
        answer = self._run(command)
        if answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def reload(self) -> None:
        since = len(self.log())
        self._running_process().send_signal(signal.SIGHUP)
        self._wait_for_log("running", since=since)

    def flush(self) -> None:
        self.rndc("sync")


class Secondary(Bind):
    """named that follows a bundled Bind with a transfer key, as bootstrap sets it up.

    With `asking` false it asks for serials once in an hour only: then nothing but NOTIFY tells it of changes.
    """

    def __init__(self, primary: Bind, *, asking: bool = True, **arguments: Any) -> None:
        super().__init__(
            base=primary.base, reverse_zones=primary.reverse_zones, transfer_key=primary.transfer_key, **arguments
        )
        self._primary = primary
        self._asking = asking

    def _prepare(self) -> None:
        assert self.transfer_key is not None
        secondary = bootstrap.BundledSecondary(
            directory=self.directory,
            primaries=(self._primary.address,),
            primary_port=self._primary.port,
            transfer_key=self.transfer_key,
            address=self.address,
            port=self.port,
        )
        bootstrap.write_secondary(secondary)
        if not self._asking:
            text = re.sub(r"(m(?:in|ax)-refresh-time) 1;", r"\1 3600;", self.configuration.read_text())
            self.configuration.write_text(text)


class Knot(Server):
    """knotd."""

    kind = "knot"
    program = "knotd"

    def _command(self) -> list[str]:
        return [server_program("knotd"), *bootstrap.command(self.bundled())[1:]]

    def _configuration(self) -> str:
        keys = "".join(
            f"  - id: {key.name}\n    algorithm: {key.algorithm}\n    secret: {key.secret}\n" for key in self.keys
        )
        zone_options = "acl: all" if self.zone_options is None else self.zone_options
        zones = "".join(
            f'  - domain: {name}\n    file: "{self.zone_path(name).name}"\n' + _indent(zone_options)
            for name in self.zone_names
        )
        return f"""\
server:
    listen: {self.address}@{self.port}
    rundir: "{self.directory}"
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
{_indent(self.options)}
log:
  - target: stderr
    any: info
database:
    storage: "{self.directory}"
    journal-db-max-size: 1G
key:
{keys}
acl:
  - id: all
    key: [{", ".join(key.name for key in self.keys)}]
    action: [query, transfer, update]
{self.extra}
template:
  - id: default
    storage: "{self.directory}"
    zonefile-sync: 1h
    journal-max-depth: 10000
zone:
{zones}"""

    def knotc(self, *arguments: str) -> str:
        """Run knotc and wait until the server has done it, for example `knotc("zone-flush", "vm.")`."""
        command = [program("knotc"), "-b", "-s", str(self.directory / "knot.sock"), *arguments]
        answer = self._run(command)
        if answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}\n{self.log()}")
        return answer.stdout

    def knsupdate(
        self, script: str, *, key: Key | Literal[True] | None = True, zone: str | None = None, check: bool = True
    ) -> Answer:
        """Send a knsupdate script over TCP, as `nsupdate` does; knsupdate does not read tsig-keygen's files."""
        if key is True:
            key = Key(self.key_name, secret=self.secret)
        command = [program("knsupdate"), "-v", "-t", "30"]
        if key is not None:
            path = self.directory / "knsupdate.key"
            path.write_text(f"{key.algorithm}:{key.name}:{key.secret}\n")
            command += ["-k", str(path)]
        return self._update(command, script, zone=zone, check=check)

    def reload(self) -> None:
        self.knotc("reload")
        self.knotc("zone-reload")

    def flush(self) -> None:
        self.knotc("zone-flush")


class PowerDns(Server):
    """pdns_server with its SQLite backend; `zone_options` are commands of pdnsutil, one a line, with ZONE for the zone.

    Its caches are as they are by default: what an update changes must be visible all the same.
    """

    kind = "powerdns"
    program = "pdns_server"

    def _command(self) -> list[str]:
        return [server_program("pdns_server"), f"--config-dir={self.directory}"]

    def _prepare(self) -> None:
        assert self.zones is not None, "PowerDNS is never bundled: it needs `zones`"
        with contextlib.closing(sqlite3.connect(self.directory / "pdns.sqlite3")) as database:
            database.executescript(_PDNS_SCHEMA.read_text())
        super()._prepare()
        for key in self.keys:
            self.pdnsutil("import-tsig-key", key.name.removesuffix("."), key.algorithm, key.secret)
        for name in self.zones:
            zone = name.removesuffix(".") or "."
            self.pdnsutil("load-zone", zone, str(self.zone_path(name)))
            for line in (self.zone_options if self.zone_options is not None else self._everything()).splitlines():
                self.pdnsutil(*line.replace("ZONE", zone).split())

    def _everything(self) -> str:
        key = self.keys[0].name.removesuffix(".")
        return f"add-meta ZONE TSIG-ALLOW-AXFR {key}\nadd-meta ZONE TSIG-ALLOW-DNSUPDATE {key}"

    def _configuration(self) -> str:
        return f"""\
launch=gsqlite3
gsqlite3-database={self.directory}/pdns.sqlite3
local-address={self.address}
local-port={self.port}
socket-dir={self.directory}
dnsupdate=yes
daemon=no
guardian=no
loglevel=6
receiver-threads=1
distributor-threads=1
{self.options}
"""

    def pdnsutil(self, *arguments: str) -> str:
        """Run pdnsutil, for example `pdnsutil("set-meta", "example", "TSIG-ALLOW-AXFR", "ksd")`."""
        command = [program("pdnsutil"), f"--config-dir={self.directory}", *arguments]
        answer = self._run(command)
        if answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def reload(self) -> None:
        """Forget what is cached."""
        command = [program("pdns_control"), f"--config-dir={self.directory}", "purge"]
        answer = self._run(command)
        if answer.returncode != 0:
            raise NotServing(f"{' '.join(command)}\n{answer.stdout}{answer.stderr}")

    def flush(self) -> None:
        """Do nothing: the database holds everything at once."""


_PDNS_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")


def _indent(text: str) -> str:
    return "".join(f"    {line.strip()}\n" for line in text.splitlines() if line.strip())


def _records(text: str) -> Iterator[Record]:
    """Yield the records of dig's answer section."""
    for line in text.splitlines():
        if not line or line.startswith(";"):
            continue
        owner, ttl, _, rdtype, rdata = line.split(None, 4)
        if rdtype != "TSIG":
            yield Record(owner.lower(), int(ttl), rdtype, rdata)


def main(kind: str) -> None:
    """Serve a bundled primary until Ctrl-C."""
    with (Bind if kind == "bind9" else Knot)() as server:
        print(f"{server}\nnslookup -port={server.port} -type=SOA {server.base} {server.address}\nkey {server.key_file}")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
