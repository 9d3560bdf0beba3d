# SPDX-License-Identifier: Apache-2.0
"""Which addresses REVERSE_ZONES=auto looks up, and which zones follow from the answers: tables without a server."""

import pytest

from ksd_ddns.wire import names
from ksd_ddns.zone import reverse_search
from ksd_ddns.zone.desired import Network, Rules, reverse_zone
from ksd_ddns.zone.reverse_search import Placed, ReverseSearch
from tests.zone.build import ip, n, txt_rules, vmi

TEN = n("10.in-addr.arpa.")
CLASSLESS = n("0-63.2.0.192.in-addr.arpa.")


def asked(search: ReverseSearch, answers: dict[str, Placed], now: float = 0.0) -> list[str]:
    """Answer all that is due; return the names that were looked up. What has no answer is not served."""
    found = []

    def answer(name: bytes) -> Placed:
        found.append(names.to_text(name))
        return answers.get(found[-1], Placed(None, reason="not served"))

    while (address := search.take(now)) is not None:
        placed = answer(names.reverse(address))
        search.note(address, placed, answer(placed.alias) if placed.alias else None, now)
    return found


def searching(*addresses: str, rules: Rules | None = None, **settings: object) -> ReverseSearch:
    search = ReverseSearch(rules or txt_rules(), **settings)  # type: ignore[arg-type]
    search.add(vmi(interfaces={"net1": list(addresses)}))
    return search


def test_one_address_of_each_block_is_looked_up() -> None:
    search = searching("10.1.0.9", "10.1.0.10", "10.1.1.9", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
    assert asked(search, {"9.0.1.10.in-addr.arpa.": Placed(TEN), "9.1.1.10.in-addr.arpa.": Placed(TEN)}) == [
        "9.0.1.10.in-addr.arpa.",
        "9.1.1.10.in-addr.arpa.",
        names.to_text(names.reverse(ip("2001:db8::1"))),
        names.to_text(names.reverse(ip("2001:db8:0:1::1"))),
    ]
    assert [zone.base for zone in search.zones] == [TEN]
    assert [each.address for each in search.nowhere] == [ip("2001:db8::1"), ip("2001:db8:0:1::1")]


def test_a_deeper_zone_is_found_next_to_one_above() -> None:
    inner = n("1.10.in-addr.arpa.")
    search = searching("10.2.0.1", "10.1.0.1")
    asked(search, {"1.0.2.10.in-addr.arpa.": Placed(TEN), "1.0.1.10.in-addr.arpa.": Placed(inner)})
    assert [zone.base for zone in search.zones] == [TEN, inner]


def test_an_alias_leads_to_a_classless_zone() -> None:
    search = searching("192.0.2.5", "192.0.2.6", "192.0.2.70")
    alias, other = n("5.0-63.2.0.192.in-addr.arpa."), n("6.0-63.2.0.192.in-addr.arpa.")
    answers = {
        "5.2.0.192.in-addr.arpa.": Placed(None, alias=alias),
        "6.2.0.192.in-addr.arpa.": Placed(None, alias=other),
        "70.2.0.192.in-addr.arpa.": Placed(n("2.0.192.in-addr.arpa.")),
        names.to_text(alias): Placed(CLASSLESS),
        names.to_text(other): Placed(CLASSLESS),
    }
    assert asked(search, answers) == [
        "5.2.0.192.in-addr.arpa.",
        "5.0-63.2.0.192.in-addr.arpa.",
        "6.2.0.192.in-addr.arpa.",
        "6.0-63.2.0.192.in-addr.arpa.",
        "70.2.0.192.in-addr.arpa.",
    ], "once a block is known to be divided, each of its addresses is looked up"
    assert search.zones == (reverse_zone(CLASSLESS), reverse_zone(n("2.0.192.in-addr.arpa.")))
    search.add(vmi("late", interfaces={"net1": ["192.0.2.71"]}))
    assert asked(search, answers) == ["71.2.0.192.in-addr.arpa."]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        pytest.param([Placed(None, reason="REFUSED")], "REFUSED", id="not-served"),
        pytest.param([Placed(n("."))], "which is not a reverse zone", id="root"),
        pytest.param([Placed(n("arpa."))], "which is not a reverse zone", id="arpa"),
        pytest.param([Placed(None, alias=n("x.example.")), Placed(None)], "does not serve", id="alias-elsewhere"),
        pytest.param(
            [Placed(None, alias=n("5.rev.example.")), Placed(n("rev.example."))],
            "add rev.example.=CIDR to REVERSE_ZONES",
            id="alias-into-a-zone-that-says-nothing",
        ),
        pytest.param(
            [Placed(None, alias=n("x.0-63.2.0.192.in-addr.arpa.")), Placed(CLASSLESS)],
            "add 0-63.2.0.192.in-addr.arpa.=CIDR",
            id="alias-to-another-name",
        ),
    ],
)
def test_an_address_without_a_zone_has_a_reason(answers: list[Placed], reason: str) -> None:
    search = searching("192.0.2.5")
    address = search.take(0.0)
    assert address is not None
    search.note(address, answers[0], answers[1] if len(answers) > 1 else None, 0.0)
    assert search.zones == ()
    (nowhere,) = search.nowhere
    assert nowhere.address == ip("192.0.2.5")
    assert reason in nowhere.reason


