# SPDX-License-Identifier: Apache-2.0
"""TSIG keys and key files (RFC 8945). dnspython signs the wire bytes.

Neither `repr` nor an error shows the secret of a key.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import dns.exception
import dns.name
import dns.tsig

from ksd_ddns.errors import SettingsError
from ksd_ddns.primary.connection import Connection
from ksd_ddns.primary.files import FileValue
from ksd_ddns.printable import MASK, looks_secret, masked
from ksd_ddns.wire.rrset import CLASS_ANY, TSIG

ALGORITHMS = ("hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1")
WEAK_ALGORITHMS = frozenset({"hmac-sha1"})
FUDGE = 300
"""Seconds by which the clocks of client and server may differ (RFC 8945, 10)."""

_ANY = CLASS_ANY.to_bytes(2, "big")
_NO_TTL = bytes(4)
_NAME = r'"?(?P<{}>[^\s"{{}};]+)"?'
_COMMENT = re.compile(r'("[^"]*")|/\*.*?\*/|(?://|#)[^\n]*', re.DOTALL)  # not inside quotes: base64 has slashes
_KEY_CLAUSE = re.compile(rf"\bkey\s+{_NAME.format('name')}\s*\{{(?P<body>[^}}]*)\}}", re.IGNORECASE)
_ALGORITHM = re.compile(rf"\balgorithm\s+{_NAME.format('value')}\s*;", re.IGNORECASE)
_SECRET = re.compile(r'\bsecret\s+"?(?P<value>[A-Za-z0-9+/=\s]+?)"?\s*;', re.IGNORECASE)


GSS_ALGORITHM = "gss-tsig"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs and verifies, with its name and algorithm.

    The name is the one that the server's access rules use: an absolute domain name for a shared secret, our Kerberos
    principal for a negotiated key.
    """

    name: str
    algorithm: str
    tsig: dns.tsig.Key = field(repr=False)
    """The key for dnspython, with the secret."""
    _owner: bytes = field(repr=False)

    def sign(self, wire: bytes, *, request_mac: bytes = b"") -> tuple[bytes, bytes]:
        """Return the message with a TSIG record for the current time, and its MAC to verify the response.

        The signature of a response includes the MAC of its request (RFC 8945, 5.3). Sign a message again before you
        send it again, because the signature includes the time.
        """
        # The variables are laid out here as bytes: dns.tsig.sign() makes three rdata objects for them, which takes
        # four times as long as all the rest.
        context = dns.tsig.get_context(self.tsig)  # type: ignore[no-untyped-call]
        if request_mac:
            context.update(len(request_mac).to_bytes(2, "big") + request_mac)
        algorithm = self.tsig.algorithm.to_digestable()
        times = int(time.time()).to_bytes(6, "big") + FUDGE.to_bytes(2, "big")
        no_error_no_other = bytes(4)
        context.update(wire)
        context.update(b"".join((self._owner, _ANY, _NO_TTL, algorithm, times, no_error_no_other)))
        mac: bytes = context.sign()
        rdata = b"".join((algorithm, times, len(mac).to_bytes(2, "big"), mac, wire[:2], no_error_no_other))
        count = int.from_bytes(wire[10:12], "big") + 1
        record = b"".join(
            (
                self._owner,
                TSIG.to_bytes(2, "big"),
                _ANY,
                _NO_TTL,
                len(rdata).to_bytes(2, "big"),
                rdata,
            )
        )
        return b"".join((wire[:10], count.to_bytes(2, "big"), wire[12:], record)), mac

    def current(self, connection: Connection) -> "Key":
        """Return this key: a key that never changes is its own source."""
        return self

    def reject(self, key: "Key") -> bool:
        """Return False: there is no other key."""
        return False


class KeySource(Protocol):
    """Provides the key that signs the next message."""

    def current(self, connection: Connection) -> Key:
        """Return the key for the server of `connection`, over which it may be negotiated. Raises PrimaryError."""

    def reject(self, key: Key) -> bool:
        """Note that the server does not know `key`; return whether `current` now returns another one."""


