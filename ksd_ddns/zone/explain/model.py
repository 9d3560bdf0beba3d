# SPDX-License-Identifier: Apache-2.0
"""Explanations as values: why a VMI or a name is in DNS, or is not. Facts only; `zone.render` makes text and JSON.

All times are by the monotonic clock, in seconds, unless a field says otherwise. The edge that shows them converts them.
"""

from dataclasses import dataclass
from enum import StrEnum

from ksd_ddns.errors import PrimaryError
from ksd_ddns.kubevirt.warning import AddressKind, Embedding, VmiWarning, WarningCode
from ksd_ddns.wire.rrset import Node
from ksd_ddns.zone.ownership_record import OwnershipRecord
from ksd_ddns.zone.plan import Blocked, Conflict, Kind
from ksd_ddns.zone.reconciler.refusals import Refusal


class State(StrEnum):
    """The state of a name or an address. The values are part of the JSON schema (docs/reference/json.md)."""

    PUBLISHED = "published"
    """The zone holds what is wanted."""
    HELD = "held"
    """The same, but the VMI no longer reports an address of it: hold-down."""
    PENDING = "pending"
    """The change is sent next, or was sent and is not yet confirmed."""
    MISSING = "missing"
    """The zone does not hold what is wanted, and no change is known to be in progress."""
    CONFLICT = "conflict"
    """The name cannot be taken: see `conflict`."""
    REFUSED = "refused"
    """The primary refuses the change: see `refusal`."""
    BLOCKED = "blocked"
    """The deletion limit blocks the deletion."""
    LEFTOVER = "leftover"
    """The name is ours, and no VMI wants it."""
    SKIPPED = "skipped"
    """A rule excludes it: see `skip`."""
    FOREIGN = "foreign"
    """The name exists, is not ours, and no VMI wants it."""
    UNUSED = "unused"
    """The name does not exist, and no VMI wants it."""
    UNKNOWN = "unknown"
    """The zone has not been read."""

    @property
    def in_dns(self) -> bool:
        """Whether the zone holds the wanted records."""
        return self in {State.PUBLISHED, State.HELD}


class Skip(StrEnum):
    """The rule that excludes an address, or the name of its interface. The values are part of the JSON schema."""

    POD_NETWORK = "pod-network"
    """The interface is that of the default network."""
    NETWORKS = "networks"
    """The network of the interface is not in NETWORKS."""
    UNPLUGGED = "unplugged"
    """The interface has `state: absent` in the spec."""
    GUEST_ONLY = "guest-only"
    """The interface has no name: only the guest knows it."""
    NO_ADDRESS = "no-address"
    """The status has no address for the interface."""
    NOT_AN_ADDRESS = "not-an-address"
    """The text is not an IP address."""
    NEVER_PUBLISHED = "never-published"
    """The address is of a `kind` that is never published."""
    PUBLISH_CIDRS = "publish-cidrs"
    """The address is outside PUBLISH_CIDRS."""
    EXCLUDE_CIDRS = "exclude-cidrs"
    """The address is inside EXCLUDE_CIDRS."""
    MAX_ADDRESSES = "max-addresses"
    """The interface has more than `limit` addresses of one family."""
    FLOOD = "flood"
    """The VMI reports more interfaces or addresses than are read."""
    ILLEGAL_INTERFACE_NAME = "illegal-interface-name"
    """The name of the interface cannot be a DNS label, or the DNS name is too long."""
    DUPLICATE_INTERFACE_NAME = "duplicate-interface-name"
    """Another interface of the VMI has the same DNS name."""
    MAX_NAMES = "max-names"
    """The VMI wants more than `limit` names."""
    MAX_NAMES_PER_NAMESPACE = "max-names-per-namespace"
    """The namespace may have no more than `limit` names; older VMIs come first."""
    MAX_RRSET = "max-rrset"
    """The reverse name or the group has `limit` records already; older VMIs come first."""
    NOT_READY = "not-ready"
    """The VMI is a member of the group, but not ready."""
    NO_READY_MEMBER = "no-ready-member"
    """No member of the group is ready, or was."""
    IGNORED = "ignored"
    """The annotation ksd-ddns/ignore is true."""
    ENDED = "ended"
    """The phase is Succeeded or Failed."""
    NAMESPACES = "namespaces"
    """The namespace is not in NAMESPACES."""
    LABEL_SELECTOR = "label-selector"
    """The labels do not match LABEL_SELECTOR."""
    ILLEGAL_VMI_NAME = "illegal-vmi-name"
    """The name or namespace of the VMI cannot be a DNS name."""

    @property
    def by_design(self) -> bool:
        """Whether such an address is not expected in DNS."""
        return self in _BY_DESIGN


