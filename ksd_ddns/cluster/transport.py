# SPDX-License-Identifier: Apache-2.0
"""Connections to an API server: headers, TLS, proxies and deadlines, on urllib3."""

import ssl
from typing import Any
from urllib.parse import quote

import urllib3

from ksd_ddns import __version__
from ksd_ddns.cluster.credentials import Credential
from ksd_ddns.cluster.deadline import with_deadline
from ksd_ddns.cluster.kubeconfig import Access
from ksd_ddns.cluster.proxy import Proxy, proxy_of
from ksd_ddns.cluster.tls import tls_context
from ksd_ddns.errors import SourceError

_CONNECTIONS = 64  # kept for later requests; each watch uses one of its own


class Transport:
    """Connections to the API server of `access`, with one credential and the content of its files at creation."""

    def __init__(self, access: Access, credential: Credential) -> None:
        self.access = access
        self.credential = credential
        self.proxy = proxy_of(access)
        self.secrets = tuple(filter(None, (*credential.secrets, self.proxy.password if self.proxy else "")))
        self._headers = _headers(access, credential)
        self._manager = _manager(access, credential, self.proxy)

    def request(
        self, method: str, path: str, *, query: str, body: bytes | None, timeout: tuple[float, float]
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; return the answer with its body unread.

        `timeout` has the seconds for connecting and for each read. Raises the exceptions of urllib3 and below.
        """
        headers = self._headers.copy()
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self._manager.urlopen(
            method,
            f"{self.access.server}{quote(path)}{'?' if query else ''}{query}",
            body=body,
            headers=headers,
            preload_content=False,
            redirect=False,
            # The caller retries: urllib3's own retries would multiply every deadline.
            retries=False,
            timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
        )

    def close(self) -> None:
        """Close the connections that no request uses."""
        self._manager.clear()


def _headers(access: Access, credential: Credential) -> urllib3.HTTPHeaderDict:
    user = access.user
    headers = urllib3.HTTPHeaderDict({"Accept": "application/json", "User-Agent": f"ksd-ddns/{__version__}"})
    if credential.authorization:
        headers["Authorization"] = credential.authorization
    if user.as_user:
        given = [("Impersonate-User", user.as_user), ("Impersonate-Uid", user.as_uid or "")]
        given += [("Impersonate-Group", group) for group in user.as_groups or ()]
        given += [
            (f"Impersonate-Extra-{quote(key.lower(), safe='')}", value)
            for key, values in (user.as_user_extra or {}).items()
            for value in values
        ]
        for name, value in given:
            if not value.isprintable() or not value.isascii():
                raise SourceError(f"as, as-groups or as-user-extra in {access.source} cannot be sent in an HTTP header")
            if value:
                headers.add(name, value)
    return headers


def _manager(access: Access, credential: Credential, proxy: Proxy | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": _CONNECTIONS}
    if access.server.startswith("https:"):
        options["ssl_context"] = tls_context(access, credential)
        if access.cluster.insecure_skip_tls_verify:
            options["cert_reqs"] = ssl.CERT_NONE
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # as the kubeconfig asks
        if access.cluster.tls_server_name:
            options["server_hostname"] = access.cluster.tls_server_name
    manager: urllib3.PoolManager
    if proxy is None:
        manager = urllib3.PoolManager(**options)
    elif proxy.scheme.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager  # noqa: PLC0415 PySocks is rarely needed

        # The proxy resolves names, as with kubectl.
        manager = SOCKSProxyManager(
            str(proxy).replace(proxy.scheme, "socks5h", 1),
            username=proxy.user or None,
            password=proxy.password or None,
            **options,
        )
    else:
        secret = f"{proxy.user}:{proxy.password}"
        headers = urllib3.make_headers(proxy_basic_auth=secret) if proxy.user or proxy.password else {}
        manager = urllib3.ProxyManager(str(proxy), proxy_headers=headers, **options)
    manager.pool_classes_by_scheme = {
        scheme: with_deadline(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager
