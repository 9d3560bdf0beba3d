# SPDX-License-Identifier: Apache-2.0
"""Which Host headers are accepted: a page of another site must not read ours by DNS rebinding.

Such a page makes the browser send requests to our address under its own name, so the Host header holds that name. All
names that only this network can give us are allowed, and addresses, which nothing can be rebound to.
"""

import re
import socket
from collections.abc import Collection
from ipaddress import ip_address

REFUSAL = (
    "this server does not accept requests for this host name. Use an IP address, localhost, or the name of the "
    "service, or add the host name to STATUS_HOSTS"
)
"""The response to a request for any other host name."""

_NAME = re.compile(r"[a-z0-9._-]+\Z")
_LOCAL = ("localhost", "svc", "cluster.local")


def own_names() -> frozenset[str]:
    """Return the names of this host (in a cluster: of the pod)."""
    return frozenset((socket.gethostname().lower(),))


def is_allowed(header: str | None, hosts: Collection[str]) -> bool:
    """Return whether a request with this Host header may be answered; `hosts` are further names, in lower case.

    Without the header it may: every browser sends one. A name of a single label may, too: it is not in public DNS.
    """
    if header is None:
        return True
    host = _host(header)
    if host is None:
        return False
    return (
        "." not in host
        or any(host == local or host.endswith(f".{local}") for local in _LOCAL)
        or host in hosts
        or _is_address(host)
    )


def _host(header: str) -> str | None:
    """Return the host of `host[:port]` in lower case, without the final dot; None if there is none."""
    text = header.strip().lower()
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        return host if bracket and _is_address(host) and _is_port(port) else None
    host, colon, port = text.partition(":")
    return host.removesuffix(".") if _NAME.match(host) and _is_port(colon + port) else None


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and (text[1:].isdigit() or text == ":"))


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
