# SPDX-License-Identifier: Apache-2.0
"""READ=queries in zones where an answer is not about the name itself: wildcards, and child zones on the same server."""

from collections.abc import Callable

import pytest

from harness.servers import Bind, Server
from harness.vmis import vmi
from ksd_ddns.wire import names
from ksd_ddns.zone import index as zone_index
from tests.e2e.conftest import Ksd
from tests.no_transfer import AUDIT, OURS, addresses, index, no_transfer, owned, records

Make = Callable[..., Server]

DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
APPS = vmi("apps", "prod", {"net1": ["10.1.0.7"]}, annotations={"ksd-ddns/hostname": "*, www"})


@pytest.fixture
def primary(make_either: Make) -> Server:
    """Return an empty primary that transfers its zone only to the test."""
    return no_transfer(make_either, {"vm.": ""})


def test_a_name_that_was_deleted_below_our_wildcard_is_restored(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary, READ="queries")
    assert command("apply", vmi=[DB, APPS]).code == 0
    before = records(primary)
    primary.nsupdate("update delete net1.db.prod.vm.\nupdate delete db.prod.vm.\nupdate delete www.prod.vm.")
    done = command("apply", vmi=[DB, APPS])
    assert done.code == 0, done
    assert records(primary) == before


def test_a_name_with_the_records_of_our_wildcard_is_known(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary, READ="queries")
    assert command("apply", vmi=[APPS]).code == 0
    assert {"*.prod.vm.", "www.prod.vm."} <= owned(primary) == index(primary)
    assert command("plan", "--exit-code", vmi=[APPS]).code == 0
    gone = vmi("apps", "prod", {"net1": ["10.1.0.7"]}, annotations={"ksd-ddns/hostname": "*"})
    assert command("apply", vmi=[gone]).code == 0
    assert "www.prod.vm." not in owned(primary) | index(primary)
    assert "*.prod.vm." in owned(primary)


def test_a_name_deleted_below_our_wildcard_that_is_no_longer_wanted(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary, READ="queries")
    assert command("apply", vmi=[DB, APPS]).code == 0
    primary.nsupdate("update delete net1.db.prod.vm.\nupdate delete db.prod.vm.")
    assert command("apply", "--force", vmi=[APPS]).code == 0
    assert owned(primary) == index(primary) == {"apps.prod.vm.", "net1.apps.prod.vm.", "*.prod.vm.", "www.prod.vm."}


WILDCARDS = {
    "mx": "* MX 10 mail",
    "txt": '* TXT "v=spf1 -all"',
    "cname": "* CNAME elsewhere.test.",
    "address": "* A 192.0.2.7",
    "several": '* A 192.0.2.7\n* MX 10 mail\n* TXT "x"\n* HINFO "a" "b"',
    "same": "* A 10.1.0.9",
}


@pytest.mark.parametrize("records_of", WILDCARDS.values(), ids=WILDCARDS)
def test_a_foreign_wildcard_takes_no_name(make_either: Make, ksd: Ksd, records_of: str) -> None:
    primary = no_transfer(make_either, {"vm.": records_of})
    before = {record for record in records(primary) if record.owner == "*.vm."}
    command = ksd(primary, READ="queries")
    done = command("apply", vmi=[DB])
    assert done.code == 0, done
    assert owned(primary) == index(primary) == {"db.prod.vm.", "net1.db.prod.vm."}
    assert command("plan", "--exit-code", vmi=[DB]).code == 0
    assert command("apply", vmi=[]).code == 0
    assert not owned(primary)
    assert records(primary) >= before


def test_a_foreign_name_with_the_records_of_a_wildcard_is_a_conflict(make_either: Make, ksd: Ksd) -> None:
    primary = no_transfer(make_either, {"vm.": "* A 192.0.2.7\ndb.prod A 192.0.2.7"})
    before = records(primary)
    done = ksd(primary, READ="queries")("apply", vmi=[DB])
    assert done.code == 1, done
    assert "! db.prod.vm. (VMI prod/db) conflict: it exists without our ownership record" in done.out
    assert owned(primary) == {"net1.db.prod.vm."}
    assert records(primary) > {record for record in before if record.type == "A"}


