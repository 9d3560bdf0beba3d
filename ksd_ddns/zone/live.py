# SPDX-License-Identifier: Apache-2.0
"""The content of the zone on the primary: nodes by owner name, and their serial."""

from collections.abc import Iterable

from ksd_ddns.wire.codec import Malformed, Record
from ksd_ddns.wire.rrset import DNAME, NS, PTR, SOA, Node, rrset
from ksd_ddns.wire.transfer import CUTTING, GENERATED, Transfer
from ksd_ddns.zone.answers import Answers


class Live:
    """A zone read by transfer and kept up to date by deltas.

    `nodes` has the names that exist in the sense of an RFC 2136 prerequisite, without the SOA, which is only in
    `serial`, and without the records that a signing server generates (RRSIG, NSEC, NSEC3). If the zone is read by
    queries, only the names in `asked` are known; None: all names are known. About the `unreadable` names among them
    the server gave no usable answer, and their nodes are those read before.
    """

    __slots__ = ("_changed_cuts", "_confirmed", "_pointers", "asked", "cuts", "nodes", "serial", "unreadable", "zone")

    def __init__(self, zone: bytes, serial: int, nodes: dict[bytes, Node], cuts: set[bytes] | None = None) -> None:
        self.zone = zone
        self.serial = serial
        self.nodes = nodes
        self._confirmed: dict[bytes, Node] = {}
        self._pointers: dict[bytes, set[bytes]] | None = None
        self._changed_cuts: set[bytes] = set()
        self.asked: set[bytes] | None = None
        self.unreadable: set[bytes] = set()
        # Delegations and DNAMEs; found here unless the caller knows them.
        self.cuts = {name for name, node in nodes.items() if self._is_cut(node)} if cuts is None else cuts

    @classmethod
    def of(cls, zone: bytes, transfer: Transfer | Answers) -> "Live":
        """Return the zone from a complete transfer of the full zone (AXFR), or from the answers for all our names."""
        if transfer.nodes is None:
            raise Malformed("the server answered a request for the full zone with changes")
        if not isinstance(transfer, Answers):
            return cls(zone, transfer.serial, transfer.nodes, transfer.cuts)
        live = cls(zone, transfer.serial, {})
        live._take_answers(transfer)
        live.take_changed_cuts()
        return live

    def get(self, name: bytes) -> Node:
        """Return the node at `name`, without RRsets if the name does not exist."""
        return self.nodes.get(name) or Node(name)

    def is_known(self, name: bytes) -> bool:
        """Return whether the node at `name` has been read."""
        return self.asked is None or name in self.asked

    def put(self, node: Node) -> None:
        """Replace the node at the name of `node`."""
        name = node.name
        if self._pointers is not None:
            self._unpoint(self.get(name))
            self._point(node)
        if node.rrsets or node.index:
            self.nodes[name] = node
        else:
            self.nodes.pop(name, None)
        if self._is_cut(node):
            if name not in self.cuts:
                self.cuts.add(name)
                self._changed_cuts.add(name)
        elif self.cuts and name in self.cuts:
            self.cuts.discard(name)
            self._changed_cuts.add(name)

    def take_changed_cuts(self) -> set[bytes]:
        """Return the delegations and DNAMEs that appeared or went since the last call."""
        found, self._changed_cuts = self._changed_cuts, set()
        return found

    def pointers(self, target: bytes) -> set[bytes]:
        """Return the owner names with a PTR record to `target`."""
        if self._pointers is None:
            self._pointers = {}
            for node in self.nodes.values():
                self._point(node)
        return self._pointers.get(target, set())

    def _point(self, node: Node) -> None:
        there = node.get(PTR)
        if self._pointers is not None and there is not None:
            for target in there.rdatas:
                self._pointers.setdefault(target, set()).add(node.name)

    def _unpoint(self, node: Node) -> None:
        there = node.get(PTR)
        if self._pointers is not None and there is not None:
            for target in there.rdatas:
                self._pointers[target].discard(node.name)

    def put_tentative(self, node: Node) -> None:
        """Replace the node at the name of `node` tentatively, until `apply` confirms or corrects it.

        For a change that the primary has acknowledged, so that the next plan builds on it.
        """
        self._confirmed.setdefault(node.name, self.get(node.name))
        self.put(node)

    @property
    def tentative(self) -> int:
        """The number of names with tentative nodes."""
        return len(self._confirmed)

    def apply(self, transfer: Transfer | Answers) -> set[bytes]:
        """Apply a complete transfer, full or incremental; return the names that differ from the nodes before it.

        They include names that can be read again. Afterwards no node is tentative. Raises Malformed, and applies
        nothing, if the deltas do not fit the zone. The answers to some names include all tentative ones.
        """
        if isinstance(transfer, Answers):
            changed = self._take_answers(transfer)
        elif transfer.nodes is not None:
            before, after = self.nodes, transfer.nodes
            changed = {name for name, node in after.items() if before.get(name) != node}
            changed.update(before.keys() - after.keys())
            self.nodes = after
            self._pointers = None
            self._changed_cuts |= self.cuts ^ transfer.cuts
            self.cuts = transfer.cuts
        else:
            confirmed = self._confirmed | self._moved(transfer)
            changed = {name for name, node in confirmed.items() if self.get(name) != node}
            for name in changed:
                self.put(confirmed[name])
        self._confirmed = {}
        self.serial = transfer.serial
        return changed

    def _take_answers(self, answers: Answers) -> set[bytes]:
        unreadable = set(answers.unreadable)
        found = {name: answers.nodes.get(name) or Node(name) for name in answers.names - unreadable}
        if answers.full:
            found.update((name, Node(name)) for name in self.nodes.keys() - found.keys() - unreadable)
        changed = {name for name, node in found.items() if self.get(name) != node}
        for name in changed:
            self.put(found[name])
        # A delegation may be known only from answers about the names below it.
        gone = {name for name in self.cuts & found.keys() - answers.cuts if not self._is_cut(self.get(name))}
        self._changed_cuts |= gone | (answers.cuts - self.cuts)
        self.cuts = self.cuts - gone | answers.cuts
        before = self.unreadable
        self.unreadable = unreadable if answers.full else before - answers.names | unreadable
        if answers.full or self.asked is None:
            self.asked = set(answers.names)
        else:
            self.asked |= answers.names
        return changed | (before ^ self.unreadable)

    def _moved(self, transfer: Transfer) -> dict[bytes, Node]:
        """Return the nodes after the deltas, starting from the confirmed nodes."""
        records: dict[bytes, dict[int, tuple[int, set[bytes]]]] = {}
        for delta in transfer.deltas:
            self._take(records, delta.removed, removing=True)
            self._take(records, delta.added, removing=False)
        moved = {}
        for name, by_rdtype in records.items():
            found = [rrset(rdtype, ttl, rdatas) for rdtype, (ttl, rdatas) in sorted(by_rdtype.items()) if rdatas]
            moved[name] = Node(name, tuple(found))
        return moved

    def _take(
        self,
        records: dict[bytes, dict[int, tuple[int, set[bytes]]]],
        delta: Iterable[Record],
        *,
        removing: bool,
    ) -> None:
        for name, rdtype, ttl, rdata in delta:
            if rdtype in GENERATED or rdtype == SOA:
                continue
            by_rdtype = records.get(name)
            if by_rdtype is None:
                read = self._confirmed.get(name) or self.get(name)
                by_rdtype = {item.type: (item.ttl, set(item.rdatas)) for item in read.rrsets}
                records[name] = by_rdtype
            known = by_rdtype.get(rdtype)
            if removing:
                if known is None or rdata not in known[1]:
                    raise Malformed("the deltas remove a record that is not in the zone")
                known[1].discard(rdata)
            elif known is None:
                by_rdtype[rdtype] = (ttl, {rdata})
            else:
                known[1].add(rdata)
                by_rdtype[rdtype] = (ttl, known[1])

    def _is_cut(self, node: Node) -> bool:
        """Return whether `node` is a delegation or a DNAME, so that names below it are not in this zone."""
        for item in node.rrsets:  # noqa: SIM110 a generator costs as much as all else that a put does
            if item.type in CUTTING and (item.type == DNAME or node.name != self.zone):
                return True
        return False

    def cut_above(self, name: bytes) -> bytes | None:
        """Return the delegation or DNAME that hides `name` (a delegation hides its own name, too), or None."""
        if not self.cuts:
            return None
        ancestor = name
        while len(ancestor) >= len(self.zone):
            # A DNAME does not hide its own name, and the NS of the apex is not a delegation.
            if ancestor in self.cuts and (ancestor != name or (name != self.zone and self.get(name).get(NS))):
                return ancestor
            if not ancestor[0]:
                break
            ancestor = ancestor[1 + ancestor[0] :]
        return None
