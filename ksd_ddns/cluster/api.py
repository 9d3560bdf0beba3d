"""The API server: connection, authentication and requests of the official client, bodies as bytes.

Whatever goes wrong comes out as SourceError, with its cause and its cure; no exception of the client gets past here.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader

from ksd_ddns.errors import SourceError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0

LONGEST_WAIT = 60.0
"""Seconds: a server that asks to wait longer is asked again all the same."""

_NAMESPACES = "/api/v1/namespaces/"
_LEASES = "/apis/coordination.k8s.io/"
_GRANTS = (
    ("/api/v1/namespaces/kube-system", "get of namespaces to this account (ClusterRole secondary), or set OWNER_ID"),
    ("/api/v1/namespaces/", "create of events to this account (ClusterRole secondary)"),
    (_LEASES, "get, create and update of leases in its own namespace to this account (Role secondary)"),
    ("/apis/kubevirt.io/", "get, list and watch of virtualmachineinstances to this account (ClusterRole secondary)"),
)
"""What is to be granted where a request is forbidden, by the path that it was for."""


_NOT_SET_UP = (
    "run in a pod with a service account, or set KUBECONFIG to a kubeconfig (kubectl get vmi must work with it)"
)


class Expired(SourceError):
    """410 Gone: the resource version, or the continue token, is too old; only a new list helps."""


class Conflict(SourceError):
    """409 Conflict: somebody else changed or made the object first."""


class Missing(SourceError):
    """404 Not Found of a single object."""


class Busy(SourceError):
    """429 Too Many Requests, or the server is overloaded; `after` is how many seconds it asks to wait."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.after = after


