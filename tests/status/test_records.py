# SPDX-License-Identifier: Apache-2.0
"""`/records` for more clients than it serves at a time: those that wait, or are sent away, cost nothing."""

from collections.abc import Iterator

from ksd_ddns.status.records import Choice, Holds, Records
from ksd_ddns.sync.snapshot import Snapshot
from ksd_ddns.zone.owned import Owned


class Zones:
    """A zone that counts how often it, and the state of its names, is looked at."""

    def __init__(self) -> None:
        self.looks = self.states = 0

    def __call__(self) -> Iterator[tuple[Snapshot, Owned | None]]:
        self.looks += 1
        yield Snapshot(zone="vm.example."), None

    def in_state(self) -> Holds:
        self.states += 1
        return lambda name: True


def test_only_an_answer_looks_at_the_zones() -> None:
    records, zones = Records(), Zones()
    choice = Choice(in_state=zones.in_state)
    served = [records.stream(zones, choice), records.stream(zones, choice)]
    assert records.stream(zones, choice) is None, "a third client is served at the same time"
    assert (zones.looks, zones.states) == (0, 0)
    for body in served:
        assert body is not None
        assert b"vm.example." in b"".join(body)
        body.close()
    assert (zones.looks, zones.states) == (2, 2)
    again = records.stream(zones, choice)
    assert again is not None, "there is room again"
    again.close()
    assert zones.looks == 2, "the client went away before the answer began"
