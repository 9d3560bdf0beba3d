# SPDX-License-Identifier: Apache-2.0
"""Samba as an Active Directory domain controller, with its internal DNS server or with BIND (BIND9_DLZ).

    with Samba() as primary:                       # zone ad.ksd.test. in Samba's internal DNS server
    with Samba(dlz=True) as primary:               # the same in BIND, which loads Samba's module
        environment = primary.client("ksd-ddns")   # Kerberos, for ksd-ddns and nsupdate -g

Only DNS and the KDC run, on free loopback ports. It must be root: Samba sets the owners of its files.
"""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from harness.servers import krb5, programs
from harness.servers.port import Port
from harness.servers.programs import Answer, program
from harness.servers.server import Server

REALM = "AD.KSD.TEST"
ZONE = "ad.ksd.test."
HOST = "dc.ad.ksd.test"
"""The host name of the server in Kerberos: its service is DNS/dc.ad.ksd.test."""

PROVISION_SECONDS = 300.0

_PASSWORD = "Aa1-only-on-loopback"


class Samba(Server):
    """samba, and named if `dlz`; `options` are lines of smb.conf, `extra` text in the options of named.conf."""

    kind = "samba"
    program = "samba"

    def __init__(
        self, *, dlz: bool = False, accounts: Sequence[str] = ("ksd-ddns",), options: str = "", extra: str = ""
    ) -> None:
        super().__init__(zones={ZONE: ""}, options=options, extra=extra)
        self.dlz = dlz
        self._accounts = tuple(accounts)
        self._kdc_port = Port.reserve()
        self._password_port = Port.reserve()
        self._samba: subprocess.Popen[bytes] | None = None

    @property
    def krb5_config(self) -> Path:
        """The krb5.conf of clients."""
        return self.directory / "krb5.conf"

    def client(self, account: str) -> dict[str, str]:
        """Return the environment of a client with the keytab of `account`, and without a ticket."""
        cache = self.directory / f"cache.{account}.{time.monotonic_ns()}"
        keytab = str(self._keytab(account))
        names = {"KRB5_CLIENT_KTNAME": keytab, "KRB5CCNAME": f"FILE:{cache}"}
        return {"KRB5_CONFIG": str(self.krb5_config), **names}

    def tool(self, *arguments: str) -> str:
        """Run samba-tool on the files of this server, for example `tool("dsacl", "get", "--objectdn=...")`."""
        return programs.succeed("samba-tool", *arguments, f"--configfile={self._smb_conf}").stdout

    def nsupdate_as(self, environment: dict[str, str], script: str, *, check: bool = True) -> Answer:
        """Send an nsupdate script with GSS-TSIG, over TCP."""
        keytab = environment["KRB5_CLIENT_KTNAME"]
        account = Path(keytab).name.removesuffix(".keytab")
        programs.succeed("kinit", "-k", "-t", keytab, f"{account}@{REALM}", environment=environment)
        variables = (f"{key}={value}" for key, value in environment.items())
        return self._update(
            [program("env"), *variables, program("nsupdate"), "-g", "-v"], script, zone=ZONE, check=check
        )

    def close(self) -> None:
        self._kill_samba()
        super().close()
        self._kdc_port.release()
        self._password_port.release()

    def start(self) -> None:
        if self.dlz:
            self._start_samba()
        super().start()

    def reload(self) -> None:
        """Do nothing: the tests change no files of this server."""

    def flush(self) -> None:
        """Do nothing: the directory is always up to date."""

    # Files

    @property
    def _smb_conf(self) -> Path:
        return self.directory / "dc" / "etc" / "smb.conf"

    def _keytab(self, account: str) -> Path:
        path = self.directory / f"{account}.keytab"
        if not path.exists():
            self.tool("domain", "exportkeytab", str(path), f"--principal={account}@{REALM}")
        return path

    def _prepare(self) -> None:
        backend = "BIND9_DLZ" if self.dlz else "SAMBA_INTERNAL"
        arguments = {
            "realm": REALM,
            "domain": REALM.partition(".")[0],
            "adminpass": _PASSWORD,
            "server-role": "dc",
            "dns-backend": backend,
            "host-name": HOST.partition(".")[0],
            "host-ip": self.address,
            "targetdir": str(self.directory / "dc"),
        }
        options = (
            f"server services = {'' if self.dlz else 'dns, '}kdc",
            "interfaces = lo",
            "bind interfaces only = yes",
            f"dns port = {self.port}",
            f"krb5 port = {self._kdc_port.number}",
            f"kpasswd port = {self._password_port.number}",
            f"log file = {self.directory}/samba.log",
            f"pid directory = {self.directory}",
            *filter(None, map(str.strip, self.options.splitlines())),
        )
        settings = [f"--{key}={value}" for key, value in arguments.items()]
        settings += [f"--option={option}" for option in options]
        programs.succeed("samba-tool", "domain", "provision", *settings, seconds=PROVISION_SECONDS)
        config = krb5.config(REALM, self._kdc_port.number, domain=ZONE.removesuffix("."))
        self.krb5_config.write_text(config)
        for account in self._accounts:
            self.tool("user", "create", account, "--random-password")
        if self.dlz:
            (self.directory / "named.conf").write_text(self._named_conf())

    def _named_conf(self) -> str:
        found = re.findall(r'database "(dlopen [^"]*/dlz_bind9_\d+\.so)"', self._dlz_conf.read_text())
        assert found, self._dlz_conf
        newest = max(found, key=lambda text: int(re.findall(r"\d+", text)[-1]))
        return f"""\
options {{
    directory "{self.directory}";
    pid-file none;
    session-keyfile none;
    listen-on port {self.port} {{ {self.address}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    notify no;
    tkey-gssapi-keytab "{self._dlz_conf.parent}/dns.keytab";
    minimal-responses yes;
    {self.extra}
}};
controls {{ }};
dlz "AD DNS Zone" {{ database "{newest}"; }};
"""

    @property
    def _dlz_conf(self) -> Path:
        return self.directory / "dc" / "bind-dns" / "named.conf"

    # Processes

    def _command(self) -> list[str]:
        if self.dlz:
            return [program("named"), "-g", "-c", str(self.directory / "named.conf"), "-n", "1"]
        return self._samba_command()

    def _samba_command(self) -> list[str]:
        return [program("samba"), "-i", "-M", "single", f"--configfile={self._smb_conf}", "--debug-stdout"]

    def _start_samba(self) -> None:
        if self._samba is not None:
            return
        self.environment |= {
            "SMB_CONF_PATH": str(self._smb_conf),
            "KRB5_CONFIG": str(self.krb5_config),
            "KRB5RCACHENAME": "none:",
        }
        output = self.directory / "kdc.log"
        with output.open("ab") as log:
            self._samba = programs.start(self._samba_command(), log=log, environment=os.environ)
        programs.wait_for_port(self._samba, self.address, self._kdc_port.number, log=output)

    def _kill_samba(self) -> None:
        if self._samba is not None:
            self._samba.kill()
            self._samba.wait()
            self._samba = None