class Broken(SourceError):
    """A stream that had begun was cut, or went silent: it goes on with a new request."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    code: int = 0


class _Meta(msgspec.Struct):
    uid: str


class _Namespace(msgspec.Struct):
    metadata: _Meta


class Api:
    """An API server and who we are there.

    `service_account` is where a pod finds its token and CA, `kubeconfig` a file that is taken instead of all others.
    Raises SourceError where neither is set up.
    """

    def __init__(self, *, kubeconfig: str | None = None, service_account: Path = SERVICE_ACCOUNT) -> None:
        self._kubeconfig = kubeconfig
        self._service_account = service_account
        self._client = self._connected()
        self._outdated = False
        self.host: str = self._client.configuration.host

    def _connected(self) -> client.ApiClient:
        """Return a client with what the configuration says now."""
        settings = client.Configuration()
        folder = self._service_account
        in_pod = os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG")
        try:
            if self._kubeconfig is None and in_pod:
                InClusterConfigLoader(
                    token_filename=str(folder / "token"), cert_filename=str(folder / "ca.crt")
                ).load_and_set(settings)
            else:
                # Named here: the client itself looks at the environment once, when it is imported.
                named = self._kubeconfig or os.environ.get("KUBECONFIG")
                config.load_kube_config(config_file=named, client_configuration=settings)
        except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as e:
            raise SourceError(f"no cluster is set up here: {e}; {_NOT_SET_UP}") from e
        # Waiting between attempts is the caller's: urllib3's own retries would multiply every deadline.
        settings.retries = False
        return client.ApiClient(settings)

    def get(self, path: str, query: Mapping[str, object]) -> bytes:
        """Return the body of a GET. Raises SourceError."""
        with self._translated(path):
            response = self._send("GET", path, query, READ_TIMEOUT)
            body: bytes = response.read()
        self._judge(response, body, path)
        return body

    def send(self, method: str, path: str, body: Mapping[str, object]) -> bytes:
        """Return the body of the answer to a POST or PUT of `body` as JSON. Raises SourceError."""
        with self._translated(path):
            response = self._send(method, path, {}, READ_TIMEOUT, body)
            answer: bytes = response.read()
        self._judge(response, answer, path)
        return answer

    def stream(self, path: str, query: Mapping[str, object], *, silence: float) -> Iterator[bytes]:
        """Send a GET, and return the lines of its answer as they come.

        Raises SourceError at once where the server refuses it; the lines raise Broken where the server is silent for
        `silence` seconds, or cuts its answer.
        """
        with self._translated(path):
            response = self._send("GET", path, query, silence)
            if response.status != 200:
                self._judge(response, response.read(), path)
        return self._lines(response.response, path)

    def _lines(self, raw: Any, path: str) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in raw.stream(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from filter(None, lines)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as e:
            raise Broken(f"the API server {self.host} cut its answer to {path}, or went silent: {e}") from e
        finally:
            # The connection carries the rest of this watch: it is of no use to anybody else.
            raw.close()
            raw.release_conn()

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        silence: float,
        body: Mapping[str, object] | None = None,
    ) -> Any:
        if self._outdated:
            # Tokens and certificates are replaced in files, and by plugins: what was read before is not taken any more.
            self._client = self._connected()
            self._outdated = False
        request = self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=[(key, value) for key, value in query.items() if value not in {"", None}],
            header_params={"Accept": "application/json", **({"Content-Type": "application/json"} if body else {})},
            body=body,
            auth_settings=["BearerToken"],
        )
        return self._client.call_api(*request, _request_timeout=(CONNECT_TIMEOUT, silence))

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except urllib3.exceptions.ReadTimeoutError as e:
            raise SourceError(f"the API server {self.host} went silent in the answer to {path}") from e
        except (urllib3.exceptions.HTTPError, OSError) as e:
            cause = getattr(e, "reason", None) or e
            raise SourceError(f"the API server {self.host} cannot be reached: {cause}; is it up?") from e
        except (ApiException, ConfigException, ValueError) as e:
            self._outdated = True  # a certificate, most likely
            raise SourceError(f"the API server {self.host} cannot be asked: {e}") from e

    def _judge(self, response: Any, body: bytes, path: str) -> None:
        code = response.status
        if 200 <= code < 300:
            return
        try:
            status = msgspec.json.decode(body, type=_Status)
        except msgspec.DecodeError:
            status = _Status(body[:200].decode("utf-8", "replace").strip())
        self._outdated = self._outdated or code == 401
        raise self.refusal(code, status.message, path, after=response.headers.get("Retry-After"))

    def _missing(self, message: str, path: str) -> SourceError:
        if path.startswith(_LEASES):
            return Missing(f"{path}: {message}")
        cure = (
            "is it the API server of a cluster? Set OWNER_ID where it is"
            if path.startswith(_NAMESPACES)
            else "KubeVirt is not installed there; install it, and this goes on by itself"
        )
        return SourceError(f"the API server {self.host} knows no {path} (404): {cure}")

    def refusal(self, code: int, message: str, path: str, *, after: str | None = None) -> SourceError:
        """Return what it means that a request for `path` was answered with the HTTP status `code`."""
        if code in {409, 410}:
            kind = Conflict if code == 409 else Expired
            return kind(f"{path}: {message or 'the resource version is too old'}")
        if code == 401:
            return SourceError(
                f"the API server {self.host} does not know who we are (401 {message}): the token is expired, or of "
                "another cluster; look at the service account, or log in again"
            )
        if code == 403:
            grant = next((what for prefix, what in _GRANTS if path.startswith(prefix)), "it to this account")
            return SourceError(f"the API server {self.host} forbids it (403 {message}): grant {grant}")
        if code == 404:
            return self._missing(message, path)
        if code == 429 or code >= 500:
            seconds = min(LONGEST_WAIT, float(after)) if after and after.isdigit() else 0.0
            return Busy(f"the API server {self.host} cannot answer now ({code} {message})", after=seconds)
        return SourceError(f"the API server {self.host} answered {path} with {code} {message}")


def uid_of_namespace(api: Api, name: str) -> str:
    """Return the UID of a namespace: of kube-system it is what tells one cluster from another. Raises SourceError."""
    path = f"/api/v1/namespaces/{name}"
    try:
        return msgspec.json.decode(api.get(path, {}), type=_Namespace).metadata.uid
    except msgspec.DecodeError as e:
        raise SourceError(f"the API server {api.host} answered {path} with no namespace: {e}") from e


def own_namespace(service_account: Path = SERVICE_ACCOUNT) -> str:
    """Return the namespace of the pod that this runs in, `secondary` outside of a cluster."""
    try:
        return (service_account / "namespace").read_text(encoding="utf-8").strip() or "secondary"
    except OSError:
        return "secondary"
