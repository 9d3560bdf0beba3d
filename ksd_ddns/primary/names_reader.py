# SPDX-License-Identifier: Apache-2.0
"""Reads names of a zone by signed queries, for zones that cannot be transferred.

A name is asked for TXT first. If it does not exist, that is all. If it holds our ownership record, only the types that
we publish are asked. Every other name is asked for what may stand in our way: CNAME, NS, other types, and a wildcard
that only makes it look as if the name existed.

Fails closed: without a signature, or if the answer about the zone's apex or its index is an error, truncated or not
authoritative, there is no result. If such an answer is about another name, that name is unreadable. A referral and a
DNAME show that the name is in another zone.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from ksd_ddns.errors import BadResponse
from ksd_ddns.primary import diagnosis
from ksd_ddns.primary.exchange import Exchange
from ksd_ddns.primary.queries import Question, ask, poll
from ksd_ddns.wire import codec, names, rcodes
from ksd_ddns.wire.codec import Message, Record
from ksd_ddns.wire.rrset import ANY, CNAME, DNAME, DNSKEY, NS, SOA, SRV, TXT, Node, RRset, rrset
from ksd_ddns.wire.text import rdtype_text
from ksd_ddns.wire.transfer import GENERATED
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.answers import Answers
from ksd_ddns.zone.desired import is_service
from ksd_ddns.zone.index import Entry, Index

Progress = Callable[[int], None]
"""Gets the number of answers so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesRequest:
    """What to read: the nodes at `names`, and at the names that `shards` of the index list and that are not known.

    With `full`, all shards are read, and all names that they list. `types` are the types that we publish, `known`
    returns the records of the index that are known of a name. `cuts` are the known delegations and DNAMEs: next to our
    records, only a query for it shows a DNAME.
    """

    names: Collection[bytes]
    shards: Collection[bytes]
    full: bool
    index: Index
    types: tuple[int, ...]
    known: Callable[[bytes], tuple[Entry, ...]]
    cuts: Collection[bytes] = ()