class RotatingKey:
    """A key that is reloaded when its files change, so that it can rotate without a restart."""

    def __init__(self, what: str, load: Callable[[], Key], files: Iterable[Path | None] = ()) -> None:
        self._key = FileValue(what, load, files)

    def current(self, connection: Connection) -> Key:
        """Return the key in the files."""
        return self.latest()

    def reject(self, key: Key) -> bool:
        """Return whether the files now hold another key than `key`."""
        return self.latest() is not key

    def latest(self) -> Key:
        """Return the key in the files; if they are unreadable or invalid, the last valid one."""
        return self._key.latest()


def key(name: str, algorithm: str, secret: str) -> Key:
    """Return the key named `name`. `secret` is base64. Raises SettingsError, without the secret."""
    if looks_secret(name):
        raise SettingsError(f"the key name {MASK} looks like a secret: name and secret may be swapped")
    folded = algorithm.lower().removesuffix(".")
    folded = "hmac-md5" if folded.startswith("hmac-md5") else folded
    if folded not in ALGORITHMS:
        why = "MD5 is broken" if folded == "hmac-md5" else "this TSIG algorithm is not supported"
        shown = algorithm if folded.startswith("hmac-") else MASK  # it may be the secret, in the wrong place
        raise SettingsError(
            f"key {name} has algorithm {masked(shown)}: {why}; make a new key with tsig-keygen -a hmac-sha256 {name} "
            f"(allowed: {', '.join(ALGORITHMS)})"
        )
    try:
        owner = dns.name.from_text(name)
    except dns.exception.DNSException as e:
        raise SettingsError(f"the key name {name!r} is not a domain name: {e}") from e
    text = "".join(secret.split())
    try:
        octets = base64.b64decode(text, validate=True)
        if len(base64.b64encode(octets)) != len(text):
            raise ValueError  # padding that Python accepts, but servers do not
    except (binascii.Error, ValueError):
        # not chained: the exception's context holds the secret
        raise SettingsError(f"the secret of key {name} is not base64: copy it again from the key file") from None
    if not octets:
        raise SettingsError(f"the secret of key {name} is empty")
    return Key(owner.to_text().lower(), folded, dns.tsig.Key(owner, octets, folded), owner.to_digestable())


def secret_of(key: Key) -> str:
    """Return the secret in base64, for the configuration of a server. Never show it."""
    return base64.b64encode(key.tsig.secret).decode()


def read_key_file(path: Path) -> Key:
    """Return the key in a file that tsig-keygen wrote: one clause `key "name" { algorithm …; secret "…"; };`.

    Raises SettingsError, which names the file and never shows its content.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"key file {path} is not text: make one with tsig-keygen > {path}") from None
    except OSError as e:
        raise SettingsError(f"key file {path} cannot be read: {e.strerror or e}; check its path, owner and mode") from e
    clauses = list(_KEY_CLAUSE.finditer(_COMMENT.sub(lambda match: match[1] or " ", text)))
    if len(clauses) != 1:
        found = f"{len(clauses)} key clauses" if clauses else "no key clause"
        raise SettingsError(
            f'key file {path} holds {found}: it needs exactly one key "name" {{ algorithm hmac-sha256; '
            f'secret "..."; }}; as tsig-keygen writes it'
        )
    algorithm = _ALGORITHM.search(clauses[0]["body"])
    secret = _SECRET.search(clauses[0]["body"])
    if algorithm is None or secret is None:
        missing = "algorithm" if algorithm is None else "secret in base64"
        raise SettingsError(f"key file {path}: the key clause has no {missing}")
    try:
        return key(clauses[0]["name"], algorithm["value"], secret["value"])
    except SettingsError as e:
        raise SettingsError(f"key file {path}: {e}") from None
