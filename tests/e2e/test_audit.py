"""The audit: one line for every UPDATE message, and one for the serial that came of them."""

import re
from collections.abc import Callable, Iterable

import pytest

from harness import hostile
from harness.servers import Bind, Server
from harness.vmis import vmi
from ksd_ddns.primary.update import AUDIT_OCTETS
from tests.e2e.conftest import Ksd

MESSAGE = re.compile(r"audit: update of (\S+) at serial (\d+) on (\S+) with key (\S+): ([A-Za-z ]+): (.*)")
SERIAL = re.compile(r"audit: serial of (\S+) on (\S+): (\d+), before the updates (\d+)")


def test_every_message_has_its_line(primary: Server, ksd: Ksd) -> None:
    vmis = [vmi(f"vm{i}", "prod") for i in range(5)]
    before = primary.serial()
    done = ksd(primary, UPDATE_BATCH="3").process("apply", "--verbose", vmi=vmis)
    assert done.code == 0
    lines = MESSAGE.findall(done.err)
    where = ("vm.", str(before), f"127.0.0.1:{primary.port}", "ksd-ddns.", "NOERROR")
    assert [line[:-1] for line in lines] == [where] * 4
    sent = [name for line in lines for name in line[-1].split(", ")]
    assert sorted(sent) == sorted(f"{nic}vm{i}.prod.vm." for i in range(5) for nic in ("", "nic1."))
    ((zone, server, after, earlier),) = SERIAL.findall(done.err)
    assert (zone, server, earlier) == ("vm.", f"127.0.0.1:{primary.port}", str(before))
    assert int(after) == primary.serial() > before


def test_what_is_refused_has_its_lines(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""}, options="check-names primary fail;")
    done = ksd(bind).process("apply", "--verbose", vmi=[vmi("a", "ns", {"net_1": ["10.0.0.1"], "net2": ["10.0.0.2"]})])
    assert done.code == 1
    verdicts = {line[-1]: line[-2] for line in MESSAGE.findall(done.err)}
    assert verdicts == {
        "a.ns.vm., net_1.a.ns.vm., net2.a.ns.vm.": "REFUSED",
        "a.ns.vm., net2.a.ns.vm.": "NOERROR",
        "net_1.a.ns.vm.": "REFUSED",
    }, "divided until the guilty name stands alone"


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        pytest.param(hostile.swallow, 0, id="silent"),
        pytest.param(hostile.cut(), 0, id="cut"),
        pytest.param(lambda message: [hostile.unsigned(message)], 5, id="unsigned"),
    ],
)
def test_what_is_not_answered_has_its_line(bind: Bind, ksd: Ksd, hook: hostile.Hook, code: int) -> None:
    """It may well have been applied: that it was sent is what an audit must know."""
    sent: list[bytes] = []

    def first_answer(message: bytes) -> Iterable[bytes]:
        if message[2] >> 3 & 0xF == hostile.OPCODE_UPDATE and not sent:
            sent.append(message)
            return hook(message)
        return [message]

    with hostile.Proxy(bind, response=first_answer) as proxy:
        command = ksd(bind).but(DNS_SERVER=proxy.address, DNS_TIMEOUT="1s")
        done = command.process("apply", "--verbose", vmi=[vmi("a", "ns", {"net1": ["10.0.0.1"]})])
    assert done.code == code
    where = ("vm.", str(proxy.address), "ksd-ddns.", "no valid response", "a.ns.vm., net1.a.ns.vm.")
    (line,) = MESSAGE.findall(done.err)
    assert (line[0], *line[2:]) == where
    assert bind.query("a.ns.vm", "A") == ["10.0.0.1"]


def test_a_line_holds_as_many_names_as_it_can(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind).process("apply", "--verbose", vmi=[vmi(f"vm-{i:04}", "prod") for i in range(400)])
    lines = MESSAGE.findall(done.err)
    assert [line[-2] for line in lines] == ["NOERROR"] * 2
    total = 0
    for *_, listed in lines:
        assert len(listed) < AUDIT_OCTETS + 300
        shown, more = re.fullmatch(r"(.*?)(?: and (\d+) more)?", listed).groups()  # type: ignore[union-attr]
        assert len(shown) > AUDIT_OCTETS or not more
        total += len(shown.split(", ")) + int(more or 0)
    assert total == 800


def test_nothing_sent_is_nothing_told(bind: Bind, ksd: Ksd) -> None:
    assert ksd(bind).process("apply", "--verbose", vmi=[]).err == ""
    assert "audit" not in ksd(bind).process("plan", "--verbose", vmi=[vmi("db", "prod")]).err
