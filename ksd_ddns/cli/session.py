"""The conversation with the primary that the settings describe."""

import sys

from ksd_ddns.primary.keys import WEAK_ALGORITHMS
from ksd_ddns.primary.session import Session
from ksd_ddns.settings import Settings


def session(chosen: Settings) -> Session:
    """Return a session with the primaries and keys of the settings. Raises SettingsError."""
    key, transfer_key = chosen.key(), chosen.transfer_key()
    for each in (key, transfer_key):
        if each is not None and each.algorithm in WEAK_ALGORITHMS:
            warn(f"key {each.name} has the weak algorithm {each.algorithm}: make a new one with tsig-keygen")
    return Session(chosen.servers(), key=key, transfer_key=transfer_key, timeout=chosen.dns_timeout)


def warn(text: str) -> None:
    """Say on standard error what is doubtful, and does not stop anything."""
    print(f"warning: {text}", file=sys.stderr)
