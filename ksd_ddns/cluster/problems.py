# SPDX-License-Identifier: Apache-2.0
"""Why a connection to an API server failed, and the cure.

Never includes messages of libraries, which may quote headers, URLs and passwords.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException

import urllib3.exceptions as urllib3_errors

from ksd_ddns.cluster.proxy import Proxy

_CURES_OF_CERTIFICATES = {  # by OpenSSL code, X509_V_ERR_…
    9: ("its certificate is not valid yet", "check the clock of this host"),
    10: ("its certificate has expired", "renew it on the server, or check the clock of this host"),
    18: ("its certificate is self-signed and not trusted", ""),
    19: ("its certificate is signed by an unknown CA", ""),
    20: ("its certificate is signed by an unknown CA", ""),
    21: ("its certificate is signed by an unknown CA", ""),
    62: ("its certificate is for another host name", "hostname"),
    64: ("its certificate is for another IP address", "hostname"),
}
_CA = "set certificate-authority in the kubeconfig to the CA of the cluster, and check that no proxy intercepts TLS"
_HOSTNAME = "use a name of the certificate in server, or set tls-server-name in the kubeconfig"

_PLAIN = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
"""OpenSSL reasons for a response that is not TLS."""

_TUNNEL = re.compile(r"\ATunnel connection failed: (\d{3})")


def explain(error: BaseException, server: str, proxy: Proxy | None) -> str:
    """Return one line with subject, cause and cure for an exception raised by a request to `server`."""
    chain = tuple(_chain(error))
    for each in chain:
        if isinstance(each, ssl.SSLError):
            at_proxy = any(isinstance(one, urllib3_errors.ProxyError) for one in chain)
            return _tls(each, f"the proxy {proxy}" if at_proxy else f"the API server {server}")
    refused = _refused_by_proxy(chain, server, proxy)
    if refused:
        return refused
    if proxy is not None and any(_is_proxy_error(each, proxy) for each in chain):
        return f"the proxy {proxy} for the API server {server} cannot be reached: {_connecting(chain)}"
    if any(isinstance(each, urllib3_errors.ReadTimeoutError) for each in chain):
        return f"the API server {server} went silent before its answer was complete"
    via = f" through the proxy {proxy}" if proxy is not None else ""
    return f"the API server {server} cannot be reached{via}: {_connecting(chain)}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and its causes, each once; urllib3 wraps exceptions and does not always chain them."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [getattr(each, "reason", None), getattr(each, "original_error", None), *each.args]
            waiting += [getattr(each, "socket_err", None), each.__cause__, each.__context__]


def _tls(error: ssl.SSLError, who: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        what, cure = _CURES_OF_CERTIFICATES.get(error.verify_code, ("its certificate is not valid", ""))
        cure = {"": _CA, "hostname": _HOSTNAME}.get(cure, cure)
        return f"{who} is not trusted: {what} (certificate verify failed); {cure}"
    reason = error.reason or ""
    if reason in _PLAIN:
        return f"{who} does not speak TLS on this port: write http:// instead of https://, or correct the port"
    if "CERTIFICATE" in reason and "ALERT" in reason:
        return f"{who} refuses our client certificate: renew client-certificate in the kubeconfig, or log in again"
    code = f" ({reason})" if re.fullmatch(r"\w+", reason) else ""
    return f"TLS with {who} failed{code}: check that it is an API server, and that nothing in between intercepts TLS"


def _is_proxy_error(error: BaseException, proxy: Proxy) -> bool:
    if proxy.scheme.startswith("socks") and isinstance(error, socket.gaierror):
        return True  # the proxy resolves the API server's name, so the failed lookup is of the proxy's own name
    # PySocks is imported only when needed, so match its errors by name.
    return isinstance(error, urllib3_errors.ProxyError) or type(error).__name__ in {
        "ProxyConnectionError",
        "GeneralProxyError",
    }


def _refused_by_proxy(chain: tuple[BaseException, ...], server: str, proxy: Proxy | None) -> str:
    """Return the meaning of a proxy's answer, empty if no proxy answered."""
    for each in chain:
        tunnel = _TUNNEL.match(str(each)) if isinstance(each, OSError) else None
        if tunnel:
            return proxy_refusal(int(tunnel[1]), server, proxy)
        if type(each).__name__ == "SOCKS5AuthError":
            return proxy_refusal(407, server, proxy)
        if type(each).__name__ in {"SOCKS5Error", "SOCKS4Error"}:
            return f"the proxy {proxy} could not connect to the API server {server}: check that it allows that"
    return ""


def proxy_refusal(code: int, server: str, proxy: Proxy | None) -> str:
    """Return the meaning of the HTTP status `code` sent by `proxy` itself."""
    if code == 407:
        return (
            f"the proxy {proxy} for the API server {server} requires authentication (407): set, or correct, "
            "USER:PASSWORD@ before its host in proxy-url or HTTPS_PROXY"
        )
    return (
        f"the proxy {proxy} refused to connect to the API server {server} ({code}): allow it there, or bypass it "
        "with NO_PROXY"
    )


_SILENT = "no answer; check that it is up and that no firewall blocks the connection"


def _connecting(chain: tuple[BaseException, ...]) -> str:
    """Return why there is no connection, from the most specific error."""
    for each in chain:
        if isinstance(each, OSError) and (why := _os_error(each)):
            return why
    for each in chain:
        if type(each).__name__ == "GeneralProxyError":
            return "it does not answer as a SOCKS5 proxy; correct the scheme or the port of its URL"
        if isinstance(each, OSError | HTTPException | urllib3_errors.ProtocolError):
            return "it closed the connection before its answer was complete; check that it is up"
    silent = any(isinstance(each, urllib3_errors.TimeoutError) for each in chain)
    return _SILENT if silent else f"{type(chain[0]).__name__}; check that it is up"


def _os_error(error: OSError) -> str:
    """Return the kernel's reason, empty for an error of a library."""
    if isinstance(error, socket.gaierror):
        return "its host name does not resolve; correct it, or check DNS on this host"
    if isinstance(error, TimeoutError):
        return _SILENT
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; check that it is up"
    if error.errno is not None and error.errno in errno.errorcode:
        return f"{os.strerror(error.errno).lower()}; check that it is up"
    return ""
