# SPDX-License-Identifier: Apache-2.0
"""Checks a setup step by step, and yields a finding for each step: what is wrong, and the fix.

Nothing is changed: the zone is only read, and permissions are tested with updates that cannot have an effect. If a step
fails, the steps that depend on it are reported as not checked.
"""

from collections.abc import Iterator

from ksd_ddns.check import content, server
from ksd_ddns.check.finding import Finding, Sign, failed, ok, skipped, warning
from ksd_ddns.check.setup import Found, Setup
from ksd_ddns.errors import KsdError
from ksd_ddns.kubevirt.vmi import Vmi

SHOWN = 5
"""Maximum number of namespaces in a message."""

__all__ = ["Finding", "Setup", "Sign", "failed", "findings", "ok", "skipped", "warning"]


def findings(setup: Setup) -> Iterator[Finding]:
    """Check everything; yield each finding as soon as it is known."""
    found = Found()
    yield from _cluster(setup, found)
    for peer in setup.peers:
        yield from server.findings(setup, peer, found)
    for base in (found.bases or setup.bases) if setup.peers else ():
        yield from content.findings(setup, base, found)


def _cluster(setup: Setup, found: Found) -> Iterator[Finding]:
    try:
        found.vmis = setup.vmis()
    except KsdError as e:
        yield failed("VMIs", "", e)
    else:
        yield _vmis(found.vmis) if found.vmis else _no_vmis(setup)
    try:
        found.owner = setup.owner()
    except KsdError as e:
        yield failed("owner", "", e)
    else:
        yield ok("owner", "", found.owner)


def _vmis(vmis: tuple[Vmi, ...]) -> Finding:
    with_addresses = sum(1 for vmi in vmis if any(interface.addresses for interface in vmi.interfaces))
    text = f"{len(vmis)} can be read, {with_addresses} of them with addresses of secondary interfaces"
    if with_addresses:
        return ok("VMIs", "", text)
    fix = "install the guest agent (qemu-guest-agent) in the VMs, or use a network where KubeVirt knows the addresses"
    return warning("VMIs", "", text, fix)


def _no_vmis(setup: Setup) -> Finding:
    """Report that no VMI exists, or that NAMESPACES and LABEL_SELECTOR match none of the existing ones."""
    nothing = "0 can be read, 0 of them with addresses of secondary interfaces"
    if not setup.namespaces and not setup.selector:
        return ok("VMIs", "", nothing)
    named = (("NAMESPACES", setup.namespaces), ("LABEL_SELECTOR", setup.selector))
    names = " and ".join(name for name, value in named if value)
    fix = f"correct {names}: apply would delete the published names"
    try:
        every = setup.every_vmi()
    except KsdError:  # the account may be limited to some namespaces
        return warning("VMIs", "", f"no VMI matches {names}", fix)
    if not every:
        return ok("VMIs", "", nothing)
    inside = [vmi for vmi in every if not setup.namespaces or vmi.namespace in setup.namespaces]
    if setup.namespaces and not inside:
        there = sorted({vmi.namespace for vmi in every})
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        text = f"0 of {len(every)} VMIs match NAMESPACES; they are in {', '.join(there[:SHOWN])}{more}"
    else:
        text = f"0 of {len(inside)} VMIs match LABEL_SELECTOR ({setup.selector})"
    return warning("VMIs", "", text, fix)
