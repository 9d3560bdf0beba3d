# SPDX-License-Identifier: Apache-2.0
"""BIND: named as a primary and as a secondary."""

import base64
import re
import signal
from typing import Any

from harness.servers.errors import NotServing
from harness.servers.key import Key
from harness.servers.port import Port
from harness.servers.programs import program, run, server_program
from harness.servers.server import Server
from ksd_ddns import bootstrap


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
        # The secret need not be random: the channel exists only on loopback during a test.
        return Key("rndc-control", secret=base64.b64encode(str(self.directory).encode()).decode())

    def rndc(self, *arguments: str) -> str:
        """Run rndc, for example `rndc("sync", "-clean", "vm.")`; not on a bundled primary, which has no channel."""
        assert self._spare, "the bundled primary has no control channel"
        key = self._control_key.file(self.directory)
        command = [
            program("rndc"),
            "-k",
            str(key),
            "-s",
            self.address,
            "-p",
            str(self._spare[0].number),
            *arguments,
        ]
        answer = run(command)
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

    With `polls` false it polls serials only once an hour, so it learns of changes only by NOTIFY.
    """

    def __init__(self, primary: Bind, *, polls: bool = True, **arguments: Any) -> None:
        super().__init__(
            base=primary.base, reverse_zones=primary.reverse_zones, transfer_key=primary.transfer_key, **arguments
        )
        self._primary = primary
        self._polls = polls

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
        if not self._polls:
            text = re.sub(r"(m(?:in|ax)-refresh-time) 1;", r"\1 3600;", self.configuration.read_text())
            self.configuration.write_text(text)
