# SPDX-License-Identifier: Apache-2.0
"""Find the API server and how to connect to it: a kubeconfig, or the service account of a pod.

A kubeconfig is read as kubectl reads it (client-go, tools/clientcmd): KUBECONFIG may name several files, the first one
that defines a name wins, and relative paths are relative to the file that contains them. Errors name the file and the
field, never a value: a kubeconfig contains tokens and keys.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from ksd_ddns.errors import SourceError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT = Path("~/.kube/config")

_CURE = "run in a pod with a service account, or set KUBECONFIG to a kubeconfig that works with kubectl get vmi"


class Item(msgspec.Struct):
    """One environment variable of a credential plugin."""

    name: str
    value: str = ""


class Exec(msgspec.Struct, rename="camel"):
    """A credential plugin: a program that prints an ExecCredential (client.authentication.k8s.io)."""

    command: str
    api_version: str = ""
    args: list[str] | None = None
    env: list[Item] | None = None
    install_hint: str | None = None
    interactive_mode: str | None = None
    provide_cluster_info: bool | None = None


class _AuthProvider(msgspec.Struct):
    name: str = ""


class Cluster(msgspec.Struct, rename="kebab"):
    """A cluster of a kubeconfig."""

    server: str | None = None
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    proxy_url: str | None = None
    extensions: list[dict[str, Any]] | None = None


class User(msgspec.Struct, rename={"token_file": "tokenFile", "execute": "exec", "as_user": "as"} | {
    name: name.replace("_", "-")
    for name in ("client_certificate", "client_certificate_data", "client_key", "client_key_data", "as_uid",
                 "as_groups", "as_user_extra", "auth_provider")
}):  # fmt: skip
    """A user of a kubeconfig."""

    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = None
    as_user: str | None = None
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None
    username: str | None = None
    password: str | None = None
    auth_provider: _AuthProvider | None = None
    execute: Exec | None = None


class _Context(msgspec.Struct):
    cluster: str | None = None
    user: str | None = None


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: Cluster | None = None


class _NamedUser(msgspec.Struct):
    name: str
    user: User | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context | None = None


class _Config(msgspec.Struct, rename="kebab"):
    current_context: str | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """An API server and our identity there. The files it names may be replaced at any time.

    `server` is `scheme://host[:port][/path]`. A relative command is relative to `folder`. `kubeconfigs` are the files
    that this was read from, `files` those whose change requires a new connection, and `source` names them in messages.
    """

    server: str
    source: str
    cluster: Cluster = field(default_factory=Cluster, repr=False)
    user: User = field(default_factory=User, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None
    folder: Path = Path()
    kubeconfigs: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()


def find(*, kubeconfig: str | None = None, service_account: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access to the configured cluster.

    In this order: `kubeconfig`, the files that KUBECONFIG names, the service account of a pod, ~/.kube/config. Raises
    SourceError.
    """
    named = kubeconfig or os.environ.get("KUBECONFIG")
    if not named and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return _in_pod(service_account)
    paths = [Path(part).expanduser() for part in (named or str(DEFAULT)).split(os.pathsep) if part]
    return _of_files(paths)


def _in_pod(folder: Path) -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"].strip(), os.environ.get("KUBERNETES_SERVICE_PORT", "443").strip()
    token, ca = folder / "token", folder / "ca.crt"
    for path in (token, ca):
        if not path.is_file():
            raise SourceError(f"no cluster is set up here: {path} does not exist; {_CURE}")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(server=server, source=f"the service account in {folder}", ca=ca, token_file=token, files=(token, ca))


def _of_files(paths: list[Path]) -> Access:
    found = [(path, _read(path)) for path in paths if path.exists()]
    if not found:
        raise _unusable(", ".join(map(str, paths)), "does not exist")
    where = ", ".join(str(path) for path, _ in found)
    current = next((config.current_context for _, config in found if config.current_context), "")
    if not current:
        raise _unusable(where, "has no current-context")
    context, _ = _entry(where, "context", current, ((path, config.contexts) for path, config in found))
    chosen = context.context or _Context()
    cluster, cluster_path = _entry(
        where, "cluster", chosen.cluster or "", ((path, config.clusters) for path, config in found)
    )
    user, user_path = User(), cluster_path
    if chosen.user:
        named, user_path = _entry(where, "user", chosen.user, ((path, config.users) for path, config in found))
        user = named.user or User()
    return _access(where, paths, cluster.cluster or Cluster(), cluster_path.parent, user, user_path.parent)