def test_names_in_a_child_zone_on_the_same_server_are_conflicts(make_either: Make, ksd: Ksd) -> None:
    primary = no_transfer(make_either, {"vm.": "prod NS localhost.\ntest NS localhost.", "prod.vm.": ""})
    before = {zone: records(primary, zone) for zone in ("vm.", "prod.vm.")}
    done = ksd(primary, READ="queries")("apply", vmi=[DB, vmi("db", "dev", {"net1": ["10.1.0.8"]})])
    assert done.code == 1, done
    assert "! db.prod.vm." in done.out
    assert "delegated" in done.out
    assert addresses(primary).keys() == {"db.dev.vm.", "net1.db.dev.vm."}
    assert records(primary, "prod.vm.") == before["prod.vm."]


def test_a_hostname_cannot_take_a_name_of_the_index(primary: Server, ksd: Ksd) -> None:
    command = ksd(primary, READ="queries", HOSTNAME_SCOPE="zone", OWNER_ID="one")
    many = [vmi(f"vm-{i}", "prod", {"net1": [f"10.1.0.{i}"]}) for i in range(200)]
    assert command("apply", vmi=many).code == 0
    before = index(primary)
    head = zone_index.head(names.from_text("vm."), "one")
    shards = ",".join(names.to_text(bytes([len(str(i))]) + str(i).encode() + head) for i in range(40))
    hostnames = f"{names.to_text(head)},{shards}"
    bad = vmi("bad", "other", {"net1": ["10.1.1.1"]}, annotations={"ksd-ddns/hostname": hostnames})
    done = command("apply", vmi=[*many, bad])
    assert index(primary) == owned(primary) == before | {"bad.other.vm.", "net1.bad.other.vm."}, done


def test_a_template_gives_no_name_of_the_index(primary: Server, ksd: Ksd) -> None:
    settings = {"READ": "queries", "HOSTNAME_SCOPE": "zone", "OWNER_ID": "one", "INTERFACE_NAME": "{vm}.{interface}"}
    command = ksd(primary, **settings)
    assert command("apply", vmi=[DB]).code == 0
    before = index(primary)
    label = zone_index.head(names.from_text("vm."), "one")[1:].partition(b"\2vm")[0].decode()
    shards = [vmi(str(number), "other", {label: ["10.1.1.1"]}) for number in range(64)]
    assert command("apply", vmi=[DB, *shards]).code == 0
    assert index(primary) == owned(primary) == before | {f"{number}.other.vm." for number in range(64)}


CHILDREN = {
    "refused": 'zone "prod.vm." { type primary; file "child.zone"; allow-query { none; }; };',
    "servfail": 'zone "prod.vm." { type primary; file "missing.zone"; };',
}


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
def test_a_name_that_cannot_be_read_stops_no_other(make_bind: Callable[..., Bind], ksd: Ksd, child: str) -> None:
    primary = make_bind(
        zones={"vm.": ""},
        keys=[OURS, AUDIT],
        zone_options='allow-transfer { key "audit."; }; update-policy { grant "ksd-ddns." zonesub ANY; };',
    )
    command = ksd(primary, READ="queries")
    dev = vmi("db", "dev", {"net1": ["10.1.0.8"]})
    assert command("apply", vmi=[DB, dev]).code == 0
    (primary.directory / "child.zone").write_text("$TTL 60\n@ SOA localhost. root 1 1 1 1 1\n@ NS localhost.\n")
    configuration = primary.configuration.read_text()
    primary.configuration.write_text(f"{configuration}\n{child}\n")
    primary.reload()
    moved = vmi("db", "dev", {"net1": ["10.1.0.18"]})
    done = command("apply", vmi=[DB, moved, vmi("new", "prod", {"net1": ["10.1.0.10"]})])
    assert done.code == 1, done
    assert done.out.count("the primary gives no usable answer about it") == 4
    assert primary.query("db.dev.vm", "A") == ["10.1.0.18"]
    assert command("apply", vmi=[moved]).code == 0, "a name that cannot be read is not deleted"
    assert {"db.prod.vm.", "net1.db.prod.vm."} <= index(primary)
    primary.configuration.write_text(configuration)
    primary.reload()
    assert command("apply", "--force", vmi=[moved]).code == 0
    assert index(primary) == owned(primary) == {"db.dev.vm.", "net1.db.dev.vm."}
