"""Where the VMIs of a command come from: a file, or the cluster; and whose names they are."""

import os

from ksd_ddns import source
from ksd_ddns.cli.progress import Steps
from ksd_ddns.controller import Source
from ksd_ddns.errors import SettingsError
from ksd_ddns.settings import Settings
from ksd_ddns.source.follow import Follow
from ksd_ddns.zone.vmi import Vmi


def vmis(chosen: Settings, path: str, step: Steps) -> tuple[Vmi, ...]:
    """Return the VMIs that the file at `path`, or with an empty path the cluster, holds now."""
    step("reading VMIs", 0, None)
    if path:
        return source.read(
            path,
            namespaces=chosen.namespaces,
            selector=chosen.label_selector,
            progress=lambda part: step("reading VMIs", round(100 * part), 100),
        )
    from ksd_ddns.cluster.watch import watches  # noqa: PLC0415 half a second, for those only who ask a cluster

    return tuple(
        vmi for watch in watches(namespaces=chosen.namespaces, selector=chosen.label_selector) for vmi in watch.vmis()
    )


def followed(chosen: Settings, path: str) -> tuple[Source, ...]:
    """Return the sources that tell what the file at `path`, or with an empty path the cluster, holds from now on."""
    if path == source.STDIN:
        raise SettingsError("run --from -: standard input cannot be followed; name a file")
    if path:
        return (Follow(path, namespaces=chosen.namespaces, selector=chosen.label_selector),)
    from ksd_ddns.cluster.watch import watches  # noqa: PLC0415 as above

    return watches(namespaces=chosen.namespaces, selector=chosen.label_selector)


def owning(chosen: Settings, path: str | None) -> Settings:
    """Return the settings with the owner ID that they go by.

    Without OWNER_ID it is the UID of the cluster's namespace kube-system, so that clusters that share a zone do not
    need to be told apart by hand; with a file it is `default`. `path` is None where nothing says which of the two:
    then it is the cluster's where one is set up by KUBECONFIG or by a pod's service account.
    """
    if path is None and not (os.environ.get("KUBECONFIG") or os.environ.get("KUBERNETES_SERVICE_HOST")):
        path = source.STDIN
    if chosen.owner_id or path:
        return chosen
    from ksd_ddns.cluster.api import Api, uid_of_namespace  # noqa: PLC0415 as above

    return chosen.model_copy(update={"owner_id": uid_of_namespace(Api(), "kube-system")})
