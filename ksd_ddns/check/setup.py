# SPDX-License-Identifier: Apache-2.0
"""What is checked, and the results that later checks use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.session import Peer
from ksd_ddns.zone.desired import ReverseZone, Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Scope
from ksd_ddns.zone.reverse_search import ReverseSearch


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is checked.

    `vmis`, `every_vmi` and `owner` read the cluster or files, and may raise a KsdError. `every_vmi` ignores
    `namespaces` and `selector`. Call `rules` (with a zone and a base in it) and `scope` after `owner`. Records are
    published below `bases`; the first one is the base of the VMIs' names, and `zone` is its zone, if set. With
    `reverse_search` more reverse zones are looked for; `add_reverse_zones` takes those found, and returns all bases.
    `timeout` is in seconds.
    """

    peers: Sequence[Peer]
    timeout: float
    bases: Sequence[bytes]
    zone: bytes | None
    vmis: Callable[[], tuple[Vmi, ...]]
    owner: Callable[[], str]
    rules: Callable[[bytes, bytes], Rules]
    scope: Callable[[Rules], Scope]
    every_vmi: Callable[[], tuple[Vmi, ...]]
    reverse_search: ReverseSearch | None = None
    add_reverse_zones: Callable[[tuple[ReverseZone, ...]], Sequence[bytes]] = lambda _: ()
    namespaces: frozenset[str] = frozenset()
    selector: str = ""
    name_server: bool = False
    max_delete_percent: int = 30

    def zone_of(self, base: bytes) -> bytes | None:
        """Return the configured zone of `base`, None if there is none."""
        return self.zone if base == self.bases[0] else None


class Read(NamedTuple):
    """The zone of a base, as read from one server."""

    server: str
    live: Live


@dataclass(slots=True)
class Found:
    """The results so far; None means that it could not be read.

    `zones` are by base. `primaries` are the addresses of the servers that SOA records name. `bases` are all bases,
    once reverse zones have been looked for.
    """

    vmis: tuple[Vmi, ...] | None = None
    owner: str | None = None
    zones: dict[bytes, list[Read]] = field(default_factory=dict)
    primaries: dict[str, list[Server]] = field(default_factory=dict)
    bases: Sequence[bytes] = ()
