# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs as kubectl reads them, and the way to the API server as kubectl chooses it."""

import json
import os
import traceback
from pathlib import Path
from typing import Any

import pytest

from ksd_ddns.cluster.kubeconfig import Access, find
from ksd_ddns.cluster.proxy import proxy_of
from ksd_ddns.errors import SourceError

URL = "https://10.0.0.1:6443"


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the configuration of the current user."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def config(
    *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, name: str = "c"
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": URL} if cluster is None else cluster}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def write(path: Path, content: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_the_default_is_the_file_in_the_home_directory(tmp_path: Path) -> None:
    write(tmp_path / "home/.kube/config", config())
    assert find().server == URL


def test_several_kubeconfig_files_are_merged(tmp_path: Path) -> None:
    """The first file takes precedence; a missing file is skipped."""
    first = config(user={"token": "one"})
    del first["clusters"]
    second = {**config(user={"token": "two"}), "current-context": "other"}
    paths = [str(tmp_path / "none"), write(tmp_path / "1", first), write(tmp_path / "2", second)]
    access = find(kubeconfig=os.pathsep.join(paths))
    assert (access.server, access.user.token) == (URL, "one")


def test_paths_are_relative_to_their_kubeconfig(tmp_path: Path) -> None:
    """Cluster and user may be from two files."""
    users = config(user={"tokenFile": "token"})
    clusters = config(cluster={"server": URL, "certificate-authority": "../ca.crt"})
    del users["clusters"]
    del clusters["users"]
    write(tmp_path / "a/token", "t")
    write(tmp_path / "ca.crt", "c")
    paths = [write(tmp_path / "a/users", users), write(tmp_path / "b/clusters", clusters)]
    access = find(kubeconfig=os.pathsep.join(paths))
    assert access.token_file == tmp_path / "a/token"
    assert access.ca is not None
    assert access.ca.resolve() == tmp_path / "ca.crt"


@pytest.mark.parametrize(
    ("cluster", "server"),
    [
        pytest.param({"server": f"{URL}/"}, URL, id="slash"),
        pytest.param({"server": f" {URL}\n"}, URL, id="white-space"),
        pytest.param(
            {"server": "https://rancher.test/k8s/clusters/c-1"}, "https://rancher.test/k8s/clusters/c-1", id="path"
        ),
        pytest.param({"server": "10.0.0.1:8080"}, "http://10.0.0.1:8080", id="no-scheme"),
        pytest.param({"server": "10.0.0.1", "insecure-skip-tls-verify": True}, "https://10.0.0.1", id="no-scheme-tls"),
        pytest.param({"server": "https://[fd00::1]:6443"}, "https://[fd00::1]:6443", id="ipv6"),
    ],
)
def test_the_current_context_selects_the_server(tmp_path: Path, cluster: dict[str, Any], server: str) -> None:
    assert find(kubeconfig=write(tmp_path / "config", config(cluster=cluster))).server == server


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("a: b\n  HIDDEN: {", r"broken YAML in line \d", id="yaml"),
        pytest.param("[HIDDEN]", "not a kubeconfig", id="list"),
        pytest.param({**config(), "current-context": "other"}, "no context 'other'", id="no-context"),
        pytest.param({**config(), "clusters": []}, "no cluster 'c'", id="no-cluster"),
        pytest.param({**config(), "users": None}, "no user 'c'", id="no-user"),
        pytest.param(config(cluster={}), "no server", id="no-server"),
        pytest.param(config(cluster={"server": "https://ann:HIDDEN@host"}), "not a URL", id="user-info"),
        pytest.param(config(cluster={"server": "https://host:HIDDEN"}), "not a URL", id="port"),
        pytest.param(config(cluster={"server": "ftp://host"}), "not a URL", id="scheme"),
        pytest.param(config(user={"token": ["HIDDEN"]}), r"users\[0\]\.user\.token", id="type"),
        pytest.param(config(user={"tokenFile": "/nowhere/token"}), "/nowhere/token", id="token-file"),
        pytest.param(config(user={"client-certificate": "/nowhere/crt"}), "/nowhere/crt", id="certificate"),
        pytest.param(config(user={"as-groups": ["a"]}), "without as", id="as-groups"),
        pytest.param(
            config(user={"auth-provider": {"name": "gcp", "config": {"access-token": "HIDDEN"}}}),
            "'gcp', which kubectl no longer supports",
            id="auth-provider",
        ),
        pytest.param({**config(), "users": [{"user": {"token": "HIDDEN"}}]}, r"users\[0\]", id="nameless"),
    ],
)
def test_an_error_names_the_file_and_the_field(tmp_path: Path, content: object, words: str) -> None:
    """And shows no secret, not even in a traceback."""
    path = write(tmp_path / "config", content)
    with pytest.raises(SourceError, match=words) as error:
        find(kubeconfig=path)
    assert path in str(error.value)
    assert "HIDDEN" not in "".join(traceback.format_exception(error.value))


P = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("server", "environment", "proxy"),
    [
        pytest.param("https://api.test", {"HTTPS_PROXY": P}, P, id="https"),
        pytest.param("https://api.test", {"https_proxy": P}, P, id="lower-case"),
        pytest.param("https://api.test", {"HTTP_PROXY": P}, None, id="http-is-not-for-https"),
        pytest.param("https://api.test", {"ALL_PROXY": P}, None, id="go-knows-no-all-proxy"),
        pytest.param("http://api.test", {"HTTP_PROXY": P}, P, id="http"),
        pytest.param("https://api.test", {"HTTPS_PROXY": "proxy.test:3128"}, P, id="no-scheme"),
        pytest.param("https://api.test", {"HTTPS_PROXY": "socks5://p.test"}, "socks5://p.test:1080", id="socks"),
        pytest.param("https://api.test", {"HTTPS_PROXY": f" {P}\n"}, P, id="white-space"),
        pytest.param("https://api.test", {"HTTPS_PROXY": ""}, None, id="empty"),
        pytest.param("https://localhost:6443", {"HTTPS_PROXY": P}, None, id="localhost"),
        pytest.param("https://127.0.0.1:6443", {"HTTPS_PROXY": P}, None, id="loopback"),
        pytest.param("https://[::1]:6443", {"HTTPS_PROXY": P}, None, id="ipv6-loopback"),
        pytest.param("https://api.test", {"HTTPS_PROXY": P, "NO_PROXY": "*"}, None, id="all"),
        pytest.param("https://api.test", {"HTTPS_PROXY": P, "no_proxy": "x.test, api.test"}, None, id="name"),
        pytest.param("https://API.test", {"HTTPS_PROXY": P, "NO_PROXY": "api.TEST"}, None, id="case"),
        pytest.param("https://a.api.test", {"HTTPS_PROXY": P, "NO_PROXY": "api.test"}, None, id="below"),
        pytest.param("https://a.api.test", {"HTTPS_PROXY": P, "NO_PROXY": ".api.test"}, None, id="dot"),
        pytest.param("https://a.api.test", {"HTTPS_PROXY": P, "NO_PROXY": "*.api.test"}, None, id="star-dot"),
        pytest.param("https://api.test", {"HTTPS_PROXY": P, "NO_PROXY": ".api.test"}, P, id="dot-is-below-only"),
        pytest.param("https://myapi.test", {"HTTPS_PROXY": P, "NO_PROXY": "api.test"}, P, id="another-name"),
        pytest.param("https://api.test:6443", {"HTTPS_PROXY": P, "NO_PROXY": "api.test:6443"}, None, id="port"),
        pytest.param("https://api.test:6443", {"HTTPS_PROXY": P, "NO_PROXY": "api.test:443"}, P, id="other-port"),
        pytest.param("https://api.test", {"HTTPS_PROXY": P, "NO_PROXY": "api.test:443"}, None, id="default-port"),
        pytest.param("https://10.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "10.1.0.0/16"}, None, id="network"),
        pytest.param("https://10.2.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "10.1.0.0/16"}, P, id="other-network"),
        pytest.param("https://10.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "10.1.2.3"}, None, id="address"),
        pytest.param("https://10.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "2.3"}, P, id="end-of-an-address"),
        pytest.param("https://[fd00::1]", {"HTTPS_PROXY": P, "NO_PROXY": "fd00::/8"}, None, id="ipv6-network"),
        pytest.param("https://[fd00::1]:6443", {"HTTPS_PROXY": P, "NO_PROXY": "[fd00::1]:6443"}, None, id="ipv6-port"),
        pytest.param("https://[fd00::1]", {"HTTPS_PROXY": P, "NO_PROXY": "fd00:0::1"}, None, id="ipv6"),
    ],
)
def test_the_environment_sets_the_proxy(server: str, environment: dict[str, str], proxy: str | None) -> None:
    found = proxy_of(Access(server=server, source="config"), environment)
    assert (str(found) if found else None) == proxy


def test_the_proxy_of_the_kubeconfig_takes_precedence(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:6443", "proxy-url": "http://ann:HIDDEN@one.test:3128"}
    access = find(kubeconfig=write(tmp_path / "config", config(cluster=cluster)))
    found = proxy_of(access, {"HTTPS_PROXY": P, "NO_PROXY": "*"})
    assert found is not None
    assert (found.user, found.password) == ("ann", "HIDDEN")
    assert "HIDDEN" not in f"{found} {found!r} {access!r}"
