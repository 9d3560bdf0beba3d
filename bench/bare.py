# SPDX-License-Identifier: Apache-2.0
"""The lower bound: messages built and signed in advance, sent in a loop that checks only the rcode."""

import socket
from collections import deque
from collections.abc import Sequence

from harness.servers import Server
from ksd_ddns.primary.keys import Key
from ksd_ddns.wire import codec
from ksd_ddns.zone.plan import Change
from ksd_ddns.zone.update import batch


def signed(zone: bytes, changes: Sequence[Change], key: Key, *, ident: int = 1) -> bytes:
    """Return the signed UPDATE message of `changes`, with its length prefix; valid for the TSIG fudge (5 minutes)."""
    together = batch(changes)
    message, _ = key.sign(codec.update(ident, zone, together.prerequisites, together.updates))
    return len(message).to_bytes(2, "big") + message


class Client:
    """A blocking socket."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection((server.address, server.port), 60.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._responses = self._socket.makefile("rb")

    def close(self) -> None:
        """Close the connection."""
        self._responses.close()
        self._socket.close()

    def exchange(self, message: bytes) -> None:
        """Send one message and wait for its response."""
        self._socket.sendall(message)
        self._answer()

    def send_all(self, messages: Sequence[bytes], *, in_flight: int) -> None:
        """Send all messages, with at most `in_flight` unanswered, and wait for their responses."""
        waiting = deque(messages)
        flying = 0
        while waiting or flying:
            while waiting and flying < in_flight:
                self._socket.sendall(waiting.popleft())
                flying += 1
            self._answer()
            flying -= 1

    def _answer(self) -> None:
        length = int.from_bytes(self._responses.read(2), "big")
        answer = self._responses.read(length)
        if len(answer) < 12 or answer[3] & 0xF:
            raise RuntimeError(f"the primary refused a message: {answer[:12].hex()}")
