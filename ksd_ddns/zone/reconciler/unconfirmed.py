# SPDX-License-Identifier: Apache-2.0
"""Accepted changes that the zone does not show yet.

NOERROR is no proof: a server may silently drop records (an address next to a CNAME, limits of an update-policy), lower
or keep a TTL, leave out the ownership record, or show a change late. With inline signing, a zone shows changes seconds
later, and with BIND sometimes only after the next update. So each accepted change is compared with a read of the zone.
"""

from collections.abc import Collection
from enum import Enum, auto

import msgspec

from ksd_ddns.wire.rrset import TXT, Node
from ksd_ddns.zone.plan import Change, Kind, ttl_cap

SHOWN_WITHIN = 3.0
"""Seconds within which a zone must show an accepted change."""

SHOWN_WITHIN_SIGNED = 60.0
"""The same for a signed zone: with inline signing, its server signs a copy."""


class Verdict(Enum):
    """The result of comparing an accepted change with a read of the zone that differs from it."""

    LATE = auto()
    """The zone shows an earlier state, and may still show the change."""
    NOT_SHOWN = auto()
    """The zone shows an earlier state, and time is up or it shows a later change."""
    NO_TXT = auto()
    """The zone shows all records except the ownership record."""
    TTL_KEPT = auto()
    """The zone shows all but the new TTL: the server ignores it when a message re-adds the records (Knot 3.5)."""
    OTHER = auto()
    """The zone shows something else: another client changed it afterwards."""


class _Sent(msgspec.Struct):
    """The last accepted `change` of a name, and its `earlier` nodes since the name was last confirmed."""

    change: Change
    earlier: list[Node]
    message: int
    accepted_at: float
    split: bool = False


class Unconfirmed:
    """The accepted changes of one zone that no read has confirmed, and the names with a `nudged` TTL."""

    def __init__(self) -> None:
        self._sent: dict[bytes, _Sent] = {}
        self._messages = 0
        self.nudged: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def __contains__(self, name: object) -> bool:
        return name in self._sent

    def accept(self, changes: Collection[Change], now: float, *, split: bool) -> None:
        """Take the changes of one accepted message; `split`: it was sent in two steps because of its TTL."""
        self._messages += 1
        for change in changes:
            before = self._sent.get(change.name)
            earlier = [change.old] if before is None else [*before.earlier, change.old]
            self._sent[change.name] = _Sent(change, earlier, self._messages, now, split)

    @property
    def oldest(self) -> float | None:
        """When the oldest unconfirmed change was accepted; None if all are confirmed."""
        return next(iter(self._sent.values())).accepted_at if self._sent else None

    def overdue(self, now: float, *, signed: bool) -> bool:
        """Return whether the zone should show a change by now, but does not."""
        oldest = self.oldest
        return oldest is not None and now - oldest >= _patience(signed=signed)

    def change(self, name: bytes) -> Change:
        """Return the unconfirmed change at `name`."""
        return self._sent[name].change

    def accepted_at(self, name: bytes) -> float:
        """Return when the primary accepted the unconfirmed change at `name`."""
        return self._sent[name].accepted_at

    def names(self) -> Collection[bytes]:
        """Return the names with unconfirmed changes."""
        return self._sent.keys()

    def clear(self) -> None:
        """Forget all changes: another server answers now."""
        self._sent.clear()
        self.nudged.clear()

    def confirm(
        self, differing: dict[bytes, Node], now: float, *, signed: bool, in_turn: bool = False
    ) -> dict[bytes, Verdict]:
        """Compare with a read of the zone: `differing` holds the nodes that differ from the accepted changes.

        `in_turn`: the names were read one after the other, not as of one serial.

        Returns a verdict for each of them. Only late changes stay unconfirmed.
        """
        shown = {sent.message for name, sent in self._sent.items() if name not in differing}
        latest = max(shown, default=0)
        patience = _patience(signed=signed)
        verdicts: dict[bytes, Verdict] = {}
        waiting: dict[bytes, _Sent] = {}
        for name in differing.keys() & self._sent.keys():
            sent, found = self._sent[name], differing[name]
            verdict = _verdict(sent, found)
            if verdict is Verdict.LATE:
                # Messages are applied in full and in order, but a signed zone may show them late and in part.
                dropped = not in_turn and (sent.message in shown or (not signed and sent.message < latest))
                if dropped or now - sent.accepted_at >= patience:
                    verdict = Verdict.NOT_SHOWN
                else:
                    waiting[name] = sent
            verdicts[name] = verdict
        self._sent = dict(sorted(waiting.items(), key=lambda item: item[1].message)) if waiting else {}
        return verdicts


def _patience(*, signed: bool) -> float:
    return SHOWN_WITHIN_SIGNED if signed else SHOWN_WITHIN


def _verdict(sent: _Sent, found: Node) -> Verdict:
    change = sent.change
    if not sent.split and _only_ttl_kept(change, found):
        return Verdict.TTL_KEPT
    if sent.split and ttl_cap(change, found) is not None:
        return Verdict.OTHER  # two messages did not help either: the server lowers the TTL
    if found in sent.earlier:
        return Verdict.LATE
    if change.kind is Kind.ADD and found == change.new.with_rrsets((), types=(TXT,)):
        return Verdict.NO_TXT
    return Verdict.OTHER


def _only_ttl_kept(change: Change, found: Node) -> bool:
    """Return whether `found` is the new node with the old TTLs."""
    if found == change.old and not change.old.rrsets:
        return False
    expected, kept = [], False
    for item in change.new.rrsets:
        before = change.old.get(item.type)
        if before is not None and before.ttl != item.ttl:
            item = msgspec.structs.replace(item, ttl=before.ttl)  # noqa: PLW2901 the RRset as such a server leaves it
            kept = True
        expected.append(item)
    return kept and found == Node(change.name, tuple(expected), change.new.index)
