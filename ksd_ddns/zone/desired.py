"""VMIs -> the nodes that the zone should hold, by owner name; who wins where two want one name.

Every VMI stakes claims on names. The winner of a name is the claim of the VMI that was created first, so the outcome
depends on the VMIs alone, never on the order in which they were heard of.
"""

from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

import msgspec

from ksd_ddns.zone import names
from ksd_ddns.zone.marker import Marker
from ksd_ddns.zone.rrset import AAAA, NS, PTR, TXT, A, Node, RRset, rrset
from ksd_ddns.zone.vmi import Interface, Vmi


class HostnameScope(StrEnum):
    """How far the annotation `ksd-ddns/hostname` reaches."""

    OFF = "off"
    NAMESPACE = "namespace"
    ZONE = "zone"


class Network(msgspec.Struct, frozen=True):
    """A block of addresses, packed: an address is in it when it has its length and its first `prefix` bits."""

    address: bytes
    prefix: int

    def __contains__(self, address: bytes) -> bool:
        if len(address) != len(self.address):
            return False
        shift = 8 * len(address) - self.prefix
        return int.from_bytes(address, "big") >> shift == int.from_bytes(self.address, "big") >> shift


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How VMIs become records.

    `base` and `zone` are owner names, `base` in `zone`. `ttl` is in seconds. `owner` is the owner ID of the TXT marker
    that every node carries, empty where names are not marked. `name_server` are the packed addresses of `ns.<base>`.

    With `reverse`, an owner name in `zone`, the records are PTR records of the addresses below it, to the names below
    `base`; several VMIs may share one. What lies below one of `apart` is published elsewhere.
    """

    base: bytes
    zone: bytes
    ttl: int = 60
    owner: str = ""
    default_record: bool = True
    hostname_scope: HostnameScope = HostnameScope.NAMESPACE
    max_addresses: int = 16
    publish: tuple[Network, ...] = ()
    exclude: tuple[Network, ...] = ()
    name_server: tuple[bytes, ...] = ()
    reverse: bytes = b""
    apart: tuple[bytes, ...] = ()

    @property
    def name_server_name(self) -> bytes:
        """The owner name of the zone's own name server: `ns.<base>`."""
        return b"\2ns" + self.base


class Notice(msgspec.Struct, frozen=True):
    """Something about a VMI that its owner should know; `vmi` is `namespace/name`, `text` a sentence."""

    vmi: str
    text: str


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What one VMI wants to stand at one name."""

    rank: tuple[int, str, str, str]
    vmi: str
    node: Node


class Collision(msgspec.Struct, frozen=True):
    """A name that `loser` wants and `winner` has, because it was created first."""

    name: bytes
    winner: str
    loser: str
    wanted: Node


_Families: TypeAlias = tuple[tuple[bytes, ...], tuple[bytes, ...]]
"""Addresses by family: those of IPv4, those of IPv6."""

_ZONE_OWN = (-1, "", "", "")


class Desired:
    """The desired zone content: what the VMIs that were put in here want, and the zone's own records.

    Everything costs in proportion to the VMI at hand, never to the number of VMIs.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._claims: dict[bytes, Claim | list[Claim]] = {}
        self._names: dict[str, tuple[bytes, ...]] = {}
        self._notices: dict[str, tuple[Notice, ...]] = {}
        self._contested: set[bytes] = set()
        for node in _own_records(rules):
            self._stake(Claim(_ZONE_OWN, "", node))

    def put(self, vmi: Vmi) -> set[bytes]:
        """Take `vmi` as it is now; return the names whose content that may change."""
        key = vmi.key
        touched = self.remove(key)
        claims, notices = _pointers(vmi, self._rules) if self._rules.reverse else _claims(vmi, self._rules)
        for claim in claims:
            self._stake(claim)
        if claims:
            self._names[key] = found = tuple([claim.node.name for claim in claims])
            touched.update(found)
        if notices:
            self._notices[key] = notices
        return touched

    def remove(self, key: str) -> set[bytes]:
        """Forget the VMI `namespace/name`; return the names whose content that may change."""
        self._notices.pop(key, None)
        touched = set(self._names.pop(key, ()))
        for name in touched:
            self._withdraw(name, key)
        return touched

    def get(self, name: bytes) -> Node | None:
        """Return what should stand at `name`, or None where nothing is wanted."""
        held = self._claims.get(name)
        if held is None:
            return None
        if not isinstance(held, list):
            return held.node
        return _shared(held) if self._rules.reverse else held[0].node

    def vmi_of(self, name: bytes) -> str:
        """Return `namespace/name` of the VMI that has `name`, empty for the zone's own records and unwanted names."""
        held = self._claims.get(name)
        if held is None:
            return ""
        return held[0].vmi if isinstance(held, list) else held.vmi

    def names(self) -> Iterable[bytes]:
        """Return every wanted name."""
        return self._claims.keys()

    def __len__(self) -> int:
        return len(self._claims)

    def notices_of(self, key: str) -> tuple[Notice, ...]:
        """Return what the owner of the VMI `namespace/name` should know."""
        return self._notices.get(key, ())

    def notices(self) -> list[Notice]:
        """Return what the VMIs' owners should know, in the order of the VMIs' names."""
        return [notice for key in sorted(self._notices) for notice in self._notices[key]]

    def collisions(self, among: Collection[bytes] | None = None) -> list[Collision]:
        """Return every claim that lost its name (one of `among`, or any) to another VMI's, in the order of names."""
        found: list[Collision] = []
        if self._rules.reverse:
            return found
        for name in sorted(self._contested if among is None else self._contested.intersection(among)):
            held = self._claims[name]
            if isinstance(held, list):
                winner = held[0].vmi
                found += [Collision(name, winner, claim.vmi, claim.node) for claim in held[1:] if claim.vmi != winner]
        return found

    def _stake(self, claim: Claim) -> None:
        name = claim.node.name
        held = self._claims.get(name)
        if held is None:
            self._claims[name] = claim
            return
        rivals = [*held, claim] if isinstance(held, list) else [held, claim]
        rivals.sort(key=_rank)
        self._claims[name] = rivals
        self._contested.add(name)

    def _withdraw(self, name: bytes, key: str) -> None:
        held = self._claims[name]
        left = [claim for claim in held if claim.vmi != key] if isinstance(held, list) else []
        if len(left) > 1:
            self._claims[name] = left
            return
        self._contested.discard(name)
        if left:
            self._claims[name] = left[0]
        else:
            del self._claims[name]


def _rank(claim: Claim) -> tuple[int, str, str, str]:
    return claim.rank


def _own_records(rules: Rules) -> Iterable[Node]:
    """Return `ns.<base>` where NAME_SERVER_IP is set and the base is the zone's apex.

    Inside a larger zone an NS at the base would be a delegation that hides everything below it.
    """
    if not rules.name_server or rules.base != rules.zone or rules.reverse:
        return
    yield Node(rules.name_server_name, _rrsets(_families(rules.name_server), rules.ttl, "", rules))


