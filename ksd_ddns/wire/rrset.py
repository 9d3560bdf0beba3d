# SPDX-License-Identifier: Apache-2.0
"""RRset and Node: the record types that all other modules use.

A name is its lower-case, uncompressed wire form, and rdata its uncompressed wire form (RFC 1035, 3.1 and 3.2). Text and
dnspython objects exist only at the edges: creating the objects costs ten times as much as processing them.
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
SRV = 33
DNAME = 39
DNSKEY = 48
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

    `ttl` is in seconds; `rdatas` are sorted and unique, so equal RRsets compare equal.
    """

    type: int
    ttl: int
    rdatas: tuple[bytes, ...]


class Node(msgspec.Struct, frozen=True, gc=False):
    """All RRsets of one owner name, sorted by type. A node without RRsets stands for a name that does not exist.

    `index` holds the records about this name in the index of our names, as owner name and TXT rdata (see `zone.index`);
    empty in a zone that is read by transfer.
    """

    name: bytes
    rrsets: tuple[RRset, ...] = ()
    index: tuple[tuple[bytes, bytes], ...] = ()

    def get(self, rdtype: int) -> RRset | None:
        """Return the RRset of type `rdtype`, or None."""
        for rrset in self.rrsets:
            if rrset.type == rdtype:
                return rrset
        return None

    def with_rrsets(self, rrsets: Iterable[RRset], *, types: Iterable[int]) -> "Node":
        """Return this node with its RRsets of `types` replaced by `rrsets`, and all others unchanged."""
        replaced = set(types)
        kept = [rrset for rrset in self.rrsets if rrset.type not in replaced]
        return Node(self.name, tuple(sorted([*kept, *rrsets], key=by_type)), self.index)

    def with_index(self, index: tuple[tuple[bytes, bytes], ...]) -> "Node":
        """Return this node with these records in the index."""
        return self if index == self.index else Node(self.name, self.rrsets, index)


def by_type(rrset: RRset) -> int:
    """Sort key: a node lists its RRsets in the order of their type numbers."""
    return rrset.type


def rrset(rdtype: int, ttl: int, rdatas: Iterable[bytes]) -> RRset:
    """Return the RRset of `rdatas`, given in any order and possibly with duplicates."""
    found = tuple(rdatas)
    return RRset(rdtype, ttl, found if len(found) == 1 else tuple(sorted(set(found))))  # most have one record
