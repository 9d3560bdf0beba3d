# SPDX-License-Identifier: Apache-2.0
"""Signed requests on a connection: sign, send, receive and verify, in one place for queries, transfers and updates."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from ksd_ddns.errors import BadResponse, PrimaryError
from ksd_ddns.primary.connection import Connection
from ksd_ddns.primary.keys import Key
from ksd_ddns.primary.verifier import Verifier
from ksd_ddns.wire import codec
from ksd_ddns.wire.codec import Malformed, Message


@dataclass(frozen=True, slots=True)
class Request:
    """A message that is ready to be sent; `verifier` verifies the response, None if the request is not signed."""

    ident: int
    wire: bytes
    verifier: Verifier | None


class Response(NamedTuple):
    """One message of the response to `request`. `error` says why its signature is not valid, None if it is."""

    request: Request
    message: Message
    error: PrimaryError | None

    @property
    def proven(self) -> bool:
        """Whether the server signed the message. An error response is valid without that."""
        return bool(self.request.verifier and self.request.verifier.verified)

    def verified(self) -> Message:
        """Return the message. Raises `error` if there is one."""
        if self.error is not None:
            raise self.error
        return self.message


class UnsignedExchange:
    """Unsigned requests on `connection`, of which several may be in flight, and their responses.

    After an error the connection is unusable, because responses may still arrive. Not thread-safe.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.server = str(connection.server)
        self._in_flight: dict[int, Request] = {}

    def new_id(self) -> int:
        """Return a message ID that no request in flight has."""
        while (ident := new_id()) in self._in_flight:
            pass
        return ident

    def prepare(self, message: bytes, *, several: bool = False) -> Request:
        """Return `message` ready to be sent."""
        return Request(int.from_bytes(message[:2], "big"), message, None)

    def send(self, request: Request, *, may_send: Callable[[], bool] = lambda: True) -> None:
        """Send `request`; `may_send` is as in Connection. Raises Unreachable."""
        self._in_flight[request.ident] = request
        self.connection.send(request.wire, may_send=may_send)

    def send_all(self, requests: Sequence[Request]) -> None:
        """Send several requests together. Raises Unreachable."""
        self._in_flight.update({request.ident: request for request in requests})
        self.connection.send_all([request.wire for request in requests])

    def receive(self, *, large: bool = False) -> Response:
        """Return the next message of any response. Raises Unreachable, or BadResponse if it matches no request.

        The request stays in flight until `end`, because more messages of a transfer (`large`) may follow.
        """
        octets = self.connection.receive(large=large)
        if large:
            self.connection.drain()
        try:
            message = codec.read(octets)
        except Malformed as e:
            raise BadResponse(
                f"{self.server} answered with something that is not a DNS message: {e}",
                "do DNS_SERVER and DNS_PORT lead to a primary?",
                server=self.server,
            ) from e
        request = self._in_flight.get(message.id)
        if request is None or not message.flags & codec.FLAG_QR:
            raise BadResponse(f"{self.server} sent a response that matches no request", server=self.server)
        error = None
        try:
            if request.verifier is not None and not request.verifier.verify(message) and message.tsig is not None:
                # A signature that is not the server's counts as none.
                message = msgspec.structs.replace(message, tsig=None, tsig_start=None)
        except PrimaryError as e:
            error = e
        return Response(request, message, error)

    def end(self, request: Request) -> None:
        """Note that the response to `request` is complete."""
        self._in_flight.pop(request.ident, None)

    def ask(self, message: bytes) -> Response:
        """Send `message` and return the response. No other request may be in flight."""
        request = self.prepare(message)
        self.send(request)
        response = self.receive()
        self.end(request)
        return response


class Exchange(UnsignedExchange):
    """Requests that are signed with `key`, and responses that are verified."""

    def __init__(self, connection: Connection, key: Key) -> None:
        super().__init__(connection)
        self.key = key

    def prepare(self, message: bytes, *, several: bool = False) -> Request:
        """Return `message`, signed with the current time. With `several`, the response may have several messages."""
        wire, mac = self.key.sign(message)
        verifier = Verifier(self.key, mac, server=self.server, several=several)
        return Request(int.from_bytes(message[:2], "big"), wire, verifier)


def new_id() -> int:
    """Return a message ID that cannot be guessed."""
    return secrets.randbelow(1 << 16)
