# SPDX-License-Identifier: Apache-2.0
"""The credential for the API server: a token, a password, a client certificate, or the output of a credential plugin.

Tokens often come with a final newline, which is not part of them. The output of a plugin is never shown: it may be the
token.
"""

import base64
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from ksd_ddns.cluster.kubeconfig import Access, Exec
from ksd_ddns.errors import SourceError

PLUGIN_TIMEOUT = 120.0
"""Timeout in seconds for a credential plugin, which may open a browser and wait for a login."""

EARLY = 10.0
"""Seconds before its expiry that a token is replaced."""

_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """Proof of identity for the API server. `expires` is in seconds since the epoch, None if it is unknown.

    `secrets` are the strings that no message may contain.
    """

    authorization: str = ""
    certificate: bytes = b""
    key: bytes = b""
    expires: float | None = None
    secrets: tuple[str, ...] = ()

    @property
    def expired(self) -> bool:
        """Whether it must be replaced."""
        return self.expires is not None and time.time() > self.expires - EARLY


def acquire(access: Access) -> Credential:
    """Return a credential as configured now; may run a plugin. Raises SourceError."""
    user = access.user
    if user.auth_provider is not None:
        return _bearer(_oidc_token(access), f"the auth-provider of {access.source}")
    if access.token_file is not None:
        try:
            token = access.token_file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise SourceError(
                f"the token file {access.token_file} cannot be read; let the user that runs ksd-ddns read it"
            ) from None
        return _bearer(token, f"the token file {access.token_file}")
    if user.token and user.token.strip():
        return _bearer(user.token, f"the token in {access.source}")
    if user.execute is not None:
        return _run(user.execute, access)
    if user.username is not None and user.password is not None:
        pair = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
        return Credential(f"Basic {pair}", secrets=(pair, user.password))
    return Credential()


def _bearer(token: str, where: str, *, expires: float | None = None) -> Credential:
    token = token.strip()
    if not token:
        raise SourceError(f"{where} is empty; write the token again, or log in again")
    if not _VISIBLE.fullmatch(token):
        raise SourceError(
            f"{where} cannot be sent in an HTTP header: it has white space or other characters inside; write it again"
        )
    return Credential(f"Bearer {token}", expires=expires, secrets=(token,))


# Credential plugins


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


def _run(plugin: Exec, access: Access) -> Credential:
    """Run a credential plugin; return the credential that it prints."""
    name = f"the credential plugin {plugin.command!r}"
    done = _output(plugin, access, name)
    if done.returncode:
        how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise SourceError(f"{name} failed with {how}: {_BY_HAND}, and log in again if it asks for that")
    try:
        found = msgspec.json.decode(done.stdout, type=_ExecCredential)
    except (msgspec.DecodeError, RecursionError):
        raise SourceError(f"{name} printed no ExecCredential: {_BY_HAND}, and correct it") from None
    status = found.status or _Status()
    if found.api_version != plugin.api_version:
        # Never show the version that it printed: it may be anything.
        raise SourceError(
            f"{name} printed another apiVersion than {plugin.api_version!r}; set the one that it supports in "
            f"{access.source}"
        )
    expires = None
    if status.expiration_timestamp is not None:
        at = status.expiration_timestamp
        expires = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    certificate, key = (status.client_certificate_data or "").encode(), (status.client_key_data or "").encode()
    if bool(certificate) != bool(key):
        raise SourceError(f"{name} printed a client certificate without its key, or a key alone: {_BY_HAND}")
    if status.token and status.token.strip():
        made = _bearer(status.token, f"the token of {name}", expires=expires)
        return Credential(made.authorization, certificate, key, expires, made.secrets)
    if certificate:
        return Credential("", certificate, key, expires)
    raise SourceError(f"{name} printed neither a token nor a client certificate: {_BY_HAND}")


_BY_HAND = "run it by hand to see what is wrong"


def _output(plugin: Exec, access: Access, name: str) -> subprocess.CompletedProcess[bytes]:
    mode = plugin.interactive_mode or "IfAvailable"
    terminal = mode != "Never" and _is_terminal()
    if mode == "Always" and not terminal:
        raise SourceError(f"{name} asks on a terminal (interactiveMode: Always), and there is none; use a token")
    command = plugin.command
    if "/" in command:  # otherwise PATH is searched
        command = str(access.folder / command)
    environment = {**os.environ, **{item.name: item.value for item in plugin.env or ()}}
    environment["KUBERNETES_EXEC_INFO"] = _exec_info(plugin, access, interactive=terminal)
    try:
        return subprocess.run(  # noqa: S603 the kubeconfig names the program, as for kubectl
            [command, *(plugin.args or ())],
            stdin=None if terminal else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # On a terminal it talks to the user. Elsewhere its output, perhaps a secret, would end up in a log.
            stderr=None if terminal else subprocess.DEVNULL,
            env=environment,
            timeout=PLUGIN_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        hint = " ".join((plugin.install_hint or "install it, or correct exec in the kubeconfig").split())
        raise SourceError(f"{name} is not installed: {hint}") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"{name} did not end within {PLUGIN_TIMEOUT:g} s: {_BY_HAND}") from None
    except OSError as e:
        raise SourceError(f"{name} cannot be run: {os.strerror(e.errno or 0)}") from None
    except ValueError:
        raise SourceError(f"{name} cannot be run: its arguments or its environment hold a NUL") from None


def _is_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed or missing
        return False


def _exec_info(plugin: Exec, access: Access, *, interactive: bool) -> str:
    spec: dict[str, object] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        cluster = access.cluster
        data = cluster.certificate_authority_data
        if access.ca is not None:
            data = base64.b64encode(access.ca.read_bytes()).decode()
        about = {
            "server": access.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": data,
            "proxy-url": cluster.proxy_url,
        }
        for extension in cluster.extensions or ():
            if extension.get("name") == "client.authentication.k8s.io/exec":
                about["config"] = extension.get("extension")
        spec["cluster"] = {key: value for key, value in about.items() if value}
    return json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})


def _oidc_token(access: Access) -> str:
    """Return the ID token of the auth-provider oidc; the official client renews it if it has expired."""
    from kubernetes import client, config  # noqa: PLC0415 takes half a second, and few still use it

    settings = client.Configuration()
    failed = SourceError(
        f"the auth-provider oidc in {access.source} gave no token: log in again, or use a credential plugin (exec)"
    )
    try:
        config.load_kube_config(os.pathsep.join(map(str, access.kubeconfigs)), client_configuration=settings)
    except Exception:  # noqa: BLE001 it raises any exception of its libraries, with tokens in it
        raise failed from None
    found: str = settings.api_key.get("BearerToken", "")
    if not found:
        raise failed
    return found.removeprefix("Bearer ")
