# SPDX-License-Identifier: Apache-2.0
"""Signatures of messages: dnspython must accept every one, and nothing that was changed."""

import base64
import time

import dns.exception
import dns.message
import dns.name
import dns.tsig
import dns.update
import pytest

from ksd_ddns.primary import keys

SECRET = base64.b64encode(b"a secret of thirty-two octets ...").decode()


def unsigned_update() -> bytes:
    update = dns.update.UpdateMessage("vm.example.")
    update.add("net1.db.prod", 60, "A", "10.1.0.9")
    return update.to_wire()


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
@pytest.mark.parametrize("request_mac", [b"", bytes(range(32))], ids=["request", "response"])
def test_dnspython_accepts_our_signature(algorithm: str, request_mac: bytes) -> None:
    key = keys.key("Ksd-DDNS.example.", algorithm, SECRET)
    wire, mac = key.sign(unsigned_update(), request_mac=request_mac)
    keyring = {dns.name.from_text("ksd-ddns.example."): key.tsig}
    message = dns.message.from_wire(wire, keyring=keyring, request_mac=request_mac)
    assert message.had_tsig
    assert message.tsig is not None
    assert (message.tsig[0].mac, message.tsig[0].fudge, message.tsig[0].error) == (mac, keys.FUDGE, 0)
    assert abs(message.tsig[0].time_signed - time.time()) < 60


@pytest.mark.parametrize("at", [4, 13, 30, -20], ids=["counts", "zone", "record", "signature"])
def test_dnspython_rejects_a_signed_message_that_was_changed(at: int) -> None:
    key = keys.key("ksd-ddns.", "hmac-sha256", SECRET)
    wire = bytearray(key.sign(unsigned_update())[0])
    wire[at] ^= 1
    with pytest.raises(dns.exception.DNSException):
        dns.message.from_wire(bytes(wire), keyring={dns.name.from_text("ksd-ddns."): key.tsig})
