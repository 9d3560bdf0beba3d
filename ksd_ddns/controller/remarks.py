"""What the owners of VMIs are told: what of theirs is published, and what is not, and why."""

from collections.abc import Callable, Iterable

from ksd_ddns.controller.known import Known
from ksd_ddns.primary.update import Outcome, Result
from ksd_ddns.zone import names
from ksd_ddns.zone.feed import Changed, Gone, Listed, Published, Remark, Said
from ksd_ddns.zone.plan import Conflict, Kind
from ksd_ddns.zone.vmi import Vmi

Say = Callable[[Said], None]
"""Takes a remark; the same one may come again and again."""


class Remarks:
    """Makes remarks of what becomes of the VMIs in `known`, and hands them to `say`."""

    def __init__(self, known: Known, say: Say) -> None:
        self._known = known
        self._say = say

    def heard(self, told: Listed | Changed | Gone) -> None:
        """Say what of the VMIs themselves cannot be published."""
        if isinstance(told, Gone):
            return
        vmis: Iterable[Vmi] = told.vmis if isinstance(told, Listed) else (told.vmi,)
        for vmi in vmis:
            for notice in self._known.notices(vmi.key):
                self._say(Remark(vmi.key, vmi.uid, "NotPublished", notice.text))

    def conflicts(self, conflicts: Iterable[Conflict]) -> None:
        """Say which names somebody else has."""
        for conflict in conflicts:
            text = f"{names.to_text(conflict.name)} is not published: {conflict.reason}"
            self._about(conflict.vmi, "NameConflict", text)

    def outcome(self, outcome: Outcome) -> None:
        """Say what was published first, and what the primary does not take."""
        name = outcome.change.name
        vmi = self._known.vmi_of(name)
        if outcome.result is Result.REFUSED:
            self._about(vmi, "UpdateRefused", f"{names.to_text(name)} is refused: {outcome.reason}")
        elif outcome.result is Result.ACKNOWLEDGED and outcome.change.kind is Kind.ADD:
            known = self._known.get(vmi)
            if known is not None:
                self._say(Published(vmi, known.uid, outcome.change.new, outcome.change.types))

    def _about(self, key: str, reason: str, text: str) -> None:
        vmi = self._known.get(key)
        if vmi is not None:
            self._say(Remark(key, vmi.uid, reason, text))
