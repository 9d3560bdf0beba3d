# SPDX-License-Identifier: Apache-2.0
"""Settings -> sessions with the primary."""

from collections.abc import Callable

from ksd_ddns.cli import output
from ksd_ddns.config import primary
from ksd_ddns.config.settings import Settings
from ksd_ddns.primary.keys import WEAK_ALGORITHMS, Key
from ksd_ddns.primary.pool import Pool
from ksd_ddns.primary.session import Session, endpoints
from ksd_ddns.primary.timing import Timing


def session(chosen: Settings, *, timing: Timing | None = None) -> Session:
    """Return a session with the primaries and keys of the settings. Raises SettingsError."""
    peers = primary.peers(chosen)
    for name, algorithm in sorted({(key.name, key.algorithm) for key in _latest(chosen)}):
        if algorithm in WEAK_ALGORITHMS:
            warn(f"key {name} has the weak algorithm {algorithm}: make a new one with tsig-keygen")
    return Session(peers, timeout=chosen.dns_timeout, timing=timing)


def sessions(chosen: Settings, *, timing: Timing | None = None) -> tuple[Session, Callable[[], Session]]:
    """Return the session of the main zone, which has a connection of its own, and what returns one for another zone.

    All others share a few connections. Raises SettingsError.
    """
    first = session(chosen, timing=timing)
    pool = Pool(endpoints(primary.peers(chosen)), timeout=chosen.dns_timeout, timing=timing)

    def another() -> Session:
        # Each has its own keys: a key negotiated by Kerberos can be used by one thread only.
        return Session(primary.peers(chosen), timeout=chosen.dns_timeout, pool=pool, timing=timing)

    return first, another


def _latest(chosen: Settings) -> list[Key]:
    return [source.latest() for source in primary.shared_keys(chosen)]


def warn(text: str) -> None:
    """Print a warning to standard error."""
    output.say(f"warning: {text}")
