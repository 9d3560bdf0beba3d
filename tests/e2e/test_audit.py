# SPDX-License-Identifier: Apache-2.0
"""The audit log: one line per UPDATE message, and one for the serial after them."""

import re
from collections.abc import Callable, Iterable

import pytest

from harness import hostile
from harness.servers import Bind, Server
from harness.vmis import vmi
from ksd_ddns.primary.update import AUDIT_OCTETS
from tests.e2e.conftest import Ksd

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


def audit(log: str) -> list[dict[str, str]]:
    """Return the fields of the audit lines in `log`."""
    lines = [line.partition("ksd_ddns.audit: ")[2] for line in log.splitlines()]
    return [{name: value.strip('"') for name, value in _FIELD.findall(line)} for line in lines if line]


def messages(log: str) -> list[dict[str, str]]:
    """Return the lines of UPDATE messages."""
    return [line for line in audit(log) if "rcode" in line]


def listed(text: str) -> list[str]:
    return re.split(r",\s*", text)


def test_every_update_message_is_logged(primary: Server, ksd: Ksd) -> None:
    vmis = [vmi(f"vm{i}", "prod") for i in range(5)]
    before = primary.serial()
    done = ksd(primary, UPDATE_BATCH="3").process("apply", "--verbose", vmi=vmis)
    assert done.code == 0
    lines = messages(done.err)
    sent = [name for line in lines for name in listed(line.pop("names"))]
    server = f"127.0.0.1:{primary.port}"
    where = {"zone": "vm.", "serial": str(before), "server": server, "key": "ksd-ddns.", "rcode": "NOERROR"}
    assert lines == [where] * 4
    assert sorted(sent) == sorted(f"{nic}vm{i}.prod.vm." for i in range(5) for nic in ("", "nic1."))
    (read_back,) = [line for line in audit(done.err) if "serial_before" in line]
    assert int(read_back.pop("serial")) == primary.serial() > before
    assert read_back == {"zone": "vm.", "server": server, "serial_before": str(before)}


def test_every_refused_message_is_logged(make_bind: Callable[..., Bind], ksd: Ksd) -> None:
    bind = make_bind(zones={"vm.": ""}, options="check-names primary fail;")
    done = ksd(bind).process("apply", "--verbose", vmi=[vmi("a", "ns", {"net_1": ["10.0.0.1"], "net2": ["10.0.0.2"]})])
    assert done.code == 1
    rcodes = {tuple(listed(line["names"])): line["rcode"] for line in messages(done.err)}
    assert rcodes == {
        ("a.ns.vm.", "net_1.a.ns.vm.", "net2.a.ns.vm."): "REFUSED",
        ("a.ns.vm.", "net2.a.ns.vm."): "NOERROR",
        ("net_1.a.ns.vm.",): "REFUSED",
    }, "divided until the refused name stands alone"


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        pytest.param(hostile.swallow, 0, id="silent"),
        pytest.param(hostile.cut(), 0, id="cut"),
        pytest.param(lambda message: [hostile.unsigned(message)], 5, id="unsigned"),
    ],
)
def test_a_message_without_a_response_is_logged(bind: Bind, ksd: Ksd, hook: hostile.Hook, code: int) -> None:
    """It may have been applied, so the audit must show that it was sent."""
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
    (line,) = messages(done.err)
    assert (line["zone"], line["server"], line["key"]) == ("vm.", str(proxy.address), "ksd-ddns.")
    assert line["rcode"] == "-"
    assert listed(line["names"]) == ["a.ns.vm.", "net1.a.ns.vm."]
    assert bind.query("a.ns.vm", "A") == ["10.0.0.1"]


def test_a_log_line_has_as_many_names_as_fit(bind: Bind, ksd: Ksd) -> None:
    done = ksd(bind).process("apply", "--verbose", vmi=[vmi(f"vm-{i:04}", "prod") for i in range(400)])
    lines = messages(done.err)
    assert [line["rcode"] for line in lines] == ["NOERROR"] * 2
    total = 0
    for line in lines:
        names = line["names"]
        assert len(names) < AUDIT_OCTETS + 300
        more = int(line.get("more", "0"))
        assert len(names) > AUDIT_OCTETS - 300 or not more
        total += len(listed(names)) + more
    assert total == 800


def test_nothing_is_logged_when_nothing_is_sent(bind: Bind, ksd: Ksd) -> None:
    assert ksd(bind).process("apply", "--verbose", vmi=[]).err == ""
    assert "audit" not in ksd(bind).process("plan", "--verbose", vmi=[vmi("db", "prod")]).err
