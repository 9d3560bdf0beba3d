# SPDX-License-Identifier: Apache-2.0
"""NOTIFY to secondaries (RFC 1996): a zone changed, before they poll it.

A primary notifies the secondaries that it knows by address. This is for those that come and go, as pods do: their name
is looked up repeatedly. A secondary that misses a NOTIFY polls the zone a little later.
"""

import logging
import socket
import time
from collections.abc import Collection, Iterable
from threading import Condition, Thread
from typing import NamedTuple

from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.exchange import new_id
from ksd_ddns.primary.keys import RotatingKey
from ksd_ddns.wire import codec

LOOK_UP_EVERY = 5.0
"""Minimum number of seconds between two lookups of a name."""

_log = logging.getLogger(__name__)


class _Target(NamedTuple):
    """Where a datagram goes."""

    family: int
    address: str
    port: int


class Announcer:
    """Sends NOTIFY for changed zones to `secondaries`, on a thread of its own, signed with `key` if there is one."""

    def __init__(self, secondaries: Collection[Server], key: RotatingKey | None) -> None:
        self._secondaries = tuple(secondaries)
        self._key = key
        self._changed: set[bytes] = set()
        self._any = Condition()
        self._known: dict[Server, frozenset[_Target]] = {}
        self._missing: set[Server] = set()
        self._look_up_at = 0.0

    def announce(self, zone: bytes) -> None:
        """Send NOTIFY for `zone` soon; never waits, and is safe to call from any thread."""
        with self._any:
            self._changed.add(zone)
            self._any.notify()

    def start(self) -> None:
        """Start the thread."""
        Thread(target=self._run, name="announce", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._any:
                self._any.wait_for(lambda: self._changed)
                zones, self._changed = self._changed, set()
            # Known addresses first: a lookup may take as long as a resolver does not answer.
            known = self._targets()
            self._notify(zones, known)
            if time.monotonic() >= self._look_up_at:
                self._look_up()
                self._notify(zones, self._targets() - known)

    def _targets(self) -> frozenset[_Target]:
        return frozenset().union(*self._known.values())

    def _look_up(self) -> None:
        for secondary in self._secondaries:
            try:
                found = socket.getaddrinfo(secondary.host, secondary.port, type=socket.SOCK_DGRAM)
            except (OSError, UnicodeError) as e:
                if secondary not in self._missing:
                    _log.warning(
                        "cannot look up a secondary, notifying known addresses only",
                        extra={"fields": {"secondary": str(secondary), "error": str(e)}},
                    )
                self._missing.add(secondary)
            else:
                self._missing.discard(secondary)
                self._known[secondary] = frozenset(
                    _Target(family, str(address[0]), int(address[1])) for family, _, _, _, address in found
                )
        self._look_up_at = time.monotonic() + LOOK_UP_EVERY

    def _notify(self, zones: Iterable[bytes], targets: Iterable[_Target]) -> None:
        by_family: dict[int, list[_Target]] = {}
        for target in targets:
            by_family.setdefault(target.family, []).append(target)
        for family, found in by_family.items():
            try:
                with socket.socket(family, socket.SOCK_DGRAM) as sender:
                    sender.setblocking(False)
                    for zone in zones:
                        self._send(sender, zone, found)
            except OSError as e:
                _log.info(
                    "cannot send NOTIFY",
                    extra={"fields": {"secondaries": [target.address for target in found], "error": str(e)}},
                )

    def _send(self, sender: socket.socket, zone: bytes, targets: Iterable[_Target]) -> None:
        for target in targets:
            message = codec.notify(new_id(), zone)
            signed = message if self._key is None else self._key.latest().sign(message)[0]
            try:
                sender.sendto(signed, (target.address, target.port))
            except OSError as e:
                _log.debug("cannot send NOTIFY", extra={"fields": {"secondary": target.address, "error": str(e)}})
