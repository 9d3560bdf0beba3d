"""Somebody else changes the zone between our look and our update: nothing foreign is overwritten, on either server."""

from collections.abc import Callable, Iterator

import pytest

from ksd_ddns.zone.update import Limits
from tests.primary.looking import looking, results
from tests.servers import Bind, Knot, Record, Server
from tests.vmis import vmi

DB = "net1.db.prod.vm."
OLD = "net1.old.prod.vm."
WEB = "net1.web.prod.vm."

BEFORE = [vmi("db", "prod", {"net1": ["10.1.0.9"]}), vmi("old", "prod", {"net1": ["10.1.0.5"]})]
AFTER = [vmi("db", "prod", {"net1": ["10.1.0.12"]}), vmi("web", "prod", {"net1": ["10.1.0.7"]})]


def gone(name: str, *rdtypes: str) -> str:
    """Return the script that deletes all there is at `name`."""
    return "\n".join(f"update delete {name} {rdtype}" for rdtype in rdtypes or ("A", "TXT"))


INTRUSIONS = [
    pytest.param(f"update add {WEB} 60 A 192.0.2.1", WEB, id="a-foreign-address-where-we-add"),
    pytest.param(f"update add {WEB} 60 AAAA 2001:db8::1", WEB, id="a-foreign-ipv6-address-where-we-add"),
    pytest.param(f'update add {WEB} 60 TXT "mine"', WEB, id="a-foreign-text-where-we-add"),
    pytest.param(f"update add {WEB} 60 CNAME www.example.", WEB, id="a-cname-where-we-add"),
    pytest.param(f"update add {WEB} 60 MX 10 mail.example.", WEB, id="a-foreign-mx-where-we-add"),
    pytest.param(f"update add {WEB} 60 A 10.1.0.7", WEB, id="the-very-address-where-we-add"),
    pytest.param(f"{gone(DB, 'A')}\nupdate add {DB} 60 A 192.0.2.1", DB, id="our-address-changed"),
    pytest.param(f"update add {DB} 60 A 192.0.2.1", DB, id="an-address-beside-ours"),
    pytest.param(f"update add {DB} 60 AAAA 2001:db8::1", DB, id="an-ipv6-address-beside-ours"),
    pytest.param(gone(DB), DB, id="our-name-deleted"),
    pytest.param(f"{gone(DB)}\nupdate add {DB} 60 CNAME www.example.", DB, id="our-name-made-a-cname"),
    pytest.param(f"{gone(DB)}\nupdate add {DB} 60 A 192.0.2.1", DB, id="our-name-taken"),
    pytest.param(f'update add {DB} 60 TXT "beside"', DB, id="a-text-beside-our-address"),
    pytest.param(f"{gone(OLD)}\nupdate add {OLD} 60 A 192.0.2.1", OLD, id="a-name-that-we-withdraw-taken"),
    pytest.param(f"update add {OLD} 60 A 192.0.2.1", OLD, id="an-address-where-we-withdraw"),
    pytest.param(f'update add {OLD} 60 TXT "mine"', OLD, id="a-text-where-we-withdraw"),
    pytest.param(gone(OLD), OLD, id="a-name-that-we-withdraw-deleted"),
]

MARKED = [
    pytest.param(gone(DB, "TXT"), DB, id="our-marker-removed"),
    pytest.param(
        f'{gone(DB, "TXT")}\nupdate add {DB} 60 TXT "heritage=ksd-ddns,owner=west,vmi=prod/db"',
        DB,
        id="marked-by-another",
    ),
    pytest.param(gone(OLD, "TXT"), OLD, id="our-marker-removed-where-we-withdraw"),
]


