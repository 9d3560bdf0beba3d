# SPDX-License-Identifier: Apache-2.0
"""Authentication and authorization: tokens, certificates, plugins, the files in a pod, RBAC."""

from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes.client import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.incluster_config import InClusterConfigLoader

from harness.kube import ADMIN, ExecPlugin, Kube, User, service_account, with_certificate
from harness.kube.client import PATH, Client, Connect, MakeKube, posted, status_of


def test_tokens_identify_users_and_can_be_revoked(make_kube: MakeKube, connect: Connect) -> None:
    kube = make_kube(auth=True)
    token = kube.token(User("ann", ("dns",)))
    api = connect(kube, {"token": token})
    assert api.listed()["items"] == []
    assert kube.requests()[-1].user == User("ann", ("dns",))
    kube.revoke(token)
    with pytest.raises(ApiException) as error:
        api.listed()
    assert (error.value.status, status_of(error)["message"]) == (401, "Unauthorized")


def test_a_client_without_credentials_is_anonymous_and_forbidden(make_kube: MakeKube, connect: Connect) -> None:
    api = connect(make_kube(auth=True), {})
    with pytest.raises(ApiException) as error:
        api.listed()
    assert error.value.status == 403
    assert 'User "system:anonymous" cannot list resource' in status_of(error)["message"]
    assert api.raw("/healthz").data == b"ok"


def test_a_client_certificate_identifies_the_user(make_kube: MakeKube, connect: Connect) -> None:
    kube = make_kube(tls=True, auth=True)
    assert kube.authority
    pair = kube.authority.client("bob", "dns", "admins")
    api = connect(kube, with_certificate(pair))
    api.listed()
    assert kube.requests()[-1].user == User("bob", ("dns", "admins", "system:authenticated"))


def test_a_server_certificate_from_another_ca_is_rejected(
    make_kube: MakeKube, connect: Connect, tmp_path: Path
) -> None:
    kube, other = make_kube(tls=True), make_kube(tls=True)
    path = kube.kubeconfig(tmp_path / "config")
    path.write_text(path.read_text().replace(kube.url, other.url))
    with pytest.raises(urllib3.exceptions.MaxRetryError) as error:
        connect(path).listed()
    assert isinstance(error.value.reason, urllib3.exceptions.SSLError)
    assert other.requests() == []


def test_a_credential_plugin_identifies_the_user(make_kube: MakeKube, connect: Connect, tmp_path: Path) -> None:
    kube = make_kube(auth=True)
    plugin = ExecPlugin(tmp_path / "plugin", kube.token(ADMIN), expires="2000-01-01T00:00:00Z")
    api = connect(kube, plugin.user)
    api.listed()
    runs = plugin.calls
    assert runs >= 1
    plugin.tell(kube.token(User("renewed", ("system:masters",))))
    api.listed()
    assert plugin.calls > runs
    assert kube.requests()[-1].user.name == "renewed"


def test_service_account_files_identify_the_user(make_kube: MakeKube, tmp_path: Path) -> None:
    kube = make_kube(tls=True, auth=True)
    files = kube.service_account_files(tmp_path / "sa")
    configuration = Configuration()
    loader = InClusterConfigLoader(str(files.token), str(files.ca), environ=files.environment)
    loader.load_and_set(configuration)
    api = Client(configuration)
    try:
        api.listed()
        assert kube.requests()[-1].user == service_account("secondary", "secondary")
        assert files.namespace.read_text() == "secondary"
    finally:
        api.close()


