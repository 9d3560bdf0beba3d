# SPDX-License-Identifier: Apache-2.0
"""Builders of zone content for the tests of the core, and a primary that follows RFC 2136 to the letter."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from ksd_ddns.kubevirt.vmi import Interface, Vmi
from ksd_ddns.wire import names
from ksd_ddns.wire.codec import Record, Statement
from ksd_ddns.wire.rrset import AAAA, CNAME, DNAME, NS, PTR, SOA, SRV, TXT, A, Node, RRset, rrset
from ksd_ddns.wire.txt import text_rdata
from ksd_ddns.zone.desired import Desired, Rules, desired
from ksd_ddns.zone.live import Live
from ksd_ddns.zone.plan import SERVICES, Ownership, Policy, Scope

OWNER = "test"
SSHFP = 44


def n(text: str) -> bytes:
    """Return the owner name `text`."""
    return names.from_text(text)


ZONE = n("example.")
BASE = n("vm.example.")
REVERSE = n("10.in-addr.arpa.")


def ip(text: str) -> bytes:
    """Return an address, packed."""
    return ip_address(text).packed


def ips(*texts: str) -> tuple[bytes, ...]:
    """Return addresses, packed."""
    return tuple(ip(text) for text in texts)


def a(*texts: str, ttl: int = 60) -> RRset:
    """Return an A RRset."""
    return rrset(A, ttl, ips(*texts))


def aaaa(*texts: str, ttl: int = 60) -> RRset:
    """Return an AAAA RRset."""
    return rrset(AAAA, ttl, ips(*texts))


def txt(*texts: str, ttl: int = 60) -> RRset:
    """Return a TXT RRset, one record for each of `texts`."""
    return rrset(TXT, ttl, (text_rdata(text.encode()) for text in texts))


def mark(vmi: str = "prod/db", *, owner: str = OWNER, more: str = "") -> str:
    """Return the text of an ownership record."""
    return f"heritage=ksd-ddns,owner={owner},vmi={vmi}{more}"


def cname(target: str, ttl: int = 60) -> RRset:
    """Return a CNAME RRset."""
    return rrset(CNAME, ttl, [n(target)])


def dname(target: str, ttl: int = 60) -> RRset:
    """Return a DNAME RRset."""
    return rrset(DNAME, ttl, [n(target)])


def ns(*targets: str, ttl: int = 60) -> RRset:
    """Return an NS RRset."""
    return rrset(NS, ttl, (n(target) for target in targets))


def ptr(*targets: str, ttl: int = 60) -> RRset:
    """Return a PTR RRset."""
    return rrset(PTR, ttl, (n(target) for target in targets))


def srv(*records: tuple[int, str], ttl: int = 60) -> RRset:
    """Return an SRV RRset, one record for each port and target; priority and weight are 0."""
    return rrset(SRV, ttl, (bytes(4) + port.to_bytes(2, "big") + n(target) for port, target in records))


def sshfp(octet: int = 1, ttl: int = 60) -> RRset:
    """Return an SSHFP RRset: a type that ksd-ddns does not manage."""
    return rrset(SSHFP, ttl, [bytes((1, 1)) + bytes([octet]) * 20])


def node(name: str | bytes, *rrsets: RRset) -> Node:
    """Return a node."""
    owner = n(name) if isinstance(name, str) else name
    return Node(owner, tuple(sorted(rrsets, key=lambda item: item.type)))


def live(*nodes: Node, zone: bytes = ZONE, serial: int = 1) -> Live:
    """Return a zone of `nodes`, with an NS at its apex unless they bring one."""
    held = {zone: node(zone, ns("ns.elsewhere."))}
    held.update((item.name, item) for item in nodes)
    return Live(zone, serial, held)


def vmi(
    name: str = "db",
    namespace: str = "prod",
    interfaces: Mapping[str, Sequence[str]] | None = None,
    *,
    created: int = 1000,
    ttl: int | None = None,
    hostnames: Iterable[str] = (),
    ignored: bool = False,
    alive: bool = True,
    uid: str = "",
    definitions: Mapping[str, str] | None = None,
) -> Vmi:
    """Return a VMI with the secondary interfaces `interfaces`: `net1` with 10.1.0.9 by default.

    `definitions` are the NetworkAttachmentDefinitions of the networks.
    """
    found = {"net1": ["10.1.0.9"]} if interfaces is None else interfaces
    return Vmi(
        key=f"{namespace}/{name}",
        namespace=namespace,
        name=name,
        uid=uid or f"uid-of-{namespace}-{name}",
        created=created,
        live=alive,
        interfaces=tuple(Interface(nic, ips(*found[nic])) for nic in sorted(found)),
        networks=dict.fromkeys(found, "") | dict(definitions or {}),
        ignored=ignored,
        ttl=ttl,
        hostnames=tuple(hostnames),
    )


def txt_rules(**settings: object) -> Rules:
    """Return the rules of a company's zone with ownership records."""
    return Rules(**{"base": BASE, "zone": ZONE, "owner": OWNER, **settings})  # type: ignore[arg-type]


def zone_rules(**settings: object) -> Rules:
    """Return the rules of a zone that serves ksd-ddns alone."""
    return Rules(**{"base": BASE, "zone": BASE, **settings})  # type: ignore[arg-type]


def scope(rules: Rules, **settings: object) -> Scope:
    """Return the scope for `rules`: ownership records if they have an owner; base and `ns.<base>` protected."""
    ownership = Ownership.TXT if rules.owner else Ownership.ZONE
    default: dict[str, object] = {"ownership": ownership, "owner": rules.owner, "policy": Policy.SYNC}
    if rules.reverse:
        default |= {
            "base": rules.reverse,
            "forward": rules.base,
            "types": (PTR,),
            "base_only": True,
            "protected": frozenset({rules.reverse}),
        }
    else:
        default |= {"base": rules.base, "protected": frozenset({rules.base, rules.name_server_name})}
        default |= {"types": SERVICES} if rules.group_srv else {}
    return Scope(**{**default, **settings})  # type: ignore[arg-type]


def reverse_rules(**settings: object) -> Rules:
    """Return the rules of a company's reverse zone with ownership records."""
    default = {"base": BASE, "zone": REVERSE, "reverse": REVERSE, "owner": OWNER}
    return Rules(**{**default, **settings})  # type: ignore[arg-type]


def wanted(*vmis: Vmi, rules: Rules | None = None) -> Desired:
    """Return what `vmis` want, in a zone with ownership records unless `rules` say otherwise."""
    return desired(vmis, rules or txt_rules())


def soa(serial: int, *, zone: bytes = ZONE, minimum: int = 30) -> Record:
    """Return an SOA record."""
    numbers = b"".join(number.to_bytes(4, "big") for number in (serial, 3600, 600, 86400, minimum))
    return zone, SOA, 3600, n("ns.elsewhere.") + n("hostmaster.elsewhere.") + numbers


def records(nodes: Iterable[Node]) -> list[Record]:
    """Return the records of `nodes`."""
    return [(item.name, each.type, each.ttl, rdata) for item in nodes for each in item.rrsets for rdata in each.rdatas]


