# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns check` finds a server that compares RRsets wrongly, as YADIFA does."""

from collections.abc import Callable, Iterable

import pytest

from harness.hostile import Proxy, Resigner, is_update
from harness.servers import Key, Server
from ksd_ddns.wire import codec, rcodes
from ksd_ddns.wire.codec import Record
from tests.e2e.conftest import Ksd

ZONE = "www A 192.0.2.1\nwww A 192.0.2.2\nwww TXT hello\n"


class Wrong(Resigner):
    """Answers `rcode` to an UPDATE without changes whose prerequisites by value are `wrong`."""

    def __init__(self, primary: Server, wrong: Callable[[list[Record]], bool], rcode: int) -> None:
        super().__init__(Key(primary.key_name, secret=primary.secret))
        self._wrong = wrong
        self._rcode = rcode
        self._idents: set[bytes] = set()

    def request(self, message: bytes) -> Iterable[bytes]:
        if is_update(message):
            content = codec.read(message)
            by_value = [record for record in content.answer if record[3]]
            if by_value and not content.authority and self._wrong(by_value):
                self._idents.add(message[:2])
        return super().request(message)

    def response(self, message: bytes) -> Iterable[bytes]:
        if message[:2] in self._idents:
            message = message[:3] + bytes([message[3] & 0xF0 | self._rcode]) + message[4:]
        return super().response(message)


def one_record(prerequisites: list[Record]) -> bool:
    return len(prerequisites) == 1


def two_rrsets(prerequisites: list[Record]) -> bool:
    return len({record[:2] for record in prerequisites}) > 1


def no_such_record(prerequisites: list[Record]) -> bool:
    return any(b"ksd-ddns check" in record[3] for record in prerequisites)


@pytest.mark.parametrize(
    ("wrong", "rcode", "sign", "words"),
    [
        pytest.param(one_record, rcodes.NOERROR, "warn", "one record of an RRset with several", id="part-of-an-rrset"),
        pytest.param(two_rrsets, rcodes.NXRRSET, "FAIL", "two RRsets in one message", id="two-rrsets"),
        pytest.param(no_such_record, rcodes.NOERROR, "FAIL", "a record that does not exist", id="no-such-record"),
    ],
)
def test_a_server_that_compares_wrongly_is_reported(
    make_primary: Callable[..., Server],
    ksd: Ksd,
    wrong: Callable[[list[Record]], bool],
    rcode: int,
    sign: str,
    words: str,
) -> None:
    primary = make_primary(zones={"example.": ZONE})
    hooks = Wrong(primary, wrong, rcode)
    with Proxy(primary, request=hooks.request, response=hooks.response) as proxy:
        done = ksd(primary, through=proxy.address, DOMAIN="example")("check", vmi=[])
    (finding,) = [line for line in done.out.splitlines() if " prerequisites " in line]
    assert finding.startswith(f"{sign}  prerequisites example.")
    assert words in finding
    assert done.code == (1 if sign == "FAIL" else 0)


@pytest.mark.parametrize("kind", ["bind9", "knot", "powerdns"])
def test_a_server_that_compares_rightly_is_not_changed_by_the_check(
    kind: str,
    make_bind: Callable[..., Server],
    make_knot: Callable[..., Server],
    make_powerdns: Callable[..., Server],
    ksd: Ksd,
) -> None:
    make = {"bind9": make_bind, "knot": make_knot, "powerdns": make_powerdns}[kind]
    primary = make(zones={"example.": f"{ZONE}sub NS ns.sub\nns.sub A 192.0.2.3\n"})
    before = primary.axfr()
    done = ksd(primary, DOMAIN="example")("check", vmi=[])
    assert (done.code, "prerequisites" in done.out) == (0, False), done.out
    assert primary.axfr() == before
