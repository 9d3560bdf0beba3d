# SPDX-License-Identifier: Apache-2.0
"""One running primary."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

import dns.exception
import dns.message
import dns.query
import dns.rcode

from harness.servers import programs
from harness.servers.client import Client
from harness.servers.errors import NotServing, PortTaken
from harness.servers.key import Key
from harness.servers.port import Port
from harness.servers.programs import START_SECONDS
from harness.servers.scratch import scratch
from ksd_ddns import bootstrap

_PORT_ATTEMPTS = 5
_CONFIGURATIONS = {
    "bind9": "named.conf",
    "knot": "knot.conf",
    "powerdns": "pdns.conf",
    "samba": "smb.conf",
    "yadifa": "yadifad.conf",
}

_running: set["Server"] = set()


def stop_all() -> None:
    """Kill all running servers and remove their directories; call it at the end of a session."""
    for server in tuple(_running):
        server.close()
    programs.remove_copies()


def zone_file(name: str, text: str, *, serial: int = 1) -> str:
    """Return `text` as a complete zone: with an SOA and an NS at the apex if it has none."""
    head = [f"$ORIGIN {name}", "$TTL 60"]
    if not re.search(r"\sSOA\s", text):
        head.append(f"@ 30 IN SOA localhost. hostmaster.{name if name != '.' else ''} {serial} 3600 600 1209600 30")
        head.append("@ IN NS localhost.")
    return "\n".join((*head, text.strip("\n"))) + "\n"


class Server(Client):
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

    kind: ClassVar[Literal["bind9", "knot", "powerdns", "samba", "yadifa"]]
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
        """Start the server; return when all its zones answer. Raises NotServing with the log if they do not."""
        assert self.process is None, f"{self} runs already"
        with self.log_file.open("ab") as log:
            self.process = programs.start(
                self._command(), log=log, environment={**os.environ, **self.environment}, uid=self.uid
            )
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
        """Suspend the server during the block, with its sockets open (SIGSTOP)."""
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
            patience = 0.02  # a query sent before the socket exists is lost
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
        """The name of the first key."""
        return self._field("key") if self.zones is None else self.keys[0].name

    @property
    def secret(self) -> str:
        """The secret of the first key, base64."""
        return self._field("secret") if self.zones is None else self.keys[0].secret

    @property
    def configuration(self) -> Path:
        """The server's configuration file."""
        return self.directory / _CONFIGURATIONS[self.kind]

    @property
    def log_file(self) -> Path:
        """The file with stderr of all starts."""
        return self.directory / "log"

    def log(self) -> str:
        """Return the log so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def zone_path(self, zone: str) -> Path:
        """Return the path of the zone's file."""
        return self.directory / f"{zone.replace('/', '_')}zone"

    def reload(self) -> None:
        """Reload configuration and zone files; return when done."""
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
        assert self.kind in {"bind9", "knot"}, "only BIND and Knot are bundled"
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

    def _running_process(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, f"{self} does not run"
        return self.process

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

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
