# SPDX-License-Identifier: Apache-2.0
"""The link to a primary: how much may be in flight and how long to wait, from earlier exchanges; its errors."""

from dataclasses import dataclass

from ksd_ddns.errors import Unreachable

SMALL = 4 * 1024
"""Octets that any link carries without a noticeable delay."""

SILENT_BLOCK = 32 * 1024
"""Octets in flight that extend the timeout by one timeout: links have buffers, so octets arrive in bursts."""

SERIAL_REQUESTS = 1000
"""Number of requests sent one at a time after a server closed connections with several in flight, twice."""

FIRST_WINDOW, SMALLEST_WINDOW, LARGEST_WINDOW = 64 * 1024, 4 * 1024, 1024 * 1024
"""Octets of requests that may be in flight on a link: initially, at least and at most."""


class Lost(Unreachable):
    """There is no connection to the server, or it broke."""


class Silent(Lost):
    """The server accepted the connection, but did not answer in time."""


class Stopped(Unreachable):
    """Sending stopped at our end: the process shuts down, or it lost leadership."""


@dataclass(slots=True)
class Link:
    """What is known of a link from earlier exchanges; it outlives connections.

    `rate` is in octets per second, 0 if unknown. `window` is how many octets of requests may be in flight. The next
    `alone` requests are sent one at a time. `suspect` counts down the requests since the server closed a connection
    with several in flight. `received_at` is when the last message arrived.
    """

    rate: float = 0.0
    window: int = FIRST_WINDOW
    alone: int = 0
    suspect: int = 0
    received_at: float = float("-inf")

    def note_speed(self, octets: int, seconds: float) -> None:
        """Note that `octets` crossed the link in `seconds`, in either direction."""
        if octets >= SMALL and seconds > 0:
            self.rate = octets / seconds

    def note_answered(self, ahead: int, seconds: float, timeout: float) -> None:
        """Adapt the window to a request that was answered after `seconds`, with `ahead` octets in flight."""
        self.alone = max(self.alone - 1, 0)
        self.suspect = max(self.suspect - 1, 0)
        if ahead < self.window // 2:
            return
        if seconds < timeout / 5:
            self.window = min(2 * self.window, LARGEST_WINDOW)
        elif seconds > timeout:
            self.window = max(self.window // 2, SMALLEST_WINDOW)

    def narrow(self) -> None:
        """Reduce the window, because the server closed a connection with several requests in flight; in the end to one.

        Knot 3.4 and 3.5 close a TLS connection when an update arrives while they process another one.
        """
        if self.suspect:
            self.alone = SERIAL_REQUESTS
        self.suspect = 2 * SERIAL_REQUESTS
        self.window = SMALLEST_WINDOW

    def allowed(self, octets: int, timeout: float) -> float:
        """Return how many seconds of silence are normal with `octets` in flight."""
        if octets < SMALL:
            return timeout
        return timeout + octets / max(self.rate / 8, SILENT_BLOCK / timeout)
