# SPDX-License-Identifier: Apache-2.0
"""What `plan`, `apply` and `list` do in each zone."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from ksd_ddns.cli import output
from ksd_ddns.cli.progress import Steps
from ksd_ddns.cli.session import warn
from ksd_ddns.config import zones
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import KsdError
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.session import Session
from ksd_ddns.sync.one_pass import OnePass, enclosing_zone
from ksd_ddns.wire import names
from ksd_ddns.zone.render import message

_T = TypeVar("_T")


def in_each_zone(chosen: Settings, action: Callable[[bytes], _T]) -> tuple[list[_T], int]:
    """Run `action` for each base; return its results and the exit code. One failing zone does not stop the others."""
    bases = zones.bases(chosen)
    if len(bases) == 1:
        return [action(bases[0])], 0
    results, code = [], 0
    for base in bases:
        try:
            results.append(action(base))
        except KsdError as e:
            output.say(f"error: {names.to_text(base)}: {e}")
            code = max(code, e.exit_code)
    return results, code


def one_pass(
    chosen: Settings, session: Session, base: bytes, vmis: Iterable[Vmi], step: Steps, *, hold_down: float = 0.0
) -> OnePass:
    """Return a pass over the zone that holds `base`, for `vmis`; addresses are held for `hold_down` seconds."""
    step("connecting to the primary", 0, None)
    zone = (chosen.zone if base == chosen.base else None) or enclosing_zone(session, base)
    rules = zones.rules(chosen, zone, base)
    if chosen.name_server_ip and base == chosen.base != zone:
        shown, apex = names.to_text(base), names.to_text(zone)
        warn(f"NAME_SERVER_IP is not published: {shown} is not the apex of {apex}, an NS there would be a delegation")
    return OnePass(
        session,
        vmis,
        zone=zone,
        rules=rules,
        scope=zones.scope(chosen, rules),
        limits=zones.limits(chosen),
        max_delete_percent=chosen.max_delete_percent,
        hold_down=hold_down,
        step=step,
    )


def warn_about_vmis(one: OnePass) -> None:
    """Print a warning for everything in the VMIs that cannot be published."""
    for warning in one.reconciler.desired.warnings():
        warn(f"VMI {warning.vmi}: {message.warning(warning)}")
