# SPDX-License-Identifier: Apache-2.0
"""Limits of a server: lowered TTLs, and records of one type per name."""

from collections.abc import Callable

import pytest

from harness.servers import Bind, Server
from harness.vmis import vmi
from tests.e2e.conftest import Ksd

CAPPED = 'allow-transfer { key "ksd-ddns."; }; update-policy { grant "ksd-ddns." zonesub ANY; }; max-zone-ttl 300;'


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_ttl_that_the_server_lowers_is_accepted(make_bind: Callable[..., Bind], ksd: Ksd, ownership: str) -> None:
    bind = make_bind(zones={"vm.": ""}, zone_options=CAPPED)
    command = ksd(bind, OWNERSHIP=ownership, RECORD_TTL=600)
    done = command("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.9"]})])
    assert done.code == 0
    assert done.summary.startswith("Applied: 2 added, 0 changed, 0 deleted, 0 refused, 0 conflicts.")
    assert bind.ttl("net1.db.prod.vm", "A") == 300
    assert command("apply", vmi=[vmi("db", "prod", {"net1": ["10.1.0.10"]})]).code == 0
    assert bind.query("net1.db.prod.vm", "A") == ["10.1.0.10"]


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_a_shared_address_gets_as_many_pointers_as_fit(
    make_primary: Callable[..., Server], ksd: Ksd, ownership: str
) -> None:
    primary = make_primary(zones={"vm.": "", "10.in-addr.arpa.": ""})
    command = ksd(primary, OWNERSHIP=ownership, REVERSE_ZONES="10.in-addr.arpa", DOMAIN="")
    nic, namespace = "i" * 60, "n" * 60

    def crowd(first: int) -> list[dict[str, object]]:
        return [
            vmi(f"{number:03}{'v' * 57}", namespace, {nic: ["10.1.0.9", f"10.1.1.{number}"]})
            for number in range(first, first + 120)
        ]

    for first in (0, 120):  # the second time, one message contains the old and the new ones
        done = command("apply", "--force", vmi=crowd(first))
        assert done.code == 0
        assert "MAX_RRSET" in done.err
        assert done.err.count("MAX_RRSET") == 30
        pointers = primary.query("9.0.1.10.in-addr.arpa", "PTR")
        assert sorted(text.split(".")[1][:3] for text in pointers) == [
            f"{each:03}" for each in range(first, first + 90)
        ]
        assert len(primary.query(f"{first + 119}.1.1.10.in-addr.arpa", "PTR")) == 1
        assert command("plan", "--exit-code", vmi=crowd(first)).code == 0