def _claims(vmi: Vmi, rules: Rules) -> tuple[list[Claim], tuple[Notice, ...]]:
    """Return what `vmi` wants, one claim a name, and what its owner should know."""
    notices = [Notice(vmi.key, text) for text in vmi.warnings]
    if vmi.ignored or not vmi.live or not vmi.interfaces:
        return [], tuple(notices)
    branch = _branch(vmi.namespace, rules.base)
    stem = _stem(vmi.name)
    if branch is None or stem is None or len(stem) + len(branch) > names.MAX_NAME:
        notices.append(Notice(vmi.key, f"{vmi.name}.{vmi.namespace} cannot be a DNS name: nothing is published"))
        return [], tuple(notices)
    own = stem + branch
    # The interfaces come first: where a hostname asks for the name of one of them, the interface has it.
    wanted: dict[bytes, _Families] = {}
    first: _Families = ((), ())
    for interface in vmi.interfaces:
        addresses = _families(_publishable(vmi, interface, rules, notices))
        if not any(addresses):
            continue
        first = (first[0] or addresses[0], first[1] or addresses[1])
        label = _label(interface.name)
        if label is None or len(label) + len(own) > names.MAX_NAME:
            notices.append(Notice(vmi.key, f"interface {interface.name!r} cannot be a DNS name: it is not published"))
        elif wanted.setdefault(label + own, addresses) is not addresses:
            notices.append(Notice(vmi.key, f"interface {interface.name!r} has the DNS name of another interface"))
    if any(first):
        for name in (*([own] if rules.default_record else []), *_hostnames(vmi, branch, rules, notices)):
            wanted.setdefault(name, first)
    rank = (vmi.created, vmi.namespace, vmi.name, vmi.uid)
    ttl = vmi.ttl or rules.ttl
    key = vmi.key
    # Most VMIs have few addresses, and several names for each.
    rrsets = {addresses: _rrsets(addresses, ttl, key, rules) for addresses in set(wanted.values())}
    claims = [Claim(rank, key, Node(name, rrsets[addresses])) for name, addresses in wanted.items()]
    return claims, tuple(notices)


def interface_name(vmi: Vmi, interface: str, rules: Rules) -> bytes | None:
    """Return the owner name of an interface of `vmi`, or None where it cannot be a DNS name."""
    branch, stem, label = _branch(vmi.namespace, rules.base), _stem(vmi.name), _label(interface)
    if branch is None or stem is None or label is None:
        return None
    name = label + stem + branch
    return name if len(name) <= names.MAX_NAME else None


def _pointers(vmi: Vmi, rules: Rules) -> tuple[list[Claim], tuple[Notice, ...]]:
    """Return a PTR for every published address of `vmi` below `rules.reverse`, to the name of its interface.

    What is wrong with the VMI is said where its names are made.
    """
    if vmi.ignored or not vmi.live:
        return [], ()
    targets: dict[bytes, set[bytes]] = {}
    for interface in vmi.interfaces:
        target = interface_name(vmi, interface.name, rules)
        if target is None:
            continue
        for address in _publishable(vmi, interface, rules, []):
            name = names.reverse(address)
            if names.is_below(name, rules.reverse) and not any(names.is_below(name, other) for other in rules.apart):
                targets.setdefault(name, set()).add(target)
    rank = (vmi.created, vmi.namespace, vmi.name, vmi.uid)
    ttl = vmi.ttl or rules.ttl
    return [
        Claim(rank, vmi.key, Node(name, _with_marker(rrset(PTR, ttl, found), vmi.key, rules)))
        for name, found in targets.items()
    ], ()


def _with_marker(published: RRset, vmi: str, rules: Rules) -> tuple[RRset, ...]:
    return (published, RRset(TXT, published.ttl, (_marker(rules.owner, vmi),))) if rules.owner else (published,)


def _shared(claims: list[Claim]) -> Node:
    """Return the first claim's node with the PTR records of all of them: one address, several names."""
    first = claims[0].node
    found = [item.node.get(PTR) for item in claims]
    ttl = min(item.ttl for item in found if item)
    together = rrset(PTR, ttl, [rdata for item in found if item for rdata in item.rdatas])
    return first.having([together], types=(PTR,))


def _hostnames(vmi: Vmi, branch: bytes, rules: Rules, notices: list[Notice]) -> Iterator[bytes]:
    if rules.hostname_scope is HostnameScope.OFF:
        return
    for hostname in vmi.hostnames:
        name = _hostname(hostname, branch, rules)
        if name is None:
            notices.append(Notice(vmi.key, f"annotation ksd-ddns/hostname: {_refusal(hostname, rules)}"))
        else:
            yield name


