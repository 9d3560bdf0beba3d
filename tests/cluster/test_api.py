"""How the API server is found, and who we are there: the real client's configuration, and its changes."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from ksd_ddns.cluster.api import Api, Expired, uid_of_namespace
from ksd_ddns.cluster.watch import Watch, watches
from ksd_ddns.errors import SourceError
from ksd_ddns.zone import selector
from tests.kube import ADMIN, MASTERS, ExecPlugin, Kube, Reply, User, service_account, with_certificate
from tests.vmis import vmi

MakeKube = Callable[..., Kube]


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no configuration of the tester count."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def listed(api: Api) -> set[str]:
    return {item.key for item in Watch(api).vmis()}


def test_a_token(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(auth=True)
    kube.put(vmi("db", "prod"))
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", {"token": kube.token(User("ann", (MASTERS,)))})))
    assert listed(api) == {"prod/db"}
    assert kube.requests()[-1].user.name == "ann"
    assert uid_of_namespace(api, "kube-system") == kube.kube_system_uid


def test_the_file_that_kubeconfig_names(make_kube: MakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = make_kube(auth=True)
    kube.put(vmi("db", "prod"))
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig(tmp_path / "config")))
    # In a pod that is given a kubeconfig, that one counts.
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (everything,) = watches(namespaces=frozenset(), selector=selector.parse(""))
    assert [item.key for item in everything.vmis()] == ["prod/db"]
    first, second = watches(namespaces=frozenset({"b", "a"}), selector=selector.parse(""))
    assert (first.scope, second.scope) == ("a", "b")


def test_a_client_certificate(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(tls=True, auth=True)
    assert kube.authority
    pair = kube.authority.client("bob", MASTERS)
    listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", with_certificate(pair)))))
    assert kube.requests()[-1].user.name == "bob"


def test_a_server_of_another_authority(make_kube: MakeKube, tmp_path: Path) -> None:
    kube, other = make_kube(tls=True), make_kube(tls=True)
    path = kube.kubeconfig(tmp_path / "config")
    path.write_text(path.read_text().replace(kube.url, other.url))
    with pytest.raises(SourceError, match="certificate"):
        listed(Api(kubeconfig=str(path)))
    assert not other.requests()


def test_a_plugin(make_kube: MakeKube, tmp_path: Path) -> None:
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


def test_in_a_pod(in_pod: tuple[Kube, Path]) -> None:
    kube, account = in_pod
    listed(Api(service_account=account))
    assert kube.requests()[-1].user == service_account("secondary", "secondary")


def test_in_a_pod_a_token_is_replaced(in_pod: tuple[Kube, Path]) -> None:
    """The kubelet writes a new token long before the old one ends; should it be late, one request fails."""
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
def test_a_plugin_tells_another_token(make_kube: MakeKube, tmp_path: Path, expires: str | None) -> None:
    kube = make_kube(auth=True)
    old = kube.token(ADMIN)
    plugin = ExecPlugin(tmp_path / "plugin", old, expires=expires)
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config", plugin.user)))
    listed(api)
    plugin.tell(kube.token(User("renewed", (MASTERS,))), expires=expires)
    kube.revoke(old)
    if expires is None:  # nothing says that the token has ended but the server
        with pytest.raises(SourceError, match="401"):
            listed(api)
    listed(api)
    assert kube.requests()[-1].user.name == "renewed"


def test_a_kubeconfig_that_is_written_again(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(auth=True)
    old = kube.token(ADMIN)
    path = kube.kubeconfig(tmp_path / "config", {"token": old})
    api = Api(kubeconfig=str(path))
    listed(api)
    kube.revoke(old)
    path.unlink()
    for words in ("401", "no cluster is set up here"):
        with pytest.raises(SourceError, match=words):
            listed(api)
    kube.kubeconfig(path, {"token": kube.token(User("renewed", (MASTERS,)))})
    listed(api)
    assert kube.requests()[-1].user.name == "renewed"


def test_a_certificate_that_is_replaced(make_kube: MakeKube, tmp_path: Path) -> None:
    """An authority that is not trusted any more fails the handshake: then the files are read again."""
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
def test_no_cluster(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SourceError, match=words) as error:
        Api(kubeconfig=str(path))
    assert "KUBECONFIG" in str(error.value)


def test_no_files_in_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(SourceError, match="no cluster is set up here"):
        Api(service_account=tmp_path)


class _Proxy(BaseHTTPRequestHandler):
    """An HTTP proxy: absolute requests are passed on, CONNECT is a tunnel."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(f"GET {self.path}")
        url = urlsplit(self.path)
        with contextlib.closing(http.client.HTTPConnection(url.netloc, timeout=5)) as connection:
            connection.request("GET", f"{url.path}?{url.query}", headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.seen.append(f"CONNECT {self.path}")
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port)), 5) as server:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(server, self.connection), daemon=True)
            back.start()
            _pour(self.connection, server)
            back.join(5)

    def log_message(self, *_: object) -> None:
        pass


