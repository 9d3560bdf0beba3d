# SPDX-License-Identifier: Apache-2.0
"""Generated VMIs and their records, the workload of both sides of every comparison."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness import vmis
from harness.servers import Server, program
from ksd_ddns.kubevirt import vmi
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.keys import read_key_file
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import names
from ksd_ddns.zone import plan
from ksd_ddns.zone.desired import Desired, Rules, desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Ownership, Plan, Scope
from ksd_ddns.zone.render import nsupdate
from ksd_ddns.zone.update import Limits

ZONE = names.from_text("vm.")
OWNER = "default"

_NAMES_OF_A_VMI = 3  # two interfaces and the default record, each with A and AAAA


class Workload:
    """VMIs with at least `records` records in all; each VMI has the same number."""

    def __init__(self, records: int, ownership: Ownership) -> None:
        self.ownership = ownership
        owner = OWNER if ownership is Ownership.TXT else ""
        self.rules = Rules(base=ZONE, zone=ZONE, owner=owner)
        self.scope = Scope(base=ZONE, ownership=ownership, owner=OWNER, protected=frozenset({ZONE}))
        of_a_vmi = _NAMES_OF_A_VMI * (3 if owner else 2)
        self.vmis = -(-records // of_a_vmi)
        self.records = self.vmis * of_a_vmi

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield the VMIs as the API gives them."""
        return (_object(index) for index in range(self.vmis))

    def parsed(self) -> tuple[Vmi, ...]:
        """Return the VMIs."""
        return tuple(vmi.parse(msgspec.convert(obj, VmiObject)) for obj in self.objects())

    def desired(self) -> Desired:
        """Return what all VMIs want."""
        return desired(self.parsed(), self.rules)

    def additions(self) -> Plan:
        """Return the plan that fills an empty zone."""
        return plan.full(self.desired(), Live(ZONE, 0, {}), self.scope)

    def write(self, path: Path) -> Path:
        """Write the VMIs to `path`, as `kubectl get vmi -A -o json` does; return it."""
        path.write_bytes(vmis.as_json(vmis.listing(self.objects())))
        return path

    def script(self, *, per_message: int) -> str:
        """Return an nsupdate script that adds the records without prerequisites, `per_message` per message."""
        lines = [
            line
            for line in nsupdate.script(self.additions(), Limits(), server="127.0.0.1", port=53)
            if line.startswith("update ")
        ]
        # nsupdate forgets `zone` after each `send`; without it, nsupdate would query for the zone each time.
        return "".join(
            f"zone {names.to_text(ZONE)}\n" + "\n".join(lines[start : start + per_message]) + "\nsend\n"
            for start in range(0, len(lines), per_message)
        )

    def command(self, server: Server, *arguments: str) -> None:
        """Run ksd-ddns against `server` as a process. Raises CalledProcessError if it fails."""
        settings = {
            "DNS_SERVER": f"{server.address}:{server.port}",
            "TSIG_KEY_FILE": str(server.key_file),
            "OWNERSHIP": self.ownership.value,
        }
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        run([sys.executable, "-m", "ksd_ddns", *arguments], environment=environment | settings)

    def held_by(self, server: Server) -> int:
        """Return the number of records in the zone of `server`, without those of the apex."""
        session = connect(server)
        try:
            nodes = session.read(ZONE).nodes
        finally:
            session.close()
        return sum(len(item.rdatas) for name, node in nodes.items() if name != ZONE for item in node.rrsets)

    def check(self, server: Server) -> None:
        """Raise RuntimeError unless `server` holds exactly the workload's number of records."""
        held = self.held_by(server)
        if held != self.records:
            raise RuntimeError(f"{server} holds {held} records, not {self.records}")


def _object(index: int, storage: int = 1) -> dict[str, Any]:
    third, fourth = divmod(index, 250)
    return vmis.vmi(
        f"app-{index:05d}",
        f"team-{index % 40:02d}",
        {
            "data": [f"10.1.{third}.{fourth}", f"2001:db8:1::{index:x}"],
            "storage": [f"10.{storage + 1}.{third}.{fourth}", f"2001:db8:2:{storage}::{index:x}"],
        },
    )


def parsed(index: int, *, storage: int = 1) -> Vmi:
    """Return VMI number `index`; `storage` (1 to 250) selects the addresses of its second interface."""
    return vmi.parse(msgspec.convert(_object(index, storage), VmiObject))


def connect(server: Server) -> Session:
    """Return a session with `server`."""
    return Session([Peer(Address(server.address, server.port), read_key_file(server.key_file))], timeout=60.0)


def dig_axfr(server: Server, *options: str) -> None:
    """Transfer the zone with dig and TSIG; discard the output."""
    signed = ["-k", str(server.key_file)]
    where = [f"@{server.address}", "-p", str(server.port)]
    run([program("dig"), *where, *signed, *options, names.to_text(ZONE), "AXFR"])


def run(command: Sequence[str], *, environment: dict[str, str] | None = None) -> None:
    """Run a command and discard its output. If it fails, print its errors and raise CalledProcessError."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        print(done.stderr.decode(errors="replace"), file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, command)
