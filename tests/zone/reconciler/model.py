# SPDX-License-Identifier: Apache-2.0
"""A model primary in memory, with faults, and a driver that performs the actions of a reconciler. No I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isfinite

from ksd_ddns.errors import Denied, PrimaryError, Unreachable, ZoneChanged
from ksd_ddns.kubevirt.events import SourceEvent, SourceFailed, VmiChanged, VmiDeleted, VmisListed
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Record
from ksd_ddns.wire.rrset import TXT, A, Node, RRset, rrset
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.answer import Answer, Result
from ksd_ddns.zone.answers import Answers
from ksd_ddns.zone.desired import Desired, Rules
from ksd_ddns.zone.index import Entry, Index
from ksd_ddns.zone.plan import Change, Scope
from ksd_ddns.zone.reconciler import Options, Reconciler
from ksd_ddns.zone.reconciler.events import (
    Action,
    CheckSerial,
    Fact,
    NotifyReceived,
    PrimaryFailed,
    ReadChanges,
    ReadNames,
    ReadZone,
    Send,
    SerialChecked,
    UpdateAnswered,
    UpdateFinished,
    Wait,
    ZoneRead,
)
from ksd_ddns.zone.update import Batch, Limits, batches, touch
from tests.zone.build import ZONE, Primary, node, ns, records, scope, soa, txt_rules

REFUSED, SERVFAIL, NOTAUTH = 5, 2, 9
DNSKEY = rrset(48, 300, [b"\1\0\3\15key"])
UNREACHABLE = Unreachable("10.0.0.53:53 did not answer within 1 s")
ROUND_TRIP = 0.001
"""Seconds that each exchange with the primary takes."""


class Server:
    """A primary that follows RFC 2136, with the faults in its attributes."""

    def __init__(self, *nodes: Node, zone: bytes = ZONE, serial: int = 1, signed: bool = False) -> None:
        self.zone = zone
        apex = node(zone, ns("ns.elsewhere."), *([DNSKEY] if signed else []))
        self._primary = Primary(zone, [apex, *nodes])
        self._shown: dict[bytes, Node] = self._primary.nodes()
        self._shown_serial = serial
        self._history: dict[int, dict[bytes, Node]] = {serial: self._shown}
        self.serial = serial
        self.reached = 0
        self.refuses: dict[bytes, int] = {}  # the rcode for refused names
        self.refuses_name: Callable[[bytes], int] = lambda _: 0
        self.frozen = 0  # the rcode of every update
        self.drops: set[bytes] = set()  # NOERROR, and nothing happens at these names
        self.drops_txt = False
        self.keeps_ttl = False  # a TTL changes only when the RRset was not there before the message
        self.max_ttl: int | None = None
        self.rewrites: Callable[[Node], Node] | None = None  # what a prerequisite meets instead of a node
        self.hides = False  # accepted changes are not shown
        self.stands = False  # the serial never changes
        self.whole_only = False  # no IXFR
        self.down = False
        self.loses = 0  # messages that are not answered, and not applied
        self.loses_answers = 0  # messages that are applied, and not answered
        self.fails_answers = 0  # messages that are applied, and answered with SERVFAIL

    @property
    def nodes(self) -> dict[bytes, Node]:
        """What the zone holds."""
        return self._primary.nodes()

    def get(self, name: bytes) -> Node:
        """Return what the zone holds at `name`."""
        return self.nodes.get(name) or Node(name)

    def put(self, item: Node) -> None:
        """Change the zone as an admin does."""
        self._primary.put(item)
        self._changed()

    def show(self) -> None:
        """Publish the accepted changes."""
        if self._shown != self.nodes:
            self._shown = self.nodes
            if not self.stands:
                self._shown_serial += 1
        self._history[self._shown_serial] = self._shown

    @property
    def shown_serial(self) -> int:
        """The serial that a query is answered with."""
        return self._shown_serial

    def restore(self, nodes: Iterable[Node], serial: int) -> None:
        """Restore the zone from a backup."""
        signed = self.get(self.zone).get(48) is not None
        self._primary = Primary(
            self.zone, [node(self.zone, ns("ns.elsewhere."), *([DNSKEY] if signed else [])), *nodes]
        )
        self._shown, self._shown_serial = self.nodes, serial
        self._history = {serial: self._shown}

    def transfer(self, asked: int | None) -> Transfer:
        """Return the answer to AXFR, or to IXFR from a serial."""
        found = Transfer(self.zone, asked)
        serial = self._shown_serial
        at = soa(serial, zone=self.zone)
        if asked is not None and not self.whole_only:
            if serial == asked or (serial - asked) % 2**32 >= 2**31:
                found.feed([at])
                return found
            if asked in self._history:
                gone, come = _delta(self._history[asked], self._shown)
                found.feed([at, soa(asked, zone=self.zone), *gone, at, *come, at])
                return found
        found.feed([at, *records(self._shown.values()), at])
        return found

    def answers(self, spots: Iterable[Node], types: Iterable[int]) -> frozenset[bytes]:
        """Return the names of `spots` whose records of `types` are not what a query is answered with."""
        chosen = set(types)
        wrong = set()
        for spot in spots:
            found = self._shown.get(spot.name) or Node(spot.name)
            wrong |= {spot.name for item in spot.rrsets if item.type in chosen and found.get(item.type) != item}
        return frozenset(wrong)

    def answer(self, action: ReadNames, index: Index, known: Callable[[bytes], tuple[Entry, ...]]) -> Answers:
        """Return the answers to queries for names, and for what the index lists."""
        parts = set(action.shards)
        if action.full:
            head = self._shown.get(index.head) or Node(index.head)
            parts = set(index.all_shards(index.shards(head)))
        listed: dict[bytes, list[Entry]] = {}
        for shard in parts:
            found = self._shown.get(shard)
            for name, entry in index.entries(shard, found.get(TXT) if found else None):
                listed.setdefault(name, []).append(entry)
        asked = {*action.names, *([self.zone, index.head] if action.full else [])}
        asked |= {name for name, entries in listed.items() if action.full or not set(entries) <= set(known(name))}
        nodes = {}
        for name in asked:
            others = [] if action.full else [entry for entry in known(name) if entry[0] not in parts]
            entries = tuple(sorted({*listed.get(name, []), *others}))
            found = (self._shown.get(name) or Node(name)).with_index(entries)
            if found.rrsets or found.index:
                nodes[name] = found
        return Answers(self._shown_serial, asked, nodes, set(), action.full)

    def update(self, batch: Batch) -> tuple[Result, int | None]:
        """Process one message."""
        if self.loses:
            self.loses -= 1
            return Result.UNKNOWN, None
        rcode = self._refusal(batch)
        if rcode:
            return (Result.FAILED if rcode == SERVFAIL else Result.REFUSED), rcode
        before = self.nodes
        if self.rewrites is not None:
            for item in before.values():
                self._primary.put(self.rewrites(item))
        mnemonic = self._primary.update(batch.prerequisites, batch.updates)
        if self.rewrites is not None:
            for item in before.values():
                if mnemonic != "NOERROR" or item.name not in {change.name for change in batch.changes}:
                    self._primary.put(item)
        if mnemonic in {"YXDOMAIN", "NXDOMAIN", "YXRRSET", "NXRRSET"}:
            return Result.STALE, None
        assert mnemonic == "NOERROR", mnemonic
        for name in {statement[0] for statement in batch.updates}:
            self._spoil(before.get(name) or Node(name))
        if self.nodes != before:
            self._changed()
        if self.loses_answers:
            self.loses_answers -= 1
            return Result.UNKNOWN, None
        if self.fails_answers:
            self.fails_answers -= 1
            return Result.FAILED, SERVFAIL
        return Result.ACCEPTED, 0

    def _refusal(self, batch: Batch) -> int:
        if self.frozen:
            return self.frozen
        touched = {statement[0] for statement in batch.updates}
        changing = {change.name for change in batch.changes if change.old != change.new} & touched
        found = [rcode for name in changing if (rcode := self.refuses.get(name, 0) or self.refuses_name(name))]
        return found[0] if found else 0

    def _spoil(self, before: Node) -> None:
        """Apply the faults of this server to an accepted change."""
        if not (self.drops or self.drops_txt or self.keeps_ttl) and self.max_ttl is None:
            return
        after = self.get(before.name)
        if before.name in self.drops:
            after = before
        if self.drops_txt and before.get(TXT) is None:
            after = after.with_rrsets((), types=(TXT,))
        if self.keeps_ttl:
            there = {item.type: item.ttl for item in before.rrsets}
            after = Node(after.name, tuple(RRset(i.type, there.get(i.type, i.ttl), i.rdatas) for i in after.rrsets))
        if self.max_ttl is not None:
            most = self.max_ttl
            after = Node(after.name, tuple(RRset(i.type, min(i.ttl, most), i.rdatas) for i in after.rrsets))
        self._primary.put(after)

    def _changed(self) -> None:
        if not self.hides:
            self.show()


def _delta(before: dict[bytes, Node], after: dict[bytes, Node]) -> tuple[list[Record], list[Record]]:
    old, new = set(records(before.values())), set(records(after.values()))
    return sorted(old - new), sorted(new - old)


@dataclass
class World:
    """One reconciler on one server, and the source of its VMIs; time passes only here."""

    server: Server
    rules: Rules = field(default_factory=txt_rules)
    options: Options = field(default_factory=Options)
    namespaces: tuple[str, ...] = ("",)
    settings: dict[str, object] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.actions: list[Action] = []
        self.messages: list[tuple[float, tuple[bytes, ...], Result]] = []
        self.facts: list[Fact] = []
        self.vmis: dict[str, Vmi] = {}
        self.other_server = False
        self.reconnected = False
        self.on_update: Callable[[Batch], None] | None = None
        self.after_update: Callable[[Batch], None] | None = None
        self.start()

    def start(self) -> None:
        """Start or restart the controller, without any state."""
        self.reconciler = Reconciler(
            self.server.zone,
            rules=self.rules,
            scope=self.scope,
            namespaces=self.namespaces,
            options=self.options,
            jitter=lambda: 0.5,
        )

    @property
    def scope(self) -> Scope:
        """The scope as it is at the start."""
        return scope(self.rules, **self.settings)

    def handle(self, event: SourceEvent | NotifyReceived) -> None:
        """Pass an event to the reconciler."""
        self.reconciler.handle(event, self.now)

    def report(self, *vmis: Vmi, namespace: str = "", unreadable: frozenset[str] = frozenset()) -> None:
        """Report the full list of VMIs in `namespace`."""
        prefix = f"{namespace}/" if namespace else ""
        self.vmis = {key: item for key, item in self.vmis.items() if not key.startswith(prefix)}
        self.vmis |= {item.key: item for item in vmis}
        self.handle(VmisListed(namespace, tuple(vmis), unreadable))

    def change(self, *vmis: Vmi) -> None:
        """Report added or changed VMIs."""
        for item in vmis:
            self.vmis[item.key] = item
            self.handle(VmiChanged(item, self.now))

    def delete(self, *keys: str) -> None:
        """Report deleted VMIs."""
        for key in keys:
            self.vmis.pop(key, None)
            self.handle(VmiDeleted(key, self.now))

    def fail_source(self, namespace: str, reason: str) -> None:
        """Report that a namespace cannot be read, or with an empty reason that it can."""
        self.handle(SourceFailed(namespace, reason))

    def step(self) -> Action:
        """Perform the next action, unless it is to wait."""
        action = self.reconciler.next(self.now)
        self.facts += self.reconciler.take_facts()
        if isinstance(action, Wait):
            return action
        self.actions.append(action)
        self.now += ROUND_TRIP
        if self.server.down:
            self._fail(action)
        else:
            self._carry_out(action)
        self.facts += self.reconciler.take_facts()
        return action

    def run(self, seconds: float = 0.0, *, most: int = 200) -> list[Action]:
        """Perform the actions of the next `seconds`, until nothing is left to do at that time."""
        until = self.now + seconds
        first = len(self.actions)
        together, at = 0, self.now
        while True:
            action = self.step()
            if isinstance(action, Wait):
                assert action.until > self.now, "a wait that is over: a hot loop"
                assert isfinite(action.until) or not self.reconciler.updates.pending
                if action.until > until:
                    self.now = max(self.now, until)
                    return self.actions[first:]
                together, at = (0, action.until) if action.until > at + 1.0 else (together, at)
                self.now = action.until
                continue
            together += 1
            assert together <= most, f"{most} actions within a second: a hot loop, last {self.actions[-6:]}"

    def sent(self) -> list[Send]:
        """Return all Sends so far."""
        return [action for action in self.actions if isinstance(action, Send)]

    def count(self, kind: type[Action]) -> int:
        """Return how many actions of a kind there were."""
        return sum(isinstance(action, kind) for action in self.actions)

    def wanted(self) -> dict[bytes, Node]:
        """Return what the zone should hold for the VMIs as they are."""
        want = Desired(self.rules)
        for item in self.vmis.values():
            want.put(item)
        return {name: found for name in want.names() if (found := want.get(name))}

    def wrong(self) -> set[bytes]:
        """Return the wanted names that are wrong, and our names that are unwanted."""
        want, there = self.wanted(), self.server.nodes
        ours = {name for name, item in there.items() if _is_marked(item)}
        return {name for name in want.keys() | ours if want.get(name) != there.get(name)}

    def _fail(self, action: Action) -> None:
        if isinstance(action, Send):
            for batch in self._messages(action):
                self._answer(Answer(batch.changes, Result.UNSENT, None, UNREACHABLE))
            self.reconciler.handle(UpdateFinished(), self.now)
        self.reconciler.handle(PrimaryFailed(UNREACHABLE), self.now)

    def _carry_out(self, action: Action) -> None:
        server = self.server
        other_server, reconnected = self.other_server, self.reconnected
        match action:
            case ReadZone() | ReadChanges():
                asked = action.serial if isinstance(action, ReadChanges) and not other_server else None
                self.other_server = False
                self.reconciler.handle(ZoneRead(server.transfer(asked), self.now - ROUND_TRIP, other_server), self.now)
            case ReadNames():
                live, index = self.reconciler.live, self.reconciler.index
                assert index is not None
                self.other_server = False
                answers = server.answer(action, index, lambda name: live.get(name).index)
                self.reconciler.handle(ZoneRead(answers, self.now - ROUND_TRIP, other_server), self.now)
            case CheckSerial():
                wrong = server.answers(action.spots, self.scope.types)
                self.reconnected = False
                self.reconciler.handle(SerialChecked(server.shown_serial, wrong, other_server, reconnected), self.now)
            case Send():
                self._send(action)

    def _send(self, action: Send) -> None:
        lost = False
        for batch in self._messages(action):
            if lost:
                self._answer(Answer(batch.changes, Result.UNSENT, None, UNREACHABLE))
                continue
            if self.on_update is not None:
                self.on_update(batch)
            result, rcode = self.server.update(batch)
            if self.after_update is not None:
                self.after_update(batch)
            self.messages.append((self.now, tuple(change.name for change in batch.changes), result))
            lost = result is Result.UNKNOWN
            self._answer(Answer(batch.changes, result, rcode, _error(result)))
        self.reconciler.handle(UpdateFinished(), self.now)

    def _answer(self, answer: Answer) -> None:
        self.reconciler.handle(UpdateAnswered(answer), self.now)

    def _messages(self, action: Send) -> Iterable[Batch]:
        if action.canary is not None:
            if action.canary.old == action.canary.new:
                yield touch(action.canary)
            else:
                yield from batches([action.canary], self.limits)
        yield from batches(action.plan.changes, self.limits)
        for group in action.groups:
            yield from batches(group, self.limits)


def _error(result: Result) -> PrimaryError | None:
    match result:
        case Result.ACCEPTED:
            return None
        case Result.STALE:
            return ZoneChanged("the zone changed")
        case Result.UNKNOWN | Result.UNSENT:
            return UNREACHABLE
        case _:
            return Denied("refused")


def _is_marked(item: Node) -> bool:
    text = item.get(TXT)
    return text is not None and any(b"owner=test," in rdata for rdata in text.rdatas)


def changes_of(action: Send) -> list[Change]:
    """Return all changes of a Send, the canary left out."""
    return [*action.plan.changes, *(change for group in action.groups for change in group)]


def text(name: bytes) -> str:
    """Return a name below the base, short."""
    return names.to_text(name).removesuffix(".vm.example.")


def address(item: Node) -> tuple[bytes, ...]:
    """Return the IPv4 addresses of a node."""
    found = item.get(A)
    return found.rdatas if found else ()
