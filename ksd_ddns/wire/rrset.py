"""RRset and Node: the values everything else speaks in.

A name is its lower-cased, uncompressed wire form, an rdata its uncompressed wire form (RFC 1035, 3.1 and 3.2). Text
and dnspython objects exist only at the edges: as objects they cost ten times as much as the work done with them.
"""

from collections.abc import Iterable

import msgspec

A = 1
NS = 2
CNAME = 5
SOA = 6
PTR = 12
TXT = 16
AAAA = 28
DNAME = 39
RRSIG = 46
NSEC = 47
NSEC3 = 50
TSIG = 250
IXFR = 251
AXFR = 252
ANY = 255

IN = 1
CLASS_NONE = 254
CLASS_ANY = 255


class RRset(msgspec.Struct, frozen=True, gc=False):
    """The records of one type at one owner name.

    `ttl` is in seconds; `rdatas` are sorted and unique, so that equal sets are equal values.
    """

    type: int
    ttl: int
    rdatas: tuple[bytes, ...]


class Node(msgspec.Struct, frozen=True, gc=False):
    """All RRsets of one owner name, sorted by type. A node without RRsets is a name that does not exist."""

    name: bytes
    rrsets: tuple[RRset, ...] = ()

    def get(self, rdtype: int) -> RRset | None:
        """Return the RRset of type `rdtype`, or None."""
        for rrset in self.rrsets:
            if rrset.type == rdtype:
                return rrset
        return None

    def with_rrsets(self, rrsets: Iterable[RRset], *, types: Iterable[int]) -> "Node":
        """Return this node with its RRsets of `types` replaced by `rrsets`, all others as they are."""
        replaced = set(types)
        kept = [rrset for rrset in self.rrsets if rrset.type not in replaced]
        return Node(self.name, tuple(sorted([*kept, *rrsets], key=by_type)))


def by_type(rrset: RRset) -> int:
    """Sort key: RRsets of a node stand in the order of their type numbers."""
    return rrset.type


def rrset(rdtype: int, ttl: int, rdatas: Iterable[bytes]) -> RRset:
    """Return the RRset of `rdatas` in any order, duplicates dropped."""
    found = tuple(rdatas)
    return RRset(rdtype, ttl, found if len(found) == 1 else tuple(sorted(set(found))))  # nearly all have one record
