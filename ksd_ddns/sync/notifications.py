# SPDX-License-Identifier: Apache-2.0
"""Facts -> notifications for the owners of VMIs: what is published, what is not, and why."""

from collections.abc import Callable, Iterable

from ksd_ddns.kubevirt.events import VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.zone.notification import Notification, Published, VmiWarning
from ksd_ddns.zone.plan import Change, Conflict, Kind
from ksd_ddns.zone.reconciler.inventory import Inventory
from ksd_ddns.zone.reconciler.refusals import Refusal
from ksd_ddns.zone.render import message

Notify = Callable[[Notification], None]
"""Takes a notification; the same one may come several times."""


class Notifier:
    """Passes notifications about the VMIs in `inventory` to `notify`."""

    def __init__(self, inventory: Inventory, notify: Notify) -> None:
        self._inventory = inventory
        self._notify = notify

    def warn_about_event(self, event: VmisListed | VmiChanged | VmiDeleted) -> None:
        """Warn about everything in the VMIs of `event` that cannot be published."""
        if isinstance(event, VmiDeleted):
            return
        vmis: Iterable[Vmi] = event.vmis if isinstance(event, VmisListed) else (event.vmi,)
        for vmi in vmis:
            self._warn_about(vmi)

    def warn_about_vmis(self, keys: Iterable[str]) -> None:
        """Warn about VMIs of which some names or records exceed a limit because of other VMIs."""
        for key in keys:
            vmi = self._inventory.get(key)
            if vmi is not None:
                self._warn_about(vmi)

    def _warn_about(self, vmi: Vmi) -> None:
        for warning in self._inventory.warnings(vmi.key):
            self._notify(VmiWarning(vmi.key, vmi.uid, "NotPublished", message.warning(warning)))

    def warn_about_conflicts(self, conflicts: Iterable[Conflict]) -> None:
        """Warn about names that exist and are not ours."""
        for conflict in conflicts:
            text = f"{names.to_text(conflict.name)} is not published: {message.conflict(conflict)}"
            self._warn(conflict.vmi, "NameConflict", text)

    def notify_published(self, change: Change) -> None:
        """Notify the owner of the VMI that a new name is published."""
        if change.kind is not Kind.ADD:
            return
        key = self._inventory.vmi_of(change.name)
        vmi = self._inventory.get(key)
        if vmi is not None:
            self._notify(Published(key, vmi.uid, change.new, change.types))

    def warn_about_refusal(self, refusal: Refusal, why: str) -> None:
        """Warn about a name that the primary refuses; `why` is the cause and the remedy."""
        text = f"{names.to_text(refusal.name)} is refused by the DNS server ({refusal.cause.value}): {why}"
        self._warn(self._inventory.vmi_of(refusal.name), "UpdateRefused", text)

    def _warn(self, key: str, reason: str, text: str) -> None:
        vmi = self._inventory.get(key)
        if vmi is not None:
            self._notify(VmiWarning(key, vmi.uid, reason, text))
