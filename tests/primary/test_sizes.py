# SPDX-License-Identifier: Apache-2.0
"""A change that no message can hold is refused alone and before it is sent."""

from bisect import bisect_left

import pytest

from harness.servers import Server
from harness.vmis import vmi
from ksd_ddns.wire import codec, names
from ksd_ddns.wire.rrset import TXT, Node, rrset
from ksd_ddns.zone.plan import Change, Kind
from ksd_ddns.zone.update import batch
from tests.primary.zone_client import VM, connect, results

NAME = names.from_text("large.vm.")


def weight(change: Change) -> int:
    """Return the size in octets of its UPDATE, unsigned."""
    alone = batch([change])
    return len(codec.update(0, VM, alone.prerequisites, alone.updates))


def texts(octets: int) -> Change:
    """Return a change that adds distinct texts of 1 to 255 octets each, `octets` in total."""
    sizes = [200] * (octets // 200) + [octets % 200 or 1]
    rdatas = [bytes([size]) + f"{i:03}".encode().ljust(size, b"x")[:size] for i, size in enumerate(sizes)]
    return Change(Node(NAME), Node(NAME, (rrset(TXT, 60, rdatas),)), Kind.ADD)


def nearly_full() -> Change:
    """Return a change whose UPDATE fits, but leaves no room for a signature."""
    octets = bisect_left(range(70_000), 1, key=lambda octets: not _fits(octets)) - 1
    assert codec.MAX_MESSAGE - 20 <= weight(texts(octets)) <= codec.MAX_MESSAGE
    return texts(octets)


def _fits(octets: int) -> bool:
    try:
        return weight(texts(octets)) <= codec.MAX_MESSAGE
    except codec.Malformed:
        return False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(nearly_full(), "with its signature", id="without-room-for-the-signature"),
        pytest.param(texts(70_000), "65535 are allowed", id="too-large"),
    ],
)
def test_one_oversized_name_delays_no_other(primary: Server, change: Change, words: str) -> None:
    before = primary.axfr()
    with connect(primary) as client:
        plan = client.plan([vmi("db", "prod")])
        outcomes = client.send([plan.changes[0], change, plan.changes[1]])
    assert results(outcomes) == {
        "db.prod.vm.": "accepted",
        "large.vm.": "refused",
        "nic1.db.prod.vm.": "accepted",
    }
    assert words in str(outcomes["large.vm."].error)
    assert {record.owner for record in primary.axfr() - before} >= {"db.prod.vm.", "nic1.db.prod.vm."}
    assert not any(record.owner == "large.vm." for record in primary.axfr())
