# SPDX-License-Identifier: Apache-2.0
"""Location of the API server and credentials: configuration as for the real client, and its changes."""

import base64
import json
import socket
import ssl
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from harness.kube import (
    ADMIN,
    MASTERS,
    ExecPlugin,
    Fault,
    Kube,
    Reply,
    Slow,
    Stall,
    User,
    service_account,
    with_certificate,
)
from harness.kube.api import Answer
from harness.proxies import HttpProxy, SocksProxy
from harness.vmis import vmi
from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.http_errors import Expired, Forbidden, insist
from ksd_ddns.cluster.namespaces import uid_of_namespace
from ksd_ddns.cluster.timing import ApiTiming
from ksd_ddns.cluster.watch import Watch, watches
from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt.selection import Selection

MakeKube = Callable[..., Kube]


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the configuration of the current user."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def listed(api: Api) -> set[str]:
    return {item.key for item in Watch(api).vmis()}


def shown(error: BaseException) -> str:
    """Return everything that a traceback would show of it."""
    return "".join(traceback.format_exception(error))


def edit(path: Path, part: str, change: dict[str, Any]) -> None:
    """Change the cluster or the user of a kubeconfig; None removes a field."""
    config = yaml.safe_load(path.read_text())
    values = config[f"{part}s"][0][part]
    values.update(change)
    config[f"{part}s"][0][part] = {key: value for key, value in values.items() if value is not None}
    path.write_text(yaml.safe_dump(config))


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_a_token_authenticates_the_client(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(auth=True)
    kube.put(vmi("db", "prod"))
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", {"token": kube.token(User("ann", (MASTERS,)))})))
    assert listed(api) == {"prod/db"}
    assert kube.requests()[-1].user.name == "ann"
    assert uid_of_namespace(api, "kube-system") == kube.kube_system_uid


def test_the_kubeconfig_variable_selects_the_file(
    make_kube: MakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = make_kube(auth=True)
    kube.put(vmi("db", "prod"))
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig(tmp_path / "config")))
    # In a pod with a kubeconfig, the kubeconfig takes precedence.
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (everything,) = watches(Selection())
    assert [item.key for item in everything.vmis()] == ["prod/db"]
    first, second = watches(Selection(namespaces=frozenset({"b", "a"})))
    assert (first.namespace, second.namespace) == ("a", "b")


def test_a_client_certificate_authenticates_the_client(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(tls=True, auth=True)
    assert kube.authority
    pair = kube.authority.client("bob", MASTERS)
    listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", with_certificate(pair)))))
    assert kube.requests()[-1].user.name == "bob"


def test_a_server_certificate_from_another_ca_is_rejected(make_kube: MakeKube, tmp_path: Path) -> None:
    kube, other = make_kube(tls=True), make_kube(tls=True)
    path = kube.kubeconfig(tmp_path / "config")
    path.write_text(path.read_text().replace(kube.url, other.url))
    with pytest.raises(SourceError, match="certificate"):
        listed(Api(kubeconfig=str(path)))
    assert not other.requests()


def test_a_credential_plugin_authenticates_the_client(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(auth=True)
    plugin = ExecPlugin(tmp_path / "plugin", kube.token(User("ann", (MASTERS,))))
    listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", plugin.user))))
    assert kube.requests()[-1].user.name == "ann"


@pytest.fixture
def in_pod(make_kube: MakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Kube, Path]:
    """Return a cluster, and the files of a service account in a pod of it."""
    kube = make_kube(tls=True, auth=True)
    files = kube.service_account_files(tmp_path / "account")
    for name, value in files.environment.items():
        monkeypatch.setenv(name, value)
    return kube, tmp_path / "account"


def test_a_pod_uses_its_service_account(in_pod: tuple[Kube, Path]) -> None:
    kube, account = in_pod
    listed(Api(service_account=account))
    assert kube.requests()[-1].user == service_account("secondary", "secondary")


def test_a_pod_reloads_a_rotated_token(in_pod: tuple[Kube, Path]) -> None:
    """The kubelet writes a new token long before the old one expires; if it is late, one request fails."""
    kube, account = in_pod
    api = Api(service_account=account)
    listed(api)
    kube.revoke((account / "token").read_text())
    with pytest.raises(SourceError, match=r"401.*service account"):
        listed(api)
    with pytest.raises(SourceError, match="401"):
        listed(api)
    (account / "token").write_text(kube.token(User("renewed", (MASTERS,))))
    listed(api)
    assert kube.requests()[-1].user.name == "renewed"


@pytest.mark.parametrize("expires", [None, "2000-01-01T00:00:00Z"], ids=["no-time", "expired"])
def test_the_plugin_runs_again_when_its_token_is_revoked(
    make_kube: MakeKube, tmp_path: Path, expires: str | None
) -> None:
    kube = make_kube(auth=True)
    old = kube.token(ADMIN)
    plugin = ExecPlugin(tmp_path / "plugin", old, expires=expires)
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", plugin.user)))
    listed(api)
    plugin.tell(kube.token(User("renewed", (MASTERS,))), expires=expires)
    kube.revoke(old)
    listed(api)  # where only the server reports that the token has expired, the request is sent again
    assert kube.requests()[-1].user.name == "renewed"


def test_a_changed_kubeconfig_is_reloaded(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(auth=True)
    old = kube.token(ADMIN)
    path = kube.kubeconfig(tmp_path / "config", {"token": old})
    api = Api(kubeconfig=str(path))
    listed(api)
    kube.revoke(old)
    path.unlink()
    for _ in range(2):
        with pytest.raises(SourceError, match="no cluster is set up here"):
            listed(api)
    kube.kubeconfig(path, {"token": kube.token(User("renewed", (MASTERS,)))})
    listed(api)
    assert kube.requests()[-1].user.name == "renewed"


def test_a_replaced_client_certificate_is_reloaded(make_kube: MakeKube, tmp_path: Path) -> None:
    """An untrusted CA fails the handshake, and then the files are reloaded."""
    kube, other = make_kube(tls=True), make_kube(tls=True)
    path = kube.kubeconfig(tmp_path / "config")
    good = path.read_text()
    assert other.authority
    assert kube.authority
    path.write_text(good.replace(str(kube.authority.certificate), str(other.authority.certificate)))
    api = Api(kubeconfig=str(path))
    with pytest.raises(SourceError, match="certificate"):
        listed(api)
    path.write_text(good)
    listed(api)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "no cluster is set up here", id="no-file"),
        pytest.param("", "no cluster is set up here", id="empty"),
        pytest.param("{{", "no cluster is set up here", id="broken"),
        pytest.param("just text", "no cluster is set up here", id="text"),
        pytest.param("apiVersion: v1\nkind: Config\n", "no cluster is set up here", id="no-context"),
    ],
)
def test_a_kubeconfig_without_a_cluster_is_an_error(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SourceError, match=words) as error:
        Api(kubeconfig=str(path))
    assert "KUBECONFIG" in str(error.value)


