"""VMIs -> the nodes that the zone should hold, by owner name; who wins where two want one name.

Every VMI stakes claims on names. A claim from an interface wins over one from an annotation; otherwise the VMI that was
created first wins. So the outcome depends on the VMIs alone, never on the order of events. The same order decides who
stays within the limits.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable
from enum import Enum, StrEnum
from functools import lru_cache
from itertools import islice
from typing import TypeAlias

import msgspec

from ksd_ddns.kubevirt.vmi import Interface, Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.codec import STATEMENT_OVERHEAD
from ksd_ddns.wire.rrset import AAAA, NS, PTR, TXT, A, Node, RRset, rrset
from ksd_ddns.zone.marker import Marker
from ksd_ddns.zone.quota import Quota, Rank

MAX_NOTICES = 10
"""Notices about one VMI; the others are counted in one more."""

MAX_RRSET_OCTETS = 30_000
"""Octets of an RRset, no name compressed: one UPDATE message must hold what was seen and what is wanted."""


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

    `max_addresses` counts for each address family of an interface, `max_names` for each VMI, `max_namespace_names` for
    each namespace (0: no limit), `max_rrset` for the records of one type at one name.

    With `reverse`, an owner name in `zone`, the records are PTR records of the addresses below it, to the names below
    `base`; several VMIs may share one. What lies below one of `excluded` is published elsewhere.
    """

    base: bytes
    zone: bytes
    ttl: int = 60
    owner: str = ""
    default_record: bool = True
    hostname_scope: HostnameScope = HostnameScope.NAMESPACE
    max_addresses: int = 16
    max_names: int = 50
    max_namespace_names: int = 0
    max_rrset: int = 90
    publish: tuple[Network, ...] = ()
    exclude: tuple[Network, ...] = ()
    name_server: tuple[bytes, ...] = ()
    reverse: bytes = b""
    excluded: tuple[bytes, ...] = ()

    @property
    def name_server_name(self) -> bytes:
        """The owner name of the zone's own name server: `ns.<base>`."""
        return b"\2ns" + self.base


