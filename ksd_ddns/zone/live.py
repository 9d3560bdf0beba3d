"""The zone as the primary holds it: nodes by owner name, and the serial they belong to."""

from collections.abc import Iterable

from ksd_ddns.zone.rrset import DNAME, NS, SOA, Node, by_type, rrset
from ksd_ddns.zone.wire import Malformed, Record
from ksd_ddns.zone.xfr import GENERATED, Transfer


class Live:
    """A zone read by transfer and kept up to date by deltas.

    The SOA stands in `serial` only, and what a signing server generates (RRSIG, NSEC, NSEC3) is not kept: `nodes` holds
    the names that exist in the sense of an RFC 2136 prerequisite, with what stands there.
    """

    __slots__ = ("cuts", "nodes", "serial", "zone")

    def __init__(self, zone: bytes, serial: int, nodes: dict[bytes, Node]) -> None:
        self.zone = zone
        self.serial = serial
        self.nodes = nodes
        self.cuts: set[bytes] = {name for name, node in nodes.items() if self._is_cut(node)}

    @classmethod
    def of(cls, zone: bytes, transfer: Transfer) -> "Live":
        """Return the zone that a complete transfer of the whole zone carried."""
        if transfer.nodes is None:
            raise Malformed("the server answered with changes where the whole zone was asked for")
        return cls(zone, transfer.serial, transfer.nodes)

    def get(self, name: bytes) -> Node:
        """Return what stands at `name`: a node without RRsets where the name does not exist."""
        return self.nodes.get(name) or Node(name)

    def put(self, node: Node) -> None:
        """Let `node` be what stands at its name."""
        if node.rrsets:
            self.nodes[node.name] = node
        else:
            self.nodes.pop(node.name, None)
        if self._is_cut(node):
            self.cuts.add(node.name)
        else:
            self.cuts.discard(node.name)

    def follow(self, transfer: Transfer) -> set[bytes]:
        """Apply a complete transfer, whole or incremental; return the names that it changed.

        Raises Malformed, with nothing applied, where the deltas do not fit what is here.
        """
        if transfer.nodes is not None:
            before = self.nodes
            after = transfer.nodes
            changed = {name for name, node in after.items() if before.get(name) != node}
            changed.update(before.keys() - after.keys())
            self.nodes = after
            self.cuts = {name for name, node in after.items() if self._is_cut(node)}
            self.serial = transfer.serial
            return changed
        records: dict[bytes, dict[int, tuple[int, set[bytes]]]] = {}
        for delta in transfer.deltas:
            self._take(records, delta.removed, removing=True)
            self._take(records, delta.added, removing=False)
        for name, by_rdtype in records.items():
            found = [rrset(rdtype, ttl, rdatas) for rdtype, (ttl, rdatas) in by_rdtype.items() if rdatas]
            self.put(Node(name, tuple(sorted(found, key=by_type))))
        self.serial = transfer.serial
        return set(records)

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
                by_rdtype = {item.type: (item.ttl, set(item.rdatas)) for item in self.get(name).rrsets}
                records[name] = by_rdtype
            known_ttl, rdatas = by_rdtype.get(rdtype, (ttl, set()))
            if removing:
                if rdata not in rdatas:
                    raise Malformed("the deltas remove a record that is not in the zone")
                rdatas.discard(rdata)
                by_rdtype[rdtype] = (known_ttl, rdatas)
            else:
                rdatas.add(rdata)
                by_rdtype[rdtype] = (ttl, rdatas)

    def _is_cut(self, node: Node) -> bool:
        """Return whether names below `node` belong to somebody else: a delegation or a DNAME."""
        return any(item.type == DNAME or (item.type == NS and node.name != self.zone) for item in node.rrsets)

    def cut_above(self, name: bytes) -> bytes | None:
        """Return the delegation or DNAME that hides `name` (a delegation hides its own name, too), or None."""
        if not self.cuts:
            return None
        ancestor = name
        while len(ancestor) >= len(self.zone):
            if ancestor in self.cuts and (ancestor != name or self.get(name).get(NS)):
                return ancestor
            if not ancestor[0]:
                break
            ancestor = ancestor[1 + ancestor[0] :]
        return None
