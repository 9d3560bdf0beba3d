"""How long one message is waited for."""

import contextlib
import socket
import threading
import time

import pytest

from ksd_ddns.errors import Unreachable
from ksd_ddns.primary.connection import Connection, Server


def trickle(listener: socket.socket) -> None:
    """Send the length of a message of 1,000 octets to who comes, and then an octet now and then."""
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        with client:
            client.sendall(b"\x03\xe8")
            for _ in range(1000):
                client.sendall(b"x")
                time.sleep(0.02)


def test_a_message_that_trickles_is_not_waited_for() -> None:
    """An octet now and then is no silence: it could hold up a zone for hours."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, args=(listener,), daemon=True).start()
        with (
            Connection(Server(*listener.getsockname()), timeout=0.1) as connection,
            pytest.raises(Unreachable, match=r"no complete message from .* within 1 s"),
        ):
            connection.receive()
