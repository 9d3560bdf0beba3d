# SPDX-License-Identifier: Apache-2.0
"""The annotations `ksd-ddns/group` and `ksd-ddns/group-ports`: the groups that a VMI is a member of, and its services.

Anyone who can write a VMI can write a megabyte: what is read and kept of it is bounded.
"""

import re

import msgspec

MAX_ENTRIES = 1000
"""Entries of an annotation that are read: more than the settings allow to be published."""

MAX_PORTS = 100
"""Ports that are read: each gives every group a name of its own."""

_LONGEST = 256
_SERVICE = re.compile(r"(?=[0-9-]*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*\Z")


class Membership(msgspec.Struct, frozen=True, gc=False):
    """That a VMI is a member of `group`, with the addresses of `interface`; of the default record if it is empty."""

    group: str
    interface: str = ""


class Port(msgspec.Struct, frozen=True, gc=False):
    """A service that the VMI provides in its groups: its name (RFC 6335, 5.1), port number, and `tcp` or `udp`."""

    name: str
    number: int
    protocol: str = "tcp"


def memberships(text: str) -> tuple[tuple[Membership, ...], bool]:
    """Return the groups of `group[=interface], ...`, and whether all entries have a name; of one group the first."""
    if not text.strip():
        return (), True
    found: dict[str, Membership] = {}
    named = True
    for piece in text.split(",", MAX_ENTRIES)[:MAX_ENTRIES]:
        group, _, interface = piece[: 2 * _LONGEST].partition("=")
        group, interface = group.strip()[:_LONGEST], interface.strip()
        if group.isascii():  # the lower case of the Kelvin sign is k
            group = group.lower()
        if group:
            found.setdefault(group, Membership(group, interface))
        else:
            named = False
    return tuple(found.values()), named


def ports(text: str) -> tuple[tuple[Port, ...], str | None]:
    """Return the ports of `name=port[/protocol], ...`, and the first entry that is no port, None if there is none."""
    if not text.strip():
        return (), None
    found: dict[Port, None] = {}
    wrong: str | None = None
    for piece in text.split(",", MAX_PORTS)[:MAX_PORTS]:
        port = _port(piece[:_LONGEST])
        if port is not None:
            found[port] = None
        elif wrong is None:
            wrong = piece.strip()
    return tuple(found), wrong


def _port(piece: str) -> Port | None:
    name, _, rest = piece.lower().partition("=")
    number, slash, protocol = rest.partition("/")
    name, number, protocol = name.strip(), number.strip(), protocol.strip() if slash else "tcp"
    if not piece.isascii() or len(name) > 15 or not _SERVICE.match(name) or protocol not in {"tcp", "udp"}:
        return None
    if not (number.isdigit() and len(number) <= 5 and 1 <= int(number) <= 65_535):
        return None
    return Port(name, int(number), protocol)