def test_a_pod_without_a_service_account_reports_the_missing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(SourceError, match="no cluster is set up here"):
        Api(service_account=tmp_path)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_requests_use_the_proxy_from_the_environment(
    make_kube: MakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    """As in kubectl: not for this host, and not for hosts in NO_PROXY."""
    kube = make_kube(tls=tls)
    kube.put(vmi("db", "prod"))
    path = kube.kubeconfig(tmp_path / "config")
    with HttpProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY" if tls else "HTTP_PROXY", proxy.url)
        assert listed(Api(kubeconfig=str(path))) == {"prod/db"}
        assert not proxy.seen
        path.write_text(path.read_text().replace("127.0.0.1", "kubernetes.default.svc"))
        assert listed(Api(kubeconfig=str(path))) == {"prod/db"}
        assert len(proxy.seen) == 1
        monkeypatch.setenv("NO_PROXY", "192.0.2.0/24,.default.svc")
        with pytest.raises(SourceError, match="host name does not resolve"):
            listed(Api(kubeconfig=str(path)))
        assert len(proxy.seen) == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("secret", ["", "ann:p@ss/w0rd"], ids=["open", "password"])
@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
def test_requests_use_the_proxy_from_the_kubeconfig(
    make_kube: MakeKube, tmp_path: Path, kind: type[HttpProxy | SocksProxy], secret: str, tls: bool
) -> None:
    kube = make_kube(tls=tls)
    kube.put(vmi("db", "prod"))
    path = kube.kubeconfig(tmp_path / "config")
    with kind(secret=secret) as proxy:
        user = f"{quote(secret, safe=':')}@" if secret else ""
        edit(path, "cluster", {"proxy-url": f"{proxy.scheme}://{user}{proxy.address}"})
        assert listed(Api(kubeconfig=str(path))) == {"prod/db"}
        assert len(proxy.seen) == 1
        # The proxy resolves host names.
        path.write_text(path.read_text().replace(kube.url, kube.url.replace("127.0.0.1", "kubernetes.default.svc")))
        assert listed(Api(kubeconfig=str(path))) == {"prod/db"}
        assert "kubernetes.default.svc" in proxy.seen[-1]


@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_proxy_that_requires_credentials_is_an_error(
    make_kube: MakeKube, tmp_path: Path, kind: type[HttpProxy | SocksProxy], tls: bool
) -> None:
    path = make_kube(tls=tls).kubeconfig(tmp_path / "config")
    with kind(secret="ann:right") as proxy:
        for user in ("", "ann:HIDDEN@"):
            edit(path, "cluster", {"proxy-url": f"{proxy.scheme}://{user}{proxy.address}"})
            with pytest.raises(SourceError, match=r"the proxy .* requires authentication \(407\).*proxy-url") as error:
                listed(Api(kubeconfig=str(path)))
            assert "HIDDEN" not in shown(error.value)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_an_unreachable_proxy_is_an_error(make_kube: MakeKube, tmp_path: Path, scheme: str) -> None:
    path = make_kube(tls=True).kubeconfig(tmp_path / "config")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    edit(path, "cluster", {"proxy-url": f"{scheme}://ann:HIDDEN@127.0.0.1:{port}"})
    words = rf"the proxy {scheme}://127.0.0.1:{port} for .* cannot be reached: connection refused"
    with pytest.raises(SourceError, match=words) as error:
        listed(Api(kubeconfig=str(path)))
    assert "HIDDEN" not in shown(error.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("ftp://ann:HIDDEN@127.0.0.1:21", "not the URL of a proxy", id="scheme"),
        pytest.param("http://ann:HID/DEN@127.0.0.1:1:2", "not the URL of a proxy", id="port"),
        pytest.param("http://ann:HIDDEN@", "not the URL of a proxy", id="no-host"),
        pytest.param("http://ann:HIDDEN@[::1", "not the URL of a proxy", id="bracket"),
        pytest.param("http://ann:HIDDEN@nowhere.invalid:3128", "does not resolve", id="name"),
        pytest.param("socks5://ann:HIDDEN@nowhere.invalid:1080", "does not resolve", id="socks-name"),
    ],
)
def test_an_invalid_proxy_url_is_an_error(make_kube: MakeKube, tmp_path: Path, url: str, words: str) -> None:
    path = make_kube(tls=True).kubeconfig(tmp_path / "config")
    edit(path, "cluster", {"proxy-url": url})
    with pytest.raises(SourceError, match=words) as error:
        listed(Api(kubeconfig=str(path)))
    assert "HID" not in shown(error.value)


# TLS


