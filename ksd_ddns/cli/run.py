# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns run`: controllers, status pages and NOTIFY listener, until a signal."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING

from ksd_ddns import heartbeat
from ksd_ddns.cli import log, options, reverse_zones, settings, signals, sources
from ksd_ddns.cli.session import sessions
from ksd_ddns.cli.timing import Timing
from ksd_ddns.cluster.counts import Counts
from ksd_ddns.config import primary, zones
from ksd_ddns.config.doubts import Doubt
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SourceError
from ksd_ddns.primary.announce import Announcer
from ksd_ddns.primary.files import exposure, in_kubernetes_volume
from ksd_ddns.primary.notify import Listener
from ksd_ddns.primary.session import Session
from ksd_ddns.status import About, Process, StatusServer
from ksd_ddns.sync import Controller, Source, Supervisor
from ksd_ddns.sync import Options as ControllerOptions
from ksd_ddns.sync.additions import Additions
from ksd_ddns.sync.explain import Explainer
from ksd_ddns.sync.notifications import Notify
from ksd_ddns.sync.vm_index import VmIndex
from ksd_ddns.wire import names
from ksd_ddns.zone.notification import Notification
from ksd_ddns.zone.reconciler import Options as Keeping

if TYPE_CHECKING:
    from ksd_ddns.cluster.lease import Election

END_WITHIN = 1.5
"""Seconds after a signal, or the loss of leadership, to wait for the responses to updates in flight."""

READ_VMI_WITHIN = 3.0
"""Seconds for the API server to answer with the VMI that is explained."""

OWNER_WITHIN = 300.0
"""Seconds that reading the owner ID from the cluster may take."""

SWITCH_AFTER = 0.0005
"""Seconds until a busy thread lets others run: a thread that serves a page must not delay updates."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `run`."""

    source: tuple[str, ...] = options.source_flag()


def main(asked: Options, timing: Timing | None = None) -> int:
    """Keep the zones up to date until a signal; `timing` replaces the default durations."""
    sys.setswitchinterval(SWITCH_AFTER)
    timing = timing or Timing()
    chosen = settings.load(asked, report=_log_doubt)
    counts, stop = Counts(), threading.Event()
    owner = _Owner(chosen, asked.source, timing, counts)
    vmi_sources = sources.vmi_sources(chosen, asked.source, timing.cluster, counts)
    notify = sources.recorder(asked.source, stop, timing.cluster, counts)
    _warn_about_secrets(chosen)
    election = sources.election(chosen, asked.source, timing.cluster, counts)
    shared = _Shared(
        chosen=chosen, paths=asked.source, timing=timing, counts=counts, owner=owner, election=election, vms=VmIndex()
    )
    supervisor = _supervisor(shared, vmi_sources, notify)
    status = _status_server(shared, supervisor)
    status.start()
    if chosen.notify_listen is not None:
        Listener(
            chosen.notify_listen,
            primaries=primary.servers(chosen),
            keys=primary.shared_keys(chosen),
            received=supervisor.receive_notify,
        ).start()
    signals.handle(_OnSignal(supervisor, stop))
    _log.info("running", extra={"fields": {"status_port": status.port}})
    if election is None:
        supervisor.run()
    elif election.campaign(stop):
        election.lead(_OnLostLeadership(supervisor))
        supervisor.run()
        # Nothing is in flight now: another controller may send.
        election.resign()
    stop.set()
    lost = election is not None and election.lost
    if not lost:
        _log.info("shutdown complete")
    return int(lost)


def _supervisor(shared: "_Shared", vmi_sources: Collection[Source], notify: Notify) -> Supervisor:
    """Return the controllers of the zones that the settings name; with REVERSE_ZONES=auto, it adds those found."""
    chosen, timing, vms = shared.chosen, shared.timing, shared.vms
    # Signed with the key for transfers, if there is one: secondaries have it.
    announcer = Announcer(primary.secondaries(chosen), next(iter(primary.shared_keys(chosen)), None))
    announcer.start()
    namespaces = [source.namespace for source in vmi_sources]
    numbers = {chosen.base: 0}
    first, another = sessions(chosen, timing=timing.primary)

    def controller(session: Session, base: bytes, known: Settings) -> Controller:
        if base in numbers:
            vms.clear(numbers[base])  # of the controller before
        else:
            numbers[base] = vms.add_zone()
        options = _options(known, shared, base, notify, announcer.announce)
        return Controller(session, namespaces, replace(options, vms=vms, number=numbers[base]))

    reverse = reverse_zones.wanted(chosen, lambda base, known: controller(another(), base, known))
    existing = {wanted: make() for wanted, make in reverse(()).items()}
    return Supervisor(
        vmi_sources,
        [controller(first, chosen.base, chosen), *existing.values()],
        Additions(another(), reverse_zones.search(chosen, again=timing.reverse_again), reverse, existing)
        if chosen.reverse_zones.auto
        else None,
    )