def _publishable(vmi: Vmi, interface: Interface, rules: Rules, notices: list[Notice]) -> tuple[bytes, ...]:
    addresses = interface.addresses
    if rules.publish or rules.exclude:
        addresses = tuple(
            address
            for address in addresses
            if (not rules.publish or any(address in network for network in rules.publish))
            and not any(address in network for network in rules.exclude)
        )
    if len(addresses) > rules.max_addresses:
        count = f"{len(addresses)} addresses: the first {rules.max_addresses} are published"
        notices.append(Notice(vmi.key, f"interface {interface.name!r} has {count}"))
        addresses = addresses[: rules.max_addresses]
    return addresses


def _families(addresses: Iterable[bytes]) -> _Families:
    return tuple([each for each in addresses if len(each) == 4]), tuple([each for each in addresses if len(each) == 16])


def _rrsets(addresses: _Families, ttl: int, vmi: str, rules: Rules) -> tuple[RRset, ...]:
    v4, v6 = addresses
    rrsets: list[RRset] = []
    if v4:
        rrsets.append(rrset(A, ttl, v4))
    if rules.owner:
        rrsets.append(RRset(TXT, ttl, (_marker(rules.owner, vmi),)))
    if v6:
        rrsets.append(rrset(AAAA, ttl, v6))
    return tuple(rrsets)


@lru_cache(maxsize=64)
def _marker(owner: str, vmi: str) -> bytes:
    # Cached, since all names of one VMI carry the same marker, one after the other.
    return Marker(owner, vmi).rdata()


_label = lru_cache(maxsize=1024)(names.legal_label)
"""For the names of interfaces: a cluster has few, one at each VMI."""


@lru_cache(maxsize=4096)
def _branch(namespace: str, base: bytes) -> bytes | None:
    label = names.legal_label(namespace)
    return label + base if label else None


def _stem(text: str) -> bytes | None:
    """Return the labels of a dotted name, without the root, or None where it cannot be a DNS name."""
    if "." not in text:
        return names.legal_label(text)
    found = [names.legal_label(label) for label in text.split(".")]
    return b"".join(label for label in found if label) if all(found) else None


def _hostname(hostname: str, branch: bytes, rules: Rules) -> bytes | None:
    """Return the owner name that the annotation asks for, or None where it may not have it.

    A name without a final dot is a label sequence under the VMI's namespace, so whoever may write VMIs in one
    namespace can never take a name outside of that namespace's branch.
    """
    absolute = hostname.endswith(".")
    stem = _stem(hostname[:-1] if absolute else hostname)
    if stem is None:
        return None
    if not absolute:
        return stem + branch if len(stem) + len(branch) <= names.MAX_NAME else None
    name = stem + names.ROOT
    if len(name) > names.MAX_NAME or not names.is_below(name, rules.zone) or _is_reserved(name, rules):
        return None
    if rules.hostname_scope is HostnameScope.ZONE or (names.is_below(name, branch) and name != branch):
        return name
    return None


def _is_reserved(name: bytes, rules: Rules) -> bool:
    """Return whether `name` is the zone's own, whoever asks for it."""
    return name in {rules.zone, rules.base, rules.name_server_name}


def _refusal(hostname: str, rules: Rules) -> str:
    stem = _stem(hostname.removesuffix("."))
    if stem is None:
        return f"{hostname!r} cannot be a DNS name"
    if hostname.endswith(".") and rules.hostname_scope is HostnameScope.NAMESPACE:
        return f"{hostname!r} is outside of the VMI's namespace; an admin allows it with HOSTNAME_SCOPE=zone"
    if _is_reserved(stem + names.ROOT, rules):
        return f"{hostname!r} is kept for the zone itself"
    return f"{hostname!r} is not in the zone {names.to_text(rules.zone)}, or too long"


def apex_name_server(rules: Rules) -> RRset | None:
    """Return the NS RRset that the apex needs for the zone's own name server, or None where it needs none."""
    if not rules.name_server or rules.base != rules.zone or rules.reverse:
        return None
    return RRset(NS, rules.ttl, (rules.name_server_name,))


def desired(vmis: Iterable[Vmi], rules: Rules) -> Desired:
    """Return what `vmis` want."""
    wanted = Desired(rules)
    for vmi in vmis:
        wanted.put(vmi)
    return wanted
