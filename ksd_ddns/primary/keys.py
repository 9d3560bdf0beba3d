"""TSIG keys and key files (RFC 8945): dnspython signs and verifies, on wire bytes.

A key never shows its secret: not in `repr`, not in an error.
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
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig

from ksd_ddns.errors import BadResponse, Denied, SettingsError
from ksd_ddns.primary.connection import Connection
from ksd_ddns.primary.files import Followed
from ksd_ddns.printable import MASK, looks_secret, masked
from ksd_ddns.wire.codec import Message
from ksd_ddns.wire.rrset import CLASS_ANY, TSIG

ALGORITHMS = ("hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1")
WEAK_ALGORITHMS = frozenset({"hmac-sha1"})
FUDGE = 300
"""Seconds by which the clocks of client and server may differ (RFC 8945, 10)."""

MAX_UNSIGNED = 99
"""Messages in a row that a transfer may leave unsigned (RFC 8945, 5.3.1)."""

_NAME = r'"?(?P<{}>[^\s"{{}};]+)"?'
_COMMENT = re.compile(r'("[^"]*")|/\*.*?\*/|(?://|#)[^\n]*', re.DOTALL)  # not inside quotes: base64 has slashes
_KEY_CLAUSE = re.compile(rf"\bkey\s+{_NAME.format('name')}\s*\{{(?P<body>[^}}]*)\}}", re.IGNORECASE)
_ALGORITHM = re.compile(rf"\balgorithm\s+{_NAME.format('value')}\s*;", re.IGNORECASE)
_SECRET = re.compile(r'\bsecret\s+"?(?P<value>[A-Za-z0-9+/=\s]+?)"?\s*;', re.IGNORECASE)


GSS_ALGORITHM = "gss-tsig"


class KeyRejected(Denied):
    """The server does not know the key (BADKEY), or, as Knot says it, the key may not do this to that name."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs and verifies, with its name and algorithm.

    The name is the domain name of a shared secret (absolute, with the final dot), or the principal that a key was
    negotiated for: what a server's grants call it.
    """

    name: str
    algorithm: str
    _key: dns.tsig.Key = field(repr=False)
    _owner: bytes = field(repr=False)

    def sign(self, wire: bytes, *, request_mac: bytes = b"") -> tuple[bytes, bytes]:
        """Return the message with its TSIG record, signed as of now, and the MAC that the response refers to.

        A response is signed together with the MAC of its request (RFC 8945, 5.3).
        A message that is sent again must be signed again: its time is part of the signature.
        """
        empty = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]
            dns.rdataclass.ANY,
            dns.rdatatype.TSIG,
            self._key.algorithm,
            0,
            FUDGE,
            b"",
            int.from_bytes(wire[:2], "big"),
            0,
            b"",
        )
        signed, _ = dns.tsig.sign(wire, self._key, empty, int(time.time()), request_mac)  # type: ignore[no-untyped-call]
        rdata = signed.to_wire()
        count = int.from_bytes(wire[10:12], "big") + 1
        record = b"".join(
            (
                self._owner,
                TSIG.to_bytes(2, "big"),
                CLASS_ANY.to_bytes(2, "big"),
                bytes(4),
                len(rdata).to_bytes(2, "big"),
                rdata,
            )
        )
        return b"".join((wire[:10], count.to_bytes(2, "big"), wire[12:], record)), signed.mac

    def current(self, connection: Connection) -> "Key":
        """Return this key, whatever the connection: a key that never changes is its own source."""
        return self

    def rejected(self, key: "Key") -> bool:
        """Return that there is no other."""
        return False


class KeySource(Protocol):
    """Where the key comes from that signs the next message."""

    def current(self, connection: Connection) -> Key:
        """Return the key for the server of `connection`, over which it may be negotiated. Raises PrimaryError."""

    def rejected(self, key: Key) -> bool:
        """Take note that the server does not know `key`; return whether `current` has another one now."""


class Rotating:
    """A key in files, read again when they change: rotation without a restart."""

    def __init__(self, what: str, load: Callable[[], Key], files: Iterable[Path | None] = ()) -> None:
        self._key = Followed(what, load, files)

    def current(self, connection: Connection) -> Key:
        """Return the key as it is in the files now, whatever the connection."""
        return self.latest()

    def rejected(self, key: Key) -> bool:
        """Return whether the files hold another key than `key` by now."""
        return self.latest() is not key

    def latest(self) -> Key:
        """Return the key as it is in the files now; while they are unreadable or wrong, as it last was."""
        return self._key.latest()


class Verifier:
    """Verifies the response to one signed request, message by message.

    `server` is named in errors, `mac` is that of the request (empty: it is the request that is verified); `verified` is
    the MAC of the last message that was found good. Every message of a transfer counts into the signatures; `finish`
    must be called after the last one, since an unsigned end would leave the end of the zone unproven.
    """

    def __init__(self, key: Key, mac: bytes, *, server: str, several: bool = False) -> None:
        self._key = key
        self._mac = mac
        self._server = server
        self._several = several
        self._context: dns.tsig.HMACTSig | dns.tsig.GSSTSig | None = None
        self._unsigned = 0
        self.verified = b""

    def verify(self, message: Message) -> None:
        """Raise Denied where the server says that it did not accept our signature, BadResponse where its own is bad."""
        if message.tsig is None or message.tsig_start is None:
            if not message.rcode:
                self._pass_unsigned(message)
            return  # an unsigned refusal is no more than a refusal: whoever sent it, nothing follows from it
        owner, _, _, rdata = message.tsig
        signature = None
        try:
            signature = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, rdata, 0, len(rdata))
            self._context = dns.tsig.validate(  # type: ignore[no-untyped-call]
                message.wire,
                self._key._key,  # the pair of sign and verify
                dns.name.from_wire(owner, 0)[0],
                signature,
                int(time.time()),
                self._mac,
                message.tsig_start,
                self._context,
                self._several,
            )
        except dns.tsig.PeerBadKey as e:
            raise KeyRejected(self._peer_message(e, signature)) from e
        except dns.tsig.PeerBadSignature as e:
            # A secret that was copied wrong stays wrong; a negotiated key has come to its end.
            kind = KeyRejected if self._negotiated else Denied
            raise kind(self._peer_message(e, signature)) from e
        except dns.tsig.PeerError as e:
            raise Denied(self._peer_message(e, signature)) from e
        except dns.tsig.BadTime as e:
            raise BadResponse(
                f"{self._server} signed its response at another time: the clocks differ by more than {FUDGE} s; "
                "set the clock of both by NTP"
            ) from e
        except (dns.exception.DNSException, NotImplementedError, ValueError) as e:
            if self._mac and self._mac == getattr(signature, "mac", b""):
                self._take_echo(message)
                return
            raise BadResponse(
                f"the signature of {self._server} does not verify with key {self._key.name} ({type(e).__name__}): "
                "the response was changed on its way, or comes from somebody else; it is not used"
            ) from e
        self._unsigned = 0
        self.verified = bytes(getattr(signature, "mac", b""))

    def finish(self) -> None:
        """Raise BadResponse unless the last message was signed."""
        if self._unsigned:
            raise BadResponse(f"{self._server} left the end of its response unsigned: it is not used")

    @property
    def _negotiated(self) -> bool:
        return self._key.algorithm == GSS_ALGORITHM

    def _take_echo(self, message: Message) -> None:
        """Take a response with the signature of our own request, which proves nothing: as if it were unsigned."""
        if not message.rcode:
            raise BadResponse(
                f"{self._server} sent the signature of our request back instead of its own: the answer is not used; "
                "Windows does so where it does not look at signatures: let the zone take secure updates only"
            )

    def _pass_unsigned(self, message: Message) -> None:
        if self._context is None or not self._several:
            raise BadResponse(
                f"{self._server} answered a request signed with key {self._key.name} without a signature: "
                "the answer is not used; is it the server that holds the key, or something in between?"
            )
        self._unsigned += 1
        if self._unsigned > MAX_UNSIGNED:
            raise BadResponse(f"{self._server} left more than {MAX_UNSIGNED} messages in a row unsigned")
        self._context.update(message.wire)  # type: ignore[no-untyped-call]

    def _peer_message(self, error: dns.tsig.PeerError, signature: object) -> str:
        key = self._key
        if self._negotiated and isinstance(error, (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature)):
            return f"{self._server} does not know the key any more that it negotiated with {key.name}"
        if isinstance(error, dns.tsig.PeerBadKey):
            return (
                f"{self._server} does not know key {key.name} with algorithm {key.algorithm} (BADKEY), or does not let "
                "it do this: name and algorithm must be the same on both sides; compare TSIG_KEY_NAME and "
                "TSIG_ALGORITHM (or the key file) with the server's key clause, and its grants"
            )
        if isinstance(error, dns.tsig.PeerBadSignature):
            return (
                f"{self._server} knows key {key.name}, but with another secret or algorithm (BADSIG): "
                "copy the secret from the server's key clause again"
            )
        if isinstance(error, dns.tsig.PeerBadTime):
            return f"{self._server} refuses our clock (BADTIME){_difference(signature)}: set the clock of both by NTP"
        return f"{self._server} refuses the signature with key {key.name}: {error}"


def _difference(signature: object) -> str:
    """Return by how much the clocks differ, as the server's time stands in a BADTIME response (RFC 8945, 5.2.3)."""
    other = getattr(signature, "other", b"")
    if len(other) != 6:
        return ""
    seconds = int.from_bytes(other, "big") - int(time.time())
    return f": it is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} us"


