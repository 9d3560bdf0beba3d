"""What is checked, and what the checks have found so far that others build on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.session import Peer
from ksd_ddns.zone.desired import Rules
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is checked.

    `vmis` and `owner` ask the cluster, or files, and may raise a KsdError, as may `every_vmi`, which asks for those
    that `namespaces` and `selector` leave out, too; `rules` (of a zone, and a base in it) and
    `scope` are asked for after `owner`. `bases` are the names below which records are published, that of the VMIs'
    names first, `zone` is the zone of that one where it is set. `timeout` is in seconds.
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
    namespaces: frozenset[str] = frozenset()
    selector: str = ""
    name_server: bool = False
    max_delete_percent: int = 30

    def zone_of(self, base: bytes) -> bytes | None:
        """Return the zone of `base` where it is set."""
        return self.zone if base == self.bases[0] else None


class Read(NamedTuple):
    """The zone of a base as one server holds it."""

    server: str
    live: Live


@dataclass(slots=True)
class Found:
    """What the checks have found so far; None is what could not be read.

    `zones` are by base, `primaries` are where the servers may be that SOA records name.
    """

    vmis: tuple[Vmi, ...] | None = None
    owner: str | None = None
    zones: dict[bytes, list[Read]] = field(default_factory=dict)
    primaries: dict[str, list[Server]] = field(default_factory=dict)
