"""A look at a real zone and the plan made from it, in steps that somebody else can come between."""

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
class Looking:
    """One conversation with one primary about the zone vm."""

    session: Session
    ownership: Ownership = Ownership.TXT

    def live(self) -> Live:
        """Return the zone as it is now."""
        return self.session.read(VM)

    def plan(self, vmis: Sequence[Mapping[str, Any]], live: Live | None = None) -> Plan:
        """Look at the zone (unless it is given), and return the plan for the VMIs."""
        owner = "default" if self.ownership is Ownership.TXT else ""
        wanted = desired(
            (vmi.parse(msgspec.convert(item, VmiObject)) for item in vmis), Rules(base=VM, zone=VM, owner=owner)
        )
        scope = Scope(base=VM, ownership=self.ownership, owner="default", protected=frozenset({VM}))
        return planning.full(wanted, live or self.live(), scope)

    def send(self, changes: Sequence[Change], *, limits: Limits | None = None) -> dict[str, Answer]:
        """Send the changes; return what became of the message of each, by name."""
        answers = sent(self.session, VM, changes, limits)
        found = {names.to_text(change.name): answer for answer in answers for change in answer.changes}
        assert sum(len(answer.changes) for answer in answers) == len(changes), "every change has one outcome"
        return found

    def apply(self, vmis: Sequence[Mapping[str, Any]]) -> None:
        """Bring the zone to what the VMIs want; it must do at once."""
        answers = self.send(self.plan(vmis).changes)
        assert {answer.result for answer in answers.values()} <= {Result.ACCEPTED}
        assert not self.plan(vmis).changes


@contextmanager
def looking(
    primary: Server, *, at: Address | None = None, ownership: str = "txt", timeout: float = 5.0
) -> Iterator[Looking]:
    """Yield a conversation with `primary`, or `at` a proxy before it."""
    key = keys.read_key_file(primary.key_file)
    session = Session([Peer(at or Address(primary.address, primary.port), key)], timeout=timeout)
    try:
        yield Looking(session, Ownership(ownership))
    finally:
        session.close()


def sent(session: Session, zone: bytes, changes: Sequence[Change], limits: Limits | None = None) -> list[Answer]:
    """Send the changes; return what became of each message."""
    answers: list[Answer] = []
    Sender(session, zone).send(batches(changes, limits or Limits()), answers.append)
    return answers


class Refreshed(NamedTuple):
    """What a refresh brought: the names that changed, and whether all was read, from another server than before."""

    changed: set[bytes]
    whole: bool
    other_server: bool


def refresh(session: Session, live: Live) -> Refreshed:
    """Bring `live` up to date by IXFR, or by AXFR where that makes no sense, as the reconciler does."""
    before = session.read_from(live.zone)
    transfer = session.transfer(live.zone, live.serial)
    if transfer.nodes is None and not transfer.deltas and transfer.serial != live.serial:
        transfer = session.transfer(live.zone)  # the primary is behind what was read
    try:
        changed = live.apply(transfer)
    except Malformed:
        transfer = session.transfer(live.zone)
        changed = live.apply(transfer)
    return Refreshed(changed, transfer.nodes is not None, session.read_from(live.zone) != before)


def results(answers: Mapping[str, Answer]) -> dict[str, str]:
    """Return the bare results."""
    return {name: answer.result.value for name, answer in answers.items()}