class Notice(msgspec.Struct, frozen=True):
    """Something about a VMI that its owner should know; `vmi` is `namespace/name`, `text` a sentence."""

    vmi: str
    text: str


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What one VMI wants to stand at one name. Of two claims on a name the one with the lower rank has it."""

    rank: tuple[int, int, str, str, str]
    vmi: str
    node: Node


class Collision(msgspec.Struct, frozen=True):
    """A name that `loser` wants and `winner` has.

    `annotation`: because it is the name of an interface of the winner, and the loser wants it by an annotation only;
    otherwise because the winner was created first.
    """

    name: bytes
    winner: str
    loser: str
    wanted: Node
    annotation: bool = False


class Effect(Enum):
    """What putting a VMI in would do to the records that it wants."""

    NONE = "none"
    REMOVES = "removes"
    CHANGES = "changes"


_Families: TypeAlias = tuple[tuple[bytes, ...], tuple[bytes, ...]]
"""Addresses by family: those of IPv4, those of IPv6."""

_ZONE, _INTERFACE, _ANNOTATION = -1, 0, 1
"""What a claim comes from, the strongest first."""


class Desired:
    """The desired zone content: what the VMIs that were put in here want, and the zone's own records.

    Everything costs in proportion to the VMI at hand and to the names that it moves, never to the number of VMIs.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._claims: dict[bytes, Claim | list[Claim]] = {}
        self._staked: dict[str, tuple[Claim, ...]] = {}
        self._notices: dict[str, tuple[Notice, ...]] = {}
        self._contested: set[bytes] = set()
        self._quota = Quota(rules.max_namespace_names) if rules.max_namespace_names else None
        self._sharing: dict[str, Vmi] = {}
        self._renoticed: set[str] = set()
        self._latest: tuple[Vmi, _Wanted] | None = None
        for node in _own_records(rules):
            self._stake(Claim((_ZONE, 0, "", "", ""), "", node))

    def put(self, vmi: Vmi) -> set[bytes]:
        """Take `vmi` as it is now; return the names whose content that may change."""
        key = vmi.key
        wanted = self._wanted(vmi)
        self._latest = None
        if self._quota is None:
            return self._replace(key, wanted, len(wanted))
        others = self._quota.put(key, _rank(vmi), len(wanted))
        if len(wanted):
            self._sharing[key] = vmi
        else:
            self._sharing.pop(key, None)
        touched = self._replace(key, wanted, self._quota.granted(key))
        return self._share_out(others, touched)

    def remove(self, key: str) -> set[bytes]:
        """Forget the VMI `namespace/name`; return the names whose content that may change."""
        touched = self._take_back(key)
        self._notices.pop(key, None)
        if self._quota is None:
            return touched
        self._sharing.pop(key, None)
        return self._share_out(self._quota.remove(key), touched)

    def effect(self, vmi: Vmi) -> Effect:
        """Return what `put` would do to the records that `vmi` wants; `remove`, where it is no longer published."""
        key = vmi.key
        wanted = self._wanted(vmi)
        self._latest = vmi, wanted  # `put` comes next, most of the time
        before = self._staked.get(key, ())
        short = self._quota is not None and self._quota.is_short(key)
        most = self._quota.granted(key) if self._quota is not None and short else len(wanted)
        after = wanted.claims(most, self._rules)
        if after == before:
            return Effect.NONE
        nodes = {claim.node.name: claim.node for claim in before}
        if all(_is_part(claim.node, nodes.get(claim.node.name)) for claim in after):
            return Effect.REMOVES
        return Effect.CHANGES

    def get(self, name: bytes) -> Node | None:
        """Return what should stand at `name`, or None where nothing is wanted."""
        held = self._claims.get(name)
        if held is None:
            return None
        if not isinstance(held, list):
            node = held.node
            return node if not self._rules.reverse or len(node.rrsets[0].rdatas) < 10 else _shared([held], self._rules)
        return _shared(held, self._rules) if self._rules.reverse else held[0].node

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
        found = self._notices.get(key, ())
        left_out = self._left_out(key) if self._rules.reverse else []
        if not left_out:
            return found
        first = names.to_text(left_out[0])
        which = first if len(left_out) == 1 else f"{first} and {len(left_out) - 1} more"
        text = f"too many interfaces share an address, not all have a PTR record at {which} (MAX_RRSET)"
        return (Notice(key, text), *found)

    def notices(self) -> list[Notice]:
        """Return what the VMIs' owners should know, in the order of the VMIs' names."""
        keys = self._notices.keys() | (self._staked.keys() if self._rules.reverse else set())
        return [notice for key in sorted(keys) for notice in self.notices_of(key)]

    def take_renoticed(self) -> set[str]:
        """Return the VMIs whose notices may have changed, since the last call, because of other VMIs."""
        found, self._renoticed = self._renoticed, set()
        return found

    def collisions(self, among: Collection[bytes] | None = None) -> list[Collision]:
        """Return every claim that lost its name (one of `among`, or any) to another VMI's, in the order of names."""
        found: list[Collision] = []
        if self._rules.reverse:
            return found
        for name in sorted(self._contested if among is None else self._contested.intersection(among)):
            held = self._claims[name]
            if isinstance(held, list):
                winner = held[0]
                found += [
                    Collision(name, winner.vmi, claim.vmi, claim.node, _INTERFACE == winner.rank[0] < claim.rank[0])
                    for claim in held[1:]
                ]
        return found

    def _wanted(self, vmi: Vmi) -> "_Wanted":
        if self._latest is not None and self._latest[0] is vmi:
            return self._latest[1]
        return _wanted(vmi, self._rules)

    def _replace(self, key: str, wanted: "_Wanted", most: int) -> set[bytes]:
        """Let the first `most` of the names of `wanted` be what the VMI `key` wants."""
        touched = self._take_back(key)
        claims = wanted.claims(most, self._rules)
        for claim in claims:
            self._stake(claim)
        if claims:
            self._staked[key] = claims
            touched.update([claim.node.name for claim in claims])
        notices = () if self._rules.reverse else wanted.notices(most, self._rules)
        if notices:
            self._notices[key] = notices
        else:
            self._notices.pop(key, None)
        return touched

    def _share_out(self, others: set[str], touched: set[bytes]) -> set[bytes]:
        """Give `others` the number of names that is theirs now; return `touched` and the names that may change."""
        if self._quota is not None:
            for key in others:
                touched |= self._replace(key, _wanted(self._sharing[key], self._rules), self._quota.granted(key))
        self._renoticed |= others
        return touched

    def _take_back(self, key: str) -> set[bytes]:
        """Delete the claims of a VMI; return their names."""
        claims = self._staked.pop(key, None)
        if claims is None:
            return set()
        for claim in claims:
            self._unstake(claim)
        return {claim.node.name for claim in claims}

    def _stake(self, claim: Claim) -> None:
        name = claim.node.name
        held = self._claims.get(name)
        if held is None:
            self._claims[name] = claim
            return
        if not isinstance(held, list):
            self._claims[name] = held = [held]
            self._contested.add(name)
        insort(held, claim, key=_rank_of)
        self._renotice(held, claim)

    def _unstake(self, claim: Claim) -> None:
        name = claim.node.name
        held = self._claims[name]
        if not isinstance(held, list):
            del self._claims[name]
            return
        self._renotice(held, claim)
        del held[bisect_left(held, claim.rank, key=_rank_of)]
        if len(held) == 1:
            self._claims[name] = held[0]
            self._contested.discard(name)

    def _renotice(self, held: list[Claim], moving: Claim) -> None:
        """Note whose records go over the limit when `moving` comes, or no longer do when it goes."""
        if self._rules.reverse and len(held) > self._rules.max_rrset:
            at_limit = held[self._rules.max_rrset]
            if moving.rank < at_limit.rank:
                self._renoticed.add(at_limit.vmi)

    def _left_out(self, key: str) -> list[bytes]:
        """Return the reverse names that hold not all the PTR records which the VMI `key` wants there."""
        left_out = []
        for claim in self._staked.get(key, ()):
            node = self.get(claim.node.name)
            if node is claim.node:
                continue
            published, wanted = node.get(PTR) if node else None, claim.node.get(PTR)
            if wanted and published and not set(wanted.rdatas) <= set(published.rdatas):
                left_out.append(claim.node.name)
        return left_out


