"""What a failed connection to an API server means, and what helps, in words of our own.

The libraries' messages are never passed on: they quote headers, URLs and passwords.
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

_CURES_OF_CERTIFICATES = {  # by the codes of OpenSSL, X509_V_ERR_…
    9: ("its certificate is not valid yet", "check the clock of this host"),
    10: ("its certificate has expired", "renew it on the server, or check the clock of this host"),
    18: ("its certificate is self-signed and not trusted", ""),
    19: ("its certificate is signed by an unknown CA", ""),
    20: ("its certificate is signed by an unknown CA", ""),
    21: ("its certificate is signed by an unknown CA", ""),
    62: ("its certificate is for another host name", "hostname"),
    64: ("its certificate is for another IP address", "hostname"),
}
_CA = "set certificate-authority in the kubeconfig to the CA of the cluster; does a proxy intercept TLS?"
_HOSTNAME = "use a name of the certificate in server, or set tls-server-name in the kubeconfig"

_PLAIN = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL says of an answer that is no TLS."""

_TUNNEL = re.compile(r"\ATunnel connection failed: (\d{3})")


def explain(error: BaseException, server: str, proxy: Proxy | None) -> str:
    """Return one line with the thing, the cause and the cure for what was raised by a request to `server`."""
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
        return f"the API server {server} went silent in its answer"
    via = f" through the proxy {proxy}" if proxy is not None else ""
    return f"the API server {server} cannot be reached{via}: {_connecting(chain)}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error`, and what is behind it, each once: urllib3 wraps, and does not always chain."""
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
        return f"{who} does not speak TLS on this port: write http:// for https://, or correct the port"
    if "CERTIFICATE" in reason and "ALERT" in reason:
        return f"{who} refuses our client certificate: renew client-certificate in the kubeconfig, or log in again"
    code = f" ({reason})" if re.fullmatch(r"\w+", reason) else ""
    return f"TLS with {who} failed{code}: is it an API server, or does something in between cut TLS?"


def _is_proxy_error(error: BaseException, proxy: Proxy) -> bool:
    if proxy.scheme.startswith("socks") and isinstance(error, socket.gaierror):
        return True  # the name of the API server is the proxy's to resolve
    # PySocks is not imported where it is not needed: its errors are known by their names.
    return isinstance(error, urllib3_errors.ProxyError) or type(error).__name__ in {
        "ProxyConnectionError",
        "GeneralProxyError",
    }


def _refused_by_proxy(chain: tuple[BaseException, ...], server: str, proxy: Proxy | None) -> str:
    """Return what a proxy that answered means, empty where none did."""
    for each in chain:
        tunnel = _TUNNEL.match(str(each)) if isinstance(each, OSError) else None
        if tunnel:
            return proxy_refusal(int(tunnel[1]), server, proxy)
        if type(each).__name__ == "SOCKS5AuthError":
            return proxy_refusal(407, server, proxy)
        if type(each).__name__ in {"SOCKS5Error", "SOCKS4Error"}:
            return f"the proxy {proxy} could not connect to the API server {server}: does it let us through there?"
    return ""


def proxy_refusal(code: int, server: str, proxy: Proxy | None) -> str:
    """Return what it means that `proxy` answered with the HTTP status `code` itself."""
    if code == 407:
        return (
            f"the proxy {proxy} for the API server {server} requires authentication (407): set, or correct, "
            "USER:PASSWORD@ before its host in proxy-url or HTTPS_PROXY"
        )
    return (
        f"the proxy {proxy} refuses the way to the API server {server} ({code}): let it through there, or go around it "
        "with NO_PROXY"
    )


_SILENT = "no answer to the connection; is it up, and does a firewall let us through?"


def _connecting(chain: tuple[BaseException, ...]) -> str:
    """Return why there is no connection, by the error that says most."""
    for each in chain:
        if isinstance(each, OSError) and (why := _os_error(each)):
            return why
    for each in chain:
        if type(each).__name__ == "GeneralProxyError":
            return "its answer is not that of a SOCKS5 proxy; correct the scheme or the port of its URL"
        if isinstance(each, OSError | HTTPException | urllib3_errors.ProtocolError):
            return "it closed the connection before its answer was complete; is it up?"
    silent = any(isinstance(each, urllib3_errors.TimeoutError) for each in chain)
    return _SILENT if silent else f"{type(chain[0]).__name__}; is it up?"


def _os_error(error: OSError) -> str:
    """Return what the kernel says, empty where it is a library's error."""
    if isinstance(error, socket.gaierror):
        return "its host name does not resolve; correct it, or check DNS on this host"
    if isinstance(error, TimeoutError):
        return _SILENT
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is it up?"
    if error.errno is not None and error.errno in errno.errorcode:
        return f"{os.strerror(error.errno).lower()}; is it up?"
    return ""