def grants(verbs: list[str], *, kind: str = "ClusterRole", namespace: str = "", **rule: Any) -> list[dict[str, Any]]:
    rule = {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances"], "verbs": verbs} | rule
    metadata = {"name": "secondary"} | ({"namespace": namespace} if namespace else {})
    subject = {"kind": "ServiceAccount", "name": "secondary", "namespace": "secondary"}
    return [
        {"kind": kind, "metadata": metadata, "rules": [rule]},
        {"kind": f"{kind}Binding", "metadata": metadata, "roleRef": {"kind": kind, "name": "secondary"},
         "subjects": [subject]},
    ]  # fmt: skip


def test_rbac_allows_what_is_granted_and_names_what_is_not(kube: Kube, connect: Connect) -> None:
    kube.authorize(grants(["list", "watch"]))
    user = service_account("secondary", "secondary")
    api = connect(kube, {"token": kube.token(user)})
    api.listed()
    api.watched(kube, kube.revision)
    with pytest.raises(ApiException) as error:
        api.core.read_namespace("kube-system")
    status = status_of(error)
    assert status["message"] == (
        'namespaces "kube-system" is forbidden: User "system:serviceaccount:secondary:secondary" cannot get resource '
        '"namespaces" in API group "" in the namespace "kube-system"'
    )
    assert (status["reason"], status["details"]) == ("Forbidden", {"name": "kube-system", "kind": "namespaces"})
    with pytest.raises(ApiException) as error:
        api.create(posted())
    assert status_of(error)["message"] == (
        'virtualmachineinstances.kubevirt.io is forbidden: User "system:serviceaccount:secondary:secondary" cannot '
        'create resource "virtualmachineinstances" in API group "kubevirt.io" in the namespace "default"'
    )
    assert api.send("GET", "/version", headers={"Authorization": f"Bearer {kube.token(user)}"}).status == 200


@pytest.mark.parametrize(
    ("documents", "wide", "inside", "outside"),
    [
        pytest.param(grants(["list"]), 200, 200, 200, id="cluster-role"),
        pytest.param(grants(["list"], kind="Role", namespace="a"), 403, 200, 403, id="role"),
        pytest.param(grants(["*"], resources=["*"], apiGroups=["*"]), 200, 200, 200, id="stars"),
        pytest.param(grants(["list"], apiGroups=[""]), 403, 403, 403, id="other-group"),
        pytest.param(grants(["watch"]), 403, 403, 403, id="other-verb"),
        pytest.param(grants(["list"])[:1], 403, 403, 403, id="not-bound"),
    ],
)
def test_a_role_applies_in_its_scope(
    kube: Kube, api: Client, documents: Any, wide: int, inside: int, outside: int
) -> None:
    kube.authorize(documents)
    headers = {"Authorization": f"Bearer {kube.token(service_account('secondary', 'secondary'))}"}
    path = "/apis/kubevirt.io/v1/namespaces/{}/virtualmachineinstances"
    assert api.send("GET", PATH, headers=headers).status == wide
    assert api.send("GET", path.format("a"), headers=headers).status == inside
    assert api.send("GET", path.format("b"), headers=headers).status == outside


def test_a_role_can_name_one_object(kube: Kube, connect: Connect) -> None:
    kube.authorize(grants(["get"], apiGroups=[""], resources=["namespaces"], resourceNames=["kube-system"]))
    token = kube.token(service_account("secondary", "secondary"))
    api = connect(kube, {"token": token})
    assert api.core.read_namespace("kube-system").metadata.name == "kube-system"
    for forbidden in (lambda: api.core.read_namespace("default"), api.core.list_namespace):
        with pytest.raises(ApiException) as error:
            forbidden()
        assert error.value.status == 403


def test_a_binding_without_its_role_is_an_error(kube: Kube) -> None:
    with pytest.raises(ValueError, match="binds ClusterRole secondary, which is not there"):
        kube.authorize(grants(["list"])[1:])


def test_access_reviews_list_the_permissions(kube: Kube, connect: Connect) -> None:
    kube.authorize(grants(["list"]))
    token = kube.token(service_account("secondary", "secondary"))
    api = connect(kube, {"token": token})

    def may(verb: str) -> bool:
        attributes = {"group": "kubevirt.io", "resource": "virtualmachineinstances", "verb": verb}
        review = api.authorization.create_self_subject_access_review({"spec": {"resourceAttributes": attributes}})
        return bool(review.status.allowed)

    assert (may("list"), may("delete")) == (True, False)


def test_forbidden_takes_precedence_over_not_installed(kube: Kube, connect: Connect) -> None:
    kube.uninstall()
    kube.authorize([])
    api = connect(kube, {"token": kube.token(User("ann"))})
    with pytest.raises(ApiException) as error:
        api.listed()
    assert error.value.status == 403
