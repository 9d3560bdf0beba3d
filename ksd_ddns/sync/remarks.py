"""What the owners of VMIs are told: what of theirs is published, and what is not, and why."""

from collections.abc import Callable, Iterable

from ksd_ddns.kubevirt.events import VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.zone.notification import Published, Remark, Said
from ksd_ddns.zone.plan import Change, Conflict, Kind
from ksd_ddns.zone.reconciler.inventory import Inventory
from ksd_ddns.zone.reconciler.refusals import Refusal

Say = Callable[[Said], None]
"""Takes a remark; the same one may come again and again."""


class Remarks:
    """Makes remarks of what becomes of the VMIs in `known`, and hands them to `say`."""

    def __init__(self, known: Inventory, say: Say) -> None:
        self._known = known
        self._say = say

    def vmis(self, told: VmisListed | VmiChanged | VmiDeleted) -> None:
        """Say what of the VMIs themselves cannot be published."""
        if isinstance(told, VmiDeleted):
            return
        vmis: Iterable[Vmi] = told.vmis if isinstance(told, VmisListed) else (told.vmi,)
        for vmi in vmis:
            self._not_published(vmi)

    def notices(self, keys: Iterable[str]) -> None:
        """Say what cannot be published of the VMIs `keys`, since another VMI came or went."""
        for key in sorted(keys):
            vmi = self._known.get(key)
            if vmi is not None:
                self._not_published(vmi)

    def _not_published(self, vmi: Vmi) -> None:
        for notice in self._known.notices(vmi.key):
            self._say(Remark(vmi.key, vmi.uid, "NotPublished", notice.text))

    def conflicts(self, conflicts: Iterable[Conflict]) -> None:
        """Say which names somebody else has."""
        for conflict in conflicts:
            text = f"{names.to_text(conflict.name)} is not published: {conflict.reason}"
            self._about(conflict.vmi, "NameConflict", text)

    def accepted(self, change: Change) -> None:
        """Say what was published first."""
        if change.kind is not Kind.ADD:
            return
        vmi = self._known.vmi_of(change.name)
        known = self._known.get(vmi)
        if known is not None:
            self._say(Published(vmi, known.uid, change.new, change.types))

    def refused(self, refusal: Refusal) -> None:
        """Say what the primary does not take."""
        reason = f": {refusal.error}" if refusal.error else ""
        text = f"{names.to_text(refusal.name)} is refused by the DNS server ({refusal.cause.value}){reason}"
        self._about(self._known.vmi_of(refusal.name), "UpdateRefused", text)

    def _about(self, key: str, reason: str, text: str) -> None:
        vmi = self._known.get(key)
        if vmi is not None:
            self._say(Remark(key, vmi.uid, reason, text))
