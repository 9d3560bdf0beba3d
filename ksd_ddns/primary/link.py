"""The link to a primary: how much to send at once and how long to wait, as earlier exchanges showed; how it fails."""

from dataclasses import dataclass

from ksd_ddns.errors import Unreachable

SMALL = 4 * 1024
"""Octets that cross any link at once."""

SILENT_BLOCK = 32 * 1024
"""Octets in flight for which one more timeout is allowed: links have buffers, so octets arrive in lumps."""

SERIAL_REQUESTS = 1000
"""How many requests are sent one at a time to a server that hung up on several at once, twice."""

FIRST_WINDOW, SMALLEST_WINDOW, LARGEST_WINDOW = 64 * 1024, 4 * 1024, 1024 * 1024
"""Octets of requests that may be in flight on a link: at first, at least and at most."""


class Lost(Unreachable):
    """There is no connection to the server, or it broke."""


class Silent(Lost):
    """The server accepts connections and does not answer in time."""


class Stopped(Unreachable):
    """Sending stopped at our end: the process shuts down, or it lost leadership."""


@dataclass(slots=True)
class Link:
    """What exchanges showed of a link; outlives a connection.

    `rate` is in octets per second, 0 while unknown. `window` is how many octets of requests may be in flight, and
    `alone` how many more requests are sent one at a time. For the next `suspect` requests a server is remembered that
    hung up on several at once. `received_at` is when the last message arrived.
    """

    rate: float = 0.0
    window: int = FIRST_WINDOW
    alone: int = 0
    suspect: int = 0
    received_at: float = float("-inf")

    def measured(self, octets: int, seconds: float) -> None:
        """Record that `octets` crossed the link in `seconds`, in either direction."""
        if octets >= SMALL and seconds > 0:
            self.rate = octets / seconds

    def answered(self, ahead: int, seconds: float, timeout: float) -> None:
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
        """Send fewer requests at once, since the server hung up on several: in the end one at a time.

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
