# SPDX-License-Identifier: Apache-2.0
"""Reads, plans and updates of a real zone as single steps, so that tests can act between them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from harness.servers import Server
from ksd_ddns.kubevirt import vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.primary.update import Sender
from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Malformed
from ksd_ddns.zone import plan as planning
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.desired import Rules, desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Change, Ownership, Plan, Scope
from ksd_ddns.zone.update import Limits, batches

VM = names.from_text("vm.")


@dataclass
class ZoneClient:
    """A client for the zone vm. on one primary."""

    session: Session
    ownership: Ownership = Ownership.TXT

    def live(self) -> Live:
        """Return the zone as it is now."""
        return self.session.read(VM)

    def plan(self, vmis: Sequence[Mapping[str, Any]], live: Live | None = None) -> Plan:
        """Read the zone (unless it is given), and return the plan for the VMIs."""
        owner = "default" if self.ownership is Ownership.TXT else ""
        wanted = desired(
            (vmi.parse(msgspec.convert(item, VmiObject)) for item in vmis), Rules(base=VM, zone=VM, owner=owner)
        )
        scope = Scope(base=VM, ownership=self.ownership, owner="default", protected=frozenset({VM}))
        return planning.full(wanted, live or self.live(), scope)

    def send(self, changes: Sequence[Change], *, limits: Limits | None = None) -> dict[str, Answer]:
        """Send the changes; return the answer for each, by name."""
        answers = send_changes(self.session, VM, changes, limits)
        found = {names.to_text(change.name): answer for answer in answers for change in answer.changes}
        assert sum(len(answer.changes) for answer in answers) == len(changes), "every change has one outcome"
        return found

    def apply(self, vmis: Sequence[Mapping[str, Any]]) -> None:
        """Update the zone to match the VMIs; all updates must be accepted."""
        answers = self.send(self.plan(vmis).changes)
        assert {answer.result for answer in answers.values()} <= {Result.ACCEPTED}
        assert not self.plan(vmis).changes


@contextmanager
def connect(
    primary: Server, *, at: Address | None = None, ownership: str = "txt", timeout: float = 5.0
) -> Iterator[ZoneClient]:
    """Connect to `primary`, or to a proxy before it (`at`)."""
    key = keys.read_key_file(primary.key_file)
    session = Session([Peer(at or Address(primary.address, primary.port), key)], timeout=timeout)
    try:
        yield ZoneClient(session, Ownership(ownership))
    finally:
        session.close()


def send_changes(
    session: Session, zone: bytes, changes: Sequence[Change], limits: Limits | None = None
) -> list[Answer]:
    """Send the changes; return the answer to each message."""
    answers: list[Answer] = []
    Sender(session, zone).send(batches(changes, limits or Limits()), answers.append)
    return answers


class Refresh(NamedTuple):
    """The result of a refresh: the changed names, and whether it was a full read, and from another server."""

    changed: set[bytes]
    whole: bool
    other_server: bool


def refresh(session: Session, live: Live) -> Refresh:
    """Update `live` by IXFR, or by AXFR if IXFR is inconsistent, as the reconciler does."""
    before = session.read_from(live.zone)
    transfer = session.transfer(live.zone, live.serial)
    if transfer.nodes is None and not transfer.deltas and transfer.serial != live.serial:
        transfer = session.transfer(live.zone)  # the primary has an older serial than `live`
    try:
        changed = live.apply(transfer)
    except Malformed:
        transfer = session.transfer(live.zone)
        changed = live.apply(transfer)
    return Refresh(changed, transfer.nodes is not None, session.read_from(live.zone) != before)


def results(answers: Mapping[str, Answer]) -> dict[str, str]:
    """Return the result of each answer."""
    return {name: answer.result.value for name, answer in answers.items()}
