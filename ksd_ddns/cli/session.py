"""The conversation with the primary that the settings describe."""

from ksd_ddns.cli import output
from ksd_ddns.primary.keys import WEAK_ALGORITHMS, Key
from ksd_ddns.primary.session import Session
from ksd_ddns.settings import Settings


def session(chosen: Settings) -> Session:
    """Return a session with the primaries and keys of the settings. Raises SettingsError."""
    peers = chosen.peers()
    for name, algorithm in sorted({(key.name, key.algorithm) for key in _latest(chosen)}):
        if algorithm in WEAK_ALGORITHMS:
            warn(f"key {name} has the weak algorithm {algorithm}: make a new one with tsig-keygen")
    return Session(peers, timeout=chosen.dns_timeout)


def _latest(chosen: Settings) -> list[Key]:
    return [source.latest() for source in chosen.shared_keys()]


def warn(text: str) -> None:
    """Say on standard error what is doubtful, and does not stop anything."""
    output.say(f"warning: {text}")
