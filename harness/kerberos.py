# SPDX-License-Identifier: Apache-2.0
"""A Kerberos realm for tests: an MIT KDC on a loopback port, with its database in a scratch directory.

    with Realm() as realm:
        realm.add("ksd", "DNS/ns.example.test")
        with Bind(zones={"vm.": ""}, **realm.bind("DNS/ns.example.test", 'grant "ksd@KSD.TEST" zonesub ANY;')) as bind:
            environment = realm.client("ksd")         # for ksd-ddns, kinit or nsupdate -g

A command that is missing fails the test: `apt-get install krb5-kdc krb5-admin-server krb5-user`.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.servers import Answer, NotServing, Port, krb5, program, programs, scratch

NAME = "KSD.TEST"

_KDC = """\
[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}
[realms]
    {realm} = {{
        database_name = {directory}/principal
        key_stash_file = {directory}/stash
        acl_file = {directory}/acl
        supported_enctypes = aes256-cts-hmac-sha1-96:normal
    }}
[logging]
    kdc = FILE:{directory}/kdc.log
"""


class Realm:
    """One realm and its KDC, which runs during the `with` block."""

    def __init__(self, name: str = NAME) -> None:
        self.name = name
        self._port = Port.reserve()
        self.directory = scratch()
        self._process: subprocess.Popen[bytes] | None = None
        self.config = self.directory / "krb5.conf"

    def __enter__(self) -> Self:
        try:
            text = {"realm": self.name, "port": self._port.number, "directory": self.directory}
            self.config.write_text(krb5.config(self.name, self._port.number))
            (self.directory / "kdc.conf").write_text(_KDC.format(**text))
            (self.directory / "acl").touch()
            self._run("kdb5_util", "create", "-s", "-r", self.name, "-P", "of-no-matter")
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the KDC; return when it accepts connections."""
        command = [program("krb5kdc"), "-n", "-r", self.name]
        output = self.directory / "kdc.out"
        with output.open("ab") as log:
            self._process = programs.start(
                command, log=log, environment={**os.environ, **self.environment, **(environment or {})}
            )
        programs.wait_for_port(self._process, "127.0.0.1", self._port.number, log=output)

    def stop(self) -> None:
        """Stop the KDC if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Stop the KDC during the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def with_clock_offset(self, offset: str) -> Iterator[None]:
        """Run the KDC with a clock that is off by `offset` during the block."""
        self.stop()
        self.start(faketime(offset))
        try:
            yield
        finally:
            self.stop()
            self.start()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Run a KDC that accepts connections and stays silent during the block."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the KDC and remove its directory."""
        self.stop()
        self._port.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Principals

    def add(self, *names: str, maxlife: str = "1 day") -> None:
        """Add principals; `maxlife` is the lifetime of their tickets, as for kadmin."""
        for name in names:
            self.admin(f'addprinc -randkey -maxlife "{maxlife}" {name}')

    def admin(self, query: str) -> str:
        """Run a query of kadmin.local."""
        return self._run("kadmin.local", "-r", self.name, "-q", query).stdout

    def keytab(self, *names: str) -> Path:
        """Return a new keytab with the current keys of `names`."""
        path = self.directory / f"{'+'.join(names).replace('/', '_')}.{time.monotonic_ns()}.keytab"
        self.admin(f"ktadd -norandkey -k {path} {' '.join(names)}")
        assert path.exists(), f"no keys of {names}"
        return path

    # Environments

    def client(self, principal: str | None = None) -> dict[str, str]:
        """Return the environment of a client with the keytab of `principal`, or without one, and without a ticket."""
        cache = self.directory / f"cache.{time.monotonic_ns()}"
        keytab = self.keytab(principal) if principal else self.directory / "none.keytab"
        return {"KRB5_CONFIG": str(self.config), "KRB5CCNAME": f"FILE:{cache}", "KRB5_CLIENT_KTNAME": str(keytab)}

    def bind(self, service: str, policy: str, *, transfer: str = "any;", keytab: Path | None = None) -> dict[str, Any]:
        """Return arguments of `Bind` for a server that is `service`, with the update policy `policy`."""
        return {
            "options": f'tkey-gssapi-keytab "{keytab or self.keytab(service)}";',
            "zone_options": f"allow-transfer {{ {transfer} }}; update-policy {{ {policy} }};",
            "environment": {"KRB5_CONFIG": str(self.config), "KRB5RCACHENAME": "none:"},
        }

    def kinit(self, environment: dict[str, str], principal: str, *arguments: str) -> None:
        """Fetch a ticket for `principal` into the cache of `environment`, by its keytab."""
        keytab = self.keytab(principal)
        self._run("kinit", *arguments, "-k", "-t", str(keytab), principal, environment=environment)

    def _run(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Answer:
        return programs.succeed(name, *arguments, environment={**self.environment, **(environment or {})})

    @property
    def port(self) -> int:
        """The KDC's port."""
        return self._port.number

    @property
    def environment(self) -> dict[str, str]:
        """The environment of an admin of the realm."""
        return {"KRB5_CONFIG": str(self.config), "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf")}


def faketime(offset: str) -> dict[str, str]:
    """Return the environment of a program whose clock is off by `offset`, such as +1h."""
    found = sorted(Path("/usr").glob("lib*/**/faketime/libfaketimeMT.so.1"))
    if not found:
        raise NotServing("libfaketime is not installed: `apt-get install faketime`")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1"}
