# SPDX-License-Identifier: Apache-2.0
"""Verification of TSIG signatures (RFC 8945): dnspython verifies, on wire bytes."""

import time

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig

from ksd_ddns.errors import BadResponse, Denied
from ksd_ddns.primary.keys import FUDGE, GSS_ALGORITHM, Key
from ksd_ddns.wire.codec import Message

MAX_UNSIGNED = 99
"""Messages in a row that a transfer may leave unsigned (RFC 8945, 5.3.1)."""

_OLD_SAMBA = (
    "if it is Samba's internal DNS server: version 4.17 signs wrongly, 4.22 does not, so update Samba, or use BIND "
    "with its module BIND9_DLZ"
)


class KeyRejected(Denied):
    """The server does not know the key (BADKEY). Knot also returns this if the key lacks permission for the name."""


class Verifier:
    """Verifies the response to one signed request, message by message.

    `mac` is the MAC of the request, empty if the verified message is itself a request. `server` is for error messages.
    `verified` is the MAC of the last valid message. With `several`, the messages are one transfer, of which some may be
    unsigned; call `finish` after the last one, because that must be signed.
    """

    def __init__(self, key: Key, mac: bytes, *, server: str, several: bool = False) -> None:
        self._key = key
        self._mac = mac
        self._server = server
        self._several = several
        self._context: dns.tsig.HMACTSig | dns.tsig.GSSTSig | None = None
        self._unsigned = 0
        self.verified = b""

    def verify(self, message: Message) -> bool:
        """Return whether `message` has a valid signature.

        Without one, it is part of a transfer, or an error response: its records must not be used. Raises Denied if the
        server did not accept our signature, BadResponse if its own is invalid.
        """
        if message.tsig is None or message.tsig_start is None:
            if not message.rcode:
                self._pass_unsigned(message)
            return False
        owner, _, _, rdata = message.tsig
        signature = None
        try:
            signature = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, rdata, 0, len(rdata))
            self._context = dns.tsig.validate(  # type: ignore[no-untyped-call]
                message.wire,
                self._key.tsig,
                dns.name.from_wire(owner, 0)[0],
                signature,
                int(time.time()),
                self._mac,
                message.tsig_start,
                self._context,
                self._several,
            )
        except dns.tsig.PeerError as e:
            raise self._peer_error(e, signature) from e
        except dns.tsig.BadTime as e:
            raise self._bad(
                f"{self._server} signed its response with a time more than {FUDGE} s off ours",
                "set both clocks by NTP",
            ) from e
        except (dns.exception.DNSException, NotImplementedError, ValueError) as e:
            if self._mac and self._mac == getattr(signature, "mac", b""):
                self._check_echo(message)
                return False
            raise self._bad(
                f"the signature of {self._server} does not verify with key {self._key.name} ({type(e).__name__}): the "
                "response was changed in transit or comes from another host, and is not used",
                _OLD_SAMBA if self._negotiated else "",
            ) from e
        self._unsigned = 0
        self.verified = bytes(getattr(signature, "mac", b""))
        return True

    def finish(self) -> None:
        """Raise BadResponse unless the last message was signed."""
        if self._unsigned:
            raise self._bad(f"{self._server} left the end of its response unsigned: it is not used")

    @property
    def _negotiated(self) -> bool:
        return self._key.algorithm == GSS_ALGORITHM

    def _check_echo(self, message: Message) -> None:
        """Handle a response with the signature of our request: that proves nothing, so it counts as unsigned."""
        if not message.rcode:
            raise self._bad(
                f"{self._server} sent the signature of our request back instead of its own: the response is not used",
                "Windows does so where it does not check signatures: allow secure updates only for the zone",
            )

    def _pass_unsigned(self, message: Message) -> None:
        if self._context is None or not self._several:
            raise self._bad(
                f"{self._server} answered a request signed with key {self._key.name} without a signature: the response "
                "is not used",
                "is it the server that holds the key, or something in between?",
            )
        self._unsigned += 1
        if self._unsigned > MAX_UNSIGNED:
            raise self._bad(f"{self._server} left more than {MAX_UNSIGNED} messages in a row unsigned")
        self._context.update(message.wire)  # type: ignore[no-untyped-call]

    def _bad(self, problem: str, remedy: str = "") -> BadResponse:
        return BadResponse(problem, remedy, server=self._server, key=self._key.name)

    def _peer_error(self, error: dns.tsig.PeerError, signature: object) -> Denied:
        """Return the error for the TSIG error in a response."""
        name, algorithm, server = self._key.name, self._key.algorithm, self._server
        kind = Denied
        match error:
            case dns.tsig.PeerBadKey() | dns.tsig.PeerBadSignature() if self._negotiated:
                # Unlike a shared key, a negotiated key may just have expired.
                kind = KeyRejected
                problem, remedy = f"{server} no longer knows the key that it negotiated with {name}", ""
            case dns.tsig.PeerBadKey():
                kind = KeyRejected
                problem = (
                    f"{server} does not know key {name} with algorithm {algorithm} (BADKEY), or it lacks permission"
                )
                remedy = (
                    "name and algorithm must be the same on both sides: compare TSIG_KEY_NAME and TSIG_ALGORITHM (or "
                    "the key file) with the server's key clause, and check its access rules"
                )
            case dns.tsig.PeerBadSignature():
                problem = f"{server} knows key {name}, but with another secret or algorithm (BADSIG)"
                remedy = "copy the secret from the server's key clause again"
            case dns.tsig.PeerBadTime():
                problem = f"{server} refuses our clock (BADTIME){_difference(signature)}"
                remedy = "set both clocks by NTP"
            case _:
                problem, remedy = f"{server} refuses the signature with key {name}: {error}", ""
        return kind(problem, remedy, server=server, key=name)


def _difference(signature: object) -> str:
    """Return the difference between the clocks, from the server's time in a BADTIME response (RFC 8945, 5.2.3)."""
    other = getattr(signature, "other", b"")
    if len(other) != 6:
        return ""
    seconds = int.from_bytes(other, "big") - int(time.time())
    return f": it is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} us"