_L = "L" * 63
VARIED = rf"""
@               NS      ns1.SubDomain
ns1.SubDomain   A       192.0.2.53
                AAAA    2001:DB8::53
Upper.CASE      A       192.0.2.1
UPPER.case      A       192.0.2.2
                300     TXT     "Text Keeps Its Case" "two strings"
long.txt        TXT     "{"x" * 255}" "{"y" * 255}" "{"z" * 200}"
empty.txt       TXT     ""
odd.txt         TXT     "quote \" backslash \\ semicolon ; \000\010\255"
cname           CNAME   Upper.CASE
far             CNAME   Elsewhere.Example.ORG.
mail            MX      10 Mail.CASE
                MX      20 mail.example.ORG.
_sip._TCP       SRV     1 2 5060 Sip.CASE
ptr             PTR     Upper.CASE
rp              RP      Admin.CASE Text.CASE
afsdb           AFSDB   1 Afs.CASE
rt              RT      5 Rt.CASE
kx              KX      5 Kx.CASE
px              TYPE26  \# 18 0005 03 4D 41 50 00 05 4F 74 68 65 72 03 6D 61 70 00
naptr           NAPTR   100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
                NAPTR   100 20 "s" "SIP+D2U" "" _sip._UDP.CASE
hinfo           HINFO   "PDP-11" "UNIX"
loc             LOC     52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
sshfp           SSHFP   4 2 {"ab" * 32}
_443._tcp.tlsa  TLSA    3 1 1 {"cd" * 32}
caa             CAA     0 issue "ca.example.net; Policy=EV"
_ftp._tcp.uri   URI     10 1 "ftp://Ftp.example/Public"
svcb            SVCB    1 Svc.CASE alpn="h2,h3" port=8443 ipv4hint=192.0.2.1 key65333=Ex
https           HTTPS   0 Alias.CASE
unknown         TYPE65280 \# 4 0A000001
                TYPE65281 \# 0
dname           DNAME   Target.CASE
*.wild          A       192.0.2.3
*               TXT     "wildcard at the apex"
deleg           NS      Ns.deleg
                DS      12345 13 2 {"ef" * 32}
Ns.deleg        A       192.0.2.4
below.deleg     TXT     "hidden below the delegation"
a\.b            TXT     "a dot in a label"
sp\032ace       TXT     "a space"
\000\255\"\;\@\$  TXT  "odd octets"
_under_score    TXT     "underscores"
-edge-          TXT     "hyphens"
{_L}.{_L}.{_L}.{"m" * 53} TXT "a name of 255 octets"
target-of-long  MX      1 {_L}.{_L}.{_L}.{"M" * 53}
deep.{".".join("abcdefghijklmnopqrstuvwxyz" * 4)} AAAA 2001:db8::1
"""
"""Records of a zone `example.` in the presentation form: every type, every kind of name."""