def _status_server(shared: "_Shared", supervisor: Supervisor) -> StatusServer:
    chosen, counts, election = shared.chosen, shared.counts, shared.election
    return StatusServer(
        chosen.status_address.host,
        chosen.status_address.port,
        lambda: supervisor.snapshots() if shared.leads() else (),
        supervisor.owned,
        healthy=lambda: supervisor.stuck(shared.timing.stuck_after),
        process=lambda: Process(
            leading=None if election is None else election.leading(),
            api_requests=counts.requests,
            watch_ends=counts.ends,
        ),
        vms=shared.vms,
        about=_About(shared),
        names=chosen.status_hosts,
        explainer=Explainer(
            supervisor,
            sources.vmi_reader(shared.paths, shared.timing.cluster, counts, within=READ_VMI_WITHIN),
            chosen.selection,
            hold_down=chosen.hold_down,
            unavailable=lambda: "" if shared.leads() else "this replica is not the leader",
        ),
    )


def _warn_about_secrets(chosen: Settings) -> None:
    for file in primary.secret_files(chosen):
        if (who := exposure(file)) and not in_kubernetes_volume(file):
            _log.warning(
                "secret file is readable by others, chmod 600 it", extra={"fields": {"file": file, "cause": who}}
            )


def _log_doubt(doubt: Doubt) -> None:
    _log.warning(
        "setting is probably wrong",
        extra={"fields": {"setting": doubt.subject, "problem": doubt.problem, "remedy": doubt.remedy}},
    )


class _About:
    """What the status page says about this process."""

    def __init__(self, shared: "_Shared") -> None:
        chosen = shared.chosen
        self._shared = shared
        choice = {
            "NAMESPACES": ", ".join(sorted(chosen.namespaces)) or "all namespaces",
            "LABEL_SELECTOR": str(chosen.label_selector) or "no selector: all VMs",
        }
        self._about = About(base=names.to_text(chosen.base), choice=tuple(choice.items()))

    def __call__(self) -> About:
        election = self._shared.election
        return replace(
            self._about,
            owner=self._shared.owner.known,
            leader=election.leader if election is not None else "",
            standby=not self._shared.leads(),
        )


def _ignore(notification: Notification) -> None:
    """Drop the notification."""


class _Owner:
    """Looks up the owner ID when it is first needed: the cluster may not be reachable at first."""

    def __init__(self, chosen: Settings, paths: Sequence[str], timing: Timing, counts: Counts) -> None:
        self._chosen = chosen
        self._lookup = sources.owner_lookup(chosen, paths, timing.cluster, counts)
        self._settled = False
        self._failed: tuple[float, SourceError] | None = None
        self._lock = threading.Lock()

    @property
    def known(self) -> str:
        """The owner ID, empty while it is unknown."""
        return self._chosen.owner if self._settled else self._chosen.owner_id or ""

    def settings(self) -> Settings:
        """Return the settings with their owner ID. Raises SourceError if the cluster cannot be read."""
        began = time.monotonic()
        heartbeat.beat(ahead=OWNER_WITHIN)
        with self._lock:
            if not self._settled:
                if self._failed is not None and self._failed[0] > began:
                    # Another zone has just failed. If each zone waited in turn, they would look stuck.
                    raise SourceError(str(self._failed[1]))
                try:
                    self._chosen = self._lookup()
                except SourceError as e:
                    self._failed = (time.monotonic(), e)
                    raise
                self._settled = True
            return self._chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What the parts of the process share. `paths` are files of VMIs; without any, they come from the cluster."""

    chosen: Settings
    paths: Sequence[str]
    timing: Timing
    counts: Counts
    owner: _Owner
    election: "Election | None"
    vms: VmIndex

    def leads(self) -> bool:
        """Return whether this process may work: it is the leader, or there is no election."""
        return self.election is None or self.election.leading()


def _options(
    chosen: Settings, shared: _Shared, base: bytes, notify: Notify, announce: Callable[[bytes], None]
) -> ControllerOptions:
    """Return the options of the controller for `base`; `chosen` are the settings with all reverse zones known."""
    owner = shared.owner
    known = chosen.reverse_zones.zones
    return ControllerOptions(
        zone=chosen.zone if base == chosen.base else None,
        base=base,
        rules=lambda zone: zones.rules(zones.with_reverse_zones(owner.settings(), known), zone, base),
        scope=lambda rules: zones.scope(zones.with_reverse_zones(owner.settings(), known), rules),
        limits=zones.limits(chosen),
        reconciler=Keeping(
            max_delete_percent=chosen.max_delete_percent,
            hold_down=chosen.hold_down,
            drift_interval=chosen.drift_interval,
            full_read_interval=chosen.full_read_interval,
            timing=shared.timing.zone,
        ),
        # Only for the main zone: the controllers of reverse zones would repeat the same notifications.
        notify=notify if base == chosen.base else _ignore,
        announce=announce,
        may_send=shared.leads,
    )


class _OnLostLeadership:
    """Stops the controllers when leadership is lost, and ends the process with code 1."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def __call__(self) -> None:
        self._supervisor.stop()
        _exit_soon(1)


class _OnSignal:
    """Stops the controllers at a signal, and ends the process with code 0."""

    def __init__(self, supervisor: Supervisor, stop: threading.Event) -> None:
        self._supervisor = supervisor
        self._stop = stop

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
        self._supervisor.stop()
        _exit_soon(0)


def _exit_soon(code: int) -> None:
    """End the process after END_WITHIN without waiting for its threads: a primary may not respond."""
    last = threading.Timer(END_WITHIN, _exit_now, (code,))
    last.daemon = True
    last.start()


def _exit_now(code: int) -> None:
    log.flush()
    os._exit(code)