def _rank_of(claim: Claim) -> tuple[int, int, str, str, str]:
    return claim.rank


def _rank(vmi: Vmi) -> Rank:
    return vmi.created, vmi.namespace, vmi.name, vmi.uid


def _is_part(node: Node, whole: Node | None) -> bool:
    """Return whether all that stands in `node` stands in `whole`, too."""
    for item in node.rrsets:
        found = whole.get(item.type) if whole else None
        if found is None or found.ttl != item.ttl or not set(item.rdatas) <= set(found.rdatas):
            return False
    return True


def _own_records(rules: Rules) -> Iterable[Node]:
    """Return `ns.<base>` where NAME_SERVER_IP is set and the base is the zone's apex.

    Inside a larger zone an NS at the base would be a delegation that hides everything below it.
    """
    if not rules.name_server or rules.base != rules.zone or rules.reverse:
        return
    yield Node(rules.name_server_name, _rrsets(_families(rules.name_server), rules.ttl, "", rules))


class _Wanted:
    """The names that a VMI wants, as many as MAX_NAMES allows, the most important first, and what goes wrong with them.

    `names` are the default record, the interfaces, the hostnames, each with its addresses; those from `annotated` on
    come from the annotation.
    """

    __slots__ = ("_latest", "_over", "_skipped", "_vmi", "annotated", "names", "own")

    def __init__(self, vmi: Vmi) -> None:
        self._vmi = vmi
        self._over: list[str] = []
        self._skipped: list[str] = []
        self._latest: tuple[int, tuple[Claim, ...]] | None = None
        self.own = b""
        self.names: dict[bytes, _Families] = {}
        self.annotated = 0

    def __len__(self) -> int:
        return len(self.names)

    def over(self, text: str) -> None:
        """Note a limit that the VMI exceeds."""
        self._over.append(text)

    def skip(self, text: str) -> None:
        """Note something that is not published, for what it is."""
        self._skipped.append(text)

    def notices(self, most: int, rules: Rules) -> tuple[Notice, ...]:
        """Return what the VMI's owner should know, where the first `most` names are published."""
        vmi = self._vmi
        if not (self._over or self._skipped or vmi.warnings or most < len(self.names)):
            return ()
        texts = [*self._over, *vmi.warnings, *self._skipped]
        if most < len(self.names):
            texts.insert(
                0,
                f"{most} of {len(self.names)} names are published: namespace {vmi.namespace} has no more than "
                f"{rules.max_namespace_names} (MAX_NAMES_PER_NAMESPACE), older VMIs come first",
            )
        more = vmi.more_warnings + max(0, len(texts) - MAX_NOTICES)
        kept = texts[:MAX_NOTICES]
        return tuple([Notice(vmi.key, text) for text in (*kept, *([f"and {more} more warnings"] if more else []))])

    def claims(self, most: int, rules: Rules) -> tuple[Claim, ...]:
        """Return the claims on the first `most` names; in a reverse zone those of the interfaces among them."""
        if self._latest is None or self._latest[0] != most:
            self._latest = most, self._reverse(most, rules) if rules.reverse else self._forward(most, rules)
        return self._latest[1]

    def _forward(self, most: int, rules: Rules) -> tuple[Claim, ...]:
        vmi, key = self._vmi, self._vmi.key
        ttl = vmi.ttl or rules.ttl
        rank = (_INTERFACE, *_rank(vmi))
        # Most VMIs have few addresses, and several names for each.
        rrsets = {addresses: _rrsets(addresses, ttl, key, rules) for addresses in set(self.names.values())}
        claims = [Claim(rank, key, Node(name, rrsets[addresses])) for name, addresses in self.names.items()]
        if self.annotated < len(claims):
            weaker = (_ANNOTATION, *_rank(vmi))
            claims[self.annotated :] = [Claim(weaker, key, claim.node) for claim in claims[self.annotated :]]
        return tuple(claims if most >= len(claims) else claims[:most])

    def _reverse(self, most: int, rules: Rules) -> tuple[Claim, ...]:
        targets: dict[bytes, list[bytes]] = {}
        for target, addresses in islice(self.names.items(), min(most, self.annotated)):
            if target == self.own:
                continue
            for address in (*addresses[0], *addresses[1]):
                name = names.reverse(address)
                if names.is_below(name, rules.reverse) and not any(
                    names.is_below(name, other) for other in rules.excluded
                ):
                    targets.setdefault(name, []).append(target)
        vmi = self._vmi
        rank = (_INTERFACE, *_rank(vmi))
        ttl = vmi.ttl or rules.ttl
        return tuple(
            [
                Claim(rank, vmi.key, Node(name, _with_marker(rrset(PTR, ttl, found), vmi.key, rules)))
                for name, found in targets.items()
            ]
        )


