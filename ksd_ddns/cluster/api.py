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
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader

from ksd_ddns.errors import SourceError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0

_NOT_SET_UP = (
    "run in a pod with a service account, or set KUBECONFIG to a kubeconfig (kubectl get vmi must work with it)"
)


class Expired(SourceError):
    """410 Gone: the resource version, or the continue token, is too old; only a new list helps."""


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
        settings = client.Configuration()
        try:
            if kubeconfig is None and os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
                InClusterConfigLoader(
                    token_filename=str(service_account / "token"), cert_filename=str(service_account / "ca.crt")
                ).load_and_set(settings)
            else:
                config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
        except (ConfigException, OSError, ValueError, TypeError, KeyError) as e:
            raise SourceError(f"no cluster is set up here: {e}; {_NOT_SET_UP}") from e
        # Waiting between attempts is the caller's: urllib3's own retries would multiply every deadline.
        settings.retries = False
        self._client = client.ApiClient(settings)
        self.host: str = settings.host

    def get(self, path: str, query: Mapping[str, object]) -> bytes:
        """Return the body of a GET. Raises SourceError."""
        with self._translated(path):
            response = self._send("GET", path, query, READ_TIMEOUT)
            body: bytes = response.read()
        self._judge(response, body, path)
        return body

    def stream(self, path: str, query: Mapping[str, object], *, silence: float) -> Iterator[bytes]:
        """Yield the lines of a GET as they come; a server that is silent for `silence` seconds raises Broken."""
        with self._translated(path):
            response = self._send("GET", path, query, silence)
            if response.status != 200:
                self._judge(response, response.read(), path)
        raw = response.response
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

    def _send(self, method: str, path: str, query: Mapping[str, object], silence: float) -> Any:
        request = self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=[(key, value) for key, value in query.items() if value not in {"", None}],
            header_params={"Accept": "application/json"},
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
            raise SourceError(f"the API server {self.host} cannot be asked: {e}") from e

    def _judge(self, response: Any, body: bytes, path: str) -> None:
        code = response.status
        if 200 <= code < 300:
            return
        try:
            status = msgspec.json.decode(body, type=_Status)
        except msgspec.DecodeError:
            status = _Status(body[:200].decode("utf-8", "replace").strip())
        raise self.refusal(code, status.message, path, after=response.headers.get("Retry-After"))

    def refusal(self, code: int, message: str, path: str, *, after: str | None = None) -> SourceError:
        """Return what it means that a request for `path` was answered with the HTTP status `code`."""
        if code == 410:
            return Expired(f"{path}: {message or 'the resource version is too old'}")
        if code == 401:
            return SourceError(
                f"the API server {self.host} does not know who we are (401 {message}): the token is expired, or of "
                "another cluster; look at the service account, or log in again"
            )
        if code == 403:
            return SourceError(
                f"the API server {self.host} forbids it (403 {message}): grant get, list and watch of "
                "virtualmachineinstances in kubevirt.io to this account (ClusterRole secondary)"
            )
        if code == 404:
            return SourceError(
                f"the API server {self.host} knows no {path} (404): KubeVirt is not installed there; install it, and "
                "this goes on by itself"
            )
        if code == 429 or code >= 500:
            seconds = float(after) if after and after.isdigit() else 0.0
            return Busy(f"the API server {self.host} cannot answer now ({code} {message})", after=seconds)
        return SourceError(f"the API server {self.host} answered {path} with {code} {message}")


def uid_of_namespace(api: Api, name: str) -> str:
    """Return the UID of a namespace: of kube-system it is what tells one cluster from another. Raises SourceError."""
    path = f"/api/v1/namespaces/{name}"
    try:
        return msgspec.json.decode(api.get(path, {}), type=_Namespace).metadata.uid
    except msgspec.DecodeError as e:
        raise SourceError(f"the API server {api.host} answered {path} with no namespace: {e}") from e
