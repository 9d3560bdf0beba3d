# SPDX-License-Identifier: Apache-2.0
"""Loopback ports for servers."""

import random
import socket
from dataclasses import dataclass

from harness.servers.errors import NotServing


@dataclass(slots=True)
class Port:
    """A loopback port that is free for UDP and TCP, and that no other test takes until it is released.

    named shares a port in use silently (SO_REUSEPORT), so a successful bind proves nothing. Below 32768 no outgoing
    connection takes it between two starts of a server.
    """

    number: int
    lock: socket.socket

    @classmethod
    def reserve(cls, address: str = "127.0.0.1") -> "Port":
        """Return a free port."""
        for _ in range(1000):
            number = random.randrange(10_000, 32_000)
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0ksd-ddns-tests-port-{number}")
            except OSError:
                lock.close()
                continue
            if _is_free(address, number):
                return cls(number, lock)
            lock.close()
        raise NotServing("no free loopback port between 10000 and 32000")

    def release(self) -> None:
        """Release the port."""
        self.lock.close()


def _is_free(address: str, number: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                if kind is socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does
                probe.bind((address, number))
    except OSError:
        return False
    return True