def _wanted(vmi: Vmi, rules: Rules) -> _Wanted:
    """Return what `vmi` wants."""
    wanted = _Wanted(vmi)
    if vmi.ignored or not vmi.live or not vmi.interfaces:
        return wanted
    branch = _branch(vmi.namespace, rules.base)
    stem = _stem(vmi.name)
    if branch is None or stem is None or len(stem) + len(branch) > names.MAX_NAME:
        wanted.skip(f"{_shown(vmi.name)}.{_shown(vmi.namespace)} cannot be a DNS name: nothing is published")
        return wanted
    wanted.own = own = stem + branch
    found = wanted.names
    if rules.default_record:
        found[own] = ((), ())  # the first of its names, whatever the limit; its addresses follow
    first, complete = _add_interfaces(wanted, vmi, rules)
    if not any(first):
        found.clear()
        return wanted
    if rules.default_record:
        found[own] = first
    wanted.annotated = len(found)
    # In a reverse zone hostnames are only counted.
    if complete and rules.hostname_scope is not HostnameScope.OFF and (not rules.reverse or rules.max_namespace_names):
        complete = _add_hostnames(wanted, vmi, branch, first, rules)
    if not complete:
        wanted.over(f"more than {rules.max_names} names (MAX_NAMES): interfaces come first, the rest is not published")
    return wanted


def _add_interfaces(wanted: _Wanted, vmi: Vmi, rules: Rules) -> tuple[_Families, bool]:
    """Add the names of the interfaces; return the addresses of the default record, and whether MAX_NAMES sufficed.

    Where an interface and a hostname have one name, the interface comes first, and keeps it.
    """
    found = wanted.names
    first: _Families = ((), ())
    complete = True
    crowded: list[str] = []
    most = min(rules.max_addresses, rules.max_rrset)
    for interface in vmi.interfaces:
        if not complete and all(first):
            break
        addresses, fits = _publishable(interface, rules, most)
        if not any(addresses):
            continue
        if not fits:
            crowded.append(interface.name)
        first = (first[0] or addresses[0], first[1] or addresses[1])
        label = _label(interface.name)
        if label is None or len(label) + len(wanted.own) > names.MAX_NAME:
            wanted.skip(f"interface {_quoted(interface.name)} cannot be a DNS name: it is not published")
        elif label + wanted.own in found:
            wanted.skip(f"interface {_quoted(interface.name)} has the DNS name of another interface")
        elif len(found) < rules.max_names:
            found[label + wanted.own] = addresses
        else:
            complete = False
    if crowded:
        others = f" and {len(crowded) - 1} more have" if len(crowded) > 1 else " has"
        wanted.over(
            f"interface {_quoted(crowded[0])}{others} more than {most} addresses of one family "
            f"(MAX_ADDRESSES): the first {most} are published"
        )
    return first, complete


