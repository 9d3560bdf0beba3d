"""NOTIFY to secondaries (RFC 1996): that a zone changed is said before they ask.

A primary says so itself to secondaries that it knows by address. This is for those that come and go, as pods do: they
are looked up by name, again and again. Whoever is missed, or misses a datagram, asks by itself a little later.
"""

import logging
import socket
import time
from collections.abc import Collection, Iterable
from threading import Condition, Thread
from typing import NamedTuple

from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.exchange import new_id
from ksd_ddns.primary.keys import Rotating
from ksd_ddns.wire import codec

LOOK_UP_EVERY = 5.0
"""Seconds between two look-ups of a name, at least."""

_log = logging.getLogger(__name__)


class _Target(NamedTuple):
    """Where a datagram goes."""

    family: int
    address: str
    port: int


class Announcer:
    """Tells `secondaries` which zones changed, on a thread of its own; with `key` it signs what it says."""

    def __init__(self, secondaries: Collection[Server], key: Rotating | None) -> None:
        self._secondaries = tuple(secondaries)
        self._key = key
        self._changed: set[bytes] = set()
        self._any = Condition()
        self._known: dict[Server, frozenset[_Target]] = {}
        self._missing: set[Server] = set()
        self._look_up_at = 0.0

    def changed(self, zone: bytes) -> None:
        """Say soon that `zone` changed; never waits, and is safe to call from any thread."""
        with self._any:
            self._changed.add(zone)
            self._any.notify()

    def start(self) -> None:
        """Begin to say it."""
        Thread(target=self._run, name="announce", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._any:
                self._any.wait_for(lambda: self._changed)
                zones, self._changed = self._changed, set()
            # Those that are known hear it at once: looking the others up may take as long as a resolver is silent.
            known = self._targets()
            self._tell(zones, known)
            if time.monotonic() >= self._look_up_at:
                self._look_up()
                self._tell(zones, self._targets() - known)

    def _targets(self) -> frozenset[_Target]:
        return frozenset().union(*self._known.values())

    def _look_up(self) -> None:
        for secondary in self._secondaries:
            try:
                found = socket.getaddrinfo(secondary.host, secondary.port, type=socket.SOCK_DGRAM)
            except (OSError, UnicodeError) as e:
                if secondary not in self._missing:
                    _log.warning("no NOTIFY to %s beyond those that are known: it is not found: %s", secondary, e)
                self._missing.add(secondary)
            else:
                self._missing.discard(secondary)
                self._known[secondary] = frozenset(
                    _Target(family, str(address[0]), int(address[1])) for family, _, _, _, address in found
                )
        self._look_up_at = time.monotonic() + LOOK_UP_EVERY

    def _tell(self, zones: Iterable[bytes], targets: Iterable[_Target]) -> None:
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
                _log.info("no NOTIFY to %s: %s", ", ".join(target.address for target in found), e)

    def _send(self, sender: socket.socket, zone: bytes, targets: Iterable[_Target]) -> None:
        for target in targets:
            message = codec.notify(new_id(), zone)
            signed = message if self._key is None else self._key.latest().sign(message)[0]
            try:
                sender.sendto(signed, (target.address, target.port))
            except OSError as e:
                _log.debug("no NOTIFY to %s: %s", target.address, e)
