# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns explain`: why a VM or a name is in DNS, or is not."""

import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ksd_ddns import vmifile
from ksd_ddns.cli import options, output, remote, reverse_zones, settings, sources
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import session as open_session
from ksd_ddns.cli.zones import in_each_zone, one_pass
from ksd_ddns.config import zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SettingsError
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.primary.session import Session
from ksd_ddns.sync.explain import Explainer
from ksd_ddns.sync.one_pass import OnePass
from ksd_ddns.wire import names
from ksd_ddns.zone import explain
from ksd_ddns.zone.explain import NameAnswer, Viewpoint, VmiView
from ksd_ddns.zone.render import explained
from ksd_ddns.zone.render.explain_text import Text
from ksd_ddns.zone.render.explained import Document

_READ_WITHIN = 30.0
"""Seconds that the API server may take for one VMI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(options.Options):
    """Options of `explain`."""

    what: str = options.flag(
        "what",
        metavar="NAMESPACE/VM|NAME",
        help="a VM (prod/db), a name (web.prod), or an address",
    )
    namespace: str = options.flag(
        "-n", "--namespace", default="", metavar="NAME", help="namespace of the VM: explain db -n prod"
    )
    source: tuple[str, ...] = options.source_flag("read VMIs from FILE (-: stdin), not the cluster")
    output: str = options.output_flag("text", "json")
    url: str = options.flag(
        "--url",
        default="",
        metavar="URL",
        help="ask a running controller: http://127.0.0.1:8081",
    )


def main(asked: Options) -> int:
    """Print the explanation."""
    if asked.namespace:
        asked = replace(asked, what=_in_namespace(asked.namespace, asked.what))
    if explain.is_vmi(asked.what) and not explain.is_vmi_key(asked.what):
        raise SettingsError(f"{asked.what!r} is not a VM: write NAMESPACE/VM, such as prod/db")
    if asked.url and asked.source:
        raise SettingsError("--url and --from exclude each other: the controller has its own source of VMIs")
    found, code = (remote.explanation(asked.url, asked.what), 0) if asked.url else _explain(asked)
    if found is None:
        return code
    if asked.output == "json":
        output.document(explained.encoded(found))
    else:
        width = shutil.get_terminal_size().columns if output.is_terminal() else None
        output.lines(Text(found, zone=None, width=width).lines())
    return code or int(not found.complete)


def _in_namespace(namespace: str, what: str) -> str:
    """Return the VM `what` of a namespace, which it may name itself. Raises SettingsError if that is another one."""
    given, slash, _ = what.partition("/")
    if slash and given != namespace:
        raise SettingsError(f"--namespace = {namespace!r}, but {what!r} is in another namespace: give one of the two")
    return what if slash else f"{namespace}/{what}"


def _explain(asked: Options) -> tuple[Document | None, int]:
    """Return the explanation from the cluster or the files, and the primary; without one, the exit code."""
    chosen = settings.load(asked)
    key = asked.what if explain.is_vmi(asked.what) else ""
    name = b"" if key else _name(asked.what, chosen)
    with Steps() as step, closing(open_session(chosen)) as session:
        vmis, obj = _vmis(chosen, asked.source, key, step)
        chosen, _ = reverse_zones.found(sources.owning(chosen, asked.source), session, vmis, step)

        def make_plan(base: bytes) -> tuple[OnePass, Viewpoint]:
            one = one_pass(chosen, session, base, vmis, step, hold_down=chosen.hold_down)
            one.plan()
            return one, _viewpoint(session)

        def view(base: bytes) -> VmiView:
            one, at = make_plan(base)
            return explain.vmi_view(one.reconciler, key, at, time.monotonic())

        def answer(base: bytes) -> NameAnswer:
            one, at = make_plan(base)
            if names.is_below(name, one.reconciler.zone):
                one.read_name(name)
            return explain.name_view(one.reconciler, name, at, time.monotonic())

        if key:
            views, code = in_each_zone(chosen, view)
            if not views:
                return None, code
            return explained.vmi(explain.vmi(key, obj, views, chosen.selection), Explainer.clock()), code
        answers, code = in_each_zone(chosen, answer)
        return (explained.name(explain.best(answers), Explainer.clock()) if answers else None), code


def _name(text: str, chosen: Settings) -> bytes:
    try:
        return explain.name_of(text, zones.bases(chosen)[0])
    except ValueError as e:
        raise SettingsError(str(e)) from e


def _viewpoint(session: Session) -> Viewpoint:
    return Viewpoint(server=str(session.server), sends=False, full_zone=True)


def _vmis(chosen: Settings, paths: Sequence[str], key: str, step: Steps) -> tuple[tuple[Vmi, ...], VmiObject | None]:
    """Return the VMIs that are published, and the VMI `key` as it is in the API or the files, if there is one."""
    if not paths:
        obj = sources.vmi_object(key, within=_READ_WITHIN) if key else None
        return sources.vmis(chosen, paths, step), obj
    sources.check_paths(paths)
    found = [(path, vmifile.read_objects(path)) for path in paths]
    selection = chosen.selection
    vmis = vmifile.merged((path, tuple(map(selection.parse, objects))) for path, objects in found)
    every = [obj for _, objects in found for obj in objects]
    selected = tuple(vmi for vmi, obj in zip(vmis, every, strict=True) if selection.includes(obj))
    return selected, next((obj for obj in every if obj.key == key), None)
