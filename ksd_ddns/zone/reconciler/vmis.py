# SPDX-License-Identifier: Apache-2.0
"""Changes of VMIs, and the names that they make dirty."""

from ksd_ddns.kubevirt.events import VmiDeleted, VmisListed
from ksd_ddns.zone.reconciler.events import WarningsChanged
from ksd_ddns.zone.reconciler.sources import VmiEvent
from ksd_ddns.zone.reconciler.state import State


def handle(state: State, event: VmiEvent, now: float) -> None:
    """Handle a change of VMIs; before the zone is read, keep it for later."""
    if isinstance(event, VmisListed):
        state.sources.note_listed(event)
    if state.reads.live is None:
        state.sources.defer(event)  # the zone shows which addresses to hold
        return
    updates = state.updates
    if isinstance(event, VmisListed):
        dirty = state.inventory.handle_list(event, state.reads.live, now)
        updates.replan_all = True
        if event.at is not None:
            for name in dirty:
                updates.received.setdefault(name, event.at)
    else:
        if isinstance(event, VmiDeleted):
            dirty = state.inventory.handle_deletion(event)
        else:
            dirty = state.inventory.handle_change(event, state.reads.live, now)
        state.deletions.seen |= dirty
        for name in dirty:
            updates.received.setdefault(name, event.at)
        if state.learned.incomplete_namespaces - state.incomplete_namespaces:
            updates.replan_all = True  # a namespace is now complete: what is missing there is gone
    report_warnings(state)
    if state.refusals or updates.suspects or updates.delayed:
        for name in dirty:
            state.refusals.reconsider(name)
            updates.delayed.pop(name, None)
        updates.suspects.forget(dirty)
    updates.dirty |= dirty


def report_warnings(state: State) -> None:
    """Report the VMIs whose warnings may have changed because of another VMI."""
    changed = state.desired.take_changed_warnings()
    if changed:
        state.facts.append(WarningsChanged(frozenset(changed)))