def key(name: str, algorithm: str, secret: str) -> Key:
    """Return the key of that name. `secret` is base64. Raises SettingsError that does not show the secret."""
    if looks_secret(name):
        raise SettingsError(
            f"the key name {MASK} looks like a secret: name and secret have got into each other's place"
        )
    folded = algorithm.lower().removesuffix(".")
    folded = "hmac-md5" if folded.startswith("hmac-md5") else folded
    if folded not in ALGORITHMS:
        why = "MD5 is broken" if folded == "hmac-md5" else "it is not a TSIG algorithm that is supported"
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
            raise ValueError  # padding that Python lets pass, and the servers do not
    except (binascii.Error, ValueError):
        # Not chained: the exception's context would hold the secret.
        raise SettingsError(f"the secret of key {name} is not base64: copy it again from the key file") from None
    if not octets:
        raise SettingsError(f"the secret of key {name} is empty")
    return Key(owner.to_text().lower(), folded, dns.tsig.Key(owner, octets, folded), owner.to_digestable())


def secret_of(key: Key) -> str:
    """Return the secret in base64, for the configuration of a server: never for people."""
    return base64.b64encode(key._key.secret).decode()


def read_key_file(path: Path) -> Key:
    """Return the key of the one `key "name" { algorithm …; secret "…"; };` clause of a file that tsig-keygen wrote.

    Raises SettingsError that names the file, never its content.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"key file {path} is not text: make one with tsig-keygen > {path}") from None
    except OSError as e:
        raise SettingsError(f"key file {path} cannot be read: {e.strerror or e}") from e
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
