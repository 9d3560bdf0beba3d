"""Walks through a set-up, and says of each thing that can be wrong whether it is, and what cures it.

It changes nothing: the zone is read, and rights are asked for with messages that cannot have an effect. What depends on
something that failed is not checked, and said to be so.
"""

from collections.abc import Iterator

from ksd_ddns.check import content, server
from ksd_ddns.check.finding import Finding, Sign, failed, ok, skipped, warning
from ksd_ddns.check.setup import Found, Setup
from ksd_ddns.errors import KsdError
from ksd_ddns.zone.vmi import Vmi

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
        yield _vmis(found.vmis)
    try:
        found.owner = setup.owner()
    except KsdError as e:
        yield failed("owner", "", e)
    else:
        yield ok("owner", "", found.owner)


def _vmis(vmis: tuple[Vmi, ...]) -> Finding:
    with_addresses = sum(1 for vmi in vmis if any(interface.addresses for interface in vmi.interfaces))
    text = f"{len(vmis)} can be read, {with_addresses} of them with addresses of secondary interfaces"
    if with_addresses or not vmis:
        return ok("VMIs", "", text)
    cure = "addresses come from the guest agent in the VMs (qemu-guest-agent), or from the network: is one there?"
    return warning("VMIs", "", text, cure)