@pytest.fixture(scope="module", params=[Bind, Knot], ids=["bind9", "knot"])
def zone(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Yield a primary for all tests of this file: each begins with an empty zone."""
    with request.param(zones={"vm.": ""}) as primary:
        yield primary


def at(primary: Server, name: str) -> set[Record]:
    """Return what stands at `name`."""
    return {record for record in primary.axfr() if record.owner == name}


def empty(primary: Server) -> None:
    """Delete every name."""
    found = {(record.owner, record.type) for record in primary.axfr() if record.owner != "vm."}
    if found:
        primary.nsupdate("\n".join(f"update delete {owner} {rdtype}" for owner, rdtype in found))


@pytest.mark.parametrize(
    ("ownership", "intrusion", "name"),
    [
        *(pytest.param("txt", *case.values, id=f"txt-{case.id}") for case in [*INTRUSIONS, *MARKED]),
        *(pytest.param("zone", *case.values, id=f"zone-{case.id}") for case in INTRUSIONS),
    ],
)
def test_what_somebody_else_did_in_between_stands(zone: Server, ownership: str, intrusion: str, name: str) -> None:
    empty(zone)
    with looking(zone, ownership=ownership) as we:
        we.apply(BEFORE)
        plan = we.plan(AFTER)
        zone.nsupdate(intrusion)
        theirs = at(zone, name)
        # Each name in a message of its own: the others go through.
        outcomes = results(we.send(plan.changes, limits=Limits(names=1)))
        assert outcomes.pop(name) == "stale"
        assert set(outcomes.values()) == {"acknowledged"}
        assert at(zone, name) == theirs
    published = {"db.prod.vm.", DB, "web.prod.vm.", WEB} - {name}
    assert published < {record.owner for record in zone.axfr()}


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_all_names_of_one_message_wait_when_one_has_moved(zone: Server, ownership: str) -> None:
    empty(zone)
    with looking(zone, ownership=ownership) as we:
        we.apply(BEFORE)
        plan = we.plan(AFTER)
        zone.nsupdate(f"update add {WEB} 60 A 192.0.2.1")
        before = zone.axfr()
        outcomes = we.send(plan.changes)
        assert set(results(outcomes).values()) == {"stale"}
        assert zone.axfr() == before, "nothing of the message was applied"
        assert "changed on" in next(iter(outcomes.values())).reason
        outcomes = we.send(plan.changes, halve=True)
        assert results(outcomes).pop(WEB) == "stale"
        assert {name for name, outcome in outcomes.items() if outcome.result.value == "acknowledged"} == {
            "db.prod.vm.", DB, "old.prod.vm.", OLD, "web.prod.vm."
        }  # fmt: skip


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_types_that_nobody_judges_may_come_in_between_and_stay(zone: Server, ownership: str) -> None:
    empty(zone)
    sshfp = "SSHFP 4 1 0123456789abcdef0123456789abcdef01234567"
    with looking(zone, ownership=ownership) as we:
        we.apply(BEFORE)
        plan = we.plan(AFTER)
        zone.nsupdate(f"update add {DB} 60 {sshfp}\nupdate add {OLD} 60 {sshfp}")
        assert set(results(we.send(plan.changes)).values()) == {"acknowledged"}
        assert {record.type for record in at(zone, DB)} == (
            {"A", "TXT", "SSHFP"} if ownership == "txt" else {"A", "SSHFP"}
        )
        assert {record.type for record in at(zone, OLD)} == {"SSHFP"}
        assert zone.query(DB, "A") == ["10.1.0.12"]


def test_an_update_is_void_as_a_whole_where_a_name_of_it_is_void(zone: Server) -> None:
    """A name's address and marker come and go together: nobody ever sees half a change."""
    empty(zone)
    with looking(zone) as we:
        we.apply(BEFORE)
        plan = we.plan([])
        zone.nsupdate(f"update add {OLD} 60 A 192.0.2.1")
        we.send(plan.changes, limits=Limits(names=1))
        assert {record.type for record in at(zone, OLD)} == {"A", "TXT"}
        assert at(zone, DB) == set()


def test_wildcards_are_no_evidence_that_a_name_exists(zone: Server) -> None:
    empty(zone)
    zone.nsupdate('update add *.prod.vm. 60 A 192.0.2.99\nupdate add *.web.prod.vm. 60 TXT "any"')
    with looking(zone) as we:
        assert set(results(we.send(we.plan(AFTER).changes)).values()) == {"acknowledged"}
    assert zone.query(WEB, "A") == ["10.1.0.7"]
    assert zone.query("other.prod.vm", "A") == ["192.0.2.99"]


def test_a_name_above_names_that_exist_is_free(zone: Server) -> None:
    empty(zone)
    zone.nsupdate("update add a.b.web.prod.vm. 60 A 192.0.2.1")
    with looking(zone) as we:
        assert set(results(we.send(we.plan(AFTER).changes)).values()) == {"acknowledged"}
    assert zone.query("web.prod.vm", "A") == ["10.1.0.7"]


def test_names_in_upper_case_are_the_same_names(make_primary: Callable[..., Server]) -> None:
    text = 'NET1.Web.PROD A 192.0.2.1\nDB.prod A 10.1.0.9\nDB.prod TXT "heritage=ksd-ddns,owner=default,vmi=prod/db"\n'
    primary = make_primary(zones={"vm.": text})
    with looking(primary) as we:
        plan = we.plan(AFTER)
        (conflict,) = plan.conflicts
        assert conflict.name == b"\x04net1\x03web\x04prod\x02vm\x00"
        assert set(results(we.send(plan.changes)).values()) == {"acknowledged"}
        assert not we.plan(AFTER).changes
    assert primary.query("db.prod.vm", "A") == ["10.1.0.12"]
    assert primary.query("net1.web.prod.vm", "A") == ["192.0.2.1"]
