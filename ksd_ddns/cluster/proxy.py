# SPDX-License-Identifier: Apache-2.0
"""Which proxy leads to the API server, chosen as kubectl chooses it."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ksd_ddns.cluster.kubeconfig import Access
from ksd_ddns.errors import SourceError

_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; `user` and `password` are sent to it and shown nowhere."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        """Return its URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        """Return the same: a password must not appear in a traceback."""
        return f"<Proxy {self}>"


def proxy_of(access: Access, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy for the API server, None for a direct connection.

    As in kubectl, a proxy-url in the kubeconfig always applies. Otherwise HTTPS_PROXY does, or HTTP_PROXY for a server
    without TLS, unless NO_PROXY matches the server or it is on this host (golang.org/x/net/http/httpproxy). Raises
    SourceError if the value is not the URL of a proxy.
    """
    if access.cluster.proxy_url:
        return _proxy(access.cluster.proxy_url, f"proxy-url in {access.source}")
    environment = os.environ if environment is None else environment
    url = urlsplit(access.server)
    name = "HTTPS_PROXY" if url.scheme == "https" else "HTTP_PROXY"
    value = environment.get(name) or environment.get(name.lower()) or ""
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    if not value.strip() or not _is_proxied(
        host, port, environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    ):
        return None
    return _proxy(value, name)


def _proxy(text: str, where: str) -> Proxy:
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        url = urlsplit(text)
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 1080)
    except ValueError:
        url, port = urlsplit(""), 0
    if url.scheme not in _SCHEMES or not url.hostname:
        raise SourceError(f"{where} is not the URL of a proxy; write http://HOST:PORT or socks5://HOST:PORT")
    return Proxy(url.scheme, url.hostname, port, unquote(url.username or ""), unquote(url.password or ""))


def _is_proxied(host: str, port: int, excluded: str) -> bool:
    host = host.lower().rstrip(".")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(_excludes(entry.strip().lower(), host, port, address) for entry in excluded.split(","))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _excludes(entry: str, host: str, port: int, address: _Address | None) -> bool:
    if not entry or entry == "*":
        return bool(entry)
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and (name.endswith("]") or ":" not in name):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    entry = entry.removeprefix("*")
    return host == entry or host.endswith(entry if entry.startswith(".") else f".{entry}")