class NamesReader:
    """Reads names of `zone` over one exchange."""

    def __init__(
        self, exchange: Exchange, zone: bytes, request: NamesRequest, *, progress: Progress | None = None
    ) -> None:
        self._exchange = exchange
        self._zone = zone
        self._request = request
        self._index = request.index
        self._types = request.types
        self._known = request.known
        self._progress = progress
        self._answered = 0
        self._found: dict[bytes, dict[int, RRset]] = {}
        self._absent: set[bytes] = set()
        self._cuts: set[bytes] = set()
        self._hidden: set[bytes] = set()
        self._unreadable: set[bytes] = set()
        self._strict = True
        self._listed: dict[bytes, list[Entry]] = {}

    def read(self) -> Answers:
        """Send the queries and return the answers. Raises PrimaryError."""
        full = self._request.full
        serial = poll(self._exchange, self._zone, (), other_server=False).serial
        wanted, parts = set(self._request.names), set(self._request.shards)
        if full:
            wanted |= {self._zone, self._index.head}
            self._ask([(self._index.head, TXT)])
            parts = set(self._index.all_shards(self._index.shards(self._node(self._index.head))))
        self._ask((shard, TXT) for shard in parts)
        listed = self._listed
        for shard in parts:
            for name, entry in self._index.entries(shard, self._found.get(shard, {}).get(TXT)):
                if names.is_below(name, self._zone):
                    listed.setdefault(name, []).append(entry)
        wanted |= {name for name, entries in listed.items() if full or not set(entries) <= set(self._known(name))}
        self._read(wanted - parts)
        unreadable = self._unreadable & (wanted - parts)
        nodes = {}
        for name in (wanted | self._cuts) - parts - unreadable:
            others = () if full else tuple(entry for entry in self._known(name) if entry[0] not in parts)
            node = self._node(name, (*listed.get(name, ()), *others))
            if node.rrsets or node.index:
                nodes[name] = node
        if full and not nodes.get(self._zone, Node(self._zone)).get(NS):
            raise self._bad(self._zone, "it has no NS records at the zone's apex")
        return Answers(serial, (wanted | self._cuts) - parts, nodes, self._cuts, full, unreadable)

    def _read(self, wanted: set[bytes]) -> None:
        """Ask for all that is needed of the names `wanted`."""
        strict = wanted & {self._zone, self._index.head}
        self._ask((name, TXT) for name in strict)
        self._strict = False
        self._ask((name, TXT) for name in wanted - strict)
        present = wanted - self._absent - self._hidden - self._unreadable
        ours = {name for name in present if self._is_ours(name)}
        self._ask((name, rdtype) for name in present for rdtype in self._types)
        # The SRV records of a service are ours also when GROUP_SRV has been turned off.
        self._ask((name, SRV) for name in present if is_service(name) and SRV not in self._types)
        self._ask((name, rdtype) for name in present if name in self._request.cuts for rdtype in (DNAME, NS))
        foreign = [name for name in present if name not in ours and name not in self._hidden]
        self._ask((name, rdtype) for name in foreign for rdtype in (CNAME, NS))
        if self._zone in present:
            self._ask([(self._zone, NS), (self._zone, DNSKEY)])
        foreign = [name for name in foreign if name not in self._hidden and name != self._zone]
        # The name may hold other types, or only be an ancestor of an existing name.
        self._ask(((name, ANY) for name in foreign if not self._found.get(name)), optional=True)
        sources = {name: list(self._wildcards(name)) for name in foreign if self._found.get(name)}
        # Only a wildcard of ours has our ownership record. A full read includes them all.
        any_of_ours = not self._request.full or any(name.startswith(b"\1*") for name in wanted)
        for name in ours if any_of_ours else ():
            known = [source for source in self._wildcards(name) if source in wanted or self._is_listed(source)]
            if known and self._found.get(name):
                sources[name] = known
        self._discard_synthesized(sources)
        self._ask([(cut, NS) for cut in self._cuts if not self._found.get(cut)])  # an answer may show another cut

    def _discard_synthesized(self, sources: dict[bytes, list[bytes]]) -> None:
        """Discard the records that come from a wildcard: in the sense of a prerequisite, there are none.

        `sources` are the wildcards that may be the source of the records of each name. If a name has the records of one
        of them, a name below it shows whether it exists: then no wildcard above it applies there (RFC 4592, 3.3.1).
        """
        wildcards = {source for each in sources.values() for source in each} - self._found.keys()
        self._ask((source, TXT) for source in wildcards)
        exist = [source for source in wildcards if source not in self._absent and source not in self._hidden]
        self._ask((source, rdtype) for source in exist for rdtype in (*self._types, CNAME))
        alike = [
            name
            for name, each in sources.items()
            if any(self._records(source) == self._records(name) for source in each)
        ]
        # A name below one that may come from a wildcard; its label cannot be guessed, so it has no records of its own.
        label = b"\10" + secrets.token_hex(4).encode()
        children = {name: label + name for name in alike if len(label + name) <= names.MAX_NAME}
        self._ask((child, rdtype) for name, child in children.items() for rdtype in self._found[name])
        for name in alike:
            if name not in children or self._records(children[name]) == self._records(name):
                del self._found[name]

    def _wildcards(self, name: bytes) -> Iterator[bytes]:
        """Yield the names of the wildcards that may answer for `name`."""
        return (source for above in self._above(name) if (source := b"\1*" + above) != name)

    def _above(self, name: bytes) -> Iterator[bytes]:
        """Yield the names above `name` that are in the zone, if a wildcard below them can be asked for."""
        above = name
        while above != self._zone:
            above = names.parent(above)
            if len(above) + 2 <= names.MAX_NAME:
                yield above

    def _records(self, name: bytes) -> dict[int, tuple[bytes, ...]]:
        return {rdtype: item.rdatas for rdtype, item in self._found.get(name, {}).items()}

    def _is_ours(self, name: bytes) -> bool:
        """Return whether the name holds our ownership record, and the index says so, too.

        Without the index, the record may come from a wildcard.
        """
        text = self._found.get(name, {}).get(TXT)
        return ownership_record.owned(text, self._index.owner) is not None and self._is_listed(name)

    def _is_listed(self, name: bytes) -> bool:
        return name in self._listed or bool(self._known(name))

    def _node(self, name: bytes, index: tuple[Entry, ...] = ()) -> Node:
        found = self._found.get(name, {})
        return Node(name, tuple(found[rdtype] for rdtype in sorted(found)), tuple(sorted(set(index))))

    def _ask(self, questions: Iterable[Question], *, optional: bool = False) -> None:
        """Ask `questions`, and keep the answers; with `optional`, an error is no answer."""
        for question, message in ask(self._exchange, questions):
            self._take(question, message, optional=optional)
            self._answered += 1
            if self._progress:
                self._progress(self._answered)

    def _take(self, question: Question, message: Message, *, optional: bool) -> None:
        name, rdtype = question
        if message.rcode not in {rcodes.NOERROR, rcodes.NXDOMAIN}:
            if optional or self._note_unreadable(name, message):
                return
            text = names.to_text(name)
            raise diagnosis.query_error(
                message.rcode,
                server=self._exchange.server,
                name=text,
                key=self._exchange.key.name,
                rdtype=rdtype_text(rdtype),
            )
        if message.tsig is None:
            raise self._bad(name, "it is not signed")
        if message.question != question:
            raise self._bad(name, "it is about another name or type")
        if message.flags & codec.FLAG_TC:
            if self._note_unreadable(name, message):
                return
            raise self._bad(name, "it is truncated")
        if self._is_cut(name, message):
            self._hidden.add(name)
            return
        if not message.flags & codec.FLAG_AA:
            if self._note_unreadable(name, message):
                return
            raise self._bad(name, "it is not authoritative")
        found = [
            record
            for record in message.answer
            if record[0] == name and record[1] not in GENERATED and record[1] != SOA
            if rdtype == ANY or record[1] in {rdtype, CNAME}
        ]
        for kind in {record[1] for record in found}:
            self._found.setdefault(name, {})[kind] = _rrset(kind, found)
        if message.rcode == rcodes.NXDOMAIN and not found:
            self._absent.add(name)

    def _is_cut(self, name: bytes, message: Message) -> bool:
        """Return whether a delegation or a DNAME hides `name`; keep it.

        A server that has the delegated zone, too, answers from there: its SOA is in the answer that nothing exists.
        """
        for owner, kind, _, _ in () if message.answer else message.authority:
            if (
                kind == SOA
                and owner != self._zone
                and names.is_below(owner, self._zone)
                and names.is_below(name, owner)
            ):
                self._cuts.add(owner)
                return True
        dnames = [record for record in message.answer if record[1] == DNAME and record[0] != name]
        referral = not message.flags & codec.FLAG_AA and not message.answer
        delegations = [record for record in message.authority if record[1] == NS] if referral else []
        for record in (*dnames, *delegations):
            owner, kind, _, _ = record
            if owner != self._zone and names.is_below(owner, self._zone) and names.is_below(name, owner):
                same = [each for each in (*dnames, *delegations) if each[:2] == (owner, kind)]
                self._found.setdefault(owner, {})[kind] = _rrset(kind, same)
                self._cuts.add(owner)
                return True
        return False

    def _note_unreadable(self, name: bytes, message: Message) -> bool:
        """Note that the name is unreadable; return False if the bad answer may concern other names, too.

        A signed error is about this name only, as one from a child zone that is broken or closed.
        """
        if self._strict or message.tsig is None or name in {self._zone, self._index.head}:
            return False
        self._unreadable.add(name)
        return True

    def _bad(self, name: bytes, problem: str) -> BadResponse:
        text = names.to_text(name)
        return BadResponse(
            f"the answer of {self._exchange.server} about {text} cannot be used: {problem}",
            "set DNS_SERVER to the zone's primary",
            server=self._exchange.server,
            zone=names.to_text(self._zone),
            name=text,
        )


def _rrset(kind: int, records: list[Record]) -> RRset:
    same = [record for record in records if record[1] == kind]
    return rrset(kind, min(record[2] for record in same), [record[3] for record in same])