def test_blocks_are_looked_up_again_later() -> None:
    search = searching("10.1.0.9", again=100.0)
    assert asked(search, {}) == ["9.0.1.10.in-addr.arpa."]
    assert (asked(search, {}, now=99.0), search.due) == ([], 100.0)
    assert asked(search, {"9.0.1.10.in-addr.arpa.": Placed(TEN)}, now=100.0) == ["9.0.1.10.in-addr.arpa."]
    assert ([zone.base for zone in search.zones], search.nowhere) == ([TEN], ())
    asked(search, {}, now=300.0)
    assert [zone.base for zone in search.zones] == [TEN], "a zone that was found stays: its records may have to go"


def test_an_unsure_answer_is_asked_for_soon() -> None:
    """A server that has just started answers SERVFAIL for zones that it has not loaded."""
    search = searching("10.1.0.9")
    name = "9.0.1.10.in-addr.arpa."
    asked(search, {name: Placed(None, reason="SERVFAIL", unsure=True)})
    assert search.due == reverse_search.SOON
    asked(search, {name: Placed(TEN)}, now=reverse_search.SOON)
    assert [zone.base for zone in search.zones] == [TEN]


def test_addresses_of_named_zones_are_not_looked_up() -> None:
    search = searching("192.0.2.5", "192.0.2.70", named=[reverse_zone(CLASSLESS)])
    assert asked(search, {}) == ["70.2.0.192.in-addr.arpa."]


def test_only_published_addresses_are_looked_up() -> None:
    rules = txt_rules(exclude=(Network(ip("10.1.0.0"), 16),))
    search = searching("10.1.0.9", "10.2.0.9", rules=rules)
    search.add(vmi("off", interfaces={"net1": ["10.3.0.9"]}, ignored=True))
    search.add(vmi("done", interfaces={"net1": ["10.4.0.9"]}, alive=False))
    assert asked(search, {}) == ["9.0.2.10.in-addr.arpa."]


def test_the_number_of_blocks_and_zones_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse_search, "MAX_BLOCKS", 2)
    monkeypatch.setattr(reverse_search, "MAX_ZONES", 1)
    search = searching("10.1.0.1", "10.2.0.1")
    before = search.full
    search.add(vmi("more", interfaces={"net1": ["10.3.0.1"]}))
    assert (before, search.full) == (False, True)
    asked(search, {f"1.0.{i}.10.in-addr.arpa.": Placed(n(f"{i}.10.in-addr.arpa.")) for i in (1, 2, 3)})
    assert len(search.zones) == 1


def test_a_namespace_with_many_blocks_gives_place_to_one_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse_search, "MAX_BLOCKS", 8)
    search = ReverseSearch(txt_rules())
    for octet in range(20):
        search.add(vmi(f"many-{octet}", "greedy", interfaces={"net1": [f"10.{octet}.0.1"]}))
    search.add(vmi("db", "prod", interfaces={"net1": ["172.16.0.1", "172.16.1.1"]}))
    found = asked(search, {"1.1.16.172.in-addr.arpa.": Placed(n("16.172.in-addr.arpa."))})
    assert [name for name in found if "172" in name] == ["1.0.16.172.in-addr.arpa.", "1.1.16.172.in-addr.arpa."]
    assert len(found) == 8
    assert [zone.base for zone in search.zones] == [n("16.172.in-addr.arpa.")]
    search.add(vmi("more", "greedy", interfaces={"net1": ["10.99.0.1"]}))
    assert asked(search, {}, now=1.0) == [], "it takes no place of others"


def test_a_block_of_two_namespaces_is_not_lost_to_the_greedy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse_search, "MAX_BLOCKS", 8)
    search = ReverseSearch(txt_rules())
    for octet in range(8):
        search.add(vmi(f"many-{octet}", "greedy", interfaces={"net1": [f"10.{octet}.0.1"]}))
    search.add(vmi("db", "prod", interfaces={"net1": ["10.7.0.9"]}))
    search.add(vmi("db", "dev", interfaces={"net1": ["172.16.0.1"]}))
    found = asked(search, {})
    assert "1.0.7.10.in-addr.arpa." in found
    assert "1.0.6.10.in-addr.arpa." not in found


def test_a_block_that_fails_is_looked_up_after_the_others() -> None:
    search = searching("10.1.0.9", "10.2.0.9", "10.3.0.9")
    first = search.take(0.0)
    assert first == ip("10.1.0.9")
    search.postpone(first, 0.0)
    assert asked(search, {}) == ["9.0.2.10.in-addr.arpa.", "9.0.3.10.in-addr.arpa."]
    assert search.due == reverse_search.SOON
    assert asked(search, {}, now=reverse_search.SOON) == ["9.0.1.10.in-addr.arpa."]