def test_a_ca_certificate_that_strict_checks_reject_is_accepted(
    make_kube: MakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 sets the strict flag by default; here every Python does."""
    kube = make_kube(tls=True, identifiers=False)
    kube.put(vmi("db", "prod"))
    default = ssl.create_default_context

    def strict(**arguments: Any) -> ssl.SSLContext:
        context = default(**arguments)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    assert kube.authority
    with (
        socket.create_connection(("127.0.0.1", kube.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context(cafile=str(kube.authority.certificate)).wrap_socket(
            plain, server_hostname="127.0.0.1"
        )
    assert listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))) == {"prod/db"}


def test_inline_certificates_work_like_files(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(tls=True, auth=True)
    assert kube.authority
    pair = kube.authority.client("bob", MASTERS)
    user = {"client-certificate-data": b64(pair.certificate), "client-key-data": b64(pair.key)}
    path = kube.kubeconfig(tmp_path / "config", user)
    edit(path, "cluster", {"certificate-authority-data": b64(kube.authority.certificate)})
    edit(path, "cluster", {"certificate-authority": None})
    listed(Api(kubeconfig=str(path)))
    assert kube.requests()[-1].user.name == "bob"


def test_tls_server_name_overrides_the_host_name(make_kube: MakeKube, tmp_path: Path) -> None:
    path = make_kube(tls=True).kubeconfig(tmp_path / "config")
    edit(path, "cluster", {"tls-server-name": "kubernetes.default.svc"})
    listed(Api(kubeconfig=str(path)))
    edit(path, "cluster", {"tls-server-name": "another.test"})
    with pytest.raises(SourceError, match=r"certificate is for another host name .*tls-server-name"):
        listed(Api(kubeconfig=str(path)))


def test_insecure_skip_tls_verify_disables_verification(make_kube: MakeKube, tmp_path: Path) -> None:
    path = make_kube(tls=True).kubeconfig(tmp_path / "config")
    edit(path, "cluster", {"certificate-authority": None})
    with pytest.raises(SourceError, match=r"unknown CA .*certificate-authority"):
        listed(Api(kubeconfig=str(path)))
    edit(path, "cluster", {"insecure-skip-tls-verify": True})
    listed(Api(kubeconfig=str(path)))


def test_a_server_that_does_not_speak_tls_is_an_error(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube()
    path = kube.kubeconfig(tmp_path / "config")
    with HttpProxy() as server:  # which answers 400 to anything but HTTP, as most servers do
        path.write_text(path.read_text().replace(kube.url, f"https://{server.address}"))
        with pytest.raises(SourceError, match=r"does not speak TLS .*http://"):
            listed(Api(kubeconfig=str(path)))


# Credentials


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n\n"])
@pytest.mark.parametrize("kind", ["inline", "file", "plugin", "pod"])
def test_white_space_around_a_token_is_ignored(
    make_kube: MakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, ending: str
) -> None:
    kube = make_kube(tls=True, auth=True)
    token = kube.token(User("ann", (MASTERS,)))
    (tmp_path / "token").write_text(f"{token}{ending}", newline="")
    users: dict[str, dict[str, Any]] = {
        "inline": {"token": f"{token}{ending}"},
        "file": {"tokenFile": "token"},  # relative to the kubeconfig
        "plugin": ExecPlugin(tmp_path / "plugin", f"{token}{ending}").user,
    }
    if kind == "pod":
        files = kube.service_account_files(tmp_path / "account", token=f"{token}{ending}")
        for name, value in files.environment.items():
            monkeypatch.setenv(name, value)
        api = Api(service_account=tmp_path / "account")
    else:
        api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", users[kind])))
    listed(api)
    assert kube.requests()[-1].user.name == "ann"


def test_a_changed_token_file_is_reloaded(make_kube: MakeKube, tmp_path: Path) -> None:
    """The new token is used at once, without a request that fails; a briefly missing file has no effect."""
    kube = make_kube(auth=True)
    file = tmp_path / "token"
    file.write_text(kube.token(User("old", (MASTERS,))))
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", {"tokenFile": str(file), "token": "no"})))
    listed(api)
    file.unlink()
    listed(api)
    file.write_text(kube.token(User("new", (MASTERS,))))
    listed(api)
    assert [request.user.name for request in kube.requests()] == ["old", "old", "new"]
    assert {request.status for request in kube.requests()} == {200}


@pytest.mark.parametrize(
    "token", ["HIDDEN\nX-More: 1", "HID DEN", "HIDDEN\u20ac", "HIDDEN\x00"], ids=["lines", "space", "not-latin", "nul"]
)
@pytest.mark.parametrize("kind", ["inline", "plugin"])
def test_a_token_with_invalid_characters_is_an_error(kube: Kube, tmp_path: Path, kind: str, token: str) -> None:
    user = {"token": token} if kind == "inline" else ExecPlugin(tmp_path / "plugin", token).user
    with pytest.raises(SourceError, match="cannot be sent in an HTTP header") as error:
        listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", user))))
    assert "HID" not in shown(error.value)
    assert not kube.requests()


@pytest.mark.parametrize(
    ("user", "words"),
    [
        pytest.param({"as": "ann"}, {"Impersonate-User": ["ann"]}, id="user"),
        pytest.param(
            {"as": "ann", "as-uid": "7", "as-groups": ["dns", "admins"], "as-user-extra": {"Reason/Why": ["a", "b"]}},
            {
                "Impersonate-User": ["ann"],
                "Impersonate-Uid": ["7"],
                "Impersonate-Group": ["dns", "admins"],
                "Impersonate-Extra-reason%2Fwhy": ["a", "b"],
            },
            id="all",
        ),
    ],
)
def test_impersonation_headers_are_sent(
    kube: Kube, tmp_path: Path, user: dict[str, Any], words: dict[str, list[str]]
) -> None:
    listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", user))))
    headers = kube.requests()[-1].headers
    assert {name: headers[name.lower()].split(", ") for name in words} == words


def test_basic_authentication_works(kube: Kube, tmp_path: Path) -> None:
    listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", {"username": "ann", "password": "s3cret"}))))
    assert kube.requests()[-1].headers["authorization"] == f"Basic {base64.b64encode(b'ann:s3cret').decode()}"


# Credential plugins


def plugin(folder: Path, script: str, **more: object) -> dict[str, Any]:
    """Return the user of a plugin that is this shell script, called by a path relative to the kubeconfig."""
    (folder / "plugin.sh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "plugin.sh").chmod(0o755)
    return {"exec": {"apiVersion": V1, "command": "./plugin.sh", "interactiveMode": "Never", **more}}


V1 = "client.authentication.k8s.io/v1"


def credential(**status: str) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(f"echo '{credential(token='HIDDEN')}'; echo HIDDEN >&2; exit 3", "exit code 3", id="exit-code"),
        pytest.param("kill -9 $$", "signal 9", id="killed"),
        pytest.param(f"echo '{credential(token='HIDDEN')[:-4]}'", "printed no ExecCredential", id="half"),
        pytest.param("echo HIDDEN", "printed no ExecCredential", id="words"),
        pytest.param(":", "printed no ExecCredential", id="nothing"),
        pytest.param(f"echo '{credential()}'", "neither a token nor a client certificate", id="no-token"),
        pytest.param(f"echo '{credential(clientCertificateData='x')}'", "without its key", id="no-key"),
        pytest.param(
            f"echo '{credential(token='HIDDEN').replace('/v1', '/HIDDEN')}'", "another apiVersion", id="version"
        ),
        pytest.param(
            f"echo '{credential(clientCertificateData='HIDDEN', clientKeyData='HIDDEN')}'", "cannot be used", id="pem"
        ),
    ],
)
def test_a_failing_plugin_is_an_error(
    make_kube: MakeKube, tmp_path: Path, capfd: pytest.CaptureFixture[str], script: str, words: str
) -> None:
    kube = make_kube(tls=True)
    path = kube.kubeconfig(tmp_path / "config", plugin(tmp_path, script))
    with pytest.raises(SourceError, match=words) as error:
        listed(Api(kubeconfig=str(path)))
    assert "HIDDEN" not in "".join((shown(error.value), *capfd.readouterr()))
    if words != "cannot be used":
        assert "'./plugin.sh'" in str(error.value)
    assert not kube.requests()


def test_the_error_for_a_missing_plugin_has_the_install_hint(kube: Kube, tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": V1, "command": "no-such-plugin", "installHint": "Install\n  the CLI"}}
    with pytest.raises(SourceError, match=r"'no-such-plugin' is not installed: Install the CLI$"):
        listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", user))))


def test_a_failing_plugin_does_not_run_for_every_request(kube: Kube, tmp_path: Path) -> None:
    user = plugin(tmp_path, f"echo >> {tmp_path / 'runs'}; exit 1")
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", user)))
    for _ in range(5):
        with pytest.raises(SourceError, match="exit code 1"):
            listed(api)
    assert (tmp_path / "runs").read_text() == "\n"


def test_a_plugin_receives_its_arguments_and_environment(kube: Kube, tmp_path: Path) -> None:
    script = (
        f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; echo $0 $1 $MODE > {tmp_path}/rest; cat > {tmp_path}/in\n'
    )
    script += f"echo '{credential(token=kube.token())}'"
    more = {"args": ["get-token"], "env": [{"name": "MODE", "value": "sso"}], "provideClusterInfo": True}
    listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", plugin(tmp_path, script, **more)))))
    assert (tmp_path / "rest").read_text().split()[1:] == ["get-token", "sso"]
    assert not (tmp_path / "in").read_text()  # standard input is empty and closed
    info = json.loads((tmp_path / "info").read_text())
    assert (info["apiVersion"], info["spec"]["interactive"]) == (V1, False)
    assert info["spec"]["cluster"]["server"] == kube.url


def test_a_plugin_can_return_a_client_certificate(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(tls=True, auth=True)
    assert kube.authority
    pair = kube.authority.client("bob", MASTERS)
    text = credential(clientCertificateData=pair.certificate.read_text(), clientKeyData=pair.key.read_text())
    (tmp_path / "credential").write_text(text)
    user = plugin(tmp_path, f"cat {tmp_path}/credential")
    listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", user))))
    assert kube.requests()[-1].user.name == "bob"


# What the server says


def test_a_secret_in_a_server_message_is_not_shown(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(auth=True)
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", {"token": kube.token(ADMIN, token="HIDDEN")})))
    for fault in (
        Reply.status(500, "bad header: Authorization: Bearer HIDDEN"),
        Reply(Answer(b"<pre>Authorization: Bearer HIDDEN</pre>", 502)),
        Reply.garbage(b'{"items": "Bearer HIDDEN"}'),
    ):
        kube.fault(fault, verb="list")
        with pytest.raises(SourceError) as error:
            listed(api)
        assert "HIDDEN" not in shown(error.value)


def test_a_403_while_the_server_starts_is_retried(kube: Kube, tmp_path: Path) -> None:
    """A server refuses everything until RBAC is loaded, so suggesting a grant would be wrong."""
    timing = ApiTiming(forbidden_for=0.3, forbidden_gap=1.0)
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")), timing=timing)
    path = "/apis/kubevirt.io/v1/virtualmachineinstances"
    with kube.fault(Reply.forbidden("secondary"), verb="list", times=None):
        with pytest.raises(Forbidden, match=r"forbids it \(403 .* may still be starting, retrying$"):
            api.get(path, {})
        time.sleep(0.3)
        with pytest.raises(Forbidden, match="grant get, list and watch of virtualmachineinstances"):
            api.get(path, {})
    api.get(path, {})
    time.sleep(1.0)
    with (
        kube.fault(Reply.forbidden("secondary"), verb="list", times=None),
        pytest.raises(Forbidden, match="starting"),
    ):
        api.get(path, {})


def test_a_command_waits_for_a_starting_server(kube: Kube, tmp_path: Path) -> None:
    kube.put(vmi("db", "prod"))
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))
    kube.fault(Reply.forbidden("secondary"), verb="list", times=2)
    assert listed(api) == {"prod/db"}
    with (
        kube.fault(Reply.forbidden("secondary"), verb="list", times=None),
        pytest.raises(SourceError, match="grant get, list and watch"),
    ):
        listed(api)


# Deadlines


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "fault", [Slow(20), Stall(), Stall(sent=10)], ids=["trickle", "silent", "silent-in-the-middle"]
)
def test_a_request_ends_at_its_total_deadline(make_kube: MakeKube, tmp_path: Path, fault: Fault, tls: bool) -> None:
    kube = make_kube(tls=tls)
    kube.load(vmi(f"vm-{number}", "prod") for number in range(5))
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))
    path = "/apis/kubevirt.io/v1/virtualmachineinstances"
    with kube.fault(fault, verb="list", times=None):
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(SourceError, match=r"did not answer within 0.5 s"), api.within(0.5):
                api.get(path, {})
            assert time.monotonic() - began < 5
    with api.within(10):
        api.get(path, {})


def test_the_total_deadline_covers_waiting_for_the_response(tmp_path: Path, kube: Kube) -> None:
    """The listener may speak neither TLS nor HTTP, or never answer."""
    path = kube.kubeconfig(tmp_path / "config")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
            path.write_text(path.read_text().replace(kube.url, url))
            began = time.monotonic()
            with (
                pytest.raises(SourceError, match="did not answer within"),
                (api := Api(kubeconfig=str(path))).within(0.3),
            ):
                api.get("/api/v1/namespaces/kube-system", {})
            assert time.monotonic() - began < 3
            path.write_text(path.read_text().replace(url, kube.url))


def test_an_error_names_the_request_and_the_remedy(kube: Kube, tmp_path: Path) -> None:
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))
    kube.fault(Reply.status(403, "forbidden"), verb="get")
    with pytest.raises(Forbidden, match=r"403"):
        uid_of_namespace(api, "kube-system")
    with (
        kube.fault(Reply.status(403, "forbidden"), verb="get", times=None),
        pytest.raises(SourceError, match=r"403.*get of namespaces.*OWNER_ID"),
    ):
        insist(lambda: uid_of_namespace(api, "kube-system"))
    with pytest.raises(SourceError, match=r"404.*OWNER_ID"):
        uid_of_namespace(api, "nowhere")
    kube.fault(Reply.garbage(b"[]"), verb="get")
    with pytest.raises(SourceError, match="without a namespace"):
        uid_of_namespace(api, "kube-system")
    kube.fault(Reply.expired(), verb="list")
    with pytest.raises(Expired):
        listed(api)


def test_a_truncated_line_is_not_an_event(kube: Kube, tmp_path: Path) -> None:
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))
    kube.fault(Reply.garbage(b"one\n\ntwo\nthree"), verb="watch")
    path = "/apis/kubevirt.io/v1/virtualmachineinstances"
    assert list(api.stream(path, {"watch": "true"}, silence=5)) == [b"one", b"two"]


def test_a_command_fails_on_an_unreadable_vmi(kube: Kube, tmp_path: Path) -> None:
    kube.put({**vmi("db", "prod"), "spec": {"networks": "none"}})
    with pytest.raises(SourceError, match="prod/db"):
        listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config"))))