class Primary:
    """A zone that takes UPDATE messages exactly as RFC 2136, 3 says, independent of the code under test.

    The RFC leaves open what becomes of the TTL of an RRset when a record with another TTL is added to it (RFC 2181,
    5.2 wants one TTL): with `last_ttl` the RRset takes the new one, as in BIND, else it keeps its own, as in Knot.

    With `subsets` it breaks a rule: an RRset satisfies a prerequisite that lists some of its records, as in Samba.
    """

    _CLASS_IN, _CLASS_NONE, _CLASS_ANY = 1, 254, 255
    _TYPE_SOA, _TYPE_NS, _TYPE_CNAME, _TYPE_ANY = 6, 2, 5, 255
    _META = frozenset(range(249, 256))

    def __init__(self, zone: bytes, nodes: Iterable[Node], *, last_ttl: bool = True, subsets: bool = False) -> None:
        self._zone = zone
        self._last_ttl = last_ttl
        self._subsets = subsets
        self._ttls: dict[tuple[bytes, int], int] = {}
        self._rdatas: dict[tuple[bytes, int], set[bytes]] = {}
        for item in nodes:
            self.put(item)

    def put(self, content: Node) -> None:
        """Replace the node at the name of `content`."""
        for key in [key for key in self._rdatas if key[0] == content.name]:
            del self._rdatas[key]
        for item in content.rrsets:
            self._rdatas[content.name, item.type] = set(item.rdatas)
            self._ttls[content.name, item.type] = item.ttl

    def nodes(self) -> dict[bytes, Node]:
        """Return the contents of the zone."""
        found: dict[bytes, list[RRset]] = {}
        for (name, rdtype), rdatas in sorted(self._rdatas.items()):
            found.setdefault(name, []).append(RRset(rdtype, self._ttls[name, rdtype], tuple(sorted(rdatas))))
        return {name: Node(name, tuple(rrsets)) for name, rrsets in found.items()}

    def update(self, prerequisites: Sequence[Statement], updates: Sequence[Statement]) -> str:
        """Process one message; return the mnemonic of its RCODE. Unless that is NOERROR nothing changed."""
        refusal = self._checked(prerequisites) or self._scanned(updates)
        if refusal:
            return refusal
        for statement in updates:
            self._apply(statement)
        return "NOERROR"

    def _checked(self, prerequisites: Sequence[Statement]) -> str:
        """RFC 2136, 3.2.5."""
        by_value: dict[tuple[bytes, int], set[bytes]] = {}
        for name, rdtype, rdclass, ttl, rdata in prerequisites:
            if ttl != 0:
                return "FORMERR"
            if not self._inside(name):
                return "NOTZONE"
            if rdclass == self._CLASS_IN:
                by_value.setdefault((name, rdtype), set()).add(rdata)
                continue
            if rdata or rdclass not in (self._CLASS_ANY, self._CLASS_NONE):
                return "FORMERR"
            if rdtype == self._TYPE_ANY:
                there = any(key[0] == name for key in self._rdatas)
                if there != (rdclass == self._CLASS_ANY):
                    return "YXDOMAIN" if there else "NXDOMAIN"
            else:
                there = (name, rdtype) in self._rdatas
                if there != (rdclass == self._CLASS_ANY):
                    return "YXRRSET" if there else "NXRRSET"
        return "" if all(self._holds(key, rdatas) for key, rdatas in by_value.items()) else "NXRRSET"

    def _holds(self, key: tuple[bytes, int], rdatas: set[bytes]) -> bool:
        held = self._rdatas.get(key, set())
        return rdatas <= held if self._subsets else rdatas == held

    def _scanned(self, updates: Sequence[Statement]) -> str:
        """RFC 2136, 3.4.1.3."""
        for name, rdtype, rdclass, ttl, rdata in updates:
            if not self._inside(name):
                return "NOTZONE"
            if rdclass == self._CLASS_IN:
                good = rdtype not in self._META
            elif rdclass == self._CLASS_ANY:
                good = ttl == 0 and not rdata and (rdtype not in self._META or rdtype == self._TYPE_ANY)
            else:
                good = rdclass == self._CLASS_NONE and ttl == 0 and rdtype not in self._META
            if not good:
                return "FORMERR"
        return ""

    def _apply(self, statement: Statement) -> None:
        """RFC 2136, 3.4.2.7."""
        name, rdtype, rdclass, ttl, rdata = statement
        key = (name, rdtype)
        if rdclass == self._CLASS_IN:
            others = any(held[0] == name and held[1] != rdtype for held in self._rdatas)
            if others if rdtype == self._TYPE_CNAME else (name, self._TYPE_CNAME) in self._rdatas:
                return  # silently: 3.4.2.2
            if key not in self._rdatas or self._last_ttl:
                self._ttls[key] = ttl
            self._rdatas.setdefault(key, set()).add(rdata)
        elif rdclass == self._CLASS_ANY:
            for held in [held for held in self._rdatas if held[0] == name and rdtype in (held[1], self._TYPE_ANY)]:
                if name != self._zone or held[1] not in (self._TYPE_SOA, self._TYPE_NS):
                    del self._rdatas[held]
        elif rdata in self._rdatas.get(key, ()):
            if rdtype == self._TYPE_NS and name == self._zone and len(self._rdatas[key]) == 1:
                return
            self._rdatas[key].discard(rdata)
            if not self._rdatas[key]:
                del self._rdatas[key]

    def _inside(self, name: bytes) -> bool:
        """Return whether `name` is in the zone, by its labels."""
        while name != self._zone:
            if not name[0]:
                return False
            name = name[1 + name[0] :]
        return True