def _pour(source: socket.socket, into: socket.socket) -> None:
    try:
        while chunk := source.recv(65_536):
            into.sendall(chunk)
        into.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a proxy, and what it is asked for."""
    seen: list[str] = []
    handler = type("Handler", (_Proxy,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_proxy_of_the_environment(
    make_kube: MakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: tuple[str, list[str]], tls: bool
) -> None:
    url, seen = proxy
    kube = make_kube(tls=tls)
    kube.put(vmi("db", "prod"))
    path = str(kube.kubeconfig(tmp_path / "config"))
    monkeypatch.setenv("HTTPS_PROXY" if tls else "HTTP_PROXY", url)
    assert listed(Api(kubeconfig=path)) == {"prod/db"}
    assert len(seen) == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert listed(Api(kubeconfig=path)) == {"prod/db"}
    assert len(seen) == 1


def test_the_proxy_of_the_kubeconfig(make_kube: MakeKube, tmp_path: Path, proxy: tuple[str, list[str]]) -> None:
    url, seen = proxy
    kube = make_kube()
    path = kube.kubeconfig(tmp_path / "config")
    config = yaml.safe_load(path.read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = url
    path.write_text(yaml.safe_dump(config))
    listed(Api(kubeconfig=str(path)))
    assert len(seen) == 1


def test_what_a_refusal_means_depends_on_what_was_asked_for(kube: Kube, tmp_path: Path) -> None:
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))
    kube.fault(Reply.status(403, "forbidden"), verb="get")
    with pytest.raises(SourceError, match=r"403.*get of namespaces.*OWNER_ID"):
        uid_of_namespace(api, "kube-system")
    with pytest.raises(SourceError, match=r"404.*OWNER_ID"):
        uid_of_namespace(api, "nowhere")
    kube.fault(Reply.garbage(b"[]"), verb="get")
    with pytest.raises(SourceError, match="no namespace"):
        uid_of_namespace(api, "kube-system")
    kube.fault(Reply.expired(), verb="list")
    with pytest.raises(Expired):
        listed(api)


def test_an_answer_of_half_a_line_is_not_an_event(kube: Kube, tmp_path: Path) -> None:
    api = Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config")))
    kube.fault(Reply.garbage(b"one\n\ntwo\nthree"), verb="watch")
    path = "/apis/kubevirt.io/v1/virtualmachineinstances"
    assert list(api.stream(path, {"watch": "true"}, silence=5)) == [b"one", b"two"]


def test_a_vmi_that_cannot_be_read_ends_a_command(kube: Kube, tmp_path: Path) -> None:
    kube.put({**vmi("db", "prod"), "spec": {"networks": "none"}})
    with pytest.raises(SourceError, match="prod/db"):
        listed(Api(kubeconfig=str(kube.kubeconfig(tmp_path / "config"))))
