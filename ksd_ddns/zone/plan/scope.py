# SPDX-License-Identifier: Apache-2.0
"""What the planner may do in a zone."""

from enum import StrEnum

import msgspec

from ksd_ddns.wire.rrset import AAAA, PTR, SRV, TXT, A, RRset

ADDRESSES = (A, AAAA)
SERVICES = (A, AAAA, SRV)
POINTERS = (PTR,)


class Ownership(StrEnum):
    """How ksd-ddns recognizes its own names: by an ownership record, or because no other program uses the zone."""

    TXT = "txt"
    ZONE = "zone"


class Policy(StrEnum):
    """Whether names that are no longer wanted are deleted."""

    SYNC = "sync"
    UPSERT_ONLY = "upsert-only"


class Read(StrEnum):
    """How the zone is read: by transfer, or by queries and an index of our names."""

    AXFR = "axfr"
    QUERIES = "queries"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner may do in the zone.

    `base` is the name under which everything is published. `types` are the record types published there, without the
    ownership record. `owner` is the owner ID, ignored with Ownership.ZONE. Wanted names with an ownership record of an
    owner in `take_over` become ours. `forward` is the base of the VMIs' names, to which the records of a reverse zone
    point; empty if it is `base`.

    With `base_only`, names outside the base are not ours even with our ownership record: the zone holds several bases.
    Names below one of `excluded` are never ours: they belong to another base. Names in `protected` are changed when
    wanted, and never deleted. `apex` is the NS RRset to add at the apex, None to leave the apex alone. `ttl_cap` is the
    TTL to which the server lowers higher ones, None if it does not. `namespaced`: the label directly below the base is
    a namespace. `read` is how the zone is read.
    """

    base: bytes
    types: tuple[int, ...] = ADDRESSES
    ownership: Ownership = Ownership.TXT
    owner: str = ""
    policy: Policy = Policy.SYNC
    adopt: bool = False
    take_over: frozenset[str] = frozenset()
    base_only: bool = False
    excluded: tuple[bytes, ...] = ()
    protected: frozenset[bytes] = frozenset()
    apex: RRset | None = None
    forward: bytes = b""
    ttl_cap: int | None = None
    namespaced: bool = True
    read: Read = Read.AXFR

    @property
    def written(self) -> tuple[int, ...]:
        """The record types written below the base: the published types and, if we write or remove one, TXT."""
        return (*self.types, TXT) if self.ownership is Ownership.TXT or self.take_over else self.types
