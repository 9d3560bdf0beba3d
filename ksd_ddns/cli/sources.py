"""Where the VMIs of a command come from: files, or the cluster; and whose names they are."""

import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import TYPE_CHECKING

from ksd_ddns import source
from ksd_ddns.cli.remarks import Remarks
from ksd_ddns.errors import SettingsError
from ksd_ddns.settings import Settings
from ksd_ddns.source.follow import Follow
from ksd_ddns.sync import Source
from ksd_ddns.sync.remarks import Say
from ksd_ddns.sync.zone_sync import Step
from ksd_ddns.zone.vmi import Vmi

if TYPE_CHECKING:
    from ksd_ddns.cluster.lease import Election

_LEASE = "secondary-dns"


def vmis(chosen: Settings, paths: Sequence[str], step: Step) -> tuple[Vmi, ...]:
    """Return the VMIs that the files at `paths`, or without any the cluster, hold now."""
    step("reading VMIs", 0, None)
    if paths:
        _check_paths(paths)
        return source.read_all(
            paths,
            namespaces=chosen.namespaces,
            selector=chosen.label_selector,
            progress=lambda part: step("reading VMIs", round(100 * part), 100),
        )
    from ksd_ddns.cluster.watch import watches  # noqa: PLC0415 half a second, for those only who ask a cluster

    return tuple(
        vmi for watch in watches(namespaces=chosen.namespaces, selector=chosen.label_selector) for vmi in watch.vmis()
    )


def followed(chosen: Settings, paths: Sequence[str]) -> tuple[Source, ...]:
    """Return the sources that tell what the files at `paths`, or without any the cluster, hold from now on."""
    if source.STDIN in paths:
        raise SettingsError("run --from -: standard input cannot be followed; name a file")
    if paths:
        _check_paths(paths)
        return (Follow(*paths, namespaces=chosen.namespaces, selector=chosen.label_selector),)
    from ksd_ddns.cluster.watch import watches  # noqa: PLC0415 as above

    return watches(namespaces=chosen.namespaces, selector=chosen.label_selector)


def _check_paths(paths: Sequence[str]) -> None:
    for path, count in Counter(paths).items():
        if count > 1:
            raise SettingsError(f"--from {path} is given {count} times: give each file once")
        if not path:
            raise SettingsError("--from = '': the path of a file is needed, or - for standard input")


def owning(chosen: Settings, paths: Sequence[str] | None) -> Settings:
    """Return the settings with the owner ID that they go by.

    Without OWNER_ID it is the UID of the cluster's namespace kube-system, so that clusters that share a zone do not
    need to be told apart by hand; with files it is `default`. `paths` is None where nothing says which of the two:
    then it is the cluster's where one is set up by KUBECONFIG or by a pod's service account.
    """
    if paths is None and not (os.environ.get("KUBECONFIG") or os.environ.get("KUBERNETES_SERVICE_HOST")):
        return chosen
    if chosen.owner_id or paths:
        return chosen
    from ksd_ddns.cluster.api import Api, uid_of_namespace  # noqa: PLC0415 as above

    return chosen.model_copy(update={"owner_id": uid_of_namespace(Api(), "kube-system")})


def recorder(paths: Sequence[str], stop: Event) -> Say:
    """Return what logs remarks and, with a cluster, writes them as Events on VMIs until `stop` is set."""
    if paths:
        return Remarks(stop)
    from ksd_ddns.cluster.api import Api  # noqa: PLC0415 as above
    from ksd_ddns.cluster.events import Recorder  # noqa: PLC0415 as above

    found = Recorder(Api(), instance=socket.gethostname())
    Thread(target=found.run, args=(stop,), name="events", daemon=True).start()
    return Remarks(stop, also=found.remark)


class Leadership:
    """Our place in the election: `held` while we lead, `lost` once we led and do not any more."""

    def __init__(self, election: "Election") -> None:
        self._election = election
        self._thread: Thread | None = None
        self.held = False
        self.lost = False

    def awaited(self, stop: Event) -> bool:
        """Wait until we lead; return false where `stop` was set first."""
        self.held = self._election.await_leadership(stop)
        return self.held

    def keep(self, stop: Event, end: Callable[[], None]) -> None:
        """Go on leading, on a thread of its own, until `stop` is set; call `end` where somebody else leads."""

        def lost() -> None:
            self.lost = True
            end()

        self._thread = Thread(target=self._election.lead, args=(stop, lost), name="lease", daemon=True)
        self._thread.start()

    def ended(self) -> None:
        """Wait a little for the Lease to be given free."""
        if self._thread is not None:
            self._thread.join(1.0)


def leadership(chosen: Settings, paths: Sequence[str]) -> Leadership | None:
    """Return our place in the election, None where there is none. Raises SettingsError, SourceError."""
    if not chosen.leader_election:
        return None
    if paths:
        raise SettingsError("LEADER_ELECTION needs the cluster: it cannot be used with --from")
    from ksd_ddns.cluster.api import Api, own_namespace  # noqa: PLC0415 as above
    from ksd_ddns.cluster.lease import Election  # noqa: PLC0415 as above

    identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    return Leadership(Election(Api(), namespace=own_namespace(), name=_LEASE, identity=identity))
