# SPDX-License-Identifier: Apache-2.0
"""What the status page shows, made by real reconcilers on model primaries: zones, VMs, and their problems."""

import http.client
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.status import About, StatusServer
from ksd_ddns.sync.explain import Explainer, Look
from ksd_ddns.sync.snapshot import Snapshot
from ksd_ddns.sync.status import Status
from ksd_ddns.sync.vm_index import VmIndex, VmRow
from ksd_ddns.sync.zone_vms import ZoneVms
from ksd_ddns.wire import names
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.desired import desired
from ksd_ddns.zone.owned import Owned
from ksd_ddns.zone.reconciler.events import Accepted, Planned, Wait, ZoneRead
from tests.zone.build import BASE, REVERSE, ZONE, node, ns, records, reverse_rules, soa, txt_rules, vmi
from tests.zone.reconciler.model import REFUSED, Server, World

T = TypeVar("T")

SERVER = "10.0.0.53:53"


class Zone:
    """One zone: its world, and what its controller publishes."""

    def __init__(self, index: VmIndex, number: int, world: World) -> None:
        self.world = world
        self.status = Status()
        self.vms = ZoneVms(index, number, world.reconciler)
        self._used = 0

    def publish(self) -> None:
        """Publish as the controller does when it has nothing else to do."""
        facts, now = self.world.facts[self._used :], self.world.now
        self._used = len(self.world.facts)
        self.vms.use(facts, now)
        for fact in facts:
            if isinstance(fact, Accepted):
                self.status.count_change(fact, now)
            elif isinstance(fact, Planned):
                self.status.record_plan(fact)
        while self.vms.publish(now, idle=True):
            pass
        zone = names.to_text(self.world.reconciler.zone)
        self.status.publish(self.world.reconciler, server=SERVER, zone=zone, now=now, transfers={})


class Site:
    """A main zone, perhaps a reverse zone, and the server of their status pages."""

    def __init__(self, *servers: Server, about: About | None = None, hosts: Iterable[str] = ()) -> None:
        found = servers or (Server(),)
        self.index = VmIndex(len(found))
        self.zones: list[Zone] = []
        for number, server in enumerate(found):
            rules = reverse_rules() if server.zone == REVERSE else txt_rules()
            world = World(server, rules=rules, now=time.monotonic())
            self.zones.append(Zone(self.index, number, world))
        self.objects: dict[str, VmiObject] = {}
        self.about = about or About(owner="test", base=names.to_text(BASE))
        self._hosts = tuple(hosts)

    def __enter__(self) -> Self:
        self.server = StatusServer(
            "127.0.0.1",
            0,
            self.snapshots,
            self.owned,
            vms=self.index,
            about=lambda: self.about,
            names=self._hosts,
            explainer=Explainer(self, self._read, Selection(), hold_down=300.0),
        )
        self.server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.close()

    @property
    def main(self) -> World:
        """The world of the main zone."""
        return self.zones[0].world

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server.port}/"

    @property
    def base(self) -> bytes:
        """The base of the main zone."""
        return BASE

    def ask(self, look: Look[T]) -> list[Future[T]]:
        """Ask the reconciler of each zone, as the controllers do."""
        found: list[Future[T]] = []
        for zone in self.zones:
            found.append(Future())
            found[-1].set_result(look(zone.world.reconciler, SERVER, zone.world.now))
        return found

    def _read(self, key: str) -> VmiObject | None:
        """Return the VMI as the API server has it; the source fails for those that a test has not put there."""
        if key in self.objects:
            return self.objects[key]
        if self.main.reconciler.inventory.get(key) is None:
            return None
        raise SourceError("the API server does not answer")

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the state of each zone, none on standby."""
        return () if self.about.standby else tuple(zone.status.snapshot for zone in self.zones)

    def owned(self) -> tuple[Owned | None, ...]:
        """Return what is owned in each zone."""
        return tuple(Owned(zone.world.reconciler.live, zone.world.reconciler.scope) for zone in self.zones)

    def report(self, *vmis: Vmi, seconds: float = 1.0, most: int = 2_000) -> None:
        """Report all VMIs, and let all zones work."""
        for zone in self.zones:
            zone.world.report(*vmis)
        self.run(seconds, most=most)

    def load(self, *vmis: Vmi) -> None:
        """Report all VMs when the main zone holds what they want already: the model primaries are slow to fill."""
        world, now = self.main, self.main.now
        wanted = desired(vmis, txt_rules())
        nodes = [node(ZONE, ns("ns.elsewhere.")), *(item for name in wanted.names() if (item := wanted.get(name)))]
        transfer = Transfer(ZONE)
        transfer.feed([soa(1), *records(nodes), soa(1)])
        world.report(*vmis)
        world.reconciler.handle(ZoneRead(transfer, now), now)
        assert isinstance(world.step(), Wait), "it is not in sync"
        self.zones[0].publish()

    def run(self, seconds: float = 1.0, *, most: int = 2_000) -> None:
        """Let all zones work for `seconds`, and publish."""
        for zone in self.zones:
            zone.world.run(seconds, most=most)
            zone.publish()

    def publish(self) -> None:
        """Publish what is known now."""
        for zone in self.zones:
            zone.publish()

    def row(self, key: str) -> VmRow:
        """Return the row of a VM."""
        found = self.index.get(key)
        assert found is not None, f"{key} has no row"
        return found

    def standby(self, leader: str) -> None:
        """Become a standby."""
        self.about = replace(self.about, standby=True, leader=leader)

    def request(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status code, headers with names in lower case, and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> str:
        """Return a page."""
        code, _, body = self.request(path)
        assert code == 200, body
        return body.decode()


def fleet(count: int, interfaces: int = 1, *, first: int = 0) -> list[Vmi]:
    """Return many VMs in some namespaces."""
    return [
        vmi(
            f"vm-{number:05}",
            f"team-{number % 20:02}",
            {f"net{nic}": [f"10.{nic}.{number // 250}.{number % 250 + 1}"] for nic in range(1, interfaces + 1)},
            created=number,
        )
        for number in range(first, first + count)
    ]


def underscores(name: bytes) -> int:
    """Refuse what is not a host name, as BIND does."""
    return REFUSED if b"_" in name else 0
