# SPDX-License-Identifier: Apache-2.0
"""Two clusters and a person in one zone at the same time: each owner's names are correct, all others unchanged.

Two controllers with different owners follow clusters that want the same names, while a third party edits by nsupdate:
its own records of every type, names that the clusters want, records beside theirs, and records that are theirs.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.kube import Kube
from harness.servers import Key, Record, Server
from harness.vmis import vmi
from ksd_ddns.cli.timing import Timing
from ksd_ddns.zone.reconciler.timing import Timing as ZoneTiming
from tests.controller.conftest import Run
from tests.controller.running import Running
from tests.zone.build import VARIED

SECONDS = 6.0
SETTLED_WITHIN = 30.0
ZONE, REVERSE = "example.", "10.in-addr.arpa."
OWNERS = ("east", "west")
NAMESPACES, NAMES, NICS = ("prod", "test"), tuple("abcdef"), ("net1", "net2")
ADDRESSES = [f"10.1.0.{i}" for i in range(1, 30)]
V6 = [f"fd00::{i:x}" for i in range(1, 30)]
SSHFP = f"SSHFP 1 1 {19 * '12'}{{:02d}}"
OTHERS = (
    "A 192.0.2.{}",
    "AAAA 2001:db8::{}",
    'TXT "note {}"',
    "MX {} mail.example.",
    'CAA 0 issue "ca{}.example"',
    "SRV 1 2 {} www.example.",
    "TYPE65280 \\# 2 00{:02x}",
    'NAPTR 1 {} "s" "x" "" www.example.',
)
QUICK = Timing(zone=ZoneTiming(burst=10_000, first_retry=0.5))

Content = dict[str, dict[str, set[str]]]


class Cluster:
    """A cluster whose VMIs are added, changed and deleted, and the records for them."""

    def __init__(self, kube: Kube, seed: int) -> None:
        self.kube = kube
        self._random = random.Random(seed)
        self.vmis: dict[tuple[str, str], dict[str, list[str]]] = {}

    def change(self) -> None:
        """Add, change or delete one VMI."""
        namespace, name = self._random.choice(NAMESPACES), self._random.choice(NAMES)
        if (namespace, name) in self.vmis and self._random.random() < 0.35:
            del self.vmis[namespace, name]
            self.kube.delete(namespace, name)
            return
        interfaces = {}
        for nic in self._random.sample(NICS, self._random.randint(1, 2)):
            found = [self._random.choice(ADDRESSES)] if self._random.random() < 0.8 else []
            interfaces[nic] = found + ([self._random.choice(V6)] if self._random.random() < 0.5 else [])
        self.vmis[namespace, name] = interfaces
        self.kube.put(vmi(name, namespace, interfaces))

    def wanted(self) -> Content:
        """Return the addresses of each name that the VMIs want."""
        found: Content = defaultdict(lambda: defaultdict(set))
        for (namespace, name), interfaces in self.vmis.items():
            own = f"{name}.{namespace}.vm.{ZONE}"
            for nic in sorted(interfaces):
                for address in interfaces[nic]:
                    rdtype = "AAAA" if ":" in address else "A"
                    found[f"{nic}.{own}"][rdtype].add(address)
                    if not found[own][rdtype]:
                        found[own][rdtype].add(address)
        return {name: dict(rrsets) for name, rrsets in found.items() if any(rrsets.values())}

    def pointers(self) -> Content:
        """Return the targets of each reverse name."""
        found: dict[str, set[str]] = defaultdict(set)
        for (namespace, name), interfaces in self.vmis.items():
            for nic, addresses in interfaces.items():
                for address in addresses:
                    if ":" not in address:
                        reverse = ".".join(reversed(address.split(".")))
                        found[f"{reverse}.in-addr.arpa."].add(f"{nic}.{name}.{namespace}.vm.{ZONE}")
        return {name: {"PTR": targets} for name, targets in found.items()}


class Editor:
    """A person with nsupdate, and the records as last written: (owner, type) -> TTL and rdata."""

    def __init__(self, primary: Server, key: Path, seed: int) -> None:
        self._primary = primary
        self._key = key
        self._random = random.Random(seed)
        self.records: dict[str, set[Record]] = {ZONE: set(), REVERSE: set()}
        self.edits = 0

    def edit(self) -> None:
        """Change something."""
        shared = [f"{nic}{name}.{namespace}.vm.{ZONE}" for nic in ("net1.", "net2.", "")
                  for name in NAMES for namespace in NAMESPACES]  # fmt: skip
        reverse = [f"{i}.0.1.10.in-addr.arpa." for i in range(1, 30)]
        self._random.choice([
            self._own, self._own,
            lambda: self._take(ZONE, self._random.choice(shared), f"A 192.0.2.{self._random.randint(1, 9)}"),
            lambda: self._take(REVERSE, self._random.choice(reverse), "PTR gateway.example."),
            lambda: self._beside(ZONE, self._random.choice(shared)),
            lambda: self._beside(REVERSE, self._random.choice(reverse)),
            lambda: self._spoil(ZONE, self._random.choice(shared), f"A 203.0.113.{self._random.randint(1, 9)}"),
            lambda: self._spoil(REVERSE, self._random.choice(reverse), "PTR thief.example."),
            self._remove, self._remove,
        ])()  # fmt: skip

    def _send(self, zone: str, script: str) -> bool:
        self.edits += 1
        answer = self._primary.nsupdate(script, key=self._key, zone=zone, check=False)
        said = answer.stdout + answer.stderr
        assert not said or "update failed: " in said, said
        return not said

    def _own(self) -> None:
        """Add a record of any type to a name without another owner."""
        name = f"host{self._random.randint(1, 8)}.corp.{ZONE}"
        text = self._random.choice(OTHERS).format(self._random.randint(1, 9))
        if self._send(ZONE, f"update add {name} 300 {text}"):
            self.records[ZONE].add(Record(name, 300, *text.split(" ", 1)))

    def _take(self, zone: str, name: str, text: str) -> None:
        """Take a name that a VMI may want, if it is free."""
        if self._send(zone, f"prereq nxdomain {name}\nupdate add {name} 60 {text}"):
            self.records[zone].add(Record(name, 60, *text.split(" ", 1)))

    def _beside(self, zone: str, name: str) -> None:
        """Add a record of another type to a name of any owner."""
        text = self._random.choice(
            [SSHFP.format(self._random.randint(1, 9)), f'TXT "note {self._random.randint(1, 9)}"']
        )
        if self._send(zone, f"update add {name} 60 {text}"):
            self.records[zone].add(Record(name, 60, *text.split(" ", 1)))

    def _spoil(self, zone: str, name: str, text: str) -> None:
        """Add a record to an RRset that is published at a name."""
        if not any(record.owner == name for record in self.records[zone]):
            rdtype = text.partition(" ")[0]
            self._send(zone, f"prereq yxrrset {name} TXT\nprereq yxrrset {name} {rdtype}\nupdate add {name} 60 {text}")

    def _remove(self) -> None:
        """Remove one of our own records."""
        zone = self._random.choice([ZONE, ZONE, REVERSE])
        if self.records[zone]:
            record = self._random.choice(sorted(self.records[zone]))
            if self._send(zone, f"update delete {record.owner} {record.type} {record.rdata}"):
                self.records[zone].discard(record)


def state(primary: Server, zone: str) -> tuple[dict[str, set[str]], Content, set[Record]]:
    """Return the owner and the published records of each name, and all other records without the SOA."""
    owners: dict[str, set[str]] = defaultdict(set)
    records = primary.axfr(zone, soa=False)
    for record in records:
        if "heritage=ksd-ddns," in record.rdata:
            owners[record.owner].add(record.rdata.partition("owner=")[2].partition(",")[0])
    published: Content = defaultdict(lambda: defaultdict(set))
    rest = set()
    for record in records:
        if record.owner in owners and record.type in {"A", "AAAA", "PTR"}:
            published[record.owner][record.type].add(record.rdata)
        elif "heritage=ksd-ddns," not in record.rdata:
            rest.add(record)
    return owners, {name: dict(rrsets) for name, rrsets in published.items()}, rest


def faults(primary: Server, zone: str, wanted: dict[str, Content], kept: set[Record]) -> list[str]:
    """Return the differences from the expected state."""
    owners, published, rest = state(primary, zone)
    found = [f"{record} is gone" for record in sorted(kept - rest)]
    found += [f"{record} is there" for record in sorted(rest - kept)]
    foreign = {record.owner for record in kept}
    for name in {*owners, *published, *(name for content in wanted.values() for name in content)}:
        held_by = sorted(owners.get(name, ()))
        wanting = sorted(owner for owner in OWNERS if name in wanted[owner])
        if not wanting:
            found += [f"{name} is held by {held_by} without a wanting VMI"] if held_by else []
        elif not held_by:
            found += [] if name in foreign else [f"{name} is free, and {wanting} want it"]
        elif len(held_by) > 1 or held_by[0] not in wanting:
            found.append(f"{name} is held by {held_by}, and {wanting} want it")
        elif published.get(name) != wanted[held_by[0]][name]:
            found.append(f"{name} of {held_by[0]} is {published.get(name)}, not {wanted[held_by[0]][name]}")
    return found


@contextmanager
def busy(act: Callable[[], None], pause: float) -> Iterator[None]:
    """Repeat `act` on a thread during the block."""
    stop = threading.Event()
    mistakes: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                act()
                time.sleep(pause)
        except BaseException as e:  # noqa: BLE001 - raised again when the block ends
            mistakes.append(e)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
    if mistakes:
        raise mistakes[0]


RIGHTS: dict[str, Any] = {
    "bind": {
        "zone_options": """allow-transfer { key "ksd-ddns."; key "person."; }; update-policy {
            grant "ksd-ddns." subdomain vm.example. A AAAA TXT; grant "ksd-ddns." subdomain 10.in-addr.arpa. PTR TXT;
            grant "person." zonesub ANY; };"""
    },
    "knot": {
        "extra": """\
  - id: person
    key: person.
    action: [query, transfer, update]
  - id: read
    key: ksd-ddns.
    action: [query, transfer]
  - id: write
    key: ksd-ddns.
    action: update
    update-type: [A, AAAA, TXT, PTR]
    update-owner: name
    update-owner-match: sub-or-equal
    update-owner-name: [vm.example., 10.in-addr.arpa.]