def _access(
    where: str, paths: list[Path], cluster: Cluster, cluster_folder: Path, user: User, user_folder: Path
) -> Access:
    def file(folder: Path, name: str | None, data: str | None = None) -> Path | None:
        return folder.absolute() / Path(name).expanduser() if name and not data else None

    ca = file(cluster_folder, cluster.certificate_authority, cluster.certificate_authority_data)
    certificate = file(user_folder, user.client_certificate, user.client_certificate_data)
    key = file(user_folder, user.client_key, user.client_key_data)
    token = file(user_folder, user.token_file)
    used = [path for path in (ca, certificate, key, token) if path is not None]
    for path in used:
        if not path.is_file():
            raise _unusable(where, f"names the file {path}, which does not exist", "correct its path")
    _check_user(where, user)
    return Access(
        server=_server(where, cluster, user),
        source=where,
        cluster=cluster,
        user=user,
        ca=ca,
        certificate=certificate,
        key=key,
        token_file=token,
        folder=user_folder.absolute(),
        kubeconfigs=tuple(paths),
        files=(*paths, *used),
    )


def _check_user(where: str, user: User) -> None:
    if not user.as_user and (user.as_uid or user.as_groups or user.as_user_extra):
        raise _unusable(where, "has as-groups, as-uid or as-user-extra without as", "add the user to impersonate")
    if user.auth_provider is not None and user.auth_provider.name != "oidc":
        raise _unusable(
            where,
            f"uses the auth-provider {user.auth_provider.name!r}, which kubectl no longer supports",
            "use a credential plugin (exec)",
        )


def _server(where: str, cluster: Cluster, user: User) -> str:
    """Return the URL of the API server without a final slash; a bare host gets its scheme as in kubectl."""
    text = (cluster.server or "").strip().rstrip("/")
    if not text:
        raise _unusable(where, "has no server for the cluster of its current context")
    if "://" not in text:
        tls = cluster.certificate_authority or cluster.certificate_authority_data or cluster.insecure_skip_tls_verify
        certificate = user.client_certificate or user.client_certificate_data
        text = f"{'https' if tls or certificate else 'http'}://{text}"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise _unusable(where, "has a server that is not a URL", "write https://HOST:PORT") from None
    if url.scheme not in {"http", "https"} or not url.hostname or "@" in url.netloc or port == 0:
        raise _unusable(where, "has a server that is not a URL", "write https://HOST:PORT")
    return text


_Entry = TypeVar("_Entry", _NamedCluster, _NamedUser, _NamedContext)


def _entry(where: str, kind: str, name: str, lists: Iterator[tuple[Path, list[_Entry] | None]]) -> tuple[_Entry, Path]:
    """Return the first entry named `name`, and the file that defines it."""
    for path, entries in lists:
        for entry in entries or ():
            if entry.name == name:
                return entry, path
    raise _unusable(where, f"has no {kind} {name!r}, which its current context needs")


_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`\Z")


def _read(path: Path) -> _Config:
    try:
        value = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 both are safe
    except OSError as e:
        raise _unusable(str(path), f"cannot be read ({os.strerror(e.errno or 0)})") from None
    except yaml.MarkedYAMLError as e:
        at = f" in line {e.problem_mark.line + 1}" if e.problem_mark else ""
        raise _unusable(str(path), f"is broken YAML{at}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _unusable(str(path), "is not YAML") from None
    if not isinstance(value, dict):
        raise _unusable(str(path), "is not a kubeconfig" if value else "is empty")
    try:
        return msgspec.convert(value, _Config)
    except msgspec.ValidationError as e:
        at_field = _PATH.search(str(e))
        place = at_field["path"].lstrip(".") if at_field else "a field"
        raise _unusable(
            str(path), f"has a value of the wrong type, or misses a field, at {place}", "quote it if it is text"
        ) from None


def _unusable(where: str, why: str, cure: str = _CURE) -> SourceError:
    # Never chained: the messages of YAML and msgspec may quote a token.
    return SourceError(f"no cluster is set up here: {where} {why}; {cure}")