_BY_DESIGN = frozenset(
    {
        Skip.POD_NETWORK,
        Skip.NETWORKS,
        Skip.UNPLUGGED,
        Skip.GUEST_ONLY,
        Skip.NO_ADDRESS,
        Skip.NEVER_PUBLISHED,
        Skip.PUBLISH_CIDRS,
        Skip.EXCLUDE_CIDRS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalFact:
    """The `refusal` of a name (its cause, the answer, and since when), by `server`; `retry_at` is the next attempt.

    `accepts`: the zone accepts other updates; `ours`: it holds names of ours.
    """

    refusal: Refusal
    server: str
    retry_at: float | None = None
    accepts: bool = True
    ours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An address family of `interface` that vanished from the status: held since then, `until` the hold ends.

    `until` is None if that is not known: another process holds it, or the source cannot be read.
    """

    interface: str
    rdtype: int
    addresses: tuple[bytes, ...]
    since: float | None = None
    until: float | None = None


class Member(StrEnum):
    """What became of a member of a group. The values are part of the JSON schema."""

    PUBLISHED = "published"
    """It is ready, and the group has its records."""
    LAST = "last"
    """It is not ready, and the group has its records: no member is ready, and it was the last one."""
    NOT_READY = "not-ready"
    """It is not ready."""
    OVER_LIMIT = "over-limit"
    """The group has MAX_RRSET records of older VMIs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFact:
    """A VMI that wants a name, for an interface, for its hostname annotation (`annotation`) or as member of a `group`.

    `vmi` is empty for the zone's own records. `created` is in UTC seconds since the epoch, 0 if unknown. `served`: it
    gets the name, perhaps with others. `member` is what became of a member of a group, None if the group does not get
    the name.
    """

    vmi: str
    annotation: bool
    created: int
    group: bool
    wanted: Node
    served: bool = True
    member: Member | None = None


CLAIMS = 50
"""VMIs that are listed for a name: any VM owner may want a name that thousands want."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameExplanation:
    """One owner name in one zone.

    `wanted` is what the VMI in question wants there (of a name: what the first of `claims` or the group wants), `found`
    all that the zone holds. `claims` are the first CLAIMS of the `claimed` VMIs that want the name, the one that gets
    it first: interfaces before annotations, then older VMIs before newer ones. The members of a group share it; those
    that are not ready come last, and there may be CLAIMS more of them. `owners` are the ownership records at the name,
    `ours` whether it is ours. `change` is what the controller has to do with the name, None if nothing.
    `unconfirmed_since` is when the primary accepted a change that the zone does not show yet. `limits` are the deletion
    limits that block its deletion, `moves_to` the new names for which it waits.
    """

    zone: bytes
    name: bytes
    state: State
    wanted: Node
    found: Node
    claims: tuple[ClaimFact, ...] = ()
    claimed: int = 0
    owners: tuple[OwnershipRecord, ...] = ()
    ours: bool = False
    change: Kind | None = None
    unconfirmed_since: float | None = None
    conflict: Conflict | None = None
    refusal: RefusalFact | None = None
    limits: tuple[Blocked, ...] = ()
    hold: Hold | None = None
    skip: Skip | None = None
    limit: int = 0
    moves_to: tuple[bytes, ...] = ()

    @property
    def winner(self) -> str:
        """The VMI that gets the name, empty for none and for the zone's own records."""
        first = self.claims[0] if self.claims else None
        return first.vmi if first is not None and first.member is not Member.NOT_READY else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressExplanation:
    """One address of an interface, as in the status (empty if there is none), and its state.

    `names` are the owner names with this address that the VMI wants, the interface's own first. `skip` is why there
    are none or, with `names`, why the interface has no name of its own. `kind` and `embedding` are those of an address
    that is never published.
    """

    address: str
    state: State
    names: tuple[bytes, ...] = ()
    skip: Skip | None = None
    kind: AddressKind | None = None
    embedding: Embedding | None = None
    limit: int = 0
    hold: Hold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceExplanation:
    """One interface: of the status, or only in the spec. The name is empty if only the guest knows the interface."""

    name: str
    addresses: tuple[AddressExplanation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFact:
    """One zone, and the problems that affect all of it.

    `sent`: this process sends updates; else it only compares. `refuses`: the primary accepts no update of it.
    `problem` is why the primary cannot be read or does not answer. `synced`: the zone was in sync at least once.
    """

    zone: bytes
    base: bytes
    server: str
    owner: str
    serial: int | None
    sent: bool
    synced: bool = True
    refuses: bool = False
    problem: PrimaryError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmiExplanation:
    """Why the names of a VMI (`namespace/name`) are in DNS, or are not.

    `exists`: there is such a VMI; else only `names` that remain are listed. `read`: the VMI was read from the API or a
    file; else `interfaces` has only what the controller knows, and `unread` says why. `skip` is why nothing of the VMI
    is published. `slowed_until`: the VMI changes too often, its latest state is published then. `known`: the controller
    has received this state of the VMI. `warnings` are about annotations. `source_problems` are why VMIs cannot be read.
    `similar` are VMIs with similar names, if there is none of this name.
    """

    vmi: str
    now: float
    exists: bool
    read: bool
    uid: str = ""
    phase: str = ""
    created: int = 0
    ttl: int | None = None
    skip: Skip | None = None
    slowed_until: float | None = None
    known: bool = True
    unread: str = ""
    interfaces: tuple[InterfaceExplanation, ...] = ()
    names: tuple[NameExplanation, ...] = ()
    warnings: tuple[VmiWarning, ...] = ()
    zones: tuple[ZoneFact, ...] = ()
    source_problems: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that the owner of the VMI may expect is in DNS."""
        if not self.exists or self.skip is not None or not any(name.state.in_dns for name in self.names):
            return False
        rows = (each for interface in self.interfaces for each in interface.addresses)
        return (
            self.slowed_until is None
            and all(name.state.in_dns for name in self.names)
            and all(each.state.in_dns if each.skip is None else each.skip.by_design for each in rows)
            and all(warning.code in _HARMLESS for warning in self.warnings)
        )


_HARMLESS = frozenset({WarningCode.BAD_ANNOTATION, WarningCode.EMPTY_HOSTNAME})
"""Warnings about values that are ignored: no name is missing because of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAnswer:
    """What is known about one name: in one zone, or in none of ours (`explanation` is None).

    `similar` are VMIs that an unused name may have been meant to be, `wildcard` is the name whose records answer
    queries for an unused name.
    """

    name: bytes
    now: float
    explanation: NameExplanation | None
    zones: tuple[ZoneFact, ...] = ()
    source_problems: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    wildcard: bytes = b""

    @property
    def complete(self) -> bool:
        """Whether the zone holds what is wanted at the name."""
        return self.explanation is not None and self.explanation.state.in_dns