def _add_hostnames(wanted: _Wanted, vmi: Vmi, branch: bytes, first: _Families, rules: Rules) -> bool:
    """Add the names of the annotation, with the addresses `first`; return whether MAX_NAMES sufficed."""
    found = wanted.names
    for hostname in vmi.hostnames:
        name = _hostname(hostname, branch, rules)
        if name is None:
            wanted.skip(f"annotation ksd-ddns/hostname: {_refusal(hostname, rules)}")
        elif name in found:
            continue
        elif len(found) < rules.max_names:
            found[name] = first
        else:
            return False
    return True


def interface_name(vmi: Vmi, interface: str, rules: Rules) -> bytes | None:
    """Return the owner name of an interface of `vmi`, or None where it cannot be a DNS name."""
    branch, stem, label = _branch(vmi.namespace, rules.base), _stem(vmi.name), _label(interface)
    if branch is None or stem is None or label is None:
        return None
    name = label + stem + branch
    return name if len(name) <= names.MAX_NAME else None


def _with_marker(published: RRset, vmi: str, rules: Rules) -> tuple[RRset, ...]:
    return (published, RRset(TXT, published.ttl, (_marker(rules.owner, vmi),))) if rules.owner else (published,)


def _shared(claims: list[Claim], rules: Rules) -> Node:
    """Return the first claim's node with the PTR records of all of them: one address, several names.

    As many as may stand in one RRset, those of the first claims.
    """
    first = claims[0].node
    ttl = claims[0].node.rrsets[0].ttl
    found: dict[bytes, None] = {}
    room = MAX_RRSET_OCTETS
    for claim in claims:
        item = claim.node.get(PTR)
        if item is None:
            continue
        for rdata in item.rdatas:
            room -= len(first.name) + STATEMENT_OVERHEAD + len(rdata)
            if room < 0 or len(found) == rules.max_rrset:
                return first.with_rrsets([rrset(PTR, ttl, found)], types=(PTR,))
            found[rdata] = None
            ttl = min(ttl, item.ttl)
    return first.with_rrsets([rrset(PTR, ttl, found)], types=(PTR,))


def _publishable(interface: Interface, rules: Rules, most: int) -> tuple[_Families, bool]:
    """Return the addresses of an interface that are published, `most` of each family, and whether that is all."""
    addresses = interface.addresses
    if rules.publish or rules.exclude:
        addresses = tuple(
            address
            for address in addresses
            if (not rules.publish or any(address in network for network in rules.publish))
            and not any(address in network for network in rules.exclude)
        )
    v4, v6 = found = _families(addresses)
    if len(addresses) <= most or (len(v4) <= most and len(v6) <= most):
        return found, True
    return (v4[:most], v6[:most]), False


def _families(addresses: tuple[bytes, ...]) -> _Families:
    if len(addresses) == 1:  # most interfaces
        return (addresses, ()) if len(addresses[0]) == 4 else ((), addresses)
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


def _quoted(text: str) -> str:
    """Return `text` for a message, quoted, no longer than a line: anyone who can write a VMI can write a novel."""
    return repr(_shown(text))


def _shown(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


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
        return f"{_quoted(hostname)} cannot be a DNS name"
    if hostname.endswith(".") and rules.hostname_scope is HostnameScope.NAMESPACE:
        return f"{_quoted(hostname)} is outside of the VMI's namespace; an admin allows it with HOSTNAME_SCOPE=zone"
    if _is_reserved(stem + names.ROOT, rules):
        return f"{_quoted(hostname)} is kept for the zone itself"
    return f"{_quoted(hostname)} is not in the zone {names.to_text(rules.zone)}, or too long"


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
