# SPDX-License-Identifier: Apache-2.0
"""Transfers of a varied zone from real servers, signed and not: dnspython reads the same, record by record."""

import socket
import time
from collections.abc import Callable
from contextlib import closing

import dns.message
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from harness.servers import Bind, Knot, Server
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import codec
from ksd_ddns.wire.rrset import NSEC, NSEC3, RRSIG, SOA, Node, RRset
from ksd_ddns.wire.transfer import Transfer
from ksd_ddns.zone.live import Live
from tests.wire.oracle import octets, oracle, records
from tests.zone.build import VARIED, ZONE, n

NAME = "example."
HOSTS = 400
CONTENT = VARIED + "".join(
    f"Host{index}.rack-{index % 7} A 10.0.{index >> 8}.{index & 255}\n    TXT {'x' * 240}{index}\n"
    for index in range(HOSTS)
)
TYPES = frozenset(
    int(dns.rdatatype.from_text(rdtype))
    for rdtype in (
        "A", "NS", "CNAME", "SOA", "PTR", "HINFO", "MX", "TXT", "RP", "AFSDB", "RT", "PX", "AAAA", "LOC", "SRV",
        "NAPTR", "KX", "DNAME", "DS", "SSHFP", "TLSA", "SVCB", "HTTPS", "URI", "CAA", "TYPE65280", "TYPE65281",
    )
)  # fmt: skip

KEY = "allow-transfer { key ksd-ddns.; }; update-policy { grant ksd-ddns. zonesub ANY; };"
BIND_NSEC = f"{KEY} inline-signing no; dnssec-policy default;"
BIND_NSEC3 = f"{KEY} inline-signing no; dnssec-policy n3;"
BIND_N3 = "dnssec-policy n3 { keys { csk lifetime unlimited algorithm 13; }; nsec3param iterations 0; };"
KNOT_NSEC = "acl: all\ndnssec-signing: on"
KNOT_NSEC3 = f"{KNOT_NSEC}\ndnssec-policy: n3"
KNOT_N3 = "policy:\n  - id: n3\n    nsec3: on\n    single-type-signing: on\n"

SERVERS = [
    pytest.param(lambda: Bind(zones={NAME: CONTENT}), None, id="bind9"),
    pytest.param(lambda: Bind(zones={NAME: CONTENT}, zone_options=BIND_NSEC), NSEC, id="bind9-nsec"),
    pytest.param(lambda: Bind(zones={NAME: CONTENT}, zone_options=BIND_NSEC3, extra=BIND_N3), NSEC3, id="bind9-nsec3"),
    pytest.param(lambda: Knot(zones={NAME: CONTENT}), None, id="knot"),
    pytest.param(lambda: Knot(zones={NAME: CONTENT}, zone_options=KNOT_NSEC), NSEC, id="knot-nsec"),
    pytest.param(lambda: Knot(zones={NAME: CONTENT}, zone_options=KNOT_NSEC3, extra=KNOT_N3), NSEC3, id="knot-nsec3"),
]


def received(server: Server) -> list[bytes]:
    """Return the messages of an AXFR as received, up to the second SOA."""
    key = dns.tsig.Key(server.key_name, server.secret, "hmac-sha256")
    query, _ = dns.xfr.make_query(dns.zone.Zone(NAME), keyring=key)
    question = query.to_wire()
    messages: list[bytes] = []
    soas = 0
    with socket.create_connection((server.address, server.port), 10) as connection:
        connection.sendall(len(question).to_bytes(2, "big") + question)
        with connection.makefile("rb") as stream:
            while soas < 2:  # counted without dnspython: Knot disconnects slow readers
                messages.append(stream.read(int.from_bytes(stream.read(2), "big")))
                soas += sum(rdtype == SOA for _, rdtype, _, _ in codec.read(messages[-1]).answer)
    return messages


def received_signed(server: Server, chain: int) -> list[bytes]:
    """Return the messages of an AXFR once BIND has signed every name."""
    deadline = time.monotonic() + 60
    while True:
        messages = received(server)
        found = [record for message in messages for record in codec.read(message).answer]
        if len({owner for owner, rdtype, _, _ in found if rdtype == chain}) > HOSTS:
            break
        assert time.monotonic() < deadline, f"{server} does not sign\n{server.log()}"
        time.sleep(0.1)
    serial = server.serial(NAME)
    time.sleep(0.2)
    return messages if server.serial(NAME) == serial == serial_of(messages) else received_signed(server, chain)


def serial_of(messages: list[bytes]) -> int:
    return codec.soa_serial(codec.read(messages[0]).answer[0][3])


@pytest.mark.parametrize(("make", "chain"), SERVERS)
def test_dnspython_reads_the_same_from_a_real_server(make: Callable[[], Server], chain: int | None) -> None:
    with make() as server:
        messages = received(server) if chain is None else received_signed(server, chain)
        session = Session([Peer(Address(server.address, server.port), keys.read_key_file(server.key_file))], timeout=10)
        with closing(session):
            live = session.read(ZONE)
    check_messages(messages, chain)
    check_zone(live, messages)


def check_messages(messages: list[bytes], chain: int | None) -> None:
    """Compare every record of every message."""
    assert len(messages) > 1
    types: set[int] = set()
    transfer = Transfer(ZONE)
    for message in messages:
        read, want = codec.read(message), oracle(message)
        assert (read.id, read.flags, read.rcode) == (want.id, int(want.flags), int(want.rcode()))
        assert read.answer == records(want.answer)
        assert read.authority == records(want.authority)
        assert (read.tsig is None) is (want.tsig is None)
        types.update(rdtype for _, rdtype, _, _ in read.answer)
        transfer.feed(read.answer)
    assert transfer.done
    assert types >= TYPES
    assert (types >= {RRSIG, 48, chain}) if chain else (RRSIG not in types)


def check_zone(live: Live, messages: list[bytes]) -> None:
    """Compare the zone with the one that dnspython makes of the messages."""
    zone = dns.zone.Zone(NAME, relativize=False)
    with dns.xfr.Inbound(zone) as inbound:
        for message in messages:
            inbound.process_message(dns.message.from_wire(message, keyring=False, xfr=True, multi=True))
    want: dict[bytes, list[RRset]] = {}
    for name, each in zone.iterate_rdatasets():
        if each.rdtype not in {SOA, RRSIG, NSEC, NSEC3}:
            rrset = RRset(int(each.rdtype), each.ttl, tuple(sorted(octets(rdata) for rdata in each)))
            want.setdefault(name.to_digestable(), []).append(rrset)
    assert live.nodes == {
        name: Node(name, tuple(sorted(rrsets, key=lambda item: item.type))) for name, rrsets in want.items()
    }
    assert live.serial == serial_of(messages)
    assert live.cuts == {n("deleg.example."), n("dname.example.")}
    assert live.get(n("upper.case.example.")).rrsets[0].rdatas == (b"\xc0\x00\2\1", b"\xc0\x00\2\2")
    assert max(map(len, live.nodes)) == 255
