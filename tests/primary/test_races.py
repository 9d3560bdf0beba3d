# SPDX-License-Identifier: Apache-2.0
"""Others change the zone between our read and our update: nothing foreign is overwritten, on either server."""

from collections.abc import Callable, Iterator

import pytest

from harness.servers import Bind, Knot, Record, Server
from harness.vmis import vmi
from ksd_ddns.zone.update import Limits
from tests.primary.zone_client import connect, results

DB = "net1.db.prod.vm."
OLD = "net1.old.prod.vm."
WEB = "net1.web.prod.vm."

BEFORE = [vmi("db", "prod", {"net1": ["10.1.0.9"]}), vmi("old", "prod", {"net1": ["10.1.0.5"]})]
AFTER = [vmi("db", "prod", {"net1": ["10.1.0.12"]}), vmi("web", "prod", {"net1": ["10.1.0.7"]})]

# Changes by others to a name that we add, change or delete: nsupdate lines without "update", @ is the name.
INTRUSIONS = {
    "add-a-foreign-address": "add @ 60 A 192.0.2.1",
    "add-a-foreign-ipv6-address": "add @ 60 AAAA 2001:db8::1",
    "add-a-foreign-text": 'add @ 60 TXT "mine"',
    "add-a-cname": "add @ 60 CNAME www.example.",
    "add-a-foreign-mx": "add @ 60 MX 10 mail.example.",
    "add-the-very-address": "add @ 60 A 10.1.0.12",
    "change-another-address": "delete @ A; add @ 60 A 192.0.2.1",
    "change-an-address-beside-ours": "add @ 60 A 192.0.2.1",
    "change-an-ipv6-address-beside-ours": "add @ 60 AAAA 2001:db8::1",
    "change-deleted": "delete @ A; delete @ TXT",
    "change-made-a-cname": "delete @ A; delete @ TXT; add @ 60 CNAME www.example.",
    "change-taken": "delete @ A; delete @ TXT; add @ 60 A 192.0.2.1",
    "change-a-text-beside-our-address": 'add @ 60 TXT "beside"',
    "delete-taken": "delete @ A; delete @ TXT; add @ 60 A 192.0.2.1",
    "delete-an-address-beside-ours": "add @ 60 A 192.0.2.1",
    "delete-a-text": 'add @ 60 TXT "mine"',
    "delete-deleted": "delete @ A; delete @ TXT",
}
# Only where there are markers.
MARKED = {
    "change-our-marker-removed": "delete @ TXT",
    "change-marked-by-another": 'delete @ TXT; add @ 60 TXT "heritage=ksd-ddns,owner=west,vmi=prod/db"',
    "delete-our-marker-removed": "delete @ TXT",
}


@pytest.fixture(scope="module", params=[Bind, Knot], ids=["bind9", "knot"])
def zone(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Yield a primary for all tests of this file: each starts with an empty zone."""
    with request.param(zones={"vm.": ""}) as primary:
        yield primary


def at(primary: Server, name: str) -> set[Record]:
    """Return the records at `name`."""
    return whole(primary).get(name, set())


def whole(primary: Server) -> dict[str, set[Record]]:
    """Return the zone by name."""
    found: dict[str, set[Record]] = {}
    for record in primary.axfr():
        found.setdefault(record.owner, set()).add(record)
    return found


def empty(primary: Server) -> None:
    """Delete every name."""
    found = {(record.owner, record.type) for record in primary.axfr() if record.owner != "vm."}
    if found:
        primary.nsupdate("\n".join(f"update delete {owner} {rdtype}" for owner, rdtype in found))


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_concurrent_changes_by_others_are_kept(zone: Server, ownership: str) -> None:
    empty(zone)
    intrusions = INTRUSIONS | (MARKED if ownership == "txt" else {})
    before = [vmi(case, "prod", {"net1": ["10.1.0.9"]}) for case in intrusions if not case.startswith("add-")]
    after = [vmi(case, "prod", {"net1": ["10.1.0.12"]}) for case in intrusions if not case.startswith("delete-")]
    names = {f"net1.{case}.prod.vm.": script for case, script in intrusions.items()}
    with connect(zone, ownership=ownership) as client:
        client.apply(before)
        plan = client.plan(after)
        zone.nsupdate("\n".join(_script(name, script) for name, script in names.items()))
        seen = whole(zone)
        theirs = {name: seen.get(name) for name in names}
        # Each name in a message of its own: the others go through.
        outcomes = results(client.send(plan.changes, limits=Limits(names=1)))
    assert {name for name, result in outcomes.items() if result == "stale"} == set(names)
    assert {result for name, result in outcomes.items() if name not in names} == {"accepted"}
    seen = whole(zone)
    assert {name: seen.get(name) for name in names} == theirs
    published = {record.owner for record in zone.axfr() if record.rdata == "10.1.0.12"}
    assert {f"{item['metadata']['name']}.prod.vm." for item in after} <= published


def _script(name: str, script: str) -> str:
    return "\n".join(f"update {line}" for line in script.replace("@", name).split("; "))


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_one_changed_name_makes_its_whole_message_stale(zone: Server, ownership: str) -> None:
    empty(zone)
    with connect(zone, ownership=ownership) as client:
        client.apply(BEFORE)
        plan = client.plan(AFTER)
        zone.nsupdate(f"update add {WEB} 60 A 192.0.2.1")
        before = zone.axfr()
        outcomes = client.send(plan.changes)
        assert set(results(outcomes).values()) == {"stale"}
        assert zone.axfr() == before, "nothing of the message was applied"
        assert "changed on" in str(next(iter(outcomes.values())).error)
        outcomes = client.send(plan.changes, limits=Limits(names=1))
        assert results(outcomes).pop(WEB) == "stale"
        assert {name for name, outcome in outcomes.items() if outcome.result.value == "accepted"} == {
            "db.prod.vm.", DB, "old.prod.vm.", OLD, "web.prod.vm."
        }  # fmt: skip


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_records_of_other_types_may_appear_and_are_kept(zone: Server, ownership: str) -> None:
    empty(zone)
    sshfp = "SSHFP 4 1 0123456789abcdef0123456789abcdef01234567"
    with connect(zone, ownership=ownership) as client:
        client.apply(BEFORE)
        plan = client.plan(AFTER)
        zone.nsupdate(f"update add {DB} 60 {sshfp}\nupdate add {OLD} 60 {sshfp}")
        assert set(results(client.send(plan.changes)).values()) == {"accepted"}
        assert {record.type for record in at(zone, DB)} == (
            {"A", "TXT", "SSHFP"} if ownership == "txt" else {"A", "SSHFP"}
        )
        assert {record.type for record in at(zone, OLD)} == {"SSHFP"}
        assert zone.query(DB, "A") == ["10.1.0.12"]


def test_a_cname_that_replaces_another_type_makes_an_addition_stale(zone: Server) -> None:
    """The server would drop our address silently."""
    empty(zone)
    with connect(zone, ownership="zone") as client:
        zone.nsupdate(f"update add {WEB} 60 SSHFP 4 1 0123456789abcdef0123456789abcdef01234567")
        plan = client.plan(AFTER)
        zone.nsupdate(f"update delete {WEB} SSHFP\nupdate add {WEB} 60 CNAME www.example.")
        outcomes = results(client.send(plan.changes, limits=Limits(names=1)))
    assert outcomes[WEB] == "stale"
    assert {record.type for record in at(zone, WEB)} == {"CNAME"}


def test_a_failed_prerequisite_rejects_the_whole_update(zone: Server) -> None:
    """Address and ownership record change together: no client sees half a change."""
    empty(zone)
    with connect(zone) as client:
        client.apply(BEFORE)
        plan = client.plan([])
        zone.nsupdate(f"update add {OLD} 60 A 192.0.2.1")
        client.send(plan.changes, limits=Limits(names=1))
        assert {record.type for record in at(zone, OLD)} == {"A", "TXT"}
        assert at(zone, DB) == set()


def test_a_wildcard_does_not_make_a_name_exist(zone: Server) -> None:
    empty(zone)
    zone.nsupdate('update add *.prod.vm. 60 A 192.0.2.99\nupdate add *.web.prod.vm. 60 TXT "any"')
    with connect(zone) as client:
        assert set(results(client.send(client.plan(AFTER).changes)).values()) == {"accepted"}
    assert zone.query(WEB, "A") == ["10.1.0.7"]
    assert zone.query("other.prod.vm", "A") == ["192.0.2.99"]


def test_an_empty_non_terminal_is_free(zone: Server) -> None:
    empty(zone)
    zone.nsupdate("update add a.b.web.prod.vm. 60 A 192.0.2.1")
    with connect(zone) as client:
        assert set(results(client.send(client.plan(AFTER).changes)).values()) == {"accepted"}
    assert zone.query("web.prod.vm", "A") == ["10.1.0.7"]


def test_names_are_compared_without_regard_to_case(make_primary: Callable[..., Server]) -> None:
    text = 'NET1.Web.PROD A 192.0.2.1\nDB.prod A 10.1.0.9\nDB.prod TXT "heritage=ksd-ddns,owner=default,vmi=prod/db"\n'
    primary = make_primary(zones={"vm.": text})
    with connect(primary) as client:
        plan = client.plan(AFTER)
        (conflict,) = plan.conflicts
        assert conflict.name == b"\x04net1\x03web\x04prod\x02vm\x00"
        assert set(results(client.send(plan.changes)).values()) == {"accepted"}
        assert not client.plan(AFTER).changes
    assert primary.query("db.prod.vm", "A") == ["10.1.0.12"]
    assert primary.query("net1.web.prod.vm", "A") == ["192.0.2.1"]
