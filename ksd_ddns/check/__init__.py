"""Walks through a set-up, and says of each thing that can be wrong whether it is, and what cures it.

It changes nothing: the zone is read, and rights are asked for with messages that cannot have an effect. What depends on
something that failed is not checked, and said to be so.
"""

from collections.abc import Iterator

from ksd_ddns.check import content, server
from ksd_ddns.check.finding import Finding, Sign, failed, ok, skipped, warning
from ksd_ddns.check.setup import Found, Setup
from ksd_ddns.errors import KsdError
from ksd_ddns.kubevirt.vmi import Vmi

SHOWN = 5
"""How many namespaces are named, at most."""

__all__ = ["Finding", "Setup", "Sign", "failed", "findings", "ok", "skipped", "warning"]


def findings(setup: Setup) -> Iterator[Finding]:
    """Check everything; yield each finding as soon as it is there."""
    found = Found()
    yield from _cluster(setup, found)
    for peer in setup.peers:
        yield from server.findings(setup, peer, found)
    for base in setup.bases if setup.peers else ():
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
    cure = "addresses come from the guest agent in the VMs (qemu-guest-agent), or from the network: is one there?"
    return warning("VMIs", "", text, cure)


def _no_vmis(setup: Setup) -> Finding:
    """Say that there is no VMI, or that NAMESPACES and LABEL_SELECTOR match none of those that there are."""
    nothing = "0 can be read, 0 of them with addresses of secondary interfaces"
    if not setup.namespaces and not setup.selector:
        return ok("VMIs", "", nothing)
    named = (("NAMESPACES", setup.namespaces), ("LABEL_SELECTOR", setup.selector))
    names = " and ".join(name for name, value in named if value)
    cure = f"correct {names}: names that are in the zone would be deleted"
    try:
        every = setup.every_vmi()
    except KsdError:  # it may be that only some namespaces can be read
        return warning("VMIs", "", f"no VMI matches {names}", cure)
    if not every:
        return ok("VMIs", "", nothing)
    inside = [vmi for vmi in every if not setup.namespaces or vmi.namespace in setup.namespaces]
    if setup.namespaces and not inside:
        there = sorted({vmi.namespace for vmi in every})
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        text = f"0 of {len(every)} VMIs match NAMESPACES; they are in {', '.join(there[:SHOWN])}{more}"
    else:
        text = f"0 of {len(inside)} VMIs match LABEL_SELECTOR ({setup.selector})"
    return warning("VMIs", "", text, cure)
