# SPDX-License-Identifier: Apache-2.0
"""The VMIs of a command, from files or the cluster, and the owner ID for their names."""

import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import TYPE_CHECKING

from ksd_ddns import vmifile
from ksd_ddns.cli.notifications import NotificationLog
from ksd_ddns.cluster.counts import Counts
from ksd_ddns.cluster.timing import Timing
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SettingsError
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.sync import Source
from ksd_ddns.sync.notifications import Notify
from ksd_ddns.sync.zone_sync import Step
from ksd_ddns.vmifile.source import FileSource

if TYPE_CHECKING:
    from ksd_ddns.cluster.lease import Election

_LEASE = "secondary-dns"


def vmis(chosen: Settings, paths: Sequence[str], step: Step) -> tuple[Vmi, ...]:
    """Return the VMIs in the files at `paths`, or in the cluster if `paths` is empty."""
    step("reading VMIs", 0, None)
    if paths:
        check_paths(paths)
        return vmifile.read_all(
            paths,
            chosen.selection,
            progress=lambda part: step("reading VMIs", round(100 * part), 100),
        )
    from ksd_ddns.cluster.watch import watches  # noqa: PLC0415 takes half a second, needed for a cluster only

    return tuple(vmi for watch in watches(chosen.selection) for vmi in watch.vmis())


def vmi_sources(chosen: Settings, paths: Sequence[str], timing: Timing, counts: Counts) -> tuple[Source, ...]:
    """Return sources that watch the files at `paths`, or the cluster if `paths` is empty."""
    if vmifile.STDIN in paths:
        raise SettingsError("run --from -: standard input cannot be followed; name a file")
    if paths:
        check_paths(paths)
        return (FileSource(*paths, selection=chosen.selection),)
    from ksd_ddns.cluster.watch import watches  # noqa: PLC0415 as above

    return watches(chosen.selection, timing=timing, counts=counts)


def vmi_reader(
    paths: Sequence[str], timing: Timing | None = None, counts: Counts | None = None, *, within: float
) -> Callable[[str], VmiObject | None]:
    """Return a function that reads the VMI `namespace/name` from the files, without files from the cluster.

    It returns None if there is no such VMI, and raises SourceError. The API server has `within` seconds to answer.
    """
    if paths:
        return lambda key: next((obj for path in paths for obj in vmifile.read_objects(path) if obj.key == key), None)
    from ksd_ddns.cluster.api import Api  # noqa: PLC0415 as above
    from ksd_ddns.cluster.one_vmi import vmi_object as read  # noqa: PLC0415 as above

    api = Api(timing=timing.api if timing else None, counts=counts)

    def one(key: str) -> VmiObject | None:
        with api.within(within):
            return read(api, key)

    return one


def vmi_object(key: str, *, within: float) -> VmiObject | None:
    """Return the VMI `namespace/name` of the cluster, None if there is none. For commands: a 403 says what to grant."""
    from ksd_ddns.cluster.http_errors import insist  # noqa: PLC0415 as above

    read = vmi_reader((), within=within)
    return insist(lambda: read(key))


def check_paths(paths: Sequence[str]) -> None:
    """Raise SettingsError if the files at `paths` cannot be read together."""
    for path, count in Counter(paths).items():
        if count > 1:
            raise SettingsError(f"--from {path} is given {count} times: give each file once")
        if not path:
            raise SettingsError("--from = '': the path of a file is needed, or - for standard input")


def owning(chosen: Settings, paths: Sequence[str] | None) -> Settings:
    """Return the settings with the owner ID, for every command but `run`. Raises SourceError."""
    found = owner_lookup(chosen, paths)
    if chosen.owner_id or paths:
        return found()
    from ksd_ddns.cluster.http_errors import insist  # noqa: PLC0415 as above

    return insist(found)


def owner_lookup(
    chosen: Settings, paths: Sequence[str] | None, timing: Timing | None = None, counts: Counts | None = None
) -> Callable[[], Settings]:
    """Return a function that returns the settings with the owner ID, or raises SourceError.

    Without OWNER_ID it is the UID of the cluster's namespace kube-system, so that clusters that share a zone differ
    without any configuration; with files it is `default`. If `paths` is None, the command reads no VMIs: then the
    cluster is used if KUBECONFIG or a pod's service account configures one.
    """
    if paths is None and not (os.environ.get("KUBECONFIG") or os.environ.get("KUBERNETES_SERVICE_HOST")):
        return lambda: chosen
    if chosen.owner_id or paths:
        return lambda: chosen
    from ksd_ddns.cluster.api import Api  # noqa: PLC0415 as above
    from ksd_ddns.cluster.namespaces import uid_of_namespace  # noqa: PLC0415 as above

    api = Api(timing=timing.api if timing else None, counts=counts)
    return lambda: chosen.model_copy(update={"owner_id": uid_of_namespace(api, "kube-system")})


def recorder(paths: Sequence[str], stop: Event, timing: Timing, counts: Counts) -> Notify:
    """Return a function that logs notifications and, in a cluster, writes them as Events, until `stop` is set."""
    if paths:
        return NotificationLog(stop)
    from ksd_ddns.cluster.api import Api  # noqa: PLC0415 as above
    from ksd_ddns.cluster.events import Recorder  # noqa: PLC0415 as above

    api = Api(timing=timing.api, counts=counts)
    found = Recorder(api, instance=socket.gethostname(), per_second=timing.events_per_second)
    Thread(target=found.run, args=(stop,), name="events", daemon=True).start()
    return NotificationLog(stop, also=found.record)


def election(chosen: Settings, paths: Sequence[str], timing: Timing, counts: Counts) -> "Election | None":
    """Return the election in which this process is a candidate, None without LEADER_ELECTION.

    Raises SettingsError, SourceError.
    """
    if not chosen.leader_election:
        return None
    if paths:
        raise SettingsError("LEADER_ELECTION needs the cluster: it cannot be used with --from")
    from ksd_ddns.cluster.api import Api  # noqa: PLC0415 as above
    from ksd_ddns.cluster.lease import Election  # noqa: PLC0415 as above
    from ksd_ddns.cluster.namespaces import own_namespace  # noqa: PLC0415 as above

    identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    # Separate connections: a list or watch must not delay a renewal.
    api = Api(timing=timing.api, counts=counts)
    return Election(api, namespace=own_namespace(), name=_LEASE, identity=identity, timing=timing.lease)