""",
        "zone_options": "acl: [person, read, write]",
    },
}


@pytest.mark.parametrize("seed", [1, 2])
def test_each_owner_keeps_its_names_and_foreign_records_stay(
    make_either: Callable[..., Server], make_kube: Callable[..., Kube], run: Run, seed: int
) -> None:
    keys = [Key("ksd-ddns."), Key("person.")]
    primary = make_either(zones={ZONE: VARIED, REVERSE: "1.0.0 PTR www.example."}, keys=keys, **RIGHTS)
    given = {zone: set(primary.axfr(zone, soa=False)) for zone in (ZONE, REVERSE)}
    editor = Editor(primary, keys[1].file(primary.directory), seed)
    clusters = {owner: Cluster(make_kube(), seed + index) for index, owner in enumerate(OWNERS)}
    settings = {"DOMAIN": "example", "REVERSE_ZONES": "10.0.0.0/8", "HOLD_DOWN": "0s", "DRIFT_INTERVAL": "0.5s"}
    controllers: list[Running] = []
    for owner, cluster in clusters.items():
        cluster.change()
        more: dict[str, Any] = {"MAX_DELETE_PERCENT": 100, "OWNER_ID": owner}
        controllers.append(run(primary, cluster.kube, timing=QUICK, **settings, **more))
    for controller in controllers:
        controller.wait(lambda controller=controller: controller.get("/healthz")[0] == 200, "up")  # type: ignore[misc]
    with busy(clusters["east"].change, 0.03), busy(clusters["west"].change, 0.05), busy(editor.edit, 0.01):
        time.sleep(SECONDS / 2)
        controllers[0].kill()
        time.sleep(SECONDS / 8)
        controllers[0].start()
        time.sleep(SECONDS * 3 / 8)

    def wrong() -> list[str]:
        return [
            *faults(primary, ZONE, {owner: cluster.wanted() for owner, cluster in clusters.items()}, kept(ZONE)),
            *faults(
                primary, REVERSE, {owner: cluster.pointers() for owner, cluster in clusters.items()}, kept(REVERSE)
            ),
        ]

    def kept(zone: str) -> set[Record]:
        return given[zone] | editor.records[zone]

    deadline = time.monotonic() + SETTLED_WITHIN
    while wrong() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not wrong()
    time.sleep(1)
    assert not wrong(), "and it stays so"
    assert editor.edits > 3
    serials = [primary.serial(zone) for zone in (ZONE, REVERSE)]
    time.sleep(1)
    assert [primary.serial(zone) for zone in (ZONE, REVERSE)] == serials, "no unnecessary updates"
