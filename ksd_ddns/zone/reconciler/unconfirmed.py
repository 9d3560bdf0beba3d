"""Accepted changes that the zone has not shown yet.

NOERROR is not proof: a server may drop records without a word (an address next to a CNAME, limits of an update-policy),
lower or keep a TTL, leave the ownership record out, or show a change late. A zone that is signed inline shows changes
seconds later, and BIND sometimes only after the next update was accepted. So each accepted change is compared with what
is read.
"""

from collections.abc import Collection
from enum import Enum, auto

import msgspec

from ksd_ddns.wire.rrset import TXT, Node
from ksd_ddns.zone.plan import Change, Kind, ttl_cap

SHOWN_WITHIN = 3.0
"""Seconds in which a zone shows an accepted change at the latest."""

SHOWN_WITHIN_SIGNED = 60.0
"""The same where the zone is signed: its server may sign it in a copy (inline signing)."""


class Verdict(Enum):
    """What a read of the zone says about an accepted change that it does not show as it was sent."""

    LATE = auto()
    """The zone shows what was there before, and may yet show the change."""
    NOT_SHOWN = auto()
    """The zone shows what was there before, and it is too late, or a change that came later is shown."""
    NO_TXT = auto()
    """All but the ownership record is there."""
    TTL_KEPT = auto()
    """All is there but a new TTL: the server ignores that in the message that adds the records again (Knot 3.5)."""
    OTHER = auto()
    """The zone shows something else: somebody changed it afterwards."""


class _Sent(msgspec.Struct):
    """`change` leads from what was there when the name was last confirmed, `earlier`, to what was accepted last."""

    change: Change
    earlier: list[Node]
    message: int
    accepted_at: float
    split: bool = False


class Unconfirmed:
    """The accepted changes of one zone that no read has confirmed."""

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
        """When the change that has waited longest was accepted; None where all are confirmed."""
        return next(iter(self._sent.values())).accepted_at if self._sent else None

    def overdue(self, now: float, *, signed: bool) -> bool:
        """Return whether the zone should have shown a change by now."""
        oldest = self.oldest
        return oldest is not None and now - oldest >= _patience(signed=signed)

    def change(self, name: bytes) -> Change:
        """Return the change that waits at `name`."""
        return self._sent[name].change

    def names(self) -> Collection[bytes]:
        """Return the names that wait."""
        return self._sent.keys()

    def clear(self) -> None:
        """Expect nothing more: another server answers now."""
        self._sent.clear()
        self.nudged.clear()

    def confirm(self, differing: dict[bytes, Node], now: float, *, signed: bool) -> dict[bytes, Verdict]:
        """Compare with a read of the zone: `differing` holds what it found where that is not what was accepted.

        Returns a verdict for each accepted change that differs. All but the late ones are forgotten here.
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
                # Messages are applied whole and in order; where the zone is signed, shown late and in part.
                dropped = sent.message in shown or (not signed and sent.message < latest)
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
        return Verdict.OTHER  # not in two messages either: the server lowers the TTL
    if found in sent.earlier:
        return Verdict.LATE
    if change.kind is Kind.ADD and found == change.new.with_rrsets((), types=(TXT,)):
        return Verdict.NO_TXT
    return Verdict.OTHER


def _only_ttl_kept(change: Change, found: Node) -> bool:
    """Return whether `found` is the new node but for TTLs, which are those of before."""
    if found == change.old and not change.old.rrsets:
        return False
    expected, kept = [], False
    for item in change.new.rrsets:
        before = change.old.get(item.type)
        if before is not None and before.ttl != item.ttl:
            item = msgspec.structs.replace(item, ttl=before.ttl)  # noqa: PLW2901 the RRset as such a server leaves it
            kept = True
        expected.append(item)
    return kept and found == Node(change.name, tuple(expected))
