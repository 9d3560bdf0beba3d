"""Connections to an API server: TLS, proxies, and a total deadline for requests that must not be late."""

import base64
import binascii
import ipaddress
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import urllib3

from ksd_ddns import __version__
from ksd_ddns.cluster.credentials import Credential
from ksd_ddns.cluster.kubeconfig import Access
from ksd_ddns.errors import SourceError

_CONNECTIONS = 64  # kept for later requests; each watch uses one of its own

_SCHEMES = ("http", "https", "socks5", "socks5h")


# Deadlines

_active = threading.local()


class Cutoff:
    """A total deadline for the requests of this thread in a `with` block.

    A read timeout counts for each recv, so that an answer that trickles in never runs into it. When this deadline has
    passed, the connections that were used are shut down, whatever the request waits for: connecting, TLS or the answer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        _active.cutoff = self
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        _active.cutoff = None

    def cover(self, connection: socket.socket) -> None:
        """Shut `connection` down when the deadline has passed."""
        with self._lock:
            self._sockets.append(connection)
            if self.passed:
                _shut(connection)

    def _pass(self) -> None:
        with self._lock:
            self.passed = True
            for each in self._sockets:
                _shut(each)


def current_cutoff() -> Cutoff | None:
    """Return the deadline of this thread, None where there is none."""
    found: Cutoff | None = getattr(_active, "cutoff", None)
    return found


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@cache
def _with_cutoff(pool: Any) -> Any:
    """Return the pool class with connections that a Cutoff can shut down."""

    class Cuttable(pool.ConnectionCls):  # type: ignore[misc]
        _handle: socket.socket | None = None

        def _new_conn(self) -> Any:
            made = super()._new_conn()
            self._cover(made)
            return made

        def putrequest(self, *args: Any, **kwargs: Any) -> Any:
            if self.sock is not None:
                self._cover(self.sock)
            return super().putrequest(*args, **kwargs)

        def close(self) -> None:
            super().close()
            handle, self._handle = self._handle, None
            if handle is not None:
                handle.close()

        def _cover(self, made: socket.socket) -> None:
            cutoff = current_cutoff()
            if cutoff is None:
                return
            if self._handle is None:
                # A handle of its own: TLS takes the socket's descriptor away from it.
                self._handle = socket.socket(fileno=os.dup(made.fileno()))
            cutoff.cover(self._handle)

    return type(pool.__name__, (pool,), {"ConnectionCls": Cuttable})


# Proxies


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; `user` and `password` are shown to nobody but it."""

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
        """Return the same: a password must not end in a traceback."""
        return f"<Proxy {self}>"


def proxy_of(access: Access, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy to the API server, None where the way is straight.

    As kubectl decides: a proxy-url of the kubeconfig counts always; else HTTPS_PROXY, for a server without TLS
    HTTP_PROXY, unless NO_PROXY names the server or it is on this host (golang.org/x/net/http/httpproxy). Raises
    SourceError where what is set is no URL of a proxy.
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


# TLS


def tls_context(access: Access, credential: Credential) -> ssl.SSLContext:
    """Return how to verify the API server, with our certificate if we have one. Raises SourceError naming the file."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 sets the strict flag, and rejects CAs without key identifiers or key usage, which many clusters have.
    # kubectl accepts them, and accepts every certificate in the CA file as an anchor.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    cluster, user = access.cluster, access.user
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca is not None or cluster.certificate_authority_data:
        context = _trusting(context, access)
    certificate = credential.certificate or _decoded(user.client_certificate_data, access, "client-certificate-data")
    key = credential.key or _decoded(user.client_key_data, access, "client-key-data")
    if certificate and key:
        with tempfile.NamedTemporaryFile(prefix="ksd-ddns-") as file:  # OpenSSL reads files only
            file.write(certificate.rstrip() + b"\n" + key)
            file.flush()
            _load(context, file.name, None, access)
    elif access.certificate is not None:
        _load(context, str(access.certificate), str(access.key) if access.key else None, access)
    return context


def _trusting(default: ssl.SSLContext, access: Access) -> ssl.SSLContext:
    """Return a context as `default` that trusts the CA of the cluster alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = default.minimum_version
    context.verify_flags = default.verify_flags
    where = f"the CA file {access.ca}" if access.ca else f"certificate-authority-data in {access.source}"
    try:
        data = access.ca.read_bytes() if access.ca else b""
        data = data or _decoded(access.cluster.certificate_authority_data, access, "certificate-authority-data")
        context.load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except (OSError, ValueError):
        raise SourceError(f"{where} holds no certificate that can be read; it must be in PEM, and readable") from None
    return context


def _decoded(data: str | None, access: Access, name: str) -> bytes:
    try:
        return base64.b64decode(data or "", validate=False)
    except (binascii.Error, ValueError):
        raise SourceError(f"{name} in {access.source} is not base64; copy it again") from None


def _load(context: ssl.SSLContext, certificate: str, key: str | None, access: Access) -> None:
    def no_password() -> str:
        # Without this OpenSSL asks on the terminal, and waits.
        raise SourceError(f"the client key of {access.source} is encrypted; kubectl cannot use it either: decrypt it")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except (OSError, ValueError):
        raise SourceError(
            f"the client certificate and key of {access.source} cannot be used: both must be in PEM, belong together, "
            "and be readable"
        ) from None


# Requests


class Transport:
    """Connections to the API server of `access`, made with one credential and what the files held when it was made."""

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
        """Send a request, and return its answer, of which only the headers have been read.

        `timeout` in seconds is for connecting, and for each read. Raises what urllib3 and its libraries raise.
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
            # Waiting between attempts is the caller's: urllib3's own retries would multiply every deadline.
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
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the kubeconfig asks for it
        if access.cluster.tls_server_name:
            options["server_hostname"] = access.cluster.tls_server_name
    manager: urllib3.PoolManager
    if proxy is None:
        manager = urllib3.PoolManager(**options)
    elif proxy.scheme.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager  # noqa: PLC0415 PySocks, for those only who need it

        # Names are resolved by the proxy, as kubectl lets it.
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
        scheme: _with_cutoff(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager
